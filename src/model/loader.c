/* Checkpoint tensors to weight store entries. Mapped data are imported without a copy. */
#include "model/loader.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 256
#define FORMAT_NAME(name, format)                                                                  \
    do {                                                                                           \
        va_list args_;                                                                             \
        va_start(args_, format);                                                                   \
        vsnprintf(name, sizeof name, format, args_);                                               \
        va_end(args_);                                                                             \
    } while (0)

static const mica_safetensors_dtype float_types[] = {MICA_SAFETENSORS_BF16, MICA_SAFETENSORS_F32,
                                                     MICA_SAFETENSORS_F16};
static const mica_safetensors_dtype byte_types[] = {MICA_SAFETENSORS_U8};

/* ---- one part ---- */

static mica_status report(const mica_loader *l, const char *stage, mica_error *err) {
    if (!l->progress || l->progress(l->progress_context, stage, l->done_bytes, l->total_bytes))
        return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_CANCELLED, "loading was cancelled");
}

/* Checks a tensor and imports its bytes as a part; in check_only mode the part stays empty. */
static mica_status take_part(mica_loader *l, const char *name, const mica_safetensors_dtype *types,
                             size_t n_types, const mica_shape *shape,
                             const mica_checkpoint_tensor **tensor, mica_storage *part,
                             mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const uint8_t *data = NULL;
    if (l->predict) return l->predict(l->predict_context, name, types[0], shape, err);
    mica_device *device = l->model->runtime->device;
    MICA_TRY(mica_checkpoint_expect(l->checkpoint, name, types, n_types, shape, tensor, err));
    l->done_bytes += (*tensor)->bytes;
    if (l->check_only) return report(l, "check", err);
    MICA_TRY(mica_checkpoint_map_tensor(l->checkpoint, *tensor, &data, err));
    MICA_TRY(device->backend->buffer_import(device, data, (*tensor)->bytes, NULL, NULL,
                                            &part->buffer, err));
    st = report(l, "weights", err);
done:
    return st;
}

static mica_status add_weight(mica_loader *l, const char *name, mica_dtype dtype, mica_quant quant,
                              const mica_shape *shape, const mica_storage parts[MICA_PARTS_MAX],
                              mica_error *err) {
    mica_weight w = {.name = name, .dtype = (uint8_t)dtype, .quant = quant, .shape = *shape};
    if (l->predict) return MICA_STATUS_OK;
    memcpy(w.parts, parts, sizeof w.parts);
    for (int p = 0; p < mica_quant_parts(quant); p++)
        w.bytes += mica_part_bytes(dtype, quant, shape, p);
    l->model->n_parameters += (uint64_t)mica_shape_count(shape);
    return mica_weights_add(l->model->weights, &w, err);
}

/* Predicted tensors do not exist: they count as bf16. */
static mica_dtype plain_type(const mica_checkpoint_tensor *tensor) {
    return tensor ? mica_safetensors_dtype_plain(tensor->dtype) : MICA_DTYPE_BF16;
}

static void release_parts(mica_storage parts[MICA_PARTS_MAX]) {
    for (int p = 0; p < MICA_PARTS_MAX; p++) mica_buffer_release(&parts[p].buffer);
}

/* ---- plain tensors ---- */

static mica_status load_plain(mica_loader *l, const char *name, int rank, const int64_t *dims,
                              mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_storage parts[MICA_PARTS_MAX] = {{0}};
    const mica_checkpoint_tensor *tensor = NULL;
    mica_shape shape;
    MICA_REQUIRE(mica_shape_make(rank, dims, &shape), MICA_STATUS_LIMIT,
                 "%s: the configuration predicts a shape that is too large", name);
    MICA_TRY(take_part(l, name, float_types, 3, &shape, &tensor, &parts[0], err));
    return add_weight(l, name, plain_type(tensor), (mica_quant){0}, &shape, parts, err);
done:
    release_parts(parts);
    return st;
}

mica_status mica_load_vector(mica_loader *l, int64_t n, mica_error *err, const char *format, ...) {
    char name[NAME_BYTES];
    FORMAT_NAME(name, format);
    return load_plain(l, name, 1, &n, err);
}

mica_status mica_load_matrix(mica_loader *l, int64_t rows, int64_t columns, mica_error *err,
                             const char *format, ...) {
    char name[NAME_BYTES];
    FORMAT_NAME(name, format);
    return load_plain(l, name, 2, (int64_t[]){rows, columns}, err);
}

mica_status mica_load_linear(mica_loader *l, int64_t n, int64_t k, bool has_bias, mica_error *err,
                             const char *format, ...) {
    char prefix[NAME_BYTES - 16];
    FORMAT_NAME(prefix, format);
    mica_status st = mica_load_matrix(l, n, k, err, "%s.weight", prefix);
    if (st == MICA_STATUS_OK && has_bias) st = mica_load_vector(l, n, err, "%s.bias", prefix);
    return st;
}

/* ---- experts ---- */

static mica_status load_mxfp4(mica_loader *l, const char *prefix, int64_t e, int64_t n, int64_t k,
                              mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_storage parts[MICA_PARTS_MAX] = {{0}};
    const mica_checkpoint_tensor *tensor = NULL;
    mica_quant quant = {.mode = MICA_QUANT_MXFP4, .bits = 4, .group = 32};
    quant.scale_dtype = MICA_DTYPE_U8;
    mica_shape shape, blocks, scales;
    char name[NAME_BYTES];
    MICA_REQUIRE(k % quant.group == 0, MICA_STATUS_FORMAT,
                 "%s: MXFP4 rows of %lld elements, wanted a multiple of 32", prefix, (long long)k);
    MICA_REQUIRE(mica_shape_make(3, (int64_t[]){e, n, k}, &shape) &&
                     mica_shape_make(4, (int64_t[]){e, n, k / 32, 16}, &blocks) &&
                     mica_shape_make(3, (int64_t[]){e, n, k / 32}, &scales),
                 MICA_STATUS_LIMIT, "%s: the configuration predicts a shape that is too large",
                 prefix);
    snprintf(name, sizeof name, "%s_blocks", prefix);
    MICA_TRY(take_part(l, name, byte_types, 1, &blocks, &tensor, &parts[0], err));
    snprintf(name, sizeof name, "%s_scales", prefix);
    MICA_TRY(take_part(l, name, byte_types, 1, &scales, &tensor, &parts[1], err));
    if (!l->check_only && !l->predict)
        MICA_TRY(mica_checkpoint_check_e8m0(name, parts[1].buffer->host, tensor->bytes, err));
    return add_weight(l, prefix, MICA_DTYPE_BF16, quant, &shape, parts, err);
done:
    release_parts(parts);
    return st;
}

/* [e, k, n] to [e, n, k], element by element of `item` bytes. */
static void transpose(const uint8_t *from, uint8_t *to, int64_t e, int64_t k, int64_t n,
                      size_t item) {
    for (int64_t i = 0; i < e; i++)
        for (int64_t row = 0; row < n; row++)
            for (int64_t column = 0; column < k; column++, to += item)
                memcpy(to, from + (size_t)((i * k + column) * n + row) * item, item);
}

static mica_status load_transposed(mica_loader *l, const char *name, int64_t e, int64_t n,
                                   int64_t k, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_storage parts[MICA_PARTS_MAX] = {{0}}, file[MICA_PARTS_MAX] = {{0}};
    const mica_checkpoint_tensor *tensor = NULL;
    mica_device *device = l->predict ? NULL : l->model->runtime->device;
    mica_shape shape, stored;
    void *host = NULL;
    MICA_REQUIRE(mica_shape_make(3, (int64_t[]){e, n, k}, &shape) &&
                     mica_shape_make(3, (int64_t[]){e, k, n}, &stored),
                 MICA_STATUS_LIMIT, "%s: the configuration predicts a shape that is too large",
                 name);
    MICA_TRY(take_part(l, name, float_types, 3, &stored, &tensor, &file[0], err));
    mica_dtype dtype = plain_type(tensor);
    if (!l->check_only && !l->predict) {
        MICA_TRY(device->backend->buffer_create(device, tensor->bytes, &parts[0].buffer, err));
        MICA_TRY(device->backend->buffer_map(device, parts[0].buffer, true, &host, err));
        transpose(file[0].buffer->host, host, e, k, n, mica_dtype_bytes(dtype));
    }
    release_parts(file);
    return add_weight(l, name, dtype, (mica_quant){0}, &shape, parts, err);
done:
    release_parts(parts);
    release_parts(file);
    return st;
}

mica_status mica_load_experts(mica_loader *l, int64_t e, int64_t n, int64_t k, mica_error *err,
                              const char *format, ...) {
    char prefix[NAME_BYTES - 16], name[NAME_BYTES];
    FORMAT_NAME(prefix, format);
    snprintf(name, sizeof name, "%s_blocks", prefix);
    bool is_mxfp4 = l->predict ? strcmp(l->config->quant.method, "mxfp4") == 0
                               : mica_checkpoint_find(l->checkpoint, name) ||
                                     !mica_checkpoint_find(l->checkpoint, prefix);
    mica_status st = is_mxfp4 ? load_mxfp4(l, prefix, e, n, k, err)
                              : load_transposed(l, prefix, e, n, k, err);
    if (st != MICA_STATUS_OK) return st;
    snprintf(name, sizeof name, "%s_bias", prefix);
    return load_plain(l, name, 2, (int64_t[]){e, n}, err);
}

/* Tensor t of the list, experts first: <prefix>.<t / n_names>.<names[t % n_names]>.weight. */
static void name_expert(const mica_expert_matrices *m, const char *prefix, int64_t t,
                        char name[NAME_BYTES]) {
    snprintf(name, NAME_BYTES, "%s.%lld.%s.weight", prefix, (long long)(t / m->n_names),
             m->names[t % m->n_names]);
}

/* Names and shapes of all, before memory is taken for them. The first one decides the dtype. */
static mica_status expect_experts(mica_loader *l, const mica_expert_matrices *m, const char *prefix,
                                  const mica_checkpoint_tensor **first, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_checkpoint_tensor *tensor = NULL;
    mica_shape shape;
    char name[NAME_BYTES];
    MICA_REQUIRE(mica_shape_make(2, (int64_t[]){m->n, m->k}, &shape), MICA_STATUS_LIMIT,
                 "%s: the configuration predicts a shape that is too large", prefix);
    for (int64_t t = 0; t < m->e * m->n_names; t++) {
        name_expert(m, prefix, t, name);
        if (l->predict) {
            MICA_TRY(l->predict(l->predict_context, name, float_types[0], &shape, err));
            continue;
        }
        MICA_TRY(mica_checkpoint_expect(l->checkpoint, name, *first ? &(*first)->dtype : float_types,
                                        *first ? 1 : 3, &shape, &tensor, err));
        if (!*first) *first = tensor;
    }
done:
    return st;
}

static mica_status copy_experts(mica_loader *l, const mica_expert_matrices *m, const char *prefix,
                                uint8_t *to, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char name[NAME_BYTES];
    for (int64_t t = 0; t < m->e * m->n_names; t++) {
        name_expert(m, prefix, t, name);
        const mica_checkpoint_tensor *tensor = mica_checkpoint_find(l->checkpoint, name);
        if (to) {
            size_t bytes = (size_t)tensor->bytes;
            MICA_TRY(mica_checkpoint_read_tensor(l->checkpoint, tensor, 0, to, bytes, err));
            to += bytes;
        }
        l->done_bytes += tensor->bytes;
        MICA_TRY(report(l, to ? "weights" : "check", err));
    }
done:
    return st;
}

mica_status mica_load_expert_matrices(mica_loader *l, const mica_expert_matrices *m,
                                      mica_error *err, const char *format, ...) {
    mica_status st = MICA_STATUS_OK;
    mica_storage parts[MICA_PARTS_MAX] = {{0}};
    const mica_checkpoint_tensor *first = NULL;
    mica_device *device = l->predict ? NULL : l->model->runtime->device;
    mica_shape shape;
    void *host = NULL;
    char prefix[NAME_BYTES / 2], name[NAME_BYTES];
    FORMAT_NAME(prefix, format);
    MICA_REQUIRE(mica_shape_make(3, (int64_t[]){m->e, m->n_names * m->n, m->k}, &shape),
                 MICA_STATUS_LIMIT, "%s: the configuration predicts a shape that is too large",
                 prefix);
    MICA_TRY(expect_experts(l, m, prefix, &first, err));
    if (l->predict) return MICA_STATUS_OK;
    if (!l->check_only) {
        uint64_t bytes = (uint64_t)m->e * (uint64_t)m->n_names * first->bytes;
        MICA_TRY(device->backend->buffer_create(device, bytes, &parts[0].buffer, err));
        MICA_TRY(device->backend->buffer_map(device, parts[0].buffer, true, &host, err));
    }
    MICA_TRY(copy_experts(l, m, prefix, host, err));
    snprintf(name, sizeof name, "%s.%s", prefix, m->packed);
    return add_weight(l, name, plain_type(first), (mica_quant){0}, &shape, parts, err);
done:
    release_parts(parts);
    return st;
}

mica_status mica_load_computed(mica_loader *l, const char *name, const float *values, int64_t n,
                               mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    if (l->predict) return MICA_STATUS_OK;
    mica_storage parts[MICA_PARTS_MAX] = {{0}};
    mica_device *device = l->model->runtime->device;
    mica_shape shape;
    void *host = NULL;
    uint64_t bytes = (uint64_t)n * sizeof(float);
    MICA_REQUIRE(mica_shape_make(1, &n, &shape), MICA_STATUS_LIMIT, "%s: too large", name);
    if (!l->check_only) {
        MICA_TRY(device->backend->buffer_create(device, bytes, &parts[0].buffer, err));
        MICA_TRY(device->backend->buffer_map(device, parts[0].buffer, true, &host, err));
        memcpy(host, values, (size_t)bytes);
    }
    st = add_weight(l, name, MICA_DTYPE_F32, (mica_quant){0}, &shape, parts, err);
    if (st == MICA_STATUS_OK) l->model->n_parameters -= (uint64_t)n; /* not the checkpoint's */
    return st;
done:
    release_parts(parts);
    return st;
}
