#include "mica/ops.h"
#include "op_test.h"

typedef struct matmul_case {
    mica_dtype dtype;
    int rank_a, rank_b;
    int64_t a[4], b[4]; /* as stored */
    bool is_a_transposed, is_b_transposed;
    int64_t step; /* > 1: every step-th row of a's second last axis is used */
    double *a_values, *b_values;
} matmul_case;

static int64_t count_of(int rank, const int64_t *dims) {
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= dims[i];
    return n;
}

static mica_array make(mica_graph *g, mica_dtype dtype, int rank, const int64_t *dims,
                       const double *values) {
    int64_t n = count_of(rank, dims);
    float *f = malloc((size_t)n * 4 + 1);
    for (int64_t i = 0; i < n; i++) f[i] = (float)values[i];
    mica_array x = mica_cast(g, mica_array_from_data(g, MICA_DTYPE_F32, rank, dims, f), dtype);
    free(f);
    return x;
}

static mica_array build(mica_graph *g, void *context) {
    const matmul_case *c = context;
    mica_array a = make(g, c->dtype, c->rank_a, c->a, c->a_values);
    mica_array b = make(g, c->dtype, c->rank_b, c->b, c->b_values);
    if (c->is_a_transposed) a = mica_transpose(g, a);
    if (c->is_b_transposed) b = mica_transpose(g, b);
    if (c->step != 1) a = mica_slice_axis(g, a, -2, 0, 1 << 20, c->step);
    return mica_matmul(g, a, b);
}

/* Element (i, j) of matrix `batch` of stored data; the batch axes are at most two. */
static double at(const matmul_case *c, bool is_a, const int64_t batch[2], int64_t i, int64_t j) {
    int rank = is_a ? c->rank_a : c->rank_b;
    const int64_t *dims = is_a ? c->a : c->b;
    const double *values = is_a ? c->a_values : c->b_values;
    int64_t index = 0;
    for (int axis = 0; axis < rank - 2; axis++) {
        int64_t of_batch = batch[axis + 2 - (rank - 2)];
        index = index * dims[axis] + (dims[axis] == 1 ? 0 : of_batch);
    }
    bool is_transposed = is_a ? c->is_a_transposed : c->is_b_transposed;
    int64_t r = is_transposed ? j : i, s = is_transposed ? i : j;
    return values[(index * dims[rank - 2] + r) * dims[rank - 1] + s];
}

static double *expected(const matmul_case *c, size_t *count) {
    int64_t m = c->a[c->rank_a - (c->is_a_transposed ? 1 : 2)];
    int64_t k = c->a[c->rank_a - (c->is_a_transposed ? 2 : 1)];
    int64_t n = c->b[c->rank_b - (c->is_b_transposed ? 2 : 1)], batches[2] = {1, 1};
    m = (m + c->step - 1) / c->step;
    for (int i = 0; i < 2; i++) {
        int ia = c->rank_a - 4 + i, ib = c->rank_b - 4 + i;
        int64_t da = ia >= 0 ? c->a[ia] : 1, db = ib >= 0 ? c->b[ib] : 1;
        batches[i] = da == 1 ? db : da;
    }
    *count = (size_t)(batches[0] * batches[1] * m * n);
    double *out = malloc(*count * sizeof *out + 1), *p = out;
    for (int64_t t = 0; t < batches[0] * batches[1]; t++) {
        int64_t batch[2] = {t / batches[1], t % batches[1]};
        for (int64_t i = 0; i < m * n; i++, p++) {
            *p = 0;
            for (int64_t s = 0; s < k; s++)
                *p += at(c, true, batch, i / n * c->step, s) * at(c, false, batch, s, i % n);
        }
    }
    return out;
}

/* Small multiples of 1/4 are exact in every dtype. */
static double *make_values(int64_t count, uint64_t *seed) {
    double *v = malloc((size_t)count * sizeof *v + 1);
    for (int64_t i = 0; i < count; i++) v[i] = (double)((int)(test_random(seed) % 17) - 8) / 4;
    return v;
}

static void multiplies_any_strides_and_broadcasts(void **state) {
    /* Proves: shapes x dtypes x transposed, stepped and broadcast inputs equal sums in double. */
    (void)state;
    static const mica_dtype dtypes[] = {MICA_DTYPE_F32, MICA_DTYPE_F16, MICA_DTYPE_BF16,
                                        MICA_DTYPE_F64};
    static const matmul_case cases[] = {
        {0, 2, 2, {1, 1}, {1, 1}, false, false, 1, NULL, NULL},
        {0, 2, 2, {5, 7}, {7, 33}, false, false, 1, NULL, NULL},
        {0, 2, 2, {7, 5}, {7, 18}, true, false, 1, NULL, NULL},
        {0, 2, 2, {9, 64}, {37, 64}, false, true, 1, NULL, NULL},
        {0, 2, 2, {9, 16}, {16, 3}, false, false, 2, NULL, NULL},
        {0, 3, 3, {4, 3, 6}, {4, 6, 5}, false, false, 1, NULL, NULL},
        {0, 3, 2, {4, 3, 6}, {6, 5}, false, false, 1, NULL, NULL},
        {0, 2, 3, {3, 6}, {4, 5, 6}, false, true, 1, NULL, NULL},
        {0, 4, 4, {2, 1, 3, 6}, {1, 5, 6, 17}, false, false, 1, NULL, NULL},
        {0, 4, 3, {2, 3, 6, 2}, {1, 6, 4}, true, false, 1, NULL, NULL},
        {0, 2, 2, {3, 0}, {0, 4}, false, false, 1, NULL, NULL},
        {0, 2, 2, {0, 3}, {3, 4}, false, false, 1, NULL, NULL},
    };
    uint64_t seed = test_seed();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0] * 4; i++) {
        matmul_case c = cases[i / 4];
        c.dtype = dtypes[i % 4];
        c.a_values = make_values(count_of(c.rank_a, c.a), &seed);
        c.b_values = make_values(count_of(c.rank_b, c.b), &seed);
        size_t count = 0;
        double *want = expected(&c, &count);
        double relative = c.dtype == MICA_DTYPE_BF16 ? 0x1p-8 : 0x1p-11;
        op_test_all_levels(build, &c, want, count, relative, 1e-6);
        free(want);
        free(c.a_values);
        free(c.b_values);
    }
}

static mica_array build_special(mica_graph *g, void *context) {
    (void)context;
    static const float a[6] = {1, NAN, 2, 3, INFINITY, 1}, b[6] = {1, 0, 1, 2, 3, 4};
    return mica_matmul(g, mica_array_from_data(g, MICA_DTYPE_F32, 2, (int64_t[]){3, 2}, a),
                       mica_array_from_data(g, MICA_DTYPE_F32, 2, (int64_t[]){2, 3}, b));
}

static void special_values_stay_in_their_row(void **state) {
    /* Proves: NaN and infinity reach only the sums they belong to; infinity times 0 is NaN. */
    (void)state;
    static const double want[9] = {NAN,      NAN, NAN,     2 * 1 + 3 * 2, 9, 2 * 1 + 3 * 4.0,
                                   INFINITY, NAN, INFINITY};
    op_test_all_levels(build_special, NULL, want, 9, 0, 0);
}

static void refuses_shapes_that_do_not_fit(void **state) {
    /* Proves: unequal inner axes, rank 1, unequal dtypes and unmatched batches are INVALID. */
    (void)state;
    static const struct {
        int rank_a, rank_b;
        int64_t a[3], b[3];
        mica_dtype b_dtype;
    } bad[] = {{2, 2, {2, 3}, {2, 3}, MICA_DTYPE_F32},
               {1, 2, {3}, {3, 2}, MICA_DTYPE_F32},
               {2, 2, {2, 3}, {3, 2}, MICA_DTYPE_F16},
               {3, 3, {2, 2, 3}, {3, 3, 2}, MICA_DTYPE_F32}};
    static const float zeros[64];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        mica_error err = {0};
        mica_runtime *rt = NULL;
        mica_graph *g = NULL;
        assert_ok(mica_runtime_open(NULL, &rt, &err));
        assert_ok(mica_graph_create(rt, &g, &err));
        mica_array a = mica_array_from_data(g, MICA_DTYPE_F32, bad[i].rank_a, bad[i].a, zeros);
        mica_matmul(g, a, mica_array_from_data(g, bad[i].b_dtype, bad[i].rank_b, bad[i].b, zeros));
        assert_int_equal(mica_graph_check(g, &err), MICA_STATUS_INVALID);
        mica_graph_destroy(&g);
        mica_runtime_close(&rt);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(multiplies_any_strides_and_broadcasts),
        cmocka_unit_test(special_values_stay_in_their_row),
        cmocka_unit_test(refuses_shapes_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
