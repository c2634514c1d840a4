/* Affine weights, mxfp8 and nvfp4: elements in order of k, one scale (and bias) a group. Part of
 * linear_tiles.h; linear_avx2.c and linear_avx512.c define
 *     vec_set vec_mul vec_add
 *     u8_load u4_load packed_load(bits, ) e4m3_load e2m1_load    LANES codes as f32
 * The bits are those of mica_quant_decode_row. */
#pragma once
#include "ops/linear/linear_fetch.h"
#include "ops/linear/linear_rows.h"

enum {
    FORMAT_AFFINE4,
    FORMAT_AFFINE8,
    FORMAT_MXFP8,
    FORMAT_NVFP4,
    FORMAT_AFFINE2,
    FORMAT_AFFINE3,
    FORMAT_AFFINE5,
    FORMAT_AFFINE6,
    FORMATS, /* dense and mxfp4 */
    GROUPS_MAX = MICA_LINEAR_CHUNK / 16,
};

static inline int format_of(const mica_linear_rows *job) {
    static const uint8_t affine[9] = {
        [2] = FORMAT_AFFINE2, [3] = FORMAT_AFFINE3, [4] = FORMAT_AFFINE4,
        [5] = FORMAT_AFFINE5, [6] = FORMAT_AFFINE6, [8] = FORMAT_AFFINE8};
    const mica_quant_desc *q = &job->weight.quant;
    if (job->weight.kind != MICA_KIND_U8) return FORMATS;
    if (q->mode == MICA_QUANT_DESC_AFFINE) return affine[q->bits];
    if (q->mode == MICA_QUANT_DESC_MXFP8) return FORMAT_MXFP8;
    if (q->mode == MICA_QUANT_DESC_NVFP4 || q->mode == MICA_QUANT_DESC_NVFP4_SCALED)
        return FORMAT_NVFP4;
    return FORMATS;
}

INLINE int64_t format_bytes(int format, int64_t elements) {
    static const uint8_t bits[FORMATS] = {4, 8, 8, 4, 2, 3, 5, 6};
    return elements * bits[format] / 8;
}

/* ---- scales ---- */

INLINE void convert_kind(int kind, const uint8_t *from, int64_t count, float *to) {
    int64_t i = 0, bytes = mica_kind_bytes(kind);
    for (; i + LANES <= count; i += LANES) vec_store(to + i, dense_load(kind, from + i * bytes));
    for (; i < count; i++) to[i] = mica_kind_load(kind, from, i);
}

static void convert_any(int kind, const uint8_t *from, int64_t count, float *to) {
    if (kind == MICA_KIND_F32)
        memcpy(to, from, (size_t)count * sizeof *to);
    else if (kind == MICA_KIND_F16)
        convert_kind(MICA_KIND_F16, from, count, to);
    else
        convert_kind(MICA_KIND_BF16, from, count, to);
}

static void convert_e4m3(const uint8_t *from, int64_t count, float factor, float *to) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        vec_store(to + i, vec_mul(e4m3_load(from + i), vec_set(factor)));
    for (; i < count; i++) to[i] = mica_f32_from_e4m3(from[i]) * factor;
}

/* Of elements [k0, k0 + count) of weight row n. */
static void expand_groups(const mica_linear_rows *job, int64_t n, int64_t k0, int64_t count,
                          float *scales, float *biases) {
    const mica_quant_desc q = job->weight.quant;
    int64_t at = n * job->weight.scale_bytes + mica_quant_scale_bytes(q, k0);
    int64_t groups = count / q.group;
    if (q.mode == MICA_QUANT_DESC_AFFINE) {
        convert_any(q.scale_kind, job->scales + at, groups, scales);
        convert_any(q.scale_kind, job->biases + at, groups, biases);
    } else if (q.mode == MICA_QUANT_DESC_MXFP8) {
        expand_scales(job->scales + at, groups, scales);
    } else {
        bool is_scaled = q.mode == MICA_QUANT_DESC_NVFP4_SCALED;
        convert_e4m3(job->scales + at, groups, is_scaled ? mica_load_f32(job->biases) : 1.0f,
                     scales);
    }
}

/* ---- elements ---- */

INLINE vec group_vector(int format, const uint8_t *codes, vec scale, vec bias) {
    if (format == FORMAT_AFFINE4) return vec_add(vec_mul(u4_load(codes), scale), bias);
    if (format == FORMAT_AFFINE8) return vec_add(vec_mul(u8_load(codes), scale), bias);
    if (format == FORMAT_MXFP8) return vec_mul(e4m3_load(codes), scale);
    if (format == FORMAT_NVFP4) return vec_mul(e2m1_load(codes), scale);
    int bits = format == FORMAT_AFFINE2   ? 2
               : format == FORMAT_AFFINE3 ? 3
               : format == FORMAT_AFFINE5 ? 5
                                          : 6;
    return vec_add(vec_mul(packed_load(bits, codes), scale), bias);
}

INLINE void decode_groups(int format, const mica_linear_rows *job, int64_t n, int64_t k0,
                          int64_t count, float *to, int64_t stride) {
    _Alignas(64) float scales[GROUPS_MAX], biases[GROUPS_MAX] = {0};
    int64_t group = job->weight.quant.group;
    const uint8_t *codes = job->codes + n * job->weight.row_bytes + format_bytes(format, k0);
    expand_groups(job, n, k0, count, scales, biases);
    for (int64_t g = 0; g < count / group; g++) {
        vec scale = vec_set(scales[g]), bias = vec_set(biases[g]);
        for (int64_t i = 0; i < group; i += LANES, to += stride) {
            vec_store(to, group_vector(format, codes, scale, bias));
            codes += format_bytes(format, LANES);
        }
    }
}

static void decode_row_groups(const mica_linear_rows *job, int64_t n, int64_t k0, int64_t count,
                              float *to, int64_t stride) {
    switch (format_of(job)) {
#define DECODE(format)                                                                             \
    case format:                                                                                   \
        decode_groups(format, job, n, k0, count, to, stride);                                      \
        break;
        DECODE(FORMAT_AFFINE4)
        DECODE(FORMAT_AFFINE8)
        DECODE(FORMAT_MXFP8)
        DECODE(FORMAT_NVFP4)
        DECODE(FORMAT_AFFINE2)
        DECODE(FORMAT_AFFINE3)
        DECODE(FORMAT_AFFINE5)
        DECODE(FORMAT_AFFINE6)
#undef DECODE
    }
}

/* One group of nr weight rows. Rows take turns, so that their sums overlap in time. */
INLINE void direct_group(int format, int mr, int nr, int64_t group, const float *x,
                         const uint8_t *codes, int64_t row_bytes, const float *scales,
                         const float *biases, vec *sum) {
    vec scale[4], bias[4];
    UNROLL for (int j = 0; j < nr; j++) {
        scale[j] = vec_set(scales[j * GROUPS_MAX]);
        bias[j] = vec_set(biases[j * GROUPS_MAX]);
    }
    for (int64_t i = 0; i < group; i += LANES, x += mr * LANES) {
        UNROLL for (int j = 0; j < nr; j++) {
            vec v = group_vector(format, codes + j * row_bytes, scale[j], bias[j]);
            UNROLL for (int r = 0; r < mr; r++) sum[r * nr + j] =
                vec_fma(vec_load(x + r * LANES), v, sum[r * nr + j]);
        }
        codes += format_bytes(format, LANES);
    }
}

/* Rows [n, n + nr) of a weight in groups times mr packed rows. */
INLINE void direct_groups(const mica_linear_rows *job, int format, int mr, int nr, const float *x,
                          int64_t n) {
    vec sum[MICA_LINEAR_DIRECT * 4];
    _Alignas(64) float scales[4 * GROUPS_MAX], biases[4 * GROUPS_MAX];
    int64_t row_bytes = job->weight.row_bytes, group = job->weight.quant.group;
    const uint8_t *next = job->codes + (n + nr) * row_bytes;
    bool is_near = nr * row_bytes <= NEAR_BYTES;
    UNROLL for (int j = 0; j < nr * mr; j++) sum[j] = vec_zero();
    for (int64_t k0 = 0; k0 < job->k; k0 += MICA_LINEAR_CHUNK) {
        int64_t count = job->k - k0 < MICA_LINEAR_CHUNK ? job->k - k0 : MICA_LINEAR_CHUNK;
        const uint8_t *codes = job->codes + n * row_bytes + format_bytes(format, k0);
        for (int j = 0; j < nr; j++)
            expand_groups(job, n + j, k0, count, scales + j * GROUPS_MAX, biases + j * GROUPS_MAX);
        for (int64_t g = 0; g < count / group; g++, x += group * mr) {
            fetch_bytes(next, nr * format_bytes(format, group), is_near);
            next += nr * format_bytes(format, group);
            direct_group(format, mr, nr, group, x, codes + format_bytes(format, g * group),
                         row_bytes, scales + g, biases + g, sum);
        }
    }
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int j = 0; j < nr; j++)
            mica_linear_put(job, i, n + j, vec_sum(sum[i * nr + j]));
    }
}
