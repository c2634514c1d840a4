/* How a linear is shared between workers. Jobs are tiles of weight rows, so each weight is read
 * once for a block of rows of x; which worker takes a job does not show in the result. */
#include "ops/linear/linear.h"

enum { BLOCK_ROWS = MICA_LINEAR_BLOCK }; /* decoding a panel costs about 1 row's work */

int64_t mica_linear_tile(int64_t rows, int n_workers) {
    /* A multiple of 12 holds whole register tiles of every instruction set. */
    int64_t tile = rows / (4 * (int64_t)n_workers) / 12 * 12;
    return tile < 12 ? 12 : tile > MICA_LINEAR_PANEL ? MICA_LINEAR_PANEL : tile;
}

bool mica_linear_take(const mica_cpu_worker *worker, int64_t tiles, int64_t blocks, int64_t *block,
                      int64_t *begin, int64_t *end) {
    int64_t first = atomic_load_explicit(worker->next, memory_order_relaxed), count;
    do {
        int64_t left = tiles * blocks - first;
        if (left <= 0) return false;
        *block = first / tiles;
        *begin = first % tiles;
        count = left / (2 * (int64_t)worker->count);
        if (count > tiles - *begin) count = tiles - *begin;
        if (count < 1) count = 1;
    } while (!atomic_compare_exchange_weak_explicit(worker->next, &first, first + count,
                                                    memory_order_relaxed, memory_order_relaxed));
    *end = *begin + count;
    return true;
}

mica_linear_rows mica_linear_whole_job(const mica_linear_args *a) {
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
    int64_t tile = mica_linear_tile(a->n * blocks, 4 * worker->count); /* see mica_linear_take */
    int64_t tiles = (a->n + tile - 1) / tile;
    int64_t element = mica_kind_bytes(a->weight.x_kind), block, begin, end;
    mica_linear_rows job = mica_linear_whole_job(a);
    *(mica_linear_scratch *)worker->scratch = (mica_linear_scratch){0};
    while (mica_linear_take(worker, tiles, blocks, &block, &begin, &end)) {
        int64_t m_begin = block * BLOCK_ROWS; /* each is packed but once */
        job.m = m - m_begin < BLOCK_ROWS ? m - m_begin : BLOCK_ROWS;
        job.x = (const uint8_t *)mica_cpu_at(a->x) + m_begin * a->k * element;
        job.out = (uint8_t *)mica_cpu_at(a->out) + m_begin * a->n * element;
        if (a->residual)
            job.residual = (const uint8_t *)mica_cpu_at(a->residual) + m_begin * a->n * element;
        job.n_begin = begin * tile;
        job.n_end = end * tile < a->n ? end * tile : a->n;
        rows(&job, worker->scratch);
    }
}
