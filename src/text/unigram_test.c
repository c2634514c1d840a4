/* The Unigram model: against all splits of short texts, its rules for unknown text, and bad files.
 */
#include <math.h>
#include "test.h"
#include "text/tokenizer.h"

enum { LETTERS = 3, UNKNOWN = 'a' + LETTERS - 1, TOKENS_MAX = 40, TEXT_MAX = 12 };

typedef struct toy {
    char texts[TOKENS_MAX][8];
    double scores[TOKENS_MAX];
    int count;
} toy;

static mica_status try_open(const char *json, mica_tokenizer **t, mica_error *err) {
    return mica_tokenizer_create(mica_host_default(), "test", json, strlen(json), t, err);
}

/* Token 0 is unknown; every letter but the last has a token. Scores are multiples of 1/4, so that
 * sums are exact and ties happen. */
static void make_toy(toy *y, uint64_t *seed) {
    *y = (toy){.texts = {"<unk>"}, .count = 1};
    for (int n = 0; n < LETTERS - 1 + 14; n++) {
        char text[8] = {(char)('a' + n)};
        if (n >= LETTERS - 1) {
            size_t length = 2 + test_random(seed) % 3;
            for (size_t i = 0; i < length; i++) text[i] = (char)('a' + test_random(seed) % LETTERS);
        }
        bool is_new = true;
        for (int i = 0; i < y->count; i++) is_new = is_new && strcmp(y->texts[i], text) != 0;
        if (!is_new) continue;
        strcpy(y->texts[y->count], text);
        y->scores[y->count++] = -0.25 * (double)(test_random(seed) % 24);
    }
}

static mica_tokenizer *open_toy(const toy *y) {
    mica_error err = {0};
    mica_tokenizer *t = NULL;
    char json[4096];
    size_t n = (size_t)snprintf(json, sizeof(json),
                                "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[");
    for (int i = 0; i < y->count; i++)
        n += (size_t)snprintf(json + n, sizeof(json) - n, "%s[\"%s\",%g]", i ? "," : "",
                              y->texts[i], y->scores[i]);
    snprintf(json + n, sizeof(json) - n, "]}}");
    assert_ok(try_open(json, &t, &err));
    return t;
}

/* The best sum of all splits of text, by trying them. An unknown letter costs `unknown`. */
static double best_sum(const toy *y, const char *text, double unknown) {
    if (!text[0]) return 0;
    double best = -INFINITY;
    bool has_single = false;
    for (int i = 1; i < y->count; i++) {
        size_t n = strlen(y->texts[i]);
        if (strncmp(text, y->texts[i], n) != 0) continue;
        has_single = has_single || n == 1;
        best = fmax(best, y->scores[i] + best_sum(y, text + n, unknown));
    }
    return has_single ? best : fmax(best, unknown + best_sum(y, text + 1, unknown));
}

static void the_best_split_wins(void **state) {
    /* Random vocabularies and texts: the ids spell the text and reach the best sum there is. */
    (void)state;
    uint64_t seed = test_seed();
    for (int round = 0; round < 150; round++) {
        toy y;
        make_toy(&y, &seed);
        mica_tokenizer *t = open_toy(&y);
        double unknown = 0;
        for (int i = 0; i < y.count; i++) unknown = fmin(unknown, y.scores[i]);
        unknown -= 10;
        for (int k = 0; k < 20; k++) {
            mica_error err = {0};
            mica_tokens ids = {0};
            char text[TEXT_MAX + 1] = "";
            size_t n = 1 + test_random(&seed) % TEXT_MAX, at = 0;
            for (size_t i = 0; i < n; i++) /* no unknown letter twice: each is one id */
                text[i] =
                    (char)('a' + test_random(&seed) % (LETTERS - (i && text[i - 1] == UNKNOWN)));
            assert_ok(mica_tokenizer_encode(t, text, n, NULL, &ids, &err));
            double sum = 0;
            for (size_t i = 0; i < ids.count; i++) {
                int id = ids.ids[i];
                if (id == 0) {
                    assert_int_equal(text[at++], UNKNOWN);
                    sum += unknown;
                    continue;
                }
                assert_int_equal(strncmp(text + at, y.texts[id], strlen(y.texts[id])), 0);
                at += strlen(y.texts[id]);
                sum += y.scores[id];
            }
            assert_int_equal(at, n);
            if (sum != best_sum(&y, text, unknown))
                fail_msg("\"%s\": %g, the best is %g", text, sum, best_sum(&y, text, unknown));
            mica_tokens_free(t, &ids);
        }
        mica_tokenizer_close(&t);
    }
}

static void check_ids(const char *json, const char *text, size_t count, const int32_t *want) {
    mica_error err = {0};
    mica_tokenizer *t = NULL;
    mica_tokens ids = {0};
    assert_ok(try_open(json, &t, &err));
    assert_ok(mica_tokenizer_encode(t, text, strlen(text), NULL, &ids, &err));
    assert_int_equal(ids.count, count);
    assert_memory_equal(ids.ids, want, count * sizeof(*want));
    mica_tokens_free(t, &ids);
    mica_tokenizer_close(&t);
}

#define HEAD "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],"

static void ties_and_unknown_runs_follow_the_reference(void **state) {
    /* Equal sums: what was found first stays. Unknown characters in a row are one token, also when
     * the run happens to be one; the text of the unknown token is unknown itself. */
    (void)state;
    check_ids(HEAD "[\"a\",-1],[\"b\",-1],[\"ab\",-2]]}}", "ab", 1, (int32_t[]){3});
    check_ids(HEAD "[\"a\",-1],[\"b\",-1],[\"ab\",-2.5]]}}", "ab", 2, (int32_t[]){1, 2});
    check_ids(HEAD "[\"a\",-1]]}}", "xyaz", 3, (int32_t[]){0, 1, 0});
    check_ids(HEAD "[\"xy\",-50],[\"a\",40]]}}", "xya", 2, (int32_t[]){1, 2});
    check_ids(HEAD "[\"a\",-1]]}}", "a<unk>b", 2, (int32_t[]){1, 0});
    check_ids(HEAD "[\"a\",-1e308],[\"b\",-1e308]]}}", "abab", 4, (int32_t[]){1, 2, 1, 2});
    check_ids(
        "{\"model\":{\"vocab\":[[\"a\",-1],[\"aa\",-1]],\"unk_id\":null,\"type\":\"Unigram\"}}",
        "aaa", 2, (int32_t[]){0, 1});
}

static void unknown_text_without_unk_id_is_an_error(void **state) {
    /* It names the character; the tokenizer goes on working. */
    (void)state;
    mica_error err = {0};
    mica_tokenizer *t = NULL;
    mica_tokens ids = {0};
    assert_ok(try_open("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-1]]}}", &t, &err));
    assert_int_equal(mica_tokenizer_encode(t, "ab", 2, NULL, &ids, &err), MICA_STATUS_INVALID);
    assert_non_null(strstr(err.message, "U+0062"));
    assert_null(ids.ids);
    assert_ok(mica_tokenizer_encode(t, "aa", 2, NULL, &ids, &err));
    assert_int_equal(ids.count, 2);
    mica_tokens_free(t, &ids);
    mica_tokenizer_close(&t);
}

static void every_broken_file_names_its_fault(void **state) {
    /* Scores, ids, shapes of tokens, fields. */
    (void)state;
    static const struct {
        const char *json;
        mica_status status;
        const char *message;
    } files[] = {
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",NaN]]}}", MICA_STATUS_FORMAT, ""},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",-Infinity]]}}", MICA_STATUS_FORMAT,
         ""},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1e999]]}}", MICA_STATUS_FORMAT, ""},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",\"1\"]]}}", MICA_STATUS_FORMAT, ""},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", MICA_STATUS_FORMAT, "a score"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[]]}}", MICA_STATUS_FORMAT, "a score"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1,2]]}}", MICA_STATUS_FORMAT, "more"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1],[\"a\",2]]}}", MICA_STATUS_FORMAT,
         "has id 1, but also 0"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":{\"a\":1}}}", MICA_STATUS_FORMAT, ""},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", MICA_STATUS_FORMAT, "no tokens"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":0}}", MICA_STATUS_FORMAT, "no vocabulary"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":1,\"vocab\":[[\"a\",1]]}}",
         MICA_STATUS_FORMAT, "unk_id 1, expected below 1"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":18446744073709551615,\"vocab\":[[\"a\",1]]}}",
         MICA_STATUS_FORMAT, "unk_id"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":-1,\"vocab\":[[\"a\",1]]}}",
         MICA_STATUS_FORMAT, ""},
        {"{\"model\":{\"type\":\"Unigram\",\"byte_fallback\":true,\"vocab\":[[\"<0x00>\",1]]}}",
         MICA_STATUS_FORMAT, "255 are missing"},
        {"{\"model\":{\"type\":\"Unigram\",\"alpha\":0.1,\"vocab\":[[\"a\",1]]}}",
         MICA_STATUS_UNSUPPORTED, "alpha"},
        {"{\"added_tokens\":[{\"id\":0,\"content\":\"b\"}],\"model\":{\"type\":\"Unigram\","
         "\"vocab\":"
         "[[\"a\",1]]}}",
         MICA_STATUS_FORMAT, "id 0 belongs to"},
    };
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        mica_error err = {0};
        mica_tokenizer *t = NULL;
        mica_status st = try_open(files[i].json, &t, &err);
        if (st != files[i].status || !strstr(err.message, files[i].message))
            fail_msg("%s: %s: %s", files[i].json, mica_status_name(st), err.message);
        assert_null(t);
    }
}

static void a_long_token_is_refused(void **state) {
    /* The length of tokens bounds the work at each character: 512 bytes pass, 513 do not. */
    (void)state;
    for (int extra = 0; extra < 2; extra++) {
        mica_error err = {0};
        mica_tokenizer *t = NULL;
        char token[600] = "", json[800];
        memset(token, 'a', (size_t)(512 + extra));
        snprintf(json, sizeof(json), HEAD "[\"%s\",-1]]}}", token);
        mica_status st = try_open(json, &t, &err);
        assert_int_equal(st, extra ? MICA_STATUS_LIMIT : MICA_STATUS_OK);
        if (extra) assert_non_null(strstr(err.message, "513 bytes"));
        mica_tokenizer_close(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_split_wins),
        cmocka_unit_test(ties_and_unknown_runs_follow_the_reference),
        cmocka_unit_test(unknown_text_without_unk_id_is_an_error),
        cmocka_unit_test(every_broken_file_names_its_fault),
        cmocka_unit_test(a_long_token_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
