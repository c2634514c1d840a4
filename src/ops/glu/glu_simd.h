/* Gated activations in vectors: included by glu_avx2.c and glu_avx512.c after the vector header.
 * Interleaved rows are taken apart through two small arrays on the stack. */
#pragma once
#include "mica/ops.h"
#include "ops/common/lane_rows.h"
#include "ops/glu/glu.h"

static inline mica_lanes gated(const mica_glu_args *a, mica_lanes gate, mica_lanes up) {
    mica_lanes one = mica_lanes_set(1.0f), limit = mica_lanes_set(a->limit);
    if (a->kind == MICA_GLU_SILU)
        return mica_lanes_mul(mica_lanes_mul(gate, mica_lanes_sigmoid(gate)), up);
    if (a->kind == MICA_GLU_GELU_TANH) {
        mica_lanes cube = mica_lanes_mul(mica_lanes_mul(gate, gate), gate);
        mica_lanes u = mica_lanes_fma(mica_lanes_set(MICA_GLU_GELU_CUBE), cube, gate);
        u = mica_lanes_sigmoid(mica_lanes_mul(mica_lanes_set(MICA_GLU_GELU_SCALE), u));
        return mica_lanes_mul(mica_lanes_mul(gate, u), up);
    }
    /* The clamped value second: NaN stays NaN. */
    gate = mica_lanes_min(limit, gate);
    up = mica_lanes_max(mica_lanes_set(-a->limit), mica_lanes_min(limit, up));
    mica_lanes s = mica_lanes_sigmoid(mica_lanes_mul(mica_lanes_set(a->alpha), gate));
    return mica_lanes_mul(mica_lanes_mul(gate, s), mica_lanes_add(up, one));
}

/* Gates and ups i .. i + lanes - 1 of an interleaved row of n pairs. */
static inline void split_pairs(int dtype, const void *x, int64_t i, int64_t n, mica_lanes *gate,
                               mica_lanes *up) {
    float pairs[2 * MICA_LANES], gates[MICA_LANES], ups[MICA_LANES];
    for (int64_t half = 0; half < 2; half++)
        mica_lanes_store(pairs + half * MICA_LANES,
                         mica_lanes_read_up_to(dtype, x, 2 * i + half * MICA_LANES, 2 * n, 0.0f));
    for (int64_t j = 0; j < MICA_LANES; j++) {
        gates[j] = pairs[2 * j];
        ups[j] = pairs[2 * j + 1];
    }
    *gate = mica_lanes_load(gates);
    *up = mica_lanes_load(ups);
}

static inline void glu_row(int dtype, const mica_glu_args *a, const void *x, const void *ups,
                           void *out) {
    int64_t n = mica_glu_width(a);
    for (int64_t i = 0; i < n; i += MICA_LANES) {
        mica_lanes gate, up;
        if (a->is_interleaved) {
            split_pairs(dtype, x, i, n, &gate, &up);
        } else {
            gate = mica_lanes_read_up_to(dtype, x, i, n, 0.0f);
            up = mica_lanes_read_up_to(dtype, ups, i, n, 0.0f);
        }
        mica_lanes_write_up_to(dtype, out, i, n, gated(a, gate, up));
    }
}

static inline void glu_rows(const mica_glu_args *a, const mica_cpu_worker *worker) {
    int dtype = a->rows.dtype;
    int64_t begin, end, item = (int64_t)mica_dtype_bytes((mica_dtype)dtype);
    int64_t bytes = mica_glu_width(a) * item;
    mica_row_share(&a->rows, worker, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        const uint8_t *x = (const uint8_t *)mica_cpu_at(a->rows.x) + r * a->rows.n * item;
        const uint8_t *ups = a->up ? (const uint8_t *)mica_cpu_at(a->up) + r * bytes : x + bytes;
        uint8_t *out = (uint8_t *)mica_cpu_at(a->rows.out) + r * bytes;
        if (dtype == MICA_DTYPE_F32)
            glu_row(MICA_DTYPE_F32, a, x, ups, out);
        else
            glu_row(dtype, a, x, ups, out);
    }
}
