/* What is done to a head of q or k on its way from a projection to the scores: an RMS norm of its
 * own, where it has a weight, then the rotary embedding, where there is a table. Both paged ops may
 * do it themselves for the few rows of a decoding step: the bits are those of rms_norm and rope. */
#pragma once
#include <assert.h>
#include <string.h>
#include "core/op.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/rope/rope.h"

typedef struct mica_paged_turn {
    uint64_t table; /* f32 [n_tokens, 2 * n_pairs] of rope_table; 0 = no turning */
    uint64_t norm;  /* weight [dim]; 0 = no norm */
    int64_t n_pairs;
    int32_t norm_dtype;
    float eps;
    float offset; /* added to the weight */
    int32_t reserved;
} mica_paged_turn;
static_assert(sizeof(mica_paged_turn) == 40, "host and device kernels share this layout");

/* One head of token `token` in f32 [dim], in place. */
void mica_paged_turn_ref(const mica_paged_turn *turn, int64_t token, int64_t dim, float *row);

/* The rule for a table and a norm's weight (0 = none) of heads of dim for t tokens. */
mica_status mica_rule_paged_turn(const mica_graph *g, mica_ref table, mica_ref norm, int64_t t,
                                 int64_t dim, mica_error *err);
/* Fills a turn, which lies in the argument struct. */
void mica_launch_paged_turn(mica_launch *l, mica_paged_turn *turn, mica_ref table, mica_ref norm,
                            float eps, float offset);

static inline mica_rms_norm_args mica_paged_norm_args(const mica_paged_turn *turn, int64_t dim) {
    return (mica_rms_norm_args){.rows = {.n = dim, .dtype = MICA_DTYPE_F32},
                                .weight = turn->norm,
                                .weight_dtype = turn->norm_dtype,
                                .eps = turn->eps,
                                .offset = turn->offset};
}

static inline const float *mica_paged_table(const mica_paged_turn *turn, int64_t token) {
    return (const float *)mica_cpu_at(turn->table) + token * 2 * turn->n_pairs;
}

/* n floats that lie stride apart. */
static inline void mica_paged_copy_row(float *to, const float *from, int64_t stride, int64_t n) {
    if (stride == 1)
        memcpy(to, from, (size_t)n * sizeof *to);
    else
        for (int64_t i = 0; i < n; i++) to[i] = from[i * stride];
}
