/* Softmax for AVX2: the body is in softmax_simd.h. */
#include "ops/softmax/softmax.h"
#include "kernel/math_avx2.h"
#include "ops/softmax/softmax_simd.h"

void mica_softmax_avx2(const void *args, const mica_cpu_worker *worker) {
    softmax_rows(args, worker);
}
