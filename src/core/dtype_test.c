/* Element types, shapes and the bytes of quantised parts, at their limits. */
#include "test.h"
#include "core/dtype.h"

/* Proves: names and sizes belong together, both ways, and a number that is no dtype is harmless. */
static void names_and_sizes(void **state) {
    (void)state;
    static const size_t bytes[MICA_DTYPE_COUNT_] = {0, 1, 1, 1, 2, 2, 4, 4, 8, 8, 2, 2, 4, 8};
    for (int d = 0; d < MICA_DTYPE_COUNT_; d++) {
        assert_int_equal(mica_dtype_bytes((mica_dtype)d), bytes[d]);
        mica_dtype back = mica_dtype_from_name(mica_dtype_name((mica_dtype)d));
        assert_int_equal(back, d);
        if (d) assert_true(mica_dtype_is_float(back) + mica_dtype_is_integer(back) <= 1);
    }
    assert_int_equal(mica_dtype_from_name("none"), MICA_DTYPE_NONE);
    assert_int_equal(mica_dtype_from_name("F32"), MICA_DTYPE_NONE);
    assert_int_equal(mica_dtype_from_name(""), MICA_DTYPE_NONE);
    const int wrong[] = {MICA_DTYPE_COUNT_, 255, INT32_MAX, -1, INT32_MIN};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_string_equal(mica_dtype_name((mica_dtype)wrong[i]), "none");
        assert_int_equal(mica_dtype_bytes((mica_dtype)wrong[i]), 0);
    }
}

/* Proves: ranks and dims out of range are refused, also where a zero would hide the product. */
static void shapes_are_checked(void **state) {
    (void)state;
    mica_shape s;
    const int64_t big = INT64_C(1) << 47;
    assert_true(mica_shape_make(0, NULL, &s));
    assert_int_equal(mica_shape_count(&s), 1);
    assert_true(mica_shape_make(2, (int64_t[]){big, 2}, &s));
    assert_int_equal(mica_shape_count(&s), INT64_C(1) << 48);
    assert_true(mica_shape_make(3, (int64_t[]){0, big, 2}, &s));
    assert_int_equal(mica_shape_count(&s), 0);
    s.rank = 77;
    assert_false(mica_shape_make(2, (int64_t[]){big, 3}, &s));
    assert_false(mica_shape_make(3, (int64_t[]){0, big, 3}, &s));
    assert_false(mica_shape_make(3, (int64_t[]){big, 3, 0}, &s));
    assert_false(mica_shape_make(3, (int64_t[]){INT64_MAX, INT64_MAX, INT64_MAX}, &s));
    assert_false(mica_shape_make(1, (int64_t[]){-1}, &s));
    assert_false(mica_shape_make(1, (int64_t[]){INT64_MIN}, &s));
    assert_false(mica_shape_make(9, (int64_t[]){1, 1, 1, 1, 1, 1, 1, 1, 1}, &s));
    assert_false(mica_shape_make(-1, (int64_t[]){1}, &s));
    assert_false(mica_shape_make(1, NULL, &s));
    assert_int_equal(s.rank, 77); /* untouched on failure */
}

/* Proves: row-major strides, with axes of length 0 counted as 1; text of the longest shape. */
static void strides_and_text(void **state) {
    (void)state;
    mica_shape s;
    int64_t strides[MICA_RANK_MAX];
    char text[176];
    assert_true(mica_shape_make(4, (int64_t[]){2, 3, 0, 5}, &s));
    mica_shape_strides(&s, strides);
    assert_int_equal(strides[3], 1);
    assert_int_equal(strides[2], 5);
    assert_int_equal(strides[1], 5);
    assert_int_equal(strides[0], 15);
    assert_int_equal(strides[4], 0);
    assert_string_equal(mica_shape_format(&s, text), "[2, 3, 0, 5]");
    assert_true(mica_shape_make(0, NULL, &s));
    assert_string_equal(mica_shape_format(&s, text), "[]");
    s.rank = MICA_RANK_MAX; /* wider than a checked shape can be */
    for (int i = 0; i < MICA_RANK_MAX; i++) s.dims[i] = INT64_MIN;
    assert_true(strlen(mica_shape_format(&s, text)) < sizeof text);
}

/* Proves: broadcasting aligns trailing axes, stretches 1 (to 0 too) and refuses the rest. */
static void broadcast(void **state) {
    (void)state;
    mica_shape a, b, out;
    assert_true(mica_shape_make(3, (int64_t[]){4, 1, 3}, &a));
    assert_true(mica_shape_make(2, (int64_t[]){5, 1}, &b));
    assert_true(mica_shape_broadcast(&a, &b, &out));
    assert_int_equal(out.rank, 3);
    assert_int_equal(out.dims[0], 4);
    assert_int_equal(out.dims[1], 5);
    assert_int_equal(out.dims[2], 3);
    assert_true(mica_shape_make(2, (int64_t[]){0, 3}, &b));
    assert_true(mica_shape_broadcast(&a, &b, &out));
    assert_int_equal(mica_shape_count(&out), 0);
    assert_true(mica_shape_make(1, (int64_t[]){2}, &b));
    assert_false(mica_shape_broadcast(&a, &b, &out));
    assert_true(mica_shape_make(1, (int64_t[]){0}, &b));
    assert_false(mica_shape_broadcast(&a, &b, &out)); /* 3 against 0 */
    assert_true(mica_shape_make(2, (int64_t[]){INT64_C(1) << 40, 1}, &a));
    assert_true(mica_shape_make(1, (int64_t[]){INT64_C(1) << 40}, &b));
    assert_false(mica_shape_broadcast(&a, &b, &out)); /* 2^80 elements */
    assert_false(mica_shape_equal(&a, &b));
    assert_true(mica_shape_equal(&b, &b));
}

/* Proves: bytes of the parts, against the bits that each element takes. */
static void part_bytes(void **state) {
    (void)state;
    mica_shape s;
    mica_quant none = {0};
    assert_true(mica_shape_make(3, (int64_t[]){2, 3, 128}, &s));
    assert_int_equal(mica_part_bytes(MICA_DTYPE_BF16, none, &s, 0), 768 * 2);
    assert_int_equal(mica_part_bytes(MICA_DTYPE_BF16, none, &s, 1), 0);
    assert_int_equal(mica_part_bytes(MICA_DTYPE_BF16, none, &s, -1), 0);
    static const uint8_t bits[] = {2, 3, 4, 5, 6, 8};
    for (size_t b = 0; b < 6; b++) {
        for (uint16_t group = 32; group <= 128; group *= 2) {
            mica_quant q = {MICA_QUANT_AFFINE, bits[b], group, MICA_DTYPE_F16};
            assert_true(mica_quant_is_valid(q));
            assert_int_equal(mica_quant_parts(q), 3);
            assert_int_equal(mica_part_bytes(MICA_DTYPE_BF16, q, &s, 0), 768u * bits[b] / 8);
            assert_int_equal(mica_part_bytes(MICA_DTYPE_BF16, q, &s, 1), 768u / group * 2);
            assert_int_equal(mica_part_bytes(MICA_DTYPE_BF16, q, &s, 2), 768u / group * 2);
            assert_int_equal(mica_part_bytes(MICA_DTYPE_BF16, q, &s, 3), 0);
        }
    }
    mica_quant fp4 = {MICA_QUANT_MXFP4, 4, 32, MICA_DTYPE_U8};
    assert_int_equal(mica_quant_parts(fp4), 2);
    assert_int_equal(mica_part_bytes(MICA_DTYPE_BF16, fp4, &s, 0), 384);
    assert_int_equal(mica_part_bytes(MICA_DTYPE_BF16, fp4, &s, 1), 24);
    assert_int_equal(mica_part_bytes(MICA_DTYPE_BF16, fp4, &s, 2), 0);
    mica_quant scaled = {MICA_QUANT_NVFP4_SCALED, 4, 16, MICA_DTYPE_U8};
    assert_int_equal(mica_quant_parts(scaled), 3);
    assert_int_equal(mica_part_bytes(MICA_DTYPE_BF16, scaled, &s, 0), 384);
    assert_int_equal(mica_part_bytes(MICA_DTYPE_BF16, scaled, &s, 1), 48);
    assert_int_equal(mica_part_bytes(MICA_DTYPE_BF16, scaled, &s, 2), 2 * sizeof(float));
    assert_true(mica_shape_make(1, (int64_t[]){128}, &s));
    assert_int_equal(mica_part_bytes(MICA_DTYPE_BF16, scaled, &s, 2), sizeof(float));
}

/* Proves: exactly the quantised types that the header lists are valid, of all there could be. */
static void valid_quants(void **state) {
    (void)state;
    static const uint16_t groups[] = {0, 1, 8, 16, 32, 64, 96, 128, 256, 65535};
    int n_valid = 0;
    for (int mode = 1; mode < 256; mode++)
        for (int bits = 0; bits < 256; bits++)
            for (size_t g = 0; g < 10; g++)
                for (int scale = 0; scale < 32; scale++) {
                    mica_quant q = {(uint8_t)mode, (uint8_t)bits, groups[g], (uint8_t)scale};
                    if (!mica_quant_is_valid(q)) continue;
                    n_valid++;
                    assert_true(mode <= MICA_QUANT_NVFP4_SCALED && q.group % 8 == 0);
                }
    assert_int_equal(n_valid, 6 * 3 * 3 + 4);
    char text[32];
    mica_quant q = {MICA_QUANT_AFFINE, 4, 64, MICA_DTYPE_BF16}, bad = {250, 255, 65535, 255};
    assert_string_equal(mica_quant_format(q, text), "affine4g64");
    assert_string_equal(mica_quant_format((mica_quant){0}, text), "");
    assert_string_equal(mica_quant_format(bad, text), "?");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_sizes),  cmocka_unit_test(shapes_are_checked),
        cmocka_unit_test(strides_and_text), cmocka_unit_test(broadcast),
        cmocka_unit_test(part_bytes),       cmocka_unit_test(valid_quants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
