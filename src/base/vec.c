/* A growing array of items of one size. It grows by half, so that n pushes cost O(n). */
#include "base/vec.h"
#include <string.h>
#include "base/checked.h"

enum { FIRST_CAPACITY = 8 };

void mica_vec_init(mica_vec *v, const mica_allocator *allocator, size_t item_bytes) {
    *v = (mica_vec){.item_bytes = item_bytes, .allocator = allocator};
}

void mica_vec_deinit(mica_vec *v) {
    mica_free(v->allocator, v->data);
    v->data = NULL;
    v->count = 0;
    v->capacity = 0;
}

static bool set_capacity(mica_vec *v, size_t capacity) {
    size_t bytes;
    if (!mica_mul_size(capacity, v->item_bytes, &bytes)) return false;
    void *data = mica_realloc(v->allocator, v->data, bytes);
    if (!data) return false;
    v->data = data;
    v->capacity = capacity;
    return true;
}

bool mica_vec_reserve(mica_vec *v, size_t count) {
    if (count <= v->capacity) return true;
    size_t grown;
    if (!mica_add_size(v->capacity, v->capacity / 2, &grown)) grown = 0;
    return set_capacity(v, grown > count ? grown : count);
}

/* Room for n more, with a first block that spares the smallest steps. */
static bool make_room(mica_vec *v, size_t n) {
    size_t count;
    if (!mica_add_size(v->count, n, &count)) return false;
    if (v->capacity == 0 && count < FIRST_CAPACITY) return set_capacity(v, FIRST_CAPACITY);
    return mica_vec_reserve(v, count);
}

void *mica_vec_push(mica_vec *v) {
    if (!make_room(v, 1)) return NULL;
    void *item = mica_vec_at(v, v->count++);
    memset(item, 0, v->item_bytes);
    return item;
}

bool mica_vec_append(mica_vec *v, const void *items, size_t n) {
    if (n == 0) return true;
    if (!make_room(v, n)) return false;
    memcpy(mica_vec_at(v, v->count), items, n * v->item_bytes);
    v->count += n;
    return true;
}
