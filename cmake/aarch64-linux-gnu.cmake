# Cross build for 64-bit ARM by Debian's compiler, with tests under qemu-user:
#   tools/arm64_libraries.sh build/arm64
#   cmake -S . -B build/neon -G Ninja --toolchain cmake/aarch64-linux-gnu.cmake \
#       -DMICA_ARM64_ROOT=$PWD/build/arm64
# MICA_ARM64_ROOT: the folder with the target's libraries (C's own comes with the compiler).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES MICA_ARM64_ROOT)

set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH ${MICA_ARM64_ROOT} /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_C_STANDARD_INCLUDE_DIRECTORIES ${MICA_ARM64_ROOT}/usr/include)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${MICA_ARM64_ROOT})
set(ENV{PKG_CONFIG_LIBDIR} ${MICA_ARM64_ROOT}/usr/lib/aarch64-linux-gnu/pkgconfig)
