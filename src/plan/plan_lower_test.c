#include "plan_test.h"

#define X "%1 = input \"x\" : f32[2, 3]\n"

/* An op that takes no strides gets a copy, made once a reader; one that takes them gets none. */
static void test_strided_inputs(void **state) {
    (void)state;
    plan_test t = {.pass = "lower"};
    plan_test_open(&t);
    t.ops[MICA_OP_unary].strided = 0;
    plan_test_expect(&t,
                     X "%2 = permute(%1) {order=[1, 0]} : f32[3, 2]\n"
                       "%3 = unary(%2) : f32[3, 2]\n"
                       "%4 = unary(%2) {kind=1} : f32[3, 2]\n"
                       "%5 = binary(%3, %2) : f32[3, 2]\n"
                       "%6 = binary(%5, %4) : f32[3, 2]\n"
                       "output %6\n",
                     X "%2 = permute(%1) {order=[1, 0]} : f32[3, 2]\n"
                       "%3 = cast(%2) {dtype=12} : f32[3, 2]\n"
                       "%4 = unary(%3) : f32[3, 2]\n"
                       "%5 = binary(%4, %2) : f32[3, 2]\n"
                       "%6 = unary(%3) {kind=1} : f32[3, 2]\n"
                       "%7 = binary(%5, %6) : f32[3, 2]\n"
                       "output %7\n");
    /* a view with an offset but no gaps is as good as a copy */
    plan_test_expect(&t,
                     "%1 = input \"x\" : f32[4]\n"
                     "%2 = slice(%1) {start=1, stop=3, step=1} : f32[2]\n"
                     "%3 = unary(%2) : f32[2]\noutput %3\n",
                     "%1 = input \"x\" : f32[4]\n"
                     "%2 = slice(%1) {start=1, stop=3, step=1} : f32[2]\n"
                     "%3 = unary(%2) : f32[2]\noutput %3\n");
    plan_test_close(&t);
}

/* Composed meanings for the tests: of cheap ops that are sure to have kernels. */
static mica_ref add_unary(mica_graph *g, mica_ref x, int32_t kind) {
    return mica_graph_add(g, MICA_OP_unary, &x, 1, &kind, sizeof kind);
}

static mica_ref compose_twice(mica_graph *g, const mica_node *n) {
    return add_unary(g, add_unary(g, n->inputs[0], 1), 2);
}

static mica_ref compose_softmax(mica_graph *g, const mica_node *n) {
    return mica_graph_add(g, MICA_OP_softmax, n->inputs, 1, NULL, 0);
}

static mica_ref compose_view(mica_graph *g, const mica_node *n) {
    mica_ref x = add_unary(g, n->inputs[0], 1);
    int8_t order[MICA_RANK_MAX] = {1, 0};
    x = mica_graph_add(g, MICA_OP_permute, &x, 1, order, sizeof order);
    return mica_graph_add(g, MICA_OP_permute, &x, 1, order, sizeof order);
}

static mica_ref compose_input(mica_graph *g, const mica_node *n) {
    (void)g;
    return n->inputs[0];
}

static mica_ref compose_wrong(mica_graph *g, const mica_node *n) {
    int8_t order[MICA_RANK_MAX] = {1, 0};
    return mica_graph_add(g, MICA_OP_permute, n->inputs, 1, order, sizeof order);
}

static mica_ref compose_failing(mica_graph *g, const mica_node *n) {
    (void)n;
    return add_unary(g, 1, 9999);
}

#define LONE_SOFTMAX X "%2 = softmax(%1) : f32[2, 3]\n%3 = unary(%2) : f32[2, 3]\noutput %3\n"

static void expect_composed(mica_ref (*compose)(mica_graph *, const mica_node *), const char *text,
                            const char *want) {
    plan_test t = {.pass = "lower"};
    plan_test_open(&t);
    t.ops[MICA_OP_softmax].n_kernels = 0;
    t.ops[MICA_OP_softmax].compose = compose;
    plan_test_expect(&t, text, want);
    plan_test_close(&t);
}

/* A node without a kernel is replaced by its composed meaning. */
static void test_composed(void **state) {
    (void)state;
    expect_composed(compose_twice, LONE_SOFTMAX,
                    X "%2 = unary(%1) {kind=1} : f32[2, 3]\n"
                      "%3 = unary(%2) {kind=2} : f32[2, 3]\n"
                      "%4 = unary(%3) : f32[2, 3]\noutput %4\n");
    expect_composed(compose_input, LONE_SOFTMAX, X "%2 = unary(%1) : f32[2, 3]\noutput %2\n");
}

/* An output's composed meaning ends in a node of its own: inputs are copied, and views where they
 * do not show all of what another node computes. */
static void test_composed_output(void **state) {
    (void)state;
    static const char text[] = X "%2 = softmax(%1) : f32[2, 3]\noutput %2\n";
    expect_composed(compose_input, text, X "%2 = cast(%1) {dtype=12} : f32[2, 3]\noutput %2\n");
    expect_composed(compose_view, text,
                    X "%2 = unary(%1) {kind=1} : f32[2, 3]\n"
                      "output %2\n");
}

/* A copy serves all readers of the same view, whichever round of lowering they come from, and equal
 * parts of composed forms are computed once. */
static mica_ref compose_transposed(mica_graph *g, const mica_node *n) {
    int8_t order[MICA_RANK_MAX] = {1, 0};
    mica_ref x = mica_graph_add(g, MICA_OP_permute, n->inputs, 1, order, sizeof order);
    x = add_unary(g, add_unary(g, x, 1), 2);
    return mica_graph_add(g, MICA_OP_permute, &x, 1, order, sizeof order);
}

static void test_shared_parts(void **state) {
    (void)state;
    plan_test t = {.pass = "lower"};
    plan_test_open(&t);
    t.ops[MICA_OP_unary].strided = 0;
    t.ops[MICA_OP_softmax].n_kernels = 0;
    t.ops[MICA_OP_softmax].compose = compose_transposed;
    plan_test_expect(&t,
                     X "%2 = permute(%1) {order=[1, 0]} : f32[3, 2]\n"
                       "%3 = unary(%2) {kind=3} : f32[3, 2]\n"
                       "%4 = softmax(%1) : f32[2, 3]\n"
                       "%5 = permute(%4) {order=[1, 0]} : f32[3, 2]\n"
                       "%6 = binary(%3, %5) : f32[3, 2]\noutput %6\n",
                     X "%2 = permute(%1) {order=[1, 0]} : f32[3, 2]\n"
                       "%3 = cast(%2) {dtype=12} : f32[3, 2]\n"
                       "%4 = unary(%3) {kind=3} : f32[3, 2]\n"
                       "%5 = unary(%3) {kind=1} : f32[3, 2]\n"
                       "%6 = unary(%5) {kind=2} : f32[3, 2]\n"
                       "%7 = binary(%4, %6) : f32[3, 2]\noutput %7\n");
    plan_test_close(&t);
}

static void refuse_composed(mica_ref (*compose)(mica_graph *, const mica_node *), mica_status st,
                            const char *part) {
    plan_test t = {0};
    plan_test_open(&t);
    t.ops[MICA_OP_softmax].n_kernels = 0;
    t.ops[MICA_OP_softmax].compose = compose;
    plan_test_refuse(&t, LONE_SOFTMAX, st, part);
    plan_test_close(&t);
}

/* No kernel and no composed meaning names op, dtype and shape; endless and wrong forms are bugs. */
static void test_refusals(void **state) {
    (void)state;
    refuse_composed(NULL, MICA_STATUS_UNSUPPORTED, "softmax of f32[2, 3]");
    refuse_composed(compose_softmax, MICA_STATUS_INTERNAL, "deeper");
    refuse_composed(compose_wrong, MICA_STATUS_INTERNAL, "f32[3, 2]");
    refuse_composed(compose_failing, MICA_STATUS_INTERNAL, "wrong");
}

/* An effect gets a copy of what it must not overwrite: data, an output, what another overwrites. */
static void test_effects(void **state) {
    (void)state;
    plan_test t = {.pass = "lower"};
    plan_test_open(&t);
    plan_test_add_effect(&t);
    plan_test_expect(&t,
                     "%1 = data {value=1} : f32[]\n%2 = effect(%1) : f32[]\n"
                     "%3 = unary(%1) : f32[]\n%4 = effect(%3) : f32[]\n"
                     "%5 = effect(%3) : f32[]\n%6 = unary(%5) : f32[]\n"
                     "%7 = effect(%6) : f32[]\noutput %2, %4, %6, %7\n",
                     "%1 = data {value=1} : f32[]\n%2 = cast(%1) {dtype=12} : f32[]\n"
                     "%3 = effect(%2) : f32[]\n%4 = unary(%1) : f32[]\n"
                     "%5 = effect(%4) : f32[]\n%6 = cast(%4) {dtype=12} : f32[]\n"
                     "%7 = effect(%6) : f32[]\n%8 = unary(%7) : f32[]\n"
                     "%9 = cast(%8) {dtype=12} : f32[]\n%10 = effect(%9) : f32[]\n"
                     "output %3, %5, %8, %10\n");
    /* inputs are there to be overwritten, by several and as outputs */
    static const char pages[] = "%1 = input \"pages\" : f32[4]\n%2 = effect(%1) : f32[4]\n"
                                "%3 = effect(%2) : f32[4]\noutput %2, %3\n";
    plan_test_expect(&t, pages, pages);
    plan_test_refuse(&t,
                     X "%2 = permute(%1) {order=[1, 0]} : f32[3, 2]\n"
                       "%3 = effect(%2) : f32[3, 2]\noutput %3\n",
                     MICA_STATUS_UNSUPPORTED, "strided");
    plan_test_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strided_inputs),  cmocka_unit_test(test_composed),
        cmocka_unit_test(test_composed_output), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_effects),         cmocka_unit_test(test_shared_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
