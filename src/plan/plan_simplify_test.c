#include "plan_test.h"

#define X "%1 = input \"x\" : f32[2, 3]\n"

/* Equal nodes become one, through several levels; equal scalars too. */
static void test_equal_nodes(void **state) {
    (void)state;
    plan_test_pass("simplify", NULL,
                   X "%2 = data {value=3} : f32[]\n"
                     "%3 = binary(%1, %2) : f32[2, 3]\n"
                     "%4 = unary(%3) : f32[2, 3]\n"
                     "%5 = data {value=3} : f32[]\n"
                     "%6 = binary(%1, %5) : f32[2, 3]\n"
                     "%7 = unary(%6) : f32[2, 3]\n"
                     "%8 = unary(%6) {kind=1} : f32[2, 3]\n"
                     "%9 = binary(%4, %7) {kind=2} : f32[2, 3]\n"
                     "%10 = binary(%9, %8) {kind=2} : f32[2, 3]\n"
                     "output %10\n",
                   X "%2 = data {value=3} : f32[]\n"
                     "%3 = binary(%1, %2) : f32[2, 3]\n"
                     "%4 = unary(%3) : f32[2, 3]\n"
                     "%5 = binary(%4, %4) {kind=2} : f32[2, 3]\n"
                     "%6 = unary(%3) {kind=1} : f32[2, 3]\n"
                     "%7 = binary(%5, %6) {kind=2} : f32[2, 3]\n"
                     "output %7\n");
}

/* x * 1, 1 * x, x / 1, x - 0, x + -0 and casts to the own dtype vanish. */
static void test_neutral_nodes(void **state) {
    (void)state;
    plan_test_pass("simplify", NULL,
                   X "%2 = data {value=1} : f32[]\n"
                     "%3 = data {value=0} : f32[]\n"
                     "%4 = data {value=-0} : f32[]\n"
                     "%5 = binary(%1, %2) {kind=2} : f32[2, 3]\n"
                     "%6 = binary(%2, %5) {kind=2} : f32[2, 3]\n"
                     "%7 = binary(%6, %2) {kind=3} : f32[2, 3]\n"
                     "%8 = binary(%7, %3) {kind=1} : f32[2, 3]\n"
                     "%9 = binary(%8, %4) : f32[2, 3]\n"
                     "%10 = cast(%9) {dtype=12} : f32[2, 3]\n"
                     "%11 = unary(%10) : f32[2, 3]\n"
                     "output %11\n",
                   X "%2 = unary(%1) : f32[2, 3]\n"
                     "output %2\n");
}

/* The sides of what commutes may be swapped; not those of a difference, nor of the larger of two
 * floats, where -0 and +0 differ. */
static void test_swapped_sides(void **state) {
    (void)state;
    plan_test_pass("simplify", NULL,
                   X "%2 = unary(%1) : f32[2, 3]\n"
                     "%3 = binary(%1, %2) : f32[2, 3]\n%4 = binary(%2, %1) : f32[2, 3]\n"
                     "%5 = binary(%3, %4) {kind=1} : f32[2, 3]\n"
                     "%6 = binary(%1, %2) {kind=1} : f32[2, 3]\n"
                     "%7 = binary(%2, %1) {kind=1} : f32[2, 3]\n"
                     "%8 = binary(%6, %7) {kind=5} : f32[2, 3]\n"
                     "%9 = binary(%7, %6) {kind=5} : f32[2, 3]\n"
                     "%10 = concat(%5, %8, %9) : f32[6, 3]\noutput %10\n",
                   X "%2 = unary(%1) : f32[2, 3]\n"
                     "%3 = binary(%1, %2) : f32[2, 3]\n"
                     "%4 = binary(%3, %3) {kind=1} : f32[2, 3]\n"
                     "%5 = binary(%1, %2) {kind=1} : f32[2, 3]\n"
                     "%6 = binary(%2, %1) {kind=1} : f32[2, 3]\n"
                     "%7 = binary(%5, %6) {kind=5} : f32[2, 3]\n"
                     "%8 = binary(%6, %5) {kind=5} : f32[2, 3]\n"
                     "%9 = concat(%4, %7, %8) : f32[6, 3]\noutput %9\n");
    plan_test_pass("simplify", NULL,
                   "%1 = input \"x\" : i32[2]\n%2 = unary(%1) : i32[2]\n"
                   "%3 = binary(%1, %2) {kind=5} : i32[2]\n"
                   "%4 = binary(%2, %1) {kind=5} : i32[2]\n"
                   "%5 = binary(%3, %4) {kind=1} : i32[2]\noutput %5\n",
                   "%1 = input \"x\" : i32[2]\n%2 = unary(%1) : i32[2]\n"
                   "%3 = binary(%1, %2) {kind=5} : i32[2]\n"
                   "%4 = binary(%3, %3) {kind=1} : i32[2]\noutput %4\n");
}

/* A cast there and back, two negations, a choice between equals and a concat of one vanish; a cast
 * by way of a narrower type rounds and stays. */
static void test_undone_nodes(void **state) {
    (void)state;
    plan_test_pass("simplify", NULL,
                   "%1 = input \"x\" : bf16[2, 3]\n%2 = cast(%1) {dtype=12} : f32[2, 3]\n"
                   "%3 = cast(%2) {dtype=11} : bf16[2, 3]\n%4 = unary(%3) : bf16[2, 3]\n"
                   "%5 = unary(%4) : bf16[2, 3]\n%6 = concat(%5) : bf16[2, 3]\n"
                   "%7 = input \"c\" : bool[2, 3]\n"
                   "%8 = select(%7, %6, %6) : bf16[2, 3]\n"
                   "%9 = unary(%8) {kind=1} : bf16[2, 3]\noutput %9\n",
                   "%1 = input \"x\" : bf16[2, 3]\n%2 = unary(%1) {kind=1} : bf16[2, 3]\n"
                   "output %2\n");
    static const char stays[] = X "%2 = cast(%1) {dtype=11} : bf16[2, 3]\n"
                                  "%3 = cast(%2) {dtype=12} : f32[2, 3]\n"
                                  "%4 = unary(%3) {kind=1} : f32[2, 3]\noutput %4\n";
    plan_test_pass("simplify", NULL, stays, stays);
}

/* An output that changes nothing leaves its place to the node that computes the value. */
static void test_output_of_another(void **state) {
    (void)state;
    plan_test_pass("simplify", NULL,
                   X "%2 = unary(%1) {kind=1} : f32[2, 3]\n"
                     "%3 = cast(%2) {dtype=12} : f32[2, 3]\n"
                     "%4 = unary(%2) {kind=2} : f32[2, 3]\n"
                     "%5 = cast(%2) {dtype=12} : f32[2, 3]\noutput %3, %4, %5\n",
                   X "%2 = unary(%1) {kind=1} : f32[2, 3]\n"
                     "%3 = unary(%2) {kind=2} : f32[2, 3]\n"
                     "%4 = cast(%2) {dtype=12} : f32[2, 3]\noutput %2, %3, %4\n");
}

/* ---- constants ---- */

static void expect_folded(const char *backend, const char *text, const char *want) {
    plan_test t = {.pass = "simplify", .backend = backend};
    plan_test_open(&t);
    plan_test_expect(&t, text, want);
    plan_test_close(&t);
}

/* What depends on data alone is computed once, views and ops without inputs too, and then counts as
 * a constant itself. */
static void test_constants(void **state) {
    (void)state;
    expect_folded("cpu",
                  X "%2 = data {value=1} : f32[]\n%3 = data {value=2} : f32[]\n"
                    "%4 = binary(%2, %3) : f32[]\n%5 = cast(%4) {dtype=11} : bf16[]\n"
                    "%6 = cast(%1) {dtype=11} : bf16[2, 3]\n"
                    "%7 = binary(%6, %5) {kind=2} : bf16[2, 3]\n"
                    "%8 = binary(%3, %2) {kind=1} : f32[]\n"
                    "%9 = cast(%8) {dtype=11} : bf16[]\n"
                    "%10 = binary(%7, %9) {kind=2} : bf16[2, 3]\noutput %10\n",
                  X "%2 = cast(%1) {dtype=11} : bf16[2, 3]\n"
                    "%3 = data {bits=16448} : bf16[]\n"
                    "%4 = binary(%2, %3) {kind=2} : bf16[2, 3]\noutput %4\n");
    expect_folded("cpu",
                  X "%2 = arange() {start=1, step=2, n=6, dtype=12} : f32[6]\n"
                    "%3 = reshape(%2) {rank=2, d0=2, d1=3} : f32[2, 3]\n"
                    "%4 = permute(%3) {order=[1, 0]} : f32[3, 2]\n"
                    "%5 = reduce(%4) : f32[2]\n%6 = reduce(%5) : f32[]\n"
                    "%7 = binary(%1, %6) : f32[2, 3]\n"
                    "%8 = binary(%7, %3) : f32[2, 3]\noutput %8\n",
                  X "%2 = data {value=36} : f32[]\n%3 = binary(%1, %2) : f32[2, 3]\n"
                    "%4 = data : f32[6]\n"
                    "%5 = reshape(%4) {rank=2, d0=2, d1=3} : f32[2, 3]\n"
                    "%6 = binary(%3, %5) : f32[2, 3]\noutput %6\n");
}

/* Not computed: an output, what depends on a weight or an input, large results, anything in a graph
 * without inputs, and anything where nothing can be computed. */
static void test_what_is_no_constant(void **state) {
    (void)state;
    static const char output[] = X "%2 = data {value=3} : f32[]\n%3 = unary(%2) : f32[]\n"
                                   "%4 = weight \"w\" : f32[]\n%5 = binary(%4, %2) : f32[]\n"
                                   "%6 = binary(%1, %5) : f32[2, 3]\noutput %3, %6\n";
    static const char want[] = "%1 = data {value=3} : f32[]\n%2 = unary(%1) : f32[]\n"
                               "%3 = input \"x\" : f32[2, 3]\n%4 = weight \"w\" : f32[]\n"
                               "%5 = binary(%4, %1) : f32[]\n"
                               "%6 = binary(%3, %5) : f32[2, 3]\noutput %2, %6\n";
    static const char large[] = "%1 = input \"x\" : f32[20000]\n"
                                "%2 = arange() {n=20000, step=1.0, dtype=12} : f32[20000]\n"
                                "%3 = binary(%1, %2) : f32[20000]\noutput %3\n";
    static const char lonely[] = "%1 = data {value=3} : f32[]\n%2 = unary(%1) {kind=1} : f32[]\n"
                                 "%3 = unary(%2) {kind=2} : f32[]\noutput %3\n";
    static const char null[] = X "%2 = data {value=3} : f32[]\n%3 = unary(%2) : f32[]\n"
                                 "%4 = binary(%1, %3) : f32[2, 3]\noutput %4\n";
    expect_folded("cpu", output, want);
    expect_folded("cpu", large, large);
    expect_folded("cpu", lonely, lonely);
    expect_folded("null", null, null);
}

/* Without memory for the constants there is no plan, and nothing leaks. */
static void test_constants_without_memory(void **state) {
    (void)state;
    static const char text[] = X "%2 = data {value=3} : f32[]\n%3 = unary(%2) {kind=1} : f32[]\n"
                                 "%4 = binary(%1, %3) : f32[2, 3]\noutput %4\n";
    mica_alloc_counter counted;
    mica_alloc_counter_init(&counted, mica_allocator_default());
    plan_test t = {.backend = "cpu", .allocator = &counted.allocator};
    plan_test_open(&t);
    plan_test_parse(&t, text);
    int n_failed = 0;
    mica_status st = MICA_STATUS_OUT_OF_MEMORY;
    for (int64_t at = 1; st != MICA_STATUS_OK; at++) {
        counted.fail_at = counted.n_calls + at;
        int64_t last = counted.fail_at;
        st = plan_test_build(&t);
        n_failed += st != MICA_STATUS_OK;
        if (st != MICA_STATUS_OK) assert_int_equal(st, MICA_STATUS_OUT_OF_MEMORY);
        if (st == MICA_STATUS_OK) assert_true(counted.n_calls < last);
    }
    assert_true(n_failed > 10);
    assert_int_equal(mica_graph_count(t.plan->graph), 4);
    plan_test_close(&t);
    assert_int_equal(counted.n_live, 0);
}

/* What could change a bit stays: x + 0 (-0 becomes +0), x - -0, 1 / x, 0 - x, and a product that
 * stretches x. For integers x + 0 goes. */
static void test_what_stays(void **state) {
    (void)state;
    static const char stays[] = "%1 = data {value=0} : f32[]\n"
                                "%2 = data {value=1} : f32[]\n"
                                "%3 = input \"x\" : f32[2, 3]\n"
                                "%4 = binary(%3, %1) : f32[2, 3]\n"
                                "%5 = data {value=-0} : f32[]\n"
                                "%6 = binary(%4, %5) {kind=1} : f32[2, 3]\n"
                                "%7 = binary(%2, %6) {kind=3} : f32[2, 3]\n"
                                "%8 = binary(%1, %7) {kind=1} : f32[2, 3]\n"
                                "%9 = reduce(%8) {axis=1} : f32[2]\n"
                                "%10 = reshape(%2) {rank=2, d0=1, d1=1} : f32[1, 1]\n"
                                "%11 = binary(%9, %10) {kind=2} : f32[1, 2]\n"
                                "output %11\n";
    plan_test_pass("simplify", NULL, stays, stays);
    plan_test_pass("simplify", NULL,
                   "%1 = input \"x\" : i32[2]\n%2 = data {value=0} : i32[]\n"
                   "%3 = binary(%1, %2) : i32[2]\n%4 = unary(%3) : i32[2]\noutput %4\n",
                   "%1 = input \"x\" : i32[2]\n%2 = unary(%1) : i32[2]\noutput %2\n");
}

/* Views that see the same elements are one, and those that see the whole storage are its owner. */
static void test_views(void **state) {
    (void)state;
    plan_test_pass("simplify", NULL,
                   X "%2 = permute(%1) {order=[1, 0]} : f32[3, 2]\n"
                     "%3 = permute(%2) {order=[1, 0]} : f32[2, 3]\n"
                     "%4 = unary(%3) : f32[2, 3]\n"
                     "%5 = reshape(%1) {rank=1, d0=6} : f32[6]\n"
                     "%6 = reshape(%5) {rank=2, d0=3, d1=2} : f32[3, 2]\n"
                     "%7 = unary(%6) : f32[3, 2]\n"
                     "%8 = reshape(%1) {rank=2, d0=3, d1=2} : f32[3, 2]\n"
                     "%9 = unary(%8) : f32[3, 2]\n"
                     "%10 = binary(%7, %9) : f32[3, 2]\n"
                     "output %4, %10\n",
                   X "%2 = unary(%1) : f32[2, 3]\n"
                     "%3 = reshape(%1) {rank=1, d0=6} : f32[6]\n"
                     "%4 = reshape(%3) {rank=2, d0=3, d1=2} : f32[3, 2]\n"
                     "%5 = unary(%4) : f32[3, 2]\n"
                     "%6 = binary(%5, %5) : f32[3, 2]\n"
                     "output %2, %6\n");
}

/* A cast to the own dtype copies a strided view, on which a later view may rest: it stays. */
static void test_copies_stay(void **state) {
    (void)state;
    static const char text[] = X "%2 = permute(%1) {order=[1, 0]} : f32[3, 2]\n"
                                 "%3 = cast(%2) {dtype=12} : f32[3, 2]\n"
                                 "%4 = reshape(%3) {rank=1, d0=6} : f32[6]\n"
                                 "%5 = unary(%4) : f32[6]\noutput %5\n";
    plan_test_pass("simplify", NULL, text, text);
}

/* Each output keeps a node of its own, for it has a buffer of its own. */
static void test_outputs_stay(void **state) {
    (void)state;
    static const char text[] = X "%2 = unary(%1) : f32[2, 3]\n"
                                 "%3 = unary(%1) : f32[2, 3]\n"
                                 "%4 = data {value=1} : f32[]\n"
                                 "%5 = binary(%1, %4) {kind=2} : f32[2, 3]\n"
                                 "output %2, %3, %5\n";
    plan_test_pass("simplify", NULL, text, text);
}

/* What an effect overwrites is not shared: its copy must not become the value itself. */
static void test_effects_stay(void **state) {
    (void)state;
    static const char text[] = X "%2 = unary(%1) : f32[2, 3]\n"
                                 "%3 = cast(%2) {dtype=12} : f32[2, 3]\n"
                                 "%4 = effect(%2, %1) : f32[2, 3]\n"
                                 "%5 = binary(%3, %4) : f32[2, 3]\n"
                                 "%6 = unary(%1) : f32[2, 3]\n"
                                 "%7 = effect(%6, %1) : f32[2, 3]\n"
                                 "%8 = binary(%5, %7) : f32[2, 3]\n"
                                 "output %8\n";
    plan_test t = {.pass = "simplify"};
    plan_test_open(&t);
    plan_test_add_effect(&t);
    plan_test_expect(&t, text, text);
    plan_test_close(&t);
}

/* Switched off by name, nothing is merged. */
static void test_switch(void **state) {
    (void)state;
    plan_test_pass("lower", "simplify",
                   X "%2 = unary(%1) : f32[2, 3]\n%3 = unary(%1) : f32[2, 3]\n"
                     "%4 = binary(%2, %3) : f32[2, 3]\noutput %4\n",
                   X "%2 = unary(%1) : f32[2, 3]\n%3 = unary(%1) : f32[2, 3]\n"
                     "%4 = binary(%2, %3) : f32[2, 3]\noutput %4\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_nodes),         cmocka_unit_test(test_neutral_nodes),
        cmocka_unit_test(test_what_stays),          cmocka_unit_test(test_views),
        cmocka_unit_test(test_copies_stay),         cmocka_unit_test(test_outputs_stay),
        cmocka_unit_test(test_effects_stay),        cmocka_unit_test(test_switch),
        cmocka_unit_test(test_swapped_sides),       cmocka_unit_test(test_undone_nodes),
        cmocka_unit_test(test_output_of_another),   cmocka_unit_test(test_constants),
        cmocka_unit_test(test_what_is_no_constant), cmocka_unit_test(test_constants_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
