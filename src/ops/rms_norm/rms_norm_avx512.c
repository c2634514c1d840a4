/* RMS norm for AVX-512: the body is in rms_norm_simd.h. */
#include "ops/rms_norm/rms_norm.h"
#include "kernel/math_avx512.h"
#include "ops/rms_norm/rms_norm_simd.h"

void mica_rms_norm_row_avx512(const mica_rms_norm_args *a, const void *x, void *out) {
    norm_any_row(a, x, out);
}

void mica_rms_norm_avx512(const void *args, const mica_cpu_worker *worker) {
    rms_norm_rows(args, worker);
}
