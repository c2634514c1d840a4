/* A block of query rows against pages of keys, in vectors: included by the vector files of both
 * attention ops after the vector header. The arithmetic of a row is fixed in attention_block.h; the
 * two products are in attention_tiles_simd.h.
 *
 * Order of calls: block_begin, block_take_query; for every range block_clear_sums; for every page
 * of it block_set_ranges, block_scores with its keys, block_values with its values; then
 * block_merge; at the end block_result. */
#pragma once
#include <math.h>
#include <string.h>
#include "ops/attention/attention_tiles_simd.h"

/* What rows have gathered, to be divided by `sum`. */
typedef struct attention_sums {
    float *out;     /* [rows][padded] */
    float *largest; /* [rows]: score, or sink */
    float *sum;     /* [rows]: of exp(score - largest); a sink counts 1 */
} attention_sums;

typedef struct attention_block {
    int64_t dim;
    int64_t padded; /* dim rounded up to whole vectors: stride of q, out, rows */
    int64_t group;  /* rows of a token */
    int64_t n_tokens;
    bool is_paired; /* q, rows and sums are in the order of attention_lanes_simd.h */
    bool is_causal;
    int64_t position; /* causal: of token 0; token t sees the keys up to position + t */
    int64_t window;   /* and of these only the last `window`; 0 = all */
    int64_t n_keys;
    float scale;
    float soft_cap;        /* 0 = none */
    float *q;              /* [n_tokens * group][padded] */
    attention_sums part;   /* of the range at hand */
    attention_sums merged; /* of the ranges before it, and the sinks */
    float *scores;         /* [n_tokens * group][PAGE]: then exponentials */
    float *rows;           /* [PAGE][padded]: of K or V on their way */
    float *row;            /* [padded] */
    int32_t *first;        /* [n_tokens]: range of keys that a token sees on this page */
    int32_t *end;
    int64_t token_first, token_end; /* tokens that see any key of this page: they are neighbours */
    fetch_ahead ahead;
} attention_block;

static inline attention_sums cut_sums(float *at, int64_t rows, int64_t padded) {
    return (attention_sums){at, at + rows * padded, at + rows * (padded + 1)};
}

/* Cuts the scratch up; all fields above the pointers but `padded` are set by the caller. */
static inline void block_begin(attention_block *b, void *scratch) {
    int64_t tokens = mica_attention_block_tokens(b->group), rows = tokens * b->group;
    float *at = scratch;
    b->padded = (b->dim + MICA_LANES - 1) / MICA_LANES * MICA_LANES;
    b->q = at, at += rows * b->padded;
    b->part = cut_sums(at, rows, b->padded), at += rows * (b->padded + 2);
    b->merged = cut_sums(at, rows, b->padded), at += rows * (b->padded + 2);
    b->scores = at, at += rows * PAGE;
    b->rows = at, at += PAGE * b->padded;
    b->row = at, at += b->padded;
    b->first = (int32_t *)at;
    b->end = b->first + tokens;
    if (b->padded == b->dim) return;
    memset(b->rows, 0, (size_t)(PAGE * b->padded) * sizeof(float));
    memset(b->row, 0, (size_t)b->padded * sizeof(float));
}

/* Row `row` of q from b->row. */
static inline void block_take_row(attention_block *b, int64_t row) {
    float *to = b->q + row * b->padded;
    if (!b->is_paired) {
        memcpy(to, b->row, (size_t)b->padded * sizeof *to);
        return;
    }
    for (int64_t i = 0; i < b->padded; i += PAIR) {
        mica_lanes x[2];
        load_pairs(b->row + i, x);
        mica_lanes_store(to + i, x[0]);
        mica_lanes_store(to + i + MICA_LANES, x[1]);
    }
}

/* A token's query heads, [group][dim], into the block. */
static inline void block_take_query(attention_block *b, int64_t token, int dtype, const void *q) {
    for (int64_t h = 0; h < b->group; h++) {
        for (int64_t i = 0; i < b->dim; i += MICA_LANES)
            mica_lanes_write_up_to(
                MICA_DTYPE_F32, b->row, i, b->dim,
                mica_lanes_read_up_to(dtype, q, h * b->dim + i, (h + 1) * b->dim, 0.0f));
        block_take_row(b, token * b->group + h);
    }
}

/* The merged sums of a token before its first range: its heads' sinks (NULL = none). */
static inline void block_take_sinks(attention_block *b, int64_t token, int dtype, const void *sinks,
                                    int64_t head) {
    for (int64_t h = 0; h < b->group; h++) {
        int64_t row = token * b->group + h;
        b->merged.largest[row] = sinks ? mica_element_f32(dtype, sinks, head + h) : -INFINITY;
        b->merged.sum[row] = sinks ? 1.0f : 0.0f;
        memset(b->merged.out + row * b->padded, 0, (size_t)b->padded * sizeof(float));
    }
}

/* ---- which keys ---- */

/* Keys that token t sees, among all keys: first .. end - 1. */
static inline int64_t token_first_key(const attention_block *b, int64_t t) {
    int64_t low = b->is_causal && b->window ? b->position + t + 1 - b->window : 0;
    return low > 0 ? low : 0;
}
static inline int64_t token_end_key(const attention_block *b, int64_t t) {
    int64_t end = b->is_causal ? b->position + t + 1 : b->n_keys;
    return end < b->n_keys ? end : b->n_keys;
}

/* Pages that any token of the block sees: *first .. *end - 1. */
static inline void block_pages(const attention_block *b, int64_t *first, int64_t *end) {
    *first = token_first_key(b, 0) / PAGE;
    *end = (token_end_key(b, b->n_tokens - 1) + PAGE - 1) / PAGE;
}

static inline int32_t clamp_to_page(int64_t v) { return v < 0 ? 0 : v > PAGE ? PAGE : (int32_t)v; }

/* The tokens' ranges on a page. False when no token sees a key of it. */
static inline bool block_set_ranges(attention_block *b, int64_t page) {
    b->token_first = b->token_end = 0;
    for (int64_t t = 0; t < b->n_tokens; t++) {
        b->first[t] = clamp_to_page(token_first_key(b, t) - page * PAGE);
        b->end[t] = clamp_to_page(token_end_key(b, t) - page * PAGE);
        if (b->first[t] >= b->end[t]) continue;
        if (b->token_end == 0) b->token_first = t;
        b->token_end = t + 1;
    }
    return b->token_end > 0;
}

/* Slots that some of the tokens from .. to - 1 sees. */
static inline void slots_of(const attention_block *b, int64_t from, int64_t to, int32_t *first,
                            int32_t *end) {
    *first = PAGE, *end = 0;
    for (int64_t t = from; t < to; t++) {
        if (b->first[t] < *first) *first = b->first[t];
        if (b->end[t] > *end) *end = b->end[t];
    }
}

static inline void block_slots(const attention_block *b, int32_t *first, int32_t *end) {
    slots_of(b, b->token_first, b->token_end, first, end);
}

/* ---- rows of K and V ---- */

/* One row of b->rows; dtype and rounds are constants at the call, so the loop has no branches. */
ALWAYS_INLINE void stage_row(const attention_block *b, float *to, int dtype, const void *from,
                             int64_t at, bool rounds) {
    for (int64_t i = 0; i < b->dim; i += MICA_LANES) {
        mica_lanes v = mica_lanes_read_up_to(dtype, from, at + i, at + b->dim, 0.0f);
        mica_lanes_store(to + i, rounds ? mica_lanes_round_bf16(v) : v);
    }
}

ALWAYS_INLINE void stage_row_paired(const attention_block *b, float *to, bool is_bf16,
                                    const void *from, int64_t at) {
    for (int64_t i = 0; i < b->dim; i += PAIR) {
        mica_lanes x[2];
        if (is_bf16) {
            load_pairs_bf16((const uint16_t *)from + at + i, x);
        } else {
            load_pairs((const float *)from + at + i, x);
            x[0] = mica_lanes_round_bf16(x[0]), x[1] = mica_lanes_round_bf16(x[1]);
        }
        mica_lanes_store(to + i, x[0]);
        mica_lanes_store(to + i + MICA_LANES, x[1]);
    }
}

/* Slots first .. end - 1 of b->rows from rows that lie stride elements apart (row 0 = slot first);
 * f32 rows are rounded to bf16 where `rounds`. Paired blocks take bf16, or f32 that is rounded. */
static inline void block_stage_rows(attention_block *b, int32_t first, int32_t end, int dtype,
                                    const void *from, int64_t stride, bool rounds) {
    for (int32_t slot = first; slot < end; slot++) {
        int64_t at = (slot - first) * stride;
        float *to = b->rows + slot * b->padded;
        if (b->is_paired && dtype == MICA_DTYPE_BF16)
            stage_row_paired(b, to, true, from, at);
        else if (b->is_paired)
            stage_row_paired(b, to, false, from, at);
        else if (rounds)
            stage_row(b, to, MICA_DTYPE_F32, from, at, true);
        else if (dtype == MICA_DTYPE_BF16)
            stage_row(b, to, MICA_DTYPE_BF16, from, at, false);
        else if (dtype == MICA_DTYPE_F32)
            stage_row(b, to, MICA_DTYPE_F32, from, at, false);
        else
            stage_row(b, to, MICA_DTYPE_F16, from, at, false);
    }
}

static inline page_rows staged_rows(const attention_block *b) {
    return (page_rows){b->rows, b->padded, false};
}

/* Names what comes next (NULL = nothing), to be fetched in `n_uses` tiles or keys of a tile. */
static inline void block_set_ahead(attention_block *b, const void *data, int64_t bytes,
                                   int64_t n_uses) {
    b->ahead = (fetch_ahead){data, (bytes / (n_uses ? n_uses : 1) + 63) / 64 * 64,
                             data ? (const char *)data + bytes : NULL};
}

/* Tiles of rows on this page. */
static inline int64_t block_tiles(const attention_block *b) {
    return ((b->token_end - b->token_first) * b->group + TILE_ROWS - 1) / TILE_ROWS;
}

/* ---- scores ---- */

/* Scores first .. end - 1 become exponentials, all others of their vectors 0; what the row gathered
 * before shrinks to the new maximum. mask: of the page, where it is 0 a score is -inf. */
static inline void soften_row(attention_block *b, int64_t row, int32_t first, int32_t end,
                              const uint8_t *mask) {
    float *s = b->scores + row * PAGE;
    mica_lanes scale = mica_lanes_set(b->scale), cap = mica_lanes_set(b->soft_cap);
    mica_lanes none = mica_lanes_set(-INFINITY), max = none, sum = mica_lanes_set(0.0f);
    int32_t begin = first / MICA_LANES * MICA_LANES;
    for (int32_t i = begin; i < end; i += MICA_LANES) {
        mica_lanes v = mica_lanes_mul(mica_lanes_load(s + i), scale);
        if (b->soft_cap != 0.0f) v = mica_lanes_mul(cap, mica_lanes_tanh(mica_lanes_div(v, cap)));
        if (first > i || end < i + MICA_LANES) v = mica_lanes_keep(v, first - i, end - i, none);
        mica_lanes_store(s + i, v);
        for (int32_t j = i; mask && j < i + MICA_LANES && j < end; j++)
            if (j >= first && !mask[j]) s[j] = -INFINITY;
        if (mask) v = mica_lanes_load(s + i);
        max = mica_lanes_max(v, max);
    }
    float before = b->part.largest[row], largest = mica_lanes_largest(max);
    if (!(largest > before)) largest = before;
    /* Nothing but -inf so far: any finite number will do, and NaN still comes through. */
    mica_lanes base = mica_lanes_set(largest == -INFINITY ? 0.0f : largest);
    for (int32_t i = begin; i < end; i += MICA_LANES) {
        mica_lanes p = mica_lanes_exp(mica_lanes_sub(mica_lanes_load(s + i), base));
        mica_lanes_store(s + i, p);
        sum = mica_lanes_add(sum, p);
    }
    float shrink = largest == before ? 1.0f : mica_exp(before - largest);
    b->part.sum[row] = b->part.sum[row] * shrink + mica_lanes_sum(sum);
    b->part.largest[row] = largest;
    if (shrink == 1.0f) return;
    float *out = b->part.out + row * b->padded;
    mica_lanes factor = mica_lanes_set(shrink);
    for (int64_t i = 0; i < b->padded; i += MICA_LANES)
        mica_lanes_store(out + i, mica_lanes_mul(mica_lanes_load(out + i), factor));
}

/* Exponentials of all rows that see the page. mask: of token 0 and slot 0 of the page, mask_stride
 * bytes a token; NULL = none. */
static inline void block_scores(attention_block *b, const page_rows *keys, const uint8_t *mask,
                                int64_t mask_stride) {
    int64_t row = b->token_first * b->group, n_rows = b->token_end * b->group - row;
    int32_t first, end;
    block_slots(b, &first, &end);
    first = first / TILE_KEYS * TILE_KEYS;
    end = (end + TILE_KEYS - 1) / TILE_KEYS * TILE_KEYS;
    score_rows(n_rows, b->q + row * b->padded, b->padded, keys, first, end, b->scores + row * PAGE,
               &b->ahead);
    for (int64_t t = b->token_first; t < b->token_end; t++)
        for (int64_t r = t * b->group; r < (t + 1) * b->group; r++)
            soften_row(b, r, b->first[t], b->end[t], mask ? mask + t * mask_stride : NULL);
}

/* ---- values ---- */

static inline void add_values(attention_block *b, int64_t from, int64_t to, int32_t first,
                              int32_t end, const page_rows *v) {
    int64_t row = from * b->group;
    value_rows((to - from) * b->group, b->scores + row * PAGE, v, first, end,
               b->part.out + row * b->padded, b->padded, &b->ahead);
}

/* Slots that no token sees are not read. What all tokens see goes in tiles, what lies before it and
 * behind it token by token: every row adds its keys in order. */
static inline void block_values(attention_block *b, const page_rows *v) {
    int64_t from = b->token_first, to = b->token_end;
    int32_t first = 0, end = PAGE;
    for (int64_t t = from; t < to; t++) {
        if (b->first[t] > first) first = b->first[t];
        if (b->end[t] < end) end = b->end[t];
    }
    bool has_common = first < end;
    for (int64_t t = from; t < to; t++)
        add_values(b, t, t + 1, b->first[t], has_common ? first : b->end[t], v);
    if (!has_common) return;
    add_values(b, from, to, first, end, v);
    for (int64_t t = from; t < to; t++) add_values(b, t, t + 1, end, b->end[t], v);
}

/* ---- sums ---- */

/* The block's part starts from nothing. */
static inline void block_clear_sums(attention_block *b) {
    int64_t rows = b->n_tokens * b->group;
    memset(b->part.out, 0, (size_t)(rows * b->padded) * sizeof(float));
    memset(b->part.sum, 0, (size_t)rows * sizeof(float));
    for (int64_t r = 0; r < rows; r++) b->part.largest[r] = -INFINITY;
}

/* Adds a range's sums to those of the ranges before it. */
static inline void merge_row(attention_block *b, const attention_sums *part, int64_t row) {
    const attention_sums *to = &b->merged;
    float before = to->largest[row], here = part->largest[row];
    if (here == -INFINITY && part->sum[row] == 0.0f) return; /* nothing was seen */
    float largest = here > before ? here : before, base = largest == -INFINITY ? 0.0f : largest;
    float shrink = before == largest ? 1.0f : mica_exp(before - base);
    float factor = here == largest ? 1.0f : mica_exp(here - base);
    to->largest[row] = largest;
    to->sum[row] = to->sum[row] * shrink + part->sum[row] * factor;
    mica_lanes x = mica_lanes_set(shrink), y = mica_lanes_set(factor);
    float *out = to->out + row * b->padded;
    const float *add = part->out + row * b->padded;
    for (int64_t i = 0; i < b->padded; i += MICA_LANES) {
        mica_lanes v = mica_lanes_mul(mica_lanes_load(out + i), x);
        mica_lanes_store(out + i, mica_lanes_fma(mica_lanes_load(add + i), y, v));
    }
}

static inline void block_merge(attention_block *b, const attention_sums *part) {
    for (int64_t r = 0; r < b->n_tokens * b->group; r++) merge_row(b, part, r);
}

/* A token's rows, [group][dim]. Rows that saw nothing are 0. */
static inline void block_result(const attention_block *b, int64_t token, int dtype, void *out) {
    for (int64_t h = 0; h < b->group; h++) {
        int64_t row = token * b->group + h;
        const float *from = b->merged.out + row * b->padded;
        float sum = b->merged.sum[row];
        mica_lanes scale = mica_lanes_set(sum == 0.0f ? 0.0f : 1.0f / sum);
        for (int64_t i = 0; i < b->dim; i += PAIR) {
            mica_lanes x[2] = {mica_lanes_mul(mica_lanes_load(from + i), scale)};
            if (i + MICA_LANES < b->padded)
                x[1] = mica_lanes_mul(mica_lanes_load(from + i + MICA_LANES), scale);
            if (b->is_paired) {
                store_pairs(b->row, x[0], x[1]);
                x[0] = mica_lanes_load(b->row), x[1] = mica_lanes_load(b->row + MICA_LANES);
            }
            mica_lanes_write_up_to(dtype, out, h * b->dim + i, (h + 1) * b->dim, x[0]);
            if (i + MICA_LANES < b->dim)
                mica_lanes_write_up_to(dtype, out, h * b->dim + i + MICA_LANES, (h + 1) * b->dim,
                                       x[1]);
        }
    }
}
