/* Residuals: what is added to the result of a linear that nobody else sees becomes its fourth
 * input. */
#include <string.h>
#include "mica/ops.h"
#include "plan/fuse.h"

/* Whether operand `side` of a sum is a linear that can take the other one. */
static bool can_take_residual(const mica_fusion *f, const mica_node *sum, int side) {
    const mica_graph *g = f->draft->graph;
    mica_ref ref = sum->inputs[side];
    const mica_node *n = mica_graph_node(g, ref),
                    *other = mica_graph_node(g, sum->inputs[1 - side]);
    return n->op == MICA_OP_linear && n->n_inputs == 3 && mica_fuse_is_private(f, ref) &&
           n->live == sum->live && mica_shape_equal(&n->shape, &sum->shape) &&
           other->live == sum->live && other->dtype == n->dtype &&
           mica_shape_equal(&other->shape, &sum->shape) && !mica_fuse_reads_overwritten(f, n);
}

/* linear(x, w, bias) + y, either way round. True when the node was replaced. */
bool mica_fuse_residual(mica_fusion *f, mica_ref ref) {
    const mica_node *n = mica_graph_node(f->draft->graph, ref);
    int32_t kind = 0;
    if (n->op != MICA_OP_binary ||
        !mica_draft_read_param(mica_draft_op(f->draft, n), n, "kind", &kind) ||
        kind != MICA_BINARY_ADD)
        return false;
    for (int side = 1; side >= 0; side--) {
        if (!can_take_residual(f, n, side)) continue;
        mica_node by = *n;
        const mica_node *linear = mica_graph_node(f->draft->graph, n->inputs[side]);
        by.op = MICA_OP_linear;
        by.params = linear->params;
        memcpy(by.inputs, linear->inputs, 3 * sizeof *by.inputs);
        by.inputs[3] = n->inputs[1 - side];
        by.n_inputs = 4;
        if (mica_fuse_replace(f, ref, by)) return true;
    }
    return false;
}
