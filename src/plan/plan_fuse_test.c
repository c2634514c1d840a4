/* Pass fuse: chains of elementwise ops become programs; what must stay apart does. That results do
 * not change is proved by plan_random_test.c and by program_test.c. */
#include "plan_test.h"

#define X "%1 = input \"x\" : f32[4, 8]\n"

static void plan_test_dump(plan_test *t, const char *text) {
    mica_error err = {0};
    plan_test_parse(t, text);
    mica_status st = plan_test_build(t);
    err = t->err;
    assert_ok(st);
}

static void a_chain_becomes_a_program(void **state) {
    /* Proves: silu(gate) * up + x is one node, and a soft cap with its constants is one. */
    (void)state;
    plan_test_pass("fuse", NULL,
                   X "%2 = input \"gate\" : f32[4, 8]\n"
                     "%3 = input \"up\" : f32[4, 8]\n"
                     "%4 = unary(%2) {kind=11} : f32[4, 8]\n"
                     "%5 = binary(%4, %3) {kind=2} : f32[4, 8]\n"
                     "%6 = binary(%1, %5) : f32[4, 8]\n"
                     "output %6\n",
                   X "%2 = input \"gate\" : f32[4, 8]\n"
                     "%3 = input \"up\" : f32[4, 8]\n"
                     "%4 = program(%1, %2, %3) {code=[11, 1, 0, 66, 7, 2, 64, 0, 8]} : f32[4, 8]\n"
                     "output %4\n");
    plan_test_pass("fuse", NULL,
                   X "%2 = data {value=3} : f32[]\n"
                     "%3 = binary(%1, %2) {kind=3} : f32[4, 8]\n"
                     "%4 = unary(%3) {kind=9} : f32[4, 8]\n"
                     "%5 = binary(%4, %2) {kind=2} : f32[4, 8]\n"
                     "output %5\n",
                   X "%2 = program(%1) {c0=3, code=[67, 0, 3, 9, 7, 0, 66, 8, 3]} : f32[4, 8]\n"
                     "output %2\n");
}

static void a_residual_goes_into_the_linear(void **state) {
    /* Proves: x + linear(h) and linear(h) + x are one node; not when the linear is seen elsewhere,
     * nor when x is stretched. */
    (void)state;
#define LINEAR                                                                                     \
    X "%2 = input \"h\" : f32[4, 16]\n"                                                            \
      "%3 = input \"w\" : f32[8, 16]\n"                                                            \
      "%4 = linear(%2, %3, _) : f32[4, 8]\n"
    static const char fused[] = "%1 = input \"h\" : f32[4, 16]\n"
                                "%2 = input \"w\" : f32[8, 16]\n"
                                "%3 = input \"x\" : f32[4, 8]\n"
                                "%4 = linear(%1, %2, _, %3) : f32[4, 8]\n"
                                "output %4\n";
    plan_test_pass("fuse", NULL, LINEAR "%5 = binary(%1, %4) : f32[4, 8]\noutput %5\n", fused);
    plan_test_pass("fuse", NULL, LINEAR "%5 = binary(%4, %1) : f32[4, 8]\noutput %5\n", fused);
    static const char seen[] = LINEAR "%5 = binary(%1, %4) : f32[4, 8]\n"
                                      "output %4, %5\n";
    static const char seen_after[] = "%1 = input \"h\" : f32[4, 16]\n"
                                     "%2 = input \"w\" : f32[8, 16]\n"
                                     "%3 = linear(%1, %2, _) : f32[4, 8]\n"
                                     "%4 = input \"x\" : f32[4, 8]\n"
                                     "%5 = binary(%4, %3) : f32[4, 8]\n"
                                     "output %3, %5\n";
    plan_test_pass("fuse", NULL, seen, seen_after);
    plan_test_pass("fuse", NULL,
                   "%1 = input \"x\" : f32[8]\n"
                   "%2 = input \"h\" : f32[4, 16]\n"
                   "%3 = input \"w\" : f32[8, 16]\n"
                   "%4 = linear(%2, %3, _) : f32[4, 8]\n"
                   "%5 = binary(%1, %4) : f32[4, 8]\n"
                   "output %5\n",
                   "%1 = input \"x\" : f32[8]\n"
                   "%2 = input \"h\" : f32[4, 16]\n"
                   "%3 = input \"w\" : f32[8, 16]\n"
                   "%4 = linear(%2, %3, _) : f32[4, 8]\n"
                   "%5 = binary(%1, %4) : f32[4, 8]\n"
                   "output %5\n");
#undef LINEAR
}

static void roundings_stay(void **state) {
    /* Proves: values of a chain in bf16 are rounded by instructions, and casts become roundings. */
    (void)state;
    plan_test_pass("fuse", NULL,
                   "%1 = input \"x\" : bf16[8]\n"
                   "%2 = unary(%1) {kind=5} : bf16[8]\n"
                   "%3 = cast(%2) {dtype=12} : f32[8]\n"
                   "%4 = unary(%3) {kind=2} : f32[8]\n"
                   "%5 = cast(%4) {dtype=10} : f16[8]\n"
                   "output %5\n",
                   "%1 = input \"x\" : bf16[8]\n"
                   "%2 = program(%1) {code=[5, 0, 0, 129, 7, 0, 2, 8, 0, 128, 9, 0]} : f16[8]\n"
                   "output %2\n");
}

static void what_is_seen_elsewhere_stays(void **state) {
    /* Proves: a value with two users, an output, a value of another shape and single nodes stay. */
    (void)state;
    static const char stays[] = X "%2 = unary(%1) {kind=5} : f32[4, 8]\n"
                                  "%3 = unary(%2) {kind=9} : f32[4, 8]\n"
                                  "%4 = reduce(%2) {axis=1} : f32[4]\n"
                                  "%5 = unary(%4) {kind=5} : f32[4]\n"
                                  "%6 = reshape(%5) {rank=2, d0=4, d1=1} : f32[4, 1]\n"
                                  "%7 = binary(%1, %6) {kind=2} : f32[4, 8]\n"
                                  "output %3, %7\n";
    plan_test_pass("fuse", NULL, stays, stays);
    static const char outputs[] = X "%2 = unary(%1) {kind=5} : f32[4, 8]\n"
                                    "%3 = unary(%2) {kind=9} : f32[4, 8]\n"
                                    "output %2, %3\n";
    plan_test_pass("fuse", NULL, outputs, outputs);
    static const char integers[] = "%1 = input \"x\" : i32[4]\n"
                                   "%2 = unary(%1) {kind=2} : i32[4]\n"
                                   "%3 = unary(%2) : i32[4]\n"
                                   "output %3\n";
    plan_test_pass("fuse", NULL, integers, integers);
}

static void a_long_chain_is_cut(void **state) {
    /* Proves: a chain of more instructions or inputs than a program holds is cut, not lost. */
    (void)state;
    char text[2048], line[96];
    size_t used = 0;
    used += (size_t)snprintf(text, sizeof text, "%%1 = input \"x\" : f32[8]\n");
    for (int i = 2; i <= 21; i++)
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "%%%d = unary(%%%d) {kind=5} : f32[8]\n", i, i - 1);
    snprintf(text + used, sizeof text - used, "output %%21\n");
    plan_test t = {.pass = "fuse"};
    plan_test_open(&t);
    plan_test_dump(&t, text);
    snprintf(line, sizeof line, "%%3 = program(%%2)");
    assert_non_null(strstr(t.dump, line));
    assert_non_null(strstr(t.dump, "output %3\n"));
    plan_test_close(&t);
    plan_test_pass("fuse", NULL,
                   "%1 = input \"a\" : f32[8]\n%2 = input \"b\" : f32[8]\n"
                   "%3 = input \"c\" : f32[8]\n%4 = input \"d\" : f32[8]\n"
                   "%5 = binary(%1, %2) : f32[8]\n"
                   "%6 = binary(%3, %4) : f32[8]\n"
                   "%7 = binary(%5, %6) {kind=2} : f32[8]\n"
                   "output %7\n",
                   "%1 = input \"a\" : f32[8]\n%2 = input \"b\" : f32[8]\n"
                   "%3 = input \"c\" : f32[8]\n%4 = input \"d\" : f32[8]\n"
                   "%5 = binary(%3, %4) : f32[8]\n"
                   "%6 = program(%1, %2, %5) {code=[64, 0, 1, 66, 7, 2]} : f32[8]\n"
                   "output %6\n");
}

static void readers_before_an_effect_stay(void **state) {
    /* Proves: a value computed from what an effect overwrites is not moved behind the effect. */
    (void)state;
    static const char text[] = "%1 = input \"pool\" : f32[8]\n"
                               "%2 = unary(%1) {kind=5} : f32[8]\n"
                               "%3 = input \"x\" : f32[8]\n"
                               "%4 = effect(%1, %3, %2) : f32[8]\n"
                               "%5 = unary(%1) {kind=9} : f32[8]\n"
                               "%6 = binary(%5, %4) : f32[8]\n"
                               "output %6\n";
    plan_test t = {.pass = "fuse"};
    plan_test_open(&t);
    plan_test_add_effect(&t);
    plan_test_dump(&t, text);
    assert_null(strstr(t.dump, "program"));
    plan_test_close(&t);
}

static void it_can_be_switched_off(void **state) {
    /* Proves: with no_pass=fuse the graph stays as it is. */
    (void)state;
    plan_test t = {.pass = "fuse,lower", .no_pass = "fuse"};
    plan_test_open(&t);
    plan_test_dump(&t, X "%2 = unary(%1) {kind=5} : f32[4, 8]\n"
                         "%3 = unary(%2) {kind=9} : f32[4, 8]\n"
                         "output %3\n");
    assert_null(strstr(t.dump, "program"));
    plan_test_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_becomes_a_program),
        cmocka_unit_test(a_residual_goes_into_the_linear),
        cmocka_unit_test(roundings_stay),
        cmocka_unit_test(what_is_seen_elsewhere_stays),
        cmocka_unit_test(a_long_chain_is_cut),
        cmocka_unit_test(readers_before_an_effect_stay),
        cmocka_unit_test(it_can_be_switched_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
