/* The body of mica_linear_rows for mxfp4 weights in fast mode: x is rounded to int8 in blocks of
 * 32 with one f32 scale each, products are summed as integers within a block (exactly), blocks are
 * summed in f32 in order of k. Included by linear_int8_avx2.c, linear_int8_avx512_vnni.c and
 * linear_int8_neon_dot.c after linear_int8_x86.h or linear_int8_neon.h and
 *     dot_unit(low, high, x)   8 sums of four products each, as floats
 *
 * A unit is two blocks, one in each half of a vector. E2M1 doubled is an integer of -12..12. As in
 * linear_tiles.h, one arithmetic serves every number of rows. */
#pragma once
#include <math.h>
#include "ops/linear/linear_fetch.h"
#include "ops/linear/linear_int8.h"

enum {
    UNIT = 64,
    TILE_M = 4,
    TILE_N = 2,
    CHUNK_UNITS = MICA_LINEAR_CHUNK / UNIT,
    PACKED_INT8 = 3, /* packed_as */
};

/* Two blocks of a weight row. */
typedef struct w_unit {
    uint8_t low[32];
    uint8_t high[32];
    float scale[8];
} w_unit;
static_assert(sizeof(w_unit) / UNIT <= sizeof(float) && sizeof(x_unit) / UNIT <= 3,
              "mica_linear_scratch_bytes covers a panel and packed rows");

/* ---- x ---- */

/* Elements [k0, k0 + count) of rows [first, first + rows) as [units][rows]. */
static void pack_rows(const mica_linear_rows *job, int64_t first, int rows, int64_t k0,
                      int64_t count, x_unit *to) {
    float values[MICA_LINEAR_CHUNK + UNIT];
    for (int r = 0; r < rows; r++) {
        const uint8_t *x = mica_linear_x(job, first + r);
        if (job->weight.x_kind == MICA_KIND_F32)
            memcpy(values, x + k0 * 4, (size_t)count * sizeof(float));
        else
            for (int64_t i = 0; i < count; i++)
                values[i] = mica_kind_load(job->weight.x_kind, x, k0 + i);
        memset(values + count, 0, UNIT * sizeof(float));
        for (int64_t u = 0; u * UNIT < count; u++) pack_unit(values + u * UNIT, to + u * rows + r);
    }
}

/* ---- weights ---- */

static void expand_scales(const uint8_t *bytes, int64_t count, float *restrict out) {
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) fvec_store(out + i, fvec_scales(bytes + i));
    for (; i < count; i++) out[i] = mica_f32_from_e8m0(bytes[i]);
    if (i % 2) out[i] = 0.0f;
}

INLINE fvec add_unit(ivec low, ivec high, fvec scale, const x_unit *x, fvec sum) {
    return fvec_fma(dot_unit(low, high, x), fvec_mul(scale, fvec_load(x->scale)), sum);
}

/* ---- direct: few rows of x, weights decoded in registers ---- */

INLINE void direct_unit(int mr, int nr, const x_unit *x, const uint8_t *codes, int64_t row_bytes,
                        int n_blocks, const float *scales, fvec *sum) {
    UNROLL for (int j = 0; j < nr; j++, codes += row_bytes, scales += MICA_LINEAR_CHUNK / 32) {
        ivec low, high;
        fvec scale;
        decode_unit(codes, n_blocks, scales, &low, &high, &scale);
        UNROLL for (int i = 0; i < mr; i++) sum[i * nr + j] =
            add_unit(low, high, scale, x + i, sum[i * nr + j]);
    }
}

INLINE void direct_tile(const mica_linear_rows *job, int mr, int nr, const x_unit *x, int64_t n) {
    fvec sum[MICA_LINEAR_DIRECT * 4];
    _Alignas(64) float scales[4 * MICA_LINEAR_CHUNK / 32];
    int64_t row_bytes = job->weight.row_bytes, scale_bytes = job->weight.scale_bytes;
    const uint8_t *next = job->codes + (n + nr) * row_bytes;
    bool is_near = nr * row_bytes <= NEAR_BYTES;
    fetch_bytes(job->scales + (n + nr) * scale_bytes, nr * scale_bytes, is_near);
    UNROLL for (int j = 0; j < nr * mr; j++) sum[j] = fvec_zero();
    for (int64_t k0 = 0; k0 < job->k; k0 += MICA_LINEAR_CHUNK) {
        int64_t count = job->k - k0 < MICA_LINEAR_CHUNK ? job->k - k0 : MICA_LINEAR_CHUNK, u = 0;
        const uint8_t *codes = job->codes + n * row_bytes + k0 / 2;
        for (int j = 0; j < nr; j++)
            expand_scales(job->scales + (n + j) * scale_bytes + k0 / 32, count / 32,
                          scales + j * (MICA_LINEAR_CHUNK / 32));
        for (; u + UNIT <= count; u += UNIT, x += mr) {
            fetch_bytes(next, nr * UNIT / 2, is_near);
            next += nr * UNIT / 2;
            direct_unit(mr, nr, x, codes + u / 2, row_bytes, 2, scales + u / 32, sum);
        }
        if (u == count) continue;
        direct_unit(mr, nr, x, codes + u / 2, row_bytes, 1, scales + u / 32, sum);
        x += mr;
    }
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int j = 0; j < nr; j++)
            mica_linear_put(job, i, n + j, fvec_sum(sum[i * nr + j]));
    }
}

#define DIRECT_WALK(name, mr, nr)                                                                  \
    static void name(const mica_linear_rows *job, const x_unit *x) {                               \
        enum { MR = mr, NR = nr };                                                                 \
        int64_t n = job->n_begin;                                                                  \
        for (; n + NR <= job->n_end; n += NR) direct_tile(job, MR, NR, x, n);                      \
        for (; n < job->n_end; n++) direct_tile(job, MR, 1, x, n);                                 \
    }
DIRECT_WALK(direct_1, 1, 4)
DIRECT_WALK(direct_2, 2, 4)
DIRECT_WALK(direct_3, 3, 2)
DIRECT_WALK(direct_4, 4, 2)

static void direct_rows(const mica_linear_rows *job, mica_linear_scratch *scratch) {
    static void (*const table[MICA_LINEAR_DIRECT])(const mica_linear_rows *, const x_unit *) = {
        direct_1, direct_2, direct_3, direct_4};
    x_unit *packed = (x_unit *)(void *)(scratch + 1);
    if (!mica_linear_is_packed(scratch, job, PACKED_INT8)) {
        for (int64_t k0 = 0; k0 < job->k; k0 += MICA_LINEAR_CHUNK) {
            int64_t left = job->k - k0;
            pack_rows(job, 0, (int)job->m, k0, left < MICA_LINEAR_CHUNK ? left : MICA_LINEAR_CHUNK,
                      packed + k0 / UNIT * job->m);
        }
    }
    table[job->m - 1](job, packed);
}

/* ---- panels: weights decoded once for many rows of x ---- */

/* Rows [n, n + rows) as [rows / TILE_N][units][TILE_N]; rows past the end are 0. */
static void decode_panel(const mica_linear_rows *job, int64_t n, int64_t rows, int64_t k0,
                         int64_t count, w_unit *panel) {
    _Alignas(64) float scales[MICA_LINEAR_CHUNK / 32];
    int64_t units = (count + UNIT - 1) / UNIT;
    for (int64_t r = 0; r < (rows + TILE_N - 1) / TILE_N * TILE_N; r++) {
        w_unit *to = panel + r / TILE_N * units * TILE_N + r % TILE_N;
        const uint8_t *codes = job->codes + (n + r) * job->weight.row_bytes + k0 / 2;
        if (r < rows)
            expand_scales(job->scales + (n + r) * job->weight.scale_bytes + k0 / 32, count / 32,
                          scales);
        for (int64_t u = 0; u < units; u++, to += TILE_N) {
            ivec low = ivec_zero(), high = low;
            fvec scale = fvec_zero();
            if (r < rows)
                decode_unit(codes + u * UNIT / 2, count - u * UNIT < UNIT ? 1 : 2, scales + u * 2,
                            &low, &high, &scale);
            ivec_store(to->low, low);
            ivec_store(to->high, high);
            fvec_store(to->scale, scale);
        }
    }
}

/* sums[mr][TILE_N] += the products of mr packed rows and a tile of the panel. */
INLINE void tile_dot(int mr, const x_unit *x, const w_unit *w, int64_t units, bool is_first,
                     float *sums) {
    fvec sum[TILE_M * TILE_N];
    UNROLL for (int i = 0; i < mr * TILE_N; i++) sum[i] =
        is_first ? fvec_zero() : fvec_load(sums + i * 8);
    for (int64_t u = 0; u < units; u++, x += mr, w += TILE_N) {
        UNROLL for (int j = 0; j < TILE_N; j++) {
            ivec low = ivec_load(w[j].low), high = ivec_load(w[j].high);
            fvec scale = fvec_load(w[j].scale);
            UNROLL for (int i = 0; i < mr; i++) sum[i * TILE_N + j] =
                add_unit(low, high, scale, x + i, sum[i * TILE_N + j]);
        }
    }
    UNROLL for (int i = 0; i < mr * TILE_N; i++) fvec_store(sums + i * 8, sum[i]);
}

static void tile_dot_any(int mr, const x_unit *x, const w_unit *w, int64_t units, bool is_first,
                         float *sums) {
    switch (mr) {
    case 1:
        tile_dot(1, x, w, units, is_first, sums);
        break;
    case 2:
        tile_dot(2, x, w, units, is_first, sums);
        break;
    case 3:
        tile_dot(3, x, w, units, is_first, sums);
        break;
    default:
        tile_dot(TILE_M, x, w, units, is_first, sums);
        break;
    }
}

/* Scratch: a panel, the sums that wait for the next chunk, and a block of rows of x for all of K.
 */
typedef struct panel_area {
    w_unit *panel;
    float *sums;
    x_unit *x;     /* [rows / TILE_M][units][TILE_M] */
    int64_t units; /* of a row of x */
} panel_area;

static panel_area divide_scratch(const mica_linear_rows *job, mica_linear_scratch *scratch) {
    panel_area a = {.panel = (w_unit *)(void *)(scratch + 1)};
    a.sums = (float *)(void *)(a.panel + MICA_LINEAR_PANEL * CHUNK_UNITS);
    a.x = (x_unit *)(void *)(a.sums + MICA_LINEAR_SPILL * 8);
    a.units = (job->k + UNIT - 1) / UNIT;
    return a;
}

/* Rows [m, m + rows) of x. */
static void pack_block_rows(const mica_linear_rows *job, int64_t m, int64_t rows,
                            const panel_area *a) {
    for (int64_t i = 0; i < rows; i += TILE_M) {
        int mr = (int)(rows - i < TILE_M ? rows - i : TILE_M);
        for (int64_t k0 = 0; k0 < job->k; k0 += MICA_LINEAR_CHUNK) {
            int64_t left = job->k - k0;
            pack_rows(job, m + i, mr, k0, left < MICA_LINEAR_CHUNK ? left : MICA_LINEAR_CHUNK,
                      a->x + i * a->units + k0 / UNIT * mr);
        }
    }
}

/* One chunk of K for the packed block, which is rows m and on of the job, and a panel of weight
 * rows from n. */
static void panel_chunk(const mica_linear_rows *job, int64_t m, int64_t rows, int64_t n,
                        int64_t columns, int64_t k0, int64_t count, const panel_area *area) {
    float *sums = area->sums;
    int64_t units = (count + UNIT - 1) / UNIT;
    decode_panel(job, n, columns, k0, count, area->panel);
    for (int64_t i = 0; i < rows; i += TILE_M) {
        int mr = (int)(rows - i < TILE_M ? rows - i : TILE_M);
        const x_unit *x = area->x + i * area->units + k0 / UNIT * mr;
        for (int64_t j = 0; j < columns; j += TILE_N) {
            tile_dot_any(mr, x, area->panel + j * units, units, k0 == 0, sums);
            if (k0 + count == job->k)
                for (int a = 0; a < mr; a++)
                    for (int b = 0; b < TILE_N && j + b < columns; b++)
                        mica_linear_put(job, m + i + a, n + j + b,
                                        fvec_sum(fvec_load(sums + (a * TILE_N + b) * 8)));
            sums += mr * TILE_N * 8;
        }
    }
}

static void panel_rows(const mica_linear_rows *job, mica_linear_scratch *scratch) {
    enum { BLOCK = MICA_LINEAR_BLOCK };
    static_assert(BLOCK * MICA_LINEAR_PANEL <= MICA_LINEAR_SPILL, "a block's sums fit");
    panel_area area = divide_scratch(job, scratch);
    bool is_packed = mica_linear_is_packed(scratch, job, PACKED_INT8);
    for (int64_t m = 0; m < job->m; m += BLOCK) {
        int64_t rows = job->m - m < BLOCK ? job->m - m : BLOCK;
        if (!is_packed || job->m > BLOCK) pack_block_rows(job, m, rows, &area);
        for (int64_t n = job->n_begin; n < job->n_end; n += MICA_LINEAR_PANEL) {
            int64_t left_n = job->n_end - n;
            int64_t columns = left_n < MICA_LINEAR_PANEL ? left_n : MICA_LINEAR_PANEL;
            for (int64_t k0 = 0; k0 < job->k; k0 += MICA_LINEAR_CHUNK) {
                int64_t left = job->k - k0;
                panel_chunk(job, m, rows, n, columns, k0,
                            left < MICA_LINEAR_CHUNK ? left : MICA_LINEAR_CHUNK, &area);
            }
        }
    }
}

static void linear_rows(const mica_linear_rows *job, void *scratch) {
    if (job->m < 1) return;
    if (job->k == 0) {
        for (int64_t i = 0; i < job->m; i++)
            for (int64_t n = job->n_begin; n < job->n_end; n++) mica_linear_put(job, i, n, 0.0f);
        return;
    }
    if (job->m <= MICA_LINEAR_DIRECT)
        direct_rows(job, (mica_linear_scratch *)scratch);
    else
        panel_rows(job, (mica_linear_scratch *)scratch);
}
