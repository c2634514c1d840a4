/* Attention over plain arrays in vectors: included by attention_avx2.c and attention_avx512.c after
 * the vector header. An item of work is a block of queries and one KV head. */
#pragma once
#include "ops/attention/attention.h"
#include "ops/attention/attention_block_simd.h"

/* K or V of one KV head: rows `stride` elements apart. */
typedef struct kv_rows {
    const uint8_t *data;
    int64_t stride;
    int64_t bytes; /* of an element */
    int dtype;
} kv_rows;

static inline kv_rows find_rows(const mica_attention_args *a, uint64_t address, int64_t kv_head) {
    kv_rows r = {.stride = a->kv_heads * a->dim, .dtype = a->kv_dtype};
    r.bytes = (int64_t)mica_dtype_bytes((mica_dtype)a->kv_dtype);
    r.data = (const uint8_t *)mica_cpu_at(address) + kv_head * a->dim * r.bytes;
    return r;
}

/* Slots that the block sees of a page as f32 rows: in place where that can be. */
static inline page_rows find_page(attention_block *b, const kv_rows *r, int64_t page) {
    const uint8_t *data = r->data + page * PAGE * r->stride * r->bytes;
    if (r->dtype == MICA_DTYPE_F32 && b->dim == b->padded && (page + 1) * PAGE <= b->n_keys)
        return (page_rows){data, r->stride, false};
    int32_t first, end;
    block_slots(b, &first, &end);
    block_stage_rows(b, first, end, r->dtype, data + first * r->stride * r->bytes, r->stride,
                     false);
    return staged_rows(b);
}

/* One range of pages, into the block's part. */
static inline void attend_range(const mica_attention_args *a, attention_block *b, int64_t query,
                                int64_t kv_head, int64_t first_page, int64_t end_page) {
    kv_rows k = find_rows(a, a->k, kv_head), v = find_rows(a, a->v, kv_head);
    const uint8_t *mask = mica_cpu_at(a->mask);
    block_clear_sums(b);
    for (int64_t page = first_page; page < end_page; page++) {
        if (!block_set_ranges(b, page)) continue;
        page_rows keys = find_page(b, &k, page);
        block_set_ahead(b, NULL, 0, 1);
        block_scores(b, &keys, mask ? mask + query * a->n_keys + page * PAGE : NULL, a->n_keys);
        page_rows values = find_page(b, &v, page);
        block_values(b, &values);
    }
    block_merge(b, &b->part);
}

static inline void attend_block(const mica_attention_args *a, int64_t query, int64_t n_queries,
                                int64_t kv_head, void *scratch) {
    attention_block b = {.dim = a->dim,
                         .group = a->heads / a->kv_heads,
                         .n_tokens = n_queries,
                         .is_causal = a->is_causal,
                         .window = a->window,
                         .n_keys = a->n_keys,
                         .scale = a->scale,
                         .soft_cap = a->soft_cap};
    b.position = query + a->n_keys - a->n_queries;
    block_begin(&b, scratch);
    int64_t bytes = (int64_t)mica_dtype_bytes((mica_dtype)a->dtype), head = kv_head * b.group;
    int64_t token = a->heads * a->dim * bytes, at = query * token + head * a->dim * bytes;
    for (int64_t t = 0; t < n_queries; t++) {
        block_take_query(&b, t, a->dtype, (const uint8_t *)mica_cpu_at(a->q) + at + t * token);
        block_take_sinks(&b, t, a->sinks_dtype, mica_cpu_at(a->sinks), head);
    }
    int64_t page, end, length = mica_attention_range_pages(a->window);
    block_pages(&b, &page, &end);
    while (page < end) {
        int64_t range_end = (page / length + 1) * length;
        if (range_end > end) range_end = end;
        attend_range(a, &b, query, kv_head, page, range_end);
        page = range_end;
    }
    for (int64_t t = 0; t < n_queries; t++)
        block_result(&b, t, a->dtype, (uint8_t *)mica_cpu_at(a->out) + at + t * token);
}

static inline void attend(const mica_attention_args *a, const mica_cpu_worker *worker) {
    int64_t n = mica_cpu_live(a->live, a->n_queries);
    int64_t tokens = mica_attention_block_tokens(a->heads / a->kv_heads);
    int64_t n_blocks = (n + tokens - 1) / tokens, item, end;
    while (mica_cpu_take(worker, n_blocks * a->kv_heads, 1, &item, &end)) {
        int64_t first = item % n_blocks * tokens;
        attend_block(a, first, n - first < tokens ? n - first : tokens, item / n_blocks,
                     worker->scratch);
    }
}
