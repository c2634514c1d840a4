/* concat in plain C: runs along the last axis are copied whole. */
#include "ops/concat/concat.h"
#include "ops/common/element.h"
#include "ops/common/strided.h"

/* Elements [begin, end) of slab `slab` of one part, counted row-major over the axes from the
 * joined one on, to `to`. */
static void copy_part(const mica_tensor_args *t, int axis, int64_t slab, int64_t begin, int64_t end,
                      uint8_t *to) {
    size_t bytes = mica_dtype_bytes((mica_dtype)t->dtype);
    const uint8_t *from = mica_cpu_at(t->address);
    int64_t inner = t->dims[t->rank - 1], stride = t->strides[t->rank - 1];
    mica_tensor_args outer = *t; /* the axes before the joined one, as rows */
    outer.rank = axis + 1;
    int64_t base = mica_tensor_row(&outer, slab);
    for (int64_t i = begin; i < end;) {
        int64_t left = inner - i % inner, count = end - i < left ? end - i : left;
        int64_t offset = base + mica_tensor_element(t, axis, i);
        mica_copy_strided(to + (size_t)(i - begin) * bytes, from + offset * (int64_t)bytes, bytes,
                          stride, count);
        i += count;
    }
}

void mica_concat_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_concat_args *a = args;
    uint8_t *out = mica_cpu_at(a->out);
    int64_t bytes = (int64_t)mica_dtype_bytes((mica_dtype)a->parts[0].dtype);
    int64_t begin, end;
    int64_t total = mica_cpu_live(a->live, a->rows) * a->slabs * a->slab_elements;
    mica_cpu_share(worker, total, 1024, &begin, &end);
    while (begin < end) {
        int64_t slab = begin / a->slab_elements, at = begin % a->slab_elements;
        int part = 0;
        int64_t length = 0;
        for (;; part++) { /* the part that holds element `at` of the slab */
            length = 1;
            for (int i = a->axis; i < a->parts[part].rank; i++) length *= a->parts[part].dims[i];
            if (at < length) break;
            at -= length;
        }
        int64_t count = length - at < end - begin ? length - at : end - begin;
        copy_part(&a->parts[part], a->axis, slab, at, at + count, out + begin * bytes);
        begin += count;
    }
}
