/* The thread team: every worker runs once, barriers order memory, failure leaves nothing behind. */
#include "base/thread_pool.h"
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/alloc.h"
#include "test.h"

typedef struct job {
    mica_thread_pool *pool;
    int n_rounds;
    int seen[MICA_THREADS_MAX]; /* plain memory: TSan and the checks prove the ordering */
    atomic_int errors;
} job;

static void count_self(void *context, int worker, int n_workers) {
    job *j = context;
    j->seen[worker]++;
    if (n_workers != mica_thread_pool_size(j->pool)) atomic_fetch_add(&j->errors, 1);
}

/* Each run reaches every worker exactly once, for sizes below and above the cores. */
static void every_worker_runs(void **state) {
    (void)state;
    const int sizes[] = {1, 2, 3, 7, 8, 9, 17, 40};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        mica_error err = {0};
        job j = {0};
        assert_ok(mica_thread_pool_create(mica_host_default(), sizes[s], &j.pool, &err));
        assert_int_equal(mica_thread_pool_size(j.pool), sizes[s]);
        for (int run = 1; run <= 50; run++) {
            mica_thread_pool_run(j.pool, count_self, &j);
            for (int w = 0; w < sizes[s]; w++) assert_int_equal(j.seen[w], run);
        }
        assert_int_equal(j.errors, 0);
        mica_thread_pool_destroy(&j.pool);
        assert_null(j.pool);
    }
}

/* Every worker writes its round, and after the barrier sees the round of all others. */
static void pass_rounds(void *context, int worker, int n_workers) {
    job *j = context;
    for (int round = 1; round <= j->n_rounds; round++) {
        j->seen[worker] = round;
        mica_thread_pool_barrier(j->pool, worker);
        for (int w = 0; w < n_workers; w++)
            if (j->seen[w] != round) atomic_fetch_add(&j->errors, 1);
        mica_thread_pool_barrier(j->pool, worker);
    }
}

/* A barrier makes all writes before it visible after it, and lets nobody through early. */
static void barrier_orders_memory(void **state) {
    (void)state;
    const int sizes[] = {2, 3, 8, 9, 20};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        mica_error err = {0};
        job j = {.n_rounds = sizes[s] > 2 ? 200 : 5000};
        assert_ok(mica_thread_pool_create(mica_host_default(), sizes[s], &j.pool, &err));
        mica_thread_pool_run(j.pool, pass_rounds, &j);
        mica_thread_pool_run(j.pool, pass_rounds, &j);
        assert_int_equal(j.errors, 0);
        mica_thread_pool_destroy(&j.pool);
    }
}

static void arrive_late(void *context, int worker, int n_workers) {
    job *j = context;
    (void)n_workers;
    if (worker == 0) usleep(3000);
    mica_thread_pool_barrier(j->pool, worker);
    j->seen[worker]++;
}

/* Waiting far longer than the spin ends too: sleepers are woken, in barriers and between runs. */
static void sleepers_wake(void **state) {
    (void)state;
    for (int n = 2; n <= 4; n++) {
        mica_error err = {0};
        job j = {0};
        assert_ok(mica_thread_pool_create(mica_host_default(), n, &j.pool, &err));
        for (int run = 1; run <= 15; run++) {
            usleep(2000);
            mica_thread_pool_run(j.pool, arrive_late, &j);
            for (int w = 0; w < n; w++) assert_int_equal(j.seen[w], run);
        }
        mica_thread_pool_destroy(&j.pool);
    }
}

/* Waits before every third barrier, each worker before others. */
static void take_turns(void *context, int worker, int n_workers) {
    job *j = context;
    for (int round = 1; round <= j->n_rounds; round++) {
        if (round % 3 == 0 && round / 3 % n_workers == worker) usleep(300);
        j->seen[worker] = round;
        mica_thread_pool_barrier(j->pool, worker);
        for (int w = 0; w < n_workers; w++)
            if (j->seen[w] != round) atomic_fetch_add(&j->errors, 1);
        mica_thread_pool_barrier(j->pool, worker);
    }
}

/* Sleeping and spinning waits in any order, a barrier right after the one that somebody slept in:
 * nobody is lost and nobody is let through early. */
static void barriers_mix_sleep_and_spin(void **state) {
    (void)state;
    for (int n = 2; n <= 3; n++) {
        mica_error err = {0};
        job j = {.n_rounds = 200};
        assert_ok(mica_thread_pool_create(mica_host_default(), n, &j.pool, &err));
        for (int run = 0; run < 3; run++) mica_thread_pool_run(j.pool, take_turns, &j);
        assert_int_equal(j.errors, 0);
        mica_thread_pool_destroy(&j.pool);
    }
}

static void read_mask(void *context, int worker, int n_workers) {
    job *j = context;
    (void)n_workers;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    j->seen[worker] = sigismember(&mask, SIGINT) + 2 * sigismember(&mask, SIGBUS);
}

/* Threads take no signals from the program, except the faults that they cause. */
static void signals_are_left_to_the_program(void **state) {
    (void)state;
    mica_error err = {0};
    job j = {0};
    assert_ok(mica_thread_pool_create(mica_host_default(), 2, &j.pool, &err));
    mica_thread_pool_run(j.pool, read_mask, &j);
    assert_int_equal(j.seen[0], 0);
    assert_int_equal(j.seen[1], 1);
    mica_thread_pool_destroy(&j.pool);
}

/* Wrong sizes and missing memory are errors; nothing leaks. */
static void creation_fails_cleanly(void **state) {
    (void)state;
    mica_error err = {0};
    mica_thread_pool *pool = NULL;
    mica_alloc_counter c;
    mica_alloc_counter_init(&c, mica_allocator_default());
    mica_host host = {.allocator = &c.allocator};
    assert_int_equal(mica_thread_pool_create(&host, -1, &pool, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_thread_pool_create(&host, MICA_THREADS_MAX + 1, &pool, &err),
                     MICA_STATUS_INVALID);
    c.fail_at = 1;
    assert_int_equal(mica_thread_pool_create(&host, 2, &pool, &err), MICA_STATUS_OUT_OF_MEMORY);
    assert_null(pool);
    assert_ok(mica_thread_pool_create(&host, 0, &pool, &err));
    mica_thread_pool_destroy(&pool);
    mica_thread_pool_destroy(&pool);
    assert_true(c.n_live == 0);
}

/* In a process that may have few threads: 0 = UNAVAILABLE and nothing left. */
static int create_too_many(void) {
    struct rlimit few = {1, 1};
    if (geteuid() == 0 && setuid(54321) != 0) return 77;
    if (setrlimit(RLIMIT_NPROC, &few) != 0) return 77;
    mica_alloc_counter c;
    mica_alloc_counter_init(&c, mica_allocator_default());
    mica_host host = {.allocator = &c.allocator};
    mica_error err = {0};
    mica_thread_pool *pool = NULL;
    mica_status status = mica_thread_pool_create(&host, 8, &pool, &err);
    if (status == MICA_STATUS_OK) return 77; /* this system does not enforce the limit */
    if (status != MICA_STATUS_UNAVAILABLE || pool || c.n_live != 0) return 1;
    return strstr(err.message, "no more threads") ? 0 : 2;
}

/* When the system refuses threads, those already started end and the error says how many. */
static void refused_threads_are_an_error(void **state) {
    (void)state;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) _exit(create_too_many());
    assert_true(child > 0);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void pass_barriers(void *context, int worker, int n_workers) {
    job *j = context;
    (void)n_workers;
    for (int i = 0; i < j->n_rounds; i++) mica_thread_pool_barrier(j->pool, worker);
}

static void do_nothing(void *context, int worker, int n_workers) {
    (void)context, (void)worker, (void)n_workers;
}

/* Prints what a barrier and an empty run cost; only a broken one takes a millisecond. */
static void barrier_speed(void **state) {
    (void)state;
    mica_error err = {0};
    job j = {.n_rounds = 20000};
    int n = mica_cores_available();
    if (n > MICA_THREADS_MAX) n = MICA_THREADS_MAX;
    assert_ok(mica_thread_pool_create(mica_host_default(), n, &j.pool, &err));
    mica_thread_pool_run(j.pool, do_nothing, NULL);
    double best_barrier = 1, best_run = 1;
    for (int repeat = 0; repeat < 5; repeat++) {
        double begin = mica_clock_seconds();
        mica_thread_pool_run(j.pool, pass_barriers, &j);
        double middle = mica_clock_seconds();
        for (int i = 0; i < 2000; i++) mica_thread_pool_run(j.pool, do_nothing, NULL);
        best_barrier = fmin(best_barrier, (middle - begin) / j.n_rounds);
        best_run = fmin(best_run, (mica_clock_seconds() - middle) / 2000);
    }
    printf("%d threads on %d cores: barrier %.3f us, empty run %.3f us\n", n,
           mica_cores_available(), 1e6 * best_barrier, 1e6 * best_run);
    assert_true(best_barrier < 1e-3);
    mica_thread_pool_destroy(&j.pool);
}

/* Advice on memory at odd places changes nothing in it, and none at all is no error. */
static void large_pages_keep_memory(void **state) {
    (void)state;
    enum { BYTES = 9 << 20 };
    unsigned char *memory = malloc(BYTES);
    assert_non_null(memory);
    for (int i = 0; i < BYTES; i++) memory[i] = (unsigned char)(i * 7 + i / 4096);
    mica_memory_advise_large(memory + 3, BYTES - 5);
    mica_memory_advise_large(memory + 1, 100);
    mica_memory_advise_large(NULL, 0);
    for (int i = 0; i < BYTES; i++)
        if (memory[i] != (unsigned char)(i * 7 + i / 4096)) fail_msg("byte %d", i);
    free(memory);
}

/* The machine's figures are plausible: memory that we touch shows in the resident set. */
static void system_figures(void **state) {
    (void)state;
    assert_true(mica_cores_available() >= 1);
    double begin = mica_clock_seconds();
    usleep(2000);
    double passed = mica_clock_seconds() - begin;
    assert_true(passed >= 0.0019 && passed < 10);
    uint64_t before = mica_memory_resident();
    enum { BYTES = 64 << 20 };
    volatile char *memory = malloc(BYTES); /* volatile: or the compiler drops it all */
    for (int i = 0; i < BYTES; i += 512) memory[i] = 1;
    uint64_t after = mica_memory_resident();
    assert_true(before > 0 && after >= before + BYTES / 2);
    assert_true(mica_memory_resident_peak() >= before + BYTES / 2);
    free((void *)memory);
    printf("cores %d, memory available %.1f GB, resident %.1f MB\n", mica_cores_available(),
           (double)mica_memory_available() / 1e9, (double)after / 1e6);
    assert_true(mica_memory_available() > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_worker_runs),
        cmocka_unit_test(barrier_orders_memory),
        cmocka_unit_test(sleepers_wake),
        cmocka_unit_test(signals_are_left_to_the_program),
        cmocka_unit_test(creation_fails_cleanly),
        cmocka_unit_test(refused_threads_are_an_error),
        cmocka_unit_test(barriers_mix_sleep_and_spin),
        cmocka_unit_test(large_pages_keep_memory),
        cmocka_unit_test(barrier_speed),
        cmocka_unit_test(system_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
