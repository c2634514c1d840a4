/* arange in plain C. */
#include "ops/arange/arange.h"
#include "ops/common/element.h"

void mica_arange_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_arange_args *a = args;
    void *out = mica_cpu_at(a->out);
    int64_t begin, end;
    mica_cpu_share(worker, a->n, 256, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        mica_element_put_f64(a->dtype, out, i, a->start + (double)i * a->step);
}
