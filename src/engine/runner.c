/* Plan cache and run. The key of a plan is its token and row bucket; mode, KV format and capacities
 * are the engine's own and never change. */
#include "engine/runner.h"
#include "base/error.h"

int32_t mica_runner_bucket(int32_t n, int32_t capacity) {
    int32_t bucket = 1;
    while (bucket < n) bucket *= 2;
    return bucket < capacity ? bucket : capacity;
}

static mica_status build_plan(mica_runner *r, int32_t n_tokens, int32_t n_rows,
                              mica_executable **out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_runtime *rt = r->model->runtime;
    mica_forward_shape shape = r->batch.capacity;
    mica_graph *g = NULL;
    mica_plan *plan = NULL;
    mica_executable *e = NULL;
    mica_ref outputs[MICA_FORWARD_OUTPUTS_MAX];
    size_t n_outputs = 0;
    mica_plan_options options = {.label = n_tokens == 1 ? "decode" : "prefill"};
    shape.n_tokens = n_tokens;
    shape.n_rows = n_rows;
    MICA_TRY(mica_forward_trace(r->model, &shape, &g, outputs, &n_outputs, err));
    MICA_TRY(rt->plan_build(rt, g, outputs, n_outputs, &options, &plan, err));
    MICA_TRY(mica_executable_create(rt, plan, &e, err));
    MICA_TRY(mica_batch_bind(&r->batch, r->pools, e, err));
    MICA_TRY(mica_executable_bind_output(e, 0, (mica_storage){r->logits, 0}, err));
    *out = e;
    e = NULL;
done:
    mica_executable_destroy(&e);
    mica_graph_destroy(&g);
    return st;
}

static mica_runner_plan *take_slot(mica_runner *r) {
    if (r->n_plans < MICA_PLANS_MAX) return &r->plans[r->n_plans++];
    mica_runner_plan *oldest = &r->plans[0];
    for (size_t i = 1; i < r->n_plans; i++)
        if (r->plans[i].last_used < oldest->last_used) oldest = &r->plans[i];
    mica_executable_destroy(&oldest->executable);
    return oldest;
}

static mica_status find_plan(mica_runner *r, int32_t n_tokens, int32_t n_rows,
                             mica_executable **out, mica_error *err) {
    for (size_t i = 0; i < r->n_plans; i++) {
        mica_runner_plan *p = &r->plans[i];
        if (p->n_tokens != n_tokens || p->n_rows != n_rows) continue;
        p->last_used = ++r->clock;
        *out = p->executable;
        return MICA_STATUS_OK;
    }
    mica_executable *e = NULL;
    mica_status st = build_plan(r, n_tokens, n_rows, &e, err);
    if (st != MICA_STATUS_OK) return st;
    *take_slot(r) = (mica_runner_plan){n_tokens, n_rows, ++r->clock, e};
    *out = e;
    return MICA_STATUS_OK;
}

mica_status mica_runner_init(mica_runner *r, const mica_model *model,
                             const mica_forward_shape *capacity, const mica_page_pool *pools,
                             mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_runtime *rt = model->runtime;
    mica_executable *e = NULL;
    *r = (mica_runner){.model = model, .pools = pools, .vocab = model->config->vocab_size};
    uint64_t bytes = (uint64_t)capacity->n_rows * (uint64_t)r->vocab * sizeof(float);
    MICA_TRY(mica_batch_init(&r->batch, model, capacity, err));
    MICA_TRY(rt->device->backend->buffer_create(rt->device, bytes, &r->logits, err));
    MICA_TRY(find_plan(r, 1, 1, &e, err));
done:
    if (st != MICA_STATUS_OK) mica_runner_deinit(r);
    return st;
}

void mica_runner_deinit(mica_runner *r) {
    for (size_t i = 0; i < r->n_plans; i++) mica_executable_destroy(&r->plans[i].executable);
    mica_buffer_release(&r->logits);
    mica_batch_deinit(&r->batch);
    *r = (mica_runner){0};
}

mica_status mica_runner_run(mica_runner *r, mica_error *err) {
    const mica_forward_shape *c = &r->batch.capacity;
    int32_t n_tokens = mica_runner_bucket(r->batch.counts[0], c->n_tokens);
    int32_t n_rows = mica_runner_bucket(r->batch.counts[1], c->n_rows);
    mica_executable *e = NULL;
    mica_status st = find_plan(r, n_tokens, n_rows, &e, err);
    if (st != MICA_STATUS_OK) return st;
    if (!r->profiler.callback) return mica_executable_run(e, err);
    return mica_profiler_run(&r->profiler, r->model->runtime, e, r->batch.counts, n_tokens, err);
}

const float *mica_runner_logits(const mica_runner *r, int32_t row) {
    return (const float *)r->logits->host + (int64_t)row * r->vocab;
}
