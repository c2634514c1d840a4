/* attention over plain arrays: against double precision with and without sinks, masks, windows,
 * GQA; rows that see nothing; the same bits for a row whatever is asked beside it. */
#include "ops/common/layer_test_case.h"

typedef struct attention_case {
    mica_dtype dtype, kv_dtype;
    op_layout layout;
    int64_t tq, tk, heads, kv_heads, dim;
    mica_attention_options options;
    bool has_sinks, has_mask;
    double *q, *k, *v, *sinks, *mask;
    int64_t first_query, n_queries; /* part of the queries to ask for; 0 = all */
} attention_case;

static mica_array build(mica_graph *g, void *context) {
    const attention_case *c = context;
    int64_t qd[] = {c->tq, c->heads, c->dim}, kd[] = {c->tk, c->kv_heads, c->dim};
    mica_array q = op_case_input(g, c->layout, c->dtype, 3, qd, c->q);
    mica_array k = op_case_input(g, c->layout, c->kv_dtype, 3, kd, c->k);
    mica_array v = op_case_input(g, OP_PLAIN, c->kv_dtype, 3, kd, c->v);
    mica_array sinks = {0}, mask = {0};
    if (c->has_sinks) sinks = op_case_input(g, OP_OFFSET, MICA_DTYPE_BF16, 1, qd + 1, c->sinks);
    if (c->has_mask)
        mask = op_case_input(g, OP_PLAIN, MICA_DTYPE_BOOL, 2, (int64_t[]){c->tq, c->tk}, c->mask);
    if (c->n_queries) {
        int64_t end = c->first_query + c->n_queries;
        q = mica_slice_axis(g, q, 0, c->first_query, end, 1);
        /* Bottom-right aligned: the last of these queries must stay the same key's neighbour. */
        k = mica_slice_axis(g, k, 0, 0, c->tk - (c->tq - end), 1);
        v = mica_slice_axis(g, v, 0, 0, c->tk - (c->tq - end), 1);
    }
    return mica_attention(g, q, k, v, sinks, mask, c->options);
}

static void create(attention_case *c, uint64_t *seed) {
    int64_t nq = c->tq * c->heads * c->dim, nk = c->tk * c->kv_heads * c->dim;
    c->q = malloc((size_t)(nq + 1) * sizeof(double));
    c->k = malloc((size_t)(nk + 1) * sizeof(double));
    c->v = malloc((size_t)(nk + 1) * sizeof(double));
    c->sinks = malloc((size_t)c->heads * sizeof(double));
    c->mask = malloc((size_t)(c->tq * c->tk + 1) * sizeof(double));
    op_case_fill(seed, c->dtype, c->q, nq, false);
    op_case_fill(seed, c->kv_dtype, c->k, nk, false);
    op_case_fill(seed, c->kv_dtype, c->v, nk, false);
    op_case_fill(seed, MICA_DTYPE_BF16, c->sinks, c->heads, false);
    op_case_fill(seed, MICA_DTYPE_BOOL, c->mask, c->tq * c->tk, false);
}

static void destroy(attention_case *c) {
    free(c->q);
    free(c->k);
    free(c->v);
    free(c->sinks);
    free(c->mask);
}

static bool sees(const attention_case *c, int64_t i, int64_t j) {
    int64_t position = i + c->tk - c->tq;
    if (c->options.causal && j > position) return false;
    if (c->options.window && j <= position - c->options.window) return false;
    return !c->has_mask || c->mask[i * c->tk + j] != 0;
}

static void expect_row(const attention_case *c, int64_t i, int64_t h, double *out) {
    double scale = c->options.scale != 0 ? (double)c->options.scale : 1 / sqrt((double)c->dim);
    double cap = (double)c->options.soft_cap, sum = 0;
    double max = c->has_sinks ? c->sinks[h] : -INFINITY;
    double *scores = malloc((size_t)(c->tk + 1) * sizeof *scores);
    int64_t kv = h / (c->heads / c->kv_heads);
    for (int64_t j = 0; j < c->tk; j++) {
        double s = 0;
        for (int64_t d = 0; d < c->dim; d++)
            s += c->q[(i * c->heads + h) * c->dim + d] * c->k[(j * c->kv_heads + kv) * c->dim + d];
        s *= scale;
        if (cap != 0) s = cap * tanh(s / cap);
        scores[j] = s;
        if (sees(c, i, j) && s > max) max = s;
    }
    if (c->has_sinks) sum = exp(c->sinks[h] - max);
    for (int64_t d = 0; d < c->dim; d++) out[d] = 0;
    for (int64_t j = 0; j < c->tk; j++) {
        if (!sees(c, i, j)) continue;
        double p = exp(scores[j] - max);
        sum += p;
        for (int64_t d = 0; d < c->dim; d++)
            out[d] += p * c->v[(j * c->kv_heads + kv) * c->dim + d];
    }
    for (int64_t d = 0; d < c->dim; d++) out[d] = sum == 0 ? 0 : out[d] / sum;
    free(scores);
}

static void check(attention_case *c) {
    int64_t count = c->tq * c->heads * c->dim;
    double *want = malloc((size_t)(count + 1) * sizeof *want);
    for (int64_t r = 0; r < c->tq * c->heads; r++)
        expect_row(c, r / c->heads, r % c->heads, want + r * c->dim);
    /* Scores of size 10 carry an error of a few 1e-6 in f32, values are below 4. */
    layer_case_check(build, c, want, count, layer_case_relative(c->dtype, 1e-5), 4e-5);
    free(want);
}

#define F32 MICA_DTYPE_F32
#define BF16 MICA_DTYPE_BF16
#define F16 MICA_DTYPE_F16

static void every_case(void **state) {
    /* Proves: GQA 1, 3, 8, sinks, masks, windows, soft cap, odd sizes, dtypes and layouts agree
     * with double precision on all levels, and so does the composed meaning. */
    (void)state;
    static const attention_case cases[] = {
        {.dtype = F32, F32, OP_PLAIN, 5, 5, 2, 2, 64, {.causal = true}, true, false},
        {.dtype = F32, F32, OP_PERMUTED, 70, 130, 6, 2, 16, {.causal = true}, false, false},
        {.dtype = F32,
         BF16,
         OP_PLAIN,
         33,
         200,
         8,
         1,
         64,
         {.causal = true, .window = 70},
         true,
         false},
        {.dtype = BF16, BF16, OP_STEPPED, 9, 65, 4, 2, 40, {.scale = 0}, true, true},
        {.dtype = F16, F16, OP_OFFSET, 3, 64, 2, 1, 8, {.scale = 0.3f}, false, true},
        {.dtype = F32, F32, OP_UNALIGNED, 1, 129, 3, 1, 5, {.causal = true}, true, false},
        {.dtype = F32, F32, OP_PLAIN, 20, 12, 2, 1, 32, {.causal = true}, false, false}, /* 8 see
                                                                                            nothing
                                                                                          */
        {.dtype = F32, F32, OP_PLAIN, 20, 12, 2, 1, 32, {.causal = true}, true, true},
        {.dtype = F32, F32, OP_PLAIN, 7, 90, 2, 2, 24, {.soft_cap = 3.0f}, true, true},
        {.dtype = F32,
         F32,
         OP_PLAIN,
         66,
         66,
         70,
         1,
         16,
         {.causal = true, .window = 1},
         true,
         false},
        {.dtype = F32, F32, OP_PLAIN, 2, 0, 2, 1, 8, {.scale = 0}, true, false},
        {.dtype = F32, F16, OP_PLAIN, 65, 64, 4, 4, 128, {.scale = 0}, false, false},
    };
    uint64_t seed = test_seed();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        attention_case c = cases[i];
        create(&c, &seed);
        check(&c);
        destroy(&c);
    }
}

static void rows_without_keys(void **state) {
    /* Proves: a mask that hides everything gives zeros, with and without sinks. */
    (void)state;
    uint64_t seed = test_seed();
    for (int sinks = 0; sinks < 2; sinks++) {
        attention_case c = {
            .dtype = F32, F32, OP_PLAIN, 6, 70, 4, 2, 16, {.scale = 0}, sinks, true};
        create(&c, &seed);
        for (int64_t j = 0; j < 3 * 70; j++) c.mask[j] = 0;
        check(&c);
        destroy(&c);
    }
}

static void special_values(void **state) {
    /* Proves: NaN in a key reaches exactly the rows that see it; scores of +-1e4 do not overflow.
     */
    (void)state;
    uint64_t seed = test_seed();
    attention_case c = {
        .dtype = F32, F32, OP_PLAIN, 80, 80, 2, 1, 16, {.causal = true}, true, false};
    create(&c, &seed);
    size_t bytes;
    float *clean = (float *)(void *)layer_case_run(build, &c, 2, &bytes);
    c.k[70 * 16 + 3] = (double)NAN;
    c.v[70 * 16 + 3] = INFINITY;
    float *spoilt = (float *)(void *)layer_case_run(build, &c, 2, &bytes);
    assert_memory_equal(clean, spoilt, 70 * 2 * 16 * sizeof(float));
    for (int64_t i = 70 * 2 * 16; i < 80 * 2 * 16; i++) assert_true(isnan(spoilt[i]));
    free(clean);
    free(spoilt);
    destroy(&c);
}

static void parts_equal_the_whole(void **state) {
    /* Proves: a query's result has the same bits alone, in any chunk, and on 1, 2 or 3 threads. */
    (void)state;
    uint64_t seed = test_seed();
    for (int w = 0; w < 2; w++) {
        attention_case c = {
            .dtype = F32, F32, OP_PLAIN, 150, 210, 8, 2, 64, {.causal = true}, true, false};
        c.options.window = w ? 100 : 0;
        create(&c, &seed);
        layer_case_threads(build, &c);
        size_t bytes, part_bytes, row = (size_t)(c.heads * c.dim) * sizeof(float);
        uint8_t *whole = layer_case_run(build, &c, 2, &bytes);
        static const int64_t parts[][2] = {{0, 1}, {149, 1}, {77, 1}, {0, 64}, {13, 100}, {90, 60}};
        for (int p = 0; p < 6; p++) {
            c.first_query = parts[p][0];
            c.n_queries = parts[p][1];
            uint8_t *part = layer_case_run(build, &c, 1 + p % 3, &part_bytes);
            assert_int_equal(part_bytes, (size_t)c.n_queries * row);
            assert_memory_equal(part, whole + (size_t)c.first_query * row, part_bytes);
            free(part);
        }
        free(whole);
        destroy(&c);
    }
}

static void wrong_inputs(void **state) {
    /* Proves: heads that do not divide, other shapes, a window without causal are refused. */
    (void)state;
    uint64_t seed = test_seed();
    attention_case c = {.dtype = F32, F32, OP_PLAIN, 4, 4, 3, 2, 8, {.scale = 0}, false, false};
    create(&c, &seed);
    op_case_expect_invalid(build, &c, "q [4, 3, 8], k [4, 2, 8]");
    destroy(&c);
    c.heads = 4;
    create(&c, &seed);
    c.options.window = 3;
    op_case_expect_invalid(build, &c, "window 3 without causal");
    c.options = (mica_attention_options){.causal = true, .window = -1};
    op_case_expect_invalid(build, &c, "window -1");
    c.options = (mica_attention_options){.scale = INFINITY};
    op_case_expect_invalid(build, &c, "scale inf");
    destroy(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case),     cmocka_unit_test(rows_without_keys),
        cmocka_unit_test(special_values), cmocka_unit_test(parts_equal_the_whole),
        cmocka_unit_test(wrong_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
