/* full: every dtype, odd sizes, saturation, errors. */
#include "ops/common/op_test_case.h"

typedef struct full_case {
    mica_dtype dtype;
    int rank;
    int64_t dims[9];
    double value;
} full_case;

static mica_array build(mica_graph *g, void *context) {
    const full_case *c = context;
    return mica_full(g, c->dtype, c->rank, c->dims, c->value);
}

static void every_element_has_the_value(void **state) {
    /* Proves: all elements are set, for each dtype and sizes on both sides of a worker's share. */
    (void)state;
    static const full_case shapes[] = {
        {.rank = 0},
        {.rank = 1, .dims = {1}},
        {.rank = 2, .dims = {3, 333}},
        {.rank = 3, .dims = {2, 0, 4}},
        {.rank = 8, .dims = {1, 2, 1, 2, 1, 2, 1, 2}},
    };
    static double want[999];
    for (mica_dtype d = MICA_DTYPE_BOOL; d < MICA_DTYPE_COUNT_; d++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            full_case c = shapes[s];
            c.dtype = d;
            c.value = d == MICA_DTYPE_BOOL ? 1 : 7;
            for (int i = 0; i < 999; i++) want[i] = c.value;
            op_test_all_levels(build, &c, want, (size_t)op_case_count(c.rank, c.dims), 0, 0);
        }
}

static void values_are_converted(void **state) {
    /* Proves: integers saturate, NaN and infinities reach floats, f16 overflows to infinity. */
    (void)state;
    full_case c = {MICA_DTYPE_U8, 1, {2}, 300};
    op_test_all_levels(build, &c, (double[]){255, 255}, 2, 0, 0);
    c.dtype = MICA_DTYPE_I8, c.value = -INFINITY;
    op_test_all_levels(build, &c, (double[]){-128, -128}, 2, 0, 0);
    c.dtype = MICA_DTYPE_BF16;
    op_test_all_levels(build, &c, (double[]){-INFINITY, -INFINITY}, 2, 0, 0);
    c.dtype = MICA_DTYPE_F16, c.value = 1e6;
    op_test_all_levels(build, &c, (double[]){INFINITY, INFINITY}, 2, 0, 0);
    c.dtype = MICA_DTYPE_F32, c.value = (double)NAN;
    op_test_all_levels(build, &c, (double[]){(double)NAN, (double)NAN}, 2, 0, 0);
}

static void wrong_arguments_are_refused(void **state) {
    /* Proves: negative lengths, ranks out of range and unknown dtypes are errors. */
    (void)state;
    op_case_expect_invalid(build, &(full_case){MICA_DTYPE_F32, 1, {-2}, 0}, "out of range");
    op_case_expect_invalid(build, &(full_case){MICA_DTYPE_F32, 9, {1}, 0}, "rank 9");
    op_case_expect_invalid(build, &(full_case){MICA_DTYPE_NONE, 1, {1}, 0}, "not a dtype");
    op_case_expect_invalid(build, &(full_case){MICA_DTYPE_U8, 2, {1 << 30, 1 << 30}, 0}, "2^48");
}

static void a_long_axis_keeps_its_length(void **state) {
    /* Proves: one length past 2^31 survives the packed parameters. */
    (void)state;
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_graph *g = NULL;
    assert_ok(mica_runtime_open(NULL, &rt, &err));
    assert_ok(mica_graph_create(rt, &g, &err));
    int64_t dims[3] = {3, INT64_C(5) << 31, 1};
    mica_array x = mica_full(g, MICA_DTYPE_U8, 3, dims, 1);
    assert_int_equal(mica_array_dim(g, x, 1), dims[1]);
    x = mica_broadcast_to(g, mica_scalar(g, 1), 3, dims);
    assert_int_equal(mica_array_dim(g, x, 1), dims[1]);
    x = mica_reshape(g, x, 2, (int64_t[]){-1, 3});
    assert_int_equal(mica_array_dim(g, x, 0), dims[1]);
    assert_ok(mica_graph_check(g, &err));
    mica_graph_destroy(&g);
    mica_runtime_close(&rt);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_element_has_the_value),
        cmocka_unit_test(values_are_converted),
        cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(a_long_axis_keeps_its_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
