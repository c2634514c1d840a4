/* project: the bits of the ops that it stands for, at every level and in both modes, for random
 * weights, norms, choices of rows and gates; live rows; what the shape rule refuses. */
#include "ops/project/project.h"
#include "core/op.h"
#include "core/runtime.h"
#include "mica/ops.h"
#include "ops/common/layer_test_case.h"
#include "ops/common/op_test_case.h"
#include "ops/linear/linear_operands.h"
#include "ops/linear/linear_test_case.h"

static const mica_dtype dtypes[4] = {MICA_DTYPE_U8, MICA_DTYPE_F32, MICA_DTYPE_F16,
                                     MICA_DTYPE_BF16};
static const uint8_t kinds[3] = {MICA_KIND_F32, MICA_KIND_F16, MICA_KIND_BF16};

typedef struct project_case {
    mica_project_params params;
    mica_numeric_mode mode;
    int x_kind, norm_kind;
    int64_t m, k; /* rows of the result */
    void *x;      /* [x_rows, k] */
    int64_t x_rows;
    void *norm;   /* [k]; NULL = none */
    int32_t *ids; /* [m]; NULL = none */
    int n_weights;
    test_weight weights[MICA_PROJECT_PARTS_MAX];
    bool has_bias[MICA_PROJECT_PARTS_MAX];
} project_case;

/* ---- through the library ---- */

static mica_array weight_array(mica_graph *g, const test_weight *w) {
    int64_t dims[2] = {w->n, w->k};
    mica_quant_desc q = w->weight.quant;
    if (w->weight.kind != MICA_KIND_U8)
        return mica_array_view(g, dtypes[w->weight.kind], 2, dims, w->codes, NULL, NULL);
    mica_quant quant = {q.mode, q.bits, q.group, (uint8_t)dtypes[q.scale_kind]};
    return mica_array_view_quantized(g, quant, 2, dims, w->codes, w->scales,
                                     mica_quant_parts(quant) > 2 ? w->biases : NULL);
}

static mica_ref view_of(mica_graph *g, int kind, int rank, const int64_t *dims, const void *data) {
    if (!data) return 0;
    return mica_array_ref(g, mica_array_view(g, dtypes[kind], rank, dims, data, NULL, NULL), true);
}

static mica_array build(mica_graph *g, void *context) {
    const project_case *c = context;
    mica_ref in[MICA_PROJECT_INPUTS_MAX] = {0};
    in[MICA_PROJECT_X] = view_of(g, c->x_kind, 2, (int64_t[]){c->x_rows, c->k}, c->x);
    in[MICA_PROJECT_NORM] = view_of(g, c->norm_kind, 1, &c->k, c->norm);
    if (c->ids)
        in[MICA_PROJECT_ROWS] = mica_array_ref(
            g, mica_array_view(g, MICA_DTYPE_I32, 1, &c->m, c->ids, NULL, NULL), false);
    for (int i = 0; i < c->n_weights; i++) {
        const test_weight *w = &c->weights[i];
        in[MICA_PROJECT_WEIGHT + 2 * i] = mica_array_ref(g, weight_array(g, w), false);
        if (c->has_bias[i])
            in[MICA_PROJECT_WEIGHT + 2 * i + 1] =
                view_of(g, w->weight.bias_kind, 1, &w->n, w->bias);
    }
    g->mode = c->mode;
    return mica_array_of(g, mica_graph_add(g, MICA_OP_project, in,
                                           MICA_PROJECT_WEIGHT + 2 * c->n_weights, &c->params,
                                           sizeof c->params));
}

/* Evaluates on a level with some number of threads; nothing is fused. Returns the bytes, or NULL
 * where the machine lacks the level. */
static uint8_t *evaluate(const char *level, int n_threads, op_test_build function, void *context,
                         size_t *bytes) {
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_graph *g = NULL;
    mica_runtime_options options = {.struct_bytes = sizeof options, .cpu_level = level};
    options.n_threads = n_threads;
    options.no_pass = "fuse";
    mica_status st = mica_runtime_open(&options, &rt, &err);
    if (st == MICA_STATUS_UNAVAILABLE) return NULL;
    assert_ok(st);
    assert_ok(mica_graph_create(rt, &g, &err));
    mica_array a = function(g, context);
    assert_ok(mica_eval(g, &a, 1, &err));
    *bytes = (size_t)mica_array_count(g, a) * mica_dtype_bytes(mica_array_dtype(g, a));
    uint8_t *out = malloc(*bytes + 1);
    assert_ok(mica_array_read(g, a, out, *bytes, &err));
    mica_graph_destroy(&g);
    mica_runtime_close(&rt);
    return out;
}

/* ---- random cases ---- */

static const weight_type *random_type(uint64_t *seed) {
    return &weight_types[test_random(seed) % WEIGHT_TYPES];
}

static int32_t random_activation(uint64_t *seed) {
    static const int32_t usual[] = {MICA_UNARY_SILU, MICA_UNARY_GELU_TANH, MICA_UNARY_GELU};
    uint64_t pick = test_random(seed) % 6;
    return pick < 3 ? usual[pick] : (int32_t)(test_random(seed) % MICA_UNARY_NOT);
}

/* Heights of the weights: free, or what a gate asks for. */
static int64_t random_height(uint64_t *seed, const project_case *c, int i) {
    if (c->params.is_gated && i == 1) return c->weights[0].n;
    int64_t n = 1 + (int64_t)(test_random(seed) % 150);
    return c->params.is_gated && c->n_weights == 1 ? 2 * n : n;
}

static void fill_inputs(uint64_t *seed, project_case *c) {
    if (c->ids) {
        c->x_rows = 1 + (int64_t)(test_random(seed) % 9);
        for (int64_t i = 0; i < c->m; i++)
            c->ids[i] = (int32_t)(test_random(seed) % (uint64_t)(c->x_rows + 2)) - 1;
    }
    c->x = make_x(c->x_kind, c->x_rows * c->k, seed);
    if (c->params.is_normed && test_random(seed) % 4) c->norm = make_x(c->norm_kind, c->k, seed);
    for (int i = 0; i < c->n_weights; i++) {
        int64_t n = random_height(seed, c, i);
        c->weights[i] =
            make_weight(test_random(seed) % 2 && i ? &weight_types[4] : random_type(seed), n, c->k,
                        c->x_kind, kinds[test_random(seed) % 3], seed);
        c->has_bias[i] = test_random(seed) % 2;
    }
}

static void make_case(uint64_t *seed, project_case *c) {
    static const int64_t rows[] = {1, 1, 2, 3, 4, 5, 130};
    memset(c, 0, sizeof *c);
    c->mode = test_random(seed) % 2 ? MICA_FAST : MICA_EXACT;
    c->x_kind = test_random(seed) % 2 ? MICA_KIND_F32 : kinds[test_random(seed) % 3];
    c->norm_kind = kinds[test_random(seed) % 3];
    c->m = c->x_rows = rows[test_random(seed) % 7];
    c->k = 64 * (1 + (int64_t)(test_random(seed) % 20));
    c->params = (mica_project_params){.eps = 1e-5f, .offset = (float)(test_random(seed) % 2)};
    c->params.is_normed = test_random(seed) % 2;
    c->params.is_gated = test_random(seed) % 2;
    c->params.activation = c->params.is_gated ? random_activation(seed) : 0;
    c->n_weights = 1 + (int)(test_random(seed) % (c->params.is_gated ? 2 : 3));
    if (test_random(seed) % 3 == 0) c->ids = exact_memory(c->m * 4);
    fill_inputs(seed, c);
}

static void free_case(project_case *c) {
    for (int i = 0; i < c->n_weights; i++) free_weight(&c->weights[i]);
    free(c->ids), free(c->norm), free(c->x);
}

static void describe(const project_case *c, char *out, size_t bytes) {
    snprintf(out, bytes, "m=%d k=%d kind %d mode %d%s%s%s act %d, %d weights", (int)c->m, (int)c->k,
             c->x_kind, (int)c->mode, c->params.is_normed ? " normed" : "", c->ids ? " rows" : "",
             c->params.is_gated ? " gated" : "", c->params.activation, c->n_weights);
}

/* A NaN may have any bits. */
static bool is_same(int kind, const uint8_t *a, const uint8_t *b, size_t bytes) {
    for (size_t i = 0; i < bytes / (size_t)mica_kind_bytes(kind); i++) {
        float x = mica_kind_load(kind, a, (int64_t)i), y = mica_kind_load(kind, b, (int64_t)i);
        if (memcmp(&x, &y, sizeof x) != 0 && !(isnan(x) && isnan(y))) return false;
    }
    return true;
}

static void it_has_the_bits_of_its_ops(void **state) {
    /* Proves: at each level, in each mode, for any number of rows and threads, project gives the
     * bits of rms_norm, gather, linear, unary and binary. */
    (void)state;
    uint64_t seed = test_seed();
    project_case c;
    layer_composed composed = {build, &c};
    for (int round = 0; round < 250; round++) {
        make_case(&seed, &c);
        for (size_t l = 0; l < OP_TEST_LEVELS; l++) {
            char text[160];
            size_t n = 0, n_want = 0;
            uint8_t *got = evaluate(op_test_levels[l], 1 + round % 3, build, &c, &n);
            uint8_t *want = evaluate(op_test_levels[l], 1, layer_case_compose, &composed, &n_want);
            describe(&c, text, sizeof text);
            assert_int_equal(n, n_want);
            if (got && !is_same(c.x_kind, got, want, n))
                fail_msg("%s: %s", op_test_levels[l], text);
            free(got), free(want);
        }
        free_case(&c);
    }
}

/* ---- kernels alone ---- */

typedef struct kernel_level {
    const char *name;
    mica_cpu_function run;
    int needs; /* a level of linear_test_case.h */
} kernel_level;

static const kernel_level kernel_levels[] = {
    {"ref", mica_project_ref, LEVEL_REF},
#if defined(__x86_64__)
    {"avx2", mica_project_avx2, LEVEL_AVX2},
    {"avx512", mica_project_avx512, LEVEL_AVX512},
    {"avx512_vnni", mica_project_avx512_vnni, LEVEL_INT8_VNNI},
#elif defined(__aarch64__)
    {"neon", mica_project_neon, LEVEL_NEON},
    {"neon_dot", mica_project_neon_dot, LEVEL_INT8_NEON},
#endif
};

static mica_project_part part_of(const test_weight *w, int64_t column) {
    return (mica_project_part){.codes = (uintptr_t)w->codes,
                               .scales = (uintptr_t)w->scales,
                               .biases = (uintptr_t)w->biases,
                               .bias = (uintptr_t)w->bias,
                               .n = w->n,
                               .column = column,
                               .weight = w->weight};
}

static void live_rows_alone_are_written(void **state) {
    /* Proves: with a live count, later rows stay as they were, gated or side by side; a count of 0
     * writes nothing. */
    (void)state;
    enum { M = 7, N = 30, K = 64 };
    uint64_t seed = test_seed();
    test_weight w[2];
    for (int i = 0; i < 2; i++)
        w[i] = make_weight(&weight_types[3 + i], N, K, MICA_KIND_F32, MICA_KIND_F32, &seed);
    float *x = make_x(MICA_KIND_F32, M * K, &seed), out[M * 2 * N], whole[M * 2 * N];
    for (size_t l = 0; l < sizeof kernel_levels / sizeof *kernel_levels; l++)
        for (int gated = 0; gated < 2 && has_level(kernel_levels[l].needs); gated++) {
            mica_project_args a = {.x = (uintptr_t)x, .rows = M, .rows_each = 1, .x_rows = M};
            int64_t columns = a.n = gated ? N : 2 * N;
            a.k = K;
            a.n_parts = 2;
            a.is_gated = gated;
            a.activation = MICA_UNARY_SILU;
            a.norm.rows.dtype = MICA_DTYPE_F32;
            for (int i = 0; i < 2; i++) a.parts[i] = part_of(&w[i], gated ? 0 : i * N);
            size_t bytes = mica_project_scratch_bytes(M, K, false, gated);
            a.out = (uintptr_t)whole;
            run_kernel(kernel_levels[l].run, &a, 2, bytes);
            a.out = (uintptr_t)out;
            for (int32_t live = 0; live <= M; live++) {
                for (int i = 0; i < M * 2 * N; i++) out[i] = 77.0f;
                a.live = (uintptr_t)&live;
                run_kernel(kernel_levels[l].run, &a, 2, bytes);
                for (int i = 0; i < M * columns; i++)
                    assert_true(out[i] == (i / columns < live ? whole[i] : 77.0f));
            }
        }
    free(x);
    for (int i = 0; i < 2; i++) free_weight(&w[i]);
}

/* ---- refusals ---- */

static void wrong_inputs(void **state) {
    /* Proves: heights, activations, norms and rows that do not fit are errors, not wild reads. */
    (void)state;
    uint64_t seed = test_seed();
    project_case c = {.x_kind = MICA_KIND_F32, .norm_kind = MICA_KIND_F32, .m = 2, .k = 64};
    float norm[64] = {0};
    int32_t ids[2] = {0, 1};
    c.x_rows = 2;
    c.x = make_x(MICA_KIND_F32, 2 * 64, &seed);
    c.n_weights = 2;
    for (int i = 0; i < 2; i++)
        c.weights[i] =
            make_weight(&weight_types[0], 5 + i, 64, MICA_KIND_F32, MICA_KIND_F32, &seed);
    c.params.is_gated = true;
    op_case_expect_invalid(build, &c, "2 weights, expected two of one height");
    c.n_weights = 1;
    op_case_expect_invalid(build, &c, "1 weights");
    c.weights[0].n = 4;
    c.params.activation = MICA_UNARY_NOT;
    op_case_expect_invalid(build, &c, "activation 19");
    c.params.activation = -1;
    op_case_expect_invalid(build, &c, "activation -1");
    c.params.is_gated = false;
    c.norm = norm;
    op_case_expect_invalid(build, &c, "a norm that is not asked for");
    c.params.is_normed = true;
    c.params.eps = NAN;
    op_case_expect_invalid(build, &c, "eps is");
    c.params.eps = 0;
    c.norm_kind = MICA_KIND_U8;
    op_case_expect_invalid(build, &c, "the norm's weight is u8");
    c.norm = NULL;
    c.ids = ids;
    c.m = 2;
    c.weights[0].k = 63;
    op_case_expect_invalid(build, &c, "differ in the last axis");
    c.weights[0].k = 64;
    free(c.x);
    for (int i = 0; i < 2; i++) free_weight(&c.weights[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_has_the_bits_of_its_ops),
        cmocka_unit_test(live_rows_alone_are_written),
        cmocka_unit_test(wrong_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
