/* The small text files of a model that a conversion carries over: those of a folder, or the same
 * made from the keys of a GGUF file. */
#pragma once
#include "base/host.h"

/* Takes one file; text is NUL-terminated and borrowed for the call. */
typedef mica_status (*convert_text_function)(void *context, const char *name, const char *text,
                                             size_t bytes, mica_error *err);

/* Calls take for config.json, and for each other text that is there: generation_config.json, the
 * tokenizer's files, the chat template. in: a model folder or a GGUF file.
 * Errors: those of reading, and take's. */
mica_status convert_texts_each(const mica_host *host, const char *in, convert_text_function take,
                               void *context, mica_error *err);
