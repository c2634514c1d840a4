/* binary: every kind and dtype, broadcast in every direction, integer rules, scalars, errors. */
#include "ops/common/op_test_case.h"

typedef struct binary_case {
    mica_binary_kind kind;
    mica_dtype dtype, b_dtype;
    op_layout a_layout, b_layout;
    int a_rank, b_rank;
    int64_t a_dims[4], b_dims[4];
    const double *a, *b;
} binary_case;

static mica_array build(mica_graph *g, void *context) {
    const binary_case *c = context;
    mica_dtype b_dtype = c->b_dtype ? c->b_dtype : c->dtype;
    mica_array a = op_case_input(g, c->a_layout, c->dtype, c->a_rank, c->a_dims, c->a);
    mica_array b = op_case_input(g, c->b_layout, b_dtype, c->b_rank, c->b_dims, c->b);
    return mica_binary(g, c->kind, a, b);
}

static double expect_one(mica_binary_kind kind, double a, double b) {
    switch (kind) {
    case MICA_BINARY_ADD:
        return a + b;
    case MICA_BINARY_SUB:
        return a - b;
    case MICA_BINARY_MUL:
        return a * b;
    case MICA_BINARY_DIV:
        return a / b;
    case MICA_BINARY_MIN:
        return isnan(a) || isnan(b) ? (double)NAN : fmin(a, b);
    case MICA_BINARY_MAX:
        return isnan(a) || isnan(b) ? (double)NAN : fmax(a, b);
    case MICA_BINARY_POW:
        return pow(a, b);
    case MICA_BINARY_EQUAL:
        return a == b;
    case MICA_BINARY_NOT_EQUAL:
        return a != b;
    case MICA_BINARY_LESS:
        return a < b;
    case MICA_BINARY_LESS_EQUAL:
        return a <= b;
    case MICA_BINARY_GREATER:
        return a > b;
    case MICA_BINARY_GREATER_EQUAL:
        return a >= b;
    case MICA_BINARY_AND:
        return (double)((int64_t)a & (int64_t)b);
    default:
        return (double)((int64_t)a | (int64_t)b);
    }
}

static bool gives_bool(mica_binary_kind kind) {
    return kind >= MICA_BINARY_EQUAL && kind <= MICA_BINARY_GREATER_EQUAL;
}

/* Index into an operand of these dims for element i of the broadcast result. */
static int64_t pick(int rank, const int64_t *dims, int out_rank, const int64_t *out, int64_t i) {
    int64_t from = 0;
    for (int axis = out_rank - 1; axis >= 0; axis--) {
        int own = axis - (out_rank - rank);
        int64_t index = i % out[axis];
        i /= out[axis];
        if (own >= 0 && dims[own] != 1)
            from += index * op_case_count(rank - own - 1, dims + own + 1);
    }
    return from;
}

static size_t expect(const binary_case *c, double *want) {
    int rank = c->a_rank > c->b_rank ? c->a_rank : c->b_rank;
    int64_t out[4];
    for (int axis = 0; axis < rank; axis++) {
        int ia = axis - (rank - c->a_rank), ib = axis - (rank - c->b_rank);
        int64_t da = ia < 0 ? 1 : c->a_dims[ia], db = ib < 0 ? 1 : c->b_dims[ib];
        out[axis] = da == 1 ? db : da;
    }
    int64_t count = op_case_count(rank, out);
    for (int64_t i = 0; i < count; i++) {
        double a = c->a[pick(c->a_rank, c->a_dims, rank, out, i)];
        double b = c->b[pick(c->b_rank, c->b_dims, rank, out, i)];
        double v = expect_one(c->kind, a, b);
        want[i] = gives_bool(c->kind) ? v : op_case_value(c->dtype, v);
    }
    return (size_t)count;
}

static void floats_of_all_kinds(void **state) {
    /* Proves: each kind on each float dtype, level and pair of layouts; add, sub, mul and div in
     * f32 are exactly rounded, and of f16 and bf16 within the last bit (rounded to f32 first). */
    (void)state;
    uint64_t seed = test_seed();
    double a[3 * 71], b[3 * 71], want[3 * 71];
    for (int k = 0; k < MICA_BINARY_AND; k++)
        for (mica_dtype d = MICA_DTYPE_F16; d <= MICA_DTYPE_F64; d++)
            for (int layout = 0; layout < OP_LAYOUT_COUNT; layout++) {
                binary_case c = {.kind = (mica_binary_kind)k, .dtype = d, .a = a, .b = b};
                c.a_layout = (op_layout)layout;
                c.b_layout = (op_layout)((layout + k) % OP_LAYOUT_COUNT);
                c.a_rank = c.b_rank = 2;
                c.a_dims[0] = c.b_dims[0] = 3;
                c.a_dims[1] = c.b_dims[1] = 71;
                op_case_fill(&seed, d, a, 213, true);
                op_case_fill(&seed, d, b, 213, true);
                for (int i = 0; i < 213; i += 3) b[i] = a[i]; /* equal ones, and NaN with NaN */
                expect(&c, want);
                double unit = d == MICA_DTYPE_F16 ? 0x1p-10 : d == MICA_DTYPE_BF16 ? 0x1p-7 : 0;
                if (k == MICA_BINARY_POW && unit == 0)
                    unit = d == MICA_DTYPE_F64 ? 0x1p-50 : 0x1p-22;
                op_test_all_levels(build, &c, want, 213, unit, d == MICA_DTYPE_F16 ? 6e-8 : 0);
            }
}

static void both_sides_stretch(void **state) {
    /* Proves: broadcasting of leading, middle and trailing axes of either side, rank 0, and none.
     */
    (void)state;
    static const binary_case shapes[] = {
        {.a_rank = 2, .a_dims = {5, 1}, .b_rank = 2, .b_dims = {1, 9}},
        {.a_rank = 1, .a_dims = {9}, .b_rank = 3, .b_dims = {2, 3, 9}},
        {.a_rank = 3, .a_dims = {2, 1, 9}, .b_rank = 2, .b_dims = {3, 1}},
        {.a_rank = 0, .b_rank = 2, .b_dims = {3, 4}},
        {.a_rank = 4, .a_dims = {2, 1, 3, 1}, .b_rank = 4, .b_dims = {1, 2, 1, 5}},
        {.a_rank = 2, .a_dims = {0, 4}, .b_rank = 2, .b_dims = {1, 4}},
        {.a_rank = 0, .b_rank = 0},
    };
    uint64_t seed = 11;
    double a[64], b[64], want[128];
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int layout = 0; layout < OP_LAYOUT_COUNT; layout++)
            for (int d = 0; d < 3; d++) {
                static const mica_dtype dtypes[] = {MICA_DTYPE_F32, MICA_DTYPE_BF16,
                                                    MICA_DTYPE_I16};
                binary_case c = shapes[s];
                c.dtype = dtypes[d];
                c.kind = MICA_BINARY_SUB;
                c.a_layout = (op_layout)layout;
                c.b_layout = (op_layout)((layout + 2) % OP_LAYOUT_COUNT);
                c.a = a, c.b = b;
                op_case_fill(&seed, c.dtype, a, 64, false);
                op_case_fill(&seed, c.dtype, b, 64, false);
                size_t n = expect(&c, want);
                op_test_all_levels(build, &c, want, n, d == 1 ? 0x1p-7 : 0, 0);
            }
}

static void integer_rules(void **state) {
    /* Proves: truncating division, 0 for a divisor of 0, integer powers, wrapping, comparisons of
     * signed and unsigned numbers, and bits. */
    (void)state;
    double a[6] = {-7, 7, 5, -128, 2, -1}, b[6] = {2, -2, 0, -1, 7, 3};
    binary_case c = {.dtype = MICA_DTYPE_I8, .a = a, .b = b, .a_rank = 1, .b_rank = 1};
    c.a_dims[0] = c.b_dims[0] = 6;
    c.kind = MICA_BINARY_DIV;
    op_test_all_levels(build, &c, (double[]){-3, -3, 0, -128, 0, 0}, 6, 0, 0);
    c.kind = MICA_BINARY_POW;
    op_test_all_levels(build, &c, (double[]){49, 0, 1, 0, -128, -1}, 6, 0, 0);
    c.kind = MICA_BINARY_ADD;
    op_test_all_levels(build, &c, (double[]){-5, 5, 5, 127, 9, 2}, 6, 0, 0);
    c.kind = MICA_BINARY_MIN;
    op_test_all_levels(build, &c, (double[]){-7, -2, 0, -128, 2, -1}, 6, 0, 0);
    double big[6] = {0x1p63, 1, 0x1p63, 3, 9, 0}, small[6] = {1, 0x1p63, 0x1p63, 6, 12, 0};
    c.dtype = MICA_DTYPE_U64, c.a = big, c.b = small;
    c.kind = MICA_BINARY_GREATER;
    op_test_all_levels(build, &c, (double[]){1, 0, 0, 0, 0, 0}, 6, 0, 0);
    c.kind = MICA_BINARY_GREATER_EQUAL;
    op_test_all_levels(build, &c, (double[]){1, 0, 1, 0, 0, 1}, 6, 0, 0);
    c.kind = MICA_BINARY_AND;
    op_test_all_levels(build, &c, (double[]){0, 0, 0x1p63, 2, 8, 0}, 6, 0, 0);
    c.kind = MICA_BINARY_OR;
    op_test_all_levels(build, &c, (double[]){0x1p63, 0x1p63, 0x1p63, 7, 13, 0}, 6, 0, 0);
    double t[4] = {0, 0, 1, 1}, f[4] = {0, 1, 0, 1};
    c.dtype = MICA_DTYPE_BOOL, c.a = t, c.b = f, c.a_dims[0] = c.b_dims[0] = 4;
    op_test_all_levels(build, &c, (double[]){0, 1, 1, 1}, 4, 0, 0);
}

static mica_array build_scalar(mica_graph *g, void *context) {
    const mica_dtype *dtype = context;
    double values[3] = {1, 2, 3};
    mica_array x = op_case_input(g, OP_PLAIN, *dtype, 1, (int64_t[]){3}, values);
    mica_array y = mica_mul(g, x, mica_scalar(g, 2));
    assert_int_equal(mica_array_dtype(g, y), *dtype);
    return mica_add(g, mica_scalar(g, -1), y);
}

static void a_scalar_takes_the_dtype_it_meets(void **state) {
    /* Proves: mica_scalar works with every dtype, on either side, and two scalars stay f32. */
    (void)state;
    double want[3] = {1, 3, 5};
    for (mica_dtype d = MICA_DTYPE_I8; d <= MICA_DTYPE_F64; d++) {
        if (d == MICA_DTYPE_U16 || d == MICA_DTYPE_U32 || d == MICA_DTYPE_U64) continue; /* -1 */
        op_test_all_levels(build_scalar, &d, want, 3, 0, 0);
    }
}

static mica_array build_arithmetic(mica_graph *g, void *context) {
    (void)context;
    mica_array a = mica_scalar(g, 7), b = mica_scalar(g, 2);
    mica_array sum = mica_add(g, mica_div(g, a, b), mica_mul(g, a, b)); /* 3.5 + 14 */
    return mica_sub(g, mica_maximum(g, sum, a), mica_minimum(g, b, a)); /* 17.5 - 2 */
}

static void the_named_functions(void **state) {
    /* Proves: add, sub, mul, div, minimum and maximum are what they are called. */
    (void)state;
    op_test_all_levels(build_arithmetic, NULL, (double[]){15.5}, 1, 0, 0);
}

static void wrong_operands_are_refused(void **state) {
    /* Proves: shapes, dtypes and kinds that do not fit are errors that name both. */
    (void)state;
    double values[16] = {0};
    binary_case c = {.dtype = MICA_DTYPE_F32, .a = values, .b = values, .a_rank = 2, .b_rank = 2};
    c.a_dims[0] = 4, c.a_dims[1] = 3, c.b_dims[0] = 5, c.b_dims[1] = 3;
    op_case_expect_invalid(build, &c, "[4, 3] and [5, 3]");
    c.b_dims[0] = 4, c.b_dtype = MICA_DTYPE_F16;
    op_case_expect_invalid(build, &c, "f32[4, 3] and f16[4, 3]");
    c.b_dtype = MICA_DTYPE_F32, c.kind = MICA_BINARY_AND;
    op_case_expect_invalid(build, &c, "does not take f32");
    c.kind = MICA_BINARY_COUNT_;
    op_case_expect_invalid(build, &c, "not a kind");
    c.dtype = c.b_dtype = MICA_DTYPE_BOOL, c.kind = MICA_BINARY_ADD;
    op_case_expect_invalid(build, &c, "does not take bool");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_of_all_kinds), cmocka_unit_test(both_sides_stretch),
        cmocka_unit_test(integer_rules),       cmocka_unit_test(a_scalar_takes_the_dtype_it_meets),
        cmocka_unit_test(the_named_functions), cmocka_unit_test(wrong_operands_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
