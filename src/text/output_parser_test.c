/* The harmony and plain output parsers over the demo model's tokenizer: messages as they should be,
 * as they are seen in the wild, and random streams. */
#include "text/output_parser.h"
#include "base/alloc.h"
#include "test.h"

static mica_error err;
static mica_alloc_counter counter;
static mica_host host;
static mica_tokenizer *tokenizer;

static int set_up(void **state) {
    (void)state;
    mica_alloc_counter_init(&counter, mica_allocator_default());
    host = (mica_host){.allocator = &counter.allocator};
    return mica_tokenizer_load(&host, MICA_SOURCE_DIR "/models/demo", &tokenizer, &err);
}

static int tear_down(void **state) {
    (void)state;
    mica_tokenizer_close(&tokenizer);
    return counter.n_live == 0 ? 0 : 1;
}

/* What the sink saw, as one line: R[..] C[..] T[name](arguments)/ and | for a message's end. */
typedef struct transcript {
    char text[65536];
    size_t bytes;
    int last;
} transcript;

static void put(transcript *t, const char *text, size_t bytes) {
    assert_true(t->bytes + bytes < sizeof t->text);
    memcpy(t->text + t->bytes, text, bytes);
    t->bytes += bytes;
    t->text[t->bytes] = 0;
}

static void record(void *context, mica_output_kind kind, const char *text, size_t bytes) {
    static const char *const marks[] = {"R:", "C:", "T:", "(", ")", "|"};
    transcript *t = context;
    assert_true(mica_utf8_is_valid(text, bytes));
    bool continues =
        t->last == (int)kind && (kind == MICA_OUTPUT_REASONING || kind == MICA_OUTPUT_CONTENT ||
                                 kind == MICA_OUTPUT_TOOL_ARGUMENTS);
    if (!continues) put(t, marks[kind], strlen(marks[kind]));
    put(t, text, bytes);
    t->last = (int)kind;
}

static mica_output_parser *new_parser(const char *format) {
    mica_output_parser *p = NULL;
    assert_ok(mica_output_parser_create(tokenizer, format, &p, &err));
    return p;
}

static void push_all(mica_output_parser *p, const int32_t *ids, size_t n, transcript *t) {
    *t = (transcript){.last = -1};
    for (size_t i = 0; i < n; i++) mica_output_parser_push(p, ids[i], record, t);
    mica_output_parser_finish(p, record, t);
}

/* Parses the tokens of a text in which special tokens are written out. */
static void assert_parses_as(const char *format, const char *text, const char *expected) {
    mica_output_parser *p = new_parser(format);
    mica_tokens tokens = {0};
    transcript t;
    assert_ok(mica_tokenizer_encode(tokenizer, text, strlen(text), NULL, &tokens, &err));
    push_all(p, tokens.ids, tokens.count, &t);
    if (strcmp(t.text, expected) != 0)
        fail_msg("%s\n  got      %s\n  expected %s", text, t.text, expected);
    /* The same again after a reset, and without taking memory. */
    int64_t n_calls = counter.n_calls;
    mica_output_parser_reset(p);
    push_all(p, tokens.ids, tokens.count, &t);
    assert_string_equal(t.text, expected);
    assert_int_equal(counter.n_calls, n_calls);
    mica_tokens_free(tokenizer, &tokens);
    mica_output_parser_destroy(&p);
}

static void assert_harmony(const char *text, const char *expected) {
    assert_parses_as("harmony", text, expected);
}

/* Messages as the format wants them. */
static void test_normal(void **state) {
    (void)state;
    assert_harmony("<|channel|>final<|message|>Hello, world.<|return|>", "C:Hello, world.|");
    assert_harmony("<|channel|>analysis<|message|>I think.<|end|><|start|>assistant<|channel|>final"
                   "<|message|>Yes.<|return|>",
                   "R:I think.|C:Yes.|");
    assert_harmony("<|channel|>commentary<|message|>A preamble.<|end|><|start|>assistant"
                   "<|channel|>final<|message|>Done<|return|>",
                   "C:A preamble.|C:Done|");
    assert_harmony("<|channel|>final<|message|><|return|>", "|");
    assert_harmony("", "");
    assert_harmony("<|return|>", "");
    assert_harmony("<|channel|>final<|message|>cut off", "C:cut off|");
    assert_harmony("<|channel|>final<|message|> two  spaces \n\n<|return|>",
                   "C: two  spaces \n\n|");
}

/* Tool calls in every form that has been seen. */
static void test_tool_calls(void **state) {
    (void)state;
    static const char *const headers[] = {
        "<|channel|>commentary to=functions.look <|constrain|>json",
        "<|channel|>commentary to=functions.look<|constrain|>json",
        "<|channel|>commentary to=functions.look json",
        "<|channel|>commentary to=functions.look code",
        "<|channel|>commentary to=functions.look",
        " to=functions.look<|channel|>commentary json",
        " to=functions.look<|channel|>commentary <|constrain|>json",
        "<|channel|>analysis to=functions.look <|constrain|>json",
        "<|channel|>commentary<|channel|>analysis to=functions.look json",
        "<|channel|>commentary json to=functions.look",
        "<|channel|>commentary to=look",
        "<|channel|>final to=functions.look",
        "<|channel|>commentary to=assistant to=functions.look",
        " to=functions.look",
        "<|constrain|>json<|channel|>commentary to=functions.look",
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        char text[256];
        snprintf(text, sizeof text, "%s<|message|>{\"a\": 1}<|call|>", headers[i]);
        assert_harmony(text, "T:look({\"a\": 1})|");
        snprintf(text, sizeof text,
                 "<|channel|>analysis<|message|>x<|end|><|start|>assistant%s<|message|>{}<|call|>",
                 headers[i]);
        assert_harmony(text, "R:x|T:look({})|");
    }
    assert_harmony("<|channel|>commentary to=python<|message|>1<|call|>", "T:python(1)|");
    assert_harmony("<|channel|>commentary to=functions.f<|message|><|call|>", "T:f)|");
    assert_harmony("<|channel|>commentary to=functions.f<|message|>{\"cut", "T:f({\"cut)|");
}

/* Headers that break the rules never lose what follows. */
static void test_stray_headers(void **state) {
    (void)state;
    /* a lone word is a content type, never a recipient */
    assert_harmony("<|channel|>commentary json<|message|>x<|end|>", "C:x|");
    /* not a tool */
    assert_harmony("<|channel|>commentary to=assistant<|channel|>analysis<|message|>x<|end|>",
                   "R:x|");
    assert_harmony("<|channel|>commentary to=all<|message|>x<|end|>", "C:x|");
    assert_harmony("<|channel|>commentary to=functions.<|message|>x<|end|>", "C:x|");
    assert_harmony("<|channel|>commentary<|channel|>analysis<|message|>x<|end|>", "R:x|");
    /* unknown words are ignored; no or an unknown channel is content */
    assert_harmony("<|channel|>analysis some words here<|message|>x<|end|>", "R:x|");
    assert_harmony("<|channel|>thoughts<|message|>x<|end|>", "C:x|");
    assert_harmony("<|message|>x<|end|>", "C:x|");
    assert_harmony("assistant<|channel|>analysis<|message|>x<|end|>", "R:x|");
    assert_harmony("<|start|>assistant<|channel|>analysis<|message|>x<|end|>", "R:x|");
    /* a stop token inside a header: the remaining words are content */
    assert_harmony("Just text<|return|>", "C:Just text|");
    assert_harmony("<|channel|>final Just text<|return|>", "C: Just text|");
    assert_harmony("<|channel|>analysis<|return|>", "");
    assert_harmony("<|channel|>analysis<|message|>x<|end|><|start|>assistant<|return|>", "R:x|");
    assert_harmony("<|channel|>analysis<|message|>x<|end|><|start|>assistant Yes<|return|>",
                   "R:x|C: Yes|");
    assert_harmony("Just text", "C:Just text|");
    assert_harmony("<|channel|>other text<|endoftext|>", "C:other text|");
    assert_harmony("<|channel|>commentary<|channel|>analysis<|return|>", "");
    /* anything but a start token between messages opens content */
    assert_harmony("<|channel|>analysis<|message|>x<|end|>Yes<|return|>", "R:x|C:Yes|");
    assert_harmony("<|channel|>analysis<|message|>x<|end|><|channel|>final<|message|>y<|return|>",
                   "R:x|C:y|");
    /* a message token is missing */
    assert_harmony("<|channel|>final<|start|>assistant<|channel|>final<|message|>y<|return|>",
                   "C:y|");
    assert_harmony("<|channel|>final hello<|start|>assistant<|channel|>final<|message|>y<|return|>",
                   "C: hello|C:y|");
    /* an end token is missing */
    assert_harmony("<|channel|>analysis<|message|>x<|start|>assistant<|channel|>final<|message|>y",
                   "R:x|C:y|");
    assert_harmony("<|channel|>analysis<|message|>x<|channel|>final<|message|>y<|return|>",
                   "R:x|C:y|");
    assert_harmony("<|channel|>final<|message|>a<|message|>b<|constrain|>c<|return|>", "C:abc|");
    assert_harmony("<|end|><|end|><|return|><|call|>", "");
    /* a normal end anywhere */
    assert_harmony("<|channel|>final<|message|>x<|endoftext|>", "C:x|");
    assert_harmony("<|endoftext|>", "");
}

/* Characters cut over tokens come whole; cut ones do not leak into the next message. */
static void test_utf8(void **state) {
    (void)state;
    assert_harmony(
        "<|channel|>final<|message|>\xf0\x9f\x98\x80 \xe6\x97\xa5\xe6\x9c\xac \xc3\xa9<|return|>",
        "C:\xf0\x9f\x98\x80 \xe6\x97\xa5\xe6\x9c\xac \xc3\xa9|");
    mica_output_parser *p = new_parser("harmony");
    mica_tokens head = {0}, face = {0}, tail = {0};
    transcript t = {.last = -1};
    const char *first = "<|channel|>analysis<|message|>",
               *second = "<|end|><|start|>assistant<|message|>ok";
    assert_ok(mica_tokenizer_encode(tokenizer, first, strlen(first), NULL, &head, &err));
    assert_ok(mica_tokenizer_encode(tokenizer, "\xf0\x9f\x98\x80", 4, NULL, &face, &err));
    assert_ok(mica_tokenizer_encode(tokenizer, second, strlen(second), NULL, &tail, &err));
    assert_true(face.count > 1); /* else there is nothing to cut */
    for (size_t i = 0; i < head.count; i++) mica_output_parser_push(p, head.ids[i], record, &t);
    mica_output_parser_push(p, face.ids[0], record, &t);
    assert_string_equal(t.text, ""); /* held back */
    for (size_t i = 0; i < tail.count; i++) mica_output_parser_push(p, tail.ids[i], record, &t);
    mica_output_parser_finish(p, record, &t);
    assert_string_equal(t.text, "R:\xef\xbf\xbd|C:ok|");
    /* in a header */
    mica_output_parser_reset(p);
    push_all(p, face.ids, face.count - 1, &t);
    assert_non_null(strstr(t.text, "\xef\xbf\xbd"));
    mica_tokens_free(tokenizer, &head);
    mica_tokens_free(tokenizer, &face);
    mica_tokens_free(tokenizer, &tail);
    mica_output_parser_destroy(&p);
}

/* A header that never ends is text, all of it. */
static void test_long_header(void **state) {
    (void)state;
    char text[20001];
    transcript t;
    mica_tokens tokens = {0};
    mica_output_parser *p = new_parser("harmony");
    for (size_t i = 0; i < 20000; i++) text[i] = "word and "[i % 9];
    text[20000] = 0;
    assert_ok(mica_tokenizer_encode(tokenizer, text, 20000, NULL, &tokens, &err));
    push_all(p, tokens.ids, tokens.count, &t);
    assert_int_equal(t.bytes, 20003);
    assert_memory_equal(t.text + 2, text, 20000);
    mica_tokens_free(tokenizer, &tokens);
    mica_output_parser_destroy(&p);
}

/* Plain: all text is content, special tokens are not printed. */
static void test_plain(void **state) {
    (void)state;
    assert_parses_as("plain", "<|channel|>final<|message|>Hi \xc3\xa9<|return|>",
                     "C:finalHi \xc3\xa9|");
    assert_parses_as("plain", "", "");
    mica_output_parser *p = new_parser("plain");
    int32_t ids[8];
    assert_int_equal(mica_output_parser_stop_ids(p, ids), 0);
    mica_output_parser_destroy(&p);
    assert_int_equal(mica_output_parser_create(tokenizer, "xml", &p, &err),
                     MICA_STATUS_UNSUPPORTED);
    assert_null(p);
}

/* The format is harmony when the tokenizer has its tokens and the template uses them. */
static void test_detect(void **state) {
    (void)state;
    mica_chat_template *t = NULL;
    int32_t ids[8];
    assert_string_equal(mica_output_format_detect(tokenizer, NULL), "harmony");
    assert_ok(mica_chat_template_create(&host, "x", 1, NULL, &t, &err));
    assert_string_equal(mica_output_format_detect(tokenizer, t), "plain");
    mica_chat_template_close(&t);
    assert_ok(mica_chat_template_load(&host, MICA_SOURCE_DIR "/models/demo", false, &t, &err));
    assert_string_equal(mica_output_format_detect(tokenizer, t), "harmony");
    mica_chat_template_close(&t);
    mica_output_parser *p = new_parser("harmony");
    assert_int_equal(mica_output_parser_stop_ids(p, ids), 3);
    assert_int_equal(ids[0], mica_tokenizer_find(tokenizer, "<|return|>"));
    assert_int_equal(ids[1], mica_tokenizer_find(tokenizer, "<|call|>"));
    assert_int_equal(ids[2], mica_tokenizer_find(tokenizer, "<|endoftext|>"));
    mica_output_parser_destroy(&p);
}

/* Random streams: no crash, valid UTF-8 (checked by the sink), matched call ends, and every word of
 * a body comes out. */
static void test_random_streams(void **state) {
    (void)state;
    static const char *const specials[] = {"<|start|>",   "<|end|>",       "<|message|>",
                                           "<|channel|>", "<|constrain|>", "<|call|>",
                                           "<|return|>",  "<|endoftext|>"};
    static const char *const words[] = {
        "analysis",  "final",         "commentary", " to=functions.f",  " json",
        "assistant", " to=assistant", " hello",     "\xf0\x9f\x98\x80", "\n"};
    uint64_t seed = test_seed();
    mica_output_parser *p = new_parser("harmony");
    transcript *t = malloc(sizeof *t);
    for (int round = 0; round < 3000; round++) {
        char text[4096] = "";
        size_t n_bodies = 0;
        bool in_body = false;
        for (uint64_t i = test_random(&seed) % 40; i > 0; i--) {
            uint64_t r = test_random(&seed);
            const char *piece = r % 3 == 0 ? specials[(r >> 8) % 8] : words[(r >> 8) % 10];
            if (r % 3 == 0) { /* body: after a message token, up to the next token of structure */
                if ((r >> 8) % 8 == 2)
                    in_body = true;
                else if ((r >> 8) % 8 != 4)
                    in_body = false;
            } else if (in_body) {
                piece = "@"; /* appears in bodies only */
                n_bodies++;
            }
            strcat(text, piece);
        }
        mica_tokens tokens = {0};
        assert_ok(mica_tokenizer_encode(tokenizer, text, strlen(text), NULL, &tokens, &err));
        mica_output_parser_reset(p);
        push_all(p, tokens.ids, tokens.count, t);
        size_t n_seen = 0, n_calls = 0;
        for (size_t i = 0; i < t->bytes; i++) n_seen += t->text[i] == '@';
        for (const char *at = t->text; (at = strstr(at, "T:")); at++) n_calls++;
        for (size_t i = 0; i < t->bytes; i++) n_calls -= t->text[i] == ')';
        if (n_seen != n_bodies || n_calls != 0) fail_msg("%s\n  got %s", text, t->text);
        mica_tokens_free(tokenizer, &tokens);
    }
    for (int round = 0; round < 3000; round++) { /* any ids, also outside of the vocabulary */
        int32_t ids[64];
        for (int i = 0; i < 64; i++) {
            ids[i] =
                (int32_t)(test_random(&seed) % (uint64_t)(mica_tokenizer_size(tokenizer) + 20)) -
                10;
            if (test_random(&seed) % 4 == 0)
                ids[i] = mica_tokenizer_find(tokenizer, specials[test_random(&seed) % 8]);
        }
        push_all(p, ids, 64, t);
    }
    free(t);
    mica_output_parser_destroy(&p);
}

/* Creation survives every allocation that fails. */
static void test_out_of_memory(void **state) {
    (void)state;
    mica_output_parser *p = NULL;
    int64_t live = counter.n_live;
    mica_status st = MICA_STATUS_OUT_OF_MEMORY;
    for (int64_t n = 1; st != MICA_STATUS_OK && n < 50; n++) {
        counter.fail_at = counter.n_calls + n;
        st = mica_output_parser_create(tokenizer, "harmony", &p, &err);
        if (st != MICA_STATUS_OK) assert_int_equal(st, MICA_STATUS_OUT_OF_MEMORY);
        mica_output_parser_destroy(&p);
        assert_int_equal(counter.n_live, live);
    }
    counter.fail_at = 0;
    assert_int_equal(st, MICA_STATUS_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normal),        cmocka_unit_test(test_tool_calls),
        cmocka_unit_test(test_stray_headers), cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_long_header),   cmocka_unit_test(test_plain),
        cmocka_unit_test(test_detect),        cmocka_unit_test(test_random_streams),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
