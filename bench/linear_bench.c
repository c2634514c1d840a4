/* Speed of the matrix kernels at the shapes of SmolLM2-135M, Qwen3-0.6B and gpt-oss-20b, beside the
 * ceilings of this machine: how fast its cores read memory and multiply-add. Calls the kernels
 * directly; medians. A case of linear walks through copies of its matrix, so that weights come from
 * memory as they do in a model; its time is that of one.
 * Usage: linear_bench [threads [avx2|avx512 [part of a case's name]]]. Cases named int8 and int16
 * are those of fast mode. */
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

enum { THREADS_MAX = 256, RUNS_MAX = 31, COPIES_MAX = 1024 };

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
    while (n < RUNS_MAX && (n < 3 || total < 0.4))
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

static const mica_quant_desc mxfp4 = {MICA_QUANT_DESC_MXFP4, 4, 32, MICA_KIND_U8};

/* A weight type with the kernels that take it. */
typedef struct weight_case {
    const char *name;
    uint8_t kind; /* MICA_KIND_ */
    mica_quant_desc quant;
    mica_cpu_function avx2;
    mica_cpu_function avx512;
} weight_case;

#define EXACT mica_linear_avx2, mica_linear_avx512
#define INT8 mica_linear_int8_avx2, mica_linear_int8_avx512_vnni
#define INT16 mica_linear_int16_avx2, mica_linear_int16_avx512_vnni
#define AFFINE(bits, group, kind)                                                                  \
    MICA_KIND_U8, { MICA_QUANT_DESC_AFFINE, bits, group, kind }
static const weight_case weights[] = {
    {"bf16", MICA_KIND_BF16, {0}, EXACT},
    {"f16", MICA_KIND_F16, {0}, EXACT},
    {"f32", MICA_KIND_F32, {0}, EXACT},
    {"affine4g64", AFFINE(4, 64, MICA_KIND_BF16), EXACT},
    {"affine4g64 int16", AFFINE(4, 64, MICA_KIND_BF16), INT16},
    {"affine4g32", AFFINE(4, 32, MICA_KIND_F16), EXACT},
    {"affine4g32 int16", AFFINE(4, 32, MICA_KIND_F16), INT16},
    {"affine8g64", AFFINE(8, 64, MICA_KIND_BF16), EXACT},
    {"affine8g64 int16", AFFINE(8, 64, MICA_KIND_BF16), INT16},
    {"affine8g32", AFFINE(8, 32, MICA_KIND_F16), EXACT},
    {"affine8g32 int16", AFFINE(8, 32, MICA_KIND_F16), INT16},
    {"affine6g64", AFFINE(6, 64, MICA_KIND_BF16), EXACT},
    {"affine6g64 int16", AFFINE(6, 64, MICA_KIND_BF16), INT16},
    {"mxfp4", MICA_KIND_U8, {MICA_QUANT_DESC_MXFP4, 4, 32, MICA_KIND_U8}, EXACT},
    {"mxfp4 int8", MICA_KIND_U8, {MICA_QUANT_DESC_MXFP4, 4, 32, MICA_KIND_U8}, INT8},
    {"mxfp8", MICA_KIND_U8, {MICA_QUANT_DESC_MXFP8, 8, 32, MICA_KIND_U8}, EXACT},
    {"nvfp4", MICA_KIND_U8, {MICA_QUANT_DESC_NVFP4, 4, 16, MICA_KIND_U8}, EXACT},
};

/* Bytes with sane values as floats of the kind, or as codes. */
static void *make_bytes(size_t bytes, int kind) {
    uint16_t *p = take_memory(bytes);
    uint64_t state = 1;
    for (size_t i = 0; i < bytes / 2; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint16_t v = (uint16_t)(state >> 48);
        if (kind == MICA_KIND_BF16 || kind == MICA_KIND_F32) v = (v & 0x80FFu) | 0x3C00u;
        if (kind == MICA_KIND_F16) v = (v & 0x83FFu) | 0x3000u;
        p[i] = v;
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
    printf("%-32s %5d %10.3f %8.1f %5.0f%% %8.1f %5.0f%%\n", name, m, seconds * 1e3, gbs,
           100 * gbs / b->read_gbs, gflops, 100 * gflops / b->gflops);
    fflush(stdout);
}

static mica_linear_weight describe(const weight_case *c, int64_t k) {
    mica_linear_weight w = {.kind = c->kind, .quant = c->quant, .x_kind = MICA_KIND_F32};
    w.row_bytes = k * mica_kind_bytes(c->kind);
    if (c->kind != MICA_KIND_U8) return w;
    w.row_bytes = mica_quant_code_bytes(c->quant, k);
    w.scale_bytes = mica_quant_scale_bytes(c->quant, k);
    return w;
}

/* Scales, and biases of affine. */
static uint8_t *make_scales(const mica_quant_desc *quant, size_t bytes) {
    uint8_t *scales = take_memory(bytes + 64);
    uint8_t sane = quant->mode == MICA_QUANT_DESC_NVFP4 ? 40 : 118;
    for (size_t i = 0; i < bytes; i++) scales[i] = (uint8_t)(sane + i % 5);
    for (size_t i = 0; i < bytes && quant->mode == MICA_QUANT_DESC_AFFINE; i++)
        scales[i] = i % 2 ? 0x3C : (uint8_t)i;
    return scales;
}

/* The same linear with one copy of its weight after another. */
typedef struct copies {
    mica_cpu_function function;
    int count;
    mica_linear_args args[COPIES_MAX];
    _Atomic int64_t next[COPIES_MAX];
} copies;

static void walk_copies(const void *args, const mica_cpu_worker *worker) {
    copies *c = *(copies *const *)args;
    mica_cpu_worker w = *worker;
    for (int i = 0; i < c->count; i++) {
        w.next = &c->next[i];
        c->function(&c->args[i], &w);
    }
}

/* Workers go on to the next copy without waiting, so the barrier of a step is left out. */
static double seconds_of_one(bench *b, copies *c) {
    double seconds[RUNS_MAX], total = 0;
    int n = 0;
    for (; n < RUNS_MAX && (n < 3 || total < 0.4); n++) {
        for (int i = 0; i < c->count; i++) c->next[i] = 0;
        total += seconds[n] = run_once(&b->team, walk_copies, &c);
    }
    qsort(seconds, (size_t)n, sizeof *seconds, compare);
    return seconds[n / 2] / c->count;
}

static void bench_linear(bench *b, const weight_case *w, int64_t n, int64_t k) {
    static const int rows[] = {1, 2, 4, 16, 128, 512};
    static copies c;
    enum { POOL = 192 << 20 };
    char name[64];
    snprintf(name, sizeof name, "%s %dx%d", w->name, (int)n, (int)k);
    if (!strstr(name, b->filter)) return;
    mica_linear_weight weight = describe(w, k);
    bool is_affine = w->quant.mode == MICA_QUANT_DESC_AFFINE;
    size_t code_bytes = (size_t)(n * weight.row_bytes);
    size_t scale_bytes = (size_t)(n * weight.scale_bytes);
    size_t each = code_bytes + scale_bytes * (is_affine ? 2 : 1), all = POOL / each;
    all = all < 1 ? 1 : all > COPIES_MAX ? COPIES_MAX : all;
    uint8_t *codes = make_bytes(all * code_bytes, w->kind);
    uint8_t *scales = make_scales(&w->quant, all * scale_bytes);
    uint8_t *biases = make_scales(&w->quant, all * scale_bytes);
    c.function = b->is_avx512 ? w->avx512 : w->avx2;
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        int m = rows[r];
        if ((double)m * (double)n * (double)k > 2e10) continue;
        c.count = m < 16 ? (int)all : 1;
        float *x = make_floats((size_t)(m * k)), *out = make_floats((size_t)(m * n));
        for (int i = 0; i < c.count; i++) {
            mica_linear_args a = {.rows_each = 1, .n = n, .k = k, .weight = weight, .rows = m};
            a.x = (uintptr_t)x;
            a.out = (uintptr_t)out;
            a.codes = (uintptr_t)(codes + (size_t)i * code_bytes);
            a.scales = (uintptr_t)(scales + (size_t)i * scale_bytes);
            a.biases = is_affine ? (uintptr_t)(biases + (size_t)i * scale_bytes) : 0;
            c.args[i] = a;
        }
        print_row(b, name, m, seconds_of_one(b, &c), (double)each + 4.0 * m * (double)(n + k),
                  2.0 * m * (double)n * (double)k);
        free(x);
        free(out);
    }
    free(codes);
    free(scales);
    free(biases);
}

/* 32 experts, 4 of them for each token. The bytes count each chosen expert once. */
static void bench_experts(bench *b, const char *name, mica_cpu_function function, int64_t n,
                          int64_t k, bool is_shared) {
    static const int rows[] = {1, 2, 4, 8, 16, 64, 512};
    enum { EXPERTS = 32, SLOTS = 4 };
    if (!strstr(name, b->filter)) return;
    mica_linear_experts_args a = {.n = n, .k = k, .slots = SLOTS, .n_experts = EXPERTS};
    void *w = make_bytes((size_t)(EXPERTS * n * k / 2), MICA_KIND_U8);
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
        a.weight = describe(&(weight_case){.kind = MICA_KIND_U8, .quant = mxfp4}, k);
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
    printf("%-32s %5s %10s %8s %6s %8s %6s\n", "case", "rows", "ms", "GB/s", "", "GFLOP/s", "");
    static const int64_t shapes[][2] = {{576, 576},   {1536, 576},  {576, 1536},   {49152, 576},
                                        {1024, 3072}, {2880, 2880}, {201088, 2880}};
    for (size_t w = 0; w < sizeof weights / sizeof weights[0]; w++)
        for (int i = 0; i < 7; i++) bench_linear(&b, &weights[w], shapes[i][0], shapes[i][1]);
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
