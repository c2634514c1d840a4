/* Pass collect: the part of the user's graph that the outputs need, copied in depth-first order.
 * Buffers of data nodes are retained, names copied, so that the plan outlives the graph. */
#include <string.h>
#include "base/error.h"
#include "plan/draft.h"

/* Roots of the outputs; what shares storage is asked for by its owner. */
static mica_status find_roots(mica_draft *d, mica_ref *roots, mica_error *err) {
    const mica_graph *g = d->source;
    roots[0] = g->counts;
    for (size_t i = 0; i < d->n_outputs; i++) {
        mica_ref ref = d->source_outputs[i];
        if (ref == 0 || ref >= mica_graph_count(g) || mica_graph_node(g, ref)->op == MICA_OP_NONE)
            return mica_fail(err, MICA_STATUS_INVALID, "output %zu is no node of the graph", i);
        roots[i + 1] = mica_node_root(g, ref);
    }
    return MICA_STATUS_OK;
}

static bool copy_node(mica_graph *to, const mica_node *from, const mica_ref *number) {
    const char *name = from->name;
    if (name && from->op == MICA_OP_INPUT) name = mica_arena_string(&to->arena, name, strlen(name));
    mica_node *n = name || !from->name ? mica_vec_push(&to->nodes) : NULL;
    if (!n) return false;
    *n = *from;
    n->name = name;
    n->is_output = 0;
    n->n_handles = 0;
    n->n_users = 0; /* not counted in a draft */
    n->generation = 0;
    n->place = (mica_place){.binding = -1};
    n->kernel = NULL;
    mica_node_renumber(n, number);
    for (int p = 0; p < MICA_PARTS_MAX; p++)
        if (n->storage[p].buffer) mica_buffer_retain(n->storage[p].buffer);
    return true;
}

static mica_status copy_nodes(mica_draft *d, const mica_ref *order, size_t n,
                              const mica_ref *number, mica_error *err) {
    mica_graph *g = d->graph;
    g->mode = d->source->mode;
    if (!mica_vec_reserve(&g->nodes, n + 1)) return mica_draft_fail_memory(d, "nodes", err);
    for (size_t i = 0; i < n; i++)
        if (!copy_node(g, mica_graph_node(d->source, order[i]), number))
            return mica_draft_fail_memory(d, "nodes", err);
    g->counts = number[d->source->counts];
    return MICA_STATUS_OK;
}

static void mark_outputs(mica_draft *d, const mica_ref *roots, const mica_ref *number) {
    for (size_t i = 0; i < d->n_outputs; i++) {
        d->outputs[i] = number[roots[i + 1]];
        mica_node *n = mica_graph_node(d->graph, d->outputs[i]);
        if (!mica_node_is_leaf(n)) n->is_output = 1;
    }
}

mica_status mica_pass_collect(mica_draft *d, mica_error *err) {
    mica_ref *order, *number;
    size_t n;
    mica_status st = mica_graph_create_internal(d->runtime, true, &d->graph, err);
    if (st != MICA_STATUS_OK) return st;
    mica_ref *roots = mica_draft_scratch(d, d->n_outputs + 1, sizeof *roots);
    d->outputs = mica_draft_keep(d, d->n_outputs + 1, sizeof *d->outputs);
    if (!roots || !d->outputs) return mica_draft_fail_memory(d, "the outputs", err);
    MICA_TRY(find_roots(d, roots, err));
    MICA_TRY(mica_draft_walk(d, d->source, roots, d->n_outputs + 1, &order, &n, &number, err));
    MICA_TRY(copy_nodes(d, order, n, number, err));
    mark_outputs(d, roots, number);
done:
    return st;
}
