/* Constant folding: the constant nodes that others need become the outputs of a plan of their own,
 * whose steps run here, on the calling thread. Kernels and their arguments are those of any other
 * plan, so the bits are too. Only for processors, whose kernels are plain functions. */
#include "plan/fold.h"
#include <string.h>
#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "plan/plan.h"

#define FOLD_BYTES_MAX 65536 /* of an operand or a result: a larger one is cheaper to compute */
#define FOLD_NODES_MAX 1024

typedef struct folder {
    mica_draft *draft;
    uint32_t count;
    uint8_t *is_constant, *is_wanted;
    mica_ref *wanted; /* constant nodes that a node which stays reads */
    size_t n_wanted;
    mica_storage *results; /* per wanted */
} folder;

/* ---- which ---- */

static bool has_inputs(const mica_graph *g) {
    for (mica_ref r = 1; r < mica_graph_count(g); r++)
        if (mica_graph_node(g, r)->op == MICA_OP_INPUT) return true;
    return false;
}

static bool is_small(const mica_node *n) {
    return n->quant.mode == MICA_QUANT_NONE && n->live == MICA_LIVE_ALL &&
           mica_node_bytes(n, NULL) <= FOLD_BYTES_MAX;
}

static bool is_constant(const folder *f, const mica_node *n) {
    const mica_op *op = mica_draft_op(f->draft, n);
    if (n->op == MICA_OP_DATA) {
        const mica_buffer *buffer = n->storage[0].buffer;
        return buffer && buffer->host && is_small(n);
    }
    if (mica_node_is_leaf(n) || n->is_output || (op->flags & MICA_OP_IS_EFFECT)) return false;
    for (int i = 0; i < n->n_inputs; i++)
        if (n->inputs[i] && !f->is_constant[n->inputs[i]]) return false;
    return n->is_view ? f->is_constant[n->view_of] : is_small(n);
}

static void want(folder *f, mica_ref ref) {
    const mica_graph *g = f->draft->graph;
    mica_ref root = mica_node_root(g, ref);
    if (!ref || !f->is_constant[root] || mica_node_is_leaf(mica_graph_node(g, root))) return;
    if (f->is_wanted[root] || f->n_wanted == FOLD_NODES_MAX) return;
    f->is_wanted[root] = 1;
    f->wanted[f->n_wanted++] = root;
}

static void find_wanted(folder *f, const uint8_t *is_overwritten) {
    const mica_graph *g = f->draft->graph;
    for (mica_ref r = 1; r < f->count; r++)
        f->is_constant[r] = !is_overwritten[r] && is_constant(f, mica_graph_node(g, r));
    for (mica_ref r = 1; r < f->count; r++) {
        const mica_node *n = mica_graph_node(g, r);
        if (!mica_node_is_computed(n) || f->is_constant[r]) continue;
        for (int i = 0; i < n->n_inputs; i++) want(f, n->inputs[i]);
    }
}

/* ---- computing them ---- */

/* Where each binding of the plan lies; what it owns of them is in one block. */
static mica_status bind(const folder *f, const mica_plan *plan, uint64_t *address, void **memory) {
    const mica_allocator *a = f->draft->runtime->host.allocator;
    uint64_t own = plan->segments[0].scratch_bytes + MICA_PLAN_ALIGNMENT;
    for (size_t b = 0; b < plan->n_bindings; b++) {
        const mica_binding *k = &plan->bindings[b];
        bool is_own = k->kind == MICA_BIND_ARENA || k->kind == MICA_BIND_PRIVATE;
        if (is_own && !mica_add_u64(own, k->bytes + 2 * MICA_PLAN_ALIGNMENT, &own))
            return MICA_STATUS_LIMIT;
    }
    *memory = own < SIZE_MAX ? mica_alloc_aligned(a, (size_t)own, MICA_PLAN_ALIGNMENT) : NULL;
    if (!*memory) return MICA_STATUS_OUT_OF_MEMORY;
    uint64_t next = (uint64_t)(uintptr_t)*memory + plan->segments[0].scratch_bytes;
    for (size_t b = 0; b < plan->n_bindings; b++) {
        const mica_binding *k = &plan->bindings[b];
        if (k->kind == MICA_BIND_BUFFER && k->storage.buffer)
            address[b] = (uint64_t)(uintptr_t)k->storage.buffer->host + k->storage.offset;
        for (size_t i = 0; k->kind == MICA_BIND_OUTPUT && i < f->n_wanted; i++)
            if (plan->outputs[i] == k->node)
                address[b] = (uint64_t)(uintptr_t)f->results[i].buffer->host;
        if (k->kind != MICA_BIND_ARENA && k->kind != MICA_BIND_PRIVATE) continue;
        next = (next + MICA_PLAN_ALIGNMENT - 1) & ~(uint64_t)(MICA_PLAN_ALIGNMENT - 1);
        address[b] = next;
        next += k->bytes;
    }
    return MICA_STATUS_OK;
}

/* As one worker of one. */
static void run_steps(const mica_plan *plan, const uint64_t *address, void *scratch) {
    for (size_t s = 0; s < plan->segments[0].n_steps; s++) {
        mica_step *step = &plan->segments[0].steps[s];
        _Atomic int64_t next = 0;
        mica_cpu_worker worker = {.count = 1, .scratch = scratch, .next = &next};
        for (uint32_t i = 0; i < step->n_operands; i++) {
            const mica_operand *o = &step->operands[i];
            mica_address at = address[o->binding] + o->offset;
            memcpy((uint8_t *)step->args + o->args_byte, &at, sizeof at);
        }
        step->kernel->cpu(step->args, &worker);
    }
}

static mica_status create_results(folder *f, mica_error *err) {
    mica_device *device = f->draft->runtime->device;
    for (size_t i = 0; i < f->n_wanted; i++) {
        uint64_t bytes = mica_node_bytes(mica_graph_node(f->draft->graph, f->wanted[i]), NULL);
        mica_status st = device->backend->buffer_create(device, bytes, &f->results[i].buffer, err);
        if (st != MICA_STATUS_OK) return st;
        if (bytes && !f->results[i].buffer->host) return MICA_STATUS_UNSUPPORTED;
    }
    return MICA_STATUS_OK;
}

/* The draft's counts are no input of the constants. */
static mica_status build_plan(const folder *f, mica_plan **plan, mica_error *err) {
    mica_graph *g = f->draft->graph;
    mica_plan_options options = {.label = "constants", .is_probe = true};
    mica_ref counts = g->counts;
    g->counts = 0;
    mica_status st =
        mica_plan_build(f->draft->runtime, g, f->wanted, f->n_wanted, &options, plan, err);
    g->counts = counts;
    return st;
}

static mica_status compute(folder *f) {
    mica_status st = MICA_STATUS_OK;
    mica_error ignored;
    mica_plan *plan = NULL;
    void *memory = NULL;
    uint64_t *address = NULL;
    MICA_TRY(create_results(f, &ignored));
    MICA_TRY(build_plan(f, &plan, &ignored));
    address = mica_draft_scratch(f->draft, plan->n_bindings, sizeof *address);
    if (!address) st = MICA_STATUS_OUT_OF_MEMORY;
    if (address) st = bind(f, plan, address, &memory);
    if (st == MICA_STATUS_OK) run_steps(plan, address, memory);
done:
    if (memory) mica_free(f->draft->runtime->host.allocator, memory);
    mica_plan_destroy(&plan);
    return st;
}

/* ---- the graph ---- */

/* The buffer becomes the node's. */
static void make_data(mica_node *n, mica_storage storage) {
    n->op = MICA_OP_DATA;
    n->n_inputs = 0;
    memset(n->inputs, 0, sizeof n->inputs);
    memset(&n->params, 0, sizeof n->params);
    n->storage[0] = storage;
}

static mica_status open_folder(mica_draft *d, folder *f, mica_error *err) {
    *f = (folder){.draft = d, .count = mica_graph_count(d->graph)};
    f->is_constant = mica_draft_scratch(d, f->count, 1);
    f->is_wanted = mica_draft_scratch(d, f->count, 1);
    f->wanted = mica_draft_scratch(d, FOLD_NODES_MAX, sizeof *f->wanted);
    f->results = mica_draft_scratch(d, FOLD_NODES_MAX, sizeof *f->results);
    if (!f->is_constant || !f->is_wanted || !f->wanted || !f->results)
        return mica_draft_fail_memory(d, "constants", err);
    return MICA_STATUS_OK;
}

mica_status mica_draft_fold(mica_draft *d, mica_error *err) {
    folder f;
    mica_status st = MICA_STATUS_OK;
    bool is_probe = d->options && d->options->is_probe;
    bool is_cpu = d->runtime->device->backend->kind == MICA_DEVICE_CPU;
    if (is_probe || !is_cpu || !has_inputs(d->graph)) return MICA_STATUS_OK;
    const uint8_t *is_overwritten = mica_draft_find_overwritten(d);
    if (!is_overwritten) return mica_draft_fail_memory(d, "constants", err);
    MICA_TRY(open_folder(d, &f, err));
    find_wanted(&f, is_overwritten);
    if (f.n_wanted) st = compute(&f);
    for (size_t i = 0; i < f.n_wanted; i++) {
        if (st == MICA_STATUS_OK)
            make_data(mica_graph_node(d->graph, f.wanted[i]), f.results[i]);
        else
            mica_buffer_release(&f.results[i].buffer);
    }
    if (st == MICA_STATUS_OUT_OF_MEMORY) return mica_draft_fail_memory(d, "constants", err);
    st = MICA_STATUS_OK; /* the nodes stay */
done:
    return st;
}
