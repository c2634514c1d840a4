/* Matrices of four-bit floats: the bytes of codes and scales are MLX's already and become views of
 * the file. What differs is how the factor of all scales is written: mica holds the number that
 * multiplies, in f32, so that it is rounded once at most. */
#include <math.h>
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "format/import_parts.h"
#include "kernel/float_format.h"

static mica_status check_factor(const mica_checkpoint_recipe *recipe, float v, mica_error *err) {
    if (isfinite(v) && v > 0) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT,
                     "%s: %g, expected a number above 0 whose inverse is too",
                     recipe->sources[0]->name, (double)v);
}

static mica_status make_factor(const mica_checkpoint_recipe *recipe,
                               const mica_checkpoint_tensor *tensor, const uint8_t *const *data,
                               uint8_t *out, mica_error *err) {
    (void)tensor;
    float v = mica_load_f32(data[0]);
    mica_status st = check_factor(recipe, v, err);
    if (st != MICA_STATUS_OK) return st;
    if (recipe->params[0]) v = 1.0f / v;
    memcpy(out, &v, sizeof v);
    return check_factor(recipe, v, err);
}

static mica_status add_factor(import_job *job, const char *path, const import_fp4 *f,
                              mica_error *err) {
    mica_status st = import_check_scalar(f->factor, err);
    mica_checkpoint_recipe recipe = {
        .make = make_factor,
        .sources = &f->factor,
        .n_sources = 1,
        .params = {f->is_divisor},
        .note = f->is_divisor ? "a divisor turned into a factor" : "the same factor",
    };
    if (st != MICA_STATUS_OK) return st;
    return import_add(job, path, "scale_factor", MICA_SAFETENSORS_F32, 1, (int64_t[]){1}, &recipe,
                      err);
}

mica_status import_fp4_add(import_job *job, const char *path, const import_fp4 *f,
                           mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    int group = f->mode == MICA_QUANT_NVFP4 ? 16 : 32;
    int64_t k;
    MICA_TRY(import_check_matrix(f->codes, err));
    int64_t n = f->codes->shape.dims[0];
    MICA_REQUIRE(mica_mul_i64(f->codes->shape.dims[1], 2, &k) && k % group == 0, MICA_STATUS_FORMAT,
                 "%s: rows of %lld bytes, expected a multiple of %d", f->codes->name,
                 (long long)f->codes->shape.dims[1], group / 2);
    MICA_TRY(import_check_shape(f->scales, 2, (int64_t[]){n, k / group}, f->codes, group, err));
    MICA_TRY(import_view(job, f->codes, path, "weight", MICA_SAFETENSORS_U32, 2,
                         (int64_t[]){n, k / 8}, err));
    MICA_TRY(import_view(job, f->scales, path, "scales", MICA_SAFETENSORS_U8, 2,
                         (int64_t[]){n, k / group}, err));
    if (f->factor) MICA_TRY(add_factor(job, path, f, err));
    MICA_TRY(import_note_quantized(job, path, f->mode, 4, group, err));
done:
    return st;
}
