/* A model: a folder with config.json and safetensors, as Hugging Face publishes it, or one GGUF
 * file. Loading checks every file against the configuration before a weight is used. Next: engine.h
 * generates text. */
#pragma once
#include "mica/array.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Configuration and weights; immutable after open. Threads: any. */
typedef struct mica_model mica_model;

/* Zero means default. */
typedef struct mica_model_options {
    size_t struct_bytes;
    bool check_only;       /* check the files against the configuration; map nothing */
    bool read_into_memory; /* do not map the files (network file systems are never mapped) */
    mica_progress_callback progress; /* bytes; stage "weights", or "check" with check_only */
    void *progress_context;
} mica_model_options;

/* path: the model folder, or a GGUF file. Errors: NOT_FOUND, IO, FORMAT, UNSUPPORTED (family,
 * dtype, rope type), LIMIT (memory budget: both numbers), CANCELLED. */
MICA_API mica_status mica_model_open(mica_runtime *runtime, const char *path,
                                     const mica_model_options *options, mica_model **out,
                                     mica_error *err);
/* Engines of the model must be gone. */
MICA_API void mica_model_close(mica_model **model);

typedef struct mica_model_info {
    const char *family;       /* "gpt_oss" */
    const char *architecture; /* config.json architectures[0] */
    int64_t n_layers;
    int64_t hidden_size;
    int64_t n_heads;
    int64_t n_kv_heads;
    int64_t head_dim;
    int64_t vocab_size; /* rows of logits */
    int64_t n_experts;
    int64_t n_experts_per_token;
    int64_t sliding_window; /* 0 = none */
    int64_t context_max;    /* the model's own limit, tokens */
    uint64_t n_parameters;
    uint64_t n_parameters_active; /* used for one token */
    uint64_t weight_bytes;
    uint64_t weight_bytes_active; /* read for one token */
    size_t n_tensors;
    size_t n_shards;
} mica_model_info;
/* Strings are borrowed from the model. */
MICA_API void mica_model_get_info(const mica_model *model, mica_model_info *out);

/* What generation_config.json asks for; has_* false = not stated. */
typedef struct mica_model_sampling {
    bool has_temperature, has_top_k, has_top_p, has_min_p, has_repetition_penalty, has_do_sample;
    float temperature, top_p, min_p, repetition_penalty;
    int32_t top_k;
    bool do_sample;
    int32_t stop_ids[16]; /* config and generation_config merged */
    size_t n_stop_ids;
} mica_model_sampling;
MICA_API void mica_model_get_sampling(const mica_model *model, mica_model_sampling *out);

/* A tensor of the files, in file order. Strings are borrowed from the model. */
typedef struct mica_tensor_info {
    const char *name;
    const char *dtype; /* as the file spells it: "BF16" */
    int rank;
    int64_t dims[MICA_RANK_MAX];
    uint64_t bytes;
    const char *shard; /* file name */
} mica_tensor_info;
/* index < n_tensors; false past the end. */
MICA_API bool mica_model_get_tensor(const mica_model *model, size_t index, mica_tensor_info *out);

/* Memory that a model and an engine of default options need with `context` tokens. */
typedef struct mica_memory_estimate {
    uint64_t weight_bytes;
    uint64_t kv_bytes;
    uint64_t scratch_bytes; /* activations, kernel scratch, logits: the largest pass of a chunk */
    uint64_t total_bytes;
} mica_memory_estimate;
/* From config.json and the tensor headers alone: no weight is read.
 * mode decides the KV pages: f32 (exact) or bf16 (fast). */
MICA_API mica_status mica_model_estimate(const mica_model *model, int64_t context,
                                         mica_numeric_mode mode, mica_memory_estimate *out,
                                         mica_error *err);

/* ---- a checkpoint file on its own ---------------------------------------------------------- */

/* Applies the whole strict check to one .safetensors or GGUF file, or to the shards of a folder,
 * without a configuration. Threads: one at a time. */
typedef struct mica_tensor_list mica_tensor_list;
MICA_API mica_status mica_tensor_list_open(mica_runtime *runtime, const char *path,
                                           mica_tensor_list **out, mica_error *err);
MICA_API void mica_tensor_list_close(mica_tensor_list **list);
MICA_API size_t mica_tensor_list_count(const mica_tensor_list *list);
MICA_API bool mica_tensor_list_get(const mica_tensor_list *list, size_t index,
                                   mica_tensor_info *out);

/* ---- writing ------------------------------------------------------------------------------ */

/* A tensor to write; name and data are borrowed for the call. */
typedef struct mica_tensor_data {
    const char *name;
    mica_dtype dtype;
    int rank;
    int64_t dims[MICA_RANK_MAX];
    const void *data;
} mica_tensor_data;
/* Writes a .safetensors file: names sorted, temporary file, fsync, rename. */
MICA_API mica_status mica_safetensors_write(mica_runtime *runtime, const char *path,
                                            const mica_tensor_data *tensors, size_t n_tensors,
                                            mica_error *err);

#ifdef __cplusplus
}
#endif
