/* Results of vector kernels: sums of four weight rows reduced side by side and stored together.
 * The bits are those of one sum_lanes and one mica_linear_put for each. */
#pragma once
#include <immintrin.h>
#include "ops/linear/linear_rows.h"

/* Lanes 0 and 2, 1 and 3, then both. */
static inline float linear_sum_four(__m128 v) {
    v = _mm_add_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)));
}

/* The same for four vectors at once. */
static inline __m128 linear_sum_each(__m128 a, __m128 b, __m128 c, __m128 d) {
    __m128 ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
    __m128 cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
    return _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
}

static inline __m128 linear_load_four(int kind, const void *base, int64_t i) {
    const uint8_t *p = (const uint8_t *)base + i * mica_kind_bytes(kind);
    if (kind == MICA_KIND_F32) return _mm_loadu_ps((const float *)(const void *)p);
    __m128i half = _mm_loadl_epi64((const __m128i *)(const void *)p);
    if (kind == MICA_KIND_F16) return _mm_cvtph_ps(half);
    return _mm_castsi128_ps(_mm_slli_epi32(_mm_cvtepu16_epi32(half), 16));
}

/* mica_linear_put for weight rows n to n + 3. */
static inline void linear_put_four(const mica_linear_rows *job, int64_t i, int64_t n, __m128 sums) {
    if (job->weight.x_kind != MICA_KIND_F32) {
        float each[4];
        _mm_storeu_ps(each, sums);
        for (int j = 0; j < 4; j++) mica_linear_put(job, i, n + j, each[j]);
        return;
    }
    int64_t row = job->out_by_row ? i : mica_linear_entry(job, i);
    int64_t at = row * job->n + n - job->out_begin;
    if (job->bias) sums = _mm_add_ps(sums, linear_load_four(job->weight.bias_kind, job->bias, n));
    if (job->residual) sums = _mm_add_ps(sums, linear_load_four(MICA_KIND_F32, job->residual, at));
    _mm_storeu_ps((float *)(void *)(job->out + 4 * at), sums);
}
