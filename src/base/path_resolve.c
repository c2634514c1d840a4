/* Where a path leads once all symbolic links are followed. Part of file.h; whether that place may
 * be opened is for the caller to judge. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include "base/error.h"
#include "base/file.h"

mica_status mica_path_resolve(const char *path, char out[MICA_PATH_BYTES_MAX], mica_error *err) {
    _Static_assert(PATH_MAX <= MICA_PATH_BYTES_MAX, "realpath writes up to PATH_MAX bytes");
    if (realpath(path, out)) return MICA_STATUS_OK;
    int error = errno;
    out[0] = '\0';
    return mica_fail_errno(err, error, "cannot resolve", path);
}
