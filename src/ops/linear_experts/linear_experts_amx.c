/* linear_experts with AMX: linear's kernel for each expert's rows. */
#include "ops/linear_experts/linear_experts.h"

void mica_linear_experts_amx(const void *args, const mica_cpu_worker *worker) {
    mica_linear_experts_walk(args, worker, mica_linear_rows_amx);
}
