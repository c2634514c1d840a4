/* Inverse frequencies of rotary embeddings, with the context extensions that checkpoints name. */
#pragma once
#include "format/config.h"

/* Fills inverse_frequencies[dim / 2] and the factor on cos and sin, for sequences of up to
 * context_max tokens.
 * Sources: Su et al. 2021 (default); Peng et al. 2023 (YaRN), with `truncate` as transformers has it;
 * the Llama 3.1 model card (llama3); Ding et al. 2024 (LongRoPE).
 * Errors: FORMAT for parameters without a meaning; UNSUPPORTED for the kinds whose table depends on
 * the length of the sequence (dynamic, longrope) where context_max is past the original length. */
mica_status mica_rope_frequencies(const mica_config_rope *rope, int64_t dim, int64_t context_max,
                                  float *inverse_frequencies, float *scale, mica_error *err);
