/* combine with NEON: the body is in combine_simd.h. */
#include "ops/combine/combine.h"
#include "kernel/math_neon.h"
#include "ops/combine/combine_simd.h"

void mica_combine_neon(const void *args, const mica_cpu_worker *worker) {
    combine_walk(args, worker);
}
