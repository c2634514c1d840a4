/* linear in fast mode for mxfp4 weights with VNNI: four u8 times s8 products are added to 32 bits
 * by one instruction. The same integers, hence the same bits, as linear_int8_avx2.c; the rest is
 * in linear_int8_tiles.h. */
#include "ops/linear/linear.h"
#include "ops/linear/linear_int8_x86.h"

INLINE fvec dot_unit(ivec low, ivec high, const x_unit *x) {
    __m256i zero = _mm256_setzero_si256();
    __m256i sum = _mm256_dpbusd_epi32(zero, low, ivec_load(x->even));
    sum = _mm256_dpbusd_epi32(sum, high, ivec_load(x->odd));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(sum, ivec_load(x->correction)));
}

#include "ops/linear/linear_int8_tiles.h"

void mica_linear_rows_int8_avx512_vnni(const mica_linear_rows *job, void *scratch) {
    linear_rows(job, scratch);
}

void mica_linear_int8_avx512_vnni(const void *args, const mica_cpu_worker *worker) {
    mica_linear_walk(args, worker, mica_linear_rows_int8_avx512_vnni);
}
