/* layer_norm: against double precision in every dtype, layout and mix of weights. */
#include "ops/common/layer_test_case.h"

typedef struct norm_case {
    mica_dtype dtype, weight_dtype; /* weight NONE = null */
    op_layout layout;
    int rank;
    int64_t dims[4];
    const double *values, *weight, *bias;
    float eps;
} norm_case;

static mica_array vector(mica_graph *g, const norm_case *c, const double *values) {
    if (!values) return (mica_array){0};
    return op_case_input(g, OP_UNALIGNED, c->weight_dtype, 1, &c->dims[c->rank - 1], values);
}

static mica_array build(mica_graph *g, void *context) {
    const norm_case *c = context;
    mica_array x = op_case_input(g, c->layout, c->dtype, c->rank, c->dims, c->values);
    return mica_layer_norm(g, x, vector(g, c, c->weight), vector(g, c, c->bias), c->eps);
}

static void expect_row(const norm_case *c, const double *x, double *out, int64_t n) {
    double mean = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) mean += x[i] / (double)n;
    for (int64_t i = 0; i < n; i++) sum += (x[i] - mean) * (x[i] - mean);
    double scale = 1 / sqrt(sum / (double)n + (double)c->eps);
    for (int64_t i = 0; i < n; i++) {
        double w = c->weight ? c->weight[i] : 1;
        out[i] = (x[i] - mean) * scale * w + (c->bias ? c->bias[i] : 0);
    }
}

static void check(norm_case *c) {
    int64_t count = op_case_count(c->rank, c->dims), n = c->dims[c->rank - 1];
    double *want = malloc((size_t)(count + 1) * sizeof *want);
    for (int64_t r = 0; n && r < count / n; r++) expect_row(c, c->values + r * n, want + r * n, n);
    /* f32: mean and variance err by far less than n / 2 ulp; results are near 1. */
    layer_case_check(build, c, want, count, layer_case_relative(c->dtype, 4e-6), 2e-6);
    free(want);
}

static void every_dtype_and_layout(void **state) {
    /* Proves: shapes x dtypes of x and weight x layouts agree with double precision. */
    (void)state;
    static const mica_dtype dtypes[] = {MICA_DTYPE_F32, MICA_DTYPE_BF16, MICA_DTYPE_F16};
    static const int64_t shapes[][5] = {{1, 8}, {1, 1}, {2, 3, 33}, {3, 2, 3, 40}, {2, 2, 321}};
    uint64_t seed = test_seed();
    double values[700], weight[400], bias[400];
    for (int s = 0; s < 5; s++)
        for (int d = 0; d < 3; d++)
            for (int w = 0; w < 4; w++) {
                norm_case c = {.dtype = dtypes[d],
                               .layout = (op_layout)((s + d + w) % OP_LAYOUT_COUNT),
                               .rank = (int)shapes[s][0],
                               .eps = 1e-5f};
                c.weight_dtype = w == 3 ? MICA_DTYPE_NONE : dtypes[w];
                memcpy(c.dims, shapes[s] + 1, sizeof c.dims);
                op_case_fill(&seed, c.dtype, values, op_case_count(c.rank, c.dims), false);
                op_case_fill(&seed, w == 3 ? MICA_DTYPE_F32 : dtypes[w], weight, 400, false);
                op_case_fill(&seed, w == 3 ? MICA_DTYPE_F32 : dtypes[w], bias, 400, false);
                c.values = values;
                if (w != 3) c.weight = weight;
                if (w != 3 && w != 1) c.bias = bias;
                check(&c);
            }
}

static void special_rows(void **state) {
    /* Proves: rows of zeros, tiny and large values; NaN and infinity stay in their row. */
    (void)state;
    double values[5 * 20], weight[20], bias[20];
    for (int i = 0; i < 20; i++) {
        weight[i] = bias[i] = 1;
        values[i] = 0;
        values[20 + i] = op_case_value(MICA_DTYPE_F32, 1e-20 * i);
        values[40 + i] = op_case_value(MICA_DTYPE_F32, i % 3 * 1e15);
        values[60 + i] = i == 7 ? (double)NAN : i;
        values[80 + i] = i;
    }
    norm_case c = {.dtype = MICA_DTYPE_F32,
                   .weight_dtype = MICA_DTYPE_F32,
                   .rank = 2,
                   .dims = {5, 20},
                   .values = values,
                   .weight = weight,
                   .bias = bias,
                   .eps = 1e-6f};
    check(&c);
}

static void threads_change_nothing(void **state) {
    /* Proves: 1, 2 and 3 threads give the same bits. */
    (void)state;
    uint64_t seed = test_seed();
    double *values = malloc(90 * 300 * sizeof *values);
    op_case_fill(&seed, MICA_DTYPE_F32, values, 90 * 300, false);
    norm_case c = {.dtype = MICA_DTYPE_F32,
                   .weight_dtype = MICA_DTYPE_BF16,
                   .rank = 2,
                   .dims = {90, 300},
                   .values = values,
                   .weight = values,
                   .eps = 1e-6f};
    layer_case_threads(build, &c);
    free(values);
}

static mica_array build_short(mica_graph *g, void *context) {
    const norm_case *c = context;
    mica_array x = op_case_input(g, OP_PLAIN, c->dtype, c->rank, c->dims, c->values);
    mica_array weight = op_case_input(g, OP_PLAIN, MICA_DTYPE_F32, 1, (int64_t[]){3}, c->values);
    return mica_layer_norm(g, x, weight, (mica_array){0}, c->eps);
}

static void wrong_inputs(void **state) {
    /* Proves: a weight of another length, a negative eps and integers are refused. */
    (void)state;
    double values[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    norm_case c = {.dtype = MICA_DTYPE_F32, .rank = 2, .dims = {2, 4}, .values = values};
    op_case_expect_invalid(build_short, &c, "weight is f32 [3], wanted f32, f16 or bf16 [4]");
    c.eps = -1;
    op_case_expect_invalid(build, &c, "eps is -1");
    c.eps = NAN;
    op_case_expect_invalid(build, &c, "eps is");
    c.eps = 0;
    c.dtype = MICA_DTYPE_I32;
    op_case_expect_invalid(build, &c, "x is i32 [2, 4]");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dtype_and_layout),
        cmocka_unit_test(special_rows),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(wrong_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
