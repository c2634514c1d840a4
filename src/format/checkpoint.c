/* Checkpoints: finding the files, opening every shard, and holding index and shards against each
 * other; then the access to the data. Which tensors a model needs is said by src/model. */
#include "format/checkpoint.h"
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "base/vec.h"
#include "format/checkpoint_parts.h"
#include "format/gguf_tensors.h"

enum {
    ALIGNMENT_MAX = 4096,       /* what a mapping has */
    COPY_ALIGNMENT = 64,        /* of tensors read into memory: a cache line */
    BLOCK_BYTES = 32 << 20,     /* of memory for copies, if so many are to come */
    LARGE_PAGE_BYTES = 2 << 20, /* on most systems; where not, nothing is lost */
    FOUND_BYTES_MAX = 320,      /* of the list of what a folder holds instead */
    REWRITE_BYTES_MAX = 1 << 30,
};

/* ---- opening ---- */

static mica_status make_shard_table(mica_checkpoint *c, size_t count, mica_error *err) {
    c->shards = MICA_NEW_ARRAY(c->host->allocator, checkpoint_shard, count);
    if (!c->shards) return mica_fail_memory(err, count * sizeof *c->shards, "a checkpoint");
    return MICA_STATUS_OK;
}

/* name: what the model calls the file; blobs of a cache are called by their digest. */
static mica_status open_shard(mica_checkpoint *c, const char *name, const char *path,
                              mica_error *err) {
    checkpoint_shard *shard = &c->shards[c->n_shards];
    mica_status st = mica_safetensors_open(c->host, path, &shard->safetensors, err);
    if (st == MICA_STATUS_OK) c->n_shards++;
    const char *slash = strrchr(path, '/');
    if (st != MICA_STATUS_OK && strcmp(slash ? slash + 1 : path, name) != 0)
        mica_fail_prefix(err, st, "%s", name);
    return st;
}

static mica_status open_only_file(mica_checkpoint *c, const char *name, const char *path,
                                  mica_error *err) {
    mica_status st = make_shard_table(c, 1, err);
    return st == MICA_STATUS_OK ? open_shard(c, name, path, err) : st;
}

static mica_status open_gguf(mica_checkpoint *c, const char *path, mica_error *err) {
    mica_status st = make_shard_table(c, 1, err);
    if (st == MICA_STATUS_OK) st = mica_gguf_open(c->host, path, &c->shards[0].gguf, err);
    if (st == MICA_STATUS_OK) c->n_shards = 1;
    return st;
}

static mica_status open_indexed_shards(mica_checkpoint *c, const mica_model_folder *folder,
                                       mica_error *err) {
    char path[MICA_PATH_BYTES_MAX];
    const mica_checkpoint_index *index = &c->index;
    mica_status st = make_shard_table(c, index->n_shards, err);
    for (size_t i = 0; st == MICA_STATUS_OK && i < index->n_shards; i++) {
        st = mica_model_folder_find(folder, index->shards[i], path, err);
        if (st == MICA_STATUS_NOT_FOUND)
            return mica_fail(err, st, "%s is missing, but the index names it", index->shards[i]);
        if (st == MICA_STATUS_OK) st = open_shard(c, index->shards[i], path, err);
    }
    return st;
}

/* ---- tensors of all shards ---- */

int checkpoint_compare_tensors(const void *a, const void *b) {
    const mica_checkpoint_tensor *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    if (order != 0) return order;
    return (x->shard > y->shard) - (x->shard < y->shard);
}

static size_t count_tensors(const checkpoint_shard *s) {
    return s->gguf ? mica_gguf_count(s->gguf) : mica_safetensors_count(s->safetensors);
}

static mica_status make_tensor_tables(mica_checkpoint *c, mica_error *err) {
    size_t count = 0;
    for (size_t i = 0; i < c->n_shards; i++) count += count_tensors(&c->shards[i]);
    if (count > MICA_CHECKPOINT_TENSORS_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "%zu tensors in all shards, expected at most %u",
                         count, MICA_CHECKPOINT_TENSORS_MAX);
    c->tensors = MICA_NEW_ARRAY(c->host->allocator, mica_checkpoint_tensor, count);
    c->states = MICA_NEW_ARRAY(c->host->allocator, checkpoint_state, count);
    if (!c->tensors || !c->states)
        return mica_fail_memory(err, count * sizeof *c->tensors, "a list of tensors");
    return MICA_STATUS_OK;
}

static mica_checkpoint_tensor describe_safetensors(const mica_safetensors_tensor *t) {
    return (mica_checkpoint_tensor){.name = t->name,
                                    .name_bytes = t->name_bytes,
                                    .dtype = t->dtype,
                                    .shape = t->shape,
                                    .offset = t->begin,
                                    .bytes = t->end - t->begin};
}

/* Blocks count as bytes until the list is rewritten. */
static mica_checkpoint_tensor describe_gguf(const mica_gguf_tensor *t) {
    mica_checkpoint_tensor out = {.name = t->name,
                                  .name_bytes = t->name_bytes,
                                  .dtype = mica_gguf_plain_dtype(t->type),
                                  .shape = t->shape,
                                  .offset = t->begin,
                                  .bytes = t->end - t->begin};
    if (out.dtype != MICA_SAFETENSORS_NONE) return out;
    out.dtype = MICA_SAFETENSORS_U8;
    out.shape = (mica_shape){.rank = 1, .dims = {(int64_t)out.bytes}};
    return out;
}

static mica_status add_tensors(mica_checkpoint *c, size_t shard, mica_error *err) {
    const checkpoint_shard *s = &c->shards[shard];
    for (size_t i = 0; i < count_tensors(s); i++) {
        mica_checkpoint_tensor *t = &c->tensors[c->n_tensors++];
        *t = s->gguf ? describe_gguf(mica_gguf_at(s->gguf, i))
                     : describe_safetensors(mica_safetensors_at(s->safetensors, i));
        t->shard = (uint32_t)shard;
        if (!mica_add_u64(c->bytes, t->bytes, &c->bytes))
            return mica_fail(err, MICA_STATUS_LIMIT, "the bytes of all shards overflow");
    }
    return MICA_STATUS_OK;
}

static mica_status collect_tensors(mica_checkpoint *c, mica_error *err) {
    mica_status st = make_tensor_tables(c, err);
    for (size_t i = 0; st == MICA_STATUS_OK && i < c->n_shards; i++) st = add_tensors(c, i, err);
    if (st != MICA_STATUS_OK || c->n_tensors == 0) return st;
    qsort(c->tensors, c->n_tensors, sizeof *c->tensors, checkpoint_compare_tensors);
    return MICA_STATUS_OK;
}

/* The shards hold exactly what the index says: both lists are sorted by name. Duplicates stand
 * side by side. */
static mica_status compare_with_index(const mica_checkpoint *c, mica_error *err) {
    const mica_checkpoint_index *index = &c->index;
    size_t n = c->n_tensors;
    for (size_t i = 1; i < n; i++)
        if (strcmp(c->tensors[i - 1].name, c->tensors[i].name) == 0)
            return mica_fail(err, MICA_STATUS_FORMAT, "%s is both in %s and in %s",
                             c->tensors[i].name, index->shards[c->tensors[i - 1].shard],
                             index->shards[c->tensors[i].shard]);
    for (size_t i = 0; i < n || i < index->n_entries; i++) {
        const mica_checkpoint_tensor *t = i < n ? &c->tensors[i] : NULL;
        const mica_checkpoint_entry *e = i < index->n_entries ? &index->entries[i] : NULL;
        int order = !t ? 1 : !e ? -1 : strcmp(t->name, e->tensor);
        if (order < 0)
            return mica_fail(err, MICA_STATUS_FORMAT, "%s is in %s, but not in the index", t->name,
                             index->shards[t->shard]);
        if (order > 0)
            return mica_fail(err, MICA_STATUS_NOT_FOUND,
                             "%s is missing: the index says it is in %s", e->tensor,
                             index->shards[e->shard]);
        if (t->shard != e->shard)
            return mica_fail(err, MICA_STATUS_FORMAT, "%s is in %s, but the index says %s", t->name,
                             index->shards[t->shard], index->shards[e->shard]);
    }
    return MICA_STATUS_OK;
}

/* ---- the folder ---- */

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_stray(const mica_checkpoint_index *index, const char *name) {
    mica_slice slice = mica_slice_from(name);
    if (!mica_slice_starts_with(slice, "model") || !mica_slice_ends_with(slice, ".safetensors"))
        return false;
    return !bsearch(&name, index->shards, index->n_shards, sizeof name, compare_texts);
}

/* Other programs load all that looks like a shard, so what is passed over is worth a line. */
static mica_status report_folder(const mica_checkpoint *c, const mica_model_folder *folder,
                                 mica_error *err) {
    const mica_checkpoint_index *index = &c->index;
    char *names = NULL;
    size_t count = 0;
    if (index->has_total && index->total_bytes != c->bytes)
        mica_host_log(c->host, MICA_LOG_WARNING,
                      "%s: metadata.total_size is %llu, the tensors have %llu bytes",
                      MICA_CHECKPOINT_INDEX_NAME, (unsigned long long)index->total_bytes,
                      (unsigned long long)c->bytes);
    mica_status st = mica_path_list(c->host, folder->root, &names, &count, err);
    if (st == MICA_STATUS_OUT_OF_MEMORY) return st;
    const char *name = names;
    for (size_t i = 0; st == MICA_STATUS_OK && i < count; i++, name += strlen(name) + 1) {
        if (!is_stray(index, name)) continue;
        mica_host_log(c->host, MICA_LOG_WARNING, "%s is not used: the index does not name it",
                      name);
    }
    mica_free(c->host->allocator, names);
    return MICA_STATUS_OK; /* a folder that cannot be listed can still be read from */
}

static mica_status open_indexed(mica_checkpoint *c, const mica_model_folder *folder,
                                mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char *text = NULL;
    size_t bytes;
    MICA_TRY(mica_model_folder_read(c->host, folder, MICA_CHECKPOINT_INDEX_NAME,
                                    MICA_CHECKPOINT_INDEX_BYTES_MAX, &text, &bytes, err));
    MICA_TRY(mica_checkpoint_index_parse(c->host, MICA_CHECKPOINT_INDEX_NAME, text, bytes,
                                         &c->index, err));
    MICA_TRY(open_indexed_shards(c, folder, err));
    MICA_TRY(collect_tensors(c, err));
    MICA_TRY(compare_with_index(c, err));
    MICA_TRY(report_folder(c, folder, err));
done:
    mica_free(c->host->allocator, text);
    return st;
}

static mica_status open_single(mica_checkpoint *c, const mica_model_folder *folder,
                               mica_error *err) {
    char path[MICA_PATH_BYTES_MAX];
    mica_status st = mica_model_folder_find(folder, MICA_CHECKPOINT_FILE_NAME, path, err);
    if (st == MICA_STATUS_OK) st = open_only_file(c, MICA_CHECKPOINT_FILE_NAME, path, err);
    return st == MICA_STATUS_OK ? collect_tensors(c, err) : st;
}

/* Neither index nor model.safetensors: says what is there instead. */
static mica_status fail_empty(const mica_checkpoint *c, const char *path, const char *root,
                              mica_error *err) {
    char found[FOUND_BYTES_MAX] = "nothing";
    char *names = NULL;
    size_t count = 0, used = 0;
    mica_status st = mica_path_list(c->host, root, &names, &count, err);
    if (st != MICA_STATUS_OK) return st;
    const char *name = names;
    for (size_t i = 0; i < count && used < sizeof found; i++, name += strlen(name) + 1)
        used += mica_format(found + used, sizeof found - used, "%s%s", i ? ", " : "", name);
    if (used >= sizeof found) memcpy(found + sizeof found - 4, "...", 4);
    mica_free(c->host->allocator, names);
    return mica_fail(err, MICA_STATUS_NOT_FOUND, "%s has neither %s nor %s; it has: %s", path,
                     MICA_CHECKPOINT_INDEX_NAME, MICA_CHECKPOINT_FILE_NAME, found);
}

static mica_status open_folder(mica_checkpoint *c, const char *path, mica_error *err) {
    mica_model_folder folder;
    c->is_folder = true;
    mica_status st = mica_model_folder_open(path, &folder, err);
    if (st != MICA_STATUS_OK) return st;
    bool has_single = mica_model_folder_has(&folder, MICA_CHECKPOINT_FILE_NAME);
    if (mica_model_folder_has(&folder, MICA_CHECKPOINT_INDEX_NAME)) {
        if (has_single)
            mica_host_log(c->host, MICA_LOG_INFO, "%s and %s are both there: the index is used",
                          MICA_CHECKPOINT_INDEX_NAME, MICA_CHECKPOINT_FILE_NAME);
        return open_indexed(c, &folder, err);
    }
    return has_single ? open_single(c, &folder, err) : fail_empty(c, path, folder.root, err);
}

static mica_status open_path(mica_checkpoint *c, const char *path, mica_error *err) {
    mica_path_kind kind = mica_path_kind_of(path);
    if (kind == MICA_PATH_FOLDER) return open_folder(c, path, err);
    const char *slash = strrchr(path, '/');
    bool is_gguf;
    mica_status st = mica_gguf_is_file(c->host, path, &is_gguf, err);
    if (st == MICA_STATUS_OK)
        st = is_gguf ? open_gguf(c, path, err)
                     : open_only_file(c, slash ? slash + 1 : path, path, err);
    if (st == MICA_STATUS_OK) st = collect_tensors(c, err);
    if (st != MICA_STATUS_OK || !is_gguf) return st;
    return mica_gguf_rewrite_tensors(c, c->host, c->shards[0].gguf, err);
}

mica_status mica_checkpoint_open(const mica_host *host, const char *path,
                                 const mica_checkpoint_options *options, mica_checkpoint **out,
                                 mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    *out = NULL;
    uint32_t alignment = options ? options->alignment : 0;
    if ((alignment & (alignment - 1)) != 0 || alignment > ALIGNMENT_MAX)
        return mica_fail(err, MICA_STATUS_INVALID, "alignment %u, expected a power of two up to %d",
                         alignment, ALIGNMENT_MAX);
    mica_checkpoint *c = MICA_NEW(host->allocator, mica_checkpoint);
    if (!c) return mica_fail_memory(err, sizeof *c, "a checkpoint");
    c->host = host;
    mica_arena_init(&c->arena, host->allocator, REWRITE_BYTES_MAX);
    if (options) c->options = *options;
    MICA_TRY(open_path(c, path, err));
    *out = c;
    c = NULL;
done:
    mica_checkpoint_close(&c);
    return st;
}

void mica_checkpoint_close(mica_checkpoint **place) {
    mica_checkpoint *c = *place;
    if (!c) return;
    *place = NULL;
    checkpoint_free_copies(c);
    for (size_t i = 0; i < c->n_shards; i++) {
        mica_safetensors_close(&c->shards[i].safetensors);
        mica_gguf_close(&c->shards[i].gguf);
    }
    mica_checkpoint_index_deinit(&c->index);
    for (void **link = c->replaced; link; link = link[0]) mica_free(c->host->allocator, link[1]);
    mica_arena_deinit(&c->arena);
    mica_free(c->host->allocator, c->shards);
    mica_free(c->host->allocator, c->tensors);
    mica_free(c->host->allocator, c->states);
    mica_free(c->host->allocator, c);
}

/* ---- access ---- */

size_t mica_checkpoint_count(const mica_checkpoint *c) { return c->n_tensors; }

const mica_checkpoint_tensor *mica_checkpoint_at(const mica_checkpoint *c, size_t i) {
    return &c->tensors[i];
}

static int compare_name(const void *key, const void *tensor) {
    return strcmp(key, ((const mica_checkpoint_tensor *)tensor)->name);
}

const mica_checkpoint_tensor *mica_checkpoint_find(const mica_checkpoint *c, const char *name) {
    if (c->n_tensors == 0) return NULL;
    return bsearch(name, c->tensors, c->n_tensors, sizeof *c->tensors, compare_name);
}

uint64_t mica_checkpoint_bytes(const mica_checkpoint *c) { return c->bytes; }

size_t mica_checkpoint_shard_count(const mica_checkpoint *c) { return c->n_shards; }

const mica_safetensors *mica_checkpoint_shard(const mica_checkpoint *c, size_t shard) {
    return c->shards[shard].safetensors;
}

const char *mica_checkpoint_shard_name(const mica_checkpoint *c, size_t shard) {
    if (c->index.n_shards > 0) return c->index.shards[shard];
    if (c->is_folder) return MICA_CHECKPOINT_FILE_NAME;
    const checkpoint_shard *s = &c->shards[shard];
    return s->gguf ? mica_gguf_name(s->gguf) : mica_safetensors_name(s->safetensors);
}

mica_file *mica_checkpoint_shard_file(const mica_checkpoint *c, size_t shard) {
    const checkpoint_shard *s = &c->shards[shard];
    return s->gguf ? mica_gguf_file(s->gguf) : mica_safetensors_file(s->safetensors);
}

/* "BF16" or "one of BF16, F16" */
static const char *format_dtypes(const mica_safetensors_dtype *dtypes, size_t n, char out[128]) {
    size_t used = mica_format(out, 128, "%s", n > 1 ? "one of " : "");
    for (size_t i = 0; i < n && used < 128; i++)
        used += mica_format(out + used, 128 - used, "%s%s", i ? ", " : "",
                            mica_safetensors_dtype_name(dtypes[i]));
    return out;
}

static bool has_dtype(const mica_safetensors_dtype *dtypes, size_t n, mica_safetensors_dtype d) {
    for (size_t i = 0; i < n; i++)
        if (dtypes[i] == d) return true;
    return false;
}

mica_status mica_checkpoint_expect(mica_checkpoint *c, const char *name,
                                   const mica_safetensors_dtype *dtypes, size_t n_dtypes,
                                   const mica_shape *shape, const mica_checkpoint_tensor **out,
                                   mica_error *err) {
    char seen[176], wanted[176], types[128];
    if (out) *out = NULL;
    const mica_checkpoint_tensor *t = mica_checkpoint_find(c, name);
    if (!t) return mica_fail(err, MICA_STATUS_NOT_FOUND, "%s: the tensor is missing", name);
    c->states[t - c->tensors].is_taken = true;
    const char *shard = mica_checkpoint_shard_name(c, t->shard);
    if (!has_dtype(dtypes, n_dtypes, t->dtype))
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: dtype %s, expected %s (%s)", name,
                         mica_safetensors_dtype_name(t->dtype),
                         format_dtypes(dtypes, n_dtypes, types), shard);
    if (!mica_shape_equal(&t->shape, shape))
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: shape %s, expected %s (%s)", name,
                         mica_shape_format(&t->shape, seen), mica_shape_format(shape, wanted),
                         shard);
    if (out) *out = t;
    return MICA_STATUS_OK;
}

/* ---- data ---- */

void checkpoint_free_copies(mica_checkpoint *c) {
    for (checkpoint_block *b = c->blocks, *next; b; b = next) {
        next = b->next;
        mica_free(c->host->allocator, b->data);
        mica_free(c->host->allocator, b);
    }
    c->blocks = NULL;
}

static checkpoint_block *add_block(mica_checkpoint *c, size_t bytes) {
    checkpoint_block *b = MICA_NEW(c->host->allocator, checkpoint_block);
    if (!b) return NULL;
    b->data = mica_alloc_aligned(c->host->allocator, bytes, LARGE_PAGE_BYTES);
    if (!b->data) {
        mica_free(c->host->allocator, b);
        return NULL;
    }
    mica_memory_advise_large(b->data, bytes);
    b->bytes = bytes;
    b->next = c->blocks;
    c->blocks = b;
    return b;
}

/* Whether the data are given as a copy, not as a view of the mapped file. */
static bool needs_copy(const mica_checkpoint *c, const mica_checkpoint_tensor *t) {
    uint64_t alignment = c->options.alignment ? c->options.alignment
                                              : (uint64_t)mica_safetensors_dtype_bits(t->dtype) / 8;
    if (t->recipe || c->options.use_pread) return true;
    return (alignment && t->offset % alignment != 0) ||
           !mica_file_is_local(mica_checkpoint_shard_file(c, t->shard));
}

/* Room for the copies that are still to come, up to a whole block; larger ones get their own. */
static size_t choose_block_bytes(const mica_checkpoint *c, size_t size, size_t alignment) {
    size_t sum = 0;
    for (size_t i = 0; i < c->n_tensors && sum < BLOCK_BYTES; i++) {
        const mica_checkpoint_tensor *t = &c->tensors[i];
        if (c->states[i].copy || t->bytes > BLOCK_BYTES || !needs_copy(c, t)) continue;
        sum += ((size_t)t->bytes + alignment - 1) & ~(alignment - 1);
    }
    if (sum > BLOCK_BYTES) sum = BLOCK_BYTES;
    return sum > size ? sum : size;
}

/* NULL: no memory. */
static uint8_t *take_copy_memory(mica_checkpoint *c, uint64_t bytes) {
    size_t alignment =
        c->options.alignment > COPY_ALIGNMENT ? c->options.alignment : (size_t)COPY_ALIGNMENT;
    size_t size;
    if (!mica_u64_to_size(bytes, &size) || !mica_align_size(size, alignment, &size)) return NULL;
    checkpoint_block *b = c->blocks;
    if (!b || b->bytes - b->used < size) b = add_block(c, choose_block_bytes(c, size, alignment));
    if (!b) return NULL;
    uint8_t *memory = b->data + b->used;
    b->used += size;
    return memory;
}

static mica_status read_copy(mica_checkpoint *c, const mica_checkpoint_tensor *t,
                             const uint8_t **data, mica_error *err) {
    checkpoint_state *state = &c->states[t - c->tensors];
    if (!state->copy) {
        uint8_t *copy = take_copy_memory(c, t->bytes);
        if (!copy) return mica_fail_memory(err, (size_t)t->bytes, t->name);
        mica_status st = mica_checkpoint_read_tensor(c, t, 0, copy, (size_t)t->bytes, err);
        if (st != MICA_STATUS_OK) return st;
        state->copy = copy;
    }
    *data = state->copy;
    return MICA_STATUS_OK;
}

mica_status mica_checkpoint_map_tensor(mica_checkpoint *c, const mica_checkpoint_tensor *tensor,
                                       const uint8_t **data, mica_error *err) {
    *data = NULL;
    if (mica_safetensors_dtype_plain(tensor->dtype) == MICA_DTYPE_NONE)
        return mica_fail(err, MICA_STATUS_UNSUPPORTED, "%s: dtype %s cannot be loaded",
                         tensor->name, mica_safetensors_dtype_name(tensor->dtype));
    if (tensor->bytes == 0) return MICA_STATUS_OK; /* rule 14 */
    if (needs_copy(c, tensor)) return read_copy(c, tensor, data, err);
    mica_file *file = mica_checkpoint_shard_file(c, tensor->shard);
    const uint8_t *view;
    mica_status st = mica_file_map(file, &view, err);
    if (st == MICA_STATUS_OK) *data = view + tensor->offset;
    return st;
}

/* A part of what a recipe makes. */
static mica_status make_part(mica_checkpoint *c, const mica_checkpoint_tensor *tensor,
                             uint64_t offset, void *out, size_t bytes, mica_error *err) {
    size_t whole;
    if (bytes == tensor->bytes) return checkpoint_make_tensor(c, tensor, out, err);
    if (!mica_u64_to_size(tensor->bytes, &whole))
        return mica_fail_memory(err, SIZE_MAX, tensor->name);
    uint8_t *copy = mica_alloc_aligned(c->host->allocator, whole, COPY_ALIGNMENT);
    if (!copy) return mica_fail_memory(err, whole, tensor->name);
    mica_status st = checkpoint_make_tensor(c, tensor, copy, err);
    if (st == MICA_STATUS_OK && bytes > 0) memcpy(out, copy + offset, bytes);
    mica_free(c->host->allocator, copy);
    return st;
}

mica_status mica_checkpoint_read_tensor(mica_checkpoint *c, const mica_checkpoint_tensor *tensor,
                                        uint64_t offset, void *out, size_t bytes, mica_error *err) {
    uint64_t end;
    if (!mica_add_u64(offset, bytes, &end) || end > tensor->bytes)
        return mica_fail(err, MICA_STATUS_INVALID, "%s: %zu bytes at offset %llu, but it has %llu",
                         tensor->name, bytes, (unsigned long long)offset,
                         (unsigned long long)tensor->bytes);
    if (tensor->recipe) return make_part(c, tensor, offset, out, bytes, err);
    return mica_file_read(mica_checkpoint_shard_file(c, tensor->shard), tensor->offset + offset,
                          out, bytes, err);
}

mica_status mica_checkpoint_take(mica_checkpoint *c, const char *name,
                                 const mica_safetensors_dtype *dtypes, size_t n_dtypes,
                                 const mica_shape *shape, mica_checkpoint_data *out,
                                 mica_error *err) {
    const mica_checkpoint_tensor *t;
    const uint8_t *data;
    *out = (mica_checkpoint_data){0};
    mica_status st = mica_checkpoint_expect(c, name, dtypes, n_dtypes, shape, &t, err);
    if (st == MICA_STATUS_OK) st = mica_checkpoint_map_tensor(c, t, &data, err);
    if (st != MICA_STATUS_OK) return st;
    bool is_mapped = t->bytes > 0 && !c->states[t - c->tensors].copy;
    *out = (mica_checkpoint_data){t, data, t->bytes, is_mapped};
    return MICA_STATUS_OK;
}

/* ---- checks ---- */

mica_status mica_checkpoint_check_all_taken(const mica_checkpoint *c,
                                            bool (*is_ignorable)(void *context, const char *name),
                                            void *context, mica_error *err) {
    const mica_checkpoint_tensor *first = NULL;
    size_t extra = 0;
    for (size_t i = 0; i < c->n_tensors; i++) {
        const mica_checkpoint_tensor *t = &c->tensors[i];
        if (c->states[i].is_taken || (is_ignorable && is_ignorable(context, t->name))) continue;
        if (extra++ == 0) first = t;
    }
    if (extra == 0) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT,
                     "%s: the model has no use for this tensor (%s; %zu such in all)", first->name,
                     mica_checkpoint_shard_name(c, first->shard), extra);
}

mica_status mica_checkpoint_check_unchanged(const mica_checkpoint *c, mica_error *err) {
    for (size_t i = 0; i < c->n_shards; i++) {
        mica_status st = mica_file_check_unchanged(mica_checkpoint_shard_file(c, i), err);
        if (st != MICA_STATUS_OK) return st;
    }
    return MICA_STATUS_OK;
}

mica_status mica_checkpoint_check_e8m0(const char *name, const uint8_t *data, uint64_t bytes,
                                       mica_error *err) {
    const uint8_t *bad = bytes ? memchr(data, 0xFF, (size_t)bytes) : NULL;
    if (!bad) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: byte %llu is 255, which is no E8M0 scale", name,
                     (unsigned long long)(bad - data));
}

mica_status mica_checkpoint_check_e4m3(const char *name, const uint8_t *data, uint64_t bytes,
                                       mica_error *err) {
    enum { BLOCK = 4096 };
    for (uint64_t begin = 0; begin < bytes; begin += BLOCK) {
        uint64_t end = bytes - begin < BLOCK ? bytes : begin + BLOCK;
        uint8_t any = 0; /* the compiler makes this loop wide */
        for (uint64_t i = begin; i < end; i++) any |= (data[i] & 0x7F) == 0x7F;
        for (uint64_t i = begin; any && i < end; i++)
            if ((data[i] & 0x7F) == 0x7F)
                return mica_fail(err, MICA_STATUS_FORMAT,
                                 "%s: byte %llu is %d, which is no E4M3 scale", name,
                                 (unsigned long long)i, data[i]);
    }
    return MICA_STATUS_OK;
}

mica_status mica_checkpoint_check_bool(const char *name, const uint8_t *data, uint64_t bytes,
                                       mica_error *err) {
    enum { BLOCK = 4096 };
    for (uint64_t begin = 0; begin < bytes; begin += BLOCK) {
        uint64_t end = bytes - begin < BLOCK ? bytes : begin + BLOCK;
        uint8_t any = 0; /* the compiler makes this loop wide */
        for (uint64_t i = begin; i < end; i++) any |= data[i];
        for (uint64_t i = begin; any > 1 && i < end; i++)
            if (data[i] > 1)
                return mica_fail(err, MICA_STATUS_FORMAT,
                                 "%s: rule 18: BOOL byte %llu is %d, expected 0 or 1", name,
                                 (unsigned long long)i, data[i]);
    }
    return MICA_STATUS_OK;
}
