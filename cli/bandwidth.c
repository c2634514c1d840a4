/* Every worker sums its own part of a buffer. Sums of 64-bit words by eight accumulators: less work
 * for the core than the loads, so that memory is the limit. */
#include "bandwidth.h"
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/error.h"
#include "base/thread_pool.h"

#define BUFFER_BYTES (UINT64_C(1) << 30)
#define BUFFER_BYTES_MIN (UINT64_C(1) << 20)
#define LINE_WORDS 8
#define ROUNDS 7

typedef struct probe {
    const uint64_t *words; /* 64-byte aligned */
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
    uint64_t *words = (uint64_t *)(uintptr_t)p->words;
    memset(words + first * LINE_WORDS, worker + 1, (last - first) * LINE_WORDS * sizeof *words);
}

static uint64_t buffer_bytes(void) {
    uint64_t bytes = BUFFER_BYTES;
    uint64_t available = mica_memory_available();
    if (available && bytes > available / 4) bytes = available / 4;
    return bytes < BUFFER_BYTES_MIN ? BUFFER_BYTES_MIN : bytes;
}

static mica_status measure(int n_threads, double *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_allocator *a = mica_allocator_default();
    mica_thread_pool *pool = NULL;
    size_t bytes = (size_t)buffer_bytes();
    probe *p = MICA_NEW(a, probe);
    uint64_t *words = mica_alloc_aligned(a, bytes, 64);
    MICA_REQUIRE(p && words, MICA_STATUS_OUT_OF_MEMORY, "out of memory: %zu bytes for a probe",
                 bytes);
    MICA_TRY(mica_thread_pool_create(mica_host_default(), n_threads, &pool, err));
    p->words = words;
    p->n_lines = bytes / (LINE_WORDS * sizeof *words);
    mica_thread_pool_run(pool, fill_part, p);
    *out = 0;
    for (int i = 0; i < ROUNDS; i++) {
        double start = mica_clock_seconds();
        mica_thread_pool_run(pool, read_part, p);
        double rate = (double)bytes / (mica_clock_seconds() - start);
        if (rate > *out) *out = rate;
    }
done:
    mica_thread_pool_destroy(&pool);
    mica_free(a, words);
    mica_free(a, p);
    return st;
}

/* In the child: the rate goes through the pipe, or nothing does. */
static void measure_and_leave(int n_threads, int pipe_end) {
    double rate = 0;
    bool is_sent = measure(n_threads, &rate, NULL) == MICA_STATUS_OK &&
                   write(pipe_end, &rate, sizeof rate) == (ssize_t)sizeof rate;
    _exit(is_sent ? 0 : 1);
}

mica_status cli_bandwidth_measure(int n_threads, double *out, mica_error *err) {
    int ends[2];
    double rate = 0;
    if (pipe(ends) != 0) return mica_fail_errno(err, errno, "opening", "a pipe");
    pid_t child = fork();
    if (child == 0) measure_and_leave(n_threads, ends[1]);
    close(ends[1]);
    ssize_t n = child > 0 ? read(ends[0], &rate, sizeof rate) : -1;
    close(ends[0]);
    if (child > 0) waitpid(child, NULL, 0);
    if (n != (ssize_t)sizeof rate || rate <= 0)
        return mica_fail(err, MICA_STATUS_OUT_OF_MEMORY,
                         "the read bandwidth could not be measured: no memory for a probe");
    *out = rate;
    return MICA_STATUS_OK;
}
