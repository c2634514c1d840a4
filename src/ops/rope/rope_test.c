/* rope: against double precision, both ways of pairing, partial rotation, far positions. */
#include "ops/common/layer_test_case.h"

#define PAIRS_MAX 64

typedef struct rope_case {
    mica_dtype dtype;
    op_layout layout;
    int64_t dims[3]; /* [t, heads, dim] */
    int64_t n_pairs;
    bool is_interleaved;
    float scale;
    const double *values;
    int32_t positions[64];
    float frequencies[PAIRS_MAX];
} rope_case;

static mica_array build(mica_graph *g, void *context) {
    const rope_case *c = context;
    mica_array x = op_case_input(g, c->layout, c->dtype, 3, c->dims, c->values);
    mica_array p = mica_array_from_data(g, MICA_DTYPE_I32, 1, c->dims, c->positions);
    mica_array f = mica_array_from_data(g, MICA_DTYPE_F32, 1, &c->n_pairs, c->frequencies);
    return mica_rope(g, x, p, f, c->scale, c->is_interleaved);
}

static void expect_head(const rope_case *c, int32_t position, const double *x, double *out) {
    memcpy(out, x, (size_t)c->dims[2] * sizeof *out);
    for (int64_t i = 0; i < c->n_pairs; i++) {
        float angle = (float)position * c->frequencies[i];
        int64_t first = c->is_interleaved ? 2 * i : i;
        int64_t second = c->is_interleaved ? 2 * i + 1 : i + c->n_pairs;
        double cosine = cos((double)angle) * (double)c->scale;
        double sine = sin((double)angle) * (double)c->scale;
        out[first] = x[first] * cosine - x[second] * sine;
        out[second] = x[second] * cosine + x[first] * sine;
    }
}

/* Inverse frequencies of base 150000, as gpt-oss has before YaRN. */
static void fill(rope_case *c, double *values, uint64_t *seed, int32_t first_position) {
    op_case_fill(seed, c->dtype, values, op_case_count(3, c->dims), false);
    c->values = values;
    for (int64_t t = 0; t < c->dims[0]; t++) c->positions[t] = first_position + (int32_t)(t * 7);
    for (int64_t i = 0; i < c->n_pairs; i++)
        c->frequencies[i] = (float)pow(150000.0, -(double)i / (double)c->n_pairs);
}

static void check(rope_case *c, bool is_composed) {
    int64_t count = op_case_count(3, c->dims), dim = c->dims[2];
    double *want = malloc((size_t)(count + 1) * sizeof *want);
    for (int64_t r = 0; r < count / dim; r++)
        expect_head(c, c->positions[r / c->dims[1]], c->values + r * dim, want + r * dim);
    /* Two products of values below 6 and one sum, each rounded; cosine and sine as well. */
    double relative = layer_case_relative(c->dtype, 1e-6), absolute = 2e-6;
    if (is_composed)
        layer_case_check(build, c, want, count, relative, absolute);
    else
        op_test_all_levels(build, c, want, (size_t)count, relative, absolute);
    free(want);
}

static void every_dtype_and_pairing(void **state) {
    /* Proves: shapes x dtypes x layouts x pairing x partial rotation agree with double precision,
     * and so does the composed meaning. */
    (void)state;
    static const mica_dtype dtypes[] = {MICA_DTYPE_F32, MICA_DTYPE_BF16, MICA_DTYPE_F16};
    static const int64_t shapes[][4] = {
        {3, 2, 64, 32}, {5, 1, 20, 7}, {1, 3, 16, 8}, {2, 2, 6, 0}, {4, 2, 34, 17}};
    uint64_t seed = test_seed();
    double values[600];
    for (int s = 0; s < 5; s++)
        for (int d = 0; d < 3; d++)
            for (int i = 0; i < 2; i++) {
                rope_case c = {.dtype = dtypes[d],
                               .layout = (op_layout)((s + d) % OP_LAYOUT_COUNT),
                               .n_pairs = shapes[s][3],
                               .is_interleaved = i,
                               .scale = 1.3465736f};
                memcpy(c.dims, shapes[s], sizeof c.dims);
                fill(&c, values, &seed, 0);
                check(&c, shapes[s][3] > 0);
            }
}

static void far_positions(void **state) {
    /* Proves: angles of positions up to 2^24 are exact to f32. */
    (void)state;
    uint64_t seed = test_seed();
    double values[600];
    int32_t starts[] = {131072, 1 << 20, (1 << 24) - 100};
    for (int s = 0; s < 3; s++) {
        rope_case c = {.dtype = MICA_DTYPE_F32, .dims = {4, 2, 64}, .n_pairs = 32, .scale = 1};
        fill(&c, values, &seed, starts[s]);
        check(&c, true);
    }
}

static void threads_change_nothing(void **state) {
    /* Proves: 1, 2 and 3 threads give the same bits. */
    (void)state;
    uint64_t seed = test_seed();
    double *values = malloc(64 * 8 * 64 * sizeof *values);
    rope_case c = {.dtype = MICA_DTYPE_F32, .dims = {64, 8, 64}, .n_pairs = 32, .scale = 1};
    fill(&c, values, &seed, 100);
    layer_case_threads(build, &c);
    free(values);
}

static void wrong_inputs(void **state) {
    /* Proves: too many frequencies, other ranks and dtypes are refused with their shapes. */
    (void)state;
    double values[64] = {0};
    rope_case c = {.dtype = MICA_DTYPE_F32, .dims = {2, 2, 8}, .n_pairs = 5, .values = values};
    op_case_expect_invalid(build, &c, "inverse frequencies [5]");
    c.n_pairs = 4;
    c.dtype = MICA_DTYPE_I32;
    op_case_expect_invalid(build, &c, "dtypes i32, i32 and f32");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dtype_and_pairing),
        cmocka_unit_test(far_positions),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(wrong_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
