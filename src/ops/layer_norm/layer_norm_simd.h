/* Layer norm in vectors: included by layer_norm_avx2.c and layer_norm_avx512.c after the vector
 * header. */
#pragma once
#include <math.h>
#include "ops/common/lane_rows.h"
#include "ops/layer_norm/layer_norm.h"

static inline float row_mean(int dtype, const void *x, int64_t n) {
    mica_lanes sum = mica_lanes_set(0.0f);
    for (int64_t i = 0; i < n; i += MICA_LANES)
        sum = mica_lanes_add(sum, mica_lanes_read_up_to(dtype, x, i, n, 0.0f));
    return mica_lanes_sum(sum) / (float)n;
}

static inline float row_variance(int dtype, const void *x, int64_t n, float mean) {
    mica_lanes sum = mica_lanes_set(0.0f), m = mica_lanes_set(mean);
    for (int64_t i = 0; i < n; i += MICA_LANES) {
        mica_lanes v = mica_lanes_sub(mica_lanes_read_up_to(dtype, x, i, n, mean), m);
        sum = mica_lanes_fma(v, v, sum);
    }
    return mica_lanes_sum(sum) / (float)n;
}

static inline void norm_row(const mica_layer_norm_args *a, const void *x, void *out) {
    int dtype = a->rows.dtype;
    int64_t n = a->rows.n;
    const void *weight = mica_cpu_at(a->weight), *bias = mica_cpu_at(a->bias);
    float row = row_mean(dtype, x, n);
    mica_lanes mean = mica_lanes_set(row);
    mica_lanes scale = mica_lanes_set(1.0f / sqrtf(row_variance(dtype, x, n, row) + a->eps));
    for (int64_t i = 0; i < n; i += MICA_LANES) {
        mica_lanes v = mica_lanes_sub(mica_lanes_read_up_to(dtype, x, i, n, 0.0f), mean);
        v = mica_lanes_mul(v, scale);
        if (weight)
            v = mica_lanes_mul(v, mica_lanes_read_up_to(a->weight_dtype, weight, i, n, 0.0f));
        if (bias) v = mica_lanes_add(v, mica_lanes_read_up_to(a->bias_dtype, bias, i, n, 0.0f));
        mica_lanes_write_up_to(dtype, out, i, n, v);
    }
}

static inline void layer_norm_rows(const mica_layer_norm_args *a, const mica_cpu_worker *worker) {
    int64_t begin, end, bytes = a->rows.n * (int64_t)mica_dtype_bytes((mica_dtype)a->rows.dtype);
    mica_row_share(&a->rows, worker, &begin, &end);
    for (int64_t r = begin; r < end; r++)
        norm_row(a, (const uint8_t *)mica_cpu_at(a->rows.x) + r * bytes,
                 (uint8_t *)mica_cpu_at(a->rows.out) + r * bytes);
}
