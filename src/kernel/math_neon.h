/* A vector of f32 (`lanes`) in NEON (64-bit ARM): the names of math_avx2.h for 4 lanes; lane by
 * lane the functions give the same bits. */
#pragma once
#include <arm_neon.h>
#include "kernel/math.h"

#define MICA_LANES 4
typedef float32x4_t mica_lanes;

static inline mica_lanes mica_lanes_set(float v) { return vdupq_n_f32(v); }
static inline mica_lanes mica_lanes_load(const float *p) { return vld1q_f32(p); }
static inline void mica_lanes_store(float *p, mica_lanes v) { vst1q_f32(p, v); }
static inline mica_lanes mica_lanes_add(mica_lanes a, mica_lanes b) { return vaddq_f32(a, b); }
static inline mica_lanes mica_lanes_sub(mica_lanes a, mica_lanes b) { return vsubq_f32(a, b); }
static inline mica_lanes mica_lanes_mul(mica_lanes a, mica_lanes b) { return vmulq_f32(a, b); }
static inline mica_lanes mica_lanes_div(mica_lanes a, mica_lanes b) { return vdivq_f32(a, b); }
/* a * b + c, rounded once. */
static inline mica_lanes mica_lanes_fma(mica_lanes a, mica_lanes b, mica_lanes c) {
    return vfmaq_f32(c, a, b);
}
/* The second argument where either is NaN; vmaxq_f32 would give NaN. */
static inline mica_lanes mica_lanes_max(mica_lanes a, mica_lanes b) {
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}
static inline mica_lanes mica_lanes_min(mica_lanes a, mica_lanes b) {
    return vbslq_f32(vcltq_f32(a, b), a, b);
}
static inline mica_lanes mica_lanes_sqrt(mica_lanes v) { return vsqrtq_f32(v); }
static inline mica_lanes mica_lanes_floor(mica_lanes v) { return vrndmq_f32(v); }
static inline mica_lanes mica_lanes_ceil(mica_lanes v) { return vrndpq_f32(v); }

/* Lanes first..end-1 of v (both may lie outside of the vector), `other` in the rest. */
static inline mica_lanes mica_lanes_keep(mica_lanes v, int64_t first, int64_t end,
                                         mica_lanes other) {
    static const int32_t lane[4] = {0, 1, 2, 3};
    int32_t low = first < 0 ? 0 : first > 4 ? 4 : (int32_t)first;
    int32_t high = end < 0 ? 0 : end > 4 ? 4 : (int32_t)end;
    int32x4_t at = vld1q_s32(lane);
    uint32x4_t in = vandq_u32(vcgeq_s32(at, vdupq_n_s32(low)), vcltq_s32(at, vdupq_n_s32(high)));
    return vbslq_f32(in, v, other);
}

/* Fixed order: halves, then pairs. */
static inline float mica_lanes_sum(mica_lanes v) {
    float32x2_t s = vadd_f32(vget_low_f32(v), vget_high_f32(v));
    return vget_lane_f32(s, 0) + vget_lane_f32(s, 1);
}
/* NaN passes as in mica_lanes_max. */
static inline float mica_lanes_largest(mica_lanes v) {
    mica_lanes s = mica_lanes_max(v, vextq_f32(v, v, 2));
    return vgetq_lane_f32(mica_lanes_max(s, vdupq_laneq_f32(s, 1)), 0);
}

/* ---- 16-bit floats ---- */
static inline mica_lanes mica_lanes_load_bf16(const uint16_t *p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
static inline mica_lanes mica_lanes_load_f16(const uint16_t *p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
/* Each lane rounded to bf16 and back, as mica_bf16_from_f32 does it. */
static inline mica_lanes mica_lanes_round_bf16(mica_lanes v) {
    uint32x4_t u = vreinterpretq_u32_f32(v);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
    uint32x4_t rounded = vaddq_u32(u, vaddq_u32(odd, vdupq_n_u32(0x7FFF)));
    uint32x4_t quiet = vorrq_u32(u, vdupq_n_u32(0x400000));
    uint32x4_t bits = vbslq_u32(vceqq_f32(v, v), rounded, quiet);
    return vreinterpretq_f32_u32(vandq_u32(bits, vdupq_n_u32(0xFFFF0000u)));
}
static inline void mica_lanes_store_bf16(uint16_t *p, mica_lanes v) {
    vst1_u16(p, vshrn_n_u32(vreinterpretq_u32_f32(mica_lanes_round_bf16(v)), 16));
}
static inline void mica_lanes_store_f16(uint16_t *p, mica_lanes v) {
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)));
}

/* ---- what math_lanes.h builds on ---- */

typedef int32x4_t mica_lanes_integers;

static inline mica_lanes mica_lanes_fnma(mica_lanes a, mica_lanes b, mica_lanes c) { /* c - a b */
    return vfmsq_f32(c, a, b);
}
static inline mica_lanes mica_lanes_round(mica_lanes v) { return vrndnq_f32(v); } /* half to even */
static inline mica_lanes mica_lanes_and(mica_lanes a, mica_lanes b) {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
}
static inline mica_lanes mica_lanes_or(mica_lanes a, mica_lanes b) {
    return vreinterpretq_f32_u32(vorrq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
}
static inline mica_lanes mica_lanes_xor(mica_lanes a, mica_lanes b) {
    return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
}
static inline mica_lanes mica_lanes_andnot(mica_lanes a, mica_lanes b) { /* ~a & b */
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(b), vreinterpretq_u32_f32(a)));
}
/* a < b ? yes : no */
static inline mica_lanes mica_lanes_pick_less(mica_lanes a, mica_lanes b, mica_lanes yes,
                                              mica_lanes no) {
    return vbslq_f32(vcltq_f32(a, b), yes, no);
}
/* v, but NaN where x or y is. */
static inline mica_lanes mica_lanes_spread_nan(mica_lanes v, mica_lanes x, mica_lanes y) {
    uint32x4_t are_numbers = vandq_u32(vceqq_f32(x, x), vceqq_f32(y, y));
    return vbslq_f32(are_numbers, v, vaddq_f32(x, y));
}
static inline mica_lanes_integers mica_lanes_to_integers(mica_lanes v) { return vcvtnq_s32_f32(v); }
static inline mica_lanes_integers mica_lanes_integers_halve(mica_lanes_integers n) { /* down */
    return vshrq_n_s32(n, 1);
}
static inline mica_lanes_integers mica_lanes_integers_sub(mica_lanes_integers a,
                                                          mica_lanes_integers b) {
    return vsubq_s32(a, b);
}
/* 2^n for lanes of n in [-126, 127]. */
static inline mica_lanes mica_lanes_exp2_integer(mica_lanes_integers n) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}

#include "kernel/math_lanes.h"
