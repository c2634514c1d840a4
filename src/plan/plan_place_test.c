#include "plan_test.h"
#include "plan/pack.h"

#define X "%1 = input \"x\" : f32[2, 3]"

/* A value dies under its last reader, which writes over it; views see the same bytes. */
static void test_donation(void **state) {
    (void)state;
    plan_test_pass("place", NULL,
                   X "\n%2 = unary(%1) : f32[2, 3]\n"
                     "%3 = reshape(%2) {rank=1, d0=6} : f32[6]\n"
                     "%4 = unary(%3) : f32[6]\n"
                     "%5 = unary(%4) : f32[6]\noutput %5\n",
                   X " @1+0\n%2 = unary(%1) : f32[2, 3] @0+0\n"
                     "%3 = reshape(%2) {rank=1, d0=6} : f32[6] @0+0\n"
                     "%4 = unary(%3) : f32[6] @0+0\n"
                     "%5 = unary(%4) : f32[6] @2+0\noutput %5\n");
}

/* No donation while another reader waits, to another size, over a strided view of the value, or
 * where the value is read elsewhere in the same op. */
static void test_no_donation(void **state) {
    (void)state;
    plan_test_pass("place", "order",
                   X "\n%2 = unary(%1) : f32[2, 3]\n"
                     "%3 = unary(%2) {kind=1} : f32[2, 3]\n"
                     "%4 = binary(%3, %2) : f32[2, 3]\n"
                     "%5 = reshape(%4) {rank=2, d0=3, d1=2} : f32[3, 2]\n"
                     "%6 = permute(%5) {order=[1, 0]} : f32[2, 3]\n"
                     "%7 = binary(%4, %6) : f32[2, 3]\n"
                     "%8 = permute(%7) {order=[1, 0]} : f32[3, 2]\n"
                     "%9 = unary(%8) : f32[3, 2]\n"
                     "%10 = cast(%9) {dtype=10} : f16[3, 2]\n"
                     "%11 = unary(%10) : f16[3, 2]\noutput %11\n",
                   X " @1+0\n%2 = unary(%1) : f32[2, 3] @0+0\n"
                     "%3 = unary(%2) {kind=1} : f32[2, 3] @0+64\n"
                     "%4 = binary(%3, %2) : f32[2, 3] @0+64\n"
                     "%5 = reshape(%4) {rank=2, d0=3, d1=2} : f32[3, 2] @0+64\n"
                     "%6 = permute(%5) {order=[1, 0]} : f32[2, 3] @0+64\n"
                     "%7 = binary(%4, %6) : f32[2, 3] @0+0\n"
                     "%8 = permute(%7) {order=[1, 0]} : f32[3, 2] @0+0\n"
                     "%9 = unary(%8) : f32[3, 2] @0+64\n"
                     "%10 = cast(%9) {dtype=10} : f16[3, 2] @0+0\n"
                     "%11 = unary(%10) : f16[3, 2] @2+0\noutput %11\n");
}

/* Any input that the op names may be written over: the right side of a sum, the second of a pair,
 * what is added to a linear; not the weight, and not with donations switched off. */
static void test_donation_of_other_inputs(void **state) {
    (void)state;
    static const char sum[] = "%1 = input \"x\" : f32[2, 32]\n%2 = unary(%1) : f32[2, 32]\n"
                              "%3 = binary(%1, %2) : f32[2, 32]\n"
                              "%4 = softmax(%3) : f32[2, 32]\noutput %4\n";
    plan_test_pass("place", NULL, sum,
                   "%1 = input \"x\" : f32[2, 32] @1+0\n%2 = unary(%1) : f32[2, 32] @0+0\n"
                   "%3 = binary(%1, %2) : f32[2, 32] @0+0\n"
                   "%4 = softmax(%3) : f32[2, 32] @2+0\noutput %4\n");
    plan_test_pass("place", "donation", sum,
                   "%1 = input \"x\" : f32[2, 32] @1+0\n%2 = unary(%1) : f32[2, 32] @0+0\n"
                   "%3 = binary(%1, %2) : f32[2, 32] @0+256\n"
                   "%4 = softmax(%3) : f32[2, 32] @2+0\noutput %4\n");
    plan_test_pass("place", NULL,
                   "%1 = input \"x\" : f32[2, 32]\n%2 = weight \"w\" : mxfp4[32, 32]\n"
                   "%3 = unary(%1) : f32[2, 32]\n"
                   "%4 = linear(%1, %2, _, %3) : f32[2, 32]\n"
                   "%5 = glu(%1, %4) : f32[2, 32]\n"
                   "%6 = softmax(%5) : f32[2, 32]\noutput %6\n",
                   "%1 = input \"x\" : f32[2, 32] @1+0\n"
                   "%2 = unary(%1) : f32[2, 32] @0+0\n"
                   "%3 = weight \"w\" : mxfp4[32, 32] @2+0\n"
                   "%4 = linear(%1, %3, _, %2) : f32[2, 32] @0+0\n"
                   "%5 = glu(%1, %4) : f32[2, 32] @0+0\n"
                   "%6 = softmax(%5) : f32[2, 32] @4+0\noutput %6\n");
}

/* ---- packing ---- */

static void expect_apart(const mica_packing *p) {
    for (size_t i = 0; i < p->n; i++)
        for (size_t j = 0; j < i; j++) {
            const mica_block *a = &p->blocks[i], *b = &p->blocks[j];
            bool meet = a->begin <= b->end && b->begin <= a->end;
            bool overlap = a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
            if (meet && overlap && a->bytes && b->bytes)
                fail_msg("blocks %zu and %zu lie on each other", i, j);
        }
}

static void pack(mica_packing *p) {
    mica_draft d = {0};
    mica_error err = {0};
    mica_arena_init(&d.scratch, mica_allocator_default(), 0);
    assert_ok(mica_pack(&d, p, &err));
    mica_arena_deinit(&d.scratch);
    expect_apart(p);
}

/* A small block that outlives a large one takes no place in front of the next large one. */
static void test_packing_by_size(void **state) {
    (void)state;
    mica_block blocks[] = {{.bytes = 64, .begin = 1, .end = 2},
                           {.bytes = 64, .begin = 1, .end = 4},
                           {.bytes = 512, .begin = 2, .end = 3},
                           {.bytes = 576, .begin = 4, .end = 5}};
    mica_packing p = {.blocks = blocks, .n = 4, .n_times = 8};
    pack(&p);
    assert_int_equal(p.floor_bytes, 640);
    assert_int_equal(p.peak_bytes, 640);
}

/* Random blocks never overlap, and the peak stays near the floor. */
static void test_packing_of_random_blocks(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    double worst = 1, sum = 0;
    for (int round = 0; round < 300; round++) {
        mica_block blocks[200];
        mica_packing p = {.blocks = blocks, .n = 2 + test_random(&seed) % 198, .n_times = 1000};
        uint32_t time = 0;
        for (size_t i = 0; i < p.n; i++) {
            time += (uint32_t)(test_random(&seed) % 3);
            uint32_t life = (uint32_t)(test_random(&seed) % (test_random(&seed) % 8 ? 5 : 100));
            uint64_t bytes = test_random(&seed) % (test_random(&seed) % 4 ? 16 : 500) * 64;
            blocks[i] = (mica_block){.bytes = bytes, .begin = time, .end = time + life};
        }
        pack(&p);
        double ratio = p.floor_bytes ? (double)p.peak_bytes / (double)p.floor_bytes : 1;
        assert_true(ratio >= 1);
        if (ratio > worst) worst = ratio;
        sum += ratio;
    }
    print_message("peak / floor: %.3f in the mean, %.3f at worst\n", sum / 300, worst);
    assert_true(sum / 300 < 1.05);
}

/* A leaf asked for needs no binding; an output has its own; unused leaves have no place. */
static void test_bindings(void **state) {
    (void)state;
    plan_test_pass("place", NULL,
                   "%1 = input \"x\" : f32[]\n%2 = weight \"w\" : mxfp4[2, 32]\n"
                   "%3 = dequantize(%2) {dtype=12} : f32[2, 32]\n"
                   "output %3, %1, %3\n",
                   "%1 = weight \"w\" : mxfp4[2, 32] @1+0\n"
                   "%2 = dequantize(%1) {dtype=12} : f32[2, 32] @3+0\n"
                   "%3 = input \"x\" : f32[]\n"
                   "output %2, %3, %2\n");
}

/* An effect lies where its target lies: in the input, which needs no output binding, or in the
 * output's buffer from the start. */
static void test_effects(void **state) {
    (void)state;
    plan_test t = {.pass = "place"};
    plan_test_open(&t);
    plan_test_add_effect(&t);
    plan_test_expect(&t,
                     "%1 = input \"pages\" : f32[4]\n%2 = effect(%1) : f32[4]\n"
                     "%3 = unary(%2) : f32[4]\n%4 = effect(%3) : f32[4]\n"
                     "%5 = unary(%4) : f32[4]\n%6 = unary(%5) : f32[4]\n"
                     "%7 = effect(%6) : f32[4]\n%8 = unary(%7) : f32[4]\n"
                     "output %2, %4, %8\n",
                     "%1 = input \"pages\" : f32[4] @1+0\n%2 = effect(%1) : f32[4] @1+0\n"
                     "%3 = unary(%2) : f32[4] @2+0\n%4 = effect(%3) : f32[4] @2+0\n"
                     "%5 = unary(%4) : f32[4] @0+0\n%6 = unary(%5) : f32[4] @0+0\n"
                     "%7 = effect(%6) : f32[4] @0+0\n%8 = unary(%7) : f32[4] @3+0\n"
                     "output %2, %4, %8\n");
    assert_int_equal(t.plan->n_bindings, 4);
    assert_int_equal(t.plan->bindings[2].kind, MICA_BIND_OUTPUT);
    assert_int_equal(t.plan->bindings[2].node, t.plan->outputs[1]);
    plan_test_close(&t);
}

/* Switched off, every node has space of its own. */
static void test_switch(void **state) {
    (void)state;
    plan_test_pass(
        "place", "place",
        X "\n%2 = unary(%1) : f32[2, 3]\n%3 = unary(%2) {kind=1} : f32[2, 3]\n"
          "%4 = unary(%3) : f32[2, 3]\noutput %4\n",
        X " @1+0\n%2 = unary(%1) : f32[2, 3] @0+0\n%3 = unary(%2) {kind=1} : f32[2, 3] @0+64\n"
          "%4 = unary(%3) : f32[2, 3] @2+0\noutput %4\n");
}

/* ---- random graphs ---- */

static mica_ref grow_node(plan_test *t, const mica_ref *refs, int n, uint64_t *seed, int at) {
    int8_t order[MICA_RANK_MAX] = {1, 0};
    int32_t kind = (int32_t)(test_random(seed) % 3), dtype = MICA_DTYPE_F16;
    mica_ref pair[2] = {refs[test_random(seed) % n], refs[test_random(seed) % n]};
    mica_graph *g = t->graph;
    const mica_node *a = mica_graph_node(g, pair[0]), *b = mica_graph_node(g, pair[1]);
    mica_shape shape;
    int64_t dims[2] = {(int64_t)(test_random(seed) % 40) + 1,
                       (int64_t)(test_random(seed) % 40) + 1};
    bool fits = a->dtype == b->dtype && mica_shape_broadcast(&a->shape, &b->shape, &shape);
    char name[16];
    switch (test_random(seed) % 8) {
    case 0:
        return mica_graph_add(g, MICA_OP_permute, pair, 1, order, sizeof order);
    case 1:
        return mica_graph_add(g, MICA_OP_cast, pair, 1, &dtype, sizeof dtype);
    case 2:
        mica_shape_make(2, dims, &shape);
        snprintf(name, sizeof name, "i%d", at);
        return mica_graph_input(g, name, MICA_DTYPE_F32, &shape, MICA_LIVE_ALL);
    case 3: /* one effect on an input: with several, each sees what the others write */
        if (a->is_view || a->op == MICA_OP_INPUT || a->op == MICA_OP_kv_write) return pair[0];
        return mica_graph_add(g, MICA_OP_kv_write, pair, 1, NULL, 0);
    case 4:
        return mica_graph_add(g, MICA_OP_softmax, pair, 1, NULL, 0);
    default:
        if (fits) return mica_graph_add(g, MICA_OP_binary, pair, 2, &kind, sizeof kind);
        return mica_graph_add(g, MICA_OP_unary, pair, 1, &kind, sizeof kind);
    }
}

/* Who owns each 64 bytes of every binding while the plan runs: no step may read what was written
 * over since its operand was made. Effects and donations pass the ownership on. */
typedef struct shadow {
    const mica_plan *plan;
    mica_ref *owner[64]; /* per binding: the root whose value lies there, per 4 bytes */
} shadow;

static uint64_t bytes_of(const mica_node *n) {
    return mica_part_bytes((mica_dtype)n->dtype, n->quant, &n->shape, 0);
}

static void expect_intact(const shadow *s, mica_ref root, mica_ref reader) {
    const mica_node *n = mica_graph_node(s->plan->graph, root);
    for (uint64_t b = 0; b < bytes_of(n) / 4; b++)
        if (s->owner[n->place.binding][n->place.offset / 4 + b] != root)
            fail_msg("%%%u reads %%%u, which %%%u has overwritten", (unsigned)reader,
                     (unsigned)root, (unsigned)s->owner[n->place.binding][n->place.offset / 4 + b]);
}

static void claim(const shadow *s, mica_ref root) {
    const mica_node *n = mica_graph_node(s->plan->graph, root);
    if (n->place.binding < 0) return; /* a leaf that is only an output */
    assert_int_equal(n->place.offset % MICA_PLAN_ALIGNMENT, 0);
    assert_true(n->place.offset + bytes_of(n) <= s->plan->bindings[n->place.binding].bytes);
    for (uint64_t b = 0; b < (bytes_of(n) + 3) / 4; b++)
        s->owner[n->place.binding][n->place.offset / 4 + b] = root;
}

static void run_shadow(const mica_plan *plan) {
    shadow s = {.plan = plan};
    const mica_graph *g = plan->graph;
    assert_true(plan->n_bindings <= 64);
    for (size_t b = 0; b < plan->n_bindings; b++)
        s.owner[b] = calloc(plan->bindings[b].bytes / 4 + 1, sizeof(mica_ref));
    for (mica_ref r = 1; r < mica_graph_count(g); r++)
        if (mica_graph_node(g, r)->op <= MICA_OP_DATA) claim(&s, r);
    for (mica_ref r = 1; r < mica_graph_count(g); r++) {
        const mica_node *n = mica_graph_node(g, r);
        if (n->op <= MICA_OP_DATA || n->is_view) continue;
        for (int i = 0; i < n->n_inputs; i++) expect_intact(&s, mica_node_root(g, n->inputs[i]), r);
        claim(&s, r);
    }
    for (size_t i = 0; i < plan->n_outputs; i++)
        if (mica_graph_node(g, plan->outputs[i])->op > MICA_OP_DATA)
            expect_intact(&s, plan->outputs[i], 0);
    for (size_t b = 0; b < plan->n_bindings; b++) free(s.owner[b]);
}

/* No plan of a random graph reads what it has overwritten, and outputs are whole at the end. */
static void test_random_graphs(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    int n_built = 0, n_donated = 0;
    for (int round = 0; round < 400; round++) {
        plan_test t = {.no_pass = round % 4 ? NULL : round % 8 ? "order" : "simplify"};
        plan_test_open(&t);
        plan_test_add_effect(&t);
        t.runtime->ops = t.table;
        plan_test_parse(&t, "%1 = input \"x\" : f32[3, 5]\noutput %1\n");
        mica_ref refs[64] = {1};
        for (int i = 1; i < 10 + round % 40; i++) {
            refs[i] = grow_node(&t, refs, i, &seed, i);
            assert_true(refs[i] != 0);
            t.outputs[i % 3] = refs[i];
            t.n_outputs = i < 3 ? 1 : 3;
        }
        if (t.n_outputs == 1) t.outputs[0] = refs[1];
        mica_status st = plan_test_build(&t);
        /* random effects may well leave no order */
        if (st == MICA_STATUS_OK) {
            run_shadow(t.plan);
            n_built++;
            const mica_graph *g = t.plan->graph;
            for (mica_ref r = 1; r < mica_graph_count(g); r++) {
                const mica_node *n = mica_graph_node(g, r);
                n_donated += n->op == MICA_OP_unary && n->place.binding == 0 &&
                             n->place.offset == mica_graph_node(g, n->inputs[0])->place.offset;
            }
        } else {
            assert_int_equal(st, MICA_STATUS_INVALID);
            assert_non_null(strstr(t.err.message, "overwritten"));
        }
        plan_test_close(&t);
    }
    assert_true(n_built > 100);
    assert_true(n_donated > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_donation),
        cmocka_unit_test(test_no_donation),
        cmocka_unit_test(test_donation_of_other_inputs),
        cmocka_unit_test(test_packing_by_size),
        cmocka_unit_test(test_packing_of_random_blocks),
        cmocka_unit_test(test_bindings),
        cmocka_unit_test(test_effects),
        cmocka_unit_test(test_switch),
        cmocka_unit_test(test_random_graphs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
