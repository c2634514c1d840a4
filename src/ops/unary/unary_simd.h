/* unary on f16, bf16 and f32 in vectors: included by unary_avx2.c and unary_neon.c after the vector
 * header. LOG, SIN, COS and GELU call libm as the reference does; the rest is vector code, within
 * the bounds of kernel/math.h of the reference. */
#pragma once
#include "mica/ops.h"
#include "ops/common/block_simd.h"
#include "ops/common/strided.h"
#include "ops/unary/unary.h"

/* Full vectors of the block, then the rest through a padded one, so that an element's value does
 * not depend on its place. */
#define EACH(expression)                                                                           \
    do {                                                                                           \
        int64_t i = 0;                                                                             \
        for (; i + MICA_LANES <= count; i += MICA_LANES) {                                         \
            mica_lanes x = mica_lanes_load(in + i);                                                \
            mica_lanes_store(out + i, (expression));                                               \
        }                                                                                          \
        if (i < count) {                                                                           \
            float rest[MICA_LANES] = {0};                                                          \
            memcpy(rest, in + i, (size_t)(count - i) * sizeof *rest);                              \
            mica_lanes x = mica_lanes_load(rest);                                                  \
            mica_lanes_store(rest, (expression));                                                  \
            memcpy(out + i, rest, (size_t)(count - i) * sizeof *rest);                             \
        }                                                                                          \
    } while (0)

static inline mica_lanes gelu_tanh(mica_lanes x) {
    /* 2 sqrt(2 / pi) (x + 0.044715 x^3), in the reference's order */
    mica_lanes cube =
        mica_lanes_mul(mica_lanes_mul(mica_lanes_mul(mica_lanes_set(0.044715f), x), x), x);
    mica_lanes u = mica_lanes_mul(mica_lanes_set(1.5957691216057308f), mica_lanes_add(x, cube));
    return mica_lanes_mul(x, mica_lanes_sigmoid(u));
}

static inline void unary_block(int kind, const float *in, float *out, int64_t count) {
    mica_lanes one = mica_lanes_set(1.0f), zero = mica_lanes_set(0.0f),
               sign = mica_lanes_set(-0.0f);
    switch ((mica_unary_kind)kind) {
    case MICA_UNARY_NEGATE:
        EACH(mica_lanes_xor(sign, x));
        break;
    case MICA_UNARY_ABS:
        EACH(mica_lanes_andnot(sign, x));
        break;
    case MICA_UNARY_SQUARE:
        EACH(mica_lanes_mul(x, x));
        break;
    case MICA_UNARY_SQRT:
        EACH(mica_lanes_sqrt(x));
        break;
    case MICA_UNARY_RSQRT:
        EACH(mica_lanes_div(one, mica_lanes_sqrt(x)));
        break;
    case MICA_UNARY_EXP:
        EACH(mica_lanes_exp(x));
        break;
    case MICA_UNARY_TANH:
        EACH(mica_lanes_tanh(x));
        break;
    case MICA_UNARY_SIGMOID:
        EACH(mica_lanes_sigmoid(x));
        break;
    case MICA_UNARY_SILU:
        EACH(mica_lanes_mul(x, mica_lanes_sigmoid(x)));
        break;
    case MICA_UNARY_GELU_TANH:
        EACH(gelu_tanh(x));
        break;
    case MICA_UNARY_RELU:
        EACH(mica_lanes_max(zero, x));
        break; /* NaN and -0 stay */
    case MICA_UNARY_RECIPROCAL:
        EACH(mica_lanes_div(one, x));
        break;
    case MICA_UNARY_FLOOR:
        EACH(mica_lanes_floor(x));
        break;
    case MICA_UNARY_CEIL:
        EACH(mica_lanes_ceil(x));
        break;
    case MICA_UNARY_ROUND:
        EACH(mica_lanes_round(x));
        break;
    default:
        for (int64_t i = 0; i < count; i++) out[i] = mica_unary_apply(kind, in[i]);
    }
}

static inline void unary_walk(const mica_unary_args *a, const mica_cpu_worker *worker) {
    const mica_elementwise_args *e = &a->e;
    float loaded[MICA_BLOCK], result[MICA_BLOCK];
    mica_walk w;
    mica_walk_share(&w, e, worker);
    for (; w.count; mica_walk_next(&w)) {
        int64_t stride = mica_walk_stride(&w, 0);
        for (int64_t i = 0; i < w.count; i += MICA_BLOCK) {
            int64_t count = w.count - i < MICA_BLOCK ? w.count - i : MICA_BLOCK;
            const float *in = mica_block_load(loaded, e->dtype_in[0], e->in[0],
                                              w.offset[0] + i * stride, stride, count);
            float *out = mica_block_target(result, e->dtype_out, e->out, w.at + i);
            unary_block(a->kind, in, out, count);
            mica_block_store(out, e->dtype_out, e->out, w.at + i, count);
        }
    }
}
