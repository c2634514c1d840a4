/* Pass fuse: groups of nodes become one node, so that values in between need no memory and no step.
 * The list of patterns and the walk; each pattern has a file of its own. */
#include "plan/fuse.h"
#include <string.h>
#include "base/error.h"

/* In the order in which they are tried on a node. */
static const mica_fuse_pattern patterns[] = {
    mica_fuse_residual,  mica_fuse_gate,        mica_fuse_side_by_side,
    mica_fuse_prologue,  mica_fuse_experts_sum, mica_fuse_experts_glu,
    mica_fuse_attention, mica_fuse_rope_table,  mica_fuse_chain,
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

/* A view needs its input and the owner of the storage. */
static void add_users(mica_fusion *f, const mica_node *n) {
    for (int i = 0; i < n->n_inputs; i++) f->n_users[n->inputs[i]]++;
    if (n->is_view) f->n_users[n->view_of]++;
}

static void drop_users(mica_fusion *f, const mica_node *n);

/* Only what a fused node absorbed dies, so this goes no deeper than its group of nodes. */
static void drop_user(mica_fusion *f, mica_ref ref) {
    if (!ref || --f->n_users[ref]) return;
    f->is_absorbed[ref] = 1;
    drop_users(f, mica_graph_node(f->draft->graph, ref));
}

static void drop_users(mica_fusion *f, const mica_node *n) {
    for (int i = 0; i < n->n_inputs; i++) drop_user(f, n->inputs[i]);
    if (n->is_view) drop_user(f, n->view_of);
}

/* Runs the rule on a node that is not in the graph. */
static bool infer(const mica_fusion *f, mica_node *n) {
    mica_error ignored;
    n->live = MICA_LIVE_ALL;
    n->is_view = 0;
    n->view_of = 0;
    n->view_offset = 0;
    mica_shape_strides(&n->shape, n->strides);
    if (mica_draft_op(f->draft, n)->infer(f->draft->graph, n, &ignored) != MICA_STATUS_OK)
        return false;
    if (!n->is_view) mica_shape_strides(&n->shape, n->strides);
    return true;
}

bool mica_fuse_replace(mica_fusion *f, mica_ref ref, mica_node by) {
    mica_node *n = mica_graph_node(f->draft->graph, ref);
    mica_node was = *n;
    if (!infer(f, &by)) return false;
    if (by.dtype != was.dtype || by.live != was.live || !mica_shape_equal(&by.shape, &was.shape))
        return false;
    *n = by;
    add_users(f, &by);
    drop_users(f, &was);
    return true;
}

mica_ref mica_fuse_add(mica_fusion *f, mica_node node) {
    mica_draft *d = f->draft;
    mica_node n = {.op = node.op, .n_inputs = node.n_inputs, .params = node.params};
    memcpy(n.inputs, node.inputs, sizeof n.inputs);
    if (mica_graph_count(d->graph) >= f->capacity || !infer(f, &n)) return 0;
    mica_ref ref = mica_graph_add(d->graph, (mica_op_id)n.op, n.inputs, n.n_inputs, &n.params,
                                  sizeof n.params);
    if (ref) add_users(f, mica_graph_node(d->graph, ref));
    return ref;
}

void mica_fuse_drop_unused(mica_fusion *f, mica_ref ref) {
    if (f->n_users[ref] || f->is_absorbed[ref]) return;
    f->is_absorbed[ref] = 1;
    drop_users(f, mica_graph_node(f->draft->graph, ref));
}

bool mica_fuse_refresh_view(mica_fusion *f, mica_ref ref) {
    return mica_fuse_replace(f, ref, *mica_graph_node(f->draft->graph, ref));
}

static const mica_param *find_param(const mica_fusion *f, const mica_node *n, const char *name) {
    const mica_op *op = mica_draft_op(f->draft, n);
    size_t i = 0;
    while (i + 1 < op->n_params && strcmp(op->params[i].name, name) != 0) i++;
    return &op->params[i];
}

void mica_fuse_set_param(const mica_fusion *f, mica_node *n, const char *name, int64_t value) {
    const mica_param *p = find_param(f, n, name);
    bool is_true = value != 0;
    int32_t narrow = (int32_t)value;
    uint8_t *at = n->params.bytes + p->offset;
    if (p->type == MICA_PARAM_BOOL) memcpy(at, &is_true, sizeof is_true);
    if (p->type == MICA_PARAM_I32) memcpy(at, &narrow, sizeof narrow);
    if (p->type == MICA_PARAM_I64) memcpy(at, &value, sizeof value);
}

void mica_fuse_copy_param(const mica_fusion *f, const mica_node *from, mica_node *to,
                          const char *name) {
    const mica_param *a = find_param(f, from, name), *b = find_param(f, to, name);
    bool is_wide = a->type == MICA_PARAM_I64 || a->type == MICA_PARAM_F64;
    size_t bytes = a->type == MICA_PARAM_BOOL ? sizeof(bool) : is_wide ? 8 : 4;
    memcpy(to->params.bytes + b->offset, from->params.bytes + a->offset, bytes);
}

/* ---- the walk ---- */

static mica_status open_fusion(mica_draft *d, mica_fusion *f, mica_error *err) {
    uint32_t count = mica_graph_count(d->graph);
    *f = (mica_fusion){.draft = d, .count = count};
    f->capacity = count < MICA_GRAPH_NODES_MAX / 2 ? 2 * count : count;
    f->n_users = mica_draft_scratch(d, f->capacity, sizeof *f->n_users);
    f->is_absorbed = mica_draft_scratch(d, f->capacity, 1);
    f->is_overwritten = mica_draft_scratch(d, f->capacity, 1);
    const uint8_t *overwritten = mica_draft_find_overwritten(d);
    if (!f->n_users || !f->is_absorbed || !f->is_overwritten || !overwritten)
        return mica_draft_fail_memory(d, "fusing", err);
    memcpy(f->is_overwritten, overwritten, count);
    for (mica_ref r = 1; r < count; r++) add_users(f, mica_graph_node(d->graph, r));
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
    const mica_error *e = &d->graph->error; /* no memory for a node that a pattern added */
    if (e->status != MICA_STATUS_OK) return mica_fail(err, e->status, "%s", e->message);
    return mica_draft_sweep(d, NULL, 0, err);
}
