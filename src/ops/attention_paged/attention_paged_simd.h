/* Paged attention in vectors: included by attention_paged_avx2.c and attention_paged_avx512.c after
 * the vector header. An item of work is a block of neighbouring tokens of one sequence and one KV
 * head: its query heads read every page once. */
#pragma once
#include "ops/attention/attention_block_simd.h"
#include "ops/attention_paged/attention_paged.h"

typedef struct paged_head {
    const mica_attention_paged_args *a;
    const mica_paged_sequence *s;
    int64_t kv_head;
} paged_head;

static inline const void *pool_page(const paged_head *h, int64_t page, int64_t which) {
    int64_t bytes = h->a->pool_dtype == MICA_DTYPE_BF16 ? 2 : 4;
    return (const uint8_t *)mica_cpu_at(h->a->pool) +
           mica_paged_offset(h->a, h->s, page, which, h->kv_head) * bytes;
}

/* Slots that the block sees, into b->rows: the sequence's past from the pool, the rest from the
 * batch, rounded as the pool will hold it. */
static inline void stage_page(attention_block *b, const paged_head *h, int64_t page,
                              int64_t which) {
    const mica_attention_paged_args *a = h->a;
    int32_t first, end, split = clamp_to_page(h->s->past - page * PAGE);
    block_slots(b, &first, &end);
    if (split > end) split = end;
    if (split < first) split = first;
    if (first < split) {
        const uint8_t *rows = pool_page(h, page, which);
        int64_t bytes = a->pool_dtype == MICA_DTYPE_BF16 ? 2 : 4;
        block_stage_rows(b, first, split, a->pool_dtype, rows + first * a->dim * bytes, a->dim,
                         false);
    }
    if (split == end) return;
    const float *own = mica_cpu_at(which ? a->v : a->k);
    int64_t token = h->s->first + page * PAGE + split - h->s->past;
    block_stage_rows(b, split, end, MICA_DTYPE_F32,
                     own + (token * a->kv_heads + h->kv_head) * a->dim, a->kv_heads * a->dim,
                     a->pool_dtype == MICA_DTYPE_BF16);
}

/* True if all slots that the block sees lie in the pool. */
static inline bool is_in_pool(const attention_block *b, const paged_head *h, int64_t page) {
    int32_t first, end;
    block_slots(b, &first, &end);
    return page * PAGE + end <= h->s->past;
}

static inline void take_keys(attention_block *b, const paged_head *h, int64_t page) {
    bool is_whole = is_in_pool(b, h, page);
    if (is_whole && h->a->pool_dtype == MICA_DTYPE_F32) {
        transpose_keys(b, pool_page(h, page, 0), b->dim);
    } else if (is_whole && b->dim % 16 == 0) {
        transpose_keys_bf16(b, pool_page(h, page, 0));
    } else {
        stage_page(b, h, page, 0);
        transpose_keys(b, b->rows, b->padded);
    }
}

static inline void add_page_values(attention_block *b, const paged_head *h, int64_t page) {
    if (h->a->pool_dtype == MICA_DTYPE_F32 && b->dim == b->padded && is_in_pool(b, h, page)) {
        block_values(b, pool_page(h, page, 1), b->dim);
    } else {
        stage_page(b, h, page, 1);
        block_values(b, b->rows, b->padded);
    }
}

/* Names K (which = 0) or V of a page as the next to be read, if the pool has it. */
static inline void fetch_page(attention_block *b, const paged_head *h, int64_t page,
                              int64_t which) {
    int64_t bytes = h->a->pool_dtype == MICA_DTYPE_BF16 ? 2 : 4;
    bool is_there = page * PAGE < h->s->past && page * PAGE < b->n_keys;
    block_set_ahead(b, is_there ? pool_page(h, page, which) : NULL, PAGE * b->dim * bytes);
}

/* Tokens first .. first + n - 1 of a sequence. */
static inline void attend_block(const paged_head *h, int64_t first, int64_t n, void *scratch) {
    const mica_attention_paged_args *a = h->a;
    attention_block b = {.dim = a->dim,
                         .group = a->heads / a->kv_heads,
                         .n_tokens = n,
                         .is_causal = true,
                         .position = h->s->past + first,
                         .window = a->window,
                         .n_keys = h->s->past + h->s->count,
                         .scale = a->scale,
                         .soft_cap = a->soft_cap};
    block_begin(&b, scratch);
    int64_t head = h->kv_head * b.group, token = a->heads * a->dim;
    int64_t at = (h->s->first + first) * token + head * a->dim;
    for (int64_t t = 0; t < n; t++)
        block_take_query(&b, t, MICA_DTYPE_F32, (const float *)mica_cpu_at(a->q) + at + t * token,
                         a->sinks_dtype, mica_cpu_at(a->sinks), head);
    int64_t end = token_end_key(&b, n - 1);
    for (int64_t page = token_first_key(&b, 0) / PAGE; page * PAGE < end; page++) {
        if (!block_set_ranges(&b, page)) continue;
        take_keys(&b, h, page);
        fetch_page(&b, h, page, 1);
        block_scores(&b, NULL, 0);
        fetch_page(&b, h, page + 1, 0);
        add_page_values(&b, h, page);
    }
    for (int64_t t = 0; t < n; t++)
        block_result(&b, t, MICA_DTYPE_F32, (float *)mica_cpu_at(a->out) + at + t * token);
}

static inline int64_t count_blocks(const mica_attention_paged_args *a, int64_t tokens) {
    int64_t n = 0;
    for (int64_t s = 0; s < a->n_sequences; s++)
        n += (mica_paged_find(a, s).count + tokens - 1) / tokens;
    return n;
}

static inline void attend_paged(const mica_attention_paged_args *a, const mica_cpu_worker *worker) {
    int64_t tokens = mica_attention_block_tokens(a->heads / a->kv_heads);
    int64_t n_blocks = count_blocks(a, tokens), item, end;
    while (mica_cpu_take(worker, n_blocks * a->kv_heads, 1, &item, &end)) {
        int64_t block = item % n_blocks, index = 0;
        mica_paged_sequence s = mica_paged_find(a, index);
        while (block >= (s.count + tokens - 1) / tokens) {
            block -= (s.count + tokens - 1) / tokens;
            s = mica_paged_find(a, ++index);
        }
        int64_t first = block * tokens, n = s.count - first;
        paged_head h = {.a = a, .s = &s, .kv_head = item / n_blocks};
        attend_block(&h, first, n < tokens ? n : tokens, worker->scratch);
    }
}
