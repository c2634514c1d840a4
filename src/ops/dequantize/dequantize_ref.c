/* Decodes in pieces that fit a small buffer; a piece ends on a group border. */
#include "ops/dequantize/dequantize.h"

enum { PIECE = 1024 }; /* a multiple of all groups */

static void store(int kind, const float *from, int64_t count, uint8_t *to) {
    if (kind == MICA_KIND_F32) {
        memcpy(to, from, (size_t)count * sizeof *from);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        uint16_t h =
            kind == MICA_KIND_BF16 ? mica_bf16_from_f32(from[i]) : mica_f16_from_f32(from[i]);
        memcpy(to + 2 * i, &h, sizeof h);
    }
}

void mica_dequantize_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_dequantize_args *a = args;
    const uint8_t *codes = mica_cpu_at(a->codes), *scales = mica_cpu_at(a->scales);
    const void *biases = mica_cpu_at(a->biases);
    int64_t matrix = a->matrix_rows * a->k;
    float piece[PIECE];
    int64_t begin, end;
    int64_t rows = mica_cpu_live(a->live, a->rows) * a->rows_each;
    if (a->k == 0) return;
    mica_cpu_share(worker, rows * a->k, a->k, &begin, &end);
    while (begin < end) {
        int64_t left = a->k - begin % a->k, count = left < PIECE ? left : PIECE;
        int64_t at = mica_quant_scale_bytes(a->quant, begin);
        mica_quant_decode_row(a->quant, codes + mica_quant_code_bytes(a->quant, begin), scales + at,
                              mica_quant_biases_at(a->quant, biases, begin / matrix, at), count,
                              piece);
        store(a->out_kind, piece, count,
              (uint8_t *)mica_cpu_at(a->out) + begin * mica_kind_bytes(a->out_kind));
        begin += count;
    }
}
