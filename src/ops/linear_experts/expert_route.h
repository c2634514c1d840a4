/* Which experts a token goes to, worked out by every worker for itself: for few tokens that costs
 * less than the barriers behind top_k, take_along, softmax and expert_list, whose kernels do it. */
#pragma once
#include <assert.h>
#include "core/experts.h"
#include "ops/linear_experts/expert_level.h"
#include "ops/linear_experts/linear_experts.h"

typedef struct mica_expert_route_args {
    uint64_t scores; /* [tokens, n_experts]; 0 = the step has ids */
    int32_t dtype;   /* mica_dtype of scores and shares: f32, f16 or bf16 */
    uint8_t is_softmax_first;
    uint8_t shares; /* mica_expert_shares */
    uint8_t reserved[2];
} mica_expert_route_args;
static_assert(sizeof(mica_expert_route_args) == 16, "host and device kernels share this layout");

/* What lies in a worker's scratch, 64-byte aligned parts one behind the other. */
typedef struct mica_expert_route {
    int32_t *ids;    /* [tokens, slots] */
    int32_t *list;   /* as op expert_list makes it */
    uint8_t *shares; /* [tokens, slots] of the scores' dtype */
    uint8_t *probabilities;
    uint8_t *sums;
    void *heap; /* of top_k */
} mica_expert_route;

size_t mica_expert_route_bytes(int64_t tokens, int64_t slots, int64_t n_experts);

/* Ids, shares and list of all live tokens from the scores; experts->ids and list are set to them.
 * Without scores: the list of the ids that are there. scratch has mica_expert_route_bytes. */
void mica_expert_route_find(const mica_expert_route_args *a, const mica_expert_level *level,
                            mica_linear_experts_args *experts, void *scratch,
                            mica_expert_route *out);
