/* Inside of the file module: the fault hook, and small pieces that file.c, file_writer.c and path.c
 * share. */
#pragma once
#include "base/file.h"

/* What one read or write call is asked for at most: Linux cuts at 2 GiB - 4 KiB, macOS refuses. */
#define FILE_CALL_BYTES_MAX ((size_t)1 << 30)

/* Asks the hook; returns 0 to go on, or the errno value to report. bytes may be NULL. */
static inline int file_before(const mica_host *host, mica_io_call call, size_t *bytes) {
    size_t none = 0;
    if (!host->io) return 0;
    return host->io->before(host->io->context, call, bytes ? bytes : &none);
}

/* open with O_CLOEXEC and a retry after EINTR. Returns the descriptor, or -1 and *error. */
int file_open_descriptor(const mica_host *host, const char *path, int flags, int *error);
