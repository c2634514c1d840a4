# What `cmake --install` and `make install` put where: libraries, headers, pkg-config and CMake
# package files, the program with its man page and completions, the demo model, the licence.
include(CMakePackageConfigHelpers)
set(mica_page_folder ${PROJECT_BINARY_DIR}/cli/pages) # written by cli/CMakeLists.txt

install(TARGETS mica RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS mica_static mica_shared
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/mica DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING PATTERN "*.h")

# Static linking needs what libmica.a itself needs.
set(mica_static_requires "libpcre2-8 libutf8proc")
set(mica_static_flags "")
if(MICA_SANITIZE)
    set(mica_static_flags "-fsanitize=address,undefined")
elseif(MICA_TSAN)
    set(mica_static_flags "-fsanitize=thread")
endif()
configure_file(${PROJECT_SOURCE_DIR}/cmake/mica.pc.in ${PROJECT_BINARY_DIR}/mica.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/mica.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(mica_package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/mica)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/micaConfig.cmake.in
    ${PROJECT_BINARY_DIR}/micaConfig.cmake INSTALL_DESTINATION ${mica_package_folder}
    PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/micaConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/micaConfig.cmake ${PROJECT_BINARY_DIR}/micaConfigVersion.cmake
    DESTINATION ${mica_package_folder})

install(FILES ${mica_page_folder}/mica.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${mica_page_folder}/mica.bash RENAME mica
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${mica_page_folder}/mica.zsh RENAME _mica
    DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${mica_page_folder}/mica.fish
    DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/models/demo
    DESTINATION ${CMAKE_INSTALL_DATADIR}/mica/models PATTERN "golden*" EXCLUDE
    PATTERN "tokenizer_golden.json" EXCLUDE)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)

if(MICA_TESTS)
    add_test(NAME install_test COMMAND sh ${PROJECT_SOURCE_DIR}/tests/install_test.sh
        ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR} ${CMAKE_C_COMPILER} ${mica_static_flags})
    set_tests_properties(install_test PROPERTIES TIMEOUT 900)
endif()
