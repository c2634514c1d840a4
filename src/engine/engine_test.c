/* The engine on the demo model: same bits however the work is cut, no allocation per token, a bound
 * on plans, requests that end early, and no memory at every allocation. */
#include "model_test.h"
#include <pthread.h>
#include "base/alloc.h"
#include "core/runtime.h"

static const int32_t PROMPT[] = {899,  260,  2261, 11,   260,  1715, 285,  1641,
                                 794,  6094, 2125, 11,   296,  260,  1715, 285,
                                 1641, 3773, 589,  2135, 2125, 11,   296,  1666};
#define N_PROMPT (sizeof PROMPT / sizeof *PROMPT)

/* A prompt of n ids that repeats nothing too soon. */
static void fill_prompt(int32_t *ids, size_t n) {
    uint64_t state = 7;
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)(test_random(&state) % 8000);
}

typedef struct hash_rows {
    uint64_t hash; /* of all rows so far, by position */
    int64_t vocab;
    int64_t n;
} hash_rows;

static void hash_row(void *context, int64_t position, const float *logits) {
    hash_rows *h = context;
    uint64_t x = 1469598103934665603u + (uint64_t)position;
    for (int64_t i = 0; i < h->vocab; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], 4);
        x = (x ^ bits) * 1099511628211u;
    }
    h->hash += x; /* order of arrival does not matter, position does */
    h->n++;
}

static uint64_t hash_prompt(const fixture_options *o, const int32_t *ids, size_t n) {
    model_fixture f;
    fixture_open(&f, o);
    hash_rows h = {.vocab = f.vocab};
    generation g = {.on_logits = hash_row, .logits_context = &h};
    generate(&f, ids, n, 1, &g);
    assert_int_equal(h.n, n);
    fixture_close(&f);
    return h.hash;
}

/* Proves: the logits of every position are bit-identical for any chunking and any thread count, in
 * both modes, windows and page borders included. */
static void same_bits_for_chunks_and_threads(void **state) {
    (void)state;
    int32_t ids[300];
    fill_prompt(ids, 300);
    for (int mode = 0; mode < 2; mode++) {
        fixture_options o = {.mode = (mica_numeric_mode)mode, .n_threads = 1, .chunk_tokens = 512};
        uint64_t want = hash_prompt(&o, ids, 300);
        const int32_t chunks[] = {1, 2, 16, 64, 128};
        for (size_t c = 0; c < 5; c++) {
            o.chunk_tokens = chunks[c];
            o.n_threads = 1 + (int)(c % 3);
            assert_int_equal(hash_prompt(&o, ids, 300), want);
        }
    }
}

/* Proves: a reply continued from kept pages equals one computed from nothing, and reuses them. */
static void continued_equals_fresh(void **state) {
    (void)state;
    mica_error err = {0};
    model_fixture f;
    int32_t ids[400];
    fixture_open(&f, &(fixture_options){.mode = MICA_EXACT});
    fill_prompt(ids, 150);
    mica_request r = {.ids = ids, .n_ids = 150, .max_tokens = 20, .keep = true};
    generation first = {0}, next = {0}, fresh = {0};
    assert_ok(generate_request(&f, &r, &first, &err));
    memcpy(ids + 150, first.ids, 20 * sizeof *ids);
    fill_prompt(ids + 170, 40);
    mica_request more = {.ids = ids, .n_ids = 210, .max_tokens = 20, .keep = true};
    more.continue_from = first.ticket;
    assert_ok(generate_request(&f, &more, &next, &err));
    assert_int_equal(next.n_cached, 169); /* all but the token that was sampled last */
    generate(&f, ids, 210, 20, &fresh);
    assert_int_equal(fresh.n_cached, 0);
    assert_memory_equal(next.ids, fresh.ids, 20 * sizeof(int32_t));
    /* A prompt that leaves the old one long before its end: rings are gone, nothing is reused. */
    ids[5] ^= 1;
    more.continue_from = next.ticket;
    more.keep = false;
    generation other = {0}, plain = {0};
    assert_ok(generate_request(&f, &more, &other, &err));
    assert_int_equal(other.n_cached, 0);
    generate(&f, ids, 210, 20, &plain);
    assert_memory_equal(other.ids, plain.ids, 20 * sizeof(int32_t));
    fixture_close(&f);
}

static mica_alloc_counter counter;
static int64_t calls_at_first, calls_at_last;

static bool watch_calls(void *context, const mica_event *e) {
    generation *g = context;
    if (++g->n == 3) calls_at_first = counter.n_calls;
    if (e->id >= 0) calls_at_last = counter.n_calls;
    return true;
}

/* Proves: decoding allocates nothing per token and builds no plan; a run builds few plans. */
static void no_allocation_per_token(void **state) {
    (void)state;
    mica_error err = {0};
    model_fixture f;
    mica_alloc_counter_init(&counter, mica_allocator_default());
    fixture_open(&f, &(fixture_options){.allocator = &counter.allocator});
    mica_runtime_stats before, after;
    mica_runtime_get_stats(f.runtime, &before);
    generation g = {0};
    mica_request r = {
        .struct_bytes = sizeof r, .ids = PROMPT, .n_ids = N_PROMPT, .max_tokens = 100};
    r.sampling = (mica_sampling){.temperature = 0.8f, .top_p = 0.9f, .top_k = 40, .seed = 3};
    r.on_event = watch_calls;
    r.context = &g;
    mica_ticket ticket;
    assert_ok(mica_engine_submit(f.engine, &r, &ticket, &err));
    while (mica_engine_is_busy(f.engine)) assert_ok(mica_engine_step(f.engine, &err));
    assert_int_equal(g.n, 100);
    assert_int_equal(calls_at_last - calls_at_first, 0);
    mica_runtime_get_stats(f.runtime, &after);
    assert_true(after.n_plans_built - before.n_plans_built <= 1); /* the prompt's bucket */
    assert_true(after.n_plans_built <= 2);                        /* and decode, at creation */
    assert_int_equal(after.n_runs - before.n_runs, 100);          /* one prompt pass, 99 tokens */
    fixture_close(&f);
    assert_int_equal(counter.n_live, 0);
}

/* Proves: a prompt that cannot be answered is refused before work, with both numbers; a reply that
 * fills the context ends and says so. */
static void context_limits(void **state) {
    (void)state;
    mica_error err = {0};
    model_fixture f;
    int32_t ids[128];
    fill_prompt(ids, 128);
    fixture_open(&f, &(fixture_options){.context = 100});
    mica_ticket ticket;
    mica_request r = {.struct_bytes = sizeof r, .ids = ids, .n_ids = 100};
    assert_int_equal(mica_engine_submit(f.engine, &r, &ticket, &err), MICA_STATUS_CONTEXT_FULL);
    assert_non_null(strstr(err.message, "101"));
    assert_non_null(strstr(err.message, "100"));
    generation g = {0};
    generate(&f, ids, 90, 0, &g);
    assert_int_equal(g.n, 10);
    assert_int_equal(g.finish, MICA_FINISH_CONTEXT);
    r.n_ids = 0;
    assert_int_equal(mica_engine_submit(f.engine, &r, &ticket, &err), MICA_STATUS_INVALID);
    ids[3] = (int32_t)f.vocab;
    r.n_ids = 10;
    assert_int_equal(mica_engine_submit(f.engine, &r, &ticket, &err), MICA_STATUS_INVALID);
    assert_non_null(strstr(err.message, "position 3"));
    ids[3] = -1;
    assert_int_equal(mica_engine_submit(f.engine, &r, &ticket, &err), MICA_STATUS_INVALID);
    fixture_close(&f);
}

static bool stop_at_five(void *context, const mica_event *e) {
    generation *g = context;
    generation_event(g, e);
    return g->n < 5;
}

/* Proves: stop ids, max_tokens, a callback that says stop, and cancel end a request as documented.
 */
static void ends_of_a_request(void **state) {
    (void)state;
    mica_error err = {0};
    model_fixture f;
    fixture_open(&f, &(fixture_options){.mode = MICA_EXACT});
    generation free_run = {.n = 0}, g = {.n = 0};
    generate(&f, PROMPT, N_PROMPT, 12, &free_run);
    assert_int_equal(free_run.finish, MICA_FINISH_LENGTH);
    mica_request r = {
        .ids = PROMPT, .n_ids = N_PROMPT, .stop_ids = &free_run.ids[4], .n_stop_ids = 1};
    assert_ok(generate_request(&f, &r, &g, &err));
    assert_int_equal(g.finish, MICA_FINISH_STOP);
    assert_int_equal(g.ids[g.n - 1], free_run.ids[4]);
    generation c = {.vocab = f.vocab};
    mica_request stopped = {.struct_bytes = sizeof stopped, .ids = PROMPT, .n_ids = N_PROMPT};
    stopped.on_event = stop_at_five;
    stopped.context = &c;
    mica_ticket ticket;
    assert_ok(mica_engine_submit(f.engine, &stopped, &ticket, &err));
    while (mica_engine_is_busy(f.engine)) assert_ok(mica_engine_step(f.engine, &err));
    assert_int_equal(c.n, 5);
    assert_int_equal(c.finish, MICA_FINISH_STOP);
    generation d = {.vocab = f.vocab};
    mica_request cancelled = stopped;
    cancelled.on_event = generation_event;
    cancelled.context = &d;
    assert_ok(mica_engine_submit(f.engine, &cancelled, &ticket, &err));
    for (int i = 0; i < 4; i++) assert_ok(mica_engine_step(f.engine, &err));
    mica_engine_cancel(f.engine, ticket);
    assert_ok(mica_engine_step(f.engine, &err));
    assert_false(mica_engine_is_busy(f.engine));
    assert_int_equal(d.finish, MICA_FINISH_CANCELLED);
    fixture_close(&f);
}

/* Proves: the same seed gives the same tokens, another seed others. */
static void seeded_sampling(void **state) {
    (void)state;
    mica_error err = {0};
    model_fixture f;
    fixture_open(&f, &(fixture_options){.mode = MICA_FAST});
    static generation g[3];
    for (int i = 0; i < 3; i++) {
        mica_request r = {.ids = PROMPT, .n_ids = N_PROMPT, .max_tokens = 24};
        r.sampling = (mica_sampling){.temperature = 1, .seed = i == 2 ? 8 : 7};
        assert_ok(generate_request(&f, &r, &g[i], &err));
    }
    assert_memory_equal(g[0].ids, g[1].ids, 24 * sizeof(int32_t));
    assert_memory_not_equal(g[0].ids, g[2].ids, 24 * sizeof(int32_t));
    fixture_close(&f);
}

typedef struct submitter {
    mica_engine *engine;
    generation g[4];
    mica_status status;
} submitter;

static void *submit_from_thread(void *context) {
    submitter *s = context;
    for (int i = 0; i < 4; i++) {
        mica_error err = {0};
        mica_request r = {.struct_bytes = sizeof r, .ids = PROMPT, .n_ids = N_PROMPT};
        r.max_tokens = 4;
        r.on_event = generation_event;
        r.context = &s->g[i];
        if (mica_engine_submit(s->engine, &r, &s->g[i].ticket, &err)) s->status = err.status;
        if (i == 2) mica_engine_cancel(s->engine, s->g[i].ticket);
    }
    return NULL;
}

/* Proves: requests may come and be cancelled from other threads; each gets its own reply. */
static void requests_from_threads(void **state) {
    (void)state;
    mica_error err = {0};
    model_fixture f;
    fixture_open(&f, &(fixture_options){.mode = MICA_EXACT});
    submitter *s = calloc(3, sizeof *s);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        s[i].engine = f.engine;
        assert_int_equal(pthread_create(&threads[i], NULL, submit_from_thread, &s[i]), 0);
    }
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    while (mica_engine_is_busy(f.engine)) assert_ok(mica_engine_step(f.engine, &err));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(s[i].status, MICA_STATUS_OK);
        assert_int_equal(s[i].g[2].finish, MICA_FINISH_CANCELLED);
        for (int j = 0; j < 4; j++)
            if (j != 2) assert_memory_equal(s[i].g[j].ids, s[0].g[0].ids, 4 * sizeof(int32_t));
    }
    free(s);
    fixture_close(&f);
}

/* One load and a short generation with the n-th allocation failing; true once nothing failed. */
static bool survives_failure_at(int64_t n) {
    mica_error err = {0};
    model_fixture f;
    generation g = {0};
    mica_alloc_counter c;
    mica_alloc_counter_init(&c, mica_allocator_default());
    c.fail_at = n;
    fixture_options o = {.n_threads = 1, .allocator = &c.allocator, .context = 256};
    mica_status st = fixture_try_open(&f, &o, &err);
    if (!st) {
        mica_request r = {.ids = PROMPT, .n_ids = N_PROMPT, .max_tokens = 2};
        st = generate_request(&f, &r, &g, &err);
        if (!st && g.finish == MICA_FINISH_ERROR) st = g.error.status;
    }
    fixture_close(&f);
    if (c.n_live != 0)
        fail_msg("allocation %lld failed: %lld blocks leak", (long long)n, (long long)c.n_live);
    if (c.n_calls < n) {
        printf("%lld allocator calls for a load and a generation\n", (long long)c.n_calls);
        assert_int_equal(st, MICA_STATUS_OK);
        assert_true(c.n_calls < 2000);
        return true;
    }
    if (st != MICA_STATUS_OUT_OF_MEMORY)
        fail_msg("allocation %lld failed: status %s (%s)", (long long)n, mica_status_name(st),
                 err.message);
    return false;
}

/* Proves: any allocation of load and generate may fail: a status, no leak, no crash. MICA_SOAK runs
 * every one, else a stride does. */
static void survives_out_of_memory(void **state) {
    (void)state;
    int64_t stride = getenv("MICA_SOAK") ? 1 : 17;
    for (int64_t n = 1; !survives_failure_at(n); n += stride) continue;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_for_chunks_and_threads),
        cmocka_unit_test(continued_equals_fresh),
        cmocka_unit_test(no_allocation_per_token),
        cmocka_unit_test(context_limits),
        cmocka_unit_test(ends_of_a_request),
        cmocka_unit_test(seeded_sampling),
        cmocka_unit_test(requests_from_threads),
        cmocka_unit_test(survives_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
