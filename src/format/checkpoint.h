/* The tensors of a model on disk: one .safetensors file, the shards that an index names, or a GGUF
 * file, whose tensors are listed in MLX's layout (gguf_tensors.h). After open, every rule on
 * headers, shards and index holds (docs/formats.md); no tensor byte has been read. The loader then
 * says what it expects of each tensor (expect), checks that nothing is left over (check_all_taken),
 * and only then asks for data (map, read). Data are views of the mapped files where that is safe:
 * they live until close, so the checkpoint stays open as long as weights point into it. */
#pragma once
#include "format/checkpoint_index.h"
#include "format/model_folder.h"
#include "format/safetensors.h"

#define MICA_CHECKPOINT_FILE_NAME "model.safetensors"

/* Zero means default.
 * use_pread    read tensors into memory of our own instead of mapping (always so on network file
 *              systems, where a mapping may hang or vanish)
 * alignment    of mapped data in bytes, a power of two up to 4096; a tensor that the file holds at
 *              an odd place is copied. 0 = the size of its elements (rule 15: files promise none)
 */
typedef struct mica_checkpoint_options {
    bool use_pread;
    uint32_t alignment;
} mica_checkpoint_options;

/* Borrowed until close.
 * shard   0..n_shards-1; offset: of the first byte in that shard
 * recipe  NULL: the file holds the bytes as they are. Else the tensor is made from others when it
 *         is asked for (checkpoint_rewrite.h); shard is then that of its first source. */
typedef struct mica_checkpoint_tensor {
    const char *name;
    uint32_t name_bytes;
    mica_safetensors_dtype dtype;
    mica_shape shape;
    uint32_t shard;
    uint64_t offset;
    uint64_t bytes;
    const struct mica_checkpoint_recipe *recipe;
} mica_checkpoint_tensor;

/* Threads: expect, map and close one at a time; read and the other functions any. */
typedef struct mica_checkpoint mica_checkpoint;

/* path: a model folder (index, else model.safetensors), a .safetensors file or a GGUF file. options
 * may be NULL. Logs stray shards, an index beside a single file, and a wrong metadata.total_size.
 * Errors: NOT_FOUND (nothing there: names what is; a shard or tensor that the index names is
 * missing), FORMAT (rules of files and index), LIMIT. */
mica_status mica_checkpoint_open(const mica_host *host, const char *path,
                                 const mica_checkpoint_options *options, mica_checkpoint **out,
                                 mica_error *err);
void mica_checkpoint_close(mica_checkpoint **c); /* unmaps: all data pointers end */

size_t mica_checkpoint_count(const mica_checkpoint *c);
/* Sorted by name. */
const mica_checkpoint_tensor *mica_checkpoint_at(const mica_checkpoint *c, size_t i);
/* NULL when there is none of that name. */
const mica_checkpoint_tensor *mica_checkpoint_find(const mica_checkpoint *c, const char *name);
/* Bytes of all tensors. */
uint64_t mica_checkpoint_bytes(const mica_checkpoint *c);
size_t mica_checkpoint_shard_count(const mica_checkpoint *c);
/* NULL for a GGUF file. */
const mica_safetensors *mica_checkpoint_shard(const mica_checkpoint *c, size_t shard);
/* "model-00001-of-00002.safetensors" */
const char *mica_checkpoint_shard_name(const mica_checkpoint *c, size_t shard);
/* For advice on pages (mica_file_advise_willneed); offsets are those of the tensors. */
mica_file *mica_checkpoint_shard_file(const mica_checkpoint *c, size_t shard);

/* What the config predicts of a tensor: one of n_dtypes types and this shape. Marks the tensor as
 * taken; reads nothing. *out may be NULL.
 * Errors: NOT_FOUND for a missing tensor, FORMAT "x.weight: shape [4096, 11008], expected [11008,
 * 4096] (model-00001-of-00002.safetensors)". */
mica_status mica_checkpoint_expect(mica_checkpoint *c, const char *name,
                                   const mica_safetensors_dtype *dtypes, size_t n_dtypes,
                                   const mica_shape *shape, const mica_checkpoint_tensor **out,
                                   mica_error *err);
/* The bytes of a tensor: tensor->bytes of them, aligned as the options say, read-only, until close.
 * NULL for a tensor without elements. The same pointer comes back on later calls. What has a recipe
 * is made at the first call, into memory of its own.
 * Errors: UNSUPPORTED for a type that mica cannot load (mica_safetensors_dtype_plain gives NONE),
 * IO, OUT_OF_MEMORY. */
mica_status mica_checkpoint_map_tensor(mica_checkpoint *c, const mica_checkpoint_tensor *tensor,
                                       const uint8_t **data, mica_error *err);
/* The same into memory of the caller: bytes [offset, offset + bytes) of it. From any thread, unless
 * it has a recipe: then one at a time, and a part costs as much as the whole. Nothing is kept. */
mica_status mica_checkpoint_read_tensor(mica_checkpoint *c, const mica_checkpoint_tensor *tensor,
                                        uint64_t offset, void *out, size_t bytes, mica_error *err);

/* expect and map in one. is_mapped: data are pages of the file, not memory of their own. */
typedef struct mica_checkpoint_data {
    const mica_checkpoint_tensor *tensor;
    const uint8_t *data;
    uint64_t bytes;
    bool is_mapped;
} mica_checkpoint_data;
mica_status mica_checkpoint_take(mica_checkpoint *c, const char *name,
                                 const mica_safetensors_dtype *dtypes, size_t n_dtypes,
                                 const mica_shape *shape, mica_checkpoint_data *out,
                                 mica_error *err);

/* FORMAT error that names a tensor which was neither expected nor is ignorable (NULL: none is). */
mica_status mica_checkpoint_check_all_taken(const mica_checkpoint *c,
                                            bool (*is_ignorable)(void *context, const char *name),
                                            void *context, mica_error *err);
/* After loading: IO error when a shard was written to or cut since open (rule 19). */
mica_status mica_checkpoint_check_unchanged(const mica_checkpoint *c, mica_error *err);

/* Values that a format forbids; they run at memory speed. name is for errors. FORMAT with the
 * place: an E8M0 scale of 255 (NaN), an E4M3 scale of 0x7F or 0xFF (NaN), and a BOOL byte other
 * than 0 and 1 (rule 18). */
mica_status mica_checkpoint_check_e8m0(const char *name, const uint8_t *data, uint64_t bytes,
                                       mica_error *err);
mica_status mica_checkpoint_check_e4m3(const char *name, const uint8_t *data, uint64_t bytes,
                                       mica_error *err);
mica_status mica_checkpoint_check_bool(const char *name, const uint8_t *data, uint64_t bytes,
                                       mica_error *err);
