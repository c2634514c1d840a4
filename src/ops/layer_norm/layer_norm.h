/* Layer norm over the last axis. Mean and variance are two sums in f32 (the reference: f64), the
 * result is rounded once. */
#pragma once
#include "ops/common/row_args.h"

typedef struct mica_layer_norm_params {
    float eps;
} mica_layer_norm_params;

typedef struct mica_layer_norm_args {
    mica_row_args rows; /* in place is fine */
    uint64_t weight;    /* [n], 0 = ones */
    uint64_t bias;      /* [n], 0 = zeros */
    int32_t weight_dtype;
    int32_t bias_dtype;
    float eps;
    int32_t reserved;
} mica_layer_norm_args;
static_assert(sizeof(mica_layer_norm_args) == 88, "host and device kernels share this layout");

void mica_layer_norm_ref(const void *args, const mica_cpu_worker *worker);
void mica_layer_norm_avx2(const void *args, const mica_cpu_worker *worker);
void mica_layer_norm_neon(const void *args, const mica_cpu_worker *worker);
void mica_layer_norm_avx512(const void *args, const mica_cpu_worker *worker);
