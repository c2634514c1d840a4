/* What the program says besides its results: one-line errors on stderr, and checked writing to
 * stdout. */
#pragma once
#include <stddef.h>
#include "mica/status.h"

#define CLI_OK 0
#define CLI_FAILED 1        /* the job failed */
#define CLI_USAGE 2         /* the command line is wrong */
#define CLI_INTERRUPTED 130 /* ended by Ctrl-C */

/* "mica: <text>" on stderr, made fit for one line. Returns CLI_FAILED. */
int cli_fail(const char *format, ...) MICA_PRINTF(1, 2);
/* The message of err. Returns CLI_FAILED, or CLI_INTERRUPTED when Ctrl-C was the reason. */
int cli_fail_error(const mica_error *err);
/* "mica: <text> (see mica help)" on stderr. Returns CLI_USAGE. */
int cli_fail_usage(const char *format, ...) MICA_PRINTF(1, 2);
/* "<text>" as a line on stderr. */
void cli_note(const char *format, ...) MICA_PRINTF(1, 2);

/* Writing to stdout. Failures stick; cli_output_close reports them once. */
void cli_output(const char *text, size_t bytes);
void cli_output_format(const char *format, ...) MICA_PRINTF(1, 2);
void cli_output_flush(void);
/* Flushes. Returns CLI_OK, or CLI_FAILED with a line on stderr when some text could not be
 * written. */
int cli_output_close(void);
