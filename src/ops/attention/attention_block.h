/* What both attention ops share, whatever the instruction set: keys in pages of 64, queries in
 * blocks of at most MICA_ATTENTION_BLOCK_ROWS rows (a row is a token and a query head; the heads of
 * one KV head go together), and the scratch of a block.
 *
 * A row's arithmetic is fixed by its own keys alone: pages in ascending order, in a page the range
 * [first, end) of its keys; scores are sums over dim in order; a page's maximum, then its
 * exponentials, their sum lane by lane, then values added in key order. Blocks only say which rows
 * share a page that was converted once. */
#pragma once
#include <stdint.h>
#include <stddef.h>

#define MICA_ATTENTION_PAGE 64
#define MICA_ATTENTION_BLOCK_ROWS 64

/* Tokens of a block; `group` query heads share a KV head. */
static inline int64_t mica_attention_block_tokens(int64_t group) {
    return group < MICA_ATTENTION_BLOCK_ROWS ? MICA_ATTENTION_BLOCK_ROWS / group : 1;
}

/* Scratch of a worker: rows of dim are padded to 16 elements. */
static inline size_t mica_attention_block_bytes(int64_t group, int64_t dim) {
    int64_t tokens = mica_attention_block_tokens(group), rows = tokens * group;
    int64_t padded = (dim + 15) / 16 * 16;
    int64_t floats = rows * (2 * padded + MICA_ATTENTION_PAGE + 2) +
                     2 * MICA_ATTENTION_PAGE * padded + 2 * tokens;
    return (size_t)floats * sizeof(float) + 64;
}
