/* Pass simplify: constants are computed (fold.c); then one walk in node order merges equal nodes
 * and removes those that change nothing, and what nobody needs any more is dropped. Operands come
 * first, so one walk reaches the fixed point.
 *
 * Removed: casts of a contiguous array to its own dtype, also by way of a wider one; views with
 * their storage's own geometry; x * 1, x / 1, x - 0, x + -0 and, for integers, x + 0 (not for
 * floats: -0 + 0 is +0); a choice between equals; two negations; a concat of one array. Views of
 * views need no rule: every view names the owner of the storage, so those between are dead code.
 *
 * Outputs are computed by a node of their own, because each has a buffer of its own. Values that an
 * effect overwrites take no part: one more reader could come too late. */
#include <string.h>
#include "base/error.h"
#include "mica/ops.h"
#include "plan/fold.h"

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

/* Whether a and b give the bits of b and a; a NaN may be the other one's. Not the smaller and the
 * larger of two floats: of -0 and +0 the kernels take one by its side. */
static bool is_commutative(const mica_draft *d, const mica_node *n) {
    int32_t kind;
    if (n->op != MICA_OP_binary || !mica_draft_read_param(mica_draft_op(d, n), n, "kind", &kind))
        return false;
    switch (kind) {
    case MICA_BINARY_ADD:
    case MICA_BINARY_MUL:
    case MICA_BINARY_EQUAL:
    case MICA_BINARY_NOT_EQUAL:
    case MICA_BINARY_AND:
    case MICA_BINARY_OR:
        return true;
    case MICA_BINARY_MIN:
    case MICA_BINARY_MAX:
        return !mica_dtype_is_float((mica_dtype)n->dtype);
    default:
        return false;
    }
}

/* The inputs in an order that is the same for all nodes with equal results. */
static void sort_inputs(const mica_draft *d, const mica_node *n, mica_ref out[MICA_INPUTS_MAX]) {
    memcpy(out, n->inputs, n->n_inputs * sizeof *n->inputs);
    if (n->n_inputs != 2 || n->inputs[0] <= n->inputs[1] || !is_commutative(d, n)) return;
    out[0] = n->inputs[1];
    out[1] = n->inputs[0];
}

static uint64_t hash_node(const mica_draft *d, const mica_node *n) {
    mica_ref inputs[MICA_INPUTS_MAX];
    uint64_t hash = mix(n->dtype, n->live);
    hash = mix_bytes(hash, n->shape.dims, (size_t)n->shape.rank * sizeof *n->shape.dims);
    if (n->is_view) return hash_view(hash, n);
    hash = mix(hash, n->op);
    if (mica_node_is_leaf(n)) return hash_leaf(hash, n);
    sort_inputs(d, n, inputs);
    hash = mix_bytes(hash, inputs, n->n_inputs * sizeof *inputs);
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

static bool is_same_node(const mica_draft *d, const mica_node *a, const mica_node *b) {
    mica_ref x[MICA_INPUTS_MAX], y[MICA_INPUTS_MAX];
    if (a->is_view != b->is_view || !is_same_type(a, b)) return false;
    if (a->is_view)
        return a->view_of == b->view_of && a->view_offset == b->view_offset &&
               memcmp(a->strides, b->strides, (size_t)a->shape.rank * sizeof *a->strides) == 0;
    if (a->op != b->op) return false;
    if (mica_node_is_leaf(a)) return is_same_leaf(a, b);
    sort_inputs(d, a, x);
    sort_inputs(d, b, y);
    return a->n_inputs == b->n_inputs && memcmp(x, y, a->n_inputs * sizeof *x) == 0 &&
           memcmp(a->params.bytes, b->params.bytes, sizeof a->params.bytes) == 0;
}

/* The first kept node equal to ref, which is entered when there is none (0). */
static mica_ref find_equal(simplifier *s, mica_ref ref) {
    const mica_graph *g = s->draft->graph;
    const mica_node *n = mica_graph_node(g, ref);
    uint32_t at = (uint32_t)hash_node(s->draft, n) & s->mask;
    for (; s->slots[at]; at = (at + 1) & s->mask)
        if (is_same_node(s->draft, mica_graph_node(g, s->slots[at]), n)) return s->slots[at];
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

/* Every value of the narrow type has one in the wide type that rounds back to it. */
static bool is_widened(mica_dtype narrow, mica_dtype wide) {
    if (wide == MICA_DTYPE_F64) return mica_dtype_is_float(narrow);
    return wide == MICA_DTYPE_F32 && (narrow == MICA_DTYPE_F16 || narrow == MICA_DTYPE_BF16);
}

/* A cast, or a cast back. */
static mica_ref simplify_cast(const mica_graph *g, const mica_node *n) {
    const mica_node *x = mica_graph_node(g, n->inputs[0]);
    if (x->dtype == n->dtype || x->op != MICA_OP_cast) return n->inputs[0];
    return is_widened((mica_dtype)n->dtype, (mica_dtype)x->dtype) ? x->inputs[0] : 0;
}

/* -(-x), !!x. */
static mica_ref simplify_unary(const mica_draft *d, const mica_node *n) {
    const mica_node *x = mica_graph_node(d->graph, n->inputs[0]);
    int32_t outer, inner;
    if (x->op != MICA_OP_unary || !mica_draft_read_param(mica_draft_op(d, n), n, "kind", &outer) ||
        !mica_draft_read_param(mica_draft_op(d, x), x, "kind", &inner) || outer != inner)
        return 0;
    return outer == MICA_UNARY_NEGATE || outer == MICA_UNARY_NOT ? x->inputs[0] : 0;
}

static mica_ref find_equivalent(const simplifier *s, const mica_node *n) {
    const mica_draft *d = s->draft;
    if (n->is_view) return n->view_offset == 0 && mica_node_is_contiguous(n) ? n->view_of : 0;
    switch (n->op) {
    case MICA_OP_cast:
        return simplify_cast(d->graph, n);
    case MICA_OP_unary:
        return simplify_unary(d, n);
    case MICA_OP_binary:
        return simplify_binary(s, mica_draft_op(d, n), n);
    case MICA_OP_select:
        return n->inputs[1] == n->inputs[2] ? n->inputs[1] : 0;
    case MICA_OP_concat:
        return n->n_inputs == 1 ? n->inputs[0] : 0;
    default:
        return 0;
    }
}

static mica_ref simplify_node(const simplifier *s, const mica_node *n) {
    const mica_graph *g = s->draft->graph;
    mica_ref by = find_equivalent(s, n);
    if (!by || !can_replace(g, n, by)) return 0;
    return !n->is_view && s->is_overwritten[mica_node_root(g, by)] ? 0 : by;
}

/* ---- the walk ---- */

/* A value that another node computes can go straight to the output's buffer. */
static bool can_be_output(const simplifier *s, mica_ref ref) {
    const mica_node *n = mica_graph_node(s->draft->graph, ref);
    return mica_node_is_computed(n) && !n->is_output && !mica_draft_is_effect(s->draft, n) &&
           !s->is_overwritten[ref];
}

/* What stands for an output that changes nothing, which is then the output; or 0. */
static mica_ref hand_output_over(const simplifier *s, mica_node *n, mica_ref by) {
    if (!by || !can_be_output(s, by)) return 0;
    n->is_output = 0;
    mica_graph_node(s->draft->graph, by)->is_output = 1;
    return by;
}

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
    mica_ref by = mica_node_is_leaf(n) ? 0 : simplify_node(s, n);
    if (n->is_output) by = hand_output_over(s, n, by);
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
    mica_status st = mica_draft_fold(d, err);
    if (st != MICA_STATUS_OK) return st;
    st = open_simplifier(d, &s, err);
    uint32_t count = mica_graph_count(d->graph);
    for (mica_ref r = 1; r < count && st == MICA_STATUS_OK; r++) st = simplify_ref(&s, r, err);
    if (st != MICA_STATUS_OK) return st;
    for (size_t i = 0; i < d->n_outputs; i++) d->outputs[i] = s.map[d->outputs[i]];
    d->graph->counts = s.map[d->graph->counts];
    return mica_draft_sweep(d, NULL, 0, err);
}
