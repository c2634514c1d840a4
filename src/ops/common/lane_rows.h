/* Vectors from and to rows of f32, f16 or bf16. Include after kernel/math_avx2.h or
 * kernel/math_avx512.h. Rows may be unaligned. */
#pragma once
#include "ops/common/element.h"

/* Elements i .. i + lanes - 1. */
static inline mica_lanes mica_lanes_read(int dtype, const void *row, int64_t i) {
    if (dtype == MICA_DTYPE_F32) return mica_lanes_load((const float *)row + i);
    if (dtype == MICA_DTYPE_BF16) return mica_lanes_load_bf16((const uint16_t *)row + i);
    return mica_lanes_load_f16((const uint16_t *)row + i);
}

/* The first `count` (fewer than a vector) of them, `fill` in the other lanes. */
static inline mica_lanes mica_lanes_read_part(int dtype, const void *row, int64_t i, int64_t count,
                                              float fill) {
    float lanes[MICA_LANES];
    for (int64_t j = 0; j < MICA_LANES; j++)
        lanes[j] = j < count ? mica_element_f32(dtype, row, i + j) : fill;
    return mica_lanes_load(lanes);
}

/* Rounded once, to nearest even. */
static inline void mica_lanes_write(int dtype, void *row, int64_t i, mica_lanes v) {
    if (dtype == MICA_DTYPE_F32)
        mica_lanes_store((float *)row + i, v);
    else if (dtype == MICA_DTYPE_BF16)
        mica_lanes_store_bf16((uint16_t *)row + i, v);
    else
        mica_lanes_store_f16((uint16_t *)row + i, v);
}

static inline void mica_lanes_write_part(int dtype, void *row, int64_t i, int64_t count,
                                         mica_lanes v) {
    float lanes[MICA_LANES];
    mica_lanes_store(lanes, v);
    for (int64_t j = 0; j < count; j++) mica_element_put_f32(dtype, row, i + j, lanes[j]);
}

/* The same for a vector that may reach past the row's end n. */
static inline mica_lanes mica_lanes_read_up_to(int dtype, const void *row, int64_t i, int64_t n,
                                               float fill) {
    return n - i >= MICA_LANES ? mica_lanes_read(dtype, row, i)
                               : mica_lanes_read_part(dtype, row, i, n - i, fill);
}
static inline void mica_lanes_write_up_to(int dtype, void *row, int64_t i, int64_t n,
                                          mica_lanes v) {
    if (n - i >= MICA_LANES)
        mica_lanes_write(dtype, row, i, v);
    else
        mica_lanes_write_part(dtype, row, i, n - i, v);
}
