/* experts_glu: shape rule, meaning in simpler ops, cost, launch, variants. Made by pass fuse alone.
 * The work is in experts_glu_walk.c. */
#include "ops/experts_glu/experts_glu.h"
#include "base/error.h"
#include "mica/ops.h"
#include "ops/common/element.h"
#include "ops/common/launch_args.h"
#include "ops/common/row_args.h"
#include "ops/common/rule.h"
#include "ops/linear/linear_operands.h"
#include "ops/linear_experts/expert_rule.h"

enum {
    IN_X = MICA_EXPERTS_GLU_X,
    IN_WEIGHT = MICA_EXPERTS_GLU_WEIGHT,
    IN_BIAS = MICA_EXPERTS_GLU_BIAS,
    IN_IDS = MICA_EXPERTS_GLU_IDS,
    IN_LIST = MICA_EXPERTS_GLU_LIST,
    IN_UP_WEIGHT = MICA_EXPERTS_GLU_UP_WEIGHT,
    IN_UP_BIAS = MICA_EXPERTS_GLU_UP_BIAS,
    IN_SCORES = MICA_EXPERTS_GLU_SCORES,
    IN_NORM = MICA_EXPERTS_GLU_NORM,
    N_INPUTS = MICA_EXPERTS_GLU_INPUTS,
};

/* ---- shape rule ---- */

/* The node as linear's rules see it with the second weight. */
static mica_node up_linear(const mica_node *n) {
    mica_node up = *n;
    up.inputs[IN_WEIGHT] = n->inputs[IN_UP_WEIGHT];
    up.inputs[IN_BIAS] = n->inputs[IN_UP_BIAS];
    return up;
}

static bool is_same_quant(mica_quant a, mica_quant b) {
    return a.mode == b.mode && a.bits == b.bits && a.group == b.group &&
           a.scale_dtype == b.scale_dtype;
}

/* Both weights are of one type and shape, so that one job description serves both. */
static mica_status check_up(const mica_graph *g, const mica_node *n, mica_error *err) {
    char a[176], b[176];
    mica_node up = up_linear(n);
    mica_status st = mica_linear_check(g, &up, err);
    if (st != MICA_STATUS_OK) return st;
    const mica_node *w = mica_rule_input(g, n, IN_WEIGHT);
    const mica_node *w2 = mica_rule_input(g, n, IN_UP_WEIGHT);
    bool fits = w->dtype == w2->dtype && is_same_quant(w->quant, w2->quant) &&
                mica_shape_equal(&w->shape, &w2->shape) &&
                !n->inputs[IN_BIAS] == !n->inputs[IN_UP_BIAS];
    if (fits && n->inputs[IN_BIAS])
        fits = mica_rule_input(g, n, IN_BIAS)->dtype == mica_rule_input(g, n, IN_UP_BIAS)->dtype;
    if (fits) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_INVALID,
                     "gates %s%s and ups %s%s, expected one type of weight and bias",
                     mica_dtype_name((mica_dtype)w->dtype), mica_shape_format(&w->shape, a),
                     mica_dtype_name((mica_dtype)w2->dtype), mica_shape_format(&w2->shape, b));
}

static mica_status check_activation(const mica_graph *g, const mica_node *n, mica_error *err) {
    const mica_experts_glu_params *p = MICA_PARAMS(mica_experts_glu_params, n);
    bool is_pair = n->inputs[IN_UP_WEIGHT] != 0;
    char text[176];
    mica_status st = MICA_STATUS_OK;
    MICA_REQUIRE(p->kind >= MICA_GLU_SILU && p->kind <= MICA_GLU_CLAMPED, MICA_STATUS_INVALID,
                 "kind %d is unknown", (int)p->kind);
    MICA_REQUIRE(p->kind != MICA_GLU_CLAMPED || p->limit >= 0, MICA_STATUS_INVALID, "limit is %g",
                 (double)p->limit);
    MICA_REQUIRE(!is_pair || !p->is_interleaved, MICA_STATUS_INVALID,
                 "two weights cannot be interleaved");
    const mica_node *w = mica_rule_input(g, n, IN_WEIGHT);
    MICA_REQUIRE(is_pair || w->shape.dims[1] % 2 == 0, MICA_STATUS_INVALID,
                 "weight %s, wanted an even number of rows", mica_shape_format(&w->shape, text));
    MICA_REQUIRE(!n->inputs[IN_NORM] || p->eps >= 0, MICA_STATUS_INVALID, "eps is %g",
                 (double)p->eps);
done:
    return st;
}

static mica_status experts_glu_infer(const mica_graph *g, mica_node *n, mica_error *err) {
    const mica_experts_glu_params *p = MICA_PARAMS(mica_experts_glu_params, n);
    const mica_node *x = mica_rule_input(g, n, IN_X), *w = mica_rule_input(g, n, IN_WEIGHT);
    mica_expert_choice choice = {n->inputs[IN_IDS], n->inputs[IN_LIST], n->inputs[IN_SCORES], p->k};
    char text[176];
    int64_t slots = 0;
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(mica_linear_check(g, n, err));
    MICA_REQUIRE(w->shape.rank == 3 && x->shape.rank == 2, MICA_STATUS_INVALID,
                 "x %s, expected rank 2, with a weight of rank 3",
                 mica_shape_format(&x->shape, text));
    if (n->inputs[IN_UP_WEIGHT]) MICA_TRY(check_up(g, n, err));
    MICA_TRY(check_activation(g, n, err));
    MICA_TRY(mica_expert_check_choice(g, choice, x->shape.dims[0], w->shape.dims[0], &slots, err));
    MICA_TRY(mica_rule_row_vector(g, n, IN_NORM, "norm", x->shape.dims[1], err));
    int64_t width = w->shape.dims[1] / (n->inputs[IN_UP_WEIGHT] ? 1 : 2);
    int64_t dims[3] = {x->shape.dims[0], slots, width};
    MICA_REQUIRE(mica_shape_make(3, dims, &n->shape), MICA_STATUS_INVALID,
                 "too many elements for x %s", mica_shape_format(&x->shape, text));
    n->dtype = x->dtype;
    n->live = MICA_LIVE_ALL;
    MICA_TRY(mica_rule_live(g, n, IN_X, err));
    st = mica_rule_live(g, n, choice.ids ? IN_IDS : IN_SCORES, err);
done:
    return st;
}

/* ---- meaning ---- */

static mica_ref experts_glu_compose(mica_graph *g, const mica_node *node) {
    mica_node n = *node; /* adding nodes may move it */
    mica_experts_glu_params p = *MICA_PARAMS(mica_experts_glu_params, &n);
    mica_expert_choice choice = {n.inputs[IN_IDS], n.inputs[IN_LIST], n.inputs[IN_SCORES], p.k};
    mica_glu_options glu = {.kind = (mica_glu_kind)p.kind,
                            .interleaved = p.is_interleaved,
                            .alpha = p.alpha,
                            .limit = p.limit};
    mica_array scores, ids = mica_expert_compose_ids(g, choice, p.is_softmax_first, &scores);
    mica_array x = mica_array_of(g, n.inputs[IN_X]);
    if (n.inputs[IN_NORM])
        x = mica_rms_norm(g, x, mica_array_of(g, n.inputs[IN_NORM]), p.eps, p.offset);
    mica_array y = mica_linear_experts(g, x, mica_array_of(g, n.inputs[IN_WEIGHT]),
                                       mica_array_of(g, n.inputs[IN_BIAS]), ids);
    if (!n.inputs[IN_UP_WEIGHT]) return mica_array_ref(g, mica_glu(g, y, glu), false);
    mica_array up = mica_linear_experts(g, x, mica_array_of(g, n.inputs[IN_UP_WEIGHT]),
                                        mica_array_of(g, n.inputs[IN_UP_BIAS]), ids);
    return mica_array_ref(g, mica_glu_pair(g, y, up, glu), false);
}

/* The weights of the experts that the tokens can choose, x and the result once. */
static void experts_glu_cost(const mica_graph *g, const mica_node *n, mica_cost *out) {
    const mica_node *x = mica_rule_input(g, n, IN_X), *w = mica_rule_input(g, n, IN_WEIGHT);
    uint64_t entries = (uint64_t)(n->shape.dims[0] * n->shape.dims[1]);
    uint64_t width = (uint64_t)n->shape.dims[2], experts = (uint64_t)w->shape.dims[0];
    uint64_t element = mica_dtype_bytes((mica_dtype)x->dtype);
    uint64_t weight_rows = (entries < experts ? entries : experts) * (uint64_t)w->shape.dims[1];
    out->bytes = mica_linear_weight_bytes(g, n, weight_rows) +
                 ((uint64_t)mica_shape_count(&x->shape) + entries * width) * element;
    if (n->inputs[IN_UP_WEIGHT]) {
        mica_node up = up_linear(n);
        out->bytes += mica_linear_weight_bytes(g, &up, weight_rows);
    }
    out->flops = entries * width * (4 * (uint64_t)w->shape.dims[2] + 16);
}

/* ---- launch ---- */

static void describe_sizes(const mica_graph *g, const mica_node *n, mica_experts_glu_args *a) {
    const mica_experts_glu_params *p = MICA_PARAMS(mica_experts_glu_params, n);
    const mica_node *w = mica_rule_input(g, n, IN_WEIGHT);
    mica_linear_describe(g, n, &a->experts.weight);
    a->experts.tokens = n->shape.dims[0];
    a->experts.n = w->shape.dims[1];
    a->experts.k = w->shape.dims[2];
    a->experts.slots = (int32_t)n->shape.dims[1];
    a->experts.n_experts = (int32_t)w->shape.dims[0];
    a->experts.x_divide = a->experts.slots ? a->experts.slots : 1;
    a->width = n->shape.dims[2];
    a->dtype = n->dtype;
    if (n->inputs[IN_NORM]) a->norm_dtype = mica_rule_input(g, n, IN_NORM)->dtype;
    if (n->inputs[IN_SCORES]) a->route.dtype = mica_rule_input(g, n, IN_SCORES)->dtype;
    a->route.is_softmax_first = p->is_softmax_first;
    a->eps = p->eps;
    a->offset = p->offset;
    a->kind = p->kind;
    a->is_interleaved = p->is_interleaved;
    a->alpha = p->alpha;
    a->limit = p->limit;
}

static mica_status experts_glu_launch(mica_launch *l, const mica_node *n, mica_error *err) {
    mica_experts_glu_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "experts_glu arguments");
    mica_linear_experts_args *e = &a->experts;
    mica_launch_read(l, &e->x, n->inputs[IN_X], 0);
    mica_linear_launch(l, n, &e->codes, &e->scales, &e->biases);
    mica_launch_read(l, &e->bias, n->inputs[IN_BIAS], 0);
    mica_launch_read(l, &e->ids, n->inputs[IN_IDS], 0);
    mica_launch_read(l, &e->list, n->inputs[IN_LIST], 0);
    if (n->inputs[IN_UP_WEIGHT]) {
        mica_node up = up_linear(n);
        mica_linear_launch(l, &up, &a->up_codes, &a->up_scales, &a->up_biases);
        mica_launch_read(l, &a->up_bias, n->inputs[IN_UP_BIAS], 0);
    }
    mica_launch_read(l, &a->route.scores, n->inputs[IN_SCORES], 0);
    mica_launch_read(l, &a->norm, n->inputs[IN_NORM], 0);
    mica_launch_write(l, &e->out, n, 0);
    mica_launch_live(l, &e->live, n);
    describe_sizes(l->graph, n, a);
    mica_launch_elements(l, e->n * e->k);
    return MICA_STATUS_OK;
}

/* The addresses do not count here, but which of them there are does. */
static size_t experts_glu_scratch(const mica_graph *g, const mica_node *n) {
    mica_experts_glu_args a = {.up_codes = n->inputs[IN_UP_WEIGHT],
                               .route.scores = n->inputs[IN_SCORES],
                               .norm = n->inputs[IN_NORM]};
    describe_sizes(g, n, &a);
    return mica_experts_glu_scratch_bytes(&a);
}

/* ---- table ---- */

static const mica_kernel experts_glu_kernels[] = {
#define EXPERT_LEVEL(name, rows_, around, needs, accepts)                                          \
    {"experts_glu_" #name, MICA_DEVICE_CPU,        needs, accepts,                                 \
     experts_glu_scratch,  mica_experts_glu_##name},
#include "ops/linear_experts/expert_levels.def"
};

static const mica_param experts_glu_params[] = {
    {"kind", MICA_PARAM_I32, offsetof(mica_experts_glu_params, kind)},
    {"interleaved", MICA_PARAM_BOOL, offsetof(mica_experts_glu_params, is_interleaved)},
    {"alpha", MICA_PARAM_F32, offsetof(mica_experts_glu_params, alpha)},
    {"limit", MICA_PARAM_F32, offsetof(mica_experts_glu_params, limit)},
    {"k", MICA_PARAM_I32, offsetof(mica_experts_glu_params, k)},
    {"softmax_first", MICA_PARAM_BOOL, offsetof(mica_experts_glu_params, is_softmax_first)},
    {"eps", MICA_PARAM_F32, offsetof(mica_experts_glu_params, eps)},
    {"offset", MICA_PARAM_F32, offsetof(mica_experts_glu_params, offset)},
};

const mica_op mica_op_experts_glu = {
    .name = "experts_glu",
    .n_inputs_min = N_INPUTS,
    .n_inputs_max = N_INPUTS,
    .optional = 1 << IN_BIAS | 1 << IN_IDS | 1 << IN_LIST | 1 << IN_UP_WEIGHT | 1 << IN_UP_BIAS |
                1 << IN_SCORES | 1 << IN_NORM,
    .quantized = 1 << IN_WEIGHT | 1 << IN_UP_WEIGHT,
    .params = experts_glu_params,
    .n_params = sizeof experts_glu_params / sizeof experts_glu_params[0],
    .infer = experts_glu_infer,
    .compose = experts_glu_compose,
    .cost = experts_glu_cost,
    .launch = experts_glu_launch,
    .kernels = experts_glu_kernels,
    .n_kernels = sizeof experts_glu_kernels / sizeof experts_glu_kernels[0],
};
