/* Chunks by arithmetic alone: any of them can be cut without the ones before it. */
#include "eval_chunks.h"
#include <string.h>

/* Ids of the text in one full chunk, where all ids are scored. */
static int64_t text_length(const cli_chunk_rule *r) { return r->length - r->n_prefix; }

static int64_t step_of(const cli_chunk_rule *r) { return r->stride ? r->stride : text_length(r); }

/* The first position of a chunk that is scored. */
static int64_t first_scored(const cli_chunk_rule *r, int64_t count, int64_t index) {
    if (r->scores_half) return count / 2 + 1;
    int64_t known = index > 0 ? text_length(r) - step_of(r) : 0; /* scored by the one before */
    int64_t first = r->n_prefix + known;
    return first > 0 ? first : 1;
}

int64_t cli_chunk_count(const cli_chunk_rule *r, int64_t n_ids) {
    int64_t whole = r->n_prefix + n_ids; /* ids of the only chunk, if there is one */
    if (whole <= r->length) return first_scored(r, whole, 0) < whole ? 1 : 0;
    if (r->scores_half) return first_scored(r, r->length, 0) < r->length ? whole / r->length : 0;
    return 1 + (n_ids - text_length(r)) / step_of(r);
}

/* Chunk `index` of the prefix and the text, with the prefix over its first ids. */
static void cut_half(const cli_chunk_rule *r, const int32_t *ids, int64_t n_ids, int64_t index,
                     cli_chunk *out) {
    int64_t left = r->n_prefix + n_ids - index * r->length;
    out->count = left < r->length ? left : r->length;
    for (int64_t i = 0; i < out->count; i++)
        out->ids[i] = i < r->n_prefix ? r->prefix[i] : ids[index * r->length + i - r->n_prefix];
}

void cli_chunk_cut(const cli_chunk_rule *r, const int32_t *ids, int64_t n_ids, int64_t index,
                   cli_chunk *out) {
    if (r->scores_half) {
        cut_half(r, ids, n_ids, index, out);
    } else {
        int64_t begin = index * step_of(r), n = text_length(r);
        if (n > n_ids - begin) n = n_ids - begin;
        memcpy(out->ids, r->prefix, (size_t)r->n_prefix * sizeof *ids);
        memcpy(out->ids + r->n_prefix, ids + begin, (size_t)n * sizeof *ids);
        out->count = r->n_prefix + n;
    }
    out->first_scored = first_scored(r, out->count, index);
}
