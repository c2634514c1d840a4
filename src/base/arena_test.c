/* The bump allocator: alignment, limits, reuse, and failing allocations. */
#include "base/arena.h"
#include "test.h"

/* Many objects of random size are aligned, do not overlap and keep their bytes. */
static void objects_are_separate(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    mica_alloc_counter c;
    mica_alloc_counter_init(&c, mica_allocator_default());
    mica_arena arena = {.allocator = &c.allocator};
    enum { N = 5000 };
    static unsigned char *objects[N];
    static size_t sizes[N];
    for (int i = 0; i < N; i++) {
        sizes[i] = (size_t)(test_random(&seed) % (i % 500 == 0 ? 3000000 : 300));
        objects[i] = mica_arena_alloc(&arena, sizes[i]);
        assert_true(objects[i] && (uintptr_t)objects[i] % 16 == 0);
        memset(objects[i], i & 255, sizes[i]);
    }
    for (int i = 0; i < N; i++)
        for (size_t k = 0; k < sizes[i]; k++)
            if (objects[i][k] != (i & 255)) fail_msg("object %d is damaged", i);
    assert_true(c.n_calls < 40);
    mica_arena_deinit(&arena);
    assert_true(c.n_live == 0);
    assert_non_null(mica_arena_alloc(&arena, 1)); /* it can be used again */
    mica_arena_deinit(&arena);
}

/* A large object does not end the use of the block before it. */
static void large_objects_stand_apart(void **state) {
    (void)state;
    mica_arena arena;
    mica_arena_init(&arena, mica_allocator_default(), 0);
    char *a = mica_arena_alloc(&arena, 16);
    char *large = mica_arena_alloc(&arena, 5000000);
    char *b = mica_arena_alloc(&arena, 16);
    assert_non_null(large);
    assert_ptr_equal(b, a + 16);
    mica_arena_deinit(&arena);
}

/* The limit counts what was handed out, and reset starts anew without new memory. */
static void limit_and_reset(void **state) {
    (void)state;
    mica_alloc_counter c;
    mica_alloc_counter_init(&c, mica_allocator_default());
    mica_arena arena;
    mica_arena_init(&arena, &c.allocator, 1000);
    assert_non_null(mica_arena_alloc(&arena, 992));
    assert_true(arena.used_bytes == 992);
    assert_null(mica_arena_alloc(&arena, 1));
    mica_arena_reset(&arena);
    assert_non_null(mica_arena_alloc(&arena, 100));
    assert_true(c.n_calls == 1);
    assert_null(mica_arena_alloc(&arena, SIZE_MAX));
    assert_null(mica_arena_alloc(&arena, SIZE_MAX - 20));
    assert_null(mica_arena_alloc_array(&arena, SIZE_MAX / 2, 4));
    assert_null(mica_arena_string(&arena, "", SIZE_MAX));
    mica_arena_deinit(&arena);
}

/* Strings get a NUL, zeroed memory is zero even in a reused block. */
static void strings_and_zeros(void **state) {
    (void)state;
    mica_arena arena;
    mica_arena_init(&arena, mica_allocator_default(), 0);
    memset(mica_arena_alloc(&arena, 64), 0xAA, 64);
    mica_arena_reset(&arena);
    const unsigned char *zeros = mica_arena_alloc_zero(&arena, 64);
    for (int i = 0; i < 64; i++) assert_int_equal(zeros[i], 0);
    assert_memory_equal(mica_arena_string(&arena, "a\0b", 3), "a\0b", 4);
    assert_string_equal(mica_arena_string(&arena, NULL, 0), "");
    mica_arena_deinit(&arena);
}

/* When there is no memory the arena says so and stays usable. */
static void survives_no_memory(void **state) {
    (void)state;
    mica_alloc_counter c;
    mica_alloc_counter_init(&c, mica_allocator_default());
    mica_arena arena;
    mica_arena_init(&arena, &c.allocator, 0);
    c.fail_at = 1;
    assert_null(mica_arena_alloc(&arena, 10));
    assert_true(arena.used_bytes == 0);
    assert_non_null(mica_arena_alloc(&arena, 10));
    mica_arena_deinit(&arena);
    mica_arena_reset(&arena);
    assert_true(c.n_live == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_separate), cmocka_unit_test(large_objects_stand_apart),
        cmocka_unit_test(limit_and_reset),      cmocka_unit_test(strings_and_zeros),
        cmocka_unit_test(survives_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
