/* experts_sum: shape rule, meaning in simpler ops, cost, launch, variants. Made by pass fuse alone.
 * The work is in experts_sum_walk.c. */
#include "ops/experts_sum/experts_sum.h"
#include "base/error.h"
#include "mica/ops.h"
#include "ops/common/element.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"
#include "ops/linear/linear_operands.h"
#include "ops/linear_experts/expert_rule.h"

enum {
    IN_X = MICA_EXPERTS_SUM_X,
    IN_WEIGHT = MICA_EXPERTS_SUM_WEIGHT,
    IN_BIAS = MICA_EXPERTS_SUM_BIAS,
    IN_IDS = MICA_EXPERTS_SUM_IDS,
    IN_SHARES = MICA_EXPERTS_SUM_SHARES,
    IN_SCORES = MICA_EXPERTS_SUM_SCORES,
    IN_RESIDUAL = MICA_EXPERTS_SUM_RESIDUAL,
    N_INPUTS = MICA_EXPERTS_SUM_INPUTS,
};

static mica_expert_choice choice_of(const mica_node *n) {
    return (mica_expert_choice){.ids = n->inputs[IN_IDS],
                                .scores = n->inputs[IN_SCORES],
                                .k = MICA_PARAMS(mica_experts_sum_params, n)->k};
}

/* ---- shape rule ---- */

static mica_status check_shares(const mica_graph *g, const mica_node *n, int64_t slots,
                                mica_error *err) {
    const mica_experts_sum_params *p = MICA_PARAMS(mica_experts_sum_params, n);
    const mica_node *x = mica_rule_input(g, n, IN_X);
    char text[176];
    if (!n->inputs[IN_IDS] != !n->inputs[IN_SHARES])
        return mica_fail(err, MICA_STATUS_INVALID, "expected ids and shares, or neither");
    if (p->shares < 0 || p->shares >= MICA_EXPERT_SHARES_COUNT_)
        return mica_fail(err, MICA_STATUS_INVALID, "shares of kind %d", (int)p->shares);
    if (!n->inputs[IN_SHARES]) return MICA_STATUS_OK;
    const mica_node *s = mica_rule_input(g, n, IN_SHARES);
    if (mica_dtype_is_small_float(s->dtype) && s->shape.rank == 2 &&
        s->shape.dims[0] == x->shape.dims[0] && s->shape.dims[1] == slots)
        return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_INVALID, "shares %s%s, expected floats [%lld, %lld]",
                     mica_dtype_name((mica_dtype)s->dtype), mica_shape_format(&s->shape, text),
                     (long long)x->shape.dims[0], (long long)slots);
}

static mica_status experts_sum_infer(const mica_graph *g, mica_node *n, mica_error *err) {
    const mica_node *x = mica_rule_input(g, n, IN_X), *w = mica_rule_input(g, n, IN_WEIGHT);
    char text[176];
    int64_t slots = 0;
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(mica_linear_check(g, n, err));
    MICA_REQUIRE(w->shape.rank == 3 && x->shape.rank == 3, MICA_STATUS_INVALID,
                 "x %s, expected rank 3, with a weight of rank 3",
                 mica_shape_format(&x->shape, text));
    MICA_TRY(
        mica_expert_check_choice(g, choice_of(n), x->shape.dims[0], w->shape.dims[0], &slots, err));
    MICA_REQUIRE(x->shape.dims[1] == slots, MICA_STATUS_INVALID, "x %s with %lld experts a token",
                 mica_shape_format(&x->shape, text), (long long)slots);
    MICA_TRY(check_shares(g, n, slots, err));
    int64_t dims[2] = {x->shape.dims[0], w->shape.dims[1]};
    MICA_REQUIRE(mica_shape_make(2, dims, &n->shape), MICA_STATUS_INVALID,
                 "too many elements for x %s", mica_shape_format(&x->shape, text));
    n->dtype = x->dtype;
    n->live = MICA_LIVE_ALL;
    MICA_TRY(mica_rule_live(g, n, IN_X, err));
    MICA_TRY(mica_rule_live(g, n, n->inputs[IN_IDS] ? IN_IDS : IN_SCORES, err));
    if (n->inputs[IN_SHARES]) MICA_TRY(mica_rule_live(g, n, IN_SHARES, err));
    st = mica_rule_residual(g, n, IN_RESIDUAL, err);
done:
    return st;
}

/* ---- meaning ---- */

static mica_array compose_shares(mica_graph *g, const mica_experts_sum_params *p, mica_array scores,
                                 mica_array ids) {
    mica_array shares = mica_take_along(g, scores, ids);
    if (p->shares == MICA_EXPERT_SHARES_SOFTMAX) return mica_softmax(g, shares);
    if (p->shares == MICA_EXPERT_SHARES_PLAIN) return shares;
    return mica_div(g, shares, mica_reduce(g, MICA_REDUCE_SUM, shares, -1, true));
}

static mica_ref experts_sum_compose(mica_graph *g, const mica_node *node) {
    mica_node n = *node; /* adding nodes may move it */
    const mica_experts_sum_params *p = MICA_PARAMS(mica_experts_sum_params, &n);
    mica_array scores,
        ids = mica_expert_compose_ids(g, choice_of(&n), p->is_softmax_first, &scores);
    mica_array shares = n.inputs[IN_SHARES] ? mica_array_of(g, n.inputs[IN_SHARES])
                                            : compose_shares(g, p, scores, ids);
    mica_array y = mica_linear_experts(g, mica_array_of(g, n.inputs[IN_X]),
                                       mica_array_of(g, n.inputs[IN_WEIGHT]),
                                       mica_array_of(g, n.inputs[IN_BIAS]), ids);
    y = mica_combine(g, y, shares);
    if (n.inputs[IN_RESIDUAL]) y = mica_add(g, mica_array_of(g, n.inputs[IN_RESIDUAL]), y);
    return mica_array_ref(g, y, false);
}

static void experts_sum_cost(const mica_graph *g, const mica_node *n, mica_cost *out) {
    const mica_node *x = mica_rule_input(g, n, IN_X), *w = mica_rule_input(g, n, IN_WEIGHT);
    uint64_t entries = (uint64_t)(x->shape.dims[0] * x->shape.dims[1]);
    uint64_t experts = (uint64_t)w->shape.dims[0], columns = (uint64_t)w->shape.dims[1];
    uint64_t element = mica_dtype_bytes((mica_dtype)x->dtype);
    uint64_t results = (uint64_t)mica_shape_count(&n->shape) * (n->inputs[IN_RESIDUAL] ? 2 : 1);
    out->bytes = mica_linear_weight_bytes(g, n, (entries < experts ? entries : experts) * columns) +
                 ((uint64_t)mica_shape_count(&x->shape) + results) * element;
    out->flops = 2 * entries * columns * ((uint64_t)w->shape.dims[2] + 1);
}

/* ---- launch ---- */

static void describe_sizes(const mica_graph *g, const mica_node *n, mica_experts_sum_args *a) {
    const mica_experts_sum_params *p = MICA_PARAMS(mica_experts_sum_params, n);
    const mica_node *x = mica_rule_input(g, n, IN_X), *w = mica_rule_input(g, n, IN_WEIGHT);
    mica_linear_describe(g, n, &a->experts.weight);
    a->experts.tokens = x->shape.dims[0];
    a->experts.n = w->shape.dims[1];
    a->experts.k = w->shape.dims[2];
    a->experts.slots = (int32_t)x->shape.dims[1];
    a->experts.n_experts = (int32_t)w->shape.dims[0];
    a->experts.x_divide = 1;
    a->dtype = n->dtype;
    if (n->inputs[IN_SCORES]) a->route.dtype = mica_rule_input(g, n, IN_SCORES)->dtype;
    a->route.is_softmax_first = p->is_softmax_first;
    a->route.shares = (uint8_t)p->shares;
}

static mica_status experts_sum_launch(mica_launch *l, const mica_node *n, mica_error *err) {
    mica_experts_sum_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "experts_sum arguments");
    mica_linear_experts_args *e = &a->experts;
    mica_launch_read(l, &e->x, n->inputs[IN_X], 0);
    mica_linear_launch(l, n, &e->codes, &e->scales, &e->biases);
    mica_launch_read(l, &e->bias, n->inputs[IN_BIAS], 0);
    mica_launch_read(l, &e->ids, n->inputs[IN_IDS], 0);
    if (n->inputs[IN_SHARES]) mica_launch_tensor(l, &a->shares, n->inputs[IN_SHARES]);
    mica_launch_read(l, &a->route.scores, n->inputs[IN_SCORES], 0);
    mica_launch_read(l, &a->residual, n->inputs[IN_RESIDUAL], 0);
    mica_launch_write(l, &e->out, n, 0);
    mica_launch_live(l, &e->live, n);
    describe_sizes(l->graph, n, a);
    mica_launch_elements(l, e->n * e->k);
    return MICA_STATUS_OK;
}

static size_t experts_sum_scratch(const mica_graph *g, const mica_node *n) {
    mica_experts_sum_args a = {0};
    describe_sizes(g, n, &a);
    return mica_experts_sum_scratch_bytes(&a);
}

/* ---- table ---- */

static const mica_kernel experts_sum_kernels[] = {
#define EXPERT_LEVEL(name, rows_, around, needs, accepts)                                          \
    {"experts_sum_" #name, MICA_DEVICE_CPU,        needs, accepts,                                 \
     experts_sum_scratch,  mica_experts_sum_##name},
#include "ops/linear_experts/expert_levels.def"
};

static const mica_param experts_sum_params[] = {
    {"k", MICA_PARAM_I32, offsetof(mica_experts_sum_params, k)},
    {"shares", MICA_PARAM_I32, offsetof(mica_experts_sum_params, shares)},
    {"softmax_first", MICA_PARAM_BOOL, offsetof(mica_experts_sum_params, is_softmax_first)},
};

const mica_op mica_op_experts_sum = {
    .name = "experts_sum",
    .n_inputs_min = N_INPUTS,
    .n_inputs_max = N_INPUTS,
    .optional = 1 << IN_BIAS | 1 << IN_IDS | 1 << IN_SHARES | 1 << IN_SCORES | 1 << IN_RESIDUAL,
    .strided = 1 << IN_SHARES,
    .quantized = 1 << IN_WEIGHT,
    .in_place = 1 << IN_RESIDUAL,
    .params = experts_sum_params,
    .n_params = sizeof experts_sum_params / sizeof experts_sum_params[0],
    .infer = experts_sum_infer,
    .compose = experts_sum_compose,
    .cost = experts_sum_cost,
    .launch = experts_sum_launch,
    .kernels = experts_sum_kernels,
    .n_kernels = sizeof experts_sum_kernels / sizeof experts_sum_kernels[0],
};
