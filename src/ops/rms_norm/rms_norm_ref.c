/* RMS norm in plain C, in f64. */
#include "ops/rms_norm/rms_norm.h"
#include <math.h>
#include "ops/common/element.h"

void mica_rms_norm_row_ref(const mica_rms_norm_args *a, const void *x, void *out) {
    int dtype = a->rows.dtype;
    double sum = 0;
    for (int64_t i = 0; i < a->rows.n; i++) {
        double v = (double)mica_element_f32(dtype, x, i);
        sum += v * v;
    }
    double scale = 1 / sqrt(sum / (double)a->rows.n + (double)a->eps);
    const void *weight = mica_cpu_at(a->weight);
    for (int64_t i = 0; i < a->rows.n; i++) {
        double w = weight ? (double)mica_element_f32(a->weight_dtype, weight, i) : 1.0;
        double v = (double)mica_element_f32(dtype, x, i);
        mica_element_put_f64(dtype, out, i, v * scale * (w + (double)a->offset));
    }
}

void mica_rms_norm_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_rms_norm_args *a = args;
    int64_t begin, end, bytes = a->rows.n * (int64_t)mica_dtype_bytes((mica_dtype)a->rows.dtype);
    mica_row_share(&a->rows, worker, &begin, &end);
    for (int64_t r = begin; r < end; r++)
        mica_rms_norm_row_ref(a, (const uint8_t *)mica_cpu_at(a->rows.x) + r * bytes,
                              (uint8_t *)mica_cpu_at(a->rows.out) + r * bytes);
}
