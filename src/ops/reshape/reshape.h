/* Another shape over the same elements in row-major order; a view. */
#pragma once
#include "ops/common/rule.h"

typedef struct mica_reshape_params {
    mica_shape_params shape;
} mica_reshape_params;

/* Strides for `to` over the elements of a tensor of shape `from` (as many elements), without a
 * copy; false when there are none. */
bool mica_reshape_strides(const mica_shape *from, const int64_t *from_strides, const mica_shape *to,
                          int64_t *strides);
