/* Keys of a GGUF file as the text of a Hugging Face config.json and generation_config.json, so that
 * there is one reader of configurations. Sizes that stand in tensors (vocabulary, biases, tied
 * heads, types) are taken from there. */
#pragma once
#include "format/config.h"
#include "format/generation_config.h"
#include "format/gguf.h"

/* out: an empty builder of the caller. "quantization" is in MLX's form with a rule for each module
 * that differs from the most common one. Errors: FORMAT for keys that are missing, of another type
 * or contradict the tensors; UNSUPPORTED for an architecture or a kind of rotation that mica does
 * not know; IO, OUT_OF_MEMORY. */
mica_status mica_gguf_config_text(const mica_gguf *g, mica_str *out, mica_error *err);
/* Ids that end a reply, and general.sampling.*. */
mica_status mica_gguf_generation_config_text(const mica_gguf *g, mica_str *out, mica_error *err);

/* The same from a path, parsed. */
mica_status mica_gguf_config_load(const mica_host *host, const char *path, mica_config **out,
                                  mica_error *err);
mica_status mica_gguf_generation_config_load(const mica_host *host, const char *path,
                                             mica_generation_config *out, mica_error *err);
