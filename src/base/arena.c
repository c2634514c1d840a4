/* Bump allocation in blocks that double from 4 KiB to 1 MiB. A larger request gets a block of its
 * own, put behind the head so that the head's free rest stays in use. */
#include "base/arena.h"
#include <string.h>
#include "base/checked.h"

enum {
    ARENA_ALIGNMENT = 16,
    BLOCK_BYTES_MIN = 4096,
    BLOCK_BYTES_MAX = 1 << 20,
};

/* Header of a block; its bytes follow. */
struct mica_arena_block {
    mica_arena_block *next; /* older blocks */
    size_t capacity;        /* bytes after the header */
    size_t used_bytes;
    size_t padding; /* keeps the header a multiple of ARENA_ALIGNMENT */
};

_Static_assert(sizeof(mica_arena_block) % ARENA_ALIGNMENT == 0, "data must stay aligned");

void mica_arena_init(mica_arena *arena, const mica_allocator *allocator, size_t limit_bytes) {
    *arena = (mica_arena){.allocator = allocator, .limit_bytes = limit_bytes};
}

static void free_blocks(mica_arena *arena, mica_arena_block *block) {
    while (block) {
        mica_arena_block *next = block->next;
        mica_free(arena->allocator, block);
        block = next;
    }
}

void mica_arena_deinit(mica_arena *arena) {
    free_blocks(arena, arena->head);
    arena->head = NULL;
    arena->used_bytes = 0;
}

void mica_arena_reset(mica_arena *arena) {
    arena->used_bytes = 0;
    if (!arena->head) return;
    free_blocks(arena, arena->head->next);
    arena->head->next = NULL;
    arena->head->used_bytes = 0;
}

/* What the next block should hold beside its header. */
static size_t next_capacity(const mica_arena *arena) {
    size_t block_bytes = BLOCK_BYTES_MIN;
    if (arena->head) {
        block_bytes = 2 * (arena->head->capacity + sizeof(mica_arena_block));
        if (block_bytes > BLOCK_BYTES_MAX) block_bytes = BLOCK_BYTES_MAX;
    }
    return block_bytes - sizeof(mica_arena_block);
}

static mica_arena_block *add_block(mica_arena *arena, size_t bytes) {
    size_t capacity = next_capacity(arena);
    bool is_own = bytes > capacity;
    if (is_own) capacity = bytes;
    size_t total;
    if (!mica_add_size(capacity, sizeof(mica_arena_block), &total)) return NULL;
    mica_arena_block *block = mica_alloc_aligned(arena->allocator, total, ARENA_ALIGNMENT);
    if (!block) return NULL;
    *block = (mica_arena_block){.capacity = capacity};
    mica_arena_block **place = is_own && arena->head ? &arena->head->next : &arena->head;
    block->next = *place;
    *place = block;
    return block;
}

void *mica_arena_alloc(mica_arena *arena, size_t bytes) {
    size_t rounded, used;
    if (!mica_align_size(bytes ? bytes : 1, ARENA_ALIGNMENT, &rounded)) return NULL;
    if (!mica_add_size(arena->used_bytes, rounded, &used)) return NULL;
    if (arena->limit_bytes && used > arena->limit_bytes) return NULL;
    mica_arena_block *block = arena->head;
    if (!block || block->capacity - block->used_bytes < rounded) {
        block = add_block(arena, rounded);
        if (!block) return NULL;
    }
    void *memory = (char *)(block + 1) + block->used_bytes;
    block->used_bytes += rounded;
    arena->used_bytes = used;
    return memory;
}

void *mica_arena_alloc_zero(mica_arena *arena, size_t bytes) {
    void *memory = mica_arena_alloc(arena, bytes);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

void *mica_arena_alloc_array(mica_arena *arena, size_t count, size_t item_bytes) {
    size_t bytes;
    return mica_mul_size(count, item_bytes, &bytes) ? mica_arena_alloc(arena, bytes) : NULL;
}

char *mica_arena_string(mica_arena *arena, const char *text, size_t bytes) {
    size_t total;
    if (!mica_add_size(bytes, 1, &total)) return NULL;
    char *copy = mica_arena_alloc(arena, total);
    if (!copy) return NULL;
    if (bytes) memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}
