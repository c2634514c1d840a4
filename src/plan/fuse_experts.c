/* Mixtures of experts: a linear over experts with the activation behind it becomes experts_glu;
 * with the weighted sum and the residual behind it, for few tokens, experts_sum. For few tokens
 * both take the router's scores and work out for themselves where tokens go, and experts_glu the
 * norm before it, too: three steps are then left of a layer's mixture. */
#include <string.h>
#include "core/experts.h"
#include "mica/ops.h"
#include "plan/fuse.h"

/* The node with another op, without inputs and parameters. */
static mica_node start_node(const mica_node *n, mica_op_id op, int n_inputs) {
    mica_node by = *n;
    by.op = (uint16_t)op;
    by.n_inputs = (uint8_t)n_inputs;
    memset(by.inputs, 0, sizeof by.inputs);
    memset(&by.params, 0, sizeof by.params);
    return by;
}

/* A fused node that the device would have to take apart again is of no use. */
static bool replace(mica_fusion *f, mica_ref ref, const mica_node *by) {
    return mica_draft_find_kernel(f->draft, by) && mica_fuse_replace(f, ref, *by);
}

/* ---- the way to the experts ---- */

typedef struct route {
    mica_ref scores;
    int32_t k;
    bool is_softmax_first;
    mica_expert_shares shares;
} route;

/* The node if it has the op and can be computed later than where it stands. */
static const mica_node *movable(const mica_fusion *f, mica_ref ref, mica_op_id op) {
    const mica_node *n = mica_graph_node(f->draft->graph, ref);
    return ref && n->op == op && !mica_fuse_reads_overwritten(f, n) ? n : NULL;
}

/* Few tokens, and their ids are the places of the k largest of some scores. */
static bool find_choice(const mica_fusion *f, mica_ref ids, route *out) {
    const mica_node *n = movable(f, ids, MICA_OP_top_k);
    if (!n || n->shape.rank != 2 || n->shape.dims[0] > MICA_FUSE_ROWS_MAX) return false;
    if (!mica_draft_read_param(mica_draft_op(f->draft, n), n, "k", &out->k)) return false;
    const mica_node *softmax = movable(f, n->inputs[0], MICA_OP_softmax);
    out->is_softmax_first = softmax != NULL;
    out->scores = softmax ? softmax->inputs[0] : n->inputs[0];
    return true;
}

static bool is_sum_over_last(const mica_fusion *f, mica_ref ref, mica_ref of) {
    const mica_node *n = movable(f, ref, MICA_OP_reduce);
    int32_t kind, axis, keep;
    if (!n || n->inputs[0] != of) return false;
    const mica_op *op = mica_draft_op(f->draft, n);
    return mica_draft_read_param(op, n, "kind", &kind) && kind == MICA_REDUCE_SUM &&
           mica_draft_read_param(op, n, "keep", &keep) && keep &&
           mica_draft_read_param(op, n, "axis", &axis) && (axis == 1 || axis == -1);
}

/* What the taken scores go through on their way to the shares; *taken = the node that takes. */
static mica_expert_shares find_shares_kind(const mica_fusion *f, mica_ref shares, mica_ref *taken) {
    const mica_node *n = movable(f, shares, MICA_OP_softmax);
    int32_t kind;
    *taken = n ? n->inputs[0] : shares;
    if (n) return MICA_EXPERT_SHARES_SOFTMAX;
    n = movable(f, shares, MICA_OP_binary);
    if (!n || !mica_draft_read_param(mica_draft_op(f->draft, n), n, "kind", &kind) ||
        kind != MICA_BINARY_DIV || !is_sum_over_last(f, n->inputs[1], n->inputs[0]))
        return MICA_EXPERT_SHARES_PLAIN;
    *taken = n->inputs[0];
    return MICA_EXPERT_SHARES_SUM;
}

/* The shares come from the same scores as the ids. */
static bool find_route(const mica_fusion *f, mica_ref ids, mica_ref shares, route *out) {
    mica_ref taken;
    if (!find_choice(f, ids, out)) return false;
    out->shares = find_shares_kind(f, shares, &taken);
    const mica_node *n = movable(f, taken, MICA_OP_take_along);
    return n && n->inputs[0] == mica_graph_node(f->draft->graph, ids)->inputs[0] &&
           n->inputs[1] == ids;
}

/* ---- gates, ups and their activation ---- */

/* A linear over experts that nobody else sees. */
static const mica_node *find_linear(const mica_fusion *f, mica_ref ref) {
    return mica_fuse_is_private(f, ref) ? movable(f, ref, MICA_OP_linear_experts) : NULL;
}

static bool are_pair(const mica_node *gate, const mica_node *up) {
    return gate->inputs[MICA_LINEAR_EXPERTS_X] == up->inputs[MICA_LINEAR_EXPERTS_X] &&
           gate->inputs[MICA_LINEAR_EXPERTS_IDS] == up->inputs[MICA_LINEAR_EXPERTS_IDS] &&
           gate->inputs[MICA_LINEAR_EXPERTS_LIST] == up->inputs[MICA_LINEAR_EXPERTS_LIST];
}

/* What every worker can do for itself where tokens are few. */
static void take_prologue(const mica_fusion *f, mica_node *by) {
    mica_ref x = by->inputs[MICA_EXPERTS_GLU_X];
    route r;
    if (mica_graph_node(f->draft->graph, x)->shape.dims[0] > MICA_FUSE_ROWS_MAX) return;
    if (find_choice(f, by->inputs[MICA_EXPERTS_GLU_IDS], &r)) {
        by->inputs[MICA_EXPERTS_GLU_IDS] = by->inputs[MICA_EXPERTS_GLU_LIST] = 0;
        by->inputs[MICA_EXPERTS_GLU_SCORES] = r.scores;
        mica_fuse_set_param(f, by, "k", r.k);
        mica_fuse_set_param(f, by, "softmax_first", r.is_softmax_first);
    }
    const mica_node *norm = movable(f, x, MICA_OP_rms_norm);
    if (!norm || !norm->inputs[1]) return;
    by->inputs[MICA_EXPERTS_GLU_X] = norm->inputs[0];
    by->inputs[MICA_EXPERTS_GLU_NORM] = norm->inputs[1];
    mica_fuse_copy_param(f, norm, by, "eps");
    mica_fuse_copy_param(f, norm, by, "offset");
}

static void copy_activation(const mica_fusion *f, const mica_node *glu, mica_node *to) {
    static const char *const names[] = {"kind", "interleaved", "alpha", "limit"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        mica_fuse_copy_param(f, glu, to, names[i]);
}

/* glu of one or two linears over experts. */
bool mica_fuse_experts_glu(mica_fusion *f, mica_ref ref) {
    const mica_node *n = mica_graph_node(f->draft->graph, ref), *up = NULL;
    if (n->op != MICA_OP_glu || (n->n_inputs == 2 && n->inputs[0] == n->inputs[1])) return false;
    const mica_node *gate = find_linear(f, n->inputs[0]);
    if (!gate || mica_graph_node(f->draft->graph, gate->inputs[0])->shape.rank != 2) return false;
    if (n->n_inputs == 2) {
        up = find_linear(f, n->inputs[1]);
        if (!up || !are_pair(gate, up)) return false;
    }
    mica_node by = start_node(n, MICA_OP_experts_glu, MICA_EXPERTS_GLU_INPUTS);
    memcpy(by.inputs, gate->inputs, MICA_LINEAR_EXPERTS_INPUTS * sizeof *by.inputs);
    copy_activation(f, n, &by);
    if (up) {
        by.inputs[MICA_EXPERTS_GLU_UP_WEIGHT] = up->inputs[MICA_LINEAR_EXPERTS_WEIGHT];
        by.inputs[MICA_EXPERTS_GLU_UP_BIAS] = up->inputs[MICA_LINEAR_EXPERTS_BIAS];
    }
    take_prologue(f, &by);
    return replace(f, ref, &by);
}

/* ---- down, weighted sum, residual ---- */

/* The combine of `ref` and what is added to it (0 = nothing); false where there is none. */
static bool find_combine(const mica_fusion *f, mica_ref ref, mica_ref *combine, mica_ref *other) {
    const mica_graph *g = f->draft->graph;
    const mica_node *n = mica_graph_node(g, ref);
    int32_t kind = 0;
    *combine = ref;
    *other = 0;
    if (n->op == MICA_OP_combine) return n->n_inputs == 2;
    if (n->op != MICA_OP_binary ||
        !mica_draft_read_param(mica_draft_op(f->draft, n), n, "kind", &kind) ||
        kind != MICA_BINARY_ADD)
        return false;
    for (int side = 1; side >= 0; side--) {
        *combine = n->inputs[side];
        *other = n->inputs[1 - side];
        const mica_node *c = movable(f, *combine, MICA_OP_combine);
        if (c && c->n_inputs == 2 && mica_fuse_is_private(f, *combine)) return true;
    }
    return false;
}

static bool make_sum(mica_fusion *f, mica_ref ref, mica_ref combine_ref, mica_ref other) {
    const mica_graph *g = f->draft->graph;
    const mica_node *combine = mica_graph_node(g, combine_ref);
    const mica_node *down = find_linear(f, combine->inputs[0]);
    route r;
    if (!down || combine->shape.dims[0] > MICA_FUSE_ROWS_MAX ||
        mica_graph_node(g, down->inputs[0])->shape.rank != 3)
        return false;
    mica_node by =
        start_node(mica_graph_node(g, ref), MICA_OP_experts_sum, MICA_EXPERTS_SUM_INPUTS);
    mica_ref ids = down->inputs[MICA_LINEAR_EXPERTS_IDS];
    memcpy(by.inputs, down->inputs, (MICA_EXPERTS_SUM_BIAS + 1) * sizeof *by.inputs);
    by.inputs[MICA_EXPERTS_SUM_RESIDUAL] = other;
    if (find_route(f, ids, combine->inputs[1], &r)) {
        by.inputs[MICA_EXPERTS_SUM_SCORES] = r.scores;
        mica_fuse_set_param(f, &by, "k", r.k);
        mica_fuse_set_param(f, &by, "shares", (int32_t)r.shares);
        mica_fuse_set_param(f, &by, "softmax_first", r.is_softmax_first);
    } else {
        by.inputs[MICA_EXPERTS_SUM_IDS] = ids;
        by.inputs[MICA_EXPERTS_SUM_SHARES] = combine->inputs[1];
    }
    return replace(f, ref, &by);
}

/* combine(linear_experts(h), shares) + y, either way round or without y. For many tokens the sum
 * takes the residual alone. */
bool mica_fuse_experts_sum(mica_fusion *f, mica_ref ref) {
    mica_ref combine, other;
    if (!find_combine(f, ref, &combine, &other)) return false;
    if (make_sum(f, ref, combine, other)) return true;
    if (!other) return false;
    const mica_node *c = mica_graph_node(f->draft->graph, combine);
    mica_node by = start_node(mica_graph_node(f->draft->graph, ref), MICA_OP_combine, 3);
    by.inputs[0] = c->inputs[0];
    by.inputs[1] = c->inputs[1];
    by.inputs[2] = other;
    return replace(f, ref, &by);
}
