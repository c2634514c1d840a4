/* compressed-tensors. pack-quantized: <path>.weight_packed I32 [n, ceil(k * bits / 32)], a dense
 * stream of codes along each row, which is MLX's own; .weight_scale [n, groups], .weight_shape I64
 * {n, k}, and without symmetry .weight_zero_point I32 [ceil(n * bits / 32), groups], packed down
 * the columns. nvfp4- and mxfp4-pack-quantized: .weight_packed U8 [n, k / 2], .weight_scale, and
 * for nvfp4 .weight_global_scale, which divides. */
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "format/import_parts.h"

#define WEIGHTS "config_groups.*.weights."

static const mica_safetensors_dtype types_i64[] = {MICA_SAFETENSORS_I64, MICA_SAFETENSORS_NONE};
static const mica_safetensors_dtype types_e8m0[] = {MICA_SAFETENSORS_U8, MICA_SAFETENSORS_F8_E8M0,
                                                    MICA_SAFETENSORS_NONE};

/* ---- integers ---- */

static const char *const integer_parts[] = {"weight_scale", "weight_shape", "weight_zero_point",
                                            "weight_g_idx", NULL};

/* {n, k} as weight_shape holds them, against the packed tensor. */
static mica_status read_shape(import_job *job, const char *path, import_affine *a,
                              mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_checkpoint_tensor *shape;
    int64_t seen[2], bits = 0;
    const int64_t *dims = a->codes->shape.dims;
    char packed[176];
    MICA_TRY(import_take(job, path, "weight_shape", types_i64, &shape, err));
    MICA_TRY(import_check_shape(shape, 1, (int64_t[]){2}, a->codes, 0, err));
    MICA_TRY(mica_checkpoint_read_tensor(job->checkpoint, shape, 0, seen, sizeof seen, err));
    MICA_REQUIRE(seen[0] == dims[0] && seen[1] > 0 && mica_mul_i64(seen[1], a->bits, &bits) &&
                     bits / 32 + (bits % 32 != 0) == dims[1],
                 MICA_STATUS_FORMAT, "%s: [%lld, %lld] of %d bits, but %s has shape %s",
                 shape->name, (long long)seen[0], (long long)seen[1], a->bits, a->codes->name,
                 mica_shape_format(&a->codes->shape, packed));
    a->n = seen[0];
    a->k = seen[1];
done:
    return st;
}

static mica_status take_zeros(const import_job *job, const char *path, import_affine *a,
                              mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    int64_t bits = 0;
    if (job->quant->weights.symmetric) {
        MICA_REQUIRE(!import_find(job, path, "weight_zero_point"), MICA_STATUS_FORMAT,
                     "%s.weight_zero_point: there are zero points, but quantization_config says "
                     "symmetric",
                     path);
        return MICA_STATUS_OK;
    }
    a->zeros_kind = IMPORT_ZEROS_STREAM;
    MICA_TRY(import_take(job, path, "weight_zero_point", import_types_i32, &a->zeros, err));
    MICA_REQUIRE(mica_mul_i64(a->n, a->bits, &bits), MICA_STATUS_LIMIT,
                 "%s: its shape is too large", a->codes->name);
    MICA_TRY(import_check_shape(a->zeros, 2, (int64_t[]){bits / 32 + (bits % 32 != 0), a->groups},
                                a->codes, a->group, err));
done:
    return st;
}

static mica_status import_integers(import_job *job, const char *path, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_config_quant_weights *w = &job->quant->weights;
    import_affine a = {.bits = (int)w->num_bits, .is_by_row = true};
    bool is_in_order;
    MICA_TRY(import_take(job, path, "weight_packed", import_types_i32, &a.codes, err));
    MICA_TRY(import_check_matrix(a.codes, err));
    MICA_TRY(import_take(job, path, "weight_scale", import_types_float, &a.scales, err));
    MICA_TRY(read_shape(job, path, &a, err));
    import_affine_set_group(&a, strcmp(w->strategy, "group") == 0 ? w->group_size
                                                                  : MICA_CONFIG_QUANT_WHOLE_ROW);
    MICA_TRY(import_check_shape(a.scales, 2, (int64_t[]){a.n, a.groups}, a.codes, a.group, err));
    MICA_TRY(take_zeros(job, path, &a, err));
    if (import_find(job, path, "weight_g_idx")) {
        MICA_TRY(import_take(job, path, "weight_g_idx", import_types_i32, &a.g_idx, err));
        MICA_TRY(import_check_shape(a.g_idx, 1, &a.k, a.codes, 0, err));
    }
    MICA_TRY(import_affine_check_order(job, &a, &is_in_order, err));
    MICA_TRY(import_affine_add(job, path, &a, is_in_order, err));
done:
    return st;
}

/* ---- floats ---- */

static const char *const nvfp4_parts[] = {"weight_scale", "weight_global_scale", NULL};
static const char *const mxfp4_parts[] = {"weight_scale", NULL};

static mica_status import_nvfp4(import_job *job, const char *path, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    import_fp4 f = {.mode = MICA_QUANT_NVFP4, .is_divisor = true};
    MICA_TRY(import_take(job, path, "weight_packed", import_types_u8, &f.codes, err));
    MICA_TRY(import_take(job, path, "weight_scale", import_types_e4m3, &f.scales, err));
    MICA_TRY(import_take(job, path, "weight_global_scale", import_types_f32, &f.factor, err));
    MICA_TRY(import_fp4_add(job, path, &f, err));
done:
    return st;
}

static mica_status import_mxfp4(import_job *job, const char *path, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    import_fp4 f = {.mode = MICA_QUANT_MXFP4};
    MICA_TRY(import_take(job, path, "weight_packed", import_types_u8, &f.codes, err));
    MICA_TRY(import_take(job, path, "weight_scale", types_e8m0, &f.scales, err));
    MICA_TRY(import_fp4_add(job, path, &f, err));
done:
    return st;
}

/* ---- the config ---- */

static mica_status check_integers(const mica_config_quant_weights *w, mica_error *err) {
    int64_t bits = w->num_bits;
    bool is_group = strcmp(w->strategy, "group") == 0;
    if (bits < 2 || bits > 8 || bits == 7)
        return import_fail_number(WEIGHTS "num_bits", bits, "2, 3, 4, 5, 6 or 8", err);
    if (strcmp(w->type, "int") != 0) return import_fail_field(WEIGHTS "type", w->type, "int", err);
    if (!w->has.symmetric) return import_fail_field(WEIGHTS "symmetric", "", "true or false", err);
    if (!is_group && strcmp(w->strategy, "channel") != 0)
        return import_fail_field(WEIGHTS "strategy", w->strategy, "group or channel", err);
    if (is_group && w->group_size < 1)
        return import_fail_number(WEIGHTS "group_size", w->group_size, "1 or more", err);
    return MICA_STATUS_OK;
}

static mica_status check_floats(const mica_config_quant_weights *w, int64_t group,
                                const char *wanted, mica_error *err) {
    if (w->num_bits != 4) return import_fail_number(WEIGHTS "num_bits", w->num_bits, "4", err);
    if (strcmp(w->type, "float") != 0)
        return import_fail_field(WEIGHTS "type", w->type, "float", err);
    if (w->group_size != group)
        return import_fail_number(WEIGHTS "group_size", w->group_size, wanted, err);
    if (w->has.symmetric && !w->symmetric)
        return import_fail_field(WEIGHTS "symmetric", "false", "true", err);
    return MICA_STATUS_OK;
}

mica_status import_choose_compressed(const import_job *job, const import_format **out,
                                     mica_error *err) {
    static const import_format integers = {"compressed-tensors", "weight_packed", integer_parts,
                                           import_integers};
    static const import_format nvfp4 = {"compressed-tensors", "weight_packed", nvfp4_parts,
                                        import_nvfp4};
    static const import_format mxfp4 = {"compressed-tensors", "weight_packed", mxfp4_parts,
                                        import_mxfp4};
    const mica_config_quant *q = job->quant;
    const char *format = q->weights.format[0] ? q->weights.format : q->format;
    if (q->n_weights == 0)
        return import_fail_field("config_groups.*.weights", "", "how weights are stored", err);
    if (q->sparsity_format[0] && strcmp(q->sparsity_format, "dense") != 0)
        return import_fail_field("sparsity_config.format", q->sparsity_format, "dense", err);
    if (strcmp(format, "pack-quantized") == 0) {
        *out = &integers;
        return check_integers(&q->weights, err);
    }
    if (strcmp(format, "nvfp4-pack-quantized") == 0) {
        *out = &nvfp4;
        return check_floats(&q->weights, 16, "16", err);
    }
    if (strcmp(format, "mxfp4-pack-quantized") == 0) {
        *out = &mxfp4;
        return check_floats(&q->weights, 32, "32", err);
    }
    return import_fail_field("format", format,
                             "pack-quantized, nvfp4-pack-quantized or mxfp4-pack-quantized", err);
}
