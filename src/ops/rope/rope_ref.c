/* Rotary embedding in plain C: any float dtype, both ways of pairing. */
#include <string.h>
#include "ops/rope/rope.h"
#include "ops/common/element.h"

void mica_rope_head_ref(const mica_rope_args *a, const float *table, const void *x, void *out) {
    int64_t item = (int64_t)mica_dtype_bytes((mica_dtype)a->dtype), rotated = 2 * a->n_pairs * item;
    for (int64_t i = 0; i < a->n_pairs; i++) {
        int64_t first = a->is_interleaved ? 2 * i : i;
        int64_t second = a->is_interleaved ? 2 * i + 1 : i + a->n_pairs;
        double c = (double)table[i], s = (double)table[a->n_pairs + i];
        double u = (double)mica_element_f32(a->dtype, x, first);
        double v = (double)mica_element_f32(a->dtype, x, second);
        mica_element_put_f64(a->dtype, out, first, u * c - v * s);
        mica_element_put_f64(a->dtype, out, second, v * c + u * s);
    }
    if (out != x)
        memcpy((uint8_t *)out + rotated, (const uint8_t *)x + rotated,
               (size_t)(a->dim * item - rotated));
}

/* A head of x whose elements may lie apart. */
static const void *take_head(const mica_rope_args *a, int64_t t, int64_t h, void *scratch) {
    int64_t item = (int64_t)mica_dtype_bytes((mica_dtype)a->dtype), stride = a->x_strides[2];
    const uint8_t *x = mica_cpu_at(a->x);
    x += (t * a->x_strides[0] + h * a->x_strides[1]) * item;
    if (stride == 1) return x;
    for (int64_t i = 0; i < a->dim; i++)
        memcpy((uint8_t *)scratch + i * item, x + i * stride * item, (size_t)item);
    return scratch;
}

void mica_rope_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_rope_args *a = args;
    int64_t begin, end, head = a->dim * (int64_t)mica_dtype_bytes((mica_dtype)a->dtype);
    float *scratch = worker->scratch;
    mica_cpu_share(worker, mica_cpu_live(a->live, a->n_tokens), 1, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        const float *table = mica_rope_table_of(a, t, scratch);
        for (int64_t h = 0; h < a->n_heads; h++)
            mica_rope_head_ref(a, table, take_head(a, t, h, scratch + 2 * a->n_pairs),
                               (uint8_t *)mica_cpu_at(a->out) + (t * a->n_heads + h) * head);
    }
}
