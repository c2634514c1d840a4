/* Changing what a checkpoint lists, between open and the first expect: importers turn the tensors
 * of other formats into those of one layout, MLX's (docs/formats.md), so that the loader knows no
 * other. A new tensor names its sources and a function; nothing is computed before it is asked for,
 * and what is made one tensor at a time needs the memory of one.
 *
 *     mica_checkpoint_rewrite w;
 *     mica_checkpoint_rewrite_begin(&w, checkpoint);
 *     for each tensor of the old list: keep it, use it as a source, or leave it out
 *     mica_checkpoint_rewrite_commit(&w, err);          // the new list is in place
 *     mica_checkpoint_rewrite_end(&w);                  // always; without commit nothing changed
 */
#pragma once
#include "base/arena.h"
#include "base/vec.h"
#include "format/checkpoint.h"

#define MICA_RECIPE_PARAMS_MAX 8

typedef struct mica_checkpoint_recipe mica_checkpoint_recipe;

/* Writes the whole tensor (tensor->bytes bytes). data[i]: the bytes of recipe->sources[i], as the
 * file has them, not aligned in any way. Sources may have recipes themselves. Errors: FORMAT for
 * contents that cannot be turned (naming the tensor). */
typedef mica_status (*mica_recipe_function)(const mica_checkpoint_recipe *recipe,
                                            const mica_checkpoint_tensor *tensor,
                                            const uint8_t *const *data, uint8_t *out,
                                            mica_error *err);

/* make, params and context are the importer's; all is copied, but not what context points to.
 * note   how the tensor was changed, for people ("Q4_0 to affine 4 bit, group 32: lossless");
 *        static or in the checkpoint's memory; may be NULL */
struct mica_checkpoint_recipe {
    mica_recipe_function make;
    const mica_checkpoint_tensor *const *sources;
    size_t n_sources;
    int64_t params[MICA_RECIPE_PARAMS_MAX];
    const void *context;
    const char *note;
};

/* A list under construction. */
typedef struct mica_checkpoint_rewrite {
    mica_checkpoint *checkpoint;
    mica_vec tensors; /* mica_checkpoint_tensor */
} mica_checkpoint_rewrite;

void mica_checkpoint_rewrite_begin(mica_checkpoint_rewrite *w, mica_checkpoint *c);
void mica_checkpoint_rewrite_end(mica_checkpoint_rewrite *w);
/* Memory that lives as long as the checkpoint. */
mica_arena *mica_checkpoint_arena(mica_checkpoint *c);
/* A tensor of the old list, as it is. OUT_OF_MEMORY. */
mica_status mica_checkpoint_rewrite_keep(mica_checkpoint_rewrite *w,
                                         const mica_checkpoint_tensor *tensor, mica_error *err);
/* The same under another name. */
mica_status mica_checkpoint_rewrite_rename(mica_checkpoint_rewrite *w,
                                           const mica_checkpoint_tensor *tensor, const char *name,
                                           mica_error *err);
/* A tensor that recipe makes; recipe->sources has at least one. Sources are tensors of the old
 * list, or made by mica_checkpoint_rewrite_hidden. Name, recipe and list of sources are copied.
 * Errors: FORMAT for a name or a size that no file may have, OUT_OF_MEMORY. */
mica_status mica_checkpoint_rewrite_add(mica_checkpoint_rewrite *w, const char *name,
                                        mica_safetensors_dtype dtype, const mica_shape *shape,
                                        const mica_checkpoint_recipe *recipe, mica_error *err);
/* The same, but only as a source for others: it will not be listed. */
mica_status mica_checkpoint_rewrite_hidden(mica_checkpoint_rewrite *w, const char *name,
                                           mica_safetensors_dtype dtype, const mica_shape *shape,
                                           const mica_checkpoint_recipe *recipe,
                                           const mica_checkpoint_tensor **out, mica_error *err);
/* Puts the new list in place of the old one, whose tensors stay valid as sources. Tensors that were
 * expected before count as not taken. Errors: FORMAT for two tensors of one name. */
mica_status mica_checkpoint_rewrite_commit(mica_checkpoint_rewrite *w, mica_error *err);
