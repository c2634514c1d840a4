/* The reference of linear and linear_experts: plain C, sums in f64, for any weight. */
#include "ops/linear/linear.h"

enum { BLOCK_ROWS = 64 }; /* rows of x that share one decoding of a weight row */

/* Adds the products of elements [k0, k0 + count) of row i of x and the decoded weights. */
static double dot(const mica_linear_rows *job, int64_t i, int64_t k0, int64_t count,
                  const float *weight) {
    const uint8_t *x = mica_linear_x(job, i);
    double sum = 0.0;
    for (int64_t k = 0; k < count; k++)
        sum += (double)mica_kind_load(job->weight.x_kind, x, k0 + k) * (double)weight[k];
    return sum;
}

void mica_linear_rows_ref(const mica_linear_rows *job, void *scratch) {
    (void)scratch;
    float weight[MICA_LINEAR_CHUNK];
    for (int64_t n = job->n_begin; n < job->n_end; n++) {
        for (int64_t m = 0; m < job->m; m += BLOCK_ROWS) {
            int64_t rows = job->m - m < BLOCK_ROWS ? job->m - m : BLOCK_ROWS;
            double sums[BLOCK_ROWS] = {0};
            for (int64_t k0 = 0; k0 < job->k; k0 += MICA_LINEAR_CHUNK) {
                int64_t count = job->k - k0 < MICA_LINEAR_CHUNK ? job->k - k0 : MICA_LINEAR_CHUNK;
                mica_linear_decode(job, n, k0, count, weight);
                for (int64_t i = 0; i < rows; i++) sums[i] += dot(job, m + i, k0, count, weight);
            }
            for (int64_t i = 0; i < rows; i++) mica_linear_put(job, m + i, n, (float)sums[i]);
        }
    }
}

void mica_linear_ref(const void *args, const mica_cpu_worker *worker) {
    mica_linear_walk(args, worker, mica_linear_rows_ref);
}
