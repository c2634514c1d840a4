/* The vectors of linear_int8_tiles.h in AVX2. The instructions want one unsigned side: weights come
 * as E2M1 doubled plus 12, and x brings 12 times its own sum as the correction. */
#pragma once
#include <immintrin.h>
#include <math.h>
#include "ops/linear/linear_int8.h"

typedef __m256i ivec; /* 32 bytes */
typedef __m256 fvec;

INLINE ivec ivec_zero(void) { return _mm256_setzero_si256(); }
INLINE ivec ivec_load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
INLINE void ivec_store(void *p, ivec v) { _mm256_storeu_si256((__m256i *)p, v); }
INLINE fvec fvec_zero(void) { return _mm256_setzero_ps(); }
INLINE fvec fvec_load(const float *p) { return _mm256_loadu_ps(p); }
INLINE void fvec_store(float *p, fvec v) { _mm256_storeu_ps(p, v); }
INLINE fvec fvec_mul(fvec a, fvec b) { return _mm256_mul_ps(a, b); }
INLINE fvec fvec_fma(fvec a, fvec b, fvec c) { return _mm256_fmadd_ps(a, b, c); }
INLINE float fvec_sum(fvec v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* 32 floats to s8 in order of k; returns half of a step (products count doubled weights). */
static float round_block(const float *x, __m256i *bytes) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
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
    __m256 inverse = _mm256_set1_ps(is_tiny ? 0.0f : 127.0f / largest);
    __m256i q[4];
    for (int i = 0; i < 4; i++) q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inverse));
    __m256i packed =
        _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    *bytes = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    if (_mm256_movemask_ps(nan)) return NAN;
    return is_tiny ? 0.0f : largest / 254.0f;
}

/* Even elements to the lower half, odd ones to the upper. */
INLINE __m256i split_pairs(__m256i bytes) {
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
    return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(bytes, order), 0xD8);
}

static void pack_unit(const float *x, x_unit *to) {
    __m256i first, second, twelve = _mm256_set1_epi8(12);
    float scales[2];
    scales[0] = round_block(x, &first);
    scales[1] = round_block(x + 32, &second);
    first = split_pairs(first);
    second = split_pairs(second);
    __m256i even = _mm256_permute2x128_si256(first, second, 0x20);
    __m256i odd = _mm256_permute2x128_si256(first, second, 0x31);
    __m256i sum =
        _mm256_add_epi16(_mm256_maddubs_epi16(twelve, even), _mm256_maddubs_epi16(twelve, odd));
    _mm256_storeu_si256((__m256i *)(void *)to->even, even);
    _mm256_storeu_si256((__m256i *)(void *)to->odd, odd);
    _mm256_storeu_si256((__m256i *)(void *)to->correction,
                        _mm256_madd_epi16(sum, _mm256_set1_epi16(1)));
    for (int i = 0; i < 8; i++) to->scale[i] = scales[i / 4];
}

/* 2^(s - 127) of 8 scale bytes. */
INLINE fvec fvec_scales(const uint8_t *bytes) {
    __m256i s = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)bytes));
    __m256i is_edge = _mm256_or_si256(_mm256_cmpeq_epi32(s, _mm256_setzero_si256()),
                                      _mm256_cmpeq_epi32(s, _mm256_set1_epi32(255)));
    __m256i edge = _mm256_and_si256(is_edge, _mm256_set1_epi32(0x00400000));
    return _mm256_castsi256_ps(_mm256_or_si256(_mm256_slli_epi32(s, 23), edge));
}

/* One or two blocks: even elements, odd ones, and each lane's scale. */
INLINE void decode_unit(const uint8_t *codes, int n_blocks, const float *scales, ivec *low,
                        ivec *high, fvec *scale) {
    const __m256i table = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i halves = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    __m256i v = n_blocks == 2
                    ? ivec_load(codes)
                    : _mm256_zextsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)codes));
    *low = _mm256_shuffle_epi8(table, _mm256_and_si256(v, nibble));
    *high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble));
    __m256d pair = _mm256_broadcast_sd((const double *)(const void *)scales);
    *scale = _mm256_permutevar_ps(_mm256_castpd_ps(pair), halves);
}
