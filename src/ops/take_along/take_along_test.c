/* take_along: every dtype and layout, ids out of range, top_k followed by it, errors. */
#include "ops/common/op_test_case.h"

typedef struct take_case {
    mica_dtype dtype, id_dtype;
    op_layout layout, id_layout;
    int rank;
    int64_t dims[3], id_dims[3];
    const double *values, *ids;
} take_case;

static mica_array build(mica_graph *g, void *context) {
    const take_case *c = context;
    mica_array x = op_case_input(g, c->layout, c->dtype, c->rank, c->dims, c->values);
    mica_array ids = op_case_input(g, c->id_layout, c->id_dtype, c->rank, c->id_dims, c->ids);
    return mica_take_along(g, x, ids);
}

static void elements_by_index(void **state) {
    /* Proves: each dtype and pair of layouts; ids outside of the axis give 0. */
    (void)state;
    uint64_t seed = test_seed();
    double values[3 * 4 * 11], ids[3 * 4 * 5], want[3 * 4 * 5];
    for (mica_dtype d = MICA_DTYPE_BOOL; d < MICA_DTYPE_COUNT_; d++)
        for (int layout = 0; layout < OP_LAYOUT_COUNT; layout++) {
            take_case c = {.dtype = d, .id_dtype = MICA_DTYPE_I32, .rank = 3};
            c.layout = (op_layout)layout;
            c.id_layout = (op_layout)((layout + d) % OP_LAYOUT_COUNT);
            memcpy(c.dims, (int64_t[]){3, 4, 11}, sizeof c.dims);
            memcpy(c.id_dims, (int64_t[]){3, 4, 5}, sizeof c.id_dims);
            c.values = values, c.ids = ids;
            op_case_fill(&seed, d, values, 132, true);
            for (int i = 0; i < 60; i++) {
                ids[i] = (double)(test_random(&seed) % 13) - 1;
                if (i % 17 == 3) ids[i] = i % 2 ? INT32_MAX : INT32_MIN;
                want[i] = ids[i] >= 0 && ids[i] < 11 ? values[i / 5 * 11 + (int)ids[i]] : 0;
            }
            op_test_all_levels(build, &c, want, 60, 0, 0);
        }
}

static mica_array build_sorted(mica_graph *g, void *context) {
    mica_array x = op_case_input(g, OP_STEPPED, MICA_DTYPE_F32, 2, (int64_t[]){2, 4}, context);
    return mica_take_along(g, x, mica_top_k(g, x, 4));
}

static void top_k_then_take_sorts(void **state) {
    /* Proves: the values of top_k's indices come largest first. */
    (void)state;
    double x[8] = {1, 4, -2, 3, 0, 0.5, 9, -9}, want[8] = {4, 3, 1, -2, 9, 0.5, 0, -9};
    op_test_all_levels(build_sorted, x, want, 8, 0, 0);
}

static void wrong_ids_are_refused(void **state) {
    /* Proves: ids must be i32 of the same leading axes. */
    (void)state;
    double values[20] = {0};
    take_case c = {.dtype = MICA_DTYPE_F32, .id_dtype = MICA_DTYPE_I64, .rank = 2};
    c.values = c.ids = values;
    c.dims[0] = c.id_dims[0] = 2, c.dims[1] = c.id_dims[1] = 3;
    op_case_expect_invalid(build, &c, "i64[2, 3]");
    c.id_dtype = MICA_DTYPE_I32, c.id_dims[0] = 1;
    op_case_expect_invalid(build, &c, "x [2, 3] and ids i32[1, 3]");
    c.rank = 0;
    op_case_expect_invalid(build, &c, "x []");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_by_index),
        cmocka_unit_test(top_k_then_take_sorts),
        cmocka_unit_test(wrong_ids_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
