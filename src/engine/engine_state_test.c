/* What an engine keeps between requests, and what outsiders may do to it: kept sequences, pages
 * that run out, calls with nonsense, threads, several models and engines at once, and memory that
 * comes back. */
#include "engine/engine.h"
#include "model_test.h"
#include <pthread.h>
#include "base/alloc.h"

static void fill_ids(int32_t *ids, size_t n, uint64_t seed) {
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)(test_random(&seed) % 8000);
}

/* One request to its end; keeps its pages. */
static void ask(model_fixture *f, const int32_t *ids, size_t n, mica_ticket from, generation *g) {
    mica_error err = {0};
    mica_request r = {.ids = ids, .n_ids = n, .max_tokens = 5, .keep = true, .continue_from = from};
    assert_ok(generate_request(f, &r, g, &err));
    assert_int_equal(g->finish, MICA_FINISH_LENGTH);
}

static int32_t free_pages(const model_fixture *f) {
    int32_t n = 0;
    for (size_t g = 0; g < f->model->n_kv_groups; g++) n += f->engine->pools[g].n_free;
    return n;
}

/* ---- kept sequences ---- */

/* Proves: several conversations are kept beside each other; continuing one leaves the others; a
 * ticket that was continued, forgotten or never was is computed afresh; when sequences run out the
 * oldest is given up; forgetting twice is nothing. */
static void conversations(void **state) {
    (void)state;
    model_fixture f;
    static generation g[6];
    int32_t ids[3][60];
    fixture_open(&f, &(fixture_options){.mode = MICA_EXACT, .n_sequences = 3, .context = 200});
    int32_t all = free_pages(&f);
    for (int i = 0; i < 3; i++) {
        fill_ids(ids[i], 60, (uint64_t)i + 1);
        ask(&f, ids[i], 40, 0, &g[i]);
        assert_int_equal(g[i].n_cached, 0);
    }
    assert_int_equal(f.engine->sequence_owner[0] + f.engine->sequence_owner[1] +
                         f.engine->sequence_owner[2],
                     3);                     /* slots 0, 1, 2 */
    ask(&f, ids[1], 50, g[1].ticket, &g[3]); /* the second goes on */
    assert_int_equal(g[3].n_cached, 40);
    ask(&f, ids[1], 50, g[1].ticket, &g[4]); /* its old ticket is gone: the oldest makes room */
    assert_int_equal(g[4].n_cached, 0);
    assert_memory_equal(g[3].ids, g[4].ids, 5 * sizeof(int32_t));
    ask(&f, ids[2], 50, g[2].ticket, &g[5]); /* the third is still there */
    assert_int_equal(g[5].n_cached, 40);
    ask(&f, ids[0], 50, g[0].ticket, &g[1]); /* the first was given up */
    assert_int_equal(g[1].n_cached, 0);
    for (int twice = 0; twice < 2; twice++)
        for (int i = 0; i < 6; i++) mica_engine_forget(f.engine, g[i].ticket);
    mica_engine_forget(f.engine, 0);
    mica_engine_forget(f.engine, UINT64_MAX);
    assert_int_equal(free_pages(&f), all);
    for (int i = 0; i < 3; i++) assert_int_equal(f.engine->sequence_owner[i], -1);
    ask(&f, ids[0], 50, g[1].ticket, &g[2]);
    assert_int_equal(g[2].n_cached, 0);
    assert_memory_equal(g[1].ids, g[2].ids, 5 * sizeof(int32_t));
    fixture_close(&f);
}

typedef struct row_count {
    int64_t n;
    int64_t next;
} row_count;

static void count_row(void *context, int64_t position, const float *logits) {
    row_count *c = context;
    assert_int_equal(position, c->next++);
    assert_true(isfinite(logits[0]));
    c->n++;
}

/* Proves: with prompt logits every position comes, in order, kept pages or not. */
static void all_prompt_rows(void **state) {
    (void)state;
    model_fixture f;
    mica_error err = {0};
    static generation g, more;
    int32_t ids[150];
    fill_ids(ids, 150, 3);
    fixture_open(&f, &(fixture_options){.mode = MICA_FAST, .context = 256});
    ask(&f, ids, 100, 0, &g);
    row_count c = {0};
    more.on_logits = count_row;
    more.logits_context = &c;
    mica_request r = {.ids = ids, .n_ids = 150, .max_tokens = 1, .continue_from = g.ticket};
    assert_ok(generate_request(&f, &r, &more, &err));
    assert_int_equal(c.n, 150);
    assert_int_equal(more.n_cached, 0);
    fixture_close(&f);
}

/* ---- ends ---- */

/* Proves: a prompt of all but one token of the context gives that one, and its pages are there to
 * the last slot; one longer is refused. */
static void context_exactly_full(void **state) {
    (void)state;
    model_fixture f;
    mica_error err = {0};
    static generation g;
    mica_ticket ticket;
    int32_t ids[130];
    fill_ids(ids, 130, 4);
    const int64_t contexts[] = {2, 64, 65, 128, 129};
    for (int i = 0; i < 5; i++) {
        size_t n = (size_t)contexts[i];
        fixture_open(&f, &(fixture_options){.context = contexts[i]});
        assert_int_equal(mica_engine_context(f.engine), contexts[i]);
        generate(&f, ids, n - 1, 0, &g);
        assert_int_equal(g.n, 1);
        assert_int_equal(g.finish, MICA_FINISH_CONTEXT);
        generate(&f, ids, n - 1, INT64_MAX, &g);
        assert_int_equal(g.finish, MICA_FINISH_CONTEXT);
        generate(&f, ids, n - 1, 1, &g);
        assert_int_equal(g.finish, MICA_FINISH_LENGTH);
        mica_request r = {.struct_bytes = sizeof r, .ids = ids, .n_ids = n};
        assert_int_equal(mica_engine_submit(f.engine, &r, &ticket, &err), MICA_STATUS_CONTEXT_FULL);
        fixture_close(&f);
    }
}

/* Proves: a request for which there are no pages ends with an error event, gives back what it took,
 * and the next one runs. */
static void pages_run_out(void **state) {
    (void)state;
    model_fixture f;
    mica_error err = {0};
    static generation g;
    int32_t ids[150], taken[64];
    fill_ids(ids, 150, 5);
    fixture_open(&f, &(fixture_options){.context = 512});
    int32_t all = free_pages(&f);
    for (size_t group = 0; group < 2; group++) {
        mica_page_pool *pool = &f.engine->pools[group];
        int32_t n = pool->n_free - 1; /* one page is left */
        assert_true(n > 0 && n < 64 && mica_page_pool_take(pool, n, taken));
        mica_request r = {.ids = ids, .n_ids = 150, .max_tokens = 5, .keep = group == 0};
        assert_ok(generate_request(&f, &r, &g, &err));
        assert_int_equal(g.finish, MICA_FINISH_ERROR);
        assert_int_equal(g.error.status, MICA_STATUS_LIMIT);
        assert_int_equal(g.n, 0);
        mica_engine_forget(f.engine, g.ticket);
        mica_page_pool_give(pool, taken, n);
        assert_int_equal(free_pages(&f), all);
        generate(&f, ids, 150, 5, &g);
        assert_int_equal(g.finish, MICA_FINISH_LENGTH);
    }
    fixture_close(&f);
}

static mica_alloc_counter counter;

/* Proves: when a pass finds no memory for its plan the request ends with that error, whatever it
 * would have kept is given back, and the engine goes on. */
static void a_step_fails(void **state) {
    (void)state;
    model_fixture f;
    mica_error err = {0};
    static generation g;
    int32_t ids[100];
    fill_ids(ids, 100, 6);
    mica_alloc_counter_init(&counter, mica_allocator_default());
    fixture_open(&f, &(fixture_options){.context = 256, .allocator = &counter.allocator});
    int32_t all = free_pages(&f);
    mica_ticket ticket;
    mica_request r = {.struct_bytes = sizeof r, .ids = ids, .n_ids = 100, .keep = true};
    r.on_event = generation_event;
    r.context = &g;
    assert_ok(mica_engine_submit(f.engine, &r, &ticket, &err));
    counter.fail_at = counter.n_calls + 1;
    counter.fail_after = true;
    assert_ok(mica_engine_step(f.engine, &err));
    counter.fail_at = 0;
    assert_int_equal(g.finish, MICA_FINISH_ERROR);
    assert_int_equal(g.error.status, MICA_STATUS_OUT_OF_MEMORY);
    assert_false(mica_engine_is_busy(f.engine));
    assert_int_equal(free_pages(&f), all);
    generate(&f, ids, 100, 5, &g);
    assert_int_equal(g.n, 5);
    fixture_close(&f);
    assert_int_equal(counter.n_live, 0);
}

typedef struct progress_count {
    int n;
    int stop_at;
    uint64_t last;
} progress_count;

static bool count_progress(void *context, const char *stage, uint64_t done, uint64_t total) {
    progress_count *p = context;
    assert_string_equal(stage, "prefill");
    assert_true(done > p->last && done <= total && total == 100);
    p->last = done;
    return ++p->n != p->stop_at;
}

/* Proves: progress is told per chunk, and may cancel between two of them. */
static void progress_cancels(void **state) {
    (void)state;
    model_fixture f;
    mica_error err = {0};
    int32_t ids[100];
    fill_ids(ids, 100, 7);
    fixture_open(&f, &(fixture_options){.context = 256});
    mica_engine_destroy(&f.engine);
    for (int stop_at = 0; stop_at <= 4; stop_at++) {
        static generation g;
        progress_count p = {.stop_at = stop_at};
        mica_engine_options o = {
            .struct_bytes = sizeof o, .chunk_tokens = 32, .progress = count_progress};
        o.progress_context = &p;
        assert_ok(mica_engine_create(f.model, &o, &f.engine, &err));
        mica_request r = {.ids = ids, .n_ids = 100, .max_tokens = 3};
        assert_ok(generate_request(&f, &r, &g, &err));
        assert_int_equal(p.n, stop_at ? stop_at : 4);
        assert_int_equal(g.finish, stop_at ? MICA_FINISH_CANCELLED : MICA_FINISH_LENGTH);
        mica_engine_destroy(&f.engine);
    }
    fixture_close(&f);
}

/* ---- nonsense ---- */

/* Proves: every argument out of its range is refused before work, with a message. */
static void wrong_arguments(void **state) {
    (void)state;
    model_fixture f;
    mica_error err = {0};
    int32_t ids[4] = {1, 2, 3, 4};
    mica_ticket ticket = 77;
    fixture_open(&f, &(fixture_options){.context = 64});
    mica_engine *e = f.engine, *other = NULL;
    const struct {
        mica_engine_options o;
        mica_status want;
    } engines[] = {
        {{.n_sequences = -1}, MICA_STATUS_INVALID},
        {{.n_sequences = 65}, MICA_STATUS_INVALID},
        {{.n_sequences = INT32_MAX}, MICA_STATUS_INVALID},
        {{.chunk_tokens = 3}, MICA_STATUS_INVALID},
        {{.chunk_tokens = 4096}, MICA_STATUS_INVALID},
        {{.chunk_tokens = INT32_MIN}, MICA_STATUS_INVALID},
        {{.context = -1}, MICA_STATUS_INVALID},
        {{.context = INT64_MAX}, MICA_STATUS_LIMIT},
        {{.mode = (mica_numeric_mode)7}, MICA_STATUS_INVALID},
    };
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++) {
        mica_engine_options o = engines[i].o;
        o.struct_bytes = sizeof o;
        assert_int_equal(mica_engine_create(f.model, &o, &other, &err), engines[i].want);
        assert_null(other);
    }
    const mica_request base = {.struct_bytes = sizeof base, .ids = ids, .n_ids = 4};
    mica_request r[16];
    for (int i = 0; i < 16; i++) r[i] = base;
    r[0].ids = NULL;
    r[1].n_ids = 0;
    r[2].n_ids = SIZE_MAX; /* CONTEXT_FULL: not read */
    r[3].n_stop_ids = 1;
    r[4].stop_ids = ids, r[4].n_stop_ids = 65;
    r[5].stop_ids = ids, r[5].n_stop_ids = SIZE_MAX;
    r[6].max_tokens = -1;
    r[7].vocab_limit = -1;
    r[8].sampling.temperature = NAN;
    r[9].sampling.temperature = -0.5f;
    r[10].sampling.top_p = 1.5f;
    r[11].sampling.top_k = -1;
    r[12].sampling.min_p = 1.01f;
    r[13].sampling.repeat_penalty = -1;
    r[14].sampling.frequency_penalty = INFINITY;
    r[15].sampling.presence_penalty = NAN;
    for (int i = 0; i < 16; i++) {
        mica_status want = i == 2             ? MICA_STATUS_CONTEXT_FULL
                           : i == 4 || i == 5 ? MICA_STATUS_LIMIT
                                              : MICA_STATUS_INVALID;
        err = (mica_error){0};
        if (mica_engine_submit(e, &r[i], &ticket, &err) != want) fail_msg("request %d", i);
        assert_true(err.message[0] != 0);
    }
    assert_int_equal(mica_engine_submit(NULL, &base, &ticket, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_engine_submit(e, NULL, &ticket, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_engine_submit(e, &base, NULL, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_engine_step(NULL, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_engine_create(NULL, NULL, &other, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_engine_create(f.model, NULL, NULL, &err), MICA_STATUS_INVALID);
    mica_engine_cancel(NULL, 1);
    mica_engine_forget(NULL, 1);
    mica_engine_destroy(NULL);
    assert_false(mica_engine_is_busy(NULL));
    assert_int_equal(mica_engine_context(NULL), 0);
    assert_int_equal(mica_engine_kv_bytes(NULL), 0);
    assert_int_equal(ticket, 77);
    assert_ok(mica_engine_step(e, NULL)); /* nothing to do */
    /* Of an older caller's request only the first fields are read. */
    mica_request old = {.struct_bytes = offsetof(mica_request, sampling), .ids = ids, .n_ids = 4};
    old.max_tokens = -1;
    old.on_event = (mica_event_callback)(uintptr_t)1; /* must not be called */
    assert_ok(mica_engine_submit(e, &old, &ticket, &err));
    for (int i = 0; i < 3; i++) assert_ok(mica_engine_step(e, &err));
    mica_engine_cancel(e, ticket);
    assert_ok(mica_engine_step(e, &err));
    assert_false(mica_engine_is_busy(e));
    fixture_close(&f);
}

/* Proves: more requests than slots are refused, and those that wait are freed with the engine. */
static void full_queue(void **state) {
    (void)state;
    model_fixture f;
    mica_error err = {0};
    int32_t ids[4] = {1, 2, 3, 4};
    mica_ticket ticket = 0;
    mica_alloc_counter_init(&counter, mica_allocator_default());
    fixture_open(&f, &(fixture_options){.context = 64, .allocator = &counter.allocator});
    mica_request r = {.struct_bytes = sizeof r, .ids = ids, .n_ids = 4, .max_tokens = 2};
    for (int i = 0; i < MICA_REQUESTS_MAX; i++) {
        assert_ok(mica_engine_submit(f.engine, &r, &ticket, &err));
        assert_int_equal(ticket, i + 1);
    }
    assert_int_equal(mica_engine_submit(f.engine, &r, &ticket, &err), MICA_STATUS_LIMIT);
    for (int i = 0; i < 2; i++) assert_ok(mica_engine_step(f.engine, &err));
    assert_ok(mica_engine_submit(f.engine, &r, &ticket, &err));
    assert_ok(mica_engine_step(f.engine, &err)); /* one is under way */
    fixture_close(&f);
    assert_int_equal(counter.n_live, 0);
}

/* ---- threads ---- */

typedef struct outsider {
    model_fixture *fixture;
    uint64_t seed;
    _Atomic int n_ends;
    int n_submitted;
    bool saw_wrong_bytes; /* asserts are for the main thread */
} outsider;

static bool count_end(void *context, const mica_event *e) {
    outsider *o = context;
    if (e->finish != MICA_FINISH_NONE) atomic_fetch_add(&o->n_ends, 1);
    return true;
}

static void *interfere(void *context) {
    outsider *o = context;
    mica_engine *e = o->fixture->engine;
    mica_error err;
    mica_ticket tickets[8] = {0};
    int32_t ids[20];
    fill_ids(ids, 20, o->seed);
    for (int i = 0; i < 60; i++) {
        mica_request r = {.struct_bytes = sizeof r, .ids = ids, .max_tokens = 3, .context = o};
        mica_ticket *t = &tickets[test_random(&o->seed) % 8];
        mica_runtime_stats stats;
        r.n_ids = 1 + test_random(&o->seed) % 20;
        r.keep = test_random(&o->seed) & 1;
        r.continue_from = tickets[test_random(&o->seed) % 8];
        r.on_event = count_end;
        if (mica_engine_submit(e, &r, t, &err) == MICA_STATUS_OK) o->n_submitted++;
        if (test_random(&o->seed) % 3 == 0)
            mica_engine_cancel(e, tickets[test_random(&o->seed) % 8]);
        mica_engine_forget(e, tickets[test_random(&o->seed) % 8]);
        mica_engine_forget(e, test_random(&o->seed) % 100);
        mica_engine_is_busy(e);
        mica_runtime_get_stats(o->fixture->runtime, &stats);
        if (stats.kv_bytes != mica_engine_kv_bytes(e)) o->saw_wrong_bytes = true;
        struct timespec pause = {0, 200000};
        nanosleep(&pause, NULL);
    }
    for (int i = 0; i < 8; i++) mica_engine_forget(e, tickets[i]);
    return NULL;
}

/* Proves: while one thread steps, others may submit, cancel, forget and look: each request ends
 * once, and no page is lost. (The races are for the thread sanitizer to see.) */
static void outsiders_beside_step(void **state) {
    (void)state;
    model_fixture f;
    mica_error err = {0};
    outsider o[3];
    pthread_t threads[3];
    fixture_open(&f, &(fixture_options){.context = 128, .n_sequences = 3, .chunk_tokens = 16});
    int32_t all = free_pages(&f);
    for (int i = 0; i < 3; i++) {
        o[i] = (outsider){.fixture = &f, .seed = 40 + (uint64_t)i};
        assert_int_equal(pthread_create(&threads[i], NULL, interfere, &o[i]), 0);
    }
    for (int i = 0; i < 600; i++) assert_ok(mica_engine_step(f.engine, &err));
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    while (mica_engine_is_busy(f.engine)) assert_ok(mica_engine_step(f.engine, &err));
    for (int i = 0; i < 3; i++) {
        assert_true(o[i].n_submitted > 0 && !o[i].saw_wrong_bytes);
        assert_int_equal(o[i].n_ends, o[i].n_submitted);
    }
    for (mica_ticket t = 1; t <= f.engine->next_ticket; t++) mica_engine_forget(f.engine, t);
    assert_int_equal(free_pages(&f), all);
    fixture_close(&f);
}

/* ---- several at once, and memory ---- */

/* Proves: two models, three engines and two runtimes in one process give the same tokens as alone,
 * also when their steps alternate; the runtime counts all of them. */
static void several_at_once(void **state) {
    (void)state;
    model_fixture f[2];
    mica_error err = {0};
    static generation g[5];
    int32_t ids[90];
    fill_ids(ids, 90, 8);
    fixture_open(&f[0], &(fixture_options){.mode = MICA_EXACT, .context = 128});
    fixture_open(&f[1], &(fixture_options){.mode = MICA_EXACT, .context = 256});
    model_fixture second = {.runtime = f[0].runtime, .vocab = f[0].vocab};
    mica_engine_options o = {.struct_bytes = sizeof o, .mode = MICA_EXACT, .context = 200};
    o.chunk_tokens = 16;
    mica_runtime_stats stats;
    generate(&f[0], ids, 90, 10, &g[0]);
    generate(&f[1], ids, 90, 10, &g[1]);
    assert_ok(mica_model_open(second.runtime, DEMO_FOLDER, NULL, &second.model, &err));
    assert_ok(mica_engine_create(second.model, &o, &second.engine, &err));
    model_fixture *turn[2] = {&f[0], &second};
    mica_runtime_get_stats(second.runtime, &stats);
    assert_int_equal(stats.weight_bytes, 2 * mica_weights_bytes(second.model->weights));
    assert_int_equal(stats.kv_bytes,
                     mica_engine_kv_bytes(f[0].engine) + mica_engine_kv_bytes(second.engine));
    for (int i = 0; i < 2; i++) {
        mica_request r = {.struct_bytes = sizeof r, .ids = ids, .n_ids = 90, .max_tokens = 10};
        r.on_event = generation_event;
        r.context = &g[2 + i];
        assert_ok(mica_engine_submit(turn[i]->engine, &r, &g[2 + i].ticket, &err));
    }
    for (int i = 0; mica_engine_is_busy(f[0].engine) || mica_engine_is_busy(second.engine); i ^= 1)
        assert_ok(mica_engine_step(turn[i]->engine, &err));
    for (int i = 1; i < 4; i++) assert_memory_equal(g[0].ids, g[i].ids, 10 * sizeof(int32_t));
    mica_engine_destroy(&f[0].engine);
    mica_model_close(&f[0].model);
    generate(&second, ids, 90, 10, &g[4]);
    assert_memory_equal(g[0].ids, g[4].ids, 10 * sizeof(int32_t));
    mica_engine_destroy(&second.engine);
    mica_model_close(&second.model);
    fixture_close(&f[0]);
    fixture_close(&f[1]);
}

/* Proves: the budget is one for all models and engines of a runtime. */
static void one_budget(void **state) {
    (void)state;
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_model *model[2] = {NULL, NULL};
    mica_engine *engine[2] = {NULL, NULL};
    mica_runtime_options o = {.struct_bytes = sizeof o, .n_threads = 1};
    o.memory_budget_bytes = 40000000; /* one model of 27.7 MB fits, two do not */
    assert_ok(mica_runtime_open(&o, &rt, &err));
    assert_ok(mica_model_open(rt, DEMO_FOLDER, NULL, &model[0], &err));
    assert_int_equal(mica_model_open(rt, DEMO_FOLDER, NULL, &model[1], &err), MICA_STATUS_LIMIT);
    assert_non_null(strstr(err.message, "40000000"));
    mica_engine_options eo = {.struct_bytes = sizeof eo, .n_sequences = 4};
    assert_ok(mica_engine_create(model[0], &eo, &engine[0], &err));
    uint64_t first = mica_engine_kv_bytes(engine[0]);
    mica_status st = mica_engine_create(model[0], &eo, &engine[1], &err);
    if (st == MICA_STATUS_OK) /* what was left */
        assert_true(27676544 + first + mica_engine_kv_bytes(engine[1]) <= 40000000);
    else
        assert_int_equal(st, MICA_STATUS_LIMIT);
    mica_engine_destroy(&engine[1]);
    mica_engine_destroy(&engine[0]);
    mica_model_close(&model[0]);
    assert_ok(mica_model_open(rt, DEMO_FOLDER, NULL, &model[1], &err)); /* now there is room */
    mica_model_close(&model[1]);
    mica_runtime_close(&rt);
}

/* Proves: load, generate, unload brings memory and statistics back to where they were, each time.
 */
static void unload_returns(void **state) {
    (void)state;
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_runtime_stats stats;
    static generation g;
    int32_t ids[90];
    fill_ids(ids, 90, 9);
    mica_alloc_counter_init(&counter, mica_allocator_default());
    mica_runtime_options o = {
        .struct_bytes = sizeof o, .allocator = &counter.allocator, .n_threads = 2};
    assert_ok(mica_runtime_open(&o, &rt, &err));
    int64_t bytes = counter.live_bytes, blocks = counter.n_live;
    for (int i = 0; i < 3; i++) {
        model_fixture f = {.runtime = rt, .vocab = 8192};
        mica_model_options mo = {.struct_bytes = sizeof mo, .read_into_memory = i == 1};
        assert_ok(mica_model_open(rt, DEMO_FOLDER, &mo, &f.model, &err));
        assert_ok(mica_engine_create(f.model, NULL, &f.engine, &err));
        generate(&f, ids, 90, 5, &g);
        mica_runtime_get_stats(rt, &stats);
        assert_true(stats.weight_bytes && stats.kv_bytes && stats.arena_bytes);
        mica_engine_destroy(&f.engine);
        mica_model_close(&f.model);
        mica_runtime_get_stats(rt, &stats);
        assert_int_equal(stats.weight_bytes, 0);
        assert_int_equal(stats.kv_bytes, 0);
        assert_int_equal(stats.arena_bytes, 0);
        assert_true(stats.arena_peak_bytes > 0);
        assert_int_equal(counter.live_bytes, bytes);
        assert_int_equal(counter.n_live, blocks);
    }
    mica_runtime_close(&rt);
    assert_int_equal(counter.n_live, 0);
}

/* Proves: the estimate is within 3 % of what an engine then takes after its largest pass: measured
 * by the allocator, weights read into memory included. */
static void estimate_is_right(void **state) {
    (void)state;
    static generation g;
    int32_t ids[512];
    fill_ids(ids, 512, 10);
    for (int mode = 0; mode < 2; mode++) {
        for (int64_t context = 600; context <= 2048; context += 1448) {
            mica_error err = {0};
            mica_runtime *rt = NULL;
            model_fixture f = {.vocab = 8192};
            mica_memory_estimate estimate;
            mica_alloc_counter_init(&counter, mica_allocator_default());
            mica_runtime_options o = {.struct_bytes = sizeof o, .n_threads = 2};
            o.allocator = &counter.allocator;
            assert_ok(mica_runtime_open(&o, &rt, &err));
            f.runtime = rt;
            mica_model_options mo = {.struct_bytes = sizeof mo, .check_only = true};
            assert_ok(mica_model_open(rt, DEMO_FOLDER, &mo, &f.model, &err));
            assert_ok(
                mica_model_estimate(f.model, context, (mica_numeric_mode)mode, &estimate, &err));
            mica_engine_options eo = {.struct_bytes = sizeof eo, .mode = (mica_numeric_mode)mode};
            eo.context = context;
            assert_int_equal(mica_engine_create(f.model, &eo, &f.engine, &err),
                             MICA_STATUS_INVALID);
            assert_non_null(strstr(err.message, "check_only"));
            mica_model_close(&f.model);
            int64_t before = counter.live_bytes;
            mo = (mica_model_options){.struct_bytes = sizeof mo, .read_into_memory = true};
            assert_ok(mica_model_open(rt, DEMO_FOLDER, &mo, &f.model, &err));
            assert_ok(mica_engine_create(f.model, &eo, &f.engine, &err));
            assert_int_equal(estimate.kv_bytes, mica_engine_kv_bytes(f.engine));
            generate(&f, ids, 512, 3, &g);
            double taken = (double)(counter.live_bytes - before),
                   said = (double)estimate.total_bytes;
            printf("context %lld: said %.0f, took %.0f (%+.2f %%)\n", (long long)context, said,
                   taken, 100 * (taken / said - 1));
            assert_true(fabs(taken / said - 1) < 0.03);
            fixture_close(&f);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversations),
        cmocka_unit_test(all_prompt_rows),
        cmocka_unit_test(context_exactly_full),
        cmocka_unit_test(pages_run_out),
        cmocka_unit_test(a_step_fails),
        cmocka_unit_test(progress_cancels),
        cmocka_unit_test(wrong_arguments),
        cmocka_unit_test(full_queue),
        cmocka_unit_test(outsiders_beside_step),
        cmocka_unit_test(several_at_once),
        cmocka_unit_test(one_budget),
        cmocka_unit_test(unload_returns),
        cmocka_unit_test(estimate_is_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
