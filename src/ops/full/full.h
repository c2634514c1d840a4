/* Every element one value, converted as cast does. */
#pragma once
#include <assert.h>
#include "core/cpu.h"

/* Worker: a share of the elements. */
typedef struct mica_full_args {
    uint64_t out;
    int64_t count;
    double value;
    int32_t dtype;
    int32_t reserved;
} mica_full_args;
static_assert(sizeof(mica_full_args) == 32, "host and device kernels share this layout");

void mica_full_ref(const void *args, const mica_cpu_worker *worker);
