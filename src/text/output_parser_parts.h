/* What the files of the output parser share. */
#pragma once
#include "text/output_parser.h"

#define MICA_OUTPUT_HEADER_BYTES_MAX 4096

typedef enum harmony_state {
    HARMONY_START,   /* between messages */
    HARMONY_HEADER,  /* after the start token, up to the message token */
    HARMONY_CONTENT, /* the body of a message */
} harmony_state;

/* Ids of the structure's tokens; -1 = the tokenizer has none. */
typedef struct harmony_tokens {
    int32_t start, end, message, channel, constrain, call, end_of_turn, end_of_text;
} harmony_tokens;

struct mica_output_parser {
    const mica_tokenizer *tokenizer;
    mica_detokenizer *detokenizer; /* of the current body */
    bool is_harmony;
    bool is_open;          /* a message has begun and MESSAGE_END is due */
    mica_output_kind kind; /* of the body's deltas: REASONING, CONTENT or TOOL_ARGUMENTS */
    harmony_tokens tokens;
    harmony_state state;
    bool has_role; /* the header's first word is the role (not so at the start of the turn) */
    bool has_channel;
    size_t channel_at; /* where the text behind the last channel token begins in header */
    size_t header_bytes;
    char header[MICA_OUTPUT_HEADER_BYTES_MAX];
    char text[3 * MICA_OUTPUT_HEADER_BYTES_MAX]; /* header text with invalid bytes as U+FFFD */
};

/* Decodes one id of a body and hands on what became whole. */
void mica_output_push_text(mica_output_parser *p, int32_t id, mica_output_sink sink, void *context);
/* Hands on what the detokenizer still holds. */
void mica_output_flush_text(mica_output_parser *p, mica_output_sink sink, void *context);

void mica_plain_push(mica_output_parser *p, int32_t id, mica_output_sink sink, void *context);
void mica_plain_finish(mica_output_parser *p, mica_output_sink sink, void *context);

bool mica_harmony_detect(const mica_tokenizer *tokenizer);
void mica_harmony_init(mica_output_parser *p);
void mica_harmony_reset(mica_output_parser *p);
void mica_harmony_push(mica_output_parser *p, int32_t id, mica_output_sink sink, void *context);
void mica_harmony_finish(mica_output_parser *p, mica_output_sink sink, void *context);
