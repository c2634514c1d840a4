/* Writing files so that a reader sees the old one or the whole new one, whatever happens between:
 * a temporary file beside it, fsync, rename, fsync of the folder. Part of file.h. */
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/checked.h"
#include "base/error.h"
#include "base/file_parts.h"

/* A crash leaves a temporary file, and in a container the next process may have the same id: other
 * names are tried then, so many. */
enum { N_NAMES = 100 };

struct mica_file_writer {
    const mica_host *host;
    int fd;             /* -1 once closed */
    bool has_file;      /* the temporary file is there and must be renamed or removed */
    atomic_bool failed; /* a write failed: no commit */
    uint64_t position;  /* where the next append goes */
    char path[MICA_PATH_BYTES_MAX];
    char temporary[MICA_PATH_BYTES_MAX];
};

static mica_status create_temporary(mica_file_writer *w, mica_error *err) {
    int error = EEXIST;
    for (int i = 0; i < N_NAMES && error == EEXIST; i++) {
        char number[16] = "";
        if (i > 0) mica_format(number, sizeof number, "-%d", i);
        size_t bytes = mica_format(w->temporary, sizeof w->temporary, "%s.tmp-%ld%s", w->path,
                                   (long)getpid(), number);
        if (bytes >= sizeof w->temporary)
            return mica_fail_errno(err, ENAMETOOLONG, "cannot create", w->path);
        w->fd = file_open_descriptor(w->host, w->temporary,
                                     O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, &error);
        if (w->fd >= 0) {
            w->has_file = true;
            return MICA_STATUS_OK;
        }
    }
    return mica_fail_errno(err, error, "cannot create", w->temporary);
}

mica_status mica_file_writer_open(const mica_host *host, const char *path, mica_file_writer **out,
                                  mica_error *err) {
    *out = NULL;
    mica_file_writer *w = MICA_NEW(host->allocator, mica_file_writer);
    if (!w) return mica_fail_memory(err, sizeof *w, "a file writer");
    w->host = host;
    w->fd = -1;
    mica_status st;
    if (mica_format(w->path, sizeof w->path, "%s", path) >= sizeof w->path)
        st = mica_fail_errno(err, ENAMETOOLONG, "cannot create", path);
    else
        st = create_temporary(w, err);
    if (st != MICA_STATUS_OK) {
        mica_file_writer_close(&w);
        return st;
    }
    *out = w;
    return MICA_STATUS_OK;
}

/* One pwrite. Returns an errno value; *put is never 0 on success. */
static int write_some(mica_file_writer *w, uint64_t offset, const char *data, size_t bytes,
                      size_t *put) {
    if (bytes > FILE_CALL_BYTES_MAX) bytes = FILE_CALL_BYTES_MAX;
    int error = file_before(w->host, MICA_IO_WRITE, &bytes);
    if (error) return error;
    ssize_t n = pwrite(w->fd, data, bytes, (off_t)offset);
    if (n < 0) return errno;
    *put = (size_t)n;
    return n > 0 ? 0 : EIO;
}

mica_status mica_file_writer_write_at(mica_file_writer *w, uint64_t offset, const void *data,
                                      size_t bytes, mica_error *err) {
    uint64_t end;
    if (w->fd < 0) return mica_fail(err, MICA_STATUS_INVALID, "%s is already committed", w->path);
    if (!mica_add_u64(offset, bytes, &end) || end > INT64_MAX)
        return mica_fail(err, MICA_STATUS_INVALID, "%s: %zu bytes at offset %llu is past any file",
                         w->path, bytes, (unsigned long long)offset);
    for (size_t done = 0; done < bytes;) {
        size_t put = 0;
        int error = write_some(w, offset + done, (const char *)data + done, bytes - done, &put);
        if (error == EINTR) continue;
        if (error) {
            atomic_store(&w->failed, true);
            return mica_fail_errno(err, error, "cannot write", w->path);
        }
        done += put;
    }
    return MICA_STATUS_OK;
}

mica_status mica_file_writer_append(mica_file_writer *w, const void *data, size_t bytes,
                                    mica_error *err) {
    mica_status st = mica_file_writer_write_at(w, w->position, data, bytes, err);
    if (st == MICA_STATUS_OK) w->position += bytes;
    return st;
}

static int sync_descriptor(const mica_host *host, int fd) {
    for (;;) {
        int error = file_before(host, MICA_IO_SYNC, NULL);
        if (error == EINTR) continue;
        if (error) return error;
#ifdef F_FULLFSYNC
        if (fcntl(fd, F_FULLFSYNC) == 0) return 0; /* fsync of macOS stops at the drive's cache */
#endif
        if (fsync(fd) == 0) return 0;
        if (errno != EINTR) return errno;
    }
}

/* Makes the new name last. File systems that cannot sync a folder say EINVAL or ENOTSUP. */
static int sync_folder(const mica_host *host, const char *path) {
    char folder[MICA_PATH_BYTES_MAX];
    mica_format(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash)
        mica_format(folder, sizeof folder, ".");
    else
        slash[slash == folder ? 1 : 0] = '\0';
    int error;
    int fd = file_open_descriptor(host, folder, O_RDONLY | O_DIRECTORY, &error);
    if (fd < 0) return error;
    error = sync_descriptor(host, fd);
    close(fd);
    return error == EINVAL || error == ENOTSUP ? 0 : error;
}

static int close_synced(mica_file_writer *w) {
    int error = sync_descriptor(w->host, w->fd);
    if (error) return error;
    int result = close(w->fd);
    w->fd = -1;
    return result == 0 || errno == EINTR ? 0 : errno;
}

static int rename_temporary(mica_file_writer *w) {
    int error = file_before(w->host, MICA_IO_RENAME, NULL);
    if (error) return error;
    if (rename(w->temporary, w->path) != 0) return errno;
    w->has_file = false;
    return 0;
}

mica_status mica_file_writer_commit(mica_file_writer *w, mica_error *err) {
    if (w->fd < 0) return mica_fail(err, MICA_STATUS_INVALID, "%s is already committed", w->path);
    if (atomic_load(&w->failed))
        return mica_fail(err, MICA_STATUS_IO, "%s: an earlier write failed", w->path);
    int error = close_synced(w);
    if (!error) error = rename_temporary(w);
    if (!error) error = sync_folder(w->host, w->path);
    return error ? mica_fail_errno(err, error, "cannot finish", w->path) : MICA_STATUS_OK;
}

void mica_file_writer_close(mica_file_writer **place) {
    mica_file_writer *w = *place;
    if (!w) return;
    *place = NULL;
    if (w->fd >= 0) close(w->fd);
    if (w->has_file) unlink(w->temporary);
    mica_free(w->host->allocator, w);
}
