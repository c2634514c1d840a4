/* matmul with AVX-512; the tiles are in matmul_tiles.h. */
#include "ops/matmul/matmul.h"
#include <immintrin.h>

#define LANES 16
typedef __m512 vec;
static inline vec vec_zero(void) { return _mm512_setzero_ps(); }
static inline vec vec_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void vec_store(float *p, vec v) { _mm512_storeu_ps(p, v); }
static inline vec vec_set(float f) { return _mm512_set1_ps(f); }
static inline vec vec_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }

#include "ops/matmul/matmul_tiles.h"

void mica_matmul_avx512(const void *args, const mica_cpu_worker *worker) {
    matmul_walk(args, worker);
}
