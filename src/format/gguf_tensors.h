/* The tensors of a GGUF file as a checkpoint lists them: under the names of Hugging Face, in MLX's
 * layout. What a block type loses on the way, if anything, is said by its recipe's note. */
#pragma once
#include "format/checkpoint.h"
#include "format/gguf.h"

/* How a checkpoint lists a GGUF tensor before the rewrite: its own type, or NONE for blocks, which
 * are listed as bytes. */
mica_safetensors_dtype mica_gguf_plain_dtype(uint32_t type);
/* Rewrites the list of c, whose only shard is g (borrowed until c closes). Logs every tensor
 * (debug) and what became of all types (info). Errors: those of mica_gguf_family_of; UNSUPPORTED
 * for a type that mica does not take, FORMAT for a tensor that the family has no place for. */
mica_status mica_gguf_rewrite_tensors(mica_checkpoint *c, const mica_host *host, const mica_gguf *g,
                                      mica_error *err);
