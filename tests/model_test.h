/* Helpers of tests that run whole models: open, generate, read goldens. */
#pragma once
#include <jansson.h>
#include "test.h"
#include "mica/mica.h"

#define DEMO_FOLDER MICA_SOURCE_DIR "/models/demo"

/* A runtime, a model and an engine, opened together. */
typedef struct model_fixture {
    mica_runtime *runtime;
    mica_model *model;
    mica_engine *engine;
    int64_t vocab;
} model_fixture;

typedef struct fixture_options {
    const char *folder; /* NULL = demo */
    const char *level;
    int n_threads;
    int32_t chunk_tokens;
    int32_t n_sequences;
    int64_t context;
    mica_numeric_mode mode;
    const mica_allocator *allocator;
} fixture_options;

static inline mica_status fixture_try_open(model_fixture *f, const fixture_options *o,
                                           mica_error *err) {
    mica_runtime_options ro = {.struct_bytes = sizeof ro, .cpu_level = o->level};
    mica_engine_options eo = {.struct_bytes = sizeof eo, .mode = o->mode, .context = o->context};
    ro.n_threads = o->n_threads;
    ro.allocator = o->allocator;
    eo.chunk_tokens = o->chunk_tokens;
    eo.n_sequences = o->n_sequences;
    *f = (model_fixture){0};
    mica_status st = mica_runtime_open(&ro, &f->runtime, err);
    if (!st)
        st = mica_model_open(f->runtime, o->folder ? o->folder : DEMO_FOLDER, NULL, &f->model, err);
    if (!st) st = mica_engine_create(f->model, &eo, &f->engine, err);
    if (st) return st;
    mica_model_info info;
    mica_model_get_info(f->model, &info);
    f->vocab = info.vocab_size;
    return st;
}

static inline void fixture_close(model_fixture *f) {
    if (f->engine) mica_engine_destroy(&f->engine);
    if (f->model) mica_model_close(&f->model);
    if (f->runtime) mica_runtime_close(&f->runtime);
}

static inline void fixture_open(model_fixture *f, const fixture_options *o) {
    mica_error err = {0};
    assert_ok(fixture_try_open(f, o, &err));
}

/* What one request gave. */
typedef struct generation {
    int32_t ids[4096];
    int64_t n;
    mica_finish finish;
    mica_error error;
    float *first_logits; /* caller's [vocab], or NULL */
    int64_t vocab;
    int64_t n_cached;
    mica_ticket ticket;
    void (*on_logits)(void *context, int64_t position, const float *logits);
    void *logits_context;
    int64_t n_events;
} generation;

static inline bool generation_event(void *context, const mica_event *e) {
    generation *g = context;
    g->n_events++;
    if (e->id >= 0) {
        if (g->n == 0 && g->first_logits)
            memcpy(g->first_logits, e->logits, (size_t)g->vocab * sizeof(float));
        if (g->n < 4096) g->ids[g->n++] = e->id;
    }
    g->finish = e->finish;
    g->n_cached = e->n_cached;
    if (e->error) g->error = *e->error;
    return true;
}

static inline void generation_logits(void *context, int64_t position, const float *logits) {
    generation *g = context;
    g->on_logits(g->logits_context, position, logits);
}

/* Greedy (unless sampling says otherwise) from ids until max_tokens or a stop id. */
static inline mica_status generate_request(model_fixture *f, mica_request *r, generation *g,
                                           mica_error *err) {
    r->struct_bytes = sizeof *r;
    r->on_event = generation_event;
    if (g->on_logits) r->on_prompt_logits = generation_logits;
    r->context = g;
    g->vocab = f->vocab;
    g->n = 0;
    mica_status st = mica_engine_submit(f->engine, r, &g->ticket, err);
    while (!st && mica_engine_is_busy(f->engine)) st = mica_engine_step(f->engine, err);
    return st;
}

static inline void generate(model_fixture *f, const int32_t *ids, size_t n, int64_t max_tokens,
                            generation *g) {
    mica_error err = {0};
    mica_request r = {.ids = ids, .n_ids = n, .max_tokens = max_tokens};
    assert_ok(generate_request(f, &r, g, &err));
    if (g->finish == MICA_FINISH_ERROR) fail_msg("generation: %s", g->error.message);
}

/* ---- JSON goldens ---- */

static inline json_t *load_json(const char *path) {
    json_error_t error;
    json_t *j = json_load_file(path, 0, &error);
    if (!j) fail_msg("%s: %s", path, error.text);
    return j;
}

static inline size_t json_ids(const json_t *array, int32_t *out, size_t capacity) {
    size_t n = json_array_size(array);
    if (n > capacity) fail_msg("a golden of %zu ids", n);
    for (size_t i = 0; i < n; i++) out[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return n;
}

/* log p(id) of a row of logits, in f64. */
static inline double row_logprob(const float *logits, int64_t vocab, int32_t id) {
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < vocab; i++) max = fmax(max, (double)logits[i]);
    for (int64_t i = 0; i < vocab; i++) sum += exp((double)logits[i] - max);
    return (double)logits[id] - max - log(sum);
}
