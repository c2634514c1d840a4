/* Every worker sums its own part of a buffer. Sums of 64-bit words by eight accumulators: less work
 * for the core than the loads, so that memory is the limit. */
#include <string.h>
#include "base/alloc.h"
#include "base/thread_pool.h"
#include "ceiling.h"
#include "ceiling_child.h"

#define BUFFER_BYTES (UINT64_C(1) << 30)
#define BUFFER_BYTES_MIN (UINT64_C(1) << 20)
#define LINE_WORDS 8
#define ROUNDS 7

typedef struct probe {
    uint64_t *words; /* 64-byte aligned */
    size_t n_lines;
    uint64_t
        sums[MICA_THREADS_MAX * LINE_WORDS]; /* one cache line a worker; keeps the loads alive */
} probe;

static void read_part(void *context, int worker, int n_workers) {
    probe *p = context;
    size_t first = p->n_lines * (size_t)worker / (size_t)n_workers;
    size_t last = p->n_lines * ((size_t)worker + 1) / (size_t)n_workers;
    uint64_t sums[LINE_WORDS] = {0};
    for (size_t line = first; line < last; line++)
        for (size_t i = 0; i < LINE_WORDS; i++) sums[i] += p->words[line * LINE_WORDS + i];
    for (size_t i = 0; i < LINE_WORDS; i++) p->sums[(size_t)worker * LINE_WORDS + i] = sums[i];
}

/* Each worker touches its part first, so that the pages lie near it. */
static void fill_part(void *context, int worker, int n_workers) {
    probe *p = context;
    size_t first = p->n_lines * (size_t)worker / (size_t)n_workers;
    size_t last = p->n_lines * ((size_t)worker + 1) / (size_t)n_workers;
    memset(p->words + first * LINE_WORDS, worker + 1,
           (last - first) * LINE_WORDS * sizeof *p->words);
}

double cli_ceiling_sum(void *words, size_t bytes, int n_threads, bool will_fill) {
    double best = 0;
    mica_thread_pool *pool = NULL;
    probe *p = MICA_NEW(mica_allocator_default(), probe);
    if (p &&
        mica_thread_pool_create(mica_host_default(), n_threads, &pool, NULL) == MICA_STATUS_OK) {
        p->words = words;
        p->n_lines = bytes / (LINE_WORDS * sizeof *p->words);
        /* The first pass brings the pages in, by writing or by reading. */
        mica_thread_pool_run(pool, will_fill ? fill_part : read_part, p);
        for (int i = 0; i < ROUNDS; i++) {
            double start = mica_clock_seconds();
            mica_thread_pool_run(pool, read_part, p);
            double rate = (double)bytes / (mica_clock_seconds() - start);
            if (rate > best) best = rate;
        }
    }
    mica_thread_pool_destroy(&pool);
    mica_free(mica_allocator_default(), p);
    return best;
}

static uint64_t buffer_bytes(void) {
    uint64_t bytes = BUFFER_BYTES;
    uint64_t available = mica_memory_available();
    if (available && bytes > available / 4) bytes = available / 4;
    return bytes < BUFFER_BYTES_MIN ? BUFFER_BYTES_MIN : bytes;
}

static double measure(const void *context) {
    size_t bytes = (size_t)buffer_bytes();
    void *words = mica_alloc_aligned(mica_allocator_default(), bytes, 64);
    return words ? cli_ceiling_sum(words, bytes, *(const int *)context, true) : 0;
}

mica_status cli_ceiling_read(int n_threads, double *out, mica_error *err) {
    return cli_ceiling_in_child(measure, &n_threads, "the read bandwidth", out, err);
}
