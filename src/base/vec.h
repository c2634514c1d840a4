/* Growing array of items of one size. Typed access goes through `data`:
 *     mica_vec v; mica_vec_init(&v, allocator, sizeof(item)); item *p = mica_vec_push(&v); */
#pragma once
#include "base/alloc.h"

/* Threads: one at a time. data is valid until the next push or reserve. */
typedef struct mica_vec {
    void *data;
    size_t count;
    size_t capacity;
    size_t item_bytes;
    const mica_allocator *allocator;
} mica_vec;

void mica_vec_init(mica_vec *v, const mica_allocator *allocator, size_t item_bytes);
void mica_vec_deinit(mica_vec *v);
/* Makes room for `count` items in all; false when there is no memory (v unchanged). */
bool mica_vec_reserve(mica_vec *v, size_t count);
/* One more item, zeroed; NULL when there is no memory (v unchanged). */
void *mica_vec_push(mica_vec *v);
/* Appends copies of n items; false when there is no memory (v unchanged). */
bool mica_vec_append(mica_vec *v, const void *items, size_t n);

static inline void *mica_vec_at(const mica_vec *v, size_t i) {
    return (char *)v->data + i * v->item_bytes;
}
static inline void mica_vec_clear(mica_vec *v) { v->count = 0; }
