/* Host memory: helpers, and the counting and failing wrapper. */
#include "base/alloc.h"
#include "test.h"

static bool is_aligned(const void *memory, size_t alignment) {
    return (uintptr_t)memory % alignment == 0;
}

/* Zero bytes still give memory of their own; zeroed memory is zero; text is copied with a NUL. */
static void helpers_work(void **state) {
    (void)state;
    const mica_allocator *a = mica_allocator_default();
    char *empty = mica_alloc(a, 0);
    char *other = mica_alloc(a, 0);
    assert_true(empty && other && empty != other);
    unsigned char *zeros = mica_alloc_zero(a, 1000);
    for (int i = 0; i < 1000; i++) assert_int_equal(zeros[i], 0);
    char *text = mica_alloc_string(a, "abc\0def", 7);
    assert_memory_equal(text, "abc\0def", 8);
    char *none = mica_alloc_string(a, NULL, 0);
    assert_string_equal(none, "");
    void *big = mica_alloc_aligned(a, 10, 4096);
    assert_true(is_aligned(big, 4096));
    mica_free(a, NULL);
    void *all[] = {empty, other, zeros, text, none, big};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mica_free(a, all[i]);
}

/* Products and sums that do not fit give NULL instead of a small block. */
static void sizes_are_checked(void **state) {
    (void)state;
    const mica_allocator *a = mica_allocator_default();
    assert_null(mica_alloc_array(a, SIZE_MAX / 2, 3));
    assert_null(mica_alloc_array_zero(a, (size_t)1 << 33, (size_t)1 << 31));
    assert_null(mica_alloc(a, SIZE_MAX));
    assert_null(mica_realloc(a, NULL, SIZE_MAX));
    assert_null(mica_alloc_string(a, "", SIZE_MAX));
    mica_alloc_counter c;
    mica_alloc_counter_init(&c, a);
    assert_null(c.allocator.allocate(&c, SIZE_MAX - 8, 64));
    int64_t *items = MICA_NEW_ARRAY(a, int64_t, 5);
    for (int i = 0; i < 5; i++) assert_true(items[i] == 0);
    mica_free(a, items);
}

/* The counter knows live blocks and bytes and the peak, for every alignment, through realloc. */
static void counter_counts(void **state) {
    (void)state;
    mica_alloc_counter c;
    mica_alloc_counter_init(&c, mica_allocator_default());
    const mica_allocator *a = &c.allocator;
    unsigned char *blocks[13];
    int64_t sum = 0;
    for (size_t i = 0; i < 13; i++) {
        size_t bytes = 10 + i;
        blocks[i] = mica_alloc_aligned(a, bytes, (size_t)1 << i);
        assert_true(is_aligned(blocks[i], (size_t)1 << i) && is_aligned(blocks[i], 16));
        memset(blocks[i], (int)i, bytes);
        sum += (int64_t)bytes;
    }
    assert_true(c.n_live == 13 && c.n_calls == 13 && c.live_bytes == sum && c.peak_bytes == sum);
    blocks[2] = mica_realloc(a, blocks[2], 5000);
    for (int i = 0; i < 12; i++) assert_int_equal(blocks[2][i], 2);
    assert_true(c.n_live == 13 && c.n_calls == 14 && c.live_bytes == sum - 12 + 5000);
    int64_t peak = c.peak_bytes;
    for (size_t i = 0; i < 13; i++) mica_free(a, blocks[i]);
    assert_true(c.n_live == 0 && c.live_bytes == 0 && c.peak_bytes == peak);
}

/* fail_at makes exactly that call fail, or with fail_after every later one; realloc keeps the old
 * block. */
static void counter_fails_on_request(void **state) {
    (void)state;
    mica_alloc_counter c;
    mica_alloc_counter_init(&c, mica_allocator_default());
    const mica_allocator *a = &c.allocator;
    c.fail_at = 2;
    char *first = mica_alloc_string(a, "first", 5);
    assert_null(mica_realloc(a, first, 100));
    assert_string_equal(first, "first");
    first = mica_realloc(a, first, 100);
    assert_non_null(first);
    c.fail_at = 4;
    c.fail_after = true;
    assert_null(mica_alloc(a, 1));
    assert_null(mica_alloc(a, 1));
    assert_null(mica_realloc(a, NULL, 1));
    mica_free(a, first);
    assert_true(c.n_live == 0 && c.n_calls == 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(helpers_work),
        cmocka_unit_test(sizes_are_checked),
        cmocka_unit_test(counter_counts),
        cmocka_unit_test(counter_fails_on_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
