/* The page pool: every page out once, sizes that cannot be, and the runtime's count of KV bytes. */
#include "engine/page_pool.h"
#include "test.h"
#include "base/alloc.h"
#include "mica/mica.h"

static const mica_kv_group group = {.n_layers = 3, .n_kv_heads = 2, .head_dim = 8};

static uint64_t kv_bytes(const mica_runtime *rt) {
    mica_runtime_stats stats;
    mica_runtime_get_stats(rt, &stats);
    return stats.kv_bytes;
}

static mica_runtime *open_runtime(const mica_allocator *allocator) {
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_runtime_options o = {.struct_bytes = sizeof o, .n_threads = 1, .allocator = allocator};
    assert_ok(mica_runtime_open(&o, &rt, &err));
    return rt;
}

/* Proves: pages are distinct numbers in range, what was given back comes again first, and a taking
 * that is too large takes nothing. */
static void take_and_give(void **state) {
    (void)state;
    mica_error err = {0};
    mica_runtime *rt = open_runtime(NULL);
    mica_page_pool pool;
    int32_t pages[10], more[4];
    bool is_out[10] = {false};
    assert_ok(mica_page_pool_init(&pool, rt, &group, MICA_FAST, 10, &err));
    assert_int_equal(pool.page_bytes, 64 * 3 * 2 * 2 * 8 * 2); /* tokens, layers, K and V, bf16 */
    assert_int_equal(kv_bytes(rt), 10 * pool.page_bytes);
    assert_true(mica_page_pool_take(&pool, 7, pages));
    assert_false(mica_page_pool_take(&pool, 4, more));
    assert_int_equal(pool.n_free, 3);
    assert_true(mica_page_pool_take(&pool, 3, pages + 7));
    assert_true(mica_page_pool_take(&pool, 0, NULL));
    for (int i = 0; i < 10; i++) {
        assert_true(pages[i] >= 0 && pages[i] < 10 && !is_out[pages[i]]);
        is_out[pages[i]] = true;
    }
    assert_false(mica_page_pool_take(&pool, 1, more));
    mica_page_pool_give(&pool, pages + 2, 4);
    assert_true(mica_page_pool_take(&pool, 4, more));
    assert_memory_equal(more, pages + 2, sizeof more);
    mica_page_pool_deinit(&pool, rt);
    assert_int_equal(kv_bytes(rt), 0);
    assert_ok(mica_page_pool_init(&pool, rt, &group, MICA_EXACT, 0, &err)); /* no pages at all */
    assert_int_equal(pool.page_bytes, 64 * 3 * 2 * 2 * 8 * 4);
    assert_false(mica_page_pool_take(&pool, 1, more));
    mica_page_pool_deinit(&pool, rt);
    mica_page_pool_deinit(&pool, rt); /* twice: nothing */
    mica_runtime_close(&rt);
}

/* Proves: too many pages are LIMIT, missing memory is its status; nothing stays counted or leaks.
 */
static void init_fails(void **state) {
    (void)state;
    mica_error err = {0};
    mica_page_pool pool;
    mica_runtime *rt = open_runtime(NULL);
    const int64_t wrong[] = {-1, INT64_MIN, INT64_C(1) << 31, INT64_MAX};
    for (int i = 0; i < 4; i++)
        assert_int_equal(mica_page_pool_init(&pool, rt, &group, MICA_FAST, wrong[i], &err),
                         MICA_STATUS_LIMIT);
    mica_kv_group wide = {.n_layers = 1024, .n_kv_heads = 1024, .head_dim = 1024};
    assert_int_equal(mica_page_pool_init(&pool, rt, &wide, MICA_EXACT, INT32_MAX, &err),
                     MICA_STATUS_LIMIT); /* 2^71 bytes */
    assert_int_equal(kv_bytes(rt), 0);
    mica_runtime_close(&rt);
    for (int64_t n = 1;; n++) {
        mica_alloc_counter c;
        mica_alloc_counter_init(&c, mica_allocator_default());
        rt = open_runtime(&c.allocator);
        c.fail_at = c.n_calls + n;
        mica_status st = mica_page_pool_init(&pool, rt, &group, MICA_FAST, 10, &err);
        assert_int_equal(kv_bytes(rt), st ? 0 : 10 * pool.page_bytes);
        mica_page_pool_deinit(&pool, rt);
        mica_runtime_close(&rt);
        assert_int_equal(c.n_live, 0);
        if (!st) break;
        assert_int_equal(st, MICA_STATUS_OUT_OF_MEMORY);
    }
}

/* Proves: pages of a context: all of them, or a ring that holds a window behind any position. */
static void pages_of_a_context(void **state) {
    (void)state;
    mica_kv_group g = group;
    const int64_t full[][2] = {{1, 1}, {64, 1}, {65, 2}, {1 << 24, 1 << 18}};
    for (int i = 0; i < 4; i++) assert_int_equal(mica_kv_group_pages(&g, full[i][0]), full[i][1]);
    for (int64_t window = 1; window <= 300; window += 13) {
        g.window = window;
        for (int64_t context = 1; context <= 1000; context += 37) {
            int64_t pages = mica_kv_group_pages(&g, context), all = (context + 63) / 64;
            assert_true(pages >= 1 && pages <= all);
            /* The ring's last slots hold the tokens p - 64 * pages < j <= p. */
            if (pages < all) assert_true(64 * pages >= window);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(take_and_give),
        cmocka_unit_test(init_fails),
        cmocka_unit_test(pages_of_a_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
