/* Arrays of one dtype behind one another along one axis; their other axes are equal. */
#pragma once
#include "core/cpu.h"
#include "ops/common/tensor_args.h"

#define MICA_CONCAT_PARTS_MAX 12

typedef struct mica_concat_params {
    int32_t axis;
} mica_concat_params;

/* A slab is one index of all axes before the joined one: in the result its parts lie without gaps.
 * Worker: takes slabs of single parts, or shares of them when there are few. */
typedef struct mica_concat_args {
    mica_tensor_args parts[MICA_CONCAT_PARTS_MAX];
    uint64_t out;
    uint64_t live;         /* address of the count of live rows, 0 = all */
    int64_t rows;          /* axis 0 of the result if it is before the joined one, else 1 */
    int64_t slabs;         /* in such a row */
    int64_t slab_elements; /* of the result */
    int32_t n_parts;
    int32_t axis;
} mica_concat_args;
static_assert(sizeof(mica_concat_args) == 1776, "host and device kernels share this layout");

void mica_concat_ref(const void *args, const mica_cpu_worker *worker);
