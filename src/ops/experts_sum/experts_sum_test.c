/* experts_sum: the bits of the steps that it stands for; live counts; what it refuses. */
#include "ops/experts_sum/experts_sum.h"
#include "ops/linear_experts/expert_test_case.h"

typedef struct sum_case {
    test_weight w;
    bool has_bias, has_scores, has_residual;
    int64_t tokens, slots, n_experts, n, k;
    mica_dtype dtype;
    mica_experts_sum_params params;
    void *x, *residual;
    float *shares; /* stored with a gap behind each row */
    float *scores;
    int32_t *ids;
} sum_case;

static sum_case make_case(int type, int64_t tokens, int variant, uint64_t *seed) {
    sum_case c = {.tokens = tokens, .dtype = variant % 5 == 4 ? MICA_DTYPE_BF16 : MICA_DTYPE_F32};
    int x_kind = c.dtype == MICA_DTYPE_BF16 ? MICA_KIND_BF16 : MICA_KIND_F32;
    c.has_bias = variant % 4 != 3;
    c.has_scores = variant % 2;
    c.has_residual = variant % 3 != 2;
    c.slots = 1 + (int64_t)(test_random(seed) % 4);
    c.n_experts = c.slots + (int64_t)(test_random(seed) % 6);
    c.n = 1 + (int64_t)(test_random(seed) % 140);
    c.k = test_random(seed) % 4 ? 64 : 1088;
    c.w = make_weight(&weight_types[type], c.n_experts * c.n, c.k, x_kind, MICA_KIND_BF16, seed);
    if (c.has_scores) {
        c.params.k = (int32_t)c.slots;
        c.params.shares = (int32_t)(test_random(seed) % MICA_EXPERT_SHARES_COUNT_);
        c.params.is_softmax_first = variant % 4 == 1;
    }
    c.x = make_x(x_kind, tokens * c.slots * c.k, seed);
    c.residual = make_x(x_kind, tokens * c.n, seed);
    c.shares = make_x(MICA_KIND_F32, tokens * (c.slots + 1), seed);
    c.scores = exact_memory(tokens * c.n_experts * 4);
    c.ids = exact_memory(tokens * c.slots * 4);
    expert_case_scores(c.scores, tokens * c.n_experts, seed);
    expert_case_ids(c.ids, tokens * c.slots, c.n_experts, seed);
    return c;
}

static void free_case(sum_case *c) {
    free_weight(&c->w);
    free(c->x);
    free(c->residual);
    free(c->shares);
    free(c->scores);
    free(c->ids);
}

static mica_ref build(mica_graph *g, void *context) {
    const sum_case *c = context;
    mica_array in[MICA_EXPERTS_SUM_INPUTS] = {{0}};
    int64_t x_dims[3] = {c->tokens, c->slots, c->k}, ids_dims[2] = {c->tokens, c->slots};
    int64_t score_dims[2] = {c->tokens, c->n_experts}, out_dims[2] = {c->tokens, c->n};
    int64_t share_dims[2] = {c->tokens, c->slots + 1};
    in[MICA_EXPERTS_SUM_X] = mica_array_view(g, c->dtype, 3, x_dims, c->x, NULL, NULL);
    in[MICA_EXPERTS_SUM_WEIGHT] = expert_case_weight(g, &c->w, c->n_experts);
    if (c->has_bias) in[MICA_EXPERTS_SUM_BIAS] = expert_case_bias(g, &c->w, c->n_experts);
    if (c->has_residual)
        in[MICA_EXPERTS_SUM_RESIDUAL] =
            mica_array_view(g, c->dtype, 2, out_dims, c->residual, NULL, NULL);
    if (c->has_scores) {
        in[MICA_EXPERTS_SUM_SCORES] =
            mica_array_view(g, MICA_DTYPE_F32, 2, score_dims, c->scores, NULL, NULL);
    } else {
        mica_array wide = mica_array_view(g, MICA_DTYPE_F32, 2, share_dims, c->shares, NULL, NULL);
        in[MICA_EXPERTS_SUM_SHARES] = mica_slice_axis(g, wide, 1, 0, c->slots, 1);
        in[MICA_EXPERTS_SUM_IDS] =
            mica_array_view(g, MICA_DTYPE_I32, 2, ids_dims, c->ids, NULL, NULL);
    }
    return mica_array_ref(g,
                          mica_array_add(g, MICA_OP_experts_sum, in, MICA_EXPERTS_SUM_INPUTS,
                                         &c->params, sizeof c->params),
                          true);
}

static void has_the_bits_of_its_steps(void **state) {
    /* Proves: for each weight type, kind of shares, x dtype, with and without bias, residual and
     * scores, the bits are those of softmax, top_k, linear_experts, combine and an addition. */
    (void)state;
    static const int64_t tokens[] = {1, 2, 3, 4, 11};
    uint64_t seed = test_seed();
    for (int t = 0; t < EXPERT_CASE_TYPES; t++)
        for (int i = 0; i < 5; i++)
            for (int variant = 0; variant < 6; variant++) {
                int v = variant + 6 * (int)(test_random(&seed) % 70);
                sum_case c = make_case(expert_case_types[t], tokens[i], v, &seed);
                expert_case_check_all(build, &c, weight_types[expert_case_types[t]].name, &seed);
                free_case(&c);
            }
}

static void wide_results_are_cut_in_tiles(void **state) {
    /* Proves: the same for results of several full tiles for each worker. */
    (void)state;
    uint64_t seed = test_seed();
    for (int i = 0; i < 4; i++) {
        sum_case c = make_case(3, 1 + i, 13 + i, &seed);
        free_weight(&c.w);
        free(c.residual);
        c.n = 4000 + i;
        c.k = 32;
        int x_kind = c.dtype == MICA_DTYPE_BF16 ? MICA_KIND_BF16 : MICA_KIND_F32;
        c.w = make_weight(&weight_types[3], c.n_experts * c.n, c.k, x_kind, MICA_KIND_BF16, &seed);
        c.residual = make_x(x_kind, c.tokens * c.n, &seed);
        expert_case_check_all(build, &c, "wide", &seed);
        free_case(&c);
    }
}

/* ---- live rows ---- */

static void fill_args(const sum_case *c, const int32_t *live, float *out,
                      mica_experts_sum_args *a) {
    *a = (mica_experts_sum_args){.dtype = MICA_DTYPE_F32, .residual = (uintptr_t)c->residual};
    a->experts = (mica_linear_experts_args){.x = (uintptr_t)c->x,
                                            .codes = (uintptr_t)c->w.codes,
                                            .scales = (uintptr_t)c->w.scales,
                                            .biases = (uintptr_t)c->w.biases,
                                            .ids = (uintptr_t)c->ids,
                                            .out = (uintptr_t)out,
                                            .live = (uintptr_t)live,
                                            .tokens = c->tokens,
                                            .n = c->n,
                                            .k = c->k,
                                            .slots = (int32_t)c->slots,
                                            .n_experts = (int32_t)c->n_experts,
                                            .x_divide = 1,
                                            .weight = c->w.weight};
    a->shares = (mica_tensor_args){.address = (uintptr_t)c->shares,
                                   .dtype = MICA_DTYPE_F32,
                                   .rank = 2,
                                   .dims = {c->tokens, c->slots},
                                   .strides = {c->slots + 1, 1}};
    if (!c->has_scores) return;
    a->route = (mica_expert_route_args){.scores = (uintptr_t)c->scores,
                                        .dtype = MICA_DTYPE_F32,
                                        .shares = MICA_EXPERT_SHARES_SOFTMAX};
}

static void stops_at_the_count(void **state) {
    /* Proves: rows past the live count are neither read nor written, and the others have the bits
     * that they have without a count. */
    (void)state;
    enum { TOKENS = 4, LIVE = 3 };
    uint64_t seed = test_seed();
    for (int variant = 0; variant < 12; variant++) {
        sum_case c =
            make_case(expert_case_types[variant % EXPERT_CASE_TYPES], TOKENS, 15 + variant, &seed);
        mica_experts_sum_args a;
        mica_cpu_function kernel = mica_experts_sum_ref;
#if defined(__x86_64__)
        if (variant % 2 && has_level(LEVEL_AVX2)) kernel = mica_experts_sum_avx2;
#endif
        float *all = exact_memory(TOKENS * c.n * 4), *some = exact_memory(TOKENS * c.n * 4);
        if (c.dtype == MICA_DTYPE_F32) {
            for (int64_t i = 0; i < TOKENS * c.n; i++) some[i] = 77;
            fill_args(&c, NULL, all, &a);
            run_kernel(kernel, &a, 2, mica_experts_sum_scratch_bytes(&a));
            int32_t live = LIVE;
            int64_t x_row = c.slots * c.k;
            for (int64_t i = LIVE * x_row; i < TOKENS * x_row; i++) ((float *)c.x)[i] = NAN;
            for (int64_t i = LIVE * c.n_experts; i < TOKENS * c.n_experts; i++) c.scores[i] = NAN;
            for (int64_t i = LIVE * c.slots; i < TOKENS * c.slots; i++) c.ids[i] = INT32_MAX;
            fill_args(&c, &live, some, &a);
            run_kernel(kernel, &a, 3, mica_experts_sum_scratch_bytes(&a));
            assert_memory_equal(some, all, (size_t)(LIVE * c.n) * 4);
            for (int64_t i = LIVE * c.n; i < TOKENS * c.n; i++) assert_true(some[i] == 77);
        }
        free(all);
        free(some);
        free_case(&c);
    }
}

/* ---- errors ---- */

static void expect_refused(sum_case *c, const char *part) {
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
    /* Proves: k without scores, a k that is not x's, and unknown shares are errors. */
    (void)state;
    uint64_t seed = test_seed();
    sum_case c = make_case(0, 2, 0, &seed); /* ids */
    c.params.k = 1;
    expect_refused(&c, "expected ids, or scores with k");
    c.has_scores = true;
    c.params.k = (int32_t)c.slots + 1;
    free(c.scores);
    c.n_experts = c.slots + 2;
    c.w.n = c.n_experts * c.n;
    free(c.w.codes);
    c.w.codes = exact_memory(c.w.n * c.k * 4);
    free(c.w.bias);
    c.w.bias = exact_memory(c.w.n * 2);
    c.scores = exact_memory(c.tokens * c.n_experts * 4);
    expect_refused(&c, "experts a token");
    c.params.k = (int32_t)c.slots;
    c.params.shares = 3;
    expect_refused(&c, "shares of kind 3");
    free_case(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_the_bits_of_its_steps),
        cmocka_unit_test(wide_results_are_cut_in_tiles),
        cmocka_unit_test(stops_at_the_count),
        cmocka_unit_test(wrong_operands_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
