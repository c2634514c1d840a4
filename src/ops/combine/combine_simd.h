/* combine in vectors: a block of columns at a time, slot by slot. Multiplies and adds apart, so
 * that the bits are those of the reference. Included by combine_avx2.c and combine_neon.c after the
 * vector header. */
#pragma once
#include "ops/combine/combine.h"
#include "ops/common/block_simd.h"

static inline void add_slot(float *sum, const float *x, float weight, int64_t count) {
    mica_lanes w = mica_lanes_set(weight);
    int64_t i = 0;
    for (; i + MICA_LANES <= count; i += MICA_LANES) {
        mica_lanes term = mica_lanes_mul(w, mica_lanes_load(x + i));
        mica_lanes_store(sum + i, mica_lanes_add(mica_lanes_load(sum + i), term));
    }
    for (; i < count; i++) sum[i] += weight * x[i];
}

/* sum, rounded to the result's dtype, + the residual's elements from `at` on. */
static inline void add_residual(const mica_combine_args *a, float *sum, int64_t at, int64_t count) {
    float loaded[MICA_BLOCK];
    uint16_t rounded[MICA_BLOCK];
    if (a->dtype != MICA_DTYPE_F32) {
        mica_block_store(sum, a->dtype, (uintptr_t)rounded, 0, count);
        mica_block_read(sum, a->dtype, (const uint8_t *)rounded, count);
    }
    add_slot(sum, mica_block_load(loaded, a->dtype, a->residual, at, 1, count), 1.0f, count);
}

/* Columns [column, column + count) of row t, count <= MICA_BLOCK. */
static inline void combine_block(const mica_combine_args *a, int64_t t, int64_t column,
                                 int64_t count) {
    float loaded[MICA_BLOCK], sum[MICA_BLOCK] = {0};
    const void *weights = mica_cpu_at(a->weights.address);
    int64_t at = t * a->n + column;
    for (int64_t s = 0; s < a->slots; s++) {
        float weight = mica_element_f32(a->weights.dtype, weights,
                                        t * a->weights.strides[0] + s * a->weights.strides[1]);
        int64_t from = (t * a->slots + s) * a->n + column;
        add_slot(sum, mica_block_load(loaded, a->dtype, a->x, from, 1, count), weight, count);
    }
    if (a->residual) add_residual(a, sum, at, count);
    if (a->dtype == MICA_DTYPE_F32)
        memcpy((float *)mica_cpu_at(a->out) + at, sum, (size_t)count * sizeof *sum);
    else
        mica_block_store(sum, a->dtype, a->out, at, count);
}

static inline void combine_walk(const mica_combine_args *a, const mica_cpu_worker *worker) {
    int64_t begin, end;
    mica_cpu_share(worker, mica_cpu_live(a->live, a->rows) * a->n, 256, &begin, &end);
    while (begin < end) {
        int64_t column = begin % a->n, left = a->n - column;
        int64_t count = left < MICA_BLOCK ? left : MICA_BLOCK;
        if (count > end - begin) count = end - begin;
        combine_block(a, begin / a->n, column, count);
        begin += count;
    }
}
