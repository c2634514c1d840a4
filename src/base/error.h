/* Filling a mica_error and passing it on. Every fallible function of ours ends in one of these. */
#pragma once
#include "mica/status.h"

/* Runs a call that returns a mica_status; on failure stores it in `st` and jumps to `done`. */
#define MICA_TRY(call)                                                                             \
    do {                                                                                           \
        st = (call);                                                                               \
        if (st != MICA_STATUS_OK) goto done;                                                       \
    } while (0)

/* The same for a condition that must hold. */
#define MICA_REQUIRE(condition, status, ...)                                                       \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            st = mica_fail(err, (status), __VA_ARGS__);                                            \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

/* Writes the message (cut to fit at a UTF-8 border; control bytes become '?') and returns status.
 * err may be NULL. */
mica_status mica_fail(mica_error *err, mica_status status, const char *format, ...)
    MICA_PRINTF(3, 4);

/* "out of memory: <bytes> bytes for <what>". */
mica_status mica_fail_memory(mica_error *err, size_t bytes, const char *what);

/* "<what> <path>: <strerror(errno_value)>"; ENOENT gives NOT_FOUND, ENOMEM OUT_OF_MEMORY, else IO.
 */
mica_status mica_fail_errno(mica_error *err, int errno_value, const char *what, const char *path);

/* Puts "<prefix>: " before the message that err already holds; returns err's status
 * (or `status` when err is NULL). */
mica_status mica_fail_prefix(mica_error *err, mica_status status, const char *format, ...)
    MICA_PRINTF(3, 4);
