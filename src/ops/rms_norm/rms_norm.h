/* Root-mean-square norm over the last axis. Squares are summed in f32 (the reference: f64), the
 * result is rounded once. */
#pragma once
#include "ops/common/row_args.h"

typedef struct mica_rms_norm_params {
    float eps;
    float offset;
} mica_rms_norm_params;

typedef struct mica_rms_norm_args {
    mica_row_args rows; /* in place is fine */
    uint64_t weight;    /* [n], 0 = ones */
    int32_t weight_dtype;
    float eps;
    float offset; /* added to the weight */
    int32_t reserved;
} mica_rms_norm_args;
static_assert(sizeof(mica_rms_norm_args) == 80, "host and device kernels share this layout");

void mica_rms_norm_ref(const void *args, const mica_cpu_worker *worker);
void mica_rms_norm_avx2(const void *args, const mica_cpu_worker *worker);
void mica_rms_norm_avx512(const void *args, const mica_cpu_worker *worker);
