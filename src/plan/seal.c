/* Pass seal: the plan, with its totals. It takes over the draft's graph, whose arena already holds
 * bindings, steps, arguments and operands, so that one destroy frees all. */
#include <string.h>
#include "base/error.h"
#include "plan/draft.h"

static void fill_segment(mica_draft *d, mica_plan *plan) {
    mica_segment *segment = &d->segments[0];
    segment->steps = d->steps;
    segment->n_steps = d->n_steps;
    segment->arena_bytes = d->arena_bytes;
    segment->private_bytes = d->private_bytes;
    for (size_t i = 0; i < d->n_steps; i++) {
        const mica_step *step = &d->steps[i];
        plan->flops += step->flops;
        if (step->scratch_bytes > segment->scratch_bytes)
            segment->scratch_bytes = step->scratch_bytes;
    }
}

/* Not for plans that run once. */
static void log_totals(const mica_draft *d) {
    const char *label = d->options && d->options->label ? d->options->label : "";
    size_t n_barriers = 0;
    bool has_inputs = false;
    if (d->options && d->options->is_probe) return;
    for (size_t i = 0; i < d->n_steps; i++) n_barriers += d->steps[i].barrier_before;
    for (size_t b = 0; b < d->n_bindings; b++) has_inputs |= d->bindings[b].kind == MICA_BIND_INPUT;
    if (!has_inputs) return;
    mica_host_log(&d->runtime->host, MICA_LOG_INFO,
                  "plan %s: %zu steps, %zu barriers, activations of %llu bytes (%llu in use at "
                  "once), %llu within steps and %llu for each worker",
                  label, d->n_steps, n_barriers, (unsigned long long)d->arena_value_bytes,
                  (unsigned long long)d->arena_floor_bytes,
                  (unsigned long long)(d->arena_bytes - d->arena_value_bytes),
                  (unsigned long long)d->private_bytes);
}

mica_status mica_pass_seal(mica_draft *d, mica_error *err) {
    mica_plan *plan = mica_draft_keep(d, 1, sizeof *plan);
    if (!plan) return mica_draft_fail_memory(d, "the plan", err);
    *plan = (mica_plan){.graph = d->graph, .bindings = d->bindings, .n_bindings = d->n_bindings};
    plan->segments = d->segments;
    plan->n_segments = d->n_segments;
    plan->outputs = d->outputs;
    plan->n_outputs = d->n_outputs;
    fill_segment(d, plan);
    for (size_t b = 0; b < plan->n_bindings; b++) {
        const mica_binding *binding = &plan->bindings[b];
        if (binding->kind == MICA_BIND_BUFFER &&
            mica_graph_node(d->graph, binding->node)->op == MICA_OP_WEIGHT)
            plan->weight_bytes += binding->bytes;
    }
    d->plan = plan;
    log_totals(d);
    return MICA_STATUS_OK;
}
