/* What a conversion consists of: one unit for each module (a weight with its scales and biases) and
 * for each other tensor, with the tensors that are read and those that are written. */
#pragma once
#include "base/vec.h"
#include "format/checkpoint.h"
#include "format/convert_rules.h"

#define CONVERT_PARTS 3 /* weight, scales, biases; in this order */

/* How the bytes come about. */
typedef enum convert_kind {
    CONVERT_COPY,   /* as they are */
    CONVERT_CAST,   /* floats to floats of another type */
    CONVERT_DECODE, /* quantised to floats */
    CONVERT_ENCODE, /* floats or quantised to quantised */
} convert_kind;

/* A tensor to write. */
typedef struct convert_output {
    const char *name;
    mica_safetensors_dtype dtype;
    mica_shape shape;
    uint64_t bytes;
} convert_output;

/* Names live as long as the checkpoint.
 * path      of the module, or the name of the tensor
 * shape     of the values: [..., rows, k]
 * sources   n_sources of them; plain: the weight alone
 * from, to  mode NONE: floats of from_dtype, to_dtype (the type of other tensors when copied)
 * rows, k   values as a matrix
 * matrix_rows   rows of one matrix of the last two axes
 * note      why it is not what was asked for, or NULL; static */
typedef struct convert_unit {
    const char *path;
    const char *note;
    convert_kind kind;
    mica_shape shape;
    int64_t rows, k, matrix_rows;
    mica_quant from, to;
    mica_dtype from_dtype, to_dtype;
    const mica_checkpoint_tensor *sources[CONVERT_PARTS];
    int n_sources;
    convert_output outputs[CONVERT_PARTS];
    int n_outputs;
    uint64_t bytes_in, bytes_out;
    size_t shard;
} convert_unit;

/* Appends the units of c, whose tensors have MLX's names and shapes (mlx_layout.h), in order of
 * names. Errors: FORMAT for quantised tensors that contradict the config or each other, with both
 * shapes; OUT_OF_MEMORY. */
mica_status convert_units_make(mica_checkpoint *c, const convert_rules *rules, mica_vec *units,
                               mica_error *err);
/* "affine:4:64" or "BF16": what a unit was and what it becomes. */
const char *convert_unit_from(const convert_unit *u, char out[32]);
const char *convert_unit_to(const convert_unit *u, char out[32]);
