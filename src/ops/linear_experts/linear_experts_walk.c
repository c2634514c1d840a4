/* How a linear over experts is shared between workers. A job is one tile of one expert's weight
 * rows times a block of the rows that chose it, so a weight is read once for a block. */
#include "ops/linear/linear.h"
#include "ops/linear_experts/expert_jobs.h"

int64_t mica_experts_find_active(const mica_linear_experts_args *a, int32_t *active) {
    const int32_t *offsets = mica_cpu_at(a->list);
    int64_t n_active = 0;
    for (int32_t e = 0; e < a->n_experts; e++)
        if (offsets[e] < offsets[e + 1]) active[n_active++] = e;
    return n_active;
}

void mica_experts_clear_rows(const mica_linear_experts_args *a, int64_t width,
                             const mica_cpu_worker *worker) {
    size_t row_bytes = (size_t)(width * mica_kind_bytes(a->weight.x_kind));
    int64_t begin, end;
    mica_cpu_share(worker, mica_cpu_live(a->live, a->tokens) * a->slots, 1, &begin, &end);
    for (int64_t e = begin; e < end; e++)
        if (!mica_experts_has_expert(a, e))
            memset((uint8_t *)mica_cpu_at(a->out) + (size_t)e * row_bytes, 0, row_bytes);
}

mica_linear_rows mica_experts_whole_job(const mica_linear_experts_args *a) {
    mica_linear_rows job = {.weight = a->weight, .x_divide = a->x_divide, .n = a->n, .k = a->k};
    job.x = mica_cpu_at(a->x);
    job.out = mica_cpu_at(a->out);
    return job;
}

void mica_experts_set_expert(const mica_linear_experts_args *a, int32_t expert,
                             mica_linear_rows *job) {
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

static int64_t count_blocks(const mica_linear_experts_args *a, int32_t expert) {
    const int32_t *offsets = mica_cpu_at(a->list);
    return (offsets[expert + 1] - offsets[expert] + MICA_LINEAR_BLOCK - 1) / MICA_LINEAR_BLOCK;
}

int64_t mica_experts_count_groups(const mica_linear_experts_args *a, const int32_t *active,
                                  int64_t n_active) {
    int64_t groups = 0;
    for (int64_t i = 0; i < n_active; i++) groups += count_blocks(a, active[i]);
    return groups;
}

int32_t mica_experts_set_group(const mica_linear_experts_args *a, const int32_t *active,
                               int64_t group, mica_experts_cursor *cursor, mica_linear_rows *job) {
    int64_t blocks = count_blocks(a, active[cursor->at]);
    while (group - cursor->first >= blocks) {
        cursor->first += blocks;
        blocks = count_blocks(a, active[++cursor->at]);
    }
    int64_t begin = (group - cursor->first) * MICA_LINEAR_BLOCK;
    mica_experts_set_expert(a, active[cursor->at], job);
    job->list += begin;
    job->m = job->m - begin < MICA_LINEAR_BLOCK ? job->m - begin : MICA_LINEAR_BLOCK;
    return active[cursor->at];
}

void mica_linear_experts_walk(const void *args, const mica_cpu_worker *worker,
                              mica_linear_rows_function rows) {
    const mica_linear_experts_args *a = args;
    int32_t *active =
        (int32_t *)(void *)((uint8_t *)worker->scratch + mica_linear_scratch_bytes(a->k));
    int64_t n_active = mica_experts_find_active(a, active), item, end;
    int64_t groups = mica_experts_count_groups(a, active, n_active);
    int64_t tile = mica_linear_tile(a->n * groups, worker->count);
    int64_t tiles = (a->n + tile - 1) / tile;
    mica_linear_rows job = mica_experts_whole_job(a);
    mica_experts_cursor cursor = {0};
    *(mica_linear_scratch *)worker->scratch = (mica_linear_scratch){0};
    mica_experts_clear_rows(a, a->n, worker);
    while (mica_cpu_take(worker, tiles * groups, 1, &item, &end)) {
        mica_experts_set_group(a, active, item / tiles, &cursor, &job);
        job.n_begin = item % tiles * tile;
        job.n_end = job.n_begin + tile < a->n ? job.n_begin + tile : a->n;
        rows(&job, worker->scratch);
    }
}
