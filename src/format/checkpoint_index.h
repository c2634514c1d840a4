/* model.safetensors.index.json: which tensor is in which file. Only the text is judged here; that
 * the shards exist and hold what the index says is checked by checkpoint.h. */
#pragma once
#include "base/host.h"
#include "base/str.h"

#define MICA_CHECKPOINT_INDEX_NAME "model.safetensors.index.json"
#define MICA_CHECKPOINT_INDEX_BYTES_MAX ((size_t)64 << 20)
#define MICA_CHECKPOINT_TENSORS_MAX 1000000u
/* Each shard holds a file descriptor, of which a process has often only 1024. */
#define MICA_CHECKPOINT_SHARDS_MAX 512u

/* tensor is NUL-terminated and a valid name (rule 16 of safetensors.h); shard: see shards. */
typedef struct mica_checkpoint_entry {
    const char *tensor;
    uint32_t tensor_bytes;
    uint32_t shard;
} mica_checkpoint_entry;

/* Owned by whoever parsed it. Threads: immutable.
 * entries      sorted by tensor name; each name once
 * shards       sorted; each a plain file name that ends in ".safetensors"
 * total_bytes  what metadata.total_size claims, if it does */
typedef struct mica_checkpoint_index {
    const mica_allocator *allocator;
    mica_checkpoint_entry *entries;
    size_t n_entries;
    const char **shards;
    size_t n_shards;
    uint64_t total_bytes;
    bool has_total;
    char *texts;
} mica_checkpoint_index;

/* name is for errors. Errors: FORMAT, LIMIT. On failure *out is empty. */
mica_status mica_checkpoint_index_parse(const mica_host *host, const char *name, const char *text,
                                        size_t bytes, mica_checkpoint_index *out, mica_error *err);
void mica_checkpoint_index_deinit(mica_checkpoint_index *index);
