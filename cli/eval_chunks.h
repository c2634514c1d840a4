/* How mica eval cuts token ids into chunks, and which ids of a chunk it scores. Each chunk is read
 * by the model from an empty cache. No I/O. */
#pragma once
#include <stdbool.h>
#include "mica/status.h"

#define CLI_PREFIX_MAX 8

/* The rule, of one document:
 * - all ids (scores_half false): a chunk is the prefix and `length - n_prefix` ids of the text; the
 *   next one begins `stride` ids later (0 = where the last one ended). An id is scored once, by the
 *   first chunk that holds it, and only with something in front of it: without a prefix the first
 *   id of a text, and of chunks that do not overlap, is not scored.
 * - the second half (scores_half true), as llama-perplexity does: the text with the prefix once in
 *   front is cut into chunks of `length` ids, the first ids of each are replaced by the prefix, and
 *   the ids after position length / 2 are scored. stride is not used.
 * An incomplete chunk at the end is left out, unless it is the only one of its document. */
typedef struct cli_chunk_rule {
    int64_t length; /* ids of a chunk, prefix included; > n_prefix and > 1 */
    int64_t stride; /* 0..length - n_prefix */
    bool scores_half;
    int32_t prefix[CLI_PREFIX_MAX]; /* what the tokenizer puts in front of a text: BOS */
    int64_t n_prefix;
} cli_chunk_rule;

/* One chunk: ids[first_scored .. count) are scored, ids[0 .. count - 1) are read by the model. */
typedef struct cli_chunk {
    int32_t *ids; /* [rule->length], of the caller */
    int64_t count;
    int64_t first_scored; /* 1..count; count = nothing */
} cli_chunk;

/* Chunks of a document of n_ids ids; 0 when none has an id to score. */
int64_t cli_chunk_count(const cli_chunk_rule *rule, int64_t n_ids);
/* Chunk number `index` of the document ids[0 .. n_ids), into out->ids. */
void cli_chunk_cut(const cli_chunk_rule *rule, const int32_t *ids, int64_t n_ids, int64_t index,
                   cli_chunk *out);
