/* Layer norm in plain C, in f64. */
#include "ops/layer_norm/layer_norm.h"
#include <math.h>
#include "ops/common/element.h"

static void norm_row(const mica_layer_norm_args *a, const void *x, void *out) {
    int dtype = a->rows.dtype;
    int64_t n = a->rows.n;
    const void *weight = mica_cpu_at(a->weight), *bias = mica_cpu_at(a->bias);
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < n; i++) mean += (double)mica_element_f32(dtype, x, i);
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++) {
        double v = (double)mica_element_f32(dtype, x, i) - mean;
        variance += v * v;
    }
    double scale = 1 / sqrt(variance / (double)n + (double)a->eps);
    for (int64_t i = 0; i < n; i++) {
        double w = weight ? (double)mica_element_f32(a->weight_dtype, weight, i) : 1.0;
        double b = bias ? (double)mica_element_f32(a->bias_dtype, bias, i) : 0.0;
        double v = ((double)mica_element_f32(dtype, x, i) - mean) * scale;
        mica_element_put_f64(dtype, out, i, v * w + b);
    }
}

void mica_layer_norm_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_layer_norm_args *a = args;
    int64_t begin, end, bytes = a->rows.n * (int64_t)mica_dtype_bytes((mica_dtype)a->rows.dtype);
    mica_row_share(&a->rows, worker, &begin, &end);
    for (int64_t r = begin; r < end; r++)
        norm_row(a, (const uint8_t *)mica_cpu_at(a->rows.x) + r * bytes,
                 (uint8_t *)mica_cpu_at(a->rows.out) + r * bytes);
}
