/* Nodes, handles and the sticky error. Slots of nodes that nobody names any more are recycled, so
 * that a loop that releases its temporaries runs in constant memory. */
#include "core/graph.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/error.h"
#include "core/op.h"
#include "core/runtime.h"
#include "core/weights.h"

#define GRAPH_NODES_AT_START 64
#define HANDLES_FOR_EVER UINT32_MAX /* a node with so many handles is not counted down any more */

/* ---- life ---- */

mica_status mica_graph_create_internal(mica_runtime *runtime, bool is_tracing, mica_graph **out,
                                       mica_error *err) {
    const mica_allocator *a = runtime->host.allocator;
    mica_graph *g = MICA_NEW(a, mica_graph);
    if (!g) return mica_fail_memory(err, sizeof *g, "a graph");
    g->runtime = runtime;
    g->is_tracing = is_tracing;
    g->mode = runtime->mode;
    mica_arena_init(&g->arena, a, 0);
    mica_vec_init(&g->nodes, a, sizeof(mica_node));
    if (!mica_vec_reserve(&g->nodes, GRAPH_NODES_AT_START) || !mica_vec_push(&g->nodes)) {
        mica_graph_destroy(&g);
        return mica_fail_memory(err, sizeof(mica_node) * GRAPH_NODES_AT_START, "a graph's nodes");
    }
    *out = g;
    return MICA_STATUS_OK;
}

mica_status mica_graph_create(mica_runtime *runtime, mica_graph **out, mica_error *err) {
    if (!runtime || !out) return mica_fail(err, MICA_STATUS_INVALID, "a graph needs a runtime");
    return mica_graph_create_internal(runtime, false, out, err);
}

void mica_graph_destroy(mica_graph **graph) {
    mica_graph *g = graph ? *graph : NULL;
    if (!g) return;
    *graph = NULL;
    for (uint32_t i = 0; i < mica_graph_count(g); i++)
        for (int p = 0; p < MICA_PARTS_MAX; p++)
            mica_buffer_release(&mica_graph_node(g, i)->storage[p].buffer);
    mica_vec_deinit(&g->nodes);
    mica_arena_deinit(&g->arena);
    mica_free(g->runtime->host.allocator, g);
}

mica_status mica_graph_check(const mica_graph *g, mica_error *err) {
    if (!g) return mica_fail(err, MICA_STATUS_INVALID, "mica_graph_check: the graph is NULL");
    if (g->error.status != MICA_STATUS_OK && err) *err = g->error;
    return g->error.status;
}

mica_status mica_graph_fail(mica_graph *g, mica_status status, const char *format, ...) {
    if (!g) return status;
    if (g->error.status != MICA_STATUS_OK) return g->error.status;
    char text[sizeof g->error.message];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return mica_fail(&g->error, status, "%s", text);
}

/* ---- slots ---- */

static void drop_user(mica_graph *g, mica_ref ref, mica_ref *pending);

/* Frees the slots on the list (chained through place.binding) and those that this leaves unused. */
static void free_pending(mica_graph *g, mica_ref pending) {
    while (pending) {
        mica_ref ref = pending;
        mica_node *n = mica_graph_node(g, ref);
        pending = (mica_ref)n->place.binding;
        for (int i = 0; i < n->n_inputs; i++) drop_user(g, n->inputs[i], &pending);
        if (n->is_view) drop_user(g, n->view_of, &pending);
        for (int p = 0; p < MICA_PARTS_MAX; p++) mica_buffer_release(&n->storage[p].buffer);
        uint32_t generation = n->generation + 1;
        memset(n, 0, sizeof *n);
        n->generation = generation;
        if (!generation) continue; /* all were used: an old handle must never fit a new node */
        n->view_of = g->free_head;
        g->free_head = ref;
    }
}

static void push_if_unused(mica_graph *g, mica_ref ref, mica_ref *pending) {
    mica_node *n = mica_graph_node(g, ref);
    if (n->n_users || n->n_handles || g->is_tracing) return;
    n->place.binding = (int32_t)*pending;
    *pending = ref;
}

static void drop_user(mica_graph *g, mica_ref ref, mica_ref *pending) {
    if (!ref) return;
    mica_graph_node(g, ref)->n_users--;
    push_if_unused(g, ref, pending);
}

/* Stores a node in a free slot; 0 without memory (sticky). */
static mica_ref store_node(mica_graph *g, const mica_node *node) {
    mica_ref ref = g->free_head;
    uint32_t generation = 0;
    if (ref) {
        g->free_head = mica_graph_node(g, ref)->view_of;
        generation = mica_graph_node(g, ref)->generation;
    } else {
        if (g->nodes.count >= MICA_GRAPH_NODES_MAX) {
            mica_graph_fail(g, MICA_STATUS_LIMIT, "a graph of more than %d nodes",
                            MICA_GRAPH_NODES_MAX);
            return 0;
        }
        if (!mica_vec_push(&g->nodes)) {
            mica_graph_fail(g, MICA_STATUS_OUT_OF_MEMORY, "out of memory: graph of %zu nodes",
                            g->nodes.count);
            return 0;
        }
        ref = (mica_ref)(g->nodes.count - 1);
    }
    mica_node *n = mica_graph_node(g, ref);
    *n = *node;
    n->generation = generation;
    n->place.binding = -1;
    for (int i = 0; i < n->n_inputs; i++)
        if (n->inputs[i]) mica_graph_node(g, n->inputs[i])->n_users++;
    if (n->is_view) mica_graph_node(g, n->view_of)->n_users++;
    return ref;
}

/* ---- adding ---- */

static bool check_inputs(mica_graph *g, const mica_op *op, const mica_ref *inputs, int n_inputs) {
    if (n_inputs < op->n_inputs_min || n_inputs > op->n_inputs_max) {
        mica_graph_fail(g, MICA_STATUS_INVALID, "%s: %d inputs, wanted %d to %d", op->name,
                        n_inputs, op->n_inputs_min, op->n_inputs_max);
        return false;
    }
    for (int i = 0; i < n_inputs; i++) {
        if (!inputs[i] && !(op->optional >> i & 1)) {
            mica_graph_fail(g, MICA_STATUS_INVALID, "%s: input %d is the null array", op->name, i);
            return false;
        }
        if (inputs[i] && mica_graph_node(g, inputs[i])->quant.mode && !(op->quantized >> i & 1)) {
            mica_graph_fail(g, MICA_STATUS_INVALID,
                            "%s: input %d is quantised; dequantize it first", op->name, i);
            return false;
        }
    }
    return true;
}

mica_ref mica_graph_add(mica_graph *g, mica_op_id id, const mica_ref *inputs, int n_inputs,
                        const void *params, size_t param_bytes) {
    if (!g || g->error.status != MICA_STATUS_OK) return 0;
    const mica_op *op = id < MICA_OP_COUNT_ ? g->runtime->ops[id] : NULL;
    if (!op || n_inputs > MICA_INPUTS_MAX || param_bytes > MICA_PARAM_BYTES) {
        mica_graph_fail(g, MICA_STATUS_INTERNAL, "op %d cannot be added", (int)id);
        return 0;
    }
    if (!check_inputs(g, op, inputs, n_inputs)) return 0;
    mica_node n = {.op = (uint16_t)id, .n_inputs = (uint8_t)n_inputs, .place.binding = -1};
    if (n_inputs) memcpy(n.inputs, inputs, (size_t)n_inputs * sizeof *inputs);
    if (param_bytes) memcpy(n.params.bytes, params, param_bytes);
    mica_error err = {0};
    mica_status st = op->infer(g, &n, &err);
    if (st != MICA_STATUS_OK) {
        mica_graph_fail(g, st, "%s: %s", op->name, err.message);
        return 0;
    }
    if (!n.is_view) mica_shape_strides(&n.shape, n.strides);
    return store_node(g, &n);
}

static const char *copy_name(mica_graph *g, const char *name) {
    char *copy = mica_arena_string(&g->arena, name, strlen(name));
    if (!copy) mica_graph_fail(g, MICA_STATUS_OUT_OF_MEMORY, "out of memory: name of a node");
    return copy;
}

mica_ref mica_graph_input(mica_graph *g, const char *name, mica_dtype dtype,
                          const mica_shape *shape, mica_live live) {
    if (g->error.status != MICA_STATUS_OK) return 0;
    mica_node n = {.op = MICA_OP_INPUT, .dtype = (uint8_t)dtype, .live = (uint8_t)live};
    n.shape = *shape;
    n.name = copy_name(g, name);
    mica_shape_strides(shape, n.strides);
    if (!n.name) return 0;
    mica_ref ref = store_node(g, &n);
    if (strcmp(name, "batch.counts") == 0) g->counts = ref;
    return ref;
}

mica_ref mica_graph_weight(mica_graph *g, const mica_weight *weight) {
    if (g->error.status != MICA_STATUS_OK) return 0;
    mica_node n = {.op = MICA_OP_WEIGHT, .dtype = weight->dtype, .quant = weight->quant};
    n.shape = weight->shape;
    n.name = weight->name; /* the store outlives its graphs */
    n.weight = weight;
    mica_shape_strides(&n.shape, n.strides);
    return store_node(g, &n);
}

static void release_storage(mica_storage storage[MICA_PARTS_MAX]) {
    for (int p = 0; p < MICA_PARTS_MAX; p++) mica_buffer_release(&storage[p].buffer);
}

mica_ref mica_graph_data(mica_graph *g, mica_dtype dtype, mica_quant quant, const mica_shape *shape,
                         const mica_storage storage[MICA_PARTS_MAX]) {
    mica_node n = {.op = MICA_OP_DATA, .dtype = (uint8_t)dtype, .quant = quant};
    n.shape = *shape;
    memcpy(n.storage, storage, sizeof n.storage);
    mica_shape_strides(shape, n.strides);
    mica_ref ref = g->error.status == MICA_STATUS_OK ? store_node(g, &n) : 0;
    if (!ref) release_storage(n.storage);
    return ref;
}

/* ---- views ---- */

bool mica_node_is_contiguous(const mica_node *n) {
    int64_t stride = 1;
    for (int i = n->shape.rank - 1; i >= 0; i--) {
        if (n->shape.dims[i] == 0) return true;
        if (n->shape.dims[i] != 1 && n->strides[i] != stride) return false;
        stride *= n->shape.dims[i];
    }
    return true;
}

mica_ref mica_node_root(const mica_graph *g, mica_ref ref) {
    const mica_node *n = mica_graph_node(g, ref);
    return n->is_view ? n->view_of : ref;
}

/* ---- handles ---- */

mica_ref mica_array_ref(mica_graph *g, mica_array a, bool is_optional) {
    if (!g || g->error.status != MICA_STATUS_OK) return 0;
    if (a.node == 0) {
        if (!is_optional) mica_graph_fail(g, MICA_STATUS_INVALID, "the null array was used");
        return 0;
    }
    if (a.node >= mica_graph_count(g) || mica_graph_node(g, a.node)->op == MICA_OP_NONE ||
        mica_graph_node(g, a.node)->generation != a.generation) {
        mica_graph_fail(g, MICA_STATUS_INVALID, "an array was used after its release");
        return 0;
    }
    return a.node;
}

mica_array mica_array_of(mica_graph *g, mica_ref ref) {
    if (!ref || !g || g->error.status != MICA_STATUS_OK) return (mica_array){0};
    mica_node *n = mica_graph_node(g, ref);
    if (n->n_handles < HANDLES_FOR_EVER) n->n_handles++;
    return (mica_array){ref, n->generation};
}

mica_array mica_array_add(mica_graph *g, int op, const mica_array *inputs, int n_inputs,
                          const void *params, size_t param_bytes) {
    mica_ref refs[MICA_INPUTS_MAX] = {0};
    if (n_inputs > MICA_INPUTS_MAX) {
        mica_graph_fail(g, MICA_STATUS_LIMIT, "%d arrays in one op, at most %d", n_inputs,
                        MICA_INPUTS_MAX);
        return (mica_array){0};
    }
    if (n_inputs > 0 && !inputs) {
        mica_graph_fail(g, MICA_STATUS_INVALID, "a list of %d arrays is NULL", n_inputs);
        return (mica_array){0};
    }
    for (int i = 0; i < n_inputs; i++) refs[i] = mica_array_ref(g, inputs[i], true);
    return mica_array_of(g, mica_graph_add(g, (mica_op_id)op, refs, n_inputs, params, param_bytes));
}

mica_array mica_array_retain(mica_graph *g, mica_array a) {
    return mica_array_of(g, mica_array_ref(g, a, true));
}

void mica_array_release(mica_graph *g, mica_array *a) {
    if (!a) return;
    mica_array handle = *a;
    *a = (mica_array){0};
    if (!g || handle.node == 0 || handle.node >= mica_graph_count(g)) return;
    mica_node *n = mica_graph_node(g, handle.node);
    if (n->generation != handle.generation || n->n_handles == 0) return;
    if (n->n_handles == HANDLES_FOR_EVER) return;
    n->n_handles--;
    mica_ref pending = 0;
    push_if_unused(g, handle.node, &pending);
    free_pending(g, pending);
}

static const mica_node *peek(const mica_graph *g, mica_array a) {
    if (!g || a.node == 0 || a.node >= mica_graph_count(g)) return NULL;
    const mica_node *n = mica_graph_node(g, a.node);
    return n->op != MICA_OP_NONE && n->generation == a.generation ? n : NULL;
}

mica_dtype mica_array_dtype(const mica_graph *g, mica_array a) {
    const mica_node *n = peek(g, a);
    return n ? (mica_dtype)n->dtype : MICA_DTYPE_NONE;
}

int mica_array_rank(const mica_graph *g, mica_array a) {
    const mica_node *n = peek(g, a);
    return n ? n->shape.rank : 0;
}

int64_t mica_array_dim(const mica_graph *g, mica_array a, int axis) {
    const mica_node *n = peek(g, a);
    if (!n) return 0;
    if (axis < 0 && axis >= -n->shape.rank) axis += n->shape.rank;
    return axis >= 0 && axis < n->shape.rank ? n->shape.dims[axis] : 0;
}

int64_t mica_array_count(const mica_graph *g, mica_array a) {
    const mica_node *n = peek(g, a);
    return n ? mica_shape_count(&n->shape) : 0;
}

void mica_graph_detach(mica_graph *g, mica_ref ref, const mica_storage storage[MICA_PARTS_MAX]) {
    mica_node *n = mica_graph_node(g, ref);
    mica_ref pending = 0;
    mica_ref inputs[MICA_INPUTS_MAX];
    int n_inputs = n->n_inputs;
    memcpy(inputs, n->inputs, sizeof inputs);
    n->op = MICA_OP_DATA;
    n->n_inputs = 0;
    memset(n->inputs, 0, sizeof n->inputs);
    memcpy(n->storage, storage, sizeof n->storage);
    for (int i = 0; i < n_inputs; i++) drop_user(g, inputs[i], &pending);
    free_pending(g, pending);
}
