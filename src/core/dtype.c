/* Element types, shapes and the byte sizes of quantised parts. */
#include "core/dtype.h"
#include <stdio.h>
#include <string.h>
#include "base/checked.h"

#define ELEMENTS_MAX (INT64_C(1) << 48)

static const struct {
    const char *name;
    uint8_t bytes;
} dtypes[MICA_DTYPE_COUNT_] = {
    [MICA_DTYPE_NONE] = {"none", 0}, [MICA_DTYPE_BOOL] = {"bool", 1},
    [MICA_DTYPE_U8] = {"u8", 1},     [MICA_DTYPE_I8] = {"i8", 1},
    [MICA_DTYPE_U16] = {"u16", 2},   [MICA_DTYPE_I16] = {"i16", 2},
    [MICA_DTYPE_U32] = {"u32", 4},   [MICA_DTYPE_I32] = {"i32", 4},
    [MICA_DTYPE_U64] = {"u64", 8},   [MICA_DTYPE_I64] = {"i64", 8},
    [MICA_DTYPE_F16] = {"f16", 2},   [MICA_DTYPE_BF16] = {"bf16", 2},
    [MICA_DTYPE_F32] = {"f32", 4},   [MICA_DTYPE_F64] = {"f64", 8},
};

const char *mica_dtype_name(mica_dtype d) {
    return (unsigned)d < MICA_DTYPE_COUNT_ ? dtypes[d].name : "none";
}

size_t mica_dtype_bytes(mica_dtype d) {
    return (unsigned)d < MICA_DTYPE_COUNT_ ? dtypes[d].bytes : 0;
}

mica_dtype mica_dtype_from_name(const char *name) {
    for (int d = 1; d < MICA_DTYPE_COUNT_; d++)
        if (strcmp(dtypes[d].name, name) == 0) return (mica_dtype)d;
    return MICA_DTYPE_NONE;
}

bool mica_shape_make(int rank, const int64_t *dims, mica_shape *out) {
    if (rank < 0 || rank > MICA_RANK_MAX || (rank > 0 && !dims)) return false;
    mica_shape s = {.rank = rank};
    int64_t count = 1;
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0 || dims[i] > ELEMENTS_MAX) return false;
        s.dims[i] = dims[i];
        /* Over the non-zero dims, so that no order of axes hides an overflow behind a zero. */
        if (dims[i] && (!mica_mul_i64(count, dims[i], &count) || count > ELEMENTS_MAX))
            return false;
    }
    *out = s;
    return true;
}

int64_t mica_shape_count(const mica_shape *s) {
    int64_t count = 1;
    for (int i = 0; i < s->rank; i++) count *= s->dims[i];
    return count;
}

bool mica_shape_equal(const mica_shape *a, const mica_shape *b) {
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i]) return false;
    return true;
}

void mica_shape_strides(const mica_shape *s, int64_t strides[MICA_RANK_MAX]) {
    int64_t stride = 1;
    for (int i = 0; i < MICA_RANK_MAX; i++) strides[i] = 0;
    for (int i = s->rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= s->dims[i] ? s->dims[i] : 1;
    }
}

const char *mica_shape_format(const mica_shape *s, char out[176]) {
    size_t n = 0;
    out[n++] = '[';
    for (int i = 0; i < s->rank; i++)
        n += (size_t)snprintf(out + n, 176 - n, i ? ", %lld" : "%lld", (long long)s->dims[i]);
    snprintf(out + n, 176 - n, "]");
    return out;
}

bool mica_shape_broadcast(const mica_shape *a, const mica_shape *b, mica_shape *out) {
    int rank = a->rank > b->rank ? a->rank : b->rank;
    int64_t dims[MICA_RANK_MAX];
    for (int i = 0; i < rank; i++) {
        int ia = i - (rank - a->rank), ib = i - (rank - b->rank);
        int64_t da = ia < 0 ? 1 : a->dims[ia], db = ib < 0 ? 1 : b->dims[ib];
        if (da != db && da != 1 && db != 1) return false;
        dims[i] = da == 1 ? db : da;
    }
    return mica_shape_make(rank, dims, out);
}

int mica_quant_parts(mica_quant q) {
    if (q.mode == MICA_QUANT_NONE) return 1;
    return q.mode == MICA_QUANT_AFFINE || q.mode == MICA_QUANT_NVFP4_SCALED ? 3 : 2;
}

/* Matrices of the last two axes; a row alone counts as one. */
static uint64_t count_matrices(const mica_shape *s) {
    uint64_t count = 1;
    for (int i = 0; i + 2 < s->rank; i++) count *= (uint64_t)s->dims[i];
    return count;
}

uint64_t mica_part_bytes(mica_dtype dtype, mica_quant q, const mica_shape *s, int part) {
    if (part < 0 || part >= mica_quant_parts(q)) return 0;
    uint64_t count = (uint64_t)mica_shape_count(s);
    if (q.mode == MICA_QUANT_NONE) return count * mica_dtype_bytes(dtype);
    if (part == 0) return count / 8 * q.bits; /* K is a multiple of the group, hence of 8 */
    if (part == 2 && q.mode == MICA_QUANT_NVFP4_SCALED) return count_matrices(s) * sizeof(float);
    return count / q.group * mica_dtype_bytes((mica_dtype)q.scale_dtype);
}

bool mica_quant_is_valid(mica_quant q) {
    bool is_u8 = q.scale_dtype == MICA_DTYPE_U8;
    switch ((mica_quant_mode)q.mode) {
    case MICA_QUANT_NONE:
        return true;
    case MICA_QUANT_AFFINE:
        return (q.bits == 2 || q.bits == 3 || q.bits == 4 || q.bits == 5 || q.bits == 6 ||
                q.bits == 8) &&
               (q.group == 32 || q.group == 64 || q.group == 128) &&
               (q.scale_dtype == MICA_DTYPE_F32 || q.scale_dtype == MICA_DTYPE_F16 ||
                q.scale_dtype == MICA_DTYPE_BF16);
    case MICA_QUANT_MXFP4:
        return q.bits == 4 && q.group == 32 && is_u8;
    case MICA_QUANT_MXFP8:
        return q.bits == 8 && q.group == 32 && is_u8;
    case MICA_QUANT_NVFP4:
    case MICA_QUANT_NVFP4_SCALED:
        return q.bits == 4 && q.group == 16 && is_u8;
    }
    return false;
}

const char *mica_quant_format(mica_quant q, char out[32]) {
    static const char *const names[] = {"", "affine", "mxfp4", "mxfp8", "nvfp4", "nvfp4_scaled"};
    if (q.mode == MICA_QUANT_AFFINE)
        snprintf(out, 32, "affine%ug%u", (unsigned)q.bits, (unsigned)q.group);
    else
        snprintf(out, 32, "%s", q.mode < 6 ? names[q.mode] : "?");
    return out;
}
