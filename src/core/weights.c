/* The weight store: an array of entries, their names in an arena, an open-addressing index. */
#include "core/weights.h"
#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

#define WEIGHTS_MAX (1u << 20)

struct mica_weights {
    const mica_host *host;
    mica_arena arena; /* entries, names, index */
    mica_weight *entries;
    size_t count;
    size_t capacity;
    uint32_t *index; /* entry + 1; power of two slots */
    size_t n_slots;
    uint64_t bytes;
};

mica_status mica_weights_create(const mica_host *host, size_t capacity, mica_weights **out,
                                mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_weights *w = NULL;
    MICA_REQUIRE(capacity <= WEIGHTS_MAX, MICA_STATUS_LIMIT, "%zu weights, at most %u", capacity,
                 WEIGHTS_MAX);
    w = MICA_NEW(host->allocator, mica_weights);
    MICA_REQUIRE(w, MICA_STATUS_OUT_OF_MEMORY, "out of memory: weight store");
    w->host = host;
    w->capacity = capacity;
    w->n_slots = 16;
    while (w->n_slots < capacity * 2) w->n_slots *= 2;
    mica_arena_init(&w->arena, host->allocator, 0);
    w->entries = mica_arena_alloc_array(&w->arena, capacity + 1, sizeof *w->entries);
    w->index = mica_arena_alloc_zero(&w->arena, w->n_slots * sizeof *w->index);
    MICA_REQUIRE(w->entries && w->index, MICA_STATUS_OUT_OF_MEMORY,
                 "out of memory: weight store of %zu entries", capacity);
    *out = w;
    w = NULL;
done:
    mica_weights_destroy(&w);
    return st;
}

void mica_weights_destroy(mica_weights **weights) {
    mica_weights *w = *weights;
    *weights = NULL;
    if (!w) return;
    for (size_t i = 0; i < w->count; i++)
        for (int p = 0; p < MICA_PARTS_MAX; p++)
            mica_buffer_release(&w->entries[i].parts[p].buffer);
    mica_arena_deinit(&w->arena);
    mica_free(w->host->allocator, w);
}

/* The slot that holds the name, or the empty one where it belongs. */
static size_t find_slot(const mica_weights *w, const char *name) {
    mica_slice key = mica_slice_from(name);
    size_t slot = (size_t)mica_slice_hash(key) & (w->n_slots - 1);
    while (w->index[slot] && !mica_slice_is(key, w->entries[w->index[slot] - 1].name))
        slot = (slot + 1) & (w->n_slots - 1);
    return slot;
}

mica_status mica_weights_add(mica_weights *w, const mica_weight *weight, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_weight entry = *weight;
    size_t slot = find_slot(w, weight->name);
    MICA_REQUIRE(!w->index[slot], MICA_STATUS_INVALID, "%s: the weight is there twice",
                 weight->name);
    MICA_REQUIRE(w->count < w->capacity, MICA_STATUS_LIMIT, "%s: more than %zu weights",
                 weight->name, w->capacity);
    entry.name = mica_arena_string(&w->arena, weight->name, mica_slice_from(weight->name).bytes);
    MICA_REQUIRE(entry.name, MICA_STATUS_OUT_OF_MEMORY, "out of memory: weight store");
    w->bytes += entry.bytes;
    w->entries[w->count] = entry;
    w->index[slot] = (uint32_t)++w->count;
    return st;
done:
    for (int p = 0; p < MICA_PARTS_MAX; p++) mica_buffer_release(&entry.parts[p].buffer);
    return st;
}

const mica_weight *mica_weights_find(const mica_weights *w, const char *name) {
    size_t slot = find_slot(w, name);
    return w->index[slot] ? &w->entries[w->index[slot] - 1] : NULL;
}

size_t mica_weights_count(const mica_weights *w) { return w->count; }

const mica_weight *mica_weights_at(const mica_weights *w, size_t i) {
    return i < w->count ? &w->entries[i] : NULL;
}

uint64_t mica_weights_bytes(const mica_weights *w) { return w->bytes; }
