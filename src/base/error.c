/* Error texts and the names of status codes. Messages may quote hostile names and paths, so every
 * one is cleaned before it is stored; see str.c for the cleaning. */
#include "base/error.h"
#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <string.h>
#include "base/str.h"

#define TEXT(x) #x
#define VERSION_TEXT(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

/* Longer than a message, so that the cut is made by mica_text_clean at a UTF-8 border. */
enum { DRAFT_BYTES = 1024 };

const char *mica_status_name(mica_status status) {
    switch (status) {
    case MICA_STATUS_OK:
        return "ok";
    case MICA_STATUS_INVALID:
        return "invalid argument";
    case MICA_STATUS_OUT_OF_MEMORY:
        return "out of memory";
    case MICA_STATUS_IO:
        return "input/output error";
    case MICA_STATUS_NOT_FOUND:
        return "not found";
    case MICA_STATUS_FORMAT:
        return "format error";
    case MICA_STATUS_UNSUPPORTED:
        return "unsupported";
    case MICA_STATUS_LIMIT:
        return "limit reached";
    case MICA_STATUS_CONTEXT_FULL:
        return "context full";
    case MICA_STATUS_CANCELLED:
        return "cancelled";
    case MICA_STATUS_UNAVAILABLE:
        return "unavailable";
    case MICA_STATUS_INTERNAL:
        return "internal error";
    }
    return "unknown status";
}

const char *mica_version(void) {
    return VERSION_TEXT(MICA_VERSION_MAJOR, MICA_VERSION_MINOR, MICA_VERSION_PATCH);
}

/* draft has DRAFT_BYTES and may have been made from err's own message. */
static mica_status store(mica_error *err, mica_status status, char *draft) {
    size_t bytes = mica_text_clean(draft, sizeof(err->message) - 1);
    err->status = status;
    memcpy(err->message, draft, bytes + 1);
    return status;
}

mica_status mica_fail(mica_error *err, mica_status status, const char *format, ...) {
    if (!err) return status;
    char draft[DRAFT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    mica_format_list(draft, sizeof draft, format, arguments);
    va_end(arguments);
    return store(err, status, draft);
}

mica_status mica_fail_memory(mica_error *err, size_t bytes, const char *what) {
    return mica_fail(err, MICA_STATUS_OUT_OF_MEMORY, "out of memory: %zu bytes for %s", bytes,
                     what);
}

/* The system's English text, without strerror's shared buffer and the program's locale. */
static mica_status fail_system(mica_error *err, mica_status status, int errno_value,
                               const char *what, const char *path) {
#ifdef __APPLE__
    char text[256];
    if (strerror_r(errno_value, text, sizeof text) != 0)
        mica_format(text, sizeof text, "system error %d", errno_value);
    return mica_fail(err, status, "%s %s: %s", what, path, text);
#else
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0)
        return mica_fail(err, status, "%s %s: system error %d", what, path, errno_value);
    mica_fail(err, status, "%s %s: %s", what, path, strerror_l(errno_value, plain));
    freelocale(plain);
    return status;
#endif
}

mica_status mica_fail_errno(mica_error *err, int errno_value, const char *what, const char *path) {
    mica_status status = MICA_STATUS_IO;
    if (errno_value == ENOENT) status = MICA_STATUS_NOT_FOUND;
    if (errno_value == ENOMEM) status = MICA_STATUS_OUT_OF_MEMORY;
    if (!err) return status;
    return fail_system(err, status, errno_value, what, path);
}

mica_status mica_fail_prefix(mica_error *err, mica_status status, const char *format, ...) {
    if (!err) return status;
    char draft[DRAFT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    size_t bytes = mica_format_list(draft, sizeof draft, format, arguments);
    va_end(arguments);
    if (bytes > sizeof draft - 1) bytes = sizeof draft - 1;
    mica_format(draft + bytes, sizeof draft - bytes, ": %s", err->message);
    return store(err, err->status, draft);
}
