/* Pass simplify: one walk in node order that merges equal nodes and removes those that change
 * nothing, then drops what nobody needs any more. Operands come first, so one walk reaches the
 * fixed point.
 *
 * Removed: casts of a contiguous array to its own dtype; views with their storage's own geometry;
 * x * 1, x / 1, x - 0 and, for integers, x + 0. Not x + 0 for floats: -0 + 0 is +0. Views of views
 * need no rule: every view names the owner of the storage, so those between are dead code.
 *
 * Outputs are computed by a node of their own, because each has a buffer of its own. Values that an
 * effect overwrites take no part: one more reader could come too late. */
#include <string.h>
#include "base/error.h"
#include "mica/ops.h"
#include "plan/draft.h"

typedef struct simplifier {
    mica_draft *draft;
    mica_ref *map;           /* what stands for a node now */
    uint8_t *is_overwritten; /* by an effect */
    mica_ref *slots;         /* hash table of kept nodes; open addressing */
    uint32_t mask;
} simplifier;

/* ---- equal nodes ---- */

static uint64_t mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
    return hash ^ (hash >> 29);
}

static uint64_t mix_bytes(uint64_t hash, const void *data, size_t bytes) {
    return mix(hash, mica_slice_hash(mica_slice_of(data, bytes)));
}

/* Views are equal when they see the same elements, whatever led there. */
static uint64_t hash_view(uint64_t hash, const mica_node *n) {
    hash = mix(mix(hash, n->view_of), (uint64_t)n->view_offset);
    return mix_bytes(hash, n->strides, (size_t)n->shape.rank * sizeof *n->strides);
}

static uint64_t hash_leaf(uint64_t hash, const mica_node *n) {
    const uint8_t *element = mica_draft_find_element(n);
    if (element) return mix_bytes(hash, element, mica_dtype_bytes((mica_dtype)n->dtype));
    hash = mix(hash, (uintptr_t)n->weight);
    return mix(mix(hash, (uintptr_t)n->storage[0].buffer), n->storage[0].offset);
}

static uint64_t hash_node(const mica_node *n) {
    uint64_t hash = mix(n->dtype, n->live);
    hash = mix_bytes(hash, n->shape.dims, (size_t)n->shape.rank * sizeof *n->shape.dims);
    if (n->is_view) return hash_view(hash, n);
    hash = mix(hash, n->op);
    if (mica_node_is_leaf(n)) return hash_leaf(hash, n);
    hash = mix_bytes(hash, n->inputs, n->n_inputs * sizeof *n->inputs);
    return mix_bytes(hash, n->params.bytes, sizeof n->params.bytes);
}

static bool is_same_type(const mica_node *a, const mica_node *b) {
    return a->dtype == b->dtype && a->live == b->live && a->quant.mode == b->quant.mode &&
           a->quant.bits == b->quant.bits && a->quant.group == b->quant.group &&
           a->quant.scale_dtype == b->quant.scale_dtype && mica_shape_equal(&a->shape, &b->shape);
}

static bool is_same_leaf(const mica_node *a, const mica_node *b) {
    if (a->op == MICA_OP_INPUT) return strcmp(a->name, b->name) == 0;
    if (a->op == MICA_OP_WEIGHT) return a->weight == b->weight;
    const uint8_t *x = mica_draft_find_element(a), *y = mica_draft_find_element(b);
    if (x && y) return memcmp(x, y, mica_dtype_bytes((mica_dtype)a->dtype)) == 0;
    for (int p = 0; p < MICA_PARTS_MAX; p++)
        if (a->storage[p].buffer != b->storage[p].buffer ||
            a->storage[p].offset != b->storage[p].offset)
            return false;
    return a->storage[0].buffer != NULL;
}

static bool is_same_node(const mica_node *a, const mica_node *b) {
    if (a->is_view != b->is_view || !is_same_type(a, b)) return false;
    if (a->is_view)
        return a->view_of == b->view_of && a->view_offset == b->view_offset &&
               memcmp(a->strides, b->strides, (size_t)a->shape.rank * sizeof *a->strides) == 0;
    if (a->op != b->op) return false;
    if (mica_node_is_leaf(a)) return is_same_leaf(a, b);
    return a->n_inputs == b->n_inputs &&
           memcmp(a->inputs, b->inputs, a->n_inputs * sizeof *a->inputs) == 0 &&
           memcmp(a->params.bytes, b->params.bytes, sizeof a->params.bytes) == 0;
}

/* The first kept node equal to ref, which is entered when there is none (0). */
static mica_ref find_equal(simplifier *s, mica_ref ref) {
    const mica_graph *g = s->draft->graph;
    const mica_node *n = mica_graph_node(g, ref);
    uint32_t at = (uint32_t)hash_node(n) & s->mask;
    for (; s->slots[at]; at = (at + 1) & s->mask)
        if (is_same_node(mica_graph_node(g, s->slots[at]), n)) return s->slots[at];
    s->slots[at] = ref;
    return 0;
}

/* ---- nodes that change nothing ---- */

/* Whether `x kind value` is x, bit for bit. */
static bool is_neutral(int32_t kind, double value, bool is_zero_negative, bool is_float) {
    switch (kind) {
    case MICA_BINARY_MUL:
    case MICA_BINARY_DIV:
        return value == 1.0;
    case MICA_BINARY_SUB:
        return value == 0.0 && !is_zero_negative;
    case MICA_BINARY_ADD:
        return value == 0.0 && (!is_float || is_zero_negative);
    default:
        return false;
    }
}

/* Users of n must not notice: contiguous, so that views of n are views of it as well. */
static bool can_replace(const mica_graph *g, const mica_node *n, mica_ref by) {
    const mica_node *x = mica_graph_node(g, by);
    return is_same_type(n, x) && mica_node_is_contiguous(x);
}

static mica_ref simplify_binary(const simplifier *s, const mica_op *op, const mica_node *n) {
    const mica_graph *g = s->draft->graph;
    int32_t kind;
    if (!mica_draft_read_param(op, n, "kind", &kind)) return 0;
    bool is_float = mica_dtype_is_float((mica_dtype)n->dtype);
    for (int side = 1; side >= 0; side--) {
        bool commutes = kind == MICA_BINARY_MUL || kind == MICA_BINARY_ADD;
        double value;
        if (side == 0 && !commutes) break;
        if (!mica_draft_read_scalar(g, n->inputs[side], &value)) continue;
        bool is_zero_negative = value == 0.0 && 1.0 / value < 0.0;
        if (is_neutral(kind, value, is_zero_negative, is_float)) return n->inputs[1 - side];
    }
    return 0;
}

static mica_ref simplify_node(const simplifier *s, const mica_node *n) {
    const mica_graph *g = s->draft->graph;
    mica_ref by = 0;
    if (n->is_view) {
        bool is_whole = n->view_offset == 0 && mica_node_is_contiguous(n);
        by = is_whole ? n->view_of : 0;
    } else if (n->op == MICA_OP_cast) {
        by = n->inputs[0];
    } else if (n->op == MICA_OP_binary) {
        by = simplify_binary(s, mica_draft_op(s->draft, n), n);
    }
    if (!by || !can_replace(g, n, by)) return 0;
    return !n->is_view && s->is_overwritten[mica_node_root(g, by)] ? 0 : by;
}

/* ---- the walk ---- */

static mica_status simplify_ref(simplifier *s, mica_ref ref, mica_error *err) {
    mica_draft *d = s->draft;
    mica_node *n = mica_graph_node(d->graph, ref);
    s->map[ref] = ref;
    if (mica_node_renumber(n, s->map) && n->is_view) {
        mica_status st = mica_draft_refresh_view(d, ref, err);
        if (st != MICA_STATUS_OK) return st;
    }
    if (mica_draft_is_effect(d, n)) return MICA_STATUS_OK;
    if (!n->is_view && s->is_overwritten[ref]) return MICA_STATUS_OK;
    mica_ref by = n->is_output || mica_node_is_leaf(n) ? 0 : simplify_node(s, n);
    if (!by) by = find_equal(s, ref);
    if (by && !n->is_output) s->map[ref] = by;
    return MICA_STATUS_OK;
}

static mica_status open_simplifier(mica_draft *d, simplifier *s, mica_error *err) {
    uint32_t count = mica_graph_count(d->graph), slots = 64;
    while (slots < count * 2) slots *= 2;
    *s = (simplifier){.draft = d, .mask = slots - 1};
    s->map = mica_draft_scratch(d, count, sizeof *s->map);
    s->is_overwritten = mica_draft_find_overwritten(d);
    s->slots = mica_draft_scratch(d, slots, sizeof *s->slots);
    if (!s->map || !s->is_overwritten || !s->slots)
        return mica_draft_fail_memory(d, "the table of equal nodes", err);
    return MICA_STATUS_OK;
}

mica_status mica_pass_simplify(mica_draft *d, mica_error *err) {
    simplifier s;
    mica_status st = open_simplifier(d, &s, err);
    uint32_t count = mica_graph_count(d->graph);
    for (mica_ref r = 1; r < count && st == MICA_STATUS_OK; r++) st = simplify_ref(&s, r, err);
    if (st != MICA_STATUS_OK) return st;
    for (size_t i = 0; i < d->n_outputs; i++) d->outputs[i] = s.map[d->outputs[i]];
    d->graph->counts = s.map[d->graph->counts];
    return mica_draft_sweep(d, NULL, 0, err);
}
