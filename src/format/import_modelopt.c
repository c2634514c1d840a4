/* ModelOpt, NVFP4: <path>.weight U8 [n, k / 2], .weight_scale E4M3 [n, k / 16] and .weight_scale_2
 * F32, which multiplies. */
#include <string.h>
#include "base/error.h"
#include "format/import_parts.h"

static const char *const parts[] = {"weight", "weight_scale", NULL};

static mica_status import_module(import_job *job, const char *path, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    import_fp4 f = {.mode = MICA_QUANT_NVFP4};
    MICA_TRY(import_take(job, path, "weight", import_types_u8, &f.codes, err));
    MICA_TRY(import_take(job, path, "weight_scale", import_types_e4m3, &f.scales, err));
    MICA_TRY(import_take(job, path, "weight_scale_2", import_types_f32, &f.factor, err));
    MICA_TRY(import_fp4_add(job, path, &f, err));
done:
    return st;
}

static const import_format nvfp4 = {"modelopt", "weight_scale_2", parts, import_module};

mica_status import_choose_modelopt(const import_job *job, const import_format **out,
                                   mica_error *err) {
    const mica_config_quant *q = job->quant;
    const mica_config_quant_weights *w = &q->weights;
    if (strcmp(q->quant_algo, "NVFP4") != 0)
        return import_fail_field("quant_algo", q->quant_algo, "NVFP4", err);
    if (q->group_size != 0 && q->group_size != 16)
        return import_fail_number("group_size", q->group_size, "16", err);
    if (w->has.group_size && w->group_size != 16)
        return import_fail_number("config_groups.*.weights.group_size", w->group_size, "16", err);
    if (w->has.num_bits && w->num_bits != 4)
        return import_fail_number("config_groups.*.weights.num_bits", w->num_bits, "4", err);
    if (w->has.type && strcmp(w->type, "float") != 0)
        return import_fail_field("config_groups.*.weights.type", w->type, "float", err);
    *out = &nvfp4;
    return MICA_STATUS_OK;
}
