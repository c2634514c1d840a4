/* project with AVX2: the gate is in project_simd.h, the rest is the AVX2 code of its parts. */
#include "ops/project/project.h"
#include "kernel/math_avx2.h"

#define UNARY_BLOCK mica_unary_block_avx2
#define BINARY_BLOCK mica_binary_block_avx2
#include "ops/project/project_simd.h"

void mica_project_gate_avx2(int activation, int dtype, const void *gate, const void *up, void *out,
                            int64_t n) {
    gate_rows(activation, dtype, gate, up, out, n);
}

void mica_project_avx2(const void *args, const mica_cpu_worker *worker) {
    static const mica_project_level level = {
        .rows = {[MICA_PROJECT_PLAIN] = mica_linear_rows_avx2,
                 [MICA_PROJECT_BF16] = mica_linear_rows_avx2,
                 [MICA_PROJECT_MXFP4] = mica_linear_rows_int8_avx2,
                 [MICA_PROJECT_AFFINE] = mica_linear_rows_int16_avx2},
        .norm = mica_rms_norm_row_avx2,
        .gate = mica_project_gate_avx2,
    };
    mica_project_walk(args, worker, &level);
}
