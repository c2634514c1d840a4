/* Turning heads in vectors: included after the vector header. The arithmetic is that of rms_norm
 * and rope. */
#pragma once
#include "ops/attention_paged/paged_turn.h"
#include "ops/rms_norm/rms_norm_simd.h"
#include "ops/rope/rope_simd.h"

/* One head of token `token` in f32 [dim], in place. */
static inline void turn_head(const mica_paged_turn *turn, int64_t token, int64_t dim, float *row) {
    if (turn->norm) {
        mica_rms_norm_args norm = mica_paged_norm_args(turn, dim);
        norm_any_row(&norm, row, row);
    }
    if (turn->table) rotate_head(turn->n_pairs, mica_paged_table(turn, token), row, row);
}
