/* combine: shape rule, composed meaning, cost, launch, variants, public function. */
#include "ops/combine/combine.h"
#include "base/error.h"
#include "core/op.h"
#include "mica/ops.h"
#include "ops/binary/binary.h"
#include "ops/cast/cast.h"
#include "ops/common/element.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"
#include "ops/reduce/reduce.h"
#include "ops/reshape/reshape.h"

enum { IN_X, IN_WEIGHTS, IN_RESIDUAL, N_INPUTS };

static bool has_residual(const mica_node *n) {
    return n->n_inputs > IN_RESIDUAL && n->inputs[IN_RESIDUAL];
}

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    char a[176], b[176];
    const mica_node *x = mica_rule_input(g, n, IN_X), *w = mica_rule_input(g, n, IN_WEIGHTS);
    bool fits = mica_dtype_is_small_float(x->dtype) && mica_dtype_is_small_float(w->dtype) &&
                x->shape.rank == 3 && w->shape.rank == 2 && w->shape.dims[0] == x->shape.dims[0] &&
                w->shape.dims[1] == x->shape.dims[1];
    if (!fits)
        return mica_fail(err, MICA_STATUS_INVALID,
                         "x %s%s and weights %s%s, expected f16, bf16 or f32 [t, s, n] and [t, s]",
                         mica_dtype_name((mica_dtype)x->dtype), mica_shape_format(&x->shape, a),
                         mica_dtype_name((mica_dtype)w->dtype), mica_shape_format(&w->shape, b));
    n->dtype = x->dtype;
    n->shape = (mica_shape){.rank = 2, .dims = {x->shape.dims[0], x->shape.dims[2]}};
    n->live = MICA_LIVE_ALL;
    mica_status st = mica_rule_live(g, n, IN_X, err);
    if (st == MICA_STATUS_OK) st = mica_rule_live(g, n, IN_WEIGHTS, err);
    return st == MICA_STATUS_OK ? mica_rule_residual(g, n, IN_RESIDUAL, err) : st;
}

static mica_ref add_cast(mica_graph *g, mica_ref x, int32_t dtype) {
    mica_cast_params p = {.dtype = dtype};
    return mica_graph_add(g, MICA_OP_cast, &x, 1, &p, sizeof p);
}

/* reduce_sum(x * weights[..., None]) over the slots, in f32; + residual. */
static mica_ref compose(mica_graph *g, const mica_node *n) {
    mica_ref x = n->inputs[IN_X], weights = n->inputs[IN_WEIGHTS];
    mica_ref residual = has_residual(n) ? n->inputs[IN_RESIDUAL] : 0;
    int32_t dtype = n->dtype;
    mica_shape column = mica_graph_node(g, weights)->shape;
    column.dims[column.rank++] = 1;
    mica_reshape_params reshape;
    mica_binary_params multiply = {.kind = MICA_BINARY_MUL};
    mica_reduce_params sum = {.kind = MICA_REDUCE_SUM, .axis = 1};
    if (mica_shape_params_pack(column.rank, column.dims, &reshape.shape, NULL) != MICA_STATUS_OK)
        return 0;
    weights = mica_graph_add(g, MICA_OP_reshape, &weights, 1, &reshape, sizeof reshape);
    mica_ref pair[2] = {add_cast(g, x, MICA_DTYPE_F32), add_cast(g, weights, MICA_DTYPE_F32)};
    mica_ref product = mica_graph_add(g, MICA_OP_binary, pair, 2, &multiply, sizeof multiply);
    mica_ref total = mica_graph_add(g, MICA_OP_reduce, &product, 1, &sum, sizeof sum);
    if (dtype != MICA_DTYPE_F32) total = add_cast(g, total, dtype);
    if (!residual) return total;
    mica_binary_params add = {.kind = MICA_BINARY_ADD};
    return mica_graph_add(g, MICA_OP_binary, (mica_ref[]){residual, total}, 2, &add, sizeof add);
}

static void cost(const mica_graph *g, const mica_node *n, mica_cost *out) {
    const mica_node *x = mica_rule_input(g, n, 0), *w = mica_rule_input(g, n, 1);
    uint64_t count = (uint64_t)mica_shape_count(&x->shape);
    out->bytes =
        count * mica_dtype_bytes((mica_dtype)x->dtype) +
        mica_part_bytes((mica_dtype)w->dtype, w->quant, &w->shape, 0) +
        mica_part_bytes((mica_dtype)n->dtype, n->quant, &n->shape, 0) * (has_residual(n) ? 2 : 1);
    out->flops = 2 * count;
}

static mica_status launch(mica_launch *l, const mica_node *n, mica_error *err) {
    const mica_node *x = mica_rule_input(l->graph, n, 0);
    mica_combine_args *args = mica_launch_args(l, sizeof *args);
    if (!args) return mica_fail_memory(err, sizeof *args, "arguments of combine");
    mica_launch_read(l, &args->x, n->inputs[0], 0);
    mica_launch_tensor(l, &args->weights, n->inputs[1]);
    if (has_residual(n)) mica_launch_read(l, &args->residual, n->inputs[IN_RESIDUAL], 0);
    mica_launch_write(l, &args->out, n, 0);
    mica_launch_live(l, &args->live, n);
    args->rows = x->shape.dims[0];
    args->slots = x->shape.dims[1];
    args->n = x->shape.dims[2];
    args->dtype = x->dtype;
    mica_launch_elements(l, mica_shape_count(&x->shape));
    return MICA_STATUS_OK;
}

static const mica_kernel kernels[] = {
#if defined(__x86_64__)
    {"combine_avx2", MICA_DEVICE_CPU, MICA_CPU_AVX2, NULL, NULL, mica_combine_avx2},
#elif defined(__aarch64__)
    {"combine_neon", MICA_DEVICE_CPU, MICA_CPU_NEON, NULL, NULL, mica_combine_neon},
#endif
    {"combine_ref", MICA_DEVICE_CPU, 0, NULL, NULL, mica_combine_ref},
};

const mica_op mica_op_combine = {
    .name = "combine",
    .n_inputs_min = IN_RESIDUAL,
    .n_inputs_max = N_INPUTS,
    .optional = 1 << IN_RESIDUAL,
    .strided = 1 << IN_WEIGHTS,
    .in_place = 1 << IN_RESIDUAL,
    .infer = infer,
    .compose = compose,
    .cost = cost,
    .launch = launch,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};

mica_array mica_combine(mica_graph *g, mica_array x, mica_array weights) {
    mica_array inputs[2] = {x, weights};
    return mica_array_add(g, MICA_OP_combine, inputs, 2, NULL, 0);
}
