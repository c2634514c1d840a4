/* The engine's state; its public face is mica/engine.h. */
#pragma once
#include <pthread.h>
#include "engine/request.h"
#include "engine/runner.h"
#include "engine/scheduler.h"

#define MICA_REQUESTS_MAX 64
#define MICA_SEQUENCES_MAX 64
#define MICA_CHUNK_TOKENS_MAX 2048

struct mica_engine {
    const mica_model *model;
    mica_numeric_mode mode;
    int64_t context;
    int32_t chunk_tokens;
    mica_progress_callback progress;
    void *progress_context;
    mica_page_pool pools[MICA_KV_GROUPS_MAX];
    mica_sequence *sequences;
    int32_t n_sequences;
    int32_t *sequence_owner; /* request slot of each sequence, -1 = free */
    mica_runner runner;
    float *sample_floats; /* scratch of the sampler, [vocab] each */
    int32_t *sample_ids;
    pthread_mutex_t lock; /* guards slots' states and tickets: submit, cancel, forget */
    bool has_lock;
    mica_request_slot slots[MICA_REQUESTS_MAX];
    mica_ticket next_ticket;
};
