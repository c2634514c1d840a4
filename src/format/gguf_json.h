/* Small pieces for writing the members of a JSON object, each after a comma where one is due. */
#pragma once
#include "base/json.h"
#include "base/str.h"

/* The member's name and a colon. */
void mica_gguf_put_key(mica_str *out, const char *key);
void mica_gguf_put_text(mica_str *out, const char *key, mica_slice value);
void mica_gguf_put_integer(mica_str *out, const char *key, int64_t value);
void mica_gguf_put_bool(mica_str *out, const char *key, bool value);
/* value may have come from f32: then the shortest text that gives that f32 again ("1e-05"). */
void mica_gguf_put_number(mica_str *out, const char *key, double value);
void mica_gguf_append_number(mica_str *out, double value);
