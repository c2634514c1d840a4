/* The body of mica_linear_rows for AMX: bf16 and mxfp4 weights as the 16-row operand of bf16 tile
 * products, rows of x as columns. Included by linear_amx.c, and by its test with tiles in plain C,
 * after they define
 *     TILE_CONFIGURE(config) TILE_RELEASE() TILE_ZERO(t) TILE_LOAD(t, from, stride)
 *     TILE_STORE(t, to, stride) TILE_DOT(sum, weights, x)       t: constants 0..7
 *     decode_block(codes, scale, to)    32 mxfp4 elements to bf16, which is exact
 *
 * x is split into two bf16 numbers, its upper half and what that leaves, so that a product carries
 * 16 bits of x (error at most 2^-17 of the element); weights are exact. Sums run in f32 in order of
 * k, upper half first, in a tile of their own for each 16 x 16 results: one arithmetic for every
 * number of rows. Tiles take subnormal numbers as 0. */
#pragma once
#include <math.h>
#include "ops/linear/linear_rows.h"

enum {
    AMX_ROWS = 16,                    /* of a tile: weight rows, or pairs of k */
    AMX_STEP = 32,                    /* elements of k in a tile */
    AMX_STRIP = 2 * AMX_ROWS,         /* weight rows that share the loads of x */
    AMX_BLOCK = MICA_LINEAR_AMX_ROWS, /* rows of x packed at a time */
    AMX_BLOCKS = AMX_BLOCK / AMX_ROWS,
};

/* What LDTILECFG reads. */
typedef struct amx_config {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} amx_config;
static_assert(sizeof(amx_config) == 64, "the processor reads 64 bytes");

/* Packed x: for each 16 rows of x and each step two tiles, upper and lower halves, of 16 pairs of k
 * by `columns` rows of x. */
typedef struct amx_area {
    uint16_t *x;
    uint16_t *strip; /* AMX_STRIP weight rows of padded k, where they cannot be read in place */
    float *sums;     /* 4 tiles */
    int64_t steps;
    int64_t columns; /* 1, 4 or 16: as few as hold the rows */
} amx_area;

static amx_area find_area(const mica_linear_rows *job, mica_linear_scratch *scratch) {
    amx_area a = {.steps = (job->k + AMX_STEP - 1) / AMX_STEP};
    int64_t m = job->m < AMX_BLOCK ? job->m : AMX_BLOCK;
    a.columns = m == 1 ? 1 : m <= 4 ? 4 : AMX_ROWS;
    a.sums = (float *)(void *)(scratch + 1);
    a.strip = (uint16_t *)(void *)(a.sums + 4 * AMX_ROWS * AMX_ROWS);
    a.x = a.strip + AMX_STRIP * a.steps * AMX_STEP;
    return a;
}

static uint16_t *packed_tile(const amx_area *a, int64_t block, int64_t step, int half) {
    return a->x + ((block * a->steps + step) * 2 + half) * AMX_STEP * a->columns;
}

/* ---- x ---- */

static void load_step(const mica_linear_rows *job, int64_t row, int64_t k0, float out[AMX_STEP]) {
    int64_t count = job->k - k0 < AMX_STEP ? job->k - k0 : AMX_STEP;
    const uint8_t *x = mica_linear_x(job, row);
    int kind = job->weight.x_kind;
    if (count < AMX_STEP) memset(out, 0, AMX_STEP * sizeof *out);
    if (kind == MICA_KIND_F32)
        memcpy(out, x + 4 * k0, (size_t)count * sizeof *out);
    else
        for (int64_t i = 0; i < count; i++) out[i] = mica_kind_load(kind, x, k0 + i);
}

/* The upper half is cut, not rounded, so that no finite number becomes infinite. Not-a-number may
 * be cut to infinity; the lower half then still says what it was. */
static void split_step(const float in[AMX_STEP], uint16_t upper[AMX_STEP],
                       uint16_t lower[AMX_STEP]) {
    for (int i = 0; i < AMX_STEP; i++) {
        uint32_t bits;
        memcpy(&bits, &in[i], sizeof bits);
        upper[i] = (uint16_t)(bits >> 16);
        float rest = in[i] - mica_f32_from_bf16(upper[i]);
        lower[i] = isinf(in[i]) ? 0 : mica_bf16_from_f32(rest);
    }
}

/* One step of up to 16 rows of x from `first` on; columns past the last row are 0. */
static void pack_step(const mica_linear_rows *job, const amx_area *a, int64_t first, int64_t block,
                      int64_t step) {
    uint16_t *upper = packed_tile(a, block, step, 0), *lower = packed_tile(a, block, step, 1);
    int64_t rows = job->m - first < a->columns ? job->m - first : a->columns;
    for (int64_t r = 0; r < a->columns; r++) {
        float values[AMX_STEP] = {0};
        uint16_t halves[2][AMX_STEP];
        if (r < rows) load_step(job, first + r, step * AMX_STEP, values);
        split_step(values, halves[0], halves[1]);
        for (int64_t i = 0; i < AMX_ROWS; i++) {
            memcpy(upper + (i * a->columns + r) * 2, halves[0] + 2 * i, 4);
            memcpy(lower + (i * a->columns + r) * 2, halves[1] + 2 * i, 4);
        }
    }
}

/* Rows [first, first + AMX_BLOCK) of x. */
static void pack_block(const mica_linear_rows *job, const amx_area *a, int64_t first) {
    int64_t rows = job->m - first < AMX_BLOCK ? job->m - first : AMX_BLOCK;
    for (int64_t b = 0; b * AMX_ROWS < rows; b++)
        for (int64_t s = 0; s < a->steps; s++) pack_step(job, a, first + b * AMX_ROWS, b, s);
}

/* ---- weights ---- */

/* Weight row n as bf16 to the strip; rows past the end and elements past k are 0. */
static void decode_row(const mica_linear_rows *job, int64_t n, int64_t padded, uint16_t *to) {
    const mica_linear_weight *w = &job->weight;
    const uint8_t *codes = job->codes + n * w->row_bytes;
    memset(to, 0, (size_t)padded * sizeof *to);
    if (n >= job->n_end) return;
    if (w->kind == MICA_KIND_BF16) {
        memcpy(to, codes, (size_t)job->k * sizeof *to);
        return;
    }
    const uint8_t *scales = job->scales + n * w->scale_bytes;
    for (int64_t b = 0; b < job->k / 32; b++) decode_block(codes + b * 16, scales[b], to + b * 32);
}

typedef struct amx_weights {
    const uint8_t *at[2]; /* of each 16 rows; NULL = there are none */
    size_t stride;
} amx_weights;

/* In place where 16 whole rows of whole steps lie there, else through the strip. */
static amx_weights find_weights(const mica_linear_rows *job, const amx_area *a, int64_t n) {
    int64_t padded = a->steps * AMX_STEP, rows = job->n_end - n;
    bool is_in_place = job->weight.kind == MICA_KIND_BF16 && padded == job->k &&
                       (rows >= AMX_STRIP || rows == AMX_ROWS);
    amx_weights w = {.stride = (size_t)padded * sizeof *a->strip};
    int n_tiles = rows > AMX_ROWS ? 2 : 1;
    for (int t = 0; t < n_tiles; t++) {
        if (is_in_place) {
            w.at[t] = job->codes + (n + t * AMX_ROWS) * job->weight.row_bytes;
            continue;
        }
        uint16_t *to = a->strip + t * AMX_ROWS * padded;
        for (int64_t r = 0; r < AMX_ROWS; r++)
            decode_row(job, n + t * AMX_ROWS + r, padded, to + r * padded);
        w.at[t] = (const uint8_t *)to;
    }
    return w;
}

/* ---- products ---- */

/* Sums in tiles 0..3 (weights 0 and 1 times block 0, then block 1), weights in 4 and 5, x in 6. */
static void multiply(const amx_area *a, const amx_weights *w, int64_t block, bool has_second) {
    size_t x_stride = (size_t)a->columns * 4;
    bool is_pair = w->at[1] != NULL;
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (int64_t s = 0; s < a->steps; s++) {
        TILE_LOAD(4, w->at[0] + s * AMX_STEP * 2, w->stride);
        if (is_pair) TILE_LOAD(5, w->at[1] + s * AMX_STEP * 2, w->stride);
        for (int half = 0; half < 2; half++) {
            TILE_LOAD(6, packed_tile(a, block, s, half), x_stride);
            TILE_DOT(0, 4, 6);
            if (is_pair) TILE_DOT(1, 5, 6);
            if (!has_second) continue;
            TILE_LOAD(7, packed_tile(a, block + 1, s, half), x_stride);
            TILE_DOT(2, 4, 7);
            if (is_pair) TILE_DOT(3, 5, 7);
        }
    }
    TILE_STORE(0, a->sums, x_stride);
    TILE_STORE(1, a->sums + 1 * AMX_ROWS * AMX_ROWS, x_stride);
    TILE_STORE(2, a->sums + 2 * AMX_ROWS * AMX_ROWS, x_stride);
    TILE_STORE(3, a->sums + 3 * AMX_ROWS * AMX_ROWS, x_stride);
}

/* Results of `sums` for weight rows from n and rows of x from `first`. */
static void put_tile(const mica_linear_rows *job, const amx_area *a, const float *sums, int64_t n,
                     int64_t first) {
    int64_t columns = job->m - first < a->columns ? job->m - first : a->columns;
    int64_t rows = job->n_end - n < AMX_ROWS ? job->n_end - n : AMX_ROWS;
    for (int64_t c = 0; c < columns; c++)
        for (int64_t r = 0; r < rows; r++)
            mica_linear_put(job, first + c, n + r, sums[r * a->columns + c]);
}

/* A strip of weights times all packed rows of x, the first of which is row `first`. */
static void multiply_strip(const mica_linear_rows *job, const amx_area *a, int64_t n,
                           int64_t first) {
    int64_t rows = job->m - first < AMX_BLOCK ? job->m - first : AMX_BLOCK;
    int64_t blocks = (rows + AMX_ROWS - 1) / AMX_ROWS;
    amx_weights w = find_weights(job, a, n);
    for (int64_t b = 0; b < blocks; b += 2) {
        multiply(a, &w, b, b + 1 < blocks);
        for (int t = 0; t < 4; t++)
            if (b + t / 2 < blocks && w.at[t % 2])
                put_tile(job, a, a->sums + t * AMX_ROWS * AMX_ROWS, n + t % 2 * AMX_ROWS,
                         first + (b + t / 2) * AMX_ROWS);
    }
}

static void configure(const amx_area *a) {
    amx_config config = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        config.rows[t] = AMX_ROWS;
        config.row_bytes[t] = (uint16_t)(t == 4 || t == 5 ? AMX_STEP * 2 : a->columns * 4);
    }
    TILE_CONFIGURE(&config);
}

static void linear_rows(const mica_linear_rows *job, void *memory) {
    enum { PACKED_AMX = 0x414D58 };
    mica_linear_scratch *scratch = memory;
    amx_area a = find_area(job, scratch);
    if (job->m < 1) return;
    configure(&a);
    for (int64_t first = 0; first < job->m; first += AMX_BLOCK) {
        bool is_all = job->m <= AMX_BLOCK;
        if (!is_all || !mica_linear_is_packed(scratch, job, PACKED_AMX)) pack_block(job, &a, first);
        if (!is_all) scratch->packed_x = NULL;
        for (int64_t n = job->n_begin; n < job->n_end; n += AMX_STRIP)
            multiply_strip(job, &a, n, first);
    }
    TILE_RELEASE();
}
