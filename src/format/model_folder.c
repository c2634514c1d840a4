/* Model folders: plain names, and the border that links may not leave. */
#include "format/model_folder.h"
#include <string.h>
#include "base/error.h"

enum { NAME_BYTES_MAX = 255 };

bool mica_file_name_is_plain(mica_slice name) {
    if (name.bytes == 0 || name.bytes > NAME_BYTES_MAX) return false;
    if (mica_slice_is(name, ".") || mica_slice_is(name, "..")) return false;
    for (size_t i = 0; i < name.bytes; i++) {
        unsigned char c = (unsigned char)name.data[i];
        if (c < 0x20 || c == 0x7F || c == '/' || c == '\\' || c == ':') return false;
    }
    return true;
}

/* The end of ".../models--org--name" when root is below its snapshots, else NULL. */
static char *repository_end(char *root) {
    static const char middle[] = "/snapshots/";
    for (char *at = root; (at = strstr(at, middle)) != NULL; at++) {
        *at = '\0';
        const char *slash = strrchr(root, '/');
        bool is_repository = slash && strncmp(slash + 1, "models--", 8) == 0;
        *at = '/';
        if (is_repository) return at;
    }
    return NULL;
}

mica_status mica_model_folder_open(const char *path, mica_model_folder *out, mica_error *err) {
    mica_status st = mica_path_resolve(path, out->root, err);
    if (st != MICA_STATUS_OK) return st;
    if (mica_path_kind_of(out->root) != MICA_PATH_FOLDER)
        return mica_fail(err, MICA_STATUS_INVALID, "%s is not a folder", path);
    memcpy(out->border, out->root, sizeof out->border);
    char *end = repository_end(out->border);
    if (end) *end = '\0';
    return MICA_STATUS_OK;
}

/* path is resolved. */
static bool is_inside(const char *border, const char *path) {
    size_t bytes = strlen(border);
    if (bytes == 1) return true; /* "/" */
    return strncmp(path, border, bytes) == 0 && path[bytes] == '/';
}

mica_status mica_model_folder_find(const mica_model_folder *folder, const char *name,
                                   char out[MICA_PATH_BYTES_MAX], mica_error *err) {
    char path[MICA_PATH_BYTES_MAX];
    out[0] = '\0';
    if (!mica_file_name_is_plain(mica_slice_from(name)))
        return mica_fail(err, MICA_STATUS_INVALID, "\"%s\" is not a plain file name", name);
    mica_status st = mica_path_join(folder->root, name, path, err);
    if (st != MICA_STATUS_OK) return st;
    st = mica_path_resolve(path, out, err);
    if (st != MICA_STATUS_OK) return st;
    if (is_inside(folder->border, out)) return MICA_STATUS_OK;
    out[0] = '\0';
    return mica_fail(err, MICA_STATUS_FORMAT, "%s is a link that leaves the model folder", name);
}

bool mica_model_folder_has(const mica_model_folder *folder, const char *name) {
    char path[MICA_PATH_BYTES_MAX];
    return mica_path_join(folder->root, name, path, NULL) == MICA_STATUS_OK &&
           mica_path_kind_of(path) != MICA_PATH_NONE;
}

mica_status mica_model_folder_read(const mica_host *host, const mica_model_folder *folder,
                                   const char *name, size_t bytes_max, char **out, size_t *bytes,
                                   mica_error *err) {
    char path[MICA_PATH_BYTES_MAX];
    *out = NULL;
    *bytes = 0;
    mica_status st = mica_model_folder_find(folder, name, path, err);
    if (st != MICA_STATUS_OK) return st;
    return mica_file_read_all(host, path, bytes_max, out, bytes, err);
}
