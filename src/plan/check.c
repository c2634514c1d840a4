/* Pass check: whatever built or rewrote the graph, every node must be what its op's shape rule
 * makes of its inputs. A difference is a bug of ours and is reported, not hidden. */
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "plan/draft.h"

#define CHECK_BYTES_MAX (UINT64_C(1) << 52)

static mica_status check_size(const mica_node *n, const char *name, mica_error *err) {
    mica_shape shape;
    char text[176];
    if (!mica_shape_make(n->shape.rank, n->shape.dims, &shape))
        return mica_fail(err, MICA_STATUS_LIMIT, "%s: a shape of rank %d that is too large", name,
                         (int)n->shape.rank);
    if (!mica_dtype_bytes((mica_dtype)n->dtype) || !mica_quant_is_valid(n->quant))
        return mica_fail(err, MICA_STATUS_INTERNAL, "%s: no dtype or a bad quantised type", name);
    if (n->quant.mode && (shape.rank < 1 || shape.dims[shape.rank - 1] % n->quant.group != 0))
        return mica_fail(err, MICA_STATUS_INTERNAL, "%s: last dim of %s in groups of %u", name,
                         mica_shape_format(&shape, text), (unsigned)n->quant.group);
    uint64_t bytes;
    if (!mica_mul_u64((uint64_t)mica_shape_count(&shape), 8, &bytes) || bytes > CHECK_BYTES_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "%s: %s is too large", name,
                         mica_shape_format(&shape, text));
    return MICA_STATUS_OK;
}

static mica_status check_inputs(const mica_op *op, const mica_node *n, mica_ref ref,
                                mica_error *err) {
    if (n->n_inputs < op->n_inputs_min || n->n_inputs > op->n_inputs_max ||
        n->n_inputs > MICA_INPUTS_MAX)
        return mica_fail(err, MICA_STATUS_INTERNAL, "%s: %u inputs, wanted %u to %u", op->name,
                         (unsigned)n->n_inputs, (unsigned)op->n_inputs_min,
                         (unsigned)op->n_inputs_max);
    for (int i = 0; i < n->n_inputs; i++)
        if (n->inputs[i] >= ref || (!n->inputs[i] && !(op->optional >> i & 1)))
            return mica_fail(err, MICA_STATUS_INTERNAL, "%s: input %d is %%%u", op->name, i,
                             (unsigned)n->inputs[i]);
    return MICA_STATUS_OK;
}

static bool is_same_view(const mica_node *a, const mica_node *b) {
    if (a->is_view != b->is_view) return false;
    if (!a->is_view) return true;
    return a->view_of == b->view_of && a->view_offset == b->view_offset &&
           memcmp(a->strides, b->strides, (size_t)a->shape.rank * sizeof *a->strides) == 0;
}

static bool is_same_quant(mica_quant a, mica_quant b) {
    return a.mode == b.mode && a.bits == b.bits && a.group == b.group &&
           a.scale_dtype == b.scale_dtype;
}

/* The rule, applied to a copy that holds what mica_graph_add would give it. */
static mica_status check_rule(const mica_draft *d, const mica_op *op, const mica_node *n,
                              mica_error *err) {
    char want[176], seen[176];
    mica_node copy = {.op = n->op, .n_inputs = n->n_inputs, .params = n->params};
    memcpy(copy.inputs, n->inputs, sizeof copy.inputs);
    copy.place.binding = -1;
    mica_status st = op->infer(d->graph, &copy, err);
    if (st != MICA_STATUS_OK) return mica_fail_prefix(err, st, "%s", op->name);
    bool is_same = copy.dtype == n->dtype && copy.live == n->live &&
                   is_same_quant(copy.quant, n->quant) && is_same_view(&copy, n) &&
                   mica_shape_equal(&copy.shape, &n->shape);
    if (is_same) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_INTERNAL, "%s: holds %s%s, its rule gives %s%s", op->name,
                     mica_dtype_name((mica_dtype)n->dtype), mica_shape_format(&n->shape, seen),
                     mica_dtype_name((mica_dtype)copy.dtype), mica_shape_format(&copy.shape, want));
}

/* Inputs are bound by name, so a name stands for one node. */
static mica_status check_names(const mica_draft *d, mica_error *err) {
    const mica_graph *g = d->graph;
    mica_ref last = 0; /* inputs, chained through place.offset */
    for (mica_ref r = 1; r < mica_graph_count(g); r++) {
        mica_node *n = mica_graph_node(g, r);
        if (n->op != MICA_OP_INPUT) continue;
        for (mica_ref i = last; i; i = (mica_ref)mica_graph_node(g, i)->place.offset)
            if (strcmp(mica_graph_node(g, i)->name, n->name) == 0)
                return mica_fail(err, MICA_STATUS_INVALID, "two inputs are named %s", n->name);
        n->place.offset = last;
        last = r;
    }
    return MICA_STATUS_OK;
}

mica_status mica_pass_check(mica_draft *d, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    for (mica_ref r = 1; r < mica_graph_count(d->graph); r++) {
        const mica_node *n = mica_graph_node(d->graph, r);
        const mica_op *op = mica_draft_op(d, n);
        MICA_TRY(check_size(n, op ? op->name : n->name ? n->name : "data", err));
        MICA_REQUIRE(n->live == MICA_LIVE_ALL || d->graph->counts, MICA_STATUS_INVALID,
                     "%s: a live count, but the graph has no input batch.counts",
                     op        ? op->name
                     : n->name ? n->name
                               : "data");
        if (!op) continue;
        MICA_TRY(check_inputs(op, n, r, err));
        MICA_TRY(check_rule(d, op, n, err));
    }
    MICA_TRY(check_names(d, err));
done:
    return st;
}
