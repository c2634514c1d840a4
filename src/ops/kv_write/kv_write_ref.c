/* Storing K and V, in plain C. */
#include "ops/kv_write/kv_write.h"
#include "ops/common/element.h"

static void write_row(const mica_kv_write_args *a, const float *from, int64_t stride, int64_t at) {
    for (int64_t i = 0; i < a->dim; i++)
        mica_element_put_f32(a->pool_dtype, mica_cpu_at(a->pool), at + i, from[i * stride]);
}

static void write_head(const mica_kv_write_args *a, int64_t t, int64_t head, int64_t slot,
                       float *row) {
    const float *k = mica_cpu_at(a->k), *v = mica_cpu_at(a->v);
    int64_t at = slot + head * MICA_KV_PAGE * a->dim;
    k += t * a->k_strides[0] + head * a->k_strides[1];
    mica_paged_copy_row(row, k, a->k_strides[2], a->dim);
    mica_paged_turn_ref(&a->k_turn, t, a->dim, row);
    write_row(a, row, 1, at);
    write_row(a, v + t * a->v_strides[0] + head * a->v_strides[1], a->v_strides[2],
              at + a->kv_heads * MICA_KV_PAGE * a->dim);
}

void mica_kv_write_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_kv_write_args *a = args;
    int64_t begin, end;
    mica_cpu_share(worker, mica_cpu_live(a->live, a->n_tokens), 1, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        int64_t slot = mica_kv_slot(a, t);
        for (int64_t h = 0; slot >= 0 && h < a->kv_heads; h++)
            write_head(a, t, h, slot, worker->scratch);
    }
}
