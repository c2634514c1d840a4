/* linear with NEON: vectors of 8 along K in two registers, so that bytes of packed codes are whole
 * in each; sums are reduced in the order of linear_avx2.c. The tiles are in linear_tiles.h; here
 * are the loads and the mxfp4 decoder. */
#include "ops/linear/linear.h"
#include <arm_neon.h>

#define LANES 8
#define TILE_M 4 /* 4 x 3 sums, 3 weights and 1 x fill the 32 registers */
#define TILE_N 3
#define UNIT 32
#define UNIT_VECS 4

#include "ops/linear/linear_packed.h"

typedef struct vec {
    float32x4_t low;
    float32x4_t high;
} vec;
static inline vec vec_set(float f) { return (vec){vdupq_n_f32(f), vdupq_n_f32(f)}; }
static inline vec vec_zero(void) { return vec_set(0.0f); }
static inline vec vec_load(const float *p) { return (vec){vld1q_f32(p), vld1q_f32(p + 4)}; }
static inline void vec_store(float *p, vec v) {
    vst1q_f32(p, v.low);
    vst1q_f32(p + 4, v.high);
}
static inline vec vec_fma(vec a, vec b, vec c) {
    return (vec){vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
}
static inline vec vec_mul(vec a, vec b) {
    return (vec){vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)};
}
static inline vec vec_add(vec a, vec b) {
    return (vec){vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)};
}
static inline float vec_sum(vec v) {
    float32x4_t s = vaddq_f32(v.low, v.high);
    float32x2_t t = vadd_f32(vget_low_f32(s), vget_high_f32(s));
    return vget_lane_f32(t, 0) + vget_lane_f32(t, 1);
}

/* ---- loads ---- */

static inline vec widen_bf16(uint16x8_t v) {
    return (vec){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(v), 16)),
                 vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(v), 16))};
}
static inline vec widen_f16(uint16x8_t v) {
    float16x8_t h = vreinterpretq_f16_u16(v);
    return (vec){vcvt_f32_f16(vget_low_f16(h)), vcvt_high_f32_f16(h)};
}

/* Bytes, not elements: files align nothing. */
static inline __attribute__((always_inline)) vec dense_load(int kind, const uint8_t *p) {
    if (kind == MICA_KIND_F32)
        return (vec){vreinterpretq_f32_u8(vld1q_u8(p)), vreinterpretq_f32_u8(vld1q_u8(p + 16))};
    uint16x8_t half = vreinterpretq_u16_u8(vld1q_u8(p));
    return kind == MICA_KIND_F16 ? widen_f16(half) : widen_bf16(half);
}

static inline vec u8_load(const uint8_t *p) {
    uint16x8_t wide = vmovl_u8(vld1_u8(p));
    return (vec){vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide))), vcvtq_f32_u32(vmovl_high_u16(wide))};
}

/* Nibble i of four bytes in byte i. */
static inline uint8x8_t spread_nibbles(const uint8_t *p) {
    uint8x8_t bytes = vreinterpret_u8_u32(vdup_n_u32(mica_load_u32(p)));
    return vzip1_u8(vand_u8(bytes, vdup_n_u8(15)), vshr_n_u8(bytes, 4));
}

static inline vec u4_load(const uint8_t *p) {
    uint16x8_t wide = vmovl_u8(spread_nibbles(p));
    return (vec){vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide))), vcvtq_f32_u32(vmovl_high_u16(wide))};
}

#define FOUR_PLACES(a, b, c, d, e, f, g, h)                                                        \
    {                                                                                              \
        {a, b, c, d}, { e, f, g, h }                                                               \
    }
#define RIGHT_SHIFT(i, bits) (-LINEAR_SHIFT(i, bits))

/* 8 codes of 2, 3, 5 or 6 bits, the lowest first. A code lies within two bytes; no byte behind the
 * last code is read. */
static inline __attribute__((always_inline)) vec packed_load(int bits, const uint8_t *p) {
    const int32_t place[2][4] = LINEAR_EACH_OF_8(FOUR_PLACES, LINEAR_TWO_BYTES, bits);
    const int32_t shifts[2][4] = LINEAR_EACH_OF_8(FOUR_PLACES, RIGHT_SHIFT, bits);
    float32x4_t out[2];
    uint64_t word = 0;
    memcpy(&word, p, (size_t)bits);
    uint8x16_t bytes = vreinterpretq_u8_u64(vdupq_n_u64(word));
    for (int i = 0; i < 2; i++) {
        uint8x16_t at = vreinterpretq_u8_s32(vld1q_s32(place[i]));
        uint32x4_t codes = vreinterpretq_u32_u8(vqtbl1q_u8(bytes, at));
        codes = vshlq_u32(codes, vld1q_s32(shifts[i]));
        out[i] = vcvtq_f32_u32(vandq_u32(codes, vdupq_n_u32((1u << bits) - 1u)));
    }
    return (vec){out[0], out[1]};
}

/* An E2M1 value is a bf16 number: two byte lookups give its upper and its lower byte. */
static const uint8_t e2m1_upper[16] = {0x00, 0x3F, 0x3F, 0x3F, 0x40, 0x40, 0x40, 0x40,
                                       0x80, 0xBF, 0xBF, 0xBF, 0xC0, 0xC0, 0xC0, 0xC0};
static const uint8_t e2m1_lower[16] = {0x00, 0x00, 0x80, 0xC0, 0x00, 0x40, 0x80, 0xC0,
                                       0x00, 0x00, 0x80, 0xC0, 0x00, 0x40, 0x80, 0xC0};

static inline vec e2m1_load(const uint8_t *p) {
    uint8x8_t codes = spread_nibbles(p);
    uint8x8_t upper = vqtbl1_u8(vld1q_u8(e2m1_upper), codes);
    uint8x8_t lower = vqtbl1_u8(vld1q_u8(e2m1_lower), codes);
    return widen_bf16(
        vreinterpretq_u16_u8(vcombine_u8(vzip1_u8(lower, upper), vzip2_u8(lower, upper))));
}

/* Exponent and mantissa at the place of f16's give a 256th of the value, subnormals included. */
static inline vec e4m3_load(const uint8_t *p) {
    int16x8_t wide = vshlq_n_s16(vmovl_s8(vreinterpret_s8_u8(vld1_u8(p))), 7);
    uint16x8_t half = vandq_u16(vreinterpretq_u16_s16(wide), vdupq_n_u16(0xBFFF));
    uint16x8_t is_nan = vceqq_u16(vandq_u16(half, vdupq_n_u16(0x7FFF)), vdupq_n_u16(0x3F80));
    half = vorrq_u16(half, vandq_u16(is_nan, vdupq_n_u16(0x7E00)));
    return vec_mul(widen_f16(half), vec_set(256.0f));
}

/* E8M0: 0 is a subnormal and 255 is NaN, the rest are plain exponents. */
static inline float32x4_t scale_four(uint32x4_t s) {
    uint32x4_t is_edge = vorrq_u32(vceqq_u32(s, vdupq_n_u32(0)), vceqq_u32(s, vdupq_n_u32(255)));
    uint32x4_t edge = vandq_u32(is_edge, vdupq_n_u32(0x00400000));
    return vreinterpretq_f32_u32(vorrq_u32(vshlq_n_u32(s, 23), edge));
}
static inline vec scale_load(const uint8_t *p) {
    uint16x8_t wide = vmovl_u8(vld1_u8(p));
    return (vec){scale_four(vmovl_u16(vget_low_u16(wide))), scale_four(vmovl_high_u16(wide))};
}

/* ---- mxfp4 ---- */

/* Elements that stand in the low nibbles (even ones), then those of the high nibbles. */
static inline __attribute__((always_inline)) void mxfp4_half(uint8x16_t nibbles, vec scale,
                                                             vec *w) {
    uint8x16_t upper = vqtbl1q_u8(vld1q_u8(e2m1_upper), nibbles);
    uint8x16_t lower = vqtbl1q_u8(vld1q_u8(e2m1_lower), nibbles);
    w[0] = vec_mul(widen_bf16(vreinterpretq_u16_u8(vzip1q_u8(lower, upper))), scale);
    w[1] = vec_mul(widen_bf16(vreinterpretq_u16_u8(vzip2q_u8(lower, upper))), scale);
}

static inline __attribute__((always_inline)) void mxfp4_unit(const uint8_t *codes, int n_blocks,
                                                             const float *scales, vec *w) {
    (void)n_blocks; /* a unit is one block */
    uint8x16_t bytes = vld1q_u8(codes);
    vec scale = vec_set(scales[0]);
    mxfp4_half(vandq_u8(bytes, vdupq_n_u8(15)), scale, w);
    mxfp4_half(vshrq_n_u8(bytes, 4), scale, w + 2);
}

static inline void mxfp4_pack(const float *x, float *to, int64_t stride) {
    for (int half = 0; half < 2; half++, x += 16, to += stride) {
        float32x4x2_t a = vld2q_f32(x), b = vld2q_f32(x + 8);
        vec_store(to, (vec){a.val[0], b.val[0]});
        vec_store(to + 2 * stride, (vec){a.val[1], b.val[1]});
    }
}

#include "ops/linear/linear_tiles.h"

void mica_linear_rows_neon(const mica_linear_rows *job, void *scratch) {
    linear_rows(job, scratch);
}

void mica_linear_neon(const void *args, const mica_cpu_worker *worker) {
    mica_linear_walk(args, worker, mica_linear_rows_neon);
}
