/* softmax: against double precision in every dtype and layout, and the rows that break it. */
#include "ops/common/layer_test_case.h"

typedef struct softmax_case {
    mica_dtype dtype;
    op_layout layout;
    int rank;
    int64_t dims[4];
    const double *values;
} softmax_case;

static mica_array build(mica_graph *g, void *context) {
    const softmax_case *c = context;
    return mica_softmax(g, op_case_input(g, c->layout, c->dtype, c->rank, c->dims, c->values));
}

static void expect_row(const double *x, double *out, int64_t n) {
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) max = fmax(max, x[i]);
    bool is_empty = max == -INFINITY;
    for (int64_t i = 0; i < n; i++) sum += out[i] = exp(x[i] - (is_empty ? 0 : max));
    for (int64_t i = 0; i < n; i++) out[i] = sum == 0 ? 0 : out[i] / sum;
}

static void check(softmax_case *c, double *values) {
    int64_t count = op_case_count(c->rank, c->dims), n = c->dims[c->rank - 1];
    double *want = malloc((size_t)(count + 1) * sizeof *want);
    c->values = values;
    for (int64_t i = 0; i < count; i++) values[i] = op_case_value(c->dtype, values[i]);
    for (int64_t r = 0; n && r < count / n; r++) expect_row(values + r * n, want + r * n, n);
    /* f32: exp errs by an ulp or two, the sum by a few; half of f16's smallest step. */
    layer_case_check(build, c, want, count, layer_case_relative(c->dtype, 2e-6), 0x1p-25);
    free(want);
}

static const mica_dtype dtypes[] = {MICA_DTYPE_F32, MICA_DTYPE_BF16, MICA_DTYPE_F16};

static void every_dtype_and_layout(void **state) {
    /* Proves: shapes x dtypes x layouts agree with double precision on all levels, and so does the
     * composed meaning. */
    (void)state;
    static const int64_t shapes[][5] = {{1, 1},        {1, 7},      {2, 3, 33},
                                        {3, 2, 3, 16}, {2, 1, 201}, {2, 0, 4}};
    uint64_t seed = test_seed();
    double values[256];
    for (int s = 0; s < 6; s++)
        for (int d = 0; d < 3; d++) {
            softmax_case c = {
                dtypes[d], (op_layout)((s + d) % OP_LAYOUT_COUNT), (int)shapes[s][0], {0}, NULL};
            memcpy(c.dims, shapes[s] + 1, sizeof c.dims);
            op_case_fill(&seed, c.dtype, values, op_case_count(c.rank, c.dims), false);
            check(&c, values);
        }
}

static void special_rows(void **state) {
    /* Proves: -inf everywhere gives zeros, NaN and +inf give NaN rows, big values do not
     * overflow, and neighbours of such rows are not touched. */
    (void)state;
    const double inf = INFINITY, nan = NAN;
    double rows[] = {-inf, -inf,  -inf, -inf, -inf, -inf, -inf, -inf, -inf, /* zeros */
                     1,    2,     3,    4,    5,    6,    7,    8,    9,    /* plain */
                     1,    nan,   3,    4,    5,    6,    7,    8,    9,    /* NaN */
                     -inf, nan,   -inf, -inf, -inf, -inf, -inf, -inf, -inf, /* NaN */
                     1,    2,     inf,  4,    5,    6,    7,    8,    9,    /* NaN */
                     3e38, -3e38, 0,    0,    0,    0,    0,    0,    3e38, /* one half, twice */
                     -inf, -inf,  -inf, 5,    -inf, -inf, -inf, -inf, -inf, /* one */
                     -500, -500,  -500, -500, -500, -500, -500, -500, -500};
    softmax_case c = {MICA_DTYPE_F32, OP_PLAIN, 2, {8, 9}, NULL};
    check(&c, rows);
    double again[72];
    memcpy(again, rows, sizeof again);
    c.dtype = MICA_DTYPE_BF16;
    check(&c, again);
}

static void threads_change_nothing(void **state) {
    /* Proves: 1, 2 and 3 threads give the same bits. */
    (void)state;
    uint64_t seed = test_seed();
    double *values = malloc(100 * 300 * sizeof *values);
    op_case_fill(&seed, MICA_DTYPE_F32, values, 100 * 300, false);
    softmax_case c = {MICA_DTYPE_F32, OP_PLAIN, 2, {100, 300}, values};
    layer_case_threads(build, &c);
    free(values);
}

static void wrong_dtype(void **state) {
    /* Proves: integers and f64 are refused with their name. */
    (void)state;
    double values[4] = {1, 2, 3, 4};
    softmax_case c = {MICA_DTYPE_I32, OP_PLAIN, 1, {4}, values};
    op_case_expect_invalid(build, &c, "x is i32 [4]");
    c.dtype = MICA_DTYPE_F64;
    op_case_expect_invalid(build, &c, "x is f64 [4]");
    c.dtype = MICA_DTYPE_F32;
    c.rank = 0;
    op_case_expect_invalid(build, &c, "rank 1 or more");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dtype_and_layout),
        cmocka_unit_test(special_rows),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(wrong_dtype),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
