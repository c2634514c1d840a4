/* The KV memory of an engine: per KV group one buffer of pages and a list of those that are free.
 */
#pragma once
#include "model/model.h"

/* Threads: one at a time. */
typedef struct mica_page_pool {
    mica_kv_group group;
    mica_buffer *buffer; /* [n_pages, layers, 2, kv_heads, 64, dim] */
    int32_t n_pages;
    int32_t n_free;
    int32_t *free; /* stack of page numbers */
    uint64_t page_bytes;
} mica_page_pool;

/* Errors: OUT_OF_MEMORY; LIMIT for more than 2^31 pages or a buffer past the address space. */
mica_status mica_page_pool_init(mica_page_pool *pool, mica_runtime *rt, const mica_kv_group *group,
                                mica_numeric_mode mode, int64_t n_pages, mica_error *err);
void mica_page_pool_deinit(mica_page_pool *pool, mica_runtime *rt);
/* Takes n pages into out; false (and nothing taken) when there are fewer. */
bool mica_page_pool_take(mica_page_pool *pool, int32_t n, int32_t *out);
void mica_page_pool_give(mica_page_pool *pool, const int32_t *pages, int32_t n);
