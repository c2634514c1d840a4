/* Remembers where in the output the ids of short pieces already stand, for the length of one encode
 * call: words come again and again. Off until its slots are allocated; a clash simply replaces. */
#pragma once
#include <string.h>
#include "base/vec.h"

enum {
    MICA_PIECE_CACHE_SLOTS = 4096, /* 128 KiB */
    MICA_PIECE_CACHE_BYTES_MAX = 16,
    MICA_PIECE_CACHE_COUNT_MAX = 16,
};

/* head, tail: first and last bytes, zero-filled; with bytes they are the whole key. bytes: 0 =
 * free; its upper bits hold the caller's kind. */
typedef struct mica_piece_cached {
    uint64_t head, tail;
    uint32_t start; /* of its ids in the output */
    uint16_t count;
    uint16_t bytes;
} mica_piece_cached;

/* Threads: one at a time. */
typedef struct mica_piece_cache {
    mica_piece_cached *slots; /* [MICA_PIECE_CACHE_SLOTS]; NULL = off */
} mica_piece_cache;

/* Without memory it stays off. */
static inline void mica_piece_cache_start(mica_piece_cache *cache,
                                          const mica_allocator *allocator) {
    if (!cache->slots)
        cache->slots = MICA_NEW_ARRAY(allocator, mica_piece_cached, MICA_PIECE_CACHE_SLOTS);
}

static inline bool mica_piece_cache_takes(const mica_piece_cache *cache, size_t bytes) {
    return cache->slots && bytes >= 2 && bytes <= MICA_PIECE_CACHE_BYTES_MAX;
}

/* kind keeps results of different functions apart; its low byte is 0. bytes: 2 to 16. */
static inline mica_piece_cached mica_piece_cache_key(const char *p, size_t bytes, uint16_t kind) {
    mica_piece_cached key = {.bytes = (uint16_t)(bytes | kind)};
    if (bytes >= 8) {
        memcpy(&key.head, p, 8);
        memcpy(&key.tail, p + bytes - 8, 8);
    } else if (bytes >= 4) {
        memcpy(&key.head, p, 4);
        memcpy(&key.tail, p + bytes - 4, 4);
    } else {
        key.head = (uint64_t)(uint8_t)p[0] << 16 | (uint64_t)(uint8_t)p[bytes / 2] << 8 |
                   (uint8_t)p[bytes - 1];
    }
    return key;
}

static inline mica_piece_cached *mica_piece_cache_slot(const mica_piece_cache *cache,
                                                       const mica_piece_cached *key) {
    uint64_t h = (key->head ^ key->tail * 0xFF51AFD7ED558CCDu ^ key->bytes) * 0x9E3779B97F4A7C15u;
    return &cache->slots[(h >> 40) % MICA_PIECE_CACHE_SLOTS];
}

static inline bool mica_piece_cache_is(const mica_piece_cached *slot,
                                       const mica_piece_cached *key) {
    return slot->bytes == key->bytes && slot->head == key->head && slot->tail == key->tail;
}

/* Enters what was appended to the output from `start` on. */
static inline void mica_piece_cache_keep(mica_piece_cached *slot, mica_piece_cached key,
                                         size_t start, size_t end) {
    if (end - start > MICA_PIECE_CACHE_COUNT_MAX || start > UINT32_MAX) return;
    key.start = (uint32_t)start;
    key.count = (uint16_t)(end - start);
    *slot = key;
}

/* Appends the ids of a known piece once more; false: no memory. */
static inline bool mica_piece_cache_repeat(const mica_piece_cached *slot, mica_vec *ids) {
    if (ids->count + slot->count > ids->capacity &&
        !mica_vec_reserve(ids, ids->count + slot->count))
        return false;
    int32_t *all = ids->data;
    memcpy(all + ids->count, all + slot->start, slot->count * sizeof(*all));
    ids->count += slot->count;
    return true;
}
