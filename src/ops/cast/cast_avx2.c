/* cast with AVX2: the body is in cast_simd.h. */
#include "ops/cast/cast.h"
#include "kernel/math_avx2.h"
#include "ops/cast/cast_simd.h"

void mica_cast_avx2(const void *args, const mica_cpu_worker *worker) { cast_walk(args, worker); }
