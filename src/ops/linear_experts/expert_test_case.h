/* Random mixtures for the tests of experts_glu and experts_sum: weights of all experts, scores or
 * ids, and evaluations that give the bytes of a fused node beside those of its composed meaning,
 * that is of the steps apart. */
#pragma once
#include "core/experts.h"
#include "core/op.h"
#include "core/runtime.h"
#include "mica/ops.h"
#include "ops/linear/linear_test_case.h"
#include "op_test.h"

/* Weight types that take different ways through the kernels. */
static const int expert_case_types[] = {0, 2, 3,
                                        5, 8, 11}; /* f32 bf16 mxfp4 nvfp4 affine4 affine8 */
enum { EXPERT_CASE_TYPES = sizeof expert_case_types / sizeof expert_case_types[0] };

static inline mica_array expert_case_weight(mica_graph *g, const test_weight *w,
                                            int64_t n_experts) {
    int64_t dims[3] = {n_experts, w->n / n_experts, w->k};
    mica_quant_desc q = w->weight.quant;
    static const uint8_t dtypes[] = {[MICA_KIND_F32] = MICA_DTYPE_F32,
                                     [MICA_KIND_F16] = MICA_DTYPE_F16,
                                     [MICA_KIND_BF16] = MICA_DTYPE_BF16,
                                     [MICA_KIND_U8] = MICA_DTYPE_U8};
    if (w->weight.kind != MICA_KIND_U8)
        return mica_array_view(g, (mica_dtype)dtypes[w->weight.kind], 3, dims, w->codes, NULL,
                               NULL);
    mica_quant quant = {q.mode, q.bits, q.group, dtypes[q.scale_kind]};
    return mica_array_view_quantized(g, quant, 3, dims, w->codes, w->scales,
                                     q.mode == MICA_QUANT_DESC_AFFINE ? w->biases : NULL);
}

static inline mica_array expert_case_bias(mica_graph *g, const test_weight *w, int64_t n_experts) {
    int64_t dims[2] = {n_experts, w->n / n_experts};
    return mica_array_view(g, MICA_DTYPE_BF16, 2, dims, w->bias, NULL, NULL);
}

/* Some name no expert. */
static inline void expert_case_ids(int32_t *ids, int64_t count, int64_t n_experts, uint64_t *seed) {
    for (int64_t i = 0; i < count; i++)
        ids[i] = (int32_t)(test_random(seed) % (uint64_t)(n_experts + 2)) - 1;
}

/* With ties, and now and then a NaN. */
static inline void expert_case_scores(float *scores, int64_t count, uint64_t *seed) {
    for (int64_t i = 0; i < count; i++) scores[i] = rintf(test_random_float(seed) * 8) / 4;
    if (test_random(seed) % 8 == 0) scores[test_random(seed) % (uint64_t)count] = NAN;
}

/* Adds the fused node. */
typedef mica_ref (*expert_case_build)(mica_graph *g, void *context);

/* Evaluates the fused node and its composed meaning on one level, apart and without pass fuse; both
 * must have the same bits. False where this machine lacks the level. */
static inline bool expert_case_check(const char *level, mica_numeric_mode mode, int n_threads,
                                     expert_case_build build, void *context, const char *what) {
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_graph *g = NULL;
    mica_runtime_options options = {.struct_bytes = sizeof options, .cpu_level = level};
    options.n_threads = n_threads;
    options.no_pass = "fuse";
    mica_status st = mica_runtime_open(&options, &rt, &err);
    if (st == MICA_STATUS_UNAVAILABLE) return false;
    assert_ok(st);
    assert_ok(mica_graph_create(rt, &g, &err));
    g->mode = mode;
    mica_ref ref = build(g, context);
    assert_ok(mica_graph_check(g, &err));
    mica_node node = *mica_graph_node(g, ref);
    mica_array both[2] = {mica_array_of(g, ref)};
    both[1] = mica_array_of(g, rt->ops[node.op]->compose(g, &node));
    assert_ok(mica_eval(g, both, 2, &err));
    size_t bytes = (size_t)mica_array_count(g, both[0]) * mica_dtype_bytes(node.dtype);
    uint8_t *got = malloc(bytes + 1), *want = malloc(bytes + 1);
    assert_ok(mica_array_read(g, both[0], got, bytes, &err));
    assert_ok(mica_array_read(g, both[1], want, bytes, &err));
    for (size_t i = 0; i < bytes; i++)
        if (got[i] != want[i])
            fail_msg("%s, %s, %s: byte %zu of %zu differs from the steps apart", what, level,
                     mode == MICA_FAST ? "fast" : "exact", i, bytes);
    free(got);
    free(want);
    mica_graph_destroy(&g);
    mica_runtime_close(&rt);
    return true;
}

/* On all levels, in both modes, with 1 to 3 threads. */
static inline void expert_case_check_all(expert_case_build build, void *context, const char *what,
                                         uint64_t *seed) {
    for (size_t l = 0; l < sizeof op_test_levels / sizeof *op_test_levels; l++)
        for (int mode = 0; mode < 2; mode++)
            expert_case_check(op_test_levels[l], mode ? MICA_FAST : MICA_EXACT,
                              1 + (int)(test_random(seed) % 3), build, context, what);
}
