/* FP8 in blocks: <path>.weight E4M3 [n, k] and .weight_scale_inv, a factor (in spite of its name)
 * for each block of weight_block_size. MLX has no such blocks: the weights become bf16. */
#include <string.h>
#include "base/error.h"
#include "format/import_parts.h"
#include "kernel/quant_block.h"

static const char *const parts[] = {"weight", NULL};

static int kind_of(const mica_checkpoint_tensor *tensor) {
    return tensor->dtype == MICA_SAFETENSORS_F32   ? MICA_KIND_F32
           : tensor->dtype == MICA_SAFETENSORS_F16 ? MICA_KIND_F16
                                                   : MICA_KIND_BF16;
}

/* sources: codes, factors. params: rows and columns of a block. The product is rounded to f32, then
 * to bf16, as other programs do. */
static mica_status make_weight(const mica_checkpoint_recipe *recipe,
                               const mica_checkpoint_tensor *tensor, const uint8_t *const *data,
                               uint8_t *out, mica_error *err) {
    (void)err;
    float values[256];
    int64_t n = tensor->shape.dims[0], k = tensor->shape.dims[1], rows = recipe->params[0],
            columns = recipe->params[1], across = (k + columns - 1) / columns;
    int kind = kind_of(recipe->sources[1]);
    const uint8_t *codes = data[0];
    for (int i = 0; i < 256; i++) values[i] = mica_f32_from_e4m3((uint8_t)i);
    for (int64_t r = 0; r < n; r++)
        for (int64_t block = 0; block < across; block++) {
            float factor = mica_kind_load(kind, data[1], r / rows * across + block);
            int64_t end = (block + 1) * columns < k ? (block + 1) * columns : k;
            for (int64_t c = block * columns; c < end; c++, out += 2) {
                uint16_t half = mica_bf16_from_f32(values[*codes++] * factor);
                memcpy(out, &half, sizeof half);
            }
        }
    return MICA_STATUS_OK;
}

static mica_status import_module(import_job *job, const char *path, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_checkpoint_tensor *sources[2];
    int64_t rows = job->quant->weight_block_size[0], columns = job->quant->weight_block_size[1];
    MICA_TRY(import_take(job, path, "weight", import_types_e4m3, &sources[0], err));
    MICA_TRY(import_take(job, path, "weight_scale_inv", import_types_float, &sources[1], err));
    MICA_TRY(import_check_matrix(sources[0], err));
    const int64_t *dims = sources[0]->shape.dims;
    MICA_TRY(import_check_shape(
        sources[1], 2, (int64_t[]){(dims[0] + rows - 1) / rows, (dims[1] + columns - 1) / columns},
        sources[0], 0, err));
    mica_checkpoint_recipe recipe = {.make = make_weight,
                                     .sources = sources,
                                     .n_sources = 2,
                                     .params = {rows, columns},
                                     .note = "block FP8 dequantised, rounded to bf16"};
    MICA_TRY(import_add(job, path, "weight", MICA_SAFETENSORS_BF16, 2, dims, &recipe, err));
    job->n_dense++;
done:
    return st;
}

static const import_format blocks = {"fp8", "weight_scale_inv", parts, import_module};

mica_status import_choose_fp8(const import_job *job, const import_format **out, mica_error *err) {
    const mica_config_quant *q = job->quant;
    if (q->fmt[0] && strcmp(q->fmt, "e4m3") != 0)
        return import_fail_field("fmt", q->fmt, "e4m3", err);
    if (q->weight_block_size[0] == 0)
        return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                         "config.json: quantization_config has no weight_block_size: FP8 with one "
                         "scale for a tensor is not supported");
    *out = &blocks;
    return MICA_STATUS_OK;
}
