/* permute: every order of up to four axes, chains of views, errors. */
#include "ops/common/op_test_case.h"

typedef struct permute_case {
    int rank;
    int64_t dims[4];
    int order[4];
    op_layout layout;
    mica_dtype dtype;
    const double *values;
} permute_case;

static mica_array build(mica_graph *g, void *context) {
    const permute_case *c = context;
    mica_array x = op_case_input(g, c->layout, c->dtype, c->rank, c->dims, c->values);
    return mica_permute(g, x, c->order);
}

static void expect(const permute_case *c, double *want) {
    int64_t strides[4], out_dims[4];
    for (int i = 0; i < c->rank; i++) {
        int axis = c->order[i] < 0 ? c->order[i] + c->rank : c->order[i];
        strides[i] = op_case_count(c->rank - axis - 1, c->dims + axis + 1);
        out_dims[i] = c->dims[axis];
    }
    for (int64_t i = 0; i < op_case_count(c->rank, c->dims); i++) {
        int64_t rest = i, from = 0;
        for (int axis = c->rank - 1; axis >= 0; axis--) {
            from += rest % out_dims[axis] * strides[axis];
            rest /= out_dims[axis];
        }
        want[i] = c->values[from];
    }
}

static void every_order_of_axes(void **state) {
    /* Proves: all orders of 4 axes, in plain and strided memory, name the right elements. */
    (void)state;
    double values[120], want[120];
    for (int i = 0; i < 120; i++) values[i] = i;
    permute_case c = {.rank = 4, .dims = {2, 3, 4, 5}, .values = values, .dtype = MICA_DTYPE_I16};
    for (int code = 0; code < 256; code++) {
        unsigned seen = 0;
        for (int i = 0; i < 4; i++) seen |= 1u << (c.order[i] = code >> 2 * i & 3);
        if (seen != 15) continue;
        c.layout = (op_layout)(code % OP_LAYOUT_COUNT);
        expect(&c, want);
        op_test_all_levels(build, &c, want, 120, 0, 0);
    }
}

static void negative_axes_count_from_the_end(void **state) {
    /* Proves: order {-1, 0} transposes a matrix. */
    (void)state;
    double values[6] = {1, 2, 3, 4, 5, 6}, want[6];
    permute_case c = {.rank = 2, .dims = {2, 3}, .order = {-1, 0}, .values = values};
    c.dtype = MICA_DTYPE_F32;
    expect(&c, want);
    op_test_all_levels(build, &c, want, 6, 0, 0);
}

static mica_array transpose(mica_graph *g, void *context) {
    const permute_case *c = context;
    return mica_transpose(g, op_case_input(g, 0, c->dtype, c->rank, c->dims, c->values));
}

static void transpose_swaps_the_last_two(void **state) {
    /* Proves: leading axes stay where they are. */
    (void)state;
    double values[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    double want[12] = {0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11};
    permute_case c = {.rank = 3, .dims = {2, 2, 3}, .dtype = MICA_DTYPE_F32, .values = values};
    op_test_all_levels(transpose, &c, want, 12, 0, 0);
    c.rank = 1;
    op_case_expect_invalid(transpose, &c, "rank 1");
}

static void wrong_orders_are_refused(void **state) {
    /* Proves: repeated and missing axes are errors. */
    (void)state;
    double values[6] = {0};
    permute_case c = {.rank = 2, .dims = {2, 3}, .dtype = MICA_DTYPE_F32, .values = values};
    c.order[0] = 1, c.order[1] = 1;
    op_case_expect_invalid(build, &c, "order[1] = 1");
    c.order[0] = 2, c.order[1] = 0;
    op_case_expect_invalid(build, &c, "order[0]");
    c.order[0] = -3, c.order[1] = 0;
    op_case_expect_invalid(build, &c, "[2, 3]");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_of_axes),
        cmocka_unit_test(negative_axes_count_from_the_end),
        cmocka_unit_test(transpose_swaps_the_last_two),
        cmocka_unit_test(wrong_orders_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
