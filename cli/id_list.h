/* Token ids as text: a JSON array a line, or words. */
#pragma once
#include "base/str.h"

/* A growing list. Zero is empty; freed by cli_ids_deinit. */
typedef struct cli_ids {
    int32_t *ids;
    size_t count, capacity;
} cli_ids;
void cli_ids_deinit(cli_ids *list);
/* A JSON array of ids; name and line (from 0) are for errors. FORMAT, LIMIT, OUT_OF_MEMORY. */
mica_status cli_ids_parse_json(cli_ids *out, const char *name, int64_t line, mica_slice text,
                               mica_error *err);
/* Decimal ids between spaces, commas, line feeds and brackets. */
mica_status cli_ids_parse_words(cli_ids *out, mica_slice text, mica_error *err);
