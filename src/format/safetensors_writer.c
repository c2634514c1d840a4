/* The safetensors writer: two orders of the declared tensors (names for the header, places for the
 * data), then positioned writes into a temporary file. The limits are those of the reader, so that
 * nothing is written that could not be read back. */
#include "format/safetensors_writer.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "base/json.h"
#include "base/vec.h"

enum {
    PREFIX_BYTES = 8,
    DATA_ALIGNMENT = 64, /* of the first tensor byte: a cache line */
};

typedef struct declared {
    char *name;
    mica_safetensors_dtype dtype;
    mica_shape shape;
    uint64_t bytes;
    uint64_t begin; /* relative to the first tensor byte; after open */
} declared;

struct mica_safetensors_writer {
    const mica_host *host;
    mica_vec tensors;      /* declared; in order of names after open */
    mica_str metadata;     /* "key":"value" pairs as JSON */
    size_t metadata_bytes; /* as the reader counts them */
    mica_file_writer *file;
    uint64_t data_begin;
    uint64_t data_bytes;
    _Atomic uint64_t written_bytes;
};

static declared *tensor_at(const mica_safetensors_writer *w, size_t i) {
    return mica_vec_at(&w->tensors, i);
}

mica_status mica_safetensors_writer_create(const mica_host *host, mica_safetensors_writer **out,
                                           mica_error *err) {
    *out = NULL;
    mica_safetensors_writer *w = MICA_NEW(host->allocator, mica_safetensors_writer);
    if (!w) return mica_fail_memory(err, sizeof *w, "a safetensors writer");
    w->host = host;
    mica_vec_init(&w->tensors, host->allocator, sizeof(declared));
    mica_str_init(&w->metadata, host->allocator);
    *out = w;
    return MICA_STATUS_OK;
}

static mica_status check_declaration(const mica_safetensors_writer *w, const char *name,
                                     mica_safetensors_dtype dtype, const mica_shape *shape,
                                     uint64_t *bytes, mica_error *err) {
    if (w->file)
        return mica_fail(err, MICA_STATUS_INVALID, "tensor %s: the file is already open", name);
    if (!mica_safetensors_name_is_valid(mica_slice_from(name)) || strcmp(name, "__metadata__") == 0)
        return mica_fail(err, MICA_STATUS_INVALID, "\"%s\" cannot be the name of a tensor", name);
    if (w->tensors.count == MICA_SAFETENSORS_TENSORS_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "tensor %s: more than %u tensors", name,
                         MICA_SAFETENSORS_TENSORS_MAX);
    if (mica_safetensors_dtype_bits(dtype) == 0 || shape->rank < 0 || shape->rank > MICA_RANK_MAX)
        return mica_fail(err, MICA_STATUS_INVALID, "tensor %s: dtype %d, rank %d", name, (int)dtype,
                         (int)shape->rank);
    for (int i = 0; i < shape->rank; i++)
        if (shape->dims[i] < 0 || shape->dims[i] > MICA_SAFETENSORS_DIM_MAX)
            return mica_fail(err, MICA_STATUS_INVALID, "tensor %s: dim %lld", name,
                             (long long)shape->dims[i]);
    int rule = mica_safetensors_tensor_bytes(dtype, shape, bytes);
    if (rule == 0) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_INVALID, "tensor %s: its shape breaks rule %d", name, rule);
}

mica_status mica_safetensors_writer_add(mica_safetensors_writer *w, const char *name,
                                        mica_safetensors_dtype dtype, const mica_shape *shape,
                                        mica_error *err) {
    uint64_t bytes = 0;
    mica_status st = check_declaration(w, name, dtype, shape, &bytes, err);
    if (st != MICA_STATUS_OK) return st;
    if (!mica_add_u64(w->data_bytes, bytes, &w->data_bytes) || w->data_bytes > INT64_MAX)
        return mica_fail(err, MICA_STATUS_INVALID, "tensor %s: the file becomes too long", name);
    char *copy = mica_alloc_string(w->host->allocator, name, strlen(name));
    declared *tensor = copy ? mica_vec_push(&w->tensors) : NULL;
    if (!tensor) {
        mica_free(w->host->allocator, copy);
        w->data_bytes -= bytes;
        return mica_fail_memory(err, sizeof *tensor, "a tensor to write");
    }
    *tensor = (declared){.name = copy, .dtype = dtype, .shape = *shape, .bytes = bytes};
    return MICA_STATUS_OK;
}

mica_status mica_safetensors_writer_add_metadata(mica_safetensors_writer *w, const char *key,
                                                 const char *value, mica_error *err) {
    if (w->file) return mica_fail(err, MICA_STATUS_INVALID, "the file is already open");
    w->metadata_bytes += strlen(key) + strlen(value) + 2;
    if (w->metadata_bytes > MICA_SAFETENSORS_METADATA_BYTES_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "more than %u bytes of metadata",
                         MICA_SAFETENSORS_METADATA_BYTES_MAX);
    if (w->metadata.bytes > 0) mica_str_append_char(&w->metadata, ',');
    mica_json_append_string(&w->metadata, mica_slice_from(key));
    mica_str_append_char(&w->metadata, ':');
    mica_json_append_string(&w->metadata, mica_slice_from(value));
    return w->metadata.failed ? mica_fail_memory(err, w->metadata.bytes, "metadata")
                              : MICA_STATUS_OK;
}

/* ---- layout and header ---- */

static int compare_names(const void *a, const void *b) {
    return strcmp(((const declared *)a)->name, ((const declared *)b)->name);
}

/* Wide elements first: each tensor then begins at a multiple of its element size. */
static int compare_places(const void *a, const void *b) {
    const declared *x = *(declared *const *)a, *y = *(declared *const *)b;
    int x_bits = mica_safetensors_dtype_bits(x->dtype);
    int y_bits = mica_safetensors_dtype_bits(y->dtype);
    if (x_bits != y_bits) return y_bits - x_bits;
    return strcmp(x->name, y->name);
}

static mica_status lay_out(mica_safetensors_writer *w, mica_error *err) {
    size_t count = w->tensors.count;
    if (count == 0) return MICA_STATUS_OK;
    qsort(w->tensors.data, count, sizeof(declared), compare_names);
    for (size_t i = 1; i < count; i++)
        if (strcmp(tensor_at(w, i - 1)->name, tensor_at(w, i)->name) == 0)
            return mica_fail(err, MICA_STATUS_INVALID, "tensor %s was added twice",
                             tensor_at(w, i)->name);
    declared **places = mica_alloc_array(w->host->allocator, count, sizeof *places);
    if (!places) return mica_fail_memory(err, count * sizeof *places, "the layout of a file");
    for (size_t i = 0; i < count; i++) places[i] = tensor_at(w, i);
    qsort(places, count, sizeof *places, compare_places);
    uint64_t position = 0;
    for (size_t i = 0; i < count; i++) {
        places[i]->begin = position;
        position += places[i]->bytes; /* at most data_bytes */
    }
    mica_free(w->host->allocator, places);
    return MICA_STATUS_OK;
}

static void append_tensor(mica_str *out, const declared *tensor) {
    mica_json_append_string(out, mica_slice_from(tensor->name));
    mica_str_append_format(out, ":{\"dtype\":\"%s\",\"shape\":[",
                           mica_safetensors_dtype_name(tensor->dtype));
    for (int i = 0; i < tensor->shape.rank; i++)
        mica_str_append_format(out, "%s%lld", i ? "," : "", (long long)tensor->shape.dims[i]);
    mica_str_append_format(out, "],\"data_offsets\":[%llu,%llu]}",
                           (unsigned long long)tensor->begin,
                           (unsigned long long)(tensor->begin + tensor->bytes));
}

/* The length and the padded JSON. */
static void append_header(mica_str *out, const mica_safetensors_writer *w) {
    mica_str_append(out, "\0\0\0\0\0\0\0\0{", PREFIX_BYTES + 1);
    if (w->metadata.bytes > 0) {
        mica_str_append_text(out, "\"__metadata__\":{");
        mica_str_append(out, w->metadata.data, w->metadata.bytes);
        mica_str_append_text(out, w->tensors.count > 0 ? "}," : "}");
    }
    for (size_t i = 0; i < w->tensors.count; i++) {
        if (i > 0) mica_str_append_char(out, ',');
        append_tensor(out, tensor_at(w, i));
    }
    mica_str_append_char(out, '}');
    while (out->bytes % DATA_ALIGNMENT != 0 && !out->failed) mica_str_append_char(out, ' ');
    uint64_t length = out->bytes - PREFIX_BYTES;
    for (int i = 0; i < PREFIX_BYTES && !out->failed; i++)
        out->data[i] = (char)(unsigned char)(length >> 8 * i & 0xFF);
}

/* The reader has the last word, on metadata keys given twice for example. */
static mica_status check_header(const mica_safetensors_writer *w, const char *path,
                                const mica_str *header, mica_error *err) {
    mica_safetensors *reader = NULL;
    uint64_t file_bytes = w->data_begin + w->data_bytes;
    mica_status st = mica_safetensors_parse(w->host, path, header->data, header->bytes, file_bytes,
                                            &reader, err);
    mica_safetensors_close(&reader);
    return st;
}

static mica_status write_header(mica_safetensors_writer *w, const char *path, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_str header;
    mica_str_init(&header, w->host->allocator);
    append_header(&header, w);
    MICA_REQUIRE(!header.failed, MICA_STATUS_OUT_OF_MEMORY, "out of memory: a header of %zu bytes",
                 header.bytes);
    MICA_REQUIRE(header.bytes <= MICA_SAFETENSORS_HEADER_BYTES_MAX, MICA_STATUS_LIMIT,
                 "a header of %zu bytes, expected at most %u", header.bytes,
                 MICA_SAFETENSORS_HEADER_BYTES_MAX);
    w->data_begin = header.bytes;
    MICA_TRY(check_header(w, path, &header, err));
    MICA_TRY(mica_file_writer_open(w->host, path, &w->file, err));
    MICA_TRY(mica_file_writer_append(w->file, header.data, header.bytes, err));
done:
    mica_str_deinit(&header);
    return st;
}

mica_status mica_safetensors_writer_open(mica_safetensors_writer *w, const char *path,
                                         mica_error *err) {
    if (w->file) return mica_fail(err, MICA_STATUS_INVALID, "%s: the file is already open", path);
    mica_status st = lay_out(w, err);
    return st == MICA_STATUS_OK ? write_header(w, path, err) : st;
}

uint64_t mica_safetensors_writer_file_bytes(const mica_safetensors_writer *w) {
    return w->data_begin + w->data_bytes;
}

/* ---- data ---- */

static const declared *find_tensor(const mica_safetensors_writer *w, const char *name) {
    declared key = {.name = (char *)(uintptr_t)name}; /* only compared */
    if (w->tensors.count == 0) return NULL;
    return bsearch(&key, w->tensors.data, w->tensors.count, sizeof key, compare_names);
}

mica_status mica_safetensors_writer_write(mica_safetensors_writer *w, const char *name,
                                          uint64_t offset, const void *data, size_t bytes,
                                          mica_error *err) {
    uint64_t end;
    if (!w->file) return mica_fail(err, MICA_STATUS_INVALID, "tensor %s: no file is open", name);
    const declared *tensor = find_tensor(w, name);
    if (!tensor) return mica_fail(err, MICA_STATUS_NOT_FOUND, "tensor %s was not declared", name);
    if (!mica_add_u64(offset, bytes, &end) || end > tensor->bytes)
        return mica_fail(err, MICA_STATUS_INVALID,
                         "tensor %s: %zu bytes at offset %llu, but it has %llu", name, bytes,
                         (unsigned long long)offset, (unsigned long long)tensor->bytes);
    if (bytes == 0) return MICA_STATUS_OK;
    mica_status st = mica_file_writer_write_at(w->file, w->data_begin + tensor->begin + offset,
                                               data, bytes, err);
    if (st == MICA_STATUS_OK) atomic_fetch_add(&w->written_bytes, bytes);
    return st;
}

mica_status mica_safetensors_writer_commit(mica_safetensors_writer *w, mica_error *err) {
    uint64_t written = atomic_load(&w->written_bytes);
    if (!w->file) return mica_fail(err, MICA_STATUS_INVALID, "no file is open");
    if (written != w->data_bytes)
        return mica_fail(err, MICA_STATUS_INVALID, "%llu bytes were written, the tensors have %llu",
                         (unsigned long long)written, (unsigned long long)w->data_bytes);
    return mica_file_writer_commit(w->file, err);
}

void mica_safetensors_writer_close(mica_safetensors_writer **place) {
    mica_safetensors_writer *w = *place;
    if (!w) return;
    *place = NULL;
    mica_file_writer_close(&w->file);
    for (size_t i = 0; i < w->tensors.count; i++)
        mica_free(w->host->allocator, tensor_at(w, i)->name);
    mica_vec_deinit(&w->tensors);
    mica_str_deinit(&w->metadata);
    mica_free(w->host->allocator, w);
}

mica_status mica_safetensors_write_file(const mica_host *host, const char *path,
                                        const mica_safetensors_item *items, size_t count,
                                        mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_safetensors_writer *w = NULL;
    MICA_TRY(mica_safetensors_writer_create(host, &w, err));
    MICA_TRY(mica_safetensors_writer_add_metadata(w, "format", "pt", err));
    for (size_t i = 0; i < count; i++)
        MICA_TRY(
            mica_safetensors_writer_add(w, items[i].name, items[i].dtype, &items[i].shape, err));
    MICA_TRY(mica_safetensors_writer_open(w, path, err));
    for (size_t i = 0; i < count; i++)
        MICA_TRY(mica_safetensors_writer_write(w, items[i].name, 0, items[i].data,
                                               (size_t)find_tensor(w, items[i].name)->bytes, err));
    MICA_TRY(mica_safetensors_writer_commit(w, err));
done:
    mica_safetensors_writer_close(&w);
    return st;
}

/* ---- index ---- */

static int compare_places_by_tensor(const void *a, const void *b) {
    const mica_safetensors_place *x = a, *y = b;
    return strcmp(x->tensor, y->tensor);
}

static void append_index(mica_str *out, const mica_safetensors_place *places, size_t count,
                         uint64_t total_bytes) {
    mica_str_append_format(out, "{\n  \"metadata\": {\n    \"total_size\": %llu\n  },\n",
                           (unsigned long long)total_bytes);
    mica_str_append_text(out, "  \"weight_map\": {");
    for (size_t i = 0; i < count; i++) {
        mica_str_append_text(out, i > 0 ? ",\n    " : "\n    ");
        mica_json_append_string(out, mica_slice_from(places[i].tensor));
        mica_str_append_text(out, ": ");
        mica_json_append_string(out, mica_slice_from(places[i].shard));
    }
    mica_str_append_text(out, "\n  }\n}\n");
}

mica_status mica_safetensors_write_index(const mica_host *host, const char *folder,
                                         const mica_safetensors_place *places, size_t count,
                                         uint64_t total_bytes, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char path[MICA_PATH_BYTES_MAX];
    mica_file_writer *file = NULL;
    mica_str text;
    mica_str_init(&text, host->allocator);
    mica_safetensors_place *sorted = mica_alloc_array(host->allocator, count, sizeof *sorted);
    MICA_REQUIRE(sorted, MICA_STATUS_OUT_OF_MEMORY, "out of memory: an index of %zu tensors",
                 count);
    if (count > 0) {
        memcpy(sorted, places, count * sizeof *sorted);
        qsort(sorted, count, sizeof *sorted, compare_places_by_tensor);
    }
    append_index(&text, sorted, count, total_bytes);
    MICA_REQUIRE(!text.failed, MICA_STATUS_OUT_OF_MEMORY, "out of memory: an index of %zu tensors",
                 count);
    MICA_TRY(mica_path_join(folder, "model.safetensors.index.json", path, err));
    MICA_TRY(mica_file_writer_open(host, path, &file, err));
    MICA_TRY(mica_file_writer_append(file, text.data, text.bytes, err));
    MICA_TRY(mica_file_writer_commit(file, err));
done:
    mica_file_writer_close(&file);
    mica_str_deinit(&text);
    mica_free(host->allocator, sorted);
    return st;
}
