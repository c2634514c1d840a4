/* Rewriting the list of a checkpoint, and making the tensors that recipes describe. */
#include "format/checkpoint_rewrite.h"
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "format/checkpoint_parts.h"

enum {
    DEPTH_MAX = 4, /* recipes of recipes */
    COPY_ALIGNMENT = 64,
};

/* ---- the list ---- */

void mica_checkpoint_rewrite_begin(mica_checkpoint_rewrite *w, mica_checkpoint *c) {
    w->checkpoint = c;
    mica_vec_init(&w->tensors, c->host->allocator, sizeof(mica_checkpoint_tensor));
}

void mica_checkpoint_rewrite_end(mica_checkpoint_rewrite *w) { mica_vec_deinit(&w->tensors); }

mica_arena *mica_checkpoint_arena(mica_checkpoint *c) { return &c->arena; }

static mica_status add_tensor(mica_checkpoint_rewrite *w, const mica_checkpoint_tensor *tensor,
                              mica_error *err) {
    if (w->tensors.count >= MICA_CHECKPOINT_TENSORS_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "more than %u tensors",
                         MICA_CHECKPOINT_TENSORS_MAX);
    if (!mica_vec_append(&w->tensors, tensor, 1))
        return mica_fail_memory(err, sizeof *tensor, "a list of tensors");
    return MICA_STATUS_OK;
}

mica_status mica_checkpoint_rewrite_keep(mica_checkpoint_rewrite *w,
                                         const mica_checkpoint_tensor *tensor, mica_error *err) {
    return add_tensor(w, tensor, err);
}

/* Copies the name to the checkpoint's memory. */
static mica_status set_name(mica_checkpoint *c, mica_checkpoint_tensor *tensor, const char *name,
                            mica_error *err) {
    mica_slice slice = mica_slice_from(name);
    if (!mica_safetensors_name_is_valid(slice))
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "a tensor name of %zu bytes, expected 1 to %u without control bytes",
                         slice.bytes, MICA_SAFETENSORS_NAME_BYTES_MAX);
    tensor->name = mica_arena_string(&c->arena, name, slice.bytes);
    tensor->name_bytes = (uint32_t)slice.bytes;
    return tensor->name ? MICA_STATUS_OK : mica_fail_memory(err, slice.bytes, "a tensor name");
}

mica_status mica_checkpoint_rewrite_rename(mica_checkpoint_rewrite *w,
                                           const mica_checkpoint_tensor *tensor, const char *name,
                                           mica_error *err) {
    mica_checkpoint_tensor renamed = *tensor;
    mica_status st = set_name(w->checkpoint, &renamed, name, err);
    return st == MICA_STATUS_OK ? add_tensor(w, &renamed, err) : st;
}

/* ---- recipes ---- */

static mica_checkpoint_recipe *copy_recipe(mica_arena *arena,
                                           const mica_checkpoint_recipe *recipe) {
    mica_checkpoint_recipe *copy = mica_arena_alloc(arena, sizeof *copy);
    size_t bytes = recipe->n_sources * sizeof *recipe->sources;
    const mica_checkpoint_tensor **sources =
        mica_arena_alloc_array(arena, recipe->n_sources, sizeof *sources);
    if (!copy || !sources) return NULL;
    memcpy(sources, recipe->sources, bytes);
    *copy = *recipe;
    copy->sources = sources;
    return copy;
}

static mica_status make_entry(mica_checkpoint *c, const char *name, mica_safetensors_dtype dtype,
                              const mica_shape *shape, const mica_checkpoint_recipe *recipe,
                              mica_checkpoint_tensor *out, mica_error *err) {
    *out = (mica_checkpoint_tensor){.dtype = dtype, .shape = *shape};
    mica_status st = set_name(c, out, name, err);
    if (st != MICA_STATUS_OK) return st;
    int rule = mica_safetensors_tensor_bytes(dtype, shape, &out->bytes);
    if (rule != 0)
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: rule %d: a tensor of that shape is too large", name, rule);
    out->shard = recipe->sources[0]->shard;
    out->recipe = copy_recipe(&c->arena, recipe);
    return out->recipe ? MICA_STATUS_OK : mica_fail_memory(err, sizeof *recipe, "a recipe");
}

mica_status mica_checkpoint_rewrite_add(mica_checkpoint_rewrite *w, const char *name,
                                        mica_safetensors_dtype dtype, const mica_shape *shape,
                                        const mica_checkpoint_recipe *recipe, mica_error *err) {
    mica_checkpoint_tensor tensor;
    mica_status st = make_entry(w->checkpoint, name, dtype, shape, recipe, &tensor, err);
    return st == MICA_STATUS_OK ? add_tensor(w, &tensor, err) : st;
}

mica_status mica_checkpoint_rewrite_hidden(mica_checkpoint_rewrite *w, const char *name,
                                           mica_safetensors_dtype dtype, const mica_shape *shape,
                                           const mica_checkpoint_recipe *recipe,
                                           const mica_checkpoint_tensor **out, mica_error *err) {
    mica_checkpoint_tensor *tensor = mica_arena_alloc(&w->checkpoint->arena, sizeof *tensor);
    if (!tensor) return mica_fail_memory(err, sizeof *tensor, "a tensor");
    mica_status st = make_entry(w->checkpoint, name, dtype, shape, recipe, tensor, err);
    if (st == MICA_STATUS_OK) *out = tensor; /* only now: it may be the recipe's source */
    return st;
}

/* ---- commit ---- */

static mica_status check_names(const mica_checkpoint_tensor *tensors, size_t n, mica_error *err) {
    for (size_t i = 1; i < n; i++)
        if (strcmp(tensors[i - 1].name, tensors[i].name) == 0)
            return mica_fail(err, MICA_STATUS_FORMAT, "%s: two tensors have this name",
                             tensors[i].name);
    return MICA_STATUS_OK;
}

static mica_status sum_bytes(const mica_checkpoint_tensor *tensors, size_t n, uint64_t *bytes,
                             mica_error *err) {
    *bytes = 0;
    for (size_t i = 0; i < n; i++)
        if (!mica_add_u64(*bytes, tensors[i].bytes, bytes))
            return mica_fail(err, MICA_STATUS_LIMIT, "the bytes of all tensors overflow");
    return MICA_STATUS_OK;
}

/* The old list moves to the arena: recipes point into it. */
mica_status mica_checkpoint_rewrite_commit(mica_checkpoint_rewrite *w, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_checkpoint *c = w->checkpoint;
    const mica_allocator *a = c->host->allocator;
    size_t n = w->tensors.count;
    uint64_t bytes;
    mica_checkpoint_tensor *tensors = MICA_NEW_ARRAY(a, mica_checkpoint_tensor, n + 1);
    checkpoint_state *states = MICA_NEW_ARRAY(a, checkpoint_state, n + 1);
    void **link = mica_arena_alloc(&c->arena, sizeof *link * 2);
    if (!tensors || !states || !link) {
        st = mica_fail_memory(err, n * sizeof *tensors, "a list of tensors");
        goto done;
    }
    if (n > 0) {
        memcpy(tensors, w->tensors.data, n * sizeof *tensors);
        qsort(tensors, n, sizeof *tensors, checkpoint_compare_tensors);
    }
    MICA_TRY(check_names(tensors, n, err));
    MICA_TRY(sum_bytes(tensors, n, &bytes, err));
    checkpoint_free_copies(c);
    mica_free(a, c->states);
    link[0] = c->replaced;
    link[1] = c->tensors;
    c->replaced = link;
    c->tensors = tensors;
    c->states = states;
    c->n_tensors = n;
    c->bytes = bytes;
    return MICA_STATUS_OK;
done:
    mica_free(a, tensors);
    mica_free(a, states);
    return st;
}

/* ---- making tensors ---- */

typedef struct source_data {
    const uint8_t **data;
    uint8_t **copies; /* what was made for this one */
    size_t n;
} source_data;

/* Pages of the file that were only read for this tensor leave the resident set; the system's cache
 * still has them for the next tensor of the same source. */
static void release_sources(const mica_checkpoint *c, const mica_checkpoint_recipe *r,
                            source_data *s) {
    for (size_t i = 0; s->data && s->copies && i < s->n; i++)
        if (s->data[i] && !s->copies[i])
            mica_file_advise_dontneed(mica_checkpoint_shard_file(c, r->sources[i]->shard),
                                      r->sources[i]->offset, r->sources[i]->bytes);
    for (size_t i = 0; s->copies && i < s->n; i++) mica_free(c->host->allocator, s->copies[i]);
    mica_free(c->host->allocator, s->copies);
    mica_free(c->host->allocator, s->data);
}

static mica_status make_at_depth(mica_checkpoint *c, const mica_checkpoint_tensor *tensor,
                                 int depth, uint8_t *out, mica_error *err);

/* The bytes of a source: the mapped file, or a copy. */
static mica_status fetch_source(mica_checkpoint *c, const mica_checkpoint_tensor *source, int depth,
                                const uint8_t **data, uint8_t **copy, mica_error *err) {
    mica_file *file = mica_checkpoint_shard_file(c, source->shard);
    size_t bytes;
    *data = NULL;
    if (source->bytes == 0) return MICA_STATUS_OK;
    if (!source->recipe && !c->options.use_pread && mica_file_is_local(file)) {
        mica_status st = mica_file_map(file, data, err);
        if (st == MICA_STATUS_OK) *data += source->offset;
        return st;
    }
    if (!mica_u64_to_size(source->bytes, &bytes))
        return mica_fail_memory(err, SIZE_MAX, source->name);
    *copy = mica_alloc_aligned(c->host->allocator, bytes, COPY_ALIGNMENT);
    if (!*copy) return mica_fail_memory(err, bytes, source->name);
    *data = *copy;
    if (source->recipe) return make_at_depth(c, source, depth + 1, *copy, err);
    return mica_file_read(file, source->offset, *copy, bytes, err);
}

static mica_status make_at_depth(mica_checkpoint *c, const mica_checkpoint_tensor *tensor,
                                 int depth, uint8_t *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_checkpoint_recipe *r = tensor->recipe;
    source_data s = {.n = r->n_sources};
    MICA_REQUIRE(depth < DEPTH_MAX, MICA_STATUS_INTERNAL, "%s: recipes nested over %d deep",
                 tensor->name, DEPTH_MAX);
    s.data = MICA_NEW_ARRAY(c->host->allocator, const uint8_t *, s.n);
    s.copies = MICA_NEW_ARRAY(c->host->allocator, uint8_t *, s.n);
    MICA_REQUIRE(s.data && s.copies, MICA_STATUS_OUT_OF_MEMORY, "out of memory: %s", tensor->name);
    for (size_t i = 0; i < s.n; i++)
        MICA_TRY(fetch_source(c, r->sources[i], depth, &s.data[i], &s.copies[i], err));
    if (tensor->bytes > 0) MICA_TRY(r->make(r, tensor, s.data, out, err));
done:
    release_sources(c, r, &s);
    return st;
}

mica_status checkpoint_make_tensor(mica_checkpoint *c, const mica_checkpoint_tensor *tensor,
                                   uint8_t *out, mica_error *err) {
    return make_at_depth(c, tensor, 0, out, err);
}
