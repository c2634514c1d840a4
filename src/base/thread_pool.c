/* The thread team. Waiting is always for one word to change: first by spinning, as the next step of
 * a forward pass comes within microseconds, then asleep on a condition variable. Where there are
 * more threads than cores, spinning would only keep the others from running, so it is short.
 * Cores, memory and clock are in system.c. */
#include "base/thread_pool.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include "base/alloc.h"
#include "base/error.h"

enum {
    CACHE_LINE = 64,
    STACK_BYTES = 1 << 20,
    GROUP_SIZE = 8, /* workers that share one arrival counter of the barrier */
    N_GROUPS_MAX = MICA_THREADS_MAX / GROUP_SIZE,
    SPIN_BATCH = 64,  /* looks at the word between two looks at the clock */
    SHORT_SPINS = 32, /* looks when threads outnumber cores */
    SHORT_YIELDS = 4,
};

/* Longer than the gaps between the steps of a plan; short against a wake-up that never comes. */
#define SPIN_SECONDS 50e-6

typedef struct counter {
    _Alignas(CACHE_LINE) atomic_uint arrived;
} counter;

typedef struct worker_start {
    mica_thread_pool *pool;
    int worker;
} worker_start;

struct mica_thread_pool {
    const mica_allocator *allocator;
    int n_workers;
    int n_groups;
    int n_started; /* threads that must be joined */
    bool may_spin;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_t threads[MICA_THREADS_MAX];
    worker_start starts[MICA_THREADS_MAX];
    _Alignas(CACHE_LINE) atomic_uint run_epoch;
    /* The job: written before run_epoch changes, read after, so it shares the cache line. */
    mica_thread_function function;
    void *context;
    bool must_stop;
    _Alignas(CACHE_LINE) atomic_uint barrier_epoch;
    _Alignas(CACHE_LINE) atomic_int n_sleepers;
    counter root; /* full groups */
    counter groups[N_GROUPS_MAX];
};

static void pause_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory"); /* yield does nothing on most cores */
#endif
}

static bool has_changed(atomic_uint *word, unsigned old) {
    return atomic_load_explicit(word, memory_order_acquire) != old;
}

static bool spin(const mica_thread_pool *pool, atomic_uint *word, unsigned old) {
    if (!pool->may_spin) {
        for (int i = 0; i < SHORT_SPINS; i++, pause_cpu())
            if (has_changed(word, old)) return true;
        for (int i = 0; i < SHORT_YIELDS; i++, sched_yield())
            if (has_changed(word, old)) return true;
        return false;
    }
    double deadline = 0;
    for (;;) {
        for (int i = 0; i < SPIN_BATCH; i++, pause_cpu())
            if (has_changed(word, old)) return true;
        double now = mica_clock_seconds();
        if (deadline == 0) deadline = now + SPIN_SECONDS;
        if (now >= deadline) return false;
    }
}

/* No wake-up is lost: a sleeper counts itself and then looks at the word, publish writes the word
 * and then looks at the count; both in the one order of sequentially consistent operations. */
static void wait_change(mica_thread_pool *pool, atomic_uint *word, unsigned old) {
    if (spin(pool, word, old)) return;
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->n_sleepers, 1);
    while (atomic_load(word) == old) pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->n_sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

/* After a word has been written. */
static void wake_sleepers(mica_thread_pool *pool) {
    if (atomic_load(&pool->n_sleepers) == 0) return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

static void publish(mica_thread_pool *pool, atomic_uint *word) {
    atomic_fetch_add(word, 1);
    wake_sleepers(pool);
}

/* Whether this arrival is the last of n; the counter then stands at 0 for the next barrier. */
static bool arrive_last(counter *c, int n) {
    if (atomic_fetch_add_explicit(&c->arrived, 1, memory_order_acq_rel) + 1 != (unsigned)n)
        return false;
    atomic_store_explicit(&c->arrived, 0, memory_order_relaxed);
    return true;
}

static int group_size(const mica_thread_pool *pool, int group) {
    int rest = pool->n_workers - group * GROUP_SIZE;
    return rest < GROUP_SIZE ? rest : GROUP_SIZE;
}

/* Two workers need one word: it is odd while one of them waits for the other to change it. */
static void meet_other(mica_thread_pool *pool) {
    unsigned n_arrivals = atomic_fetch_add(&pool->barrier_epoch, 1) + 1;
    if (n_arrivals % 2 == 0)
        wake_sleepers(pool);
    else
        wait_change(pool, &pool->barrier_epoch, n_arrivals);
}

void mica_thread_pool_barrier(mica_thread_pool *pool, int worker) {
    if (pool->n_workers == 1) return;
    if (pool->n_workers == 2) {
        meet_other(pool);
        return;
    }
    /* It cannot change before this worker has arrived. */
    unsigned epoch = atomic_load_explicit(&pool->barrier_epoch, memory_order_relaxed);
    int group = worker / GROUP_SIZE;
    bool is_last = arrive_last(&pool->groups[group], group_size(pool, group));
    if (is_last && pool->n_groups > 1) is_last = arrive_last(&pool->root, pool->n_groups);
    if (is_last)
        publish(pool, &pool->barrier_epoch);
    else
        wait_change(pool, &pool->barrier_epoch, epoch);
}

static void *work(void *argument) {
    worker_start start = *(const worker_start *)argument;
    mica_thread_pool *pool = start.pool;
    for (unsigned epoch = 0;; epoch++) {
        wait_change(pool, &pool->run_epoch, epoch);
        if (pool->must_stop) return NULL;
        pool->function(pool->context, start.worker, pool->n_workers);
        mica_thread_pool_barrier(pool, start.worker);
    }
}

void mica_thread_pool_run(mica_thread_pool *pool, mica_thread_function function, void *context) {
    if (pool->n_workers == 1) {
        function(context, 0, 1);
        return;
    }
    pool->function = function;
    pool->context = context;
    publish(pool, &pool->run_epoch);
    function(context, 0, pool->n_workers);
    mica_thread_pool_barrier(pool, 0);
}

int mica_thread_pool_size(const mica_thread_pool *pool) { return pool->n_workers; }

/* The threads leave the program's signals to its own threads. Faults must stay deliverable: a
 * program may handle the SIGBUS of a vanished mapped file. */
static void block_signals(sigset_t *before) {
    static const int faults[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t blocked;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, before);
}

static int start_threads(mica_thread_pool *pool) {
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error) return error;
    sigset_t before;
    block_signals(&before);
    error = pthread_attr_setstacksize(&attributes, STACK_BYTES);
    for (int i = 1; i < pool->n_workers && !error; i++) {
        pool->starts[i] = (worker_start){pool, i};
        error = pthread_create(&pool->threads[i], &attributes, work, &pool->starts[i]);
        if (!error) pool->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

static void stop_threads(mica_thread_pool *pool) {
    pool->must_stop = true;
    publish(pool, &pool->run_epoch);
    for (int i = 1; i <= pool->n_started; i++) pthread_join(pool->threads[i], NULL);
}

static mica_thread_pool *allocate_pool(const mica_allocator *allocator, int n_threads) {
    mica_thread_pool *pool = mica_alloc_aligned(allocator, sizeof *pool, CACHE_LINE);
    if (!pool) return NULL;
    *pool = (mica_thread_pool){
        .allocator = allocator,
        .n_workers = n_threads,
        .n_groups = (n_threads + GROUP_SIZE - 1) / GROUP_SIZE,
        .may_spin = n_threads <= mica_cores_available(),
    };
    if (pthread_mutex_init(&pool->mutex, NULL) == 0) {
        if (pthread_cond_init(&pool->wake, NULL) == 0) return pool;
        pthread_mutex_destroy(&pool->mutex);
    }
    mica_free(allocator, pool);
    return NULL;
}

mica_status mica_thread_pool_create(const mica_host *host, int n_threads, mica_thread_pool **out,
                                    mica_error *err) {
    *out = NULL;
    if (n_threads < 0 || n_threads > MICA_THREADS_MAX)
        return mica_fail(err, MICA_STATUS_INVALID, "%d threads, expected 0 to %d", n_threads,
                         MICA_THREADS_MAX);
    if (n_threads == 0) n_threads = mica_cores_available();
    if (n_threads > MICA_THREADS_MAX) n_threads = MICA_THREADS_MAX;
    mica_thread_pool *pool = allocate_pool(host->allocator, n_threads);
    if (!pool) return mica_fail_memory(err, sizeof *pool, "a thread pool");
    int error = start_threads(pool);
    if (error) {
        int n_started = pool->n_started;
        mica_thread_pool_destroy(&pool);
        if (error == ENOMEM)
            return mica_fail(err, MICA_STATUS_OUT_OF_MEMORY, "out of memory for %d threads",
                             n_threads);
        return mica_fail(err, MICA_STATUS_UNAVAILABLE,
                         "the system starts no more threads (error %d): %d of %d are running",
                         error, n_started + 1, n_threads);
    }
    *out = pool;
    return MICA_STATUS_OK;
}

void mica_thread_pool_destroy(mica_thread_pool **pool_place) {
    mica_thread_pool *pool = *pool_place;
    if (!pool) return;
    *pool_place = NULL;
    stop_threads(pool);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    mica_free(pool->allocator, pool);
}
