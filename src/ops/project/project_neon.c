/* project with NEON: the gate is in project_simd.h, the rest is the NEON code of its parts. */
#include "ops/project/project.h"
#include "kernel/math_neon.h"

#define UNARY_BLOCK mica_unary_block_neon
#define BINARY_BLOCK mica_binary_block_neon
#include "ops/project/project_simd.h"

void mica_project_gate_neon(int activation, int dtype, const void *gate, const void *up, void *out,
                            int64_t n) {
    gate_rows(activation, dtype, gate, up, out, n);
}

void mica_project_neon(const void *args, const mica_cpu_worker *worker) {
    static const mica_project_level level = {
        .rows = {[MICA_PROJECT_PLAIN] = mica_linear_rows_neon,
                 [MICA_PROJECT_BF16] = mica_linear_rows_neon,
                 [MICA_PROJECT_MXFP4] = mica_linear_rows_neon,
                 [MICA_PROJECT_AFFINE] = mica_linear_rows_neon},
        .norm = mica_rms_norm_row_neon,
        .gate = mica_project_gate_neon,
    };
    mica_project_walk(args, worker, &level);
}

void mica_project_neon_dot(const void *args, const mica_cpu_worker *worker) {
    static const mica_project_level level = {
        .rows = {[MICA_PROJECT_PLAIN] = mica_linear_rows_neon,
                 [MICA_PROJECT_BF16] = mica_linear_rows_neon,
                 [MICA_PROJECT_MXFP4] = mica_linear_rows_int8_neon_dot,
                 [MICA_PROJECT_AFFINE] = mica_linear_rows_neon},
        .norm = mica_rms_norm_row_neon,
        .gate = mica_project_gate_neon,
    };
    mica_project_walk(args, worker, &level);
}
