/* The growing array. */
#include "base/vec.h"
#include "test.h"

/* Pushed items are zeroed, keep their values through growth, and cost few allocations. */
static void push_grows(void **state) {
    (void)state;
    mica_alloc_counter c;
    mica_alloc_counter_init(&c, mica_allocator_default());
    mica_vec v;
    mica_vec_init(&v, &c.allocator, sizeof(int));
    for (int i = 0; i < 100000; i++) {
        int *item = mica_vec_push(&v);
        assert_int_equal(*item, 0);
        *item = i;
    }
    for (int i = 0; i < 100000; i++) assert_int_equal(*(int *)mica_vec_at(&v, (size_t)i), i);
    assert_true(c.n_calls < 40 && v.count == 100000);
    mica_vec_clear(&v);
    assert_int_equal(*(int *)mica_vec_push(&v), 0);
    mica_vec_deinit(&v);
    assert_true(c.n_live == 0 && v.count == 0);
}

/* Append copies many at once, and none from NULL. */
static void append_copies(void **state) {
    (void)state;
    mica_vec v;
    mica_vec_init(&v, mica_allocator_default(), 3);
    assert_true(mica_vec_append(&v, NULL, 0));
    assert_true(mica_vec_append(&v, "abcdef", 2));
    assert_true(mica_vec_append(&v, "ghi", 1));
    assert_true(v.count == 3);
    assert_memory_equal(v.data, "abcdefghi", 9);
    mica_vec_deinit(&v);
}

/* Without memory, or past any size, the vector stays as it was. */
static void failure_changes_nothing(void **state) {
    (void)state;
    mica_alloc_counter c;
    mica_alloc_counter_init(&c, mica_allocator_default());
    mica_vec v;
    mica_vec_init(&v, &c.allocator, 8);
    assert_true(mica_vec_reserve(&v, 2));
    assert_true(v.capacity == 2);
    assert_true(mica_vec_append(&v, "0123456789abcdef", 2));
    c.fail_at = 2;
    c.fail_after = true;
    assert_null(mica_vec_push(&v));
    assert_false(mica_vec_append(&v, "01234567", 1));
    assert_false(mica_vec_reserve(&v, SIZE_MAX / 4));
    assert_false(mica_vec_append(&v, "01234567", SIZE_MAX));
    assert_true(v.count == 2 && v.capacity == 2);
    assert_memory_equal(v.data, "0123456789abcdef", 16);
    mica_vec_deinit(&v);
    assert_true(c.n_live == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(push_grows),
        cmocka_unit_test(append_copies),
        cmocka_unit_test(failure_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
