/* How a linear is shared between workers. Jobs are tiles of weight rows, so each weight is read
 * once for a block of rows of x; which worker takes a job does not show in the result. */
#include "ops/linear/linear.h"

enum { BLOCK_ROWS = 128 }; /* rows of x of one job: decoding a panel costs about 1 row's work */

int64_t mica_linear_tile(int64_t rows, int n_workers) {
    /* A multiple of 12 holds whole register tiles of every instruction set. */
    int64_t tile = rows / (4 * (int64_t)n_workers) / 12 * 12;
    return tile < 12 ? 12 : tile > MICA_LINEAR_PANEL ? MICA_LINEAR_PANEL : tile;
}

static mica_linear_rows whole_job(const mica_linear_args *a) {
    mica_linear_rows job = {.weight = a->weight, .x_divide = 1, .n = a->n, .k = a->k};
    job.codes = mica_cpu_at(a->codes);
    job.scales = mica_cpu_at(a->scales);
    job.biases = mica_cpu_at(a->biases);
    job.bias = mica_cpu_at(a->bias);
    return job;
}

void mica_linear_walk(const void *args, const mica_cpu_worker *worker,
                      mica_linear_rows_function rows) {
    const mica_linear_args *a = args;
    int64_t m = mica_cpu_live(a->live, a->rows) * a->rows_each;
    int64_t blocks = (m + BLOCK_ROWS - 1) / BLOCK_ROWS;
    int64_t tile = mica_linear_tile(a->n * blocks, worker->count);
    int64_t tiles = (a->n + tile - 1) / tile;
    int64_t element = mica_kind_bytes(a->weight.x_kind), item, end;
    mica_linear_rows job = whole_job(a);
    *(mica_linear_scratch *)worker->scratch = (mica_linear_scratch){0};
    while (mica_cpu_take(worker, tiles * blocks, 1, &item, &end)) {
        int64_t m_begin = item % blocks * BLOCK_ROWS;
        job.m = m - m_begin < BLOCK_ROWS ? m - m_begin : BLOCK_ROWS;
        job.x = (const uint8_t *)mica_cpu_at(a->x) + m_begin * a->k * element;
        job.out = (uint8_t *)mica_cpu_at(a->out) + m_begin * a->n * element;
        if (a->residual)
            job.residual = (const uint8_t *)mica_cpu_at(a->residual) + m_begin * a->n * element;
        job.n_begin = item / blocks * tile;
        job.n_end = job.n_begin + tile < a->n ? job.n_begin + tile : a->n;
        rows(&job, worker->scratch);
    }
}
