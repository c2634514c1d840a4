/* experts_sum: a linear over experts, the sum of each token's rows weighted by its shares, and the
 * residual, in one step. For few tokens: all rows of a tile of columns are kept. What pass `fuse`
 * makes of linear_experts, combine and an addition; the bits are theirs.
 * x         [tokens, slots, k]
 * weight    [n_experts, n, k], bias [n_experts, n]
 * ids       i32 [tokens, slots] with shares [tokens, slots]; or
 * scores    [tokens, n_experts], of which each worker finds the `slots` largest for itself and
 *           makes their shares
 * residual  [tokens, n], optional
 * result    [tokens, n] */
#pragma once
#include "core/experts.h"
#include "ops/common/tensor_args.h"
#include "ops/linear_experts/expert_level.h"
#include "ops/linear_experts/expert_route.h"
#include "ops/linear_experts/linear_experts.h"

typedef struct mica_experts_sum_params {
    int32_t k;      /* experts of a token where scores are given; else 0 */
    int32_t shares; /* mica_expert_shares, of scores */
    bool is_softmax_first;
} mica_experts_sum_params;

typedef struct mica_experts_sum_args {
    mica_linear_experts_args experts; /* out: [tokens, n] */
    mica_tensor_args shares;          /* rank 0 where scores are given */
    mica_expert_route_args route;
    uint64_t residual; /* 0 = none */
    int32_t dtype;     /* mica_dtype of x and out */
    int32_t reserved;
} mica_experts_sum_args;
static_assert(sizeof(mica_experts_sum_args) == 320, "host and device kernels share this layout");

/* Columns of the result in a job, at most: each packs the rows of x anew. */
#define MICA_EXPERTS_SUM_COLUMNS 480

size_t mica_experts_sum_scratch_bytes(const mica_experts_sum_args *a);
#define EXPERT_LEVEL(name, rows_, around, needs, accepts)                                          \
    void mica_experts_sum_##name(const void *args, const mica_cpu_worker *worker);
#include "ops/linear_experts/expert_levels.def"
#undef EXPERT_LEVEL
