/* take_along in plain C. */
#include "ops/take_along/take_along.h"
#include "ops/common/element.h"
#include "ops/common/strided.h"

void mica_take_along_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_take_along_args *a = args;
    const uint8_t *x = mica_cpu_at(a->x.address);
    const void *ids = mica_cpu_at(a->ids.address);
    uint8_t *out = mica_cpu_at(a->out);
    int last = a->ids.rank - 1;
    int64_t length = a->x.dims[last], count = a->ids.dims[last];
    size_t bytes = mica_dtype_bytes((mica_dtype)a->x.dtype);
    int64_t begin, end;
    mica_cpu_share(worker, mica_cpu_live(a->live, a->rows) * a->row, 1, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        int64_t x_first = mica_tensor_row(&a->x, r), ids_first = mica_tensor_row(&a->ids, r);
        for (int64_t j = 0; j < count; j++) {
            int64_t id = mica_element_i64(a->ids.dtype, ids, ids_first + j * a->ids.strides[last]);
            uint8_t *to = out + (size_t)(r * count + j) * bytes;
            if (id < 0 || id >= length) {
                memset(to, 0, bytes);
                continue;
            }
            memcpy(to, x + (x_first + id * a->x.strides[last]) * (int64_t)bytes, bytes);
        }
    }
}
