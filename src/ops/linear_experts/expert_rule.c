/* What the shape rules and meanings of the fused ops over experts say about ids and scores. */
#include "ops/linear_experts/expert_rule.h"
#include "base/error.h"
#include "mica/ops.h"
#include "ops/common/element.h"
#include "ops/expert_list/expert_list.h"
#include "ops/top_k/top_k.h"

static mica_status check_ids(const mica_graph *g, mica_expert_choice c, int64_t tokens,
                             int64_t n_experts, mica_error *err) {
    char text[176];
    const mica_node *ids = mica_graph_node(g, c.ids);
    if (ids->dtype != MICA_DTYPE_I32 || ids->shape.rank != 2 || ids->shape.dims[0] != tokens)
        return mica_fail(err, MICA_STATUS_INVALID, "ids %s of %s, expected i32 [%lld, slots]",
                         mica_shape_format(&ids->shape, text),
                         mica_dtype_name((mica_dtype)ids->dtype), (long long)tokens);
    if (!c.list) return MICA_STATUS_OK;
    const mica_node *list = mica_graph_node(g, c.list);
    int64_t want = n_experts + 1 + mica_shape_count(&ids->shape);
    if (list->dtype != MICA_DTYPE_I32 || mica_shape_count(&list->shape) != want)
        return mica_fail(err, MICA_STATUS_INVALID, "list %s, expected [%lld]",
                         mica_shape_format(&list->shape, text), (long long)want);
    return MICA_STATUS_OK;
}

static mica_status check_scores(const mica_graph *g, mica_expert_choice c, int64_t tokens,
                                int64_t n_experts, mica_error *err) {
    char text[176];
    const mica_node *s = mica_graph_node(g, c.scores);
    if (!mica_dtype_is_small_float(s->dtype) || s->shape.rank != 2 || s->shape.dims[0] != tokens ||
        s->shape.dims[1] != n_experts)
        return mica_fail(err, MICA_STATUS_INVALID, "scores %s%s, expected floats [%lld, %lld]",
                         mica_dtype_name((mica_dtype)s->dtype), mica_shape_format(&s->shape, text),
                         (long long)tokens, (long long)n_experts);
    if (c.k < 1 || c.k > MICA_TOP_K_MAX || c.k > n_experts)
        return mica_fail(err, MICA_STATUS_INVALID, "k = %d of %lld experts", c.k,
                         (long long)n_experts);
    return MICA_STATUS_OK;
}

mica_status mica_expert_check_choice(const mica_graph *g, mica_expert_choice c, int64_t tokens,
                                     int64_t n_experts, int64_t *slots, mica_error *err) {
    if (!c.ids == !c.scores || (c.list && !c.ids) || (c.k && !c.scores))
        return mica_fail(err, MICA_STATUS_INVALID,
                         "expected ids, or scores with k, and not both of them");
    if (n_experts < 1 || n_experts > MICA_EXPERTS_MAX)
        return mica_fail(err, MICA_STATUS_INVALID, "%lld experts, expected 1 to %d",
                         (long long)n_experts, MICA_EXPERTS_MAX);
    mica_status st = c.ids ? check_ids(g, c, tokens, n_experts, err)
                           : check_scores(g, c, tokens, n_experts, err);
    if (st != MICA_STATUS_OK) return st;
    *slots = c.ids ? mica_graph_node(g, c.ids)->shape.dims[1] : c.k;
    if (tokens && *slots > INT32_MAX / tokens)
        return mica_fail(err, MICA_STATUS_LIMIT, "%lld tokens of %lld experts", (long long)tokens,
                         (long long)*slots);
    return MICA_STATUS_OK;
}

mica_array mica_expert_compose_ids(mica_graph *g, mica_expert_choice c, bool is_softmax_first,
                                   mica_array *scores) {
    *scores = (mica_array){0};
    if (c.ids) return mica_array_of(g, c.ids);
    *scores = mica_array_of(g, c.scores);
    if (is_softmax_first) *scores = mica_softmax(g, *scores);
    return mica_top_k(g, *scores, c.k);
}
