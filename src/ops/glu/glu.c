/* Gated activations: shape rule, meaning in simpler ops, cost, launch, variants. The kernels are in
 * glu_ref.c and glu_simd.h. */
#include "ops/glu/glu.h"
#include "base/error.h"
#include "mica/ops.h"

mica_array mica_glu(mica_graph *g, mica_array x, mica_glu_options options) {
    mica_glu_params p = {.kind = (int32_t)options.kind,
                         .is_interleaved = options.interleaved,
                         .alpha = options.alpha,
                         .limit = options.limit};
    return mica_array_add(g, MICA_OP_glu, &x, 1, &p, sizeof p);
}

static mica_status infer_glu(const mica_graph *g, mica_node *n, mica_error *err) {
    const mica_glu_params *p = MICA_PARAMS(mica_glu_params, n);
    if (p->kind < MICA_GLU_SILU || p->kind > MICA_GLU_CLAMPED)
        return mica_fail(err, MICA_STATUS_INVALID, "kind %d is unknown", (int)p->kind);
    if (p->kind == MICA_GLU_CLAMPED && !(p->limit >= 0))
        return mica_fail(err, MICA_STATUS_INVALID, "limit is %g", (double)p->limit);
    mica_status st = mica_rule_rows(g, n, err);
    if (st != MICA_STATUS_OK) return st;
    int64_t *last = &n->shape.dims[n->shape.rank - 1];
    char text[176];
    if (*last % 2)
        return mica_fail(err, MICA_STATUS_INVALID, "x is %s, wanted an even last axis",
                         mica_shape_format(&n->shape, text));
    *last /= 2;
    return MICA_STATUS_OK;
}

static mica_array activate(mica_graph *g, const mica_glu_params *p, mica_array gate) {
    mica_array alpha = mica_scalar(g, p->alpha);
    switch (p->kind) {
    case MICA_GLU_SILU:
        return mica_unary(g, MICA_UNARY_SILU, gate);
    case MICA_GLU_GELU:
        return mica_unary(g, MICA_UNARY_GELU, gate);
    case MICA_GLU_GELU_TANH:
        return mica_unary(g, MICA_UNARY_GELU_TANH, gate);
    default:
        return mica_mul(g, gate, mica_unary(g, MICA_UNARY_SIGMOID, mica_mul(g, gate, alpha)));
    }
}

static mica_ref compose_glu(mica_graph *g, const mica_node *node) {
    mica_glu_params p = *MICA_PARAMS(mica_glu_params, node);
    mica_dtype dtype = (mica_dtype)node->dtype;
    int64_t n = node->shape.dims[node->shape.rank - 1];
    mica_array x = mica_cast(g, mica_array_of(g, node->inputs[0]), MICA_DTYPE_F32);
    int64_t step = p.is_interleaved ? 2 : 1, start = p.is_interleaved ? 1 : n;
    int64_t stop = p.is_interleaved ? 2 * n : n;
    mica_array gate = mica_slice_axis(g, x, -1, 0, stop, step);
    mica_array up = mica_slice_axis(g, x, -1, start, 2 * n, step);
    if (p.kind == MICA_GLU_CLAMPED) {
        mica_array high = mica_scalar(g, p.limit), low = mica_scalar(g, -p.limit);
        gate = mica_minimum(g, gate, high);
        up = mica_maximum(g, mica_minimum(g, up, high), low);
        up = mica_add(g, up, mica_scalar(g, 1.0f));
    }
    mica_array out = mica_mul(g, activate(g, &p, gate), up);
    return mica_array_ref(g, mica_cast(g, out, dtype), false);
}

/* Read and written once; 16 operations a result. */
static void cost_glu(const mica_graph *g, const mica_node *n, mica_cost *out) {
    (void)g;
    uint64_t count = (uint64_t)mica_shape_count(&n->shape);
    out->bytes = 3 * count * mica_dtype_bytes((mica_dtype)n->dtype);
    out->flops = 16 * count;
}

static mica_status launch_glu(mica_launch *l, const mica_node *n, mica_error *err) {
    const mica_glu_params *p = MICA_PARAMS(mica_glu_params, n);
    mica_glu_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "the arguments of glu");
    mica_launch_row_args(l, &a->rows, n);
    a->kind = p->kind;
    a->is_interleaved = p->is_interleaved;
    a->alpha = p->alpha;
    a->limit = p->limit;
    return MICA_STATUS_OK;
}

static bool accepts_vectors(const mica_graph *g, const mica_node *n) {
    (void)g;
    return MICA_PARAMS(mica_glu_params, n)->kind != MICA_GLU_GELU;
}

static const mica_kernel kernels[] = {
#if defined(__x86_64__)
    {.name = "glu_avx512",
     .needs = MICA_CPU_AVX512,
     .accepts = accepts_vectors,
     .cpu = mica_glu_avx512},
    {.name = "glu_avx2", .needs = MICA_CPU_AVX2, .accepts = accepts_vectors, .cpu = mica_glu_avx2},
#endif
    {.name = "glu_ref", .cpu = mica_glu_ref},
};

static const mica_param params[] = {
    {"kind", MICA_PARAM_I32, offsetof(mica_glu_params, kind)},
    {"interleaved", MICA_PARAM_BOOL, offsetof(mica_glu_params, is_interleaved)},
    {"alpha", MICA_PARAM_F32, offsetof(mica_glu_params, alpha)},
    {"limit", MICA_PARAM_F32, offsetof(mica_glu_params, limit)},
};

const mica_op mica_op_glu = {
    .name = "glu",
    .n_inputs_min = 1,
    .n_inputs_max = 1,
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer_glu,
    .compose = compose_glu,
    .cost = cost_glu,
    .launch = launch_glu,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};
