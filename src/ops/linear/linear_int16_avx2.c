/* linear in fast mode for affine weights with AVX2: 16 products of 16 bits are added in pairs to 32
 * bits by one instruction, and those to a sum by another. The rest is in linear_int16_tiles.h. */
#include "ops/linear/linear.h"
#include "ops/linear/linear_int16.h"

#define BLOCKS 2 /* of 32 elements, one in each 128-bit part of a vector */
#define TILE_M 3 /* 3 x 2 integer and f32 sums, 2 weights, 1 x and a scale fill the registers */
#define TILE_N 2

typedef __m256i ivec;
typedef __m256 fvec;
static inline ivec ivec_load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline void ivec_store(void *p, ivec v) { _mm256_storeu_si256((__m256i *)p, v); }
static inline ivec ivec_set16(int v) { return _mm256_set1_epi16((int16_t)v); }
static inline ivec ivec_and(ivec a, ivec b) { return _mm256_and_si256(a, b); }
#define IVEC_SHIFT(v, count) _mm256_srli_epi16(v, count)
static inline ivec ivec_multiply(ivec a, ivec b) { return _mm256_mullo_epi16(a, b); }
static inline ivec ivec_multiply_high(ivec a, ivec b) { return _mm256_mulhi_epu16(a, b); }
static inline ivec ivec_shuffle(ivec v, ivec order) { return _mm256_shuffle_epi8(v, order); }
static inline ivec ivec_dot(ivec sum, ivec a, ivec b) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}
static inline ivec ivec_zero(void) { return _mm256_setzero_si256(); }

static inline fvec fvec_zero(void) { return _mm256_setzero_ps(); }
static inline fvec fvec_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void fvec_store(float *p, fvec v) { _mm256_storeu_ps(p, v); }
static inline fvec fvec_from(ivec v) { return _mm256_cvtepi32_ps(v); }
static inline fvec fvec_mul(fvec a, fvec b) { return _mm256_mul_ps(a, b); }
static inline fvec fvec_fma(fvec a, fvec b, fvec c) { return _mm256_fmadd_ps(a, b, c); }
static inline fvec fvec_eight(__m256 v) { return v; }
static inline __m128 fvec_fold(fvec v) {
    return _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
}

/* 16 bytes for each block. */
static inline ivec ivec_load_blocks(const uint8_t *p, const int *offsets) {
    return load_pair(p + offsets[0], p + offsets[1]);
}
/* Lanes of block b get scales[at[b]]. */
static inline fvec spread_scales(const float *scales, const int64_t *at) {
    return _mm256_blend_ps(_mm256_broadcast_ss(scales + at[0]), _mm256_broadcast_ss(scales + at[1]),
                           0xF0);
}

#include "ops/linear/linear_int16_tiles.h"

void mica_linear_rows_int16_avx2(const mica_linear_rows *job, void *scratch) {
    linear_rows(job, scratch);
}

void mica_linear_int16_avx2(const void *args, const mica_cpu_worker *worker) {
    mica_linear_walk(args, worker, mica_linear_rows_int16_avx2);
}
