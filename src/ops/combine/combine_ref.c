/* combine in plain C. */
#include "ops/combine/combine.h"
#include "ops/common/element.h"
#include "ops/common/strided.h"

void mica_combine_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_combine_args *a = args;
    const void *x = mica_cpu_at(a->x), *weights = mica_cpu_at(a->weights.address);
    int64_t begin, end;
    mica_cpu_share(worker, mica_cpu_live(a->live, a->rows) * a->n, 256, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t t = i / a->n, column = i % a->n;
        float sum = 0;
        for (int64_t s = 0; s < a->slots; s++) {
            int64_t at = t * a->weights.strides[0] + s * a->weights.strides[1];
            sum += mica_element_f32(a->weights.dtype, weights, at) *
                   mica_element_f32(a->dtype, x, (t * a->slots + s) * a->n + column);
        }
        void *out = mica_cpu_at(a->out);
        if (a->residual) {
            float residual = mica_element_f32(a->dtype, mica_cpu_at(a->residual), i), rounded;
            mica_element_put_f32(a->dtype, &rounded, 0, sum);
            sum = residual + mica_element_f32(a->dtype, &rounded, 0);
        }
        mica_element_put_f32(a->dtype, out, i, sum);
    }
}
