/* The parts of a loaded tokenizer, for the files that make it up: tokenizer_load.c (file),
 * tokenizer_steps.c (normalizer, pre-tokenizer, decoder, post-processor), tokenizer_encode.c,
 * tokenizer_decode.c and tokenizer.c (look-ups). */
#pragma once
#include "base/arena.h"
#include "base/json.h"
#include "text/added_tokens.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/token_decoder.h"
#include "text/token_model.h"
#include "text/tokenizer.h"

#define MICA_POST_IDS_MAX 16 /* ids that a post-processor puts on one side of the text */

/* Threads: any; immutable after load. */
struct mica_tokenizer {
    const mica_host *host;
    mica_arena arena; /* texts of steps and added tokens */
    mica_vocab vocab; /* added tokens included */
    mica_token_model *model;
    mica_added_token *added; /* [n_added], in the arena */
    size_t n_added;
    mica_added_trie raw_trie;        /* tokens that are looked for before the normalizer */
    mica_added_trie normalized_trie; /* and after it */
    bool has_normalized_special;     /* a special token is among the latter */
    mica_normalizer normalizer;
    mica_pre_tokenizer pre_tokenizer;
    mica_token_decoder decoder;
    int32_t front_ids[MICA_POST_IDS_MAX], back_ids[MICA_POST_IDS_MAX];
    int n_front, n_back;
    bool has_post_ids;     /* a post-processor that adds ids was read */
    char byte_values[256]; /* 0..255, for mica_tokenizer_bytes of fallback tokens */
};

/* Each reads one value ("null" too) and fills its part. name: of the file, for errors.
 * Errors: FORMAT (types of fields), UNSUPPORTED (a type or order that is not known), LIMIT. */
mica_status mica_tokenizer_read_normalizer(mica_tokenizer *t, mica_json *j, mica_error *err);
mica_status mica_tokenizer_read_pre_tokenizer(mica_tokenizer *t, mica_json *j, mica_error *err);
mica_status mica_tokenizer_read_decoder(mica_tokenizer *t, mica_json *j, mica_error *err);
mica_status mica_tokenizer_read_post_processor(mica_tokenizer *t, mica_json *j, mica_error *err);
