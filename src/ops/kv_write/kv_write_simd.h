/* Storing K and V in vectors: included by kv_write_avx2.c and kv_write_avx512.c after the vector
 * header. The bits are those of the reference: rounding is all there is to it. */
#pragma once
#include "ops/common/lane_rows.h"
#include "ops/kv_write/kv_write.h"

static inline void write_row(const mica_kv_write_args *a, const float *row, int64_t at) {
    for (int64_t i = 0; i < a->dim; i += MICA_LANES) {
        mica_lanes v = mica_lanes_read_up_to(MICA_DTYPE_F32, row, i, a->dim, 0.0f);
        if (a->dim - i >= MICA_LANES)
            mica_lanes_write(a->pool_dtype, mica_cpu_at(a->pool), at + i, v);
        else
            mica_lanes_write_part(a->pool_dtype, mica_cpu_at(a->pool), at + i, a->dim - i, v);
    }
}

static inline void write_tokens(const mica_kv_write_args *a, const mica_cpu_worker *worker) {
    int64_t begin, end, head = MICA_KV_PAGE * a->dim;
    mica_cpu_share(worker, mica_cpu_live(a->live, a->n_tokens), 1, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        int64_t slot = mica_kv_slot(a, t);
        for (int64_t h = 0; slot >= 0 && h < a->kv_heads; h++) {
            int64_t from = (t * a->kv_heads + h) * a->dim;
            write_row(a, (const float *)mica_cpu_at(a->k) + from, slot + h * head);
            write_row(a, (const float *)mica_cpu_at(a->v) + from, slot + (a->kv_heads + h) * head);
        }
    }
}
