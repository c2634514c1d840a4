/* Storing K and V, in plain C. */
#include "ops/kv_write/kv_write.h"
#include "ops/common/element.h"

static void write_head(const mica_kv_write_args *a, int64_t t, int64_t head, int64_t slot) {
    int64_t from = (t * a->kv_heads + head) * a->dim;
    const float *k = (const float *)mica_cpu_at(a->k) + from;
    const float *v = (const float *)mica_cpu_at(a->v) + from;
    int64_t k_at = slot + head * MICA_KV_PAGE * a->dim;
    int64_t v_at = k_at + a->kv_heads * MICA_KV_PAGE * a->dim;
    for (int64_t i = 0; i < a->dim; i++) {
        mica_element_put_f32(a->pool_dtype, mica_cpu_at(a->pool), k_at + i, k[i]);
        mica_element_put_f32(a->pool_dtype, mica_cpu_at(a->pool), v_at + i, v[i]);
    }
}

void mica_kv_write_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_kv_write_args *a = args;
    int64_t begin, end;
    mica_cpu_share(worker, mica_cpu_live(a->live, a->n_tokens), 1, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        int64_t slot = mica_kv_slot(a, t);
        for (int64_t h = 0; slot >= 0 && h < a->kv_heads; h++) write_head(a, t, h, slot);
    }
}
