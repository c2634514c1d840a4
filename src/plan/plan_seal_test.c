#include "plan_test.h"

static const char small[] = "%1 = input \"batch.counts\" : i32[4]\n"
                            "%2 = input \"x\" : f32[4, 64] live=tokens\n"
                            "%3 = weight \"norm\" : f32[64]\n"
                            "%4 = rms_norm(%2, %3) {eps=1e-05} : f32[4, 64] live=tokens\n"
                            "%5 = binary(%4, %2) : f32[4, 64] live=tokens\n"
                            "%6 = rms_norm(%5, %3) {eps=1e-05} : f32[4, 64] live=tokens\n"
                            "output %6\n";

/* Totals, and the steps in node order. A weight that is read twice is counted once. */
static void test_totals(void **state) {
    (void)state;
    plan_test t = {0};
    plan_test_open(&t);
    plan_test_parse(&t, small);
    uint64_t built = t.runtime->n_plans_built;
    assert_int_equal(plan_test_build(&t), MICA_STATUS_OK);
    assert_int_equal(t.runtime->n_plans_built, built + 1);
    assert_int_equal(t.plan->n_segments, 1);
    assert_int_equal(t.plan->segments[0].n_steps, 3);
    assert_ptr_equal(t.plan->segments[0].device, t.runtime->device);
    assert_int_equal(t.plan->segments[0].arena_bytes, 1024);
    assert_int_equal(t.plan->weight_bytes, 256);
    uint64_t flops = 0;
    for (size_t i = 0; i < 3; i++) {
        flops += t.plan->segments[0].steps[i].flops;
        assert_true(t.plan->segments[0].steps[i].bytes >= 2048);
    }
    assert_true(flops > 0);
    assert_int_equal(t.plan->flops, flops);
    assert_int_equal(t.plan->n_outputs, 1);
    plan_test_close(&t);
}

/* The dump of the sealed plan is IR text that builds the same plan again. */
static void test_dump_reads_back(void **state) {
    (void)state;
    plan_test t = {.pass = "seal"};
    plan_test_open(&t);
    plan_test_parse(&t, small);
    assert_int_equal(plan_test_build(&t), MICA_STATUS_OK);
    assert_non_null(strstr(t.dump, "# binding 0 arena 1024 bytes\n"));
    assert_non_null(strstr(t.dump, " # step 1 barrier grid="));
    char *first = strdup(t.dump);
    plan_test_expect(&t, first, first);
    free(first);
    plan_test_close(&t);
}

/* "all" dumps every pass, in the order of the list. */
static void receive_name(void *context, const char *pass, const char *text) {
    char *names = context;
    assert_non_null(strstr(text, "output %"));
    strcat(strcat(names, pass), " ");
}

static void test_dump_all(void **state) {
    (void)state;
    char names[256] = "";
    plan_test t = {.pass = "all"};
    plan_test_open(&t);
    t.runtime->dump_callback = receive_name;
    t.runtime->dump_context = names;
    plan_test_parse(&t, small);
    assert_int_equal(plan_test_build(&t), MICA_STATUS_OK);
    assert_string_equal(
        names, "collect check assign simplify lower order replicate place select sync seal ");
    plan_test_close(&t);
}

/* 1000 nodes of a chain with side branches, a scalar for every tenth. */
static void grow_large(plan_test *t) {
    int32_t kinds[] = {0, 2, 1};
    mica_ref x = 1, side = 1;
    for (int i = 1; i < 1000; i++) {
        mica_ref pair[2] = {x, i % 7 ? side : x};
        if (i % 10 == 0) {
            side = mica_graph_add(t->graph, MICA_OP_unary, &x, 1, &kinds[2], sizeof *kinds);
            continue;
        }
        x = mica_graph_add(t->graph, MICA_OP_binary, pair, 2, &kinds[i % 2], sizeof *kinds);
    }
    t->outputs[0] = x;
}

/* A plan of 1000 nodes takes fewer than 100 allocator calls, and frees all it took. */
static void test_allocator_calls(void **state) {
    (void)state;
    mica_alloc_counter counter;
    mica_alloc_counter_init(&counter, mica_allocator_default());
    plan_test t = {.allocator = &counter.allocator};
    plan_test_open(&t);
    plan_test_parse(&t, "%1 = input \"x\" : f32[4, 8]\noutput %1\n");
    grow_large(&t);
    int64_t calls = counter.n_calls, live = counter.n_live;
    assert_int_equal(plan_test_build(&t), MICA_STATUS_OK);
    printf("%d allocator calls, %d blocks stay\n", (int)(counter.n_calls - calls),
           (int)(counter.n_live - live));
    assert_true(counter.n_calls - calls < 100);
    mica_plan_destroy(&t.plan);
    assert_int_equal(counter.n_live, live);
    plan_test_close(&t);
    assert_int_equal(counter.n_live, 0);
}

static mica_ref compose_softmax(mica_graph *g, const mica_node *n) {
    int32_t kind = 1;
    mica_ref x = mica_graph_add(g, MICA_OP_unary, n->inputs, 1, &kind, sizeof kind);
    return x ? mica_graph_add(g, MICA_OP_unary, &x, 1, &kind, sizeof kind) : 0;
}

/* Every failed allocation of a build, dumps and lowering included, is reported and leaks nothing.
 */
static void test_out_of_memory(void **state) {
    (void)state;
    static const char text[] = "%1 = input \"x\" : f32[2, 3]\n%2 = data {value=2} : f32[]\n"
                               "%3 = permute(%1) {order=[1, 0]} : f32[3, 2]\n"
                               "%4 = softmax(%3) : f32[3, 2]\n"
                               "%5 = binary(%4, %2) : f32[3, 2]\n"
                               "%6 = binary(%4, %2) : f32[3, 2]\n"
                               "%7 = binary(%5, %6) : f32[3, 2]\noutput %7\n";
    int n_failed = 0;
    for (int large = 0; large < 2; large++) {
        mica_alloc_counter counter;
        mica_alloc_counter_init(&counter, mica_allocator_default());
        plan_test t = {.pass = large ? NULL : "all", .allocator = &counter.allocator};
        plan_test_open(&t);
        t.ops[MICA_OP_softmax].n_kernels = 0;
        t.ops[MICA_OP_softmax].compose = compose_softmax;
        plan_test_parse(&t, text);
        if (large) grow_large(&t);
        int64_t live = counter.n_live;
        for (int64_t n = 1;; n++) {
            counter.fail_at = counter.n_calls + n;
            mica_status st = plan_test_build(&t);
            counter.fail_at = 0;
            if (st == MICA_STATUS_OK) break;
            assert_int_equal(st, MICA_STATUS_OUT_OF_MEMORY);
            assert_null(t.plan);
            assert_int_equal(counter.n_live, live);
            n_failed++;
        }
        plan_test_close(&t);
        assert_int_equal(counter.n_live, 0);
    }
    assert_true(n_failed > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_totals),        cmocka_unit_test(test_dump_reads_back),
        cmocka_unit_test(test_dump_all),      cmocka_unit_test(test_allocator_calls),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
