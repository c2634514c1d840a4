/* Byte-pair encoding of one piece of text: repeatedly the adjacent pair of lowest rank is merged,
 * the leftmost first. Short runs take a simple quadratic path, long ones a bucket queue
 * (bpe_queue.c), so that time is O(n log n) and memory O(n) for any piece. */
#pragma once
#include "text/piece_cache.h"
#include "text/vocab.h"

#define MICA_BPE_AFFIX_BYTES_MAX 64 /* of a prefix or suffix */

/* key: left << 32 | right, plus 1; 0 = free. rank: place in the file; id: the joined token. */
typedef struct mica_merge {
    uint64_t key;
    uint32_t rank;
    int32_t id;
} mica_merge;

/* Threads: any, once filled. */
typedef struct mica_bpe {
    const mica_allocator *allocator;
    const mica_vocab *vocab; /* borrowed */
    mica_merge *merges;      /* open addressing, at most half full */
    size_t merge_mask;
    uint32_t n_merges; /* also the next rank */
    bool ignore_merges;
    bool byte_fallback;
    bool fuse_unknown;
    bool is_byte_level;        /* pieces are raw bytes, the vocabulary is in the byte alphabet */
    int32_t unknown_id;        /* -1: none; unknown characters are dropped */
    int32_t byte_ids[256];     /* byte level: the id of each byte, or -1 */
    int32_t fallback_ids[256]; /* of "<0x00>" .. "<0xFF>", or -1 */
    mica_slice prefix;         /* continuing_subword_prefix, borrowed; empty = none */
    mica_slice suffix;         /* end_of_word_suffix, borrowed; empty = none */
    /* Bit set over hashes of (last character of the left part, first of the right part) of all
     * merges: a border between characters that is not in it can never be merged over, so that the
     * text on both sides is encoded apart. NULL where that would not be exact. */
    uint64_t *joins;
    bool merges_fallback; /* a part of some merge looks like a fallback token */
} mica_bpe;

void mica_bpe_init(mica_bpe *bpe, const mica_allocator *allocator, const mica_vocab *vocab);
void mica_bpe_deinit(mica_bpe *bpe);
/* Room for that many merges, known or guessed. */
bool mica_bpe_reserve(mica_bpe *bpe, size_t merges);
/* The next merge of the file; false when there is no memory. A pair given twice keeps its last
 * rank, as in the reference. */
bool mica_bpe_add_merge(mica_bpe *bpe, int32_t left, int32_t right, int32_t id);
/* Asks for the memory that mica_bpe_add_merge will touch. */
static inline void mica_bpe_prefetch_merge(const mica_bpe *bpe, int32_t left, int32_t right) {
    uint64_t key = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) + 1;
    if (bpe->merges)
        __builtin_prefetch(&bpe->merges[(key * 0x9E3779B97F4A7C15u >> 32) & bpe->merge_mask], 1);
}
/* After the vocabulary, the merges and all flags are set: fills the tables by byte, and drops
 * `joins` where it cannot be used.
 * *n_missing: bytes without a token, of the byte alphabet where is_byte_level, else of the
 * fallback tokens. */
void mica_bpe_finish(mica_bpe *bpe, int *n_missing);

/* NULL when the pair is not merged. */
static inline const mica_merge *mica_bpe_find_merge(const mica_bpe *bpe, uint32_t left,
                                                    uint32_t right) {
    uint64_t key = ((uint64_t)left << 32 | right) + 1;
    if (!bpe->merges) return NULL;
    for (size_t at = (key * 0x9E3779B97F4A7C15u >> 32) & bpe->merge_mask;;
         at = (at + 1) & bpe->merge_mask) {
        const mica_merge *m = &bpe->merges[at];
        if (m->key == key) return m;
        if (m->key == 0) return NULL;
    }
}

/* Working memory of one encode call. Threads: one at a time. */
typedef struct mica_bpe_run {
    const mica_bpe *bpe;
    mica_vec *ids;          /* int32_t: the output, borrowed */
    mica_vec symbols;       /* uint32_t: initial symbols of the current piece */
    mica_vec queue;         /* memory of bpe_queue.c */
    mica_vec text;          /* char: a piece spelled in the byte alphabet */
    mica_piece_cache cache; /* the owner switches it on */
} mica_bpe_run;

void mica_bpe_run_init(mica_bpe_run *run, const mica_bpe *bpe, mica_vec *ids);
void mica_bpe_run_deinit(mica_bpe_run *run);
/* Appends the ids of one piece (valid UTF-8; for byte level any part of it). false: no memory. */
bool mica_bpe_encode(mica_bpe_run *run, const char *piece, size_t bytes);
/* Merges n >= 2 symbols and appends the ids: the path for long runs. false: no memory. */
bool mica_bpe_merge_long(mica_bpe_run *run, const uint32_t *symbols, size_t n);
