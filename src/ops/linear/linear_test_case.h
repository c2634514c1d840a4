/* Random weights of every type, and runs of a kernel on real threads, for the tests of linear and
 * linear_experts. */
#pragma once
#include <pthread.h>
#include "core/cpu.h"
#include "ops/linear/linear_rows.h"
#include "test.h"

typedef struct weight_type {
    const char *name;
    uint8_t kind; /* MICA_KIND_ */
    mica_quant_desc quant;
} weight_type;

static const weight_type weight_types[] = {
    {"f32", MICA_KIND_F32, {0}},
    {"f16", MICA_KIND_F16, {0}},
    {"bf16", MICA_KIND_BF16, {0}},
    {"mxfp4", MICA_KIND_U8, {MICA_QUANT_DESC_MXFP4, 4, 32, MICA_KIND_U8}},
    {"mxfp8", MICA_KIND_U8, {MICA_QUANT_DESC_MXFP8, 8, 32, MICA_KIND_U8}},
    {"nvfp4", MICA_KIND_U8, {MICA_QUANT_DESC_NVFP4, 4, 16, MICA_KIND_U8}},
    {"affine2g32", MICA_KIND_U8, {MICA_QUANT_DESC_AFFINE, 2, 32, MICA_KIND_BF16}},
    {"affine3g64", MICA_KIND_U8, {MICA_QUANT_DESC_AFFINE, 3, 64, MICA_KIND_F16}},
    {"affine4g64", MICA_KIND_U8, {MICA_QUANT_DESC_AFFINE, 4, 64, MICA_KIND_BF16}},
    {"affine5g32", MICA_KIND_U8, {MICA_QUANT_DESC_AFFINE, 5, 32, MICA_KIND_F32}},
    {"affine6g32", MICA_KIND_U8, {MICA_QUANT_DESC_AFFINE, 6, 32, MICA_KIND_F16}},
    {"affine8g64", MICA_KIND_U8, {MICA_QUANT_DESC_AFFINE, 8, 64, MICA_KIND_BF16}},
    {"affine4g32", MICA_KIND_U8, {MICA_QUANT_DESC_AFFINE, 4, 32, MICA_KIND_F16}},
    {"affine8g32", MICA_KIND_U8, {MICA_QUANT_DESC_AFFINE, 8, 32, MICA_KIND_F32}},
    {"nvfp4_scaled", MICA_KIND_U8, {MICA_QUANT_DESC_NVFP4_SCALED, 4, 16, MICA_KIND_U8}},
};
enum { WEIGHT_TYPES = sizeof weight_types / sizeof weight_types[0] };

typedef struct test_weight {
    mica_linear_weight weight;
    int64_t n; /* rows */
    int64_t k;
    float *values; /* [n, k], what the codes decode to */
    uint8_t *codes;
    uint8_t *scales;
    uint8_t *biases;
    void *bias; /* [n] */
} test_weight;

static inline void store_kind(int kind, void *base, int64_t i, float v) {
    uint16_t h = kind == MICA_KIND_BF16 ? mica_bf16_from_f32(v) : mica_f16_from_f32(v);
    if (kind == MICA_KIND_F32)
        memcpy((uint8_t *)base + 4 * i, &v, 4);
    else
        memcpy((uint8_t *)base + 2 * i, &h, 2);
}

/* Memory of exactly this size, so that the sanitizer sees every read past its end. */
static inline void *exact_memory(int64_t bytes) { return calloc(1, (size_t)(bytes ? bytes : 1)); }

static inline test_weight make_weight(const weight_type *type, int64_t n, int64_t k, int x_kind,
                                      int bias_kind, uint64_t *seed) {
    test_weight w = {.n = n, .k = k};
    w.weight = (mica_linear_weight){.quant = type->quant, .kind = type->kind};
    w.weight.x_kind = (uint8_t)x_kind;
    w.weight.bias_kind = (uint8_t)bias_kind;
    bool is_quantized = type->kind == MICA_KIND_U8;
    w.weight.row_bytes =
        is_quantized ? mica_quant_code_bytes(type->quant, k) : k * mica_kind_bytes(type->kind);
    w.weight.scale_bytes = is_quantized ? mica_quant_scale_bytes(type->quant, k) : 0;
    w.values = exact_memory(n * k * 4);
    w.codes = exact_memory(n * w.weight.row_bytes);
    w.scales = exact_memory(n * w.weight.scale_bytes);
    w.biases = exact_memory(n * w.weight.scale_bytes);
    w.bias = exact_memory(n * 4);
    for (int64_t i = 0; i < n; i++) store_kind(bias_kind, w.bias, i, test_random_float(seed));
    for (int64_t i = 0; i < n * k; i++) {
        w.values[i] = test_random_float(seed) * (i % 37 ? 1.0f : 40.0f);
        if (is_quantized) continue;
        store_kind(type->kind, w.codes, i, w.values[i]);
        w.values[i] = mica_kind_load(type->kind, w.codes, i);
    }
    for (int64_t r = 0; is_quantized && r < n; r++) {
        uint8_t *codes = w.codes + r * w.weight.row_bytes;
        uint8_t *scales = w.scales + r * w.weight.scale_bytes;
        uint8_t *biases = w.biases + r * w.weight.scale_bytes;
        if (type->quant.mode == MICA_QUANT_DESC_NVFP4_SCALED) {
            const float factor = 0.3f;
            biases = memcpy(w.biases + 4 * r, &factor, sizeof factor); /* of any matrix */
        }
        mica_quant_encode_row(type->quant, w.values + r * k, k, codes, scales, biases);
        mica_quant_decode_row(type->quant, codes, scales, biases, k, w.values + r * k);
    }
    return w;
}

static inline void free_weight(test_weight *w) {
    free(w->values);
    free(w->codes);
    free(w->scales);
    free(w->biases);
    free(w->bias);
}

static inline void *make_x(int kind, int64_t count, uint64_t *seed) {
    void *x = exact_memory(count * mica_kind_bytes(kind));
    for (int64_t i = 0; i < count; i++) store_kind(kind, x, i, test_random_float(seed));
    return x;
}

/* ---- running on threads ---- */

typedef struct kernel_thread {
    mica_cpu_function function;
    const void *args;
    mica_cpu_worker worker;
} kernel_thread;

static void *kernel_main(void *context) {
    kernel_thread *t = context;
    t->function(t->args, &t->worker);
    return NULL;
}

static inline void run_kernel(mica_cpu_function function, const void *args, int workers,
                              size_t scratch_bytes) {
    pthread_t threads[8];
    kernel_thread t[8];
    _Atomic int64_t next = 0;
    for (int i = 0; i < workers; i++) {
        void *scratch = aligned_alloc(64, (scratch_bytes + 63) / 64 * 64);
        assert_non_null(scratch);
        t[i] = (kernel_thread){function, args, {i, workers, scratch, &next}};
        assert_int_equal(pthread_create(&threads[i], NULL, kernel_main, &t[i]), 0);
    }
    for (int i = 0; i < workers; i++) {
        pthread_join(threads[i], NULL);
        free(t[i].worker.scratch);
    }
}

/* ---- levels ---- */

enum {
    LEVEL_REF,
    LEVEL_AVX2,
    LEVEL_AVX512,
    LEVEL_INT8_AVX2,
    LEVEL_INT8_VNNI,
    LEVEL_INT16_AVX2,
    LEVEL_INT16_VNNI,
    LEVEL_NEON,
    LEVEL_INT8_NEON,
    LEVELS
};
static const char *const level_names[LEVELS] = {"ref",        "avx2",      "avx512",
                                                "int8_avx2",  "int8_vnni", "int16_avx2",
                                                "int16_vnni", "neon",      "int8_neon"};

/* Fast mode: x is rounded to int8 for mxfp4 weights, to int16 for affine ones. */
static inline bool is_int8(int level) {
    return level == LEVEL_INT8_AVX2 || level == LEVEL_INT8_VNNI || level == LEVEL_INT8_NEON;
}
static inline bool is_int16(int level) {
    return level == LEVEL_INT16_AVX2 || level == LEVEL_INT16_VNNI;
}
static inline bool is_rounded(int level) { return is_int8(level) || is_int16(level); }
static inline bool takes_type(int level, const weight_type *type) {
    if (is_int8(level)) return type->quant.mode == MICA_QUANT_DESC_MXFP4;
    return !is_int16(level) || type->quant.mode == MICA_QUANT_DESC_AFFINE;
}

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
static inline bool has_dot_product(void) { return getauxval(AT_HWCAP) >> 20 & 1; }
#else
static inline bool has_dot_product(void) { return true; } /* Apple's all do */
#endif

static inline bool has_level(int level) {
    if (level == LEVEL_REF) return true;
#if defined(__x86_64__)
    if (level == LEVEL_NEON || level == LEVEL_INT8_NEON) return false;
    bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (level == LEVEL_AVX2 || level == LEVEL_INT8_AVX2 || level == LEVEL_INT16_AVX2)
        return has_avx2;
    if (is_rounded(level) && !__builtin_cpu_supports("avx512vnni")) return false;
    return has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#elif defined(__aarch64__)
    return level == LEVEL_NEON || (level == LEVEL_INT8_NEON && has_dot_product());
#else
    return false;
#endif
}
