/* Folders that appear whole: mkdir under a temporary name, rename onto the final one. rename
 * replaces an empty folder and refuses any other, so nothing is ever lost to a race. */
#include "base/folder_writer.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/error.h"
#include "base/file_parts.h"

/* As of file_writer.c: in a container the next process may have the id of one that crashed. */
enum { N_NAMES = 100 };

static const char infix[] = ".tmp-";

struct mica_folder_writer {
    const mica_host *host;
    bool has_folder; /* the temporary folder is there and must be renamed or removed */
    char path[MICA_PATH_BYTES_MAX]; /* without a slash at its end */
    char temporary[MICA_PATH_BYTES_MAX];
};

/* ---- what is there already ---- */

static mica_status check_free(const mica_host *host, const char *path, mica_error *err) {
    char *names = NULL;
    size_t count = 0;
    mica_path_kind kind = mica_path_kind_of(path);
    if (kind == MICA_PATH_NONE) return MICA_STATUS_OK;
    if (kind != MICA_PATH_FOLDER)
        return mica_fail(err, MICA_STATUS_INVALID, "%s is there already, and not a folder", path);
    mica_status st = mica_path_list(host, path, &names, &count, err);
    if (st != MICA_STATUS_OK) return st;
    if (count > 0)
        st = mica_fail(err, MICA_STATUS_INVALID,
                       "the folder %s is not empty (%s%s): give another name, or remove it", path,
                       names, count > 1 ? ", ..." : "");
    mica_free(host->allocator, names);
    return st;
}

/* Whether name is "<base>.tmp-<pid>" or "<base>.tmp-<pid>-<n>" of a process that has gone. */
static bool is_stale(const char *name, const char *base) {
    int64_t pid;
    size_t bytes = strlen(base);
    if (strncmp(name, base, bytes) != 0 || strncmp(name + bytes, infix, sizeof infix - 1) != 0)
        return false;
    const char *number = name + bytes + sizeof infix - 1;
    size_t digits = strspn(number, "0123456789");
    if (number[digits] != '\0' && number[digits] != '-') return false;
    if (!mica_parse_i64(mica_slice_of(number, digits), &pid)) return false;
    if (pid <= 0 || pid > INT32_MAX) return false;
    return kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

/* "<parent>" and "<last part>" of path. */
static const char *split_path(const char *path, char parent[MICA_PATH_BYTES_MAX]) {
    const char *slash = strrchr(path, '/');
    if (!slash) {
        memcpy(parent, ".", 2);
        return path;
    }
    size_t bytes = slash == path ? 1 : (size_t)(slash - path);
    memcpy(parent, path, bytes);
    parent[bytes] = '\0';
    return slash + 1;
}

static void report_stale(const mica_host *host, const char *path) {
    char parent[MICA_PATH_BYTES_MAX];
    char *names = NULL;
    size_t count = 0;
    const char *base = split_path(path, parent);
    if (mica_path_list(host, parent, &names, &count, NULL) != MICA_STATUS_OK) return;
    const char *name = names;
    for (size_t i = 0; i < count; i++, name += strlen(name) + 1)
        if (is_stale(name, base))
            mica_host_log(host, MICA_LOG_WARNING,
                          "%s/%s is left from a process that was killed, and may be removed",
                          parent, name);
    mica_free(host->allocator, names);
}

/* ---- opening ---- */

static mica_status set_path(mica_folder_writer *w, const char *path, mica_error *err) {
    size_t bytes = mica_format(w->path, sizeof w->path, "%s", path);
    if (bytes >= sizeof w->path) return mica_fail_errno(err, ENAMETOOLONG, "cannot create", path);
    while (bytes > 1 && w->path[bytes - 1] == '/') w->path[--bytes] = '\0';
    return bytes > 0 ? MICA_STATUS_OK
                     : mica_fail(err, MICA_STATUS_INVALID, "the name of a folder is empty");
}

static mica_status make_parent(const char *path, mica_error *err) {
    char parent[MICA_PATH_BYTES_MAX];
    split_path(path, parent);
    return mica_path_make_folder(parent, err);
}

static mica_status create_temporary(mica_folder_writer *w, mica_error *err) {
    int error = EEXIST;
    for (int i = 0; i < N_NAMES && error == EEXIST; i++) {
        char number[16] = "";
        if (i > 0) mica_format(number, sizeof number, "-%d", i);
        size_t bytes = mica_format(w->temporary, sizeof w->temporary, "%s%s%ld%s", w->path, infix,
                                   (long)getpid(), number);
        if (bytes >= sizeof w->temporary)
            return mica_fail_errno(err, ENAMETOOLONG, "cannot create", w->path);
        error = file_before(w->host, MICA_IO_OPEN, NULL);
        if (error == 0 && mkdir(w->temporary, 0777) != 0) error = errno;
        w->has_folder = error == 0;
    }
    return error ? mica_fail_errno(err, error, "cannot create the folder", w->temporary)
                 : MICA_STATUS_OK;
}

mica_status mica_folder_writer_open(const mica_host *host, const char *path,
                                    mica_folder_writer **out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    *out = NULL;
    mica_folder_writer *w = MICA_NEW(host->allocator, mica_folder_writer);
    if (!w) return mica_fail_memory(err, sizeof *w, "a folder writer");
    w->host = host;
    MICA_TRY(set_path(w, path, err));
    MICA_TRY(check_free(host, w->path, err));
    MICA_TRY(make_parent(w->path, err));
    report_stale(host, w->path);
    MICA_TRY(create_temporary(w, err));
    *out = w;
    w = NULL;
done:
    mica_folder_writer_close(&w);
    return st;
}

const char *mica_folder_writer_path(const mica_folder_writer *w) { return w->temporary; }

/* ---- the end ---- */

/* File systems that cannot sync a folder say EINVAL or ENOTSUP. */
static int sync_folder(const mica_host *host, const char *path) {
    int error;
    int fd = file_open_descriptor(host, path, O_RDONLY | O_DIRECTORY, &error);
    if (fd < 0) return error;
    error = file_before(host, MICA_IO_SYNC, NULL);
    if (error == 0 && fsync(fd) != 0) error = errno;
    close(fd);
    return error == EINVAL || error == ENOTSUP ? 0 : error;
}

static int rename_temporary(mica_folder_writer *w) {
    int error = file_before(w->host, MICA_IO_RENAME, NULL);
    if (error) return error;
    if (rename(w->temporary, w->path) != 0) return errno;
    w->has_folder = false;
    return 0;
}

mica_status mica_folder_writer_commit(mica_folder_writer *w, mica_error *err) {
    char parent[MICA_PATH_BYTES_MAX];
    mica_status st = check_free(w->host, w->path, err);
    if (st != MICA_STATUS_OK) return st;
    split_path(w->path, parent);
    int error = sync_folder(w->host, w->temporary);
    if (!error) error = rename_temporary(w);
    if (!error) error = sync_folder(w->host, parent);
    return error ? mica_fail_errno(err, error, "cannot finish", w->path) : MICA_STATUS_OK;
}

/* Only files were made in it. Neither the host's memory nor its fault hook is asked: cleaning up
 * has to work after either failed. */
static void remove_temporary(const mica_folder_writer *w) {
    DIR *listing = opendir(w->temporary);
    const struct dirent *entry;
    while (listing && (entry = readdir(listing)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        unlinkat(dirfd(listing), entry->d_name, 0);
    }
    if (listing) closedir(listing);
    rmdir(w->temporary);
}

void mica_folder_writer_close(mica_folder_writer **place) {
    mica_folder_writer *w = *place;
    if (!w) return;
    *place = NULL;
    if (w->has_folder) remove_temporary(w);
    mica_free(w->host->allocator, w);
}
