/* Attention over plain arrays: softmax(q k^T * scale) v with GQA, causal mask, window, bool mask,
 * soft cap and sinks, online over pages of 64 keys (attention_block.h). */
#pragma once
#include <assert.h>
#include "core/op.h"

typedef struct mica_attention_params {
    int64_t window; /* 0 = none */
    float scale;    /* 0 = 1 / sqrt(dim) */
    float soft_cap; /* 0 = none */
    bool is_causal;
} mica_attention_params;

typedef struct mica_attention_args {
    uint64_t q;     /* [n_queries, heads, dim] */
    uint64_t k;     /* [n_keys, kv_heads, dim] */
    uint64_t v;     /* [n_keys, kv_heads, dim] */
    uint64_t sinks; /* [heads], 0 = none */
    uint64_t mask;  /* bool [n_queries, n_keys], 0 = none */
    uint64_t out;   /* [n_queries, heads, dim] */
    uint64_t live;  /* address of the count of live queries, 0 = all */
    int64_t n_queries;
    int64_t n_keys;
    int64_t heads;
    int64_t kv_heads;
    int64_t dim;
    int64_t window;
    float scale;
    float soft_cap;
    int32_t is_causal;
    int32_t dtype;    /* of q and out: f32, f16 or bf16 */
    int32_t kv_dtype; /* of k and v */
    int32_t sinks_dtype;
} mica_attention_args;
static_assert(sizeof(mica_attention_args) == 128, "host and device kernels share this layout");

void mica_attention_ref(const void *args, const mica_cpu_worker *worker);
void mica_attention_avx2(const void *args, const mica_cpu_worker *worker);
void mica_attention_neon(const void *args, const mica_cpu_worker *worker);
void mica_attention_avx512(const void *args, const mica_cpu_worker *worker);
