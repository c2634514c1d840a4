/* The vectors of linear_int8_tiles.h in NEON with the dot product of signed bytes: no correction is
 * needed, the integers are those of linear_int8_x86.h. */
#pragma once
#include <arm_neon.h>
#include <math.h>
#include "ops/linear/linear_int8.h"

typedef struct ivec { /* 32 bytes */
    int8x16_t low;
    int8x16_t high;
} ivec;
typedef struct fvec {
    float32x4_t low;
    float32x4_t high;
} fvec;

INLINE ivec ivec_zero(void) { return (ivec){vdupq_n_s8(0), vdupq_n_s8(0)}; }
INLINE ivec ivec_load(const uint8_t *p) {
    return (ivec){vreinterpretq_s8_u8(vld1q_u8(p)), vreinterpretq_s8_u8(vld1q_u8(p + 16))};
}
INLINE void ivec_store(uint8_t *p, ivec v) {
    vst1q_u8(p, vreinterpretq_u8_s8(v.low));
    vst1q_u8(p + 16, vreinterpretq_u8_s8(v.high));
}
INLINE fvec fvec_zero(void) { return (fvec){vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)}; }
INLINE fvec fvec_load(const float *p) { return (fvec){vld1q_f32(p), vld1q_f32(p + 4)}; }
INLINE void fvec_store(float *p, fvec v) {
    vst1q_f32(p, v.low);
    vst1q_f32(p + 4, v.high);
}
INLINE fvec fvec_mul(fvec a, fvec b) {
    return (fvec){vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)};
}
INLINE fvec fvec_fma(fvec a, fvec b, fvec c) {
    return (fvec){vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
}
INLINE float fvec_sum(fvec v) {
    float32x4_t s = vaddq_f32(v.low, v.high);
    float32x2_t t = vadd_f32(vget_low_f32(s), vget_high_f32(s));
    return vget_lane_f32(t, 0) + vget_lane_f32(t, 1);
}

/* 8 floats times inverse, rounded to s8. */
INLINE int8x8_t round_eight(const float *x, float inverse) {
    int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), inverse));
    int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), inverse));
    return vqmovn_s16(vcombine_s16(vqmovn_s32(low), vqmovn_s32(high)));
}

/* 32 floats to s8, even elements and odd ones; returns half of a step (products count doubled
 * weights). */
static float round_block(const float *x, uint8_t *even, uint8_t *odd) {
    float32x4_t high = vdupq_n_f32(0.0f);
    for (int i = 0; i < 8; i++) high = vmaxq_f32(high, vabsq_f32(vld1q_f32(x + 4 * i)));
    float largest = vmaxvq_f32(high); /* NaN if any is */
    /* Below this the inverse could overflow; such blocks count as zeros. */
    bool is_tiny = largest < 1e-30f;
    float inverse = is_tiny ? 0.0f : 127.0f / largest;
    int8x16_t first = vcombine_s8(round_eight(x, inverse), round_eight(x + 8, inverse));
    int8x16_t second = vcombine_s8(round_eight(x + 16, inverse), round_eight(x + 24, inverse));
    vst1q_u8(even, vreinterpretq_u8_s8(vuzp1q_s8(first, second)));
    vst1q_u8(odd, vreinterpretq_u8_s8(vuzp2q_s8(first, second)));
    return is_tiny ? 0.0f : largest / 254.0f;
}

static void pack_unit(const float *x, x_unit *to) {
    float scales[2];
    for (int block = 0; block < 2; block++)
        scales[block] = round_block(x + 32 * block, to->even + 16 * block, to->odd + 16 * block);
    for (int i = 0; i < 8; i++) to->scale[i] = scales[i / 4];
}

/* 2^(s - 127) of 8 scale bytes. */
INLINE float32x4_t four_scales(uint32x4_t s) {
    uint32x4_t is_edge = vorrq_u32(vceqq_u32(s, vdupq_n_u32(0)), vceqq_u32(s, vdupq_n_u32(255)));
    uint32x4_t edge = vandq_u32(is_edge, vdupq_n_u32(0x00400000));
    return vreinterpretq_f32_u32(vorrq_u32(vshlq_n_u32(s, 23), edge));
}
INLINE fvec fvec_scales(const uint8_t *bytes) {
    uint16x8_t wide = vmovl_u8(vld1_u8(bytes));
    return (fvec){four_scales(vmovl_u16(vget_low_u16(wide))), four_scales(vmovl_high_u16(wide))};
}

/* One or two blocks: even elements, odd ones, and each lane's scale. */
INLINE void decode_unit(const uint8_t *codes, int n_blocks, const float *scales, ivec *low,
                        ivec *high, fvec *scale) {
    static const int8_t doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    const int8x16_t table = vld1q_s8(doubled);
    const uint8x16_t nibble = vdupq_n_u8(15);
    uint8x16_t first = vld1q_u8(codes), second = vdupq_n_u8(0);
    if (n_blocks == 2) second = vld1q_u8(codes + 16);
    *low = (ivec){vqtbl1q_s8(table, vandq_u8(first, nibble)),
                  vqtbl1q_s8(table, vandq_u8(second, nibble))};
    *high =
        (ivec){vqtbl1q_s8(table, vshrq_n_u8(first, 4)), vqtbl1q_s8(table, vshrq_n_u8(second, 4))};
    *scale = (fvec){vdupq_n_f32(scales[0]), vdupq_n_f32(scales[1])};
}
