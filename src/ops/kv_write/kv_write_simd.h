/* Storing K and V in vectors: included by kv_write_avx2.c and kv_write_avx512.c after the vector
 * header. The bits are those of the reference: rounding is all there is to it. */
#pragma once
#include "ops/common/lane_rows.h"
#include "ops/attention_paged/paged_turn_simd.h"
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

/* A head's row from where it lies: in place, or in `row`. */
static inline const float *take_row(const mica_kv_write_args *a, int64_t t, int64_t head, int which,
                                    float *row) {
    const int64_t *strides = which ? a->v_strides : a->k_strides;
    const float *from = mica_cpu_at(which ? a->v : a->k);
    from += t * strides[0] + head * strides[1];
    bool turns = !which && (a->k_turn.table || a->k_turn.norm);
    if (strides[2] == 1 && !turns) return from;
    mica_paged_copy_row(row, from, strides[2], a->dim);
    if (turns) turn_head(&a->k_turn, t, a->dim, row);
    return row;
}

static inline void write_tokens(const mica_kv_write_args *a, const mica_cpu_worker *worker) {
    int64_t begin, end, head = MICA_KV_PAGE * a->dim;
    mica_cpu_share(worker, mica_cpu_live(a->live, a->n_tokens), 1, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        int64_t slot = mica_kv_slot(a, t);
        for (int64_t h = 0; slot >= 0 && h < a->kv_heads; h++) {
            write_row(a, take_row(a, t, h, 0, worker->scratch), slot + h * head);
            write_row(a, take_row(a, t, h, 1, worker->scratch), slot + (a->kv_heads + h) * head);
        }
    }
}
