/* A vector of f32 (`lanes`) in AVX2: loads, stores, arithmetic, exp, sigmoid, tanh. math_avx512.h
 * gives the same names for 16 lanes and math_neon.h for 4, so that a kernel body (<op>_simd.h) is
 * written once; a kernel file includes one of the three. Only for files compiled with AVX2, FMA and
 * F16C. */
#pragma once
#include <immintrin.h>
#include "kernel/math.h"

#define MICA_LANES 8
typedef __m256 mica_lanes;

static inline mica_lanes mica_lanes_set(float v) { return _mm256_set1_ps(v); }
static inline mica_lanes mica_lanes_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void mica_lanes_store(float *p, mica_lanes v) { _mm256_storeu_ps(p, v); }
static inline mica_lanes mica_lanes_add(mica_lanes a, mica_lanes b) { return _mm256_add_ps(a, b); }
static inline mica_lanes mica_lanes_sub(mica_lanes a, mica_lanes b) { return _mm256_sub_ps(a, b); }
static inline mica_lanes mica_lanes_mul(mica_lanes a, mica_lanes b) { return _mm256_mul_ps(a, b); }
static inline mica_lanes mica_lanes_div(mica_lanes a, mica_lanes b) { return _mm256_div_ps(a, b); }
/* a * b + c, rounded once. */
static inline mica_lanes mica_lanes_fma(mica_lanes a, mica_lanes b, mica_lanes c) {
    return _mm256_fmadd_ps(a, b, c);
}
/* The second argument where either is NaN. */
static inline mica_lanes mica_lanes_max(mica_lanes a, mica_lanes b) { return _mm256_max_ps(a, b); }
static inline mica_lanes mica_lanes_min(mica_lanes a, mica_lanes b) { return _mm256_min_ps(a, b); }

static inline mica_lanes mica_lanes_sqrt(mica_lanes v) { return _mm256_sqrt_ps(v); }
static inline mica_lanes mica_lanes_floor(mica_lanes v) { return _mm256_floor_ps(v); }
static inline mica_lanes mica_lanes_ceil(mica_lanes v) { return _mm256_ceil_ps(v); }

/* Lanes first..end-1 of v (both may lie outside of the vector), `other` in the rest. */
static inline mica_lanes mica_lanes_keep(mica_lanes v, int64_t first, int64_t end,
                                         mica_lanes other) {
    int32_t low = first < 0 ? 0 : first > 8 ? 8 : (int32_t)first;
    int32_t high = end < 0 ? 0 : end > 8 ? 8 : (int32_t)end;
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i in = _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(low), lane),
                                     _mm256_cmpgt_epi32(_mm256_set1_epi32(high), lane));
    return _mm256_blendv_ps(other, v, _mm256_castsi256_ps(in));
}

/* Fixed order: halves, then quarters, then pairs. */
static inline float mica_lanes_sum(mica_lanes v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline float mica_lanes_largest(mica_lanes v) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* ---- 16-bit floats ---- */
static inline mica_lanes mica_lanes_load_bf16(const uint16_t *p) {
    __m256i w = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(w, 16));
}
static inline mica_lanes mica_lanes_load_f16(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}
/* Each lane rounded to bf16 and back, as mica_bf16_from_f32 does it. */
static inline mica_lanes mica_lanes_round_bf16(mica_lanes v) {
    __m256i u = _mm256_castps_si256(v);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
    __m256i bits = _mm256_blendv_epi8(rounded, quiet, nan);
    return _mm256_castsi256_ps(_mm256_and_si256(bits, _mm256_set1_epi32((int)0xFFFF0000u)));
}
static inline void mica_lanes_store_bf16(uint16_t *p, mica_lanes v) {
    __m256i w = _mm256_srli_epi32(_mm256_castps_si256(mica_lanes_round_bf16(v)), 16);
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(w, w), 0x88);
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_castsi256_si128(packed));
}
static inline void mica_lanes_store_f16(uint16_t *p, mica_lanes v) {
    _mm_storeu_si128((__m128i *)(void *)p,
                     _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* ---- what math_lanes.h builds on ---- */

typedef __m256i mica_lanes_integers;

static inline mica_lanes mica_lanes_fnma(mica_lanes a, mica_lanes b, mica_lanes c) { /* c - a b */
    return _mm256_fnmadd_ps(a, b, c);
}
static inline mica_lanes mica_lanes_round(mica_lanes v) { /* half to even */
    return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline mica_lanes mica_lanes_and(mica_lanes a, mica_lanes b) { return _mm256_and_ps(a, b); }
static inline mica_lanes mica_lanes_or(mica_lanes a, mica_lanes b) { return _mm256_or_ps(a, b); }
static inline mica_lanes mica_lanes_xor(mica_lanes a, mica_lanes b) { return _mm256_xor_ps(a, b); }
static inline mica_lanes mica_lanes_andnot(mica_lanes a, mica_lanes b) { /* ~a & b */
    return _mm256_andnot_ps(a, b);
}
/* a < b ? yes : no */
static inline mica_lanes mica_lanes_pick_less(mica_lanes a, mica_lanes b, mica_lanes yes,
                                              mica_lanes no) {
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
/* v, but NaN where x or y is. */
static inline mica_lanes mica_lanes_spread_nan(mica_lanes v, mica_lanes x, mica_lanes y) {
    return _mm256_blendv_ps(v, mica_lanes_add(x, y), _mm256_cmp_ps(x, y, _CMP_UNORD_Q));
}
static inline mica_lanes_integers mica_lanes_to_integers(mica_lanes v) {
    return _mm256_cvtps_epi32(v);
}
static inline mica_lanes_integers mica_lanes_integers_halve(mica_lanes_integers n) { /* down */
    return _mm256_srai_epi32(n, 1);
}
static inline mica_lanes_integers mica_lanes_integers_sub(mica_lanes_integers a,
                                                          mica_lanes_integers b) {
    return _mm256_sub_epi32(a, b);
}
/* 2^n for lanes of n in [-126, 127]. */
static inline mica_lanes mica_lanes_exp2_integer(mica_lanes_integers n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

#include "kernel/math_lanes.h"
