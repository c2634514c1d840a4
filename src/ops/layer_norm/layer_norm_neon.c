/* Layer norm for NEON: the body is in layer_norm_simd.h. */
#include "ops/layer_norm/layer_norm.h"
#include "kernel/math_neon.h"
#include "ops/layer_norm/layer_norm_simd.h"

void mica_layer_norm_neon(const void *args, const mica_cpu_worker *worker) {
    layer_norm_rows(args, worker);
}
