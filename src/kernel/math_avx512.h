/* A vector of f32 (`lanes`) in AVX-512 (F, BW, VL, DQ): the names of math_avx2.h for 16 lanes; lane
 * by lane the functions give the same bits. */
#pragma once
#include <immintrin.h>
#include "kernel/math.h"

#define MICA_LANES 16
typedef __m512 mica_lanes;

static inline mica_lanes mica_lanes_set(float v) { return _mm512_set1_ps(v); }
static inline mica_lanes mica_lanes_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void mica_lanes_store(float *p, mica_lanes v) { _mm512_storeu_ps(p, v); }
static inline mica_lanes mica_lanes_add(mica_lanes a, mica_lanes b) { return _mm512_add_ps(a, b); }
static inline mica_lanes mica_lanes_sub(mica_lanes a, mica_lanes b) { return _mm512_sub_ps(a, b); }
static inline mica_lanes mica_lanes_mul(mica_lanes a, mica_lanes b) { return _mm512_mul_ps(a, b); }
static inline mica_lanes mica_lanes_div(mica_lanes a, mica_lanes b) { return _mm512_div_ps(a, b); }
/* a * b + c, rounded once. */
static inline mica_lanes mica_lanes_fma(mica_lanes a, mica_lanes b, mica_lanes c) {
    return _mm512_fmadd_ps(a, b, c);
}
/* The second argument where either is NaN. */
static inline mica_lanes mica_lanes_max(mica_lanes a, mica_lanes b) { return _mm512_max_ps(a, b); }
static inline mica_lanes mica_lanes_min(mica_lanes a, mica_lanes b) { return _mm512_min_ps(a, b); }

static inline mica_lanes mica_lanes_sqrt(mica_lanes v) { return _mm512_sqrt_ps(v); }
static inline mica_lanes mica_lanes_floor(mica_lanes v) { return _mm512_floor_ps(v); }
static inline mica_lanes mica_lanes_ceil(mica_lanes v) { return _mm512_ceil_ps(v); }

/* Lanes first..end-1 of v (both may lie outside of the vector), `other` in the rest. */
static inline mica_lanes mica_lanes_keep(mica_lanes v, int64_t first, int64_t end,
                                         mica_lanes other) {
    uint32_t low = first < 0 ? 0 : first > 16 ? 16 : (uint32_t)first;
    uint32_t high = end < 0 ? 0 : end > 16 ? 16 : (uint32_t)end;
    uint32_t in = ((1u << high) - 1u) & ~((1u << low) - 1u);
    return _mm512_mask_blend_ps((__mmask16)in, other, v);
}

/* Fixed order: halves, then quarters, and so on. */
static inline float mica_lanes_sum(mica_lanes v) {
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline float mica_lanes_largest(mica_lanes v) {
    __m256 h = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* ---- 16-bit floats ---- */
static inline mica_lanes mica_lanes_load_bf16(const uint16_t *p) {
    __m512i w = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
}
static inline mica_lanes mica_lanes_load_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
/* Each lane rounded to bf16 and back, as mica_bf16_from_f32 does it. */
static inline mica_lanes mica_lanes_round_bf16(mica_lanes v) {
    __m512i u = _mm512_castps_si512(v);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    __m512i quiet = _mm512_or_si512(u, _mm512_set1_epi32(0x400000));
    __m512i bits = _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), rounded, quiet);
    return _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32((int)0xFFFF0000u)));
}
static inline void mica_lanes_store_bf16(uint16_t *p, mica_lanes v) {
    __m512i w = _mm512_srli_epi32(_mm512_castps_si512(mica_lanes_round_bf16(v)), 16);
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(w));
}
static inline void mica_lanes_store_f16(uint16_t *p, mica_lanes v) {
    _mm256_storeu_si256((__m256i *)(void *)p,
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* ---- what math_lanes.h builds on ---- */

typedef __m512i mica_lanes_integers;

static inline mica_lanes mica_lanes_fnma(mica_lanes a, mica_lanes b, mica_lanes c) { /* c - a b */
    return _mm512_fnmadd_ps(a, b, c);
}
static inline mica_lanes mica_lanes_round(mica_lanes v) { /* half to even */
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline mica_lanes mica_lanes_and(mica_lanes a, mica_lanes b) { return _mm512_and_ps(a, b); }
static inline mica_lanes mica_lanes_or(mica_lanes a, mica_lanes b) { return _mm512_or_ps(a, b); }
static inline mica_lanes mica_lanes_xor(mica_lanes a, mica_lanes b) { return _mm512_xor_ps(a, b); }
static inline mica_lanes mica_lanes_andnot(mica_lanes a, mica_lanes b) { /* ~a & b */
    return _mm512_andnot_ps(a, b);
}
/* a < b ? yes : no */
static inline mica_lanes mica_lanes_pick_less(mica_lanes a, mica_lanes b, mica_lanes yes,
                                              mica_lanes no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
/* v, but NaN where x or y is. */
static inline mica_lanes mica_lanes_spread_nan(mica_lanes v, mica_lanes x, mica_lanes y) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_UNORD_Q), v, mica_lanes_add(x, y));
}
static inline mica_lanes_integers mica_lanes_to_integers(mica_lanes v) {
    return _mm512_cvtps_epi32(v);
}
static inline mica_lanes_integers mica_lanes_integers_halve(mica_lanes_integers n) { /* down */
    return _mm512_srai_epi32(n, 1);
}
static inline mica_lanes_integers mica_lanes_integers_sub(mica_lanes_integers a,
                                                          mica_lanes_integers b) {
    return _mm512_sub_epi32(a, b);
}
/* 2^n for lanes of n in [-126, 127]. */
static inline mica_lanes mica_lanes_exp2_integer(mica_lanes_integers n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
}

#include "kernel/math_lanes.h"
