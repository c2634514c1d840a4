/* Pass order: in which sequence nodes run. What must hold: operands first; an effect after every
 * other reader of the value that it overwrites; effects on one value as they stood. Within that,
 * and unless switched off, values should live shortly: of the first few nodes that could run now,
 * the one that frees most memory runs. The result is kept only if its peak is below that of the
 * order that was there; both are deterministic. */
#include <string.h>
#include "base/error.h"
#include "plan/draft.h"

#define ORDER_WINDOW 16 /* ready nodes looked at; wider windows gain little and cost time */

typedef struct edge_list {
    uint32_t *start; /* [count + 1] */
    mica_ref *to;
} edge_list;

typedef struct scheduler {
    mica_draft *draft;
    uint32_t count;
    edge_list after;     /* node -> nodes that must come later; only computed nodes */
    uint32_t *n_before;  /* edges into a node that are not yet satisfied */
    uint64_t *bytes;     /* of arena memory that a root holds; 0 for leaves and outputs */
    uint32_t *n_readers; /* edges from a root to its readers, not yet satisfied */
    mica_ref *heap;      /* ready nodes beyond the window, smallest ref first */
    size_t n_heap;
    mica_ref window[ORDER_WINDOW]; /* ready nodes, ascending */
    size_t n_window;
} scheduler;

/* ---- edges ---- */

typedef void (*edge_function)(scheduler *s, mica_ref from, mica_ref to);

static void count_edge(scheduler *s, mica_ref from, mica_ref to) {
    (void)to;
    s->after.start[from + 1]++;
}

/* start[from] runs ahead while edges are entered and ends at the next list's beginning. */
static void enter_edge(scheduler *s, mica_ref from, mica_ref to) {
    s->after.to[s->after.start[from]++] = to;
    s->n_before[to]++;
}

static mica_ref root_of_input(const scheduler *s, const mica_node *n, int i) {
    return n->inputs[i] ? mica_node_root(s->draft->graph, n->inputs[i]) : 0;
}

static void visit_operands(scheduler *s, mica_ref ref, edge_function visit) {
    const mica_graph *g = s->draft->graph;
    const mica_node *n = mica_graph_node(g, ref);
    for (int i = 0; i < n->n_inputs; i++) {
        mica_ref root = root_of_input(s, n, i);
        if (root && mica_node_is_computed(mica_graph_node(g, root))) visit(s, root, ref);
    }
}

/* Effects of each root, chained in node order. */
typedef struct effect_lists {
    mica_ref *first; /* per root */
    mica_ref *next;  /* per effect */
} effect_lists;

static void visit_effects(scheduler *s, const effect_lists *e, mica_ref ref, edge_function visit) {
    const mica_draft *d = s->draft;
    const mica_node *n = mica_graph_node(d->graph, ref);
    bool is_effect = mica_draft_is_effect(d, n);
    for (int i = 0; i < n->n_inputs; i++) {
        mica_ref root = root_of_input(s, n, i);
        bool overwrites = is_effect && root == root_of_input(s, n, 0);
        for (mica_ref to = root ? e->first[root] : 0; to; to = e->next[to])
            if (to != ref && (!overwrites || (i == 0 && to > ref))) visit(s, ref, to);
    }
}

static void visit_all(scheduler *s, const effect_lists *e, edge_function visit) {
    for (mica_ref r = 1; r < s->count; r++) {
        if (!mica_node_is_computed(mica_graph_node(s->draft->graph, r))) continue;
        visit_operands(s, r, visit);
        visit_effects(s, e, r, visit);
    }
}

static bool find_effects(scheduler *s, effect_lists *e) {
    mica_draft *d = s->draft;
    e->first = mica_draft_scratch(d, s->count, sizeof *e->first);
    e->next = mica_draft_scratch(d, s->count, sizeof *e->next);
    if (!e->first || !e->next) return false;
    for (mica_ref r = s->count; r-- > 1;) {
        const mica_node *n = mica_graph_node(d->graph, r);
        if (!mica_draft_is_effect(d, n)) continue;
        mica_ref root = root_of_input(s, n, 0);
        e->next[r] = e->first[root];
        e->first[root] = r;
    }
    return true;
}

static mica_status find_edges(scheduler *s, mica_error *err) {
    mica_draft *d = s->draft;
    effect_lists effects;
    s->after.start = mica_draft_scratch(d, (size_t)s->count + 2, sizeof *s->after.start);
    s->n_before = mica_draft_scratch(d, s->count, sizeof *s->n_before);
    if (!s->after.start || !s->n_before || !find_effects(s, &effects))
        return mica_draft_fail_memory(d, "the order", err);
    /* Counted one place further on, so that after entering start[r] is the begin of list r. */
    s->after.start++;
    visit_all(s, &effects, count_edge);
    for (uint32_t r = 0; r < s->count; r++) s->after.start[r + 1] += s->after.start[r];
    s->after.to = mica_draft_scratch(d, (size_t)s->after.start[s->count] + 1, sizeof(mica_ref));
    if (!s->after.to) return mica_draft_fail_memory(d, "the order", err);
    visit_all(s, &effects, enter_edge);
    s->after.start--;
    return MICA_STATUS_OK;
}

static uint32_t edges_begin(const scheduler *s, mica_ref r) { return s->after.start[r]; }
static uint32_t edges_end(const scheduler *s, mica_ref r) { return s->after.start[r + 1]; }

/* ---- memory that a node takes and frees ---- */

static bool is_in_arena(const mica_draft *d, const mica_node *n) {
    return mica_node_is_computed(n) && !n->is_output && !mica_draft_is_effect(d, n);
}

/* How many inputs of later nodes read each root; a node that reads it twice counts twice. */
static void count_readers(scheduler *s) {
    const mica_graph *g = s->draft->graph;
    memset(s->n_readers, 0, s->count * sizeof *s->n_readers);
    for (mica_ref r = 1; r < s->count; r++) {
        const mica_node *n = mica_graph_node(g, r);
        if (!mica_node_is_computed(n)) continue;
        for (int i = 0; i < n->n_inputs; i++) s->n_readers[root_of_input(s, n, i)]++;
    }
}

/* How often n reads the root of its input i, if i is the first of those inputs; else 0. */
static uint32_t count_uses(const scheduler *s, const mica_node *n, int i) {
    mica_ref root = root_of_input(s, n, i);
    uint32_t uses = 0;
    for (int j = 0; j < n->n_inputs; j++) {
        if (root_of_input(s, n, j) != root) continue;
        if (j < i) return 0;
        uses++;
    }
    return root ? uses : 0;
}

/* Bytes that running ref gives back. */
static uint64_t freed_bytes(const scheduler *s, mica_ref ref) {
    const mica_node *n = mica_graph_node(s->draft->graph, ref);
    uint64_t bytes = 0;
    for (int i = 0; i < n->n_inputs; i++) {
        mica_ref root = root_of_input(s, n, i);
        if (s->bytes[root] && s->n_readers[root] == count_uses(s, n, i)) bytes += s->bytes[root];
    }
    return bytes;
}

static void drop_readers(scheduler *s, mica_ref ref) {
    const mica_node *n = mica_graph_node(s->draft->graph, ref);
    for (int i = 0; i < n->n_inputs; i++) s->n_readers[root_of_input(s, n, i)]--;
}

static uint64_t measure_peak(scheduler *s, const mica_ref *sequence, size_t n) {
    uint64_t now = 0, peak = 0;
    count_readers(s);
    for (size_t i = 0; i < n; i++) {
        now += s->bytes[sequence[i]];
        if (now > peak) peak = now;
        now -= freed_bytes(s, sequence[i]);
        drop_readers(s, sequence[i]);
    }
    return peak;
}

/* ---- ready nodes ---- */

static void push_heap(scheduler *s, mica_ref ref) {
    size_t at = s->n_heap++;
    for (; at && s->heap[(at - 1) / 2] > ref; at = (at - 1) / 2)
        s->heap[at] = s->heap[(at - 1) / 2];
    s->heap[at] = ref;
}

static mica_ref pop_heap(scheduler *s) {
    mica_ref top = s->heap[0], last = s->heap[--s->n_heap];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= s->n_heap) break;
        if (child + 1 < s->n_heap && s->heap[child + 1] < s->heap[child]) child++;
        if (s->heap[child] >= last) break;
        s->heap[at] = s->heap[child];
        at = child;
    }
    s->heap[at] = last;
    return top;
}

/* Keeps the smallest refs in the window, ascending. */
static void add_ready(scheduler *s, mica_ref ref) {
    if (s->n_window == ORDER_WINDOW) {
        if (ref > s->window[ORDER_WINDOW - 1]) {
            push_heap(s, ref);
            return;
        }
        push_heap(s, s->window[--s->n_window]);
    }
    size_t at = s->n_window++;
    for (; at && s->window[at - 1] > ref; at--) s->window[at] = s->window[at - 1];
    s->window[at] = ref;
}

static mica_ref take_ready(scheduler *s, size_t at) {
    mica_ref ref = s->window[at];
    memmove(&s->window[at], &s->window[at + 1], (--s->n_window - at) * sizeof *s->window);
    if (s->n_heap) s->window[s->n_window++] = pop_heap(s);
    return ref;
}

/* The node of the window that leaves least memory in use; the earliest of equals. */
static size_t choose(const scheduler *s) {
    size_t best = 0;
    int64_t best_growth = INT64_MAX;
    for (size_t i = 0; i < s->n_window; i++) {
        mica_ref ref = s->window[i];
        int64_t growth = (int64_t)s->bytes[ref] - (int64_t)freed_bytes(s, ref);
        if (growth >= best_growth) continue;
        best_growth = growth;
        best = i;
    }
    return best;
}

/* Kahn's algorithm. Returns how many nodes could be put in order. */
static size_t schedule(scheduler *s, bool by_memory, uint32_t *n_before, mica_ref *sequence) {
    size_t n = 0;
    memcpy(n_before, s->n_before, s->count * sizeof *n_before);
    s->n_heap = s->n_window = 0;
    count_readers(s);
    for (mica_ref r = 1; r < s->count; r++)
        if (!n_before[r] && mica_node_is_computed(mica_graph_node(s->draft->graph, r)))
            add_ready(s, r);
    while (s->n_window) {
        mica_ref ref = take_ready(s, by_memory ? choose(s) : 0);
        sequence[n++] = ref;
        drop_readers(s, ref);
        for (uint32_t e = edges_begin(s, ref); e < edges_end(s, ref); e++)
            if (--n_before[s->after.to[e]] == 0) add_ready(s, s->after.to[e]);
    }
    return n;
}

/* ---- the pass ---- */

static mica_status open_scheduler(mica_draft *d, scheduler *s, mica_error *err) {
    *s = (scheduler){.draft = d, .count = mica_graph_count(d->graph)};
    s->bytes = mica_draft_scratch(d, s->count, sizeof *s->bytes);
    s->n_readers = mica_draft_scratch(d, s->count, sizeof *s->n_readers);
    s->heap = mica_draft_scratch(d, s->count, sizeof *s->heap);
    if (!s->bytes || !s->n_readers || !s->heap) return mica_draft_fail_memory(d, "the order", err);
    for (mica_ref r = 1; r < s->count; r++) {
        const mica_node *n = mica_graph_node(d->graph, r);
        if (is_in_arena(d, n)) s->bytes[r] = mica_node_bytes(n, NULL);
    }
    return find_edges(s, err);
}

static size_t count_computed(const mica_graph *g) {
    size_t n = 0;
    for (mica_ref r = 1; r < mica_graph_count(g); r++)
        n += mica_node_is_computed(mica_graph_node(g, r));
    return n;
}

mica_status mica_pass_order(mica_draft *d, mica_error *err) {
    scheduler s;
    mica_status st = open_scheduler(d, &s, err);
    if (st != MICA_STATUS_OK) return st;
    uint32_t *n_before = mica_draft_scratch(d, s.count, sizeof *n_before);
    mica_ref *plain = mica_draft_scratch(d, s.count, sizeof *plain);
    mica_ref *better = mica_draft_scratch(d, s.count, sizeof *better);
    if (!n_before || !plain || !better) return mica_draft_fail_memory(d, "the order", err);
    size_t n = schedule(&s, false, n_before, plain);
    if (n != count_computed(d->graph))
        return mica_fail(err, MICA_STATUS_INVALID,
                         "a value is read after an effect has overwritten it");
    const mica_ref *sequence = plain;
    if (!mica_draft_is_off(d, "order")) {
        schedule(&s, true, n_before, better);
        if (measure_peak(&s, better, n) < measure_peak(&s, plain, n)) sequence = better;
    }
    return mica_draft_sweep(d, sequence, n, err);
}
