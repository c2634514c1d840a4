/* Prefetching of weights. Memory is read fastest as one stream, and rows side by side are several:
 * so while a tile of rows is worked on, the next tile is fetched in the order of its addresses, as
 * many bytes as are used, to the nearest cache where both tiles fit. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { LINE_BYTES = 64, NEAR_BYTES = 12 << 10 };

static inline __attribute__((always_inline)) void fetch_line(const uint8_t *p, bool is_near) {
    if (is_near)
        __builtin_prefetch(p, 0, 3);
    else
        __builtin_prefetch(p, 0, 2);
}

static inline __attribute__((always_inline)) void fetch_bytes(const uint8_t *p, int64_t bytes,
                                                              bool is_near) {
    for (int64_t i = 0; i < bytes; i += LINE_BYTES) fetch_line(p + i, is_near);
}
