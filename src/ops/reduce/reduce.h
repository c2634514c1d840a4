/* One axis reduced to a value. The result has x's dtype (ARGMAX: i32).
 * SUM, MEAN  floats: f64 accumulator in order of the axis, rounded once; integers (SUM only): wrap
 * PROD       likewise; the empty sum is 0, the empty product 1, the empty mean NaN
 * MAX, MIN   NaN if any is; bool too; the axis must not be empty
 * ARGMAX     the first of the largest; NaN counts as smallest; the axis must not be empty */
#pragma once
#include "core/cpu.h"
#include "ops/common/tensor_args.h"

typedef struct mica_reduce_params {
    int32_t kind; /* mica_reduce_kind */
    int32_t axis;
    int32_t keep; /* the axis stays, with length 1 */
} mica_reduce_params;

/* x's axes in an order that puts the reduced one last. Worker: a share of the results. */
typedef struct mica_reduce_args {
    mica_tensor_args x;
    uint64_t out;
    uint64_t live; /* address of the count of live rows of the result, 0 = all */
    int64_t rows;  /* length of the result's axis 0; 1 for rank 0 */
    int64_t row;   /* results in such a row */
    int32_t kind;
    int32_t reserved;
} mica_reduce_args;
static_assert(sizeof(mica_reduce_args) == 184, "host and device kernels share this layout");

void mica_reduce_ref(const void *args, const mica_cpu_worker *worker);
