/* experts_glu: the bits of the steps that it stands for; live counts; what it refuses. */
#include "ops/experts_glu/experts_glu.h"
#include "ops/expert_list/expert_list_params.h"
#include "ops/linear_experts/expert_test_case.h"

typedef struct glu_case {
    test_weight gate; /* or gates and ups */
    test_weight up;
    bool is_pair, has_bias, has_scores, has_norm;
    int64_t tokens, slots, n_experts, width, k;
    mica_dtype dtype;
    mica_experts_glu_params params;
    void *x;
    float *norm;
    float *scores;
    int32_t *ids;
} glu_case;

static glu_case make_case(int type, int64_t tokens, int variant, uint64_t *seed) {
    const weight_type *t = &weight_types[type];
    glu_case c = {.tokens = tokens, .dtype = variant % 5 == 4 ? MICA_DTYPE_BF16 : MICA_DTYPE_F32};
    int x_kind = c.dtype == MICA_DTYPE_BF16 ? MICA_KIND_BF16 : MICA_KIND_F32;
    c.is_pair = variant % 3 == 2;
    c.has_bias = variant % 4 != 3;
    c.has_scores = variant % 2;
    c.has_norm = variant % 7 > 3;
    c.slots = 1 + (int64_t)(test_random(seed) % 4);
    c.n_experts = c.slots + (int64_t)(test_random(seed) % 6);
    c.width = 1 + (int64_t)(test_random(seed) % 70);
    c.k = test_random(seed) % 4 ? 64 : 1088;
    int64_t rows = c.n_experts * c.width * (c.is_pair ? 1 : 2);
    c.gate = make_weight(t, rows, c.k, x_kind, MICA_KIND_BF16, seed);
    if (c.is_pair) c.up = make_weight(t, rows, c.k, x_kind, MICA_KIND_BF16, seed);
    c.params.kind = (int32_t)(test_random(seed) % 4);
    c.params.is_interleaved = variant % 3 == 0;
    c.params.alpha = 1.702f;
    c.params.limit = 1.5f;
    if (c.has_norm) c.params.eps = 1e-5f, c.params.offset = 0.25f;
    if (c.has_scores) c.params.k = (int32_t)c.slots;
    c.params.is_softmax_first = c.has_scores && variant % 4 == 1;
    c.x = make_x(x_kind, tokens * c.k, seed);
    c.norm = make_x(MICA_KIND_F32, c.k, seed);
    c.scores = exact_memory(tokens * c.n_experts * 4);
    c.ids = exact_memory(tokens * c.slots * 4);
    expert_case_scores(c.scores, tokens * c.n_experts, seed);
    expert_case_ids(c.ids, tokens * c.slots, c.n_experts, seed);
    return c;
}

static void free_case(glu_case *c) {
    free_weight(&c->gate);
    if (c->is_pair) free_weight(&c->up);
    free(c->x);
    free(c->norm);
    free(c->scores);
    free(c->ids);
}

static void set_way(mica_graph *g, const glu_case *c, mica_array *in) {
    mica_expert_list_params p = {(int32_t)c->n_experts};
    int64_t dims[2] = {c->tokens, c->has_scores ? c->n_experts : c->slots};
    if (c->has_scores) {
        in[MICA_EXPERTS_GLU_SCORES] =
            mica_array_view(g, MICA_DTYPE_F32, 2, dims, c->scores, NULL, NULL);
        return;
    }
    in[MICA_EXPERTS_GLU_IDS] = mica_array_view(g, MICA_DTYPE_I32, 2, dims, c->ids, NULL, NULL);
    in[MICA_EXPERTS_GLU_LIST] =
        mica_array_add(g, MICA_OP_expert_list, &in[MICA_EXPERTS_GLU_IDS], 1, &p, sizeof p);
}

static mica_ref build(mica_graph *g, void *context) {
    const glu_case *c = context;
    mica_array in[MICA_EXPERTS_GLU_INPUTS] = {{0}};
    int64_t x_dims[2] = {c->tokens, c->k};
    in[MICA_EXPERTS_GLU_X] = mica_array_view(g, c->dtype, 2, x_dims, c->x, NULL, NULL);
    in[MICA_EXPERTS_GLU_WEIGHT] = expert_case_weight(g, &c->gate, c->n_experts);
    if (c->has_bias) in[MICA_EXPERTS_GLU_BIAS] = expert_case_bias(g, &c->gate, c->n_experts);
    if (c->is_pair) in[MICA_EXPERTS_GLU_UP_WEIGHT] = expert_case_weight(g, &c->up, c->n_experts);
    if (c->is_pair && c->has_bias)
        in[MICA_EXPERTS_GLU_UP_BIAS] = expert_case_bias(g, &c->up, c->n_experts);
    if (c->has_norm)
        in[MICA_EXPERTS_GLU_NORM] =
            mica_array_view(g, MICA_DTYPE_F32, 1, &c->k, c->norm, NULL, NULL);
    set_way(g, c, in);
    return mica_array_ref(g,
                          mica_array_add(g, MICA_OP_experts_glu, in, MICA_EXPERTS_GLU_INPUTS,
                                         &c->params, sizeof c->params),
                          true);
}

static void has_the_bits_of_its_steps(void **state) {
    /* Proves: for each weight type, way of pairing, kind, x dtype, with and without bias, norm and
     * scores, for one token and for more than a block of rows, the bits are those of rms_norm,
     * softmax, top_k, linear_experts and glu. */
    (void)state;
    static const int64_t tokens[] = {1, 2, 4, 9, 170};
    uint64_t seed = test_seed();
    for (int t = 0; t < EXPERT_CASE_TYPES; t++)
        for (int i = 0; i < 5; i++)
            for (int variant = 0; variant < 6; variant++) {
                int v = variant + 6 * (int)(test_random(&seed) % 70);
                glu_case c = make_case(expert_case_types[t], tokens[i], v, &seed);
                expert_case_check_all(build, &c, weight_types[expert_case_types[t]].name, &seed);
                free_case(&c);
            }
}

/* ---- live rows ---- */

static void fill_args(const glu_case *c, const int32_t *live, float *out,
                      mica_experts_glu_args *a) {
    *a = (mica_experts_glu_args){.width = c->width, .dtype = MICA_DTYPE_F32};
    a->experts = (mica_linear_experts_args){.x = (uintptr_t)c->x,
                                            .codes = (uintptr_t)c->gate.codes,
                                            .scales = (uintptr_t)c->gate.scales,
                                            .biases = (uintptr_t)c->gate.biases,
                                            .out = (uintptr_t)out,
                                            .live = (uintptr_t)live,
                                            .tokens = c->tokens,
                                            .n = c->gate.n / c->n_experts,
                                            .k = c->k,
                                            .slots = (int32_t)c->slots,
                                            .n_experts = (int32_t)c->n_experts,
                                            .x_divide = (int32_t)c->slots,
                                            .weight = c->gate.weight};
    if (c->is_pair) {
        a->up_codes = (uintptr_t)c->up.codes;
        a->up_scales = (uintptr_t)c->up.scales;
        a->up_biases = (uintptr_t)c->up.biases;
    }
    a->route = (mica_expert_route_args){.scores = (uintptr_t)c->scores, .dtype = MICA_DTYPE_F32};
    a->norm = (uintptr_t)c->norm;
    a->norm_dtype = MICA_DTYPE_F32;
    a->eps = 1e-5f;
    a->kind = MICA_GLU_CLAMPED;
    a->is_interleaved = c->params.is_interleaved;
    a->alpha = 1.702f;
    a->limit = 7;
}

static void stops_at_the_count(void **state) {
    /* Proves: rows past the live count are neither read nor written, and the others have the bits
     * that they have without a count. */
    (void)state;
    enum { TOKENS = 4, LIVE = 3 };
    uint64_t seed = test_seed();
    for (int variant = 0; variant < 12; variant++) {
        glu_case c =
            make_case(expert_case_types[variant % EXPERT_CASE_TYPES], TOKENS, 3 * variant, &seed);
        mica_experts_glu_args a;
        mica_cpu_function kernel = mica_experts_glu_ref;
#if defined(__x86_64__)
        if (variant % 2 && has_level(LEVEL_AVX2)) kernel = mica_experts_glu_avx2;
#endif
        int64_t row = c.slots * c.width;
        float *all = exact_memory(TOKENS * row * 4), *some = exact_memory(TOKENS * row * 4);
        if (c.dtype == MICA_DTYPE_F32) {
            for (int64_t i = 0; i < TOKENS * row; i++) some[i] = 77;
            fill_args(&c, NULL, all, &a);
            run_kernel(kernel, &a, 2, mica_experts_glu_scratch_bytes(&a));
            int32_t live = LIVE;
            for (int64_t i = LIVE * c.k; i < TOKENS * c.k; i++) ((float *)c.x)[i] = NAN;
            for (int64_t i = LIVE * c.n_experts; i < TOKENS * c.n_experts; i++) c.scores[i] = NAN;
            fill_args(&c, &live, some, &a);
            run_kernel(kernel, &a, 3, mica_experts_glu_scratch_bytes(&a));
            assert_memory_equal(some, all, (size_t)(LIVE * row) * 4);
            for (int64_t i = LIVE * row; i < TOKENS * row; i++) assert_true(some[i] == 77);
        }
        free(all);
        free(some);
        free_case(&c);
    }
}

/* ---- errors ---- */

static void expect_refused(glu_case *c, const char *part) {
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_graph *g = NULL;
    mica_runtime_options options = {.struct_bytes = sizeof options, .n_threads = 1};
    assert_ok(mica_runtime_open(&options, &rt, &err));
    assert_ok(mica_graph_create(rt, &g, &err));
    assert_int_equal(build(g, c), 0);
    assert_int_equal(mica_graph_check(g, &err), MICA_STATUS_INVALID);
    if (!strstr(err.message, part)) fail_msg("\"%s\" lacks \"%s\"", err.message, part);
    mica_graph_destroy(&g);
    mica_runtime_close(&rt);
}

static void wrong_operands_are_refused(void **state) {
    /* Proves: k without scores, k past the experts, unknown kinds, an interleaved pair, two types
     * of weight and scores of another width are errors. */
    (void)state;
    uint64_t seed = test_seed();
    glu_case c = make_case(0, 2, 2, &seed); /* a pair, ids */
    c.params.k = 3;
    expect_refused(&c, "expected ids, or scores with k");
    c.params.k = 0;
    c.params.is_interleaved = true;
    expect_refused(&c, "cannot be interleaved");
    c.params.is_interleaved = false;
    c.params.kind = 4;
    expect_refused(&c, "kind 4 is unknown");
    c.params.kind = 0;
    test_weight up = c.up;
    c.up = make_weight(&weight_types[1], c.up.n, c.k, MICA_KIND_F32, MICA_KIND_BF16, &seed);
    expect_refused(&c, "expected one type of weight and bias");
    free_weight(&c.up);
    c.up = up;
    c.has_scores = true;
    c.params.k = (int32_t)c.n_experts + 1;
    expect_refused(&c, "experts");
    free_case(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_the_bits_of_its_steps),
        cmocka_unit_test(stops_at_the_count),
        cmocka_unit_test(wrong_operands_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
