/* The body of mica_linear_rows for affine weights in fast mode: x is rounded to 16-bit integers in
 * blocks of 32 with one f32 scale each, codes times x are summed as integers within a block
 * (exactly), blocks are summed in f32 in order of k. A group's bias is multiplied with the sum of
 * the rounded x. So the result is that of the rounded x: off by at most half a step, 2^-16 of a
 * block's largest magnitude, times the weight. Included by linear_int16_avx2.c and
 * linear_int16_avx512_vnni.c after they define
 *     ivec, fvec, BLOCKS      vectors; a unit is so many blocks, one in each 128-bit part
 *     TILE_M, TILE_N          rows of x and of weights in a tile of a panel
 *     ivec_.. fvec_..         one instruction each; ivec_dot adds products of 16 bits in pairs
 *     ivec_load_blocks, spread_scales
 *
 * A code is at most 255 and x at most 2^15, so the 8 products that fall on a lane stay below 2^26.
 * As in linear_tiles.h, one arithmetic serves every number of rows: lane j sums its products by
 * blocks, and after every MICA_LINEAR_CHUNK elements the products of biases and sums of x. */
#pragma once
#include <math.h>
#include "ops/linear/linear_int16.h"

enum {
    BLOCK = 32,
    UNIT = BLOCK * BLOCKS,
    PANEL = MICA_LINEAR_PANEL / 2, /* so that panel, sums and x fit in the second cache */
    GROUP_M = 2 * TILE_M,          /* rows of x that lie in the first cache */
    LANES = 4 * BLOCKS,
    CHUNK_UNITS = MICA_LINEAR_CHUNK / UNIT,
    CHUNK_GROUPS = MICA_LINEAR_CHUNK / BLOCK, /* at most */
    ROW_GROUPS = 256,                         /* whose scales the direct way converts at a time */
    PACKED_INT16 = 16,                        /* packed_as, plus bits and group */
};

/* 32 elements of each block as 4 x 8 integers in the order in which unpack_unit delivers them. */
typedef struct unit {
    int16_t part[4][8 * BLOCKS];
    float scale[LANES]; /* of each lane's block */
} unit;

static_assert(sizeof(unit) * PANEL * CHUNK_UNITS + sizeof(float) * CHUNK_GROUPS * PANEL <=
                  sizeof(float) * MICA_LINEAR_CHUNK * MICA_LINEAR_PANEL,
              "mica_linear_scratch_bytes covers panels");
static_assert(sizeof(unit) + 2 * BLOCKS * sizeof(float) + 28 <= 3 * 128 && UNIT <= 128,
              "and packed rows with sums, in eights");

/* ---- codes ---- */

enum { FORMAT_4, FORMAT_8, FORMAT_PACKED };

/* How codes of other than 4 and 8 bits are taken apart: a load of 16 bytes for each block holds
 * parts 0 and 1, another parts 2 and 3. A shuffle puts the two bytes that hold a code into a
 * 16-bit lane, one product moves it to the lane's top, the next one down. */
typedef struct codes_layout {
    int64_t unit_bytes;
    int offsets[2][BLOCKS];
    uint8_t order[4][16 * BLOCKS];
    uint16_t up[8 * BLOCKS];
    int down;
    int group_shift; /* block b lies in group b >> group_shift */
    const mica_linear_rows *job;
} codes_layout;

static codes_layout describe_codes(const mica_linear_rows *job) {
    codes_layout c = {.job = job};
    int bits = job->weight.quant.bits;
    c.unit_bytes = UNIT / 8 * bits;
    c.down = 1 << bits;
    c.group_shift = job->weight.quant.group / 64; /* 32, 64, 128: 0, 1, 2 */
    if (bits == 4 || bits == 8) return c;         /* they need no tables */
    for (int b = 0; b < BLOCKS; b++)
        for (int part = 0; part < 4; part++) {
            int begin = 4 * bits * b + 2 * bits * (part / 2);
            int last = (int)c.unit_bytes - 16, from = begin < last ? begin : last;
            c.offsets[part / 2][b] = from;
            for (int i = 0; i < 8; i++) {
                int at = begin - from + part % 2 * bits + i * bits / 8;
                c.order[part][16 * b + 2 * i] = (uint8_t)at;
                c.order[part][16 * b + 2 * i + 1] = (uint8_t)(at < 15 ? at + 1 : 15);
                c.up[8 * b + i] = (uint16_t)(1u << (16 - bits - i * bits % 8));
            }
        }
    return c;
}

/* Part p holds of each block, for i of 0..7: 4 bits: element 4 i + p; 8 bits: 16 (p / 2) + 2 i +
 * p % 2; others: 8 p + i. */
INLINE void unpack_unit(int format, const codes_layout *c, const uint8_t *p, ivec *part) {
    static const int halves[2][4] = {{0, 32, 64, 96}, {16, 48, 80, 112}};
    if (format == FORMAT_4) {
        ivec v = ivec_load(p), nibble = ivec_set16(15);
        part[0] = ivec_and(v, nibble);
        part[1] = ivec_and(IVEC_SHIFT(v, 4), nibble);
        part[2] = ivec_and(IVEC_SHIFT(v, 8), nibble);
        part[3] = IVEC_SHIFT(v, 12);
        return;
    }
    UNROLL for (int t = 0; t < 2; t++) {
        if (format == FORMAT_8) {
            ivec v = ivec_load_blocks(p, halves[t]);
            part[2 * t] = ivec_and(v, ivec_set16(255));
            part[2 * t + 1] = IVEC_SHIFT(v, 8);
            continue;
        }
        ivec v = ivec_load_blocks(p, c->offsets[t]);
        UNROLL for (int i = 2 * t; i < 2 * t + 2; i++) {
            ivec two = ivec_shuffle(v, ivec_load(c->order[i]));
            part[i] = ivec_multiply_high(ivec_multiply(two, ivec_load(c->up)), ivec_set16(c->down));
        }
    }
}

/* ---- scales and biases ---- */

INLINE __m256 load_kind(int kind, const uint8_t *p) {
    if (kind == MICA_KIND_F32) return _mm256_loadu_ps((const float *)(const void *)p);
    __m128i half = _mm_loadu_si128((const __m128i *)(const void *)p);
    if (kind == MICA_KIND_F16) return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/* The last vector overlaps the one before it, so that nothing behind the end is read. */
INLINE void convert_kind(int kind, const uint8_t *from, int64_t count, float *to) {
    int64_t i = 0, bytes = mica_kind_bytes(kind);
    for (; i + 8 <= count; i += 8) _mm256_storeu_ps(to + i, load_kind(kind, from + i * bytes));
    if (i == count) return;
    if (count >= 8)
        _mm256_storeu_ps(to + count - 8, load_kind(kind, from + (count - 8) * bytes));
    else
        for (; i < count; i++) to[i] = mica_kind_load(kind, from, i);
}

/* `count` elements followed by 8 zeros. */
static void convert_any(int kind, const uint8_t *from, int64_t count, float *to) {
    _mm256_storeu_ps(to + count, _mm256_setzero_ps());
    if (kind == MICA_KIND_F32)
        convert_kind(MICA_KIND_F32, from, count, to);
    else if (kind == MICA_KIND_F16)
        convert_kind(MICA_KIND_F16, from, count, to);
    else
        convert_kind(MICA_KIND_BF16, from, count, to);
}

static int64_t groups_of(const mica_linear_rows *job, int64_t elements) {
    return elements / job->weight.quant.group;
}

/* Groups [g0, g0 + count) of weight row n, each followed by 8 zeros. */
static void convert_groups(const mica_linear_rows *job, int64_t n, int64_t g0, int64_t count,
                           float *scales, float *biases) {
    int kind = job->weight.quant.scale_kind;
    int64_t at = n * job->weight.scale_bytes + g0 * mica_kind_bytes(kind);
    if (scales) convert_any(kind, job->scales + at, count, scales);
    if (biases) convert_any(kind, job->biases + at, count, biases);
}

/* The groups in which the blocks of unit u lie. */
INLINE void groups_of_unit(int group_shift, int64_t u, int64_t *at) {
    UNROLL for (int b = 0; b < BLOCKS; b++) at[b] = (u * BLOCKS + b) >> group_shift;
}

/* ---- x ---- */

INLINE __m128i sixteen_bits(__m256 x, __m256 inverse) {
    __m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse));
    return _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
}

/* The order of unpack_unit; q[i] holds elements 8 i to 8 i + 7. */
INLINE void order_block(int bits, const __m128i *q, __m128i *part) {
    if (bits == 8) {
        const __m128i split = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
        for (int t = 0; t < 2; t++) {
            __m128i a = _mm_shuffle_epi8(q[2 * t], split);
            __m128i b = _mm_shuffle_epi8(q[2 * t + 1], split);
            part[2 * t] = _mm_unpacklo_epi64(a, b);
            part[2 * t + 1] = _mm_unpackhi_epi64(a, b);
        }
        return;
    }
    if (bits != 4) {
        for (int i = 0; i < 4; i++) part[i] = q[i];
        return;
    }
    /* Elements p and p + 4 side by side, then a transpose of 4 x 4 pairs. */
    const __m128i pairs = _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
    __m128i a = _mm_shuffle_epi8(q[0], pairs), b = _mm_shuffle_epi8(q[1], pairs);
    __m128i c = _mm_shuffle_epi8(q[2], pairs), d = _mm_shuffle_epi8(q[3], pairs);
    __m128i ab = _mm_unpacklo_epi32(a, b), cd = _mm_unpacklo_epi32(c, d);
    part[0] = _mm_unpacklo_epi64(ab, cd);
    part[1] = _mm_unpackhi_epi64(ab, cd);
    ab = _mm_unpackhi_epi32(a, b), cd = _mm_unpackhi_epi32(c, d);
    part[2] = _mm_unpacklo_epi64(ab, cd);
    part[3] = _mm_unpackhi_epi64(ab, cd);
}

/* 32 floats as block b of a unit; returns the sum of the rounded ones. */
static float pack_block(int bits, const float *x, int b, unit *to) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    const __m128i ones = _mm_set1_epi16(1);
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
    __m256 inverse = _mm256_set1_ps(is_tiny ? 0.0f : 32767.0f / largest);
    float scale = is_tiny ? 0.0f : largest / 32767.0f;
    if (_mm256_movemask_ps(nan)) scale = NAN;
    __m128i q[4], part[4], sum = _mm_setzero_si128();
    for (int i = 0; i < 4; i++) {
        q[i] = sixteen_bits(v[i], inverse);
        sum = _mm_add_epi32(sum, _mm_madd_epi16(q[i], ones));
    }
    order_block(bits, q, part);
    for (int i = 0; i < 4; i++) _mm_storeu_si128((__m128i *)(void *)(to->part[i] + 8 * b), part[i]);
    _mm_storeu_ps(to->scale + 4 * b, _mm_set1_ps(scale));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1));
    return scale * (float)_mm_cvtsi128_si32(sum);
}

/* Elements [k0, k0 + count) of a row in f32, as they lie in memory or converted. */
static const float *row_in_f32(const mica_linear_rows *job, int64_t row, int64_t k0, int64_t count,
                               float *converted) {
    int kind = job->weight.x_kind;
    const uint8_t *x = mica_linear_x(job, row) + k0 * mica_kind_bytes(kind);
    if (kind == MICA_KIND_F32) return (const float *)(const void *)x;
    convert_any(kind, x, count, converted);
    return converted;
}

/* Elements [k0, k0 + count) of rows [first, first + rows), at most a chunk, as [units][rows], and
 * their sums over groups, followed by zeros up to a multiple of 8, at sums + row * stride. */
static void pack_rows(const mica_linear_rows *job, int64_t first, int rows, int64_t k0,
                      int64_t count, unit *to, float *sums, int64_t stride) {
    float converted[MICA_LINEAR_CHUNK + 8];
    int bits = job->weight.quant.bits, blocks = job->weight.quant.group / BLOCK;
    int64_t last = (count + UNIT - 1) / UNIT * BLOCKS;
    for (int r = 0; r < rows; r++, sums += stride) {
        const float *x = row_in_f32(job, first + r, k0, count, converted);
        for (int64_t b = 0; b < count / BLOCK; b++) {
            float sum =
                pack_block(bits, x + b * BLOCK, (int)(b % BLOCKS), to + b / BLOCKS * rows + r);
            sums[b / blocks] = b % blocks ? sums[b / blocks] + sum : sum;
        }
        for (int64_t b = count / BLOCK; b < last; b++)
            pack_block(bits, (const float[BLOCK]){0}, (int)(b % BLOCKS),
                       to + b / BLOCKS * rows + r);
        for (int64_t g = groups_of(job, count); g % 8; g++) sums[g] = 0.0f;
    }
}

/* ---- sums ---- */

/* Adds the products of a unit of one weight row with one of x. */
INLINE fvec add_unit(const ivec *w, fvec scale, const unit *x, fvec sum) {
    ivec dot = ivec_zero();
    UNROLL for (int p = 0; p < 4; p++) dot = ivec_dot(dot, w[p], ivec_load(x->part[p]));
    return fvec_fma(fvec_from(dot), fvec_mul(scale, fvec_load(x->scale)), sum);
}

/* Adds the products of `count` biases and sums of x; zeros follow both. */
INLINE fvec add_biases(const float *biases, const float *sums, int64_t count, fvec sum) {
    for (int64_t g = 0; g < count; g += 8)
        sum = fvec_fma(fvec_eight(_mm256_loadu_ps(biases + g)),
                       fvec_eight(_mm256_loadu_ps(sums + g)), sum);
    return sum;
}

/* ---- direct: few rows of x, weights decoded in registers ---- */

/* One unit of nr weight rows. */
INLINE void direct_unit(int format, const codes_layout *c, int mr, int nr, const unit *x,
                        const uint8_t *codes, int64_t row_bytes, const float *scales, int64_t u,
                        fvec *sum) {
    int64_t at[BLOCKS];
    groups_of_unit(c->group_shift, u, at);
    UNROLL for (int j = 0; j < nr; j++, codes += row_bytes, scales += ROW_GROUPS + 8) {
        ivec part[4];
        unpack_unit(format, c, codes, part);
        fvec scale = spread_scales(scales, at);
        UNROLL for (int i = 0; i < mr; i++) sum[i * nr + j] =
            add_unit(part, scale, x + i, sum[i * nr + j]);
    }
}

/* The last unit of nr rows, of which `bytes` are there, followed by zeros. */
static void pad_codes(const uint8_t *codes, int nr, int64_t row_bytes, int64_t bytes,
                      uint8_t padded[4][UNIT]) {
    memset(padded, 0, 4 * UNIT);
    for (int j = 0; j < nr; j++) memcpy(padded[j], codes + j * row_bytes, (size_t)bytes);
}

INLINE void direct_store(const mica_linear_rows *job, int mr, int nr, int64_t n, const fvec *sum) {
    UNROLL for (int i = 0; i < mr; i++) {
        const fvec *s = sum + i * nr;
        if (nr == 4)
            linear_put_four(job, i, n,
                            linear_sum_each(fvec_fold(s[0]), fvec_fold(s[1]), fvec_fold(s[2]),
                                            fvec_fold(s[3])));
        else
            UNROLL for (int j = 0; j < nr; j++)
                mica_linear_put(job, i, n + j, linear_sum_four(fvec_fold(s[j])));
    }
}

/* Rows [n, n + nr) of the weight times mr packed rows, whose sums lie `stride` apart. */
INLINE void direct_tile(int format, const codes_layout *c, int mr, int nr, const unit *x,
                        const float *x_sums, int64_t stride, int64_t n) {
    fvec sum[MICA_LINEAR_DIRECT * 4];
    _Alignas(64) float scales[4][ROW_GROUPS + 8], biases[4][ROW_GROUPS + 8];
    uint8_t padded[4][UNIT];
    const mica_linear_rows *job = c->job;
    const uint8_t *codes = job->codes + n * job->weight.row_bytes;
    const uint8_t *next = job->codes + (n + nr) * job->weight.row_bytes;
    int64_t unit_bytes = format == FORMAT_4 ? UNIT / 2 : format == FORMAT_8 ? UNIT : c->unit_bytes;
    bool is_near = nr * job->weight.row_bytes <= NEAR_BYTES * 2 / 3; /* with x and scales */
    int64_t row_bytes = job->weight.row_bytes, groups = groups_of(job, job->k), g0 = 0;
    int64_t chunk_groups = groups_of(job, MICA_LINEAR_CHUNK), u = 0;
    UNROLL for (int j = 0; j < nr * mr; j++) sum[j] = fvec_zero();
    int64_t scale_bytes = nr * job->weight.scale_bytes, at = (n + nr) * job->weight.scale_bytes;
    fetch_bytes(job->scales + at, scale_bytes, is_near);
    fetch_bytes(job->biases + at, scale_bytes, is_near);
    for (int64_t k0 = 0; k0 < job->k; k0 += MICA_LINEAR_CHUNK, g0 += chunk_groups) {
        int64_t count = job->k - k0 < MICA_LINEAR_CHUNK ? job->k - k0 : MICA_LINEAR_CHUNK;
        if (g0 % ROW_GROUPS == 0) {
            int64_t left = groups - g0 < ROW_GROUPS ? groups - g0 : ROW_GROUPS;
            u = 0;
            for (int j = 0; j < nr; j++) convert_groups(job, n + j, g0, left, scales[j], biases[j]);
        }
        for (int64_t end = u + (count + UNIT - 1) / UNIT; u < end; u++, x += mr) {
            if (count % UNIT && u + 1 == end) {
                pad_codes(codes, nr, row_bytes, unit_bytes * (count % UNIT) / UNIT, padded);
                codes = padded[0];
                row_bytes = UNIT;
            }
            fetch_bytes(next, nr * unit_bytes, is_near);
            direct_unit(format, c, mr, nr, x, codes, row_bytes, scales[0], u, sum);
            next += nr * unit_bytes;
            codes += unit_bytes;
        }
        UNROLL for (int i = 0; i < mr; i++) {
            UNROLL for (int j = 0; j < nr; j++) sum[i * nr + j] =
                add_biases(biases[j] + g0 % ROW_GROUPS, x_sums + i * stride + g0,
                           groups_of(job, count), sum[i * nr + j]);
        }
    }
    direct_store(job, mr, nr, n, sum);
}

/* Any single row: the few that fill no tile, and formats that are rare. */
static __attribute__((noinline)) void direct_one(int format, const codes_layout *c, int mr,
                                                 const unit *x, const float *x_sums, int64_t stride,
                                                 int64_t n) {
    switch (mr) {
    case 1:
        direct_tile(format, c, 1, 1, x, x_sums, stride, n);
        break;
    case 2:
        direct_tile(format, c, 2, 1, x, x_sums, stride, n);
        break;
    case 3:
        direct_tile(format, c, 3, 1, x, x_sums, stride, n);
        break;
    default:
        direct_tile(format, c, MICA_LINEAR_DIRECT, 1, x, x_sums, stride, n);
        break;
    }
}

/* One function for each set of constants, so that the sums stay in registers. */
#define DIRECT_WALK(name, format, mr, nr)                                                          \
    static void name(const codes_layout *c, const unit *x, const float *x_sums, int64_t stride) {  \
        enum { MR = mr, NR = nr };                                                                 \
        int64_t n = c->job->n_begin;                                                               \
        for (; n + NR <= c->job->n_end; n += NR)                                                   \
            direct_tile(format, c, MR, NR, x, x_sums, stride, n);                                  \
        for (; n < c->job->n_end; n++) direct_one(format, c, MR, x, x_sums, stride, n);            \
    }
#define DIRECT_FORMAT(name, format)                                                                \
    DIRECT_WALK(direct_##name##_1, format, 1, 4)                                                   \
    DIRECT_WALK(direct_##name##_2, format, 2, 4)                                                   \
    DIRECT_WALK(direct_##name##_3, format, 3, 2)                                                   \
    DIRECT_WALK(direct_##name##_4, format, 4, 2)
DIRECT_FORMAT(four, FORMAT_4)
DIRECT_FORMAT(eight, FORMAT_8)
DIRECT_WALK(direct_packed_1, FORMAT_PACKED, 1, 4)

static void direct_packed_more(const codes_layout *c, const unit *x, const float *x_sums,
                               int64_t stride) {
    for (int64_t n = c->job->n_begin; n < c->job->n_end; n++)
        direct_one(FORMAT_PACKED, c, (int)c->job->m, x, x_sums, stride, n);
}

static int format_of(const mica_linear_rows *job) {
    int bits = job->weight.quant.bits;
    return bits == 4 ? FORMAT_4 : bits == 8 ? FORMAT_8 : FORMAT_PACKED;
}

static int64_t packed_as(const mica_linear_rows *job) {
    return PACKED_INT16 + job->weight.quant.bits + 256 * job->weight.quant.group;
}

static void direct_rows(const mica_linear_rows *job, mica_linear_scratch *scratch) {
    static void (*const table[3][MICA_LINEAR_DIRECT])(const codes_layout *, const unit *,
                                                      const float *, int64_t) = {
        {direct_four_1, direct_four_2, direct_four_3, direct_four_4},
        {direct_eight_1, direct_eight_2, direct_eight_3, direct_eight_4},
        {direct_packed_1, direct_packed_more, direct_packed_more, direct_packed_more},
    };
    int64_t units = (job->k + UNIT - 1) / UNIT, stride = (groups_of(job, job->k) + 7) / 8 * 8;
    unit *packed = (unit *)(void *)(scratch + 1);
    float *sums = (float *)(void *)(packed + units * job->m);
    if (!mica_linear_is_packed(scratch, job, packed_as(job)))
        for (int64_t k0 = 0; k0 < job->k; k0 += MICA_LINEAR_CHUNK) {
            int64_t left = job->k - k0;
            pack_rows(job, 0, (int)job->m, k0, left < MICA_LINEAR_CHUNK ? left : MICA_LINEAR_CHUNK,
                      packed + k0 / UNIT * job->m, sums + groups_of(job, k0), stride);
        }
    codes_layout c = describe_codes(job);
    table[format_of(job)][job->m - 1](&c, packed, sums, stride);
}

/* ---- panels: weights decoded once for many rows of x ---- */

/* A block of rows of x packed for all of K, a panel, and the sums that wait for the next chunk. */
typedef struct panel_area {
    int64_t units;  /* of a row of x */
    int64_t stride; /* sums over groups of a row of x */
    unit *x;        /* [rows / TILE_M][units][TILE_M] */
    float *x_sums;  /* [rows][stride] */
    unit *panel;
    float *biases; /* [columns][CHUNK_GROUPS] */
    float *sums;   /* [rows][columns][LANES] */
} panel_area;

static panel_area divide_scratch(const mica_linear_rows *job, mica_linear_scratch *scratch) {
    panel_area a = {.units = (job->k + UNIT - 1) / UNIT};
    a.stride = (groups_of(job, job->k) + 7) / 8 * 8;
    a.panel = (unit *)(void *)(scratch + 1);
    a.biases = (float *)(void *)(a.panel + PANEL * CHUNK_UNITS);
    a.sums = a.biases + PANEL * CHUNK_GROUPS;
    a.x = (unit *)(void *)(a.sums + MICA_LINEAR_SPILL * 8);
    a.x_sums = (float *)(void *)(a.x + MICA_LINEAR_BLOCK * a.units);
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
                      a->x + i * a->units + k0 / UNIT * mr,
                      a->x_sums + i * a->stride + groups_of(job, k0), a->stride);
        }
    }
}

INLINE void decode_row(int format, const codes_layout *c, const uint8_t *codes, const float *scales,
                       int64_t count, unit *to) {
    for (int64_t u = 0; u * UNIT < count; u++, codes += c->unit_bytes, to += TILE_N) {
        uint8_t padded[UNIT] = {0};
        const uint8_t *from = codes;
        ivec part[4];
        int64_t at[BLOCKS], left = count - u * UNIT;
        if (left < UNIT) from = memcpy(padded, codes, (size_t)(c->unit_bytes * left / UNIT));
        unpack_unit(format, c, from, part);
        groups_of_unit(c->group_shift, u, at);
        UNROLL for (int p = 0; p < 4; p++) ivec_store(to->part[p], part[p]);
        fvec_store(to->scale, spread_scales(scales, at));
    }
}

/* Rows [n, n + rows) as [rows / TILE_N][units][TILE_N]; rows past the end are 0. */
static void decode_panel(const codes_layout *c, int64_t n, int64_t rows, int64_t k0, int64_t count,
                         const panel_area *a) {
    float scales[CHUNK_GROUPS + 8], biases[CHUNK_GROUPS + 8];
    const mica_linear_rows *job = c->job;
    int64_t units = (count + UNIT - 1) / UNIT, groups = groups_of(job, count);
    for (int64_t r = 0; r < (rows + TILE_N - 1) / TILE_N * TILE_N; r++) {
        unit *to = a->panel + r / TILE_N * units * TILE_N + r % TILE_N;
        float *row_biases = a->biases + r * CHUNK_GROUPS;
        if (r >= rows) {
            for (int64_t u = 0; u < units; u++) to[u * TILE_N] = (unit){0};
            memset(row_biases, 0, CHUNK_GROUPS * sizeof(float));
            continue;
        }
        const uint8_t *codes =
            job->codes + (n + r) * job->weight.row_bytes + k0 / UNIT * c->unit_bytes;
        convert_groups(job, n + r, groups_of(job, k0), groups, scales, biases);
        memcpy(row_biases, biases, (size_t)((groups + 7) / 8 * 8) * sizeof(float));
        if (format_of(job) == FORMAT_4)
            decode_row(FORMAT_4, c, codes, scales, count, to);
        else if (format_of(job) == FORMAT_8)
            decode_row(FORMAT_8, c, codes, scales, count, to);
        else
            decode_row(FORMAT_PACKED, c, codes, scales, count, to);
    }
}

/* sums[mr][TILE_N] += the products of mr packed rows and a tile of the panel. */
INLINE void tile_dot(int mr, const unit *x, const unit *w, int64_t units, fvec *sum) {
    for (int64_t u = 0; u < units; u++, x += mr, w += TILE_N) {
        ivec dot[TILE_M * TILE_N];
        UNROLL for (int i = 0; i < mr * TILE_N; i++) dot[i] = ivec_zero();
        UNROLL for (int p = 0; p < 4; p++) {
            ivec v[TILE_N];
            UNROLL for (int j = 0; j < TILE_N; j++) v[j] = ivec_load(w[j].part[p]);
            UNROLL for (int i = 0; i < mr; i++) {
                ivec row = ivec_load(x[i].part[p]);
                __asm__("" : "+v"(row)); /* one load for all columns */
                UNROLL for (int j = 0; j < TILE_N; j++) dot[i * TILE_N + j] =
                    ivec_dot(dot[i * TILE_N + j], v[j], row);
            }
            /* Else the compiler sums in another order that needs more registers than there are. */
            UNROLL for (int i = 0; i < mr * TILE_N; i++) __asm__("" : "+v"(dot[i]));
        }
        UNROLL for (int j = 0; j < TILE_N; j++) {
            fvec scale = fvec_load(w[j].scale);
            UNROLL for (int i = 0; i < mr; i++) sum[i * TILE_N + j] =
                fvec_fma(fvec_from(dot[i * TILE_N + j]), fvec_mul(scale, fvec_load(x[i].scale)),
                         sum[i * TILE_N + j]);
        }
    }
}

/* What a tile of a chunk works on. */
typedef struct tile_job {
    const unit *x;
    const unit *w;
    const float *x_sums;
    const float *biases;
    int64_t stride; /* of x_sums; biases lie CHUNK_GROUPS apart */
    int64_t units;
    int64_t groups;
    float *sums;
    int64_t row_floats;
    bool is_first;
} tile_job;

INLINE void tile_run(int mr, const tile_job *t) {
    fvec sum[TILE_M * TILE_N];
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int j = 0; j < TILE_N; j++) sum[i * TILE_N + j] =
            t->is_first ? fvec_zero() : fvec_load(t->sums + i * t->row_floats + j * LANES);
    }
    tile_dot(mr, t->x, t->w, t->units, sum);
    for (int64_t g = 0; g < t->groups; g += 8) {
        fvec bias[TILE_N];
        UNROLL for (int j = 0; j < TILE_N; j++) bias[j] =
            fvec_eight(_mm256_loadu_ps(t->biases + j * CHUNK_GROUPS + g));
        UNROLL for (int i = 0; i < mr; i++) {
            fvec x = fvec_eight(_mm256_loadu_ps(t->x_sums + i * t->stride + g));
            UNROLL for (int j = 0; j < TILE_N; j++) sum[i * TILE_N + j] =
                fvec_fma(bias[j], x, sum[i * TILE_N + j]);
        }
    }
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int j = 0; j < TILE_N; j++)
            fvec_store(t->sums + i * t->row_floats + j * LANES, sum[i * TILE_N + j]);
    }
}

static void tile_run_any(int mr, const tile_job *t) {
    switch (mr) {
    case 1:
        tile_run(1, t);
        break;
    case 2:
        tile_run(2, t);
        break;
#if TILE_M > 3
    case 3:
        tile_run(3, t);
        break;
#endif
    default:
        tile_run(TILE_M, t);
        break;
    }
}

/* Stores row i of the job, weight rows [n, n + columns). */
static void put_row(const mica_linear_rows *job, int64_t i, int64_t n, int64_t columns,
                    const float *sums) {
    int64_t j = 0;
    for (; j + 4 <= columns; j += 4) {
        __m128 s[4];
        UNROLL for (int b = 0; b < 4; b++) s[b] = fvec_fold(fvec_load(sums + (j + b) * LANES));
        linear_put_four(job, i, n + j, linear_sum_each(s[0], s[1], s[2], s[3]));
    }
    for (; j < columns; j++)
        mica_linear_put(job, i, n + j, linear_sum_four(fvec_fold(fvec_load(sums + j * LANES))));
}

/* One chunk of K and a panel of weight rows. */
typedef struct chunk {
    const mica_linear_rows *job;
    const panel_area *area;
    int64_t m; /* row of the job with which the packed block begins */
    int64_t rows;
    int64_t n;
    int64_t columns;
    int64_t k0;
    int64_t count;
    bool is_last;
} chunk;

/* Tiles of rows [i0, i1) of the packed block take turns, so that a tile of weights is read from the
 * second cache but once for all of them. */
static void panel_group(const chunk *c, int64_t i0, int64_t i1, float *sums) {
    const panel_area *a = c->area;
    tile_job t = {.stride = a->stride, .is_first = c->k0 == 0};
    t.row_floats = (c->columns + TILE_N - 1) / TILE_N * TILE_N * LANES;
    t.units = (c->count + UNIT - 1) / UNIT;
    t.groups = groups_of(c->job, c->count);
    for (int64_t j = 0; j < c->columns; j += TILE_N) {
        t.w = a->panel + j * t.units;
        t.biases = a->biases + j * CHUNK_GROUPS;
        for (int64_t i = i0; i < i1; i += TILE_M) {
            int mr = (int)(c->rows - i < TILE_M ? c->rows - i : TILE_M);
            t.x = a->x + i * a->units + c->k0 / UNIT * mr;
            t.x_sums = a->x_sums + i * a->stride + groups_of(c->job, c->k0);
            t.sums = sums + (i - i0) * t.row_floats + j * LANES;
            tile_run_any(mr, &t);
        }
    }
    for (int64_t i = i0; i < i1 && c->is_last; i++)
        put_row(c->job, c->m + i, c->n, c->columns, sums + (i - i0) * t.row_floats);
}

/* Rows [i0, i1) of the packed block. */
static void panel_chunk(const codes_layout *codes, const chunk *c, int64_t i0, int64_t i1) {
    int64_t row_floats = (c->columns + TILE_N - 1) / TILE_N * TILE_N * LANES;
    bool is_only = c->is_last && c->k0 == 0;
    decode_panel(codes, c->n, c->columns, c->k0, c->count, c->area);
    for (int64_t i = i0; i < i1; i += GROUP_M)
        /* With one chunk no sums wait, and all rows use the same few cache lines. */
        panel_group(c, i, i + GROUP_M < i1 ? i + GROUP_M : i1,
                    c->area->sums + (is_only ? 0 : (i - i0) * row_floats));
}

/* All weight rows of the job for `rows` packed rows of x. */
static void panel_block(const codes_layout *codes, int64_t m, int64_t rows, const panel_area *a) {
    enum { ROWS = MICA_LINEAR_SPILL * 8 / LANES / PANEL / GROUP_M * GROUP_M };
    const mica_linear_rows *job = codes->job;
    chunk c = {.job = job, .area = a, .m = m, .rows = rows};
    for (c.n = job->n_begin; c.n < job->n_end; c.n += PANEL)
        for (int64_t i = 0; i < rows; i += ROWS)
            for (c.k0 = 0; c.k0 < job->k; c.k0 += MICA_LINEAR_CHUNK) {
                int64_t left = job->k - c.k0;
                c.columns = job->n_end - c.n < PANEL ? job->n_end - c.n : PANEL;
                c.count = left < MICA_LINEAR_CHUNK ? left : MICA_LINEAR_CHUNK;
                c.is_last = left == c.count;
                panel_chunk(codes, &c, i, i + ROWS < rows ? i + ROWS : rows);
            }
}

static void panel_rows(const mica_linear_rows *job, mica_linear_scratch *scratch) {
    codes_layout c = describe_codes(job);
    panel_area a = divide_scratch(job, scratch);
    bool is_packed = mica_linear_is_packed(scratch, job, packed_as(job));
    for (int64_t m = 0; m < job->m; m += MICA_LINEAR_BLOCK) {
        int64_t rows = job->m - m < MICA_LINEAR_BLOCK ? job->m - m : MICA_LINEAR_BLOCK;
        if (!is_packed || job->m > MICA_LINEAR_BLOCK) pack_block_rows(job, m, rows, &a);
        panel_block(&c, m, rows, &a);
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
