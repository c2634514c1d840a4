/* From generated ids to what a caller prints: the output format's parser (or, raw, the plain
 * detokenizer), and behind it a filter that looks for stop strings in the content. The filter runs
 * one Knuth-Morris-Pratt automaton per stop string, so that a match across any chunk borders is
 * found, in linear time; it holds back the longest end of the content that may still become a stop
 * string. Parsing is output_parser.h's job. */
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "text/output_parser.h"

#define STOPS_MAX 16
#define STOP_BYTES_MAX 256

/* fallback[i]: length of the longest proper prefix that is also a suffix of text[0..i]. */
typedef struct stop_string {
    char text[STOP_BYTES_MAX];
    uint16_t fallback[STOP_BYTES_MAX];
    size_t bytes;
    size_t matched; /* bytes of the content's end that match the beginning */
} stop_string;

struct mica_text_stream {
    const mica_host *host;
    mica_output_parser *parser;    /* NULL when raw */
    mica_detokenizer *detokenizer; /* raw only */
    stop_string *stops;            /* [n_stops] */
    size_t n_stops;
    char held[STOP_BYTES_MAX];   /* content not yet given out */
    size_t n_held;               /* below STOP_BYTES_MAX: a proper prefix of a stop string */
    bool is_stopped;             /* a stop string was met */
    mica_text_callback callback; /* of the call that is running */
    void *context;
};

/* ---- stop strings ---- */

static void build_fallback(stop_string *stop) {
    size_t k = 0;
    stop->fallback[0] = 0;
    for (size_t i = 1; i < stop->bytes; i++) {
        while (k > 0 && stop->text[i] != stop->text[k]) k = stop->fallback[k - 1];
        if (stop->text[i] == stop->text[k]) k++;
        stop->fallback[i] = (uint16_t)k;
    }
}

/* Takes one byte of content; true when the whole string is matched. */
static bool advance_stop(stop_string *stop, char c) {
    while (stop->matched > 0 && stop->text[stop->matched] != c)
        stop->matched = stop->fallback[stop->matched - 1];
    if (stop->text[stop->matched] == c) stop->matched++;
    return stop->matched == stop->bytes;
}

/* Length of the longest match that c completes, or 0. */
static size_t advance_all(mica_text_stream *s, char c) {
    size_t longest = 0;
    for (size_t i = 0; i < s->n_stops; i++)
        if (advance_stop(&s->stops[i], c) && s->stops[i].bytes > longest)
            longest = s->stops[i].bytes;
    return longest;
}

static size_t longest_partial(const mica_text_stream *s) {
    size_t longest = 0;
    for (size_t i = 0; i < s->n_stops; i++)
        if (s->stops[i].matched > longest) longest = s->stops[i].matched;
    return longest;
}

static void reset_stops(mica_text_stream *s) {
    for (size_t i = 0; i < s->n_stops; i++) s->stops[i].matched = 0;
}

/* ---- the filter ---- */

static void emit(mica_text_stream *s, mica_text_kind kind, const char *text, size_t bytes) {
    if (s->callback) s->callback(s->context, kind, text, bytes);
}

static void emit_content(mica_text_stream *s, const char *text, size_t bytes) {
    if (bytes > 0) emit(s, MICA_TEXT_CONTENT, text, bytes);
}

/* Gives out all of held + text but the last `keep` bytes, which stay held. Both borders are at
 * whole characters, because a stop string begins with one. */
static void emit_all_but(mica_text_stream *s, const char *text, size_t bytes, size_t keep) {
    size_t from_held = s->n_held + bytes - keep;
    if (from_held > s->n_held) from_held = s->n_held;
    size_t from_text = s->n_held + bytes - keep - from_held;
    emit_content(s, s->held, from_held);
    emit_content(s, text, from_text);
    memmove(s->held, s->held + from_held, s->n_held - from_held);
    s->n_held -= from_held;
    memcpy(s->held + s->n_held, text + from_text, bytes - from_text);
    s->n_held += bytes - from_text;
}

static void push_content(mica_text_stream *s, const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        size_t match = advance_all(s, text[i]);
        if (match == 0) continue;
        s->is_stopped = true;
        /* What is before the match goes out; the match itself is dropped. */
        size_t before = s->n_held + i + 1 - match;
        size_t from_held = before < s->n_held ? before : s->n_held;
        emit_content(s, s->held, from_held);
        emit_content(s, text, before - from_held);
        s->n_held = 0;
        return;
    }
    emit_all_but(s, text, bytes, longest_partial(s));
}

/* What was held back cannot become a stop string any more. */
static void flush_content(mica_text_stream *s) {
    emit_content(s, s->held, s->n_held);
    s->n_held = 0;
    reset_stops(s);
}

static mica_text_kind kind_of(mica_output_kind kind) {
    switch (kind) {
    case MICA_OUTPUT_REASONING:
        return MICA_TEXT_REASONING;
    case MICA_OUTPUT_CONTENT:
        return MICA_TEXT_CONTENT;
    case MICA_OUTPUT_TOOL_CALL:
        return MICA_TEXT_TOOL_CALL;
    case MICA_OUTPUT_TOOL_ARGUMENTS:
        return MICA_TEXT_TOOL_ARGUMENTS;
    case MICA_OUTPUT_TOOL_CALL_END:
        return MICA_TEXT_TOOL_CALL_END;
    case MICA_OUTPUT_MESSAGE_END:
        return MICA_TEXT_MESSAGE_END;
    }
    return MICA_TEXT_CONTENT;
}

/* The parser's sink. A stop string does not reach over the end of a message. */
static void take_delta(void *context, mica_output_kind kind, const char *text, size_t bytes) {
    mica_text_stream *s = context;
    if (s->is_stopped) return;
    if (kind == MICA_OUTPUT_CONTENT) {
        push_content(s, text, bytes);
        return;
    }
    flush_content(s);
    emit(s, kind_of(kind), text, bytes);
}

/* ---- creation ---- */

static mica_status copy_stops(mica_text_stream *s, const mica_text_stream_options *o,
                              mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    if (o->n_stops == 0) return st;
    MICA_REQUIRE(o->stops && o->n_stops <= STOPS_MAX, MICA_STATUS_INVALID,
                 "%zu stop strings, at most %d", o->n_stops, STOPS_MAX);
    s->stops = MICA_NEW_ARRAY(s->host->allocator, stop_string, o->n_stops);
    MICA_REQUIRE(s->stops, MICA_STATUS_OUT_OF_MEMORY, "out of memory: stop strings");
    for (size_t i = 0; i < o->n_stops; i++) {
        size_t bytes = o->stops[i] ? strlen(o->stops[i]) : 0;
        MICA_REQUIRE(bytes >= 1 && bytes <= STOP_BYTES_MAX, MICA_STATUS_INVALID,
                     "stop string %zu has %zu bytes, wanted 1 to %d", i + 1, bytes, STOP_BYTES_MAX);
        MICA_REQUIRE(mica_utf8_is_valid(o->stops[i], bytes), MICA_STATUS_FORMAT,
                     "stop string %zu is not UTF-8", i + 1);
        memcpy(s->stops[i].text, o->stops[i], bytes);
        s->stops[i].bytes = bytes;
        build_fallback(&s->stops[i]);
    }
    s->n_stops = o->n_stops;
done:
    return st;
}

mica_status mica_text_stream_create(const mica_tokenizer *tokenizer, const mica_chat_template *t,
                                    const mica_text_stream_options *options, mica_text_stream **out,
                                    mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_text_stream *s = NULL;
    mica_text_stream_options o = {0};
    MICA_REQUIRE(tokenizer && out, MICA_STATUS_INVALID,
                 "mica_text_stream_create: an argument is NULL");
    *out = NULL;
    if (options) {
        size_t bytes = options->struct_bytes;
        memcpy(&o, options, bytes > 0 && bytes < sizeof o ? bytes : sizeof o);
    }
    const mica_host *host = mica_tokenizer_host(tokenizer);
    s = MICA_NEW(host->allocator, mica_text_stream);
    MICA_REQUIRE(s, MICA_STATUS_OUT_OF_MEMORY, "out of memory: text stream");
    s->host = host;
    MICA_TRY(copy_stops(s, &o, err));
    if (o.raw)
        MICA_TRY(mica_detokenizer_create(tokenizer, o.keep_special, &s->detokenizer, err));
    else
        MICA_TRY(mica_output_parser_create(tokenizer, mica_output_format_detect(tokenizer, t),
                                           &s->parser, err));
    *out = s;
    s = NULL;
done:
    mica_text_stream_destroy(&s);
    return st;
}

void mica_text_stream_destroy(mica_text_stream **stream) {
    mica_text_stream *s = stream ? *stream : NULL;
    if (!s) return;
    *stream = NULL;
    mica_output_parser_destroy(&s->parser);
    mica_detokenizer_destroy(&s->detokenizer);
    mica_free(s->host->allocator, s->stops);
    mica_free(s->host->allocator, s);
}

/* ---- one reply ---- */

bool mica_text_stream_push(mica_text_stream *s, int32_t id, mica_text_callback callback,
                           void *context) {
    if (s->is_stopped) return false;
    s->callback = callback;
    s->context = context;
    if (s->parser) {
        mica_output_parser_push(s->parser, id, take_delta, s);
    } else {
        const char *text = NULL;
        size_t bytes = 0;
        /* An id without a token adds no text. */
        if (mica_detokenizer_push(s->detokenizer, id, &text, &bytes, NULL) == MICA_STATUS_OK &&
            bytes > 0)
            push_content(s, text, bytes);
    }
    return !s->is_stopped;
}

void mica_text_stream_finish(mica_text_stream *s, mica_text_callback callback, void *context) {
    s->callback = callback;
    s->context = context;
    if (s->parser) {
        mica_output_parser_finish(s->parser, take_delta, s);
    } else {
        const char *text = NULL;
        size_t bytes = 0;
        if (mica_detokenizer_flush(s->detokenizer, &text, &bytes, NULL) == MICA_STATUS_OK &&
            bytes > 0 && !s->is_stopped)
            push_content(s, text, bytes);
    }
    if (!s->is_stopped) flush_content(s);
}

void mica_text_stream_reset(mica_text_stream *s) {
    const char *text = NULL;
    size_t bytes = 0;
    if (s->parser) mica_output_parser_reset(s->parser);
    if (s->detokenizer) (void)mica_detokenizer_flush(s->detokenizer, &text, &bytes, NULL);
    s->n_held = 0;
    s->is_stopped = false;
    reset_stops(s);
}

size_t mica_text_stream_stop_ids(const mica_text_stream *s, int32_t out[8]) {
    return s->parser ? mica_output_parser_stop_ids(s->parser, out) : 0;
}
