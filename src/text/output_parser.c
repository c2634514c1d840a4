/* Chooses the output format and does what all formats need: decoding a body's ids to whole UTF-8.
 */
#include "text/output_parser.h"
#include <string.h>
#include "base/error.h"
#include "text/output_parser_parts.h"

const char *mica_output_format_detect(const mica_tokenizer *tokenizer,
                                      const mica_chat_template *t) {
    static const char marker[] = "<|channel|>";
    if (!mica_harmony_detect(tokenizer)) return "plain";
    if (!t) return "harmony";
    mica_slice source = mica_chat_template_source(t);
    bool is_used = source.bytes > 0 && memmem(source.data, source.bytes, marker, strlen(marker));
    return is_used ? "harmony" : "plain";
}

mica_status mica_output_parser_create(const mica_tokenizer *tokenizer, const char *format,
                                      mica_output_parser **out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_output_parser *p = NULL;
    *out = NULL;
    bool is_harmony = strcmp(format, "harmony") == 0;
    MICA_REQUIRE(is_harmony || strcmp(format, "plain") == 0, MICA_STATUS_UNSUPPORTED,
                 "output format '%s': known are harmony and plain", format);
    MICA_REQUIRE(!is_harmony || mica_harmony_detect(tokenizer), MICA_STATUS_UNSUPPORTED,
                 "output format harmony: the tokenizer lacks its special tokens");
    p = MICA_NEW(mica_tokenizer_host(tokenizer)->allocator, mica_output_parser);
    if (!p) MICA_TRY(mica_fail_memory(err, sizeof *p, "an output parser"));
    p->tokenizer = tokenizer;
    p->is_harmony = is_harmony;
    MICA_TRY(mica_detokenizer_create(tokenizer, false, &p->detokenizer, err));
    if (is_harmony) mica_harmony_init(p);
    mica_output_parser_reset(p);
    *out = p;
    p = NULL;
done:
    mica_output_parser_destroy(&p);
    return st;
}

void mica_output_parser_destroy(mica_output_parser **p) {
    if (!p || !*p) return;
    const mica_tokenizer *tokenizer = (*p)->tokenizer;
    mica_detokenizer_destroy(&(*p)->detokenizer);
    mica_free(mica_tokenizer_host(tokenizer)->allocator, *p);
    *p = NULL;
}

void mica_output_parser_reset(mica_output_parser *p) {
    const char *text;
    size_t bytes;
    mica_detokenizer_flush(p->detokenizer, &text, &bytes, NULL);
    p->is_open = false;
    p->kind = MICA_OUTPUT_CONTENT;
    if (p->is_harmony) mica_harmony_reset(p);
}

void mica_output_parser_push(mica_output_parser *p, int32_t id, mica_output_sink sink,
                             void *context) {
    if (p->is_harmony)
        mica_harmony_push(p, id, sink, context);
    else
        mica_plain_push(p, id, sink, context);
}

void mica_output_parser_finish(mica_output_parser *p, mica_output_sink sink, void *context) {
    if (p->is_harmony)
        mica_harmony_finish(p, sink, context);
    else
        mica_plain_finish(p, sink, context);
}

size_t mica_output_parser_stop_ids(const mica_output_parser *p, int32_t out[8]) {
    const int32_t ids[] = {p->tokens.end_of_turn, p->tokens.call, p->tokens.end_of_text};
    size_t n = 0;
    for (size_t i = 0; p->is_harmony && i < sizeof ids / sizeof *ids; i++)
        if (ids[i] >= 0) out[n++] = ids[i];
    return n;
}

void mica_output_push_text(mica_output_parser *p, int32_t id, mica_output_sink sink,
                           void *context) {
    const char *text = NULL;
    size_t bytes = 0;
    /* An id outside of the vocabulary has no text and is passed over. */
    if (mica_detokenizer_push(p->detokenizer, id, &text, &bytes, NULL) == MICA_STATUS_OK &&
        bytes > 0)
        sink(context, p->kind, text, bytes);
}

void mica_output_flush_text(mica_output_parser *p, mica_output_sink sink, void *context) {
    const char *text = NULL;
    size_t bytes = 0;
    if (mica_detokenizer_flush(p->detokenizer, &text, &bytes, NULL) == MICA_STATUS_OK && bytes > 0)
        sink(context, p->kind, text, bytes);
}

#ifdef MICA_FUZZ_OUTPUT_PARSER
#include "base/fuzz.h"

static void check_delta(void *context, mica_output_kind kind, const char *text, size_t bytes) {
    int *n_calls = context;
    if (!mica_utf8_is_valid(text, bytes)) __builtin_trap();
    if (kind == MICA_OUTPUT_TOOL_CALL) ++*n_calls;
    if (kind == MICA_OUTPUT_TOOL_CALL_END) --*n_calls;
    if (*n_calls < 0 || *n_calls > 1) __builtin_trap();
}

/* Every byte is a token: words of headers, single bytes that cut characters, special tokens. */
MICA_FUZZ_ENTRY(output_parser) {
    static const char json[] =
        "{\"version\":\"1.0\",\"added_tokens\":["
        "{\"id\":20,\"content\":\"<|start|>\",\"special\":true,\"normalized\":false},"
        "{\"id\":21,\"content\":\"<|end|>\",\"special\":true,\"normalized\":false},"
        "{\"id\":22,\"content\":\"<|message|>\",\"special\":true,\"normalized\":false},"
        "{\"id\":23,\"content\":\"<|channel|>\",\"special\":true,\"normalized\":false},"
        "{\"id\":24,\"content\":\"<|constrain|>\",\"special\":true,\"normalized\":false},"
        "{\"id\":25,\"content\":\"<|call|>\",\"special\":true,\"normalized\":false},"
        "{\"id\":26,\"content\":\"<|return|>\",\"special\":true,\"normalized\":false}],"
        "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
        "\"trim_offsets\":false,\"use_regex\":false},\"post_processor\":null,"
        "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{"
        "\"\\u0120\":0,\"analysis\":1,\"final\":2,\"commentary\":3,\"to=\":4,\"functions.\":5,"
        "\"f\":6,"
        "\"json\":7,\"assistant\":8,\"all\":9,\"<\":10,\"\\u00f0\":11,\"\\u0141\":12,\"\\u013a\":"
        "13,"
        "\"\\u0122\":14,\"\\u00c3\":15,\"\\u00a9\":16,\"{\":17,\"}\":18,\"\\u010a\":19},\"merges\":"
        "[]}}";
    static mica_tokenizer *tokenizer; /* made once: it takes most of the time */
    mica_output_parser *p = NULL;
    mica_error err = {0};
    int n_calls = 0;
    if (!tokenizer && mica_tokenizer_create(mica_host_default(), "fuzz", json, sizeof json - 1,
                                            &tokenizer, &err) != MICA_STATUS_OK)
        __builtin_trap();
    const char *format = size % 8 == 7 ? "plain" : "harmony";
    if (mica_output_parser_create(tokenizer, format, &p, &err) != MICA_STATUS_OK) __builtin_trap();
    for (size_t i = 0; i < size; i++)
        mica_output_parser_push(p, data[i] % 29 - 1, check_delta, &n_calls);
    mica_output_parser_finish(p, check_delta, &n_calls);
    if (n_calls != 0) __builtin_trap();
    mica_output_parser_destroy(&p);
    return 0;
}
#endif
