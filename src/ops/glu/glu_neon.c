/* Gated activations for NEON: the body is in glu_simd.h. */
#include "ops/glu/glu.h"
#include "kernel/math_neon.h"
#include "ops/glu/glu_simd.h"

void mica_glu_neon(const void *args, const mica_cpu_worker *worker) { glu_rows(args, worker); }
