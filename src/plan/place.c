/* Pass place: bindings, and where in them every node lies. Nodes run in table order, so a value is
 * alive from its node to its last reader; the arena is handed out along that line, best fit first.
 * A node may write over its first input where that dies; effects always do. Switched off, every
 * node has arena space of its own.
 *
 * Storage is counted by homes: the node whose bytes its effects share. A donation hands the bytes
 * to another home. */
#include "base/error.h"
#include "core/weights.h"
#include "plan/draft.h"

/* A gap in the arena; the last one is open-ended. */
typedef struct gap {
    uint64_t offset;
    uint64_t bytes;
} gap;

typedef struct placer {
    mica_draft *draft;
    uint32_t count;
    mica_ref *home;     /* of roots: itself, or what the effect overwrites */
    mica_ref *last_use; /* of homes: the last node that reads or writes them; 0 = none */
    mica_ref *dying;    /* first home that dies with a node, chained by next_dying */
    mica_ref *next_dying;
    uint8_t *is_donated; /* homes whose bytes now belong to the node under which they died */
    mica_ref *output;    /* of homes: the node of the output that lies there, or 0 */
    gap *gaps;           /* ascending, never touching */
    size_t n_gaps;
    uint64_t peak;
    bool shares; /* the pass is on */
} placer;

#define ARENA_END (UINT64_C(1) << 60)

/* ---- gaps ---- */

static uint64_t round_up(uint64_t bytes) {
    return (bytes + MICA_PLAN_ALIGNMENT - 1) & ~(uint64_t)(MICA_PLAN_ALIGNMENT - 1);
}

static void remove_gap(placer *p, size_t at) {
    p->n_gaps--;
    for (; at < p->n_gaps; at++) p->gaps[at] = p->gaps[at + 1];
}

/* The smallest gap that fits, the lowest of equals; the open end only when no other does. */
static mica_status take_bytes(placer *p, uint64_t bytes, uint64_t *offset, mica_error *err) {
    size_t best = p->n_gaps - 1;
    for (size_t i = 0; i < p->n_gaps; i++)
        if (p->gaps[i].bytes >= bytes && p->gaps[i].bytes < p->gaps[best].bytes) best = i;
    gap *g = &p->gaps[best];
    if (g->bytes < bytes)
        return mica_fail(err, MICA_STATUS_LIMIT, "activations of more than 2^60 bytes");
    *offset = g->offset;
    g->offset += bytes;
    g->bytes -= bytes;
    if (*offset + bytes > p->peak) p->peak = *offset + bytes;
    if (g->bytes == 0) remove_gap(p, best);
    return MICA_STATUS_OK;
}

static void give_bytes(placer *p, uint64_t offset, uint64_t bytes) {
    size_t low = 0, high = p->n_gaps; /* the first gap behind offset */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (p->gaps[middle].offset > offset)
            high = middle;
        else
            low = middle + 1;
    }
    bool joins_left = low > 0 && p->gaps[low - 1].offset + p->gaps[low - 1].bytes == offset;
    bool joins_right = low < p->n_gaps && offset + bytes == p->gaps[low].offset;
    if (joins_left) {
        p->gaps[low - 1].bytes += bytes;
        if (!joins_right) return;
        p->gaps[low - 1].bytes += p->gaps[low].bytes;
        remove_gap(p, low);
    } else if (joins_right) {
        p->gaps[low].offset = offset;
        p->gaps[low].bytes += bytes;
    } else {
        for (size_t i = p->n_gaps++; i > low; i--) p->gaps[i] = p->gaps[i - 1];
        p->gaps[low] = (gap){offset, bytes};
    }
}

/* ---- homes and lifetimes ---- */

static mica_ref home_of(const placer *p, mica_ref ref) {
    return ref ? p->home[mica_node_root(p->draft->graph, ref)] : 0;
}

static void use_home(placer *p, mica_ref home, mica_ref user) {
    if (p->last_use[home] < user) p->last_use[home] = user;
}

static void find_lifetimes(placer *p) {
    const mica_draft *d = p->draft;
    for (mica_ref r = 1; r < p->count; r++) {
        const mica_node *n = mica_graph_node(d->graph, r);
        if (n->is_view) continue;
        p->home[r] = mica_draft_is_effect(d, n) ? home_of(p, n->inputs[0]) : r;
        if (n->is_output) p->output[p->home[r]] = r;
        if (mica_node_is_leaf(n)) continue;
        use_home(p, p->home[r], r);
        for (int i = 0; i < n->n_inputs; i++)
            if (n->inputs[i]) use_home(p, home_of(p, n->inputs[i]), r);
    }
    if (d->graph->counts) use_home(p, d->graph->counts, p->count);
}

static bool is_arena_home(const placer *p, mica_ref home) {
    return mica_node_is_computed(mica_graph_node(p->draft->graph, home)) && !p->output[home];
}

static void plan_death(placer *p, mica_ref home) {
    mica_ref last = p->last_use[home];
    p->next_dying[home] = p->dying[last];
    p->dying[last] = home;
}

/* ---- bindings ---- */

static mica_binding *add_binding(mica_draft *d, mica_binding_kind kind, mica_ref ref) {
    mica_binding *b = &d->bindings[d->n_bindings++];
    b->kind = kind;
    b->node = ref;
    return b;
}

static void bind_leaf(placer *p, mica_ref ref) {
    mica_draft *d = p->draft;
    mica_node *n = mica_graph_node(d->graph, ref);
    if (!p->last_use[ref]) return; /* an output that is a leaf: nothing reads it */
    n->place = (mica_place){.binding = (int32_t)d->n_bindings};
    if (n->op == MICA_OP_INPUT) {
        mica_binding *b = add_binding(d, MICA_BIND_INPUT, ref);
        b->bytes = mica_node_bytes(n, NULL);
        b->name = n->name;
        return;
    }
    for (int part = 0; part < mica_quant_parts(n->quant); part++) {
        mica_binding *b = add_binding(d, MICA_BIND_BUFFER, ref);
        b->part = (uint8_t)part;
        b->bytes = mica_part_bytes((mica_dtype)n->dtype, n->quant, &n->shape, part);
        if (n->op == MICA_OP_DATA)
            b->storage = n->storage[part];
        else if (n->weight)
            b->storage = n->weight->parts[part];
        b->name = n->name;
    }
}

/* An effect on an input leaves its result there: no binding of its own. */
static void bind_output(placer *p, mica_ref ref) {
    mica_draft *d = p->draft;
    mica_node *n = mica_graph_node(d->graph, ref);
    if (!mica_node_is_computed(n) || !p->output[ref]) return;
    n->place = (mica_place){.binding = (int32_t)d->n_bindings};
    mica_binding *b = add_binding(d, MICA_BIND_OUTPUT, p->output[ref]);
    b->bytes = mica_node_bytes(n, NULL);
}

static mica_status make_bindings(placer *p, mica_error *err) {
    mica_draft *d = p->draft;
    size_t n = 1;
    for (mica_ref r = 1; r < p->count; r++) {
        const mica_node *node = mica_graph_node(d->graph, r);
        if (mica_node_is_leaf(node))
            n += (size_t)mica_quant_parts(node->quant);
        else if (node->is_output)
            n++;
    }
    if (n > MICA_PLAN_BINDINGS_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT,
                         "%zu inputs, weights and outputs in one plan, at most %d", n,
                         MICA_PLAN_BINDINGS_MAX);
    d->bindings = mica_draft_keep(d, n, sizeof *d->bindings);
    if (!d->bindings) return mica_draft_fail_memory(d, "bindings", err);
    add_binding(d, MICA_BIND_ARENA, 0);
    for (mica_ref r = 1; r < p->count; r++)
        if (mica_node_is_leaf(mica_graph_node(d->graph, r))) bind_leaf(p, r);
    for (mica_ref r = 1; r < p->count; r++) bind_output(p, r);
    return MICA_STATUS_OK;
}

/* ---- donation ---- */

/* Element by element, so that reading i and writing i may meet at one address. */
static bool is_same_layout(const mica_node *n, const mica_node *x) {
    return !n->quant.mode && !x->quant.mode && mica_node_is_contiguous(x) &&
           mica_dtype_bytes((mica_dtype)n->dtype) == mica_dtype_bytes((mica_dtype)x->dtype) &&
           mica_shape_count(&n->shape) == mica_shape_count(&x->shape);
}

/* Another input that shares the donor's bytes is read at other places than those being written,
 * unless it is the same array in an elementwise op. */
static bool is_read_otherwise(const placer *p, const mica_op *op, const mica_node *n,
                              mica_ref home) {
    for (int i = 1; i < n->n_inputs; i++) {
        bool is_same = n->inputs[i] == n->inputs[0] && (op->flags & MICA_OP_IS_ELEMENTWISE);
        if (n->inputs[i] && home_of(p, n->inputs[i]) == home && !is_same) return true;
    }
    return false;
}

/* The home whose bytes node ref may take over, or 0. */
static mica_ref find_donor(const placer *p, mica_ref ref) {
    const mica_draft *d = p->draft;
    const mica_node *n = mica_graph_node(d->graph, ref);
    const mica_op *op = mica_draft_op(d, n);
    if (!p->shares || !(op->flags & MICA_OP_IN_PLACE) || !n->n_inputs || !n->inputs[0]) return 0;
    mica_ref home = home_of(p, n->inputs[0]);
    if (p->last_use[home] != ref || !is_arena_home(p, home)) return 0;
    const mica_node *x = mica_graph_node(d->graph, n->inputs[0]);
    const mica_node *owner = mica_graph_node(d->graph, home);
    if (!is_same_layout(n, x) || mica_node_bytes(n, NULL) != mica_node_bytes(owner, NULL)) return 0;
    return is_read_otherwise(p, op, n, home) ? 0 : home;
}

/* ---- the walk ---- */

static uint64_t bytes_of_home(const placer *p, mica_ref home) {
    return round_up(mica_node_bytes(mica_graph_node(p->draft->graph, home), NULL));
}

static mica_status place_root(placer *p, mica_ref ref, mica_error *err) {
    mica_node *n = mica_graph_node(p->draft->graph, ref);
    if (!is_arena_home(p, ref)) return MICA_STATUS_OK; /* an output: bound already */
    mica_ref donor = find_donor(p, ref);
    if (donor) {
        n->place = mica_graph_node(p->draft->graph, donor)->place;
        p->is_donated[donor] = 1;
        return MICA_STATUS_OK;
    }
    n->place.binding = 0;
    n->place.offset = 0;
    uint64_t bytes = bytes_of_home(p, ref);
    return bytes ? take_bytes(p, bytes, &n->place.offset, err) : MICA_STATUS_OK;
}

/* Effects and views: where their first input lies. */
static void place_shared(placer *p, mica_ref ref) {
    const mica_graph *g = p->draft->graph;
    mica_node *n = mica_graph_node(g, ref);
    if (n->is_view) {
        n->place = mica_graph_node(g, n->view_of)->place;
        return;
    }
    const mica_node *x = mica_graph_node(g, n->inputs[0]);
    n->place = mica_graph_node(g, mica_node_root(g, n->inputs[0]))->place;
    if (x->is_view) n->place.offset += mica_view_bytes(x, x->view_offset, 0);
}

static void free_dying(placer *p, mica_ref ref) {
    const mica_graph *g = p->draft->graph;
    for (mica_ref home = p->dying[ref]; home;) {
        mica_ref next = p->next_dying[home];
        uint64_t bytes = bytes_of_home(p, home);
        if (bytes && p->shares && !p->is_donated[home])
            give_bytes(p, mica_graph_node(g, home)->place.offset, bytes);
        home = next;
    }
}

static mica_status place_nodes(placer *p, mica_error *err) {
    const mica_draft *d = p->draft;
    for (mica_ref r = 1; r < p->count; r++)
        if (p->home[r] == r && is_arena_home(p, r)) plan_death(p, r);
    for (mica_ref r = 1; r < p->count; r++) {
        const mica_node *n = mica_graph_node(d->graph, r);
        if (mica_node_is_leaf(n)) continue;
        if (n->is_view || mica_draft_is_effect(d, n)) {
            place_shared(p, r);
        } else {
            mica_status st = place_root(p, r, err);
            if (st != MICA_STATUS_OK) return st;
        }
        free_dying(p, r);
    }
    return MICA_STATUS_OK;
}

static mica_status open_placer(mica_draft *d, placer *p, mica_error *err) {
    *p = (placer){.draft = d, .count = mica_graph_count(d->graph)};
    p->shares = !mica_draft_is_off(d, "place");
    p->home = mica_draft_scratch(d, p->count, sizeof *p->home);
    /* counts is used until the end, one past the last node */
    p->last_use = mica_draft_scratch(d, p->count, sizeof *p->last_use);
    p->dying = mica_draft_scratch(d, (size_t)p->count + 1, sizeof *p->dying);
    p->next_dying = mica_draft_scratch(d, p->count, sizeof *p->next_dying);
    p->is_donated = mica_draft_scratch(d, p->count, 1);
    p->output = mica_draft_scratch(d, p->count, sizeof *p->output);
    p->gaps = mica_draft_scratch(d, (size_t)p->count + 1, sizeof *p->gaps);
    if (!p->home || !p->last_use || !p->dying || !p->next_dying || !p->is_donated || !p->output ||
        !p->gaps)
        return mica_draft_fail_memory(d, "places", err);
    p->gaps[p->n_gaps++] = (gap){0, ARENA_END};
    return MICA_STATUS_OK;
}

mica_status mica_pass_place(mica_draft *d, mica_error *err) {
    placer p;
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(open_placer(d, &p, err));
    find_lifetimes(&p);
    MICA_TRY(make_bindings(&p, err));
    MICA_TRY(place_nodes(&p, err));
    d->arena_bytes = p.peak;
    d->bindings[0].bytes = p.peak;
done:
    return st;
}
