#include "plan_test.h"

static bool accept_large(const mica_graph *g, const mica_node *n) {
    (void)g;
    return n->shape.dims[0] >= 100;
}

static const mica_kernel rows[] = {
    {"for_gpu", MICA_DEVICE_CUDA, 0, NULL, NULL, NULL},
    {"with_amx", MICA_DEVICE_CPU, MICA_CPU_AMX, NULL, NULL, plan_test_run_nothing},
    {"large", MICA_DEVICE_CPU, 0, accept_large, NULL, plan_test_run_nothing},
    {"with_avx2", MICA_DEVICE_CPU, MICA_CPU_AVX2, NULL, NULL, plan_test_run_nothing},
    {"plain", MICA_DEVICE_CPU, 0, NULL, NULL, plan_test_run_nothing},
};

static void expect_kernel(const char *backend, uint32_t features, int64_t n, const char *want) {
    char text[128];
    plan_test t = {.backend = backend};
    plan_test_open(&t);
    t.ops[MICA_OP_unary].kernels = rows;
    t.ops[MICA_OP_unary].n_kernels = sizeof rows / sizeof *rows;
    t.runtime->limits.features = features;
    snprintf(text, sizeof text,
             "%%1 = input \"x\" : f32[%d]\n%%2 = unary(%%1) : f32[%d]\noutput %%2\n", (int)n,
             (int)n);
    plan_test_parse(&t, text);
    assert_int_equal(plan_test_build(&t), MICA_STATUS_OK);
    assert_int_equal(t.plan->segments[0].n_steps, 1);
    assert_string_equal(t.plan->segments[0].steps[0].kernel->name, want);
    plan_test_close(&t);
}

/* The first row for the device whose needs are met and that accepts the node. */
static void test_first_row(void **state) {
    (void)state;
    expect_kernel("cpu", 0, 4, "plain");
    expect_kernel("cpu", MICA_CPU_AVX2, 4, "with_avx2");
    expect_kernel("cpu", MICA_CPU_AVX2 | MICA_CPU_AMX, 4, "with_amx");
    expect_kernel("cpu", MICA_CPU_AVX2, 100, "large");
}

/* The null device takes the plain reference, which stands last, whatever features there are. */
static void test_null_device(void **state) {
    (void)state;
    expect_kernel("null", 0, 100, "plain");
    expect_kernel("null", MICA_CPU_AVX2 | MICA_CPU_AMX, 4, "plain");
}

/* The choice shows in the text, and the text reads back with it. */
static void test_text(void **state) {
    (void)state;
    plan_test t = {.pass = "select"};
    plan_test_open(&t);
    plan_test_expect(&t, "%1 = input \"x\" : f32[4]\n%2 = unary(%1) : f32[4]\noutput %2\n",
                     "%1 = input \"x\" : f32[4] @1+0\n"
                     "%2 = unary(%1) : f32[4] @2+0 kernel=unary_ref\noutput %2\n");
    plan_test_parse(&t, t.dump);
    const mica_node *n = mica_graph_node(t.graph, 2);
    assert_string_equal(n->kernel->name, "unary_ref");
    assert_int_equal(n->place.binding, 2);
    plan_test_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_row),
        cmocka_unit_test(test_null_device),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
