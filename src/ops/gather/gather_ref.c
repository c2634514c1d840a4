/* gather in plain C; rows of x's own dtype without gaps are one memcpy. */
#include "ops/gather/gather.h"
#include "kernel/quant_block.h"
#include "ops/common/element.h"
#include "ops/common/strided.h"

static void convert_row(const mica_gather_args *a, int64_t id, uint8_t *to) {
    const uint8_t *x = mica_cpu_at(a->x.address);
    int from_dtype = a->x.dtype, to_dtype = a->dtype_out;
    int64_t bytes = (int64_t)mica_dtype_bytes((mica_dtype)from_dtype);
    const uint8_t *row = x + id * a->x.strides[0] * bytes;
    if (a->is_packed && from_dtype == to_dtype) {
        memcpy(to, row, (size_t)(a->row_elements * bytes));
    } else if (a->is_packed && from_dtype == MICA_DTYPE_BF16 && to_dtype == MICA_DTYPE_F32) {
        for (int64_t i = 0; i < a->row_elements; i++) /* the usual embedding */
            ((float *)(void *)to)[i] = mica_f32_from_bf16(mica_load_u16(row + 2 * i));
    } else {
        for (int64_t i = 0; i < a->row_elements; i++)
            mica_element_cast(to_dtype, to, i, from_dtype, row, mica_tensor_element(&a->x, 1, i));
    }
}

static void decode_row(const mica_gather_args *a, int64_t id, uint8_t *to, float *scratch) {
    mica_quant_desc q = {a->quant_mode, a->quant_bits, a->quant_group, a->quant_scale_kind};
    int64_t k = a->x.dims[a->x.rank - 1];
    int64_t code_bytes = mica_quant_code_bytes(q, k), scale_bytes = mica_quant_scale_bytes(q, k);
    const uint8_t *codes = mica_cpu_at(a->x.address), *scales = mica_cpu_at(a->scales);
    const void *biases = mica_cpu_at(a->biases);
    int64_t lines = a->x.dims[a->x.rank - 2]; /* of one matrix */
    bool is_direct = a->dtype_out == MICA_DTYPE_F32;
    for (int64_t i = 0; i < a->row_elements; i += k) {
        int64_t line = (id * a->row_elements + i) / k;
        float *out = is_direct ? (float *)(void *)to + i : scratch;
        mica_quant_decode_row(q, codes + line * code_bytes, scales + line * scale_bytes,
                              mica_quant_biases_at(q, biases, line / lines, line * scale_bytes), k,
                              out);
        for (int64_t j = 0; !is_direct && j < k; j++)
            mica_element_put_f32(a->dtype_out, to, i + j, scratch[j]);
    }
}

void mica_gather_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_gather_args *a = args;
    const void *ids = mica_cpu_at(a->ids.address);
    uint8_t *out = mica_cpu_at(a->out);
    size_t row_bytes = (size_t)a->row_elements * mica_dtype_bytes((mica_dtype)a->dtype_out);
    int64_t begin, end;
    if (row_bytes == 0) return;
    mica_cpu_share(worker, mica_cpu_live(a->live, a->rows) * a->row, 1, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t id = mica_element_i64(a->ids.dtype, ids, mica_tensor_element(&a->ids, 0, i));
        uint8_t *to = out + (size_t)i * row_bytes;
        if (id < 0 || id >= a->x.dims[0])
            memset(to, 0, row_bytes);
        else if (a->quant_mode)
            decode_row(a, id, to, worker->scratch);
        else
            convert_row(a, id, to);
    }
}
