/* RMS norm: shape rule, meaning in simpler ops, cost, launch, variants. The kernels are in
 * rms_norm_ref.c and rms_norm_simd.h. */
#include "ops/rms_norm/rms_norm.h"
#include "base/error.h"
#include "mica/ops.h"

mica_array mica_rms_norm(mica_graph *g, mica_array x, mica_array weight, float eps, float offset) {
    mica_rms_norm_params p = {.eps = eps, .offset = offset};
    return mica_array_add(g, MICA_OP_rms_norm, (mica_array[]){x, weight}, 2, &p, sizeof p);
}

static mica_status infer_rms_norm(const mica_graph *g, mica_node *n, mica_error *err) {
    const mica_rms_norm_params *p = MICA_PARAMS(mica_rms_norm_params, n);
    if (!(p->eps >= 0)) return mica_fail(err, MICA_STATUS_INVALID, "eps is %g", (double)p->eps);
    mica_status st = mica_rule_rows(g, n, err);
    if (st != MICA_STATUS_OK) return st;
    return mica_rule_row_vector(g, n, 1, "weight", n->shape.dims[n->shape.rank - 1], err);
}

static mica_ref compose_rms_norm(mica_graph *g, const mica_node *node) {
    mica_rms_norm_params p = *MICA_PARAMS(mica_rms_norm_params, node);
    mica_dtype dtype = (mica_dtype)node->dtype;
    mica_ref weight = node->inputs[1];
    mica_array x = mica_cast(g, mica_array_of(g, node->inputs[0]), MICA_DTYPE_F32);
    mica_array mean =
        mica_reduce(g, MICA_REDUCE_MEAN, mica_unary(g, MICA_UNARY_SQUARE, x), -1, true);
    mica_array scale = mica_unary(g, MICA_UNARY_RSQRT, mica_add(g, mean, mica_scalar(g, p.eps)));
    mica_array w =
        weight ? mica_cast(g, mica_array_of(g, weight), MICA_DTYPE_F32) : mica_scalar(g, 1.0f);
    w = mica_add(g, w, mica_scalar(g, p.offset));
    mica_array out = mica_mul(g, mica_mul(g, x, scale), w);
    return mica_array_ref(g, mica_cast(g, out, dtype), false);
}

/* x read and written once, the weight read once; 5 operations an element. */
static void cost_rms_norm(const mica_graph *g, const mica_node *n, mica_cost *out) {
    uint64_t count = (uint64_t)mica_shape_count(&n->shape);
    out->bytes = 2 * count * mica_dtype_bytes((mica_dtype)n->dtype);
    out->flops = 5 * count;
    if (!n->inputs[1]) return;
    const mica_node *w = mica_graph_node(g, n->inputs[1]);
    out->bytes += (uint64_t)w->shape.dims[0] * mica_dtype_bytes((mica_dtype)w->dtype);
}

static mica_status launch_rms_norm(mica_launch *l, const mica_node *n, mica_error *err) {
    const mica_rms_norm_params *p = MICA_PARAMS(mica_rms_norm_params, n);
    mica_rms_norm_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "the arguments of rms_norm");
    mica_launch_row_args(l, &a->rows, n);
    mica_launch_read(l, &a->weight, n->inputs[1], 0);
    if (n->inputs[1]) a->weight_dtype = mica_graph_node(l->graph, n->inputs[1])->dtype;
    a->eps = p->eps;
    a->offset = p->offset;
    return MICA_STATUS_OK;
}

static const mica_kernel kernels[] = {
#if defined(__x86_64__)
    {.name = "rms_norm_avx512", .needs = MICA_CPU_AVX512, .cpu = mica_rms_norm_avx512},
    {.name = "rms_norm_avx2", .needs = MICA_CPU_AVX2, .cpu = mica_rms_norm_avx2},
#elif defined(__aarch64__)
    {.name = "rms_norm_neon", .needs = MICA_CPU_NEON, .cpu = mica_rms_norm_neon},
#endif
    {.name = "rms_norm_ref", .cpu = mica_rms_norm_ref},
};

static const mica_param params[] = {
    {"eps", MICA_PARAM_F32, offsetof(mica_rms_norm_params, eps)},
    {"offset", MICA_PARAM_F32, offsetof(mica_rms_norm_params, offset)},
};

const mica_op mica_op_rms_norm = {
    .name = "rms_norm",
    .n_inputs_min = 2,
    .n_inputs_max = 2,
    .in_place = 1,
    .optional = 1 << 1,
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer_rms_norm,
    .compose = compose_rms_norm,
    .cost = cost_rms_norm,
    .launch = launch_rms_norm,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};
