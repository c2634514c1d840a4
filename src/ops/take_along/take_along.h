/* out[..., j] = x[..., ids[..., j]] for any dtype; ids i32, outside of the axis they give 0. */
#pragma once
#include "core/cpu.h"
#include "ops/common/tensor_args.h"

/* Worker: a share of the rows. */
typedef struct mica_take_along_args {
    mica_tensor_args x;
    mica_tensor_args ids;
    uint64_t out;
    uint64_t live; /* address of the count of live rows of axis 0, 0 = all */
    int64_t rows;  /* length of axis 0; 1 for rank 1 */
    int64_t row;   /* lines along the last axis in it */
} mica_take_along_args;
static_assert(sizeof(mica_take_along_args) == 320, "host and device kernels share this layout");

void mica_take_along_ref(const void *args, const mica_cpu_worker *worker);
