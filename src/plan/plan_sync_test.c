#include "plan_test.h"
#include "base/error.h"

/* '|' for a step with a barrier before it, '.' without. */
static void expect_barriers(plan_test *t, const char *text, const char *want) {
    char seen[64] = "";
    plan_test_parse(t, text);
    mica_status st = plan_test_build(t);
    mica_error err = t->err;
    assert_ok(st);
    const mica_segment *s = &t->plan->segments[0];
    for (size_t i = 0; i < s->n_steps; i++) seen[i] = s->steps[i].barrier_before ? '|' : '.';
    assert_string_equal(seen, want);
}

/* Independent steps need no barrier; reading what was written since the last one does. */
static void test_read_after_write(void **state) {
    (void)state;
    plan_test t = {.no_pass = "order,place"};
    plan_test_open(&t);
    expect_barriers(&t,
                    "%1 = input \"x\" : f32[4]\n"
                    "%2 = unary(%1) : f32[4]\n"
                    "%3 = unary(%1) {kind=1} : f32[4]\n"
                    "%4 = binary(%2, %3) : f32[4]\n"
                    "%5 = unary(%1) {kind=2} : f32[4]\n"
                    "%6 = binary(%4, %5) : f32[4]\n"
                    "output %6\n",
                    "..|.|");
    plan_test_close(&t);
}

/* Reused arena bytes: writing over what an earlier step may still read or write waits for it. */
static void test_write_after_read(void **state) {
    (void)state;
    plan_test t = {.no_pass = "order,simplify"};
    plan_test_open(&t);
    /* %2 dies under %3, and %4 lands where it was */
    expect_barriers(&t,
                    "%1 = input \"x\" : f32[4, 32]\n"
                    "%2 = unary(%1) : f32[4, 32]\n"
                    "%3 = reduce(%2) {axis=1} : f32[4]\n"
                    "%4 = unary(%1) {kind=1} : f32[4, 32]\n"
                    "%5 = reduce(%4) {axis=1} : f32[4]\n"
                    "%6 = binary(%3, %5) : f32[4]\n"
                    "output %6\n",
                    ".||||");
    plan_test_close(&t);
    plan_test own = {.no_pass = "order,simplify,place"};
    plan_test_open(&own);
    expect_barriers(&own,
                    "%1 = input \"x\" : f32[4, 32]\n"
                    "%2 = unary(%1) : f32[4, 32]\n"
                    "%3 = reduce(%2) {axis=1} : f32[4]\n"
                    "%4 = unary(%1) {kind=1} : f32[4, 32]\n"
                    "%5 = reduce(%4) {axis=1} : f32[4]\n"
                    "%6 = binary(%3, %5) : f32[4]\n"
                    "output %6\n",
                    ".|.||");
    plan_test_close(&own);
}

/* Effects on one half do not wait for readers of the other; views that run backwards are known by
 * their lowest byte. */
static void test_ranges(void **state) {
    (void)state;
    plan_test t = {.no_pass = "order"};
    plan_test_open(&t);
    plan_test_add_effect(&t);
    expect_barriers(&t,
                    "%1 = input \"pages\" : f32[64]\n"
                    "%2 = slice(%1) {start=0, stop=32, step=1} : f32[32]\n"
                    "%3 = slice(%1) {start=32, stop=64, step=1} : f32[32]\n"
                    "%4 = unary(%2) : f32[32]\n"
                    "%5 = effect(%3) : f32[32]\n"
                    "output %4, %5\n",
                    "..");
    expect_barriers(&t,
                    "%1 = input \"pages\" : f32[64]\n"
                    "%2 = slice(%1) {start=0, stop=32, step=1} : f32[32]\n"
                    "%3 = slice(%1) {start=31, stop=64, step=1} : f32[33]\n"
                    "%4 = unary(%2) : f32[32]\n"
                    "%5 = effect(%3) : f32[33]\n"
                    "output %4, %5\n",
                    ".|");
    expect_barriers(&t,
                    "%1 = input \"pages\" : f32[64]\n"
                    "%2 = slice(%1) {start=63, stop=3, step=-4} : f32[15]\n"
                    "%3 = slice(%1) {start=0, stop=8, step=1} : f32[8]\n"
                    "%4 = unary(%2) : f32[15]\n"
                    "%5 = effect(%3) : f32[8]\n"
                    "output %4, %5\n",
                    ".|");
    expect_barriers(&t,
                    "%1 = input \"pages\" : f32[64]\n"
                    "%2 = slice(%1) {start=63, stop=3, step=-4} : f32[15]\n"
                    "%3 = slice(%1) {start=0, stop=7, step=1} : f32[7]\n"
                    "%4 = unary(%2) : f32[15]\n"
                    "%5 = effect(%3) : f32[7]\n"
                    "output %4, %5\n",
                    "..");
    plan_test_close(&t);
}

/* Operands of a sealed step: where views begin, and quantised parts one behind the other in the
 * arena, each in its own binding for weights. */
static void test_operands(void **state) {
    (void)state;
    plan_test t = {0};
    plan_test_open(&t);
    plan_test_parse(&t, "%1 = input \"x\" : f32[8, 32]\n"
                        "%2 = slice(%1) {start=7, stop=0, step=-3} : f32[3, 32]\n"
                        "%3 = unary(%2) : f32[3, 32]\noutput %3\n");
    assert_int_equal(plan_test_build(&t), MICA_STATUS_OK);
    const mica_step *step = &t.plan->segments[0].steps[0];
    assert_int_equal(step->n_operands, 2);
    assert_int_equal(step->operands[0].access, MICA_ACCESS_READ);
    assert_int_equal(step->operands[0].offset, 7 * 32 * 4);
    assert_int_equal(step->operands[0].bytes, 32 * 4);
    assert_int_equal(step->operands[1].access, MICA_ACCESS_WRITE);
    assert_int_equal(step->operands[1].bytes, 3 * 32 * 4);
    assert_int_equal(t.plan->bindings[step->operands[1].binding].kind, MICA_BIND_OUTPUT);
    plan_test_parse(&t, "%1 = input \"x\" : f32[3, 32]\n"
                        "%2 = quantize(%1) {mode=2, bits=4, group=32, scale_dtype=2}"
                        " : mxfp4[3, 32] decodes=f32\n"
                        "%3 = dequantize(%2) {dtype=12} : f32[3, 32]\n"
                        "%4 = weight \"w\" : mxfp4[3, 32]\n"
                        "%5 = dequantize(%4) {dtype=12} : f32[3, 32]\n"
                        "%6 = binary(%3, %5) : f32[3, 32]\noutput %6\n");
    assert_int_equal(plan_test_build(&t), MICA_STATUS_OK);
    const mica_segment *s = &t.plan->segments[0];
    for (size_t i = 0; i < s->n_steps; i++) {
        const mica_node *n = mica_graph_node(t.plan->graph, s->steps[i].node);
        const mica_operand *o = s->steps[i].operands;
        if (n->op != MICA_OP_dequantize) continue;
        const mica_node *x = mica_graph_node(t.plan->graph, n->inputs[0]);
        assert_int_equal(o[0].bytes, 3 * 16);
        assert_int_equal(o[1].bytes, 3);
        if (x->op == MICA_OP_WEIGHT) {
            assert_int_equal(o[1].binding, o[0].binding + 1);
            assert_int_equal(o[1].offset, 0);
            assert_int_equal(t.plan->bindings[o[1].binding].part, 1);
        } else {
            assert_int_equal(o[1].binding, o[0].binding);
            assert_int_equal(o[1].offset, o[0].offset + 64);
        }
    }
    plan_test_close(&t);
}

/* Random chains: between two barriers no written range meets another, found by brute force, and
 * without any of the barriers some would. */
static bool do_conflict(const mica_step *a, const mica_step *b) {
    for (uint32_t i = 0; i < a->n_operands; i++)
        for (uint32_t j = 0; j < b->n_operands; j++) {
            const mica_operand *x = &a->operands[i], *y = &b->operands[j];
            bool writes = (x->access | y->access) & MICA_ACCESS_WRITE;
            if (writes && x->binding == y->binding && x->offset < y->offset + y->bytes &&
                y->offset < x->offset + x->bytes)
                return true;
        }
    return false;
}

static void test_random_chains(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    for (int round = 0; round < 200; round++) {
        plan_test t = {0};
        plan_test_open(&t);
        plan_test_parse(&t, "%1 = input \"x\" : f32[8]\noutput %1\n");
        mica_ref refs[64] = {1};
        for (int i = 1; i < 60; i++) {
            int32_t kind = (int32_t)(test_random(&seed) % 3);
            mica_ref pair[2] = {refs[test_random(&seed) % i], refs[test_random(&seed) % i]};
            refs[i] = mica_graph_add(t.graph, MICA_OP_binary, pair, 2, &kind, sizeof kind);
            t.outputs[0] = refs[i];
        }
        assert_int_equal(plan_test_build(&t), MICA_STATUS_OK);
        const mica_segment *s = &t.plan->segments[0];
        size_t begin = 0; /* the last barrier */
        for (size_t i = 0; i < s->n_steps; i++) {
            bool is_needed = false;
            for (size_t j = begin; j < i; j++) is_needed |= do_conflict(&s->steps[j], &s->steps[i]);
            assert_int_equal(s->steps[i].barrier_before, is_needed);
            if (s->steps[i].barrier_before) begin = i;
        }
        plan_test_close(&t);
    }
}

/* Thousands of independent steps: the search stays bounded, at the price of a barrier now and then.
 */
static void test_many_ranges(void **state) {
    (void)state;
    enum { COUNT = 6000 };
    plan_test t = {.no_pass = "simplify,order,place"};
    plan_test_open(&t);
    plan_test_parse(&t, "%1 = input \"x\" : f32[4]\noutput %1\n");
    mica_ref *outputs = calloc(COUNT, sizeof *outputs), x = 1;
    int32_t kind = 1;
    for (int i = 0; i < COUNT; i++)
        outputs[i] = mica_graph_add(t.graph, MICA_OP_unary, &x, 1, &kind, sizeof kind);
    mica_error err = {0};
    assert_ok(t.runtime->plan_build(t.runtime, t.graph, outputs, COUNT, NULL, &t.plan, &err));
    int n_barriers = 0;
    for (int i = 0; i < COUNT; i++) n_barriers += t.plan->segments[0].steps[i].barrier_before;
    assert_true(n_barriers >= 1 && n_barriers < 10);
    free(outputs);
    plan_test_close(&t);
}

static mica_status launch_outside(mica_launch *l, const mica_node *n, mica_error *err) {
    mica_address *args = mica_launch_args(l, sizeof *args);
    (void)err;
    if (!args) return MICA_STATUS_OUT_OF_MEMORY;
    mica_launch_read(l, args, n->inputs[0], 0);
    mica_launch_write(l, args + 1, n, 0);
    return MICA_STATUS_OK;
}

typedef struct shared_args {
    mica_address x, out, shared;
} shared_args;

/* As many bytes as the node has elements, times 100. */
static mica_status launch_sharing(mica_launch *l, const mica_node *n, mica_error *err) {
    shared_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "arguments");
    mica_launch_read(l, &a->x, n->inputs[0], 0);
    mica_launch_write(l, &a->out, n, 0);
    mica_launch_shared(l, &a->shared, 100 * (uint64_t)mica_shape_count(&n->shape));
    return MICA_STATUS_OK;
}

/* Memory that a step's workers share lies behind the arena's values, as large as the largest needs
 * it; independent steps that use it wait for each other. */
static void test_shared_memory(void **state) {
    (void)state;
    static const char text[] = "%1 = input \"x\" : f32[40]\n"
                               "%2 = input \"y\" : f32[50]\n"
                               "%3 = unary(%1) : f32[40]\n"
                               "%4 = unary(%2) : f32[50]\n"
                               "%5 = reduce(%3) {axis=0} : f32[]\n"
                               "output %4, %5\n";
    plan_test t = {.no_pass = "order"};
    plan_test_open(&t);
    expect_barriers(&t, text, "..|");
    uint64_t values = t.plan->segments[0].arena_bytes;
    t.ops[MICA_OP_unary].launch = launch_sharing;
    expect_barriers(&t, text, ".||");
    const mica_segment *s = &t.plan->segments[0];
    assert_int_equal(s->arena_bytes, (values + 63) / 64 * 64 + 5000);
    assert_int_equal(t.plan->bindings[0].bytes, s->arena_bytes);
    for (int i = 0; i < 2; i++) {
        const mica_operand *o = &s->steps[i].operands[2];
        assert_int_equal(o->binding, 0);
        assert_int_equal(o->access, MICA_ACCESS_READ | MICA_ACCESS_WRITE);
        assert_int_equal(o->offset, (values + 63) / 64 * 64);
        assert_int_equal(o->bytes, i ? 4000 : 5000);
    }
    plan_test_close(&t);
}

static mica_status launch_refusing(mica_launch *l, const mica_node *n, mica_error *err) {
    (void)l;
    (void)n;
    return mica_fail(err, MICA_STATUS_LIMIT, "too large");
}

/* A launch that writes outside its arguments, or refuses, is reported. */
static void test_bad_launch(void **state) {
    (void)state;
    static const char text[] = "%1 = input \"x\" : f32[4]\n%2 = unary(%1) : f32[4]\noutput %2\n";
    plan_test t = {0};
    plan_test_open(&t);
    t.ops[MICA_OP_unary].launch = launch_outside;
    plan_test_refuse(&t, text, MICA_STATUS_INTERNAL, "outside");
    t.ops[MICA_OP_unary].launch = launch_refusing;
    plan_test_refuse(&t, text, MICA_STATUS_LIMIT, "launch of unary");
    plan_test_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_after_write), cmocka_unit_test(test_write_after_read),
        cmocka_unit_test(test_ranges),           cmocka_unit_test(test_operands),
        cmocka_unit_test(test_random_chains),    cmocka_unit_test(test_bad_launch),
        cmocka_unit_test(test_many_ranges),      cmocka_unit_test(test_shared_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
