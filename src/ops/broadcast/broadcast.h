/* Axes of length 1 repeated, and new axes in front; a view with strides of 0. */
#pragma once
#include "ops/common/rule.h"

typedef struct mica_broadcast_params {
    mica_shape_params shape;
} mica_broadcast_params;
