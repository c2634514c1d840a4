/* Texts from files and from standard input. */
#pragma once
#include <stdbool.h>
#include <stdio.h>
#include "base/str.h"

#define CLI_INPUT_BYTES_MAX (size_t)(256u << 20)

/* A file read whole; path "-" or NULL is standard input. The text must be UTF-8. *out is owned by
 * the caller (mica_str_deinit). Errors: NOT_FOUND, IO, LIMIT, FORMAT with the byte offset. */
mica_status cli_input_read(const char *path, mica_str *out, mica_error *err);
/* Lines of a file or of standard input, one at a time; without the line feed. */
typedef struct cli_lines {
    FILE *file;
    bool is_stdin;
    const char *name;
    char *line;
    size_t capacity;
    int64_t number; /* of the last line, from 0; -1 before the first */
} cli_lines;
mica_status cli_lines_open(cli_lines *l, const char *path, mica_error *err);
/* False at the end, and on errors: then *err has a status. */
bool cli_lines_next(cli_lines *l, mica_slice *out, mica_error *err);
void cli_lines_close(cli_lines *l);
