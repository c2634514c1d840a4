/* linear in fast mode for mxfp4 weights with AVX2: u8 times s8 products are added in pairs to 16
 * bits (at most 4 * 24 * 127 = 12192), then to 32. The rest is in linear_int8_tiles.h. */
#include "ops/linear/linear.h"
#include "ops/linear/linear_int8_x86.h"

INLINE fvec dot_unit(ivec low, ivec high, const x_unit *x) {
    __m256i sum = _mm256_add_epi16(_mm256_maddubs_epi16(low, ivec_load(x->even)),
                                   _mm256_maddubs_epi16(high, ivec_load(x->odd)));
    sum = _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, ivec_load(x->correction)));
}

#include "ops/linear/linear_int8_tiles.h"

void mica_linear_rows_int8_avx2(const mica_linear_rows *job, void *scratch) {
    linear_rows(job, scratch);
}

void mica_linear_int8_avx2(const void *args, const mica_cpu_worker *worker) {
    mica_linear_walk(args, worker, mica_linear_rows_int8_avx2);
}
