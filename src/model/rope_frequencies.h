/* Inverse frequencies of rotary embeddings, with the context extensions that checkpoints name. */
#pragma once
#include "format/config.h"

/* Fills inverse_frequencies[dim / 2] and the factor on cos and sin.
 * Sources: Su et al. 2021 (default); Peng et al. 2023 (YaRN), with `truncate` as transformers has it.
 * Errors: UNSUPPORTED for a kind that is not known here. */
mica_status mica_rope_frequencies(const mica_config_rope *rope, int64_t dim,
                                  float *inverse_frequencies, float *scale, mica_error *err);
