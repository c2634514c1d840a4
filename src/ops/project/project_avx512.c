/* project with AVX-512, of the AVX-512 functions of its parts; unary and binary have none beyond
 * AVX2. */
#include "ops/project/project.h"

void mica_project_avx512(const void *args, const mica_cpu_worker *worker) {
    static const mica_project_level level = {
        .rows = {[MICA_PROJECT_PLAIN] = mica_linear_rows_avx512,
                 [MICA_PROJECT_BF16] = mica_linear_rows_avx512,
                 [MICA_PROJECT_MXFP4] = mica_linear_rows_int8_avx2,
                 [MICA_PROJECT_AFFINE] = mica_linear_rows_int16_avx2},
        .norm = mica_rms_norm_row_avx512,
        .gate = mica_project_gate_avx2,
    };
    mica_project_walk(args, worker, &level);
}

void mica_project_avx512_vnni(const void *args, const mica_cpu_worker *worker) {
    static const mica_project_level level = {
        .rows = {[MICA_PROJECT_PLAIN] = mica_linear_rows_avx512,
                 [MICA_PROJECT_BF16] = mica_linear_rows_avx512,
                 [MICA_PROJECT_MXFP4] = mica_linear_rows_int8_avx512_vnni,
                 [MICA_PROJECT_AFFINE] = mica_linear_rows_int16_avx512_vnni},
        .norm = mica_rms_norm_row_avx512,
        .gate = mica_project_gate_avx2,
    };
    mica_project_walk(args, worker, &level);
}

/* Processors with AMX have VNNI too. */
void mica_project_amx(const void *args, const mica_cpu_worker *worker) {
    static const mica_project_level level = {
        .rows = {[MICA_PROJECT_PLAIN] = mica_linear_rows_avx512,
                 [MICA_PROJECT_BF16] = mica_linear_rows_amx,
                 [MICA_PROJECT_MXFP4] = mica_linear_rows_amx,
                 [MICA_PROJECT_AFFINE] = mica_linear_rows_int16_avx512_vnni},
        .norm = mica_rms_norm_row_avx512,
        .gate = mica_project_gate_avx2,
    };
    mica_project_walk(args, worker, &level);
}
