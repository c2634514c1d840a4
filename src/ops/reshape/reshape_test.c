/* reshape: values in every layout, views where strides allow them, errors. */
#include "ops/common/op_test_case.h"
#include "core/graph.h"
#include "ops/reshape/reshape.h"

typedef struct reshape_case {
    op_layout layout;
    mica_dtype dtype;
    int rank;
    int64_t dims[8];
    int to_rank;
    int64_t to[8];
    const double *values;
} reshape_case;

static mica_array build(mica_graph *g, void *context) {
    const reshape_case *c = context;
    mica_array x = op_case_input(g, c->layout, c->dtype, c->rank, c->dims, c->values);
    return mica_reshape(g, x, c->to_rank, c->to);
}

static void reshape_keeps_the_order_of_elements(void **state) {
    /* Proves: for every layout and dtype size the elements stay in row-major order. */
    static const mica_dtype dtypes[] = {MICA_DTYPE_U8, MICA_DTYPE_BF16, MICA_DTYPE_F32,
                                        MICA_DTYPE_I64};
    static const reshape_case shapes[] = {
        {.rank = 3, .dims = {3, 4, 5}, .to_rank = 2, .to = {12, 5}},
        {.rank = 3, .dims = {3, 4, 5}, .to_rank = 2, .to = {3, 20}},
        {.rank = 3, .dims = {3, 4, 5}, .to_rank = 1, .to = {-1}},
        {.rank = 2, .dims = {6, 10}, .to_rank = 4, .to = {2, -1, 5, 2}},
        {.rank = 2, .dims = {6, 10}, .to_rank = 3, .to = {4, 3, 5}},
        {.rank = 2, .dims = {1, 7}, .to_rank = 4, .to = {7, 1, 1, 1}},
        {.rank = 1, .dims = {1}, .to_rank = 0},
        {.rank = 0, .to_rank = 3, .to = {1, 1, 1}},
        {.rank = 2, .dims = {0, 3}, .to_rank = 3, .to = {5, 0, 2}},
    };
    (void)state;
    double values[64];
    for (int i = 0; i < 64; i++) values[i] = i;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t d = 0; d < 4; d++)
            for (op_layout layout = 0; layout < OP_LAYOUT_COUNT; layout++) {
                reshape_case c = shapes[s];
                c.layout = layout;
                c.dtype = dtypes[d];
                c.values = values;
                size_t n = 0;
                double *got = op_test_eval("scalar", build, &c, &n);
                assert_int_equal(n, op_case_count(c.rank, c.dims));
                op_test_expect(op_layout_names[layout], got, values, n, 0, 0);
                free(got);
            }
}

static void strides_say_where_a_view_is_possible(void **state) {
    /* Proves: split, merge and length-1 axes give views; a transposed array cannot be flattened. */
    (void)state;
    int64_t strides[8];
    mica_shape from = {.rank = 2, .dims = {4, 6}}, to = {.rank = 3, .dims = {2, 2, 6}};
    int64_t rows[8] = {12, 1}; /* every second row of 8 x 6 */
    assert_true(mica_reshape_strides(&from, rows, &to, strides));
    assert_int_equal(strides[0], 24);
    assert_int_equal(strides[1], 12);
    assert_int_equal(strides[2], 1);
    mica_shape flat = {.rank = 1, .dims = {24}};
    assert_false(mica_reshape_strides(&from, rows, &flat, strides));
    int64_t transposed[8] = {1, 4};
    assert_false(mica_reshape_strides(&from, transposed, &flat, strides));
    mica_shape split = {.rank = 5, .dims = {1, 4, 3, 1, 2}};
    assert_true(mica_reshape_strides(&from, transposed, &split, strides));
    assert_int_equal(strides[1], 1);
    assert_int_equal(strides[2], 8);
    assert_int_equal(strides[4], 4);
    int64_t repeated[8] = {0, 0};
    assert_true(mica_reshape_strides(&from, repeated, &flat, strides));
    assert_int_equal(strides[0], 0);
}

static void the_same_shape_is_the_same_array(void **state) {
    /* Proves: no node is added for an identity, and a view shares its root's storage. */
    (void)state;
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_graph *g = NULL;
    assert_ok(mica_runtime_open(NULL, &rt, &err));
    assert_ok(mica_graph_create(rt, &g, &err));
    float data[6] = {1, 2, 3, 4, 5, 6};
    mica_array x = mica_array_from_data(g, MICA_DTYPE_F32, 2, (int64_t[]){2, 3}, data);
    mica_array same = mica_reshape(g, x, 2, (int64_t[]){2, -1});
    assert_int_equal(same.node, x.node);
    mica_array flat = mica_reshape(g, x, 1, (int64_t[]){6});
    mica_array again = mica_reshape(g, flat, 2, (int64_t[]){3, 2});
    assert_int_equal(mica_node_root(g, mica_array_ref(g, again, false)), x.node);
    mica_graph_destroy(&g);
    mica_runtime_close(&rt);
}

static void wrong_shapes_are_refused(void **state) {
    /* Proves: each rule of the shape has its error. */
    double values[64] = {0};
    (void)state;
    reshape_case c = {.dtype = MICA_DTYPE_F32, .rank = 2, .dims = {6, 10}, .values = values};
    c.to_rank = 2;
    c.to[0] = 7, c.to[1] = 9;
    op_case_expect_invalid(build, &c, "[6, 10] to [7, 9]");
    c.to[0] = -1, c.to[1] = 7;
    op_case_expect_invalid(build, &c, "[6, 10] has no whole number");
    c.to[0] = -1, c.to[1] = -1;
    op_case_expect_invalid(build, &c, "length -1");
    c.to[0] = -1, c.to[1] = 0;
    op_case_expect_invalid(build, &c, "no whole number");
    c.to[0] = -60, c.to[1] = -1;
    op_case_expect_invalid(build, &c, "length -60");
    c.to[0] = INT64_MAX, c.to[1] = INT64_MAX;
    op_case_expect_invalid(build, &c, "reshape:");
    c.to_rank = 9;
    op_case_expect_invalid(build, &c, "rank 9");
    c.to_rank = -1;
    op_case_expect_invalid(build, &c, "rank -1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reshape_keeps_the_order_of_elements),
        cmocka_unit_test(strides_say_where_a_view_is_possible),
        cmocka_unit_test(the_same_shape_is_the_same_array),
        cmocka_unit_test(wrong_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
