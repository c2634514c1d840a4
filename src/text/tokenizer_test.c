/* The tokenizer as a whole: options, prompts with origins, streaming, strictness, memory faults. */
#include "base/file.h"
#include "test.h"
#include "text/tokenizer_parts.h"
#include "text/tokenizer_sample.h"

#define MARK "\xE2\x96\x81"

static mica_tokenizer *open_sample(int kind) {
    mica_error err = {0};
    mica_tokenizer *t = sample_open(mica_host_default(), kind, &err);
    if (!t) fail_msg("sample %d: %s", kind, err.message);
    return t;
}

/* Ids as text: tokens joined by '|'. */
static char *spell(const mica_tokenizer *t, const mica_tokens *tokens, char *out, size_t bytes) {
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < tokens->count; i++)
        n += (size_t)snprintf(out + n, bytes - n, "%s%s", i ? "|" : "",
                              mica_tokenizer_token(t, tokens->ids[i], NULL));
    return out;
}

static void check_encode(const mica_tokenizer *t, const char *text, bool is_plain, bool adds,
                         const char *want) {
    mica_error err = {0};
    mica_tokens tokens = {0};
    char got[1024];
    mica_encode_options options = {sizeof(options), is_plain, adds};
    assert_ok(mica_tokenizer_encode(t, text, strlen(text), &options, &tokens, &err));
    assert_string_equal(spell(t, &tokens, got, sizeof(got)), want);
    mica_tokens_free(t, &tokens);
}

static void options_choose_what_special_text_means(void **state) {
    /* Special tokens count by default, not with plain_special; others count either way. */
    (void)state;
    mica_tokenizer *t = open_sample(SAMPLE_LLAMA3);
    check_encode(t, "hello<s>a", false, false, "hello|<s>|a");
    check_encode(t, "hello<s>a", true, false, "hello|<|s|>|a");
    check_encode(t, "a", false, true, "<s>|a");
    check_encode(t, "", false, true, "<s>");
    check_encode(t, "", false, false, "");
    check_encode(t, "a <tool> \n12", true, false, "a|<tool>|12"); /* takes space on both sides */
    check_encode(t, "word sword", false, false, "word|\xC4\xA0|s|w|o|r|d");
    mica_tokenizer_close(&t);
}

static void look_ups_answer_by_text_and_id(void **state) {
    /* find, token, bytes and is_special, also for holes and ids out of range. */
    (void)state;
    mica_tokenizer *t = open_sample(SAMPLE_GPT2);
    size_t bytes = 9;
    assert_int_equal(mica_tokenizer_size(t), 1004);
    assert_int_equal(mica_tokenizer_find(t, "<|end|>"), 1001);
    assert_int_equal(mica_tokenizer_find(t, "no such token"), -1);
    assert_true(mica_tokenizer_is_special(t, 1000));
    assert_false(mica_tokenizer_is_special(t, 1002));
    assert_false(mica_tokenizer_is_special(t, -1));
    assert_false(mica_tokenizer_is_special(t, 1004));
    assert_null(mica_tokenizer_token(t, 900, &bytes));
    assert_int_equal(bytes, 0);
    assert_null(mica_tokenizer_token(t, 1 << 30, &bytes));
    mica_slice space = mica_tokenizer_bytes(t, mica_tokenizer_find(t, "\xC4\xA0hello"));
    assert_true(mica_slice_is(space, " hello"));
    assert_int_equal(mica_tokenizer_bytes(t, 900).bytes, 0);
    assert_ptr_equal(mica_tokenizer_host(t), mica_host_default());
    mica_tokenizer_close(&t);
    t = open_sample(SAMPLE_FALLBACK);
    mica_slice byte = mica_tokenizer_bytes(t, mica_tokenizer_find(t, "<0xE4>"));
    assert_int_equal(byte.bytes, 1);
    assert_int_equal((unsigned char)byte.data[0], 0xE4);
    mica_tokenizer_close(&t);
    mica_tokenizer_close(&t);
}

static void invalid_text_and_ids_are_refused(void **state) {
    /* Invalid UTF-8 names its byte; ids without a token are INVALID. */
    (void)state;
    mica_error err = {0};
    mica_tokens tokens = {0};
    mica_tokenizer *t = open_sample(SAMPLE_GPT2);
    assert_int_equal(mica_tokenizer_encode(t, "ab\xC3", 3, NULL, &tokens, &err),
                     MICA_STATUS_FORMAT);
    assert_non_null(strstr(err.message, "byte 2"));
    assert_int_equal(mica_tokenizer_encode(t, "\xED\xA0\x80", 3, NULL, &tokens, &err),
                     MICA_STATUS_FORMAT);
    assert_int_equal(mica_tokenizer_encode(t, NULL, 3, NULL, &tokens, &err), MICA_STATUS_INVALID);
    mica_encode_options options = {0};
    assert_int_equal(mica_tokenizer_encode(t, "a", 1, &options, &tokens, &err),
                     MICA_STATUS_INVALID);
    assert_null(tokens.ids);
    char *text = NULL;
    static const int32_t bad[] = {-1, 900, 1004, INT32_MAX};
    mica_detokenizer *d = NULL;
    assert_ok(mica_detokenizer_create(t, true, &d, &err));
    for (int i = 0; i < 4; i++) {
        const char *part;
        size_t bytes;
        assert_int_equal(mica_tokenizer_decode(t, &bad[i], 1, true, &text, &bytes, &err),
                         MICA_STATUS_INVALID);
        assert_null(text);
        assert_int_equal(mica_detokenizer_push(d, bad[i], &part, &bytes, &err),
                         MICA_STATUS_INVALID);
    }
    mica_detokenizer_destroy(&d);
    mica_tokenizer_close(&t);
}

/* parts: text of the template and of input by turns, template first. */
static void check_rendered(const mica_tokenizer *t, const char *const *parts, const char *want) {
    mica_error err = {0};
    mica_tokens tokens = {0};
    char text[512] = "", got[1024];
    mica_text_run runs[16];
    mica_rendered rendered = {.text = text, .runs = runs};
    for (; parts[rendered.n_runs]; rendered.n_runs++) {
        strcat(text, parts[rendered.n_runs]);
        runs[rendered.n_runs] = (mica_text_run){strlen(text), rendered.n_runs % 2};
    }
    rendered.bytes = strlen(text);
    assert_ok(mica_tokenizer_encode_rendered(t, &rendered, &tokens, &err));
    assert_string_equal(spell(t, &tokens, got, sizeof(got)), want);
    mica_tokens_free(t, &tokens);
}

static void input_never_becomes_a_special_token(void **state) {
    /* Special tokens need every byte from the template; ordinary text is cut without regard to
     * where it came from; other added tokens count anywhere, but tags that the template uses. */
    (void)state;
    mica_tokenizer *t = open_sample(SAMPLE_GPT2);
    check_rendered(t, (const char *[]){"<s>", "<s>", "<s>", NULL}, "<s>|<|s|>|<s>");
    check_rendered(t, (const char *[]){"<", "s", ">", NULL}, "<|s|>");
    check_rendered(t, (const char *[]){"<s", ">", NULL}, "<|s|>");
    check_rendered(t, (const char *[]){"<s", "", ">", NULL}, "<s>"); /* adjacent template runs */
    check_rendered(t, (const char *[]){"<s>he", "ll", "o<|end|>", NULL}, "<s>|hello|<|end|>");
    check_rendered(t, (const char *[]){"a", " <tool>", " ", "word", NULL}, "a|<tool>|word");
    check_rendered(t, (const char *[]){"<tool>", "<tool>", "a", NULL}, "<tool>|<|t|o|ol|>|a");
    check_rendered(t, (const char *[]){"a <to", "ol>", "a", NULL},
                   "a|<tool>|a"); /* the template does not write it */
    check_rendered(t, (const char *[]){"word ", "word", NULL}, "word|\xC4\xA0|word"); /* no tag */
    check_rendered(t, (const char *[]){"", "<s><|end|>", NULL}, "<|s|>|<|||e|n|d|||>");
    check_rendered(t, (const char *[]){NULL}, "");
    mica_tokenizer_close(&t);
    /* Tokens that are looked for in normalized text keep the rule. */
    t = open_sample(SAMPLE_METASPACE);
    check_rendered(t, (const char *[]){"<S>", "<S>", NULL}, "<s>|<|s|>");
    check_rendered(t, (const char *[]){"a<s", ">", "<|END|>", NULL}, MARK "a|<|s|>|<|end|>");
    mica_tokenizer_close(&t);
}

static void broken_runs_are_refused(void **state) {
    /* Runs must cover the text in order. */
    (void)state;
    mica_error err = {0};
    mica_tokens tokens = {0};
    mica_tokenizer *t = open_sample(SAMPLE_GPT2);
    char text[] = "abcd";
    mica_text_run runs[] = {{3, false}, {2, true}, {4, false}};
    mica_rendered r = {text, 4, runs, 3};
    assert_int_equal(mica_tokenizer_encode_rendered(t, &r, &tokens, &err), MICA_STATUS_INVALID);
    r.n_runs = 1;
    assert_int_equal(mica_tokenizer_encode_rendered(t, &r, &tokens, &err), MICA_STATUS_INVALID);
    runs[0].end = 5;
    assert_int_equal(mica_tokenizer_encode_rendered(t, &r, &tokens, &err), MICA_STATUS_INVALID);
    mica_tokenizer_close(&t);
}

static void rendered_text_without_input_tricks_equals_plain_encoding(void **state) {
    /* For random runs over random text whose input holds no special token and whose template writes
     * no tag, ids are those of the whole text. */
    (void)state;
    uint64_t seed = test_seed();
    static const char *const parts[] = {"hello",  " ",    "a",        "aa",          "12",
                                        "\n",     "<",    "\xC3\xA9", "e\xCC\x81",   "'s",
                                        "<tool>", "word", "Q",        "\xE4\xBD\xA0"};
    for (int kind = 0; kind < SAMPLES; kind++) {
        mica_tokenizer *t = open_sample(kind);
        for (int round = 0; round < 300; round++) {
            mica_error err = {0};
            char text[512] = "";
            mica_text_run runs[24];
            size_t n = 0;
            for (int k = 0; k < 20; k++) {
                size_t part = test_random(&seed) % 14;
                bool from_input = test_random(&seed) & 1 || strcmp(parts[part], "<tool>") == 0;
                strcat(text, !from_input && test_random(&seed) % 4 == 0 ? "<s>" : parts[part]);
                runs[n++] = (mica_text_run){strlen(text), from_input};
            }
            mica_rendered r = {text, strlen(text), runs, n};
            mica_tokens a = {0}, b = {0};
            assert_ok(mica_tokenizer_encode(t, text, r.bytes, NULL, &a, &err));
            assert_ok(mica_tokenizer_encode_rendered(t, &r, &b, &err));
            assert_int_equal(a.count, b.count);
            assert_memory_equal(a.ids, b.ids, a.count * sizeof(int32_t));
            mica_tokens_free(t, &a);
            mica_tokens_free(t, &b);
        }
        mica_tokenizer_close(&t);
    }
}

static void push_bytes(mica_detokenizer *d, const mica_tokenizer *t, const char *token,
                       const char *want) {
    mica_error err = {0};
    const char *part;
    size_t bytes;
    int32_t id = mica_tokenizer_find(t, token);
    assert_true(id >= 0);
    assert_ok(mica_detokenizer_push(d, id, &part, &bytes, &err));
    assert_int_equal(bytes, strlen(want));
    assert_memory_equal(part, want, bytes);
}

static void flush_gives(mica_detokenizer *d, const char *want) {
    mica_error err = {0};
    const char *part;
    size_t bytes;
    assert_ok(mica_detokenizer_flush(d, &part, &bytes, &err));
    assert_int_equal(bytes, strlen(want));
    assert_memory_equal(part, want, bytes);
}

static void streams_emit_whole_characters_only(void **state) {
    /* A cut character waits; what cannot become valid is replaced at once; flush ends it all. */
    (void)state;
    mica_error err = {0};
    mica_tokenizer *t = open_sample(SAMPLE_GPT2);
    mica_detokenizer *d = NULL;
    assert_ok(mica_detokenizer_create(t, false, &d, &err));
    push_bytes(d, t, "\xC3\xA4", "");             /* E4 */
    push_bytes(d, t, "\xC2\xBD", "");             /* BD */
    push_bytes(d, t, "\xC4\xA2", "\xE4\xBD\x80"); /* 80 */
    push_bytes(d, t, "\xC3\xB0", "");             /* F0 */
    push_bytes(d, t, "hello", "\xEF\xBF\xBDhello");
    push_bytes(d, t, "\xC4\xA2", "\xEF\xBF\xBD"); /* 80 alone */
    push_bytes(d, t, "<s>", "");                  /* special: not shown */
    push_bytes(d, t, "\xC3\xB0", "");
    push_bytes(d, t, "\xC3\xB0", "\xEF\xBF\xBD");
    flush_gives(d, "\xEF\xBF\xBD");
    flush_gives(d, "");
    push_bytes(d, t,
               "\xC4\xA0"
               "a",
               " a");
    mica_detokenizer_destroy(&d);
    mica_tokenizer_close(&t);
    t = open_sample(SAMPLE_METASPACE); /* the first token's mark is no space, also after a flush */
    assert_ok(mica_detokenizer_create(t, true, &d, &err));
    push_bytes(d, t, MARK "hello", "hello");
    push_bytes(d, t, MARK "a", " a");
    flush_gives(d, "");
    push_bytes(d, t, MARK "a", "a");
    mica_detokenizer_destroy(&d);
    mica_tokenizer_close(&t);
    t = open_sample(SAMPLE_FALLBACK);
    assert_ok(mica_detokenizer_create(t, true, &d, &err));
    push_bytes(d, t, "<0xE4>", "");
    push_bytes(d, t, "<0xBD>", "");
    push_bytes(d, t, "<0xA0>", "\xE4\xBD\xA0");
    push_bytes(d, t, "<0xE4>", "");
    push_bytes(d, t, MARK "hello", "\xEF\xBF\xBD hello");
    mica_detokenizer_destroy(&d);
    mica_tokenizer_close(&t);
}

static void streaming_allocates_nothing(void **state) {
    /* Every token of every sample, twice over, with bytes in all orders. */
    (void)state;
    uint64_t seed = test_seed();
    for (int kind = 0; kind < SAMPLES; kind++) {
        mica_error err = {0};
        mica_alloc_counter counter;
        mica_alloc_counter_init(&counter, mica_allocator_default());
        mica_host host = *mica_host_default();
        host.allocator = &counter.allocator;
        mica_tokenizer *t = sample_open(&host, kind, &err);
        mica_detokenizer *d = NULL;
        assert_ok(mica_detokenizer_create(t, true, &d, &err));
        int64_t calls = counter.n_calls;
        for (int i = 0; i < 5000; i++) {
            const char *part;
            size_t bytes;
            int32_t id = (int32_t)(test_random(&seed) % (uint64_t)mica_tokenizer_size(t));
            if (!mica_tokenizer_token(t, id, NULL)) continue;
            assert_ok(mica_detokenizer_push(d, id, &part, &bytes, &err));
            assert_true(mica_utf8_is_valid(part, bytes));
        }
        assert_int_equal(counter.n_calls, calls);
        mica_detokenizer_destroy(&d);
        mica_tokenizer_close(&t);
        assert_int_equal(counter.n_live, 0);
    }
}

/* ---- strictness ---- */

static const char base[] =
    "{\"added_tokens\":[{\"id\":10,\"content\":\"<s>\",\"special\":true,\"normalized\":false}],"
    "\"normalizer\":null,\"pre_tokenizer\":null,\"post_processor\":null,\"decoder\":null,"
    "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
    "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,"
    "\"byte_fallback\":false,\"ignore_merges\":false,"
    "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}}";

typedef struct change {
    const char *find, *replace;
    mica_status status;
    const char *message; /* part of it */
} change;

#define PRE "\"pre_tokenizer\":null"
#define NORM "\"normalizer\":null"
#define POST "\"post_processor\":null"
#define DECODER "\"decoder\":null"
#define BAD MICA_STATUS_FORMAT
#define NO MICA_STATUS_UNSUPPORTED

static const change changes[] = {
    {"\"type\":\"BPE\"", "\"type\":\"Tiktoken\"", NO, "Tiktoken"},
    {"\"type\":\"BPE\"", "\"type\":\"WordPiece\"", NO, "\"dropout\" of a WordPiece model"},
    {"\"type\":\"BPE\"", "\"type\":\"Unigram\"", NO, "\"dropout\" of a Unigram model"},
    {"\"ab\":2", "\"ab\":2,\"ab\":2", BAD, "listed twice"},
    {"\"dropout\":null", "\"dropout\":0.1", NO, "dropout"},
    {"\"ab\":2", "\"ab\":1", BAD, "id 1 belongs to"},
    {"\"ab\":2", "\"ab\":2097152", BAD, "2097152"},
    {"\"ab\":2", "\"ab\":-1", BAD, ""},
    {"\"ab\":2", "\"ab\":2.0", BAD, ""},
    {"\"ab\":2", "\"a\\u0062\":2,\"ab\":3", BAD, ""},
    {"\"ab\":2", "\"ax\":2", BAD, "joined \"ab\""},
    {"[\"a b\"]", "[\"a c\"]", BAD, "\"c\" is not in the vocabulary"},
    {"[\"a b\"]", "[\"c b\"]", BAD, "\"c\" is not in the vocabulary"},
    {"[\"a b\"]", "[\"ab\"]", BAD, "one space"},
    {"[\"a b\"]", "[\"a  b\"]", BAD, "one space"},
    {"[\"a b\"]", "[[\"a\",\"b\",\"a\"]]", BAD, "3 parts"},
    {"[\"a b\"]", "[[\"a\"]]", BAD, "1 parts"},
    {"[\"a b\"]", "[7]", BAD, ""},
    {"\"ab\":2},\"merges\":[\"a b\"]", "\"ab\":2,\"\":3},\"merges\":[[\"\",\"a\"]]", BAD,
     "adds nothing"},
    {",\"merges\":[\"a b\"]", "", BAD, "without merges"},
    {"\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},", "", BAD, "no vocabulary"},
    {"\"vocab\":{\"a\":0,\"b\":1,\"ab\":2}", "\"vocab\":[[\"a\",0.5]]", BAD, ""},
    {"\"unk_token\":null", "\"unk_token\":\"<unk>\"", BAD, "<unk>"},
    {"\"unk_token\":null", "\"unk_token\":\"<s>\"", BAD, "unk_token"}, /* only an added token */
    {"\"byte_fallback\":false", "\"byte_fallback\":true", BAD, "256 are missing"},
    {"\"fuse_unk\":false", "\"fuse_unk\":0", BAD, ""},
    {"\"fuse_unk\":false", "\"future_flag\":false", NO, "future_flag"},
    {"\"content\":\"<s>\"", "\"content\":\"\"", BAD, "content"},
    {"\"content\":\"<s>\"", "\"content\":\"a\"", BAD, "has id 10, but also 0"},
    {"\"id\":10", "\"id\":0", BAD, "id 0 belongs to"},
    {"\"id\":10", "\"id\":3000000", BAD, "3000000"},
    {"\"id\":10,", "", BAD, "id"},
    {"\"special\":true", "\"special\":true,\"odd\":1", BAD, "odd"},
    {"[{\"id\":10", "[{\"id\":10,\"content\":\"<s>\"},{\"id\":10", BAD, "twice"},
    {NORM, "\"normalizer\":{\"type\":\"Odd\"}", NO, "Odd"},
    {NORM, "\"normalizer\":{\"type\":\"Precompiled\"}", BAD, "without a map"},
    {NORM, "\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAA\"}", BAD,
     "base64"},
    {NORM, "\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}", BAD,
     "a trie of"},
    {NORM, "\"normalizer\":{\"type\":\"BertNormalizer\",\"lowercase\":null}", BAD, ""},
    {PRE, "\"pre_tokenizer\":{\"type\":\"FixedLength\",\"length\":0}", BAD, "above 0"},
    {DECODER, "\"decoder\":{\"type\":\"BPEDecoder\",\"suffix\":\"\"}", BAD, "suffix"},
    {DECODER, "\"decoder\":{\"type\":\"CTC\",\"pad_token\":\"\"}", BAD, "pad_token"},
    {DECODER,
     "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"CTC\"},{\"type\":\"Fuse\"}]}",
     NO, "behind CTC"},
    {DECODER,
     "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"WordPiece\"},"
     "{\"type\":\"BPEDecoder\"}]}",
     NO, "at this place"},
    {NORM, "\"normalizer\":{\"type\":\"NFC\",\"odd\":1}", NO, "odd"},
    {NORM, "\"normalizer\":{}", NO, "type"},
    {NORM, "\"normalizer\":{\"type\":\"Sequence\"}", BAD, "Sequence"},
    {NORM, "\"normalizer\":{\"type\":\"NFC\",\"normalizers\":[]}", BAD, "Sequence"},
    {NORM, "\"normalizer\":{\"type\":\"Replace\",\"content\":\"x\"}", BAD, "pattern"},
    {NORM, "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"}}", BAD, "content"},
    {NORM, "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"x\"}",
     BAD, "empty pattern"},
    {NORM, "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Glob\":\"a\"},\"content\":\"x\"}",
     BAD, "String or Regex"},
    {PRE, "\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}", NO, "UnicodeScripts"},
    {PRE,
     "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},\"behavior\":"
     "\"Isolated\"}",
     NO, "does not compile"},
    {PRE,
     "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":"
     "\"Odd\"}",
     BAD, "Odd"},
    {PRE, "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"}", BAD,
     "one character"},
    {PRE,
     "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":"
     "\"first\",\"add_prefix_space\":false}",
     BAD, "agree"},
    {POST, "\"post_processor\":{\"type\":\"Odd\"}", NO, "Odd"},
    {POST,
     "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[],\"pair\":[],"
     "\"special_tokens\":{}}",
     NO, "exactly once"},
    {POST,
     "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
     "{\"id\":\"x\"}},{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{}}",
     BAD, "no ids"},
    {POST,
     "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":"
     "{\"id\":\"x\"}},{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"x\":{\"ids\":[9]}}}",
     BAD, "no such token"},
    {POST, "\"post_processor\":{\"type\":\"RobertaProcessing\",\"cls\":[\"<s>\",10]}", BAD, "sep"},
    {DECODER, "\"decoder\":{\"type\":\"Odd\"}", NO, "Odd"},
    {DECODER,
     "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":"
     "\"ByteFallback\"}]}",
     NO, "at this place"},
    {DECODER,
     "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},"
     "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}",
     NO, "at this place"},
    {DECODER, "\"decoder\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"\"}",
     NO, "Regex"},
    {DECODER, "\"decoder\":{\"type\":\"Strip\",\"content\":\"ab\",\"start\":1,\"stop\":0}", BAD,
     "one character"},
    {"\"model\":{", "\"model\":null,\"x\":{", BAD, ""},
    {"\"added_tokens\"", "\"model\":7,\"added_tokens\"", BAD, ""},
};

static mica_status try_json(const char *json, mica_error *err) {
    mica_tokenizer *t = NULL;
    mica_status st =
        mica_tokenizer_create(mica_host_default(), "test", json, strlen(json), &t, err);
    mica_tokenizer_close(&t);
    return st;
}

static void every_broken_file_names_its_fault(void **state) {
    /* One change each to a file that loads: status and message. */
    (void)state;
    mica_error err = {0};
    assert_ok(try_json(base, &err));
    for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
        const change *c = &changes[i];
        char json[4096];
        const char *at = strstr(base, c->find);
        assert_non_null(at);
        snprintf(json, sizeof(json), "%.*s%s%s", (int)(at - base), base, c->replace,
                 at + strlen(c->find));
        mica_status st = try_json(json, &err);
        if (st != c->status || !strstr(err.message, c->message))
            fail_msg("%s -> %s: %s: %s, expected %s: %s", c->find, c->replace, mica_status_name(st),
                     st ? err.message : "", mica_status_name(c->status), c->message);
    }
}

static void every_truncation_is_refused(void **state) {
    /* Each proper prefix of a file fails with a status and nothing else. */
    (void)state;
    mica_str json;
    mica_str_init(&json, mica_allocator_default());
    sample_write(&json, SAMPLE_FALLBACK);
    for (size_t n = 0; n < json.bytes; n += 1 + n / 200) {
        mica_error err = {0};
        mica_tokenizer *t = NULL;
        char *copy = mica_alloc_string(mica_allocator_default(), json.data, n); /* exact bounds */
        mica_status st = mica_tokenizer_create(mica_host_default(), "cut", copy, n, &t, &err);
        assert_int_equal(st, MICA_STATUS_FORMAT);
        assert_null(t);
        mica_free(mica_allocator_default(), copy);
    }
    mica_str_deinit(&json);
}

static void order_of_keys_does_not_matter(void **state) {
    /* Merges before the vocabulary, type last, old spelling without a type. */
    (void)state;
    static const char *const files[] = {
        "{\"model\":{\"merges\":[[\"a\",\"b\"]],\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"type\":"
        "\"BPE\"},"
        "\"decoder\":{\"decoders\":[{\"type\":\"Fuse\"}],\"type\":\"Sequence\"}}",
        "{\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]},"
        "\"decoder\":{\"type\":\"Fuse\"}}"};
    for (int i = 0; i < 2; i++) {
        mica_error err = {0};
        mica_tokenizer *t = NULL;
        assert_ok(mica_tokenizer_create(mica_host_default(), "test", files[i], strlen(files[i]), &t,
                                        &err));
        check_encode(t, "abba", false, false, "ab|b|a");
        mica_tokenizer_close(&t);
    }
}

static void normalizing_long_marks_takes_linear_time(void **state) {
    /* Marks in wrong order, one long run: canonical ordering must not be quadratic. */
    (void)state;
    mica_error err = {0};
    mica_tokenizer *t = open_sample(SAMPLE_REGEX);
    enum { PAIRS = 300000 };
    char *text = malloc(4 * PAIRS + 1), *back = NULL;
    assert_non_null(text);
    for (int i = 0; i < PAIRS; i++) memcpy(text + 4 * i, "\xCC\x81\xCC\xA3", 4);
    mica_tokens tokens = {0};
    size_t bytes = 0;
    assert_ok(mica_tokenizer_encode(t, text, 4 * PAIRS, NULL, &tokens, &err));
    assert_ok(mica_tokenizer_decode(t, tokens.ids, tokens.count, true, &back, &bytes, &err));
    assert_int_equal(bytes, 4 * PAIRS);
    for (int i = 0; i < 2 * PAIRS; i++) /* class 220 before 230 */
        assert_memory_equal(back + 2 * i, i < PAIRS ? "\xCC\xA3" : "\xCC\x81", 2);
    mica_text_free(t, back);
    mica_tokens_free(t, &tokens);
    mica_tokenizer_close(&t);
    free(text);
}

/* ---- memory faults ---- */

/* Everything once; returns the first failure. */
static mica_status run_all(const mica_host *host, const char *json, size_t bytes) {
    mica_status st;
    mica_error err = {0};
    mica_tokenizer *t = NULL;
    mica_tokens tokens = {0};
    mica_detokenizer *d = NULL;
    char *text = NULL, input[3000] = "hello <s> e\xCC\x81 12 <tool> Word \xE4\xBD\xA0";
    const char *part;
    size_t n = 0;
    mica_text_run runs[] = {{7, false}, {sizeof(input) - 1, true}};
    mica_rendered rendered = {input, sizeof(input) - 1, runs, 2};
    for (size_t i = strlen(input); i < sizeof(input) - 1; i++) input[i] = "a aa hello"[i % 10];
    if ((st = mica_tokenizer_create(host, "test", json, bytes, &t, &err))) goto done;
    if ((st = mica_tokenizer_encode_rendered(t, &rendered, &tokens, &err))) goto done;
    if ((st = mica_tokenizer_decode(t, tokens.ids, tokens.count, true, &text, &n, &err))) goto done;
    if ((st = mica_detokenizer_create(t, true, &d, &err))) goto done;
    for (size_t i = 0; i < tokens.count; i++)
        if ((st = mica_detokenizer_push(d, tokens.ids[i], &part, &n, &err))) goto done;
    st = mica_detokenizer_flush(d, &part, &n, &err);
done:
    if (st) assert_true(err.status == st && err.message[0]);
    mica_detokenizer_destroy(&d);
    if (t) mica_text_free(t, text);
    if (t) mica_tokens_free(t, &tokens);
    mica_tokenizer_close(&t);
    return st;
}

static void every_failed_allocation_is_a_status(void **state) {
    /* The n-th allocation fails, for every n, alone and with all later ones: no leak, no crash. */
    (void)state;
    for (int kind = 0; kind < SAMPLES; kind++) {
        mica_str json;
        mica_str_init(&json, mica_allocator_default());
        sample_write(&json, kind);
        for (int after = 0; after < 2; after++) {
            mica_status st = MICA_STATUS_OUT_OF_MEMORY;
            int64_t n = 0;
            while (st != MICA_STATUS_OK) {
                mica_alloc_counter counter;
                mica_alloc_counter_init(&counter, mica_allocator_default());
                mica_host host = *mica_host_default();
                host.allocator = &counter.allocator;
                counter.fail_at = ++n;
                counter.fail_after = after;
                st = run_all(&host, json.data, json.bytes);
                assert_int_equal(counter.n_live, 0);
                if (counter.n_calls < n) break;
                /* Only the cache may be missing without anybody noticing. */
                if (st == MICA_STATUS_OK && !after)
                    st = MICA_STATUS_OUT_OF_MEMORY;
                else if (st)
                    assert_int_equal(st, MICA_STATUS_OUT_OF_MEMORY);
            }
            assert_int_equal(st, MICA_STATUS_OK);
            if (!after) printf("sample %d: %lld allocations\n", kind, (long long)n - 1);
        }
        mica_str_deinit(&json);
    }
}

static void loading_takes_few_allocations(void **state) {
    /* The demo model's 8192 tokens load in at most 200 calls. */
    (void)state;
    mica_error err = {0};
    mica_alloc_counter counter;
    mica_alloc_counter_init(&counter, mica_allocator_default());
    mica_host host = *mica_host_default();
    host.allocator = &counter.allocator;
    mica_tokenizer *t = NULL;
    assert_ok(mica_tokenizer_load(&host, MICA_SOURCE_DIR "/models/demo", &t, &err));
    printf("%lld calls, %lld bytes\n", (long long)counter.n_calls, (long long)counter.live_bytes);
    assert_true(counter.n_calls <= 200);
    mica_tokenizer_close(&t);
    assert_int_equal(counter.n_live, 0);
    assert_int_equal(mica_tokenizer_load(&host, MICA_SOURCE_DIR "/models/none", &t, &err),
                     MICA_STATUS_NOT_FOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_choose_what_special_text_means),
        cmocka_unit_test(look_ups_answer_by_text_and_id),
        cmocka_unit_test(invalid_text_and_ids_are_refused),
        cmocka_unit_test(input_never_becomes_a_special_token),
        cmocka_unit_test(broken_runs_are_refused),
        cmocka_unit_test(rendered_text_without_input_tricks_equals_plain_encoding),
        cmocka_unit_test(streams_emit_whole_characters_only),
        cmocka_unit_test(streaming_allocates_nothing),
        cmocka_unit_test(every_broken_file_names_its_fault),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(order_of_keys_does_not_matter),
        cmocka_unit_test(normalizing_long_marks_takes_linear_time),
        cmocka_unit_test(every_failed_allocation_is_a_status),
        cmocka_unit_test(loading_takes_few_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
