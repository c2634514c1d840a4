/* Runs one forward pass over a batch: keeps the traced and prepared plans, one per shape class. */
#pragma once
#include "engine/batch.h"
#include "engine/profile.h"

/* Least recently used ones go. All that an engine asks for fit: 12 token buckets with one row, and
 * 6 that have as many rows as tokens. */
#define MICA_PLANS_MAX 20

typedef struct mica_runner_plan {
    int32_t n_tokens; /* key: buckets */
    int32_t n_rows;
    uint64_t last_used;
    mica_executable *executable;
} mica_runner_plan;

/* Threads: one at a time. */
typedef struct mica_runner {
    const mica_model *model;
    mica_batch batch;
    const mica_page_pool *pools;
    mica_buffer *logits; /* f32 [rows capacity, vocab] */
    int64_t vocab;
    mica_runner_plan plans[MICA_PLANS_MAX];
    size_t n_plans;
    uint64_t clock;
    mica_profiler profiler; /* no callback: passes run without clocks */
} mica_runner;

/* Also builds the plan of the smallest class, so that decoding never builds one. */
mica_status mica_runner_init(mica_runner *r, const mica_model *model,
                             const mica_forward_shape *capacity, const mica_page_pool *pools,
                             mica_error *err);
void mica_runner_deinit(mica_runner *r);
/* Runs what is in r->batch. Row i of the logits is then mica_runner_logits(r, i). */
mica_status mica_runner_run(mica_runner *r, mica_error *err);
const float *mica_runner_logits(const mica_runner *r, int32_t row);
/* The bucket of a count: the next power of two, at most the capacity. */
int32_t mica_runner_bucket(int32_t n, int32_t capacity);
