/* linear with AVX2 and FMA: vectors of 8 along K. The tiles are in linear_tiles.h; here are the
 * loads and the mxfp4 decoder. */
#include "ops/linear/linear.h"
#include <immintrin.h>

#define LANES 8
#define TILE_M 4 /* 4 x 3 sums, 3 weights and 1 x fill the 16 registers */
#define TILE_N 3
#define UNIT 64
#define UNIT_VECS 8

#include "ops/linear/linear_packed.h"

typedef __m256 vec;
static inline vec vec_zero(void) { return _mm256_setzero_ps(); }
static inline vec vec_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void vec_store(float *p, vec v) { _mm256_storeu_ps(p, v); }
static inline vec vec_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline float vec_sum(vec v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline __attribute__((always_inline)) vec dense_load(int kind, const uint8_t *p) {
    if (kind == MICA_KIND_F32) return _mm256_loadu_ps((const float *)(const void *)p);
    __m128i half = _mm_loadu_si128((const __m128i *)(const void *)p);
    if (kind == MICA_KIND_F16) return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

static inline vec vec_set(float f) { return _mm256_set1_ps(f); }
static inline vec vec_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
static inline vec vec_add(vec a, vec b) { return _mm256_add_ps(a, b); }

static inline vec u8_load(const uint8_t *p) {
    __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)p);
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
}

/* Nibble i in the low bits of lane i; above it stand the later ones. */
static inline __m256i spread_nibbles(const uint8_t *p) {
    const __m256i shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    return _mm256_srlv_epi32(_mm256_set1_epi32((int)mica_load_u32(p)), shifts);
}

static inline vec u4_load(const uint8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_and_si256(spread_nibbles(p), _mm256_set1_epi32(15)));
}

/* 8 codes of 2, 3, 5 or 6 bits, the lowest first. A code lies within two bytes; no byte behind the
 * last code is read. */
static inline __attribute__((always_inline)) vec packed_load(int bits, const uint8_t *p) {
    const __m256i place = LINEAR_EACH_OF_8(_mm256_setr_epi32, LINEAR_TWO_BYTES, bits);
    const __m256i shifts = LINEAR_EACH_OF_8(_mm256_setr_epi32, LINEAR_SHIFT, bits);
    uint64_t word = 0;
    memcpy(&word, p, (size_t)bits);
    __m256i codes = _mm256_shuffle_epi8(_mm256_set1_epi64x((int64_t)word), place);
    codes = _mm256_and_si256(_mm256_srlv_epi32(codes, shifts), _mm256_set1_epi32((1 << bits) - 1));
    return _mm256_cvtepi32_ps(codes);
}

static inline vec e2m1_load(const uint8_t *p) {
    const __m256 magnitudes = _mm256_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f);
    __m256i nibbles = spread_nibbles(p); /* the lookup takes the low three bits */
    __m256i sign = _mm256_and_si256(_mm256_slli_epi32(nibbles, 28), _mm256_set1_epi32(INT32_MIN));
    return _mm256_xor_ps(_mm256_permutevar8x32_ps(magnitudes, nibbles), _mm256_castsi256_ps(sign));
}

/* Exponent and mantissa at the place of f16's give a 256th of the value, subnormals included. */
static inline vec e4m3_load(const uint8_t *p) {
    const __m128i nan = _mm_set1_epi16(0x3F80);
    __m128i wide = _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)p));
    __m128i half = _mm_and_si128(_mm_slli_epi16(wide, 7), _mm_set1_epi16((int16_t)0xBFFF));
    __m128i is_nan = _mm_cmpeq_epi16(_mm_and_si128(half, _mm_set1_epi16(0x7FFF)), nan);
    half = _mm_or_si128(half, _mm_and_si128(is_nan, _mm_set1_epi16(0x7E00)));
    return _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256.0f));
}

/* E8M0: 0 is a subnormal and 255 is NaN, the rest are plain exponents. */
static inline vec scale_load(const uint8_t *p) {
    __m256i s = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
    __m256i bits = _mm256_slli_epi32(s, 23);
    __m256i is_zero = _mm256_cmpeq_epi32(s, _mm256_setzero_si256());
    __m256i is_nan = _mm256_cmpeq_epi32(s, _mm256_set1_epi32(255));
    bits = _mm256_or_si256(bits, _mm256_and_si256(is_zero, _mm256_set1_epi32(0x00400000)));
    bits = _mm256_or_si256(bits, _mm256_and_si256(is_nan, _mm256_set1_epi32(0x00400000)));
    return _mm256_castsi256_ps(bits);
}

/* Two blocks, one in each 128-bit half. An E2M1 value is a bf16 number, so two byte shuffles give
 * its upper and lower byte; interleaved they are pairs of bf16, whose halves shift or mask to f32.
 * Vectors: low nibbles of bytes 0-7 (elements 0 4 8 12, then 2 6 10 14), of bytes 8-15, then the
 * same for the high nibbles (odd elements). */
static inline __attribute__((always_inline)) void mxfp4_half(__m256i nibbles, __m256 scale,
                                                             vec *w) {
    const __m256i upper = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0x00, 0x3F, 0x3F, 0x3F, 0x40, 0x40, 0x40, 0x40, (char)0x80, (char)0xBF,
                      (char)0xBF, (char)0xBF, (char)0xC0, (char)0xC0, (char)0xC0, (char)0xC0));
    const __m256i lower = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0x00, 0x00, (char)0x80, (char)0xC0, 0x00, 0x40, (char)0x80, (char)0xC0, 0x00,
                      0x00, (char)0x80, (char)0xC0, 0x00, 0x40, (char)0x80, (char)0xC0));
    const __m256i odd = _mm256_set1_epi32((int)0xFFFF0000u);
    __m256i high = _mm256_shuffle_epi8(upper, nibbles);
    __m256i low = _mm256_shuffle_epi8(lower, nibbles);
    __m256i a = _mm256_unpacklo_epi8(low, high), b = _mm256_unpackhi_epi8(low, high);
    w[0] = _mm256_mul_ps(_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)), scale);
    w[1] = _mm256_mul_ps(_mm256_castsi256_ps(_mm256_and_si256(a, odd)), scale);
    w[2] = _mm256_mul_ps(_mm256_castsi256_ps(_mm256_slli_epi32(b, 16)), scale);
    w[3] = _mm256_mul_ps(_mm256_castsi256_ps(_mm256_and_si256(b, odd)), scale);
}

static inline __attribute__((always_inline)) void mxfp4_unit(const uint8_t *codes, int n_blocks,
                                                             const float *scales, vec *w) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i halves = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    __m256i v = n_blocks == 2
                    ? _mm256_loadu_si256((const __m256i *)(const void *)codes)
                    : _mm256_zextsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)codes));
    __m256d pair = _mm256_broadcast_sd((const double *)(const void *)scales);
    __m256 scale = _mm256_permutevar_ps(_mm256_castpd_ps(pair), halves);
    mxfp4_half(_mm256_and_si256(v, nibble), scale, w);
    mxfp4_half(_mm256_and_si256(_mm256_srli_epi16(v, 4), nibble), scale, w + 4);
}

/* 16 elements of both blocks: a transpose of 4 x 4 in each half sorts them by k mod 4. */
static inline void pack_sixteen(const float *x, float *to, int64_t stride) {
    __m256 r[4];
    for (int i = 0; i < 4; i++)
        r[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(x + 4 * i)),
                                    _mm_loadu_ps(x + 32 + 4 * i), 1);
    __m256 a = _mm256_unpacklo_ps(r[0], r[1]), b = _mm256_unpackhi_ps(r[0], r[1]);
    __m256 c = _mm256_unpacklo_ps(r[2], r[3]), d = _mm256_unpackhi_ps(r[2], r[3]);
    _mm256_storeu_ps(to, _mm256_shuffle_ps(a, c, 0x44));
    _mm256_storeu_ps(to + 4 * stride, _mm256_shuffle_ps(a, c, 0xEE));
    _mm256_storeu_ps(to + stride, _mm256_shuffle_ps(b, d, 0x44));
    _mm256_storeu_ps(to + 5 * stride, _mm256_shuffle_ps(b, d, 0xEE));
}
static inline void mxfp4_pack(const float *x, float *to, int64_t stride) {
    pack_sixteen(x, to, stride);
    pack_sixteen(x + 16, to + 2 * stride, stride);
}

#include "ops/linear/linear_tiles.h"

void mica_linear_rows_avx2(const mica_linear_rows *job, void *scratch) {
    linear_rows(job, scratch);
}

void mica_linear_avx2(const void *args, const mica_cpu_worker *worker) {
    mica_linear_walk(args, worker, mica_linear_rows_avx2);
}
