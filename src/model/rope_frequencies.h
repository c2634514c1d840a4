/* Inverse frequencies of rotary embeddings, with the context extensions that checkpoints name.
 *
 * Two kinds have a table that depends on the length of the sequence: longrope (the long list past
 * the original length) and dynamic (a base that grows past max_position_embeddings). Keys are
 * cached turned, so another table means that the cache is computed again. longrope changes once,
 * when the sequence crosses the border. dynamic would change with every token: it keeps the table
 * of the last length that the sequence can come to, which is known when it is admitted. */
#pragma once
#include "format/config.h"

/* Half of the largest head_dim: numbers of the longest table. */
#define MICA_ROPE_PAIRS_MAX 512

/* How many leading elements of a head turn: head_dim * partial_rotary_factor, rounded down.
 * Errors: UNSUPPORTED for an odd number and for 0. */
mica_status mica_rope_dim(const mica_config_rope *rope, int64_t head_dim, int64_t *out,
                          mica_error *err);
/* The longest sequence: max_position, but for dynamic, which stretches it by the factor. */
int64_t mica_rope_context_max(const mica_config_rope *rope, int64_t max_position);
/* Whether two sequences within that may need different tables. */
bool mica_rope_is_by_length(const mica_config_rope *rope, int64_t max_position);

/* The longest length that the table of `length` serves too: INT64_MAX where it serves all. */
int64_t mica_rope_limit(const mica_config_rope *rope, int64_t length);

/* Fills inverse_frequencies[dim / 2] (dim from mica_rope_dim) and the factor on cos and sin, for a
 * sequence of at most `length` tokens of a model with max_position_embeddings max_position.
 * Sources: Su et al. 2021 (default); Peng et al. 2023 (YaRN, dynamic), with `truncate` as
 * transformers has it; the Llama 3.1 model card (llama3); Ding et al. 2024 (LongRoPE).
 * Errors: FORMAT for parameters without a meaning, whatever the length. */
mica_status mica_rope_frequencies(const mica_config_rope *rope, int64_t dim, int64_t max_position,
                                  int64_t length, float *inverse_frequencies, float *scale,
                                  mica_error *err);
