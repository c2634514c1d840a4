/* full in plain C: the first element of a share, then copies of what is there. */
#include "ops/full/full.h"
#include "ops/common/element.h"

void mica_full_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_full_args *a = args;
    size_t bytes = mica_dtype_bytes((mica_dtype)a->dtype);
    int64_t begin, end;
    mica_cpu_share(worker, a->count, 256, &begin, &end);
    if (begin >= end) return;
    uint8_t *out = (uint8_t *)mica_cpu_at(a->out) + (size_t)begin * bytes;
    size_t done = bytes, total = (size_t)(end - begin) * bytes;
    mica_element_put_f64(a->dtype, out, 0, a->value);
    while (done < total) {
        size_t more = done < total - done ? done : total - done;
        memcpy(out + done, out, more);
        done += more;
    }
}
