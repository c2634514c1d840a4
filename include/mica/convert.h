/* Converting a checkpoint: from any form that mica opens to a folder in MLX's layout, which mica
 * and mlx-lm open, with weights as they are, as floats of another type, or quantised. The folder
 * appears whole or not at all; memory is bounded by about one tensor. */
#pragma once
#include "mica/array.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What became of one module (a weight with its scales) or of one other tensor. Texts are borrowed
 * for the call.
 * from, to      "BF16", "affine:4:64"
 * note          how an imported format was read ("Q4_0 to affine 4 bit: lossless"), or why a matrix
 *               is not what was asked for; NULL: nothing to say
 * bytes_in, bytes_out    as it was read, and as it is written
 * error_max, error_rms   of the new values against those before; 0 where nothing was lost
 * value_max     largest magnitude before, where values were read */
typedef struct mica_convert_tensor {
    const char *name;
    int rank;
    int64_t dims[MICA_RANK_MAX];
    const char *from;
    const char *to;
    const char *note;
    bool is_copied; /* byte for byte */
    uint64_t bytes_in;
    uint64_t bytes_out;
    double error_max;
    double error_rms;
    double value_max;
} mica_convert_tensor;

typedef void (*mica_convert_callback)(void *context, const mica_convert_tensor *tensor);

/* Zero means default.
 * quantize     how to store the matrices of linear layers, experts and embeddings: "affine:B:G"
 * with B 2, 3, 4, 5, 6 or 8 bits and groups G of 32, 64 or 128, "mxfp4", "mxfp8", "nvfp4". NULL: as
 * they are. Vectors stay plain, as do rows that do not come to whole groups. Routers become
 * affine:8:64; experts that were trained as mxfp4 stay so. dtype        "bf16", "f16" or "f32" for
 * all that is not quantised, and for scales. Without quantize, quantised matrices become plain.
 * recipe       mixed bits as mlx-lm has them: "mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6";
 * the group is that of quantize, else 64 overrides    "PATTERN=affine:8:64": modules whose path
 * matches (* and ? as in a shell; * takes dots too); the last match decides, before all other
 * rules. "=none" leaves plain shard_bytes_max   of one file; 0 = 5 GiB. A larger module has a file
 * of its own n_threads    0 = one per core progress     bytes written; stage "convert" */
typedef struct mica_convert_options {
    size_t struct_bytes;
    const char *quantize;
    const char *dtype;
    const char *recipe;
    const char *const *overrides;
    size_t n_overrides;
    uint64_t shard_bytes_max;
    int n_threads;
    mica_progress_callback progress;
    void *progress_context;
    mica_convert_callback on_tensor;
    void *tensor_context;
} mica_convert_options;

/* bytes_in, bytes_out   of the files with weights
 * bits_per_weight   of the tensors written, over n_parameters
 * n_rounded   modules that were rounded when an imported format was read: their notes say how
 * error_max, error_rms   over all elements whose values changed; n_changed of them */
typedef struct mica_convert_report {
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t n_parameters;
    uint64_t n_changed;
    size_t n_tensors;
    size_t n_shards;
    size_t n_rounded;
    double bits_per_weight;
    double error_max;
    double error_rms;
} mica_convert_report;

/* Whether the texts of options mean something, and agree. Opens nothing. INVALID, saying what is
 * wrong. Threads: any. */
MICA_API mica_status mica_convert_check_options(const mica_convert_options *options,
                                                mica_error *err);

/* in: what mica_model_open takes. out: a folder that is not there yet, or empty. report may be
 * NULL. Errors: those of mica_model_open; INVALID for options that say nothing known or contradict
 * each other, and when something is at out; FORMAT for weights that are not finite or do not fit
 * the type (naming the tensor); CANCELLED. After an error nothing is at out. Threads: any; as many
 * conversions at once as memory holds. */
MICA_API mica_status mica_convert(mica_runtime *runtime, const char *in, const char *out,
                                  const mica_convert_options *options, mica_convert_report *report,
                                  mica_error *err);

#ifdef __cplusplus
}
#endif
