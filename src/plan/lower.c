/* Pass lower: what the device cannot run as it is. An input with strides that the op does not take
 * is copied, once for all its readers; a value that an effect must not overwrite (data, weights, an
 * output, one that another effect overwrites too) is copied first; a node without a kernel is
 * replaced by its composed meaning, whose nodes are lowered in the next round. */
#include <string.h>
#include "base/error.h"
#include "plan/draft.h"

#define LOWER_ROUNDS_MAX 8 /* composed of composed of ...: the deepest today is 3 */

typedef struct lowering {
    mica_draft *draft;
    uint32_t count;          /* nodes at the start of the round; later ones wait for the next */
    mica_ref *map;           /* what stands for a node now */
    mica_ref *copies;        /* contiguous copy of a strided view, or 0 */
    uint8_t *is_overwritten; /* roots that an effect of this round overwrites */
    bool has_changed;
} lowering;

static mica_status take_graph_error(const mica_draft *d, mica_error *err) {
    const mica_error *e = &d->graph->error;
    if (e->status == MICA_STATUS_OUT_OF_MEMORY || e->status == MICA_STATUS_LIMIT)
        return mica_fail(err, e->status, "%s", e->message);
    return mica_fail(err, MICA_STATUS_INTERNAL, "a lowered form is wrong: %s", e->message);
}

static void describe(const mica_node *n, char out[256]) {
    char shape[176];
    mica_format(out, 256, "%s%s", mica_dtype_name((mica_dtype)n->dtype),
                mica_shape_format(&n->shape, shape));
}

/* A cast to the same dtype writes a contiguous copy. */
static mica_status add_copy(mica_draft *d, mica_ref ref, mica_ref *out, mica_error *err) {
    const mica_node *n = mica_graph_node(d->graph, ref);
    const mica_op *cast = d->runtime->ops[MICA_OP_cast];
    mica_params params = {{0}};
    char text[256];
    describe(n, text);
    if (n->quant.mode)
        return mica_fail(err, MICA_STATUS_UNSUPPORTED, "a copy of a quantised %s", text);
    for (size_t i = 0; i < cast->n_params; i++) {
        int32_t dtype = n->dtype;
        if (strcmp(cast->params[i].name, "dtype") != 0) continue;
        memcpy(params.bytes + cast->params[i].offset, &dtype, sizeof dtype);
    }
    *out = mica_graph_add(d->graph, MICA_OP_cast, &ref, 1, &params, sizeof params);
    if (!*out) return take_graph_error(d, err);
    const mica_node *copy = mica_graph_node(d->graph, *out);
    if (copy->is_view || copy->dtype != mica_graph_node(d->graph, ref)->dtype)
        return mica_fail(err, MICA_STATUS_INTERNAL, "cast of %s makes no copy", text);
    return MICA_STATUS_OK;
}

/* ---- strides ---- */

static bool needs_copy(const lowering *l, const mica_op *op, const mica_node *n, int i) {
    mica_ref ref = n->inputs[i];
    if (!ref || (op->strided >> i & 1)) return false;
    const mica_node *x = mica_graph_node(l->draft->graph, ref);
    return x->is_view && !mica_node_is_contiguous(x);
}

static mica_status copy_strided(lowering *l, mica_ref ref, mica_error *err) {
    mica_graph *g = l->draft->graph;
    const mica_op *op = mica_draft_op(l->draft, mica_graph_node(g, ref));
    for (int i = 0; i < mica_graph_node(g, ref)->n_inputs; i++) {
        mica_ref input = mica_graph_node(g, ref)->inputs[i];
        if (input >= l->count || !needs_copy(l, op, mica_graph_node(g, ref), i)) continue;
        if (op->flags & MICA_OP_IS_EFFECT && i == 0)
            return mica_fail(err, MICA_STATUS_UNSUPPORTED, "%s cannot overwrite a strided view",
                             op->name);
        if (!l->copies[input]) {
            mica_status st = add_copy(l->draft, input, &l->copies[input], err);
            if (st != MICA_STATUS_OK) return st;
        }
        mica_graph_node(g, ref)->inputs[i] = l->copies[input];
        l->has_changed = true;
    }
    return MICA_STATUS_OK;
}

/* ---- effects ---- */

/* The node whose storage a chain of effects overwrites. */
static mica_ref find_base(const mica_draft *d, mica_ref root) {
    const mica_node *n = mica_graph_node(d->graph, root);
    while (mica_draft_is_effect(d, n)) {
        root = mica_node_root(d->graph, n->inputs[0]);
        n = mica_graph_node(d->graph, root);
    }
    return root;
}

/* An input may be overwritten by several: that is what KV pages are for. */
static mica_status guard_overwritten(lowering *l, mica_ref ref, mica_error *err) {
    mica_draft *d = l->draft;
    mica_ref target = mica_graph_node(d->graph, ref)->inputs[0];
    mica_ref root = mica_node_root(d->graph, target);
    const mica_node *n = mica_graph_node(d->graph, root);
    if (root >= l->count) return MICA_STATUS_OK;
    if (mica_graph_node(d->graph, find_base(d, root))->op == MICA_OP_INPUT) return MICA_STATUS_OK;
    bool is_whole =
        mica_shape_count(&n->shape) == mica_shape_count(&mica_graph_node(d->graph, target)->shape);
    bool is_free =
        mica_node_is_computed(n) && !n->is_output && !l->is_overwritten[root] && is_whole;
    l->is_overwritten[root] = 1;
    if (is_free) return MICA_STATUS_OK;
    mica_ref copy;
    mica_status st = add_copy(d, target, &copy, err);
    if (st == MICA_STATUS_OK) mica_graph_node(d->graph, ref)->inputs[0] = copy;
    l->has_changed = true;
    return st;
}

/* ---- composed meaning ---- */

static mica_status check_composed(const mica_draft *d, const mica_node *was, mica_ref ref,
                                  mica_error *err) {
    const mica_node *n = mica_graph_node(d->graph, ref);
    char seen[256], want[256];
    describe(n, seen);
    describe(was, want);
    if (n->dtype == was->dtype && mica_shape_equal(&n->shape, &was->shape)) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_INTERNAL, "%s composes to %s, not %s",
                     mica_draft_op(d, was)->name, seen, want);
}

/* An output needs a buffer that nobody else writes: neither a view nor an older node will do. */
static mica_status own_output(mica_draft *d, uint32_t count_before, mica_ref *ref,
                              mica_error *err) {
    const mica_node *n = mica_graph_node(d->graph, *ref);
    if (*ref < count_before || n->is_view || mica_node_is_leaf(n)) {
        mica_status st = add_copy(d, *ref, ref, err);
        if (st != MICA_STATUS_OK) return st;
    }
    mica_graph_node(d->graph, *ref)->is_output = 1;
    return MICA_STATUS_OK;
}

static mica_status compose(lowering *l, mica_ref ref, mica_error *err) {
    mica_draft *d = l->draft;
    mica_node was = *mica_graph_node(d->graph, ref); /* the table may move */
    const mica_op *op = mica_draft_op(d, &was);
    uint32_t count_before = mica_graph_count(d->graph);
    char text[256];
    describe(&was, text);
    if (!op->compose)
        return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                         "%s of %s: no kernel on %s, and no simpler form", op->name, text,
                         d->runtime->device->backend->name);
    mica_ref by = op->compose(d->graph, &was);
    if (!by) return take_graph_error(d, err);
    mica_status st = check_composed(d, &was, by, err);
    if (st == MICA_STATUS_OK && was.is_output) st = own_output(d, count_before, &by, err);
    mica_graph_node(d->graph, ref)->is_output = 0;
    l->map[ref] = by;
    l->has_changed = true;
    return st;
}

/* ---- the walk ---- */

static mica_status lower_ref(lowering *l, mica_ref ref, mica_error *err) {
    mica_draft *d = l->draft;
    mica_status st = MICA_STATUS_OK;
    mica_node *n = mica_graph_node(d->graph, ref);
    l->map[ref] = ref;
    bool is_moved = mica_node_renumber(n, l->map);
    if (n->is_view) return is_moved ? mica_draft_refresh_view(d, ref, err) : st;
    if (mica_node_is_leaf(n)) return st;
    MICA_TRY(copy_strided(l, ref, err));
    n = mica_graph_node(d->graph, ref);
    if (mica_draft_is_effect(d, n)) MICA_TRY(guard_overwritten(l, ref, err));
    n = mica_graph_node(d->graph, ref);
    if (!mica_draft_find_kernel(d, n)) MICA_TRY(compose(l, ref, err));
done:
    return st;
}

static mica_status run_round(lowering *l, mica_error *err) {
    mica_draft *d = l->draft;
    uint32_t count = mica_graph_count(d->graph);
    l->count = count;
    l->map = mica_draft_scratch(d, count, sizeof *l->map);
    l->copies = mica_draft_scratch(d, count, sizeof *l->copies);
    l->is_overwritten = mica_draft_scratch(d, count, 1);
    if (!l->map || !l->copies || !l->is_overwritten)
        return mica_draft_fail_memory(d, "lowering", err);
    l->has_changed = false;
    for (mica_ref r = 1; r < count; r++) {
        mica_status st = lower_ref(l, r, err);
        if (st != MICA_STATUS_OK) return st;
    }
    if (!l->has_changed) return MICA_STATUS_OK;
    for (size_t i = 0; i < d->n_outputs; i++) d->outputs[i] = l->map[d->outputs[i]];
    return mica_draft_sweep(d, NULL, 0, err);
}

/* Composed forms and copies of several rounds have parts in common, and constants. */
static mica_status simplify_again(mica_draft *d, mica_error *err) {
    return mica_draft_is_off(d, "simplify") ? MICA_STATUS_OK : mica_pass_simplify(d, err);
}

mica_status mica_pass_lower(mica_draft *d, mica_error *err) {
    lowering l = {.draft = d};
    for (int round = 0; round < LOWER_ROUNDS_MAX; round++) {
        mica_status st = run_round(&l, err);
        if (st != MICA_STATUS_OK) return st;
        if (!l.has_changed) return round ? simplify_again(d, err) : st;
    }
    return mica_fail(err, MICA_STATUS_INTERNAL, "composed forms nest deeper than %d",
                     LOWER_ROUNDS_MAX);
}
