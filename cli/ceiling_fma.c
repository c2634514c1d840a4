/* Multiply-adds on registers alone. There are more accumulators than a multiply-add takes cycles
 * times the number of its units, so that none waits for another. */
#include <string.h>
#include "base/alloc.h"
#include "base/thread_pool.h"
#include "base/error.h"
#include "ceiling.h"
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

enum { ROUNDS = 5, N_LOOPS = 1 << 20, N_SUMS = 12, LINE_FLOATS = 16 };

/* N_SUMS sums of some lanes each, N_LOOPS times; returns their total, to keep them alive. */
typedef float (*sum_function)(float x, float y);

typedef struct probe {
    sum_function sum;
    float totals[MICA_THREADS_MAX * LINE_FLOATS];
} probe;

static void work(void *context, int worker, int n_workers) {
    probe *p = context;
    (void)n_workers;
    p->totals[worker * LINE_FLOATS] = p->sum(0.999f, 1e-3f);
}

static float sum_scalar(float x, float y) {
    float sums[N_SUMS] = {0}, total = 0;
    for (int i = 0; i < N_LOOPS; i++)
        for (int j = 0; j < N_SUMS; j++) sums[j] = sums[j] * x + y;
    for (int j = 0; j < N_SUMS; j++) total += sums[j];
    return total;
}

#if defined(__x86_64__)

__attribute__((target("avx2,fma"))) static float sum_avx2(float x, float y) {
    __m256 sums[N_SUMS], vx = _mm256_set1_ps(x), vy = _mm256_set1_ps(y);
    float lanes[8], total = 0;
    for (int j = 0; j < N_SUMS; j++) sums[j] = vy;
    for (int i = 0; i < N_LOOPS; i++)
        for (int j = 0; j < N_SUMS; j++) sums[j] = _mm256_fmadd_ps(sums[j], vx, vy);
    for (int j = 1; j < N_SUMS; j++) sums[0] = _mm256_add_ps(sums[0], sums[j]);
    _mm256_storeu_ps(lanes, sums[0]);
    for (int i = 0; i < 8; i++) total += lanes[i];
    return total;
}

__attribute__((target("avx512f"))) static float sum_avx512(float x, float y) {
    __m512 sums[N_SUMS], vx = _mm512_set1_ps(x), vy = _mm512_set1_ps(y);
    for (int j = 0; j < N_SUMS; j++) sums[j] = vy;
    for (int i = 0; i < N_LOOPS; i++)
        for (int j = 0; j < N_SUMS; j++) sums[j] = _mm512_fmadd_ps(sums[j], vx, vy);
    for (int j = 1; j < N_SUMS; j++) sums[0] = _mm512_add_ps(sums[0], sums[j]);
    return _mm512_reduce_add_ps(sums[0]);
}

#elif defined(__aarch64__)

static float sum_neon(float x, float y) {
    float32x4_t sums[N_SUMS], vx = vdupq_n_f32(x), vy = vdupq_n_f32(y);
    for (int j = 0; j < N_SUMS; j++) sums[j] = vy;
    for (int i = 0; i < N_LOOPS; i++)
        for (int j = 0; j < N_SUMS; j++) sums[j] = vfmaq_f32(vy, sums[j], vx);
    for (int j = 1; j < N_SUMS; j++) sums[0] = vaddq_f32(sums[0], sums[j]);
    return vaddvq_f32(sums[0]);
}

#endif

static sum_function choose(const char *level, int *n_lanes) {
#if defined(__x86_64__)
    if (strcmp(level, "avx512") == 0) return *n_lanes = 16, sum_avx512;
    if (strcmp(level, "avx2") == 0) return *n_lanes = 8, sum_avx2;
#elif defined(__aarch64__)
    if (strcmp(level, "neon") == 0) return *n_lanes = 4, sum_neon;
#endif
    *n_lanes = 1;
    return sum_scalar;
}

mica_status cli_ceiling_fma(const mica_runtime_info *machine, double *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_thread_pool *pool = NULL;
    int n_lanes = 1;
    probe *p = MICA_NEW(mica_allocator_default(), probe);
    MICA_REQUIRE(p, MICA_STATUS_OUT_OF_MEMORY, "out of memory: a probe");
    p->sum = choose(machine->level, &n_lanes);
    MICA_TRY(mica_thread_pool_create(mica_host_default(), machine->n_threads, &pool, err));
    double n_flops = 2.0 * N_LOOPS * N_SUMS * n_lanes * machine->n_threads;
    mica_thread_pool_run(pool, work, p); /* cores that slept come up to speed */
    *out = 0;
    for (int i = 0; i < ROUNDS; i++) {
        double start = mica_clock_seconds();
        mica_thread_pool_run(pool, work, p);
        double rate = n_flops / (mica_clock_seconds() - start);
        if (rate > *out) *out = rate;
    }
done:
    mica_thread_pool_destroy(&pool);
    mica_free(mica_allocator_default(), p);
    return st;
}
