/* Rotary embedding for NEON: the body is in rope_simd.h. */
#include "ops/rope/rope.h"
#include "kernel/math_neon.h"
#include "ops/rope/rope_simd.h"

void mica_rope_neon(const void *args, const mica_cpu_worker *worker) { rope_rows(args, worker); }
