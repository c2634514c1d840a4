/* A line from the user: edited by libedit on a terminal, read plainly otherwise. */
#pragma once
#include <stdbool.h>
#include "base/str.h"

typedef struct cli_line_editor cli_line_editor;

/* NULL when there is no memory. */
cli_line_editor *cli_line_editor_create(const char *prompt);
void cli_line_editor_destroy(cli_line_editor *e);
/* The next line without its line feed, borrowed until the next call. False at the end of input, and
 * after Ctrl-C (cli_interrupt_is_requested tells). */
bool cli_line_editor_read(cli_line_editor *e, mica_slice *out);
