/* What every test includes: cmocka and a few helpers. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>
#include "mica/status.h"

/* Asserts success and prints the message otherwise. */
#define assert_ok(call)                                                                            \
    do {                                                                                           \
        mica_status st_ = (call);                                                                  \
        if (st_ != MICA_STATUS_OK)                                                                 \
            fail_msg("%s: %s: %s", #call, mica_status_name(st_), err.message);                     \
    } while (0)

/* Folder with the larger real data, or NULL: then the test calls skip(). Where MICA_TEST_STRICT is
 * set (CI), a missing folder is a failure. */
static inline const char *test_data_folder(void) {
    const char *folder = getenv("MICA_TEST_DATA");
    if (folder && folder[0]) return folder;
    if (getenv("MICA_TEST_STRICT")) fail_msg("MICA_TEST_DATA is not set, but MICA_TEST_STRICT is");
    return NULL;
}

/* SplitMix64: seeded random numbers for test data. */
static inline uint64_t test_random(uint64_t *state) {
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
/* In [-1, 1). */
static inline float test_random_float(uint64_t *state) {
    return (float)((double)(int64_t)test_random(state) / 9223372036854775808.0);
}
#include <time.h>
/* A seed from MICA_TEST_SEED or the clock, printed so that a failure can be repeated. */
static inline uint64_t test_seed(void) {
    const char *text = getenv("MICA_TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    printf("seed %llu (set MICA_TEST_SEED to repeat)\n", (unsigned long long)seed);
    return seed;
}
