#include "plan_test.h"

/* Dead nodes go, operands come first, numbers are dense, and a view as output asks for its root. */
static void test_collect(void **state) {
    (void)state;
    plan_test_pass("collect", NULL,
                   "%1 = input \"dead\" : f32[2, 3]\n"
                   "%2 = input \"b\" : f32[2, 3]\n"
                   "%3 = input \"a\" : f32[2, 3]\n"
                   "%4 = unary(%1) : f32[2, 3]\n"
                   "%5 = binary(%3, %2) : f32[2, 3]\n"
                   "%6 = permute(%5) {order=[1, 0]} : f32[3, 2]\n"
                   "%7 = unary(%6) {kind=1} : f32[3, 2]\n"
                   "output %7, %6\n",
                   "%1 = input \"a\" : f32[2, 3]\n"
                   "%2 = input \"b\" : f32[2, 3]\n"
                   "%3 = binary(%1, %2) : f32[2, 3]\n"
                   "%4 = permute(%3) {order=[1, 0]} : f32[3, 2]\n"
                   "%5 = unary(%4) {kind=1} : f32[3, 2]\n"
                   "output %5, %3\n");
}

/* batch.counts stays even where no node names it: live kernels read it. */
static void test_counts_stay(void **state) {
    (void)state;
    plan_test_pass("collect", NULL,
                   "%1 = input \"x\" : f32[4] live=tokens\n"
                   "%2 = input \"batch.counts\" : i32[4]\n"
                   "%3 = unary(%1) : f32[4] live=tokens\n"
                   "output %3\n",
                   "%1 = input \"batch.counts\" : i32[4]\n"
                   "%2 = input \"x\" : f32[4] live=tokens\n"
                   "%3 = unary(%2) : f32[4] live=tokens\n"
                   "output %3\n");
}

/* A chain of 200,000 nodes needs no deep stack. */
static void test_long_chain(void **state) {
    (void)state;
    plan_test t = {.no_pass = "simplify,order"};
    plan_test_open(&t);
    plan_test_parse(&t, "%1 = input \"x\" : f32[4]\noutput %1\n");
    int32_t kind = 1;
    for (int i = 0; i < 200000; i++) {
        t.outputs[0] = mica_graph_add(t.graph, MICA_OP_unary, t.outputs, 1, &kind, sizeof kind);
        assert_true(t.outputs[0] != 0);
    }
    assert_int_equal(plan_test_build(&t), MICA_STATUS_OK);
    assert_int_equal(t.plan->segments[0].n_steps, 200000);
    plan_test_close(&t);
}

/* Outputs that are no nodes are refused; none at all give a plan without steps. */
static void test_bad_outputs(void **state) {
    (void)state;
    plan_test t = {0};
    plan_test_open(&t);
    plan_test_refuse(&t, "%1 = input \"x\" : f32[4]\noutput\n", MICA_STATUS_OK, "");
    assert_int_equal(t.plan->segments[0].n_steps, 0);
    t.n_outputs = 1;
    t.outputs[0] = 0;
    assert_int_equal(plan_test_build(&t), MICA_STATUS_INVALID);
    t.outputs[0] = 2;
    assert_int_equal(plan_test_build(&t), MICA_STATUS_INVALID);
    plan_test_close(&t);
}

/* The plan keeps the buffers of data nodes when the user's graph is gone. */
static void test_plan_outlives_graph(void **state) {
    (void)state;
    plan_test t = {0};
    plan_test_open(&t);
    plan_test_parse(&t, "%1 = data {value=2} : f32[]\n%2 = unary(%1) : f32[]\noutput %2\n");
    assert_int_equal(plan_test_build(&t), MICA_STATUS_OK);
    mica_graph_destroy(&t.graph);
    const mica_binding *b = &t.plan->bindings[1];
    assert_int_equal(b->kind, MICA_BIND_BUFFER);
    float value;
    memcpy(&value, (const char *)b->storage.buffer->host + b->storage.offset, sizeof value);
    assert_true(value == 2.0f);
    plan_test_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_collect),
        cmocka_unit_test(test_counts_stay),
        cmocka_unit_test(test_long_chain),
        cmocka_unit_test(test_bad_outputs),
        cmocka_unit_test(test_plan_outlives_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
