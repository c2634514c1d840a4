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
void mica_rms_norm_neon(const void *args, const mica_cpu_worker *worker);
void mica_rms_norm_avx512(const void *args, const mica_cpu_worker *worker);

/* One row of a->rows.n elements of a->rows.dtype, in place is fine: what the kernels do for each.
 * Fused ops that begin with a norm call it, so that they give the same bits; of a they fill
 * rows.n, rows.dtype and what comes after rows. */
typedef void (*mica_rms_norm_row_function)(const mica_rms_norm_args *a, const void *x, void *out);
void mica_rms_norm_row_ref(const mica_rms_norm_args *a, const void *x, void *out);
void mica_rms_norm_row_avx2(const mica_rms_norm_args *a, const void *x, void *out);
void mica_rms_norm_row_neon(const mica_rms_norm_args *a, const void *x, void *out);
void mica_rms_norm_row_avx512(const mica_rms_norm_args *a, const void *x, void *out);
