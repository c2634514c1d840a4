/* What the embedding program lends to every part of the library: memory, log, and (in tests)
 * faults in system calls. One const struct is passed down instead of globals. */
#pragma once
#include "mica/status.h"

typedef enum mica_io_call {
    MICA_IO_OPEN,
    MICA_IO_STAT,
    MICA_IO_READ,
    MICA_IO_MAP,
    MICA_IO_WRITE,
    MICA_IO_SYNC,
    MICA_IO_RENAME,
    MICA_IO_LIST,
} mica_io_call;

/* Fault hook of file.c. before() runs ahead of each system call; it may shorten *bytes (reads and
 * writes) and returns 0 to go on, or an errno value that is reported as if the call had failed. */
typedef struct mica_io_hook {
    void *context;
    int (*before)(void *context, mica_io_call call, size_t *bytes);
} mica_io_hook;

/* Threads: immutable after it is filled; shared by all threads.
 * log     NULL = silent
 * io      NULL = no faults */
typedef struct mica_host {
    const mica_allocator *allocator;
    mica_log_callback log;
    void *log_context;
    mica_log_level log_level; /* lines below it are not formatted */
    const mica_io_hook *io;
} mica_host;

/* A host with malloc, no log, no hooks. Static storage. */
const mica_host *mica_host_default(void);

/* Formats one line (cut at 1024 bytes) and hands it to the log callback. */
void mica_host_log(const mica_host *host, mica_log_level level, const char *format, ...)
    MICA_PRINTF(3, 4);
