/* Attention of a batch's tokens to their sequences in the paged KV cache (core/paged.h says what
 * the inputs mean). Same arithmetic as `attention`; both kernels and the rule for its inputs are
 * shared with kv_write. */
#pragma once
#include <assert.h>
#include "core/op.h"
#include "core/paged.h"
#include "ops/attention_paged/paged_turn.h"

typedef struct mica_attention_paged_args {
    uint64_t q; /* f32 [n_tokens, heads, dim] */
    uint64_t k; /* f32 [n_tokens, kv_heads, dim] */
    uint64_t v;
    uint64_t pool; /* [n_pages, n_layers, 2, kv_heads, 64, dim] */
    uint64_t page_table;
    uint64_t sequences;
    uint64_t sinks; /* [heads], 0 = none */
    uint64_t out;   /* f32 [n_tokens, heads, dim] */
    uint64_t live;  /* address of the count of live tokens, 0 = all */
    uint64_t parts; /* memory that the workers share: sums of ranges; 0 = none */
    uint64_t parts_bytes;
    int64_t q_strides[3]; /* elements, of tokens, heads and dim */
    int64_t k_strides[3];
    int64_t v_strides[3];
    mica_paged_turn q_turn; /* what is still to be done to q and k */
    mica_paged_turn k_turn;
    int64_t n_tokens;
    int64_t heads;
    int64_t kv_heads;
    int64_t dim;
    int64_t n_sequences;
    int64_t table_width;
    int64_t n_pages;
    int64_t n_layers;
    int64_t window;
    int32_t layer;
    int32_t pool_dtype; /* f32 or bf16 */
    int32_t sinks_dtype;
    float scale;
    float soft_cap;
    int32_t reserved;
} mica_attention_paged_args;
static_assert(sizeof(mica_attention_paged_args) == 336,
              "host and device kernels share this layout");

/* A sequence of the batch, as its row of `sequences` says; count is cut at the live tokens. */
typedef struct mica_paged_sequence {
    int64_t first;
    int64_t count;
    int64_t past;
    const int32_t *pages; /* its row of the page table */
} mica_paged_sequence;

static inline mica_paged_sequence mica_paged_find(const mica_attention_paged_args *a, int64_t s) {
    const int32_t *row = (const int32_t *)mica_cpu_at(a->sequences) + s * MICA_SEQUENCE_FIELDS;
    mica_paged_sequence q = {.first = row[MICA_SEQUENCE_FIRST],
                             .count = row[MICA_SEQUENCE_COUNT],
                             .past = row[MICA_SEQUENCE_PAST]};
    assert(q.first >= 0 && q.count >= 0 && q.past >= 0);
    int64_t live = mica_cpu_live(a->live, a->n_tokens);
    if (q.first + q.count > live) q.count = q.first < live ? live - q.first : 0;
    q.pages = (const int32_t *)mica_cpu_at(a->page_table) + s * a->table_width;
    return q;
}

/* Offset in elements of slot 0 of a page's K (which = 0) or V (which = 1) of a KV head. */
static inline int64_t mica_paged_offset(const mica_attention_paged_args *a,
                                        const mica_paged_sequence *q, int64_t page, int64_t which,
                                        int64_t kv_head) {
    int64_t at = q->pages[page % a->table_width];
    assert(at >= 0 && at < a->n_pages);
    return (((at * a->n_layers + a->layer) * 2 + which) * a->kv_heads + kv_head) * MICA_KV_PAGE *
           a->dim;
}

void mica_attention_paged_ref(const void *args, const mica_cpu_worker *worker);
void mica_attention_paged_avx2(const void *args, const mica_cpu_worker *worker);
void mica_attention_paged_neon(const void *args, const mica_cpu_worker *worker);
void mica_attention_paged_avx512(const void *args, const mica_cpu_worker *worker);

/* The rule for k, v, the pool and the batch arrays, which both paged ops have in the same order:
 * inputs[first] = k, v, page_table, positions, token_sequence, sequences. */
mica_status mica_rule_paged(const mica_graph *g, const mica_node *n, mica_ref pool, int first,
                            int32_t layer, mica_error *err);
