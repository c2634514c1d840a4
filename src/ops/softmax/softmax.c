/* Softmax: shape rule, meaning in simpler ops, cost, launch, variants. The kernels are in
 * softmax_ref.c and softmax_simd.h. */
#include "ops/softmax/softmax.h"
#include <math.h>
#include "base/error.h"
#include "mica/ops.h"

mica_array mica_softmax(mica_graph *g, mica_array x) {
    return mica_array_add(g, MICA_OP_softmax, &x, 1, NULL, 0);
}

static mica_status infer_softmax(const mica_graph *g, mica_node *n, mica_error *err) {
    return mica_rule_rows(g, n, err);
}

/* e = exp(x - max), e / sum(e); rows of -inf: the maximum counts as 0 and the sum as 1. */
static mica_ref compose_softmax(mica_graph *g, const mica_node *node) {
    mica_dtype dtype = (mica_dtype)node->dtype;
    mica_array x = mica_cast(g, mica_array_of(g, node->inputs[0]), MICA_DTYPE_F32);
    mica_array zero = mica_scalar(g, 0.0f), one = mica_scalar(g, 1.0f);
    mica_array max = mica_reduce(g, MICA_REDUCE_MAX, x, -1, true);
    mica_array is_empty = mica_binary(g, MICA_BINARY_EQUAL, max, mica_scalar(g, -INFINITY));
    max = mica_select(g, is_empty, zero, max);
    mica_array e = mica_unary(g, MICA_UNARY_EXP, mica_sub(g, x, max));
    mica_array sum = mica_reduce(g, MICA_REDUCE_SUM, e, -1, true);
    sum = mica_select(g, mica_binary(g, MICA_BINARY_EQUAL, sum, zero), one, sum);
    return mica_array_ref(g, mica_cast(g, mica_div(g, e, sum), dtype), false);
}

/* Read once and written once; 8 operations an element. */
static void cost_softmax(const mica_graph *g, const mica_node *n, mica_cost *out) {
    (void)g;
    uint64_t count = (uint64_t)mica_shape_count(&n->shape);
    out->bytes = 2 * count * mica_dtype_bytes((mica_dtype)n->dtype);
    out->flops = 8 * count;
}

static mica_status launch_softmax(mica_launch *l, const mica_node *n, mica_error *err) {
    mica_softmax_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "the arguments of softmax");
    mica_launch_row_args(l, a, n);
    return MICA_STATUS_OK;
}

static const mica_kernel kernels[] = {
#if defined(__x86_64__)
    {.name = "softmax_avx512", .needs = MICA_CPU_AVX512, .cpu = mica_softmax_avx512},
    {.name = "softmax_avx2", .needs = MICA_CPU_AVX2, .cpu = mica_softmax_avx2},
#elif defined(__aarch64__)
    {.name = "softmax_neon", .needs = MICA_CPU_NEON, .cpu = mica_softmax_neon},
#endif
    {.name = "softmax_ref", .cpu = mica_softmax_ref},
};

const mica_op mica_op_softmax = {
    .name = "softmax",
    .n_inputs_min = 1,
    .n_inputs_max = 1,
    .in_place = 1,
    .infer = infer_softmax,
    .compose = compose_softmax,
    .cost = cost_softmax,
    .launch = launch_softmax,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};
