/* For the tests of the transformer ops: every kernel level and the composed meaning against what
 * the test computes in double precision, and the same bits for every number of threads. */
#pragma once
#include "core/op.h"
#include "core/runtime.h"
#include "mica/ops.h"
#include "ops/common/op_test_case.h"

/* Rounding of a result once: relative, and absolute where the format runs out of exponents. */
static inline double layer_case_relative(mica_dtype dtype, double f32) {
    return dtype == MICA_DTYPE_BF16 ? 0x1p-8 + f32 : dtype == MICA_DTYPE_F16 ? 0x1p-11 + f32 : f32;
}

typedef struct layer_composed {
    op_test_build build;
    void *context;
} layer_composed;

/* The node that build makes, as its op states it in simpler ops. */
static inline mica_array layer_case_compose(mica_graph *g, void *context) {
    const layer_composed *c = context;
    mica_error err = {0};
    mica_ref ref = mica_array_ref(g, c->build(g, c->context), false);
    assert_ok(mica_graph_check(g, &err));
    mica_node n = *mica_graph_node(g, ref);
    return mica_array_of(g, g->runtime->ops[n.op]->compose(g, &n));
}

/* Runs build with this many threads on the best level; returns the bytes (free() them). */
static inline uint8_t *layer_case_run(op_test_build build, void *context, int n_threads,
                                      size_t *bytes) {
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_graph *g = NULL;
    mica_runtime_options options = {.struct_bytes = sizeof options, .n_threads = n_threads};
    assert_ok(mica_runtime_open(&options, &rt, &err));
    assert_ok(mica_graph_create(rt, &g, &err));
    mica_array a = build(g, context);
    assert_ok(mica_eval(g, &a, 1, &err));
    *bytes = (size_t)mica_array_count(g, a) * mica_dtype_bytes(mica_array_dtype(g, a));
    uint8_t *out = malloc(*bytes + 1);
    assert_ok(mica_array_read(g, a, out, *bytes, &err));
    mica_graph_destroy(&g);
    mica_runtime_close(&rt);
    return out;
}

static inline void layer_case_threads(op_test_build build, void *context) {
    size_t bytes[3];
    uint8_t *out[3];
    for (int i = 0; i < 3; i++) out[i] = layer_case_run(build, context, i + 1, &bytes[i]);
    for (int i = 1; i < 3; i++) assert_memory_equal(out[0], out[i], bytes[0]);
    for (int i = 0; i < 3; i++) free(out[i]);
}

/* All of it: levels and composed meaning against want, threads against each other. */
static inline void layer_case_check(op_test_build build, void *context, const double *want,
                                    int64_t count, double relative, double absolute) {
    layer_composed composed = {build, context};
    op_test_all_levels(build, context, want, (size_t)count, relative, absolute);
    op_test_all_levels(layer_case_compose, &composed, want, (size_t)count, relative * 2,
                       absolute * 2);
}
