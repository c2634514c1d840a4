/* combine with AVX2: the body is in combine_simd.h. */
#include "ops/combine/combine.h"
#include "kernel/math_avx2.h"
#include "ops/combine/combine_simd.h"

void mica_combine_avx2(const void *args, const mica_cpu_worker *worker) {
    combine_walk(args, worker);
}
