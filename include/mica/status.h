/* Status codes, errors, memory and log: what every other public header builds on.
 * Every function that can fail returns a mica_status and takes a mica_error last (NULL is fine).
 * The library never aborts, exits, prints or reads the environment. Next: array.h, model.h. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define MICA_API __attribute__((visibility("default")))
#define MICA_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))
#else
#define MICA_API
#define MICA_PRINTF(text, first)
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define MICA_VERSION_MAJOR 0
#define MICA_VERSION_MINOR 1
#define MICA_VERSION_PATCH 0

typedef enum mica_status {
    MICA_STATUS_OK = 0,
    MICA_STATUS_INVALID,       /* an argument breaks the documented rule of the call */
    MICA_STATUS_OUT_OF_MEMORY, /* the allocator or a device returned nothing */
    MICA_STATUS_IO,            /* the system refused to open, read, map or write */
    MICA_STATUS_NOT_FOUND,     /* a file, tensor, token or name that is not there */
    MICA_STATUS_FORMAT,        /* a file or text breaks its format */
    MICA_STATUS_UNSUPPORTED,   /* well formed, but not something this build can do */
    MICA_STATUS_LIMIT,         /* a named limit was reached */
    MICA_STATUS_CONTEXT_FULL,  /* prompt and reply no longer fit the context */
    MICA_STATUS_CANCELLED,     /* the caller asked for an end */
    MICA_STATUS_UNAVAILABLE,   /* not built in, or the device is not there */
    MICA_STATUS_INTERNAL,      /* a bug of ours, reported instead of hidden */
} mica_status;

/* One line of text about a failure. Plain data: no allocation, copy it freely.
 * message: what was seen, what was wanted, where; lower case, no full stop, UTF-8. */
typedef struct mica_error {
    mica_status status;
    char message[504];
} mica_error;

/* A short lower-case name of a status ("out of memory"). Never NULL. Threads: any. */
MICA_API const char *mica_status_name(mica_status status);

/* "0.1.0"; static storage. Threads: any. */
MICA_API const char *mica_version(void);

/* All host memory of the library comes through one of these.
 * allocate    bytes > 0, alignment a power of two; NULL when there is no memory
 * reallocate  memory came from allocate with alignment <= 16, or is NULL; on NULL the old block
 *             stays valid
 * release     NULL is fine
 * Threads: all three may be called from any thread at once. */
typedef struct mica_allocator {
    void *context;
    void *(*allocate)(void *context, size_t bytes, size_t alignment);
    void *(*reallocate)(void *context, void *memory, size_t bytes);
    void (*release)(void *context, void *memory);
} mica_allocator;

typedef enum mica_log_level {
    MICA_LOG_DEBUG = 0,
    MICA_LOG_INFO,
    MICA_LOG_WARNING,
    MICA_LOG_ERROR,
} mica_log_level;

/* Receives one line without newline; text is borrowed for the call. Threads: any, at once. */
typedef void (*mica_log_callback)(void *context, mica_log_level level, const char *text);

/* Reports progress of a long job: stage is a short static text; total is 0 when not known.
 * Returning false cancels: the job ends with MICA_STATUS_CANCELLED. */
typedef bool (*mica_progress_callback)(void *context, const char *stage, uint64_t done,
                                       uint64_t total);

#ifdef __cplusplus
}
#endif
