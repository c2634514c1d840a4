/* A fixed team of threads that run one function together, with a barrier that spins for a while
 * and then sleeps. The calling thread is worker 0, so a pool of 1 has no threads of its own. */
#pragma once
#include "base/host.h"

#define MICA_THREADS_MAX 256

typedef struct mica_thread_pool mica_thread_pool;

/* Runs on every worker at once; worker 0..n_workers-1. */
typedef void (*mica_thread_function)(void *context, int worker, int n_workers);

/* n_threads: 1..MICA_THREADS_MAX, or 0 = one per core that this process may use. */
mica_status mica_thread_pool_create(const mica_host *host, int n_threads, mica_thread_pool **out,
                                    mica_error *err);
void mica_thread_pool_destroy(mica_thread_pool **pool);
int mica_thread_pool_size(const mica_thread_pool *pool);
/* Runs function on all workers and returns when all have returned. Threads: one caller at a time.
 */
void mica_thread_pool_run(mica_thread_pool *pool, mica_thread_function function, void *context);
/* Inside a run: returns once every worker has called it. Everything written before it by any
 * worker is visible after it to all. */
void mica_thread_pool_barrier(mica_thread_pool *pool, int worker);

/* Lets another thread have the core: for waits that have spun for long. */
void mica_thread_yield(void);

/* Cores that this process may use (affinity and cgroup quota considered), at least 1. */
int mica_cores_available(void);
/* Bytes of memory that are free for use (MemAvailable, cgroup limit considered); 0 = not known. */
uint64_t mica_memory_available(void);
/* Asks for large pages under memory that will be used whole: fewer faults when it is touched first,
 * fewer misses when it is read. Only the whole pages inside; failures are ignored. */
void mica_memory_advise_large(void *memory, size_t bytes);
/* Resident set of this process now and at its peak; 0 = not known. */
uint64_t mica_memory_resident(void);
uint64_t mica_memory_resident_peak(void);
/* Monotonic seconds. */
double mica_clock_seconds(void);
