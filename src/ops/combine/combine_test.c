/* combine: against f64 sums and against its composed meaning; dtypes, sizes, errors. */
#include "ops/common/op_test_case.h"
#include "core/op.h"

extern const mica_op mica_op_combine;

typedef struct combine_case {
    mica_dtype dtype, weight_dtype;
    op_layout layout, weight_layout;
    int64_t t, s, n, weight_s;
    const double *x, *weights, *residual; /* NULL = none */
    bool is_composed;
} combine_case;

static mica_array build(mica_graph *g, void *context) {
    const combine_case *c = context;
    int64_t dims[3] = {c->t, c->s, c->n};
    mica_array x = op_case_input(g, c->layout, c->dtype, 3, dims, c->x);
    int64_t weight_dims[2] = {c->t, c->weight_s};
    mica_array w = op_case_input(g, c->weight_layout, c->weight_dtype, 2, weight_dims, c->weights);
    mica_array y = mica_combine(g, x, w);
    if (c->residual) {
        mica_array r =
            op_case_input(g, OP_PLAIN, c->dtype, 2, (int64_t[]){c->t, c->n}, c->residual);
        y = mica_array_add(g, MICA_OP_combine, (mica_array[]){x, w, r}, 3, NULL, 0);
    }
    if (!c->is_composed) return y;
    mica_node node = *mica_graph_node(g, mica_array_ref(g, y, false));
    return mica_array_of(g, mica_op_combine.compose(g, &node));
}

/* The reshape keeps pass fuse from making one node of it. */
static mica_array build_apart(mica_graph *g, void *context) {
    combine_case c = *(const combine_case *)context;
    const double *residual = c.residual;
    c.residual = NULL;
    int64_t count = c.t * c.n;
    mica_array y = mica_reshape(g, build(g, &c), 1, &count);
    return mica_add(g, op_case_input(g, OP_PLAIN, c.dtype, 1, &count, residual), y);
}

static void expect(const combine_case *c, double *want) {
    for (int64_t t = 0; t < c->t; t++)
        for (int64_t i = 0; i < c->n; i++) {
            double sum = 0;
            for (int64_t s = 0; s < c->s; s++)
                sum += c->weights[t * c->s + s] * c->x[(t * c->s + s) * c->n + i];
            want[t * c->n + i] = op_case_value(c->dtype, sum);
            if (c->residual)
                want[t * c->n + i] = op_case_value(c->dtype, sum + c->residual[t * c->n + i]);
        }
}

static void weighted_sums(void **state) {
    /* Proves: op and composed form, on all levels, dtypes and layouts, for sizes around vectors,
     * blocks and shares, f32 with and without a residual. Bound: f32 rounding of up to 5 terms of
     * size 16 each and of the residual, then the dtype's. */
    (void)state;
    static const int64_t sizes[][3] = {{1, 4, 2880}, {3, 4, 65}, {7, 1, 513}, {2, 5, 1},
                                       {5, 2, 511},  {0, 4, 8},  {2, 0, 9}};
    static const mica_dtype dtypes[] = {MICA_DTYPE_F32, MICA_DTYPE_BF16, MICA_DTYPE_F16};
    uint64_t seed = test_seed();
    double *x = malloc(12000 * sizeof *x), *want = malloc(4000 * sizeof *want), weights[64];
    double *residual = malloc(4000 * sizeof *residual);
    for (size_t z = 0; z < sizeof sizes / sizeof *sizes; z++)
        for (int code = 0; code < 9 * OP_LAYOUT_COUNT; code++) {
            combine_case c = {dtypes[code % 3],
                              dtypes[code / 3 % 3],
                              (op_layout)(code / 9),
                              (op_layout)((code + 1) % OP_LAYOUT_COUNT),
                              sizes[z][0],
                              sizes[z][1],
                              sizes[z][2],
                              sizes[z][1],
                              x,
                              weights,
                              code % 3 == 0 && code % 4 < 2 ? residual : NULL,
                              code & 1};
            op_case_fill(&seed, c.dtype, x, c.t * c.s * c.n, false);
            op_case_fill(&seed, c.weight_dtype, weights, c.t * c.s, false);
            op_case_fill(&seed, c.dtype, residual, c.t * c.n, false);
            expect(&c, want);
            double unit = code % 3 == 0 ? 0 : code % 3 == 1 ? 0x1p-7 : 0x1p-10;
            op_test_all_levels(build, &c, want, (size_t)(c.t * c.n), unit,
                               c.residual ? 3e-5 : 2e-5);
        }
    free(x);
    free(residual);
    free(want);
}

static void residual_is_added_as_binary_does(void **state) {
    /* Proves: combine with a residual has the bits of combine and an addition, for each dtype, at
     * each level. */
    (void)state;
    uint64_t seed = test_seed();
    double x[3 * 4 * 67], weights[12], residual[3 * 67];
    for (int code = 0; code < 9; code++) {
        combine_case c = {
            .dtype = (mica_dtype[]){MICA_DTYPE_F32, MICA_DTYPE_BF16, MICA_DTYPE_F16}[code % 3],
            .weight_dtype = MICA_DTYPE_F32,
            .t = 3,
            .s = 4,
            .n = 67,
            .weight_s = 4,
            .x = x,
            .weights = weights,
            .residual = residual};
        op_case_fill(&seed, c.dtype, x, 3 * 4 * 67, false);
        op_case_fill(&seed, c.weight_dtype, weights, 12, false);
        op_case_fill(&seed, c.dtype, residual, 3 * 67, false);
        for (size_t l = 0; l < OP_TEST_LEVELS; l++) {
            size_t n;
            double *got = op_test_eval(op_test_levels[l], build, &c, &n);
            double *want = op_test_eval(op_test_levels[l], build_apart, &c, &n);
            if (!got) continue;
            op_test_expect(op_test_levels[l], got, want, n, 0, 0);
            free(got);
            free(want);
        }
    }
}

static void special_values_stay_in_their_row(void **state) {
    /* Proves: NaN and infinity reach only the elements that they belong to. */
    (void)state;
    double x[12] = {1, 2, 3, (double)NAN, 4, 5, 1, INFINITY, 1, 1, -INFINITY, 2};
    double weights[4] = {1, 2, 0.5, 0.5};
    combine_case c = {.dtype = MICA_DTYPE_F32, .weight_dtype = MICA_DTYPE_F32, .t = 2, .s = 2};
    c.n = 3, c.weight_s = 2, c.x = x, c.weights = weights;
    double nan = (double)NAN;
    op_test_all_levels(build, &c, (double[]){nan, 10, 13, 1, nan, 1.5}, 6, 0, 0);
}

static void wrong_operands_are_refused(void **state) {
    /* Proves: [t, s, n] with [t, s], floats only. */
    (void)state;
    double values[64] = {0};
    combine_case c = {.dtype = MICA_DTYPE_F32, .weight_dtype = MICA_DTYPE_F32, .t = 2, .s = 2};
    c.n = 3, c.weight_s = 3, c.x = c.weights = values;
    op_case_expect_invalid(build, &c, "x f32[2, 2, 3] and weights f32[2, 3]");
    c.weight_s = 2, c.weight_dtype = MICA_DTYPE_I32;
    op_case_expect_invalid(build, &c, "weights i32[2, 2]");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weighted_sums),
        cmocka_unit_test(residual_is_added_as_binary_does),
        cmocka_unit_test(special_values_stay_in_their_row),
        cmocka_unit_test(wrong_operands_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
