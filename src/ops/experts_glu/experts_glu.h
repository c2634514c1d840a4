/* experts_glu: a linear over experts and the gated activation of its result in one step, so that
 * the values before the activation are never stored. What pass `fuse` makes of linear_experts and
 * glu; the bits are theirs.
 * x       [tokens, k]
 * weight  [n_experts, 2 width, k], gates and ups in halves or interleaved; or gates
 *         [n_experts, width, k] and ups in `up_weight` of the same type
 * ids, list  as linear_experts takes them; or (few tokens) scores [tokens, n_experts], of which
 *         each worker finds the k largest for itself
 * norm    [k], optional: x goes through an rms_norm with this weight first, in every worker
 * result  [tokens, slots, width] */
#pragma once
#include "core/experts.h"
#include "ops/linear_experts/expert_level.h"
#include "ops/linear_experts/expert_route.h"
#include "ops/linear_experts/linear_experts.h"

/* Fields carry the names that they have in glu, top_k and rms_norm. */
typedef struct mica_experts_glu_params {
    int32_t kind; /* mica_glu_kind */
    bool is_interleaved;
    bool is_softmax_first; /* the scores' softmax is searched */
    float alpha;
    float limit;
    int32_t k; /* experts of a token where scores are given; else 0 */
    float eps;
    float offset;
} mica_experts_glu_params;

typedef struct mica_experts_glu_args {
    mica_linear_experts_args experts; /* n = weight rows of an expert in the first weight */
    uint64_t up_codes;                /* 0 = gates and ups are in the first weight */
    uint64_t up_scales;
    uint64_t up_biases;
    uint64_t up_bias;
    mica_expert_route_args route;
    uint64_t norm; /* 0 = x as it is */
    int64_t width;
    int32_t dtype; /* mica_dtype of x and out */
    int32_t norm_dtype;
    float eps;
    float offset;
    int32_t kind;
    int32_t is_interleaved;
    float alpha;
    float limit;
} mica_experts_glu_args;
static_assert(sizeof(mica_experts_glu_args) == 240, "host and device kernels share this layout");

size_t mica_experts_glu_scratch_bytes(const mica_experts_glu_args *a);
#define EXPERT_LEVEL(name, rows_, around, needs, accepts)                                          \
    void mica_experts_glu_##name(const void *args, const mica_cpu_worker *worker);
#include "ops/linear_experts/expert_levels.def"
#undef EXPERT_LEVEL
