/* out[t, :] = sum over s of weights[t, s] * x[t, s, :], the slots in order, f32 sums rounded once;
 * plus (pass fuse) a residual of the result's shape, added as `binary` would.
 * x and weights are f16, bf16 or f32; the result has x's dtype. */
#pragma once
#include "core/cpu.h"
#include "ops/common/tensor_args.h"

/* x lies without gaps. Worker: a share of the result's elements. */
typedef struct mica_combine_args {
    uint64_t x;
    mica_tensor_args weights;
    uint64_t residual; /* as out; 0 = none */
    uint64_t out;
    uint64_t live; /* address of the count of live rows, 0 = all */
    int64_t rows;  /* t */
    int64_t slots; /* s */
    int64_t n;
    int32_t dtype; /* of x and out */
    int32_t reserved;
} mica_combine_args;
static_assert(sizeof(mica_combine_args) == 208, "host and device kernels share this layout");

void mica_combine_ref(const void *args, const mica_cpu_worker *worker);
void mica_combine_avx2(const void *args, const mica_cpu_worker *worker);
void mica_combine_neon(const void *args, const mica_cpu_worker *worker);
