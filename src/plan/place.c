/* Pass place: bindings, and where in them every node lies. Nodes run in table order, so a value is
 * alive from its node to its last reader; pack.c finds offsets for what is alive when. A node may
 * write over an input that dies there and that its op allows (mica_op.in_place); effects always do.
 * Switched off, every node has arena space of its own; donations can be switched off alone.
 *
 * Storage is counted by homes: the node whose bytes its effects share. A donation puts two homes
 * into one block.
 *
 * There are two regions: the arena, and what each worker has for itself. Within a phase no barrier
 * separates the steps, so arena bytes that die in one are free from the next phase on; without
 * phases, and in the private region, from the next node on. */
#include "base/error.h"
#include "core/weights.h"
#include "plan/pack.h"

/* Memory that is handed out. */
typedef struct region {
    int32_t binding;
    mica_packing packing;
} region;

typedef struct placer {
    mica_draft *draft;
    uint32_t count;
    mica_ref *home;       /* of roots: itself, or what the effect overwrites */
    mica_ref *last_use;   /* of homes: the last node that reads or writes them; 0 = none */
    mica_ref *use_before; /* of homes: the user before the last one */
    uint32_t *block;      /* of homes in a region: index of its block */
    mica_ref *output;     /* of homes: the node of the output that lies there, or 0 */
    region arena, private;
    bool has_private;
    bool shares;  /* the pass is on */
    bool donates; /* so are donations, which have a name of their own */
} placer;

static uint64_t round_up(uint64_t bytes) {
    return (bytes + MICA_PLAN_ALIGNMENT - 1) & ~(uint64_t)(MICA_PLAN_ALIGNMENT - 1);
}

/* ---- homes and lifetimes ---- */

static mica_ref home_of(const placer *p, mica_ref ref) {
    return ref ? p->home[mica_node_root(p->draft->graph, ref)] : 0;
}

static void use_home(placer *p, mica_ref home, mica_ref user) {
    if (p->last_use[home] >= user) return;
    p->use_before[home] = p->last_use[home];
    p->last_use[home] = user;
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
    size_t n = 2;
    for (mica_ref r = 1; r < p->count; r++) {
        const mica_node *node = mica_graph_node(d->graph, r);
        p->has_private |= node->is_private;
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
    if (p->has_private) {
        p->private.binding = (int32_t)d->n_bindings;
        add_binding(d, MICA_BIND_PRIVATE, 0);
    }
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

/* Another input that shares the bytes of input `donor` is read at other places than those being
 * written, unless it is the same array in an elementwise op. */
static bool is_read_otherwise(const placer *p, const mica_op *op, const mica_node *n, int donor) {
    mica_ref home = home_of(p, n->inputs[donor]);
    for (int i = 0; i < n->n_inputs; i++) {
        bool is_same = n->inputs[i] == n->inputs[donor] && (op->flags & MICA_OP_IS_ELEMENTWISE);
        if (i != donor && n->inputs[i] && home_of(p, n->inputs[i]) == home && !is_same) return true;
    }
    return false;
}

/* Another worker may still be at an earlier reader of this phase. */
static bool is_read_in_phase(const placer *p, mica_ref home, const mica_node *n) {
    mica_ref before = p->use_before[home];
    if (n->is_private || !n->phase || !before) return false;
    return before != home && mica_graph_node(p->draft->graph, before)->phase == n->phase;
}

/* Whether input i of node ref dies with it and leaves it just the bytes that it needs. */
static bool can_donate(const placer *p, mica_ref ref, const mica_op *op, int i) {
    const mica_graph *g = p->draft->graph;
    const mica_node *n = mica_graph_node(g, ref);
    if (!(op->in_place >> i & 1) || !n->inputs[i]) return false;
    mica_ref home = home_of(p, n->inputs[i]);
    if (p->last_use[home] != ref || !is_arena_home(p, home)) return false;
    const mica_node *owner = mica_graph_node(g, home);
    if (owner->is_private != n->is_private || is_read_in_phase(p, home, n)) return false;
    return is_same_layout(n, mica_graph_node(g, n->inputs[i])) &&
           mica_node_bytes(n, NULL) == mica_node_bytes(owner, NULL) &&
           !is_read_otherwise(p, op, n, i);
}

/* The home whose bytes node ref may take over, or 0. */
static mica_ref find_donor(const placer *p, mica_ref ref) {
    const mica_node *n = mica_graph_node(p->draft->graph, ref);
    const mica_op *op = mica_draft_op(p->draft, n);
    for (int i = 0; i < n->n_inputs && p->donates; i++)
        if (can_donate(p, ref, op, i)) return home_of(p, n->inputs[i]);
    return 0;
}

/* ---- blocks ---- */

static region *region_of(placer *p, const mica_node *n) {
    return n->is_private ? &p->private : &p->arena;
}

static uint32_t time_of(const placer *p, const mica_node *home, mica_ref user) {
    const mica_node *n = mica_graph_node(p->draft->graph, user);
    return n->phase && !home->is_private ? n->phase : user;
}

static void place_home(placer *p, mica_ref ref) {
    mica_node *n = mica_graph_node(p->draft->graph, ref);
    mica_packing *k = &region_of(p, n)->packing;
    mica_ref donor = find_donor(p, ref);
    n->place = (mica_place){.binding = region_of(p, n)->binding};
    p->block[ref] = donor ? p->block[donor] : (uint32_t)k->n++;
    mica_block *b = &k->blocks[p->block[ref]];
    b->end = p->shares ? time_of(p, n, p->last_use[ref]) : p->count;
    if (donor) return;
    b->begin = time_of(p, n, ref);
    b->bytes = round_up(mica_node_bytes(n, NULL));
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

static bool is_shared(const placer *p, const mica_node *n) {
    return n->is_view || mica_draft_is_effect(p->draft, n);
}

/* Outputs are bound already, leaves too. */
static bool is_placed_here(const placer *p, mica_ref ref) {
    return p->home[ref] == ref && is_arena_home(p, ref);
}

static mica_status place_nodes(placer *p, mica_error *err) {
    const mica_graph *g = p->draft->graph;
    mica_status st = MICA_STATUS_OK;
    for (mica_ref r = 1; r < p->count; r++)
        if (is_placed_here(p, r)) place_home(p, r);
    MICA_TRY(mica_pack(p->draft, &p->arena.packing, err));
    MICA_TRY(mica_pack(p->draft, &p->private.packing, err));
    for (mica_ref r = 1; r < p->count; r++) {
        mica_node *n = mica_graph_node(g, r);
        if (is_placed_here(p, r))
            n->place.offset = region_of(p, n)->packing.blocks[p->block[r]].offset;
        else if (!mica_node_is_leaf(n) && is_shared(p, n))
            place_shared(p, r);
    }
done:
    return st;
}

/* ---- the pass ---- */

static bool open_region(placer *p, region *r) {
    r->packing.n_times = p->count + 1;
    r->packing.blocks = mica_draft_scratch(p->draft, p->count, sizeof *r->packing.blocks);
    return r->packing.blocks != NULL;
}

static mica_status open_placer(mica_draft *d, placer *p, mica_error *err) {
    *p = (placer){.draft = d, .count = mica_graph_count(d->graph)};
    p->shares = !mica_draft_is_off(d, "place");
    p->donates = p->shares && !mica_draft_is_off(d, "donation");
    p->home = mica_draft_scratch(d, p->count, sizeof *p->home);
    /* counts is used until the end, one past the last node */
    p->last_use = mica_draft_scratch(d, p->count, sizeof *p->last_use);
    p->use_before = mica_draft_scratch(d, p->count, sizeof *p->use_before);
    p->block = mica_draft_scratch(d, p->count, sizeof *p->block);
    p->output = mica_draft_scratch(d, p->count, sizeof *p->output);
    if (!p->home || !p->last_use || !p->use_before || !p->block || !p->output ||
        !open_region(p, &p->arena) || !open_region(p, &p->private))
        return mica_draft_fail_memory(d, "places", err);
    return MICA_STATUS_OK;
}

mica_status mica_pass_place(mica_draft *d, mica_error *err) {
    placer p;
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(open_placer(d, &p, err));
    find_lifetimes(&p);
    MICA_TRY(make_bindings(&p, err));
    MICA_TRY(place_nodes(&p, err));
    d->arena_bytes = d->bindings[0].bytes = p.arena.packing.peak_bytes;
    d->arena_value_bytes = d->arena_bytes;
    d->arena_floor_bytes = p.arena.packing.floor_bytes;
    d->private_bytes = p.private.packing.peak_bytes;
    if (p.has_private) d->bindings[p.private.binding].bytes = d->private_bytes;
done:
    return st;
}
