/* Elements as another dtype (or the same: a copy without gaps). Float to integer truncates and
 * saturates, NaN gives 0; integers wrap; to bool: not zero; every float result is rounded once. */
#pragma once
#include "core/cpu.h"
#include "ops/common/tensor_args.h"

typedef struct mica_cast_params {
    int32_t dtype; /* mica_dtype */
} mica_cast_params;

/* Worker: a share of the result's elements. */
typedef struct mica_cast_args {
    mica_elementwise_args e;
} mica_cast_args;
static_assert(sizeof(mica_cast_args) == 336, "host and device kernels share this layout");

void mica_cast_ref(const void *args, const mica_cpu_worker *worker);
void mica_cast_avx2(const void *args, const mica_cpu_worker *worker); /* f16, bf16, f32 */
void mica_cast_neon(const void *args, const mica_cpu_worker *worker); /* f16, bf16, f32 */
