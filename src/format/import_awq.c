/* AWQ, version gemm: <path>.qweight I32 [k, n / 8], .qzeros I32 [groups, n / 8] and .scales
 * [groups, n]; w = (q - z) * s, eight columns to a word in an order of its own. Without zero points
 * z is 8. Versions gemv and marlin store other layouts. */
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "format/import_parts.h"

static const char *const parts[] = {"qzeros", "scales", NULL};

static mica_status check_shapes(const import_affine *a, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_REQUIRE(a->k % 8 == 0, MICA_STATUS_UNSUPPORTED,
                 "%s: rows of %lld columns, expected a multiple of 8", a->codes->name,
                 (long long)a->k);
    MICA_TRY(
        import_check_shape(a->scales, 2, (int64_t[]){a->groups, a->n}, a->codes, a->group, err));
    if (a->zeros)
        MICA_TRY(import_check_shape(a->zeros, 2, (int64_t[]){a->groups, a->n / 8}, a->codes,
                                    a->group, err));
done:
    return st;
}

static mica_status import_module(import_job *job, const char *path, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_config_quant *q = job->quant;
    import_affine a = {.make_codes = import_make_codes_awq, .bits = 4};
    MICA_TRY(import_take(job, path, "qweight", import_types_i32, &a.codes, err));
    MICA_TRY(import_check_matrix(a.codes, err));
    MICA_TRY(import_take(job, path, "scales", import_types_float, &a.scales, err));
    if (q->zero_point) {
        MICA_TRY(import_take(job, path, "qzeros", import_types_i32, &a.zeros, err));
        a.zeros_kind = IMPORT_ZEROS_AWQ;
    } else {
        MICA_REQUIRE(
            !import_find(job, path, "qzeros"), MICA_STATUS_FORMAT,
            "%s.qzeros: there are zero points, but quantization_config.zero_point is false", path);
    }
    a.k = a.codes->shape.dims[0];
    MICA_REQUIRE(mica_mul_i64(a.codes->shape.dims[1], 8, &a.n), MICA_STATUS_LIMIT,
                 "%s: its shape is too large", a.codes->name);
    import_affine_set_group(&a, q->group_size);
    MICA_TRY(check_shapes(&a, err));
    MICA_TRY(import_affine_add(job, path, &a, true, err));
done:
    return st;
}

static const import_format gemm = {"awq", "qweight", parts, import_module};

mica_status import_choose_awq(const import_job *job, const import_format **out, mica_error *err) {
    const mica_config_quant *q = job->quant;
    if (strcmp(q->version, "gemm") != 0 && strcmp(q->version, "GEMM") != 0)
        return import_fail_field("version", q->version, "gemm", err);
    if (q->bits != 4) return import_fail_number("bits", q->bits, "4", err);
    if (q->group_size == 0) return import_fail_number("group_size", 0, "a number", err);
    if (!q->has.zero_point) return import_fail_field("zero_point", "", "true or false", err);
    *out = &gemm;
    return MICA_STATUS_OK;
}
