/* The vocabulary's tables. Sizes are bounded by the size of the file that is read
 * (MICA_TOKENIZER_BYTES_MAX), so that offsets fit 32 bits. */
#include "text/vocab.h"
#include <string.h>
#include "base/checked.h"

enum { SLOTS_MIN = 256, ENTRIES_MIN = 256, TEXT_MIN = 4096 };

void mica_vocab_init(mica_vocab *v, const mica_allocator *allocator) {
    *v = (mica_vocab){.allocator = allocator};
}

void mica_vocab_deinit(mica_vocab *v) {
    mica_free(v->allocator, v->text);
    mica_free(v->allocator, v->entries);
    mica_free(v->allocator, v->slots);
    mica_vocab_init(v, v->allocator);
}

uint32_t mica_vocab_hash(const char *data, size_t bytes) {
    uint64_t h = bytes * 0x9E3779B97F4A7C15u, word;
    for (; bytes >= 8; bytes -= 8, data += 8) {
        memcpy(&word, data, 8);
        h = (h ^ word) * 0xFF51AFD7ED558CCDu;
        h ^= h >> 32;
    }
    if (bytes >= 4) {
        uint32_t low, high;
        memcpy(&low, data, 4);
        memcpy(&high, data + bytes - 4, 4);
        h ^= (uint64_t)high << 32 | low;
    } else if (bytes) {
        const unsigned char *p = (const unsigned char *)data;
        h ^= (uint64_t)p[0] << 16 | (uint64_t)p[bytes / 2] << 8 | p[bytes - 1];
    }
    h *= 0xC4CEB9FE1A85EC53u;
    return (uint32_t)(h >> 32) ^ (uint32_t)h;
}

static bool grow_slots(mica_vocab *v, size_t count) {
    size_t n = SLOTS_MIN;
    while (n < count) n *= 2;
    uint64_t *slots = mica_alloc_array_zero(v->allocator, n, sizeof(*slots));
    if (!slots) return false;
    for (size_t i = 0; v->slots && i <= v->slot_mask; i++) {
        if (!v->slots[i]) continue;
        size_t at = (v->slots[i] >> 32) & (n - 1);
        while (slots[at]) at = (at + 1) & (n - 1);
        slots[at] = v->slots[i];
    }
    mica_free(v->allocator, v->slots);
    v->slots = slots;
    v->slot_mask = n - 1;
    return true;
}

static bool grow_entries(mica_vocab *v, int32_t count) {
    int32_t capacity = v->entry_capacity ? v->entry_capacity : ENTRIES_MIN;
    while (capacity < count) capacity *= 2;
    size_t bytes = (size_t)capacity * sizeof(mica_vocab_entry);
    mica_vocab_entry *entries = mica_realloc(v->allocator, v->entries, bytes);
    if (!entries) return false;
    v->entries = entries;
    v->entry_capacity = capacity;
    return true;
}

static bool grow_text(mica_vocab *v, size_t bytes) {
    size_t capacity = v->text_capacity ? v->text_capacity : TEXT_MIN;
    while (capacity < bytes)
        if (!mica_mul_size(capacity, 2, &capacity)) return false;
    char *text = mica_realloc(v->allocator, v->text, capacity);
    if (!text) return false;
    v->text = text;
    v->text_capacity = capacity;
    return true;
}

bool mica_vocab_reserve(mica_vocab *v, size_t tokens, size_t text_bytes) {
    if (tokens > MICA_VOCAB_IDS_MAX) tokens = MICA_VOCAB_IDS_MAX;
    return ((int32_t)tokens <= v->entry_capacity || grow_entries(v, (int32_t)tokens)) &&
           (text_bytes <= v->text_capacity || grow_text(v, text_bytes)) &&
           (tokens * 2 <= v->slot_mask || grow_slots(v, tokens * 2));
}

/* The slot that holds text, or the free one where it belongs. */
static size_t find_slot(const mica_vocab *v, mica_slice text, uint32_t hash) {
    size_t at = hash & v->slot_mask;
    for (; v->slots[at]; at = (at + 1) & v->slot_mask) {
        if (v->slots[at] >> 32 != hash) continue;
        const mica_vocab_entry *e = &v->entries[(uint32_t)v->slots[at] - 1];
        if (e->bytes == text.bytes && memcmp(v->text + e->start, text.data, text.bytes) == 0) break;
    }
    return at;
}

int32_t mica_vocab_find_hashed(const mica_vocab *v, mica_slice text, uint32_t hash) {
    if (!v->slots) return -1;
    uint64_t slot = v->slots[find_slot(v, text, hash)];
    return slot ? (int32_t)((uint32_t)slot - 1) : -1;
}

int32_t mica_vocab_find(const mica_vocab *v, mica_slice text) {
    if (text.bytes > v->token_bytes_max) return -1;
    return mica_vocab_find_hashed(v, text, mica_vocab_hash(text.data, text.bytes));
}

/* The entry that the first slot of a hash leads to: in most cases the right one. */
static const mica_vocab_entry *likely_entry(const mica_vocab *v, uint32_t hash) {
    uint64_t slot = v->slots ? v->slots[hash & v->slot_mask] : 0;
    return slot ? &v->entries[(uint32_t)slot - 1] : NULL;
}

void mica_vocab_prefetch_entry(const mica_vocab *v, uint32_t hash) {
    const mica_vocab_entry *entry = likely_entry(v, hash);
    if (entry) __builtin_prefetch(entry);
}

void mica_vocab_prefetch_text(const mica_vocab *v, uint32_t hash) {
    const mica_vocab_entry *entry = likely_entry(v, hash);
    if (entry) __builtin_prefetch(v->text + entry->start);
}

int32_t mica_vocab_find_model(const mica_vocab *v, mica_slice text) {
    int32_t id = mica_vocab_find(v, text);
    return id >= 0 && v->entries[id].is_model ? id : -1;
}

mica_vocab_result mica_vocab_add(mica_vocab *v, mica_slice text, int32_t id, bool is_model) {
    if ((size_t)(v->count + 1) * 2 > v->slot_mask && !grow_slots(v, (size_t)(v->count + 1) * 4))
        return MICA_VOCAB_NO_MEMORY;
    uint32_t hash = mica_vocab_hash(text.data, text.bytes);
    size_t slot = find_slot(v, text, hash);
    if (v->slots[slot])
        return (int32_t)((uint32_t)v->slots[slot] - 1) == id ? MICA_VOCAB_SAME
                                                             : MICA_VOCAB_TEXT_TAKEN;
    if (id < v->size && v->entries[id].is_used) return MICA_VOCAB_ID_TAKEN;
    if (id >= v->entry_capacity && !grow_entries(v, id + 1)) return MICA_VOCAB_NO_MEMORY;
    size_t end = v->text_bytes + text.bytes + 1;
    if (end > UINT32_MAX || (end > v->text_capacity && !grow_text(v, end)))
        return MICA_VOCAB_NO_MEMORY;
    if (id >= v->size) {
        memset(v->entries + v->size, 0, (size_t)(id + 1 - v->size) * sizeof(*v->entries));
        v->size = id + 1;
    }
    if (text.bytes) memcpy(v->text + v->text_bytes, text.data, text.bytes);
    v->text[end - 1] = '\0';
    v->entries[id] = (mica_vocab_entry){.start = (uint32_t)v->text_bytes,
                                        .bytes = (uint32_t)text.bytes & 0x0FFFFFFF,
                                        .is_used = 1,
                                        .is_model = is_model & 1};
    v->text_bytes = end;
    v->slots[slot] = (uint64_t)hash << 32 | (uint32_t)(id + 1);
    v->count++;
    if (text.bytes > v->token_bytes_max) v->token_bytes_max = text.bytes;
    return MICA_VOCAB_ADDED;
}
