/* dequantize: the values of a quantised array as plain floats. */
#include "ops/dequantize/dequantize.h"
#include "base/error.h"
#include "mica/ops.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"
#include "ops/linear/linear_operands.h"

typedef struct params {
    int32_t dtype;
} params;

mica_array mica_dequantize(mica_graph *g, mica_array x, mica_dtype dtype) {
    params p = {(int32_t)dtype};
    return mica_array_add(g, MICA_OP_dequantize, &x, 1, &p, sizeof p);
}

static mica_status dequantize_infer(const mica_graph *g, mica_node *n, mica_error *err) {
    const mica_node *x = mica_rule_input(g, n, 0);
    int32_t dtype = MICA_PARAMS(params, n)->dtype;
    if (dtype < 0 || dtype >= MICA_DTYPE_COUNT_ || mica_linear_kind(dtype) == MICA_KIND_U8)
        return mica_fail(err, MICA_STATUS_INVALID, "to dtype %d, expected f32, f16 or bf16", dtype);
    if (x->quant.mode == MICA_QUANT_NONE)
        return mica_fail(err, MICA_STATUS_INVALID, "x is plain %s, expected a quantised array",
                         mica_dtype_name((mica_dtype)x->dtype));
    n->dtype = (uint8_t)dtype;
    n->quant = (mica_quant){0};
    n->shape = x->shape;
    n->live = x->live;
    return MICA_STATUS_OK;
}

static mica_status dequantize_launch(mica_launch *l, const mica_node *n, mica_error *err) {
    const mica_node *x = mica_rule_input(l->graph, n, 0);
    mica_dequantize_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "dequantize arguments");
    int parts = mica_quant_parts(x->quant);
    mica_launch_read(l, &a->codes, n->inputs[0], 0);
    if (parts > 1) mica_launch_read(l, &a->scales, n->inputs[0], 1);
    if (parts > 2) mica_launch_read(l, &a->biases, n->inputs[0], 2);
    mica_launch_write(l, &a->out, n, 0);
    mica_launch_live(l, &a->live, n);
    a->rows = x->shape.rank > 1 ? x->shape.dims[0] : 1;
    a->k = x->shape.rank ? x->shape.dims[x->shape.rank - 1] : 0;
    int64_t each = a->rows * a->k;
    a->rows_each = each ? mica_shape_count(&x->shape) / each : 0;
    a->matrix_rows = x->shape.rank > 1 ? x->shape.dims[x->shape.rank - 2] : 1;
    a->quant = mica_linear_quant(x->quant);
    a->out_kind = (uint8_t)mica_linear_kind(n->dtype);
    mica_launch_elements(l, mica_shape_count(&x->shape));
    return MICA_STATUS_OK;
}

static const mica_param dequantize_params[] = {{"dtype", MICA_PARAM_I32, 0}};

static const mica_kernel dequantize_kernels[] = {
    {"dequantize_ref", MICA_DEVICE_CPU, 0, NULL, NULL, mica_dequantize_ref},
};

const mica_op mica_op_dequantize = {
    .name = "dequantize",
    .n_inputs_min = 1,
    .n_inputs_max = 1,
    .quantized = 1,
    .params = dequantize_params,
    .n_params = 1,
    .infer = dequantize_infer,
    .launch = dequantize_launch,
    .kernels = dequantize_kernels,
    .n_kernels = 1,
};
