/* The kernels of other ops that the fused ops over experts are made of, one set for each
 * instruction set: a fused step calls just those functions that the steps apart would run, so its
 * bits are theirs. */
#pragma once
#include "core/cpu.h"
#include "ops/linear/linear_rows.h"

typedef struct mica_expert_level {
    mica_linear_rows_function rows; /* linear_experts */
    mica_cpu_function glu;          /* all kinds but MICA_GLU_GELU, which has the reference alone */
    mica_cpu_function combine;
    mica_cpu_function softmax;
    mica_cpu_function rms_norm;
} mica_expert_level;

#define EXPERT_LEVEL(name, rows_, around, needs, accepts)                                          \
    extern const mica_expert_level mica_expert_level_##name;
#include "ops/linear_experts/expert_levels.def"
#undef EXPERT_LEVEL

/* Runs a whole kernel as a team of one. Its scratch must not be that of its caller. */
static inline void mica_expert_run(mica_cpu_function kernel, const void *args, void *scratch) {
    _Atomic int64_t next = 0;
    mica_cpu_worker worker = {.count = 1, .scratch = scratch, .next = &next};
    kernel(args, &worker);
}
