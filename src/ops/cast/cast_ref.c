/* cast in plain C: any dtype to any, any strides. */
#include "ops/cast/cast.h"
#include "ops/common/element.h"
#include "ops/common/strided.h"

void mica_cast_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_elementwise_args *e = &((const mica_cast_args *)args)->e;
    const uint8_t *in = mica_cpu_at(e->in[0]);
    uint8_t *out = mica_cpu_at(e->out);
    int from = e->dtype_in[0], to = e->dtype_out;
    int64_t bytes = (int64_t)mica_dtype_bytes((mica_dtype)from);
    mica_walk w;
    mica_walk_share(&w, e, worker);
    for (; w.count; mica_walk_next(&w)) {
        int64_t stride = mica_walk_stride(&w, 0);
        if (from == to) {
            mica_copy_strided(out + w.at * bytes, in + w.offset[0] * bytes, (size_t)bytes, stride,
                              w.count);
            continue;
        }
        for (int64_t i = 0; i < w.count; i++)
            mica_element_cast(to, out, w.at + i, from, in, w.offset[0] + i * stride);
    }
}
