/* What the thread team costs: a barrier between two steps of a plan (from the last arrival to the
 * last departure), and a whole run, as every token needs one (wake-up, an empty function, join).
 * Steps are empty or busy for a given time; runs follow one another at once or after a pause in
 * which the team spins or has gone to sleep. Median and 99th percentile.
 * Usage: barrier_bench [threads, default 2] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/thread_pool.h"

enum { N_ROUNDS = 4000, N_RUNS = 2000, N_SLOW_RUNS = 200, N_WARM_UP = 100 };

typedef struct job {
    mica_thread_pool *pool;
    double step_seconds; /* of work before each barrier; 0 = none */
    double *arrivals;    /* [worker, round] */
    double *departures;  /* [worker, round] */
} job;

static void stay_busy(double seconds) {
    if (seconds <= 0) return;
    double end = mica_clock_seconds() + seconds;
    while (mica_clock_seconds() < end) {
    }
}

static void *take_memory(size_t count) {
    void *p = calloc(count, sizeof(double));
    if (p) return p;
    fprintf(stderr, "no memory for %zu times\n", count);
    exit(1);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void report(const char *what, double *seconds, int n) {
    qsort(seconds, (size_t)n, sizeof *seconds, compare);
    printf("| %-36s | %8.3f | %8.3f |\n", what, 1e6 * seconds[n / 2], 1e6 * seconds[n / 100 * 99]);
}

/* ---- barriers ---- */

static void pass_barriers(void *context, int worker, int n_workers) {
    job *j = context;
    (void)n_workers;
    double *arrivals = j->arrivals + (size_t)worker * N_ROUNDS;
    double *departures = j->departures + (size_t)worker * N_ROUNDS;
    for (int i = 0; i < N_ROUNDS; i++) {
        stay_busy(j->step_seconds);
        arrivals[i] = mica_clock_seconds();
        mica_thread_pool_barrier(j->pool, worker);
        departures[i] = mica_clock_seconds();
    }
}

static double largest(const double *times, int round, int n_workers) {
    double most = times[round];
    for (int w = 1; w < n_workers; w++)
        if (times[(size_t)w * N_ROUNDS + (size_t)round] > most)
            most = times[(size_t)w * N_ROUNDS + (size_t)round];
    return most;
}

static void measure_barrier(job *j, const char *what, double step_seconds) {
    int n_workers = mica_thread_pool_size(j->pool);
    double *seconds = take_memory(N_ROUNDS);
    j->step_seconds = step_seconds;
    for (int repeat = 0; repeat < 2; repeat++) mica_thread_pool_run(j->pool, pass_barriers, j);
    for (int i = 0; i < N_ROUNDS; i++)
        seconds[i] = largest(j->departures, i, n_workers) - largest(j->arrivals, i, n_workers);
    report(what, seconds, N_ROUNDS);
    free(seconds);
}

/* Without a look at the clock in between: the cost of one after another. */
static void pass_bare_barriers(void *context, int worker, int n_workers) {
    job *j = context;
    (void)n_workers;
    for (int i = 0; i < N_ROUNDS; i++) mica_thread_pool_barrier(j->pool, worker);
}

static void measure_bare_barrier(job *j) {
    enum { N_REPEATS = 100 };
    double seconds[N_REPEATS];
    for (int i = 0; i < N_REPEATS; i++) {
        double begin = mica_clock_seconds();
        mica_thread_pool_run(j->pool, pass_bare_barriers, j);
        seconds[i] = (mica_clock_seconds() - begin) / N_ROUNDS;
    }
    report("barrier, one after another (mean)", seconds, N_REPEATS);
}

/* ---- runs ---- */

static void do_nothing(void *context, int worker, int n_workers) {
    (void)context, (void)worker, (void)n_workers;
}

static void measure_run(job *j, const char *what, double pause_seconds, int n_runs) {
    double *seconds = take_memory((size_t)n_runs);
    for (int i = -N_WARM_UP; i < n_runs; i++) {
        stay_busy(pause_seconds);
        double begin = mica_clock_seconds();
        mica_thread_pool_run(j->pool, do_nothing, NULL);
        if (i >= 0) seconds[i] = mica_clock_seconds() - begin;
    }
    report(what, seconds, n_runs);
    free(seconds);
}

int main(int argc, char **argv) {
    mica_error err = {0};
    job j = {0};
    int n_threads = argc > 1 ? atoi(argv[1]) : 2;
    if (mica_thread_pool_create(mica_host_default(), n_threads, &j.pool, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    n_threads = mica_thread_pool_size(j.pool);
    j.arrivals = take_memory((size_t)n_threads * N_ROUNDS);
    j.departures = take_memory((size_t)n_threads * N_ROUNDS);
    printf("%d threads on %d cores; microseconds\n\n", n_threads, mica_cores_available());
    printf("| %-36s |   median |      p99 |\n|---|---|---|\n", "");
    measure_bare_barrier(&j);
    measure_barrier(&j, "barrier, empty steps", 0);
    measure_barrier(&j, "barrier, steps of 1 us", 1e-6);
    measure_barrier(&j, "barrier, steps of 2 us", 2e-6);
    measure_barrier(&j, "barrier, steps of 5 us", 5e-6);
    measure_run(&j, "run, one after another", 0, N_RUNS);
    measure_run(&j, "run, 10 us after the last", 10e-6, N_RUNS);
    measure_run(&j, "run, 40 us after the last", 40e-6, N_RUNS);
    measure_run(&j, "run, 1 ms after the last (asleep)", 1e-3, N_SLOW_RUNS);
    free(j.arrivals);
    free(j.departures);
    mica_thread_pool_destroy(&j.pool);
    return 0;
}
