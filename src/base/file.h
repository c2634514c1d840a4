/* Files: opening with all the checks that hostile paths need, reading, mapping, atomic writing.
 * All system calls go through here and through the host's I/O fault hook. */
#pragma once
#include "base/host.h"
#include "base/str.h"

#define MICA_PATH_BYTES_MAX 4096

/* An open regular file. Threads: any for read; map and close one at a time. */
typedef struct mica_file mica_file;

/* O_CLOEXEC | O_NONBLOCK, fstat, regular files only (a pipe, device or folder is an error that
 * says which). Symbolic links are followed. */
mica_status mica_file_open(const mica_host *host, const char *path, mica_file **out,
                           mica_error *err);
void mica_file_close(mica_file **file); /* unmaps as well */
uint64_t mica_file_bytes(const mica_file *file);
const char *mica_file_path(const mica_file *file);
/* Reads exactly `bytes` at offset; a short file is an IO error with both numbers. Retries EINTR and
 * short reads. */
mica_status mica_file_read(const mica_file *file, uint64_t offset, void *out, size_t bytes,
                           mica_error *err);
/* Maps the whole file read-only and shared; the view lives until close. An empty file maps to a
 * non-NULL pointer of 0 bytes. The same mapping comes back on later calls. */
mica_status mica_file_map(mica_file *file, const uint8_t **out, mica_error *err);
/* Whether the file system is local, so that mapping cannot hang on a server. */
bool mica_file_is_local(const mica_file *file);
/* fstat again: IO error when the size or modification time differs from that at open. */
mica_status mica_file_check_unchanged(const mica_file *file, mica_error *err);
/* Tells the system about coming or past use of a mapped range; failures are ignored. */
void mica_file_advise_willneed(const mica_file *file, uint64_t offset, uint64_t bytes);
void mica_file_advise_dontneed(const mica_file *file, uint64_t offset, uint64_t bytes);

/* Reads a whole file of at most bytes_max (else LIMIT). A Git LFS pointer is recognised and named.
 * *out is NUL-terminated, owned by the caller (mica_free). */
mica_status mica_file_read_all(const mica_host *host, const char *path, size_t bytes_max,
                               char **out, size_t *bytes, mica_error *err);
/* True if the bytes begin as a Git LFS pointer does ("version https://git-lfs"). */
bool mica_is_lfs_pointer(const void *data, size_t bytes);

typedef enum mica_path_kind {
    MICA_PATH_NONE, /* nothing there, or not reachable */
    MICA_PATH_FILE,
    MICA_PATH_FOLDER,
    MICA_PATH_OTHER, /* pipe, device, socket */
} mica_path_kind;
mica_path_kind mica_path_kind_of(const char *path);
/* "<folder>/<name>" into out; LIMIT when it does not fit. */
mica_status mica_path_join(const char *folder, const char *name, char out[MICA_PATH_BYTES_MAX],
                           mica_error *err);
/* The absolute path without symbolic links, "." and "..". NOT_FOUND when a part is missing. */
mica_status mica_path_resolve(const char *path, char out[MICA_PATH_BYTES_MAX], mica_error *err);
/* Creates a folder and its parents. */
mica_status mica_path_make_folder(const char *path, mica_error *err);
/* Names of the entries of a folder, sorted, one NUL-terminated string after another in *names
 * (mica_free), *count of them. At most 65,536. */
mica_status mica_path_list(const mica_host *host, const char *folder, char **names, size_t *count,
                           mica_error *err);

/* Writes to "<path>.tmp-<pid>" and renames it onto path at commit, after fsync. close without
 * commit removes the temporary file. Threads: one at a time. */
typedef struct mica_file_writer mica_file_writer;
mica_status mica_file_writer_open(const mica_host *host, const char *path, mica_file_writer **out,
                                  mica_error *err);
mica_status mica_file_writer_append(mica_file_writer *w, const void *data, size_t bytes,
                                    mica_error *err);
/* Writes at an absolute offset (the file grows as needed); may run on several threads at once. */
mica_status mica_file_writer_write_at(mica_file_writer *w, uint64_t offset, const void *data,
                                      size_t bytes, mica_error *err);
mica_status mica_file_writer_commit(mica_file_writer *w, mica_error *err);
void mica_file_writer_close(mica_file_writer **w);
