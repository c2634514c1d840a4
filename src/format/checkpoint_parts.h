/* What the files of checkpoint.h share. */
#pragma once
#include "base/arena.h"
#include "format/checkpoint.h"
#include "format/checkpoint_rewrite.h"
#include "format/gguf.h"

/* One file: the reader of its format; the other is NULL. */
typedef struct checkpoint_shard {
    mica_safetensors *safetensors;
    mica_gguf *gguf;
} checkpoint_shard;

typedef struct checkpoint_state {
    bool is_taken;
    uint8_t *copy; /* in a block: where the data were read or made, if they are not mapped */
} checkpoint_state;

/* Memory for the copies of many tensors: large enough for large pages, which small tensors would
 * not get one by one. */
typedef struct checkpoint_block {
    struct checkpoint_block *next;
    uint8_t *data;
    size_t bytes;
    size_t used;
} checkpoint_block;

struct mica_checkpoint {
    const mica_host *host;
    mica_checkpoint_options options;
    checkpoint_shard *shards;
    size_t n_shards;
    mica_checkpoint_index index;     /* empty for a single file */
    mica_checkpoint_tensor *tensors; /* sorted by name */
    checkpoint_state *states;        /* of the same order */
    size_t n_tensors;
    checkpoint_block *blocks; /* of the copies; the newest first */
    uint64_t bytes;
    bool is_folder;
    mica_arena arena; /* what rewriting made */
    void **replaced;  /* lists that it replaced: {the one before, tensors} */
};

int checkpoint_compare_tensors(const void *a, const void *b);
/* Frees the blocks; the states must not be used after it. */
void checkpoint_free_copies(mica_checkpoint *c);
/* Makes a tensor of a recipe. */
mica_status checkpoint_make_tensor(mica_checkpoint *c, const mica_checkpoint_tensor *tensor,
                                   uint8_t *out, mica_error *err);
