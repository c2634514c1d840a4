/* Rotary embedding, of x by positions and frequencies, or by a table that rope_table made of them.
 * The angle is position * inverse frequency, rounded to f32 as the reference
 * models do; its cosine and sine come from libm in f64 and are rounded to f32 after the scale. */
#pragma once
#include <assert.h>
#include <math.h>
#include "core/op.h"

typedef struct mica_rope_params {
    float scale; /* of cosine and sine */
    bool is_interleaved;
} mica_rope_params;

typedef struct mica_rope_args {
    uint64_t x;         /* [n_tokens, n_heads, dim], strides below */
    uint64_t out;       /* may be x */
    uint64_t ready;     /* f32 [n_tokens, 2 * n_pairs]: a table for each token; 0 = none */
    uint64_t positions; /* i32 [n_tokens] */
    uint64_t inverse_frequencies; /* f32 [n_tables, n_pairs] */
    uint64_t tables;              /* i32 [n_tokens]: the table of each token; 0 = the only one */
    uint64_t live;                /* address of the count of live tokens, 0 = all */
    int64_t n_tokens;
    int64_t n_heads;
    int64_t dim;
    int64_t n_pairs; /* elements 2 * n_pairs and up are copied */
    int64_t n_tables;
    int64_t x_strides[3]; /* elements */
    float scale;
    int32_t dtype; /* of x and out: f32, f16 or bf16 */
    int32_t is_interleaved;
    int32_t reserved;
} mica_rope_args;
static_assert(sizeof(mica_rope_args) == 136, "host and device kernels share this layout");

/* The frequencies of one token; NULL where it names a table that is not there: it does not turn. */
static inline const float *mica_rope_frequencies_of(const mica_rope_args *a, int64_t token) {
    const float *frequencies = mica_cpu_at(a->inverse_frequencies);
    if (!a->tables) return frequencies;
    int64_t row = ((const int32_t *)mica_cpu_at(a->tables))[token];
    return row >= 0 && row < a->n_tables ? frequencies + row * a->n_pairs : NULL;
}

/* Cosines, then sines, of one token: the worker's scratch. */
static inline void mica_rope_table(const mica_rope_args *a, int64_t token, float *table) {
    float position = (float)((const int32_t *)mica_cpu_at(a->positions))[token];
    const float *frequencies = mica_rope_frequencies_of(a, token);
    for (int64_t i = 0; i < a->n_pairs; i++) {
        float angle = frequencies ? position * frequencies[i] : 0.0f;
        table[i] = (float)(cos((double)angle) * (double)a->scale);
        table[a->n_pairs + i] = (float)(sin((double)angle) * (double)a->scale);
    }
}

/* The table of one token: the one that is ready, or `scratch` filled. */
static inline const float *mica_rope_table_of(const mica_rope_args *a, int64_t token,
                                              float *scratch) {
    if (!a->n_pairs) return NULL; /* nor has an empty table an address */
    if (a->ready) return (const float *)mica_cpu_at(a->ready) + token * 2 * a->n_pairs;
    mica_rope_table(a, token, scratch);
    return scratch;
}

/* A head of dim elements of a->dtype: what the reference kernel does for each, in place is fine. Of
 * a it reads dim, n_pairs, dtype and is_interleaved. */
void mica_rope_head_ref(const mica_rope_args *a, const float *table, const void *x, void *out);

void mica_rope_ref(const void *args, const mica_cpu_worker *worker);
/* f32, not interleaved. */
void mica_rope_avx2(const void *args, const mica_cpu_worker *worker);
void mica_rope_neon(const void *args, const mica_cpu_worker *worker);
void mica_rope_avx512(const void *args, const mica_cpu_worker *worker);
