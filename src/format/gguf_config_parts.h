/* What gguf_config.c and gguf_rope.c share. */
#pragma once
#include "format/gguf.h"
#include "format/gguf_family.h"

#define GGUF_CONFIG_KEY_BYTES 96

/* One text on its way. key: memory for gguf_config_key. */
typedef struct gguf_config {
    const mica_gguf *gguf;
    const mica_gguf_family *family;
    mica_str *out;
    char *key;
} gguf_config;

/* "<architecture>.<name>"; valid until the next call. */
const char *gguf_config_key(const gguf_config *w, const char *name);
mica_status gguf_config_fail(const gguf_config *w, mica_status status, const char *text,
                             mica_error *err);
/* rope_theta, rope_scaling and their like. */
mica_status gguf_config_put_rope(const gguf_config *w, mica_error *err);
