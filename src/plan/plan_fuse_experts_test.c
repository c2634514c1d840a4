/* Pass fuse on mixtures of experts: few tokens, many tokens, two weights, another router; what is
 * seen elsewhere stays. That the bits stay is proved by the tests of the ops. */
#include "plan_test.h"

/* Gates and ups interleaved; the softmax runs over the chosen scores. */
#define MIXTURE(t, list, output)                                                                   \
    "%1 = input \"x\" : f32[" t ", 8]\n"                                                           \
    "%2 = input \"norm\" : f32[8]\n"                                                               \
    "%3 = rms_norm(%1, %2) {eps=1e-05} : f32[" t ", 8]\n"                                          \
    "%4 = input \"scores\" : f32[" t ", 6]\n"                                                      \
    "%5 = top_k(%4) {k=2} : i32[" t ", 2]\n"                                                       \
    "%6 = expert_list(%5) {n_experts=6} : i32[" list "]\n"                                         \
    "%7 = input \"gate_up\" : f32[6, 20, 8]\n"                                                     \
    "%8 = input \"gate_up_bias\" : f32[6, 20]\n"                                                   \
    "%9 = linear_experts(%3, %7, %8, %5, %6) : f32[" t ", 2, 20]\n"                                \
    "%10 = glu(%9) {kind=3, interleaved=true, alpha=1.5, limit=7} : f32[" t ", 2, 10]\n"           \
    "%11 = input \"down\" : f32[6, 8, 10]\n"                                                       \
    "%12 = linear_experts(%10, %11, _, %5, %6) : f32[" t ", 2, 8]\n"                               \
    "%13 = take_along(%4, %5) : f32[" t ", 2]\n"                                                   \
    "%14 = softmax(%13) : f32[" t ", 2]\n"                                                         \
    "%15 = combine(%12, %14) : f32[" t ", 8]\n"                                                    \
    "%16 = binary(%1, %15) : f32[" t ", 8]\n"                                                      \
    "output " output "\n"

static void few_tokens_take_two_steps(void **state) {
    /* Proves: norm, choice, list, gates, ups and activation are one node; choice, shares, down, sum
     * and residual are another. */
    (void)state;
    plan_test_pass("fuse", NULL, MIXTURE("4", "15", "%16"),
                   "%1 = input \"x\" : f32[4, 8]\n"
                   "%2 = input \"gate_up\" : f32[6, 20, 8]\n"
                   "%3 = input \"gate_up_bias\" : f32[6, 20]\n"
                   "%4 = input \"scores\" : f32[4, 6]\n"
                   "%5 = input \"norm\" : f32[8]\n"
                   "%6 = experts_glu(%1, %2, %3, _, _, _, _, %4, %5) {kind=3, interleaved=true, "
                   "alpha=1.5, limit=7, k=2, eps=1e-05} : f32[4, 2, 10]\n"
                   "%7 = input \"down\" : f32[6, 8, 10]\n"
                   "%8 = experts_sum(%6, %7, _, _, _, %4, %1) {k=2, shares=1} : f32[4, 8]\n"
                   "output %8\n");
}

static void many_tokens_share_their_list(void **state) {
    /* Proves: past the limit of tokens the list is made once and the weighted sum takes the
     * residual alone. */
    (void)state;
    plan_test_pass("fuse", NULL, MIXTURE("5", "17", "%16"),
                   "%1 = input \"x\" : f32[5, 8]\n"
                   "%2 = input \"norm\" : f32[8]\n"
                   "%3 = rms_norm(%1, %2) {eps=1e-05} : f32[5, 8]\n"
                   "%4 = input \"gate_up\" : f32[6, 20, 8]\n"
                   "%5 = input \"gate_up_bias\" : f32[6, 20]\n"
                   "%6 = input \"scores\" : f32[5, 6]\n"
                   "%7 = top_k(%6) {k=2} : i32[5, 2]\n"
                   "%8 = expert_list(%7) {n_experts=6} : i32[17]\n"
                   "%9 = experts_glu(%3, %4, %5, %7, %8, _, _, _, _) {kind=3, interleaved=true, "
                   "alpha=1.5, limit=7} : f32[5, 2, 10]\n"
                   "%10 = input \"down\" : f32[6, 8, 10]\n"
                   "%11 = linear_experts(%9, %10, _, %7, %8) : f32[5, 2, 8]\n"
                   "%12 = take_along(%6, %7) : f32[5, 2]\n"
                   "%13 = softmax(%12) : f32[5, 2]\n"
                   "%14 = combine(%11, %13, %1) : f32[5, 8]\n"
                   "output %14\n");
}

static void values_seen_elsewhere_stay(void **state) {
    /* Proves: gates that are an output are not absorbed, and the sum without its residual is a node
     * where the residual cannot be taken. */
    (void)state;
    plan_test_pass("fuse", NULL, MIXTURE("1", "9", "%9, %15"),
                   "%1 = input \"x\" : f32[1, 8]\n"
                   "%2 = input \"norm\" : f32[8]\n"
                   "%3 = rms_norm(%1, %2) {eps=1e-05} : f32[1, 8]\n"
                   "%4 = input \"gate_up\" : f32[6, 20, 8]\n"
                   "%5 = input \"gate_up_bias\" : f32[6, 20]\n"
                   "%6 = input \"scores\" : f32[1, 6]\n"
                   "%7 = top_k(%6) {k=2} : i32[1, 2]\n"
                   "%8 = expert_list(%7) {n_experts=6} : i32[9]\n"
                   "%9 = linear_experts(%3, %4, %5, %7, %8) : f32[1, 2, 20]\n"
                   "%10 = glu(%9) {kind=3, interleaved=true, alpha=1.5, limit=7} : f32[1, 2, 10]\n"
                   "%11 = input \"down\" : f32[6, 8, 10]\n"
                   "%12 = experts_sum(%10, %11, _, _, _, %6, _) {k=2, shares=1} : f32[1, 8]\n"
                   "output %9, %12\n");
}

static void two_weights_and_another_router(void **state) {
    /* Proves: gates and ups of two weights are one node; a softmax over all scores before the
     * choice and shares divided by their sum are part of both nodes. */
    (void)state;
    plan_test_pass("fuse", NULL,
                   "%1 = input \"x\" : f32[2, 8]\n"
                   "%2 = input \"scores\" : f32[2, 6]\n"
                   "%3 = softmax(%2) : f32[2, 6]\n"
                   "%4 = top_k(%3) {k=3} : i32[2, 3]\n"
                   "%5 = expert_list(%4) {n_experts=6} : i32[13]\n"
                   "%6 = input \"gate\" : f32[6, 10, 8]\n"
                   "%7 = linear_experts(%1, %6, _, %4, %5) : f32[2, 3, 10]\n"
                   "%8 = input \"up\" : f32[6, 10, 8]\n"
                   "%9 = linear_experts(%1, %8, _, %4, %5) : f32[2, 3, 10]\n"
                   "%10 = glu(%7, %9) : f32[2, 3, 10]\n"
                   "%11 = input \"down\" : f32[6, 8, 10]\n"
                   "%12 = linear_experts(%10, %11, _, %4, %5) : f32[2, 3, 8]\n"
                   "%13 = take_along(%3, %4) : f32[2, 3]\n"
                   "%14 = reduce(%13) {axis=1, keep=1} : f32[2, 1]\n"
                   "%15 = binary(%13, %14) {kind=3} : f32[2, 3]\n"
                   "%16 = combine(%12, %15) : f32[2, 8]\n"
                   "%17 = binary(%16, %1) : f32[2, 8]\n"
                   "output %17\n",
                   "%1 = input \"x\" : f32[2, 8]\n"
                   "%2 = input \"gate\" : f32[6, 10, 8]\n"
                   "%3 = input \"up\" : f32[6, 10, 8]\n"
                   "%4 = input \"scores\" : f32[2, 6]\n"
                   "%5 = experts_glu(%1, %2, _, _, _, %3, _, %4, _) {k=3, softmax_first=true} : "
                   "f32[2, 3, 10]\n"
                   "%6 = input \"down\" : f32[6, 8, 10]\n"
                   "%7 = experts_sum(%5, %6, _, _, _, %4, %1) {k=3, shares=2, softmax_first=true} "
                   ": f32[2, 8]\n"
                   "output %7\n");
}

static void ids_of_another_source_are_taken_as_they_are(void **state) {
    /* Proves: ids that are no choice of the k largest stay an operand; shares made of other scores
     * than the ids stay steps of their own. */
    (void)state;
    plan_test_pass("fuse", NULL,
                   "%1 = input \"h\" : f32[2, 3, 10]\n"
                   "%2 = input \"ids\" : i32[2, 3]\n"
                   "%3 = expert_list(%2) {n_experts=6} : i32[13]\n"
                   "%4 = input \"down\" : f32[6, 8, 10]\n"
                   "%5 = linear_experts(%1, %4, _, %2, %3) : f32[2, 3, 8]\n"
                   "%6 = input \"scores\" : f32[2, 6]\n"
                   "%7 = take_along(%6, %2) : f32[2, 3]\n"
                   "%8 = softmax(%7) : f32[2, 3]\n"
                   "%9 = combine(%5, %8) : f32[2, 8]\n"
                   "output %9\n",
                   "%1 = input \"h\" : f32[2, 3, 10]\n"
                   "%2 = input \"down\" : f32[6, 8, 10]\n"
                   "%3 = input \"ids\" : i32[2, 3]\n"
                   "%4 = input \"scores\" : f32[2, 6]\n"
                   "%5 = take_along(%4, %3) : f32[2, 3]\n"
                   "%6 = softmax(%5) : f32[2, 3]\n"
                   "%7 = experts_sum(%1, %2, _, %3, %6, _, _) : f32[2, 8]\n"
                   "output %7\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_tokens_take_two_steps),
        cmocka_unit_test(many_tokens_share_their_list),
        cmocka_unit_test(values_seen_elsewhere_stay),
        cmocka_unit_test(two_weights_and_another_router),
        cmocka_unit_test(ids_of_another_source_are_taken_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
