/* Paged attention for AVX2: the body is in attention_paged_simd.h. */
#include "ops/attention_paged/attention_paged.h"
#include "kernel/math_avx2.h"
#include "ops/attention_paged/attention_paged_simd.h"

void mica_attention_paged_avx2(const void *args, const mica_cpu_worker *worker) {
    attend_paged(args, worker);
}
