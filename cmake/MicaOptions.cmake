# Compiler flags of every target: warnings (style.md), hardening (facts: reliability section 9),
# sanitizers; and the libraries we depend on.
add_library(mica_options INTERFACE)
target_compile_definitions(mica_options INTERFACE _GNU_SOURCE)
target_compile_options(mica_options INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes
    -Wmissing-prototypes -Wvla -fno-math-errno -ffp-contract=off -fno-strict-aliasing)
if(MICA_WERROR)
    target_compile_options(mica_options INTERFACE -Werror)
endif()
if(MICA_FUZZ)
    target_compile_options(mica_options INTERFACE
        -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -g)
    target_link_options(mica_options INTERFACE -fsanitize=address,undefined)
elseif(MICA_SANITIZE)
    target_compile_options(mica_options INTERFACE
        -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g
        -UNDEBUG) # asserts are on in tests
    target_link_options(mica_options INTERFACE -fsanitize=address,undefined)
elseif(MICA_TSAN)
    target_compile_options(mica_options INTERFACE -fsanitize=thread -g)
    target_link_options(mica_options INTERFACE -fsanitize=thread)
else()
    target_compile_options(mica_options INTERFACE
        -fstack-protector-strong "$<$<CONFIG:Release>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2>")
    if(NOT APPLE)
        target_link_options(mica_options INTERFACE -Wl,-z,relro,-z,now -Wl,-z,noexecstack)
    endif()
endif()

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
if(MICA_STATIC_DEPS)
    set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
endif()
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
