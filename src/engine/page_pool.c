/* Pages are handed out last in, first out: what was used last is warm. */
#include "engine/page_pool.h"
#include <string.h>
#include "base/checked.h"
#include "base/error.h"

mica_status mica_page_pool_init(mica_page_pool *pool, mica_runtime *rt, const mica_kv_group *group,
                                mica_numeric_mode mode, int64_t n_pages, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    uint64_t bytes = 0;
    *pool = (mica_page_pool){.group = *group};
    pool->page_bytes = mica_kv_group_page_bytes(group, mode);
    MICA_REQUIRE(n_pages >= 0 && n_pages <= INT32_MAX &&
                     mica_mul_u64((uint64_t)n_pages, pool->page_bytes, &bytes),
                 MICA_STATUS_LIMIT, "%lld KV pages of %llu bytes", (long long)n_pages,
                 (unsigned long long)pool->page_bytes);
    pool->free = MICA_NEW_ARRAY(rt->host.allocator, int32_t, (size_t)n_pages + 1);
    MICA_REQUIRE(pool->free, MICA_STATUS_OUT_OF_MEMORY, "out of memory: list of %lld KV pages",
                 (long long)n_pages);
    MICA_TRY(rt->device->backend->buffer_create(rt->device, bytes, &pool->buffer, err));
    pool->n_pages = pool->n_free = (int32_t)n_pages;
    for (int32_t i = 0; i < pool->n_pages; i++) pool->free[i] = pool->n_pages - 1 - i;
    atomic_fetch_add(&rt->kv_bytes, bytes);
done:
    if (st != MICA_STATUS_OK) mica_page_pool_deinit(pool, rt);
    return st;
}

void mica_page_pool_deinit(mica_page_pool *pool, mica_runtime *rt) {
    if (pool->buffer) atomic_fetch_sub(&rt->kv_bytes, (uint64_t)pool->n_pages * pool->page_bytes);
    mica_buffer_release(&pool->buffer);
    mica_free(rt->host.allocator, pool->free);
    *pool = (mica_page_pool){0};
}

bool mica_page_pool_take(mica_page_pool *pool, int32_t n, int32_t *out) {
    if (n > pool->n_free) return false;
    for (int32_t i = 0; i < n; i++) out[i] = pool->free[--pool->n_free];
    return true;
}

void mica_page_pool_give(mica_page_pool *pool, const int32_t *pages, int32_t n) {
    for (int32_t i = n - 1; i >= 0; i--) pool->free[pool->n_free++] = pages[i];
}
