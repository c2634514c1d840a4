/* Timed passes of the demo model: what the callback sees, that the logits stay the same bits, and
 * what happens without memory or without a backend that has clocks. */
#include "mica/profile.h"
#include "base/alloc.h"
#include "model_test.h"

static const int32_t PROMPT[] = {899, 260, 2261, 11, 260, 1715, 285, 1641, 794, 6094};
#define N_PROMPT (sizeof PROMPT / sizeof *PROMPT)
#define N_TOKENS 5

typedef struct seen {
    int n_passes;
    int64_t n_tokens;
    size_t n_steps_last;
} seen;

static void check_worker(const mica_profile_pass *pass, int worker) {
    const mica_profile_time *times = pass->times + (size_t)worker * pass->n_steps;
    double last = 0;
    for (size_t i = 0; i < pass->n_steps; i++) {
        assert_true(times[i].arrive >= last && times[i].begin >= times[i].arrive);
        assert_true(times[i].end >= times[i].begin);
        assert_true(times[i].begin == times[i].arrive || pass->steps[i].has_barrier);
        last = times[i].end;
    }
    assert_true(pass->seconds >= last);
}

static void take_pass(void *context, const mica_profile_pass *pass) {
    seen *s = context;
    bool has_head = false;
    s->n_passes++;
    s->n_tokens += pass->n_tokens;
    s->n_steps_last = pass->n_steps;
    assert_true(pass->n_tokens <= pass->n_capacity && pass->n_rows == 1);
    for (int w = 0; w < pass->n_workers; w++) check_worker(pass, w);
    for (size_t i = 0; i < pass->n_steps; i++) {
        const mica_profile_step *step = &pass->steps[i];
        assert_non_null(step->op);
        assert_non_null(strchr(step->result, '['));
        has_head |= step->weight && strcmp(step->weight, "lm_head.weight") == 0;
    }
    assert_true(pass->n_workers == 2 && has_head);
}

/* Proves: every pass is seen, whole and in order, while a callback is set, and none after; the
 * tokens are those of a run without clocks. */
static void passes_are_told(void **state) {
    (void)state;
    mica_error err = {0};
    model_fixture f;
    generation plain = {0}, timed = {0}, after = {0};
    seen s = {0};
    fixture_open(&f, &(fixture_options){.n_threads = 2});
    generate(&f, PROMPT, N_PROMPT, N_TOKENS, &plain);
    assert_ok(mica_engine_set_profile(f.engine, take_pass, &s, &err));
    generate(&f, PROMPT, N_PROMPT, N_TOKENS, &timed);
    assert_int_equal(s.n_passes, N_TOKENS);
    assert_int_equal(s.n_tokens, N_PROMPT + N_TOKENS - 1);
    assert_true(s.n_steps_last > 10);
    assert_memory_equal(plain.ids, timed.ids, N_TOKENS * sizeof(int32_t));
    assert_ok(mica_engine_set_profile(f.engine, NULL, NULL, &err));
    generate(&f, PROMPT, N_PROMPT, N_TOKENS, &after);
    assert_int_equal(s.n_passes, N_TOKENS);
    fixture_close(&f);
}

/* Proves: without an engine, and on a backend that has no clocks, it says so; passes go on. */
static void what_cannot_be_timed(void **state) {
    (void)state;
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_model *model = NULL;
    mica_engine *engine = NULL;
    mica_runtime_options o = {.struct_bytes = sizeof o, .backend = "null"};
    assert_int_equal(mica_engine_set_profile(NULL, take_pass, NULL, &err), MICA_STATUS_INVALID);
    assert_ok(mica_runtime_open(&o, &rt, &err));
    assert_ok(mica_model_open(rt, DEMO_FOLDER, NULL, &model, &err));
    assert_ok(mica_engine_create(model, NULL, &engine, &err));
    assert_int_equal(mica_engine_set_profile(engine, take_pass, NULL, &err),
                     MICA_STATUS_UNAVAILABLE);
    assert_ok(mica_engine_set_profile(engine, NULL, NULL, &err));
    mica_engine_destroy(&engine);
    mica_model_close(&model);
    mica_runtime_close(&rt);
}

static mica_alloc_counter counter;

static void ignore_pass(void *context, const mica_profile_pass *pass) {
    (void)pass;
    ++*(int *)context;
}

/* Proves: a pass that finds no memory for its times ends its request with an error, whichever
 * allocation fails; the engine lives and the next request is well. */
static void no_memory(void **state) {
    (void)state;
    mica_error err = {0};
    model_fixture f;
    int n_passes = 0;
    mica_alloc_counter_init(&counter, mica_allocator_default());
    fixture_open(&f, &(fixture_options){.n_threads = 1, .allocator = &counter.allocator});
    generation first = {0};
    generate(&f, PROMPT, N_PROMPT, 2, &first);
    assert_ok(mica_engine_set_profile(f.engine, ignore_pass, &n_passes, &err));
    bool has_failed = false;
    for (int64_t n = 1; n <= 200; n++) {
        generation g = {0};
        mica_request r = {.ids = PROMPT, .n_ids = N_PROMPT, .max_tokens = 2};
        counter.fail_at = counter.n_calls + n;
        mica_status st = generate_request(&f, &r, &g, &err);
        bool is_over = counter.n_calls < counter.fail_at;
        counter.fail_at = 0;
        has_failed |= st != MICA_STATUS_OK || g.finish == MICA_FINISH_ERROR;
        if (is_over) break;
    }
    assert_true(has_failed);
    generation last = {0};
    n_passes = 0;
    generate(&f, PROMPT, N_PROMPT, 2, &last);
    assert_int_equal(n_passes, 2);
    assert_memory_equal(first.ids, last.ids, 2 * sizeof(int32_t));
    fixture_close(&f);
    assert_int_equal(counter.live_bytes, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_are_told),
        cmocka_unit_test(what_cannot_be_timed),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
