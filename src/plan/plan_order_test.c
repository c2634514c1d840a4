#include "plan_test.h"

/* The small sum of a large value comes before the chain that follows, so that the value dies early.
 */
static void test_memory_decides(void **state) {
    (void)state;
    static const char text[] = "%1 = input \"x\" : f32[1, 4]\n"
                               "%2 = broadcast(%1) {rank=2, d0=1000, d1=4} : f32[1000, 4]\n"
                               "%3 = unary(%2) : f32[1000, 4]\n"
                               "%4 = unary(%3) {kind=1} : f32[1000, 4]\n"
                               "%5 = unary(%4) {kind=2} : f32[1000, 4]\n"
                               "%6 = reduce(%5) : f32[4]\n"
                               "%7 = reduce(%3) : f32[4]\n"
                               "%8 = binary(%6, %7) : f32[4]\n"
                               "output %8\n";
    plan_test_pass("order", NULL, text,
                   "%1 = input \"x\" : f32[1, 4]\n"
                   "%2 = broadcast(%1) {rank=2, d0=1000, d1=4} : f32[1000, 4]\n"
                   "%3 = unary(%2) : f32[1000, 4]\n"
                   "%4 = reduce(%3) : f32[4]\n"
                   "%5 = unary(%3) {kind=1} : f32[1000, 4]\n"
                   "%6 = unary(%5) {kind=2} : f32[1000, 4]\n"
                   "%7 = reduce(%6) : f32[4]\n"
                   "%8 = binary(%7, %4) : f32[4]\n"
                   "output %8\n");
    plan_test_pass("order", "order", text, text);
}

/* Readers of a value come before the effect that overwrites it, wherever they stood, views too;
 * with the pass switched off as well. */
static void expect_effect_order(const char *no_pass) {
    plan_test t = {.pass = "order", .no_pass = no_pass};
    plan_test_open(&t);
    plan_test_add_effect(&t);
    plan_test_expect(&t,
                     "%1 = input \"pages\" : f32[4]\n"
                     "%2 = effect(%1) : f32[4]\n"
                     "%3 = slice(%1) {start=0, stop=2, step=1} : f32[2]\n"
                     "%4 = unary(%3) : f32[2]\n"
                     "%5 = unary(%1) : f32[4]\n"
                     "%6 = unary(%2) : f32[4]\n"
                     "output %2, %4, %5, %6\n",
                     "%1 = input \"pages\" : f32[4]\n"
                     "%2 = slice(%1) {stop=2, step=1} : f32[2]\n"
                     "%3 = unary(%2) : f32[2]\n"
                     "%4 = unary(%1) : f32[4]\n"
                     "%5 = effect(%1) : f32[4]\n"
                     "%6 = unary(%5) : f32[4]\n"
                     "output %5, %3, %4, %6\n");
    plan_test_close(&t);
}

static void test_effects(void **state) {
    (void)state;
    expect_effect_order(NULL);
    expect_effect_order("order");
}

/* A value that is needed together with what an effect made of it cannot be had. */
static void test_late_reader(void **state) {
    (void)state;
    plan_test t = {0};
    plan_test_open(&t);
    plan_test_add_effect(&t);
    plan_test_refuse(&t,
                     "%1 = input \"pages\" : f32[4]\n%2 = effect(%1) : f32[4]\n"
                     "%3 = binary(%1, %2) : f32[4]\noutput %3\n",
                     MICA_STATUS_INVALID, "overwritten");
    plan_test_close(&t);
}

/* Random graphs: arena with the pass on is never larger by the pass's own measure, the sum of what
 * is alive, and both orders keep operands first. */
static uint64_t measure(const mica_plan *plan) {
    const mica_graph *g = plan->graph;
    uint32_t count = mica_graph_count(g);
    mica_ref *last = calloc(count, sizeof *last);
    uint64_t now = 0, peak = 0;
    for (mica_ref r = 1; r < count; r++) {
        const mica_node *n = mica_graph_node(g, r);
        for (int i = 0; i < n->n_inputs; i++) {
            assert_true(n->inputs[i] < r);
            if (!n->is_view) last[mica_node_root(g, n->inputs[i])] = r;
        }
    }
    for (mica_ref r = 1; r < count; r++) {
        const mica_node *n = mica_graph_node(g, r);
        if (n->op <= MICA_OP_DATA || n->is_view) continue;
        if (!n->is_output) now += mica_part_bytes((mica_dtype)n->dtype, n->quant, &n->shape, 0);
        if (now > peak) peak = now;
        for (mica_ref x = 1; x < r; x++) {
            const mica_node *m = mica_graph_node(g, x);
            if (last[x] == r && m->op > MICA_OP_DATA && !m->is_output)
                now -= mica_part_bytes((mica_dtype)m->dtype, m->quant, &m->shape, 0);
        }
    }
    free(last);
    return peak;
}

/* Values [rows, 4] of many sizes; every node reads earlier ones or their sums over rows. */
static void grow_graph(plan_test *t, uint64_t *seed, int n) {
    mica_ref refs[128] = {t->outputs[0]};
    int64_t dims[2] = {0, 4};
    for (int i = 1; i < n; i++) {
        struct {
            int32_t kind;
            int32_t axis;
            bool keep;
        } reduce = {0, 0, true};
        int32_t kind = (int32_t)(test_random(seed) % 3);
        mica_ref pair[2] = {refs[test_random(seed) % i], refs[test_random(seed) % i]};
        mica_shape shape;
        mica_graph *g = t->graph;
        bool fits = mica_shape_broadcast(&mica_graph_node(g, pair[0])->shape,
                                         &mica_graph_node(g, pair[1])->shape, &shape);
        if (fits && test_random(seed) % 3) {
            refs[i] = mica_graph_add(g, MICA_OP_binary, pair, 2, &kind, sizeof kind);
        } else if (test_random(seed) % 2) {
            refs[i] = mica_graph_add(g, MICA_OP_reduce, pair, 1, &reduce, sizeof reduce);
        } else {
            char name[16];
            snprintf(name, sizeof name, "i%d", i);
            dims[0] = (int64_t)(test_random(seed) % 3 + 1) * 100;
            mica_shape_make(2, dims, &shape);
            refs[i] = mica_graph_input(g, name, MICA_DTYPE_F32, &shape, MICA_LIVE_ALL);
        }
        assert_true(refs[i] != 0);
    }
    t->n_outputs = 4;
    for (int i = 0; i < 4; i++) t->outputs[i] = refs[n - 1 - i];
}

static void test_never_worse(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    int n_better = 0;
    for (int round = 0; round < 200; round++) {
        uint64_t peak[2], start = seed;
        for (int off = 0; off < 2; off++) {
            plan_test t = {.no_pass = off ? "order" : NULL};
            plan_test_open(&t);
            plan_test_parse(&t, "%1 = input \"x\" : f32[1, 4]\noutput %1\n");
            seed = start;
            grow_graph(&t, &seed, 20 + round % 100);
            assert_int_equal(plan_test_build(&t), MICA_STATUS_OK);
            peak[off] = measure(t.plan);
            plan_test_close(&t);
        }
        assert_true(peak[0] <= peak[1]);
        n_better += peak[0] < peak[1];
    }
    assert_true(n_better > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_decides),
        cmocka_unit_test(test_effects),
        cmocka_unit_test(test_late_reader),
        cmocka_unit_test(test_never_worse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
