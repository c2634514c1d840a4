/* A block of query rows against one page of keys, in vectors: included by the AVX2 and AVX-512
 * files of both attention ops after the vector header. The arithmetic of a row is fixed in
 * attention_block.h; here rows only travel in tiles of four where they have the same range, because
 * four rows make eight independent sums, which is what hides the latency of a fused multiply-add.
 *
 * Order of calls: block_begin, block_take_query; for every page block_set_ranges, the keys
 * (transpose_*), block_scores, the values, block_values; block_result. */
#pragma once
#include <math.h>
#include <string.h>
#include "ops/attention/attention_block.h"
#include "ops/common/lane_rows.h"

#define PAGE MICA_ATTENTION_PAGE
#define PAGE_VECTORS (PAGE / MICA_LANES)
#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef struct attention_block {
    int64_t dim;
    int64_t padded; /* dim rounded up to whole vectors: stride of q, out, rows */
    int64_t group;  /* rows of a token */
    int64_t n_tokens;
    bool is_causal;
    int64_t position; /* causal: of token 0; token t sees the keys up to position + t */
    int64_t window;   /* and of these only the last `window`; 0 = all */
    int64_t n_keys;
    float scale;
    float soft_cap; /* 0 = none */
    float *q;       /* [n_tokens * group][padded] */
    float *out;     /* same shape: sums so far */
    float *largest; /* [n_tokens * group]: score so far, or the sink */
    float *sum;     /* of exponentials; the sink counts 1 */
    float *scores;  /* [n_tokens * group][PAGE]: then exponentials */
    float *keys;    /* [dim][PAGE]: a page of keys, transposed */
    float *rows;    /* [PAGE][padded]: rows of K or V on their way */
    int32_t *first; /* [n_tokens]: range of keys that a token sees on this page */
    int32_t *end;
    int64_t token_first, token_end; /* tokens that see any key of this page: they are neighbours */
    const uint8_t *ahead;           /* memory that is wanted soon, fetched between two tiles */
    int64_t ahead_bytes;
    int64_t ahead_step; /* bytes a tile */
} attention_block;

/* Cuts the scratch up; all fields above the pointers but `padded` are set by the caller. */
static inline void block_begin(attention_block *b, void *scratch) {
    int64_t tokens = mica_attention_block_tokens(b->group), rows = tokens * b->group;
    float *at = scratch;
    b->padded = (b->dim + MICA_LANES - 1) / MICA_LANES * MICA_LANES;
    b->keys = at, at += b->dim * PAGE;
    b->scores = at, at += rows * PAGE;
    b->rows = at, at += PAGE * b->padded;
    b->q = at, at += rows * b->padded;
    b->out = at, at += rows * b->padded;
    b->largest = at, at += rows;
    b->sum = at, at += rows;
    b->first = (int32_t *)at;
    b->end = b->first + tokens;
    memset(b->out, 0, (size_t)(b->n_tokens * b->group * b->padded) * sizeof(float));
    memset(b->rows, 0, (size_t)(PAGE * b->padded) * sizeof(float));
}

/* A token's query heads, [group][dim], into the block; their sinks (NULL = none) start the sums. */
static inline void block_take_query(attention_block *b, int64_t token, int dtype, const void *q,
                                    int sink_dtype, const void *sinks, int64_t head) {
    for (int64_t h = 0; h < b->group; h++) {
        int64_t row = token * b->group + h;
        for (int64_t i = 0; i < b->dim; i += MICA_LANES) {
            mica_lanes v = b->dim - i >= MICA_LANES
                               ? mica_lanes_read(dtype, q, h * b->dim + i)
                               : mica_lanes_read_part(dtype, q, h * b->dim + i, b->dim - i, 0.0f);
            mica_lanes_store(b->q + row * b->padded + i, v);
        }
        b->largest[row] = sinks ? mica_element_f32(sink_dtype, sinks, head + h) : -INFINITY;
        b->sum[row] = sinks ? 1.0f : 0.0f;
    }
}

/* Keys that token t sees, among all keys: first .. end - 1. */
static inline int64_t token_first_key(const attention_block *b, int64_t t) {
    int64_t low = b->is_causal && b->window ? b->position + t + 1 - b->window : 0;
    return low > 0 ? low : 0;
}
static inline int64_t token_end_key(const attention_block *b, int64_t t) {
    int64_t end = b->is_causal ? b->position + t + 1 : b->n_keys;
    return end < b->n_keys ? end : b->n_keys;
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

/* Slots that some token of the block sees. */
static inline void block_slots(const attention_block *b, int32_t *first, int32_t *end) {
    *first = PAGE, *end = 0;
    for (int64_t t = b->token_first; t < b->token_end; t++) {
        if (b->first[t] < *first) *first = b->first[t];
        if (b->end[t] > *end) *end = b->end[t];
    }
}

/* ---- keys ---- */

/* Eight vectors of eight 32-bit words, transposed. */
ALWAYS_INLINE void transpose_words(__m256 r[8]) {
    __m256 t[8], u[8];
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
        u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}

/* keys[d][slot] = rows[slot * stride + d] for all slots. */
static inline void transpose_keys(attention_block *b, const float *rows, int64_t stride) {
    int64_t whole = b->dim / 8 * 8;
    for (int64_t slot = 0; slot < PAGE; slot += 8) {
        for (int64_t d = 0; d < whole; d += 8) {
            __m256 r[8];
            for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(rows + (slot + i) * stride + d);
            transpose_words(r);
            for (int i = 0; i < 8; i++) _mm256_storeu_ps(b->keys + (d + i) * PAGE + slot, r[i]);
        }
        for (int64_t d = whole; d < b->dim; d++)
            for (int64_t i = slot; i < slot + 8; i++) b->keys[d * PAGE + i] = rows[i * stride + d];
    }
}

/* The same from rows of bf16, [PAGE][dim], dim a multiple of 16. Two neighbours travel as one
 * 32-bit word and part at the end, so the widening costs no shuffle. */
static inline void transpose_keys_bf16(attention_block *b, const uint16_t *rows) {
    const __m256i high = _mm256_set1_epi32((int)0xFFFF0000u);
    for (int64_t slot = 0; slot < PAGE; slot += 8)
        for (int64_t d = 0; d < b->dim; d += 16) {
            __m256 r[8];
            for (int i = 0; i < 8; i++)
                r[i] =
                    _mm256_loadu_ps((const float *)(const void *)(rows + (slot + i) * b->dim + d));
            transpose_words(r);
            for (int i = 0; i < 8; i++) {
                float *to = b->keys + (d + 2 * i) * PAGE + slot;
                __m256i pair = _mm256_castps_si256(r[i]);
                _mm256_storeu_ps(to, _mm256_castsi256_ps(_mm256_slli_epi32(pair, 16)));
                _mm256_storeu_ps(to + PAGE, _mm256_castsi256_ps(_mm256_and_si256(pair, high)));
            }
        }
}

/* One row of b->rows; dtype and rounds are constants at the call, so the loop has no branches. */
ALWAYS_INLINE void stage_row(const attention_block *b, float *to, int dtype, const void *from,
                             int64_t at, bool rounds) {
    int64_t i = 0;
    for (; i + MICA_LANES <= b->dim; i += MICA_LANES) {
        mica_lanes v = mica_lanes_read(dtype, from, at + i);
        mica_lanes_store(to + i, rounds ? mica_lanes_round_bf16(v) : v);
    }
    if (i == b->dim) return;
    mica_lanes v = mica_lanes_read_part(dtype, from, at + i, b->dim - i, 0.0f);
    mica_lanes_store(to + i, rounds ? mica_lanes_round_bf16(v) : v);
}

/* Slots first .. end - 1 of b->rows from rows that lie stride elements apart (row 0 = slot first),
 * rounded to bf16 where `rounds` (of f32 only). */
static inline void block_stage_rows(attention_block *b, int32_t first, int32_t end, int dtype,
                                    const void *from, int64_t stride, bool rounds) {
    for (int32_t slot = first; slot < end; slot++) {
        int64_t at = (slot - first) * stride;
        float *to = b->rows + slot * b->padded;
        if (rounds)
            stage_row(b, to, MICA_DTYPE_F32, from, at, true);
        else if (dtype == MICA_DTYPE_BF16)
            stage_row(b, to, MICA_DTYPE_BF16, from, at, false);
        else if (dtype == MICA_DTYPE_F32)
            stage_row(b, to, MICA_DTYPE_F32, from, at, false);
        else
            stage_row(b, to, MICA_DTYPE_F16, from, at, false);
    }
}

/* ---- fetching ahead ---- */

/* Names the rows that come next (NULL = none). A page of 16-bit keys is read in far less time than
 * memory needs to answer, and the hardware's own prefetch stops at every 4 KiB; spread over the
 * tiles of the rows at hand, the next page arrives while they compute. */
static inline void block_set_ahead(attention_block *b, const void *data, int64_t bytes) {
    int64_t rows = (b->token_end - b->token_first) * b->group;
    int64_t tiles = rows / 4 * (PAGE_VECTORS / 2) + rows % 4;
    b->ahead = data;
    b->ahead_bytes = data ? bytes : 0;
    b->ahead_step = (bytes / tiles + 63) / 64 * 64;
}

static inline void fetch_ahead(attention_block *b) {
    int64_t bytes = b->ahead_step < b->ahead_bytes ? b->ahead_step : b->ahead_bytes;
    for (int64_t i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)(const void *)(b->ahead + i), _MM_HINT_T0);
    b->ahead += bytes;
    b->ahead_bytes -= bytes;
}

/* ---- scores ---- */

/* scores[r][key] = sum over d of q[r][d] * keys[d][key] for `vectors` vectors of keys. */
ALWAYS_INLINE void score_tile(int n_rows, int vectors, const float *q, int64_t padded,
                              const float *keys, int64_t dim, float *scores) {
    mica_lanes sum[4][PAGE_VECTORS];
    for (int r = 0; r < n_rows; r++)
        for (int c = 0; c < vectors; c++) sum[r][c] = mica_lanes_set(0.0f);
    for (int64_t d = 0; d < dim; d++) {
        mica_lanes k[PAGE_VECTORS];
        for (int c = 0; c < vectors; c++) k[c] = mica_lanes_load(keys + d * PAGE + c * MICA_LANES);
        for (int r = 0; r < n_rows; r++) {
            mica_lanes x = mica_lanes_set(q[r * padded + d]);
            for (int c = 0; c < vectors; c++) sum[r][c] = mica_lanes_fma(x, k[c], sum[r][c]);
        }
    }
    for (int r = 0; r < n_rows; r++)
        for (int c = 0; c < vectors; c++)
            mica_lanes_store(scores + r * PAGE + c * MICA_LANES, sum[r][c]);
}

/* Scaled, capped, -inf outside of the range and where mask (NULL = none) is 0. */
static inline void finish_scores(const attention_block *b, float *s, int32_t first, int32_t end,
                                 const uint8_t *mask) {
    mica_lanes scale = mica_lanes_set(b->scale), cap = mica_lanes_set(b->soft_cap);
    mica_lanes none = mica_lanes_set(-INFINITY);
    for (int32_t i = 0; i < PAGE; i += MICA_LANES) {
        mica_lanes v = mica_lanes_mul(mica_lanes_load(s + i), scale);
        if (b->soft_cap != 0.0f) v = mica_lanes_mul(cap, mica_lanes_tanh(mica_lanes_div(v, cap)));
        if (first > i || end < i + MICA_LANES) v = mica_lanes_keep(v, first - i, end - i, none);
        mica_lanes_store(s + i, v);
    }
    if (!mask) return;
    for (int32_t i = first; i < end; i++)
        if (!mask[i]) s[i] = -INFINITY;
}

/* Scores become exponentials; what the row gathered before shrinks to the new maximum. */
static inline void soften_row(attention_block *b, int64_t row) {
    float *s = b->scores + row * PAGE;
    mica_lanes max = mica_lanes_set(-INFINITY), sum = mica_lanes_set(0.0f);
    for (int i = 0; i < PAGE; i += MICA_LANES) max = mica_lanes_max(mica_lanes_load(s + i), max);
    float before = b->largest[row], largest = mica_lanes_largest(max);
    if (!(largest > before)) largest = before;
    /* Nothing but -inf so far: any finite number will do, and NaN still comes through. */
    mica_lanes base = mica_lanes_set(largest == -INFINITY ? 0.0f : largest);
    for (int i = 0; i < PAGE; i += MICA_LANES) {
        mica_lanes p = mica_lanes_exp(mica_lanes_sub(mica_lanes_load(s + i), base));
        mica_lanes_store(s + i, p);
        sum = mica_lanes_add(sum, p);
    }
    float shrink = largest == before ? 1.0f : mica_exp(before - largest);
    b->sum[row] = b->sum[row] * shrink + mica_lanes_sum(sum);
    b->largest[row] = largest;
    if (shrink == 1.0f) return;
    float *out = b->out + row * b->padded;
    mica_lanes factor = mica_lanes_set(shrink);
    for (int64_t i = 0; i < b->padded; i += MICA_LANES)
        mica_lanes_store(out + i, mica_lanes_mul(mica_lanes_load(out + i), factor));
}

/* Exponentials of all rows that see the page. mask: of token 0 and slot 0 of the page, mask_stride
 * bytes a token; NULL = none. */
static inline void block_scores(attention_block *b, const uint8_t *mask, int64_t mask_stride) {
    int64_t row = b->token_first * b->group, end = b->token_end * b->group;
    for (; row + 4 <= end; row += 4)
        for (int c = 0; c < PAGE_VECTORS; c += 2) {
            fetch_ahead(b);
            score_tile(4, 2, b->q + row * b->padded, b->padded, b->keys + c * MICA_LANES, b->dim,
                       b->scores + row * PAGE + c * MICA_LANES);
        }
    for (; row < end; row++) {
        fetch_ahead(b);
        score_tile(1, PAGE_VECTORS, b->q + row * b->padded, b->padded, b->keys, b->dim,
                   b->scores + row * PAGE);
    }
    for (int64_t t = b->token_first; t < b->token_end; t++)
        for (int64_t r = t * b->group; r < (t + 1) * b->group; r++) {
            finish_scores(b, b->scores + r * PAGE, b->first[t], b->end[t],
                          mask ? mask + t * mask_stride : NULL);
            soften_row(b, r);
        }
}

/* ---- values ---- */

/* out[r][i] += p[r][key] * v[key][i] for keys first .. end - 1 in order, `vectors` vectors of i. */
ALWAYS_INLINE void value_tile(int n_rows, int vectors, const float *p, int32_t first, int32_t end,
                              const float *v, int64_t stride, float *out, int64_t padded) {
    mica_lanes sum[4][8];
    for (int r = 0; r < n_rows; r++)
        for (int c = 0; c < vectors; c++)
            sum[r][c] = mica_lanes_load(out + r * padded + c * MICA_LANES);
    for (int64_t key = first; key < end; key++) {
        mica_lanes x[8];
        for (int c = 0; c < vectors; c++) x[c] = mica_lanes_load(v + key * stride + c * MICA_LANES);
        for (int r = 0; r < n_rows; r++) {
            mica_lanes weight = mica_lanes_set(p[r * PAGE + key]);
            for (int c = 0; c < vectors; c++) sum[r][c] = mica_lanes_fma(weight, x[c], sum[r][c]);
        }
    }
    for (int r = 0; r < n_rows; r++)
        for (int c = 0; c < vectors; c++)
            mica_lanes_store(out + r * padded + c * MICA_LANES, sum[r][c]);
}

/* Rows row .. end_row - 1, which all see the keys first .. end - 1. */
static inline void add_values(attention_block *b, int64_t row, int64_t end_row, int32_t first,
                              int32_t end, const float *v, int64_t stride) {
    int64_t padded = b->padded, vectors = padded / MICA_LANES;
    for (; row + 4 <= end_row; row += 4) {
        const float *p = b->scores + row * PAGE;
        float *out = b->out + row * padded;
        int64_t c = 0;
        for (; c + 2 <= vectors; c += 2) {
            fetch_ahead(b);
            value_tile(4, 2, p, first, end, v + c * MICA_LANES, stride, out + c * MICA_LANES,
                       padded);
        }
        for (; c < vectors; c++)
            value_tile(4, 1, p, first, end, v + c * MICA_LANES, stride, out + c * MICA_LANES,
                       padded);
    }
    for (; row < end_row; row++) {
        fetch_ahead(b);
        const float *p = b->scores + row * PAGE;
        float *out = b->out + row * padded;
        int64_t c = 0;
        for (; c + 8 <= vectors; c += 8)
            value_tile(1, 8, p, first, end, v + c * MICA_LANES, stride, out + c * MICA_LANES,
                       padded);
        for (; c + 4 <= vectors; c += 4)
            value_tile(1, 4, p, first, end, v + c * MICA_LANES, stride, out + c * MICA_LANES,
                       padded);
        for (; c < vectors; c++)
            value_tile(1, 1, p, first, end, v + c * MICA_LANES, stride, out + c * MICA_LANES,
                       padded);
    }
}

/* v[slot * stride + i]: slots that no token sees are not read. */
static inline void block_values(attention_block *b, const float *v, int64_t stride) {
    for (int64_t t = b->token_first; t < b->token_end;) {
        int64_t next = t + 1;
        while (next < b->token_end && b->first[next] == b->first[t] && b->end[next] == b->end[t])
            next++;
        add_values(b, t * b->group, next * b->group, b->first[t], b->end[t], v, stride);
        t = next;
    }
}

/* A token's rows, [group][dim]. Rows that saw nothing are 0. */
static inline void block_result(const attention_block *b, int64_t token, int dtype, void *out) {
    for (int64_t h = 0; h < b->group; h++) {
        int64_t row = token * b->group + h;
        mica_lanes scale = mica_lanes_set(b->sum[row] == 0.0f ? 0.0f : 1.0f / b->sum[row]);
        for (int64_t i = 0; i < b->dim; i += MICA_LANES) {
            mica_lanes v = mica_lanes_load(b->out + row * b->padded + i);
            v = mica_lanes_mul(v, scale);
            int64_t left = b->dim - i, at = h * b->dim + i;
            if (left >= MICA_LANES)
                mica_lanes_write(dtype, out, at, v);
            else
                mica_lanes_write_part(dtype, out, at, left, v);
        }
    }
}
