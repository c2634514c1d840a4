/* select: every element size and layout, broadcast, scalars, errors. */
#include "ops/common/op_test_case.h"

typedef struct select_case {
    mica_dtype condition, a_dtype, b_dtype;
    op_layout layout;
    int64_t n;
    const double *mask, *a, *b;
} select_case;

static mica_array build(mica_graph *g, void *context) {
    const select_case *c = context;
    op_layout other = (op_layout)((c->layout + 1) % OP_LAYOUT_COUNT);
    mica_array mask = op_case_input(g, c->layout, c->condition, 2, (int64_t[]){3, 1}, c->mask);
    mica_array a = op_case_input(g, other, c->a_dtype, 2, (int64_t[]){3, c->n}, c->a);
    mica_array b = op_case_input(g, c->layout, c->b_dtype, 1, (int64_t[]){c->n}, c->b);
    return mica_select(g, mask, a, b);
}

static void picks_by_condition(void **state) {
    /* Proves: values of all dtypes pass unchanged, NaN too, with the mask and b broadcast. */
    (void)state;
    uint64_t seed = test_seed();
    double mask[3] = {1, 0, 1}, a[3 * 19], b[19], want[3 * 19];
    for (mica_dtype d = MICA_DTYPE_BOOL; d < MICA_DTYPE_COUNT_; d++)
        for (op_layout layout = 0; layout < OP_LAYOUT_COUNT; layout++) {
            select_case c = {MICA_DTYPE_BOOL, d, d, layout, 19, mask, a, b};
            op_case_fill(&seed, d, a, 57, true);
            op_case_fill(&seed, d, b, 19, true);
            for (int i = 0; i < 57; i++) want[i] = mask[i / 19] != 0 ? a[i] : b[i % 19];
            op_test_all_levels(build, &c, want, 57, 0, 0);
        }
    select_case none = {MICA_DTYPE_BOOL, MICA_DTYPE_F32, MICA_DTYPE_F32, OP_PLAIN, 0, mask, a, b};
    op_test_all_levels(build, &none, want, 0, 0, 0);
}

static mica_array build_relu(mica_graph *g, void *context) {
    (void)context;
    double values[4] = {-1, 2, -3, 4};
    mica_array x = op_case_input(g, OP_PLAIN, MICA_DTYPE_F16, 1, (int64_t[]){4}, values);
    mica_array zero = mica_scalar(g, 0);
    return mica_select(g, mica_binary(g, MICA_BINARY_GREATER, x, zero), x, zero);
}

static void scalars_take_the_other_dtype(void **state) {
    /* Proves: x > 0 ? x : 0 works for f16 with scalars. */
    (void)state;
    op_test_all_levels(build_relu, NULL, (double[]){0, 2, 0, 4}, 4, 0, 0);
}

static void wrong_operands_are_refused(void **state) {
    /* Proves: the condition must be bool, a and b of one dtype, shapes must broadcast. */
    (void)state;
    double values[60] = {0};
    select_case c = {MICA_DTYPE_U8, MICA_DTYPE_F32, MICA_DTYPE_F32, OP_PLAIN, 4,
                     values,        values,         values};
    op_case_expect_invalid(build, &c, "condition is u8[3, 1]");
    c.condition = MICA_DTYPE_BOOL;
    c.b_dtype = MICA_DTYPE_BF16;
    op_case_expect_invalid(build, &c, "f32[3, 4] and bf16[4]");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_by_condition),
        cmocka_unit_test(scalars_take_the_other_dtype),
        cmocka_unit_test(wrong_operands_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
