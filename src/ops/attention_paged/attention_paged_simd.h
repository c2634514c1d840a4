/* Paged attention in vectors: included by attention_paged_avx2.c and attention_paged_avx512.c after
 * the vector header. A block is some neighbouring tokens of one sequence and one KV head: its query
 * heads read every page once.
 *
 * Where there are few blocks for the workers, an item of work is a few ranges of a block's pages;
 * their sums go to memory that all share, and when the last is there the blocks are merged, each by
 * one worker. Otherwise an item is a block. Either way the same sums are merged in the same order,
 * so nobody can tell from the result. */
#pragma once
#include "base/thread_pool.h"
#include "ops/attention/attention_block_simd.h"
#include "ops/attention_paged/attention_paged.h"
#include "ops/attention_paged/paged_turn_simd.h"

/* Items a worker takes at least, where there is so much: it bounds how long the others wait. */
#define ITEMS_PER_WORKER 12
#define WAIT_SPINS 2000 /* longer than an item takes; then others may need the core */

typedef struct paged_block {
    const mica_attention_paged_args *a;
    mica_paged_sequence s;
    int64_t kv_head;
    int64_t first, n; /* tokens first .. first + n - 1 of the sequence */
    int64_t range, n_ranges;
    int64_t end_range; /* before which this worker goes on */
    int64_t sums;      /* rows of sums, over ranges, of all blocks and heads before it */
} paged_block;

/* ---- pages ---- */

static inline int64_t pool_bytes(const mica_attention_paged_args *a) {
    return a->pool_dtype == MICA_DTYPE_BF16 ? 2 : 4;
}

static inline const void *pool_page(const paged_block *p, int64_t page, int64_t which) {
    return (const uint8_t *)mica_cpu_at(p->a->pool) +
           mica_paged_offset(p->a, &p->s, page, which, p->kv_head) * pool_bytes(p->a);
}

/* A key or value of the batch's own, as f32 [dim]: in place, or in b->row. */
static inline const float *own_row(attention_block *b, const paged_block *p, int64_t token,
                                   int64_t which) {
    const mica_attention_paged_args *a = p->a;
    const int64_t *strides = which ? a->v_strides : a->k_strides;
    const float *from = mica_cpu_at(which ? a->v : a->k);
    from += token * strides[0] + p->kv_head * strides[1];
    bool turns = !which && (a->k_turn.table || a->k_turn.norm);
    if (strides[2] == 1 && !turns) return from;
    mica_paged_copy_row(b->row, from, strides[2], a->dim);
    if (turns) turn_head(&a->k_turn, token, a->dim, b->row);
    return b->row;
}

/* Slots that the block sees, into b->rows: the sequence's past from the pool, the rest from the
 * batch, rounded as the pool will hold it. */
static inline void stage_page(attention_block *b, const paged_block *p, int64_t page,
                              int64_t which) {
    const mica_attention_paged_args *a = p->a;
    int32_t first, end, split = clamp_to_page(p->s.past - page * PAGE);
    block_slots(b, &first, &end);
    if (split > end) split = end;
    if (split < first) split = first;
    if (first < split) {
        const uint8_t *rows = pool_page(p, page, which);
        block_stage_rows(b, first, split, a->pool_dtype, rows + first * a->dim * pool_bytes(a),
                         a->dim, false);
    }
    int64_t token = p->s.first + page * PAGE - p->s.past;
    for (int32_t slot = split; slot < end; slot++)
        block_stage_rows(b, slot, slot + 1, MICA_DTYPE_F32, own_row(b, p, token + slot, which), 0,
                         a->pool_dtype == MICA_DTYPE_BF16);
}

/* K (which = 0) or V of a page. Pages of the pool are read where they lie; where many rows read
 * 16-bit ones, they are widened once for all. */
static inline page_rows find_page(attention_block *b, const paged_block *p, int64_t page,
                                  int64_t which) {
    bool is_bf16 = p->a->pool_dtype == MICA_DTYPE_BF16;
    int32_t first, end;
    block_slots(b, &first, &end);
    bool is_whole = page * PAGE + end <= p->s.past;
    if (is_whole && (is_bf16 ? b->is_paired && block_tiles(b) <= 4 : b->dim == b->padded))
        return (page_rows){pool_page(p, page, which), b->dim, is_bf16};
    stage_page(b, p, page, which);
    return staged_rows(b);
}

/* Names K or V of a page as the next to be read, if the pool has it; `tiles` tiles come before. */
static inline void fetch_page(attention_block *b, const paged_block *p, int64_t page, int64_t which,
                              int64_t n_uses) {
    bool is_there = page * PAGE < p->s.past;
    block_set_ahead(b, is_there ? pool_page(p, page, which) : NULL,
                    PAGE * b->dim * pool_bytes(p->a), n_uses);
}

/* ---- blocks ---- */

static inline void begin_block(attention_block *b, const paged_block *p, void *scratch) {
    const mica_attention_paged_args *a = p->a;
    *b = (attention_block){.dim = a->dim,
                           .group = a->heads / a->kv_heads,
                           .n_tokens = p->n,
                           .is_causal = true,
                           .position = p->s.past + p->first,
                           .window = a->window,
                           .n_keys = p->s.past + p->s.count,
                           .scale = a->scale,
                           .soft_cap = a->soft_cap};
    b->is_paired = a->pool_dtype == MICA_DTYPE_BF16 && a->dim % PAIR == 0;
    block_begin(b, scratch);
}

static inline void take_queries(attention_block *b, const paged_block *p) {
    const mica_attention_paged_args *a = p->a;
    const int64_t *strides = a->q_strides;
    for (int64_t row = 0; row < p->n * b->group; row++) {
        const float *q = mica_cpu_at(a->q);
        int64_t token = p->s.first + p->first + row / b->group;
        q += token * strides[0] + (p->kv_head * b->group + row % b->group) * strides[1];
        mica_paged_copy_row(b->row, q, strides[2], a->dim);
        turn_head(&a->q_turn, token, a->dim, b->row);
        block_take_row(b, row);
    }
}

static inline void take_sinks(attention_block *b, const paged_block *p) {
    const mica_attention_paged_args *a = p->a;
    for (int64_t t = 0; t < p->n; t++)
        block_take_sinks(b, t, a->sinks_dtype, mica_cpu_at(a->sinks), p->kv_head * b->group);
}

static inline void put_result(const attention_block *b, const paged_block *p) {
    const mica_attention_paged_args *a = p->a;
    for (int64_t t = 0; t < p->n; t++) {
        int64_t at = (p->s.first + p->first + t) * a->heads + p->kv_head * b->group;
        block_result(b, t, MICA_DTYPE_F32, (float *)mica_cpu_at(a->out) + at * a->dim);
    }
}

/* Pages of the block's range number `range`, clipped to what it sees. */
static inline void range_pages(const attention_block *b, const paged_block *p, int64_t range,
                               int64_t *page, int64_t *end) {
    int64_t length = mica_attention_range_pages(p->a->window), first, last;
    block_pages(b, &first, &last);
    *page = (first / length + range) * length;
    *end = *page + length < last ? *page + length : last;
    if (*page < first) *page = first;
}

/* One range of pages, into the block's part. */
static inline void attend_range(attention_block *b, const paged_block *p, int64_t range) {
    int64_t page, end;
    bool goes_on = range + 1 < p->end_range;
    range_pages(b, p, range, &page, &end);
    block_clear_sums(b);
    for (; page < end; page++) {
        if (!block_set_ranges(b, page)) continue;
        page_rows keys = find_page(b, p, page, 0);
        fetch_page(b, p, page, 1, block_tiles(b) * (PAGE / TILE_KEYS));
        block_scores(b, &keys, NULL, 0);
        page_rows values = find_page(b, p, page, 1);
        if (page + 1 < end || goes_on) fetch_page(b, p, page + 1, 0, block_tiles(b) * PAGE);
        block_values(b, &values);
    }
}

/* ---- items ---- */

/* Tokens of a block and its ranges, for the block of s that begins with token `first`. */
static inline void size_block(paged_block *p, int64_t first) {
    const mica_attention_paged_args *a = p->a;
    int64_t tokens = mica_attention_block_tokens(a->heads / a->kv_heads), page, end;
    p->first = first;
    p->n = p->s.count - first < tokens ? p->s.count - first : tokens;
    attention_block b = {.n_tokens = p->n,
                         .is_causal = true,
                         .position = p->s.past + first,
                         .window = a->window,
                         .n_keys = p->s.past + p->s.count};
    int64_t length = mica_attention_range_pages(a->window);
    block_pages(&b, &page, &end);
    p->n_ranges = (end - 1) / length - page / length + 1;
}

/* Work of a step: blocks (of a KV head), and their ranges, in groups of `span` as items. */
typedef struct paged_work {
    const mica_attention_paged_args *a;
    int64_t span; /* 0 = all ranges of a block are one item */
} paged_work;

static inline int64_t block_items(const paged_work *w, const paged_block *p) {
    return w->span ? (p->n_ranges + w->span - 1) / w->span : 1;
}

/* Item `index`: its block and first range. With only_split the items are the blocks of more than
 * one item. False past the end, then p->sums is the total, and *n the number of items. */
static inline bool find_item(const paged_work *w, int64_t index, bool only_split, paged_block *p,
                             int64_t *n) {
    *p = (paged_block){.a = w->a};
    *n = 0;
    for (int64_t s = 0; s < w->a->n_sequences; s++) {
        p->s = mica_paged_find(w->a, s);
        for (int64_t first = 0; first < p->s.count; first += p->n) {
            size_block(p, first);
            int64_t items = block_items(w, p), rows = p->n * (w->a->heads / w->a->kv_heads);
            if (only_split) items = items > 1;
            if (index < *n + items * w->a->kv_heads) {
                p->kv_head = (index - *n) / items;
                p->range = (index - *n) % items * w->span;
                p->sums += p->kv_head * rows * p->n_ranges;
                return true;
            }
            *n += items * w->a->kv_heads;
            p->sums += w->a->kv_heads * rows * p->n_ranges;
        }
    }
    return false;
}

/* Where a range's sums lie among the shared ones. */
static inline attention_sums shared_sums(const attention_block *b, const paged_block *p,
                                         int64_t range) {
    int64_t rows = p->n * b->group;
    float *at = mica_cpu_at(p->a->parts);
    return cut_sums(at + (p->sums + range * rows) * (b->padded + 2), rows, b->padded);
}

/* A whole block. */
static inline void attend_whole(paged_block *p, void *scratch) {
    attention_block b;
    p->end_range = p->n_ranges;
    begin_block(&b, p, scratch);
    take_queries(&b, p);
    take_sinks(&b, p);
    for (int64_t range = 0; range < p->n_ranges; range++) {
        attend_range(&b, p, range);
        block_merge(&b, &b.part);
    }
    put_result(&b, p);
}

/* `span` ranges of a block, from p->range on. */
static inline void attend_part(paged_block *p, int64_t span, void *scratch) {
    attention_block b;
    p->end_range = p->range + span < p->n_ranges ? p->range + span : p->n_ranges;
    begin_block(&b, p, scratch);
    take_queries(&b, p);
    for (int64_t range = p->range; range < p->end_range; range++) {
        b.part = shared_sums(&b, p, range);
        attend_range(&b, p, range);
    }
}

static inline void merge_block(const paged_block *p, void *scratch) {
    attention_block b;
    begin_block(&b, p, scratch);
    take_sinks(&b, p);
    for (int64_t range = 0; range < p->n_ranges; range++) {
        attention_sums sums = shared_sums(&b, p, range);
        block_merge(&b, &sums);
    }
    put_result(&b, p);
}

/* ---- the step ---- */

static inline void attend_wholes(const paged_work *w, int64_t n, const mica_cpu_worker *worker) {
    int64_t item, end, ignored;
    paged_block p;
    /* From the last: later blocks of a sequence have more to read. */
    while (mica_cpu_take(worker, n, 1, &item, &end))
        if (find_item(w, n - 1 - item, false, &p, &ignored)) attend_whole(&p, worker->scratch);
}

/* The counter's upper half counts the items that are done. */
#define DONE_ONE ((int64_t)1 << 32)

static inline void wait_for_all(const mica_cpu_worker *worker, int64_t n) {
    for (int i = 0; atomic_load_explicit(worker->next, memory_order_acquire) / DONE_ONE < n; i++) {
        if (i < WAIT_SPINS)
            pause_cpu();
        else
            mica_thread_yield();
    }
}

static inline void attend_parts(const paged_work *w, int64_t n, const mica_cpu_worker *worker) {
    paged_block p;
    int64_t ignored, item;
    bool has_waited = false;
    for (;;) {
        item = atomic_fetch_add_explicit(worker->next, 1, memory_order_relaxed) % DONE_ONE;
        if (item < n) {
            if (!find_item(w, item, false, &p, &ignored)) return;
            if (block_items(w, &p) == 1)
                attend_whole(&p, worker->scratch);
            else
                attend_part(&p, w->span, worker->scratch);
            atomic_fetch_add_explicit(worker->next, DONE_ONE, memory_order_release);
            continue;
        }
        if (!find_item(w, item - n, true, &p, &ignored)) return;
        if (!has_waited) wait_for_all(worker, n);
        has_waited = true;
        merge_block(&p, worker->scratch);
    }
}

static inline void attend_paged(const mica_attention_paged_args *a, const mica_cpu_worker *worker) {
    paged_work whole = {.a = a}, parts = {.a = a, .span = 1};
    paged_block p;
    int64_t n, n_parts, padded = mica_attention_padded(a->dim);
    find_item(&whole, INT64_MAX, false, &p, &n);
    bool fits = a->parts && (uint64_t)p.sums <= a->parts_bytes / sizeof(float) / (padded + 2);
    if (worker->count == 1 || !fits || n >= worker->count * ITEMS_PER_WORKER) {
        attend_wholes(&whole, n, worker);
        return;
    }
    find_item(&parts, INT64_MAX, false, &p, &n_parts);
    parts.span = 1 + (n_parts - 1) / (worker->count * ITEMS_PER_WORKER);
    find_item(&parts, INT64_MAX, false, &p, &n_parts);
    attend_parts(&parts, n_parts, worker);
}
