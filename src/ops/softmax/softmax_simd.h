/* Softmax in vectors: included by softmax_avx2.c and softmax_avx512.c after the vector header.
 * Three passes over a row; exponentials of f32 rows are kept in the result between the last two,
 * those of 16-bit rows are computed again, because storing them would round them. */
#pragma once
#include "ops/common/lane_rows.h"
#include "ops/softmax/softmax.h"

static inline float softmax_max(int dtype, const void *x, int64_t n) {
    mica_lanes max = mica_lanes_set(-INFINITY);
    /* max last: a NaN in x is passed over here and comes back in the exponentials. */
    for (int64_t i = 0; i < n; i += MICA_LANES)
        max = mica_lanes_max(mica_lanes_read_up_to(dtype, x, i, n, -INFINITY), max);
    float largest = mica_lanes_largest(max);
    return largest == -INFINITY ? 0.0f : largest;
}

static inline void softmax_row(int dtype, const void *x, void *out, int64_t n) {
    bool keeps = dtype == MICA_DTYPE_F32;
    mica_lanes max = mica_lanes_set(softmax_max(dtype, x, n)), sum = mica_lanes_set(0.0f);
    for (int64_t i = 0; i < n; i += MICA_LANES) {
        mica_lanes v = mica_lanes_read_up_to(dtype, x, i, n, -INFINITY);
        v = mica_lanes_exp(mica_lanes_sub(v, max));
        sum = mica_lanes_add(sum, v);
        if (keeps) mica_lanes_write_up_to(dtype, out, i, n, v);
    }
    float total = mica_lanes_sum(sum);
    mica_lanes scale = mica_lanes_set(total == 0.0f ? 0.0f : 1.0f / total);
    for (int64_t i = 0; i < n; i += MICA_LANES) {
        mica_lanes v = mica_lanes_read_up_to(dtype, keeps ? out : x, i, n, -INFINITY);
        if (!keeps) v = mica_lanes_exp(mica_lanes_sub(v, max));
        mica_lanes_write_up_to(dtype, out, i, n, mica_lanes_mul(v, scale));
    }
}

static inline void softmax_rows(const mica_softmax_args *a, const mica_cpu_worker *worker) {
    int64_t begin, end, bytes = a->n * (int64_t)mica_dtype_bytes((mica_dtype)a->dtype);
    mica_row_share(a, worker, &begin, &end);
    for (int64_t r = begin; r < end; r++)
        softmax_row(a->dtype, (const uint8_t *)mica_cpu_at(a->x) + r * bytes,
                    (uint8_t *)mica_cpu_at(a->out) + r * bytes, a->n);
}
