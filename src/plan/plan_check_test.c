#include "plan_test.h"

#define TWO_NODES "%1 = input \"x\" : f32[2, 3]\n%2 = unary(%1) : f32[2, 3]\noutput %2\n"

/* A node that is not what its op's rule makes of its inputs is reported as a bug of ours. */
static void test_rule_is_applied(void **state) {
    (void)state;
    plan_test t = {0};
    plan_test_open(&t);
    plan_test_parse(&t, TWO_NODES);
    mica_graph_node(t.graph, 2)->dtype = MICA_DTYPE_F16;
    assert_int_equal(plan_test_build(&t), MICA_STATUS_INTERNAL);
    plan_test_parse(&t, TWO_NODES);
    mica_graph_node(t.graph, 2)->shape.dims[1] = 4;
    assert_int_equal(plan_test_build(&t), MICA_STATUS_INTERNAL);
    assert_non_null(strstr(t.err.message, "[2, 4]"));
    plan_test_parse(&t, TWO_NODES);
    mica_graph_node(t.graph, 2)->n_inputs = 0;
    assert_int_equal(plan_test_build(&t), MICA_STATUS_INTERNAL);
    plan_test_parse(&t, TWO_NODES);
    mica_graph_node(t.graph, 2)->inputs[0] = 0;
    assert_int_equal(plan_test_build(&t), MICA_STATUS_INTERNAL);
    plan_test_parse(&t, TWO_NODES);
    mica_graph_node(t.graph, 1)->quant.mode = MICA_QUANT_MXFP4;
    assert_int_equal(plan_test_build(&t), MICA_STATUS_INTERNAL);
    plan_test_close(&t);
}

/* Views are compared with their strides and offsets. */
static void test_views_are_checked(void **state) {
    (void)state;
    static const char text[] = "%1 = input \"x\" : f32[2, 3]\n"
                               "%2 = permute(%1) {order=[1, 0]} : f32[3, 2]\n"
                               "%3 = unary(%2) : f32[3, 2]\noutput %3\n";
    plan_test t = {0};
    plan_test_open(&t);
    plan_test_parse(&t, text);
    mica_graph_node(t.graph, 2)->strides[0] = 2;
    assert_int_equal(plan_test_build(&t), MICA_STATUS_INTERNAL);
    plan_test_parse(&t, text);
    mica_graph_node(t.graph, 2)->view_offset = 1;
    assert_int_equal(plan_test_build(&t), MICA_STATUS_INTERNAL);
    plan_test_close(&t);
}

/* Live rows need batch.counts, and a name stands for one input. */
static void test_inputs(void **state) {
    (void)state;
    plan_test t = {0};
    plan_test_open(&t);
    plan_test_refuse(&t,
                     "%1 = input \"x\" : f32[4] live=rows\n"
                     "%2 = unary(%1) : f32[4] live=rows\noutput %2\n",
                     MICA_STATUS_INVALID, "batch.counts");
    plan_test_refuse(&t,
                     "%1 = input \"x\" : f32[4]\n%2 = input \"x\" : f32[4]\n"
                     "%3 = binary(%1, %2) : f32[4]\noutput %3\n",
                     MICA_STATUS_INVALID, "two inputs are named x");
    plan_test_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rule_is_applied),
        cmocka_unit_test(test_views_are_checked),
        cmocka_unit_test(test_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
