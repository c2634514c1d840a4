/* Softmax in plain C: exponentials and their sum in f64. */
#include "ops/softmax/softmax.h"
#include <math.h>
#include "ops/common/element.h"

static void softmax_row(int dtype, const void *x, void *out, int64_t n) {
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) max = fmax(max, (double)mica_element_f32(dtype, x, i));
    if (max == -INFINITY) max = 0; /* every exponential is then 0, or NaN for a NaN */
    for (int64_t i = 0; i < n; i++) sum += exp((double)mica_element_f32(dtype, x, i) - max);
    double scale = sum == 0 ? 0 : 1 / sum;
    for (int64_t i = 0; i < n; i++)
        mica_element_put_f64(dtype, out, i,
                             exp((double)mica_element_f32(dtype, x, i) - max) * scale);
}

void mica_softmax_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_softmax_args *a = args;
    int64_t begin, end, bytes = a->n * (int64_t)mica_dtype_bytes((mica_dtype)a->dtype);
    mica_row_share(a, worker, &begin, &end);
    for (int64_t r = begin; r < end; r++)
        softmax_row(a->dtype, (const uint8_t *)mica_cpu_at(a->x) + r * bytes,
                    (uint8_t *)mica_cpu_at(a->out) + r * bytes, a->n);
}
