/* unary with AVX2: the body is in unary_simd.h. */
#include "ops/unary/unary.h"
#include "kernel/math_avx2.h"
#include "ops/unary/unary_simd.h"

void mica_unary_block_avx2(int kind, const float *in, float *out, int64_t count) {
    unary_block(kind, in, out, count);
}

void mica_unary_avx2(const void *args, const mica_cpu_worker *worker) { unary_walk(args, worker); }
