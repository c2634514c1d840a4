/* Indices of the k largest elements of the last axis, largest first; the lower index first among
 * equals; NaN below everything; -0 equals 0. Any dtype. */
#pragma once
#include "core/cpu.h"
#include "ops/common/tensor_args.h"

#define MICA_TOP_K_MAX 1024

typedef struct mica_top_k_params {
    int32_t k; /* 1..MICA_TOP_K_MAX, at most the length of the axis */
} mica_top_k_params;

/* Worker: takes rows; its scratch holds a heap of k entries. */
typedef struct mica_top_k_args {
    mica_tensor_args x;
    uint64_t out;
    uint64_t live; /* address of the count of live rows of axis 0, 0 = all */
    int64_t rows;  /* length of axis 0; 1 for rank 1 */
    int64_t row;   /* lines along the last axis in it */
    int32_t k;
    int32_t reserved;
} mica_top_k_args;
static_assert(sizeof(mica_top_k_args) == 184, "host and device kernels share this layout");

/* An element of the heap in the worker's scratch. */
typedef struct mica_top_k_entry {
    uint64_t order; /* of the value, ascending */
    int64_t index;
} mica_top_k_entry;

void mica_top_k_ref(const void *args, const mica_cpu_worker *worker);
