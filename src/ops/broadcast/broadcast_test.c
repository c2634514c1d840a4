/* broadcast: stretched and new axes, of strided arrays too; errors. */
#include "ops/common/op_test_case.h"

typedef struct broadcast_case {
    int rank;
    int64_t dims[4];
    int to_rank;
    int64_t to[4];
    op_layout layout;
    mica_dtype dtype;
    const double *values;
} broadcast_case;

static mica_array build(mica_graph *g, void *context) {
    const broadcast_case *c = context;
    mica_array x = op_case_input(g, c->layout, c->dtype, c->rank, c->dims, c->values);
    return mica_broadcast_to(g, x, c->to_rank, c->to);
}

static void expect(const broadcast_case *c, double *want) {
    for (int64_t i = 0; i < op_case_count(c->to_rank, c->to); i++) {
        int64_t rest = i, from = 0;
        for (int axis = c->to_rank - 1; axis >= 0; axis--) {
            int own = axis - (c->to_rank - c->rank);
            int64_t index = rest % c->to[axis];
            rest /= c->to[axis];
            if (own < 0 || c->dims[own] == 1) continue;
            from += index * op_case_count(c->rank - own - 1, c->dims + own + 1);
        }
        want[i] = c->values[from];
    }
}

static void axes_of_length_1_are_repeated(void **state) {
    /* Proves: the values of every stretch, from every layout. */
    (void)state;
    static const broadcast_case shapes[] = {
        {.rank = 2, .dims = {3, 1}, .to_rank = 2, .to = {3, 4}},
        {.rank = 2, .dims = {1, 4}, .to_rank = 3, .to = {2, 3, 4}},
        {.rank = 1, .dims = {4}, .to_rank = 2, .to = {3, 4}},
        {.rank = 0, .to_rank = 3, .to = {2, 1, 3}},
        {.rank = 3, .dims = {2, 1, 3}, .to_rank = 4, .to = {2, 2, 2, 3}},
        {.rank = 2, .dims = {2, 3}, .to_rank = 2, .to = {2, 3}},
        {.rank = 2, .dims = {2, 1}, .to_rank = 2, .to = {2, 0}},
    };
    double values[64], want[256];
    for (int i = 0; i < 64; i++) values[i] = 1 + i;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (op_layout layout = 0; layout < OP_LAYOUT_COUNT; layout++) {
            broadcast_case c = shapes[s];
            c.layout = layout;
            c.dtype = layout % 2 ? MICA_DTYPE_F16 : MICA_DTYPE_F32;
            c.values = values;
            expect(&c, want);
            size_t n = (size_t)op_case_count(c.to_rank, c.to);
            op_test_all_levels(build, &c, want, n, 0, 0);
        }
}

static void wrong_stretches_are_refused(void **state) {
    /* Proves: only axes of length 1 stretch, and none is lost. */
    (void)state;
    double values[64] = {0};
    broadcast_case c = {.rank = 2, .dims = {3, 2}, .to_rank = 2, .to = {3, 4}, .values = values};
    c.dtype = MICA_DTYPE_F32;
    op_case_expect_invalid(build, &c, "[3, 2] does not stretch to [3, 4]");
    c.to_rank = 1, c.to[0] = 2;
    op_case_expect_invalid(build, &c, "[3, 2] does not stretch to [2]");
    c.to_rank = 2, c.to[0] = 3, c.to[1] = 1;
    op_case_expect_invalid(build, &c, "[3, 1]");
    c.to[1] = -1;
    op_case_expect_invalid(build, &c, "out of range");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(axes_of_length_1_are_repeated),
        cmocka_unit_test(wrong_stretches_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
