/* Every step-th element of one axis; a view. */
#pragma once
#include "ops/common/rule.h"

/* As given by the user: Python's rules for negative and far bounds are applied by the shape rule.
 * step is not 0. */
typedef struct mica_slice_params {
    int64_t start;
    int64_t stop;
    int64_t step;
    int32_t axis;
    int32_t reserved;
} mica_slice_params;
