/* What several passes need: memory, walking and renumbering the graph, sizes, kernels. */
#include "plan/draft.h"
#include <math.h>
#include <string.h>
#include "base/checked.h"
#include "base/error.h"

/* ---- memory ---- */

static void *take(mica_arena *arena, size_t count, size_t item_bytes) {
    size_t bytes;
    return mica_mul_size(count, item_bytes, &bytes) ? mica_arena_alloc_zero(arena, bytes) : NULL;
}

void *mica_draft_scratch(mica_draft *d, size_t count, size_t item_bytes) {
    return take(&d->scratch, count, item_bytes);
}

void *mica_draft_keep(mica_draft *d, size_t count, size_t item_bytes) {
    return take(&d->graph->arena, count, item_bytes);
}

mica_status mica_draft_fail_memory(const mica_draft *d, const char *what, mica_error *err) {
    return mica_fail(err, MICA_STATUS_OUT_OF_MEMORY, "out of memory: %s of a plan of %u nodes",
                     what, d->graph ? mica_graph_count(d->graph) - 1 : 0);
}

/* ---- walking ---- */

typedef struct walk_frame {
    mica_ref ref;
    uint32_t next; /* operand to look at */
} walk_frame;

typedef struct walk {
    const mica_graph *graph;
    walk_frame *stack; /* no deeper than there are nodes: a node is pushed once */
    mica_ref *order;
    size_t n;
    mica_ref *number;
} walk;

#define WALK_OPEN UINT32_MAX

static void push_frame(walk *w, size_t *depth, mica_ref ref) {
    if (!ref || w->number[ref]) return;
    w->number[ref] = WALK_OPEN;
    w->stack[(*depth)++] = (walk_frame){ref, 0};
}

static void walk_from(walk *w, mica_ref root) {
    size_t depth = 0;
    push_frame(w, &depth, root);
    while (depth) {
        walk_frame *top = &w->stack[depth - 1];
        const mica_node *n = mica_graph_node(w->graph, top->ref);
        uint32_t next = top->next++;
        if (next < n->n_inputs) {
            push_frame(w, &depth, n->inputs[next]);
        } else if (next == n->n_inputs && n->is_view) {
            push_frame(w, &depth, n->view_of);
        } else {
            w->order[w->n] = top->ref;
            w->number[top->ref] = (mica_ref)++w->n;
            depth--;
        }
    }
}

mica_status mica_draft_walk(mica_draft *d, const mica_graph *g, const mica_ref *roots,
                            size_t n_roots, mica_ref **order, size_t *n, mica_ref **number,
                            mica_error *err) {
    size_t count = mica_graph_count(g);
    walk w = {.graph = g};
    w.stack = mica_draft_scratch(d, count, sizeof *w.stack);
    w.order = mica_draft_scratch(d, count, sizeof *w.order);
    w.number = mica_draft_scratch(d, count, sizeof *w.number);
    if (!w.stack || !w.order || !w.number) return mica_draft_fail_memory(d, "the walk", err);
    for (size_t i = 0; i < n_roots; i++) walk_from(&w, roots[i]);
    *order = w.order;
    *n = w.n;
    *number = w.number;
    return MICA_STATUS_OK;
}

bool mica_node_renumber(mica_node *n, const mica_ref *map) {
    bool has_changed = false;
    for (int i = 0; i < n->n_inputs; i++) {
        has_changed |= map[n->inputs[i]] != n->inputs[i];
        n->inputs[i] = map[n->inputs[i]];
    }
    if (n->is_view) {
        has_changed |= map[n->view_of] != n->view_of;
        n->view_of = map[n->view_of];
    }
    return has_changed;
}

static mica_status gather_roots(mica_draft *d, const mica_ref *first, size_t n_first,
                                mica_ref **roots, size_t *n, mica_error *err) {
    *n = n_first + d->n_outputs + 1;
    *roots = mica_draft_scratch(d, *n, sizeof **roots);
    if (!*roots) return mica_draft_fail_memory(d, "the roots", err);
    (*roots)[0] = d->graph->counts;
    if (n_first) memcpy(*roots + 1, first, n_first * sizeof *first);
    memcpy(*roots + 1 + n_first, d->outputs, d->n_outputs * sizeof *d->outputs);
    return MICA_STATUS_OK;
}

/* Moves the nodes of order[] into a new table; what is left over gives its buffers back. */
static bool move_nodes(mica_graph *g, const mica_ref *order, size_t n, const mica_ref *number) {
    mica_vec moved;
    mica_vec_init(&moved, g->nodes.allocator, sizeof(mica_node));
    if (!mica_vec_reserve(&moved, n + 1) || !mica_vec_push(&moved)) {
        mica_vec_deinit(&moved);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        mica_node *to = mica_vec_push(&moved); /* reserved */
        *to = *mica_graph_node(g, order[i]);
        mica_node_renumber(to, number);
    }
    for (mica_ref r = 1; r < mica_graph_count(g); r++)
        for (int p = 0; p < MICA_PARTS_MAX && !number[r]; p++)
            mica_buffer_release(&mica_graph_node(g, r)->storage[p].buffer);
    mica_vec_deinit(&g->nodes);
    g->nodes = moved;
    return true;
}

mica_status mica_draft_sweep(mica_draft *d, const mica_ref *first, size_t n_first,
                             mica_error *err) {
    mica_ref *roots, *order, *number;
    size_t n_roots, n;
    mica_status st = gather_roots(d, first, n_first, &roots, &n_roots, err);
    if (st == MICA_STATUS_OK)
        st = mica_draft_walk(d, d->graph, roots, n_roots, &order, &n, &number, err);
    if (st != MICA_STATUS_OK) return st;
    if (!move_nodes(d->graph, order, n, number)) return mica_draft_fail_memory(d, "nodes", err);
    for (size_t i = 0; i < d->n_outputs; i++) d->outputs[i] = number[d->outputs[i]];
    d->graph->counts = number[d->graph->counts];
    return MICA_STATUS_OK;
}

mica_status mica_draft_refresh_view(mica_draft *d, mica_ref ref, mica_error *err) {
    mica_node *n = mica_graph_node(d->graph, ref);
    mica_node copy = *n;
    copy.is_view = 0;
    copy.view_of = 0;
    copy.view_offset = 0;
    memset(copy.strides, 0, sizeof copy.strides);
    const mica_op *op = mica_draft_op(d, n);
    mica_status st = op->infer(d->graph, &copy, err);
    if (st != MICA_STATUS_OK) return st;
    if (!copy.is_view || !mica_shape_equal(&copy.shape, &n->shape) || copy.dtype != n->dtype)
        return mica_fail(err, MICA_STATUS_INTERNAL, "%s changed when its input was replaced",
                         op->name);
    *n = copy;
    return MICA_STATUS_OK;
}

uint8_t *mica_draft_find_overwritten(mica_draft *d) {
    uint32_t count = mica_graph_count(d->graph);
    uint8_t *is_overwritten = mica_draft_scratch(d, count, 1);
    for (mica_ref r = 1; r < count && is_overwritten; r++) {
        const mica_node *n = mica_graph_node(d->graph, r);
        if (mica_draft_is_effect(d, n)) is_overwritten[mica_node_root(d->graph, n->inputs[0])] = 1;
    }
    return is_overwritten;
}

/* ---- values known when the plan is built ---- */

const uint8_t *mica_draft_find_element(const mica_node *n) {
    if (n->op != MICA_OP_DATA || n->quant.mode || mica_shape_count(&n->shape) != 1) return NULL;
    const mica_buffer *buffer = n->storage[0].buffer;
    return buffer && buffer->host ? (const uint8_t *)buffer->host + n->storage[0].offset : NULL;
}

bool mica_draft_read_param(const mica_op *op, const mica_node *n, const char *name, int32_t *out) {
    for (size_t i = 0; i < op->n_params; i++) {
        const mica_param *p = &op->params[i];
        if (strcmp(p->name, name) != 0 || p->type != MICA_PARAM_I32) continue;
        memcpy(out, n->params.bytes + p->offset, sizeof *out);
        return true;
    }
    return false;
}

/* Of 16 bits: a sign, an exponent of so many bits, a mantissa. */
static double decode_half(uint16_t bits, int exponent_bits) {
    int mantissa_bits = 15 - exponent_bits, top = (1 << exponent_bits) - 1;
    int exponent = bits >> mantissa_bits & top, mantissa = bits & ((1 << mantissa_bits) - 1);
    int smallest = 2 - (1 << (exponent_bits - 1)) - mantissa_bits; /* of a unit of the mantissa */
    double value = exponent ? ldexp(mantissa + (1 << mantissa_bits), exponent - 1 + smallest)
                            : ldexp(mantissa, smallest);
    if (exponent == top) value = mantissa ? (double)NAN : (double)INFINITY;
    return bits >> 15 ? -value : value;
}

bool mica_draft_read_scalar(const mica_graph *g, mica_ref ref, double *out) {
    const mica_node *n = mica_graph_node(g, ref);
    if (n->op == MICA_OP_cast) n = mica_graph_node(g, n->inputs[0]);
    const uint8_t *element = mica_draft_find_element(n);
    float f;
    uint16_t half;
    int32_t i;
    if (element && n->dtype == MICA_DTYPE_F32) {
        memcpy(&f, element, sizeof f);
        *out = (double)f;
        return true;
    }
    if (element && (n->dtype == MICA_DTYPE_F16 || n->dtype == MICA_DTYPE_BF16)) {
        memcpy(&half, element, sizeof half);
        *out = n->dtype == MICA_DTYPE_F16 ? decode_half(half, 5) : decode_half(half, 8);
        return true;
    }
    if (element && n->dtype == MICA_DTYPE_I32) {
        memcpy(&i, element, sizeof i);
        *out = i;
        return true;
    }
    return false;
}

/* ---- kernels ---- */

static bool does_fit(const mica_draft *d, const mica_kernel *k, mica_device_kind kind,
                     uint32_t features, const mica_node *n) {
    return k->device == kind && !(k->needs & ~features) && (!k->accepts || k->accepts(d->graph, n));
}

bool mica_draft_can_run(const mica_draft *d, const mica_node *n, const mica_kernel *k) {
    return does_fit(d, k, d->runtime->device->backend->kind, d->runtime->limits.features, n);
}

/* The null device plans with the plain reference rows of the CPU: the last that fits. */
const mica_kernel *mica_draft_find_kernel(const mica_draft *d, const mica_node *n) {
    const mica_op *op = mica_draft_op(d, n);
    mica_device_kind kind = d->runtime->device->backend->kind;
    if (kind == MICA_DEVICE_NULL) {
        for (size_t i = op->n_kernels; i-- > 0;)
            if (does_fit(d, &op->kernels[i], MICA_DEVICE_CPU, 0, n)) return &op->kernels[i];
        return NULL;
    }
    for (size_t i = 0; i < op->n_kernels; i++)
        if (does_fit(d, &op->kernels[i], kind, d->runtime->limits.features, n))
            return &op->kernels[i];
    return NULL;
}

/* ---- sizes ---- */

void mica_draft_cost(const mica_draft *d, const mica_node *n, mica_cost *out) {
    const mica_op *op = mica_draft_op(d, n);
    *out = (mica_cost){.bytes = mica_node_bytes(n, NULL),
                       .flops = (uint64_t)mica_shape_count(&n->shape)};
    for (int i = 0; i < n->n_inputs && !op->cost; i++)
        if (n->inputs[i])
            out->bytes += mica_node_bytes(mica_graph_node(d->graph, n->inputs[i]), NULL);
    if (op->cost) op->cost(d->graph, n, out);
}

uint64_t mica_node_bytes(const mica_node *n, uint64_t offsets[MICA_PARTS_MAX]) {
    uint64_t bytes = 0;
    int n_parts = mica_quant_parts(n->quant);
    for (int p = 0; p < n_parts; p++) {
        bytes = (bytes + MICA_PLAN_ALIGNMENT - 1) & ~(uint64_t)(MICA_PLAN_ALIGNMENT - 1);
        if (offsets) offsets[p] = bytes;
        bytes += mica_part_bytes((mica_dtype)n->dtype, n->quant, &n->shape, p);
    }
    return bytes;
}

uint64_t mica_view_bytes(const mica_node *n, int64_t elements, int part) {
    uint64_t count = elements < 0 ? 0 : (uint64_t)elements;
    if (n->quant.mode == MICA_QUANT_NONE) return count * mica_dtype_bytes((mica_dtype)n->dtype);
    if (part == 0) return count * n->quant.bits / 8;
    return count / n->quant.group * mica_dtype_bytes((mica_dtype)n->quant.scale_dtype);
}
