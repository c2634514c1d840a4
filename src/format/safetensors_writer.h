/* Writing .safetensors files that the strict reader (safetensors.h) and all others take. The same
 * tensors give the same bytes: the header lists names in order; the data stand by element size,
 * then by name, so that each tensor is aligned to its elements without padding. The header is
 * padded with spaces so that the data begin at a multiple of 64. Files appear whole or not at all.
 *
 *     mica_safetensors_writer_create(host, &w, err);
 *     mica_safetensors_writer_add(w, "x", MICA_SAFETENSORS_F32, &shape, err);   // for each tensor
 *     mica_safetensors_writer_open(w, path, err);                              // layout is known
 *     mica_safetensors_writer_write(w, "x", 0, data, bytes, err);              // in any order
 *     mica_safetensors_writer_commit(w, err);
 *     mica_safetensors_writer_close(&w); */
#pragma once
#include "format/safetensors.h"

/* Threads: one at a time, but for write. */
typedef struct mica_safetensors_writer mica_safetensors_writer;

mica_status mica_safetensors_writer_create(const mica_host *host, mica_safetensors_writer **out,
                                           mica_error *err);
/* Declares a tensor; name and shape are copied. Errors: INVALID for a name, type or shape that the
 * reader would refuse, or after open; LIMIT past the reader's number of tensors. A name given twice
 * is found by open. */
mica_status mica_safetensors_writer_add(mica_safetensors_writer *w, const char *name,
                                        mica_safetensors_dtype dtype, const mica_shape *shape,
                                        mica_error *err);
/* One string of __metadata__ ("format": "pt" is customary). Keys keep the order of the calls; a key
 * given twice is found by open. */
mica_status mica_safetensors_writer_add_metadata(mica_safetensors_writer *w, const char *key,
                                                 const char *value, mica_error *err);
/* Lays the tensors out, opens a temporary file beside path and writes the header. */
mica_status mica_safetensors_writer_open(mica_safetensors_writer *w, const char *path,
                                         mica_error *err);
/* After open: bytes of the whole file. */
uint64_t mica_safetensors_writer_file_bytes(const mica_safetensors_writer *w);
/* Bytes [offset, offset + bytes) of a tensor. Threads: any, at once, for parts that do not overlap.
 * Errors: NOT_FOUND for a name that was not declared, INVALID outside of the tensor. */
mica_status mica_safetensors_writer_write(mica_safetensors_writer *w, const char *name,
                                          uint64_t offset, const void *data, size_t bytes,
                                          mica_error *err);
/* Syncs and gives the file its name. INVALID when the writes do not add up to all tensors. */
mica_status mica_safetensors_writer_commit(mica_safetensors_writer *w, mica_error *err);
void mica_safetensors_writer_close(mica_safetensors_writer **w); /* without commit: no file */

/* A tensor in memory. data is row-major and may be NULL when there are no elements. */
typedef struct mica_safetensors_item {
    const char *name;
    mica_safetensors_dtype dtype;
    mica_shape shape;
    const void *data;
} mica_safetensors_item;

/* All of the above in one call; metadata {"format": "pt"}. */
mica_status mica_safetensors_write_file(const mica_host *host, const char *path,
                                        const mica_safetensors_item *items, size_t count,
                                        mica_error *err);

/* A line of weight_map. */
typedef struct mica_safetensors_place {
    const char *tensor;
    const char *shard; /* file name */
} mica_safetensors_place;

/* Writes <folder>/model.safetensors.index.json: weight_map in order of tensor names, and
 * metadata.total_size = total_bytes, the bytes of all tensors. */
mica_status mica_safetensors_write_index(const mica_host *host, const char *folder,
                                         const mica_safetensors_place *places, size_t count,
                                         uint64_t total_bytes, mica_error *err);
