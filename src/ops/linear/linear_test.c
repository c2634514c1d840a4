#include "ops/linear/linear.h"
#include "core/op.h"

extern const mica_op mica_op_linear;

#include "op_test.h"
#include "ops/linear/linear_test_case.h"

static mica_cpu_function kernel_of(int level) {
#if defined(__x86_64__)
    if (level == LEVEL_AVX2) return mica_linear_avx2;
    if (level == LEVEL_AVX512) return mica_linear_avx512;
    if (level == LEVEL_INT8_AVX2) return mica_linear_int8_avx2;
    if (level == LEVEL_INT8_VNNI) return mica_linear_int8_avx512_vnni;
    if (level == LEVEL_INT16_AVX2) return mica_linear_int16_avx2;
    if (level == LEVEL_INT16_VNNI) return mica_linear_int16_avx512_vnni;
#elif defined(__aarch64__)
    if (level == LEVEL_NEON) return mica_linear_neon;
    if (level == LEVEL_INT8_NEON) return mica_linear_int8_neon_dot;
#endif
    (void)level;
    return mica_linear_ref;
}

static mica_linear_args args_of(const test_weight *w, const void *x, int64_t m, void *out,
                                bool has_bias) {
    mica_linear_args a = {.rows = m, .rows_each = 1, .n = w->n, .k = w->k, .weight = w->weight};
    a.x = (uintptr_t)x;
    a.codes = (uintptr_t)w->codes;
    a.scales = (uintptr_t)w->scales;
    a.biases = (uintptr_t)w->biases;
    a.bias = has_bias ? (uintptr_t)w->bias : 0;
    a.out = (uintptr_t)out;
    return a;
}

static void run(int level, const mica_linear_args *a, int workers) {
    run_kernel(kernel_of(level), a, workers, mica_linear_scratch_bytes(a->k));
}

/* The largest magnitude of the group of element k of weight row n. */
static double group_edge(const test_weight *w, int64_t n, int64_t k) {
    int64_t group = w->weight.quant.group, begin = k / group * group;
    double edge = 0;
    for (int64_t i = begin; i < begin + group; i++)
        edge = fmax(edge, fabs((double)w->values[n * w->k + i]));
    return edge;
}

/* What rounding x to integers may change in a sum: half a step of each block's largest magnitude; a
 * block of magnitudes under 1e-30 counts as zeros. For affine weights, f32 sums of scale * code
 * and bias apart, each up to twice the group's edge. */
static double rounding_bound(int level, const test_weight *w, const void *x, int64_t row,
                             int64_t n) {
    double bound = 0, steps = is_int8(level) ? 254 : 65534;
    if (!is_rounded(level)) return 0;
    for (int64_t b = 0; b < w->k; b += 32) {
        double largest = 0, weights = 0, magnitudes = 0;
        for (int64_t k = b; k < b + 32; k++) {
            double v = fabs((double)mica_kind_load(w->weight.x_kind, x, row * w->k + k));
            largest = fmax(largest, v);
            magnitudes += v;
            weights += fabs((double)w->values[n * w->k + k]);
        }
        bound += (largest / steps * 1.001 + (largest < 1e-30 ? largest : 0)) * weights;
        if (is_int16(level))
            bound += 4 * group_edge(w, n, b) * magnitudes * (double)(w->k / 64 + 16) * 0x1p-24;
    }
    return bound;
}

/* The sum in double, and a bound for f32 sums of so many terms in any order. */
static double expected(const test_weight *w, const void *x, int64_t row, int64_t n, bool has_bias,
                       double *bound) {
    double sum = 0, magnitude = 0;
    int kind = w->weight.x_kind;
    for (int64_t k = 0; k < w->k; k++) {
        double p =
            (double)mica_kind_load(kind, x, row * w->k + k) * (double)w->values[n * w->k + k];
        sum += p;
        magnitude += fabs(p);
    }
    if (has_bias) sum += (double)mica_kind_load(w->weight.bias_kind, w->bias, n);
    double rounding = kind == MICA_KIND_BF16 ? 0x1p-8 : kind == MICA_KIND_F16 ? 0x1p-11 : 0x1p-24;
    *bound = magnitude * (double)(w->k + 8) * 0x1p-24 + fabs(sum) * rounding + 1e-7;
    return sum;
}

static void check_case(int level, const weight_type *type, int64_t m, int64_t n, int64_t k,
                       int x_kind, int bias_kind, bool has_bias, uint64_t *seed) {
    test_weight w = make_weight(type, n, k, x_kind, bias_kind, seed);
    void *x = make_x(x_kind, m * k, seed), *out = exact_memory(m * n * mica_kind_bytes(x_kind));
    mica_linear_args a = args_of(&w, x, m, out, has_bias);
    run(level, &a, 2);
    for (int64_t i = 0; i < m * n; i++) {
        double bound, want = expected(&w, x, i / n, i % n, has_bias, &bound);
        bound += rounding_bound(level, &w, x, i / n, i % n);
        double got = (double)mica_kind_load(x_kind, out, i);
        if (!(fabs(got - want) <= bound))
            fail_msg("%s %s m=%d n=%d k=%d: element %d is %.9g, want %.9g", level_names[level],
                     type->name, (int)m, (int)n, (int)k, (int)i, got, want);
    }
    free(x);
    free(out);
    free_weight(&w);
}

static void matches_sums_in_double(void **state) {
    /* Proves: every weight type, x dtype and shape (odd K, odd N, one row to many) is right. */
    (void)state;
    static const int64_t dense[][3] = {{1, 1, 1},   {1, 7, 33},   {2, 13, 90}, {3, 5, 8},
                                       {4, 31, 17}, {5, 3, 1031}, {7, 12, 64}, {70, 29, 45},
                                       {6, 100, 2}, {131, 4, 9},  {9, 4, 2053}};
    static const int64_t grouped[][3] = {{1, 1, 64},   {1, 9, 2880}, {2, 13, 192}, {3, 5, 128},
                                         {4, 7, 1088}, {5, 3, 2112}, {70, 29, 64}, {6, 100, 64}};
    uint64_t seed = test_seed();
    for (int level = 0; level < LEVELS; level++) {
        if (!has_level(level)) continue;
        for (int t = 0; t < WEIGHT_TYPES; t++) {
            if (!takes_type(level, &weight_types[t])) continue;
            bool is_dense = weight_types[t].kind != MICA_KIND_U8;
            const int64_t(*shapes)[3] = is_dense ? dense : grouped;
            for (int c = 0; c < (is_dense ? 11 : 8); c++)
                check_case(level, &weight_types[t], shapes[c][0], shapes[c][1], shapes[c][2],
                           MICA_KIND_F32 + (c + t) % 3, MICA_KIND_F32 + c % 3, c % 4 != 3, &seed);
        }
        /* A single block of 32, and an odd number of them. */
        for (int64_t k = 32; k <= 160 && takes_type(level, &weight_types[3]); k += 64)
            for (int64_t m = 1; m <= 6; m++)
                check_case(level, &weight_types[3], m, 11, k, MICA_KIND_F32, MICA_KIND_F32, true,
                           &seed);
    }
}

static void rows_do_not_depend_on_their_neighbours(void **state) {
    /* Proves: a row alone gives the same bits as in any batch, on 1, 2 and 3 workers. */
    (void)state;
    enum { M = 150, N = 26 };
    uint64_t seed = test_seed();
    for (int level = 0; level < LEVELS; level++) {
        if (!has_level(level)) continue;
        for (int t = 0; t < WEIGHT_TYPES; t++) {
            if (!takes_type(level, &weight_types[t])) continue;
            int64_t k = weight_types[t].kind == MICA_KIND_U8 ? 1216 : 1213;
            test_weight w =
                make_weight(&weight_types[t], N, k, MICA_KIND_F32, MICA_KIND_BF16, &seed);
            float *x = make_x(MICA_KIND_F32, M * k, &seed);
            float *alone = exact_memory(M * N * 4), *batch = exact_memory(M * N * 4);
            for (int64_t i = 0; i < M; i++) {
                mica_linear_args a = args_of(&w, x + i * k, 1, alone + i * N, true);
                run(level, &a, 1);
            }
            for (int64_t m = 2; m <= M; m = m < 9                    ? m + 1
                                            : m * 5 / 2 > M && m < M ? M
                                                                     : m * 5 / 2) {
                int64_t first = (int64_t)(test_random(&seed) % (uint64_t)(M - m + 1));
                mica_linear_args a = args_of(&w, x + first * k, m, batch, true);
                run(level, &a, 1 + (int)(m % 3));
                if (memcmp(batch, alone + first * N, (size_t)(m * N) * 4) != 0)
                    fail_msg("%s %s: %d rows differ from each alone", level_names[level],
                             weight_types[t].name, (int)m);
            }
            free(x);
            free(alone);
            free(batch);
            free_weight(&w);
        }
    }
}

static void kernels_decode_to_the_same_bits(void **state) {
    /* Proves: rows of the identity pick out each decoded weight, with the bits of the scalar
     * decoder, for random codes and scales (subnormal ones too), one row of x or many. */
    (void)state;
    enum { N = 9, K = 1152 };
    uint64_t seed = test_seed();
    float *x = exact_memory(K * K * 4), *out = exact_memory(K * N * 4);
    for (int i = 0; i < K; i++) x[i * K + i] = 1.0f;
    for (int t = 0; t < WEIGHT_TYPES; t++) {
        if (weight_types[t].kind != MICA_KIND_U8) continue;
        mica_quant_desc q = weight_types[t].quant;
        bool is_e4m3 = q.mode == MICA_QUANT_DESC_MXFP8, has_bytes = q.scale_kind == MICA_KIND_U8;
        test_weight w = make_weight(&weight_types[t], N, K, MICA_KIND_F32, MICA_KIND_F32, &seed);
        for (int64_t i = 0; i < N * w.weight.row_bytes; i++) {
            w.codes[i] = (uint8_t)test_random(&seed);
            if (is_e4m3 && (w.codes[i] & 0x7F) == 0x7F) w.codes[i] = 1; /* NaN */
        }
        for (int64_t i = 0; has_bytes && i < N * w.weight.scale_bytes; i++)
            w.scales[i] = (uint8_t)(test_random(&seed) % 120);
        for (int64_t r = 0; r < N; r++) {
            int64_t at = r * w.weight.scale_bytes;
            mica_quant_decode_row(q, w.codes + r * w.weight.row_bytes, w.scales + at,
                                  mica_quant_biases_at(q, w.biases, 0, at), K, w.values + r * K);
        }
        for (int level = 0; level < LEVELS; level++)
            for (int64_t m = 1; m <= K && has_level(level) && !is_rounded(level); m += K - 1) {
                mica_linear_args a = args_of(&w, x, m, out, false);
                run(level, &a, 2);
                for (int64_t i = 0; i < m * N; i++)
                    if (out[i] != w.values[i % N * K + i / N])
                        fail_msg("%s %s m=%d: weight [%d, %d] is %.9g, want %.9g",
                                 level_names[level], weight_types[t].name, (int)m, (int)(i % N),
                                 (int)(i / N), (double)out[i], (double)w.values[i % N * K + i / N]);
            }
        free_weight(&w);
    }
    free(x);
    free(out);
}

static void live_rows_alone_are_written(void **state) {
    /* Proves: with a live count, later rows stay as they were; a count of 0 writes nothing. */
    (void)state;
    enum { M = 12, EACH = 2, N = 10, K = 64 };
    uint64_t seed = test_seed();
    for (int level = 0; level < LEVELS; level++) {
        if (!has_level(level)) continue;
        const weight_type *type = &weight_types[is_int16(level) ? 8 : 3];
        test_weight w = make_weight(type, N, K, MICA_KIND_F32, MICA_KIND_F32, &seed);
        float *x = make_x(MICA_KIND_F32, M * K, &seed), out[M * N], whole[M * N];
        mica_linear_args a = args_of(&w, x, M, whole, false);
        run(level, &a, 2);
        for (int32_t live = 0; live <= M / EACH; live++) {
            for (int i = 0; i < M * N; i++) out[i] = 77.0f;
            a = args_of(&w, x, M / EACH, out, false);
            a.rows_each = EACH;
            a.live = (uintptr_t)&live;
            run(level, &a, 2);
            for (int i = 0; i < M * N; i++)
                assert_true(out[i] == (i / N < live * EACH ? whole[i] : 77.0f));
        }
        free(x);
        free_weight(&w);
    }
}

static void values_that_are_not_finite_stay_in_their_row(void **state) {
    /* Proves: NaN, infinities and overflow reach their own sums only, also at the end of a row. */
    (void)state;
    enum { M = 6, N = 5, K = 37 };
    uint64_t seed = test_seed();
    for (int level = 0; level < LEVELS; level++) {
        if (!has_level(level) || is_rounded(level)) continue;
        test_weight w = make_weight(&weight_types[2], N, K, MICA_KIND_F32, MICA_KIND_F32, &seed);
        float *x = make_x(MICA_KIND_F32, M * K, &seed), *out = exact_memory(M * N * 4);
        x[0 * K + K - 1] = NAN;
        x[2 * K] = INFINITY;
        x[3 * K + 7] = 3e38f;
        x[4 * K + K - 1] = -INFINITY;
        store_kind(MICA_KIND_BF16, w.codes, 3 * K + K - 1, NAN);
        for (int64_t m = 1; m <= M; m++) {
            mica_linear_args a = args_of(&w, x, m, out, true);
            run(level, &a, 1);
            for (int64_t i = 0; i < m * N; i++) {
                int64_t row = i / N;
                if (row == 0 || i % N == 3)
                    assert_true(isnan(out[i]));
                else if (row == 2 || row == 4)
                    assert_true(isinf(out[i]));
                else if (row != 3)
                    assert_true(isfinite(out[i]));
            }
        }
        free(x);
        free(out);
        free_weight(&w);
    }
}

static void rounded_rows_keep_outliers_and_nan(void **state) {
    /* Proves: rounding x to integers keeps NaN and infinity visible in their row alone, gives zeros
     * for blocks of zeros and tiny values, and an outlier hurts its own block only. */
    (void)state;
    enum { M = 6, N = 5, K = 128 };
    uint64_t seed = test_seed();
    for (int t = 0; t < LEVELS * WEIGHT_TYPES; t++) {
        int level = t / WEIGHT_TYPES;
        const weight_type *type = &weight_types[t % WEIGHT_TYPES];
        if (!has_level(level) || !is_rounded(level) || !takes_type(level, type)) continue;
        test_weight w = make_weight(type, N, K, MICA_KIND_F32, MICA_KIND_F32, &seed);
        float *x = make_x(MICA_KIND_F32, M * K, &seed), *out = exact_memory(M * N * 4);
        x[0 * K + K - 1] = NAN;
        x[1 * K + 3] = INFINITY;
        for (int k = 0; k < K; k++) x[2 * K + k] = k % 2 ? 0.0f : 1e-38f;
        x[3 * K + 40] = 1e6f;
        for (int64_t m = 1; m <= M; m++) {
            mica_linear_args a = args_of(&w, x, m, out, false);
            run(level, &a, 1);
            for (int64_t i = 0; i < m * N; i++) {
                if (i / N < 2) {
                    assert_false(isfinite(out[i]));
                    continue;
                }
                double bound, want = expected(&w, x, i / N, i % N, false, &bound);
                bound += rounding_bound(level, &w, x, i / N, i % N);
                assert_true(fabs((double)out[i] - want) <= bound);
            }
        }
        free(x);
        free(out);
        free_weight(&w);
    }
}

/* One weight in groups with int16 rows: right alone, and each row of a batch as alone. */
static void check_int16(int level, const weight_type *type, int64_t k, uint64_t *seed) {
    enum { M = 130, N = 13 };
    static const int64_t rows[] = {2, 3, 4, 5, 6, 7, 8, 9, 130};
    test_weight w = make_weight(type, N, k, MICA_KIND_F32, MICA_KIND_F16, seed);
    float *x = make_x(MICA_KIND_F32, M * k, seed), *alone = exact_memory(M * N * 4);
    float *batch = exact_memory(M * N * 4);
    for (int64_t i = 0; i < M; i++) {
        mica_linear_args a = args_of(&w, x + i * k, 1, alone + i * N, true);
        run(level, &a, 1);
        for (int64_t n = 0; n < N; n++) {
            double bound, want = expected(&w, x, i, n, true, &bound), got = alone[i * N + n];
            bound += rounding_bound(level, &w, x, i, n);
            if (!(fabs(got - want) <= bound))
                fail_msg("%s %d bits group %d k=%d: %.9g, want %.9g", level_names[level],
                         type->quant.bits, type->quant.group, (int)k, got, want);
        }
    }
    for (int r = 0; r < 9; r++) {
        mica_linear_args a = args_of(&w, x, rows[r], batch, true);
        run(level, &a, 1 + r % 3);
        if (memcmp(batch, alone, (size_t)(rows[r] * N) * 4) != 0)
            fail_msg("%s %d bits group %d k=%d: %d rows differ from each alone", level_names[level],
                     type->quant.bits, type->quant.group, (int)k, (int)rows[r]);
    }
    free(x), free(alone), free(batch);
    free_weight(&w);
}

static void every_affine_weight_is_right_with_int16_rows(void **state) {
    /* Proves: for all bits, groups and types of scales, K below and above a chunk and in no whole
     * unit, a row is within half a step of x of the exact sum, and the same bits in any batch. */
    (void)state;
    static const uint8_t bits[] = {2, 3, 4, 5, 6, 8};
    uint64_t seed = test_seed();
    for (int level = 0; level < LEVELS; level++)
        for (int c = 0; c < 54 && has_level(level) && is_int16(level); c++) {
            int group = 32 << c / 6 % 3, kind = MICA_KIND_F32 + c / 18;
            weight_type type = {"affine", MICA_KIND_U8, {.mode = MICA_QUANT_DESC_AFFINE}};
            type.quant.bits = bits[c % 6];
            type.quant.group = (uint16_t)group;
            type.quant.scale_kind = (uint8_t)kind;
            check_int16(level, &type, group, &seed);
            check_int16(level, &type, 1024 + 3 * group, &seed);
        }
    /* More groups than the scales of a row that are converted at a time. */
    for (int level = 0; level < LEVELS; level++)
        if (has_level(level) && is_int16(level)) check_int16(level, &weight_types[12], 8480, &seed);
}

static void int8_levels_agree_bit_for_bit(void **state) {
    /* Proves: AVX2 and VNNI give the same bits, since their integer sums are exact. */
    (void)state;
    enum { M = 9, N = 7, K = 1120 };
    if (!has_level(LEVEL_INT8_VNNI)) skip();
    uint64_t seed = test_seed();
    test_weight w = make_weight(&weight_types[3], N, K, MICA_KIND_F32, MICA_KIND_F32, &seed);
    float *x = make_x(MICA_KIND_F32, M * K, &seed), out[2][M * N];
    for (int i = 0; i < 2; i++) {
        mica_linear_args a = args_of(&w, x, M, out[i], true);
        run(LEVEL_INT8_AVX2 + i, &a, 2);
    }
    assert_memory_equal(out[0], out[1], sizeof out[0]);
    free(x);
    free_weight(&w);
}

static void sums_over_nothing_are_the_bias(void **state) {
    /* Proves: K = 0 gives the bias, M = 0 and N = 0 give nothing. */
    (void)state;
    uint64_t seed = test_seed();
    for (int level = 0; level < LEVELS; level++) {
        if (!has_level(level)) continue;
        test_weight w = make_weight(&weight_types[0], 3, 0, MICA_KIND_F32, MICA_KIND_F32, &seed);
        float x[1] = {0}, out[6] = {9, 9, 9, 9, 9, 9};
        mica_linear_args a = args_of(&w, x, 2, out, true);
        run(level, &a, 2);
        for (int i = 0; i < 6; i++) assert_true(out[i] == ((float *)w.bias)[i % 3]);
        a.rows = 0;
        run(level, &a, 2);
        a.rows = 2;
        a.n = 0;
        run(level, &a, 2);
        free_weight(&w);
    }
}

static void a_residual_is_added_last(void **state) {
    /* Proves: with a residual each level gives the bits of its own result, rounded, plus the
     * residual, for every weight and x, few rows and many. */
    (void)state;
    static const int64_t rows[] = {1, 3, 5, 150};
    uint64_t seed = test_seed();
    for (int t = 0; t < WEIGHT_TYPES; t++)
        for (int kind = MICA_KIND_F32; kind <= MICA_KIND_BF16; kind++) {
            enum { N = 29, K = 192 };
            test_weight w = make_weight(&weight_types[t], N, K, kind, MICA_KIND_F16, &seed);
            void *x = make_x(kind, 150 * K, &seed), *residual = make_x(kind, 150 * N, &seed);
            uint8_t *plain = exact_memory(150 * N * mica_kind_bytes(kind));
            uint8_t *sum = exact_memory(150 * N * mica_kind_bytes(kind));
            for (int level = 0; level < LEVELS; level++)
                for (int r = 0; r < 4 && has_level(level); r++) {
                    if (!takes_type(level, &weight_types[t])) continue;
                    mica_linear_args a = args_of(&w, x, rows[r], plain, true);
                    run(level, &a, 2);
                    a.out = (uint64_t)(uintptr_t)sum;
                    a.residual = (uint64_t)(uintptr_t)residual;
                    run(level, &a, 2);
                    for (int64_t i = 0; i < rows[r] * N; i++) {
                        float want = mica_kind_load(kind, plain, i);
                        store_kind(kind, plain, i, want + mica_kind_load(kind, residual, i));
                    }
                    assert_memory_equal(sum, plain, (size_t)(rows[r] * N * mica_kind_bytes(kind)));
                }
            free(sum), free(plain), free(residual), free(x);
            free_weight(&w);
        }
}

/* ---- through the library ---- */

typedef struct library_case {
    const test_weight *w;
    const void *x;
    mica_dtype x_dtype;
    int rank;
    int64_t dims[3];
    bool is_composed;
} library_case;

static mica_array weight_array(mica_graph *g, const test_weight *w) {
    int64_t dims[2] = {w->n, w->k};
    static const uint8_t dtypes[4] = {MICA_DTYPE_U8, MICA_DTYPE_F32, MICA_DTYPE_F16,
                                      MICA_DTYPE_BF16};
    mica_quant_desc q = w->weight.quant;
    if (w->weight.kind != MICA_KIND_U8)
        return mica_array_view(g, (mica_dtype)dtypes[w->weight.kind], 2, dims, w->codes, NULL,
                               NULL);
    mica_quant quant = {q.mode, q.bits, q.group, dtypes[q.scale_kind]};
    return mica_array_view_quantized(g, quant, 2, dims, w->codes, w->scales,
                                     mica_quant_parts(quant) > 2 ? w->biases : NULL);
}

static mica_array build_linear(mica_graph *g, void *context) {
    const library_case *c = context;
    mica_array x = mica_array_view(g, c->x_dtype, c->rank, c->dims, c->x, NULL, NULL);
    mica_array bias =
        mica_array_view(g, MICA_DTYPE_F32, 1, (int64_t[]){c->w->n}, c->w->bias, NULL, NULL);
    mica_array y = mica_linear(g, x, weight_array(g, c->w), bias);
    mica_ref ref = mica_array_ref(g, y, false);
    if (!c->is_composed || !ref) return y;
    return mica_array_of(g, mica_op_linear.compose(g, mica_graph_node(g, ref)));
}

static void means_what_it_composes_to(void **state) {
    /* Proves: through mica_eval, linear equals matmul of the decoded weight plus bias. */
    (void)state;
    static const struct {
        int rank;
        int64_t dims[3];
    } shapes[] = {{1, {128}}, {2, {5, 128}}, {3, {2, 3, 128}}};
    uint64_t seed = test_seed();
    for (int t = 0; t < WEIGHT_TYPES; t++) {
        test_weight w = make_weight(&weight_types[t], 19, 128, MICA_KIND_F32, MICA_KIND_F32, &seed);
        void *x = make_x(MICA_KIND_F32, 6 * 128, &seed);
        for (int s = 0; s < 3; s++) {
            library_case c = {&w, x, MICA_DTYPE_F32, shapes[s].rank, {0}, true};
            memcpy(c.dims, shapes[s].dims, sizeof c.dims);
            size_t count = 0;
            double *want = op_test_eval("scalar", build_linear, &c, &count);
            c.is_composed = false;
            op_test_all_levels(build_linear, &c, want, count, 1e-5, 2e-4);
            free(want);
        }
        free(x);
        free_weight(&w);
    }
}

static mica_status status_of(mica_dtype x_dtype, int w_rank, const int64_t *w_dims,
                             mica_dtype w_dtype, int64_t bias_length) {
    static const float zeros[4096];
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_graph *g = NULL;
    assert_ok(mica_runtime_open(NULL, &rt, &err));
    assert_ok(mica_graph_create(rt, &g, &err));
    mica_array x = mica_array_view(g, x_dtype, 2, (int64_t[]){2, 8}, zeros, NULL, NULL);
    mica_array w = mica_array_view(g, w_dtype, w_rank, w_dims, zeros, NULL, NULL);
    mica_array b =
        mica_array_view(g, MICA_DTYPE_F32, 1, (int64_t[]){bias_length}, zeros, NULL, NULL);
    mica_linear(g, x, w, b);
    mica_status st = mica_graph_check(g, &err);
    mica_graph_destroy(&g);
    mica_runtime_close(&rt);
    return st;
}

static void refuses_what_does_not_fit(void **state) {
    /* Proves: wrong shapes and dtypes are errors of the graph, right ones are not. */
    (void)state;
    const int64_t good[2] = {3, 8}, short_k[2] = {3, 7}, deep[3] = {1, 3, 8};
    assert_int_equal(status_of(MICA_DTYPE_F32, 2, good, MICA_DTYPE_BF16, 3), MICA_STATUS_OK);
    assert_int_equal(status_of(MICA_DTYPE_F32, 2, short_k, MICA_DTYPE_F32, 3), MICA_STATUS_INVALID);
    assert_int_equal(status_of(MICA_DTYPE_F32, 3, deep, MICA_DTYPE_F32, 3), MICA_STATUS_INVALID);
    assert_int_equal(status_of(MICA_DTYPE_F32, 2, good, MICA_DTYPE_I32, 3), MICA_STATUS_INVALID);
    assert_int_equal(status_of(MICA_DTYPE_I32, 2, good, MICA_DTYPE_F32, 3), MICA_STATUS_INVALID);
    assert_int_equal(status_of(MICA_DTYPE_F32, 2, good, MICA_DTYPE_F32, 4), MICA_STATUS_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_sums_in_double),
        cmocka_unit_test(rows_do_not_depend_on_their_neighbours),
        cmocka_unit_test(kernels_decode_to_the_same_bits),
        cmocka_unit_test(live_rows_alone_are_written),
        cmocka_unit_test(values_that_are_not_finite_stay_in_their_row),
        cmocka_unit_test(rounded_rows_keep_outliers_and_nan),
        cmocka_unit_test(every_affine_weight_is_right_with_int16_rows),
        cmocka_unit_test(int8_levels_agree_bit_for_bit),
        cmocka_unit_test(sums_over_nothing_are_the_bias),
        cmocka_unit_test(a_residual_is_added_last),
        cmocka_unit_test(means_what_it_composes_to),
        cmocka_unit_test(refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
