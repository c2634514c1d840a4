/* rope: against double precision, both ways of pairing, partial rotation, far positions, a table
 * for each sequence. */
#include "ops/common/layer_test_case.h"

#define PAIRS_MAX 64
#define TABLES_MAX 3

typedef struct rope_case {
    mica_dtype dtype;
    op_layout layout;
    int64_t dims[3]; /* [t, heads, dim] */
    int64_t n_pairs;
    bool is_interleaved;
    float scale;
    const double *values;
    int32_t positions[64];
    int64_t n_tables; /* 0 = the op with one table */
    int32_t tables[64];
    float frequencies[TABLES_MAX * PAIRS_MAX]; /* [n_tables, n_pairs] */
} rope_case;

static mica_array build(mica_graph *g, void *context) {
    const rope_case *c = context;
    mica_array x = op_case_input(g, c->layout, c->dtype, 3, c->dims, c->values);
    mica_array p = mica_array_from_data(g, MICA_DTYPE_I32, 1, c->dims, c->positions);
    if (c->n_tables) {
        int64_t dims[] = {c->n_tables, c->n_pairs};
        mica_array f = mica_array_from_data(g, MICA_DTYPE_F32, 2, dims, c->frequencies);
        mica_array t = mica_array_from_data(g, MICA_DTYPE_I32, 1, c->dims, c->tables);
        return mica_rope_tables(g, x, p, f, t, c->scale, c->is_interleaved);
    }
    mica_array f = mica_array_from_data(g, MICA_DTYPE_F32, 1, &c->n_pairs, c->frequencies);
    return mica_rope(g, x, p, f, c->scale, c->is_interleaved);
}

static void expect_head(const rope_case *c, int64_t token, const double *x, double *out) {
    int64_t table = c->n_tables ? c->tables[token] : 0;
    bool is_there = table >= 0 && table < (c->n_tables ? c->n_tables : 1);
    memcpy(out, x, (size_t)c->dims[2] * sizeof *out);
    for (int64_t i = 0; i < c->n_pairs; i++) {
        float frequency = is_there ? c->frequencies[table * c->n_pairs + i] : 0.0f;
        float angle = (float)c->positions[token] * frequency;
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
        expect_head(c, r / c->dims[1], c->values + r * dim, want + r * dim);
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

static void table_for_each_sequence(void **state) {
    /* Proves: tokens of one call turn by the rows of the table that they name, in any order; a row
     * that is not there turns nothing; one row gives the bits of the op with one table. */
    (void)state;
    uint64_t seed = test_seed();
    double values[600];
    static const mica_dtype dtypes[] = {MICA_DTYPE_F32, MICA_DTYPE_BF16};
    for (int i = 0; i < 4; i++) {
        rope_case c = {.dtype = dtypes[i / 2], .dims = {7, 2, 20}, .n_pairs = 7, .n_tables = 3};
        c.scale = 1.19f;
        c.is_interleaved = i % 2;
        fill(&c, values, &seed, 40);
        memcpy(c.tables, (int32_t[]){2, 0, 1, 1, -1, 3, 2}, 7 * sizeof *c.tables);
        for (int64_t k = 0; k < 3 * c.n_pairs; k++)
            c.frequencies[k] = (float)pow(1e4 * (double)(1 + k / c.n_pairs), -(double)(k % 7) / 7);
        check(&c, true);
    }
    size_t bytes[2];
    rope_case one = {.dtype = MICA_DTYPE_F32, .dims = {9, 2, 64}, .n_pairs = 32, .scale = 1};
    double *more = malloc(9 * 2 * 64 * sizeof *more);
    fill(&one, more, &seed, 300);
    uint8_t *plain = layer_case_run(build, &one, 1, &bytes[0]);
    one.n_tables = 1;
    uint8_t *tabled = layer_case_run(build, &one, 1, &bytes[1]);
    assert_memory_equal(plain, tabled, bytes[0]);
    free(plain), free(tabled), free(more);
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

static mica_array build_wrong_tables(mica_graph *g, void *context) {
    const rope_case *c = context;
    mica_array x = op_case_input(g, c->layout, c->dtype, 3, c->dims, c->values);
    mica_array p = mica_array_from_data(g, MICA_DTYPE_I32, 1, c->dims, c->positions);
    mica_array t = mica_array_from_data(g, MICA_DTYPE_F32, 1, c->dims, c->frequencies);
    int64_t dims[] = {c->n_tables, c->n_pairs};
    mica_array f = mica_array_from_data(g, MICA_DTYPE_F32, 2, dims, c->frequencies);
    return mica_rope_tables(g, x, p, f, t, c->scale, false);
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
    c.dtype = MICA_DTYPE_F32;
    c.n_tables = 2;
    c.n_pairs = 5;
    op_case_expect_invalid(build, &c, "inverse frequencies [2, 5]");
    c.n_pairs = 4;
    op_case_expect_invalid(build_wrong_tables, &c, "tables are f32 [2], wanted i32 [2]");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dtype_and_pairing),
        cmocka_unit_test(far_positions),
        cmocka_unit_test(table_for_each_sequence),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(wrong_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
