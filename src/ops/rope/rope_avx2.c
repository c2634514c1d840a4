/* Rotary embedding for AVX2: the body is in rope_simd.h. */
#include "ops/rope/rope.h"
#include "kernel/math_avx2.h"
#include "ops/rope/rope_simd.h"

void mica_rope_avx2(const void *args, const mica_cpu_worker *worker) { rope_rows(args, worker); }
