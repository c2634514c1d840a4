/* The default allocator, helpers that check products and lengths, and the counting wrapper that the
 * tests use to fail the n-th allocation and to prove that nothing leaks. */
#include "base/alloc.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"

enum { MALLOC_ALIGNMENT = 16 }; /* what malloc promises on every supported system */

static void *system_allocate(void *context, size_t bytes, size_t alignment) {
    (void)context;
    if (alignment <= MALLOC_ALIGNMENT) return malloc(bytes);
    void *memory = NULL;
    return posix_memalign(&memory, alignment, bytes) == 0 ? memory : NULL;
}

static void *system_reallocate(void *context, void *memory, size_t bytes) {
    (void)context;
    return realloc(memory, bytes);
}

static void system_release(void *context, void *memory) {
    (void)context;
    free(memory);
}

const mica_allocator mica_allocator_system = {
    .allocate = system_allocate,
    .reallocate = system_reallocate,
    .release = system_release,
};

const mica_allocator *mica_allocator_default(void) { return &mica_allocator_system; }

void *mica_alloc(const mica_allocator *a, size_t bytes) {
    return mica_alloc_aligned(a, bytes, MALLOC_ALIGNMENT);
}

void *mica_alloc_zero(const mica_allocator *a, size_t bytes) {
    void *memory = mica_alloc(a, bytes);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

void *mica_alloc_aligned(const mica_allocator *a, size_t bytes, size_t alignment) {
    if (bytes > PTRDIFF_MAX) return NULL;
    return a->allocate(a->context, bytes ? bytes : 1, alignment);
}

void *mica_alloc_array(const mica_allocator *a, size_t count, size_t item_bytes) {
    size_t bytes;
    return mica_mul_size(count, item_bytes, &bytes) ? mica_alloc(a, bytes) : NULL;
}

void *mica_alloc_array_zero(const mica_allocator *a, size_t count, size_t item_bytes) {
    size_t bytes;
    return mica_mul_size(count, item_bytes, &bytes) ? mica_alloc_zero(a, bytes) : NULL;
}

void *mica_realloc(const mica_allocator *a, void *memory, size_t bytes) {
    if (bytes > PTRDIFF_MAX) return NULL;
    return a->reallocate(a->context, memory, bytes ? bytes : 1);
}

void mica_free(const mica_allocator *a, void *memory) {
    if (memory) a->release(a->context, memory);
}

char *mica_alloc_string(const mica_allocator *a, const char *text, size_t bytes) {
    size_t total;
    if (!mica_add_size(bytes, 1, &total)) return NULL;
    char *copy = mica_alloc(a, total);
    if (!copy) return NULL;
    if (bytes) memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}

/* Stands right before each counted block. The parent's block begins `offset` bytes before ours. */
typedef struct counter_header {
    size_t bytes;
    size_t offset;
} counter_header;

static_assert(sizeof(counter_header) <= MALLOC_ALIGNMENT, "the header keeps malloc's alignment");

static counter_header *header_of(void *memory) { return (counter_header *)memory - 1; }

static bool takes_its_turn_to_fail(mica_alloc_counter *c) {
    int64_t call = atomic_fetch_add(&c->n_calls, 1) + 1;
    if (c->fail_at == 0 || call < c->fail_at) return false;
    return call == c->fail_at || c->fail_after;
}

static void count_bytes(mica_alloc_counter *c, int64_t change) {
    int64_t live = atomic_fetch_add(&c->live_bytes, change) + change;
    int64_t peak = atomic_load(&c->peak_bytes);
    while (live > peak && !atomic_compare_exchange_weak(&c->peak_bytes, &peak, live)) continue;
}

static void *finish_block(mica_alloc_counter *c, void *parent_block, size_t bytes, size_t offset) {
    void *memory = (char *)parent_block + offset;
    *header_of(memory) = (counter_header){bytes, offset};
    atomic_fetch_add(&c->n_live, 1);
    count_bytes(c, (int64_t)bytes);
    return memory;
}

static void *counter_allocate(void *context, size_t bytes, size_t alignment) {
    mica_alloc_counter *c = context;
    if (takes_its_turn_to_fail(c)) return NULL;
    size_t offset = alignment > MALLOC_ALIGNMENT ? alignment : MALLOC_ALIGNMENT;
    size_t total;
    if (!mica_add_size(bytes, offset, &total)) return NULL;
    void *block = c->parent->allocate(c->parent->context, total, offset);
    return block ? finish_block(c, block, bytes, offset) : NULL;
}

static void counter_release(void *context, void *memory) {
    mica_alloc_counter *c = context;
    if (!memory) return;
    counter_header *header = header_of(memory);
    atomic_fetch_sub(&c->n_live, 1);
    count_bytes(c, -(int64_t)header->bytes);
    c->parent->release(c->parent->context, (char *)memory - header->offset);
}

static void *counter_reallocate(void *context, void *memory, size_t bytes) {
    mica_alloc_counter *c = context;
    if (!memory) return counter_allocate(context, bytes, MALLOC_ALIGNMENT);
    if (takes_its_turn_to_fail(c)) return NULL;
    counter_header old = *header_of(memory);
    assert(old.offset == MALLOC_ALIGNMENT); /* the contract of mica_allocator */
    size_t total;
    if (!mica_add_size(bytes, old.offset, &total)) return NULL;
    void *block = (char *)memory - old.offset;
    block = c->parent->reallocate(c->parent->context, block, total);
    if (!block) return NULL;
    atomic_fetch_sub(&c->n_live, 1);
    count_bytes(c, -(int64_t)old.bytes);
    return finish_block(c, block, bytes, old.offset);
}

void mica_alloc_counter_init(mica_alloc_counter *c, const mica_allocator *parent) {
    *c = (mica_alloc_counter){
        .allocator = {c, counter_allocate, counter_reallocate, counter_release},
        .parent = parent,
    };
}
