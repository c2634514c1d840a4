/* Storing the batch's K and V in the paged pool (core/paged.h). An effect: its result is the pool.
 */
#pragma once
#include <assert.h>
#include "core/op.h"
#include "core/paged.h"
#include "ops/attention_paged/paged_turn.h"

typedef struct mica_kv_write_args {
    uint64_t pool; /* [n_pages, n_layers, 2, kv_heads, 64, dim] */
    uint64_t k;    /* f32 [n_tokens, kv_heads, dim], strides below */
    uint64_t v;
    uint64_t page_table;     /* i32 [n_sequences, table_width] */
    uint64_t positions;      /* i32 [n_tokens] */
    uint64_t token_sequence; /* i32 [n_tokens] */
    uint64_t sequences;      /* i32 [n_sequences, MICA_SEQUENCE_FIELDS] */
    uint64_t live;           /* address of the count of live tokens, 0 = all */
    int64_t k_strides[3];    /* elements */
    int64_t v_strides[3];
    mica_paged_turn k_turn; /* what is still to be done to k */
    int64_t n_tokens;
    int64_t kv_heads;
    int64_t dim;
    int64_t n_sequences;
    int64_t table_width;
    int64_t n_pages;
    int64_t n_layers;
    int32_t layer;
    int32_t pool_dtype; /* f32 or bf16 */
} mica_kv_write_args;
static_assert(sizeof(mica_kv_write_args) == 216, "host and device kernels share this layout");

/* Offset in elements of token t's K of KV head 0; its V lies kv_heads * 64 * dim further, the next
 * head 64 * dim. -1 where a later token of the batch takes the slot. */
static inline int64_t mica_kv_slot(const mica_kv_write_args *a, int64_t t) {
    int64_t position = ((const int32_t *)mica_cpu_at(a->positions))[t];
    int64_t s = ((const int32_t *)mica_cpu_at(a->token_sequence))[t];
    assert(position >= 0 && s >= 0 && s < a->n_sequences);
    const int32_t *row = (const int32_t *)mica_cpu_at(a->sequences) + s * MICA_SEQUENCE_FIELDS;
    int64_t last = (int64_t)row[MICA_SEQUENCE_PAST] + row[MICA_SEQUENCE_COUNT] - 1;
    if (position + MICA_KV_PAGE * a->table_width <= last) return -1;
    int64_t column = position / MICA_KV_PAGE % a->table_width;
    int64_t page = ((const int32_t *)mica_cpu_at(a->page_table))[s * a->table_width + column];
    assert(page >= 0 && page < a->n_pages);
    int64_t block = (page * a->n_layers + a->layer) * 2 * a->kv_heads;
    return (block * MICA_KV_PAGE + position % MICA_KV_PAGE) * a->dim;
}

void mica_kv_write_ref(const void *args, const mica_cpu_worker *worker);
void mica_kv_write_avx2(const void *args, const mica_cpu_worker *worker);
void mica_kv_write_neon(const void *args, const mica_cpu_worker *worker);
void mica_kv_write_avx512(const void *args, const mica_cpu_worker *worker);
