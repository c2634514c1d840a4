/* matmul: arguments and CPU kernels. */
#pragma once
#include "core/cpu.h"
#include "ops/common/tensor_args.h"

/* a [..., m, k] @ b [..., k, n] -> out [..., m, n] row-major. All three have the rank of out: axes
 * that a or b lacks have length 1, and those of length 1 have stride 0 where out's is longer. */
typedef struct mica_matmul_args {
    mica_tensor_args a;
    mica_tensor_args b;
    uint64_t out;
    uint64_t live; /* address of the count of live rows of out's axis 0, 0 = all */
    int32_t rank;
    int32_t dtype; /* mica_dtype of all three: f32, f16, bf16; the reference also takes f64 */
    int64_t dims[MICA_TENSOR_RANK_MAX]; /* of out */
    int64_t k;
} mica_matmul_args;
static_assert(sizeof(mica_matmul_args) == 384, "host and device kernels share this layout");

/* Bytes of scratch of one worker of the vector kernels. */
static inline size_t mica_matmul_scratch_bytes(int64_t k) {
    return (size_t)k * (4 + 2 * 16) * sizeof(float) + 64;
}

void mica_matmul_ref(const void *args, const mica_cpu_worker *worker);
void mica_matmul_avx2(const void *args, const mica_cpu_worker *worker);
void mica_matmul_neon(const void *args, const mica_cpu_worker *worker);
void mica_matmul_avx512(const void *args, const mica_cpu_worker *worker);
