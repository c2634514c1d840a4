/* Decoders and encoders of quantised rows, element by element. The formats are stated in
 * quant_block.h; kernels with vectors decode the common ones themselves, to the same bits. */
#include "kernel/quant_block.h"
#include <math.h>
#include <stdbool.h>

/* ---- codes ---- */

/* Eight codes of `bits` bits fill exactly `bits` bytes, for every width. */
static uint64_t load_eight(const uint8_t *p, int bits) {
    uint64_t v = 0;
    for (int b = 0; b < bits; b++) v |= (uint64_t)p[b] << (8 * b);
    return v;
}

static void store_eight(uint8_t *p, int bits, const uint8_t codes[8]) {
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) v |= (uint64_t)codes[i] << (bits * i);
    for (int b = 0; b < bits; b++) p[b] = (uint8_t)(v >> (8 * b));
}

static void kind_store(int kind, void *base, int64_t i, float v) {
    uint8_t *p = (uint8_t *)base;
    if (kind == MICA_KIND_F32) {
        memcpy(p + 4 * i, &v, sizeof v);
        return;
    }
    uint16_t h = kind == MICA_KIND_BF16 ? mica_bf16_from_f32(v) : mica_f16_from_f32(v);
    memcpy(p + 2 * i, &h, sizeof h);
}

uint8_t mica_e2m1_from_f32(float f) {
    uint8_t sign = (uint8_t)(mica_bits_from_f32(f) >> 31 << 3);
    float a = fabsf(f);
    if (isnan(f)) return 7;
    if (a > 5.0f) return sign | 7;
    if (a >= 3.5f) return sign | 6;
    if (a > 2.5f) return sign | 5;
    if (a >= 1.75f) return sign | 4;
    if (a > 1.25f) return sign | 3;
    if (a >= 0.75f) return sign | 2;
    return a > 0.25f ? sign | 1 : sign;
}

uint8_t mica_e4m3_from_f32(float f) {
    uint32_t u = mica_bits_from_f32(f);
    uint8_t sign = (uint8_t)(u >> 24 & 0x80u);
    if (isnan(f)) return 0x7F;
    float a = fabsf(f);
    if (a >= 448.0f) return sign | 0x7E;
    /* Below 2^-6 the steps are 2^-9 wide; 8 of them reach the smallest normal code. */
    if (a < 0x1p-6f) return sign | (uint8_t)rintf(a * 0x1p9f);
    u &= 0x7FFFFFFFu;
    u += 0x7FFFFu + ((u >> 20) & 1u);
    uint32_t code = (u >> 20) - (120u << 3);
    return sign | (uint8_t)(code > 0x7Eu ? 0x7Eu : code);
}

/* ---- affine ---- */

static void decode_affine(mica_quant_desc q, const uint8_t *codes, const void *scales,
                          const void *biases, int64_t k, float *out) {
    uint64_t mask = (1u << q.bits) - 1u;
    for (int64_t g = 0; g < k / q.group; g++) {
        float scale = mica_kind_load(q.scale_kind, scales, g);
        float bias = mica_kind_load(q.scale_kind, biases, g);
        for (int i = 0; i < q.group; i += 8, codes += q.bits) {
            uint64_t v = load_eight(codes, q.bits);
            for (int j = 0; j < 8; j++, v >>= q.bits) {
                float product = scale * (float)(v & mask);
                *out++ = product + bias;
            }
        }
    }
}

/* The code of w, whatever s and b are: NaN gives 0. */
static uint8_t affine_code(float w, float s, float b, float n) {
    float v = rintf((w - b) / s);
    return v > 0.0f ? (uint8_t)(v < n ? v : n) : 0;
}

static void affine_parameters(const float *in, int count, float n, float *scale, float *bias) {
    float high = in[0], low = in[0];
    for (int i = 1; i < count; i++) {
        high = in[i] > high ? in[i] : high;
        low = in[i] < low ? in[i] : low;
    }
    float s = (high - low) / n;
    s = s > 1e-7f ? s : 1e-7f;
    float edge = low;
    if (!(fabsf(low) > fabsf(high))) {
        s = -s;
        edge = high;
    }
    /* The edge that lies farther from zero gets a whole code, so that it and zero are exact. */
    float whole = rintf(edge / s);
    *scale = whole != 0.0f ? edge / whole : s;
    *bias = whole != 0.0f ? edge : 0.0f;
}

static void encode_affine(mica_quant_desc q, const float *in, int64_t k, uint8_t *codes,
                          void *scales, void *biases) {
    float n = (float)((1u << q.bits) - 1u);
    for (int64_t g = 0; g < k / q.group; g++) {
        float scale, bias;
        affine_parameters(in, q.group, n, &scale, &bias);
        for (int i = 0; i < q.group; i += 8, in += 8, codes += q.bits) {
            uint8_t eight[8];
            for (int j = 0; j < 8; j++) eight[j] = affine_code(in[j], scale, bias, n);
            store_eight(codes, q.bits, eight);
        }
        kind_store(q.scale_kind, scales, g, scale);
        kind_store(q.scale_kind, biases, g, bias);
    }
}

/* ---- mxfp4, mxfp8, nvfp4 ---- */

static bool has_e4m3_scales(mica_quant_desc q) {
    return q.mode == MICA_QUANT_DESC_NVFP4 || q.mode == MICA_QUANT_DESC_NVFP4_SCALED;
}

static float block_scale(mica_quant_desc q, uint8_t byte) {
    return has_e4m3_scales(q) ? mica_f32_from_e4m3(byte) : mica_f32_from_e8m0(byte);
}

/* The factor goes to the scales: products with it are rounded once a block, as MLX does. */
static void decode_blocks(mica_quant_desc q, const uint8_t *codes, const uint8_t *scales, int64_t k,
                          float factor, float *out) {
    for (int64_t g = 0; g < k / q.group; g++) {
        float scale = block_scale(q, scales[g]) * factor;
        for (int i = 0; i < q.group && q.bits == 8; i++)
            *out++ = mica_f32_from_e4m3(*codes++) * scale;
        for (int i = 0; i < q.group && q.bits == 4; i += 2, codes++) {
            *out++ = mica_f32_from_e2m1(*codes & 15u) * scale;
            *out++ = mica_f32_from_e2m1(*codes >> 4) * scale;
        }
    }
}

/* The scale byte of a block whose largest magnitude is amax: the smallest power of two under which
 * nothing saturates, as MLX 0.32 takes it (blocks of zeros: 1). OCP's text floors the exponent and
 * MLX's older versions rounded it: bytes differ, every decoder agrees. On normal values that costs
 * 2.7 % (mxfp8) and 11.5 % (mxfp4) of root mean square, rounding 7.5 and 12.1 %. */
static uint8_t scale_byte(mica_quant_desc q, float amax) {
    int exponent = 0;
    if (has_e4m3_scales(q)) return mica_e4m3_from_f32(amax / 6.0f);
    if (!(amax > 0.0f)) return 127;
    if (isinf(amax)) return 254;
    float fraction = frexpf(amax / (q.bits == 4 ? 6.0f : 448.0f), &exponent);
    exponent -= fraction == 0.5f; /* amax = fraction * 2^exponent, fraction in [0.5, 1) */
    exponent = exponent > -127 ? exponent : -127;
    return (uint8_t)(127 + (exponent < 127 ? exponent : 127));
}

static void encode_blocks(mica_quant_desc q, const float *in, int64_t k, uint8_t *codes,
                          uint8_t *scales, float factor) {
    for (int64_t g = 0; g < k / q.group; g++, in += q.group) {
        float amax = 0.0f;
        for (int i = 0; i < q.group; i++) amax = fabsf(in[i]) > amax ? fabsf(in[i]) : amax;
        scales[g] = scale_byte(q, amax / factor);
        float scale = block_scale(q, scales[g]) * factor;
        for (int i = 0; i < q.group && q.bits == 8; i++)
            *codes++ = mica_e4m3_from_f32(in[i] / scale);
        for (int i = 0; i < q.group && q.bits == 4; i += 2) {
            /* nvfp4 blocks whose scale rounds to 0 hold zeros. */
            uint8_t low = scale == 0.0f ? 0 : mica_e2m1_from_f32(in[i] / scale);
            uint8_t high = scale == 0.0f ? 0 : mica_e2m1_from_f32(in[i + 1] / scale);
            *codes++ = (uint8_t)(low | high << 4);
        }
    }
}

/* ---- rows ---- */

static float factor_of(mica_quant_desc q, const void *biases) {
    return q.mode == MICA_QUANT_DESC_NVFP4_SCALED ? mica_load_f32(biases) : 1.0f;
}

void mica_quant_decode_row(mica_quant_desc q, const void *codes, const void *scales,
                           const void *biases, int64_t k, float *out) {
    const uint8_t *bytes = (const uint8_t *)codes;
    if (q.mode == MICA_QUANT_DESC_AFFINE)
        decode_affine(q, bytes, scales, biases, k, out);
    else
        decode_blocks(q, bytes, (const uint8_t *)scales, k, factor_of(q, biases), out);
}

void mica_quant_encode_row(mica_quant_desc q, const float *in, int64_t k, void *codes, void *scales,
                           void *biases) {
    uint8_t *bytes = (uint8_t *)codes;
    if (q.mode == MICA_QUANT_DESC_AFFINE)
        encode_affine(q, in, k, bytes, scales, biases);
    else
        encode_blocks(q, in, k, bytes, (uint8_t *)scales, factor_of(q, biases));
}
