/* Functions of one element. Floats: all kinds but NOT; f16 and bf16 through f32. Integers: NEGATE,
 * ABS, SQUARE, RELU, FLOOR, CEIL, ROUND (the last three change nothing), wrapping. Bool: NOT. */
#pragma once
#include "core/cpu.h"
#include "ops/common/tensor_args.h"

typedef struct mica_unary_params {
    int32_t kind; /* mica_unary_kind */
} mica_unary_params;

/* Worker: a share of the result's elements. */
typedef struct mica_unary_args {
    mica_elementwise_args e;
    int32_t kind;
    int32_t reserved;
} mica_unary_args;
static_assert(sizeof(mica_unary_args) == 344, "host and device kernels share this layout");

/* One f32 element; what the reference computes. */
float mica_unary_apply(int kind, float x);

void mica_unary_ref(const void *args, const mica_cpu_worker *worker);
/* Elements of a block, f32. */
void mica_unary_block_avx2(int kind, const float *in, float *out, int64_t count);
void mica_unary_block_neon(int kind, const float *in, float *out, int64_t count);
void mica_unary_avx2(const void *args, const mica_cpu_worker *worker); /* f16, bf16, f32 */
void mica_unary_neon(const void *args, const mica_cpu_worker *worker); /* f16, bf16, f32 */
