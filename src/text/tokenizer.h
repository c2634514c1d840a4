/* Loading side of the tokenizer; its public face is mica/tokenizer.h. */
#pragma once
#include "base/host.h"
#include "base/str.h"
#include "mica/tokenizer.h"

#define MICA_TOKENIZER_BYTES_MAX (64u << 20) /* size of tokenizer.json */
#define MICA_TOKENIZER_IDS_MAX (1 << 21)     /* ids are below it */
#define MICA_ENCODE_BYTES_MAX (1u << 30)     /* one text to encode */

/* As mica_tokenizer_open, without a runtime. */
mica_status mica_tokenizer_load(const mica_host *host, const char *path, mica_tokenizer **out,
                                mica_error *err);
/* From the text of a tokenizer.json, borrowed for the call; name is used in errors. */
mica_status mica_tokenizer_create(const mica_host *host, const char *name, const char *json,
                                  size_t bytes, mica_tokenizer **out, mica_error *err);
const mica_host *mica_tokenizer_host(const mica_tokenizer *tokenizer);
/* The bytes that one token adds to a byte-level text (the alphabet undone); for decoders that need
 * context these are the bytes before the decoder's string rules. Borrowed; empty for a hole. */
mica_slice mica_tokenizer_bytes(const mica_tokenizer *tokenizer, int32_t id);
