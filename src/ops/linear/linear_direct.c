/* A choice for some rows of x more than a kernel takes at once without decoding weights to memory:
 * the same kernel, called for a few rows after the other while a tile of weights is in the nearest
 * cache. The bits are the same (linear_rows.h); which way is faster depends on the processor, the
 * format and the rows, so these rows of the variant table are taken only where they were measured
 * to be. */
#include <string.h>
#include "ops/linear/linear.h"
#include "ops/linear/linear_operands.h"

enum { ROWS_MAX = 4 * MICA_LINEAR_DIRECT };

bool mica_linear_accepts_direct(const mica_graph *g, const mica_node *n) {
    int64_t rows = 1;
    (void)g;
    for (int i = 0; i + 1 < n->shape.rank; i++) rows *= n->shape.dims[i];
    return rows > MICA_LINEAR_DIRECT && rows <= ROWS_MAX;
}

bool mica_linear_accepts_direct_int16(const mica_graph *g, const mica_node *n) {
    return mica_linear_accepts_int16(g, n) && mica_linear_accepts_direct(g, n);
}

/* "x" and "x_direct". */
static bool is_direct_of(const char *name, const char *other) {
    size_t bytes = strlen(other);
    return strncmp(name, other, bytes) == 0 && strcmp(name + bytes, "_direct") == 0;
}

bool mica_linear_is_same_arithmetic(const mica_graph *g, const mica_node *n, const mica_kernel *a,
                                    const mica_kernel *b) {
    (void)g;
    (void)n;
    return is_direct_of(a->name, b->name) || is_direct_of(b->name, a->name);
}

/* A worker stays with its tile of weights for all rows. */
static void walk(const void *args, const mica_cpu_worker *worker, mica_linear_rows_function rows) {
    const mica_linear_args *a = args;
    int64_t m = mica_cpu_live(a->live, a->rows) * a->rows_each;
    int64_t tile = mica_linear_tile(a->n, worker->count), begin, end;
    int64_t element = mica_kind_bytes(a->weight.x_kind);
    mica_linear_rows job = mica_linear_whole_job(a);
    *(mica_linear_scratch *)worker->scratch = (mica_linear_scratch){0};
    while (mica_cpu_take(worker, a->n, tile, &begin, &end)) {
        job.n_begin = begin;
        job.n_end = end;
        for (int64_t row = 0; row < m; row += MICA_LINEAR_DIRECT) {
            job.m = m - row < MICA_LINEAR_DIRECT ? m - row : MICA_LINEAR_DIRECT;
            job.x = (const uint8_t *)mica_cpu_at(a->x) + row * a->k * element;
            job.out = (uint8_t *)mica_cpu_at(a->out) + row * a->n * element;
            if (a->residual)
                job.residual = (const uint8_t *)mica_cpu_at(a->residual) + row * a->n * element;
            rows(&job, worker->scratch);
        }
    }
}

#if defined(__x86_64__)
void mica_linear_direct_avx2(const void *args, const mica_cpu_worker *worker) {
    walk(args, worker, mica_linear_rows_avx2);
}

void mica_linear_direct_avx512(const void *args, const mica_cpu_worker *worker) {
    walk(args, worker, mica_linear_rows_avx512);
}

void mica_linear_direct_int16_avx2(const void *args, const mica_cpu_worker *worker) {
    walk(args, worker, mica_linear_rows_int16_avx2);
}

void mica_linear_direct_int16_avx512_vnni(const void *args, const mica_cpu_worker *worker) {
    walk(args, worker, mica_linear_rows_int16_avx512_vnni);
}
#elif defined(__aarch64__)
void mica_linear_direct_neon(const void *args, const mica_cpu_worker *worker) {
    walk(args, worker, mica_linear_rows_neon);
}
#endif
