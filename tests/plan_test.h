/* What the tests of the passes share: IR text in, the IR text after a pass out. */
#pragma once
#include "test.h"
#include "base/alloc.h"
#include "core/op.h"
#include "core/runtime.h"
#include "plan/plan.h"

#define PLAN_TEST_OUTPUTS 16

/* One text through plan_build. Fill the options, call plan_test_open, then plan_test_build as often
 * as wanted; plan_test_close ends it. */
typedef struct plan_test {
    const char *pass;    /* to dump */
    const char *no_pass; /* to skip */
    const char *backend; /* default "null" */
    const mica_allocator *allocator;
    mica_runtime *runtime;
    mica_op ops[MICA_OP_COUNT_]; /* a copy that tests may change before building */
    const mica_op *table[MICA_OP_COUNT_];
    mica_graph *graph;
    mica_ref outputs[PLAN_TEST_OUTPUTS];
    size_t n_outputs;
    mica_plan *plan;
    char *dump;
    int n_dumps;
    mica_error err;
} plan_test;

static inline void plan_test_receive(void *context, const char *pass, const char *text) {
    plan_test *t = context;
    (void)pass;
    free(t->dump);
    t->dump = strdup(text);
    t->n_dumps++;
}

/* Chains of elementwise nodes stay apart in tests of other passes than fuse. */
static inline const char *plan_test_skip(const plan_test *t, char *out, size_t bytes) {
    bool is_fuse = t->pass && strcmp(t->pass, "fuse") == 0;
    if (is_fuse) return t->no_pass;
    snprintf(out, bytes, "fuse%s%s", t->no_pass ? "," : "", t->no_pass ? t->no_pass : "");
    return out;
}

static inline void plan_test_open(plan_test *t) {
    char skip[128];
    mica_runtime_options options = {.struct_bytes = sizeof options, .n_threads = 2};
    mica_error err = {0};
    options.backend = t->backend ? t->backend : "null";
    options.allocator = t->allocator;
    options.no_pass = plan_test_skip(t, skip, sizeof skip);
    options.dump = t->pass;
    options.dump_callback = plan_test_receive;
    options.dump_context = t;
    assert_ok(mica_runtime_open(&options, &t->runtime, &err));
    for (int i = 0; i < MICA_OP_COUNT_; i++) {
        if (!t->runtime->ops[i]) continue;
        t->ops[i] = *t->runtime->ops[i];
        t->table[i] = &t->ops[i];
    }
    t->runtime->ops = t->table;
}

static inline void plan_test_parse(plan_test *t, const char *text) {
    mica_error err = {0};
    mica_graph_destroy(&t->graph);
    assert_ok(mica_graph_create_internal(t->runtime, true, &t->graph, &err));
    assert_ok(mica_graph_parse(t->graph, text, strlen(text), t->outputs, PLAN_TEST_OUTPUTS,
                               &t->n_outputs, &err));
}

static inline mica_status plan_test_build(plan_test *t) {
    mica_plan_destroy(&t->plan);
    return t->runtime->plan_build(t->runtime, t->graph, t->outputs, t->n_outputs, NULL, &t->plan,
                                  &t->err);
}

static inline void plan_test_close(plan_test *t) {
    mica_plan_destroy(&t->plan);
    mica_graph_destroy(&t->graph);
    mica_runtime_close(&t->runtime);
    free(t->dump);
    t->dump = NULL;
}

/* The dump of t->pass for `text` must be `want`. */
static inline void plan_test_expect(plan_test *t, const char *text, const char *want) {
    mica_error err = {0};
    plan_test_parse(t, text);
    t->n_dumps = 0;
    mica_status st = plan_test_build(t);
    err = t->err;
    assert_ok(st);
    assert_int_equal(t->n_dumps, 1);
    assert_string_equal(t->dump, want);
}

/* Text in, text out, with everything else at its default. */
static inline void plan_test_pass(const char *pass, const char *no_pass, const char *text,
                                  const char *want) {
    plan_test t = {.pass = pass, .no_pass = no_pass};
    plan_test_open(&t);
    plan_test_expect(&t, text, want);
    plan_test_close(&t);
}

/* Building `text` must fail with a status and a message that holds `part`. */
static inline void plan_test_refuse(plan_test *t, const char *text, mica_status st,
                                    const char *part) {
    plan_test_parse(t, text);
    assert_int_equal(plan_test_build(t), st);
    if (!strstr(t->err.message, part)) fail_msg("\"%s\" lacks \"%s\"", t->err.message, part);
}

/* An op for tests: in the slot of kv_write, overwrites input 0 and reads the others. */
static inline mica_status plan_test_infer_like(const mica_graph *g, mica_node *n, mica_error *err) {
    const mica_node *x = mica_graph_node(g, n->inputs[0]);
    (void)err;
    n->dtype = x->dtype;
    n->shape = x->shape;
    n->live = x->live;
    return MICA_STATUS_OK;
}

typedef struct plan_test_args {
    mica_address out;
    mica_address in[MICA_INPUTS_MAX];
} plan_test_args;

static inline mica_status plan_test_launch_effect(mica_launch *l, const mica_node *n,
                                                  mica_error *err) {
    plan_test_args *args = mica_launch_args(l, sizeof *args);
    (void)err;
    if (!args) return MICA_STATUS_OUT_OF_MEMORY;
    mica_launch_update(l, &args->out, n->inputs[0], 0);
    for (int i = 1; i < n->n_inputs; i++) mica_launch_read(l, &args->in[i], n->inputs[i], 0);
    return MICA_STATUS_OK;
}

static inline void plan_test_run_nothing(const void *args, const mica_cpu_worker *worker) {
    (void)args;
    (void)worker;
}

static inline void plan_test_add_effect(plan_test *t) {
    static const mica_kernel kernels[] = {
        {"effect_ref", MICA_DEVICE_CPU, 0, NULL, NULL, plan_test_run_nothing}};
    t->ops[MICA_OP_kv_write] = (mica_op){.name = "effect",
                                         .n_inputs_min = 1,
                                         .n_inputs_max = MICA_INPUTS_MAX,
                                         .flags = MICA_OP_IS_EFFECT,
                                         .infer = plan_test_infer_like,
                                         .launch = plan_test_launch_effect,
                                         .kernels = kernels,
                                         .n_kernels = 1};
    t->table[MICA_OP_kv_write] = &t->ops[MICA_OP_kv_write];
}
