/* Pass fuse: groups of nodes become one node, so that values in between need no memory and no step.
 * The list of patterns and the walk; each pattern has a file of its own. */
#include "plan/fuse.h"
#include "base/error.h"

/* In the order in which they are tried on a node. */
static const mica_fuse_pattern patterns[] = {
    mica_fuse_residual,
    mica_fuse_chain,
};

/* ---- shared by patterns ---- */

bool mica_fuse_reads_overwritten(const mica_fusion *f, const mica_node *n) {
    for (int i = 0; i < n->n_inputs; i++)
        if (f->is_overwritten[mica_node_root(f->draft->graph, n->inputs[i])]) return true;
    return false;
}

bool mica_fuse_is_private(const mica_fusion *f, mica_ref ref) {
    return f->n_users[ref] == 1 && !mica_graph_node(f->draft->graph, ref)->is_output;
}

bool mica_fuse_replace(mica_fusion *f, mica_ref ref, mica_node by) {
    mica_draft *d = f->draft;
    mica_node *n = mica_graph_node(d->graph, ref);
    mica_error ignored;
    by.live = MICA_LIVE_ALL;
    if (mica_draft_op(d, &by)->infer(d->graph, &by, &ignored) != MICA_STATUS_OK) return false;
    if (by.dtype != n->dtype || by.live != n->live || !mica_shape_equal(&by.shape, &n->shape))
        return false;
    *n = by;
    return true;
}

/* ---- the walk ---- */

static mica_status open_fusion(mica_draft *d, mica_fusion *f, mica_error *err) {
    uint32_t count = mica_graph_count(d->graph);
    *f = (mica_fusion){.draft = d};
    f->n_users = mica_draft_scratch(d, count, sizeof *f->n_users);
    f->is_absorbed = mica_draft_scratch(d, count, 1);
    f->is_overwritten = mica_draft_find_overwritten(d);
    if (!f->n_users || !f->is_absorbed || !f->is_overwritten)
        return mica_draft_fail_memory(d, "fusing", err);
    for (mica_ref r = 1; r < count; r++) {
        const mica_node *n = mica_graph_node(d->graph, r);
        for (int i = 0; i < n->n_inputs; i++) f->n_users[n->inputs[i]]++;
        if (n->is_view) f->n_users[n->view_of]++;
    }
    for (size_t i = 0; i < d->n_outputs; i++) f->n_users[d->outputs[i]]++;
    f->n_users[d->graph->counts]++;
    return MICA_STATUS_OK;
}

/* The first pattern that fits. */
static void fuse_node(mica_fusion *f, mica_ref ref) {
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (patterns[i](f, ref)) return;
}

/* Users come behind their operands: from the end, each chain begins with its last node. */
mica_status mica_pass_fuse(mica_draft *d, mica_error *err) {
    mica_fusion f;
    mica_status st = open_fusion(d, &f, err);
    if (st != MICA_STATUS_OK) return st;
    for (mica_ref r = mica_graph_count(d->graph) - 1; r > 0; r--)
        if (!f.is_absorbed[r]) fuse_node(&f, r);
    return mica_draft_sweep(d, NULL, 0, err);
}
