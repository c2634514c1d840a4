/* Rows of x as 16-bit integers in blocks of 32: what linear_int16_tiles.h multiplies. */
#pragma once
#include <immintrin.h>
#include "ops/linear/linear_fetch.h"
#include "ops/linear/linear_put.h"
#include "ops/linear/linear_rows.h"

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif
#define INLINE static inline __attribute__((always_inline))

/* The bytes of `a` followed by those of `b`, 16 each. */
INLINE __m256i load_pair(const uint8_t *a, const uint8_t *b) {
    __m128i low = _mm_loadu_si128((const __m128i *)(const void *)a);
    __m128i high = _mm_loadu_si128((const __m128i *)(const void *)b);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}
