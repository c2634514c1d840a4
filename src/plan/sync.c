/* Pass sync: nodes become steps. Each op fills its step through mica_launch_*; what it enters as
 * operands tells which byte ranges the step reads and writes. A barrier is set only where a range
 * meets one since the last barrier and one of the two is written. */
#include <string.h>
#include "base/error.h"
#include "plan/draft.h"

/* Ranges kept since the last barrier. Past it a barrier is set although none is needed, so that the
 * search stays short. */
#define SYNC_RANGES_MAX 4096
#define SYNC_STEP_RANGES_MAX (MICA_INPUTS_MAX * (MICA_PARTS_MAX + 1) + 4)

typedef struct byte_range {
    uint64_t begin;
    uint64_t end;
    uint16_t binding;
    bool is_written;
} byte_range;

/* What launch callbacks reach through mica_launch.builder. */
struct mica_plan_builder {
    mica_draft *draft;
    uint64_t values_bytes; /* of the arena: what is behind them is lent to one step after another */
};

typedef struct syncer {
    mica_draft *draft;
    mica_launch launch;
    struct mica_plan_builder builder;
    byte_range *ranges; /* since the last barrier */
    size_t n_ranges;
} syncer;

/* ---- launch callbacks ---- */

static void *allocate(mica_launch *l, size_t bytes) {
    return mica_draft_keep(l->builder->draft, 1, bytes);
}

/* Elements below and behind the first one that a view reaches. */
static void find_reach(const mica_node *n, int64_t *below, int64_t *behind) {
    *below = 0;
    *behind = 0;
    for (int i = 0; i < n->shape.rank; i++) {
        int64_t last = (n->shape.dims[i] - 1) * n->strides[i];
        if (last < 0)
            *below -= last;
        else
            *behind += last;
    }
}

static uint64_t extent_bytes(const mica_node *n, int part) {
    if (mica_shape_count(&n->shape) == 0) return 0;
    if (!n->is_view) return mica_part_bytes((mica_dtype)n->dtype, n->quant, &n->shape, part);
    int64_t below, behind;
    find_reach(n, &below, &behind);
    return mica_view_bytes(n, behind + 1, part);
}

/* Parts of a leaf with buffers have bindings of their own; all others follow each other. */
static void locate_part(const mica_draft *d, mica_ref ref, int part, uint16_t *binding,
                        uint64_t *offset) {
    const mica_graph *g = d->graph;
    const mica_node *n = mica_graph_node(g, ref);
    const mica_node *root = mica_graph_node(g, mica_node_root(g, ref));
    uint64_t offsets[MICA_PARTS_MAX] = {0};
    *binding = (uint16_t)root->place.binding;
    *offset = root->place.offset;
    if (d->bindings[*binding].kind == MICA_BIND_BUFFER) {
        *binding = (uint16_t)(*binding + part);
    } else {
        mica_node_bytes(root, offsets);
        *offset += offsets[part];
    }
    if (n->is_view) *offset += mica_view_bytes(n, n->view_offset, part);
}

/* A part that a type does not have is an empty range at the arena's start. */
static void locate(const mica_launch *l, mica_ref ref, int part, uint16_t *binding,
                   uint64_t *offset, uint64_t *bytes) {
    const mica_draft *d = l->builder->draft;
    const mica_node *n = mica_graph_node(d->graph, ref);
    const mica_node *root = mica_graph_node(d->graph, mica_node_root(d->graph, ref));
    *binding = 0;
    *offset = 0;
    *bytes = 0;
    if (part < 0 || part >= mica_quant_parts(n->quant) || root->place.binding < 0) return;
    locate_part(d, ref, part, binding, offset);
    *bytes = extent_bytes(n, part);
}

static void reserve(const mica_launch *l, uint64_t bytes, uint16_t *binding, uint64_t *offset) {
    mica_draft *d = l->builder->draft;
    *binding = 0;
    *offset = l->builder->values_bytes;
    if (d->arena_bytes < *offset + bytes) d->arena_bytes = *offset + bytes;
    d->bindings[0].bytes = d->arena_bytes;
}

/* ---- hazards ---- */

/* Views that run backwards begin at their highest address; the bytes below count as well. */
static size_t add_backward_ranges(const syncer *s, const mica_node *n, byte_range *out) {
    size_t count = 0;
    for (int i = 0; i < n->n_inputs; i++) {
        const mica_node *x = mica_graph_node(s->draft->graph, n->inputs[i]);
        int64_t below = 0, behind;
        uint64_t offset;
        if (!n->inputs[i] || !x->is_view || mica_shape_count(&x->shape) == 0) continue;
        find_reach(x, &below, &behind);
        if (below == 0 || mica_graph_node(s->draft->graph, x->view_of)->place.binding < 0) continue;
        byte_range *r = &out[count++];
        locate_part(s->draft, n->inputs[i], 0, &r->binding, &offset);
        r->begin = offset - mica_view_bytes(x, below, 0);
        r->end = offset;
        r->is_written = false;
    }
    return count;
}

static size_t find_ranges(const syncer *s, const mica_step *step, byte_range *out) {
    size_t count = add_backward_ranges(s, mica_graph_node(s->draft->graph, step->node), out);
    for (uint32_t i = 0; i < step->n_operands; i++) {
        const mica_operand *o = &step->operands[i];
        if (!o->bytes) continue;
        bool is_written = o->access & MICA_ACCESS_WRITE;
        out[count++] = (byte_range){o->offset, o->offset + o->bytes, o->binding, is_written};
    }
    return count;
}

static bool do_meet(const byte_range *a, const byte_range *b) {
    return (a->is_written || b->is_written) && a->binding == b->binding && a->begin < b->end &&
           b->begin < a->end;
}

static bool needs_barrier(const syncer *s, const byte_range *ranges, size_t n) {
    if (s->n_ranges + n > SYNC_RANGES_MAX) return true;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < s->n_ranges; j++)
            if (do_meet(&ranges[i], &s->ranges[j])) return true;
    return false;
}

/* Ranges of bindings that no step writes, or only for its own worker, need no memory. */
static bool can_conflict(const syncer *s, const byte_range *r) {
    mica_binding_kind kind = s->draft->bindings[r->binding].kind;
    return kind != MICA_BIND_BUFFER && kind != MICA_BIND_PRIVATE;
}

static void set_barrier(syncer *s, mica_step *step) {
    byte_range ranges[SYNC_STEP_RANGES_MAX];
    size_t n = find_ranges(s, step, ranges);
    step->barrier_before = needs_barrier(s, ranges, n);
    if (step->barrier_before) s->n_ranges = 0;
    for (size_t i = 0; i < n; i++)
        if (can_conflict(s, &ranges[i])) s->ranges[s->n_ranges++] = ranges[i];
}

/* ---- steps ---- */

/* Operands must lie in the argument struct, and their ranges in the binding. */
static bool is_sane(const mica_draft *d, const mica_step *step) {
    for (uint32_t i = 0; i < step->n_operands; i++) {
        const mica_operand *o = &step->operands[i];
        if (step->args_bytes < sizeof(mica_address) ||
            o->args_byte > step->args_bytes - sizeof(mica_address) || o->binding >= d->n_bindings)
            return false;
        uint64_t room = d->bindings[o->binding].bytes;
        if (o->bytes && (o->offset > room || o->bytes > room - o->offset)) return false;
    }
    return true;
}

static mica_status keep_operands(syncer *s, mica_step *step, mica_error *err) {
    mica_operand *kept = mica_draft_keep(s->draft, step->n_operands + 1u, sizeof *kept);
    if (!kept) return mica_draft_fail_memory(s->draft, "operands", err);
    if (step->n_operands) memcpy(kept, s->launch.operands, step->n_operands * sizeof *kept);
    /* An operand that points at one of the counts was located as all of them. */
    mica_ref counts = s->draft->graph->counts;
    int32_t binding = counts ? mica_graph_node(s->draft->graph, counts)->place.binding : -1;
    for (uint32_t i = 0; i < step->n_operands; i++)
        if (kept[i].binding == binding && kept[i].access == MICA_ACCESS_READ &&
            kept[i].bytes > sizeof(int32_t))
            kept[i].bytes = sizeof(int32_t);
    step->operands = kept;
    return MICA_STATUS_OK;
}

static mica_status make_step(syncer *s, mica_ref ref, mica_step *step, mica_error *err) {
    mica_draft *d = s->draft;
    const mica_node *n = mica_graph_node(d->graph, ref);
    const mica_op *op = mica_draft_op(d, n);
    mica_status st = MICA_STATUS_OK;
    *step = (mica_step){.kernel = n->kernel, .node = ref, .grid = {1, 1, 1}, .group = {1, 1, 1}};
    step->is_private = n->is_private;
    s->launch.step = step;
    st = op->launch(&s->launch, n, err);
    if (s->launch.failed) return mica_draft_fail_memory(d, "arguments", err);
    if (st != MICA_STATUS_OK) return mica_fail_prefix(err, st, "launch of %s", op->name);
    MICA_TRY(keep_operands(s, step, err));
    MICA_REQUIRE(is_sane(d, step), MICA_STATUS_INTERNAL,
                 "launch of %s: an operand lies outside its arguments or binding", op->name);
    if (n->kernel->scratch_bytes) step->scratch_bytes = n->kernel->scratch_bytes(d->graph, n);
    mica_cost cost;
    mica_draft_cost(d, n, &cost);
    step->bytes = cost.bytes;
    step->flops = cost.flops;
    set_barrier(s, step);
done:
    return st;
}

static size_t count_computed(const mica_graph *g) {
    size_t n = 0;
    for (mica_ref r = 1; r < mica_graph_count(g); r++)
        n += mica_node_is_computed(mica_graph_node(g, r));
    return n;
}

static mica_status open_syncer(mica_draft *d, syncer *s, mica_error *err) {
    *s = (syncer){.draft = d, .builder = {d, 0}};
    s->builder.values_bytes =
        (d->arena_bytes + MICA_PLAN_ALIGNMENT - 1) / MICA_PLAN_ALIGNMENT * MICA_PLAN_ALIGNMENT;
    s->launch = (mica_launch){
        .graph = d->graph, .allocate = allocate, .locate = locate, .reserve = reserve};
    s->launch.counts = d->graph->counts;
    s->ranges = mica_draft_scratch(d, SYNC_RANGES_MAX + SYNC_STEP_RANGES_MAX, sizeof *s->ranges);
    d->steps = mica_draft_keep(d, count_computed(d->graph) + 1, sizeof *d->steps);
    if (!s->ranges || !d->steps) return mica_draft_fail_memory(d, "steps", err);
    return MICA_STATUS_OK;
}

mica_status mica_pass_sync(mica_draft *d, mica_error *err) {
    syncer s;
    mica_status st = open_syncer(d, &s, err);
    s.launch.builder = &s.builder;
    for (mica_ref r = 1; r < mica_graph_count(d->graph) && st == MICA_STATUS_OK; r++)
        if (mica_node_is_computed(mica_graph_node(d->graph, r)))
            st = make_step(&s, r, &d->steps[d->n_steps++], err);
    return st;
}
