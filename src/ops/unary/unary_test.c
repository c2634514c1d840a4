/* unary: every kind against libm in f64, every dtype and layout, special values, errors. */
#include "ops/common/op_test_case.h"

typedef struct unary_case {
    mica_unary_kind kind;
    mica_dtype dtype;
    op_layout layout;
    int rank;
    int64_t dims[4];
    const double *values;
} unary_case;

static mica_array build(mica_graph *g, void *context) {
    const unary_case *c = context;
    mica_array x = op_case_input(g, c->layout, c->dtype, c->rank, c->dims, c->values);
    return mica_unary(g, c->kind, x);
}

static double expect_one(mica_unary_kind kind, double x) {
    const double pi = 3.14159265358979323846;
    switch (kind) {
    case MICA_UNARY_NEGATE:
        return -x;
    case MICA_UNARY_ABS:
        return fabs(x);
    case MICA_UNARY_SQUARE:
        return x * x;
    case MICA_UNARY_SQRT:
        return sqrt(x);
    case MICA_UNARY_RSQRT:
        return 1 / sqrt(x);
    case MICA_UNARY_EXP:
        return exp(x);
    case MICA_UNARY_LOG:
        return log(x);
    case MICA_UNARY_SIN:
        return sin(x);
    case MICA_UNARY_COS:
        return cos(x);
    case MICA_UNARY_TANH:
        return tanh(x);
    case MICA_UNARY_SIGMOID:
        return 1 / (1 + exp(-x));
    case MICA_UNARY_SILU:
        return isinf(x) && x < 0 ? (double)NAN : x / (1 + exp(-x));
    case MICA_UNARY_GELU:
        return x * 0.5 * erfc(-x / sqrt(2.0));
    case MICA_UNARY_GELU_TANH: {
        double u = sqrt(2 / pi) * (x + 0.044715 * x * x * x);
        return x / (1 + exp(-2 * u));
    }
    case MICA_UNARY_RELU:
        return x < 0 ? 0 : x;
    case MICA_UNARY_RECIPROCAL:
        return 1 / x;
    case MICA_UNARY_FLOOR:
        return floor(x);
    case MICA_UNARY_CEIL:
        return ceil(x);
    case MICA_UNARY_ROUND:
        return rint(x);
    default:
        return x == 0;
    }
}

static void floats_against_libm(void **state) {
    /* Proves: each kind on each float dtype, level and layout is within a few units in the last
     * place of the f64 value, with zeros, infinities, NaN and large values among the inputs. */
    (void)state;
    uint64_t seed = test_seed();
    double values[3 * 67], want[3 * 67];
    for (int k = 0; k < MICA_UNARY_NOT; k++)
        for (mica_dtype d = MICA_DTYPE_F16; d <= MICA_DTYPE_F64; d++)
            for (op_layout layout = 0; layout < OP_LAYOUT_COUNT; layout++) {
                unary_case c = {(mica_unary_kind)k, d, layout, 2, {3, 67}, values};
                op_case_fill(&seed, d, values, 201, true);
                for (int i = 0; i < 201; i++)
                    want[i] = op_case_value(d, expect_one(c.kind, values[i]));
                /* One rounding to f16 or bf16 may fall on the other side of a tie. f32, f64: GELU's
                 * argument is rounded before erfc, whose relative slope is about x^2 there. */
                double unit = d == MICA_DTYPE_F64   ? 0x1p-46
                              : d == MICA_DTYPE_F32 ? 4e-6
                              : d == MICA_DTYPE_F16 ? 0x1p-10
                                                    : 0x1p-7;
                op_test_all_levels(build, &c, want, 201, unit, d == MICA_DTYPE_F16 ? 1e-7 : 1e-30);
            }
}

static double wrap(mica_dtype d, double v) {
    int64_t whole = (int64_t)v;
    switch (d) {
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

static void integers_wrap(void **state) {
    /* Proves: the kinds that integers have, on every integer dtype. */
    (void)state;
    static const mica_unary_kind kinds[] = {MICA_UNARY_NEGATE, MICA_UNARY_ABS,   MICA_UNARY_SQUARE,
                                            MICA_UNARY_RELU,   MICA_UNARY_FLOOR, MICA_UNARY_CEIL,
                                            MICA_UNARY_ROUND};
    uint64_t seed = 3;
    double values[30], want[30];
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (mica_dtype d = MICA_DTYPE_U8; d <= MICA_DTYPE_I64; d++) {
            unary_case c = {kinds[k], d, OP_STEPPED, 2, {5, 6}, values};
            op_case_fill(&seed, d, values, 30, false);
            for (int i = 0; i < 30; i++) want[i] = wrap(d, expect_one(kinds[k], values[i]));
            op_test_all_levels(build, &c, want, 30, 0, 0);
        }
}

static void not_turns_bools(void **state) {
    /* Proves: NOT gives 0 and 1. */
    (void)state;
    double values[4] = {0, 1, 1, 0}, want[4] = {1, 0, 0, 1};
    unary_case c = {MICA_UNARY_NOT, MICA_DTYPE_BOOL, OP_PLAIN, 1, {4}, values};
    op_test_all_levels(build, &c, want, 4, 0, 0);
}

static void sizes_around_blocks(void **state) {
    /* Proves: lengths around the block of 512 and none at all, on all levels. */
    (void)state;
    static const int64_t lengths[] = {0, 1, 511, 512, 513, 3001};
    uint64_t seed = 5;
    double *values = malloc(3001 * sizeof *values), *want = malloc(3001 * sizeof *want);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        unary_case c = {MICA_UNARY_SIGMOID, MICA_DTYPE_F32, OP_PLAIN, 1, {lengths[i]}, values};
        op_case_fill(&seed, c.dtype, values, lengths[i], true);
        for (int64_t k = 0; k < lengths[i]; k++) want[k] = expect_one(c.kind, values[k]);
        op_test_all_levels(build, &c, want, (size_t)lengths[i], 1e-6, 1e-37);
    }
    free(values);
    free(want);
}

static void wrong_dtypes_are_refused(void **state) {
    /* Proves: exp of integers, NOT of floats and kinds past the list are errors. */
    (void)state;
    double values[4] = {0};
    unary_case c = {MICA_UNARY_EXP, MICA_DTYPE_I32, OP_PLAIN, 1, {4}, values};
    op_case_expect_invalid(build, &c, "does not take i32[4]");
    c.kind = MICA_UNARY_NOT;
    c.dtype = MICA_DTYPE_F32;
    op_case_expect_invalid(build, &c, "does not take f32[4]");
    c.kind = MICA_UNARY_ABS;
    c.dtype = MICA_DTYPE_BOOL;
    op_case_expect_invalid(build, &c, "does not take bool[4]");
    c.kind = MICA_UNARY_COUNT_;
    op_case_expect_invalid(build, &c, "is not a kind");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_against_libm),      cmocka_unit_test(integers_wrap),
        cmocka_unit_test(not_turns_bools),          cmocka_unit_test(sizes_around_blocks),
        cmocka_unit_test(wrong_dtypes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
