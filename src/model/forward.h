/* The forward pass as a trace: what a family's forward() sees. Shapes are capacities; what changes
 * at every step lies in the batch inputs, whose names and layouts are here and nowhere else. */
#pragma once
#include "core/graph.h"
#include "core/paged.h"
#include "mica/ops.h"
#include "model/family.h"
#include "model/model.h"

/* Capacities of one trace. */
typedef struct mica_forward_shape {
    int32_t n_tokens;                        /* T: tokens of all sequences together */
    int32_t n_rows;                          /* R: rows whose logits are wanted */
    int32_t n_sequences;                     /* S */
    int32_t table_width[MICA_KV_GROUPS_MAX]; /* pages of a sequence, per group */
    int32_t n_pages[MICA_KV_GROUPS_MAX];     /* of the pool, per group */
    mica_numeric_mode mode;
} mica_forward_shape;

/* Names of the inputs. All i32 but the pools and the rotary tables. */
#define MICA_BATCH_COUNTS "batch.counts"                 /* [4]: tokens, rows, sequences, 0 */
#define MICA_BATCH_TOKEN_IDS "batch.token_ids"           /* [T] */
#define MICA_BATCH_POSITIONS "batch.positions"           /* [T] position in its sequence */
#define MICA_BATCH_TOKEN_SEQUENCE "batch.token_sequence" /* [T] row of batch.sequences */
#define MICA_BATCH_SEQUENCES "batch.sequences" /* [S, 4]: first token, tokens, past length, 0 */
#define MICA_BATCH_ROWS "batch.rows"           /* [R] token rows whose logits are wanted */
/* f32 [S, model.n_rope_pairs]: inverse frequencies, where each sequence has a table of its own. */
#define MICA_BATCH_ROPE "batch.rope"
/* [S, table_width] page numbers, and [n_pages, layers, 2, kv_heads, 64, dim]; per group. */
extern const char *const mica_batch_pages[MICA_KV_GROUPS_MAX];
extern const char *const mica_batch_pool[MICA_KV_GROUPS_MAX];

typedef struct mica_forward {
    const mica_model *model;
    mica_graph *graph;
    mica_forward_shape shape;
    mica_array token_ids, positions, token_sequence, sequences, rows;
    mica_array rope; /* null where one table serves all */
    mica_array pages[MICA_KV_GROUPS_MAX];
    mica_array pool[MICA_KV_GROUPS_MAX]; /* the newest version: kv_write replaces it */
} mica_forward;

/* Traces the whole pass into a new graph. outputs[0] = logits f32 [R, vocab], then the pools.
 * Errors: the sticky error of the graph. */
#define MICA_FORWARD_OUTPUTS_MAX (1 + MICA_KV_GROUPS_MAX)
mica_status mica_forward_trace(const mica_model *model, const mica_forward_shape *shape,
                               mica_graph **out, mica_ref outputs[MICA_FORWARD_OUTPUTS_MAX],
                               size_t *n_outputs, mica_error *err);

/* ---- shared layers (layers.c) --------------------------------------------------------------- */

/* A weight by its printf-style name; the null array (and a sticky error) if the store lacks it. */
mica_array mica_forward_weight(mica_forward *f, const char *format, ...) MICA_PRINTF(2, 3);
/* As above, but absence is fine: the null array without an error. */
mica_array mica_forward_weight_optional(mica_forward *f, const char *format, ...) MICA_PRINTF(2, 3);

/* <prefix>.weight [n, k] and <prefix>.bias [n] where there is one. */
mica_array mica_layer_linear(mica_forward *f, mica_array x, const char *format, ...)
    MICA_PRINTF(3, 4);
/* The same of experts: <prefix>.weight [e, n, k] and <prefix>.bias [e, n]; x and ids as for
 * mica_linear_experts. */
mica_array mica_layer_linear_experts(mica_forward *f, mica_array x, mica_array ids,
                                     const char *format, ...) MICA_PRINTF(4, 5);
/* Embedding rows of the batch's token ids, f32 [T, hidden]. */
mica_array mica_layer_embed(mica_forward *f);
/* RMS norm with the weight `<name>.weight`. */
mica_array mica_layer_norm_rms(mica_forward *f, mica_array x, float offset, const char *format, ...)
    MICA_PRINTF(4, 5);
/* Self-attention of layer l on x [T, hidden]: q, k, v projections (one fused qkv_proj where the
 * store has it; with bias where the store has it), q_norm and k_norm where the store has them (of
 * each head, or of all heads together where the weight is that long), rope (window layers by
 * config.rope_local; none in layers of config.has_no_rope), paged attention with the layer's window
 * and sinks, KV write, output projection. Zero means default. */
typedef struct mica_attention_layer {
    float scale;       /* of scores; 0 = 1 / sqrt(head_dim) */
    float soft_cap;    /* scores become cap * tanh(score / cap); 0 = none */
    float norm_offset; /* of q_norm and k_norm */
} mica_attention_layer;
mica_array mica_layer_attention(mica_forward *f, int layer, mica_array x,
                                mica_attention_layer options);
/* down(activation(gate(x)) * up(x)); gate and up are one gate_up_proj where the store has it. */
mica_array mica_layer_mlp(mica_forward *f, int layer, mica_array x, mica_unary_kind activation);
/* cap * tanh(x / cap); x itself when cap is 0. */
mica_array mica_layer_soft_cap(mica_forward *f, mica_array x, double cap);
/* Final norm and head on the wanted rows: f32 [R, vocab]. */
mica_array mica_layer_logits(mica_forward *f, mica_array x, float norm_offset);
/* The whole pass of a plain decoder: in each layer x += attention(norm(x)), x += mlp(norm(x)), with
 * the activation config.hidden_act. */
mica_array mica_layer_plain(mica_forward *f);
