/* Inside of the config reader: what config.c, config_rope.c and config_quant.c share. */
#pragma once
#include <float.h>
#include "base/arena.h"
#include "format/config.h"

#define POSITIVE DBL_MIN

struct mica_config_text {
    const mica_allocator *allocator;
    mica_arena arena;
};

/* One parse. file: for errors. */
typedef struct config_parser {
    const mica_host *host;
    const char *file;
    mica_json *json;
    mica_config *config;
    size_t n_no_rope_layers; /* numbers in no_rope_layers */
} config_parser;

/* Takes the value of rope_scaling or rope_parameters. */
mica_status config_read_rope(config_parser *p, mica_error *err);
/* After all fields: both spellings agree, defaults, types. */
mica_status config_finish_rope(config_parser *p, mica_error *err);
/* Takes the value of quantization (is_mlx) or quantization_config. */
mica_status config_read_quant(config_parser *p, bool is_mlx, mica_error *err);
/* Takes the value of text_config, for the quantisation that may stand there; the rest is skipped.
 */
mica_status config_read_text_config(config_parser *p, mica_error *err);
