/* Storing K and V in the pool: shape rule, cost, launch, variants. It has no composed meaning: it
 * changes memory that outlives the plan, which no simpler op does. */
#include "ops/kv_write/kv_write.h"
#include <string.h>
#include "base/error.h"
#include "ops/attention_paged/attention_paged.h"
#include "ops/common/launch_args.h"

enum {
    IN_POOL,
    IN_K,
    IN_V,
    IN_PAGE_TABLE,
    IN_POSITIONS,
    IN_TOKEN_SEQUENCE,
    IN_SEQUENCES,
    IN_AFTER,
    N_INPUTS, /* that models give; the rest is fused */
    IN_TABLE = N_INPUTS,
    IN_K_NORM,
    N_INPUTS_MAX
};

mica_ref mica_kv_write(mica_graph *g, const mica_kv_write_inputs *in,
                       const mica_kv_write_params *p) {
    mica_ref refs[N_INPUTS] = {
        [IN_POOL] = in->pool,
        [IN_K] = in->k,
        [IN_V] = in->v,
        [IN_PAGE_TABLE] = in->page_table,
        [IN_POSITIONS] = in->positions,
        [IN_TOKEN_SEQUENCE] = in->token_sequence,
        [IN_SEQUENCES] = in->sequences,
        [IN_AFTER] = in->after,
    };
    return mica_graph_add(g, MICA_OP_kv_write, refs, N_INPUTS, p, sizeof *p);
}

static mica_status infer_kv_write(const mica_graph *g, mica_node *n, mica_error *err) {
    const mica_kv_write_params *p = MICA_PARAMS(mica_kv_write_params, n);
    const mica_node *pool = mica_graph_node(g, n->inputs[IN_POOL]);
    n->dtype = pool->dtype;
    n->shape = pool->shape;
    mica_status st = mica_rule_paged(g, n, n->inputs[IN_POOL], IN_K, p->layer, err);
    if (st != MICA_STATUS_OK) return st;
    const mica_shape *k = &mica_graph_node(g, n->inputs[IN_K])->shape;
    return mica_rule_paged_turn(g, n->inputs[IN_TABLE], n->inputs[IN_K_NORM], k->dims[0],
                                k->dims[2], err);
}

/* K and V read as f32 and written as the pool holds them; nothing else of the pool is touched. */
static void cost_kv_write(const mica_graph *g, const mica_node *n, mica_cost *out) {
    uint64_t count = 2 * (uint64_t)mica_shape_count(&mica_graph_node(g, n->inputs[IN_K])->shape);
    out->bytes = count * (sizeof(float) + mica_dtype_bytes((mica_dtype)n->dtype));
    out->flops = 0;
}

static mica_status launch_kv_write(mica_launch *l, const mica_node *n, mica_error *err) {
    const mica_node *k = mica_graph_node(l->graph, n->inputs[IN_K]);
    const mica_node *table = mica_graph_node(l->graph, n->inputs[IN_PAGE_TABLE]);
    const mica_kv_write_params *p = MICA_PARAMS(mica_kv_write_params, n);
    mica_kv_write_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "the arguments of kv_write");
    mica_launch_update(l, &a->pool, n->inputs[IN_POOL], 0);
    mica_launch_read(l, &a->k, n->inputs[IN_K], 0);
    mica_launch_read(l, &a->v, n->inputs[IN_V], 0);
    mica_launch_read(l, &a->page_table, n->inputs[IN_PAGE_TABLE], 0);
    mica_launch_read(l, &a->positions, n->inputs[IN_POSITIONS], 0);
    mica_launch_read(l, &a->token_sequence, n->inputs[IN_TOKEN_SEQUENCE], 0);
    mica_launch_read(l, &a->sequences, n->inputs[IN_SEQUENCES], 0);
    mica_launch_count(l, &a->live, (mica_live)k->live);
    memcpy(a->k_strides, k->strides, sizeof a->k_strides);
    memcpy(a->v_strides, mica_graph_node(l->graph, n->inputs[IN_V])->strides, sizeof a->v_strides);
    mica_launch_paged_turn(l, &a->k_turn, n->inputs[IN_TABLE], n->inputs[IN_K_NORM], p->eps,
                           p->offset);
    a->n_tokens = k->shape.dims[0];
    a->kv_heads = k->shape.dims[1];
    a->dim = k->shape.dims[2];
    a->n_sequences = table->shape.dims[0];
    a->table_width = table->shape.dims[1];
    a->n_pages = n->shape.dims[0];
    a->n_layers = n->shape.dims[1];
    a->layer = p->layer;
    a->pool_dtype = n->dtype;
    mica_launch_elements(l, 2 * mica_shape_count(&k->shape));
    return MICA_STATUS_OK;
}

static size_t scratch_row(const mica_graph *g, const mica_node *n) {
    return (size_t)mica_graph_node(g, n->inputs[IN_K])->shape.dims[2] * sizeof(float);
}

static const mica_kernel kernels[] = {
#if defined(__x86_64__)
    {.name = "kv_write_avx512",
     .needs = MICA_CPU_AVX512,
     .scratch_bytes = scratch_row,
     .cpu = mica_kv_write_avx512},
    {.name = "kv_write_avx2",
     .needs = MICA_CPU_AVX2,
     .scratch_bytes = scratch_row,
     .cpu = mica_kv_write_avx2},
#elif defined(__aarch64__)
    {.name = "kv_write_neon",
     .needs = MICA_CPU_NEON,
     .scratch_bytes = scratch_row,
     .cpu = mica_kv_write_neon},
#endif
    {.name = "kv_write_ref", .scratch_bytes = scratch_row, .cpu = mica_kv_write_ref},
};

static const mica_param params[] = {
    {"layer", MICA_PARAM_I32, offsetof(mica_kv_write_params, layer)},
    {"eps", MICA_PARAM_F32, offsetof(mica_kv_write_params, eps)},
    {"offset", MICA_PARAM_F32, offsetof(mica_kv_write_params, offset)},
};

const mica_op mica_op_kv_write = {
    .name = "kv_write",
    .n_inputs_min = N_INPUTS,
    .n_inputs_max = N_INPUTS_MAX,
    .flags = MICA_OP_IS_EFFECT,
    .optional = 1 << IN_AFTER | 1 << IN_TABLE | 1 << IN_K_NORM,
    .strided = 1 << IN_K | 1 << IN_V,
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer_kv_write,
    .cost = cost_kv_write,
    .launch = launch_kv_write,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};
