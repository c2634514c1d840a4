/* Token texts and ids, both ways: one block of text, a table by id, and an open-addressing hash
 * table by text. Filled once at load, immutable afterwards. */
#pragma once
#include "base/str.h"

#define MICA_VOCAB_IDS_MAX (1 << 21)

/* One id. text_start: offset into the block of texts, each closed by a NUL. */
typedef struct mica_vocab_entry {
    uint32_t start;
    uint32_t bytes : 28;
    uint32_t is_used : 1;    /* 0: a hole */
    uint32_t is_model : 1;   /* in the model's own vocabulary: pieces can become it */
    uint32_t is_added : 1;   /* listed under added_tokens */
    uint32_t is_special : 1; /* an added token with special: true */
} mica_vocab_entry;

/* slots: hash << 32 | id + 1, 0 = free; at most half full. Threads: any, once filled. */
typedef struct mica_vocab {
    const mica_allocator *allocator;
    char *text;
    size_t text_bytes, text_capacity;
    mica_vocab_entry *entries; /* [size] */
    int32_t size;              /* largest id + 1 */
    int32_t entry_capacity;
    int32_t count; /* tokens */
    uint64_t *slots;
    size_t slot_mask; /* slots - 1; 0 = no table yet */
    size_t token_bytes_max;
} mica_vocab;

typedef enum mica_vocab_result {
    MICA_VOCAB_ADDED,
    MICA_VOCAB_NO_MEMORY,
    MICA_VOCAB_ID_TAKEN,   /* by another text */
    MICA_VOCAB_TEXT_TAKEN, /* by another id */
    MICA_VOCAB_SAME,       /* that text has that id already */
} mica_vocab_result;

void mica_vocab_init(mica_vocab *v, const mica_allocator *allocator);
void mica_vocab_deinit(mica_vocab *v);
/* Room for about that many tokens and bytes of text; false when there is no memory. */
bool mica_vocab_reserve(mica_vocab *v, size_t tokens, size_t text_bytes);
/* 0 <= id < MICA_VOCAB_IDS_MAX, text shorter than 2^28 (the caller has checked both). */
mica_vocab_result mica_vocab_add(mica_vocab *v, mica_slice text, int32_t id, bool is_model);
/* -1 when there is no such token. */
int32_t mica_vocab_find(const mica_vocab *v, mica_slice text);
/* The same among the model's own tokens. */
int32_t mica_vocab_find_model(const mica_vocab *v, mica_slice text);

/* The text of an id; data is NULL for a hole or an id out of range. */
static inline mica_slice mica_vocab_text(const mica_vocab *v, int32_t id) {
    if (id < 0 || id >= v->size || !v->entries[id].is_used) return (mica_slice){NULL, 0};
    return mica_slice_of(v->text + v->entries[id].start, v->entries[id].bytes);
}

/* Fast hash of short texts (8 bytes at a time); the same on every machine of one byte order. */
uint32_t mica_vocab_hash(const char *data, size_t bytes);
/* Look-up in steps, for many texts at once: each step asks for the memory that the next one reads,
 * so that the waits of a batch overlap. Optional; the order is slot, entry, text, find. */
static inline void mica_vocab_prefetch_slot(const mica_vocab *v, uint32_t hash) {
    if (v->slots) __builtin_prefetch(&v->slots[hash & v->slot_mask]);
}
void mica_vocab_prefetch_entry(const mica_vocab *v, uint32_t hash);
void mica_vocab_prefetch_text(const mica_vocab *v, uint32_t hash);
/* As mica_vocab_find, with the hash known. */
int32_t mica_vocab_find_hashed(const mica_vocab *v, mica_slice text, uint32_t hash);
