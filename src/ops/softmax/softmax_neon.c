/* Softmax for NEON: the body is in softmax_simd.h. */
#include "ops/softmax/softmax.h"
#include "kernel/math_neon.h"
#include "ops/softmax/softmax_simd.h"

void mica_softmax_neon(const void *args, const mica_cpu_worker *worker) {
    softmax_rows(args, worker);
}
