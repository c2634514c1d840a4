/* project in plain C, of the reference functions of its parts. */
#include "mica/ops.h"
#include "ops/binary/binary.h"
#include "ops/common/element.h"
#include "ops/project/project.h"
#include "ops/unary/unary.h"

void mica_project_gate_ref(int activation, int dtype, const void *gate, const void *up, void *out,
                           int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint8_t rounded[sizeof(float)];
        float v = mica_unary_apply(activation, mica_element_f32(dtype, gate, i));
        mica_element_cast(dtype, rounded, 0, MICA_DTYPE_F32, &v, 0);
        v = mica_binary_apply(MICA_BINARY_MUL, mica_element_f32(dtype, rounded, 0),
                              mica_element_f32(dtype, up, i));
        mica_element_put_f32(dtype, out, i, v);
    }
}

void mica_project_ref(const void *args, const mica_cpu_worker *worker) {
    static const mica_project_level level = {
        .rows = {[MICA_PROJECT_PLAIN] = mica_linear_rows_ref,
                 [MICA_PROJECT_BF16] = mica_linear_rows_ref,
                 [MICA_PROJECT_MXFP4] = mica_linear_rows_ref,
                 [MICA_PROJECT_AFFINE] = mica_linear_rows_ref},
        .norm = mica_rms_norm_row_ref,
        .gate = mica_project_gate_ref,
    };
    mica_project_walk(args, worker, &level);
}
