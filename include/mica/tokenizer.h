/* Text to token ids and back, and chat templates. Both read the Hugging Face files of a model
 * folder (tokenizer.json, tokenizer_config.json, chat_template.jinja) and nothing else. Next:
 * model.h, engine.h. */
#pragma once
#include "mica/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mica_runtime mica_runtime;

/* An immutable tokenizer. Threads: any, at once. */
typedef struct mica_tokenizer mica_tokenizer;

/* path: a model folder, a tokenizer.json file or a GGUF file.
 * Errors: NOT_FOUND, IO, FORMAT, UNSUPPORTED (a normalizer, pre-tokenizer, model, post-processor or
 * decoder type that is not known), LIMIT. */
MICA_API mica_status mica_tokenizer_open(mica_runtime *runtime, const char *path,
                                         mica_tokenizer **out, mica_error *err);
MICA_API void mica_tokenizer_close(mica_tokenizer **tokenizer);

/* Largest token id + 1, added tokens included. */
MICA_API int32_t mica_tokenizer_size(const mica_tokenizer *tokenizer);
/* The id of a token by its exact text as it stands in the file, or -1. Special tokens are found by
 * this, never by number. */
MICA_API int32_t mica_tokenizer_find(const mica_tokenizer *tokenizer, const char *text);
/* The token's text as the file spells it (byte-level alphabet); NULL for an id without a token.
 * Borrowed until the tokenizer closes. */
MICA_API const char *mica_tokenizer_token(const mica_tokenizer *tokenizer, int32_t id,
                                          size_t *bytes);
MICA_API bool mica_tokenizer_is_special(const mica_tokenizer *tokenizer, int32_t id);

/* Token ids owned by the caller. Zero is the empty list. */
typedef struct mica_tokens {
    int32_t *ids;
    size_t count;
} mica_tokens;
MICA_API void mica_tokens_free(const mica_tokenizer *tokenizer, mica_tokens *tokens);

/* Zero means default. */
typedef struct mica_encode_options {
    size_t struct_bytes;     /* sizeof(mica_encode_options) */
    bool plain_special;      /* text that looks like a special token is ordinary text */
    bool add_special_tokens; /* run the post-processor (BOS / EOS); default: nothing is added */
} mica_encode_options;

/* text must be valid UTF-8 (else FORMAT, with the byte offset). options may be NULL.
 * Time is O(n log n) and stack use constant for any text. */
MICA_API mica_status mica_tokenizer_encode(const mica_tokenizer *tokenizer, const char *text,
                                           size_t bytes, const mica_encode_options *options,
                                           mica_tokens *out, mica_error *err);

/* The whole text of a list of ids: invalid bytes become U+FFFD. Special tokens are printed when
 * keep_special is true. *out is NUL-terminated, freed by mica_text_free.
 * Errors: INVALID for an id outside the vocabulary. */
MICA_API mica_status mica_tokenizer_decode(const mica_tokenizer *tokenizer, const int32_t *ids,
                                           size_t count, bool keep_special, char **out,
                                           size_t *bytes, mica_error *err);
MICA_API void mica_text_free(const mica_tokenizer *tokenizer, char *text);

/* Streaming decoder of one sequence: emits only whole UTF-8. Threads: one at a time. */
typedef struct mica_detokenizer mica_detokenizer;
MICA_API mica_status mica_detokenizer_create(const mica_tokenizer *tokenizer, bool keep_special,
                                             mica_detokenizer **out, mica_error *err);
MICA_API void mica_detokenizer_destroy(mica_detokenizer **d);
/* Takes one id; *text is what became whole (may be empty), borrowed until the next call. */
MICA_API mica_status mica_detokenizer_push(mica_detokenizer *d, int32_t id, const char **text,
                                           size_t *bytes, mica_error *err);
/* What is still held back, with U+FFFD for a cut sequence; the state is fresh afterwards. */
MICA_API mica_status mica_detokenizer_flush(mica_detokenizer *d, const char **text, size_t *bytes,
                                            mica_error *err);

/* A compiled chat template. Threads: any, at once (each render has its own memory). */
typedef struct mica_chat_template mica_chat_template;

/* From a model folder (chat_template.jinja, else tokenizer_config.json), a .jinja file or a GGUF
 * file.
 * for_tools selects the template named "tool_use" where a list of templates is given. */
MICA_API mica_status mica_chat_template_open(mica_runtime *runtime, const char *path,
                                             bool for_tools, mica_chat_template **out,
                                             mica_error *err);
MICA_API void mica_chat_template_close(mica_chat_template **t);

/* Rendered text with its origin: run i covers bytes [end of run i-1, runs[i].end). */
typedef struct mica_text_run {
    size_t end;
    bool from_input; /* came from messages, tools or other variables, not from the template */
} mica_text_run;
typedef struct mica_rendered {
    char *text; /* NUL-terminated */
    size_t bytes;
    mica_text_run *runs;
    size_t n_runs;
} mica_rendered;

typedef struct mica_render_options {
    size_t struct_bytes;
    bool add_generation_prompt;
    int64_t now_seconds; /* clock of strftime_now as a Unix time; 0 = the system's clock */
} mica_render_options;

/* variables_json: an object with `messages` and, where wanted, `tools`, `documents` and further
 * template variables (they win over the options and over the special tokens of
 * tokenizer_config.json). Budgets: depth, steps, output, memory, time (text/template.h).
 * Errors: FORMAT (bad JSON; the template raised: its message), LIMIT (a budget). */
MICA_API mica_status mica_chat_template_render(const mica_chat_template *t,
                                               const char *variables_json, size_t json_bytes,
                                               const mica_render_options *options,
                                               mica_rendered *out, mica_error *err);
MICA_API void mica_rendered_free(const mica_chat_template *t, mica_rendered *rendered);

/* Encodes a rendered prompt. The template's own runs are encoded as Hugging Face transformers
 * would. Text from input can never become a special token, a token written <|...|>, or a tag
 * (<...>,
 * [...]) that the template itself writes in this prompt; other added tokens (runs of spaces, tags
 * that the vocabulary has for content) count in it as in any text. Nothing is added in front. */
MICA_API mica_status mica_tokenizer_encode_rendered(const mica_tokenizer *tokenizer,
                                                    const mica_rendered *rendered, mica_tokens *out,
                                                    mica_error *err);

/* ---- generated ids to text ------------------------------------------------------------------ */

/* What a piece of generated text is. */
typedef enum mica_text_kind {
    MICA_TEXT_REASONING,      /* what the model thinks; shown only on request */
    MICA_TEXT_CONTENT,        /* the answer */
    MICA_TEXT_TOOL_CALL,      /* a call begins: text is the function's name */
    MICA_TEXT_TOOL_ARGUMENTS, /* a piece of its arguments */
    MICA_TEXT_TOOL_CALL_END,
    MICA_TEXT_MESSAGE_END, /* one message of the turn ended */
} mica_text_kind;

/* One delta of whole UTF-8; text is borrowed for the call. */
typedef void (*mica_text_callback)(void *context, mica_text_kind kind, const char *text,
                                   size_t bytes);

typedef struct mica_text_stream_options {
    size_t struct_bytes;
    bool raw;                 /* no parsing: everything is content */
    bool keep_special;        /* raw: print special tokens too */
    const char *const *stops; /* stop strings, compared with the content; copied */
    size_t n_stops;           /* at most 16, each 1..256 bytes */
} mica_text_stream_options;

/* Detokenizer, output format (harmony, plain) and stop strings in one object, for one reply.
 * t may be NULL. Threads: one at a time. Nothing is allocated per id. */
typedef struct mica_text_stream mica_text_stream;
MICA_API mica_status mica_text_stream_create(const mica_tokenizer *tokenizer,
                                             const mica_chat_template *t,
                                             const mica_text_stream_options *options,
                                             mica_text_stream **out, mica_error *err);
MICA_API void mica_text_stream_destroy(mica_text_stream **stream);
/* Takes an id. Returns false once a stop string was met: the rest is to be thrown away. */
MICA_API bool mica_text_stream_push(mica_text_stream *stream, int32_t id,
                                    mica_text_callback callback, void *context);
/* The end: gives out what was held back. */
MICA_API void mica_text_stream_finish(mica_text_stream *stream, mica_text_callback callback,
                                      void *context);
/* Ready for another reply. */
MICA_API void mica_text_stream_reset(mica_text_stream *stream);
/* Ids that end a reply in this format, besides those of the model's configuration; at most 8. */
MICA_API size_t mica_text_stream_stop_ids(const mica_text_stream *stream, int32_t out[8]);

#ifdef __cplusplus
}
#endif
