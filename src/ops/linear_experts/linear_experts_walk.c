/* How a linear over experts is shared between workers. A job is one tile of one expert's weight
 * rows times all rows that chose it, so the weights of an expert are read once. */
#include "ops/linear_experts/linear_experts.h"
#include "ops/linear/linear.h"

/* The experts that have rows, ascending; returns how many. */
static int64_t find_active(const mica_linear_experts_args *a, int32_t *active) {
    const int32_t *offsets = mica_cpu_at(a->list);
    int64_t n_active = 0;
    for (int32_t e = 0; e < a->n_experts; e++)
        if (offsets[e] < offsets[e + 1]) active[n_active++] = e;
    return n_active;
}

/* Rows whose id names no expert are in no list: they are zeros. */
static void clear_rows(const mica_linear_experts_args *a, const mica_cpu_worker *worker) {
    const int32_t *ids = mica_cpu_at(a->ids);
    size_t row_bytes = (size_t)(a->n * mica_kind_bytes(a->weight.x_kind));
    int64_t begin, end;
    mica_cpu_share(worker, mica_cpu_live(a->live, a->tokens) * a->slots, 1, &begin, &end);
    for (int64_t e = begin; e < end; e++)
        if (ids[e] < 0 || ids[e] >= a->n_experts)
            memset((uint8_t *)mica_cpu_at(a->out) + (size_t)e * row_bytes, 0, row_bytes);
}

static mica_linear_rows whole_job(const mica_linear_experts_args *a) {
    mica_linear_rows job = {.weight = a->weight, .x_divide = a->x_divide, .n = a->n, .k = a->k};
    job.x = mica_cpu_at(a->x);
    job.out = mica_cpu_at(a->out);
    return job;
}

static void set_expert(const mica_linear_experts_args *a, int32_t expert, mica_linear_rows *job) {
    const int32_t *offsets = mica_cpu_at(a->list);
    const mica_linear_weight *w = &a->weight;
    int64_t rows = expert * a->n, scales = rows * w->scale_bytes;
    job->codes = (const uint8_t *)mica_cpu_at(a->codes) + rows * w->row_bytes;
    job->scales = a->scales ? (const uint8_t *)mica_cpu_at(a->scales) + scales : NULL;
    job->biases = mica_quant_biases_at(w->quant, mica_cpu_at(a->biases), expert, scales);
    job->bias = NULL;
    if (a->bias)
        job->bias = (const uint8_t *)mica_cpu_at(a->bias) + rows * mica_kind_bytes(w->bias_kind);
    job->list = offsets + a->n_experts + 1 + offsets[expert];
    job->m = offsets[expert + 1] - offsets[expert];
}

void mica_linear_experts_walk(const void *args, const mica_cpu_worker *worker,
                              mica_linear_rows_function rows) {
    const mica_linear_experts_args *a = args;
    int32_t *active =
        (int32_t *)(void *)((uint8_t *)worker->scratch + mica_linear_scratch_bytes(a->k));
    int64_t n_active = find_active(a, active), item, end;
    int64_t tile = mica_linear_tile(a->n * n_active, worker->count);
    int64_t tiles = (a->n + tile - 1) / tile;
    mica_linear_rows job = whole_job(a);
    *(mica_linear_scratch *)worker->scratch = (mica_linear_scratch){0};
    clear_rows(a, worker);
    while (mica_cpu_take(worker, tiles * n_active, 1, &item, &end)) {
        set_expert(a, active[item / tiles], &job);
        job.n_begin = item % tiles * tile;
        job.n_end = job.n_begin + tile < a->n ? job.n_begin + tile : a->n;
        rows(&job, worker->scratch);
    }
}
