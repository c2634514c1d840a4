/* The tokenizer of a GGUF file as the texts of tokenizer.json and tokenizer_config.json, so that
 * there is one reader of tokenizers; and its chat template. */
#pragma once
#include "format/gguf.h"

/* Rule G11: tokens of a vocabulary. */
#define MICA_GGUF_TOKENS_MAX (1u << 21)
/* Bytes of the texts that are made here. */
#define MICA_GGUF_TOKENIZER_BYTES_MAX ((size_t)256 << 20)

/* out: an empty builder of the caller. Kinds: "gpt2" (byte-level BPE; tokenizer.ggml.pre names the
 * split), "llama" (SentencePiece BPE; merges are made from the scores), "t5" (Unigram).
 * Errors: NOT_FOUND where the file has no vocabulary; UNSUPPORTED for another kind or an unknown
 * pre-tokenizer (naming it); FORMAT; LIMIT. */
mica_status mica_gguf_tokenizer_text(const mica_gguf *g, mica_str *out, mica_error *err);
/* tokenizer_config.json: special tokens and chat templates. */
mica_status mica_gguf_tokenizer_config_text(const mica_gguf *g, mica_str *out, mica_error *err);
/* The object of the special tokens alone ({"bos_token": "<s>", ...}). */
mica_status mica_gguf_special_tokens_text(const mica_gguf *g, mica_str *out, mica_error *err);
/* The template's source, borrowed; for_tools: that named tool_use, if there is one. NOT_FOUND. */
mica_status mica_gguf_chat_template(const mica_gguf *g, bool for_tools, mica_slice *out,
                                    mica_error *err);
