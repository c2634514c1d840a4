/* start + i * step for i = 0 .. n-1, computed in f64, as any dtype but bool. */
#pragma once
#include <assert.h>
#include "core/cpu.h"

typedef struct mica_arange_params {
    int64_t n;
    double start;
    double step;
    int32_t dtype;
    int32_t reserved;
} mica_arange_params;

/* Worker: a share of the elements. */
typedef struct mica_arange_args {
    uint64_t out;
    int64_t n;
    double start;
    double step;
    int32_t dtype;
    int32_t reserved;
} mica_arange_args;
static_assert(sizeof(mica_arange_args) == 40, "host and device kernels share this layout");

void mica_arange_ref(const void *args, const mica_cpu_worker *worker);
