/* Decoders: token ids back to text, as a stream. The steps of tokenizer.json fall into three parts:
 * steps on single tokens, then bytes (byte alphabet or byte fallback), then one Strip on the whole
 * text; other orders are refused at load because they could not be streamed. Two kinds look at the
 * neighbour of a token (suffixed, repeating) and do so before everything else. */
#pragma once
#include "base/host.h"
#include "base/str.h"
#include "text/vocab.h"

#define MICA_DECODER_STEPS_MAX 16

typedef enum mica_decoder_kind {
    MICA_DECODE_REPLACE,   /* every `pattern` in the token by `content` */
    MICA_DECODE_STRIP,     /* up to `start` leading and `stop` trailing `content` off the token */
    MICA_DECODE_METASPACE, /* `pattern` by a space; dropped in the first token if `drops_first` */
    /* After the first token: the prefix `pattern` goes, else a space comes in front. */
    MICA_DECODE_WORD_PIECE,
    MICA_DECODE_CLEAN_UP, /* spaces before punctuation and English contractions go */
} mica_decoder_kind;

/* pattern, content: borrowed; content of STRIP is one character. */
typedef struct mica_decoder_step {
    mica_decoder_kind kind;
    mica_slice pattern, content;
    size_t start, stop;
    bool drops_first;
} mica_decoder_step;

/* Threads: any, once filled. */
typedef struct mica_token_decoder {
    mica_decoder_step steps[MICA_DECODER_STEPS_MAX]; /* on single tokens, in order */
    int n_steps;
    bool is_byte_level;
    bool has_byte_fallback; /* tokens "<0xXX>" are bytes */
    bool joins_with_space;  /* no decoder in the file: the reference puts a space between tokens */
    bool is_suffixed;       /* BPEDecoder: `suffix` becomes a space, nothing in the last token */
    bool is_repeating;      /* CTC: a token that is repeated counts once */
    mica_slice suffix;
    bool is_fused;  /* a Fuse step was read: what follows works on the whole text */
    bool has_strip; /* `strip` on the whole text */
    mica_decoder_step strip;
    /* Byte level: the bytes of each token one after another, and [size + 1] places in them. */
    char *bytes;
    uint32_t *byte_starts;
} mica_token_decoder;

/* Fills bytes and byte_starts from the vocabulary; false when there is no memory. */
bool mica_token_decoder_finish(mica_token_decoder *d, const mica_vocab *vocab,
                               const mica_allocator *allocator);
void mica_token_decoder_deinit(mica_token_decoder *d, const mica_allocator *allocator);
/* The byte that a token "<0xXX>" stands for, else -1. */
int mica_token_decoder_fallback_byte(mica_slice token);

/* The state of one sequence. out collects text that is whole; the owner takes and clears it.
 * Threads: one at a time. */
typedef struct mica_decode_run {
    const mica_token_decoder *decoder;
    const mica_vocab *vocab;
    bool keeps_special;
    bool
        is_whole; /* all ids are known before any text is wanted: byte runs are judged as a whole */
    bool has_tokens;
    bool failed;     /* an append found no memory */
    int32_t last_id; /* suffixed: held until it is known whether it is the last; repeating: the one
                        before; -1: none */
    mica_str out;
    mica_str bytes;      /* bytes that are not whole characters yet */
    mica_str scratch[2]; /* a token between its steps */
    size_t n_stripped, n_held;
    bool is_past_start;
} mica_decode_run;

/* Reserves memory, so that pushing tokens of a sane vocabulary allocates nothing. false: no
 * memory. */
bool mica_decode_run_init(mica_decode_run *run, const mica_token_decoder *decoder,
                          const mica_vocab *vocab, const mica_allocator *allocator,
                          bool keeps_special, bool is_whole);
void mica_decode_run_deinit(mica_decode_run *run);
/* Appends what becomes whole to run->out. Errors: INVALID (no such token), OUT_OF_MEMORY. */
mica_status mica_decode_run_push(mica_decode_run *run, int32_t id, mica_error *err);
/* Appends what was held back; the state is that of a new sequence afterwards. */
mica_status mica_decode_run_flush(mica_decode_run *run, mica_error *err);
