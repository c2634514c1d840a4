/* Timing the kernels that compete for a node: the node alone becomes a plan, once for each of them,
 * with its own weights and with zeros for what is computed. The plans are run in turns, so that
 * what else the machine does hits all of them, and the shortest run of each counts. */
#include <string.h>
#include "base/error.h"
#include "base/thread_pool.h"
#include "core/weights.h"
#include "plan/plan.h"
#include "plan/tuning.h"

#define TUNING_BYTES_MIN (128u << 10) /* moved by the node: a smaller one is not worth the time */
#define TUNING_INPUT_BYTES_MAX (64u << 20)
#define TUNING_ROUNDS_MIN 8
#define TUNING_ROUNDS_MAX 40
#define TUNING_SECONDS 0.05 /* for a node, once there were enough rounds */
#define TUNING_GAIN 0.95    /* of the time: noise must not choose */
#define TUNING_KERNELS_MAX 16

/* ---- the key ---- */

static void add_type(const mica_node *n, mica_str *out) {
    mica_str_append_format(out, "%s", mica_dtype_name((mica_dtype)n->dtype));
    if (n->quant.mode)
        mica_str_append_format(out, "q%u.%u.%u", (unsigned)n->quant.mode, (unsigned)n->quant.bits,
                               (unsigned)n->quant.group);
    for (int i = 0; i < n->shape.rank; i++)
        mica_str_append_format(out, "%c%lld", i ? ',' : '[', (long long)n->shape.dims[i]);
    mica_str_append_text(out, n->shape.rank ? "]" : "[]");
}

bool mica_tuning_key(const mica_draft *d, const mica_node *n, const mica_kernel *by_table,
                     char out[MICA_TUNING_KEY_BYTES]) {
    const mica_runtime *rt = d->runtime;
    mica_str text;
    mica_str_init(&text, rt->host.allocator);
    mica_str_append_format(&text, "%s|%d|%s|%s|%llx|", rt->limits.name, rt->limits.n_workers,
                           by_table->name, mica_draft_op(d, n)->name,
                           (unsigned long long)mica_slice_hash(mica_slice_of(
                               (const char *)n->params.bytes, sizeof n->params.bytes)));
    add_type(n, &text);
    for (int i = 0; i < n->n_inputs; i++) {
        mica_str_append_char(&text, '|');
        if (n->inputs[i]) add_type(mica_graph_node(d->graph, n->inputs[i]), &text);
    }
    bool fits = !text.failed && text.bytes < MICA_TUNING_KEY_BYTES;
    if (fits) memcpy(out, text.data, text.bytes + 1);
    mica_str_deinit(&text);
    for (size_t i = 0; fits && out[i]; i++)
        if (out[i] < '!' || out[i] > '~') out[i] = '_';
    return fits;
}

/* ---- the plan of one node ---- */

typedef struct probe {
    mica_runtime *runtime;
    mica_graph *graph;
    mica_ref node;
    mica_buffer *zeros;  /* for all inputs */
    mica_buffer *counts; /* all rows */
    mica_buffer *result;
} probe;

static mica_ref copy_input(const probe *p, const mica_node *x, int i) {
    char name[16];
    if (x->op == MICA_OP_WEIGHT)
        return x->weight && x->weight->parts[0].buffer ? mica_graph_weight(p->graph, x->weight) : 0;
    if (x->quant.mode || !mica_node_is_contiguous(x)) return 0;
    mica_format(name, sizeof name, "input.%d", i);
    return mica_graph_input(p->graph, name, (mica_dtype)x->dtype, &x->shape, (mica_live)x->live);
}

static bool make_graph(probe *p, const mica_draft *d, const mica_node *n, mica_error *err) {
    const mica_graph *g = d->graph;
    mica_ref refs[MICA_INPUTS_MAX] = {0};
    if (mica_graph_create_internal(d->runtime, true, &p->graph, err) != MICA_STATUS_OK)
        return false;
    p->graph->mode = g->mode;
    if (g->counts) {
        const mica_node *counts = mica_graph_node(g, g->counts);
        p->graph->counts = mica_graph_input(p->graph, counts->name, (mica_dtype)counts->dtype,
                                            &counts->shape, MICA_LIVE_ALL);
        if (!p->graph->counts) return false;
    }
    for (int i = 0; i < n->n_inputs; i++) {
        if (!n->inputs[i]) continue;
        refs[i] = copy_input(p, mica_graph_node(g, n->inputs[i]), i);
        if (!refs[i]) return false;
    }
    p->node = mica_graph_add(p->graph, (mica_op_id)n->op, refs, n->n_inputs, &n->params,
                             sizeof n->params);
    return p->node != 0;
}

static bool create_filled(probe *p, uint64_t bytes, int32_t value, mica_buffer **out,
                          mica_error *err) {
    mica_device *device = p->runtime->device;
    void *host;
    if (bytes > TUNING_INPUT_BYTES_MAX) return false;
    if (device->backend->buffer_create(device, bytes, out, err) != MICA_STATUS_OK ||
        device->backend->buffer_map(device, *out, true, &host, err) != MICA_STATUS_OK)
        return false;
    for (uint64_t i = 0; i + 4 <= bytes; i += 4) memcpy((uint8_t *)host + i, &value, 4);
    return true;
}

static bool make_buffers(probe *p, const mica_node *n, mica_error *err) {
    uint64_t bytes = 64, counts_bytes = 64;
    for (mica_ref r = 1; r < mica_graph_count(p->graph); r++) {
        const mica_node *x = mica_graph_node(p->graph, r);
        if (x->op != MICA_OP_INPUT) continue;
        uint64_t own = mica_node_bytes(x, NULL);
        if (r == p->graph->counts)
            counts_bytes = own;
        else if (own > bytes)
            bytes = own;
    }
    int32_t rows = n->shape.rank && n->shape.dims[0] < INT32_MAX ? (int32_t)n->shape.dims[0] : 1;
    return create_filled(p, bytes, 0, &p->zeros, err) &&
           create_filled(p, counts_bytes, rows, &p->counts, err) &&
           create_filled(p, mica_node_bytes(n, NULL), 0, &p->result, err);
}

static void close_probe(probe *p) {
    mica_graph_destroy(&p->graph);
    mica_buffer_release(&p->zeros);
    mica_buffer_release(&p->counts);
    mica_buffer_release(&p->result);
}

/* The plan of the node alone, with the kernel put in. */
static mica_status make_executable(const probe *p, const mica_kernel *kernel, mica_executable **out,
                                   mica_error *err) {
    mica_plan_options options = {.label = "tuning", .is_probe = true};
    mica_plan *plan = NULL;
    mica_status st = mica_plan_build(p->runtime, p->graph, &p->node, 1, &options, &plan, err);
    if (st != MICA_STATUS_OK) return st;
    mica_segment *segment = &plan->segments[0];
    mica_node *n = segment->n_steps ? mica_graph_node(plan->graph, segment->steps[0].node) : NULL;
    if (segment->n_steps != 1 || n->op != mica_graph_node(p->graph, p->node)->op) {
        mica_plan_destroy(&plan);
        return MICA_STATUS_UNSUPPORTED;
    }
    segment->steps[0].kernel = n->kernel = kernel;
    segment->steps[0].scratch_bytes = segment->scratch_bytes =
        kernel->scratch_bytes ? kernel->scratch_bytes(plan->graph, n) : 0;
    return mica_executable_create(p->runtime, plan, out, err);
}

static mica_status bind_all(const probe *p, mica_executable *e, mica_error *err) {
    const mica_plan *plan = mica_executable_plan(e);
    for (size_t b = 0; b < plan->n_bindings; b++) {
        const mica_binding *k = &plan->bindings[b];
        if (k->kind != MICA_BIND_INPUT) continue;
        bool is_counts = k->node == plan->graph->counts;
        mica_status st = mica_executable_bind_input(
            e, k->name, (mica_storage){is_counts ? p->counts : p->zeros, 0}, err);
        if (st != MICA_STATUS_OK) return st;
    }
    return mica_executable_bind_output(e, 0, (mica_storage){p->result, 0}, err);
}

/* The shortest run of each; the first round only warms up. */
static mica_status run_rounds(mica_executable *const *executables, size_t n, double *seconds,
                              mica_error *err) {
    double all = 0;
    for (int round = 0; round <= TUNING_ROUNDS_MAX; round++) {
        if (round > TUNING_ROUNDS_MIN && all > TUNING_SECONDS) break;
        for (size_t i = 0; i < n; i++) {
            double start = mica_clock_seconds();
            mica_status st = mica_executable_run(executables[i], err);
            if (st != MICA_STATUS_OK) return st;
            double taken = mica_clock_seconds() - start;
            if (round == 1 || (round > 1 && taken < seconds[i])) seconds[i] = taken;
            all += taken;
        }
    }
    return MICA_STATUS_OK;
}

static mica_status measure(const probe *p, const mica_kernel *const *kernels, size_t n,
                           double *seconds, mica_error *err) {
    mica_executable *executables[TUNING_KERNELS_MAX] = {NULL};
    mica_status st = MICA_STATUS_OK;
    for (size_t i = 0; i < n; i++) {
        MICA_TRY(make_executable(p, kernels[i], &executables[i], err));
        MICA_TRY(bind_all(p, executables[i], err));
    }
    MICA_TRY(run_rounds(executables, n, seconds, err));
done:
    for (size_t i = 0; i < n; i++) mica_executable_destroy(&executables[i]);
    return st;
}

/* ---- the choice ---- */

static size_t find_rivals(const mica_draft *d, const mica_node *n, const mica_kernel *by_table,
                          const mica_kernel *out[TUNING_KERNELS_MAX]) {
    const mica_op *op = mica_draft_op(d, n);
    size_t count = 0;
    out[count++] = by_table;
    for (size_t i = 0; i < op->n_kernels && op->is_same_arithmetic; i++) {
        const mica_kernel *k = &op->kernels[i];
        if (k != by_table && count < TUNING_KERNELS_MAX && mica_draft_can_run(d, n, k) &&
            op->is_same_arithmetic(d->graph, n, by_table, k))
            out[count++] = k;
    }
    return count;
}

/* NULL where it could not be measured. */
static const mica_kernel *find_fastest(const mica_draft *d, const mica_node *n,
                                       const mica_kernel *const *rivals, size_t n_rivals) {
    probe p = {.runtime = d->runtime};
    mica_error ignored;
    double seconds[TUNING_KERNELS_MAX] = {0};
    bool is_done = make_graph(&p, d, n, &ignored) && make_buffers(&p, n, &ignored) &&
                   measure(&p, rivals, n_rivals, seconds, &ignored) == MICA_STATUS_OK;
    close_probe(&p);
    if (!is_done) return NULL;
    size_t best = 0;
    double least = seconds[0] * TUNING_GAIN;
    for (size_t i = 1; i < n_rivals; i++) {
        mica_host_log(&d->runtime->host, MICA_LOG_DEBUG, "tuning: %s %.1f us, %s %.1f us",
                      rivals[0]->name, seconds[0] * 1e6, rivals[i]->name, seconds[i] * 1e6);
        if (seconds[i] >= least) continue;
        least = seconds[i];
        best = i;
    }
    return rivals[best];
}

const mica_kernel *mica_tuning_choose(const mica_draft *d, const mica_node *n,
                                      const mica_kernel *by_table) {
    const mica_kernel *rivals[TUNING_KERNELS_MAX];
    mica_tuning *t = d->runtime->tuning;
    char key[MICA_TUNING_KEY_BYTES];
    mica_cost cost;
    size_t n_rivals = find_rivals(d, n, by_table, rivals);
    if (n_rivals < 2) return by_table;
    mica_draft_cost(d, n, &cost);
    if (cost.bytes < TUNING_BYTES_MIN || !mica_tuning_key(d, n, by_table, key)) return by_table;
    const char *name = mica_tuning_find(t, key);
    for (size_t i = 0; i < n_rivals && name; i++)
        if (strcmp(rivals[i]->name, name) == 0) return rivals[i];
    const mica_kernel *best = find_fastest(d, n, rivals, n_rivals);
    if (best) mica_tuning_add(t, key, best->name);
    return best ? best : by_table;
}
