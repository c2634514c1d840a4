/* math.h and its vector forms: ulps against libm in double precision, and the edges. The vector
 * forms run through the ops that are made of them, on each level. */
#include "kernel/math.h"
#include "mica/ops.h"
#include "ops/common/op_test_case.h"

/* |got - want| in units of the last place of want as f32 (of 2^-126 below it). */
static double ulps(float got, double want) {
    if (isnan(want) || isnan(got)) return isnan(want) && isnan(got) ? 0 : INFINITY;
    if (fabs(want) > 3.4028235677973366e38) return isinf(got) ? 0 : INFINITY;
    if (isinf(got)) return INFINITY;
    double m = fabs(want) < 0x1p-126 ? 0x1p-126 : fabs(want);
    return fabs((double)got - want) / ldexp(1, ilogb(m) - 23);
}

static void expect_ulps(const char *name, float x, float got, double want, double limit) {
    if (!(ulps(got, want) <= limit))
        fail_msg("%s(%.9g): got %.9g, want %.9g: %.2f ulp", name, (double)x, (double)got, want,
                 ulps(got, want));
}

static void scalar_accuracy(void **state) {
    /* Proves: over a walk through all of f32, exp errs by at most 1 ulp, sigmoid 2.5, tanh 1.4. */
    (void)state;
    for (uint64_t bits = 0; bits < 0x100000000u; bits += 4099) {
        float x = mica_f32_from_bits((uint32_t)bits);
        double d = (double)x;
        expect_ulps("exp", x, mica_exp(x), exp(d), 1.0);
        if (x > -87) expect_ulps("sigmoid", x, mica_sigmoid(x), 1 / (1 + exp(-d)), 2.5);
        expect_ulps("tanh", x, mica_tanh(x), tanh(d), 1.4);
    }
}

static void scalar_edges(void **state) {
    /* Proves: limits, overflow, subnormal results, signs of zero and NaN. */
    (void)state;
    assert_true(mica_exp(0.0f) == 1 && mica_exp(-0.0f) == 1);
    assert_true(isinf(mica_exp(INFINITY)) && mica_exp(-INFINITY) == 0);
    assert_true(isinf(mica_exp(88.8f)) && !isinf(mica_exp(88.72f)));
    assert_true(mica_exp(-100.0f) > 0 && mica_exp(-104.1f) == 0);
    assert_true(isnan(mica_exp(NAN)) && isnan(mica_sigmoid(NAN)) && isnan(mica_tanh(NAN)));
    assert_true(mica_sigmoid(INFINITY) == 1 && mica_sigmoid(-INFINITY) == 0);
    assert_true(mica_sigmoid(0) == 0.5f);
    assert_true(mica_tanh(INFINITY) == 1 && mica_tanh(-INFINITY) == -1);
    assert_true(signbit(mica_tanh(-0.0f)) && !signbit(mica_tanh(0.0f)));
    assert_true(mica_tanh(-3.0f) == -mica_tanh(3.0f));
}

static void scalar_bits(void **state) {
    /* Proves: the bits are these on every machine: the sampler depends on it. */
    (void)state;
    uint64_t hash = 0xCBF29CE484222325u;
    for (uint32_t i = 0; i < 200000; i++) {
        float x = -104.0f + (float)i * 0.00095f;
        uint32_t bits = mica_bits_from_f32(mica_exp(x)) ^ mica_bits_from_f32(mica_sigmoid(x)) << 1 ^
                        mica_bits_from_f32(mica_tanh(x)) >> 1;
        hash = (hash ^ bits) * 0x100000001B3u;
    }
    if (hash != 0x243A47A7AD76DC06u) fail_msg("hash %#llx", (unsigned long long)hash);
}

#define VECTOR_COUNT (1 << 17)

typedef struct vector_case {
    mica_unary_kind kind;
    float *x;
} vector_case;

static mica_array build(mica_graph *g, void *context) {
    const vector_case *c = context;
    int64_t n = VECTOR_COUNT;
    return mica_unary(g, c->kind, mica_array_from_data(g, MICA_DTYPE_F32, 1, &n, c->x));
}

static void vector_accuracy(void **state) {
    /* Proves: the vector forms err as little as the scalar ones, on every level. */
    (void)state;
    static const char *const names[] = {"exp", "sigmoid", "tanh"};
    static const mica_unary_kind kinds[] = {MICA_UNARY_EXP, MICA_UNARY_SIGMOID, MICA_UNARY_TANH};
    vector_case c = {.x = malloc(VECTOR_COUNT * sizeof(float))};
    for (uint32_t i = 0; i < VECTOR_COUNT; i++) c.x[i] = mica_f32_from_bits(i * 32749);
    for (int l = 0; l < OP_TEST_LEVELS; l++)
        for (int k = 0; k < 3; k++) {
            size_t count;
            c.kind = kinds[k];
            double *got = op_test_eval(op_test_levels[l], build, &c, &count);
            for (uint32_t i = 0; got && i < VECTOR_COUNT; i++) {
                double x = (double)c.x[i];
                double want = k == 0 ? exp(x) : k == 1 ? 1 / (1 + exp(-x)) : tanh(x);
                if (k != 1 || x > -87)
                    expect_ulps(names[k], c.x[i], (float)got[i], want, k == 1 ? 2.5 : 1.4);
            }
            free(got);
        }
    free(c.x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalar_accuracy),
        cmocka_unit_test(scalar_edges),
        cmocka_unit_test(scalar_bits),
        cmocka_unit_test(vector_accuracy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
