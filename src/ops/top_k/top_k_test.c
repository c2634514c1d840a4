/* top_k: against a full sort, ties, NaN, every dtype and layout, errors. */
#include "ops/common/op_test_case.h"

typedef struct top_k_case {
    mica_dtype dtype;
    op_layout layout;
    int k, rank;
    int64_t dims[3];
    const double *values;
} top_k_case;

static mica_array build(mica_graph *g, void *context) {
    const top_k_case *c = context;
    mica_array x = op_case_input(g, c->layout, c->dtype, c->rank, c->dims, c->values);
    return mica_top_k(g, x, c->k);
}

/* Selection sort: the largest not yet taken, the first of equals, NaN last. */
static size_t expect(const top_k_case *c, double *want) {
    int64_t n = c->dims[c->rank - 1], rows = op_case_count(c->rank - 1, c->dims);
    bool *taken = malloc((size_t)n);
    for (int64_t r = 0; r < rows; r++) {
        const double *x = c->values + r * n;
        memset(taken, 0, (size_t)n);
        for (int j = 0; j < c->k; j++) {
            int64_t best = -1;
            for (int64_t i = 0; i < n; i++)
                if (!taken[i] && (best < 0 || x[i] > x[best] || (isnan(x[best]) && !isnan(x[i]))))
                    best = i;
            taken[best] = true;
            want[r * c->k + j] = (double)best;
        }
    }
    free(taken);
    return (size_t)(rows * c->k);
}

static void indices_of_the_largest(void **state) {
    /* Proves: the order of a full sort, with ties and NaN, for each dtype, layout and several k. */
    (void)state;
    static const int ks[] = {1, 2, 4, 31, 37};
    uint64_t seed = test_seed();
    double values[6 * 37], want[6 * 37];
    for (mica_dtype d = MICA_DTYPE_BOOL; d < MICA_DTYPE_COUNT_; d++)
        for (op_layout layout = 0; layout < OP_LAYOUT_COUNT; layout++)
            for (int k = 0; k < 5; k++) {
                top_k_case c = {d, layout, ks[k], 3, {2, 3, 37}, values};
                op_case_fill(&seed, d, values, 222, true);
                for (int i = 0; i < 222; i += 5) values[i] = values[(i * 7) % 222];
                size_t n = expect(&c, want);
                op_test_all_levels(build, &c, want, n, 0, 0);
            }
}

static void large_k_and_long_rows(void **state) {
    /* Proves: k of 1024 in a row of 5000 with many equal values. */
    (void)state;
    uint64_t seed = 4;
    double *values = malloc(5000 * sizeof *values), *want = malloc(1024 * sizeof *want);
    for (int i = 0; i < 5000; i++) values[i] = (double)(test_random(&seed) % 900);
    top_k_case c = {MICA_DTYPE_F32, OP_PLAIN, 1024, 1, {5000}, values};
    size_t n = expect(&c, want);
    op_test_all_levels(build, &c, want, n, 0, 0);
    free(values);
    free(want);
}

static void no_rows(void **state) {
    /* Proves: an array without rows gives one without rows. */
    (void)state;
    top_k_case c = {MICA_DTYPE_F32, OP_PLAIN, 2, 2, {0, 5}, NULL};
    op_test_all_levels(build, &c, NULL, 0, 0, 0);
}

static void wrong_k_is_refused(void **state) {
    /* Proves: k must be 1..1024 and at most the length of the axis, which must exist. */
    (void)state;
    double *values = calloc(3000, sizeof *values);
    top_k_case c = {MICA_DTYPE_F32, OP_PLAIN, 0, 1, {5}, values};
    op_case_expect_invalid(build, &c, "k = 0 of shape [5]");
    c.k = 6;
    op_case_expect_invalid(build, &c, "k = 6 of shape [5]");
    c.k = 1025, c.dims[0] = 3000;
    op_case_expect_invalid(build, &c, "k = 1025");
    c.rank = 0;
    op_case_expect_invalid(build, &c, "rank 0");
    free(values);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(indices_of_the_largest),
        cmocka_unit_test(large_k_and_long_rows),
        cmocka_unit_test(no_rows),
        cmocka_unit_test(wrong_k_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
