/* Gated activations for AVX2: the body is in glu_simd.h. */
#include "ops/glu/glu.h"
#include "kernel/math_avx2.h"
#include "ops/glu/glu_simd.h"

void mica_glu_avx2(const void *args, const mica_cpu_worker *worker) { glu_rows(args, worker); }
