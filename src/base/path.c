/* Names: kinds, joining, making and listing folders. Part of file.h. */
#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/error.h"
#include "base/file_parts.h"

enum { ENTRIES_MAX = 65536 };

mica_path_kind mica_path_kind_of(const char *path) {
    struct stat about;
    if (stat(path, &about) != 0) return MICA_PATH_NONE;
    if (S_ISREG(about.st_mode)) return MICA_PATH_FILE;
    return S_ISDIR(about.st_mode) ? MICA_PATH_FOLDER : MICA_PATH_OTHER;
}

mica_status mica_path_join(const char *folder, const char *name, char out[MICA_PATH_BYTES_MAX],
                           mica_error *err) {
    size_t bytes = strlen(folder);
    const char *between = bytes == 0 || folder[bytes - 1] == '/' ? "" : "/";
    if (mica_format(out, MICA_PATH_BYTES_MAX, "%s%s%s", folder, between, name) <
        MICA_PATH_BYTES_MAX)
        return MICA_STATUS_OK;
    out[0] = '\0';
    return mica_fail(err, MICA_STATUS_LIMIT, "a path of %zu bytes, the limit is %d: %s",
                     bytes + strlen(name) + 1, MICA_PATH_BYTES_MAX - 1, name);
}

/* One level; an existing folder is fine, whatever mkdir says about it. */
static mica_status make_one(const char *path, mica_error *err) {
    if (mkdir(path, 0777) == 0) return MICA_STATUS_OK;
    int error = errno;
    mica_path_kind kind = mica_path_kind_of(path);
    if (kind == MICA_PATH_FOLDER) return MICA_STATUS_OK;
    if (kind != MICA_PATH_NONE) error = ENOTDIR;
    return mica_fail_errno(err, error, "cannot create the folder", path);
}

mica_status mica_path_make_folder(const char *path, mica_error *err) {
    char part[MICA_PATH_BYTES_MAX];
    size_t bytes = strlen(path);
    if (bytes >= sizeof part)
        return mica_fail(err, MICA_STATUS_LIMIT, "a path of %zu bytes, the limit is %d", bytes,
                         MICA_PATH_BYTES_MAX - 1);
    memcpy(part, path, bytes + 1);
    for (size_t i = 1; i < bytes; i++) {
        if (part[i] != '/' || part[i - 1] == '/') continue;
        part[i] = '\0';
        mica_status st = make_one(part, err);
        if (st != MICA_STATUS_OK) return st;
        part[i] = '/';
    }
    return make_one(path, err);
}

/* Appends the names with their NULs in the order of the folder. Returns an errno value, or E2BIG
 * past the limit. */
static int read_names(const mica_host *host, DIR *folder, mica_str *names, size_t *count) {
    for (;;) {
        int error = file_before(host, MICA_IO_LIST, NULL);
        if (error == EINTR) continue;
        if (error) return error;
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (!entry) return errno;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (*count == ENTRIES_MAX) return E2BIG;
        mica_str_append(names, entry->d_name, strlen(entry->d_name) + 1);
        if (names->failed) return ENOMEM;
        ++*count;
    }
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A sorted copy of count strings that stand one after another; NULL when there is no memory. */
static char *sort_names(const mica_allocator *allocator, const mica_str *names, size_t count) {
    const char **order = mica_alloc_array(allocator, count, sizeof *order);
    char *sorted = mica_alloc(allocator, names->bytes);
    if (order && sorted) {
        const char *name = names->data;
        for (size_t i = 0; i < count; i++, name += strlen(name) + 1) order[i] = name;
        if (count > 0) qsort(order, count, sizeof *order, compare_names);
        char *to = sorted;
        for (size_t i = 0; i < count; i++) {
            size_t bytes = strlen(order[i]) + 1;
            memcpy(to, order[i], bytes);
            to += bytes;
        }
    } else {
        mica_free(allocator, sorted);
        sorted = NULL;
    }
    mica_free(allocator, order);
    return sorted;
}

mica_status mica_path_list(const mica_host *host, const char *folder, char **names, size_t *count,
                           mica_error *err) {
    *names = NULL;
    *count = 0;
    int error = file_before(host, MICA_IO_LIST, NULL);
    DIR *listing = error ? NULL : opendir(folder);
    if (!listing) return mica_fail_errno(err, error ? error : errno, "cannot list", folder);
    mica_str text;
    mica_str_init(&text, host->allocator);
    size_t n = 0;
    error = read_names(host, listing, &text, &n);
    closedir(listing);
    if (!error && !(*names = sort_names(host->allocator, &text, n))) error = ENOMEM;
    mica_str_deinit(&text);
    if (error == E2BIG)
        return mica_fail(err, MICA_STATUS_LIMIT, "%s has more than %d entries", folder,
                         ENTRIES_MAX);
    if (error) return mica_fail_errno(err, error, "cannot list", folder);
    *count = n;
    return MICA_STATUS_OK;
}
