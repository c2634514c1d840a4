/* linear with AVX-512: vectors of 16 along K. The tiles are in linear_tiles.h; here are the loads
 * and the mxfp4 decoder. */
#include "ops/linear/linear.h"
#include <immintrin.h>

#define LANES 16
#define TILE_M 6 /* 6 x 4 sums, 4 weights and 1 x of 32 registers */
#define TILE_N 4
#define UNIT 32
#define UNIT_VECS 2

#include "ops/linear/linear_packed.h"

typedef __m512 vec;
static inline vec vec_zero(void) { return _mm512_setzero_ps(); }
static inline vec vec_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void vec_store(float *p, vec v) { _mm512_storeu_ps(p, v); }
static inline vec vec_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline float vec_sum(vec v) {
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline __attribute__((always_inline)) vec dense_load(int kind, const uint8_t *p) {
    if (kind == MICA_KIND_F32) return _mm512_loadu_ps(p);
    __m256i half = _mm256_loadu_si256((const __m256i *)(const void *)p);
    if (kind == MICA_KIND_F16) return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

static inline vec vec_set(float f) { return _mm512_set1_ps(f); }
static inline vec vec_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
static inline vec vec_add(vec a, vec b) { return _mm512_add_ps(a, b); }

static inline vec u8_load(const uint8_t *p) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
}

/* Nibble i in the low bits of lane i; above it stand the later ones of its word. */
static inline __m512i spread_nibbles(const uint8_t *p) {
    const __m512i word = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    const __m512i shifts =
        _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    __m128i words = _mm_loadl_epi64((const __m128i *)(const void *)p);
    return _mm512_srlv_epi32(_mm512_permutexvar_epi32(word, _mm512_castsi128_si512(words)), shifts);
}

static inline vec u4_load(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_and_si512(spread_nibbles(p), _mm512_set1_epi32(15)));
}

/* 16 codes of 2, 3, 5 or 6 bits, as in linear_avx2.c: 8 in each half. */
static inline __attribute__((always_inline)) vec packed_load(int bits, const uint8_t *p) {
    const __m256i place = LINEAR_EACH_OF_8(_mm256_setr_epi32, LINEAR_TWO_BYTES, bits);
    const __m256i shifts = LINEAR_EACH_OF_8(_mm256_setr_epi32, LINEAR_SHIFT, bits);
    uint64_t words[2] = {0};
    memcpy(&words[0], p, (size_t)bits);
    memcpy(&words[1], p + bits, (size_t)bits);
    __m512i codes =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set1_epi64x((int64_t)words[0])),
                           _mm256_set1_epi64x((int64_t)words[1]), 1);
    codes = _mm512_shuffle_epi8(codes, _mm512_broadcast_i64x4(place));
    codes = _mm512_srlv_epi32(codes, _mm512_broadcast_i64x4(shifts));
    return _mm512_cvtepi32_ps(_mm512_and_si512(codes, _mm512_set1_epi32((1 << bits) - 1)));
}

static inline vec e2m1_load(const uint8_t *p) {
    const __m512 values = _mm512_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f, -0.0f,
                                         -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f);
    return _mm512_permutexvar_ps(spread_nibbles(p), values);
}

/* Exponent and mantissa at the place of f16's give a 256th of the value, subnormals included. */
static inline vec e4m3_load(const uint8_t *p) {
    const __m256i nan = _mm256_set1_epi16(0x3F80);
    __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
    __m256i half = _mm256_and_si256(_mm256_slli_epi16(wide, 7), _mm256_set1_epi16((int16_t)0xBFFF));
    __m256i is_nan = _mm256_cmpeq_epi16(_mm256_and_si256(half, _mm256_set1_epi16(0x7FFF)), nan);
    half = _mm256_or_si256(half, _mm256_and_si256(is_nan, _mm256_set1_epi16(0x7E00)));
    return _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256.0f));
}

/* E8M0: 0 is a subnormal and 255 is NaN, the rest are plain exponents. */
static inline vec scale_load(const uint8_t *p) {
    __m512i s = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    __mmask16 is_edge = _mm512_cmpeq_epi32_mask(s, _mm512_setzero_si512()) |
                        _mm512_cmpeq_epi32_mask(s, _mm512_set1_epi32(255));
    __m512i bits = _mm512_slli_epi32(s, 23);
    return _mm512_castsi512_ps(
        _mm512_mask_or_epi32(bits, is_edge, bits, _mm512_set1_epi32(0x00400000)));
}

/* One block: its four words stand in every quarter of the vector, and quarter q of vector v holds
 * nibble q + 4 v of each. The scaled values are a table of 16, looked up by the low four bits. */
static inline __attribute__((always_inline)) void mxfp4_unit(const uint8_t *codes, int n_blocks,
                                                             const float *scales, vec *w) {
    (void)n_blocks;
    const __m512 values = _mm512_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f, -0.0f,
                                         -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f);
    const __m512i shifts = _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
    __m512i words = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)codes));
    __m512 table = _mm512_mul_ps(values, _mm512_set1_ps(scales[0]));
    __m512i low = _mm512_srlv_epi32(words, shifts);
    w[0] = _mm512_permutexvar_ps(low, table);
    w[1] = _mm512_permutexvar_ps(_mm512_srli_epi32(low, 16), table);
}

/* Lane l of vector v is element 8 (l mod 4) + l / 4 + 4 v. */
static inline void mxfp4_pack(const float *x, float *to, int64_t stride) {
    const __m512i order =
        _mm512_setr_epi32(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);
    __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
    _mm512_storeu_ps(to, _mm512_permutex2var_ps(a, order, b));
    __m512i second = _mm512_add_epi32(order, _mm512_set1_epi32(4));
    _mm512_storeu_ps(to + stride, _mm512_permutex2var_ps(a, second, b));
}

#include "ops/linear/linear_tiles.h"

void mica_linear_rows_avx512(const mica_linear_rows *job, void *scratch) {
    linear_rows(job, scratch);
}

void mica_linear_avx512(const void *args, const mica_cpu_worker *worker) {
    mica_linear_walk(args, worker, mica_linear_rows_avx512);
}
