/* cast: every pair of dtypes in every layout, rounding, saturation, copies. */
#include "ops/common/op_test_case.h"

typedef struct cast_case {
    mica_dtype from, to;
    op_layout layout;
    int rank;
    int64_t dims[4];
    const double *values;
} cast_case;

static mica_array build(mica_graph *g, void *context) {
    const cast_case *c = context;
    mica_array x = op_case_input(g, c->layout, c->from, c->rank, c->dims, c->values);
    return c->from == c->to ? mica_contiguous(g, x) : mica_cast(g, x, c->to);
}

static double limit(mica_dtype dtype, bool is_high) {
    int bits = 8 * (int)mica_dtype_bytes(dtype);
    bool is_signed = dtype == MICA_DTYPE_I8 || dtype == MICA_DTYPE_I16 || dtype == MICA_DTYPE_I32 ||
                     dtype == MICA_DTYPE_I64;
    if (!is_high) return is_signed ? -ldexp(1, bits - 1) : 0;
    return ldexp(1, bits - is_signed) - 1; /* 64 bits: rounds to the power of two, as does got */
}

static double expect_one(mica_dtype from, mica_dtype to, double v) {
    if (to == MICA_DTYPE_BOOL) return isnan(v) || v != 0;
    if (to >= MICA_DTYPE_F16) return op_case_value(to, v);
    if (from < MICA_DTYPE_F16) { /* wraps; the test's values stay within 16 bits */
        int64_t whole = (int64_t)v;
        switch (to) {
        case MICA_DTYPE_U8:
            return (uint8_t)whole;
        case MICA_DTYPE_I8:
            return (int8_t)whole;
        case MICA_DTYPE_U16:
            return (uint16_t)whole;
        case MICA_DTYPE_U32:
            return (uint32_t)whole;
        case MICA_DTYPE_U64:
            return (double)(uint64_t)whole;
        default:
            return v;
        }
    }
    if (isnan(v)) return 0;
    double low = limit(to, false), high = limit(to, true);
    return v <= low ? low : v >= high ? high : trunc(v);
}

static void every_pair_of_dtypes(void **state) {
    /* Proves: each conversion gives the value that the rules name, on each level and layout, for
     * lengths that are no multiple of a vector. */
    (void)state;
    uint64_t seed = test_seed();
    double values[3 * 53], want[3 * 53];
    for (mica_dtype from = MICA_DTYPE_BOOL; from < MICA_DTYPE_COUNT_; from++)
        for (mica_dtype to = MICA_DTYPE_BOOL; to < MICA_DTYPE_COUNT_; to++)
            for (op_layout layout = 0; layout < OP_LAYOUT_COUNT; layout++) {
                cast_case c = {from, to, layout, 2, {3, 53}, values};
                op_case_fill(&seed, from, values, 159, true);
                for (int i = 0; i < 159; i++) want[i] = expect_one(from, to, values[i]);
                op_test_all_levels(build, &c, want, 159, 0, 0);
            }
}

static void a_double_is_rounded_once(void **state) {
    /* Proves: f64 to f16 and bf16 does not round by way of f32. */
    (void)state;
    double values[4] = {1 + 0x1p-11 + 0x1p-40, -(1 + 0x1p-8 + 0x1p-40), 1 + 0x1p-11,
                        1 + 3 * 0x1p-8 - 0x1p-40};
    double half[4] = {1 + 0x1p-10, -(1 + 0x1p-8), 1, 1 + 3 * 0x1p-8};
    double brain[4] = {1, -(1 + 0x1p-7), 1, 1 + 0x1p-7};
    cast_case c = {MICA_DTYPE_F64, MICA_DTYPE_F16, OP_PLAIN, 1, {4}, values};
    op_test_all_levels(build, &c, half, 4, 0, 0);
    c.to = MICA_DTYPE_BF16;
    op_test_all_levels(build, &c, brain, 4, 0, 0);
}

static mica_array build_long(mica_graph *g, void *context) {
    (void)context;
    static const int64_t values[] = {INT64_MAX, INT64_MIN, (INT64_C(1) << 53) + 1,
                                     (INT64_C(1) << 24) + 1, -1};
    mica_array x = mica_array_from_data(g, MICA_DTYPE_I64, 1, (int64_t[]){5}, values);
    return mica_cast(g, x, MICA_DTYPE_F32);
}

static void long_integers(void **state) {
    /* Proves: 64-bit integers reach f32 with one rounding. */
    (void)state;
    double want[5] = {0x1p63, -0x1p63, 0x1p53, 0x1p24, -1};
    op_test_all_levels(build_long, NULL, want, 5, 0, 0);
}

static void sizes_around_blocks(void **state) {
    /* Proves: lengths around the block of 512, one element and none. */
    (void)state;
    static const int64_t lengths[] = {0, 1, 7, 8, 9, 255, 256, 257, 511, 512, 513, 1537, 5000};
    uint64_t seed = 7;
    double *values = malloc(5000 * sizeof *values), *want = malloc(5000 * sizeof *want);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (int pair = 0; pair < 3; pair++) {
            static const mica_dtype from[] = {MICA_DTYPE_F32, MICA_DTYPE_BF16, MICA_DTYPE_F16};
            static const mica_dtype to[] = {MICA_DTYPE_BF16, MICA_DTYPE_F32, MICA_DTYPE_BF16};
            cast_case c = {from[pair], to[pair], OP_UNALIGNED, 1, {lengths[i]}, values};
            op_case_fill(&seed, c.from, values, lengths[i], true);
            for (int64_t k = 0; k < lengths[i]; k++) want[k] = op_case_value(c.to, values[k]);
            op_test_all_levels(build, &c, want, (size_t)lengths[i], 0, 0);
        }
    free(values);
    free(want);
}

static void wrong_dtypes_are_refused(void **state) {
    /* Proves: NONE and numbers past the list are errors. */
    (void)state;
    double value = 1;
    cast_case c = {MICA_DTYPE_F32, MICA_DTYPE_NONE, OP_PLAIN, 0, {0}, &value};
    op_case_expect_invalid(build, &c, "0 is not a dtype");
    c.to = (mica_dtype)77;
    op_case_expect_invalid(build, &c, "77 is not a dtype");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_of_dtypes),
        cmocka_unit_test(a_double_is_rounded_once),
        cmocka_unit_test(long_integers),
        cmocka_unit_test(sizes_around_blocks),
        cmocka_unit_test(wrong_dtypes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
