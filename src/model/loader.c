/* Checkpoint tensors to weight store entries. Mapped data are imported without a copy. How a matrix
 * is stored is found out in loader_quant.c; experts are in loader_experts.c. */
#include "model/loader.h"
#include <string.h>
#include "model/loader_parts.h"

const mica_safetensors_dtype loader_float_types[3] = {MICA_SAFETENSORS_BF16, MICA_SAFETENSORS_F32,
                                                      MICA_SAFETENSORS_F16};
const mica_safetensors_dtype loader_byte_types[1] = {MICA_SAFETENSORS_U8};

/* ---- one part ---- */

mica_status loader_report(const mica_loader *l, const char *stage, mica_error *err) {
    if (!l->progress || l->progress(l->progress_context, stage, l->done_bytes, l->total_bytes))
        return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_CANCELLED, "loading was cancelled");
}

mica_status loader_take_part(mica_loader *l, const char *name, const mica_safetensors_dtype *types,
                             size_t n_types, const mica_shape *shape,
                             const mica_checkpoint_tensor **tensor, mica_storage *part,
                             mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const uint8_t *data = NULL;
    if (l->predict) return l->predict(l->predict_context, name, types[0], shape, err);
    mica_device *device = l->model->runtime->device;
    MICA_TRY(mica_checkpoint_expect(l->checkpoint, name, types, n_types, shape, tensor, err));
    l->done_bytes += (*tensor)->bytes;
    if (l->check_only) return loader_report(l, "check", err);
    MICA_TRY(mica_checkpoint_map_tensor(l->checkpoint, *tensor, &data, err));
    MICA_TRY(device->backend->buffer_import(device, data, (*tensor)->bytes, NULL, NULL,
                                            &part->buffer, err));
    st = loader_report(l, "weights", err);
done:
    return st;
}

mica_status loader_new_part(mica_loader *l, uint64_t bytes, mica_storage *part, uint8_t **host,
                            mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    void *data = NULL;
    *host = NULL;
    if (l->check_only) return MICA_STATUS_OK;
    mica_device *device = l->model->runtime->device;
    MICA_TRY(device->backend->buffer_create(device, bytes, &part->buffer, err));
    MICA_TRY(device->backend->buffer_map(device, part->buffer, true, &data, err));
    *host = data;
done:
    return st;
}

mica_status loader_add_weight(mica_loader *l, const char *name, mica_dtype dtype, mica_quant quant,
                              const mica_shape *shape, mica_storage parts[MICA_PARTS_MAX],
                              mica_error *err) {
    mica_weight w = {.name = name, .dtype = (uint8_t)dtype, .quant = quant, .shape = *shape};
    if (l->predict) return MICA_STATUS_OK;
    memcpy(w.parts, parts, sizeof w.parts);
    memset(parts, 0, sizeof w.parts);
    for (int p = 0; p < mica_quant_parts(quant); p++)
        w.bytes += mica_part_bytes(dtype, quant, shape, p);
    l->model->n_parameters += (uint64_t)mica_shape_count(shape);
    return mica_weights_add(l->model->weights, &w, err);
}

mica_dtype loader_plain_type(const mica_checkpoint_tensor *tensor) {
    return tensor ? mica_safetensors_dtype_plain(tensor->dtype) : MICA_DTYPE_BF16;
}

void loader_release_parts(mica_storage parts[MICA_PARTS_MAX]) {
    for (int p = 0; p < MICA_PARTS_MAX; p++) mica_buffer_release(&parts[p].buffer);
}

/* ---- tensors and matrices ---- */

mica_status loader_load_plain(mica_loader *l, const char *name, int rank, const int64_t *dims,
                              mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_storage parts[MICA_PARTS_MAX] = {{0}};
    const mica_checkpoint_tensor *tensor = NULL;
    mica_shape shape;
    MICA_REQUIRE(mica_shape_make(rank, dims, &shape), MICA_STATUS_LIMIT,
                 "%s: the configuration predicts a shape that is too large", name);
    MICA_TRY(loader_take_part(l, name, loader_float_types, 3, &shape, &tensor, &parts[0], err));
    st = loader_add_weight(l, name, loader_plain_type(tensor), (mica_quant){0}, &shape, parts, err);
done:
    loader_release_parts(parts);
    return st;
}

mica_status loader_load_matrix(mica_loader *l, const char *path, int rank, const int64_t *dims,
                               mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_storage storage[MICA_PARTS_MAX] = {{0}};
    mica_dtype dtype = MICA_DTYPE_BF16;
    loader_parts m;
    char name[LOADER_NAME_BYTES];
    MICA_TRY(loader_find_parts(l, path, rank, dims, &m, err));
    for (int p = 0; p < m.n_parts; p++) {
        const mica_checkpoint_tensor *tensor = NULL;
        const loader_part *part = &m.parts[p];
        snprintf(name, sizeof name, "%s%s", path, part->suffix);
        MICA_TRY(loader_take_part(l, name, part->types, part->n_types, &part->shape, &tensor,
                                  &storage[p], err));
        loader_narrow_parts(&m, p, tensor);
        if (!m.quant.mode) dtype = loader_plain_type(tensor);
        if (storage[p].buffer)
            MICA_TRY(loader_check_values(&m, p, name, storage[p].buffer->host, tensor->bytes, err));
    }
    snprintf(name, sizeof name, "%s.weight", path);
    st = loader_add_weight(l, name, dtype, m.quant, &m.shape, storage, err);
done:
    loader_release_parts(storage);
    return st;
}

mica_status mica_load_vector(mica_loader *l, int64_t n, mica_error *err, const char *format, ...) {
    char name[LOADER_NAME_BYTES];
    LOADER_FORMAT_NAME(name, format);
    return loader_load_plain(l, name, 1, &n, err);
}

mica_status mica_load_matrix(mica_loader *l, int64_t rows, int64_t columns, mica_error *err,
                             const char *format, ...) {
    static const char suffix[] = ".weight";
    char name[LOADER_NAME_BYTES - 16];
    LOADER_FORMAT_NAME(name, format);
    size_t bytes = strlen(name), tail = sizeof suffix - 1;
    int64_t dims[2] = {rows, columns};
    if (bytes <= tail || strcmp(name + bytes - tail, suffix) != 0)
        return loader_load_plain(l, name, 2, dims, err);
    name[bytes - tail] = '\0';
    return loader_load_matrix(l, name, 2, dims, err);
}

mica_status mica_load_linear(mica_loader *l, int64_t n, int64_t k, bool has_bias, mica_error *err,
                             const char *format, ...) {
    char path[LOADER_NAME_BYTES - 16];
    LOADER_FORMAT_NAME(path, format);
    mica_status st = loader_load_matrix(l, path, 2, (int64_t[]){n, k}, err);
    if (st == MICA_STATUS_OK && has_bias) st = mica_load_vector(l, n, err, "%s.bias", path);
    return st;
}

mica_status mica_load_computed(mica_loader *l, const char *name, const float *values, int64_t n,
                               mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_storage parts[MICA_PARTS_MAX] = {{0}};
    mica_shape shape;
    uint8_t *host = NULL;
    uint64_t bytes = (uint64_t)n * sizeof(float);
    if (l->predict) return MICA_STATUS_OK;
    MICA_REQUIRE(mica_shape_make(1, &n, &shape), MICA_STATUS_LIMIT, "%s: too large", name);
    MICA_TRY(loader_new_part(l, bytes, &parts[0], &host, err));
    if (host) memcpy(host, values, (size_t)bytes);
    MICA_TRY(loader_add_weight(l, name, MICA_DTYPE_F32, (mica_quant){0}, &shape, parts, err));
    l->model->n_parameters -= (uint64_t)n; /* not the checkpoint's */
done:
    loader_release_parts(parts);
    return st;
}
