#include "plan_test.h"
#include "mica/mica.h"

/* 'p' for a step that every worker does for itself, 's' for a shared one; capitals after a barrier.
 */
static void expect_steps(plan_test *t, const char *text, const char *want) {
    char seen[64] = "";
    plan_test_parse(t, text);
    mica_status st = plan_test_build(t);
    mica_error err = t->err;
    assert_ok(st);
    const mica_segment *s = &t->plan->segments[0];
    for (size_t i = 0; i < s->n_steps; i++) {
        const char *letters = s->steps[i].is_private ? "pP" : "sS";
        seen[i] = letters[s->steps[i].barrier_before];
    }
    assert_string_equal(seen, want);
}

#define HEAD                                                                                       \
    "%1 = input \"x\" : f32[1, 256]\n"                                                             \
    "%2 = weight \"w\" : f32[256, 256]\n"                                                          \
    "%3 = weight \"norm\" : f32[256]\n"

/* A norm between two products is done by each worker: one barrier instead of two. */
static const char norm_between[] = HEAD "%4 = linear(%1, %2, _) : f32[1, 256]\n"
                                        "%5 = rms_norm(%4, %3) {eps=1e-05} : f32[1, 256]\n"
                                        "%6 = linear(%5, %2, _) : f32[1, 256]\n"
                                        "output %6\n";

static void test_norm_is_private(void **state) {
    (void)state;
    plan_test t = {.backend = "cpu"};
    plan_test_open(&t);
    expect_steps(&t, norm_between, "sPs");
    assert_true(t.plan->segments[0].private_bytes >= 1024);
    plan_test_close(&t);
    plan_test off = {.backend = "cpu", .no_pass = "replicate"};
    plan_test_open(&off);
    expect_steps(&off, norm_between, "sSS");
    assert_int_equal(off.plan->segments[0].private_bytes, 0);
    plan_test_close(&off);
    plan_test other = {.no_pass = NULL}; /* the null device is no processor */
    plan_test_open(&other);
    expect_steps(&other, norm_between, "sSS");
    plan_test_close(&other);
}

/* Products that need only what one phase gave stand side by side, whatever the order was. */
static void test_phases(void **state) {
    (void)state;
    plan_test t = {.backend = "cpu", .no_pass = "order"};
    plan_test_open(&t);
    expect_steps(&t,
                 HEAD "%4 = weight \"k\" : f32[256, 256]\n"
                      "%5 = linear(%1, %2, _) : f32[1, 256]\n"
                      "%6 = unary(%5) : f32[1, 256]\n"
                      "%7 = linear(%1, %4, _) : f32[1, 256]\n"
                      "%8 = unary(%7) {kind=1} : f32[1, 256]\n"
                      "%9 = binary(%6, %8) : f32[1, 256]\n"
                      "%10 = linear(%9, %2, _) : f32[1, 256]\n"
                      "output %10\n",
                 "ssPpps");
    plan_test_close(&t);
}

/* Memory that dies in a phase is used again in the next one only: no barrier more than the data
 * need. Four products of one phase, then four of the next over their sums. */
static void test_no_barrier_for_memory(void **state) {
    (void)state;
    plan_test t = {.backend = "cpu", .no_pass = "order,simplify"};
    plan_test_open(&t);
    expect_steps(&t,
                 HEAD "%4 = linear(%1, %2, _) : f32[1, 256]\n"
                      "%5 = linear(%1, %2, _) : f32[1, 256]\n"
                      "%6 = linear(%4, %2, _) : f32[1, 256]\n"
                      "%7 = linear(%5, %2, _) : f32[1, 256]\n"
                      "%8 = linear(%4, %2, _) : f32[1, 256]\n"
                      "%9 = binary(%6, %7) : f32[1, 256]\n"
                      "%10 = binary(%9, %8) : f32[1, 256]\n"
                      "%11 = linear(%10, %2, _) : f32[1, 256]\n"
                      "output %11\n",
                 "ssSssPps");
    plan_test_close(&t);
}

/* Outputs, effects, what effects overwrite and large steps stay shared. */
static void test_stays_shared(void **state) {
    (void)state;
    plan_test t = {.backend = "cpu", .no_pass = "order"};
    plan_test_open(&t);
    plan_test_add_effect(&t);
    expect_steps(&t,
                 HEAD "%4 = unary(%1) : f32[1, 256]\n"
                      "%5 = effect(%4) : f32[1, 256]\n"
                      "%6 = unary(%5) {kind=2} : f32[1, 256]\n"
                      "%7 = unary(%6) {kind=1} : f32[1, 256]\n"
                      "output %7\n",
                 "sSPs");
    expect_steps(&t,
                 "%1 = input \"x\" : f32[64, 4096]\n"
                 "%2 = unary(%1) : f32[64, 4096]\n"
                 "%3 = reduce(%2) {axis=1} : f32[64]\n"
                 "%4 = unary(%3) : f32[64]\n"
                 "%5 = unary(%4) {kind=1} : f32[64]\n"
                 "output %5\n",
                 "sSPs");
    plan_test_close(&t);
}

/* ---- running ---- */

static void fill(float *out, size_t n, uint32_t seed) {
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = (float)(seed >> 8) / 16777216.0f - 0.5f;
    }
}

enum { WIDTH = 192, LAYERS = 6 };

/* A stack of layers whose small steps are private: their results must reach every worker. */
static void run_layers(int n_threads, const char *no_pass, float *out) {
    mica_runtime_options options = {
        .struct_bytes = sizeof options, .n_threads = n_threads, .no_pass = no_pass};
    static float x[WIDTH], w[WIDTH * WIDTH], norm[WIDTH];
    mica_runtime *rt = NULL;
    mica_graph *g = NULL;
    mica_error err = {0};
    fill(x, WIDTH, 1);
    fill(w, WIDTH * WIDTH, 2);
    fill(norm, WIDTH, 3);
    assert_ok(mica_runtime_open(&options, &rt, &err));
    assert_ok(mica_graph_create(rt, &g, &err));
    mica_array h = mica_array_from_data(g, MICA_DTYPE_F32, 2, (int64_t[]){1, WIDTH}, x);
    mica_array weight = mica_array_from_data(g, MICA_DTYPE_F32, 2, (int64_t[]){WIDTH, WIDTH}, w);
    mica_array scale = mica_array_from_data(g, MICA_DTYPE_F32, 1, (int64_t[]){WIDTH}, norm);
    for (int i = 0; i < LAYERS; i++) {
        mica_array y = mica_rms_norm(g, h, scale, 1e-5f, 0.0f);
        y = mica_linear(g, y, weight, (mica_array){0});
        y = mica_mul(g, mica_unary(g, MICA_UNARY_SILU, y), y);
        h = mica_add(g, h, mica_linear(g, y, weight, (mica_array){0}));
    }
    assert_ok(mica_eval(g, &h, 1, &err));
    assert_ok(mica_array_read(g, h, out, WIDTH * sizeof *out, &err));
    mica_graph_destroy(&g);
    mica_runtime_close(&rt);
}

/* The same bits with the pass on and off, for one, two and five workers. */
static void test_same_bits(void **state) {
    (void)state;
    float want[WIDTH], seen[WIDTH];
    run_layers(1, "replicate", want);
    for (int threads = 1; threads <= 5; threads += threads == 1 ? 1 : 3) {
        run_layers(threads, NULL, seen);
        assert_memory_equal(seen, want, sizeof want);
        run_layers(threads, "replicate", seen);
        assert_memory_equal(seen, want, sizeof want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norm_is_private),
        cmocka_unit_test(test_phases),
        cmocka_unit_test(test_no_barrier_for_memory),
        cmocka_unit_test(test_stays_shared),
        cmocka_unit_test(test_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
