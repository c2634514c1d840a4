/* The body of mica_linear_rows for mxfp4 weights in fast mode: x is rounded to int8 in blocks of
 * 32 with one f32 scale each, products are summed as integers within a block (exactly), blocks are
 * summed in f32 in order of k. Included by linear_int8_avx2.c and linear_int8_avx512_vnni.c after
 * they define
 *     dot_unit(low, high, x)   8 sums of u8 times s8 products, less x's correction
 *
 * A unit is two blocks, one in each 128-bit half. E2M1 doubled is an integer of -12..12; the tables
 * hold it plus 12, as the instructions want one unsigned side, and x brings 12 times its own sum as
 * the correction. As in linear_tiles.h, one arithmetic serves every number of rows. */
#pragma once
#include <math.h>
#include "ops/linear/linear_int8.h"

enum { UNIT = 64, TILE_M = 4, TILE_N = 2, CHUNK_UNITS = MICA_LINEAR_CHUNK / UNIT };

/* Two blocks of a weight row. */
typedef struct w_unit {
    uint8_t low[32];
    uint8_t high[32];
    float scale[8];
} w_unit;

INLINE float sum_lanes(__m256 v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* ---- x ---- */

/* 32 floats to s8 in order of k; returns half of a step (products count doubled weights). */
static float round_block(const float *x, __m256i *bytes) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 v[4], high = _mm256_setzero_ps(), nan = high;
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_loadu_ps(x + 8 * i);
        high = _mm256_max_ps(high, _mm256_andnot_ps(sign, v[i]));
        nan = _mm256_or_ps(nan, _mm256_cmp_ps(v[i], v[i], _CMP_UNORD_Q));
    }
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(high), _mm256_extractf128_ps(high, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    float largest = _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
    /* Below this the inverse could overflow; such blocks count as zeros. */
    bool is_tiny = largest < 1e-30f;
    __m256 inverse = _mm256_set1_ps(is_tiny ? 0.0f : 127.0f / largest);
    __m256i q[4];
    for (int i = 0; i < 4; i++) q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inverse));
    __m256i packed =
        _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    *bytes = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    if (_mm256_movemask_ps(nan)) return NAN;
    return is_tiny ? 0.0f : largest / 254.0f;
}

/* Even elements to the lower half, odd ones to the upper. */
INLINE __m256i split_pairs(__m256i bytes) {
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
    return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(bytes, order), 0xD8);
}

static void pack_unit(const float *x, x_unit *to) {
    __m256i first, second, twelve = _mm256_set1_epi8(12);
    float scales[2];
    scales[0] = round_block(x, &first);
    scales[1] = round_block(x + 32, &second);
    first = split_pairs(first);
    second = split_pairs(second);
    __m256i even = _mm256_permute2x128_si256(first, second, 0x20);
    __m256i odd = _mm256_permute2x128_si256(first, second, 0x31);
    __m256i sum =
        _mm256_add_epi16(_mm256_maddubs_epi16(twelve, even), _mm256_maddubs_epi16(twelve, odd));
    _mm256_storeu_si256((__m256i *)(void *)to->even, even);
    _mm256_storeu_si256((__m256i *)(void *)to->odd, odd);
    _mm256_storeu_si256((__m256i *)(void *)to->correction,
                        _mm256_madd_epi16(sum, _mm256_set1_epi16(1)));
    for (int i = 0; i < 8; i++) to->scale[i] = scales[i / 4];
}

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
    for (; i + 8 <= count; i += 8) {
        __m256i s =
            _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(bytes + i)));
        __m256i is_edge = _mm256_or_si256(_mm256_cmpeq_epi32(s, _mm256_setzero_si256()),
                                          _mm256_cmpeq_epi32(s, _mm256_set1_epi32(255)));
        __m256i edge = _mm256_and_si256(is_edge, _mm256_set1_epi32(0x00400000));
        _mm256_storeu_ps(out + i,
                         _mm256_castsi256_ps(_mm256_or_si256(_mm256_slli_epi32(s, 23), edge)));
    }
    for (; i < count; i++) out[i] = mica_f32_from_e8m0(bytes[i]);
    if (i % 2) out[i] = 0.0f;
}

INLINE void decode_unit(const uint8_t *codes, int n_blocks, const float *scales, __m256i *low,
                        __m256i *high, __m256 *scale) {
    const __m256i table = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i halves = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    __m256i v = n_blocks == 2
                    ? load_bytes(codes)
                    : _mm256_zextsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)codes));
    *low = _mm256_shuffle_epi8(table, _mm256_and_si256(v, nibble));
    *high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble));
    __m256d pair = _mm256_broadcast_sd((const double *)(const void *)scales);
    *scale = _mm256_permutevar_ps(_mm256_castpd_ps(pair), halves);
}

INLINE __m256 add_unit(__m256i low, __m256i high, __m256 scale, const x_unit *x, __m256 sum) {
    __m256 dot = _mm256_cvtepi32_ps(dot_unit(low, high, x));
    return _mm256_fmadd_ps(dot, _mm256_mul_ps(scale, _mm256_loadu_ps(x->scale)), sum);
}

/* ---- direct: few rows of x, weights decoded in registers ---- */

INLINE void direct_unit(int mr, int nr, const x_unit *x, const uint8_t *codes, int64_t row_bytes,
                        int n_blocks, const float *scales, __m256 *sum) {
    UNROLL for (int j = 0; j < nr; j++, codes += row_bytes, scales += MICA_LINEAR_CHUNK / 32) {
        __m256i low, high;
        __m256 scale;
        __builtin_prefetch(codes + 1024);
        decode_unit(codes, n_blocks, scales, &low, &high, &scale);
        UNROLL for (int i = 0; i < mr; i++) sum[i * nr + j] =
            add_unit(low, high, scale, x + i, sum[i * nr + j]);
    }
}

INLINE void direct_tile(const mica_linear_rows *job, int mr, int nr, const x_unit *x, int64_t n) {
    __m256 sum[MICA_LINEAR_DIRECT * 4];
    _Alignas(64) float scales[4 * MICA_LINEAR_CHUNK / 32];
    int64_t row_bytes = job->weight.row_bytes;
    UNROLL for (int j = 0; j < nr * mr; j++) sum[j] = _mm256_setzero_ps();
    for (int64_t k0 = 0; k0 < job->k; k0 += MICA_LINEAR_CHUNK) {
        int64_t count = job->k - k0 < MICA_LINEAR_CHUNK ? job->k - k0 : MICA_LINEAR_CHUNK, u = 0;
        const uint8_t *codes = job->codes + n * row_bytes + k0 / 2;
        for (int j = 0; j < nr; j++)
            expand_scales(job->scales + (n + j) * job->weight.scale_bytes + k0 / 32, count / 32,
                          scales + j * (MICA_LINEAR_CHUNK / 32));
        for (; u + UNIT <= count; u += UNIT, x += mr)
            direct_unit(mr, nr, x, codes + u / 2, row_bytes, 2, scales + u / 32, sum);
        if (u == count) continue;
        direct_unit(mr, nr, x, codes + u / 2, row_bytes, 1, scales + u / 32, sum);
        x += mr;
    }
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int j = 0; j < nr; j++)
            mica_linear_put(job, i, n + j, sum_lanes(sum[i * nr + j]));
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
    if (scratch->packed_x != job->x || scratch->packed_list != job->list ||
        scratch->packed_m != job->m) {
        for (int64_t k0 = 0; k0 < job->k; k0 += MICA_LINEAR_CHUNK) {
            int64_t left = job->k - k0;
            pack_rows(job, 0, (int)job->m, k0, left < MICA_LINEAR_CHUNK ? left : MICA_LINEAR_CHUNK,
                      packed + k0 / UNIT * job->m);
        }
        scratch->packed_x = job->x;
        scratch->packed_list = job->list;
        scratch->packed_m = job->m;
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
            __m256i low = _mm256_setzero_si256(), high = low;
            __m256 scale = _mm256_setzero_ps();
            if (r < rows)
                decode_unit(codes + u * UNIT / 2, count - u * UNIT < UNIT ? 1 : 2, scales + u * 2,
                            &low, &high, &scale);
            _mm256_storeu_si256((__m256i *)(void *)to->low, low);
            _mm256_storeu_si256((__m256i *)(void *)to->high, high);
            _mm256_storeu_ps(to->scale, scale);
        }
    }
}

/* sums[mr][TILE_N] += the products of mr packed rows and a tile of the panel. */
INLINE void tile_dot(int mr, const x_unit *x, const w_unit *w, int64_t units, bool is_first,
                     float *sums) {
    __m256 sum[TILE_M * TILE_N];
    UNROLL for (int i = 0; i < mr * TILE_N; i++) sum[i] =
        is_first ? _mm256_setzero_ps() : _mm256_loadu_ps(sums + i * 8);
    for (int64_t u = 0; u < units; u++, x += mr, w += TILE_N) {
        UNROLL for (int j = 0; j < TILE_N; j++) {
            __m256i low = load_bytes(w[j].low), high = load_bytes(w[j].high);
            __m256 scale = _mm256_loadu_ps(w[j].scale);
            UNROLL for (int i = 0; i < mr; i++) sum[i * TILE_N + j] =
                add_unit(low, high, scale, x + i, sum[i * TILE_N + j]);
        }
    }
    UNROLL for (int i = 0; i < mr * TILE_N; i++) _mm256_storeu_ps(sums + i * 8, sum[i]);
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

/* One chunk of K for rows [m, m + rows) of x and a panel of weight rows from n. */
static void panel_chunk(const mica_linear_rows *job, int64_t m, int64_t rows, int64_t n,
                        int64_t columns, int64_t k0, int64_t count, x_unit *area) {
    w_unit *panel = (w_unit *)(void *)(area + TILE_M * CHUNK_UNITS);
    float *sums = (float *)(void *)(panel + MICA_LINEAR_PANEL * CHUNK_UNITS);
    int64_t units = (count + UNIT - 1) / UNIT;
    decode_panel(job, n, columns, k0, count, panel);
    for (int64_t i = 0; i < rows; i += TILE_M) {
        int mr = (int)(rows - i < TILE_M ? rows - i : TILE_M);
        pack_rows(job, m + i, mr, k0, count, area);
        for (int64_t j = 0; j < columns; j += TILE_N) {
            tile_dot_any(mr, area, panel + j * units, units, k0 == 0, sums);
            if (k0 + count == job->k)
                for (int a = 0; a < mr; a++)
                    for (int b = 0; b < TILE_N && j + b < columns; b++)
                        mica_linear_put(job, m + i + a, n + j + b,
                                        sum_lanes(_mm256_loadu_ps(sums + (a * TILE_N + b) * 8)));
            sums += mr * TILE_N * 8;
        }
    }
}

static void panel_rows(const mica_linear_rows *job, mica_linear_scratch *scratch) {
    enum { BLOCK = MICA_LINEAR_SPILL / MICA_LINEAR_PANEL };
    x_unit *area = (x_unit *)(void *)(scratch + 1);
    scratch->packed_x = NULL;
    for (int64_t n = job->n_begin; n < job->n_end; n += MICA_LINEAR_PANEL) {
        int64_t columns = job->n_end - n < MICA_LINEAR_PANEL ? job->n_end - n : MICA_LINEAR_PANEL;
        for (int64_t m = 0; m < job->m; m += BLOCK) {
            int64_t rows = job->m - m < BLOCK ? job->m - m : BLOCK;
            for (int64_t k0 = 0; k0 < job->k; k0 += MICA_LINEAR_CHUNK) {
                int64_t left = job->k - k0;
                panel_chunk(job, m, rows, n, columns, k0,
                            left < MICA_LINEAR_CHUNK ? left : MICA_LINEAR_CHUNK, area);
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
