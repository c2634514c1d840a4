/* Attention for AVX-512: the body is in attention_simd.h. */
#include "ops/attention/attention.h"
#include "kernel/math_avx512.h"
#include "ops/attention/attention_simd.h"

void mica_attention_avx512(const void *args, const mica_cpu_worker *worker) {
    attend(args, worker);
}
