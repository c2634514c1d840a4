/* Fills the weight store from a checkpoint. A family calls one function per weight; each checks
 * dtype and shape against what the configuration predicts before a byte is used. Names are
 * printf-style. */
#pragma once
#include "base/error.h"
#include "model/model.h"

/* Threads: one at a time. */
struct mica_loader {
    /* Set instead of a checkpoint: is told what would be taken, and nothing is loaded. */
    mica_predict_callback predict;
    void *predict_context;
    mica_model *model;
    const mica_config *config;
    mica_checkpoint *checkpoint;
    const mica_config_quant_rule *
        *rules;      /* of config->quant_mlx, sorted by path; NULL = not sorted */
    bool check_only; /* shapes only: the store gets entries without buffers */
    mica_progress_callback progress;
    void *progress_context;
    uint64_t done_bytes;
    uint64_t total_bytes;
};

/* After the configuration is final; the caller frees l->rules. OUT_OF_MEMORY. */
mica_status mica_loader_sort_rules(mica_loader *l, const mica_allocator *allocator,
                                   mica_error *err);

/* [n], f32, f16 or bf16. */
mica_status mica_load_vector(mica_loader *l, int64_t n, mica_error *err, const char *format, ...)
    MICA_PRINTF(4, 5);
/* [rows, columns] of the same types; where the name ends in ".weight" it may be quantised, as MLX
 * stores it and config.json says (docs/formats.md): weight U32 [rows, columns * bits / 32], scales,
 * biases. All matrices and experts below may be. */
mica_status mica_load_matrix(mica_loader *l, int64_t rows, int64_t columns, mica_error *err,
                             const char *format, ...) MICA_PRINTF(5, 6);
/* <prefix>.weight [n, k], and <prefix>.bias [n] when has_bias. */
mica_status mica_load_linear(mica_loader *l, int64_t n, int64_t k, bool has_bias, mica_error *err,
                             const char *format, ...) MICA_PRINTF(6, 7);
/* Experts [e, n, k] under the name <prefix>, and <prefix>_bias [e, n]: MXFP4 from <prefix>_blocks
 * [e, n, k / 32, 16] and <prefix>_scales [e, n, k / 32], read in place; or the plain tensor
 * <prefix> [e, k, n], which is transposed into memory of its own. */
mica_status mica_load_experts(mica_loader *l, int64_t e, int64_t n, int64_t k, mica_error *err,
                              const char *format, ...) MICA_PRINTF(6, 7);
/* Whether the checkpoint has a tensor of this name, by which MLX's converter is told from others;
 * in predictions, whether the configuration is MLX's. */
bool mica_loader_has_mlx(const mica_loader *l, const char *format, ...) MICA_PRINTF(2, 3);
/* Experts as MLX stores them: <path>.weight [e, n, k], and <path>.bias [e, n] when has_bias. */
mica_status mica_load_linear_experts(mica_loader *l, int64_t e, int64_t n, int64_t k, bool has_bias,
                                     mica_error *err, const char *format, ...) MICA_PRINTF(7, 8);
/* The experts of one layer, a matrix each: <prefix>.<i>.<name>.weight [n, k] for i < e, all stored
 * alike. They become the weight <prefix>.<name>.weight [e, n, k], copied part by part into memory
 * of its own. */
typedef struct mica_expert_matrices {
    int64_t e, n, k;
    const char *name;
} mica_expert_matrices;
mica_status mica_load_expert_matrices(mica_loader *l, const mica_expert_matrices *m,
                                      mica_error *err, const char *format, ...) MICA_PRINTF(4, 5);
/* A vector that is computed, not read. */
mica_status mica_load_computed(mica_loader *l, const char *name, const float *values, int64_t n,
                               mica_error *err);

/* ---- the weights of shared layers (load_layers.c) ------------------------------------------- */

/* Embedding, final norm, and a head where it is not tied. */
mica_status mica_load_ends(mica_loader *l, mica_error *err);
/* What mica_layer_attention takes of layer i. */
typedef struct mica_attention_weights {
    bool has_qkv_bias;
    bool has_output_bias;
    bool has_qk_norm;      /* q_norm and k_norm [head_dim] */
    bool has_wide_qk_norm; /* q_norm [heads * head_dim], k_norm [kv_heads * head_dim] */
    bool is_fused;         /* q, k and v are rows of one qkv_proj */
} mica_attention_weights;
mica_status mica_load_attention(mica_loader *l, int i, mica_attention_weights w, mica_error *err);
/* What mica_layer_mlp takes: gate, up and down projections of intermediate_size; gate and up may be
 * rows of one gate_up_proj. */
mica_status mica_load_mlp(mica_loader *l, int i, bool has_bias, mica_error *err);
mica_status mica_load_mlp_fused(mica_loader *l, int i, mica_error *err);
/* The norms before attention and before the mlp. */
mica_status mica_load_norms(mica_loader *l, int i, mica_error *err);
/* All weights of a plain decoder (mica_layer_plain); with w.is_fused the mlp is fused too. */
mica_status mica_load_plain(mica_loader *l, mica_attention_weights w, bool has_mlp_bias,
                            mica_error *err);
