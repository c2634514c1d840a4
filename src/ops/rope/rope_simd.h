/* Rotary embedding of f32 in vectors, pairs (i, i + n_pairs): included by rope_avx2.c and
 * rope_avx512.c after the vector header. */
#pragma once
#include <string.h>
#include "ops/common/lane_rows.h"
#include "ops/rope/rope.h"

static inline void rotate_head(int64_t n_pairs, const float *table, const float *x, float *out) {
    for (int64_t i = 0; i < n_pairs; i += MICA_LANES) {
        mica_lanes c = mica_lanes_read_up_to(MICA_DTYPE_F32, table, i, n_pairs, 0.0f);
        mica_lanes s = mica_lanes_read_up_to(MICA_DTYPE_F32, table + n_pairs, i, n_pairs, 0.0f);
        mica_lanes u = mica_lanes_read_up_to(MICA_DTYPE_F32, x, i, n_pairs, 0.0f);
        mica_lanes v = mica_lanes_read_up_to(MICA_DTYPE_F32, x + n_pairs, i, n_pairs, 0.0f);
        mica_lanes first = mica_lanes_sub(mica_lanes_mul(u, c), mica_lanes_mul(v, s));
        mica_lanes second = mica_lanes_add(mica_lanes_mul(v, c), mica_lanes_mul(u, s));
        mica_lanes_write_up_to(MICA_DTYPE_F32, out, i, n_pairs, first);
        mica_lanes_write_up_to(MICA_DTYPE_F32, out + n_pairs, i, n_pairs, second);
    }
}

static inline void rope_rows(const mica_rope_args *a, const mica_cpu_worker *worker) {
    int64_t begin, end, rotated = 2 * a->n_pairs;
    float *scratch = worker->scratch, *row = scratch + rotated;
    mica_cpu_share(worker, mica_cpu_live(a->live, a->n_tokens), 1, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        const float *table = mica_rope_table_of(a, t, scratch);
        for (int64_t h = 0; h < a->n_heads; h++) {
            const float *x = mica_cpu_at(a->x);
            float *out = (float *)mica_cpu_at(a->out) + (t * a->n_heads + h) * a->dim;
            x += t * a->x_strides[0] + h * a->x_strides[1];
            if (a->x_strides[2] != 1) {
                for (int64_t i = 0; i < a->dim; i++) row[i] = x[i * a->x_strides[2]];
                x = row;
            }
            rotate_head(a->n_pairs, table, x, out);
            if (out != x)
                memcpy(out + rotated, x + rotated, (size_t)(a->dim - rotated) * sizeof *x);
        }
    }
}
