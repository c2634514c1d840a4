/* Model names: a folder, a name in the Hugging Face cache, or `demo`. Looking up only; the library
 * reads no environment, so the caller passes the folders. */
#pragma once
#include "mica/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mica_runtime mica_runtime;

typedef struct mica_hub_options {
    size_t struct_bytes;
    const char *cache_folder; /* holds models--org--name folders; NULL = none */
    const char *demo_folder;  /* what the name `demo` stands for; NULL = unknown */
} mica_hub_options;

/* name: an existing folder or file; `demo`; `org/name` or `org/name@revision`. Writes the path of
 * the folder (or file) to out[capacity]. Errors: NOT_FOUND (says where it looked), FORMAT (a bad
 * name), LIMIT (capacity). Source of the cache layout: the huggingface_hub documentation. */
MICA_API mica_status mica_hub_resolve(mica_runtime *runtime, const char *name,
                                      const mica_hub_options *options, char *out, size_t capacity,
                                      mica_error *err);

#ifdef __cplusplus
}
#endif
