/* arange: every number dtype, steps, no elements, errors. */
#include "ops/common/op_test_case.h"

typedef struct arange_case {
    mica_dtype dtype;
    int64_t n;
    double start, step;
} arange_case;

static mica_array build(mica_graph *g, void *context) {
    const arange_case *c = context;
    return mica_arange(g, c->dtype, c->n, c->start, c->step);
}

static void counts_in_steps(void **state) {
    /* Proves: start + i * step in each dtype, over more elements than one worker's share. */
    (void)state;
    static double want[1000];
    for (mica_dtype d = MICA_DTYPE_U16; d < MICA_DTYPE_COUNT_; d++) {
        arange_case c = {d, 1000, 3, d >= MICA_DTYPE_F16 ? 0.25 : 2};
        for (int i = 0; i < 1000; i++) want[i] = op_case_value(d, c.start + i * c.step);
        op_test_all_levels(build, &c, want, 1000, 0, 0);
    }
    arange_case down = {MICA_DTYPE_I32, 5, 2, -1};
    op_test_all_levels(build, &down, (double[]){2, 1, 0, -1, -2}, 5, 0, 0);
    arange_case full = {MICA_DTYPE_U8, 4, 254, 1};
    op_test_all_levels(build, &full, (double[]){254, 255, 255, 255}, 4, 0, 0);
    arange_case none = {MICA_DTYPE_F32, 0, 1, 1};
    op_test_all_levels(build, &none, want, 0, 0, 0);
}

static void wrong_arguments_are_refused(void **state) {
    /* Proves: bool, no dtype and a negative or absurd count are errors. */
    (void)state;
    op_case_expect_invalid(build, &(arange_case){MICA_DTYPE_BOOL, 4, 0, 1}, "dtype bool");
    op_case_expect_invalid(build, &(arange_case){MICA_DTYPE_NONE, 4, 0, 1}, "dtype none");
    op_case_expect_invalid(build, &(arange_case){MICA_DTYPE_F32, -1, 0, 1}, "-1 elements");
    op_case_expect_invalid(build, &(arange_case){MICA_DTYPE_F32, INT64_MAX, 0, 1}, "elements");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_in_steps),
        cmocka_unit_test(wrong_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
