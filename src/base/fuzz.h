/* libFuzzer entries stand at the foot of the file they test:
 *     #ifdef MICA_FUZZ_JSON
 *     MICA_FUZZ_ENTRY(json) { ... uses data, size ...; return 0; }
 *     #endif
 * The build compiles the file once more for each target with MICA_FUZZ_<NAME> defined. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define MICA_FUZZ_ENTRY(name)                                                                      \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);                                  \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
