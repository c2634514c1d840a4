/* slice: Python's rules for bounds, views of views, errors. */
#include "ops/common/op_test_case.h"

typedef struct slice_case {
    int axis;
    int64_t start, stop, step;
    op_layout layout;
} slice_case;

static double values[60];

static mica_array build(mica_graph *g, void *context) {
    const slice_case *c = context;
    mica_array x = op_case_input(g, c->layout, MICA_DTYPE_I32, 3, (int64_t[]){3, 5, 4}, values);
    return mica_slice_axis(g, x, c->axis, c->start, c->stop, c->step);
}

static void check(slice_case c, int n, const int64_t *picked) {
    double want[60];
    int axis = c.axis < 0 ? c.axis + 3 : c.axis, count = 0;
    int64_t dims[3] = {3, 5, 4};
    dims[axis] = n;
    for (int64_t i = 0; i < dims[0]; i++)
        for (int64_t j = 0; j < dims[1]; j++)
            for (int64_t k = 0; k < dims[2]; k++) {
                int64_t at[3] = {i, j, k};
                at[axis] = picked[at[axis]];
                want[count++] = values[(at[0] * 5 + at[1]) * 4 + at[2]];
            }
    for (c.layout = 0; c.layout < OP_LAYOUT_COUNT; c.layout++)
        op_test_all_levels(build, &c, want, (size_t)count, 0, 0);
}

static void bounds_follow_python(void **state) {
    /* Proves: the rows that Python's range of the same bounds names, on an axis of length 5. */
    (void)state;
    for (int i = 0; i < 60; i++) values[i] = i + 1;
    check((slice_case){.axis = 1, .start = 1, .stop = 4, .step = 1}, 3, (int64_t[]){1, 2, 3});
    check((slice_case){.axis = -2, .start = -2, .stop = 99, .step = 1}, 2, (int64_t[]){3, 4});
    check((slice_case){.axis = 1, .start = 0, .stop = 5, .step = 2}, 3, (int64_t[]){0, 2, 4});
    check((slice_case){.axis = 1, .start = 4, .stop = -6, .step = -1}, 5,
          (int64_t[]){4, 3, 2, 1, 0});
    check((slice_case){.axis = 1, .start = 99, .stop = 0, .step = -3}, 2, (int64_t[]){4, 1});
    check((slice_case){.axis = 1, .start = -99, .stop = -4, .step = 7}, 1, (int64_t[]){0});
    check((slice_case){.axis = 1, .start = 3, .stop = INT64_MIN, .step = INT64_MIN}, 1,
          (int64_t[]){3});
    check((slice_case){.axis = 1, .start = INT64_MIN, .stop = INT64_MAX, .step = INT64_MAX}, 1,
          (int64_t[]){0});
    check((slice_case){.axis = 1, .start = 4, .stop = 2, .step = 1}, 0, NULL);
    check((slice_case){.axis = 1, .start = 2, .stop = 4, .step = -1}, 0, NULL);
    check((slice_case){.axis = 0, .start = 2, .stop = 3, .step = 1}, 1, (int64_t[]){2});
    check((slice_case){.axis = -1, .start = 3, .stop = 0, .step = -2}, 2, (int64_t[]){3, 1});
    check((slice_case){.axis = 2, .start = 0, .stop = 4, .step = 1}, 4, (int64_t[]){0, 1, 2, 3});
}

static void wrong_slices_are_refused(void **state) {
    /* Proves: step 0 and axes outside of the shape are errors. */
    (void)state;
    op_case_expect_invalid(build, &(slice_case){.axis = 1, .stop = 2}, "step 0");
    op_case_expect_invalid(build, &(slice_case){.axis = 3, .stop = 2, .step = 1}, "axis 3");
    op_case_expect_invalid(build, &(slice_case){.axis = -4, .stop = 2, .step = 1}, "[3, 5, 4]");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_follow_python),
        cmocka_unit_test(wrong_slices_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
