/* The default host and its log. The host itself is plain data, filled by whoever embeds us. */
#include "base/host.h"
#include <stdarg.h>
#include "base/alloc.h"
#include "base/str.h"

enum { LOG_LINE_BYTES = 1024 };

static const mica_host default_host = {.allocator = &mica_allocator_system};

const mica_host *mica_host_default(void) { return &default_host; }

void mica_host_log(const mica_host *host, mica_log_level level, const char *format, ...) {
    if (!host->log || level < host->log_level) return;
    char line[LOG_LINE_BYTES + 4]; /* room for the character that the cut removes whole */
    va_list arguments;
    va_start(arguments, format);
    mica_format_list(line, sizeof line, format, arguments);
    va_end(arguments);
    mica_text_clean(line, LOG_LINE_BYTES - 1);
    host->log(host->log_context, level, line);
}
