/* A model folder, and the one way to the files in it. Names come from indexes and configs, that is
 * from outside: a name is a single part of a path, and the file it leads to must lie in the folder,
 * or, for a snapshot of the Hugging Face cache, in the repository folder whose blobs it links to:
 *     models--org--name/snapshots/<commit>/<file> -> ../../blobs/<etag> */
#pragma once
#include "base/file.h"

/* Plain data. root: the folder, resolved. border: what files must stay in; root or above it. */
typedef struct mica_model_folder {
    char root[MICA_PATH_BYTES_MAX];
    char border[MICA_PATH_BYTES_MAX];
} mica_model_folder;

/* Errors: NOT_FOUND, INVALID when path is not a folder. */
mica_status mica_model_folder_open(const char *path, mica_model_folder *out, mica_error *err);
/* A single part of a path that means the same everywhere: not "", "." or "..", no '/', '\', ':',
 * control byte; at most 255 bytes. */
bool mica_file_name_is_plain(mica_slice name);
/* The resolved path of a file of the folder. Errors: NOT_FOUND when it is not there; INVALID for a
 * name that is not plain; FORMAT when a link leaves the border. */
mica_status mica_model_folder_find(const mica_model_folder *folder, const char *name,
                                   char out[MICA_PATH_BYTES_MAX], mica_error *err);
/* Whether something of that name is there at all (a dangling link is not). */
bool mica_model_folder_has(const mica_model_folder *folder, const char *name);
/* Finds and reads a small text file whole, as mica_file_read_all. */
mica_status mica_model_folder_read(const mica_host *host, const mica_model_folder *folder,
                                   const char *name, size_t bytes_max, char **out, size_t *bytes,
                                   mica_error *err);
