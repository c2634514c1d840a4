/* For the tests of the two paged ops: sequences with known K and V, a pool whose unused slots hold
 * NaN, kernels run directly on a team of threads, and attention in double precision as the oracle.
 * The oracle sees flat arrays of keys; it knows nothing of pages. */
#pragma once
#include "test.h"
#include "backend/cpu/cpu_features.h"
#include "base/thread_pool.h"
#include "kernel/float_format.h"
#include "ops/attention/attention_block.h"
#include "ops/attention_paged/attention_paged.h"
#include "ops/kv_write/kv_write.h"

#define PAGED_SEQUENCES_MAX 8

extern const mica_op mica_op_attention_paged;
extern const mica_op mica_op_kv_write;

/* ---- running a kernel ---- */

typedef struct paged_job {
    const mica_kernel *kernel;
    const void *args;
    size_t scratch_bytes;
    _Atomic int64_t next;
} paged_job;

static inline void paged_work(void *context, int worker, int n_workers) {
    paged_job *job = context;
    void *scratch = aligned_alloc(64, (job->scratch_bytes + 63) / 64 * 64);
    memset(scratch, 0xFF, job->scratch_bytes); /* NaN: nothing may be read before it is written */
    mica_cpu_worker w = {worker, n_workers, scratch, &job->next};
    job->kernel->cpu(job->args, &w);
    free(scratch);
}

static inline void paged_run(const mica_kernel *kernel, const void *args, size_t scratch_bytes,
                             int n_threads) {
    mica_error err = {0};
    mica_thread_pool *pool = NULL;
    assert_ok(mica_thread_pool_create(mica_host_default(), n_threads, &pool, &err));
    paged_job job = {.kernel = kernel, .args = args, .scratch_bytes = scratch_bytes + 64};
    mica_thread_pool_run(pool, paged_work, &job);
    mica_thread_pool_destroy(&pool);
}

static inline bool paged_has(const mica_kernel *kernel) {
    return (kernel->needs & ~mica_cpu_features_detect()) == 0;
}

/* ---- a world of sequences ---- */

typedef struct paged_world {
    int64_t heads, kv_heads, dim, length; /* every sequence has `length` positions */
    int64_t n_sequences, table_width, n_pages, n_layers;
    int32_t layer;
    int pool_dtype;
    int64_t window;
    float scale, soft_cap;
    size_t parts_bytes;            /* that kernels may share; 0 = none */
    float *sinks;                  /* [heads] or NULL */
    float *q[PAGED_SEQUENCES_MAX]; /* [length, heads, dim] */
    float *k[PAGED_SEQUENCES_MAX]; /* [length, kv_heads, dim] */
    float *v[PAGED_SEQUENCES_MAX];
    uint8_t *pool;
    int32_t *page_table;
} paged_world;

/* Sequence s of a batch: count tokens after the first `past`. */
typedef struct paged_part {
    int64_t sequence, past, count;
} paged_part;

static inline size_t paged_pool_bytes(const paged_world *w) {
    return (size_t)(w->n_pages * w->n_layers * 2 * w->kv_heads * MICA_KV_PAGE * w->dim) *
           (w->pool_dtype == MICA_DTYPE_BF16 ? 2 : 4);
}

static inline void paged_clear_pool(paged_world *w) { memset(w->pool, 0xFF, paged_pool_bytes(w)); }

static inline float *paged_random(int64_t count, float size, uint64_t *seed) {
    float *x = malloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++) x[i] = size * test_random_float(seed);
    return x;
}

/* ring: pages of a table; 0 = as many as the sequence is long. */
static inline void paged_world_create(paged_world *w, int64_t ring, bool has_sinks,
                                      uint64_t *seed) {
    int64_t pages = (w->length + MICA_KV_PAGE - 1) / MICA_KV_PAGE;
    w->table_width = ring && ring < pages ? ring : pages;
    w->n_pages = w->n_sequences * w->table_width + 3;
    w->n_layers = 3;
    w->layer = 1;
    w->pool = malloc(paged_pool_bytes(w));
    w->page_table = malloc((size_t)(w->n_sequences * w->table_width) * sizeof(int32_t));
    /* Pages in a scattered order. */
    int64_t n = w->n_sequences * w->table_width;
    for (int64_t i = 0; i < n; i++) w->page_table[i] = (int32_t)(w->n_pages - 1 - i);
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)(test_random(seed) % (uint64_t)(i + 1));
        int32_t page = w->page_table[i];
        w->page_table[i] = w->page_table[j];
        w->page_table[j] = page;
    }
    for (int64_t s = 0; s < w->n_sequences; s++) {
        w->q[s] = paged_random(w->length * w->heads * w->dim, 2, seed);
        w->k[s] = paged_random(w->length * w->kv_heads * w->dim, 2, seed);
        w->v[s] = paged_random(w->length * w->kv_heads * w->dim, 2, seed);
    }
    w->sinks = has_sinks ? paged_random(w->heads, 3, seed) : NULL;
    paged_clear_pool(w);
}

static inline void paged_world_destroy(paged_world *w) {
    for (int64_t s = 0; s < w->n_sequences; s++) {
        free(w->q[s]);
        free(w->k[s]);
        free(w->v[s]);
    }
    free(w->sinks);
    free(w->pool);
    free(w->page_table);
}

/* ---- a batch ---- */

typedef struct paged_batch {
    int64_t n_tokens; /* live; the arrays have 5 rows more, of NaN */
    float *q, *k, *v, *out;
    int32_t *positions, *owners, counts[4];
    int32_t sequences[PAGED_SEQUENCES_MAX * MICA_SEQUENCE_FIELDS];
} paged_batch;

static inline void paged_batch_create(paged_batch *b, const paged_world *w, const paged_part *parts,
                                      int n_parts) {
    memset(b, 0, sizeof *b);
    for (int i = 0; i < n_parts; i++) b->n_tokens += parts[i].count;
    int64_t rows = b->n_tokens + 5, q_row = w->heads * w->dim, k_row = w->kv_heads * w->dim;
    b->counts[0] = (int32_t)b->n_tokens;
    b->q = malloc((size_t)(rows * q_row) * sizeof(float));
    b->out = malloc((size_t)(rows * q_row) * sizeof(float));
    b->k = malloc((size_t)(rows * k_row) * sizeof(float));
    b->v = malloc((size_t)(rows * k_row) * sizeof(float));
    b->positions = calloc((size_t)rows, sizeof(int32_t));
    b->owners = calloc((size_t)rows, sizeof(int32_t));
    memset(b->q, 0xFF, (size_t)(rows * q_row) * sizeof(float));
    memset(b->out, 0xFF, (size_t)(rows * q_row) * sizeof(float));
    memset(b->k, 0xFF, (size_t)(rows * k_row) * sizeof(float));
    memset(b->v, 0xFF, (size_t)(rows * k_row) * sizeof(float));
    int64_t t = 0;
    for (int i = 0; i < n_parts; i++) {
        const paged_part *p = &parts[i];
        int32_t *row = b->sequences + p->sequence * MICA_SEQUENCE_FIELDS;
        row[MICA_SEQUENCE_FIRST] = (int32_t)t;
        row[MICA_SEQUENCE_COUNT] = (int32_t)p->count;
        row[MICA_SEQUENCE_PAST] = (int32_t)p->past;
        memcpy(b->q + t * q_row, w->q[p->sequence] + p->past * q_row,
               (size_t)(p->count * q_row) * sizeof(float));
        memcpy(b->k + t * k_row, w->k[p->sequence] + p->past * k_row,
               (size_t)(p->count * k_row) * sizeof(float));
        memcpy(b->v + t * k_row, w->v[p->sequence] + p->past * k_row,
               (size_t)(p->count * k_row) * sizeof(float));
        for (int64_t j = 0; j < p->count; j++, t++) {
            b->positions[t] = (int32_t)(p->past + j);
            b->owners[t] = (int32_t)p->sequence;
        }
    }
}

static inline void paged_batch_destroy(paged_batch *b) {
    free(b->q);
    free(b->k);
    free(b->v);
    free(b->out);
    free(b->positions);
    free(b->owners);
}

static inline uint64_t paged_address(const void *p) { return (uint64_t)(uintptr_t)p; }

static inline void paged_attend(const mica_kernel *kernel, const paged_world *w, paged_batch *b,
                                int n_threads) {
    void *parts = malloc(w->parts_bytes + 1);
    memset(parts, 0xFF, w->parts_bytes + 1);
    mica_attention_paged_args a = {.q = paged_address(b->q),
                                   .k = paged_address(b->k),
                                   .v = paged_address(b->v),
                                   .pool = paged_address(w->pool),
                                   .page_table = paged_address(w->page_table),
                                   .sequences = paged_address(b->sequences),
                                   .sinks = paged_address(w->sinks),
                                   .out = paged_address(b->out),
                                   .live = paged_address(b->counts),
                                   .parts = w->parts_bytes ? paged_address(parts) : 0,
                                   .parts_bytes = w->parts_bytes,
                                   .q_strides = {w->heads * w->dim, w->dim, 1},
                                   .k_strides = {w->kv_heads * w->dim, w->dim, 1},
                                   .v_strides = {w->kv_heads * w->dim, w->dim, 1},
                                   .n_tokens = b->n_tokens + 5,
                                   .heads = w->heads,
                                   .kv_heads = w->kv_heads,
                                   .dim = w->dim,
                                   .n_sequences = w->n_sequences,
                                   .table_width = w->table_width,
                                   .n_pages = w->n_pages,
                                   .n_layers = w->n_layers,
                                   .window = w->window,
                                   .layer = w->layer,
                                   .pool_dtype = w->pool_dtype,
                                   .sinks_dtype = MICA_DTYPE_F32,
                                   .scale = w->scale,
                                   .soft_cap = w->soft_cap};
    size_t scratch = kernel->needs ? mica_attention_block_bytes(w->heads / w->kv_heads, w->dim)
                                   : (size_t)w->dim * (sizeof(double) + 3 * sizeof(float));
    paged_run(kernel, &a, scratch, n_threads);
    free(parts);
}

static inline void paged_write(const mica_kernel *kernel, const paged_world *w,
                               const paged_batch *b, int n_threads) {
    mica_kv_write_args a = {.pool = paged_address(w->pool),
                            .k = paged_address(b->k),
                            .v = paged_address(b->v),
                            .page_table = paged_address(w->page_table),
                            .positions = paged_address(b->positions),
                            .token_sequence = paged_address(b->owners),
                            .sequences = paged_address(b->sequences),
                            .live = paged_address(b->counts),
                            .k_strides = {w->kv_heads * w->dim, w->dim, 1},
                            .v_strides = {w->kv_heads * w->dim, w->dim, 1},
                            .n_tokens = b->n_tokens + 5,
                            .kv_heads = w->kv_heads,
                            .dim = w->dim,
                            .n_sequences = w->n_sequences,
                            .table_width = w->table_width,
                            .n_pages = w->n_pages,
                            .n_layers = w->n_layers,
                            .layer = w->layer,
                            .pool_dtype = w->pool_dtype};
    paged_run(kernel, &a, (size_t)w->dim * sizeof(float), n_threads);
}

/* ---- the oracle ---- */

static inline double paged_stored(const paged_world *w, float x) {
    return (double)(w->pool_dtype == MICA_DTYPE_BF16 ? mica_f32_from_bf16(mica_bf16_from_f32(x))
                                                     : x);
}

/* Attention of one token's head in double precision, two passes; out[dim]. */
static inline void paged_oracle(const paged_world *w, int64_t s, int64_t position, int64_t head,
                                double *out) {
    int64_t kv = head / (w->heads / w->kv_heads);
    int64_t first = w->window && position + 1 > w->window ? position + 1 - w->window : 0;
    const float *q = w->q[s] + (position * w->heads + head) * w->dim;
    double *scores = malloc((size_t)(position + 1) * sizeof *scores);
    double max = w->sinks ? (double)w->sinks[head] : -INFINITY, sum = 0;
    for (int64_t j = first; j <= position; j++) {
        const float *k = w->k[s] + (j * w->kv_heads + kv) * w->dim;
        double score = 0;
        for (int64_t d = 0; d < w->dim; d++) score += (double)q[d] * paged_stored(w, k[d]);
        score *= (double)w->scale;
        if (w->soft_cap != 0) score = (double)w->soft_cap * tanh(score / (double)w->soft_cap);
        scores[j] = score;
        if (score > max) max = score;
    }
    if (w->sinks) sum = exp((double)w->sinks[head] - max);
    for (int64_t d = 0; d < w->dim; d++) out[d] = 0;
    for (int64_t j = first; j <= position; j++) {
        const float *v = w->v[s] + (j * w->kv_heads + kv) * w->dim;
        double p = exp(scores[j] - max);
        sum += p;
        for (int64_t d = 0; d < w->dim; d++) out[d] += p * paged_stored(w, v[d]);
    }
    for (int64_t d = 0; d < w->dim; d++) out[d] /= sum;
    free(scores);
}
