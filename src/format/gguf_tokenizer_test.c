/* Tokenizers of GGUF files: the texts that are made of them load, and split as they should. What
 * real files give was compared with the published tokenizer.json (tools/golden/gguf_tokenizer.py).
 */
#include "gguf_builder.h"
#include "test.h"
#include "test_folder.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/host.h"
#include "format/gguf_tokenizer.h"
#include "mica/mica.h"
#include "text/tokenizer.h"

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 };
#define META "\xE2\x96\x81"

/* A vocabulary under construction. */
typedef struct token_list {
    char texts[700][64];
    const char *pointers[700];
    int32_t types[700];
    float scores[700];
    size_t n;
} token_list;

static void add(token_list *l, const char *text, int32_t type, float score) {
    snprintf(l->texts[l->n], sizeof l->texts[0], "%s", text);
    l->pointers[l->n] = l->texts[l->n];
    l->types[l->n] = type;
    l->scores[l->n++] = score;
}

static void put_list(gguf_builder *b, const token_list *l, bool has_scores) {
    gguf_put_texts(b, "tokenizer.ggml.tokens", l->pointers, l->n);
    gguf_put_i32s(b, "tokenizer.ggml.token_type", l->types, l->n);
    if (has_scores) gguf_put_f32s(b, "tokenizer.ggml.scores", l->scores, l->n);
}

static mica_gguf *finish(gguf_builder *b) {
    mica_error err = {0};
    mica_gguf *g = NULL;
    gguf_bytes file;
    gguf_build(b, &file);
    assert_ok(mica_gguf_parse(mica_host_default(), "t.gguf", file.data, file.bytes, file.bytes, &g,
                              &err));
    free(file.data);
    return g;
}

static mica_tokenizer *make_tokenizer(gguf_builder *b) {
    mica_error err = {0};
    mica_tokenizer *t = NULL;
    mica_gguf *g = finish(b);
    mica_str text;
    mica_str_init(&text, mica_allocator_default());
    assert_ok(mica_gguf_tokenizer_text(g, &text, &err));
    assert_ok(
        mica_tokenizer_create(mica_host_default(), "t.gguf", text.data, text.bytes, &t, &err));
    mica_str_deinit(&text);
    mica_gguf_close(&g);
    return t;
}

/* Texts of the tokens of a text, joined by '|'. */
static void check_encoding(const mica_tokenizer *t, const char *text, bool add_special,
                           const char *want) {
    mica_error err = {0};
    mica_tokens tokens = {0};
    char got[512] = "";
    mica_encode_options o = {.struct_bytes = sizeof o, .add_special_tokens = add_special};
    assert_ok(mica_tokenizer_encode(t, text, strlen(text), &o, &tokens, &err));
    for (size_t i = 0; i < tokens.count; i++) {
        size_t bytes;
        const char *piece = mica_tokenizer_token(t, tokens.ids[i], &bytes);
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%.*s", i ? "|" : "", (int)bytes,
                 piece);
    }
    assert_string_equal(got, want);
    mica_tokens_free(t, &tokens);
}

static void check_decoding(const mica_tokenizer *t, const char *text) {
    mica_error err = {0};
    mica_tokens tokens = {0};
    char *back = NULL;
    size_t bytes;
    assert_ok(mica_tokenizer_encode(t, text, strlen(text), NULL, &tokens, &err));
    assert_ok(mica_tokenizer_decode(t, tokens.ids, tokens.count, true, &back, &bytes, &err));
    assert_string_equal(back, text);
    mica_text_free(t, back);
    mica_tokens_free(t, &tokens);
}

/* ---- byte level ---- */

/* The letters of the byte alphabet. */
static void add_alphabet(token_list *l) {
    uint32_t next = 256;
    for (uint32_t byte = 0; byte < 256; byte++) {
        bool is_own = (byte > 0x20 && byte < 0x7F) || (byte >= 0xA1 && byte != 0xAD);
        char text[8] = "";
        mica_utf8_encode(is_own ? byte : next++, text);
        add(l, text, NORMAL, 0);
    }
}

static void put_byte_level(gguf_builder *b, const char *pre) {
    static const char *const merges[] = {"a b", "\xC4\xA0 ab", "1 2"};
    token_list l = {0};
    add_alphabet(&l);
    add(&l, "ab", NORMAL, 0);
    add(&l,
        "\xC4\xA0"
        "ab",
        NORMAL, 0);
    add(&l, "12", NORMAL, 0);
    add(&l, "<s>", CONTROL, 0);
    add(&l, "</s>", CONTROL, 0);
    add(&l, "  ", USER_DEFINED, 0);
    add(&l, "[PAD262]", UNUSED, 0);
    gguf_put_text(b, "tokenizer.ggml.model", "gpt2");
    if (pre) gguf_put_text(b, "tokenizer.ggml.pre", pre);
    put_list(b, &l, false);
    gguf_put_texts(b, "tokenizer.ggml.merges", merges, 3);
    gguf_put_u32(b, "tokenizer.ggml.bos_token_id", 259);
    gguf_put_u32(b, "tokenizer.ggml.eos_token_id", 260);
    gguf_put_u32(b, "tokenizer.ggml.padding_token_id", UINT32_MAX);
}

/* Proves: merges, special and user-defined tokens, and the ids around a text work as in the file;
 * tokens that only fill up the vocabulary are not there. */
static void byte_level(void **state) {
    (void)state;
    gguf_builder b = {0};
    put_byte_level(&b, "gpt-2");
    mica_tokenizer *t = make_tokenizer(&b);
    check_encoding(t, "ab ab 12", true,
                   "ab|\xC4\xA0"
                   "ab|\xC4\xA0|12");
    check_encoding(t, "a<s>b  ab", false, "a|<s>|b|  |ab");
    check_decoding(t, "ab 12\n<s>\xC3\xA9");
    assert_int_equal(mica_tokenizer_size(t), 262);
    assert_int_equal(mica_tokenizer_find(t, "[PAD262]"), -1);
    assert_true(mica_tokenizer_is_special(t, 259));
    assert_false(mica_tokenizer_is_special(t, 261));
    mica_tokenizer_close(&t);

    put_byte_level(&b, "smollm"); /* digits one by one */
    gguf_put_bool(&b, "tokenizer.ggml.add_bos_token", true);
    gguf_put_bool(&b, "tokenizer.ggml.add_eos_token", true);
    t = make_tokenizer(&b);
    check_encoding(t, "ab12", true, "<s>|ab|1|2|</s>");
    mica_tokenizer_close(&t);

    put_byte_level(&b, "llama-bpe"); /* bos unless the file says otherwise */
    gguf_put_bool(&b, "tokenizer.ggml.add_eos_token", true);
    t = make_tokenizer(&b);
    check_encoding(t, "ab", true, "<s>|ab|</s>");
    mica_tokenizer_close(&t);
}

/* Proves: every name of a pre-tokenizer stands for patterns that load and lose nothing. */
static void all_pre_tokenizers(void **state) {
    (void)state;
    static const char *const names[] = {"llama-bpe",
                                        "llama3",
                                        "llama-v3",
                                        "falcon3",
                                        "pixtral",
                                        "dbrx",
                                        "smaug-bpe",
                                        "glm4",
                                        "qwen2",
                                        "megrez",
                                        "stablelm2",
                                        "hunyuan",
                                        "qwen35",
                                        "gpt-2",
                                        "phi-2",
                                        "olmo",
                                        "mpt",
                                        "smollm",
                                        "refact",
                                        "starcoder",
                                        "codeshell",
                                        "command-r",
                                        "exaone",
                                        "gpt-4o",
                                        "llama4",
                                        "tekken",
                                        "deepseek-coder",
                                        "deepseek-v3",
                                        "deepseek-r1-qwen"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        gguf_builder b = {0};
        put_byte_level(&b, names[i]);
        mica_tokenizer *t = make_tokenizer(&b);
        check_decoding(t, "It's  2024, \xE6\x97\xA5\xE6\x9C\xAC ab!\r\n\n x12345");
        mica_tokenizer_close(&t);
    }
}

/* ---- SentencePiece ---- */

static void add_bytes(token_list *l) {
    for (unsigned i = 0; i < 256; i++) {
        char text[16];
        snprintf(text, sizeof text, "<0x%02X>", i);
        add(l, text, BYTE, 0);
    }
}

static void put_sentencepiece(gguf_builder *b, bool has_bytes) {
    token_list l = {0};
    add(&l, "<unk>", UNKNOWN, 0);
    add(&l, "<s>", CONTROL, 0);
    add(&l, "</s>", CONTROL, 0);
    if (has_bytes) add_bytes(&l);
    add(&l, "  ", USER_DEFINED, -1000);
    add(&l, "abc", NORMAL, -3);
    add(&l, META "a", NORMAL, -2);
    add(&l, "bc", NORMAL, -1);
    add(&l, "ab", NORMAL, -4);
    add(&l, META, NORMAL, -5);
    add(&l, "a", NORMAL, -6);
    add(&l, "b", NORMAL, -7);
    add(&l, "c", NORMAL, -8);
    gguf_put_text(b, "tokenizer.ggml.model", "llama");
    put_list(b, &l, true);
    gguf_put_u32(b, "tokenizer.ggml.bos_token_id", 1);
    gguf_put_u32(b, "tokenizer.ggml.eos_token_id", 2);
    gguf_put_u32(b, "tokenizer.ggml.unknown_token_id", 0);
}

/* Proves: pairs are merged by the score of the whole; unknown characters become their bytes; a
 * space stands before the text where it is wanted, and goes again. */
static void sentencepiece(void **state) {
    (void)state;
    gguf_builder b = {0};
    put_sentencepiece(&b, true);
    mica_tokenizer *t = make_tokenizer(&b);
    check_encoding(t, "abc", true, "<s>|" META "a|bc"); /* bc first, then _a; a bc is left over */
    check_encoding(t, "b\xC3\xA9", false, META "|b|<0xC3>|<0xA9>");
    check_decoding(t, "abc \xC3\xA9 ab");
    mica_tokenizer_close(&t);

    put_sentencepiece(&b, true);
    gguf_put_bool(&b, "tokenizer.ggml.add_space_prefix", false);
    gguf_put_bool(&b, "tokenizer.ggml.add_bos_token", false);
    t = make_tokenizer(&b);
    check_encoding(t, "abc", true, "abc");
    check_encoding(t, "a  b", true, "a|" META META "|b"); /* the user's token comes before all */
    check_decoding(t, " abc  a");
    mica_tokenizer_close(&t);

    put_sentencepiece(&b, false);
    t = make_tokenizer(&b);
    check_encoding(t, "b\xC3\xA9\xC3\xA9", false, META "|b|<unk>");
    mica_tokenizer_close(&t);
}

/* Proves: merges stand in the order of published files: score, longer left part, longer right part,
 * order of the vocabulary; and every split of a token is there. */
static void merge_order(void **state) {
    (void)state;
    mica_error err = {0};
    gguf_builder b = {0};
    token_list l = {0};
    mica_str text;
    add(&l, "<unk>", UNKNOWN, 0);
    add(&l, "aa", NORMAL, -1);
    add(&l, "aaa", NORMAL, -1);
    add(&l, "aaaa", NORMAL, -2);
    add(&l, "a", NORMAL, -3);
    add(&l,
        "\xC3\xA9"
        "a",
        NORMAL, -1);
    add(&l, "\xC3\xA9", NORMAL, -3);
    gguf_put_text(&b, "tokenizer.ggml.model", "llama");
    put_list(&b, &l, true);
    mica_gguf *g = finish(&b);
    mica_str_init(&text, mica_allocator_default());
    assert_ok(mica_gguf_tokenizer_text(g, &text, &err));
    static const char want[] =
        "\"merges\":[[\"aa\",\"a\"],[\"a\",\"aa\"],[\"a\",\"a\"],[\"\xC3\xA9\",\"a\"],"
        "[\"aaa\",\"a\"],[\"aa\",\"aa\"],[\"a\",\"aaa\"]]";
    if (!strstr(text.data, want)) fail_msg("%s", strstr(text.data, "\"merges\""));
    mica_str_deinit(&text);
    mica_gguf_close(&g);
}

/* ---- Unigram ---- */

/* Proves: a Unigram vocabulary takes the split of the best sum of scores. */
static void unigram(void **state) {
    (void)state;
    gguf_builder b = {0};
    token_list l = {0};
    add(&l, "<pad>", CONTROL, 0);
    add(&l, "</s>", CONTROL, 0);
    add(&l, "<unk>", UNKNOWN, 0);
    add(&l, META "ab", NORMAL, -3);
    add(&l, META "a", NORMAL, -1);
    add(&l, "b", NORMAL, -1.5f);
    add(&l, META, NORMAL, -4);
    gguf_put_text(&b, "tokenizer.ggml.model", "t5");
    put_list(&b, &l, true);
    gguf_put_u32(&b, "tokenizer.ggml.eos_token_id", 1);
    gguf_put_u32(&b, "tokenizer.ggml.unknown_token_id", 2);
    mica_tokenizer *t = make_tokenizer(&b);
    check_encoding(t, "ab ab", true, META "a|b|" META "a|b|</s>");
    check_decoding(t, "ab b");
    mica_tokenizer_close(&t);
}

/* Proves: a compiled map of characters reaches the tokenizer, whatever its length is modulo 3. */
static void unigram_with_map(void **state) {
    (void)state;
    mica_error err = {0};
    static const char *const wants[] = {"\"AQ==\"", "\"AQL/\"", "\"AQL/Pg==\""};
    static const size_t lengths[] = {1, 3, 4};
    for (int i = 0; i < 3; i++) {
        gguf_builder b = {0};
        token_list l = {0};
        mica_str text;
        add(&l, "a", NORMAL, -1);
        gguf_put_text(&b, "tokenizer.ggml.model", "t5");
        put_list(&b, &l, true);
        gguf_put_bool(&b, "tokenizer.ggml.remove_extra_whitespaces", true);
        gguf_array_raw(&b, "tokenizer.ggml.precompiled_charsmap", 0, lengths[i]);
        gguf_append(&b.keys, "\x01\x02\xFF\x3E", lengths[i]);
        mica_gguf *g = finish(&b);
        mica_str_init(&text, mica_allocator_default());
        assert_ok(mica_gguf_tokenizer_text(g, &text, &err));
        assert_non_null(strstr(text.data, wants[i]));
        assert_non_null(strstr(text.data, "WhitespaceSplit"));
        mica_str_deinit(&text);
        mica_gguf_close(&g);
    }
}

/* ---- templates, and the public functions ---- */

/* Proves: a path to a GGUF file opens as tokenizer and as chat template, and special tokens are the
 * template's variables; a file without a template says so. */
static void opens_paths(void **state) {
    (void)state;
    mica_error err = {0};
    mica_runtime *runtime = NULL;
    mica_runtime_options ro = {.struct_bytes = sizeof ro};
    test_folder folder;
    gguf_builder b = {0};
    gguf_bytes file;
    put_byte_level(&b, "gpt-2");
    gguf_put_text(&b, "tokenizer.chat_template", "{{ bos_token }}{{ messages[0].content }}");
    gguf_put_text(&b, "tokenizer.chat_template.tool_use", "tools{{ tools | length }}");
    gguf_build(&b, &file);
    test_folder_make(&folder);
    test_folder_write(&folder, "with.bin", file.data, file.bytes);
    free(file.data);
    put_byte_level(&b, "gpt-2");
    gguf_build(&b, &file);
    test_folder_write(&folder, "without.bin", file.data, file.bytes);
    free(file.data);
    assert_ok(mica_runtime_open(&ro, &runtime, &err));
    mica_tokenizer *t = NULL;
    assert_ok(mica_tokenizer_open(runtime, test_folder_at(&folder, "with.bin"), &t, &err));
    check_encoding(t, "ab", false, "ab");
    mica_tokenizer_close(&t);
    static const char variables[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                                    "\"tools\":[1,2]}";
    static const char *const wants[] = {"<s>hi", "tools2"};
    for (int tools = 0; tools < 2; tools++) {
        mica_chat_template *c = NULL;
        mica_rendered r = {0};
        size_t skip = tools ? 0 : strlen(",\"tools\":[1,2]");
        char text[128];
        snprintf(text, sizeof text, "%.*s}", (int)(strlen(variables) - 1 - skip), variables);
        assert_ok(mica_chat_template_open(runtime, test_folder_at(&folder, "with.bin"), tools == 1,
                                          &c, &err));
        assert_ok(mica_chat_template_render(c, text, strlen(text), NULL, &r, &err));
        assert_string_equal(r.text, wants[tools]);
        mica_rendered_free(c, &r);
        mica_chat_template_close(&c);
    }
    mica_chat_template *c = NULL;
    assert_int_equal(
        mica_chat_template_open(runtime, test_folder_at(&folder, "without.bin"), false, &c, &err),
        MICA_STATUS_NOT_FOUND);
    assert_non_null(strstr(err.message, "without.bin: no chat template"));
    mica_runtime_close(&runtime);
    test_folder_remove(&folder);
}

/* Proves: tokenizer_config.json has the special tokens, and one template or a list. */
static void writes_tokenizer_config(void **state) {
    (void)state;
    mica_error err = {0};
    for (int several = 0; several < 2; several++) {
        gguf_builder b = {0};
        mica_str text;
        put_byte_level(&b, "gpt-2");
        gguf_put_text(&b, "tokenizer.chat_template", "x\"y");
        if (several) gguf_put_text(&b, "tokenizer.chat_template.tool_use", "z");
        mica_gguf *g = finish(&b);
        mica_str_init(&text, mica_allocator_default());
        assert_ok(mica_gguf_tokenizer_config_text(g, &text, &err));
        assert_non_null(strstr(text.data, "\"bos_token\":\"<s>\",\"eos_token\":\"</s>\""));
        assert_null(strstr(text.data, "pad_token"));
        assert_non_null(strstr(text.data, several
                                              ? "[{\"name\":\"default\",\"template\":\"x\\\"y\"},"
                                                "{\"name\":\"tool_use\",\"template\":\"z\"}]"
                                              : "\"chat_template\":\"x\\\"y\""));
        mica_str_deinit(&text);
        mica_gguf_close(&g);
    }
}

/* ---- what is refused ---- */

static void add_model(gguf_builder *b, const char *model) {
    gguf_put_text(b, "tokenizer.ggml.model", model);
}
static void no_tokenizer(gguf_builder *b) { gguf_put_text(b, "general.architecture", "llama"); }
static void word_piece(gguf_builder *b) { add_model(b, "bert"); }
static void no_pre(gguf_builder *b) { put_byte_level(b, NULL); }
static void unknown_pre(gguf_builder *b) { put_byte_level(b, "wavelet"); }
static void model_is_number(gguf_builder *b) { gguf_put_u32(b, "tokenizer.ggml.model", 1); }
static void no_tokens(gguf_builder *b) { add_model(b, "llama"); }
static void tokens_of_numbers(gguf_builder *b) {
    add_model(b, "llama");
    gguf_put_i32s(b, "tokenizer.ggml.tokens", (int32_t[]){1}, 1);
}
static void empty_tokens(gguf_builder *b) {
    add_model(b, "llama");
    gguf_put_texts(b, "tokenizer.ggml.tokens", NULL, 0);
}
static void put_a(gguf_builder *b, const char *model) {
    add_model(b, model);
    gguf_put_texts(b, "tokenizer.ggml.tokens", (const char *[]){"a"}, 1);
}
static void no_scores(gguf_builder *b) { put_a(b, "llama"); }
static void few_scores(gguf_builder *b) {
    put_a(b, "llama");
    gguf_put_f32s(b, "tokenizer.ggml.scores", (float[]){1, 2}, 2);
}
static void integer_scores(gguf_builder *b) {
    put_a(b, "llama");
    gguf_put_i32s(b, "tokenizer.ggml.scores", (int32_t[]){1}, 1);
}
static void nan_score(gguf_builder *b) {
    put_a(b, "llama");
    gguf_put_f32s(b, "tokenizer.ggml.scores", (float[]){NAN}, 1);
}
static void float_types(gguf_builder *b) {
    put_a(b, "llama");
    gguf_put_f32s(b, "tokenizer.ggml.token_type", (float[]){1}, 1);
}
static void broken_token(gguf_builder *b) {
    add_model(b, "llama");
    gguf_put_texts(b, "tokenizer.ggml.tokens", (const char *[]){"a", "\xFF"}, 2);
    gguf_put_f32s(b, "tokenizer.ggml.scores", (float[]){1, 1}, 2);
}
static void put_gpt2_a(gguf_builder *b) {
    put_a(b, "gpt2");
    gguf_put_text(b, "tokenizer.ggml.pre", "gpt-2");
}
static void no_merges(gguf_builder *b) { put_gpt2_a(b); }
static void merges_of_numbers(gguf_builder *b) {
    put_gpt2_a(b);
    gguf_put_i32s(b, "tokenizer.ggml.merges", (int32_t[]){1}, 1);
}
static void single_merge(gguf_builder *b) {
    put_gpt2_a(b);
    gguf_put_texts(b, "tokenizer.ggml.merges", (const char *[]){"aa"}, 1);
}
static void bad_flag(gguf_builder *b) {
    put_gpt2_a(b);
    gguf_put_u32(b, "tokenizer.ggml.add_bos_token", 1);
}

static const struct {
    void (*make)(gguf_builder *b);
    mica_status status;
    const char *words;
} bad_cases[] = {
    {no_tokenizer, MICA_STATUS_NOT_FOUND, "the file has no tokenizer"},
    {word_piece, MICA_STATUS_UNSUPPORTED, "tokenizer.ggml.model is \"bert\", expected gpt2"},
    {no_pre, MICA_STATUS_UNSUPPORTED, "there is no key tokenizer.ggml.pre"},
    {unknown_pre, MICA_STATUS_UNSUPPORTED, "tokenizer.ggml.pre is \"wavelet\""},
    {model_is_number, MICA_STATUS_FORMAT, "tokenizer.ggml.model\" is of type u32"},
    {no_tokens, MICA_STATUS_NOT_FOUND, "tokenizer.ggml.tokens is missing"},
    {tokens_of_numbers, MICA_STATUS_FORMAT, "tokenizer.ggml.tokens is no array of strings"},
    {empty_tokens, MICA_STATUS_LIMIT, "rule G11: 0 tokens"},
    {no_scores, MICA_STATUS_FORMAT, "tokenizer.ggml.scores is missing"},
    {few_scores, MICA_STATUS_FORMAT, "tokenizer.ggml.scores has 2 items for 1 tokens"},
    {integer_scores, MICA_STATUS_FORMAT, "tokenizer.ggml.scores is no array of f32"},
    {nan_score, MICA_STATUS_FORMAT, "the score of token 0 is not finite"},
    {float_types, MICA_STATUS_FORMAT, "tokenizer.ggml.token_type is no array of i32"},
    {broken_token, MICA_STATUS_FORMAT, "token 1 is not UTF-8"},
    {no_merges, MICA_STATUS_FORMAT, "tokenizer.ggml.merges is missing"},
    {merges_of_numbers, MICA_STATUS_FORMAT, "tokenizer.ggml.merges is no array of strings"},
    {single_merge, MICA_STATUS_FORMAT, "merge 0 is no pair of texts"},
    {bad_flag, MICA_STATUS_FORMAT, "tokenizer.ggml.add_bos_token\" is of type u32"},
};

/* Proves: what is missing, unknown or broken is refused by name. */
static void refuses_bad_tokenizers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad_cases / sizeof *bad_cases; i++) {
        mica_error err = {0};
        gguf_builder b = {0};
        mica_str text;
        bad_cases[i].make(&b);
        mica_gguf *g = finish(&b);
        mica_str_init(&text, mica_allocator_default());
        mica_status st = mica_gguf_tokenizer_text(g, &text, &err);
        if (st != bad_cases[i].status || !strstr(err.message, bad_cases[i].words))
            fail_msg("case %zu: %s: %s; wanted: %s", i, mica_status_name(st), err.message,
                     bad_cases[i].words);
        mica_str_deinit(&text);
        mica_gguf_close(&g);
    }
}

/* Proves: tokens that would take years to find merges for are refused. */
static void bounds_the_work(void **state) {
    (void)state;
    mica_error err = {0};
    gguf_builder b = {0};
    mica_str text;
    size_t bytes = 200000;
    char *long_token = malloc(bytes + 1);
    memset(long_token, 'a', bytes), long_token[bytes] = '\0';
    add_model(&b, "llama");
    gguf_put_texts(&b, "tokenizer.ggml.tokens", (const char *[]){"a", long_token}, 2);
    gguf_put_f32s(&b, "tokenizer.ggml.scores", (float[]){1, 1}, 2);
    mica_gguf *g = finish(&b);
    mica_str_init(&text, mica_allocator_default());
    assert_int_equal(mica_gguf_tokenizer_text(g, &text, &err), MICA_STATUS_LIMIT);
    assert_non_null(strstr(err.message, "too long to find their merges"));
    mica_str_deinit(&text);
    mica_gguf_close(&g);
    free(long_token);
}

/* Proves: every failed allocation is reported, and nothing is lost. */
static void survives_failed_allocations(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        gguf_builder b = {0};
        if (kind == 0)
            put_byte_level(&b, "gpt-2");
        else
            put_sentencepiece(&b, true);
        mica_gguf *g = finish(&b);
        int64_t n = 1;
        for (mica_status st = MICA_STATUS_OUT_OF_MEMORY; st != MICA_STATUS_OK; n++) {
            mica_alloc_counter counter;
            mica_error err = {0};
            mica_str text;
            mica_alloc_counter_init(&counter, mica_allocator_default());
            counter.fail_at = n;
            mica_str_init(&text, &counter.allocator);
            st = mica_gguf_tokenizer_text(g, &text, &err);
            if (st != MICA_STATUS_OK) assert_int_equal(st, MICA_STATUS_OUT_OF_MEMORY);
            mica_str_deinit(&text);
            assert_int_equal(counter.n_live, 0);
            assert_true(n < 1000);
        }
        assert_true(n > 5);
        mica_gguf_close(&g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_level),
        cmocka_unit_test(all_pre_tokenizers),
        cmocka_unit_test(sentencepiece),
        cmocka_unit_test(merge_order),
        cmocka_unit_test(unigram),
        cmocka_unit_test(unigram_with_map),
        cmocka_unit_test(opens_paths),
        cmocka_unit_test(writes_tokenizer_config),
        cmocka_unit_test(refuses_bad_tokenizers),
        cmocka_unit_test(bounds_the_work),
        cmocka_unit_test(survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
