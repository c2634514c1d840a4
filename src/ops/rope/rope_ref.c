/* Rotary embedding in plain C: any float dtype, both ways of pairing. */
#include <string.h>
#include "ops/rope/rope.h"
#include "ops/common/element.h"

static void rotate_head(const mica_rope_args *a, const float *table, const void *x, void *out) {
    for (int64_t i = 0; i < a->n_pairs; i++) {
        int64_t first = a->is_interleaved ? 2 * i : i;
        int64_t second = a->is_interleaved ? 2 * i + 1 : i + a->n_pairs;
        double c = (double)table[i], s = (double)table[a->n_pairs + i];
        double u = (double)mica_element_f32(a->dtype, x, first);
        double v = (double)mica_element_f32(a->dtype, x, second);
        mica_element_put_f64(a->dtype, out, first, u * c - v * s);
        mica_element_put_f64(a->dtype, out, second, v * c + u * s);
    }
}

void mica_rope_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_rope_args *a = args;
    int64_t begin, end, item = (int64_t)mica_dtype_bytes((mica_dtype)a->dtype);
    int64_t head = a->dim * item, rotated = 2 * a->n_pairs * item;
    mica_cpu_share(worker, mica_cpu_live(a->live, a->n_tokens), 1, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        mica_rope_table(a, t, worker->scratch);
        for (int64_t h = 0; h < a->n_heads; h++) {
            const uint8_t *x = (const uint8_t *)mica_cpu_at(a->x) + (t * a->n_heads + h) * head;
            uint8_t *out = (uint8_t *)mica_cpu_at(a->out) + (t * a->n_heads + h) * head;
            rotate_head(a, worker->scratch, x, out);
            if (out != x) memcpy(out + rotated, x + rotated, (size_t)(head - rotated));
        }
    }
}
