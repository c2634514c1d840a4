/* condition ? a : b, element by element, broadcast; a and b of one dtype, which may be any. */
#pragma once
#include "core/cpu.h"
#include "ops/common/tensor_args.h"

/* Inputs: condition, a, b. Worker: a share of the result's elements. */
typedef struct mica_select_args {
    mica_elementwise_args e;
} mica_select_args;
static_assert(sizeof(mica_select_args) == 336, "host and device kernels share this layout");

void mica_select_ref(const void *args, const mica_cpu_worker *worker);
