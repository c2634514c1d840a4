/* The batch input: everything that changes from step to step, in one buffer that the plans read.
 * Names and shapes are those of model/forward.h. */
#pragma once
#include "engine/sequence.h"
#include "model/forward.h"

/* Threads: one at a time. */
typedef struct mica_batch {
    mica_buffer *buffer;
    mica_forward_shape capacity;
    size_t n_groups;
    int32_t *counts, *token_ids, *positions, *token_sequence, *sequences, *rows;
    int32_t *pages[MICA_KV_GROUPS_MAX];
    float *rope; /* [sequences, n_rope_pairs]; NULL where one table serves all */
    int32_t n_rope_pairs;
} mica_batch;

mica_status mica_batch_init(mica_batch *b, const mica_model *model,
                            const mica_forward_shape *capacity, mica_error *err);
void mica_batch_deinit(mica_batch *b);
/* Empties it. */
void mica_batch_begin(mica_batch *b);
/* Adds the next n_tokens tokens of a sequence (from s->n_cached on; pages are reserved). Rows are
 * asked for the last n_rows of them. The caller keeps within the capacity. */
void mica_batch_add(mica_batch *b, const mica_sequence *s, int32_t n_tokens, int32_t n_rows);
/* Binds all inputs of a plan to this batch and its pools. */
mica_status mica_batch_bind(const mica_batch *b, const mica_page_pool *pools, mica_executable *e,
                            mica_error *err);
