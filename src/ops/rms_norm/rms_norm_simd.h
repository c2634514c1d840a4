/* RMS norm in vectors: included by rms_norm_avx2.c and rms_norm_avx512.c after the vector header.
 * A row's sum of squares runs in four vectors, added in a fixed order. */
#pragma once
#include <math.h>
#include "ops/common/lane_rows.h"
#include "ops/rms_norm/rms_norm.h"

static inline float sum_squares(int dtype, const void *x, int64_t n) {
    mica_lanes s[4];
    for (int k = 0; k < 4; k++) s[k] = mica_lanes_set(0.0f);
    int64_t i = 0;
    for (; i + 4 * MICA_LANES <= n; i += 4 * MICA_LANES)
        for (int k = 0; k < 4; k++) {
            mica_lanes v = mica_lanes_read(dtype, x, i + k * MICA_LANES);
            s[k] = mica_lanes_fma(v, v, s[k]);
        }
    for (; i < n; i += MICA_LANES) {
        mica_lanes v = mica_lanes_read_up_to(dtype, x, i, n, 0.0f);
        s[0] = mica_lanes_fma(v, v, s[0]);
    }
    return mica_lanes_sum(mica_lanes_add(mica_lanes_add(s[0], s[1]), mica_lanes_add(s[2], s[3])));
}

/* dtype and weight_dtype are constants at the call for the common pairs. */
static inline void norm_row(int dtype, int weight_dtype, const mica_rms_norm_args *a, const void *x,
                            void *out) {
    int64_t n = a->rows.n;
    const void *weight = mica_cpu_at(a->weight);
    mica_lanes scale = mica_lanes_set(1.0f / sqrtf(sum_squares(dtype, x, n) / (float)n + a->eps));
    mica_lanes offset = mica_lanes_set(a->offset), one = mica_lanes_set(1.0f);
    for (int64_t i = 0; i < n; i += MICA_LANES) {
        mica_lanes w = weight ? mica_lanes_read_up_to(weight_dtype, weight, i, n, 0.0f) : one;
        mica_lanes v = mica_lanes_mul(mica_lanes_read_up_to(dtype, x, i, n, 0.0f), scale);
        mica_lanes_write_up_to(dtype, out, i, n, mica_lanes_mul(v, mica_lanes_add(w, offset)));
    }
}

static inline void norm_any_row(const mica_rms_norm_args *a, const void *x, void *out) {
    if (a->rows.dtype == MICA_DTYPE_F32 && a->weight_dtype == MICA_DTYPE_BF16)
        norm_row(MICA_DTYPE_F32, MICA_DTYPE_BF16, a, x, out);
    else
        norm_row(a->rows.dtype, a->weight_dtype, a, x, out);
}

static inline void rms_norm_rows(const mica_rms_norm_args *a, const mica_cpu_worker *worker) {
    int64_t begin, end, bytes = a->rows.n * (int64_t)mica_dtype_bytes((mica_dtype)a->rows.dtype);
    mica_row_share(&a->rows, worker, &begin, &end);
    for (int64_t r = begin; r < end; r++)
        norm_any_row(a, (const uint8_t *)mica_cpu_at(a->rows.x) + r * bytes,
                     (uint8_t *)mica_cpu_at(a->rows.out) + r * bytes);
}
