/* Attention over the paged KV cache, for model code: two ops that the public array API does not
 * have, because they work on the engine's pool and batch arrays.
 *
 * Pool: an INPUT [n_pages, n_layers, 2 (K, V), kv_heads, MICA_KV_PAGE, dim], f32 or bf16. Position
 * p of sequence s lies in page page_table[s][(p / 64) % table_width], slot p % 64; a window group's
 * table is a ring of its last pages. In one layer attention comes first and reads what earlier
 * batches left in the pool, and the batch's own K and V from its inputs, rounded as the pool will
 * round them; kv_write follows it. So a ring need not hold a whole chunk, and a token's result does
 * not depend on how its prompt was cut into chunks or on what else is in the batch. */
#pragma once
#include "core/graph.h"

#define MICA_KV_PAGE 64

/* Fields of a row of `sequences`. */
enum {
    MICA_SEQUENCE_FIRST = 0, /* row of its first token in the batch */
    MICA_SEQUENCE_COUNT,     /* its tokens in the batch, consecutive; 0 = the row is unused */
    MICA_SEQUENCE_PAST,      /* its tokens before the batch, which are in the pool */
    MICA_SEQUENCE_RESERVED,
    MICA_SEQUENCE_FIELDS,
};

typedef struct mica_attention_paged_inputs {
    mica_ref q; /* f32 [t, heads, dim] */
    mica_ref k; /* f32 [t, kv_heads, dim]: of this batch */
    mica_ref v; /* f32 [t, kv_heads, dim] */
    mica_ref pool;
    mica_ref page_table;     /* i32 [n_sequences, table_width] */
    mica_ref positions;      /* i32 [t] */
    mica_ref token_sequence; /* i32 [t]: row of `sequences` */
    mica_ref sequences;      /* i32 [n_sequences, MICA_SEQUENCE_FIELDS] */
    mica_ref sinks;          /* float [heads]: one more logit in the denominator; 0 = none */
} mica_attention_paged_inputs;

/* Pass `fuse` may give either op q and k as the projections left them: then further inputs are the
 * table by which heads turn (of rope_table) and the weights of the heads' norms, and eps and offset
 * are of these norms. Model code leaves them out. */

typedef struct mica_attention_paged_params {
    int64_t window; /* position p sees keys p - window < j <= p; 0 = all j <= p */
    int32_t layer;  /* index on the pool's axis 1 */
    float scale;    /* 0 = 1 / sqrt(dim) */
    float soft_cap; /* scores become cap * tanh(score / cap); 0 = none */
    float eps;
    float offset;
} mica_attention_paged_params;

/* -> f32 [t, heads, dim] with q's live count; 0 after an error (sticky in g). */
mica_ref mica_attention_paged(mica_graph *g, const mica_attention_paged_inputs *in,
                              const mica_attention_paged_params *p);

typedef struct mica_kv_write_inputs {
    mica_ref pool;
    mica_ref k; /* as above */
    mica_ref v;
    mica_ref page_table;
    mica_ref positions;
    mica_ref token_sequence;
    mica_ref sequences;
    mica_ref after; /* attention of the same layer: comes first, not read; 0 = none */
} mica_kv_write_inputs;

typedef struct mica_kv_write_params {
    int32_t layer;
    float eps;
    float offset;
} mica_kv_write_params;

/* Stores the batch's K and V rows; the next layer's attention and kv_write take the result as their
 * pool, so that each layer's K and V die before the next layer begins. A token is skipped where a
 * later one of its sequence in the same batch takes its slot (rings). The result stands for the
 * pool as changed: it must be an output of the plan or an input of what reads it, or it is dropped
 * as dead. */
mica_ref mica_kv_write(mica_graph *g, const mica_kv_write_inputs *in,
                       const mica_kv_write_params *p);
