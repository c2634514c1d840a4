/* What gguf_tokenizer.c, gguf_pre_tokenizer.c and gguf_merges.c share. */
#pragma once
#include "base/arena.h"
#include "format/gguf.h"

typedef enum gguf_token_type {
    GGUF_TOKEN_NORMAL = 1,
    GGUF_TOKEN_UNKNOWN = 2,
    GGUF_TOKEN_CONTROL = 3,
    GGUF_TOKEN_USER_DEFINED = 4,
    GGUF_TOKEN_UNUSED = 5,
    GGUF_TOKEN_BYTE = 6,
} gguf_token_type;

/* One token. text: as tokenizer.json spells it. */
typedef struct gguf_token {
    mica_slice text;
    float score;
    uint8_t type; /* gguf_token_type */
    bool is_special;
} gguf_token;

typedef struct gguf_vocab {
    const mica_gguf *gguf;
    const mica_allocator *allocator;
    gguf_token *tokens;
    size_t n_tokens;
} gguf_vocab;

/* How the text of byte-level tokenizers is split before the merges. */
typedef struct gguf_pre_tokenizer {
    const char *names[12];   /* of tokenizer.ggml.pre */
    const char *patterns[4]; /* regexes, each applied to the pieces of the one before */
    bool splits_digits;      /* every digit alone, before all others */
    bool has_gpt2_pattern;   /* at last, that of ByteLevel itself */
    bool composes;           /* NFC before all */
    bool ignores_merges;
    bool adds_bos; /* unless the file says otherwise */
} gguf_pre_tokenizer;

/* UNSUPPORTED for an unknown name. */
mica_status gguf_pre_tokenizer_find(const mica_gguf *g, const gguf_pre_tokenizer **out,
                                    mica_error *err);
void gguf_pre_tokenizer_put(const gguf_pre_tokenizer *p, bool adds_space, mica_str *out);

/* Writes the merges of a SentencePiece vocabulary, best first: every way to put a token together
 * from two others. LIMIT when that is too much work. */
mica_status gguf_merges_put(const gguf_vocab *v, mica_str *out, mica_error *err);
