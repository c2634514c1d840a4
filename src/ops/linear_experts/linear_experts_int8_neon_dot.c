/* linear_experts in fast mode with the dot product of NEON: linear's int8 kernel for each expert's
 * rows. */
#include "ops/linear_experts/linear_experts.h"

void mica_linear_experts_int8_neon_dot(const void *args, const mica_cpu_worker *worker) {
    mica_linear_experts_walk(args, worker, mica_linear_rows_int8_neon_dot);
}
