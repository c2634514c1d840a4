/* Stop strings and parsing over the tokenizer of the demo model. */
#include "mica/tokenizer.h"
#include "base/alloc.h"
#include "base/str.h"
#include "test.h"
#include "text/template.h"
#include "text/tokenizer.h"

#define DEMO MICA_SOURCE_DIR "/models/demo"

typedef struct fixture {
    mica_alloc_counter counter;
    mica_host host;
    mica_tokenizer *tokenizer;
    mica_chat_template *template;
    char content[4096], reasoning[4096], tool[256], arguments[1024];
    int n_ends;
} fixture;

static fixture fix;

static int set_up(void **state) {
    mica_error err = {0};
    *state = &fix;
    mica_alloc_counter_init(&fix.counter, mica_allocator_default());
    fix.host = (mica_host){.allocator = &fix.counter.allocator};
    assert_ok(mica_tokenizer_load(&fix.host, DEMO, &fix.tokenizer, &err));
    assert_ok(mica_chat_template_load(&fix.host, DEMO, false, &fix.template, &err));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    mica_chat_template_close(&fix.template);
    mica_tokenizer_close(&fix.tokenizer);
    assert_int_equal(fix.counter.n_live, 0);
    return 0;
}

static void append(char *out, size_t capacity, const char *text, size_t bytes) {
    size_t used = strlen(out);
    assert_true(used + bytes < capacity);
    memcpy(out + used, text, bytes);
    out[used + bytes] = '\0';
}

static void collect(void *context, mica_text_kind kind, const char *text, size_t bytes) {
    fixture *f = context;
    assert_true(mica_utf8_is_valid(text, bytes));
    if (kind == MICA_TEXT_CONTENT) append(f->content, sizeof f->content, text, bytes);
    if (kind == MICA_TEXT_REASONING) append(f->reasoning, sizeof f->reasoning, text, bytes);
    if (kind == MICA_TEXT_TOOL_CALL) append(f->tool, sizeof f->tool, text, bytes);
    if (kind == MICA_TEXT_TOOL_ARGUMENTS) append(f->arguments, sizeof f->arguments, text, bytes);
    if (kind == MICA_TEXT_MESSAGE_END) f->n_ends++;
}

static void clear(fixture *f) {
    f->content[0] = f->reasoning[0] = f->tool[0] = f->arguments[0] = '\0';
    f->n_ends = 0;
}

static mica_text_stream *create(bool raw, const char *const *stops, size_t n_stops) {
    mica_error err = {0};
    mica_text_stream_options o = {
        .struct_bytes = sizeof o, .raw = raw, .stops = stops, .n_stops = n_stops};
    mica_text_stream *s = NULL;
    assert_ok(mica_text_stream_create(fix.tokenizer, fix.template, &o, &s, &err));
    return s;
}

/* Feeds the ids of a text (special tokens by their text) into s; returns whether a stop was met. */
static bool feed(mica_text_stream *s, const char *text) {
    mica_error err = {0};
    mica_tokens ids = {0};
    assert_ok(mica_tokenizer_encode(fix.tokenizer, text, strlen(text), NULL, &ids, &err));
    bool goes_on = true;
    int64_t calls = fix.counter.n_calls;
    for (size_t i = 0; i < ids.count && goes_on; i++)
        goes_on = mica_text_stream_push(s, ids.ids[i], collect, &fix);
    mica_text_stream_finish(s, collect, &fix);
    assert_int_equal(fix.counter.n_calls, calls); /* nothing is allocated per id */
    mica_tokens_free(fix.tokenizer, &ids);
    return !goes_on;
}

/* The oracle: cuts text at the first place where a stop string is complete. */
static bool cut(char *text, const char *const *stops, size_t n_stops) {
    for (size_t end = 1; end <= strlen(text); end++) {
        size_t longest = 0;
        for (size_t i = 0; i < n_stops; i++) {
            size_t bytes = strlen(stops[i]);
            if (bytes <= end && bytes > longest && !memcmp(text + end - bytes, stops[i], bytes))
                longest = bytes;
        }
        if (longest == 0) continue;
        text[end - longest] = '\0';
        return true;
    }
    return false;
}

static void test_stops_random(void **state) {
    /* Any stop strings over two letters cut a random text where a search of the whole text does,
     * one letter a token, so that every border falls inside them. */
    (void)state;
    uint64_t seed = test_seed();
    int32_t letters[2] = {mica_tokenizer_find(fix.tokenizer, "a"),
                          mica_tokenizer_find(fix.tokenizer, "b")};
    assert_true(letters[0] >= 0 && letters[1] >= 0);
    for (int round = 0; round < 2000; round++) {
        char stop_text[3][16], text[64];
        const char *stops[3];
        size_t n_stops = test_random(&seed) % 3 + 1, n = test_random(&seed) % 60;
        for (size_t i = 0; i < n_stops; i++) {
            size_t bytes = test_random(&seed) % 9 + 1;
            for (size_t j = 0; j < bytes; j++) stop_text[i][j] = "ab"[test_random(&seed) % 2];
            stop_text[i][bytes] = '\0';
            stops[i] = stop_text[i];
        }
        mica_text_stream *s = create(true, stops, n_stops);
        clear(&fix);
        bool goes_on = true;
        for (size_t i = 0; i < n; i++) {
            text[i] = "ab"[test_random(&seed) % 2];
            goes_on = mica_text_stream_push(s, letters[text[i] == 'b'], collect, &fix);
        }
        text[n] = '\0';
        mica_text_stream_finish(s, collect, &fix);
        assert_int_equal(!goes_on, cut(text, stops, n_stops));
        assert_string_equal(fix.content, text);
        mica_text_stream_destroy(&s);
    }
}

static void test_raw(void **state) {
    /* Raw text comes back whole, and a stop string of several characters is cut out of it. */
    (void)state;
    static const char *const stops[] = {"\xE2\x82\xAC uro", "never"};
    mica_text_stream *s = create(true, stops, 2);
    clear(&fix);
    assert_false(feed(s, "Gr\xC3\xB6\xC3\x9F\x65 \xF0\x9F\x8D\x8E \xE2\x82\xAC ur"));
    assert_string_equal(fix.content, "Gr\xC3\xB6\xC3\x9F\x65 \xF0\x9F\x8D\x8E \xE2\x82\xAC ur");
    mica_text_stream_reset(s);
    clear(&fix);
    assert_true(feed(s, "five \xE2\x82\xAC\xE2\x82\xAC uros"));
    assert_string_equal(fix.content, "five \xE2\x82\xAC");
    mica_text_stream_destroy(&s);
}

static void test_harmony(void **state) {
    /* Reasoning and answer are told apart; a stop string counts in the answer only, and not across
     * the border of a message. */
    (void)state;
    static const char *const stops[] = {"4, 5"};
    const char *reply = "<|channel|>analysis<|message|>I count 3, 4, 5.<|end|><|start|>assistant"
                        "<|channel|>final<|message|>3, 4, 5, 6.<|return|>";
    mica_text_stream *s = create(false, NULL, 0);
    clear(&fix);
    assert_false(feed(s, reply));
    assert_string_equal(fix.reasoning, "I count 3, 4, 5.");
    assert_string_equal(fix.content, "3, 4, 5, 6.");
    int32_t ids[8];
    assert_true(mica_text_stream_stop_ids(s, ids) >= 2);
    mica_text_stream_destroy(&s);

    s = create(false, stops, 1);
    clear(&fix);
    assert_true(feed(s, reply));
    assert_string_equal(fix.reasoning, "I count 3, 4, 5.");
    assert_string_equal(fix.content, "3, ");
    mica_text_stream_destroy(&s);
}

static void test_tool_call(void **state) {
    /* A tool call gives its name and arguments, not content. */
    (void)state;
    mica_text_stream *s = create(false, NULL, 0);
    clear(&fix);
    assert_false(feed(s, "<|channel|>commentary to=functions.lookup <|constrain|>json<|message|>"
                         "{\"word\": \"harbor\"}<|call|>"));
    assert_string_equal(fix.tool, "lookup");
    assert_string_equal(fix.arguments, "{\"word\": \"harbor\"}");
    assert_string_equal(fix.content, "");
    mica_text_stream_destroy(&s);
}

static void test_bad_options(void **state) {
    /* Empty, over-long, too many and non-UTF-8 stop strings are refused. */
    (void)state;
    static char long_stop[258];
    memset(long_stop, 'x', 257);
    const char *const bad[] = {"", long_stop, "\xFF"};
    for (size_t i = 0; i < 3; i++) {
        mica_text_stream_options o = {.struct_bytes = sizeof o, .stops = &bad[i], .n_stops = 1};
        mica_text_stream *s = NULL;
        assert_int_not_equal(mica_text_stream_create(fix.tokenizer, NULL, &o, &s, NULL),
                             MICA_STATUS_OK);
        assert_null(s);
    }
    const char *many[17];
    for (size_t i = 0; i < 17; i++) many[i] = "x";
    mica_text_stream_options o = {.struct_bytes = sizeof o, .stops = many, .n_stops = 17};
    mica_text_stream *s = NULL;
    assert_int_equal(mica_text_stream_create(fix.tokenizer, NULL, &o, &s, NULL),
                     MICA_STATUS_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stops_random), cmocka_unit_test(test_raw),
        cmocka_unit_test(test_harmony),      cmocka_unit_test(test_tool_call),
        cmocka_unit_test(test_bad_options),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
