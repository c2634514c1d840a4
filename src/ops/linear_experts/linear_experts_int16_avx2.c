/* linear_experts in fast mode with AVX2: linear's int16 kernel for each expert's rows. */
#include "ops/linear_experts/linear_experts.h"

void mica_linear_experts_int16_avx2(const void *args, const mica_cpu_worker *worker) {
    mica_linear_experts_walk(args, worker, mica_linear_rows_int16_avx2);
}
