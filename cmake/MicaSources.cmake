# mica_collect(SOURCES TESTS folder...): the .c files below the folders, tests apart, and the
# instruction-set flags that their names ask for.
function(mica_collect sources_out tests_out)
    set(sources "")
    set(tests "")
    foreach(folder ${ARGN})
        file(GLOB_RECURSE found CONFIGURE_DEPENDS ${folder}/*.c)
        foreach(file ${found})
            if(file MATCHES "_test\\.c$")
                list(APPEND tests ${file})
            elseif(file MATCHES "_(avx2|avx512|avx512_vnni|avx512_bf16|amx)\\.c$" AND
                   NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
                continue()
            elseif(file MATCHES "_neon(_dot)?\\.c$" AND
                   NOT CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
                continue()
            else()
                list(APPEND sources ${file})
            endif()
        endforeach()
    endforeach()
    set(${sources_out} ${sources} PARENT_SCOPE)
    set(${tests_out} ${tests} PARENT_SCOPE)
endfunction()

# Must run in the directory of the target that compiles the files.
function(mica_set_isa_flags)
    # Fuzz targets are about parsers: instrumented vector kernels take clang minutes each.
    set(plain "")
    if(MICA_FUZZ)
        set(plain "-fno-sanitize=all;-O1")
    endif()
    foreach(file ${ARGN})
        if(file MATCHES "_avx2\\.c$")
            set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS
                "-O3;-mavx2;-mfma;-mf16c;-mbmi2;${plain}")
        elseif(file MATCHES "_amx\\.c$")
            set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS
                "-O3;-mavx2;-mfma;-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-mamx-tile;-mamx-bf16;${plain}")
        elseif(file MATCHES "_avx512(_vnni|_bf16)?\\.c$")
            set(extra "")
            if(file MATCHES "_vnni")
                set(extra "-mavx512vnni")
            elseif(file MATCHES "_bf16")
                set(extra "-mavx512bf16")
            endif()
            set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS
                "-O3;-mavx2;-mfma;-mf16c;-mbmi2;-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-mprefer-vector-width=512;${extra};${plain}")
        elseif(file MATCHES "_neon\\.c$") # part of 64-bit ARM
            set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS "-O3;${plain}")
        elseif(file MATCHES "_neon_dot\\.c$")
            set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS
                "-O3;-march=armv8.2-a+dotprod;${plain}")
        elseif(file MATCHES "_(cpu|scalar)\\.c$")
            set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS "-O3")
        endif()
    endforeach()
endfunction()
