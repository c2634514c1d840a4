/* Pass fuse: linears of one x become projects, side by side or gated, with the norm and the choice
 * of rows before them; what must stay apart does. That projects give the bits of what they replace
 * is proved by project_test.c. */
#include "plan_test.h"

#define X1 "%1 = input \"x\" : f32[1, 32]\n"
#define X4 "%1 = input \"x\" : f32[4, 32]\n"
#define X5 "%1 = input \"x\" : f32[5, 32]\n"
#define NORM_WEIGHT "%2 = input \"norm\" : f32[32]\n"
#define WEIGHTS                                                                                    \
    "%3 = input \"w0\" : f32[8, 32]\n"                                                             \
    "%4 = input \"w1\" : f32[8, 32]\n"

static void stays(const char *text) { plan_test_pass("fuse", NULL, text, text); }

static void a_norm_goes_into_its_linear(void **state) {
    /* Proves: linear(rms_norm(x)) is one node up to 4 rows; not with 5, and not when the norm is
     * seen elsewhere. */
    (void)state;
#define NORMED(x, rows)                                                                            \
    x NORM_WEIGHT "%3 = input \"w0\" : f32[8, 32]\n"                                               \
                  "%4 = input \"b0\" : f32[8]\n"                                                   \
                  "%5 = rms_norm(%1, %2) {eps=1e-05, offset=1} : f32[" rows ", 32]\n"              \
                  "%6 = linear(%5, %3, %4) : f32[" rows ", 8]\n"
    plan_test_pass("fuse", NULL, NORMED(X4, "4") "output %6\n",
                   X4 NORM_WEIGHT "%3 = input \"w0\" : f32[8, 32]\n"
                                  "%4 = input \"b0\" : f32[8]\n"
                                  "%5 = project(%1, %2, _, %3, %4) {eps=1e-05, offset=1, "
                                  "normed=true} : f32[4, 8]\n"
                                  "output %5\n");
    static const char many[] = X5 NORM_WEIGHT "%3 = rms_norm(%1, %2) {eps=1e-05} : f32[5, 32]\n"
                                              "%4 = input \"w0\" : f32[8, 32]\n"
                                              "%5 = linear(%3, %4, _) : f32[5, 8]\n"
                                              "output %5\n";
    stays(many);
    static const char seen[] = X4 NORM_WEIGHT "%3 = rms_norm(%1, %2) {eps=1e-05} : f32[4, 32]\n"
                                              "%4 = input \"w0\" : f32[8, 32]\n"
                                              "%5 = linear(%3, %4, _) : f32[4, 8]\n"
                                              "output %3, %5\n";
    stays(seen);
#undef NORMED
}

static void the_choice_of_rows_goes_along(void **state) {
    /* Proves: gather, norm and linear of the rows that are wanted are one node; the choice stays a
     * node where it converts or is seen elsewhere. */
    (void)state;
#define HEAD(params, table, seen)                                                                  \
    "%1 = input \"x\" : " table "[9, 32]\n"                                                        \
    "%2 = input \"rows\" : i32[2]\n"                                                               \
    "%3 = gather(%1, %2)" params " : f32[2, 32]\n"                                                 \
    "%4 = input \"norm\" : f32[32]\n"                                                              \
    "%5 = rms_norm(%3, %4) {eps=1e-05} : f32[2, 32]\n"                                             \
    "%6 = input \"w0\" : f32[8, 32]\n"                                                             \
    "%7 = linear(%5, %6, _) : f32[2, 8]\n"                                                         \
    "output " seen "%7\n"
    plan_test_pass("fuse", NULL, HEAD("", "f32", ""),
                   "%1 = input \"x\" : f32[9, 32]\n"
                   "%2 = input \"norm\" : f32[32]\n"
                   "%3 = input \"rows\" : i32[2]\n"
                   "%4 = input \"w0\" : f32[8, 32]\n"
                   "%5 = project(%1, %2, %3, %4, _) {eps=1e-05, normed=true} : f32[2, 8]\n"
                   "output %5\n");
#define KEPT(params, table, seen)                                                                  \
    "%1 = input \"x\" : " table "[9, 32]\n"                                                        \
    "%2 = input \"rows\" : i32[2]\n"                                                               \
    "%3 = gather(%1, %2)" params " : f32[2, 32]\n"                                                 \
    "%4 = input \"norm\" : f32[32]\n"                                                              \
    "%5 = input \"w0\" : f32[8, 32]\n"                                                             \
    "%6 = project(%3, %4, _, %5, _) {eps=1e-05, normed=true} : f32[2, 8]\n"                        \
    "output " seen "%6\n"
    plan_test_pass("fuse", NULL, HEAD(" {dtype=12}", "bf16", ""), KEPT(" {dtype=12}", "bf16", ""));
    plan_test_pass("fuse", NULL, HEAD("", "f32", "%3, "), KEPT("", "f32", "%3, "));
#undef HEAD
#undef KEPT
}

static void gate_and_other_are_one(void **state) {
    /* Proves: silu(x a) * (x b) is one node, either way round, with its norm where x has few rows;
     * not when one of the linears is seen elsewhere or has another x. */
    (void)state;
#define PAIR(x, rows)                                                                              \
    x NORM_WEIGHT WEIGHTS "%5 = rms_norm(%1, %2) {eps=1e-05} : f32[" rows ", 32]\n"                \
                          "%6 = linear(%5, %3, _) : f32[" rows ", 8]\n"                            \
                          "%7 = linear(%5, %4, _) : f32[" rows ", 8]\n"                            \
                          "%8 = unary(%6) {kind=11} : f32[" rows ", 8]\n"
    plan_test_pass(
        "fuse", NULL, PAIR(X4, "4") "%9 = binary(%8, %7) {kind=2} : f32[4, 8]\noutput %9\n",
        X4 NORM_WEIGHT WEIGHTS "%5 = project(%1, %2, _, %3, _, %4, _) {eps=1e-05, activation=11, "
                               "normed=true, gated=true} : f32[4, 8]\n"
                               "output %5\n");
    plan_test_pass(
        "fuse", NULL, PAIR(X4, "4") "%9 = binary(%7, %8) {kind=2} : f32[4, 8]\noutput %9\n",
        X4 NORM_WEIGHT WEIGHTS "%5 = project(%1, %2, _, %3, _, %4, _) {eps=1e-05, activation=11, "
                               "normed=true, gated=true} : f32[4, 8]\n"
                               "output %5\n");
    plan_test_pass("fuse", NULL,
                   PAIR(X5, "5") "%9 = binary(%8, %7) {kind=2} : f32[5, 8]\noutput %9\n",
                   X5 NORM_WEIGHT "%3 = rms_norm(%1, %2) {eps=1e-05} : f32[5, 32]\n"
                                  "%4 = input \"w0\" : f32[8, 32]\n"
                                  "%5 = input \"w1\" : f32[8, 32]\n"
                                  "%6 = project(%3, _, _, %4, _, %5, _) {activation=11, "
                                  "gated=true} : f32[5, 8]\n"
                                  "output %6\n");
#undef PAIR
    stays(X5 "%2 = input \"w0\" : f32[8, 32]\n"
             "%3 = linear(%1, %2, _) : f32[5, 8]\n"
             "%4 = input \"y\" : f32[5, 32]\n"
             "%5 = input \"w1\" : f32[8, 32]\n"
             "%6 = linear(%4, %5, _) : f32[5, 8]\n"
             "%7 = program(%3, %6) {code=[11, 0, 0, 66, 7, 1]} : f32[5, 8]\n"
             "output %7\n");
    stays(X5 "%2 = input \"w0\" : f32[8, 32]\n"
             "%3 = linear(%1, %2, _) : f32[5, 8]\n"
             "%4 = input \"w1\" : f32[8, 32]\n"
             "%5 = linear(%1, %4, _) : f32[5, 8]\n"
             "%6 = program(%3, %5) {code=[11, 0, 0, 66, 7, 1]} : f32[5, 8]\n"
             "output %6, %5\n");
}

static void halves_are_a_gate(void **state) {
    /* Proves: the gate may be the first half of one linear's columns; other parts stay. */
    (void)state;
#define HALVES(a, b, c, d)                                                                         \
    X5 "%2 = input \"w\" : f32[16, 32]\n"                                                          \
       "%3 = linear(%1, %2, _) : f32[5, 16]\n"                                                     \
       "%4 = slice(%3) {" a "stop=" b ", step=1, axis=1} : f32[5, 8]\n"                            \
       "%5 = unary(%4) {kind=11} : f32[5, 8]\n"                                                    \
       "%6 = slice(%3) {" c "stop=" d ", step=1, axis=1} : f32[5, 8]\n"                            \
       "%7 = binary(%5, %6) {kind=2} : f32[5, 8]\n"                                                \
       "output %7\n"
    plan_test_pass("fuse", NULL, HALVES("", "8", "start=8, ", "16"),
                   X5 "%2 = input \"w\" : f32[16, 32]\n"
                      "%3 = project(%1, _, _, %2, _) {activation=11, gated=true} : f32[5, 8]\n"
                      "output %3\n");
#define KEPT(a, b, c, d)                                                                           \
    X5 "%2 = input \"w\" : f32[16, 32]\n"                                                          \
       "%3 = linear(%1, %2, _) : f32[5, 16]\n"                                                     \
       "%4 = slice(%3) {" a "stop=" b ", step=1, axis=1} : f32[5, 8]\n"                            \
       "%5 = slice(%3) {" c "stop=" d ", step=1, axis=1} : f32[5, 8]\n"                            \
       "%6 = program(%4, %5) {code=[11, 0, 0, 66, 7, 1]} : f32[5, 8]\n"                            \
       "output %6\n"
    plan_test_pass("fuse", NULL, HALVES("start=8, ", "16", "", "8"),
                   KEPT("start=8, ", "16", "", "8"));
    plan_test_pass("fuse", NULL, HALVES("", "8", "start=4, ", "12"),
                   KEPT("", "8", "start=4, ", "12"));
#undef HALVES
#undef KEPT
}

static void linears_stand_side_by_side(void **state) {
    /* Proves: three linears of one normed x are one node; users read views of its columns. */
    (void)state;
    plan_test_pass("fuse", NULL,
                   X1 NORM_WEIGHT "%3 = rms_norm(%1, %2) {eps=1e-05} : f32[1, 32]\n"
                                  "%4 = input \"k\" : f32[8, 32]\n"
                                  "%5 = linear(%3, %4, _) : f32[1, 8]\n"
                                  "%6 = input \"q\" : f32[16, 32]\n"
                                  "%7 = input \"b\" : f32[16]\n"
                                  "%8 = linear(%3, %6, %7) : f32[1, 16]\n"
                                  "%9 = reshape(%8) {rank=3, d0=1, d1=2, d2=8} : f32[1, 2, 8]\n"
                                  "%10 = softmax(%9) : f32[1, 2, 8]\n"
                                  "%11 = input \"v\" : f32[8, 32]\n"
                                  "%12 = linear(%3, %11, _) : f32[1, 8]\n"
                                  "%13 = softmax(%5) : f32[1, 8]\n"
                                  "%14 = softmax(%12) : f32[1, 8]\n"
                                  "output %10, %13, %14\n",
                   X1 NORM_WEIGHT
                   "%3 = input \"q\" : f32[16, 32]\n"
                   "%4 = input \"b\" : f32[16]\n"
                   "%5 = input \"k\" : f32[8, 32]\n"
                   "%6 = input \"v\" : f32[8, 32]\n"
                   "%7 = project(%1, %2, _, %3, %4, %5, _, %6, _) {eps=1e-05, normed=true} : "
                   "f32[1, 32]\n"
                   "%8 = slice(%7) {stop=16, step=1, axis=1} : f32[1, 16]\n"
                   "%9 = reshape(%8) {rank=3, d0=1, d1=2, d2=8} : f32[1, 2, 8]\n"
                   "%10 = softmax(%9) : f32[1, 2, 8]\n"
                   "%11 = slice(%7) {start=16, stop=24, step=1, axis=1} : f32[1, 8]\n"
                   "%12 = softmax(%11) : f32[1, 8]\n"
                   "%13 = slice(%7) {start=24, stop=32, step=1, axis=1} : f32[1, 8]\n"
                   "%14 = softmax(%13) : f32[1, 8]\n"
                   "output %10, %12, %14\n");
}

static void no_copies_for_it(void **state) {
    /* Proves: with several rows linears stand side by side only where all users read with strides;
     * where they do not, nothing has changed, views of the linears included. */
    (void)state;
#define TWO                                                                                        \
    X4 "%2 = input \"k\" : f32[8, 32]\n"                                                           \
       "%3 = linear(%1, %2, _) : f32[4, 8]\n"                                                      \
       "%4 = input \"q\" : f32[8, 32]\n"                                                           \
       "%5 = linear(%1, %4, _) : f32[4, 8]\n"
#define SIDES                                                                                      \
    X4 "%2 = input \"k\" : f32[8, 32]\n"                                                           \
       "%3 = input \"q\" : f32[8, 32]\n"                                                           \
       "%4 = project(%1, _, _, %2, _, %3, _) : f32[4, 16]\n"                                       \
       "%5 = slice(%4) {stop=8, step=1, axis=1} : f32[4, 8]\n"                                     \
       "%6 = slice(%4) {start=8, stop=16, step=1, axis=1} : f32[4, 8]\n"
    plan_test_pass("fuse", NULL, TWO "%6 = binary(%3, %5) {kind=2} : f32[4, 8]\noutput %6\n",
                   SIDES "%7 = binary(%5, %6) {kind=2} : f32[4, 8]\noutput %7\n");
    stays(X4 "%2 = input \"k\" : f32[8, 32]\n"
             "%3 = linear(%1, %2, _) : f32[4, 8]\n"
             "%4 = reshape(%3) {rank=3, d0=4, d1=2, d2=4} : f32[4, 2, 4]\n"
             "%5 = unary(%4) {kind=5} : f32[4, 2, 4]\n"
             "%6 = input \"q\" : f32[8, 32]\n"
             "%7 = linear(%1, %6, _) : f32[4, 8]\n"
             "%8 = softmax(%7) : f32[4, 8]\n"
             "output %5, %8\n");
    stays(X4 "%2 = input \"k\" : f32[8, 32]\n"
             "%3 = linear(%1, %2, _) : f32[4, 8]\n"
             "%4 = reshape(%3) {rank=1, d0=32} : f32[32]\n"
             "%5 = unary(%4) {kind=5} : f32[32]\n"
             "%6 = input \"q\" : f32[8, 32]\n"
             "%7 = linear(%1, %6, _) : f32[4, 8]\n"
             "%8 = unary(%7) {kind=5} : f32[4, 8]\n"
             "output %5, %8\n");
    stays(TWO "output %3, %5\n");
#undef TWO
#undef SIDES
}

static void no_linear_waits_for_another(void **state) {
    /* Proves: a linear whose weight another one computes stands by itself. */
    (void)state;
    stays("%1 = input \"x\" : f32[8, 8]\n"
          "%2 = input \"w\" : f32[8, 8]\n"
          "%3 = linear(%1, %2, _) : f32[8, 8]\n"
          "%4 = unary(%3) {kind=5} : f32[8, 8]\n"
          "%5 = linear(%1, %4, _) : f32[8, 8]\n"
          "%6 = unary(%5) {kind=5} : f32[8, 8]\n"
          "output %6\n");
}

static void readers_before_an_effect_stay(void **state) {
    /* Proves: linears of what an effect overwrites stay where they are. */
    (void)state;
    static const char text[] = "%1 = input \"pool\" : f32[1, 32]\n"
                               "%2 = input \"a\" : f32[8, 32]\n"
                               "%3 = linear(%1, %2, _) : f32[1, 8]\n"
                               "%4 = input \"b\" : f32[8, 32]\n"
                               "%5 = linear(%1, %4, _) : f32[1, 8]\n"
                               "%6 = effect(%1, %3, %5) : f32[1, 32]\n"
                               "%7 = reduce(%3) {axis=1} : f32[1]\n"
                               "%8 = reduce(%5) {axis=1} : f32[1]\n"
                               "output %6, %7, %8\n";
    plan_test t = {.pass = "fuse"};
    plan_test_open(&t);
    plan_test_add_effect(&t);
    plan_test_parse(&t, text);
    mica_status st = plan_test_build(&t);
    assert_int_equal(st, MICA_STATUS_OK);
    assert_null(strstr(t.dump, "project"));
    plan_test_close(&t);
}

static void every_allocation_may_fail(void **state) {
    /* Proves: without memory the pass gives a status and loses none. */
    (void)state;
    static const char text[] =
        X1 NORM_WEIGHT WEIGHTS "%5 = rms_norm(%1, %2) {eps=1e-05} : f32[1, 32]\n"
                               "%6 = linear(%5, %3, _) : f32[1, 8]\n"
                               "%7 = linear(%5, %4, _) : f32[1, 8]\n"
                               "%8 = softmax(%6) : f32[1, 8]\n"
                               "%9 = softmax(%7) : f32[1, 8]\n"
                               "output %8, %9\n";
    mica_alloc_counter counter;
    mica_alloc_counter_init(&counter, mica_allocator_default());
    plan_test t = {.pass = "fuse", .allocator = &counter.allocator};
    plan_test_open(&t);
    plan_test_parse(&t, text);
    int64_t live = counter.n_live, n_failed = 0;
    for (int64_t n = 1;; n++) {
        counter.fail_at = counter.n_calls + n;
        mica_status st = plan_test_build(&t);
        counter.fail_at = 0;
        if (st == MICA_STATUS_OK) break;
        assert_int_equal(st, MICA_STATUS_OUT_OF_MEMORY);
        assert_int_equal(counter.n_live, live);
        n_failed++;
    }
    assert_non_null(strstr(t.dump, "project"));
    assert_true(n_failed > 5);
    plan_test_close(&t);
    assert_int_equal(counter.n_live, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_norm_goes_into_its_linear),
        cmocka_unit_test(the_choice_of_rows_goes_along),
        cmocka_unit_test(gate_and_other_are_one),
        cmocka_unit_test(halves_are_a_gate),
        cmocka_unit_test(linears_stand_side_by_side),
        cmocka_unit_test(no_copies_for_it),
        cmocka_unit_test(no_linear_waits_for_another),
        cmocka_unit_test(readers_before_an_effect_stay),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
