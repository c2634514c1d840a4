/* reduce: every kind, dtype, axis and layout; NaN, ties, empty axes, errors. */
#include "ops/common/op_test_case.h"

typedef struct reduce_case {
    mica_reduce_kind kind;
    mica_dtype dtype;
    op_layout layout;
    int axis;
    bool keep;
    int rank;
    int64_t dims[4];
    const double *values;
} reduce_case;

static mica_array build(mica_graph *g, void *context) {
    const reduce_case *c = context;
    mica_array x = op_case_input(g, c->layout, c->dtype, c->rank, c->dims, c->values);
    mica_array y = mica_reduce(g, c->kind, x, c->axis, c->keep);
    if (y.node) assert_int_equal(mica_array_rank(g, y), c->rank - !c->keep);
    return y;
}

static double expect_one(mica_reduce_kind kind, const double *x, int64_t n, int64_t stride) {
    double total = kind == MICA_REDUCE_PROD ? 1 : 0, best = (double)NAN;
    int64_t where = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = x[i * stride];
        if (kind == MICA_REDUCE_PROD)
            total *= v;
        else
            total += v;
        bool wins = kind == MICA_REDUCE_MIN ? v < best : v > best;
        if (kind == MICA_REDUCE_ARGMAX) {
            if (wins || (isnan(best) && !isnan(v))) best = v, where = i;
        } else if (i == 0 || wins || isnan(v)) {
            if (!(i > 0 && isnan(best))) best = v;
        }
    }
    if (kind == MICA_REDUCE_MEAN) return total / (double)n;
    if (kind == MICA_REDUCE_ARGMAX) return (double)where;
    return kind == MICA_REDUCE_MAX || kind == MICA_REDUCE_MIN ? best : total;
}

static size_t expect(const reduce_case *c, double *want) {
    int axis = c->axis < 0 ? c->axis + c->rank : c->axis;
    int64_t outer = op_case_count(axis, c->dims), n = c->dims[axis];
    int64_t inner = op_case_count(c->rank - axis - 1, c->dims + axis + 1);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            double v = expect_one(c->kind, c->values + o * n * inner + i, n, inner);
            if (c->kind != MICA_REDUCE_ARGMAX && c->dtype >= MICA_DTYPE_F16)
                v = op_case_value(c->dtype, v);
            want[o * inner + i] = v;
        }
    return (size_t)(outer * inner);
}

static void floats_along_every_axis(void **state) {
    /* Proves: each kind on each float dtype, axis and layout. Sums are exact to the last bit of the
     * f64 value; f64 itself is summed in the same order here. */
    (void)state;
    uint64_t seed = test_seed();
    double values[4 * 7 * 9], want[63];
    for (int k = 0; k < MICA_REDUCE_COUNT_; k++)
        for (mica_dtype d = MICA_DTYPE_F16; d <= MICA_DTYPE_F64; d++)
            for (int code = 0; code < 6 * OP_LAYOUT_COUNT; code++) {
                reduce_case c = {.kind = (mica_reduce_kind)k, .dtype = d, .rank = 3};
                c.layout = (op_layout)(code / 6);
                c.axis = code % 3 - (code / 3 % 2 ? 3 : 0);
                c.keep = code & 1;
                c.dims[0] = 4, c.dims[1] = 7, c.dims[2] = 9;
                c.values = values;
                op_case_fill(&seed, d, values, 252, code % 4 == 0);
                size_t n = expect(&c, want);
                op_test_all_levels(build, &c, want, n, 0, 0);
            }
}

static void integers_and_bools(void **state) {
    /* Proves: integer sums wrap in their own width, extremes and argmax work on all integers and
     * bools, signed and unsigned. */
    (void)state;
    double v[6] = {200, 100, 7, 250, 1, 250};
    reduce_case c = {.kind = MICA_REDUCE_SUM, .dtype = MICA_DTYPE_U8, .axis = 1, .rank = 2};
    c.dims[0] = 2, c.dims[1] = 3, c.values = v;
    op_test_all_levels(build, &c, (double[]){307 - 256, 501 - 256}, 2, 0, 0);
    c.kind = MICA_REDUCE_ARGMAX;
    op_test_all_levels(build, &c, (double[]){0, 0}, 2, 0, 0);
    c.kind = MICA_REDUCE_MIN;
    op_test_all_levels(build, &c, (double[]){7, 1}, 2, 0, 0);
    double w[6] = {-3, -1, -2, 0x1p62, -0x1p62, -1};
    c.dtype = MICA_DTYPE_I64, c.values = w;
    c.kind = MICA_REDUCE_MAX;
    op_test_all_levels(build, &c, (double[]){-1, 0x1p62}, 2, 0, 0);
    c.kind = MICA_REDUCE_MIN;
    op_test_all_levels(build, &c, (double[]){-3, -0x1p62}, 2, 0, 0);
    c.kind = MICA_REDUCE_PROD;
    op_test_all_levels(build, &c, (double[]){-6, 0}, 2, 0, 0); /* 2^124 wraps to 0 */
    double b[6] = {0, 1, 0, 0, 0, 0};
    c.dtype = MICA_DTYPE_BOOL, c.values = b, c.kind = MICA_REDUCE_MAX;
    op_test_all_levels(build, &c, (double[]){1, 0}, 2, 0, 0);
}

static void ties_and_nan(void **state) {
    /* Proves: argmax takes the first of equals, also of -0 and 0, and skips NaN; max and min give
     * NaN if any is. */
    (void)state;
    double v[12] = {1,    3,  3,           (double)NAN, -0.0,        0,
                    -0.0, -5, (double)NAN, (double)NAN, (double)NAN, (double)NAN};
    reduce_case c = {.kind = MICA_REDUCE_ARGMAX, .dtype = MICA_DTYPE_F32, .axis = 1, .rank = 2};
    c.dims[0] = 3, c.dims[1] = 4, c.values = v;
    op_test_all_levels(build, &c, (double[]){1, 0, 0}, 3, 0, 0);
    c.kind = MICA_REDUCE_MAX;
    op_test_all_levels(build, &c, (double[]){(double)NAN, 0, (double)NAN}, 3, 0, 0);
    c.kind = MICA_REDUCE_MIN;
    op_test_all_levels(build, &c, (double[]){(double)NAN, -5, (double)NAN}, 3, 0, 0);
}

static void long_sums_do_not_drift(void **state) {
    /* Proves: 100000 times 0.1 in f32 is right to the last bit, which an f32 sum would miss. */
    (void)state;
    enum { COUNT = 100000 };
    double *values = malloc(COUNT * sizeof *values), want;
    for (int i = 0; i < COUNT; i++) values[i] = 0.1;
    reduce_case c = {.kind = MICA_REDUCE_SUM, .dtype = MICA_DTYPE_F32, .axis = 0, .rank = 1};
    c.dims[0] = COUNT, c.values = values;
    want = (double)(float)((double)0.1f * COUNT);
    op_test_all_levels(build, &c, &want, 1, 0, 0);
    free(values);
}

static void empty_axes(void **state) {
    /* Proves: the empty sum is 0, the empty product 1, the empty mean NaN; the empty maximum is an
     * error; a result without elements is fine. */
    (void)state;
    reduce_case c = {.kind = MICA_REDUCE_SUM, .dtype = MICA_DTYPE_F32, .axis = 1, .rank = 2};
    c.dims[0] = 2, c.dims[1] = 0;
    op_test_all_levels(build, &c, (double[]){0, 0}, 2, 0, 0);
    c.kind = MICA_REDUCE_PROD;
    op_test_all_levels(build, &c, (double[]){1, 1}, 2, 0, 0);
    c.kind = MICA_REDUCE_MEAN;
    op_test_all_levels(build, &c, (double[]){(double)NAN, (double)NAN}, 2, 0, 0);
    c.kind = MICA_REDUCE_MAX;
    op_case_expect_invalid(build, &c, "empty axis 1 of [2, 0]");
    c.axis = 0;
    op_test_all_levels(build, &c, NULL, 0, 0, 0);
}

static void wrong_arguments_are_refused(void **state) {
    /* Proves: axes out of range, unknown kinds, and means of integers are errors. */
    (void)state;
    double values[6] = {0};
    reduce_case c = {.dtype = MICA_DTYPE_F32, .axis = 2, .rank = 2, .values = values};
    c.dims[0] = 2, c.dims[1] = 3;
    op_case_expect_invalid(build, &c, "axis 2 of shape [2, 3]");
    c.axis = 0, c.kind = MICA_REDUCE_COUNT_;
    op_case_expect_invalid(build, &c, "not a kind");
    c.kind = MICA_REDUCE_MEAN, c.dtype = MICA_DTYPE_I32;
    op_case_expect_invalid(build, &c, "does not take i32[2, 3]");
    c.rank = 0;
    op_case_expect_invalid(build, &c, "of shape []");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_along_every_axis),
        cmocka_unit_test(integers_and_bools),
        cmocka_unit_test(ties_and_nan),
        cmocka_unit_test(long_sums_do_not_drift),
        cmocka_unit_test(empty_axes),
        cmocka_unit_test(wrong_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
