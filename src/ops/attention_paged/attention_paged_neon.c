/* Paged attention for NEON: the body is in attention_paged_simd.h. */
#include "ops/attention_paged/attention_paged.h"
#include "kernel/math_neon.h"
#include "ops/attention_paged/attention_paged_simd.h"

void mica_attention_paged_neon(const void *args, const mica_cpu_worker *worker) {
    attend_paged(args, worker);
}
