/* cast with NEON: the body is in cast_simd.h. */
#include "ops/cast/cast.h"
#include "kernel/math_neon.h"
#include "ops/cast/cast_simd.h"

void mica_cast_neon(const void *args, const mica_cpu_worker *worker) { cast_walk(args, worker); }
