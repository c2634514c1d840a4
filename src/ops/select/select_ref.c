/* select in plain C: copies elements by their size. */
#include "ops/select/select.h"
#include "ops/common/element.h"
#include "ops/common/strided.h"

#define SELECT_RUN(type)                                                                           \
    for (int64_t i = 0; i < w->count; i++) {                                                       \
        bool is_a = condition[w->offset[0] + i * strides[0]] != 0;                                 \
        const uint8_t *from = is_a ? a + (w->offset[1] + i * strides[1]) * (int64_t)sizeof(type)   \
                                   : b + (w->offset[2] + i * strides[2]) * (int64_t)sizeof(type);  \
        memcpy((type *)out + w->at + i, from, sizeof(type));                                       \
    }

static void select_run(const mica_elementwise_args *e, const mica_walk *w) {
    const uint8_t *condition = mica_cpu_at(e->in[0]);
    const uint8_t *a = mica_cpu_at(e->in[1]), *b = mica_cpu_at(e->in[2]);
    void *out = mica_cpu_at(e->out);
    int64_t strides[3];
    for (int k = 0; k < 3; k++) strides[k] = mica_walk_stride(w, k);
    switch (mica_dtype_bytes((mica_dtype)e->dtype_out)) {
    case 1:
        SELECT_RUN(uint8_t) break;
    case 2:
        SELECT_RUN(uint16_t) break;
    case 4:
        SELECT_RUN(uint32_t) break;
    default:
        SELECT_RUN(uint64_t)
    }
}

void mica_select_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_select_args *a = args;
    mica_walk w;
    mica_walk_share(&w, &a->e, worker);
    for (; w.count; mica_walk_next(&w)) select_run(&a->e, &w);
}
