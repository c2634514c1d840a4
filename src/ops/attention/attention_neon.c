/* Attention for NEON: the body is in attention_simd.h. */
#include "ops/attention/attention.h"
#include "kernel/math_neon.h"
#include "ops/attention/attention_simd.h"

void mica_attention_neon(const void *args, const mica_cpu_worker *worker) { attend(args, worker); }
