/* Cutting texts into chunks. */
#include "eval_chunks.h"
#include "test.h"

#define IDS_MAX 300
#define BOS 1000

static int32_t text[IDS_MAX], held[IDS_MAX];

static int set_up(void **state) {
    (void)state;
    for (int32_t i = 0; i < IDS_MAX; i++) text[i] = i;
    return 0;
}

/* Cuts one chunk and compares it: ids as a text of numbers, with a bar before the first scored. */
static void assert_chunk(const cli_chunk_rule *rule, int64_t n, int64_t index, const char *wanted) {
    char seen[1024] = "";
    size_t used = 0;
    cli_chunk chunk = {.ids = held};
    cli_chunk_cut(rule, text, n, index, &chunk);
    for (int64_t i = 0; i < chunk.count; i++)
        used += (size_t)snprintf(seen + used, sizeof seen - used, "%s%d ",
                                 i == chunk.first_scored ? "| " : "", (int)chunk.ids[i]);
    assert_string_equal(seen, wanted);
}

static void test_all(void **state) {
    /* Chunks side by side; the first id of each has nothing in front of it. */
    (void)state;
    cli_chunk_rule rule = {.length = 4};
    assert_int_equal(cli_chunk_count(&rule, 11), 2);
    assert_chunk(&rule, 11, 0, "0 | 1 2 3 ");
    assert_chunk(&rule, 11, 1, "4 | 5 6 7 ");
    assert_int_equal(cli_chunk_count(&rule, 8), 2);
    assert_int_equal(cli_chunk_count(&rule, 7), 1);
}

static void test_only_chunk(void **state) {
    /* A text shorter than a chunk is one chunk; of one id alone nothing can be scored. */
    (void)state;
    cli_chunk_rule rule = {.length = 4};
    assert_int_equal(cli_chunk_count(&rule, 0), 0);
    assert_int_equal(cli_chunk_count(&rule, 1), 0);
    assert_int_equal(cli_chunk_count(&rule, 2), 1);
    assert_chunk(&rule, 3, 0, "0 | 1 2 ");
    cli_chunk_rule bos = {.length = 4, .prefix = {BOS}, .n_prefix = 1};
    assert_int_equal(cli_chunk_count(&bos, 0), 0);
    assert_int_equal(cli_chunk_count(&bos, 1), 1);
    assert_chunk(&bos, 1, 0, "1000 | 0 ");
}

static void test_prefix(void **state) {
    /* With a prefix every id of the text is scored, and the chunk's length counts the prefix. */
    (void)state;
    cli_chunk_rule rule = {.length = 4, .prefix = {BOS}, .n_prefix = 1};
    assert_int_equal(cli_chunk_count(&rule, 8), 2);
    assert_chunk(&rule, 8, 0, "1000 | 0 1 2 ");
    assert_chunk(&rule, 8, 1, "1000 | 3 4 5 ");
}

static void test_stride(void **state) {
    /* Overlapping chunks score only what the one before did not; without overlap as before. */
    (void)state;
    cli_chunk_rule rule = {.length = 4, .stride = 2};
    assert_int_equal(cli_chunk_count(&rule, 9), 3);
    assert_chunk(&rule, 9, 0, "0 | 1 2 3 ");
    assert_chunk(&rule, 9, 1, "2 3 | 4 5 ");
    assert_chunk(&rule, 9, 2, "4 5 | 6 7 ");
    cli_chunk_rule bos = {.length = 5, .stride = 1, .prefix = {BOS}, .n_prefix = 1};
    assert_int_equal(cli_chunk_count(&bos, 6), 3);
    assert_chunk(&bos, 6, 0, "1000 | 0 1 2 3 ");
    assert_chunk(&bos, 6, 2, "1000 2 3 4 | 5 ");
    rule.stride = 4;
    assert_chunk(&rule, 9, 1, "4 | 5 6 7 ");
}

static void test_second_half(void **state) {
    /* llama-perplexity's chunks: the prefix counts once in the text and covers the first id of each
     * chunk; scored are the ids after position length / 2. */
    (void)state;
    cli_chunk_rule rule = {.length = 6, .scores_half = true};
    assert_int_equal(cli_chunk_count(&rule, 17), 2);
    assert_chunk(&rule, 17, 0, "0 1 2 3 | 4 5 ");
    assert_chunk(&rule, 17, 1, "6 7 8 9 | 10 11 ");
    cli_chunk_rule bos = {.length = 6, .scores_half = true, .prefix = {BOS}, .n_prefix = 1};
    assert_int_equal(cli_chunk_count(&bos, 17), 3);
    assert_chunk(&bos, 17, 0, "1000 0 1 2 | 3 4 ");
    assert_chunk(&bos, 17, 2, "1000 12 13 14 | 15 16 ");
    assert_chunk(&bos, 4, 0, "1000 0 1 | 2 3 ");
    rule.length = 2; /* no id is behind the half */
    assert_int_equal(cli_chunk_count(&rule, 100), 0);
    assert_int_equal(cli_chunk_count(&rule, 2), 0);
}

/* Each id is scored at most once, in order and with the right neighbours in front, for every
 * length, stride, prefix and size of text; the ids left out are fewer than a chunk. */
static void test_every_rule(void **state) {
    (void)state;
    for (int64_t length = 2; length <= 9; length++)
        for (int64_t n_prefix = 0; n_prefix < 3 && n_prefix + 1 < length; n_prefix++)
            for (int64_t stride = 0; stride <= length - n_prefix; stride++)
                for (int64_t n = 0; n <= 40; n++) {
                    cli_chunk_rule rule = {.length = length,
                                           .stride = stride,
                                           .prefix = {BOS, BOS + 1},
                                           .n_prefix = n_prefix};
                    int64_t next = n_prefix ? 0 : 1, count = cli_chunk_count(&rule, n);
                    for (int64_t c = 0; c < count; c++) {
                        cli_chunk chunk = {.ids = held};
                        cli_chunk_cut(&rule, text, n, c, &chunk);
                        assert_true(chunk.count <= length && chunk.first_scored >= 1);
                        assert_true(chunk.first_scored < chunk.count);
                        for (int64_t i = 0; i < n_prefix; i++)
                            assert_int_equal(chunk.ids[i], BOS + i);
                        for (int64_t i = n_prefix + 1; i < chunk.count; i++)
                            assert_int_equal(chunk.ids[i], chunk.ids[i - 1] + 1);
                        bool skips = n_prefix == 0 && c > 0 && (stride == 0 || stride == length);
                        assert_int_equal(chunk.ids[chunk.first_scored], next + skips);
                        next = chunk.ids[chunk.count - 1] + 1;
                    }
                    assert_true(next <= n || count == 0);
                    assert_true(n - next < length || n <= 1);
                }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),         cmocka_unit_test(test_only_chunk),
        cmocka_unit_test(test_prefix),      cmocka_unit_test(test_stride),
        cmocka_unit_test(test_second_half), cmocka_unit_test(test_every_rule),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
