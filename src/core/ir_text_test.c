#include "core/ir_text.h"
#include "test.h"
#include "base/alloc.h"
#include "core/runtime.h"

typedef struct fixture {
    mica_runtime *runtime;
    mica_graph *graph;
    mica_ref outputs[8];
    size_t n_outputs;
    mica_error err;
} fixture;

static void open_fixture(fixture *f) {
    mica_runtime_options options = {.struct_bytes = sizeof options, .backend = "null"};
    mica_error err = {0};
    *f = (fixture){0};
    assert_ok(mica_runtime_open(&options, &f->runtime, &err));
}

static void close_fixture(fixture *f) {
    mica_graph_destroy(&f->graph);
    mica_runtime_close(&f->runtime);
}

static mica_status parse(fixture *f, const char *text) {
    mica_error err = {0};
    mica_graph_destroy(&f->graph);
    assert_ok(mica_graph_create_internal(f->runtime, true, &f->graph, &err));
    f->err = (mica_error){0};
    return mica_graph_parse(f->graph, text, strlen(text), f->outputs, 8, &f->n_outputs, &f->err);
}

static void expect_round_trip(const char *text) {
    fixture f;
    open_fixture(&f);
    mica_status st = parse(&f, text);
    mica_error err = f.err;
    assert_ok(st);
    mica_str out;
    mica_str_init(&out, mica_allocator_default());
    mica_graph_print(f.graph, f.outputs, f.n_outputs, &out);
    assert_string_equal(out.data, text);
    mica_str_deinit(&out);
    close_fixture(&f);
}

static void expect_refused(const char *text, int line, const char *part) {
    fixture f;
    char where[32];
    open_fixture(&f);
    if (parse(&f, text) != MICA_STATUS_FORMAT)
        fail_msg("not refused as a format error: %s (%s)", text, f.err.message);
    snprintf(where, sizeof where, "line %d:", line);
    if (!strstr(f.err.message, where) || !strstr(f.err.message, part))
        fail_msg("\"%s\" lacks \"%s\" or \"%s\"", f.err.message, where, part);
    close_fixture(&f);
}

/* Every kind of leaf, type, parameter and note prints as it was read. */
static void test_round_trip(void **state) {
    (void)state;
    expect_round_trip("%1 = input \"batch.counts\" : i32[4]\n"
                      "%2 = input \"x\" : f32[4, 320] live=tokens\n"
                      "%3 = weight \"model.norm.weight\" : bf16[320]\n"
                      "%4 = rms_norm(%2, %3) {eps=1e-05} : f32[4, 320] live=tokens\n"
                      "%5 = rms_norm(%4, _) {eps=0.1, offset=1} : f32[4, 320] live=tokens\n"
                      "%6 = data {value=1.5} : f32[]\n"
                      "%7 = data : f32[3]\n"
                      "%8 = weight \"q\" : mxfp4[32, 64, 96]\n"
                      "%9 = weight \"a\" : affine4g64[8, 128] scales=bf16\n"
                      "%10 = weight \"b\" : affine5g32[8, 128] scales=f32 decodes=f32\n"
                      "%11 = data {bits=16256} : bf16[]\n"
                      "%12 = input \"y\" : f32[320, 4]\n"
                      "%13 = permute(%12) {order=[1, 0]} : f32[4, 320]\n"
                      "output %5, %13\n");
}

/* Places, kernels and odd scalars survive; so do names with quotes and control bytes. */
static void test_annotations(void **state) {
    (void)state;
    expect_round_trip("%1 = input \"a \\\"b\\\" \\\\ \\x01\\x7f\" : u8[] @1+0\n"
                      "%2 = data {value=-0.0} : f64[] @2+0\n"
                      "%3 = data {value=nan} : f32[] @3+64\n"
                      "%4 = data {value=-inf} : f32[]\n"
                      "%5 = data {value=-128} : i8[]\n"
                      "%6 = data {value=18446744073709551615} : u64[]\n"
                      "%7 = unary(%3) : f32[] @0+128 kernel=unary_ref\n"
                      "output %7\n");
    expect_round_trip("output\n");
}

/* Comments, blank lines and spaces are skipped; the printed text has none. */
static void test_comments(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f);
    assert_int_equal(parse(&f, "# head\n\n  %1 = input \"x\" : f32[2]   # note\n"
                               "\t%2=unary( %1 ){kind=2}:f32[2]\n# \noutput %2 # end"),
                     MICA_STATUS_OK);
    assert_int_equal(f.n_outputs, 1);
    assert_int_equal(mica_graph_count(f.graph), 3);
    close_fixture(&f);
}

/* Hostile text gives a format error that names the line. */
static void test_refusals(void **state) {
    (void)state;
    expect_refused("", 1, "missing");
    expect_refused("\n%1 = input \"x\" : f32[2]\n", 3, "missing");
    expect_refused("%2 = input \"x\" : f32[2]\n", 1, "expected %1");
    expect_refused("%1 = unary(%1) : f32[]\n", 1, "not defined");
    expect_refused("%1 = unary(%99999999999999999999) : f32[]\n", 1, "no number");
    expect_refused("%1 = input \"x : f32[2]\noutput\n", 1, "no end");
    expect_refused("%1 = input \"\\x00\" : f32[2]\noutput\n", 1, "escape");
    expect_refused("%1 = input \"x\" : f33[2]\noutput\n", 1, "no type");
    expect_refused("%1 = input \"x\" : f32[2, 9223372036854775807]\noutput\n", 1, "too large");
    expect_refused("%1 = input \"x\" : f32[-1]\noutput\n", 1, "no number");
    expect_refused("%1 = input \"x\" : mxfp4[2, 33]\noutput\n", 1, "multiple of 32");
    expect_refused("%1 = input \"x\" : mxfp4[2, 32] scales=f32\noutput\n", 1, "scales");
    expect_refused("%1 = input \"x\" : f32[2] live=all\noutput\n", 1, "live");
    expect_refused("%1 = input \"x\" : f32[2] live=rows live=rows\noutput\n", 1, "twice");
    expect_refused("%1 = input \"x\" : f32[2] @1\noutput\n", 1, "place");
    expect_refused("%1 = input \"x\" : f32[2] @-1+0\noutput\n", 1, "place");
    expect_refused("%1 = input \"x\" : f32[2] kernel=x\noutput\n", 1, "kernel");
    expect_refused("%1 = input \"batch.counts\" : f32[4]\noutput\n", 1, "i32[4]");
    expect_refused("%1 = input \"x\" {a=1} : f32[2]\noutput\n", 1, "unknown");
    expect_refused("%1 = data {value=1} : f32[2]\noutput\n", 1, "value");
    expect_refused("%1 = data {value=256} : u8[]\noutput\n", 1, "value");
    expect_refused("%1 = data {value=1e39} : f32[]\noutput\n", 1, "value");
    expect_refused("%1 = input \"x\" : f32[2]\n%2 = nothing(%1) : f32[2]\noutput\n", 2, "no op");
    expect_refused("%1 = input \"x\" : f32[2]\n%2 = unary(%1) : f32[3]\noutput\n", 2, "gives");
    expect_refused("%1 = input \"x\" : f32[2]\n%2 = unary(%1) {kind=9999} : f32[2]\noutput\n", 2,
                   "kind");
    expect_refused("%1 = input \"x\" : f32[2]\n%2 = unary(%1) {kind=1, kind=1} : f32[2]\noutput\n",
                   2, "twice");
    expect_refused("%1 = input \"x\" : f32[2]\n%2 = permute(%1) {order=[0,]} : f32[2]\noutput\n", 2,
                   "bad value");
    expect_refused("output %0\n", 1, "not defined");
    expect_refused("output\noutput\n", 2, "behind");
    expect_refused("output\n%1 = input \"x\" : f32[2]\n", 2, "behind");
    expect_refused("%1 = unary(_, _, _, _, _, _, _, _, _, _, _, _, _) : f32[]\noutput\n", 1,
                   "more than 12");
}

/* A graph that recycles its slots prints in an order in which operands come first. */
static void test_recycled_slots(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f);
    mica_error err = {0};
    assert_ok(mica_graph_create(f.runtime, &f.graph, &err));
    float one = 1;
    mica_array a = mica_array_from_data(f.graph, MICA_DTYPE_F32, 0, NULL, &one);
    mica_array b = mica_array_from_data(f.graph, MICA_DTYPE_F32, 0, NULL, &one);
    mica_array_release(f.graph, &a);
    int32_t kind = 1;
    mica_array c = mica_array_add(f.graph, MICA_OP_unary, &b, 1, &kind, sizeof kind);
    assert_int_equal(c.node, 1);
    mica_str out;
    mica_str_init(&out, mica_allocator_default());
    mica_graph_print(f.graph, &c.node, 1, &out);
    assert_string_equal(out.data, "%1 = data {value=1} : f32[]\n"
                                  "%2 = unary(%1) {kind=1} : f32[]\noutput %2\n");
    mica_str_deinit(&out);
    close_fixture(&f);
}

/* Reading reports every failed allocation and leaks nothing. */
static void test_out_of_memory(void **state) {
    (void)state;
    static const char text[] = "%1 = input \"x\" : f32[2]\n%2 = weight \"w\" : f32[2]\n"
                               "%3 = data {value=2} : f32[]\noutput %1\n";
    for (int64_t fail_at = 1; fail_at < 100; fail_at++) {
        mica_alloc_counter counter;
        mica_alloc_counter_init(&counter, mica_allocator_default());
        mica_runtime_options options = {.struct_bytes = sizeof options, .backend = "null"};
        options.allocator = &counter.allocator;
        mica_error err = {0};
        mica_runtime *rt = NULL;
        mica_graph *g = NULL;
        assert_ok(mica_runtime_open(&options, &rt, &err));
        counter.fail_at = counter.n_calls + fail_at;
        mica_ref outputs[1];
        size_t n;
        mica_status st = mica_graph_create_internal(rt, true, &g, &err);
        if (st == MICA_STATUS_OK)
            st = mica_graph_parse(g, text, sizeof text - 1, outputs, 1, &n, &err);
        mica_graph_destroy(&g);
        mica_runtime_close(&rt);
        assert_int_equal(counter.n_live, 0);
        if (st == MICA_STATUS_OK) return;
        assert_int_equal(st, MICA_STATUS_OUT_OF_MEMORY);
    }
    fail_msg("never without a failure");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_annotations),
        cmocka_unit_test(test_comments),       cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_recycled_slots), cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
