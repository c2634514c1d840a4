/* Sequences: pages as tokens come, and which prefix of the cache a new prompt may keep. The cache
 * is modelled slot by slot, so that what must not be reused is known. */
#include "engine/sequence.h"
#include "test.h"
#include "base/alloc.h"
#include "mica/mica.h"

#define CONTEXT 1000
#define WINDOW 100 /* ring of 3 pages */

typedef struct sequence_case {
    mica_runtime *runtime;
    mica_model model; /* groups alone */
    mica_page_pool pools[MICA_KV_GROUPS_MAX];
    mica_sequence sequence;
} sequence_case;

static void open_case(sequence_case *c, int64_t n_pages, int64_t n_ring_pages) {
    mica_error err = {0};
    mica_runtime_options o = {.struct_bytes = sizeof o, .n_threads = 1};
    *c = (sequence_case){0};
    assert_ok(mica_runtime_open(&o, &c->runtime, &err));
    c->model = (mica_model){.runtime = c->runtime, .n_kv_groups = 2};
    c->model.kv_groups[0] = (mica_kv_group){.n_layers = 1, .n_kv_heads = 1, .head_dim = 2};
    c->model.kv_groups[1] = c->model.kv_groups[0];
    c->model.kv_groups[1].window = WINDOW;
    const int64_t pages[2] = {n_pages, n_ring_pages};
    for (int g = 0; g < 2; g++)
        assert_ok(mica_page_pool_init(&c->pools[g], c->runtime, &c->model.kv_groups[g], MICA_FAST,
                                      pages[g], &err));
    assert_ok(mica_sequence_init(&c->sequence, &c->model, CONTEXT, &err));
}

static void close_case(sequence_case *c) {
    mica_sequence_clear(&c->sequence, c->pools);
    for (int g = 0; g < 2; g++) {
        assert_int_equal(c->pools[g].n_free, c->pools[g].n_pages);
        mica_page_pool_deinit(&c->pools[g], c->runtime);
    }
    mica_sequence_deinit(&c->sequence, &c->runtime->host);
    mica_runtime_close(&c->runtime);
}

/* Proves: pages are taken as tokens need them, a ring never more than its width, each once. */
static void reserve(void **state) {
    (void)state;
    sequence_case c;
    open_case(&c, 16, 3);
    const int64_t tokens[] = {1, 64, 65, 10, 128, 129, 999, 1000};
    const int32_t pages[] = {1, 1, 2, 2, 2, 3, 16, 16}, ring[] = {1, 1, 2, 2, 2, 3, 3, 3};
    assert_int_equal(c.sequence.table_width[0], 16);
    assert_int_equal(c.sequence.table_width[1], 3);
    for (int i = 0; i < 8; i++) {
        assert_true(mica_sequence_reserve(&c.sequence, c.pools, tokens[i]));
        assert_int_equal(c.sequence.n_pages[0], pages[i]);
        assert_int_equal(c.sequence.n_pages[1], ring[i]);
    }
    assert_true(
        mica_sequence_reserve(&c.sequence, c.pools, INT64_C(1) << 40)); /* capped by the table */
    close_case(&c);
}

/* Proves: a reservation that the pools cannot meet fails, and clear gives back what was taken. */
static void exhausted_pools(void **state) {
    (void)state;
    sequence_case c;
    open_case(&c, 5, 2);
    assert_true(mica_sequence_reserve(&c.sequence, c.pools, 128));
    assert_false(mica_sequence_reserve(&c.sequence, c.pools, 6 * 64)); /* pages */
    assert_false(mica_sequence_reserve(&c.sequence, c.pools, 3 * 64)); /* the ring */
    mica_sequence_clear(&c.sequence, c.pools);
    assert_int_equal(c.pools[0].n_free, 5);
    assert_int_equal(c.pools[1].n_free, 2);
    close_case(&c);
}

/* Proves: a sequence that finds no memory leaks nothing. */
static void init_fails(void **state) {
    (void)state;
    sequence_case c;
    mica_sequence s;
    mica_error err = {0};
    open_case(&c, 1, 1);
    for (int64_t n = 1;; n++) {
        mica_alloc_counter counter;
        mica_alloc_counter_init(&counter, mica_allocator_default());
        counter.fail_at = n;
        mica_runtime rt = {.host.allocator = &counter.allocator};
        mica_model model = c.model;
        model.runtime = &rt;
        model.n_rope_pairs = 8;
        mica_status st = mica_sequence_init(&s, &model, CONTEXT, &err);
        mica_sequence_deinit(&s, &rt.host);
        assert_int_equal(counter.n_live, 0);
        if (!st) break;
        assert_int_equal(st, MICA_STATUS_OUT_OF_MEMORY);
    }
    close_case(&c);
}

/* ---- prefixes ---- */

/* What a cache of one layer holds: the token of each slot, and the position it was written for. */
typedef struct cache_model {
    int32_t id[2][CONTEXT + 64];
    int64_t position[2][CONTEXT + 64];
} cache_model;

static int64_t slot_of(const mica_sequence *s, size_t g, int64_t position) {
    return position / 64 % s->table_width[g] * 64 + position % 64;
}

/* Computes tokens up to `length`: writes their slots. */
static void compute(mica_sequence *s, cache_model *m, int64_t length) {
    for (; s->n_cached < length; s->n_cached++)
        for (size_t g = 0; g < 2; g++) {
            int64_t slot = slot_of(s, g, s->n_cached);
            m->id[g][slot] = s->ids[s->n_cached];
            m->position[g][slot] = s->n_cached;
        }
}

/* Every key that the tokens to come may look at must lie in its slot. */
static void check_cache(const mica_sequence *s, const cache_model *m) {
    for (size_t g = 0; g < 2; g++) {
        int64_t first = g ? s->n_cached - WINDOW + 1 : 0;
        for (int64_t p = first < 0 ? 0 : first; p < s->n_cached; p++) {
            int64_t slot = slot_of(s, g, p);
            if (m->position[g][slot] != p || m->id[g][slot] != s->ids[p])
                fail_msg("group %zu: the slot of position %lld holds %lld", g, (long long)p,
                         (long long)m->position[g][slot]);
        }
    }
}

/* Proves: after any history of prompts and replies, long and short, what is reused is still there:
 * rings that a longer reply has overwritten are not taken for whole. */
static void prefixes_are_still_there(void **state) {
    (void)state;
    sequence_case c;
    uint64_t seed = test_seed();
    int64_t n_reused = 0;
    open_case(&c, 16, 3);
    mica_sequence *s = &c.sequence;
    for (int chat = 0; chat < 300; chat++) {
        static cache_model m;
        int32_t ids[CONTEXT];
        int64_t n = 1 + (int64_t)(test_random(&seed) % (CONTEXT - 200));
        memset(&m, -1, sizeof m);
        mica_sequence_clear(s, c.pools);
        for (int i = 0; i < CONTEXT; i++) ids[i] = (int32_t)(test_random(&seed) % 50);
        for (int turn = 0; turn < 12; turn++) {
            mica_sequence_set_prompt(s, c.pools, ids, n);
            assert_true(s->n_cached < n && s->n_ids == n);
            n_reused += s->n_cached;
            assert_true(mica_sequence_reserve(s, c.pools, n));
            check_cache(s, &m);
            compute(s, &m, n);
            int64_t reply = (int64_t)(test_random(&seed) % 60),
                    back = (int64_t)(test_random(&seed) % 90);
            while (reply-- && s->n_ids < CONTEXT) {
                s->ids[s->n_ids++] = (int32_t)(test_random(&seed) % 50);
                if (reply) compute(s, &m, s->n_ids); /* the last one is not computed */
            }
            /* The next prompt: this one cut a little back, and something new. */
            memcpy(ids, s->ids, (size_t)s->n_ids * sizeof *ids);
            n = s->n_ids - back < 1 ? 1 : s->n_ids - back;
            ids[n - 1] = (int32_t)(test_random(&seed) % 50);
            n += (int64_t)(test_random(&seed) % 20);
            if (n > CONTEXT - 1) n = CONTEXT - 1;
        }
    }
    assert_true(n_reused > 100000);
    close_case(&c);
}

/* Proves: the case that goes wrong when only the last length is looked at: back a little, twice. */
static void back_twice(void **state) {
    (void)state;
    sequence_case c;
    int32_t ids[CONTEXT];
    open_case(&c, 16, 3);
    for (int i = 0; i < CONTEXT; i++) ids[i] = i;
    mica_sequence *s = &c.sequence;
    mica_sequence_set_prompt(s, c.pools, ids, 900);
    s->n_cached = 900; /* the ring holds 708 and later; position p needs p - 99 */
    mica_sequence_set_prompt(s, c.pools, ids, 811);
    assert_int_equal(s->n_cached, 810);
    s->n_cached = 811;
    mica_sequence_set_prompt(s, c.pools, ids, 807);
    assert_int_equal(s->n_cached, 0); /* needs 707 */
    s->n_cached = 807;
    mica_sequence_set_prompt(s, c.pools, ids, 720);
    assert_int_equal(s->n_cached, 719); /* all was computed again: the ring holds 615 and later */
    s->n_cached = 720;
    mica_sequence_set_prompt(s, c.pools, ids, 720);
    assert_int_equal(s->n_cached, 719); /* one token is always left to compute */
    ids[0] = -5;
    mica_sequence_set_prompt(s, c.pools, ids, 1);
    assert_int_equal(s->n_cached, 0);
    close_case(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reserve),    cmocka_unit_test(exhausted_pools),
        cmocka_unit_test(init_fails), cmocka_unit_test(prefixes_are_still_there),
        cmocka_unit_test(back_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
