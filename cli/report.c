/* One-line errors and checked output. */
#include "report.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "interrupt.h"

static void print_line(const char *format, va_list arguments, const char *end) {
    char line[1024];
    mica_format_list(line, sizeof line, format, arguments);
    mica_text_clean(line, sizeof line - 1);
    fprintf(stderr, "mica: %s%s\n", line, end);
}

int cli_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print_line(format, arguments, "");
    va_end(arguments);
    return CLI_FAILED;
}

int cli_fail_error(const mica_error *err) {
    const char *text = err->message[0] ? err->message : mica_status_name(err->status);
    if (cli_interrupt_is_requested() && err->status == MICA_STATUS_CANCELLED) {
        cli_fail("interrupted");
        return CLI_INTERRUPTED;
    }
    return cli_fail("%s", text);
}

int cli_fail_usage(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print_line(format, arguments, "");
    va_end(arguments);
    return CLI_USAGE;
}

void cli_note(const char *format, ...) {
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    mica_format_list(line, sizeof line, format, arguments);
    va_end(arguments);
    mica_text_clean(line, sizeof line - 1);
    fprintf(stderr, "%s\n", line);
}

/* ---- stdout ---- */

static int output_errno; /* the first failure of a write */

void cli_output(const char *text, size_t bytes) {
    if (output_errno || bytes == 0) return;
    errno = 0;
    if (fwrite(text, 1, bytes, stdout) != bytes) output_errno = errno ? errno : EIO;
}

void cli_output_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    errno = 0;
    if (!output_errno && vfprintf(stdout, format, arguments) < 0)
        output_errno = errno ? errno : EIO;
    va_end(arguments);
}

void cli_output_flush(void) {
    errno = 0;
    if (!output_errno && fflush(stdout) != 0) output_errno = errno ? errno : EIO;
}

int cli_output_close(void) {
    cli_output_flush();
    if (!output_errno) return CLI_OK;
    return cli_fail("writing to standard output: %s", strerror(output_errno));
}
