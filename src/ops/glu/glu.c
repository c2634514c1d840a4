/* Gated activations: shape rule, meaning in simpler ops, cost, launch, variants. The kernels are in
 * glu_ref.c and glu_simd.h. */
#include "ops/glu/glu.h"
#include "base/error.h"
#include "mica/ops.h"

static mica_glu_params pack_options(mica_glu_options options) {
    return (mica_glu_params){.kind = (int32_t)options.kind,
                             .is_interleaved = options.interleaved,
                             .alpha = options.alpha,
                             .limit = options.limit};
}

mica_array mica_glu(mica_graph *g, mica_array x, mica_glu_options options) {
    mica_glu_params p = pack_options(options);
    return mica_array_add(g, MICA_OP_glu, &x, 1, &p, sizeof p);
}

mica_array mica_glu_pair(mica_graph *g, mica_array gate, mica_array up, mica_glu_options options) {
    mica_glu_params p = pack_options(options);
    return mica_array_add(g, MICA_OP_glu, (mica_array[]){gate, up}, 2, &p, sizeof p);
}

static bool is_pair(const mica_node *n) { return n->n_inputs == 2; }

/* n has the dtype, shape and live kind of gate. */
static mica_status check_up(const mica_graph *g, const mica_node *n, mica_error *err) {
    const mica_node *up = mica_graph_node(g, n->inputs[1]);
    char a[176], b[176];
    if (MICA_PARAMS(mica_glu_params, n)->is_interleaved)
        return mica_fail(err, MICA_STATUS_INVALID, "two inputs cannot be interleaved");
    if (up->dtype == n->dtype && up->live == n->live && mica_shape_equal(&up->shape, &n->shape))
        return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_INVALID, "gate is %s %s, up %s %s%s",
                     mica_dtype_name((mica_dtype)n->dtype), mica_shape_format(&n->shape, a),
                     mica_dtype_name((mica_dtype)up->dtype), mica_shape_format(&up->shape, b),
                     up->live == n->live ? "" : " with another live count");
}

static mica_status infer_glu(const mica_graph *g, mica_node *n, mica_error *err) {
    const mica_glu_params *p = MICA_PARAMS(mica_glu_params, n);
    if (p->kind < MICA_GLU_SILU || p->kind > MICA_GLU_CLAMPED)
        return mica_fail(err, MICA_STATUS_INVALID, "kind %d is unknown", (int)p->kind);
    if (p->kind == MICA_GLU_CLAMPED && !(p->limit >= 0))
        return mica_fail(err, MICA_STATUS_INVALID, "limit is %g", (double)p->limit);
    mica_status st = mica_rule_rows(g, n, err);
    if (st != MICA_STATUS_OK) return st;
    if (is_pair(n)) return check_up(g, n, err);
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
    mica_ref second = is_pair(node) ? node->inputs[1] : 0; /* adding nodes may move it */
    mica_array x = mica_cast(g, mica_array_of(g, node->inputs[0]), MICA_DTYPE_F32);
    mica_array gate = x, up;
    if (second) {
        up = mica_cast(g, mica_array_of(g, second), MICA_DTYPE_F32);
    } else {
        int64_t step = p.is_interleaved ? 2 : 1, start = p.is_interleaved ? 1 : n;
        int64_t stop = p.is_interleaved ? 2 * n : n;
        gate = mica_slice_axis(g, x, -1, 0, stop, step);
        up = mica_slice_axis(g, x, -1, start, 2 * n, step);
    }
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
    if (is_pair(n)) mica_launch_read(l, &a->up, n->inputs[1], 0);
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
#elif defined(__aarch64__)
    {.name = "glu_neon", .needs = MICA_CPU_NEON, .accepts = accepts_vectors, .cpu = mica_glu_neon},
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
    .n_inputs_max = 2,
    .in_place = 3, /* of a pair */
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer_glu,
    .compose = compose_glu,
    .cost = cost_glu,
    .launch = launch_glu,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};
