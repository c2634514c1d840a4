/* Splits the ids that a model generates into reasoning, content and tool calls, as they come.
 * One interface, one file per format: plain.c (everything is content), harmony.c (gpt-oss). A bad
 * stream never fails: what cannot be understood is content. Deltas are whole UTF-8. */
#pragma once
#include "base/host.h"
#include "base/str.h"
#include "text/template.h"
#include "text/tokenizer.h"

typedef enum mica_output_kind {
    MICA_OUTPUT_REASONING,      /* text the model thinks; shown only on request */
    MICA_OUTPUT_CONTENT,        /* the answer */
    MICA_OUTPUT_TOOL_CALL,      /* a call begins: text = the function's name */
    MICA_OUTPUT_TOOL_ARGUMENTS, /* a piece of its arguments (JSON text as the model wrote it) */
    MICA_OUTPUT_TOOL_CALL_END,
    MICA_OUTPUT_MESSAGE_END, /* a message of the turn ended; text is empty */
} mica_output_kind;

/* One delta; text is borrowed for the call. */
typedef void (*mica_output_sink)(void *context, mica_output_kind kind, const char *text,
                                 size_t bytes);

/* Threads: one at a time. */
typedef struct mica_output_parser mica_output_parser;

/* "harmony" when the tokenizer has its special tokens and the template uses them (t may be NULL:
 * then the tokenizer decides), else "plain". Static text. */
const char *mica_output_format_detect(const mica_tokenizer *tokenizer, const mica_chat_template *t);

/* format: a name from detect; anything else is UNSUPPORTED. The tokenizer must outlive the parser.
 * All memory that a stream needs is taken here, up to a held-back header of 4 KiB. */
mica_status mica_output_parser_create(const mica_tokenizer *tokenizer, const char *format,
                                      mica_output_parser **out, mica_error *err);
void mica_output_parser_destroy(mica_output_parser **p);
/* Back to the start of an assistant turn (harmony: inside a header, after "<|start|>assistant"). */
void mica_output_parser_reset(mica_output_parser *p);
/* Takes one id (stop ids included) and calls sink for what it completes. */
void mica_output_parser_push(mica_output_parser *p, int32_t id, mica_output_sink sink,
                             void *context);
/* The end of generation, for whatever reason: flushes what is held back. */
void mica_output_parser_finish(mica_output_parser *p, mica_output_sink sink, void *context);
/* The ids that end generation in this format, besides those of the configuration (harmony:
 * return, call, endoftext). Returns how many, at most 8. */
size_t mica_output_parser_stop_ids(const mica_output_parser *p, int32_t out[8]);
