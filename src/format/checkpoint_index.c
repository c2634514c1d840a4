/* Parsing the shard index. Names are kept in one pool; lines are sorted by shard to number the
 * shards, then by tensor, so that no order in the file costs more than n log n. */
#include "format/checkpoint_index.h"
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/fuzz.h"
#include "base/json.h"
#include "base/vec.h"
#include "format/model_folder.h"
#include "format/safetensors.h"

enum { DEPTH_MAX = 8, SHOWN_NAME_MAX = 96 };

typedef struct line {
    uint32_t tensor; /* offsets in the pool; both texts are closed by a NUL */
    uint32_t tensor_bytes;
    uint32_t shard;
    uint32_t shard_bytes;
} line;

typedef struct parser {
    mica_json *json;
    mica_vec lines; /* line */
    mica_str pool;
    bool has_map;
    bool has_total;
    uint64_t total_bytes;
} parser;

static int shown(mica_slice text) {
    return (int)(text.bytes < SHOWN_NAME_MAX ? text.bytes : SHOWN_NAME_MAX);
}

static uint32_t keep(parser *p, mica_slice text) {
    uint32_t at = (uint32_t)p->pool.bytes;
    mica_str_append_slice(&p->pool, text);
    mica_str_append_char(&p->pool, '\0');
    return at;
}

static mica_status check_names(parser *p, mica_slice tensor, mica_slice shard, mica_error *err) {
    if (!mica_safetensors_name_is_valid(tensor))
        return mica_json_fail(p->json, err, "weight_map: \"%.*s\" cannot be the name of a tensor",
                              shown(tensor), tensor.data);
    if (!mica_file_name_is_plain(shard) || !mica_slice_ends_with(shard, ".safetensors"))
        return mica_json_fail(p->json, err,
                              "weight_map: shard \"%.*s\" of %.*s, expected a plain file name that "
                              "ends in .safetensors",
                              shown(shard), shard.data, shown(tensor), tensor.data);
    return MICA_STATUS_OK;
}

static mica_status add_line(parser *p, mica_slice tensor, mica_slice shard, mica_error *err) {
    const line *last = p->lines.count ? mica_vec_at(&p->lines, p->lines.count - 1) : NULL;
    bool is_same_shard = last && mica_slice_equal(shard, mica_slice_of(p->pool.data + last->shard,
                                                                       last->shard_bytes));
    if (p->lines.count == MICA_CHECKPOINT_TENSORS_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "weight_map: more than %u tensors",
                         MICA_CHECKPOINT_TENSORS_MAX);
    mica_status st = check_names(p, tensor, shard, err);
    if (st != MICA_STATUS_OK) return st;
    line *l = mica_vec_push(&p->lines);
    if (!l) return mica_fail_memory(err, p->lines.count * sizeof *l, "a shard index");
    l->shard_bytes = (uint32_t)shard.bytes;
    l->shard = is_same_shard ? (l - 1)->shard : keep(p, shard);
    l->tensor_bytes = (uint32_t)tensor.bytes;
    l->tensor = keep(p, tensor);
    if (p->pool.failed) return mica_fail_memory(err, p->pool.bytes, "a shard index");
    return MICA_STATUS_OK;
}

static mica_status read_map(parser *p, mica_error *err) {
    mica_slice tensor, shard;
    p->has_map = true;
    mica_status st = mica_json_begin_object(p->json, err);
    while (st == MICA_STATUS_OK && mica_json_next_key(p->json, &tensor)) {
        st = mica_json_read_string(p->json, &shard, err);
        if (st == MICA_STATUS_OK) st = add_line(p, tensor, shard, err);
    }
    return st == MICA_STATUS_OK ? mica_json_check(p->json, err) : st;
}

/* Writers differ in what they put here, so nothing but bad JSON is an error. */
static mica_status read_metadata(parser *p, mica_error *err) {
    mica_slice key, number;
    if (mica_json_peek(p->json) != MICA_JSON_OBJECT) return mica_json_skip(p->json, err);
    mica_status st = mica_json_begin_object(p->json, err);
    while (st == MICA_STATUS_OK && mica_json_next_key(p->json, &key)) {
        if (!mica_slice_is(key, "total_size") || mica_json_peek(p->json) != MICA_JSON_NUMBER) {
            st = mica_json_skip(p->json, err);
            continue;
        }
        st = mica_json_read_number_text(p->json, &number, err);
        if (st == MICA_STATUS_OK) p->has_total = mica_parse_u64(number, &p->total_bytes);
    }
    return st == MICA_STATUS_OK ? mica_json_check(p->json, err) : st;
}

static mica_status read_top(parser *p, const char *name, mica_error *err) {
    mica_slice key;
    mica_status st = mica_json_begin_object(p->json, err);
    while (st == MICA_STATUS_OK && mica_json_next_key(p->json, &key)) {
        if (mica_slice_is(key, "weight_map"))
            st = read_map(p, err);
        else if (mica_slice_is(key, "metadata"))
            st = read_metadata(p, err);
        else
            st = mica_json_skip(p->json, err);
    }
    if (st == MICA_STATUS_OK) st = mica_json_check(p->json, err);
    if (st == MICA_STATUS_OK) st = mica_json_end(p->json, err);
    if (st == MICA_STATUS_OK && (!p->has_map || p->lines.count == 0))
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: no tensor in weight_map", name);
    return st;
}

/* ---- order ---- */

/* A line while the shards are being numbered. */
typedef struct named_line {
    const char *tensor;
    const char *shard;
    uint32_t tensor_bytes;
} named_line;

static int compare_shards(const void *a, const void *b) {
    return strcmp(((const named_line *)a)->shard, ((const named_line *)b)->shard);
}

static int compare_tensors(const void *a, const void *b) {
    return strcmp(((const mica_checkpoint_entry *)a)->tensor,
                  ((const mica_checkpoint_entry *)b)->tensor);
}

/* named is sorted by shard. */
static mica_status number_shards(mica_checkpoint_index *out, const char *name,
                                 const named_line *named, mica_error *err) {
    for (size_t i = 0; i < out->n_entries; i++) {
        if (i == 0 || strcmp(named[i - 1].shard, named[i].shard) != 0) {
            if (out->n_shards == MICA_CHECKPOINT_SHARDS_MAX)
                return mica_fail(err, MICA_STATUS_LIMIT, "%s: more than %u shards", name,
                                 MICA_CHECKPOINT_SHARDS_MAX);
            out->shards[out->n_shards++] = named[i].shard;
        }
        out->entries[i] = (mica_checkpoint_entry){named[i].tensor, named[i].tensor_bytes,
                                                  (uint32_t)(out->n_shards - 1)};
    }
    return MICA_STATUS_OK;
}

static mica_status order_lines(const parser *p, const char *name, mica_checkpoint_index *out,
                               mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    size_t count = p->lines.count;
    named_line *named = mica_alloc_array(out->allocator, count, sizeof *named);
    out->entries = mica_alloc_array(out->allocator, count, sizeof *out->entries);
    out->shards = mica_alloc_array(out->allocator, MICA_CHECKPOINT_SHARDS_MAX, sizeof(char *));
    MICA_REQUIRE(named && out->entries && out->shards, MICA_STATUS_OUT_OF_MEMORY,
                 "out of memory: a shard index of %zu tensors", count);
    for (size_t i = 0; i < count; i++) {
        const line *l = mica_vec_at(&p->lines, i);
        named[i] = (named_line){out->texts + l->tensor, out->texts + l->shard, l->tensor_bytes};
    }
    qsort(named, count, sizeof *named, compare_shards);
    out->n_entries = count;
    MICA_TRY(number_shards(out, name, named, err));
    qsort(out->entries, count, sizeof *out->entries, compare_tensors);
done:
    mica_free(out->allocator, named);
    return st;
}

mica_status mica_checkpoint_index_parse(const mica_host *host, const char *name, const char *text,
                                        size_t bytes, mica_checkpoint_index *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    parser p = {0};
    *out = (mica_checkpoint_index){.allocator = host->allocator};
    mica_vec_init(&p.lines, host->allocator, sizeof(line));
    mica_str_init(&p.pool, host->allocator);
    /* Offsets in the pool have 32 bits: a name cannot be longer than its text, which is limited,
     * and a shard's name (255 bytes) stands there at most once for each of the tensors. */
    MICA_REQUIRE(bytes <= MICA_CHECKPOINT_INDEX_BYTES_MAX, MICA_STATUS_LIMIT,
                 "%s: %zu bytes, expected at most %zu", name, bytes,
                 MICA_CHECKPOINT_INDEX_BYTES_MAX);
    MICA_REQUIRE(!mica_is_lfs_pointer(text, bytes), MICA_STATUS_FORMAT,
                 "%s is a Git LFS pointer, not the data: run git lfs pull", name);
    MICA_TRY(mica_json_open(host, name, text, bytes, DEPTH_MAX, &p.json, err));
    MICA_TRY(read_top(&p, name, err));
    out->has_total = p.has_total;
    out->total_bytes = p.total_bytes;
    out->texts = mica_str_take(&p.pool, NULL);
    MICA_REQUIRE(out->texts, MICA_STATUS_OUT_OF_MEMORY, "out of memory: a shard index");
    MICA_TRY(order_lines(&p, name, out, err));
done:
    mica_json_close(&p.json);
    mica_vec_deinit(&p.lines);
    mica_str_deinit(&p.pool);
    if (st != MICA_STATUS_OK) mica_checkpoint_index_deinit(out);
    return st;
}

void mica_checkpoint_index_deinit(mica_checkpoint_index *index) {
    if (!index->allocator) return;
    mica_free(index->allocator, index->entries);
    mica_free(index->allocator, index->shards);
    mica_free(index->allocator, index->texts);
    *index = (mica_checkpoint_index){0};
}

#ifdef MICA_FUZZ_CHECKPOINT_INDEX
MICA_FUZZ_ENTRY(checkpoint_index) {
    mica_checkpoint_index index;
    mica_error err;
    if (mica_checkpoint_index_parse(mica_host_default(), "fuzz.index.json", (const char *)data,
                                    size, &index, &err) != MICA_STATUS_OK)
        return 0;
    for (size_t i = 0; i < index.n_entries; i++) {
        if (index.entries[i].shard >= index.n_shards) __builtin_trap();
        if (i > 0 && strcmp(index.entries[i - 1].tensor, index.entries[i].tensor) >= 0)
            __builtin_trap();
    }
    for (size_t i = 0; i < index.n_shards; i++)
        if (strchr(index.shards[i], '/')) __builtin_trap();
    mica_checkpoint_index_deinit(&index);
    return 0;
}
#endif
