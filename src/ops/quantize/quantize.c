/* quantize: floats to codes, scales and biases, which lie behind each other in one array. */
#include "ops/quantize/quantize.h"
#include "base/error.h"
#include "mica/ops.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"
#include "ops/linear/linear_operands.h"

typedef struct params {
    int32_t mode;
    int32_t bits;
    int32_t group;
    int32_t scale_dtype;
} params;

mica_array mica_quantize(mica_graph *g, mica_array x, mica_quant quant) {
    params p = {quant.mode, quant.bits, quant.group, quant.scale_dtype};
    return mica_array_add(g, MICA_OP_quantize, &x, 1, &p, sizeof p);
}

/* Parameters may come from IR text: any number. */
static bool read_quant(const params *p, mica_quant *out) {
    if (p->mode < 1 || p->mode > UINT8_MAX || p->bits < 1 || p->bits > 8 || p->group < 1 ||
        p->group > UINT16_MAX || p->scale_dtype < 0 || p->scale_dtype >= MICA_DTYPE_COUNT_)
        return false;
    *out = (mica_quant){(uint8_t)p->mode, (uint8_t)p->bits, (uint16_t)p->group,
                        (uint8_t)p->scale_dtype};
    return out->mode != MICA_QUANT_NVFP4_SCALED && mica_quant_is_valid(*out);
}

static mica_status quantize_infer(const mica_graph *g, mica_node *n, mica_error *err) {
    char text[176];
    const mica_node *x = mica_rule_input(g, n, 0);
    const params *p = MICA_PARAMS(params, n);
    mica_quant quant;
    if (!read_quant(p, &quant))
        return mica_fail(err, MICA_STATUS_INVALID, "no format has mode %d, %d bits, groups of %d",
                         p->mode, p->bits, p->group);
    if (mica_linear_kind(x->dtype) == MICA_KIND_U8)
        return mica_fail(err, MICA_STATUS_INVALID, "x of %s, expected f32, f16 or bf16",
                         mica_dtype_name((mica_dtype)x->dtype));
    if (x->shape.rank < 1 || x->shape.dims[x->shape.rank - 1] % quant.group != 0)
        return mica_fail(err, MICA_STATUS_INVALID, "the last axis of %s is not in groups of %d",
                         mica_shape_format(&x->shape, text), quant.group);
    n->dtype = x->dtype;
    n->quant = quant;
    n->shape = x->shape;
    n->live = x->live;
    return MICA_STATUS_OK;
}

static mica_status quantize_launch(mica_launch *l, const mica_node *n, mica_error *err) {
    mica_quantize_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "quantize arguments");
    int parts = mica_quant_parts(n->quant);
    mica_launch_read(l, &a->x, n->inputs[0], 0);
    mica_launch_write(l, &a->codes, n, 0);
    if (parts > 1) mica_launch_write(l, &a->scales, n, 1);
    if (parts > 2) mica_launch_write(l, &a->biases, n, 2);
    mica_launch_live(l, &a->live, n);
    a->rows = n->shape.rank > 1 ? n->shape.dims[0] : 1;
    a->row = a->rows ? mica_shape_count(&n->shape) / a->rows : 0;
    a->quant = mica_linear_quant(n->quant);
    a->x_kind = (uint8_t)mica_linear_kind(n->dtype);
    mica_launch_elements(l, mica_shape_count(&n->shape));
    return MICA_STATUS_OK;
}

static const mica_param quantize_params[] = {
    {"mode", MICA_PARAM_I32, 0},
    {"bits", MICA_PARAM_I32, 4},
    {"group", MICA_PARAM_I32, 8},
    {"scale_dtype", MICA_PARAM_I32, 12},
};

static const mica_kernel quantize_kernels[] = {
    {"quantize_ref", MICA_DEVICE_CPU, 0, NULL, NULL, mica_quantize_ref},
};

const mica_op mica_op_quantize = {
    .name = "quantize",
    .n_inputs_min = 1,
    .n_inputs_max = 1,
    .params = quantize_params,
    .n_params = sizeof quantize_params / sizeof quantize_params[0],
    .infer = quantize_infer,
    .launch = quantize_launch,
    .kernels = quantize_kernels,
    .n_kernels = 1,
};
