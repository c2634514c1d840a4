/* Pass replicate: a step so small that sharing it costs more than it saves is done by every worker
 * for itself, into memory of its own; then no barrier stands between it and what reads it. What is
 * small: the time one core needs, estimated from the op's stated bytes and operations, against that
 * of a barrier. Only for processors: a GPU's groups cannot see each other's results that way.
 *
 * The nodes are then sorted into phases: a step that is shared comes one phase after those shared
 * steps whose results it reads or overwrites, so there are as few barriers as the data allow. The
 * result stays the same to the bit, whatever the number of workers. */
#include "base/error.h"
#include "plan/draft.h"

/* Estimates of one core, on the safe side for those of ten years ago. */
#define REPLICATE_BYTES_PER_NANOSECOND 8.0
#define REPLICATE_FLOPS_PER_NANOSECOND 8.0
#define REPLICATE_NANOSECONDS_MAX 3000.0

typedef struct replication {
    mica_draft *draft;
    uint32_t count;
    mica_ref *home;       /* of roots: itself, or what the effect overwrites */
    uint32_t *read_phase; /* of homes: the last phase in which they are read so far */
    uint32_t *phase;      /* of nodes; 0 = can be read from the start */
    uint32_t last_phase;
} replication;

/* ---- which ---- */

static double estimate_nanoseconds(const mica_draft *d, const mica_node *n) {
    mica_cost cost;
    mica_draft_cost(d, n, &cost);
    return (double)cost.bytes / REPLICATE_BYTES_PER_NANOSECOND +
           (double)cost.flops / REPLICATE_FLOPS_PER_NANOSECOND;
}

static bool is_small(const mica_draft *d, const mica_node *n) {
    const mica_op *op = mica_draft_op(d, n);
    if (op->flags & (MICA_OP_IS_EFFECT | MICA_OP_IS_SHARED)) return false;
    return !n->is_output && estimate_nanoseconds(d, n) <= REPLICATE_NANOSECONDS_MAX;
}

static bool choose_nodes(replication *r, const uint8_t *is_overwritten) {
    bool has_any = false;
    for (mica_ref ref = 1; ref < r->count; ref++) {
        mica_node *n = mica_graph_node(r->draft->graph, ref);
        if (!mica_node_is_computed(n) || is_overwritten[ref] || !is_small(r->draft, n)) continue;
        n->is_private = 1;
        has_any = true;
    }
    return has_any;
}

/* ---- phases ---- */

static mica_ref home_of(const replication *r, mica_ref ref) {
    return ref ? r->home[mica_node_root(r->draft->graph, ref)] : 0;
}

/* The phase from which on a value can be read: behind the barrier that follows a shared step. */
static uint32_t ready_phase(const replication *r, mica_ref input) {
    if (!input) return 1;
    mica_ref root = mica_node_root(r->draft->graph, input);
    const mica_node *n = mica_graph_node(r->draft->graph, root);
    if (mica_node_is_leaf(n)) return 1;
    return r->phase[root] + !n->is_private;
}

static void find_phase(replication *r, mica_ref ref) {
    const mica_node *n = mica_graph_node(r->draft->graph, ref);
    bool is_effect = mica_draft_is_effect(r->draft, n);
    uint32_t phase = 1;
    r->home[ref] = is_effect ? home_of(r, n->inputs[0]) : ref;
    for (int i = 0; i < n->n_inputs; i++) {
        uint32_t ready = ready_phase(r, n->inputs[i]);
        if (phase < ready) phase = ready;
    }
    if (is_effect && phase <= r->read_phase[r->home[ref]]) phase = r->read_phase[r->home[ref]] + 1;
    r->phase[ref] = phase;
    for (int i = 0; i < n->n_inputs; i++) {
        mica_ref home = home_of(r, n->inputs[i]);
        if (home && r->read_phase[home] < phase) r->read_phase[home] = phase;
    }
    if (phase > r->last_phase) r->last_phase = phase;
}

static void find_phases(replication *r) {
    for (mica_ref ref = 1; ref < r->count; ref++) {
        const mica_node *n = mica_graph_node(r->draft->graph, ref);
        if (mica_node_is_computed(n))
            find_phase(r, ref);
        else if (!n->is_view)
            r->home[ref] = ref;
    }
}

/* Counting sort: within a phase the order stays. */
static mica_status sort_nodes(replication *r, mica_error *err) {
    mica_draft *d = r->draft;
    uint32_t *start = mica_draft_scratch(d, (size_t)r->last_phase + 2, sizeof *start);
    mica_ref *sequence = mica_draft_scratch(d, r->count, sizeof *sequence);
    if (!start || !sequence) return mica_draft_fail_memory(d, "phases", err);
    for (mica_ref ref = 1; ref < r->count; ref++)
        if (r->phase[ref]) start[r->phase[ref] + 1]++;
    for (uint32_t p = 1; p < r->last_phase + 2; p++) start[p] += start[p - 1];
    size_t n = start[r->last_phase + 1];
    for (mica_ref ref = 1; ref < r->count; ref++) {
        if (!r->phase[ref]) continue;
        mica_graph_node(d->graph, ref)->phase = r->phase[ref];
        sequence[start[r->phase[ref]]++] = ref;
    }
    return mica_draft_sweep(d, sequence, n, err);
}

/* ---- the pass ---- */

mica_status mica_pass_replicate(mica_draft *d, mica_error *err) {
    replication r = {.draft = d, .count = mica_graph_count(d->graph)};
    if (d->runtime->device->backend->kind != MICA_DEVICE_CPU) return MICA_STATUS_OK;
    const uint8_t *is_overwritten = mica_draft_find_overwritten(d);
    r.home = mica_draft_scratch(d, r.count, sizeof *r.home);
    r.read_phase = mica_draft_scratch(d, r.count, sizeof *r.read_phase);
    r.phase = mica_draft_scratch(d, r.count, sizeof *r.phase);
    if (!is_overwritten || !r.home || !r.read_phase || !r.phase)
        return mica_draft_fail_memory(d, "phases", err);
    if (!choose_nodes(&r, is_overwritten)) return MICA_STATUS_OK;
    find_phases(&r);
    return sort_nodes(&r, err);
}
