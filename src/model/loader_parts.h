/* What the files of loader.h share: one part of a weight, and how a module's matrix is stored. */
#pragma once
#include <stdarg.h>
#include <stdio.h>
#include "model/loader.h"

#define LOADER_NAME_BYTES 256
#define LOADER_FORMAT_NAME(name, format)                                                           \
    do {                                                                                           \
        va_list args_;                                                                             \
        va_start(args_, format);                                                                   \
        vsnprintf(name, sizeof name, format, args_);                                               \
        va_end(args_);                                                                             \
    } while (0)

extern const mica_safetensors_dtype loader_float_types[3]; /* bf16 first */
extern const mica_safetensors_dtype loader_byte_types[1];

/* One tensor of a matrix: <path><suffix>. */
typedef struct loader_part {
    const char *suffix;
    const mica_safetensors_dtype *types; /* those it may have */
    size_t n_types;
    mica_shape shape;
} loader_part;

/* The tensors of a matrix, in the order of the weight's parts; a plain one has one. */
typedef struct loader_parts {
    mica_quant quant;
    mica_shape shape; /* of the matrix */
    loader_part parts[MICA_PARTS_MAX];
    int n_parts;
} loader_parts;

/* How the matrix <path>.weight of this shape ([n, k] or [e, n, k]) is stored, as config.json says
 * (docs/formats.md, "Quantised weights"). Scales of affine may be of three types: quant.scale_dtype
 * is F32 until loader_narrow_parts. Errors: UNSUPPORTED for a format that mica does not know;
 * FORMAT for rows that are not in whole groups, or a tensor that the format has not; LIMIT. */
mica_status loader_find_parts(const mica_loader *l, const char *path, int rank, const int64_t *dims,
                              loader_parts *out, mica_error *err);
/* To be called with the tensor found for part p (NULL: predicted): sets scale_dtype, and the type
 * that biases must have. */
void loader_narrow_parts(loader_parts *parts, int p, const mica_checkpoint_tensor *tensor);
/* Values that part p of a format may not have; name is for errors. FORMAT. */
mica_status loader_check_values(const loader_parts *parts, int p, const char *name,
                                const uint8_t *data, uint64_t bytes, mica_error *err);

/* After done_bytes grew. CANCELLED when the callback says so. */
mica_status loader_report(const mica_loader *l, const char *stage, mica_error *err);
/* Checks a tensor and imports its bytes as a part; in check_only mode the part stays empty. */
mica_status loader_take_part(mica_loader *l, const char *name, const mica_safetensors_dtype *types,
                             size_t n_types, const mica_shape *shape,
                             const mica_checkpoint_tensor **tensor, mica_storage *part,
                             mica_error *err);
/* A part of our own; *host is where to write it, NULL in check_only mode. */
mica_status loader_new_part(mica_loader *l, uint64_t bytes, mica_storage *part, uint8_t **host,
                            mica_error *err);
/* Takes over the parts, also on failure. */
mica_status loader_add_weight(mica_loader *l, const char *name, mica_dtype dtype, mica_quant quant,
                              const mica_shape *shape, mica_storage parts[MICA_PARTS_MAX],
                              mica_error *err);
/* Predicted tensors do not exist: they count as bf16. */
mica_dtype loader_plain_type(const mica_checkpoint_tensor *tensor);
void loader_release_parts(mica_storage parts[MICA_PARTS_MAX]);
/* A plain tensor. */
mica_status loader_load_plain(mica_loader *l, const char *name, int rank, const int64_t *dims,
                              mica_error *err);
/* <path>.weight, in whatever parts it has. */
mica_status loader_load_matrix(mica_loader *l, const char *path, int rank, const int64_t *dims,
                               mica_error *err);
