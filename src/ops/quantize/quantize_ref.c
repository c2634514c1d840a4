/* Encodes one group after the other: groups do not depend on each other. */
#include "ops/quantize/quantize.h"

enum { GROUP_MAX = 128 };

void mica_quantize_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_quantize_args *a = args;
    uint8_t *codes = mica_cpu_at(a->codes), *scales = mica_cpu_at(a->scales);
    uint8_t *biases = mica_cpu_at(a->biases);
    int64_t begin, end, group = a->quant.group;
    float values[GROUP_MAX];
    mica_cpu_share(worker, mica_cpu_live(a->live, a->rows) * a->row, group, &begin, &end);
    for (; begin < end; begin += group) {
        int64_t at = mica_quant_scale_bytes(a->quant, begin);
        for (int64_t i = 0; i < group; i++)
            values[i] = mica_kind_load(a->x_kind, mica_cpu_at(a->x), begin + i);
        mica_quant_encode_row(a->quant, values, group,
                              codes + mica_quant_code_bytes(a->quant, begin), scales + at,
                              biases ? biases + at : NULL);
    }
}
