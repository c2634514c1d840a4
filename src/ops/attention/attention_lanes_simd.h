/* Vectors as attention wants them, for each vector length: sums over lanes of four vectors at once,
 * and 16-bit keys and values as pairs. Two neighbours of a bf16 row travel as one 32-bit word, so
 * that widening costs one operation: the low halves, shifted up, are the even elements, the high
 * halves the odd ones. Rows that meet them are kept in that order too ("paired": in each run of two
 * vectors the even elements, then the odd ones). Include after the vector header. */
#pragma once
#include "ops/common/lane_rows.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

#define PAIR (2 * MICA_LANES)

/* Makes the compiler load through p again: there is no register for what it would keep instead. */
#define FORGET(p) __asm__("" : "+r"(p))

/* A worker that waits for another one: leaves the core's units to its neighbour. */
static inline void pause_cpu(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

#if MICA_LANES >= 8
/* a0 + a1, b1 + b0, a2 + a3, b3 + b2 ...: as hadd, but most of it in blends, which are cheaper. */
ALWAYS_INLINE __m256 add_neighbours(__m256 a, __m256 b) {
    __m256 other = _mm256_permute_ps(_mm256_blend_ps(a, b, 0x55), 0xB1);
    return _mm256_add_ps(_mm256_blend_ps(a, b, 0xAA), other);
}
#endif

/* out[i] = sum of the lanes of v[i]; the order is the same for all four. */
ALWAYS_INLINE void store_lane_sums(float *out, const mica_lanes v[4]) {
#if MICA_LANES == 16
    __m256 h[4];
    UNROLL
    for (int i = 0; i < 4; i++)
        h[i] = _mm256_add_ps(_mm512_castps512_ps256(v[i]), _mm512_extractf32x8_ps(v[i], 1));
#elif MICA_LANES == 8
    const __m256 *h = v;
#endif
#if MICA_LANES >= 8
    __m256 ab = add_neighbours(h[0], h[1]), cd = add_neighbours(h[2], h[3]);
    __m256 sum = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xEE));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1)));
#else
    vst1q_f32(out, vpaddq_f32(vpaddq_f32(v[0], v[1]), vpaddq_f32(v[2], v[3])));
#endif
}

/* A run of PAIR elements of bf16: even and odd ones. */
ALWAYS_INLINE void load_pairs_bf16(const uint16_t *p, mica_lanes out[2]) {
#if MICA_LANES == 16
    __m512i w = _mm512_loadu_si512(p);
    out[0] = _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
    out[1] = _mm512_castsi512_ps(_mm512_and_si512(w, _mm512_set1_epi32((int)0xFFFF0000u)));
#elif MICA_LANES == 8
    __m256i w = _mm256_loadu_si256((const __m256i *)(const void *)p);
    out[0] = _mm256_castsi256_ps(_mm256_slli_epi32(w, 16));
    out[1] = _mm256_castsi256_ps(_mm256_and_si256(w, _mm256_set1_epi32((int)0xFFFF0000u)));
#else
    uint32x4_t w = vreinterpretq_u32_u16(vld1q_u16(p));
    out[0] = vreinterpretq_f32_u32(vshlq_n_u32(w, 16));
    out[1] = vreinterpretq_f32_u32(vandq_u32(w, vdupq_n_u32(0xFFFF0000u)));
#endif
}

/* One half of them: without a register for the mask. */
ALWAYS_INLINE mica_lanes load_half_bf16(const uint16_t *p, int half) {
#if MICA_LANES == 16
    __m512i w = _mm512_loadu_si512(p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(half ? _mm512_srli_epi32(w, 16) : w, 16));
#elif MICA_LANES == 8
    __m256i w = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(half ? _mm256_srli_epi32(w, 16) : w, 16));
#else
    mica_lanes x[2];
    load_pairs_bf16(p, x);
    return x[half];
#endif
}

/* The same of f32. */
ALWAYS_INLINE void load_pairs(const float *p, mica_lanes out[2]) {
    mica_lanes a = mica_lanes_load(p), b = mica_lanes_load(p + MICA_LANES);
#if MICA_LANES == 16
    __m512i even = _mm512_slli_epi32(
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), 1);
    out[0] = _mm512_permutex2var_ps(a, even, b);
    out[1] = _mm512_permutex2var_ps(a, _mm512_add_epi32(even, _mm512_set1_epi32(1)), b);
#elif MICA_LANES == 8
    __m256d even = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88));
    __m256d odd = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xDD));
    out[0] = _mm256_castpd_ps(_mm256_permute4x64_pd(even, 0xD8));
    out[1] = _mm256_castpd_ps(_mm256_permute4x64_pd(odd, 0xD8));
#else
    out[0] = vuzp1q_f32(a, b);
    out[1] = vuzp2q_f32(a, b);
#endif
}

/* Back into the order of the row. */
ALWAYS_INLINE void store_pairs(float *p, mica_lanes even, mica_lanes odd) {
#if MICA_LANES == 16
    __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    mica_lanes_store(p, _mm512_permutex2var_ps(even, low, odd));
    mica_lanes_store(p + MICA_LANES, _mm512_permutex2var_ps(even, high, odd));
#elif MICA_LANES == 8
    __m256 low = _mm256_unpacklo_ps(even, odd), high = _mm256_unpackhi_ps(even, odd);
    mica_lanes_store(p, _mm256_permute2f128_ps(low, high, 0x20));
    mica_lanes_store(p + MICA_LANES, _mm256_permute2f128_ps(low, high, 0x31));
#else
    mica_lanes_store(p, vzip1q_f32(even, odd));
    mica_lanes_store(p + MICA_LANES, vzip2q_f32(even, odd));
#endif
}
