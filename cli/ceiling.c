/* All probes, for one model on one machine. */
#include "ceiling.h"
#include <stdio.h>
#include <sys/stat.h>
#include "base/error.h"
#include "session.h"

/* The file that holds the largest tensor: the model itself, or one in its folder. */
static bool find_file(const mica_model *model, const char *path, char *out, size_t capacity) {
    mica_tensor_info tensor;
    const char *shard = NULL;
    uint64_t most = 0;
    struct stat info;
    for (size_t i = 0; mica_model_get_tensor(model, i, &tensor); i++) {
        if (tensor.bytes <= most) continue;
        most = tensor.bytes;
        shard = tensor.shard;
    }
    if (!shard || stat(path, &info) != 0) return false;
    int n = S_ISDIR(info.st_mode) ? snprintf(out, capacity, "%s/%s", path, shard)
                                  : snprintf(out, capacity, "%s", path);
    return n > 0 && (size_t)n < capacity;
}

mica_status cli_ceilings_measure(const mica_model *model, const char *path,
                                 const mica_runtime_info *machine, cli_ceilings *out,
                                 mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char file[CLI_PATH_BYTES_MAX];
    *out = (cli_ceilings){0};
    MICA_TRY(cli_ceiling_fma(machine, &out->fma, err));
    MICA_TRY(cli_ceiling_tiles(machine, &out->tiles, err));
    MICA_TRY(cli_ceiling_read(machine->n_threads, &out->read, err));
    if (find_file(model, path, file, sizeof file))
        MICA_TRY(cli_ceiling_file(file, machine->n_threads, &out->file, err));
done:
    return st;
}
