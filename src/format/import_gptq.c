/* GPTQ, 4 bit: <path>.qweight I32 [k / 8, n], .qzeros I32 [groups, n / 8], .scales [groups, n] and
 * .g_idx I32 [k], the group of each column; w = (q - z) * s. The first format stores z - 1,
 * gptq_v2 stores z. Columns quantised out of order (desc_act) have groups all over the row: there
 * is no such layout in MLX, so these modules are dequantised. */
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "format/import_parts.h"

static const char *const parts[] = {"qzeros", "scales", "g_idx", "bias", NULL};

/* Some programs give every module a bias, of zeros where the model has none: it would be a tensor
 * that nothing uses. */
static mica_status import_bias(import_job *job, const char *path, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_checkpoint_tensor *bias = import_find(job, path, "bias");
    uint8_t *data = NULL, any = 0;
    size_t bytes = 0;
    if (!bias) return MICA_STATUS_OK;
    MICA_REQUIRE(mica_u64_to_size(bias->bytes, &bytes), MICA_STATUS_LIMIT, "%s: too large",
                 bias->name);
    data = mica_alloc(job->host->allocator, bytes);
    MICA_REQUIRE(data, MICA_STATUS_OUT_OF_MEMORY, "out of memory: %s", bias->name);
    MICA_TRY(mica_checkpoint_read_tensor(job->checkpoint, bias, 0, data, bytes, err));
    for (size_t i = 0; i < bytes; i++) any |= data[i];
    if (any)
        MICA_TRY(mica_checkpoint_rewrite_keep(&job->rewrite, bias, err));
    else if (job->n_zero_biases++ == 0)
        mica_host_log(job->host, MICA_LOG_INFO,
                      "%s: a bias of zeros is not used, here and in other modules", bias->name);
done:
    mica_free(job->host->allocator, data);
    return st;
}

static mica_status check_shapes(const import_affine *a, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_REQUIRE(a->n % 8 == 0, MICA_STATUS_FORMAT, "%s: %lld rows, expected a multiple of 8",
                 a->codes->name, (long long)a->n);
    MICA_TRY(
        import_check_shape(a->scales, 2, (int64_t[]){a->groups, a->n}, a->codes, a->group, err));
    MICA_TRY(
        import_check_shape(a->zeros, 2, (int64_t[]){a->groups, a->n / 8}, a->codes, a->group, err));
    if (a->g_idx) MICA_TRY(import_check_shape(a->g_idx, 1, &a->k, a->codes, 0, err));
done:
    return st;
}

static mica_status take_parts(const import_job *job, const char *path, import_affine *a,
                              mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(import_take(job, path, "qweight", import_types_i32, &a->codes, err));
    MICA_TRY(import_check_matrix(a->codes, err));
    MICA_TRY(import_take(job, path, "scales", import_types_float, &a->scales, err));
    MICA_TRY(import_take(job, path, "qzeros", import_types_i32, &a->zeros, err));
    if (job->quant->desc_act || import_find(job, path, "g_idx"))
        MICA_TRY(import_take(job, path, "g_idx", import_types_i32, &a->g_idx, err));
done:
    return st;
}

static mica_status import_module(import_job *job, const char *path, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_config_quant *q = job->quant;
    import_affine a = {.make_codes = import_make_codes_gptq,
                       .bits = 4,
                       .zeros_kind = IMPORT_ZEROS_GPTQ,
                       .zero_add = strcmp(q->checkpoint_format, "gptq_v2") != 0,
                       .is_symmetric = q->sym};
    bool is_in_order;
    MICA_TRY(take_parts(job, path, &a, err));
    a.n = a.codes->shape.dims[1];
    MICA_REQUIRE(mica_mul_i64(a.codes->shape.dims[0], 8, &a.k), MICA_STATUS_LIMIT,
                 "%s: its shape is too large", a.codes->name);
    import_affine_set_group(&a, q->group_size);
    MICA_TRY(check_shapes(&a, err));
    MICA_TRY(import_affine_check_order(job, &a, &is_in_order, err));
    MICA_REQUIRE(is_in_order || !q->has.desc_act || q->desc_act, MICA_STATUS_FORMAT,
                 "%s: columns are out of order, but quantization_config.desc_act is false",
                 a.g_idx->name);
    MICA_TRY(import_affine_add(job, path, &a, is_in_order, err));
    MICA_TRY(import_bias(job, path, err));
done:
    return st;
}

static const import_format four_bit = {"gptq", "qweight", parts, import_module};

mica_status import_choose_gptq(const import_job *job, const import_format **out, mica_error *err) {
    const mica_config_quant *q = job->quant;
    const char *kind = q->checkpoint_format;
    if (kind[0] && strcmp(kind, "gptq") != 0 && strcmp(kind, "gptq_v2") != 0)
        return import_fail_field("checkpoint_format", kind, "gptq or gptq_v2", err);
    if (q->pack_dtype[0] && strcmp(q->pack_dtype, "int32") != 0)
        return import_fail_field("pack_dtype", q->pack_dtype, "int32", err);
    if (q->bits != 4) return import_fail_number("bits", q->bits, "4", err);
    if (q->group_size == 0) return import_fail_number("group_size", 0, "a number", err);
    if (!q->has.sym) return import_fail_field("sym", "", "true or false", err);
    *out = &four_bit;
    return MICA_STATUS_OK;
}
