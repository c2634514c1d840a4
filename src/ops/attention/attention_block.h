/* What both attention ops share, whatever the instruction set: keys in pages of 64, pages in ranges
 * of MICA_ATTENTION_RANGE_PAGES, queries in blocks of at most MICA_ATTENTION_BLOCK_ROWS rows (a row
 * is a token and a query head; the heads of one KV head go together), and the scratch of a block.
 *
 * A row's arithmetic is fixed by its own keys alone. Pages in ascending order, in a page the range
 * [first, end) of its keys; a score is summed in vectors over dim, then over their lanes; a page's
 * maximum, then its exponentials, their sum lane by lane, then values added in key order. Each
 * range of pages is summed by itself, and these sums are merged in ascending order, whoever
 * computed them. Blocks only say which rows share a page, workers only who takes which range. */
#pragma once
#include <stdint.h>
#include <stddef.h>
#include <stdbool.h>

#define MICA_ATTENTION_PAGE 64
#define MICA_ATTENTION_BLOCK_ROWS 96
/* Short enough that a few hundred keys give every core of a small machine its part, long enough
 * that a range costs a hundred times what its merge does. */
#define MICA_ATTENTION_RANGE_PAGES 4

/* Tokens of a block; `group` query heads share a KV head. */
static inline int64_t mica_attention_block_tokens(int64_t group) {
    return group < MICA_ATTENTION_BLOCK_ROWS ? MICA_ATTENTION_BLOCK_ROWS / group : 1;
}

/* Pages of a range; windows that reach over few pages are one whole. */
static inline int64_t mica_attention_range_pages(int64_t window) {
    bool is_short = window && window <= MICA_ATTENTION_RANGE_PAGES * MICA_ATTENTION_PAGE;
    return is_short ? INT64_MAX / (2 * MICA_ATTENTION_PAGE) : MICA_ATTENTION_RANGE_PAGES;
}

/* Rows of dim are padded to 16 elements. */
static inline int64_t mica_attention_padded(int64_t dim) { return (dim + 15) / 16 * 16; }

/* Floats of a row's sums: values, the largest score, the sum of exponentials. */
static inline int64_t mica_attention_sums_floats(int64_t dim) {
    return mica_attention_padded(dim) + 2;
}

/* Scratch of a worker. */
static inline size_t mica_attention_block_bytes(int64_t group, int64_t dim) {
    int64_t tokens = mica_attention_block_tokens(group), rows = tokens * group;
    int64_t padded = mica_attention_padded(dim);
    int64_t floats = rows * (padded + MICA_ATTENTION_PAGE + 2 * mica_attention_sums_floats(dim)) +
                     (MICA_ATTENTION_PAGE + 1) * padded + 2 * tokens;
    return (size_t)floats * sizeof(float) + 64;
}
