/* Models whose rotary table depends on the length of the sequence (longrope, dynamic): each
 * sequence has one table for its life, sequences of one pass may have different ones, and a cache
 * that was turned by another table is not used. The values themselves:
 * src/model/family_golden_test.c. */
#include "test.h"
#include "model_test.h"
#include "engine/runner.h"

#define LONGROPE                                                                                   \
    MICA_SOURCE_DIR "/tests/data/golden/phi3_longrope"             /* original length 64 of 512    \
                                                                    */
#define DYNAMIC MICA_SOURCE_DIR "/tests/data/golden/llama_dynamic" /* 64 positions, factor 4 */
#define VOCAB 320

static void fill_ids(int32_t *ids, int64_t n, uint64_t seed) {
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)(test_random(&seed) % VOCAB);
}

/* Continues `from` (0 = nothing) with n ids; the reply also as computed from nothing. Returns how
 * many tokens came from the cache, and the new ticket. */
static int64_t check_continued(model_fixture *f, const int32_t *ids, size_t n, int64_t max_tokens,
                               mica_ticket *from) {
    mica_error err = {0};
    float logits[2][VOCAB];
    generation g = {.first_logits = logits[0]}, fresh = {.first_logits = logits[1]};
    mica_request r = {.ids = ids, .n_ids = n, .max_tokens = max_tokens, .keep = true};
    r.continue_from = *from;
    assert_ok(generate_request(f, &r, &g, &err));
    generate(f, ids, n, max_tokens, &fresh);
    assert_int_equal(fresh.n_cached, 0);
    assert_int_equal(g.n, max_tokens);
    assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
    assert_memory_equal(g.ids, fresh.ids, (size_t)g.n * sizeof *g.ids);
    *from = g.ticket;
    return g.n_cached;
}

/* Proves: kept pages are used again while the table stays, and not when the sequence gets another,
 * in either direction; replies are those of a fresh sequence to the bit. */
static void another_table_recomputes(void **state) {
    (void)state;
    int32_t ids[256];
    fill_ids(ids, 256, 11);
    model_fixture f;
    fixture_open(&f, &(fixture_options){.folder = LONGROPE, .mode = MICA_EXACT, .n_sequences = 2});
    mica_ticket from = 0;
    assert_int_equal(check_continued(&f, ids, 20, 8, &from), 0);  /* ends at 27: short */
    assert_int_equal(check_continued(&f, ids, 40, 8, &from), 20); /* ends at 47: short */
    assert_int_equal(check_continued(&f, ids, 57, 8, &from), 40); /* ends at 64: still short */
    assert_int_equal(check_continued(&f, ids, 58, 8, &from), 57); /* becomes long on the way */
    assert_int_equal(check_continued(&f, ids, 90, 8, &from), 58); /* long from the first */
    assert_int_equal(check_continued(&f, ids, 30, 8, &from), 0);  /* short again */
    fixture_close(&f);
    fixture_open(&f, &(fixture_options){.folder = DYNAMIC, .mode = MICA_EXACT, .n_sequences = 2});
    from = 0;
    assert_int_equal(check_continued(&f, ids, 20, 8, &from), 0);
    assert_int_equal(check_continued(&f, ids, 50, 8, &from), 20);
    assert_int_equal(check_continued(&f, ids, 70, 8, &from), 0);  /* ends at 77 */
    assert_int_equal(check_continued(&f, ids, 70, 9, &from), 0);  /* another base */
    assert_int_equal(check_continued(&f, ids, 72, 7, &from), 70); /* the same end, the same base */
    fixture_close(&f);
}

static void count_position(void *context, int64_t position, const float *logits) {
    int32_t *seen = context;
    (void)logits;
    seen[position]++;
}

/* Proves: a longrope reply that crosses the original length has, at every token, the logits of a
 * fresh prompt of the tokens so far: the rule of transformers. */
static void every_token_has_the_table_of_its_length(void **state) {
    (void)state;
    enum { FIRST = 58, MOST = 12 };
    float fresh_logits[VOCAB];
    int32_t ids[FIRST + MOST];
    model_fixture f;
    fill_ids(ids, FIRST, 3);
    fixture_open(&f, &(fixture_options){.folder = LONGROPE, .mode = MICA_EXACT, .n_sequences = 2});
    generation g = {0};
    generate(&f, ids, FIRST, MOST, &g);
    assert_int_equal(g.n, MOST);
    memcpy(ids + FIRST, g.ids, MOST * sizeof *ids);
    for (int k = 0; k < MOST; k++) {
        generation fresh = {.first_logits = fresh_logits};
        generate(&f, ids, (size_t)(FIRST + k), 1, &fresh);
        assert_int_equal(fresh.ids[0], g.ids[k]);
    }
    fixture_close(&f);
}

/* Proves: prompt logits and the prefill's progress are told once, also when the cache is computed
 * again in the middle of a reply. */
static void growing_reports_nothing_twice(void **state) {
    (void)state;
    int32_t ids[60], seen[60] = {0};
    model_fixture f;
    fill_ids(ids, 60, 7);
    fixture_open(&f, &(fixture_options){.folder = LONGROPE, .mode = MICA_EXACT});
    generation g = {.on_logits = count_position, .logits_context = seen};
    generate(&f, ids, 60, 10, &g);
    assert_int_equal(g.n, 10);
    for (int i = 0; i < 60; i++) assert_int_equal(seen[i], 1);
    fixture_close(&f);
}

/* Proves: dynamic reaches factor times max_position_embeddings, and no further. */
static void dynamic_context(void **state) {
    (void)state;
    mica_error err = {0};
    model_fixture f;
    mica_model_info info;
    mica_memory_estimate estimate;
    fixture_open(&f, &(fixture_options){.folder = DYNAMIC});
    mica_model_get_info(f.model, &info);
    assert_int_equal(info.context_max, 256);
    assert_int_equal(mica_engine_context(f.engine), 256);
    assert_ok(mica_model_estimate(f.model, 256, MICA_FAST, &estimate, &err));
    assert_int_equal(mica_model_estimate(f.model, 257, MICA_FAST, &estimate, &err),
                     MICA_STATUS_INVALID);
    fixture_close(&f);
    mica_status st =
        fixture_try_open(&f, &(fixture_options){.folder = DYNAMIC, .context = 257}, &err);
    assert_int_equal(st, MICA_STATUS_LIMIT);
    fixture_close(&f);
}

/* ---- several sequences in one pass ---- */

#define N_SEQUENCES 3

typedef struct pass_case {
    model_fixture fixture;
    mica_page_pool pools[MICA_KV_GROUPS_MAX];
    mica_sequence sequences[N_SEQUENCES];
    mica_runner runner;
} pass_case;

static void open_pass(pass_case *c, const char *folder) {
    mica_error err = {0};
    fixture_open(&c->fixture, &(fixture_options){.folder = folder, .mode = MICA_EXACT});
    const mica_model *m = c->fixture.model;
    mica_forward_shape shape = {.n_tokens = 128, .n_rows = N_SEQUENCES, .mode = MICA_EXACT};
    shape.n_sequences = N_SEQUENCES;
    for (size_t g = 0; g < m->n_kv_groups; g++) {
        shape.table_width[g] = (int32_t)mica_kv_group_pages(&m->kv_groups[g], 256);
        shape.n_pages[g] = shape.table_width[g] * N_SEQUENCES;
        assert_ok(mica_page_pool_init(&c->pools[g], m->runtime, &m->kv_groups[g], MICA_EXACT,
                                      shape.n_pages[g], &err));
    }
    for (int i = 0; i < N_SEQUENCES; i++)
        assert_ok(mica_sequence_init(&c->sequences[i], m, 256, &err));
    assert_ok(mica_runner_init(&c->runner, m, &shape, c->pools, &err));
}

static void close_pass(pass_case *c) {
    const mica_model *m = c->fixture.model;
    mica_runner_deinit(&c->runner);
    for (int i = 0; i < N_SEQUENCES; i++) {
        mica_sequence_clear(&c->sequences[i], c->pools);
        mica_sequence_deinit(&c->sequences[i], &m->runtime->host);
    }
    for (size_t g = 0; g < m->n_kv_groups; g++) mica_page_pool_deinit(&c->pools[g], m->runtime);
    fixture_close(&c->fixture);
}

/* Runs a prompt of n ids for each sequence in the mask, in one pass; out [N_SEQUENCES, VOCAB]. */
static void run_pass(pass_case *c, unsigned mask, const int32_t *ids, float *out) {
    static const int64_t n[N_SEQUENCES] = {30, 41, 17}, lengths[N_SEQUENCES] = {64, 200, 90};
    mica_error err = {0};
    int32_t row = 0;
    mica_batch_begin(&c->runner.batch);
    for (int i = 0; i < N_SEQUENCES; i++) {
        if (!(mask >> i & 1)) continue;
        mica_sequence *s = &c->sequences[i];
        mica_sequence_begin_rope(s, c->fixture.model, lengths[i], lengths[i]);
        s->n_cached = 0;
        mica_sequence_set_prompt(s, c->pools, ids + 50 * i, n[i]);
        assert_true(mica_sequence_reserve(s, c->pools, n[i]));
        mica_batch_add(&c->runner.batch, s, (int32_t)n[i], 1);
    }
    assert_ok(mica_runner_run(&c->runner, &err));
    for (int i = 0; i < N_SEQUENCES; i++)
        if (mask >> i & 1)
            memcpy(out + i * VOCAB, mica_runner_logits(&c->runner, row++), VOCAB * sizeof *out);
}

/* Proves: three sequences of one pass, each with a table of its own, give the bits of three passes,
 * and the tables differ. */
static void tables_of_one_pass(void **state) {
    (void)state;
    static const char *const folders[] = {LONGROPE, DYNAMIC};
    for (int k = 0; k < 2; k++) {
        static float together[N_SEQUENCES * VOCAB], alone[N_SEQUENCES * VOCAB];
        int32_t ids[200];
        pass_case c = {0};
        fill_ids(ids, 200, 5);
        open_pass(&c, folders[k]);
        run_pass(&c, 7, ids, together);
        for (int i = 0; i < N_SEQUENCES; i++) run_pass(&c, 1u << i, ids, alone);
        assert_memory_equal(together, alone, sizeof alone);
        size_t bytes = (size_t)c.sequences[0].n_rope_pairs * sizeof(float);
        assert_true(bytes > 0);
        assert_memory_not_equal(c.sequences[0].rope, c.sequences[1].rope, bytes);
        if (k == 1) assert_memory_not_equal(c.sequences[1].rope, c.sequences[2].rope, bytes);
        close_pass(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_table_recomputes),
        cmocka_unit_test(every_token_has_the_table_of_its_length),
        cmocka_unit_test(growing_reports_nothing_twice),
        cmocka_unit_test(dynamic_context),
        cmocka_unit_test(tables_of_one_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
