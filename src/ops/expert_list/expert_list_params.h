/* The parameters of op expert_list, for those that add the node. */
#pragma once
#include <stdint.h>

typedef struct mica_expert_list_params {
    int32_t n_experts;
} mica_expert_list_params;
