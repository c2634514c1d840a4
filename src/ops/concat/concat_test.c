/* concat: every axis, layout and element size, many parts, empty parts, errors. */
#include "ops/common/op_test_case.h"

typedef struct concat_case {
    int n, axis, rank;
    mica_dtype dtype;
    int64_t dims[3];      /* of all parts but along axis */
    int64_t lengths[200]; /* along axis */
    op_layout layout;     /* of the first part; the others follow in turn */
    const double *values; /* of all parts, one after the other */
} concat_case;

static mica_array build(mica_graph *g, void *context) {
    const concat_case *c = context;
    mica_array parts[200];
    int axis = c->axis < 0 ? c->axis + c->rank : c->axis;
    int64_t dims[3] = {c->dims[0], c->dims[1], c->dims[2]}, used = 0;
    for (int i = 0; i < c->n; i++) {
        if (axis >= 0 && axis < 3) dims[axis] = c->lengths[i];
        op_layout layout = (op_layout)((c->layout + i) % OP_LAYOUT_COUNT);
        parts[i] = op_case_input(g, layout, c->dtype, c->rank, dims, c->values + used);
        used += op_case_count(c->rank, dims);
    }
    return mica_concat(g, parts, c->n, c->axis);
}

static size_t expect(const concat_case *c, double *want) {
    int axis = c->axis < 0 ? c->axis + c->rank : c->axis;
    int64_t outer = op_case_count(axis, c->dims);
    int64_t inner = op_case_count(c->rank - axis - 1, c->dims + axis + 1), total = 0, at = 0;
    const double *part = c->values;
    for (int i = 0; i < c->n; i++) total += c->lengths[i];
    for (int i = 0; i < c->n; i++) {
        int64_t slab = c->lengths[i] * inner;
        for (int64_t o = 0; o < outer; o++)
            for (int64_t k = 0; k < slab; k++) want[o * total * inner + at + k] = *part++;
        at += slab;
    }
    return (size_t)(outer * total * inner);
}

static void parts_follow_each_other(void **state) {
    /* Proves: the order of elements for each axis, mix of layouts and element size. */
    (void)state;
    static const mica_dtype dtypes[] = {MICA_DTYPE_U8, MICA_DTYPE_F16, MICA_DTYPE_F32,
                                        MICA_DTYPE_F64};
    double values[1000], want[1000];
    for (int i = 0; i < 1000; i++) values[i] = i % 250;
    for (int code = 0; code < 4 * 6 * OP_LAYOUT_COUNT; code++) {
        concat_case c = {.n = 4, .axis = code % 6 - 3, .rank = 3, .dims = {3, 4, 5}};
        c.dtype = dtypes[code / 6 % 4];
        c.layout = (op_layout)(code / 24);
        c.lengths[0] = 2, c.lengths[1] = 0, c.lengths[2] = 7, c.lengths[3] = 1;
        c.values = values;
        size_t n = expect(&c, want);
        op_test_all_levels(build, &c, want, n, 0, 0);
    }
}

static void more_parts_than_a_node_takes(void **state) {
    /* Proves: 1, 12, 13 and 200 parts give the same as one long array. */
    (void)state;
    static const int counts[] = {1, 12, 13, 200};
    double values[800], want[800];
    for (int i = 0; i < 800; i++) values[i] = i;
    for (int k = 0; k < 4; k++) {
        concat_case c = {.n = counts[k], .rank = 2, .dims = {0, 4}, .dtype = MICA_DTYPE_I32};
        for (int i = 0; i < c.n; i++) c.lengths[i] = 1;
        c.values = values;
        size_t n = expect(&c, want);
        op_test_all_levels(build, &c, want, n, 0, 0);
    }
}

static void large_parts_are_shared_by_workers(void **state) {
    /* Proves: shares that begin in the middle of a part or of a row. */
    (void)state;
    double *values = malloc(30000 * sizeof *values), *want = malloc(30000 * sizeof *want);
    for (int i = 0; i < 30000; i++) values[i] = i;
    concat_case c = {.n = 3, .axis = 1, .rank = 2, .dims = {3, 0}, .dtype = MICA_DTYPE_I32};
    c.lengths[0] = 1999, c.lengths[1] = 3001, c.lengths[2] = 5000;
    c.values = values;
    c.layout = OP_PERMUTED;
    size_t n = expect(&c, want);
    assert_int_equal(n, 30000);
    op_test_all_levels(build, &c, want, n, 0, 0);
    free(values);
    free(want);
}

static mica_array build_unequal(mica_graph *g, void *context) {
    const mica_dtype *dtype = context;
    double values[12] = {0};
    mica_array parts[2] = {op_case_input(g, OP_PLAIN, MICA_DTYPE_F32, 2, (int64_t[]){2, 3}, values),
                           op_case_input(g, OP_PLAIN, *dtype, 2, (int64_t[]){2, 4}, values)};
    return mica_concat(g, parts, 2, 0);
}

static void wrong_parts_are_refused(void **state) {
    /* Proves: other axes and dtypes must agree, the axis must exist, there must be a part. */
    (void)state;
    double values[60] = {0};
    mica_dtype dtype = MICA_DTYPE_F32;
    op_case_expect_invalid(build_unequal, &dtype, "f32[2, 3] and f32[2, 4]");
    dtype = MICA_DTYPE_I32;
    op_case_expect_invalid(build_unequal, &dtype, "f32[2, 3] and i32[2, 4]");
    concat_case c = {.n = 1, .axis = 3, .rank = 3, .dims = {1, 2, 3}, .values = values};
    c.dtype = MICA_DTYPE_F32;
    op_case_expect_invalid(build, &c, "axis 3 of shape [1, 2, 3]");
    c.n = 0;
    op_case_expect_invalid(build, &c, "0 arrays");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_follow_each_other),
        cmocka_unit_test(more_parts_than_a_node_takes),
        cmocka_unit_test(large_parts_are_shared_by_workers),
        cmocka_unit_test(wrong_parts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
