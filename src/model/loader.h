/* Fills the weight store from a checkpoint. A family calls one function per weight; each checks dtype
 * and shape against what the configuration predicts before a byte is used. Names are printf-style. */
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
    bool check_only; /* shapes only: the store gets entries without buffers */
    mica_progress_callback progress;
    void *progress_context;
    uint64_t done_bytes;
    uint64_t total_bytes;
};

/* [n] and [rows, columns], f32, f16 or bf16. */
mica_status mica_load_vector(mica_loader *l, int64_t n, mica_error *err, const char *format, ...)
    MICA_PRINTF(4, 5);
mica_status mica_load_matrix(mica_loader *l, int64_t rows, int64_t columns, mica_error *err,
                             const char *format, ...) MICA_PRINTF(5, 6);
/* <prefix>.weight [n, k], and <prefix>.bias [n] when has_bias. */
mica_status mica_load_linear(mica_loader *l, int64_t n, int64_t k, bool has_bias, mica_error *err,
                             const char *format, ...) MICA_PRINTF(6, 7);
/* Experts [e, n, k] under the name <prefix>, and <prefix>_bias [e, n]: MXFP4 from <prefix>_blocks
 * [e, n, k / 32, 16] and <prefix>_scales [e, n, k / 32], read in place; or the plain tensor <prefix>
 * [e, k, n], which is transposed into memory of its own. */
mica_status mica_load_experts(mica_loader *l, int64_t e, int64_t n, int64_t k, mica_error *err,
                              const char *format, ...) MICA_PRINTF(6, 7);
/* The experts of one layer, a matrix each: <prefix>.<i>.<names[j]>.weight [n, k] for i < e and
 * j < n_names, all of one dtype. They become the weight <prefix>.<packed> [e, n_names * n, k], copied
 * into memory of its own. */
typedef struct mica_expert_matrices {
    int64_t e, n, k;
    const char *packed;
    const char *const *names;
    int n_names;
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
    bool has_qk_norm; /* q_norm and k_norm [head_dim] */
} mica_attention_weights;
mica_status mica_load_attention(mica_loader *l, int i, mica_attention_weights w, mica_error *err);
/* What mica_layer_mlp takes: gate, up and down projections of intermediate_size. */
mica_status mica_load_mlp(mica_loader *l, int i, bool has_bias, mica_error *err);
/* The norms before attention and before the mlp. */
mica_status mica_load_norms(mica_loader *l, int i, mica_error *err);
/* All weights of a plain decoder (mica_layer_plain). */
mica_status mica_load_plain(mica_loader *l, mica_attention_weights w, bool has_mlp_bias,
                            mica_error *err);
