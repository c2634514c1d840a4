/* Element types inside the library; the public list is in mica/array.h. */
#pragma once
#include "mica/array.h"

static inline bool mica_dtype_is_float(mica_dtype d) {
    return d == MICA_DTYPE_F16 || d == MICA_DTYPE_BF16 || d == MICA_DTYPE_F32 ||
           d == MICA_DTYPE_F64;
}
static inline bool mica_dtype_is_integer(mica_dtype d) {
    return d >= MICA_DTYPE_U8 && d <= MICA_DTYPE_I64;
}
/* NONE for a name that is not one. */
mica_dtype mica_dtype_from_name(const char *name);

/* ---- shapes: [slowest, ..., fastest] ---- */
typedef struct mica_shape {
    int32_t rank;
    int64_t dims[MICA_RANK_MAX];
} mica_shape;

/* Fails (false) on a negative dim, a rank out of range or more than 2^48 elements. */
bool mica_shape_make(int rank, const int64_t *dims, mica_shape *out);
int64_t mica_shape_count(const mica_shape *s); /* product; a checked shape cannot overflow */
bool mica_shape_equal(const mica_shape *a, const mica_shape *b);
/* Row-major strides in elements. */
void mica_shape_strides(const mica_shape *s, int64_t strides[MICA_RANK_MAX]);
/* "[4, 320]" */
const char *mica_shape_format(const mica_shape *s, char out[176]);
/* The broadcast of two shapes; false when they do not match. */
bool mica_shape_broadcast(const mica_shape *a, const mica_shape *b, mica_shape *out);

/* ---- quantised types ---- */
/* Codes, scales, biases (of nvfp4_scaled: one f32 factor for each matrix of the last two axes):
 * bytes of each part of a quantised (or dense: part 0) array of this shape; part 0..2, 0 when the
 * part does not exist. Planar: each part is row-major over all leading axes. */
int mica_quant_parts(mica_quant q);
uint64_t mica_part_bytes(mica_dtype dtype, mica_quant q, const mica_shape *s, int part);
/* Whether bits, group and scale dtype fit the mode (quantisation facts, section 1). */
bool mica_quant_is_valid(mica_quant q);
/* "affine4g64", "mxfp4", ...; "" for none. */
const char *mica_quant_format(mica_quant q, char out[32]);
