/* Axes in another order; a view. */
#pragma once
#include "ops/common/rule.h"

typedef struct mica_permute_params {
    int8_t order[MICA_RANK_MAX]; /* axis i of the result is axis order[i] of x */
} mica_permute_params;
