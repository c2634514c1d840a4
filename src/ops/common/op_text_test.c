/* The general ops as IR text: parameters survive printing and parsing, and hostile parameters are
 * refused by the shape rules instead of trusted. */
#include "ops/common/op_test_case.h"
#include "core/runtime.h"
#include "core/op.h"

static mica_runtime *rt;

static int open_runtime(void **state) {
    (void)state;
    return mica_runtime_open(NULL, &rt, NULL) != MICA_STATUS_OK;
}
static int close_runtime(void **state) {
    (void)state;
    mica_runtime_close(&rt);
    return 0;
}

static mica_graph *make_graph(void) {
    mica_graph *g = NULL;
    mica_error err = {0};
    assert_ok(mica_graph_create_internal(rt, true, &g, &err));
    return g;
}

static void print(mica_graph *g, mica_ref output, char *out, size_t bytes) {
    mica_str s;
    mica_str_init(&s, rt->host.allocator);
    mica_graph_print(g, &output, 1, &s);
    assert_true(s.bytes < bytes);
    memcpy(out, s.data, s.bytes);
    out[s.bytes] = 0;
    mica_str_deinit(&s);
}

static void text_comes_back(void **state) {
    /* Proves: print, parse, print gives the same text for every general op with parameters. */
    (void)state;
    char text[8192], again[8192];
    mica_error err = {0};
    mica_graph *g = make_graph(), *h = make_graph();
    mica_shape shape = {2, {6, 8}};
    mica_array x =
        mica_array_of(g, mica_graph_input(g, "x", MICA_DTYPE_F32, &shape, MICA_LIVE_ALL));
    mica_array y = mica_reshape(g, x, 3, (int64_t[]){2, 3, 8});
    y = mica_permute(g, y, (int[]){1, 2, 0});
    y = mica_slice_axis(g, y, 1, 6, INT64_MIN, -2);
    y = mica_broadcast_to(g, y, 4, (int64_t[]){5, 3, 4, 2});
    y = mica_unary(g, MICA_UNARY_GELU, mica_cast(g, y, MICA_DTYPE_F16));
    y = mica_maximum(g, y, mica_full(g, MICA_DTYPE_F16, 1, (int64_t[]){2}, -0.1));
    y = mica_reduce(g, MICA_REDUCE_MEAN, mica_concat(g, (mica_array[]){y, y}, 2, -1), 0, true);
    mica_array ids = mica_top_k(g, y, 2);
    y = mica_take_along(g, y, ids);
    y = mica_gather(g, y, mica_arange(g, MICA_DTYPE_I32, 3, 0, 0.5), MICA_DTYPE_F32);
    assert_ok(mica_graph_check(g, &err));
    print(g, mica_array_ref(g, y, false), text, sizeof text);
    mica_ref output = 0;
    size_t n = 0;
    assert_ok(mica_graph_parse(h, text, strlen(text), &output, 1, &n, &err));
    print(h, output, again, sizeof again);
    assert_string_equal(text, again);
    mica_graph_destroy(&g);
    mica_graph_destroy(&h);
}

static int inputs_of(mica_op_id op) {
    return op == MICA_OP_binary ? 2 : op == MICA_OP_full || op == MICA_OP_arange ? 0 : 1;
}

/* Adds a node of op with raw parameters, expects INVALID. */
static void refuse(mica_op_id op, const void *params, size_t bytes, const char *text) {
    mica_error err = {0};
    mica_graph *g = make_graph();
    mica_shape shape = {2, {6, 8}};
    mica_ref x = mica_graph_input(g, "x", MICA_DTYPE_F32, &shape, MICA_LIVE_ALL);
    mica_ref inputs[2] = {x, x};
    assert_int_equal(mica_graph_add(g, op, inputs, inputs_of(op), params, bytes), 0);
    assert_int_equal(mica_graph_check(g, &err), MICA_STATUS_INVALID);
    if (!strstr(err.message, text)) fail_msg("\"%s\" is not in \"%s\"", text, err.message);
    mica_graph_destroy(&g);
}

static void raw_parameters_are_checked(void **state) {
    /* Proves: parameters that no public function would write are errors, not crashes. */
    (void)state;
    static const mica_op_id all[] = {MICA_OP_reshape, MICA_OP_permute, MICA_OP_slice,
                                     MICA_OP_cast,    MICA_OP_unary,   MICA_OP_binary,
                                     MICA_OP_reduce,  MICA_OP_top_k,   MICA_OP_full,
                                     MICA_OP_arange,  MICA_OP_concat};
    uint8_t ones[MICA_PARAM_BYTES], high[MICA_PARAM_BYTES];
    memset(ones, 0xFF, sizeof ones);
    memset(high, 0x7F, sizeof high);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        refuse(all[i], high, sizeof high, ":");
        /* -1 is the last axis, and a slice of nothing: fine for these two. */
        if (all[i] != MICA_OP_concat && all[i] != MICA_OP_slice)
            refuse(all[i], ones, sizeof ones, ":");
    }
    uint64_t seed = test_seed();
    for (int i = 0; i < 20000; i++) { /* whatever happens, no crash: the sanitizers watch */
        mica_graph *g = make_graph();
        uint8_t params[MICA_PARAM_BYTES];
        mica_shape shape = {2, {6, 8}};
        for (int k = 0; k < MICA_PARAM_BYTES; k++)
            params[k] = test_random(&seed) % 3 ? 0 : (uint8_t)test_random(&seed);
        mica_ref x = mica_graph_input(g, "x", MICA_DTYPE_F32, &shape, MICA_LIVE_ALL);
        mica_ref inputs[2] = {x, x};
        mica_op_id op = all[i % 11];
        mica_graph_add(g, op, inputs, inputs_of(op), params, sizeof params);
        mica_graph_destroy(&g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_comes_back),
        cmocka_unit_test(raw_parameters_are_checked),
    };
    return cmocka_run_group_tests(tests, open_runtime, close_runtime);
}
