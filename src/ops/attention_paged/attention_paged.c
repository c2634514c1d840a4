/* Paged attention: shape rule, cost, launch, variants. It has no composed meaning: which pages a
 * token reads is in the batch arrays, not in shapes, and no simpler op follows a page table; its
 * oracle is `attention` over the same keys laid out flat (attention_paged_test.c). */
#include "ops/attention_paged/attention_paged.h"
#include <math.h>
#include <string.h>
#include "base/error.h"
#include "ops/attention/attention_block.h"
#include "ops/common/element.h"

static_assert(MICA_KV_PAGE == MICA_ATTENTION_PAGE, "attention walks the cache's pages");

#define PARTS_TOKENS_MAX 8
#define PARTS_BYTES_MAX (16 << 20)

enum {
    IN_Q,
    IN_K,
    IN_V,
    IN_PAGE_TABLE,
    IN_POSITIONS,
    IN_TOKEN_SEQUENCE,
    IN_SEQUENCES,
    IN_POOL,
    IN_SINKS,
    N_INPUTS, /* that models give; the rest is fused */
    IN_TABLE = N_INPUTS,
    IN_Q_NORM,
    IN_K_NORM,
    N_INPUTS_MAX
};

mica_ref mica_attention_paged(mica_graph *g, const mica_attention_paged_inputs *in,
                              const mica_attention_paged_params *p) {
    mica_ref refs[N_INPUTS] = {
        [IN_Q] = in->q,
        [IN_K] = in->k,
        [IN_V] = in->v,
        [IN_PAGE_TABLE] = in->page_table,
        [IN_POSITIONS] = in->positions,
        [IN_TOKEN_SEQUENCE] = in->token_sequence,
        [IN_SEQUENCES] = in->sequences,
        [IN_POOL] = in->pool,
        [IN_SINKS] = in->sinks,
    };
    return mica_graph_add(g, MICA_OP_attention_paged, refs, N_INPUTS, p, sizeof *p);
}

/* ---- shape rules ---- */

static mica_status check_rows(const mica_graph *g, const mica_ref *in, const mica_node *pool,
                              mica_error *err) {
    const mica_node *k = mica_graph_node(g, in[0]), *v = mica_graph_node(g, in[1]);
    char ks[176], vs[176], ps[176];
    const int64_t *p = pool->shape.dims;
    bool fits = k->shape.rank == 3 && mica_shape_equal(&k->shape, &v->shape) &&
                pool->shape.rank == 6 && p[2] == 2 && p[3] == k->shape.dims[1] && p[3] >= 1 &&
                p[4] == MICA_KV_PAGE && p[5] == k->shape.dims[2] && p[5] >= 1;
    if (!fits || k->dtype != MICA_DTYPE_F32 || v->dtype != MICA_DTYPE_F32)
        return mica_fail(err, MICA_STATUS_INVALID,
                         "k %s, v %s, pool %s, wanted f32 [t, kv_heads, dim] twice and "
                         "[pages, layers, 2, kv_heads, %d, dim]",
                         mica_shape_format(&k->shape, ks), mica_shape_format(&v->shape, vs),
                         mica_shape_format(&pool->shape, ps), MICA_KV_PAGE);
    if (pool->dtype != MICA_DTYPE_F32 && pool->dtype != MICA_DTYPE_BF16)
        return mica_fail(err, MICA_STATUS_INVALID, "a pool of %s, wanted f32 or bf16",
                         mica_dtype_name((mica_dtype)pool->dtype));
    return MICA_STATUS_OK;
}

mica_status mica_rule_paged(const mica_graph *g, const mica_node *n, mica_ref pool_ref, int first,
                            int32_t layer, mica_error *err) {
    const mica_ref *in = n->inputs + first;
    const mica_node *pool = mica_graph_node(g, pool_ref);
    mica_status st = check_rows(g, in, pool, err);
    if (st != MICA_STATUS_OK) return st;
    const mica_node *batch[4];
    char text[4][176];
    for (int i = 0; i < 4; i++) {
        batch[i] = mica_graph_node(g, in[2 + i]);
        mica_shape_format(&batch[i]->shape, text[i]);
        if (batch[i]->dtype != MICA_DTYPE_I32)
            return mica_fail(err, MICA_STATUS_INVALID, "a batch array of %s, wanted i32",
                             mica_dtype_name((mica_dtype)batch[i]->dtype));
    }
    const mica_shape *table = &batch[0]->shape, *positions = &batch[1]->shape;
    const mica_shape *owners = &batch[2]->shape, *sequences = &batch[3]->shape;
    int64_t t = mica_graph_node(g, in[0])->shape.dims[0];
    if (table->rank != 2 || table->dims[1] < 1 || positions->rank != 1 || positions->dims[0] != t ||
        owners->rank != 1 || owners->dims[0] != t || sequences->rank != 2 ||
        sequences->dims[0] != table->dims[0] || sequences->dims[1] != MICA_SEQUENCE_FIELDS)
        return mica_fail(err, MICA_STATUS_INVALID,
                         "page table %s, positions %s, token sequence %s, sequences %s, wanted "
                         "[s, width], [%lld] twice, [s, %d]",
                         text[0], text[1], text[2], text[3], (long long)t, MICA_SEQUENCE_FIELDS);
    if (layer < 0 || layer >= pool->shape.dims[1])
        return mica_fail(err, MICA_STATUS_INVALID, "layer %d of a pool of %lld", (int)layer,
                         (long long)pool->shape.dims[1]);
    return MICA_STATUS_OK;
}

static mica_status check_query(const mica_graph *g, const mica_node *n, mica_error *err) {
    const mica_node *q = mica_graph_node(g, n->inputs[IN_Q]);
    const mica_node *k = mica_graph_node(g, n->inputs[IN_K]);
    const mica_node *sinks = mica_graph_node(g, n->inputs[IN_SINKS]);
    const int64_t *qd = q->shape.dims, *kd = k->shape.dims;
    char qs[176], ks[176];
    if (q->dtype != MICA_DTYPE_F32 || q->shape.rank != 3 || qd[0] != kd[0] || qd[2] != kd[2] ||
        qd[1] < 1 || qd[1] % kd[1])
        return mica_fail(err, MICA_STATUS_INVALID,
                         "q %s and k %s, wanted f32, equal but for the heads, a multiple",
                         mica_shape_format(&q->shape, qs), mica_shape_format(&k->shape, ks));
    if (n->inputs[IN_SINKS] && (!mica_dtype_is_small_float(sinks->dtype) ||
                                sinks->shape.rank != 1 || sinks->shape.dims[0] != qd[1]))
        return mica_fail(err, MICA_STATUS_INVALID, "sinks are %s %s, wanted floats [%lld]",
                         mica_dtype_name((mica_dtype)sinks->dtype),
                         mica_shape_format(&sinks->shape, qs), (long long)qd[1]);
    return MICA_STATUS_OK;
}

static mica_status infer_attention_paged(const mica_graph *g, mica_node *n, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_attention_paged_params *p = MICA_PARAMS(mica_attention_paged_params, n);
    MICA_REQUIRE(isfinite(p->scale) && isfinite(p->soft_cap) && p->soft_cap >= 0 && p->window >= 0,
                 MICA_STATUS_INVALID, "scale %g, soft cap %g, window %lld", (double)p->scale,
                 (double)p->soft_cap, (long long)p->window);
    MICA_TRY(mica_rule_paged(g, n, n->inputs[IN_POOL], IN_K, p->layer, err));
    MICA_TRY(check_query(g, n, err));
    const mica_node *q = mica_graph_node(g, n->inputs[IN_Q]);
    for (int i = IN_Q_NORM; i <= IN_K_NORM; i++)
        MICA_TRY(mica_rule_paged_turn(g, n->inputs[IN_TABLE], n->inputs[i], q->shape.dims[0],
                                      q->shape.dims[2], err));
    n->dtype = MICA_DTYPE_F32;
    n->shape = q->shape;
    n->live = q->live;
done:
    return st;
}

/* ---- running ---- */

/* q, k, v and the result once, and every token of the batch against every other. What lies in the
 * pool is not counted: the plan is built for capacities, and how much history a run reads is known
 * only to the batch. */
static void cost_attention_paged(const mica_graph *g, const mica_node *n, mica_cost *out) {
    uint64_t q_count = (uint64_t)mica_shape_count(&n->shape);
    uint64_t k_count = (uint64_t)mica_shape_count(&mica_graph_node(g, n->inputs[IN_K])->shape);
    out->bytes = 2 * (q_count + k_count) * sizeof(float);
    out->flops = 4 * q_count * (uint64_t)n->shape.dims[0];
}

static void launch_operands(mica_launch *l, mica_attention_paged_args *a, const mica_node *n) {
    mica_launch_read(l, &a->q, n->inputs[IN_Q], 0);
    mica_launch_read(l, &a->k, n->inputs[IN_K], 0);
    mica_launch_read(l, &a->v, n->inputs[IN_V], 0);
    mica_launch_read(l, &a->pool, n->inputs[IN_POOL], 0);
    mica_launch_read(l, &a->page_table, n->inputs[IN_PAGE_TABLE], 0);
    mica_launch_read(l, &a->sequences, n->inputs[IN_SEQUENCES], 0);
    mica_launch_read(l, &a->sinks, n->inputs[IN_SINKS], 0);
    mica_launch_write(l, &a->out, n, 0);
    mica_launch_live(l, &a->live, n);
}

/* Room for the sums of ranges of a few tokens: with many there are blocks enough for all workers. A
 * batch that needs more than there is does without. */
static uint64_t count_parts_bytes(const mica_node *n, const mica_attention_paged_params *p,
                                  int64_t table_width) {
    int64_t tokens = n->shape.dims[0] < PARTS_TOKENS_MAX ? n->shape.dims[0] : PARTS_TOKENS_MAX;
    int64_t row = mica_attention_sums_floats(n->shape.dims[2]) * (int64_t)sizeof(float);
    int64_t length = mica_attention_range_pages(p->window);
    int64_t ranges = length < table_width ? (table_width - 1) / length + 2 : 1;
    if (ranges == 1) return 0;
    int64_t rows_max = PARTS_BYTES_MAX / row / n->shape.dims[1], rows = tokens * ranges;
    return (uint64_t)((rows < rows_max ? rows : rows_max) * n->shape.dims[1] * row);
}

static void copy_strides(int64_t out[3], const mica_launch *l, mica_ref ref) {
    memcpy(out, mica_graph_node(l->graph, ref)->strides, 3 * sizeof *out);
}

static mica_status launch_attention_paged(mica_launch *l, const mica_node *n, mica_error *err) {
    const mica_attention_paged_params *p = MICA_PARAMS(mica_attention_paged_params, n);
    const mica_node *pool = mica_graph_node(l->graph, n->inputs[IN_POOL]);
    const mica_node *table = mica_graph_node(l->graph, n->inputs[IN_PAGE_TABLE]);
    mica_attention_paged_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "the arguments of attention_paged");
    launch_operands(l, a, n);
    mica_launch_paged_turn(l, &a->q_turn, n->inputs[IN_TABLE], n->inputs[IN_Q_NORM], p->eps,
                           p->offset);
    mica_launch_paged_turn(l, &a->k_turn, n->inputs[IN_TABLE], n->inputs[IN_K_NORM], p->eps,
                           p->offset);
    a->parts_bytes = count_parts_bytes(n, p, table->shape.dims[1]);
    mica_launch_shared(l, &a->parts, a->parts_bytes);
    a->n_tokens = n->shape.dims[0];
    a->heads = n->shape.dims[1];
    a->dim = n->shape.dims[2];
    copy_strides(a->q_strides, l, n->inputs[IN_Q]);
    copy_strides(a->k_strides, l, n->inputs[IN_K]);
    copy_strides(a->v_strides, l, n->inputs[IN_V]);
    a->n_pages = pool->shape.dims[0];
    a->n_layers = pool->shape.dims[1];
    a->kv_heads = pool->shape.dims[3];
    a->n_sequences = table->shape.dims[0];
    a->table_width = table->shape.dims[1];
    a->window = p->window;
    a->layer = p->layer;
    a->pool_dtype = pool->dtype;
    a->scale = p->scale != 0 ? p->scale : 1.0f / sqrtf((float)a->dim);
    a->soft_cap = p->soft_cap;
    if (n->inputs[IN_SINKS]) a->sinks_dtype = mica_graph_node(l->graph, n->inputs[IN_SINKS])->dtype;
    int64_t items = a->n_tokens * a->kv_heads + 1;
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
    return (size_t)n->shape.dims[2] * (sizeof(double) + 3 * sizeof(float));
}

static const mica_kernel kernels[] = {
#if defined(__x86_64__)
    {.name = "attention_paged_avx512",
     .needs = MICA_CPU_AVX512,
     .scratch_bytes = scratch_block,
     .cpu = mica_attention_paged_avx512},
    {.name = "attention_paged_avx2",
     .needs = MICA_CPU_AVX2,
     .scratch_bytes = scratch_block,
     .cpu = mica_attention_paged_avx2},
#elif defined(__aarch64__)
    {.name = "attention_paged_neon",
     .needs = MICA_CPU_NEON,
     .scratch_bytes = scratch_block,
     .cpu = mica_attention_paged_neon},
#endif
    {.name = "attention_paged_ref", .scratch_bytes = scratch_row, .cpu = mica_attention_paged_ref},
};

static const mica_param params[] = {
    {"window", MICA_PARAM_I64, offsetof(mica_attention_paged_params, window)},
    {"layer", MICA_PARAM_I32, offsetof(mica_attention_paged_params, layer)},
    {"scale", MICA_PARAM_F32, offsetof(mica_attention_paged_params, scale)},
    {"soft_cap", MICA_PARAM_F32, offsetof(mica_attention_paged_params, soft_cap)},
    {"eps", MICA_PARAM_F32, offsetof(mica_attention_paged_params, eps)},
    {"offset", MICA_PARAM_F32, offsetof(mica_attention_paged_params, offset)},
};

const mica_op mica_op_attention_paged = {
    .name = "attention_paged",
    .n_inputs_min = N_INPUTS,
    .n_inputs_max = N_INPUTS_MAX,
    .flags = MICA_OP_IS_SHARED,
    .optional = 1 << IN_SINKS | 1 << IN_TABLE | 1 << IN_Q_NORM | 1 << IN_K_NORM,
    .strided = 1 << IN_Q | 1 << IN_K | 1 << IN_V,
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer_attention_paged,
    .cost = cost_attention_paged,
    .launch = launch_attention_paged,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};
