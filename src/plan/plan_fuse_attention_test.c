/* Pass fuse on attention over pages: norms and rotary embeddings of heads go into it where there
 * are few rows, and all layers turn by one table. That the bits stay is proved by
 * paged_turn_test.c. */
#include "plan_test.h"

#define BATCH(t)                                                                                   \
    "%1 = input \"q\" : f32[" t ", 6, 8]\n"                                                        \
    "%2 = input \"k\" : f32[" t ", 2, 8]\n"                                                        \
    "%3 = input \"v\" : f32[" t ", 2, 8]\n"                                                        \
    "%4 = input \"pages\" : i32[1, 4]\n"                                                           \
    "%5 = input \"positions\" : i32[" t "]\n"                                                      \
    "%6 = input \"owners\" : i32[" t "]\n"                                                         \
    "%7 = input \"sequences\" : i32[1, 4]\n"                                                       \
    "%8 = input \"pool\" : bf16[4, 2, 2, 2, 64, 8]\n"                                              \
    "%9 = input \"f\" : f32[4]\n"

/* The same without "f" and in the order in which fused nodes ask for it: the table after the pool.
 */
#define FUSED_BATCH(t)                                                                             \
    "%1 = input \"q\" : f32[" t ", 6, 8]\n"                                                        \
    "%2 = input \"k\" : f32[" t ", 2, 8]\n"                                                        \
    "%3 = input \"v\" : f32[" t ", 2, 8]\n"                                                        \
    "%4 = input \"pages\" : i32[1, 4]\n"                                                           \
    "%5 = input \"positions\" : i32[" t "]\n"                                                      \
    "%6 = input \"owners\" : i32[" t "]\n"                                                         \
    "%7 = input \"sequences\" : i32[1, 4]\n"                                                       \
    "%8 = input \"pool\" : bf16[4, 2, 2, 2, 64, 8]\n"                                              \
    "%9 = input \"f\" : f32[4]\n"                                                                  \
    "%10 = rope_table(%5, %9) {scale=1} : f32[" t ", 8]\n"

#define POOL " : bf16[4, 2, 2, 2, 64, 8]\n"

static void turns_go_into_attention(void **state) {
    /* Proves: two layers of few rows turn their heads themselves, by one table. */
    (void)state;
    plan_test_pass(
        "fuse", NULL,
        BATCH("2") "%10 = rope(%1, %5, %9) {scale=1} : f32[2, 6, 8]\n"
                   "%11 = rope(%2, %5, %9) {scale=1} : f32[2, 2, 8]\n"
                   "%12 = attention_paged(%10, %11, %3, %4, %5, %6, %7, %8, _) : f32[2, 6, 8]\n"
                   "%13 = kv_write(%8, %11, %3, %4, %5, %6, %7, %12)" POOL
                   "%14 = rope(%12, %5, %9) {scale=1} : f32[2, 6, 8]\n"
                   "%15 = rope(%3, %5, %9) {scale=1} : f32[2, 2, 8]\n"
                   "%16 = attention_paged(%14, %15, %3, %4, %5, %6, %7, %13, _) {layer=1} : "
                   "f32[2, 6, 8]\n"
                   "%17 = kv_write(%13, %15, %3, %4, %5, %6, %7, %16) {layer=1}" POOL
                   "output %16, %17\n",
        FUSED_BATCH("2") "%11 = attention_paged(%1, %2, %3, %4, %5, %6, %7, %8, _, %10, _, _) : "
                         "f32[2, 6, 8]\n"
                         "%12 = kv_write(%8, %2, %3, %4, %5, %6, %7, %11, %10, _)" POOL
                         "%13 = attention_paged(%11, %3, %3, %4, %5, %6, %7, %12, _, %10, _, _) "
                         "{layer=1} : f32[2, 6, 8]\n"
                         "%14 = kv_write(%12, %3, %3, %4, %5, %6, %7, %13, %10, _) {layer=1}" POOL
                         "output %13, %14\n");
}

static void norms_go_along(void **state) {
    /* Proves: so do the norms of heads, with or without turning; two kinds of norm stay. */
    (void)state;
    plan_test_pass(
        "fuse", NULL,
        BATCH("4") "%10 = input \"w\" : f32[8]\n"
                   "%11 = rms_norm(%1, %10) {eps=0.5, offset=1} : f32[4, 6, 8]\n"
                   "%12 = rms_norm(%2, %10) {eps=0.5, offset=1} : f32[4, 2, 8]\n"
                   "%13 = rope(%11, %5, %9) {scale=1} : f32[4, 6, 8]\n"
                   "%14 = rope(%12, %5, %9) {scale=1} : f32[4, 2, 8]\n"
                   "%15 = attention_paged(%13, %14, %3, %4, %5, %6, %7, %8, _) : f32[4, 6, 8]\n"
                   "%16 = kv_write(%8, %14, %3, %4, %5, %6, %7, %15)" POOL "output %15, %16\n",
        FUSED_BATCH("4") "%11 = input \"w\" : f32[8]\n"
                         "%12 = attention_paged(%1, %2, %3, %4, %5, %6, %7, %8, _, %10, %11, %11) "
                         "{eps=0.5, offset=1} : f32[4, 6, 8]\n"
                         "%13 = kv_write(%8, %2, %3, %4, %5, %6, %7, %12, %10, %11) {eps=0.5, "
                         "offset=1}" POOL "output %12, %13\n");
    plan_test_pass(
        "fuse", NULL,
        BATCH("4") "%10 = input \"w\" : f32[8]\n"
                   "%11 = rms_norm(%1, %10) {eps=0.5} : f32[4, 6, 8]\n"
                   "%12 = rms_norm(%2, %10) {eps=0.25} : f32[4, 2, 8]\n"
                   "%13 = attention_paged(%11, %12, %3, %4, %5, %6, %7, %8, _) : f32[4, 6, 8]\n"
                   "%14 = kv_write(%8, %12, %3, %4, %5, %6, %7, %13)" POOL "output %13, %14\n",
        "%1 = input \"q\" : f32[4, 6, 8]\n"
        "%2 = input \"w\" : f32[8]\n"
        "%3 = rms_norm(%1, %2) {eps=0.5} : f32[4, 6, 8]\n"
        "%4 = input \"k\" : f32[4, 2, 8]\n"
        "%5 = rms_norm(%4, %2) {eps=0.25} : f32[4, 2, 8]\n"
        "%6 = input \"v\" : f32[4, 2, 8]\n"
        "%7 = input \"pages\" : i32[1, 4]\n"
        "%8 = input \"positions\" : i32[4]\n"
        "%9 = input \"owners\" : i32[4]\n"
        "%10 = input \"sequences\" : i32[1, 4]\n"
        "%11 = input \"pool\"" POOL
        "%12 = attention_paged(%3, %5, %6, %7, %8, %9, %10, %11, _) : f32[4, 6, 8]\n"
        "%13 = kv_write(%11, %5, %6, %7, %8, %9, %10, %12)" POOL "output %12, %13\n");
}

/* Attention of t rows over what ropes of q and k with these parameters give. */
#define ROPED(t, q, k, outputs)                                                                    \
    BATCH(t)                                                                                       \
    "%10 = rope(%1, %5, %9) {" q "} : f32[" t ", 6, 8]\n"                                          \
    "%11 = rope(%2, %5, %9) {" k "} : f32[" t ", 2, 8]\n"                                          \
    "%12 = attention_paged(%10, %11, %3, %4, %5, %6, %7, %8, _) : f32[" t ", 6, 8]\n"              \
    "%13 = kv_write(%8, %11, %3, %4, %5, %6, %7, %12)" POOL outputs

#define BY_TABLE(t, parameters, outputs)                                                           \
    "%1 = input \"q\" : f32[" t ", 6, 8]\n"                                                        \
    "%2 = input \"positions\" : i32[" t "]\n"                                                      \
    "%3 = input \"f\" : f32[4]\n"                                                                  \
    "%4 = rope_table(%2, %3) {scale=1} : f32[" t ", 8]\n"                                          \
    "%5 = rope(%1, %4) {" parameters "} : f32[" t ", 6, 8]\n"                                      \
    "%6 = input \"k\" : f32[" t ", 2, 8]\n"                                                        \
    "%7 = rope(%6, %4) {" parameters "} : f32[" t ", 2, 8]\n"                                      \
    "%8 = input \"v\" : f32[" t ", 2, 8]\n"                                                        \
    "%9 = input \"pages\" : i32[1, 4]\n"                                                           \
    "%10 = input \"owners\" : i32[" t "]\n"                                                        \
    "%11 = input \"sequences\" : i32[1, 4]\n"                                                      \
    "%12 = input \"pool\"" POOL                                                                    \
    "%13 = attention_paged(%5, %7, %8, %9, %2, %10, %11, %12, _) : f32[" t ", 6, 8]\n"             \
    "%14 = kv_write(%12, %7, %8, %9, %2, %10, %11, %13)" POOL outputs

static void other_turns_stay(void **state) {
    /* Proves: many rows, neighbours as pairs, and keys that are seen elsewhere keep their steps,
     * which read one table. */
    (void)state;
    plan_test_pass("fuse", NULL, ROPED("5", "scale=1", "scale=1", "output %12, %13\n"),
                   BY_TABLE("5", "scale=1", "output %13, %14\n"));
    plan_test_pass(
        "fuse", NULL,
        ROPED("2", "scale=1, interleaved=true", "scale=1, interleaved=true", "output %12, %13\n"),
        BY_TABLE("2", "scale=1, interleaved=true", "output %13, %14\n"));
    plan_test_pass("fuse", NULL, ROPED("2", "scale=1", "scale=1", "output %12, %13, %11\n"),
                   BY_TABLE("2", "scale=1", "output %13, %14, %7\n"));
}

static void two_tables_stay_apart(void **state) {
    /* Proves: q and k that turn by different tables keep their steps. */
    (void)state;
    plan_test t = {.pass = "fuse"};
    plan_test_open(&t);
    plan_test_parse(&t, ROPED("2", "scale=1", "scale=2", "output %12, %13\n"));
    mica_error err = {0};
    assert_ok(plan_test_build(&t));
    assert_non_null(strstr(t.dump, "rope_table(%2, %3) {scale=1}"));
    assert_non_null(strstr(t.dump, "rope_table(%2, %3) {scale=2}"));
    assert_null(strstr(t.dump, "kv_write(%12, %6"));
    plan_test_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_go_into_attention),
        cmocka_unit_test(norms_go_along),
        cmocka_unit_test(other_turns_stay),
        cmocka_unit_test(two_tables_stay_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
