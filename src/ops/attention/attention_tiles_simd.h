/* Tiles of the two products of attention, scores (rows x keys) and values (rows x dim): as many
 * independent sums as registers hold, since that is what hides the latency of a fused multiply-add.
 * The sums of a row and a key do not depend on the tile they travel in. Every tile also names some
 * memory that is wanted soon: a page is used up in less time than memory needs to answer, and the
 * hardware's own prefetch stops at every 4 KiB. */
#pragma once
#include "ops/attention/attention_block.h"
#include "ops/attention/attention_lanes_simd.h"

#define PAGE MICA_ATTENTION_PAGE
#define TILE_ROWS 3
#define TILE_KEYS 4

/* K or V of a page: f32 in the order of q, or bf16 to be read in pairs. */
typedef struct page_rows {
    const void *data; /* of slot 0 */
    int64_t stride;   /* elements from slot to slot */
    bool is_bf16;
} page_rows;

/* Memory that is wanted soon; every use of it takes a step. */
typedef struct fetch_ahead {
    const char *at;
    int64_t step; /* bytes */
    const char *end;
} fetch_ahead;

ALWAYS_INLINE void fetch_step(fetch_ahead *f) {
    const char *end = f->at + f->step < f->end ? f->at + f->step : f->end;
    for (; f->at < end; f->at += 64) __builtin_prefetch(f->at);
}

/* Rows of the next tile, if `left` are left: no tile of one row where two of two will do. */
static inline int tile_rows(int64_t left) { return left == 4 ? 2 : left > 3 ? 3 : (int)left; }

/* scores[r * PAGE + i] = q[r] * key i, for TILE_KEYS keys. */
ALWAYS_INLINE void score_tile(int n_rows, bool is_bf16, const float *q, int64_t padded,
                              const void *keys, int64_t stride, float *scores) {
    mica_lanes sum[TILE_ROWS][TILE_KEYS];
    UNROLL
    for (int r = 0; r < n_rows; r++) UNROLL
    for (int k = 0; k < TILE_KEYS; k++) sum[r][k] = mica_lanes_set(0.0f);
    const int halves = is_bf16 ? 2 : 1;
    for (int64_t d = 0; d < padded; d += halves * MICA_LANES) UNROLL
    for (int half = 0; half < halves; half++) {
        mica_lanes y[TILE_ROWS];
        UNROLL
        for (int r = 0; r < n_rows; r++)
            y[r] = mica_lanes_load(q + r * padded + d + half * MICA_LANES);
        FORGET(keys);
        UNROLL
        for (int k = 0; k < TILE_KEYS; k++) {
            mica_lanes x = is_bf16 ? load_half_bf16((const uint16_t *)keys + k * stride + d, half)
                                   : mica_lanes_load((const float *)keys + k * stride + d);
            UNROLL
            for (int r = 0; r < n_rows; r++) sum[r][k] = mica_lanes_fma(y[r], x, sum[r][k]);
        }
    }
    UNROLL
    for (int r = 0; r < n_rows; r++) store_lane_sums(scores + r * PAGE, sum[r]);
}

/* The same for keys first .. end - 1 (multiples of TILE_KEYS). */
ALWAYS_INLINE void score_row_tile(int n_rows, bool is_bf16, const float *q, int64_t padded,
                                  const page_rows *keys, int32_t first, int32_t end, float *scores,
                                  fetch_ahead *ahead) {
    int64_t bytes = is_bf16 ? 2 : 4;
    for (int32_t key = first; key < end; key += TILE_KEYS) {
        fetch_step(ahead);
        score_tile(n_rows, is_bf16, q, padded,
                   (const char *)keys->data + key * keys->stride * bytes, keys->stride,
                   scores + key);
    }
}

static inline void score_rows(int64_t n_rows, const float *q, int64_t padded, const page_rows *keys,
                              int32_t first, int32_t end, float *scores, fetch_ahead *ahead) {
    for (int64_t r = 0; r < n_rows;) {
        int n = tile_rows(n_rows - r);
        const float *at = q + r * padded;
        float *to = scores + r * PAGE;
        if (keys->is_bf16) {
            if (n == 3) score_row_tile(3, true, at, padded, keys, first, end, to, ahead);
            if (n == 2) score_row_tile(2, true, at, padded, keys, first, end, to, ahead);
            if (n == 1) score_row_tile(1, true, at, padded, keys, first, end, to, ahead);
        } else {
            if (n == 3) score_row_tile(3, false, at, padded, keys, first, end, to, ahead);
            if (n == 2) score_row_tile(2, false, at, padded, keys, first, end, to, ahead);
            if (n == 1) score_row_tile(1, false, at, padded, keys, first, end, to, ahead);
        }
        r += n;
    }
}

/* out[r][i] += weights[r][key] * v[key][i] for keys first .. end - 1 in order, `vectors` vectors of
 * i from `at` on. */
ALWAYS_INLINE void value_tile(int n_rows, int vectors, bool is_bf16, const float *weights,
                              const page_rows *v, int64_t at, int32_t first, int32_t end,
                              float *out, int64_t padded, fetch_ahead *ahead) {
    mica_lanes sum[TILE_ROWS][8];
    const int halves = is_bf16 ? 2 : 1;
    int64_t bytes = is_bf16 ? 2 : 4, stride = v->stride * bytes;
    UNROLL
    for (int r = 0; r < n_rows; r++) UNROLL
    for (int c = 0; c < vectors; c++)
        sum[r][c] = mica_lanes_load(out + r * padded + at + c * MICA_LANES);
    const char *row = (const char *)v->data + first * stride + at * bytes;
    for (int64_t key = first; key < end; key++, row += stride) {
        fetch_step(ahead);
        mica_lanes weight[TILE_ROWS];
        UNROLL
        for (int r = 0; r < n_rows; r++) weight[r] = mica_lanes_set(weights[r * PAGE + key]);
        UNROLL
        for (int c = 0; c < vectors; c++) {
            int64_t i = c / halves * halves * MICA_LANES;
            FORGET(row);
            mica_lanes x = is_bf16
                               ? load_half_bf16((const uint16_t *)(const void *)row + i, c % halves)
                               : mica_lanes_load((const float *)(const void *)row + i);
            UNROLL
            for (int r = 0; r < n_rows; r++) sum[r][c] = mica_lanes_fma(weight[r], x, sum[r][c]);
        }
    }
    UNROLL
    for (int r = 0; r < n_rows; r++) UNROLL
    for (int c = 0; c < vectors; c++)
        mica_lanes_store(out + r * padded + at + c * MICA_LANES, sum[r][c]);
}

/* All of a row, in the widest tiles that fit. */
ALWAYS_INLINE void value_row_tile(int n_rows, int vectors, bool is_bf16, const float *weights,
                                  const page_rows *v, int32_t first, int32_t end, float *out,
                                  int64_t padded, fetch_ahead *ahead) {
    int64_t i = 0;
    for (; i + vectors * MICA_LANES <= padded; i += vectors * MICA_LANES)
        value_tile(n_rows, vectors, is_bf16, weights, v, i, first, end, out, padded, ahead);
    for (; i + PAIR <= padded; i += PAIR)
        value_tile(n_rows, 2, is_bf16, weights, v, i, first, end, out, padded, ahead);
    if (i < padded && !is_bf16)
        value_tile(n_rows, 1, false, weights, v, i, first, end, out, padded, ahead);
}

static inline void value_rows(int64_t n_rows, const float *weights, const page_rows *v,
                              int32_t first, int32_t end, float *out, int64_t padded,
                              fetch_ahead *ahead) {
    for (int64_t r = 0; r < n_rows && first < end;) {
        int n = tile_rows(n_rows - r);
        const float *w = weights + r * PAGE;
        float *to = out + r * padded;
        if (v->is_bf16) {
            if (n == 3) value_row_tile(3, 4, true, w, v, first, end, to, padded, ahead);
            if (n == 2) value_row_tile(2, 4, true, w, v, first, end, to, padded, ahead);
            if (n == 1) value_row_tile(1, 8, true, w, v, first, end, to, padded, ahead);
        } else {
            if (n == 3) value_row_tile(3, 4, false, w, v, first, end, to, padded, ahead);
            if (n == 2) value_row_tile(2, 4, false, w, v, first, end, to, padded, ahead);
            if (n == 1) value_row_tile(1, 8, false, w, v, first, end, to, padded, ahead);
        }
        r += n;
    }
}
