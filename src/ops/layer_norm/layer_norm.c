/* Layer norm: shape rule, meaning in simpler ops, cost, launch, variants. The kernels are in
 * layer_norm_ref.c and layer_norm_simd.h. */
#include "ops/layer_norm/layer_norm.h"
#include "base/error.h"
#include "mica/ops.h"

mica_array mica_layer_norm(mica_graph *g, mica_array x, mica_array weight, mica_array bias,
                           float eps) {
    mica_layer_norm_params p = {.eps = eps};
    return mica_array_add(g, MICA_OP_layer_norm, (mica_array[]){x, weight, bias}, 3, &p, sizeof p);
}

static mica_status infer_layer_norm(const mica_graph *g, mica_node *n, mica_error *err) {
    const mica_layer_norm_params *p = MICA_PARAMS(mica_layer_norm_params, n);
    if (!(p->eps >= 0)) return mica_fail(err, MICA_STATUS_INVALID, "eps is %g", (double)p->eps);
    mica_status st = mica_rule_rows(g, n, err);
    if (st != MICA_STATUS_OK) return st;
    int64_t length = n->shape.dims[n->shape.rank - 1];
    st = mica_rule_row_vector(g, n, 1, "weight", length, err);
    return st == MICA_STATUS_OK ? mica_rule_row_vector(g, n, 2, "bias", length, err) : st;
}

static mica_ref compose_layer_norm(mica_graph *g, const mica_node *node) {
    float eps = MICA_PARAMS(mica_layer_norm_params, node)->eps;
    mica_dtype dtype = (mica_dtype)node->dtype;
    mica_ref weight = node->inputs[1], bias = node->inputs[2];
    mica_array x = mica_cast(g, mica_array_of(g, node->inputs[0]), MICA_DTYPE_F32);
    mica_array v = mica_sub(g, x, mica_reduce(g, MICA_REDUCE_MEAN, x, -1, true));
    mica_array variance =
        mica_reduce(g, MICA_REDUCE_MEAN, mica_unary(g, MICA_UNARY_SQUARE, v), -1, true);
    v = mica_mul(g, v, mica_unary(g, MICA_UNARY_RSQRT, mica_add(g, variance, mica_scalar(g, eps))));
    if (weight) v = mica_mul(g, v, mica_cast(g, mica_array_of(g, weight), MICA_DTYPE_F32));
    if (bias) v = mica_add(g, v, mica_cast(g, mica_array_of(g, bias), MICA_DTYPE_F32));
    return mica_array_ref(g, mica_cast(g, v, dtype), false);
}

/* x read and written once, weight and bias read once; 8 operations an element. */
static void cost_layer_norm(const mica_graph *g, const mica_node *n, mica_cost *out) {
    uint64_t count = (uint64_t)mica_shape_count(&n->shape);
    out->bytes = 2 * count * mica_dtype_bytes((mica_dtype)n->dtype);
    out->flops = 8 * count;
    for (int i = 1; i < 3; i++) {
        if (!n->inputs[i]) continue;
        const mica_node *v = mica_graph_node(g, n->inputs[i]);
        out->bytes += (uint64_t)v->shape.dims[0] * mica_dtype_bytes((mica_dtype)v->dtype);
    }
}

static mica_status launch_layer_norm(mica_launch *l, const mica_node *n, mica_error *err) {
    mica_layer_norm_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "the arguments of layer_norm");
    mica_launch_row_args(l, &a->rows, n);
    mica_launch_read(l, &a->weight, n->inputs[1], 0);
    mica_launch_read(l, &a->bias, n->inputs[2], 0);
    if (n->inputs[1]) a->weight_dtype = mica_graph_node(l->graph, n->inputs[1])->dtype;
    if (n->inputs[2]) a->bias_dtype = mica_graph_node(l->graph, n->inputs[2])->dtype;
    a->eps = MICA_PARAMS(mica_layer_norm_params, n)->eps;
    return MICA_STATUS_OK;
}

static const mica_kernel kernels[] = {
#if defined(__x86_64__)
    {.name = "layer_norm_avx512", .needs = MICA_CPU_AVX512, .cpu = mica_layer_norm_avx512},
    {.name = "layer_norm_avx2", .needs = MICA_CPU_AVX2, .cpu = mica_layer_norm_avx2},
#elif defined(__aarch64__)
    {.name = "layer_norm_neon", .needs = MICA_CPU_NEON, .cpu = mica_layer_norm_neon},
#endif
    {.name = "layer_norm_ref", .cpu = mica_layer_norm_ref},
};

static const mica_param params[] = {
    {"eps", MICA_PARAM_F32, offsetof(mica_layer_norm_params, eps)},
};

const mica_op mica_op_layer_norm = {
    .name = "layer_norm",
    .n_inputs_min = 3,
    .n_inputs_max = 3,
    .in_place = 1,
    .optional = 1 << 1 | 1 << 2,
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer_layer_norm,
    .compose = compose_layer_norm,
    .cost = cost_layer_norm,
    .launch = launch_layer_norm,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};
