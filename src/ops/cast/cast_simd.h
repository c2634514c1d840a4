/* cast between f16, bf16 and f32 in vectors. The same bits as the reference, save for the payload
 * of NaNs. Included by cast_avx2.c and cast_neon.c after the vector header. */
#pragma once
#include "ops/cast/cast.h"
#include "ops/common/block_simd.h"
#include "ops/common/strided.h"

static inline void cast_run(const mica_elementwise_args *e, const mica_walk *w) {
    float buffer[MICA_BLOCK];
    int64_t stride = mica_walk_stride(w, 0);
    for (int64_t i = 0; i < w->count; i += MICA_BLOCK) {
        int64_t count = w->count - i < MICA_BLOCK ? w->count - i : MICA_BLOCK, at = w->at + i;
        const float *v = mica_block_load(buffer, e->dtype_in[0], e->in[0],
                                         w->offset[0] + i * stride, stride, count);
        if (e->dtype_out == MICA_DTYPE_F32)
            memmove((float *)mica_cpu_at(e->out) + at, v, (size_t)count * 4);
        else
            mica_block_store(v, e->dtype_out, e->out, at, count);
    }
}

static inline void cast_walk(const mica_cast_args *a, const mica_cpu_worker *worker) {
    const mica_elementwise_args *e = &a->e;
    mica_walk w;
    mica_walk_share(&w, e, worker);
    for (; w.count; mica_walk_next(&w)) cast_run(e, &w);
}
