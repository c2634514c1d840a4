/* Speed of the matrix kernels at the shapes of gpt-oss-20b, beside the ceilings of this machine:
 * how fast its cores read memory and multiply-add. Calls the kernels directly, one run of all
 * workers at a time; medians. Usage: linear_bench [threads [avx2|avx512 [part of a case's name]]].
 * Cases with int8 are those of fast mode
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <immintrin.h>
#include "ops/expert_list/expert_list.h"
#include "ops/linear/linear.h"
#include "ops/linear_experts/linear_experts.h"

enum { THREADS_MAX = 256, RUNS_MAX = 31 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *take_memory(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (p) return p;
    fprintf(stderr, "no memory for %zu bytes\n", bytes);
    exit(1);
}

/* ---- workers: one barrier before and one after each run ---- */

typedef struct team {
    int count;
    mica_cpu_function function;
    const void *args;
    size_t scratch_bytes;
    _Atomic int64_t next;
    pthread_barrier_t barrier;
    pthread_t threads[THREADS_MAX];
    void *scratch[THREADS_MAX];
    bool is_over;
} team;

typedef struct member {
    team *owner;
    int index;
} member;

static void work(team *t, int index) {
    mica_cpu_worker worker = {index, t->count, t->scratch[index], &t->next};
    t->function(t->args, &worker);
}

static void *member_main(void *context) {
    member m = *(member *)context;
    for (;;) {
        pthread_barrier_wait(&m.owner->barrier);
        if (m.owner->is_over) return NULL;
        work(m.owner, m.index);
        pthread_barrier_wait(&m.owner->barrier);
    }
}

static double run_once(team *t, mica_cpu_function function, const void *args) {
    t->function = function;
    t->args = args;
    t->next = 0;
    double start = now();
    pthread_barrier_wait(&t->barrier);
    work(t, 0);
    pthread_barrier_wait(&t->barrier);
    return now() - start;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median_seconds(team *t, mica_cpu_function function, const void *args) {
    double seconds[RUNS_MAX], total = 0;
    int n = 0;
    run_once(t, function, args);
    while (n < RUNS_MAX && (n < 3 || total < 1.0))
        total += seconds[n++] = run_once(t, function, args);
    qsort(seconds, (size_t)n, sizeof *seconds, compare);
    return seconds[n / 2];
}

/* ---- ceilings ---- */

typedef struct read_args {
    const uint64_t *data;
    int64_t count;
    uint64_t *sums; /* one cache line a worker */
} read_args;

static void read_all(const void *args, const mica_cpu_worker *worker) {
    const read_args *a = args;
    uint64_t s[16] = {0};
    int64_t begin, end;
    mica_cpu_share(worker, a->count, 16, &begin, &end);
    for (int64_t i = begin; i < end; i += 16)
        for (int j = 0; j < 16; j++) s[j] ^= a->data[i + j];
    for (int j = 1; j < 16; j++) s[0] ^= s[j];
    a->sums[worker->index * 8] = s[0];
}

enum { FMA_ROUNDS = 4000000 };

/* Twelve independent sums, so that two units with a latency of four or five stay busy. */
#define FMA_LOOP(vec, set, fma, store)                                                             \
    vec s0 = set(0), s1 = set(1), s2 = set(2), s3 = set(3), s4 = set(4), s5 = set(5), s6 = set(6), \
        s7 = set(7), s8 = set(8), s9 = set(9), s10 = set(10), s11 = set(11);                       \
    vec x = set(0.999f), y = set(0.001f);                                                          \
    for (int i = 0; i < FMA_ROUNDS; i++) {                                                         \
        s0 = fma(s0, x, y), s1 = fma(s1, x, y), s2 = fma(s2, x, y), s3 = fma(s3, x, y);            \
        s4 = fma(s4, x, y), s5 = fma(s5, x, y), s6 = fma(s6, x, y), s7 = fma(s7, x, y);            \
        s8 = fma(s8, x, y), s9 = fma(s9, x, y), s10 = fma(s10, x, y), s11 = fma(s11, x, y);        \
    }                                                                                              \
    vec all[12] = {s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11};                              \
    for (int i = 0; i < 12; i++) store(out + i * lanes, all[i])

__attribute__((target("avx2,fma"))) static void fma_avx2(const void *args,
                                                         const mica_cpu_worker *worker) {
    volatile float *sink = *(float *const *)args;
    enum { lanes = 8 };
    float out[12 * lanes];
    FMA_LOOP(__m256, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_storeu_ps);
    for (int i = 0; i < 12 * lanes; i++) sink[worker->index * 16] = out[i];
}

__attribute__((target("avx512f"))) static void fma_avx512(const void *args,
                                                          const mica_cpu_worker *worker) {
    volatile float *sink = *(float *const *)args;
    enum { lanes = 16 };
    float out[12 * lanes];
    FMA_LOOP(__m512, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_storeu_ps);
    for (int i = 0; i < 12 * lanes; i++) sink[worker->index * 16] = out[i];
}

typedef struct bench {
    team team;
    bool is_avx512;
    const char *filter; /* part of the names of the cases wanted */
    double read_gbs;
    double gflops;
} bench;

static void measure_ceilings(bench *b) {
    enum { BYTES = 1 << 30 };
    uint64_t *data = take_memory(BYTES), *sums = take_memory(THREADS_MAX * 64);
    read_args a = {data, BYTES / 8, sums};
    memset(data, 1, BYTES);
    b->read_gbs = BYTES / median_seconds(&b->team, read_all, &a) * 1e-9;
    double lanes = b->is_avx512 ? 16 : 8;
    double seconds = median_seconds(&b->team, b->is_avx512 ? fma_avx512 : fma_avx2, &sums);
    b->gflops = b->team.count * FMA_ROUNDS * 12.0 * 2.0 * lanes / seconds * 1e-9;
    free(data);
    free(sums);
}

/* ---- cases ---- */

/* Bytes with sane values as bf16, as mxfp4 codes and as small scales. */
static void *make_bytes(size_t bytes, bool is_bf16) {
    uint16_t *p = take_memory(bytes);
    uint64_t state = 1;
    for (size_t i = 0; i < bytes / 2; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint16_t v = (uint16_t)(state >> 48);
        p[i] = is_bf16 ? (uint16_t)((v & 0x80FFu) | 0x3C00u) : v;
    }
    return p;
}

static float *make_floats(size_t count) {
    float *p = take_memory(count * sizeof *p);
    for (size_t i = 0; i < count; i++) p[i] = sinf((float)i);
    return p;
}

static void print_row(const bench *b, const char *name, int m, double seconds, double bytes,
                      double flops) {
    double gbs = bytes / seconds * 1e-9, gflops = flops / seconds * 1e-9;
    printf("%-26s %5d %10.3f %8.1f %5.0f%% %8.1f %5.0f%%\n", name, m, seconds * 1e3, gbs,
           100 * gbs / b->read_gbs, gflops, 100 * gflops / b->gflops);
    fflush(stdout);
}

static const mica_quant_desc mxfp4 = {MICA_QUANT_DESC_MXFP4, 4, 32, MICA_KIND_U8};
static const mica_quant_desc mxfp8 = {MICA_QUANT_DESC_MXFP8, 8, 32, MICA_KIND_U8};
static const mica_quant_desc nvfp4 = {MICA_QUANT_DESC_NVFP4, 4, 16, MICA_KIND_U8};
static const mica_quant_desc affine4 = {MICA_QUANT_DESC_AFFINE, 4, 64, MICA_KIND_BF16};
static const mica_quant_desc affine6 = {MICA_QUANT_DESC_AFFINE, 6, 64, MICA_KIND_BF16};
static const mica_quant_desc affine8 = {MICA_QUANT_DESC_AFFINE, 8, 64, MICA_KIND_BF16};

/* quant NULL: bf16. */
static mica_linear_weight describe(const mica_quant_desc *quant, int64_t k) {
    mica_linear_weight w = {.kind = MICA_KIND_BF16, .x_kind = MICA_KIND_F32, .row_bytes = k * 2};
    if (!quant) return w;
    w.kind = MICA_KIND_U8;
    w.quant = *quant;
    w.row_bytes = mica_quant_code_bytes(*quant, k);
    w.scale_bytes = mica_quant_scale_bytes(*quant, k);
    return w;
}

/* Scales, and biases of affine. */
static uint8_t *make_scales(const mica_quant_desc *quant, size_t bytes) {
    uint8_t *scales = take_memory(bytes);
    uint8_t sane = quant->mode == MICA_QUANT_DESC_NVFP4 ? 40 : 118;
    for (size_t i = 0; i < bytes; i++) scales[i] = (uint8_t)(sane + i % 5);
    for (size_t i = 0; i < bytes && quant->mode == MICA_QUANT_DESC_AFFINE; i++)
        scales[i] = i % 2 ? 0x3C : (uint8_t)i;
    return scales;
}

static void bench_linear(bench *b, const char *name, const mica_quant_desc *quant, int64_t n,
                         int64_t k) {
    static const int rows[] = {1, 2, 4, 8, 16, 64, 512};
    if (!strstr(name, b->filter)) return;
    mica_linear_args a = {.rows_each = 1, .n = n, .k = k, .weight = describe(quant, k)};
    size_t scale_bytes = (size_t)(n * a.weight.scale_bytes);
    bool is_affine = quant && quant->mode == MICA_QUANT_DESC_AFFINE;
    double weight_bytes =
        (double)n * (double)(a.weight.row_bytes + a.weight.scale_bytes * (is_affine ? 2 : 1));
    void *w = make_bytes((size_t)(n * a.weight.row_bytes), !quant);
    uint8_t *scales = quant ? make_scales(quant, scale_bytes) : NULL;
    a.scales = (uintptr_t)scales;
    if (is_affine) a.biases = a.scales;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int m = rows[i];
        if (n > 100000 && m > 64) continue;
        float *x = make_floats((size_t)(m * k)), *out = make_floats((size_t)(m * n));
        a.rows = m;
        a.x = (uintptr_t)x;
        a.codes = (uintptr_t)w;
        a.out = (uintptr_t)out;
        double s =
            median_seconds(&b->team, b->is_avx512 ? mica_linear_avx512 : mica_linear_avx2, &a);
        double bytes = weight_bytes + 4.0 * m * (double)(n + k);
        print_row(b, name, m, s, bytes, 2.0 * m * (double)n * (double)k);
        free(x);
        free(out);
    }
    free(scales);
    free(w);
}

/* 32 experts, 4 of them for each token. The bytes count each chosen expert once. */
static void bench_experts(bench *b, const char *name, mica_cpu_function function, int64_t n,
                          int64_t k, bool is_shared) {
    static const int rows[] = {1, 2, 4, 8, 16, 64, 512};
    enum { EXPERTS = 32, SLOTS = 4 };
    if (!strstr(name, b->filter)) return;
    mica_linear_experts_args a = {.n = n, .k = k, .slots = SLOTS, .n_experts = EXPERTS};
    void *w = make_bytes((size_t)(EXPERTS * n * k / 2), false);
    uint8_t *scales = make_scales(&mxfp4, (size_t)(EXPERTS * n * k / 32));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int m = rows[i];
        int64_t x_rows = is_shared ? m : m * SLOTS;
        float *x = make_floats((size_t)(x_rows * k)), *out = make_floats((size_t)(m * SLOTS * n));
        int32_t *ids = take_memory((size_t)m * SLOTS * 4);
        int32_t *list = take_memory((size_t)(EXPERTS + 1 + m * SLOTS) * 4);
        for (int e = 0; e < m * SLOTS; e++) ids[e] = (e / SLOTS * 7 + e % SLOTS * 9) % EXPERTS;
        mica_expert_list_args l = {(uintptr_t)ids, (uintptr_t)list, 0, m, SLOTS, EXPERTS};
        run_once(&b->team, mica_expert_list_ref, &l);
        int active = 0;
        for (int e = 0; e < EXPERTS; e++) active += list[e] < list[e + 1];
        a.x = (uintptr_t)x;
        a.codes = (uintptr_t)w;
        a.scales = (uintptr_t)scales;
        a.ids = (uintptr_t)ids;
        a.list = (uintptr_t)list;
        a.out = (uintptr_t)out;
        a.tokens = m;
        a.x_divide = is_shared ? SLOTS : 1;
        a.weight = describe(&mxfp4, k);
        double s = median_seconds(&b->team, function, &a);
        double bytes = active * (double)n * (double)k * 17 / 32 +
                       4.0 * ((double)x_rows * (double)k + 4.0 * m * (double)n);
        print_row(b, name, m, s, bytes, 2.0 * m * SLOTS * (double)n * (double)k);
        free(x);
        free(out);
        free(ids);
        free(list);
    }
    free(w);
    free(scales);
}

static void start_team(team *t, int count) {
    t->count = count;
    t->scratch_bytes = mica_linear_scratch_bytes(8192) + 4 * MICA_EXPERTS_MAX;
    pthread_barrier_init(&t->barrier, NULL, (unsigned)count);
    for (int i = 0; i < count; i++) t->scratch[i] = take_memory(t->scratch_bytes);
    static member members[THREADS_MAX];
    for (int i = 1; i < count; i++) {
        members[i] = (member){t, i};
        if (pthread_create(&t->threads[i], NULL, member_main, &members[i]) != 0) exit(1);
    }
}

static void end_team(team *t) {
    t->is_over = true;
    pthread_barrier_wait(&t->barrier);
    for (int i = 1; i < t->count; i++) pthread_join(t->threads[i], NULL);
    for (int i = 0; i < t->count; i++) free(t->scratch[i]);
}

int main(int argc, char **argv) {
    static bench b;
    int threads = argc > 1 ? atoi(argv[1]) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    threads = threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : threads;
    b.is_avx512 = argc > 2 ? strcmp(argv[2], "avx512") == 0 : __builtin_cpu_supports("avx512dq");
    b.filter = argc > 3 ? argv[3] : "";
    start_team(&b.team, threads);
    measure_ceilings(&b);
    printf("%d threads, %s; ceilings: read %.1f GB/s, multiply-add %.1f GFLOP/s\n", threads,
           b.is_avx512 ? "avx512" : "avx2", b.read_gbs, b.gflops);
    printf("%-26s %5s %10s %8s %6s %8s %6s\n", "case", "rows", "ms", "GB/s", "", "GFLOP/s", "");
    bench_linear(&b, "q bf16 4096x2880", NULL, 4096, 2880);
    bench_linear(&b, "o bf16 2880x4096", NULL, 2880, 4096);
    bench_linear(&b, "router bf16 32x2880", NULL, 32, 2880);
    bench_linear(&b, "lm_head bf16 201088x2880", NULL, 201088, 2880);
    bench_linear(&b, "ffn affine4g64 16384x4096", &affine4, 16384, 4096);
    bench_linear(&b, "ffn affine6g64 16384x4096", &affine6, 16384, 4096);
    bench_linear(&b, "ffn affine8g64 16384x4096", &affine8, 16384, 4096);
    bench_linear(&b, "ffn mxfp8 16384x4096", &mxfp8, 16384, 4096);
    bench_linear(&b, "ffn nvfp4 16384x4096", &nvfp4, 16384, 4096);
    mica_cpu_function exact = b.is_avx512 ? mica_linear_experts_avx512 : mica_linear_experts_avx2;
    mica_cpu_function fast = b.is_avx512 && __builtin_cpu_supports("avx512vnni")
                                 ? mica_linear_experts_int8_avx512_vnni
                                 : mica_linear_experts_int8_avx2;
    bench_experts(&b, "gate_up mxfp4 5760x2880", exact, 5760, 2880, true);
    bench_experts(&b, "down mxfp4 2880x2880", exact, 2880, 2880, false);
    bench_experts(&b, "gate_up int8 5760x2880", fast, 5760, 2880, true);
    bench_experts(&b, "down int8 2880x2880", fast, 2880, 2880, false);
    end_team(&b.team);
    return 0;
}
