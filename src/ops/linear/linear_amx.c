/* linear with AMX: the body is in linear_amx_tiles.h, here are the tile instructions and the mxfp4
 * decoder. The permission to use tiles is asked for where features are detected. */
#include "ops/linear/linear.h"
#include <immintrin.h>

/* The intrinsics do not tell the compiler that they read memory. */
#define ORDERED(statement)                                                                         \
    do {                                                                                           \
        __asm__ volatile("" ::: "memory");                                                         \
        statement;                                                                                 \
    } while (0)
#define TILE_CONFIGURE(config) __asm__ volatile("ldtilecfg %0" ::"m"(*(config)))
#define TILE_RELEASE() _tile_release()
#define TILE_ZERO(t) _tile_zero(t)
#define TILE_LOAD(t, from, stride) ORDERED(_tile_loadd(t, from, stride))
#define TILE_STORE(t, to, stride) ORDERED(_tile_stored(t, to, stride))
#define TILE_DOT(sum, weights, x) _tile_dpbf16ps(sum, weights, x)

/* Elements 2i and 2i + 1 are the low and the high nibble of byte i. */
static inline void decode_block(const uint8_t *codes, uint8_t scale, uint16_t *to) {
    const __m512 values = _mm512_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f, -0.0f,
                                         -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f);
    const __m128i nibble = _mm_set1_epi8(15);
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)codes);
    __m128i low = _mm_and_si128(bytes, nibble);
    __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), nibble);
    __m128i order[2] = {_mm_unpacklo_epi8(low, high), _mm_unpackhi_epi8(low, high)};
    __m512 factor = _mm512_set1_ps(mica_f32_from_e8m0(scale));
    for (int i = 0; i < 2; i++) {
        __m512 v = _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(order[i]), values);
        __m512i bits = _mm512_castps_si512(_mm512_mul_ps(v, factor));
        __m256i halves = _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16));
        _mm256_storeu_si256((__m256i *)(void *)(to + 16 * i), halves);
    }
}

#include "ops/linear/linear_amx_tiles.h"

void mica_linear_rows_amx(const mica_linear_rows *job, void *scratch) { linear_rows(job, scratch); }

void mica_linear_amx(const void *args, const mica_cpu_worker *worker) {
    mica_linear_walk(args, worker, mica_linear_rows_amx);
}
