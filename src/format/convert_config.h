/* config.json of a converted model: the old text, key by key, with what the conversion changed. */
#pragma once
#include "base/str.h"
#include "base/vec.h"
#include "format/convert_units.h"

/* What is true of the new tensors.
 * units     all of them
 * top       how most quantised modules are stored; used when any is
 * dtype     of floats; NONE: the old text says it */
typedef struct convert_config {
    const mica_vec *units; /* convert_unit */
    mica_quant_spec top;
    mica_dtype dtype;
} convert_config;

/* Appends the new text to out: quantization and quantization_config as mlx-lm writes them (a mode
 * for all, and an object for each module that is stored in another way), torch_dtype or dtype
 * replaced; the rest in its order. name is for errors. Errors: FORMAT for a text that is no JSON
 * object, OUT_OF_MEMORY. */
mica_status convert_config_write(const mica_host *host, const char *name, const char *text,
                                 size_t bytes, const convert_config *changes, mica_str *out,
                                 mica_error *err);
