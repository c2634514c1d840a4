/* The table of element types of the safetensors format, and what follows from it: names, sizes and
 * the array types that hold them. Part of safetensors.h. */
#include "base/checked.h"
#include "format/safetensors.h"

typedef struct dtype_row {
    const char *name;
    uint8_t bits;
    uint8_t plain; /* mica_dtype */
} dtype_row;

/* clang-format off */
static const dtype_row rows[MICA_SAFETENSORS_DTYPE_COUNT_] = {
    [MICA_SAFETENSORS_NONE] = {"none", 0, MICA_DTYPE_NONE},
    [MICA_SAFETENSORS_BOOL] = {"BOOL", 8, MICA_DTYPE_BOOL},
    [MICA_SAFETENSORS_U8] = {"U8", 8, MICA_DTYPE_U8},
    [MICA_SAFETENSORS_I8] = {"I8", 8, MICA_DTYPE_I8},
    [MICA_SAFETENSORS_U16] = {"U16", 16, MICA_DTYPE_U16},
    [MICA_SAFETENSORS_I16] = {"I16", 16, MICA_DTYPE_I16},
    [MICA_SAFETENSORS_U32] = {"U32", 32, MICA_DTYPE_U32},
    [MICA_SAFETENSORS_I32] = {"I32", 32, MICA_DTYPE_I32},
    [MICA_SAFETENSORS_U64] = {"U64", 64, MICA_DTYPE_U64},
    [MICA_SAFETENSORS_I64] = {"I64", 64, MICA_DTYPE_I64},
    [MICA_SAFETENSORS_F16] = {"F16", 16, MICA_DTYPE_F16},
    [MICA_SAFETENSORS_BF16] = {"BF16", 16, MICA_DTYPE_BF16},
    [MICA_SAFETENSORS_F32] = {"F32", 32, MICA_DTYPE_F32},
    [MICA_SAFETENSORS_F64] = {"F64", 64, MICA_DTYPE_F64},
    [MICA_SAFETENSORS_C64] = {"C64", 64, MICA_DTYPE_NONE},
    [MICA_SAFETENSORS_F4] = {"F4", 4, MICA_DTYPE_NONE},
    [MICA_SAFETENSORS_F6_E2M3] = {"F6_E2M3", 6, MICA_DTYPE_NONE},
    [MICA_SAFETENSORS_F6_E3M2] = {"F6_E3M2", 6, MICA_DTYPE_NONE},
    [MICA_SAFETENSORS_F8_E5M2] = {"F8_E5M2", 8, MICA_DTYPE_NONE},
    [MICA_SAFETENSORS_F8_E4M3] = {"F8_E4M3", 8, MICA_DTYPE_U8},
    [MICA_SAFETENSORS_F8_E8M0] = {"F8_E8M0", 8, MICA_DTYPE_U8},
    [MICA_SAFETENSORS_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8, MICA_DTYPE_NONE},
    [MICA_SAFETENSORS_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8, MICA_DTYPE_NONE},
};
/* clang-format on */

static const dtype_row *row_of(mica_safetensors_dtype dtype) {
    return &rows[dtype > MICA_SAFETENSORS_NONE && dtype < MICA_SAFETENSORS_DTYPE_COUNT_
                     ? dtype
                     : MICA_SAFETENSORS_NONE];
}

const char *mica_safetensors_dtype_name(mica_safetensors_dtype dtype) {
    return row_of(dtype)->name;
}

int mica_safetensors_dtype_bits(mica_safetensors_dtype dtype) { return row_of(dtype)->bits; }

mica_dtype mica_safetensors_dtype_plain(mica_safetensors_dtype dtype) {
    return (mica_dtype)row_of(dtype)->plain;
}

mica_safetensors_dtype mica_safetensors_dtype_from_name(mica_slice name) {
    for (int i = MICA_SAFETENSORS_NONE + 1; i < MICA_SAFETENSORS_DTYPE_COUNT_; i++)
        if (mica_slice_is(name, rows[i].name)) return (mica_safetensors_dtype)i;
    return MICA_SAFETENSORS_NONE;
}

mica_safetensors_dtype mica_safetensors_dtype_of(mica_dtype dtype) {
    if (dtype == MICA_DTYPE_NONE) return MICA_SAFETENSORS_NONE;
    /* The byte types of 8-bit floats stand behind U8 itself. */
    for (int i = MICA_SAFETENSORS_NONE + 1; i < MICA_SAFETENSORS_DTYPE_COUNT_; i++)
        if (rows[i].plain == dtype) return (mica_safetensors_dtype)i;
    return MICA_SAFETENSORS_NONE;
}

int mica_safetensors_tensor_bytes(mica_safetensors_dtype dtype, const mica_shape *shape,
                                  uint64_t *out) {
    uint64_t count = 1, bits;
    bool is_empty = false;
    /* Over the dims that are not zero, so that the verdict does not hang on their order. */
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dims[i] == 0)
            is_empty = true;
        else if (!mica_mul_u64(count, (uint64_t)shape->dims[i], &count))
            return 10;
    }
    if (is_empty) count = 0;
    if (!mica_mul_u64(count, (uint64_t)mica_safetensors_dtype_bits(dtype), &bits)) return 11;
    if (bits % 8 != 0) return 11;
    *out = bits / 8;
    return 0;
}

bool mica_safetensors_name_is_valid(mica_slice name) {
    if (name.bytes < 1 || name.bytes > MICA_SAFETENSORS_NAME_BYTES_MAX) return false;
    for (size_t i = 0; i < name.bytes; i++) {
        unsigned char c = (unsigned char)name.data[i];
        if (c < 0x20 || c == 0x7F) return false;
    }
    return mica_utf8_is_valid(name.data, name.bytes);
}
