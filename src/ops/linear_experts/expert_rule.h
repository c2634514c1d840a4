/* Host side that the fused ops over experts share: which experts the tokens choose. */
#pragma once
#include "core/op.h"

/* Either ids (with or without their list), or scores of which the k largest are chosen. */
typedef struct mica_expert_choice {
    mica_ref ids;
    mica_ref list;
    mica_ref scores;
    int32_t k;
} mica_expert_choice;

/* *slots = experts of a token. Errors: INVALID. */
mica_status mica_expert_check_choice(const mica_graph *g, mica_expert_choice c, int64_t tokens,
                                     int64_t n_experts, int64_t *slots, mica_error *err);

/* The ids in simpler ops; *scores = what they were searched in, the null array where ids are
 * given. */
mica_array mica_expert_compose_ids(mica_graph *g, mica_expert_choice c, bool is_softmax_first,
                                   mica_array *scores);
