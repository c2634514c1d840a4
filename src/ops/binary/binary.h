/* Functions of two elements of one dtype, broadcast.
 * Floats: all kinds but AND and OR; f16 and bf16 through f32. MIN and MAX give NaN if either is.
 * Integers: all kinds; results wrap, DIV truncates towards zero and gives 0 for a divisor of 0, POW
 * with a negative exponent truncates likewise. Bool: EQUAL, NOT_EQUAL, AND, OR.
 * Comparisons give bool. */
#pragma once
#include "core/cpu.h"
#include "ops/common/tensor_args.h"

typedef struct mica_binary_params {
    int32_t kind; /* mica_binary_kind */
} mica_binary_params;

/* Worker: a share of the result's elements. */
typedef struct mica_binary_args {
    mica_elementwise_args e;
    int32_t kind;
    int32_t reserved;
} mica_binary_args;
static_assert(sizeof(mica_binary_args) == 344, "host and device kernels share this layout");

/* One pair of f32; comparisons give 0 or 1. What the reference computes. */
float mica_binary_apply(int kind, float a, float b);

void mica_binary_ref(const void *args, const mica_cpu_worker *worker);
/* Elements of two blocks, f32; no comparisons. */
void mica_binary_block_avx2(int kind, const float *a, const float *b, float *out, int64_t count);
void mica_binary_block_neon(int kind, const float *a, const float *b, float *out, int64_t count);
void mica_binary_avx2(const void *args, const mica_cpu_worker *worker); /* f16, bf16, f32 */
void mica_binary_neon(const void *args, const mica_cpu_worker *worker); /* f16, bf16, f32 */
