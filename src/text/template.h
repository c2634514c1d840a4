/* Chat templates: a Jinja interpreter without host objects, imports or I/O. Values are plain data;
 * names of filters, tests and functions are closed lists and unknown ones are errors at load.
 * The public face is mica/tokenizer.h (mica_chat_template_*). */
#pragma once
#include "base/host.h"
#include "base/str.h"
#include "mica/tokenizer.h"

#define MICA_TEMPLATE_SOURCE_BYTES_MAX (1u << 20)
#define MICA_TEMPLATE_DEPTH_MAX 128
#define MICA_TEMPLATE_STEPS_MAX 10000000
#define MICA_TEMPLATE_OUTPUT_BYTES_MAX (16u << 20)
#define MICA_TEMPLATE_HEAP_BYTES_MAX (64u << 20)
#define MICA_TEMPLATE_SECONDS_MAX 1.0

/* As mica_chat_template_open, without a runtime. */
mica_status mica_chat_template_load(const mica_host *host, const char *path, bool for_tools,
                                    mica_chat_template **out, mica_error *err);
/* From source text. defaults_json: an object with default variables (bos_token, eos_token ...), or
 * NULL. */
mica_status mica_chat_template_create(const mica_host *host, const char *source, size_t bytes,
                                      const char *defaults_json, mica_chat_template **out,
                                      mica_error *err);
/* The template's source; borrowed. Output parsers look at it to choose a format. */
mica_slice mica_chat_template_source(const mica_chat_template *t);
