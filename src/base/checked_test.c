/* Checked arithmetic at its borders. */
#include "base/checked.h"
#include "test.h"

/* Results that fit are exact; those that do not leave the output untouched. */
static void borders_hold(void **state) {
    (void)state;
    size_t s = 7;
    assert_true(mica_add_size(SIZE_MAX - 1, 1, &s) && s == SIZE_MAX);
    assert_false(mica_add_size(SIZE_MAX, 1, &s));
    assert_false(mica_mul_size(SIZE_MAX / 2 + 1, 2, &s));
    assert_false(mica_sub_size(1, 2, &s));
    assert_true(s == SIZE_MAX);
    assert_true(mica_mul_size(0, SIZE_MAX, &s) && s == 0);
    uint64_t u = 7;
    assert_false(mica_mul_u64((uint64_t)1 << 32, (uint64_t)1 << 32, &u));
    assert_true(u == 7);
    assert_true(mica_mul_u64(UINT64_C(0xFFFFFFFF), UINT64_C(0x100000001), &u) && u == UINT64_MAX);
    assert_true(mica_sub_u64(5, 5, &u) && u == 0);
    assert_false(mica_add_u64(UINT64_MAX, 1, &u));
    int64_t i = 7;
    assert_false(mica_add_i64(INT64_MAX, 1, &i));
    assert_false(mica_sub_i64(INT64_MIN, 1, &i));
    assert_false(mica_mul_i64(INT64_MIN, -1, &i));
    assert_true(i == 7);
    assert_true(mica_add_i64(INT64_MAX, INT64_MIN, &i) && i == -1);
}

/* Random 64-bit products agree with 128-bit arithmetic. */
static void products_agree_with_wide_ones(void **state) {
    (void)state;
    __extension__ typedef unsigned __int128 wide;
    uint64_t seed = test_seed();
    for (int n = 0; n < 100000; n++) {
        uint64_t a = test_random(&seed) >> (test_random(&seed) % 64);
        uint64_t b = test_random(&seed) >> (test_random(&seed) % 64);
        uint64_t out = 0;
        wide exact = (wide)a * b;
        assert_true(mica_mul_u64(a, b, &out) == (exact <= UINT64_MAX));
        if (exact <= UINT64_MAX) assert_true(out == (uint64_t)exact);
    }
}

/* Rounding up and narrowing fail where the result would wrap. */
static void alignment_and_narrowing(void **state) {
    (void)state;
    size_t s = 0;
    assert_true(mica_align_size(0, 64, &s) && s == 0);
    assert_true(mica_align_size(1, 64, &s) && s == 64);
    assert_true(mica_align_size(64, 64, &s) && s == 64);
    assert_true(mica_align_size(SIZE_MAX - 63, 64, &s) && s == SIZE_MAX - 63);
    assert_false(mica_align_size(SIZE_MAX - 62, 64, &s));
    int64_t i = 0;
    assert_true(mica_u64_to_i64(INT64_MAX, &i) && i == INT64_MAX);
    assert_false(mica_u64_to_i64((uint64_t)INT64_MAX + 1, &i));
    assert_true(mica_u64_to_size(SIZE_MAX, &s) && s == SIZE_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(borders_hold),
        cmocka_unit_test(products_agree_with_wide_ones),
        cmocka_unit_test(alignment_and_narrowing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
