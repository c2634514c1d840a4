/* linear in fast mode for affine weights with AVX-512 and VNNI: 32 products of 16 bits are added in
 * pairs to 32-bit sums by one instruction. The rest is in linear_int16_tiles.h. */
#include "ops/linear/linear.h"
#include "ops/linear/linear_int16.h"

#define BLOCKS 4 /* of 32 elements, one in each 128-bit part of a vector */
#define TILE_M 4
#define TILE_N 3

typedef __m512i ivec;
typedef __m512 fvec;
static inline ivec ivec_load(const void *p) { return _mm512_loadu_si512(p); }
static inline void ivec_store(void *p, ivec v) { _mm512_storeu_si512(p, v); }
static inline ivec ivec_set16(int v) { return _mm512_set1_epi16((int16_t)v); }
static inline ivec ivec_and(ivec a, ivec b) { return _mm512_and_si512(a, b); }
#define IVEC_SHIFT(v, count) _mm512_srli_epi16(v, count)
static inline ivec ivec_multiply(ivec a, ivec b) { return _mm512_mullo_epi16(a, b); }
static inline ivec ivec_multiply_high(ivec a, ivec b) { return _mm512_mulhi_epu16(a, b); }
static inline ivec ivec_shuffle(ivec v, ivec order) { return _mm512_shuffle_epi8(v, order); }
static inline ivec ivec_dot(ivec sum, ivec a, ivec b) { return _mm512_dpwssd_epi32(sum, a, b); }
static inline ivec ivec_zero(void) { return _mm512_setzero_si512(); }

static inline fvec fvec_zero(void) { return _mm512_setzero_ps(); }
static inline fvec fvec_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void fvec_store(float *p, fvec v) { _mm512_storeu_ps(p, v); }
static inline fvec fvec_from(ivec v) { return _mm512_cvtepi32_ps(v); }
static inline fvec fvec_mul(fvec a, fvec b) { return _mm512_mul_ps(a, b); }
static inline fvec fvec_fma(fvec a, fvec b, fvec c) { return _mm512_fmadd_ps(a, b, c); }
static inline fvec fvec_eight(__m256 v) { return _mm512_zextps256_ps512(v); }
static inline __m128 fvec_fold(fvec v) {
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

/* 16 bytes for each block. */
static inline ivec ivec_load_blocks(const uint8_t *p, const int *offsets) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(load_pair(p + offsets[0], p + offsets[1])),
                              load_pair(p + offsets[2], p + offsets[3]), 1);
}
/* Lanes of block b get scales[at[b]]. */
static inline fvec spread_scales(const float *scales, const int64_t *at) {
    __m512 v = _mm512_set1_ps(scales[at[0]]);
    v = _mm512_mask_broadcastss_ps(v, 0x00F0, _mm_load_ss(scales + at[1]));
    v = _mm512_mask_broadcastss_ps(v, 0x0F00, _mm_load_ss(scales + at[2]));
    return _mm512_mask_broadcastss_ps(v, 0xF000, _mm_load_ss(scales + at[3]));
}

#include "ops/linear/linear_int16_tiles.h"

void mica_linear_rows_int16_avx512_vnni(const mica_linear_rows *job, void *scratch) {
    linear_rows(job, scratch);
}

void mica_linear_int16_avx512_vnni(const void *args, const mica_cpu_worker *worker) {
    mica_linear_walk(args, worker, mica_linear_rows_int16_avx512_vnni);
}
