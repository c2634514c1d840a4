/* glu: every kind against double precision: halves, interleaved, and two inputs. */
#include "ops/common/layer_test_case.h"

typedef struct glu_case {
    mica_dtype dtype;
    op_layout layout;
    int rank;
    int64_t dims[4];
    mica_glu_options options;
    const double *values;
    bool is_pair; /* values are the gates of all rows, then the ups */
} glu_case;

static mica_array build(mica_graph *g, void *context) {
    const glu_case *c = context;
    if (c->is_pair) {
        int64_t dims[4], count = op_case_count(c->rank, c->dims) / 2;
        memcpy(dims, c->dims, sizeof dims);
        dims[c->rank - 1] /= 2;
        mica_array gate = op_case_input(g, c->layout, c->dtype, c->rank, dims, c->values);
        mica_array up = op_case_input(g, c->layout, c->dtype, c->rank, dims, c->values + count);
        return mica_glu_pair(g, gate, up, c->options);
    }
    mica_array x = op_case_input(g, c->layout, c->dtype, c->rank, c->dims, c->values);
    return mica_glu(g, x, c->options);
}

static double expect_one(const mica_glu_options *o, double gate, double up) {
    const double pi = 3.14159265358979323846;
    double limit = (double)o->limit;
    switch (o->kind) {
    case MICA_GLU_SILU:
        return gate / (1 + exp(-gate)) * up;
    case MICA_GLU_GELU:
        return gate * 0.5 * (1 + erf(gate / sqrt(2.0))) * up;
    case MICA_GLU_GELU_TANH:
        return gate * 0.5 * (1 + tanh(sqrt(2 / pi) * (gate + 0.044715 * pow(gate, 3)))) * up;
    default:
        if (gate > limit) gate = limit;
        if (up > limit) up = limit;
        if (up < -limit) up = -limit;
        return gate / (1 + exp(-(double)o->alpha * gate)) * (up + 1);
    }
}

static void check(glu_case *c) {
    int64_t n = c->dims[c->rank - 1] / 2, count = op_case_count(c->rank, c->dims) / 2;
    double *want = malloc((size_t)(count + 1) * sizeof *want);
    for (int64_t i = 0; i < count; i++) {
        const double *row = c->values + i / n * 2 * n;
        int64_t j = i % n;
        bool pairs = c->options.interleaved;
        if (c->is_pair) {
            want[i] = expect_one(&c->options, c->values[i], c->values[i + count]);
            continue;
        }
        want[i] = expect_one(&c->options, row[pairs ? 2 * j : j], row[pairs ? 2 * j + 1 : j + n]);
    }
    /* Sigmoid errs by 2.5 ulp; gelu of far negative gates loses digits near 0, in f16 and bf16
     * results below 2^-14 do. */
    layer_case_check(build, c, want, count, layer_case_relative(c->dtype, 3e-6), 2e-6);
    free(want);
}

static void every_kind(void **state) {
    /* Proves: kinds x pairing (halves, interleaved, two inputs) x dtypes x layouts agree with
     * double precision, and so does the composed meaning. */
    (void)state;
    static const mica_dtype dtypes[] = {MICA_DTYPE_F32, MICA_DTYPE_BF16, MICA_DTYPE_F16};
    static const int64_t shapes[][5] = {{1, 2}, {2, 3, 66}, {3, 2, 3, 32}, {2, 1, 90}};
    uint64_t seed = test_seed();
    double values[256];
    for (int s = 0; s < 4; s++)
        for (int d = 0; d < 3; d++)
            for (int k = 0; k < 12; k++) {
                glu_case c = {.dtype = dtypes[d],
                              .layout = (op_layout)((s + d + k) % OP_LAYOUT_COUNT),
                              .rank = (int)shapes[s][0],
                              .values = values};
                memcpy(c.dims, shapes[s] + 1, sizeof c.dims);
                c.options = (mica_glu_options){(mica_glu_kind)(k / 3), k % 3 == 1, 1.702f, 2.5f};
                c.is_pair = k % 3 == 2;
                op_case_fill(&seed, c.dtype, values, op_case_count(c.rank, c.dims), false);
                check(&c);
            }
}

static void clamped_extremes(void **state) {
    /* Proves: gpt-oss's clamp takes the gate from above only, up on both sides; NaN stays, huge
     * values do not. */
    (void)state;
    double values[] = {100,      100,   -100,  -100,     7,           -7,       0, 0,
                       1e30,     -1e30, -1e30, 1e30,     (double)NAN, 1,        1, (double)NAN,
                       INFINITY, 2,     3,     INFINITY, 3,           -INFINITY};
    glu_case c = {.dtype = MICA_DTYPE_F32, .rank = 1, .dims = {22}, .values = values};
    for (int i = 0; i < 22; i++) values[i] = op_case_value(MICA_DTYPE_F32, values[i]);
    c.options = (mica_glu_options){MICA_GLU_CLAMPED, true, 1.702f, 7};
    check(&c);
}

static void threads_change_nothing(void **state) {
    /* Proves: 1, 2 and 3 threads give the same bits. */
    (void)state;
    uint64_t seed = test_seed();
    double *values = malloc(50 * 600 * sizeof *values);
    op_case_fill(&seed, MICA_DTYPE_F32, values, 50 * 600, false);
    glu_case c = {.dtype = MICA_DTYPE_F32, .rank = 2, .dims = {50, 600}, .values = values};
    c.options = (mica_glu_options){MICA_GLU_CLAMPED, true, 1.702f, 7};
    layer_case_threads(build, &c);
    c.options.interleaved = false;
    c.is_pair = true;
    layer_case_threads(build, &c);
    free(values);
}

static mica_array build_unequal(mica_graph *g, void *context) {
    const glu_case *c = context;
    mica_array gate = mica_array_from_data(g, MICA_DTYPE_F32, 2, (int64_t[]){2, 3}, c->values);
    mica_array up = mica_array_from_data(g, MICA_DTYPE_F32, 2, (int64_t[]){3, 2}, c->values);
    return mica_glu_pair(g, gate, up, (mica_glu_options){0});
}

static void wrong_inputs(void **state) {
    /* Proves: odd rows, unknown kinds, negative limits and pairs that do not match are refused. */
    (void)state;
    double values[6] = {0};
    glu_case c = {.dtype = MICA_DTYPE_F32, .rank = 2, .dims = {2, 3}, .values = values};
    op_case_expect_invalid(build, &c, "x is [2, 3], wanted an even last axis");
    c.options.kind = (mica_glu_kind)9;
    op_case_expect_invalid(build, &c, "kind 9");
    c.options = (mica_glu_options){MICA_GLU_CLAMPED, true, 1, -1};
    op_case_expect_invalid(build, &c, "limit is -1");
    op_case_expect_invalid(build_unequal, &c, "gate is f32 [2, 3], up f32 [3, 2]");
    c = (glu_case){.dtype = MICA_DTYPE_F32, .rank = 2, .dims = {1, 6}, .values = values};
    c.is_pair = c.options.interleaved = true;
    op_case_expect_invalid(build, &c, "two inputs cannot be interleaved");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind),
        cmocka_unit_test(clamped_extremes),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(wrong_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
