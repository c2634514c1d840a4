/* Host memory: thin helpers over mica_allocator, the default allocator, and two wrappers for
 * tests and statistics (fail the n-th call; count). All return NULL when there is no memory. */
#pragma once
#include <stdatomic.h>
#include "mica/status.h"

/* malloc / posix_memalign / realloc / free. Static storage. Threads: any. */
extern const mica_allocator mica_allocator_system;
const mica_allocator *mica_allocator_default(void); /* its address */

/* bytes may be 0 (a unique pointer comes back). alignment: power of two. */
void *mica_alloc(const mica_allocator *a, size_t bytes);
void *mica_alloc_zero(const mica_allocator *a, size_t bytes);
void *mica_alloc_aligned(const mica_allocator *a, size_t bytes, size_t alignment);
void *mica_alloc_array(const mica_allocator *a, size_t count, size_t item_bytes); /* checked */
void *mica_alloc_array_zero(const mica_allocator *a, size_t count, size_t item_bytes);
void *mica_realloc(const mica_allocator *a, void *memory, size_t bytes);
void mica_free(const mica_allocator *a, void *memory);
/* A copy with a closing NUL. */
char *mica_alloc_string(const mica_allocator *a, const char *text, size_t bytes);

#define MICA_NEW(a, type) ((type *)mica_alloc_zero((a), sizeof(type)))
#define MICA_NEW_ARRAY(a, type, count) ((type *)mica_alloc_array_zero((a), (count), sizeof(type)))

/* Wraps another allocator: counts calls and live blocks and bytes, and fails on request.
 * fail_at      the n-th allocate/reallocate call from init (1-based) returns NULL; 0 = never
 * fail_after   true: every later call fails as well
 * Use &counter.allocator as the allocator. Threads: any; the counters are atomic. */
typedef struct mica_alloc_counter {
    mica_allocator allocator;
    const mica_allocator *parent;
    int64_t fail_at;
    bool fail_after;
    _Atomic int64_t n_calls;
    _Atomic int64_t n_live;
    _Atomic int64_t live_bytes;
    _Atomic int64_t peak_bytes;
} mica_alloc_counter;

void mica_alloc_counter_init(mica_alloc_counter *c, const mica_allocator *parent);
