/* Attention: shape rule, meaning in simpler ops, cost, launch, variants. The kernels are in
 * attention_ref.c and attention_simd.h; attention over the paged cache is its own op. */
#include "ops/attention/attention.h"
#include <math.h>
#include "base/error.h"
#include "mica/ops.h"
#include "ops/attention/attention_block.h"
#include "ops/common/element.h"

enum { IN_Q, IN_K, IN_V, IN_SINKS, IN_MASK, N_INPUTS };

mica_array mica_attention(mica_graph *g, mica_array q, mica_array k, mica_array v, mica_array sinks,
                          mica_array mask, mica_attention_options options) {
    mica_attention_params p = {.window = options.window,
                               .scale = options.scale,
                               .soft_cap = options.soft_cap,
                               .is_causal = options.causal};
    mica_array inputs[N_INPUTS] = {q, k, v, sinks, mask};
    return mica_array_add(g, MICA_OP_attention, inputs, N_INPUTS, &p, sizeof p);
}

static mica_status check_params(const mica_attention_params *p, mica_error *err) {
    if (!isfinite(p->scale) || !isfinite(p->soft_cap) || p->soft_cap < 0 || p->window < 0)
        return mica_fail(err, MICA_STATUS_INVALID, "scale %g, soft cap %g, window %lld",
                         (double)p->scale, (double)p->soft_cap, (long long)p->window);
    if (p->window && !p->is_causal)
        return mica_fail(err, MICA_STATUS_INVALID, "window %lld without causal",
                         (long long)p->window);
    return MICA_STATUS_OK;
}

static mica_status check_shapes(const mica_node *q, const mica_node *k, const mica_node *v,
                                mica_error *err) {
    char qs[176], ks[176], vs[176];
    const int64_t *qd = q->shape.dims, *kd = k->shape.dims;
    if (q->shape.rank != 3 || k->shape.rank != 3 || !mica_shape_equal(&k->shape, &v->shape) ||
        qd[2] != kd[2] || qd[2] < 1 || kd[1] < 1 || qd[1] < 1 || qd[1] % kd[1])
        return mica_fail(err, MICA_STATUS_INVALID,
                         "q %s, k %s, v %s, wanted [tq, heads, dim] and twice [tk, kv_heads, dim], "
                         "heads a multiple of kv_heads",
                         mica_shape_format(&q->shape, qs), mica_shape_format(&k->shape, ks),
                         mica_shape_format(&v->shape, vs));
    if (!mica_dtype_is_small_float(q->dtype) || !mica_dtype_is_small_float(k->dtype) ||
        k->dtype != v->dtype)
        return mica_fail(
            err, MICA_STATUS_INVALID, "q %s, k %s, v %s, wanted f32, f16 or bf16, k and v alike",
            mica_dtype_name((mica_dtype)q->dtype), mica_dtype_name((mica_dtype)k->dtype),
            mica_dtype_name((mica_dtype)v->dtype));
    if (k->live || v->live)
        return mica_fail(err, MICA_STATUS_INVALID, "k or v has a live count: keys must be whole");
    return MICA_STATUS_OK;
}

static mica_status check_extras(const mica_graph *g, const mica_node *n, const mica_node *q,
                                const mica_node *k, mica_error *err) {
    char text[176];
    const mica_node *sinks = mica_graph_node(g, n->inputs[IN_SINKS]);
    const mica_node *mask = mica_graph_node(g, n->inputs[IN_MASK]);
    if (n->inputs[IN_SINKS] &&
        (!mica_dtype_is_small_float(sinks->dtype) || sinks->shape.rank != 1 ||
         sinks->shape.dims[0] != q->shape.dims[1] || sinks->live))
        return mica_fail(err, MICA_STATUS_INVALID, "sinks are %s %s, wanted floats [%lld]",
                         mica_dtype_name((mica_dtype)sinks->dtype),
                         mica_shape_format(&sinks->shape, text), (long long)q->shape.dims[1]);
    if (n->inputs[IN_MASK] &&
        (mask->dtype != MICA_DTYPE_BOOL || mask->shape.rank != 2 ||
         mask->shape.dims[0] != q->shape.dims[0] || mask->shape.dims[1] != k->shape.dims[0]))
        return mica_fail(err, MICA_STATUS_INVALID, "mask is %s %s, wanted bool [%lld, %lld]",
                         mica_dtype_name((mica_dtype)mask->dtype),
                         mica_shape_format(&mask->shape, text), (long long)q->shape.dims[0],
                         (long long)k->shape.dims[0]);
    return MICA_STATUS_OK;
}

static mica_status infer_attention(const mica_graph *g, mica_node *n, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_node *q = mica_graph_node(g, n->inputs[IN_Q]);
    const mica_node *k = mica_graph_node(g, n->inputs[IN_K]);
    const mica_node *v = mica_graph_node(g, n->inputs[IN_V]);
    MICA_TRY(check_params(MICA_PARAMS(mica_attention_params, n), err));
    MICA_TRY(check_shapes(q, k, v, err));
    MICA_TRY(check_extras(g, n, q, k, err));
    n->dtype = q->dtype;
    n->shape = q->shape;
    n->live = q->live;
done:
    return st;
}

static float find_scale(const mica_attention_params *p, int64_t dim) {
    return p->scale != 0 ? p->scale : 1.0f / sqrtf((float)dim);
}

/* ---- in simpler ops ---- */

/* What position allows: bool [tq, tk]. */
static mica_array compose_causal(mica_graph *g, int64_t tq, int64_t tk, int64_t window) {
    mica_array i = mica_arange(g, MICA_DTYPE_I64, tq, (double)(tk - tq), 1);
    mica_array j = mica_arange(g, MICA_DTYPE_I64, tk, 0, 1);
    i = mica_reshape(g, i, 2, (int64_t[]){tq, 1});
    mica_array allowed = mica_binary(g, MICA_BINARY_LESS_EQUAL, j, i);
    if (!window) return allowed;
    mica_array low =
        mica_sub(g, i, mica_full(g, MICA_DTYPE_I64, 1, (int64_t[]){1}, (double)window));
    return mica_binary(g, MICA_BINARY_AND, allowed, mica_binary(g, MICA_BINARY_GREATER, j, low));
}

/* Softmax of scores [kv_heads, group, tq, tk] over the keys and the sink. */
static mica_array compose_weights(mica_graph *g, mica_array scores, mica_array sinks) {
    int64_t dims[4];
    for (int i = 0; i < 4; i++) dims[i] = mica_array_dim(g, scores, i);
    if (!sinks.node) return mica_softmax(g, scores);
    sinks = mica_cast(g, sinks, MICA_DTYPE_F32);
    sinks = mica_reshape(g, sinks, 4, (int64_t[]){dims[0], dims[1], 1, 1});
    sinks = mica_broadcast_to(g, sinks, 4, (int64_t[]){dims[0], dims[1], dims[2], 1});
    mica_array all = mica_softmax(g, mica_concat(g, (mica_array[]){scores, sinks}, 2, 3));
    return mica_slice_axis(g, all, 3, 0, dims[3], 1);
}

/* [t, heads, dim] as [kv_heads, group, t, dim] of f32. */
static mica_array split_heads(mica_graph *g, mica_array x, int64_t kv_heads) {
    int64_t t = mica_array_dim(g, x, 0), heads = mica_array_dim(g, x, 1);
    int64_t dims[4] = {t, kv_heads, heads / kv_heads, mica_array_dim(g, x, 2)};
    x = mica_reshape(g, mica_cast(g, x, MICA_DTYPE_F32), 4, dims);
    return mica_permute(g, x, (int[]){1, 2, 0, 3});
}

static mica_ref compose_attention(mica_graph *g, const mica_node *node) {
    mica_attention_params p = *MICA_PARAMS(mica_attention_params, node);
    mica_dtype dtype = (mica_dtype)node->dtype;
    mica_shape s = node->shape;
    mica_array in[N_INPUTS];
    mica_ref refs[N_INPUTS];
    for (int i = 0; i < N_INPUTS; i++) refs[i] = node->inputs[i];
    for (int i = 0; i < N_INPUTS; i++) in[i] = mica_array_of(g, refs[i]);
    int64_t kv_heads = mica_array_dim(g, in[IN_K], 1), tk = mica_array_dim(g, in[IN_K], 0);
    mica_array q = split_heads(g, in[IN_Q], kv_heads), k = split_heads(g, in[IN_K], kv_heads);
    mica_array scores = mica_matmul(g, q, mica_transpose(g, k));
    scores = mica_mul(g, scores, mica_scalar(g, find_scale(&p, s.dims[2])));
    if (p.soft_cap != 0) {
        mica_array cap = mica_scalar(g, p.soft_cap);
        scores = mica_mul(g, cap, mica_unary(g, MICA_UNARY_TANH, mica_div(g, scores, cap)));
    }
    mica_array none = mica_scalar(g, -INFINITY);
    if (in[IN_MASK].node) scores = mica_select(g, in[IN_MASK], scores, none);
    if (p.is_causal)
        scores = mica_select(g, compose_causal(g, s.dims[0], tk, p.window), scores, none);
    mica_array weights = compose_weights(g, scores, in[IN_SINKS]);
    mica_array out = mica_matmul(g, weights, split_heads(g, in[IN_V], kv_heads));
    out = mica_reshape(g, mica_permute(g, out, (int[]){2, 0, 1, 3}), 3, s.dims);
    return mica_array_ref(g, mica_cast(g, out, dtype), false);
}

/* ---- running ---- */

/* q, k, v and the result once; every query against every key, as if there were no mask. */
static void cost_attention(const mica_graph *g, const mica_node *n, mica_cost *out) {
    const mica_node *k = mica_graph_node(g, n->inputs[IN_K]);
    uint64_t q_count = (uint64_t)mica_shape_count(&n->shape);
    uint64_t k_count = (uint64_t)mica_shape_count(&k->shape);
    out->bytes = 2 * q_count * mica_dtype_bytes((mica_dtype)n->dtype) +
                 2 * k_count * mica_dtype_bytes((mica_dtype)k->dtype);
    out->flops = 4 * q_count * (uint64_t)k->shape.dims[0];
}

static mica_status launch_attention(mica_launch *l, const mica_node *n, mica_error *err) {
    const mica_attention_params *p = MICA_PARAMS(mica_attention_params, n);
    const mica_node *k = mica_graph_node(l->graph, n->inputs[IN_K]);
    mica_attention_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "the arguments of attention");
    mica_launch_read(l, &a->q, n->inputs[IN_Q], 0);
    mica_launch_read(l, &a->k, n->inputs[IN_K], 0);
    mica_launch_read(l, &a->v, n->inputs[IN_V], 0);
    mica_launch_read(l, &a->sinks, n->inputs[IN_SINKS], 0);
    mica_launch_read(l, &a->mask, n->inputs[IN_MASK], 0);
    mica_launch_write(l, &a->out, n, 0);
    mica_launch_live(l, &a->live, n);
    a->n_queries = n->shape.dims[0];
    a->n_keys = k->shape.dims[0];
    a->heads = n->shape.dims[1];
    a->kv_heads = k->shape.dims[1];
    a->dim = n->shape.dims[2];
    a->window = p->window;
    a->scale = find_scale(p, a->dim);
    a->soft_cap = p->soft_cap;
    a->is_causal = p->is_causal;
    a->dtype = n->dtype;
    a->kv_dtype = k->dtype;
    if (n->inputs[IN_SINKS]) a->sinks_dtype = mica_graph_node(l->graph, n->inputs[IN_SINKS])->dtype;
    int64_t tokens = mica_attention_block_tokens(a->heads / a->kv_heads);
    int64_t items = (a->n_queries + tokens - 1) / tokens * a->kv_heads + 1;
    l->step->grid[0] = items < UINT32_MAX ? (uint32_t)items : UINT32_MAX;
    l->step->grid[1] = l->step->grid[2] = 1;
    return MICA_STATUS_OK;
}

static size_t scratch_block(const mica_graph *g, const mica_node *n) {
    int64_t kv_heads = mica_graph_node(g, n->inputs[IN_K])->shape.dims[1];
    return mica_attention_block_bytes(n->shape.dims[1] / kv_heads, n->shape.dims[2]);
}

static size_t scratch_row(const mica_graph *g, const mica_node *n) {
    (void)g;
    return (size_t)n->shape.dims[2] * (sizeof(double) + sizeof(float));
}

static const mica_kernel kernels[] = {
#if defined(__x86_64__)
    {.name = "attention_avx512",
     .needs = MICA_CPU_AVX512,
     .scratch_bytes = scratch_block,
     .cpu = mica_attention_avx512},
    {.name = "attention_avx2",
     .needs = MICA_CPU_AVX2,
     .scratch_bytes = scratch_block,
     .cpu = mica_attention_avx2},
#elif defined(__aarch64__)
    {.name = "attention_neon",
     .needs = MICA_CPU_NEON,
     .scratch_bytes = scratch_block,
     .cpu = mica_attention_neon},
#endif
    {.name = "attention_ref", .scratch_bytes = scratch_row, .cpu = mica_attention_ref},
};

static const mica_param params[] = {
    {"window", MICA_PARAM_I64, offsetof(mica_attention_params, window)},
    {"scale", MICA_PARAM_F32, offsetof(mica_attention_params, scale)},
    {"soft_cap", MICA_PARAM_F32, offsetof(mica_attention_params, soft_cap)},
    {"causal", MICA_PARAM_BOOL, offsetof(mica_attention_params, is_causal)},
};

const mica_op mica_op_attention = {
    .name = "attention",
    .n_inputs_min = N_INPUTS,
    .n_inputs_max = N_INPUTS,
    .optional = 1 << IN_SINKS | 1 << IN_MASK,
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer_attention,
    .compose = compose_attention,
    .cost = cost_attention,
    .launch = launch_attention,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};
