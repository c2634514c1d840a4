/* What the importers share: the walk over the tensors is in import.c, linears of integer codes are
 * in import_affine.c; each kind of checkpoint has a file of its own. */
#pragma once
#include "format/checkpoint_rewrite.h"
#include "format/config.h"
#include "format/import.h"

typedef struct import_format import_format;

/* One import under way.
 * quant   what the config says, of another program's making
 * rules   mica_config_quant_rule of modules that differ from the first */
typedef struct import_job {
    const mica_host *host;
    mica_checkpoint *checkpoint;
    mica_config *config;
    const mica_config_quant *quant;
    const import_format *format;
    mica_checkpoint_rewrite rewrite;
    mica_vec rules;
    mica_quant_mode mode; /* of the first module; bits and group too */
    int32_t bits;
    int32_t group;
    size_t n_quantized;
    size_t n_dense;
    size_t n_dropped;
    size_t n_zero_biases;
} import_job;

/* A kind of packed module. Each has a tensor <path>.<marker>; the others in parts (NULL at the end)
 * belong to it where it stands; "weight" and "bias" may also stand without it, and are kept then.
 * import makes the tensors of one module from them. */
struct import_format {
    const char *label;
    const char *marker;
    const char *const *parts;
    mica_status (*import)(import_job *job, const char *path, mica_error *err);
};

/* What each file gives to the table in import.c: looks at the fields of the config and says what
 * the modules look like. UNSUPPORTED or FORMAT, naming the field. */
typedef mica_status (*import_choose)(const import_job *job, const import_format **out,
                                     mica_error *err);
mica_status import_choose_awq(const import_job *job, const import_format **out, mica_error *err);
mica_status import_choose_gptq(const import_job *job, const import_format **out, mica_error *err);
mica_status import_choose_compressed(const import_job *job, const import_format **out,
                                     mica_error *err);
mica_status import_choose_modelopt(const import_job *job, const import_format **out,
                                   mica_error *err);
mica_status import_choose_fp8(const import_job *job, const import_format **out, mica_error *err);

/* "config.json: quantization_config.<field> is <seen>, expected <wanted>": UNSUPPORTED. */
mica_status import_fail_field(const char *field, const char *seen, const char *wanted,
                              mica_error *err);
/* The same for a number; 0 of it stands for a field that is missing: FORMAT. */
mica_status import_fail_number(const char *field, int64_t seen, const char *wanted,
                               mica_error *err);

/* ---- old tensors ---- */

/* <path>.<suffix>, or NULL. */
const mica_checkpoint_tensor *import_find(const import_job *job, const char *path,
                                          const char *suffix);
/* <path>.<suffix> of one of the types (MICA_SAFETENSORS_NONE at the end). Errors: NOT_FOUND,
 * FORMAT. */
mica_status import_take(const import_job *job, const char *path, const char *suffix,
                        const mica_safetensors_dtype *types, const mica_checkpoint_tensor **out,
                        mica_error *err);
/* Rank 2 without empty dims. */
mica_status import_check_matrix(const mica_checkpoint_tensor *tensor, mica_error *err);
/* FORMAT "x.qzeros: shape [4, 8], expected [2, 8] by x.qweight [32, 8] and group size 16". cause
 * may be NULL; group is left out where it is 0. */
mica_status import_check_shape(const mica_checkpoint_tensor *tensor, int rank, const int64_t *dims,
                               const mica_checkpoint_tensor *cause, int64_t group, mica_error *err);
/* One element, F32. */
mica_status import_check_scalar(const mica_checkpoint_tensor *tensor, mica_error *err);

extern const mica_safetensors_dtype import_types_i32[];
extern const mica_safetensors_dtype import_types_f32[];
extern const mica_safetensors_dtype import_types_float[]; /* F16, BF16, F32 */
extern const mica_safetensors_dtype import_types_u8[];
extern const mica_safetensors_dtype import_types_e4m3[];

/* ---- new tensors ---- */

/* <path>.<suffix>: the same bytes as another type and shape, in place. */
mica_status import_view(import_job *job, const mica_checkpoint_tensor *tensor, const char *path,
                        const char *suffix, mica_safetensors_dtype dtype, int rank,
                        const int64_t *dims, mica_error *err);
mica_status import_add(import_job *job, const char *path, const char *suffix,
                       mica_safetensors_dtype dtype, int rank, const int64_t *dims,
                       const mica_checkpoint_recipe *recipe, mica_error *err);
/* Counts a module that stays quantised, for quant_mlx. */
mica_status import_note_quantized(import_job *job, const char *path, mica_quant_mode mode, int bits,
                                  int64_t group, mica_error *err);

/* ---- linears of integer codes (import_affine.c) ---- */

/* Where the zero point of row r, group g stands. */
typedef enum import_zeros {
    IMPORT_ZEROS_MIDDLE = 0, /* nowhere: it is 2^(bits - 1) */
    IMPORT_ZEROS_GPTQ,       /* nibble r % 8 of word [g, r / 8] */
    IMPORT_ZEROS_AWQ,        /* the same, nibbles in AWQ's order */
    IMPORT_ZEROS_STREAM, /* bits r * bits... of the words of column g, from the first row down */
} import_zeros;

/* w[r, c] = (q[r, c] - zero[r, g]) * scale[r, g], g the group of column c. All is checked against
 * each other but contents.
 * codes        the packed tensor; make_codes turns it into MLX's [n, k * bits / 32], NULL: it is
 * that zeros        NULL for MIDDLE g_idx        I32 [k], group of each column; NULL: c / group
 * groups       of a row; the last one may be short
 * is_by_row    scales are [n, groups]; else [groups, n]
 * zero_add     what is to be added to stored zero points
 * is_symmetric all zero points must be 2^(bits - 1), whatever is stored */
typedef struct import_affine {
    const mica_checkpoint_tensor *codes;
    mica_recipe_function make_codes;
    const mica_checkpoint_tensor *scales;
    const mica_checkpoint_tensor *zeros;
    const mica_checkpoint_tensor *g_idx;
    int64_t n, k;
    int64_t group, groups;
    int bits;
    bool is_by_row;
    import_zeros zeros_kind;
    int zero_add;
    bool is_symmetric;
} import_affine;

/* Columns of a group, and groups of a row, by the config: MICA_CONFIG_QUANT_WHOLE_ROW is one. */
void import_affine_set_group(import_affine *a, int64_t group_size);
/* Reads g_idx, if there is one: FORMAT for a group that does not exist. *is_in_order: it says c /
 * group for every column c. */
mica_status import_affine_check_order(import_job *job, const import_affine *a, bool *is_in_order,
                                      mica_error *err);
/* Adds <path>.weight, .scales and .biases; or a plain <path>.weight where the groups are none that
 * MLX has (is_in_order false, or of another size), rounded to the type of the scales. */
mica_status import_affine_add(import_job *job, const char *path, const import_affine *a,
                              bool is_in_order, mica_error *err);
/* make_codes of AWQ, I32 [k, n / 8], and GPTQ, I32 [k / 8, n]. recipe->context: the import_affine.
 */
mica_status import_make_codes_awq(const mica_checkpoint_recipe *recipe,
                                  const mica_checkpoint_tensor *tensor, const uint8_t *const *data,
                                  uint8_t *out, mica_error *err);
mica_status import_make_codes_gptq(const mica_checkpoint_recipe *recipe,
                                   const mica_checkpoint_tensor *tensor, const uint8_t *const *data,
                                   uint8_t *out, mica_error *err);

/* ---- four-bit floats (import_fp4.c) ---- */

/* codes      U8 [n, k / 2], low nibble first
 * scales     E4M3 for each 16 columns (nvfp4), E8M0 for each 32 (mxfp4)
 * factor     nvfp4: F32, one number for all; NULL: there is none
 * is_divisor the weights are divided by it, not multiplied */
typedef struct import_fp4 {
    mica_quant_mode mode;
    const mica_checkpoint_tensor *codes;
    const mica_checkpoint_tensor *scales;
    const mica_checkpoint_tensor *factor;
    bool is_divisor;
} import_fp4;

/* Checks shapes and adds <path>.weight, .scales and, with a factor, .scale_factor. */
mica_status import_fp4_add(import_job *job, const char *path, const import_fp4 *f, mica_error *err);
