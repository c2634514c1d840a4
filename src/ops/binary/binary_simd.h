/* binary on f16, bf16 and f32 in vectors; the same bits as the reference. Included by binary_avx2.c
 * and binary_neon.c after the vector header. */
#pragma once
#include "mica/ops.h"
#include "ops/binary/binary.h"
#include "ops/common/block_simd.h"
#include "ops/common/strided.h"

#define EACH(expression)                                                                           \
    do {                                                                                           \
        int64_t i = 0;                                                                             \
        for (; i + MICA_LANES <= count; i += MICA_LANES) {                                         \
            mica_lanes x = mica_lanes_load(a + i), y = mica_lanes_load(b + i);                     \
            mica_lanes_store(out + i, (expression));                                               \
        }                                                                                          \
        for (; i < count; i++) out[i] = mica_binary_apply(kind, a[i], b[i]);                       \
    } while (0)

static inline void binary_block(int kind, const float *a, const float *b, float *out,
                                int64_t count) {
    switch ((mica_binary_kind)kind) {
    case MICA_BINARY_ADD:
        EACH(mica_lanes_add(x, y));
        break;
    case MICA_BINARY_SUB:
        EACH(mica_lanes_sub(x, y));
        break;
    case MICA_BINARY_MUL:
        EACH(mica_lanes_mul(x, y));
        break;
    case MICA_BINARY_DIV:
        EACH(mica_lanes_div(x, y));
        break;
    case MICA_BINARY_MIN:
        EACH(mica_lanes_spread_nan(mica_lanes_min(x, y), x, y));
        break;
    case MICA_BINARY_MAX:
        EACH(mica_lanes_spread_nan(mica_lanes_max(x, y), x, y));
        break;
    default:
        for (int64_t i = 0; i < count; i++) out[i] = mica_binary_apply(kind, a[i], b[i]);
    }
}

static inline void compare_block(int kind, const float *a, const float *b, uint8_t *out,
                                 int64_t count) {
    switch ((mica_binary_kind)kind) {
    case MICA_BINARY_EQUAL:
        for (int64_t i = 0; i < count; i++) out[i] = a[i] == b[i];
        break;
    case MICA_BINARY_NOT_EQUAL:
        for (int64_t i = 0; i < count; i++) out[i] = a[i] != b[i];
        break;
    case MICA_BINARY_LESS:
        for (int64_t i = 0; i < count; i++) out[i] = a[i] < b[i];
        break;
    case MICA_BINARY_LESS_EQUAL:
        for (int64_t i = 0; i < count; i++) out[i] = a[i] <= b[i];
        break;
    case MICA_BINARY_GREATER:
        for (int64_t i = 0; i < count; i++) out[i] = a[i] > b[i];
        break;
    default:
        for (int64_t i = 0; i < count; i++) out[i] = a[i] >= b[i];
    }
}

static inline void binary_walk(const mica_binary_args *p, const mica_cpu_worker *worker) {
    const mica_elementwise_args *e = &p->e;
    float loaded[2][MICA_BLOCK], result[MICA_BLOCK];
    mica_walk w;
    mica_walk_share(&w, e, worker);
    for (; w.count; mica_walk_next(&w)) {
        for (int64_t i = 0; i < w.count; i += MICA_BLOCK) {
            int64_t count = w.count - i < MICA_BLOCK ? w.count - i : MICA_BLOCK, at = w.at + i;
            const float *in[2];
            for (int k = 0; k < 2; k++) {
                int64_t stride = mica_walk_stride(&w, k);
                in[k] = mica_block_load(loaded[k], e->dtype_in[k], e->in[k],
                                        w.offset[k] + i * stride, stride, count);
            }
            if (e->dtype_out == MICA_DTYPE_BOOL) {
                compare_block(p->kind, in[0], in[1], (uint8_t *)mica_cpu_at(e->out) + at, count);
                continue;
            }
            float *out = mica_block_target(result, e->dtype_out, e->out, at);
            binary_block(p->kind, in[0], in[1], out, count);
            mica_block_store(out, e->dtype_out, e->out, at, count);
        }
    }
}
