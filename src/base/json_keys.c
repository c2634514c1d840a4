/* Duplicate keys: the keys of all open objects lie on one stack; an object of more than a few keys
 * gets a hash table of 8 bytes a slot, half full at most. Part of json.h. The hash is seeded by
 * address and clock, so the cost stays linear for hostile files; results do not depend on it. */
#include "base/json_parts.h"
#include <string.h>
#include "base/thread_pool.h"

enum {
    FEW_KEYS = 12, /* up to here comparing hashes one by one is faster than a table */
    TABLE_SIZE_MIN = 64,
};

__extension__ typedef unsigned __int128 u128;

/* Both halves of a product: each bit of the result depends on every bit of a and b. */
static uint64_t fold(uint64_t a, uint64_t b) {
    u128 product = (u128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load_tail(const char *data, size_t bytes) {
    uint64_t word = 0;
    memcpy(&word, data, bytes);
    return word;
}

static uint32_t hash_key(uint64_t seed, mica_slice key) {
    const uint64_t odd = 0x9E3779B97F4A7C15u;
    uint64_t h = seed ^ fold(key.bytes ^ odd, seed | 1);
    const char *data = key.data;
    size_t bytes = key.bytes;
    for (; bytes > 8; data += 8, bytes -= 8) h = fold(h ^ load_tail(data, 8), seed ^ odd);
    h = fold(h ^ load_tail(data, bytes), odd ^ (seed >> 32 | seed << 32));
    return (uint32_t)(h ^ (h >> 32));
}

void json_keys_init(mica_json *j) {
    double now = mica_clock_seconds();
    uint64_t bits;
    memcpy(&bits, &now, sizeof bits);
    j->seed = fold((uint64_t)(uintptr_t)j ^ 0xD1B54A32D192ED03u, bits ^ 0x8CB92BA72F3D8DD7u);
    mica_vec_init(&j->keys, j->allocator, sizeof(json_key));
    mica_arena_init(&j->decoded_keys, j->allocator, 0);
    mica_str_init(&j->key_scratch, j->allocator);
}

void json_keys_deinit(mica_json *j) {
    for (int i = 0; i < MICA_JSON_DEPTH_MAX; i++) mica_free(j->allocator, j->levels[i].slots);
    mica_str_deinit(&j->key_scratch);
    mica_arena_deinit(&j->decoded_keys);
    mica_vec_deinit(&j->keys);
}

void json_keys_begin(mica_json *j, json_level *level) {
    level->keys_begin = (uint32_t)j->keys.count;
    level->table_size = 0;
}

void json_keys_end(mica_json *j, json_level *level) {
    j->keys.count = level->keys_begin;
    if (j->depth == 0) mica_arena_reset(&j->decoded_keys);
}

static bool key_equal(const json_key *a, const json_key *b) {
    return a->hash == b->hash && a->bytes == b->bytes &&
           (a->bytes == 0 || memcmp(a->data, b->data, a->bytes) == 0);
}

/* The slot of an equal key, or the empty one where it belongs. */
static json_slot *find_slot(const json_level *level, const json_key *keys, const json_key *key) {
    uint32_t mask = level->table_size - 1;
    for (uint32_t i = key->hash & mask;; i = (i + 1) & mask) {
        json_slot *slot = &level->slots[i];
        if (slot->key == 0) return slot;
        if (slot->hash == key->hash && key_equal(&keys[slot->key - 1], key)) return slot;
    }
}

/* Makes a table of the given size from the keys so far, which are all different. */
static bool build_table(mica_json *j, json_level *level, const json_key *keys, uint32_t n_keys,
                        uint32_t size) {
    if (size > level->slots_capacity) {
        json_slot *slots = mica_alloc_array(j->allocator, size, sizeof(json_slot));
        if (!slots) return false;
        mica_free(j->allocator, level->slots);
        level->slots = slots;
        level->slots_capacity = size;
    }
    level->table_size = size;
    memset(level->slots, 0, size * sizeof(json_slot));
    for (uint32_t i = 0; i < n_keys; i++) {
        uint32_t at = keys[i].hash & (size - 1);
        while (level->slots[at].key) at = (at + 1) & (size - 1);
        level->slots[at] = (json_slot){keys[i].hash, i + 1};
    }
    return true;
}

static bool find_among_few(const json_key *keys, uint32_t n_keys, const json_key *key) {
    for (uint32_t i = 0; i < n_keys; i++)
        if (key_equal(&keys[i], key)) return true;
    return false;
}

/* Decoded text in the arena: it lives until the top object ends. */
static bool decode_key(mica_json *j, mica_slice raw, mica_slice *out) {
    mica_str_clear(&j->key_scratch);
    json_decode_string(raw, &j->key_scratch);
    char *copy = j->key_scratch.failed ? NULL
                                       : mica_arena_string(&j->decoded_keys, j->key_scratch.data,
                                                           j->key_scratch.bytes);
    if (!copy) return false;
    *out = mica_slice_of(copy, j->key_scratch.bytes);
    return true;
}

static bool fail_memory(mica_json *j) {
    json_fail_status(j, MICA_STATUS_OUT_OF_MEMORY, "out of memory for the keys of an object");
    return false;
}

bool json_keys_add(mica_json *j, const char *begin, mica_slice raw, bool has_escapes,
                   mica_slice *key) {
    json_level *level = &j->levels[j->depth - 1];
    mica_slice text = raw;
    if (has_escapes && !decode_key(j, raw, &text)) return fail_memory(j);
    if (level->has_own_keys) {
        *key = text;
        return true;
    }
    json_key added = {text.data, (uint32_t)text.bytes, hash_key(j->seed, text)};
    uint32_t n_keys = (uint32_t)j->keys.count - level->keys_begin;
    /* The keys are appended first: growing may move them. */
    if (!mica_vec_append(&j->keys, &added, 1)) return fail_memory(j);
    const json_key *keys = (const json_key *)j->keys.data + level->keys_begin;
    bool is_duplicate;
    if (n_keys < FEW_KEYS) {
        is_duplicate = find_among_few(keys, n_keys, &added);
    } else {
        uint32_t size = level->table_size ? level->table_size : TABLE_SIZE_MIN;
        if (level->table_size && n_keys >= size / 2) size *= 2;
        if (size != level->table_size && !build_table(j, level, keys, n_keys, size))
            return fail_memory(j);
        json_slot *slot = find_slot(level, keys, &added);
        is_duplicate = slot->key != 0;
        if (!is_duplicate) *slot = (json_slot){added.hash, n_keys + 1};
    }
    if (is_duplicate) {
        json_fail_at(j, begin, "the key \"%.*s\" stands twice in one object",
                     (int)(text.bytes < 200 ? text.bytes : 200), text.data);
        return false;
    }
    *key = text;
    return true;
}
