/* The body of mica_linear_rows for instruction sets with vectors; included by linear_avx2.c and
 * linear_avx512.c after they define
 *     vec, LANES, TILE_M, TILE_N     vector type, its floats; rows of x and of weights in a tile
 *     vec_zero vec_load vec_store vec_fma vec_sum
 *     dense_load(kind, bytes)        LANES elements as f32
 *     UNIT, UNIT_VECS                elements that one mxfp4_unit decodes, in so many vectors
 *     mxfp4_unit(codes, n_blocks, scales, w)
 *     mxfp4_pack(x, to, stride)      UNIT floats of x in the order of mxfp4_unit
 * and what linear_groups.h asks for, so that the order of elements within a unit is the instruction
 * set's own; both sides share it.
 *
 * Two ways with the same arithmetic. Direct: few rows of x; they are packed once, the weights
 * stream through registers. Panels: a block of weight rows is decoded to f32 once and used for all
 * rows of x, in tiles of TILE_M x TILE_N sums that stay in registers for a chunk of K. */
#pragma once
#include "ops/linear/linear_fetch.h"
#include "ops/linear/linear_rows.h"

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif
#define INLINE static inline __attribute__((always_inline))

enum { PACKED_DENSE = 1, PACKED_MXFP4 = 2 }; /* packed_as */

static inline bool is_mxfp4(const mica_linear_rows *job) {
    return job->weight.kind == MICA_KIND_U8 && job->weight.quant.mode == MICA_QUANT_DESC_MXFP4;
}

/* The last, partial vector of a dense row: lanes past the end are 0. */
INLINE vec dense_load_tail(int kind, const uint8_t *bytes, int64_t count) {
    uint8_t padded[LANES * 4] = {0};
    memcpy(padded, bytes, (size_t)(count * mica_kind_bytes(kind)));
    return dense_load(kind, padded);
}

/* Vectors that count elements take. */
static inline int64_t steps_of(const mica_linear_rows *job, int64_t count) {
    if (is_mxfp4(job)) return (count + UNIT - 1) / UNIT * UNIT_VECS;
    return (count + LANES - 1) / LANES;
}

/* 2^(s - 127) of each scale byte, followed by zeros up to a whole unit. */
static inline void expand_scales(const uint8_t *bytes, int64_t count, float *restrict out) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) vec_store(out + i, scale_load(bytes + i));
    for (; i < count; i++) out[i] = mica_f32_from_e8m0(bytes[i]);
    for (; i % (UNIT / 32); i++) out[i] = 0.0f;
}

#include "ops/linear/linear_groups.h"

/* ---- packing x ---- */

static void pack_mxfp4(const float *x, int64_t count, float *to, int64_t stride) {
    int64_t u = 0;
    for (; u + UNIT <= count; u += UNIT, to += UNIT_VECS * stride) mxfp4_pack(x + u, to, stride);
    if (u == count) return;
    float padded[UNIT] = {0};
    memcpy(padded, x + u, (size_t)(count - u) * sizeof(float));
    mxfp4_pack(padded, to, stride);
}

static void pack_dense(const float *x, int64_t count, float *to, int64_t stride) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES, to += stride) vec_store(to, vec_load(x + i));
    if (i < count)
        vec_store(to, dense_load_tail(MICA_KIND_F32, (const uint8_t *)(x + i), count - i));
}

/* Elements [k0, k0 + count) of rows [first, first + rows) as f32 [steps][rows][LANES]. */
static void pack_rows(const mica_linear_rows *job, int64_t first, int rows, int64_t k0,
                      int64_t count, float *to) {
    float converted[MICA_LINEAR_CHUNK];
    int kind = job->weight.x_kind;
    for (int r = 0; r < rows; r++) {
        const uint8_t *bytes = mica_linear_x(job, first + r) + k0 * mica_kind_bytes(kind);
        const float *x = (const float *)(const void *)bytes;
        if (kind != MICA_KIND_F32) {
            for (int64_t i = 0; i + LANES <= count; i += LANES)
                vec_store(converted + i, dense_load(kind, bytes + 2 * i));
            for (int64_t i = count / LANES * LANES; i < count; i++)
                converted[i] = mica_kind_load(kind, bytes, i);
            x = converted;
        }
        if (is_mxfp4(job))
            pack_mxfp4(x, count, to + r * LANES, rows * LANES);
        else
            pack_dense(x, count, to + r * LANES, rows * LANES);
    }
}

/* ---- direct ---- */

/* One vector of each row. */
INLINE void dense_step(int kind, int mr, int nr, const float *x, const uint8_t *w,
                       int64_t row_bytes, vec *sum) {
    UNROLL for (int j = 0; j < nr; j++) {
        vec v = dense_load(kind, w + j * row_bytes);
        UNROLL for (int i = 0; i < mr; i++) sum[i * nr + j] =
            vec_fma(vec_load(x + i * LANES), v, sum[i * nr + j]);
    }
}

/* Rows [n, n + nr) of a dense weight times mr packed rows. */
INLINE void direct_dense(const mica_linear_rows *job, int kind, int mr, int nr, const float *x,
                         int64_t n) {
    vec sum[MICA_LINEAR_DIRECT * 8];
    int64_t bytes = LANES * mica_kind_bytes(kind), row_bytes = job->weight.row_bytes;
    int64_t full = job->k / LANES, tail = job->k % LANES, s = 0, per_line = LINE_BYTES / bytes;
    const uint8_t *w = job->codes + n * row_bytes, *next = w + nr * row_bytes;
    bool is_near = nr * row_bytes <= NEAR_BYTES;
    UNROLL for (int i = 0; i < mr * nr; i++) sum[i] = vec_zero();
    for (; s + per_line <= full; s += per_line, next += nr * LINE_BYTES) {
        UNROLL for (int j = 0; j < nr; j++) fetch_line(next + j * LINE_BYTES, is_near);
        UNROLL for (int i = 0; i < per_line; i++, x += mr * LANES)
            dense_step(kind, mr, nr, x, w + (s + i) * bytes, row_bytes, sum);
    }
    for (; s < full; s++, x += mr * LANES)
        dense_step(kind, mr, nr, x, w + s * bytes, row_bytes, sum);
    UNROLL for (int j = 0; j < nr; j++) {
        if (!tail) break;
        vec v = dense_load_tail(kind, w + j * row_bytes + full * bytes, tail);
        UNROLL for (int i = 0; i < mr; i++) sum[i * nr + j] =
            vec_fma(vec_load(x + i * LANES), v, sum[i * nr + j]);
    }
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int j = 0; j < nr; j++)
            mica_linear_put(job, i, n + j, vec_sum(sum[i * nr + j]));
    }
}

/* One unit of nr rows of an mxfp4 weight. */
INLINE void direct_unit(int mr, int nr, const float *x, const uint8_t *codes, int64_t row_bytes,
                        int n_blocks, const float *scales, vec *sum) {
    UNROLL for (int j = 0; j < nr; j++, codes += row_bytes, scales += MICA_LINEAR_CHUNK / 32) {
        vec v[UNIT_VECS];
        mxfp4_unit(codes, n_blocks, scales, v);
        /* x as memory operands: in registers it would push out the sums. */
        __asm__("" : "+r"(x));
        UNROLL for (int s = 0; s < UNIT_VECS; s++) {
            UNROLL for (int i = 0; i < mr; i++) sum[i * nr + j] =
                vec_fma(v[s], vec_load(x + (s * mr + i) * LANES), sum[i * nr + j]);
        }
    }
}

/* The same for an mxfp4 weight. */
INLINE void direct_mxfp4(const mica_linear_rows *job, int mr, int nr, const float *x, int64_t n) {
    vec sum[MICA_LINEAR_DIRECT * 8];
    _Alignas(64) float scales[8 * MICA_LINEAR_CHUNK / 32];
    int64_t row_bytes = job->weight.row_bytes;
    const uint8_t *next = job->codes + (n + nr) * row_bytes;
    bool is_near = nr * row_bytes <= NEAR_BYTES;
    UNROLL for (int j = 0; j < nr * mr; j++) sum[j] = vec_zero();
    for (int64_t k0 = 0; k0 < job->k; k0 += MICA_LINEAR_CHUNK) {
        int64_t count = job->k - k0 < MICA_LINEAR_CHUNK ? job->k - k0 : MICA_LINEAR_CHUNK, u = 0;
        const uint8_t *codes = job->codes + n * row_bytes + k0 / 2;
        for (int j = 0; j < nr; j++)
            expand_scales(job->scales + (n + j) * job->weight.scale_bytes + k0 / 32, count / 32,
                          scales + j * (MICA_LINEAR_CHUNK / 32));
        for (; u + UNIT <= count; u += UNIT, x += UNIT_VECS * mr * LANES) {
            fetch_bytes(next, nr * UNIT / 2, is_near);
            next += nr * UNIT / 2;
            direct_unit(mr, nr, x, codes + u / 2, row_bytes, UNIT / 32, scales + u / 32, sum);
        }
        if (u == count) continue;
        direct_unit(mr, nr, x, codes + u / 2, row_bytes, 1, scales + u / 32, sum);
        x += UNIT_VECS * mr * LANES;
    }
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int j = 0; j < nr; j++)
            mica_linear_put(job, i, n + j, vec_sum(sum[i * nr + j]));
    }
}

/* One function for each pair of constants, so that the sums stay in registers. */
#define DIRECT_WALK(name, mr, nr, call_many, call_one)                                             \
    static void name(const mica_linear_rows *job, const float *x) {                                \
        enum { MR = mr, NR = nr };                                                                 \
        int64_t n = job->n_begin;                                                                  \
        for (; n + NR <= job->n_end; n += NR) call_many;                                           \
        for (; n < job->n_end; n++) call_one;                                                      \
    }
#define DIRECT_DENSE(name, kind, mr, nr)                                                           \
    DIRECT_WALK(name, mr, nr, direct_dense(job, kind, MR, NR, x, n),                               \
                direct_dense(job, kind, MR, 1, x, n))
#define DIRECT_MXFP4(name, mr, nr)                                                                 \
    DIRECT_WALK(name, mr, nr, direct_mxfp4(job, MR, NR, x, n), direct_mxfp4(job, MR, 1, x, n))
#define DIRECT_GROUPS(name, format, mr, nr)                                                        \
    DIRECT_WALK(name, mr, nr, direct_groups(job, format, MR, NR, x, n),                            \
                direct_groups(job, format, MR, 1, x, n))

DIRECT_DENSE(direct_f32_1, MICA_KIND_F32, 1, 4)
DIRECT_DENSE(direct_f32_2, MICA_KIND_F32, 2, 4)
DIRECT_DENSE(direct_f32_3, MICA_KIND_F32, 3, 4)
DIRECT_DENSE(direct_f32_4, MICA_KIND_F32, 4, 3)
DIRECT_DENSE(direct_f16_1, MICA_KIND_F16, 1, 4)
DIRECT_DENSE(direct_f16_2, MICA_KIND_F16, 2, 4)
DIRECT_DENSE(direct_f16_3, MICA_KIND_F16, 3, 4)
DIRECT_DENSE(direct_f16_4, MICA_KIND_F16, 4, 3)
DIRECT_DENSE(direct_bf16_1, MICA_KIND_BF16, 1, 4)
DIRECT_DENSE(direct_bf16_2, MICA_KIND_BF16, 2, 4)
DIRECT_DENSE(direct_bf16_3, MICA_KIND_BF16, 3, 4)
DIRECT_DENSE(direct_bf16_4, MICA_KIND_BF16, 4, 3)
DIRECT_MXFP4(direct_mxfp4_1, 1, 4)
DIRECT_MXFP4(direct_mxfp4_2, 2, 4)
DIRECT_MXFP4(direct_mxfp4_3, 3, 2)
DIRECT_MXFP4(direct_mxfp4_4, 4, 2)
#define DIRECT_FORMAT(name, format)                                                                \
    DIRECT_GROUPS(direct_##name##_1, format, 1, 4)                                                 \
    DIRECT_GROUPS(direct_##name##_2, format, 2, 4)                                                 \
    DIRECT_GROUPS(direct_##name##_3, format, 3, 2)                                                 \
    DIRECT_GROUPS(direct_##name##_4, format, 4, 2)
DIRECT_FORMAT(affine4, FORMAT_AFFINE4)
DIRECT_FORMAT(affine8, FORMAT_AFFINE8)
DIRECT_FORMAT(mxfp8, FORMAT_MXFP8)
DIRECT_FORMAT(nvfp4, FORMAT_NVFP4)
DIRECT_FORMAT(affine2, FORMAT_AFFINE2)
DIRECT_FORMAT(affine3, FORMAT_AFFINE3)
DIRECT_FORMAT(affine5, FORMAT_AFFINE5)
DIRECT_FORMAT(affine6, FORMAT_AFFINE6)

static void direct_rows(const mica_linear_rows *job, mica_linear_scratch *scratch) {
    static void (*const table[4 + FORMATS][MICA_LINEAR_DIRECT])(const mica_linear_rows *,
                                                                const float *) = {
        {direct_mxfp4_1, direct_mxfp4_2, direct_mxfp4_3, direct_mxfp4_4},
        {direct_f32_1, direct_f32_2, direct_f32_3, direct_f32_4},
        {direct_f16_1, direct_f16_2, direct_f16_3, direct_f16_4},
        {direct_bf16_1, direct_bf16_2, direct_bf16_3, direct_bf16_4},
        {direct_affine4_1, direct_affine4_2, direct_affine4_3, direct_affine4_4},
        {direct_affine8_1, direct_affine8_2, direct_affine8_3, direct_affine8_4},
        {direct_mxfp8_1, direct_mxfp8_2, direct_mxfp8_3, direct_mxfp8_4},
        {direct_nvfp4_1, direct_nvfp4_2, direct_nvfp4_3, direct_nvfp4_4},
        {direct_affine2_1, direct_affine2_2, direct_affine2_3, direct_affine2_4},
        {direct_affine3_1, direct_affine3_2, direct_affine3_3, direct_affine3_4},
        {direct_affine5_1, direct_affine5_2, direct_affine5_3, direct_affine5_4},
        {direct_affine6_1, direct_affine6_2, direct_affine6_3, direct_affine6_4},
    };
    int format = format_of(job);
    float *packed = (float *)(void *)(scratch + 1);
    if (!mica_linear_is_packed(scratch, job, is_mxfp4(job) ? PACKED_MXFP4 : PACKED_DENSE)) {
        int64_t steps = 0;
        for (int64_t k0 = 0; k0 < job->k; k0 += MICA_LINEAR_CHUNK) {
            int64_t count = job->k - k0 < MICA_LINEAR_CHUNK ? job->k - k0 : MICA_LINEAR_CHUNK;
            pack_rows(job, 0, (int)job->m, k0, count, packed + steps * job->m * LANES);
            steps += steps_of(job, count);
        }
    }
    table[format < FORMATS ? 4 + format : job->weight.kind][job->m - 1](job, packed);
}

/* ---- panels ---- */

static void decode_row_mxfp4(const mica_linear_rows *job, int64_t n, int64_t k0, int64_t count,
                             float *to, int64_t stride) {
    _Alignas(32) float scales[MICA_LINEAR_CHUNK / 32];
    const uint8_t *codes = job->codes + n * job->weight.row_bytes + k0 / 2;
    expand_scales(job->scales + n * job->weight.scale_bytes + k0 / 32, count / 32, scales);
    for (int64_t u = 0; u < count; u += UNIT) {
        vec v[UNIT_VECS];
        mxfp4_unit(codes + u / 2, count - u < UNIT ? 1 : UNIT / 32, scales + u / 32, v);
        UNROLL for (int s = 0; s < UNIT_VECS; s++, to += stride) vec_store(to, v[s]);
    }
}

INLINE void decode_row_dense(int kind, const uint8_t *p, int64_t count, float *to, int64_t stride) {
    int64_t i = 0, bytes = mica_kind_bytes(kind);
    for (; i + LANES <= count; i += LANES, to += stride)
        vec_store(to, dense_load(kind, p + i * bytes));
    if (i < count) vec_store(to, dense_load_tail(kind, p + i * bytes, count - i));
}

static void decode_row(const mica_linear_rows *job, int64_t n, int64_t k0, int64_t count, float *to,
                       int64_t stride) {
    const mica_linear_weight *w = &job->weight;
    const uint8_t *p = job->codes + n * w->row_bytes + k0 * mica_kind_bytes(w->kind);
    if (is_mxfp4(job)) {
        decode_row_mxfp4(job, n, k0, count, to, stride);
        return;
    }
    switch (w->kind) {
    case MICA_KIND_F32:
        decode_row_dense(MICA_KIND_F32, p, count, to, stride);
        return;
    case MICA_KIND_F16:
        decode_row_dense(MICA_KIND_F16, p, count, to, stride);
        return;
    case MICA_KIND_BF16:
        decode_row_dense(MICA_KIND_BF16, p, count, to, stride);
        return;
    default:
        decode_row_groups(job, n, k0, count, to, stride);
    }
}

/* Rows [n, n + rows) as f32 [rows / TILE_N][steps][TILE_N][LANES]; rows past the end are 0. */
static void decode_panel(const mica_linear_rows *job, int64_t n, int64_t rows, int64_t k0,
                         int64_t count, float *panel) {
    int64_t steps = steps_of(job, count);
    for (int64_t r = 0; r < (rows + TILE_N - 1) / TILE_N * TILE_N; r++) {
        float *to = panel + (r / TILE_N * steps * TILE_N + r % TILE_N) * LANES;
        if (r < rows) {
            decode_row(job, n + r, k0, count, to, TILE_N * LANES);
            continue;
        }
        for (int64_t s = 0; s < steps; s++) vec_store(to + s * TILE_N * LANES, vec_zero());
    }
}

/* sums[mr][TILE_N] += the products of mr packed rows and a tile of the panel. */
INLINE void tile_dot(int mr, const float *x, const float *w, int64_t steps, bool is_first,
                     float *sums) {
    vec sum[TILE_M * TILE_N];
    UNROLL for (int i = 0; i < mr * TILE_N; i++) sum[i] =
        is_first ? vec_zero() : vec_load(sums + i * LANES);
    for (int64_t s = 0; s < steps; s++, x += mr * LANES, w += TILE_N * LANES) {
        vec v[TILE_N];
        UNROLL for (int j = 0; j < TILE_N; j++) v[j] = vec_load(w + j * LANES);
        UNROLL for (int i = 0; i < mr; i++) {
            vec row = vec_load(x + i * LANES);
            UNROLL for (int j = 0; j < TILE_N; j++) sum[i * TILE_N + j] =
                vec_fma(row, v[j], sum[i * TILE_N + j]);
        }
    }
    UNROLL for (int i = 0; i < mr * TILE_N; i++) vec_store(sums + i * LANES, sum[i]);
}

static void tile_dot_any(int mr, const float *x, const float *w, int64_t steps, bool is_first,
                         float *sums) {
    switch (mr) {
    case 1:
        tile_dot(1, x, w, steps, is_first, sums);
        break;
    case 2:
        tile_dot(2, x, w, steps, is_first, sums);
        break;
    case 3:
        tile_dot(3, x, w, steps, is_first, sums);
        break;
#if TILE_M > 4
    case 4:
        tile_dot(4, x, w, steps, is_first, sums);
        break;
    case 5:
        tile_dot(5, x, w, steps, is_first, sums);
        break;
#endif
    default:
        tile_dot(TILE_M, x, w, steps, is_first, sums);
        break;
    }
}

/* One chunk of K for rows [m, m + rows) of x and a panel of weight rows from n. */
static void panel_chunk(const mica_linear_rows *job, int64_t m, int64_t rows, int64_t n,
                        int64_t columns, int64_t k0, int64_t count, float *area) {
    float *panel = area + MICA_LINEAR_TILE * MICA_LINEAR_CHUNK;
    float *sums = panel + MICA_LINEAR_PANEL * MICA_LINEAR_CHUNK;
    int64_t steps = steps_of(job, count);
    decode_panel(job, n, columns, k0, count, panel);
    for (int64_t i = 0; i < rows; i += TILE_M) {
        int mr = (int)(rows - i < TILE_M ? rows - i : TILE_M);
        pack_rows(job, m + i, mr, k0, count, area);
        for (int64_t j = 0; j < columns; j += TILE_N) {
            tile_dot_any(mr, area, panel + j * steps * LANES, steps, k0 == 0, sums);
            if (k0 + count == job->k)
                for (int a = 0; a < mr; a++)
                    for (int b = 0; b < TILE_N && j + b < columns; b++)
                        mica_linear_put(job, m + i + a, n + j + b,
                                        vec_sum(vec_load(sums + (a * TILE_N + b) * LANES)));
            sums += mr * TILE_N * LANES;
        }
    }
}

static void panel_rows(const mica_linear_rows *job, mica_linear_scratch *scratch) {
    enum { BLOCK = MICA_LINEAR_SPILL * 8 / LANES / MICA_LINEAR_PANEL };
    float *area = (float *)(void *)(scratch + 1);
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

/* Sums over no elements are 0. */
static void empty_rows(const mica_linear_rows *job) {
    for (int64_t i = 0; i < job->m; i++)
        for (int64_t n = job->n_begin; n < job->n_end; n++) mica_linear_put(job, i, n, 0.0f);
}

static void linear_rows(const mica_linear_rows *job, void *scratch) {
    if (job->m < 1) return;
    if (job->k == 0)
        empty_rows(job);
    else if (job->m <= MICA_LINEAR_DIRECT)
        direct_rows(job, (mica_linear_scratch *)scratch);
    else
        panel_rows(job, (mica_linear_scratch *)scratch);
}
