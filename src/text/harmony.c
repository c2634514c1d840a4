/* The harmony format of gpt-oss: messages of start token, header, message token, body, end token. A
 * bad header never fails: a recipient makes a tool call, a known channel reasoning or content, and
 * whatever cannot be understood is content. Special tokens act by id, never by their text. */
#include <string.h>
#include "text/output_parser_parts.h"

bool mica_harmony_detect(const mica_tokenizer *tokenizer) {
    static const char *const needed[] = {"<|start|>", "<|end|>", "<|message|>", "<|channel|>"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        int32_t id = mica_tokenizer_find(tokenizer, needed[i]);
        if (id < 0 || !mica_tokenizer_is_special(tokenizer, id)) return false;
    }
    return true;
}

void mica_harmony_init(mica_output_parser *p) {
    const mica_tokenizer *t = p->tokenizer;
    p->tokens = (harmony_tokens){
        .start = mica_tokenizer_find(t, "<|start|>"),
        .end = mica_tokenizer_find(t, "<|end|>"),
        .message = mica_tokenizer_find(t, "<|message|>"),
        .channel = mica_tokenizer_find(t, "<|channel|>"),
        .constrain = mica_tokenizer_find(t, "<|constrain|>"),
        .call = mica_tokenizer_find(t, "<|call|>"),
        .end_of_turn = mica_tokenizer_find(t, "<|return|>"),
        .end_of_text = mica_tokenizer_find(t, "<|endoftext|>"),
    };
}

static void begin_header(mica_output_parser *p, bool has_role) {
    p->state = HARMONY_HEADER;
    p->has_role = has_role;
    p->has_channel = false;
    p->header_bytes = 0;
}

void mica_harmony_reset(mica_output_parser *p) { begin_header(p, false); }

/* --- the header's words --- */
static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* The next word from *at on; false at the end. */
static bool next_word(const mica_output_parser *p, size_t *at, mica_slice *word) {
    while (*at < p->header_bytes && is_blank(p->header[*at])) ++*at;
    size_t from = *at;
    while (*at < p->header_bytes && !is_blank(p->header[*at])) ++*at;
    *word = mica_slice_of(p->header + from, *at - from);
    return word->bytes > 0;
}

static mica_slice cut_at_bracket(mica_slice word) {
    const char *bracket = word.bytes > 0 ? memchr(word.data, '<', word.bytes) : NULL;
    if (bracket) word.bytes = (size_t)(bracket - word.data);
    return word;
}

/* The word behind the last channel token. */
static mica_slice find_channel(const mica_output_parser *p, size_t *end) {
    mica_slice word = {0};
    size_t at = p->channel_at;
    *end = p->channel_at;
    if (!p->has_channel || !next_word(p, &at, &word)) return (mica_slice){0};
    word = cut_at_bracket(word);
    *end = (size_t)(word.data - p->header) + word.bytes;
    return word;
}

static bool is_known_channel(mica_slice word) {
    return mica_slice_is(word, "analysis") || mica_slice_is(word, "commentary") ||
           mica_slice_is(word, "final");
}

/* A channel that is followed by another one at once was a slip: forget it. */
static void drop_bare_channel(mica_output_parser *p) {
    size_t end;
    mica_slice word, channel = find_channel(p, &end);
    if (is_known_channel(channel) && !next_word(p, &end, &word))
        p->header_bytes = p->channel_at - 1;
}

/* The last explicit recipient that is a tool; empty if there is none. */
static mica_slice find_recipient(const mica_output_parser *p) {
    mica_slice word, found = {0};
    size_t at = 0;
    while (next_word(p, &at, &word)) {
        if (!mica_slice_starts_with(word, "to=")) continue;
        mica_slice name = cut_at_bracket(mica_slice_of(word.data + 3, word.bytes - 3));
        if (mica_slice_starts_with(name, "functions."))
            name = mica_slice_of(name.data + 10, name.bytes - 10);
        bool is_tool =
            name.bytes > 0 && !mica_slice_is(name, "assistant") && !mica_slice_is(name, "all");
        if (is_tool) found = name;
    }
    return found;
}

/* Copies bytes into p->text with U+FFFD for what is no UTF-8. */
static mica_slice make_valid(mica_output_parser *p, mica_slice raw) {
    size_t n = 0;
    for (size_t at = 0; at < raw.bytes;) {
        uint32_t c = 0;
        size_t used = mica_utf8_decode(raw.data + at, raw.bytes - at, &c);
        if (used == 0) {
            memcpy(p->text + n, "\xef\xbf\xbd", 3);
            n += 3;
            at++;
            continue;
        }
        memcpy(p->text + n, raw.data + at, used);
        n += used;
        at += used;
    }
    return mica_slice_of(p->text, n);
}

/* --- messages --- */
static void open_body(mica_output_parser *p, mica_output_kind kind) {
    p->state = HARMONY_CONTENT;
    p->kind = kind;
    p->is_open = true;
}

static void end_message(mica_output_parser *p, mica_output_sink sink, void *context) {
    mica_output_flush_text(p, sink, context);
    p->state = HARMONY_START;
    if (!p->is_open) return;
    if (p->kind == MICA_OUTPUT_TOOL_ARGUMENTS) sink(context, MICA_OUTPUT_TOOL_CALL_END, "", 0);
    sink(context, MICA_OUTPUT_MESSAGE_END, "", 0);
    p->is_open = false;
    p->kind = MICA_OUTPUT_CONTENT;
}

/* The message token: what kind of message this is. */
static void read_header(mica_output_parser *p, mica_output_sink sink, void *context) {
    size_t end;
    mica_slice channel = find_channel(p, &end), recipient = find_recipient(p);
    if (recipient.bytes > 0) {
        mica_slice name = make_valid(p, recipient);
        open_body(p, MICA_OUTPUT_TOOL_ARGUMENTS);
        sink(context, MICA_OUTPUT_TOOL_CALL, name.data, name.bytes);
    } else {
        open_body(p,
                  mica_slice_is(channel, "analysis") ? MICA_OUTPUT_REASONING : MICA_OUTPUT_CONTENT);
    }
    p->header_bytes = 0;
}

/* A header that never came to its message token: what follows role and channel is content. */
static void spill_header(mica_output_parser *p, mica_output_sink sink, void *context) {
    mica_slice word;
    size_t from = 0, end = 0;
    if (p->has_role && next_word(p, &from, &word))
        from = (size_t)(word.data - p->header) + word.bytes;
    else
        from = 0;
    mica_slice channel = find_channel(p, &end);
    size_t before = p->has_channel ? p->channel_at - 1 : p->header_bytes; /* less our own blank */
    if (before < from) before = from;
    if (!is_known_channel(channel)) end = p->has_channel ? p->channel_at : before;
    if (end < before) end = before;
    mica_slice parts[2] = {mica_slice_of(p->header + from, before - from),
                           mica_slice_of(p->header + end, p->header_bytes - end)};
    bool is_empty = true;
    for (int i = 0; i < 2; i++)
        for (size_t k = 0; k < parts[i].bytes; k++)
            is_empty = is_empty && is_blank(parts[i].data[k]);
    if (!is_empty) open_body(p, MICA_OUTPUT_CONTENT);
    for (int i = 0; i < 2 && !is_empty; i++) {
        mica_slice text = make_valid(p, parts[i]);
        if (text.bytes > 0) sink(context, MICA_OUTPUT_CONTENT, text.data, text.bytes);
    }
    p->header_bytes = 0;
    p->has_channel = false;
}

static void append_header(mica_output_parser *p, mica_slice bytes, int32_t id,
                          mica_output_sink sink, void *context) {
    if (bytes.bytes <= MICA_OUTPUT_HEADER_BYTES_MAX - p->header_bytes) {
        if (bytes.bytes > 0) memcpy(p->header + p->header_bytes, bytes.data, bytes.bytes);
        p->header_bytes += bytes.bytes;
        return;
    }
    /* Too long to be a header: it was text. */
    spill_header(p, sink, context);
    open_body(p, MICA_OUTPUT_CONTENT);
    if (id >= 0) mica_output_push_text(p, id, sink, context);
}

static void push_in_header(mica_output_parser *p, int32_t id, mica_output_sink sink,
                           void *context) {
    const mica_slice blank = {" ", 1};
    if (id == p->tokens.message) {
        read_header(p, sink, context);
    } else if (id == p->tokens.channel) {
        drop_bare_channel(p);
        append_header(p, blank, -1, sink, context);
        if (p->state != HARMONY_HEADER) begin_header(p, false);
        p->has_channel = true;
        p->channel_at = p->header_bytes;
    } else if (id == p->tokens.constrain) {
        append_header(p, blank, -1, sink, context);
    } else if (!mica_tokenizer_is_special(p->tokenizer, id)) {
        append_header(p, mica_tokenizer_bytes(p->tokenizer, id), id, sink, context);
    }
}

static bool is_end(const harmony_tokens *t, int32_t id) {
    return id == t->end || id == t->call || id == t->end_of_turn || id == t->end_of_text;
}

void mica_harmony_push(mica_output_parser *p, int32_t id, mica_output_sink sink, void *context) {
    if (id < 0 || id >= mica_tokenizer_size(p->tokenizer)) return;
    if (is_end(&p->tokens, id) || id == p->tokens.start) {
        if (p->state == HARMONY_HEADER) spill_header(p, sink, context);
        end_message(p, sink, context);
        if (id == p->tokens.start) begin_header(p, true);
        return;
    }
    if (p->state == HARMONY_HEADER) {
        push_in_header(p, id, sink, context);
        return;
    }
    if (id == p->tokens.channel) { /* the tokens between two messages were left out */
        end_message(p, sink, context);
        begin_header(p, false);
        push_in_header(p, id, sink, context);
        return;
    }
    if (id == p->tokens.message || id == p->tokens.constrain) return;
    if (p->state == HARMONY_START) open_body(p, MICA_OUTPUT_CONTENT);
    mica_output_push_text(p, id, sink, context);
}

void mica_harmony_finish(mica_output_parser *p, mica_output_sink sink, void *context) {
    if (p->state == HARMONY_HEADER) spill_header(p, sink, context);
    end_message(p, sink, context);
}
