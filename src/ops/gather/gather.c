/* gather: shape rule, launch, public function. */
#include "ops/gather/gather.h"
#include <stddef.h>
#include <string.h>
#include "base/error.h"
#include "core/op.h"
#include "kernel/quant_block.h"
#include "mica/ops.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    char a[176], b[176];
    const mica_node *x = mica_rule_input(g, n, 0), *ids = mica_rule_input(g, n, 1);
    int32_t dtype = MICA_PARAMS(mica_gather_params, n)->dtype;
    int64_t dims[2 * MICA_RANK_MAX];
    int rank = ids->shape.rank;
    mica_status st = MICA_STATUS_OK;
    if (dtype == MICA_DTYPE_NONE) dtype = x->dtype;
    MICA_REQUIRE(ids->dtype == MICA_DTYPE_I32 && x->shape.rank >= 1, MICA_STATUS_INVALID,
                 "x %s and ids %s%s, expected i32 ids of rows", mica_shape_format(&x->shape, a),
                 mica_dtype_name((mica_dtype)ids->dtype), mica_shape_format(&ids->shape, b));
    MICA_REQUIRE(mica_dtype_bytes((mica_dtype)dtype) > 0, MICA_STATUS_INVALID, "%d is not a dtype",
                 (int)dtype);
    MICA_REQUIRE(!x->quant.mode || (mica_dtype_is_float((mica_dtype)dtype) && x->shape.rank >= 2),
                 MICA_STATUS_INVALID, "quantised x %s as %s, expected rows and a float dtype",
                 mica_shape_format(&x->shape, a), mica_dtype_name((mica_dtype)dtype));
    memcpy(dims, ids->shape.dims, sizeof ids->shape.dims);
    for (int i = 1; i < x->shape.rank; i++) dims[rank++] = x->shape.dims[i];
    MICA_REQUIRE(mica_shape_make(rank, dims, &n->shape), MICA_STATUS_INVALID,
                 "rows of %s by ids %s: the result gets too large", mica_shape_format(&x->shape, a),
                 mica_shape_format(&ids->shape, b));
    n->dtype = (uint8_t)dtype;
    n->live = ids->live;
done:
    return st;
}

/* Elements of one row of x. */
static int64_t row_elements(const mica_node *x) {
    int64_t count = 1;
    for (int i = 1; i < x->shape.rank; i++) count *= x->shape.dims[i];
    return count;
}

static void cost(const mica_graph *g, const mica_node *n, mica_cost *out) {
    const mica_node *x = mica_rule_input(g, n, 0), *ids = mica_rule_input(g, n, 1);
    uint64_t n_ids = (uint64_t)mica_shape_count(&ids->shape), row_bytes = 0;
    mica_shape row = {.rank = 1, .dims = {row_elements(x)}};
    for (int part = 0; part < mica_quant_parts(x->quant); part++)
        row_bytes += mica_part_bytes((mica_dtype)x->dtype, x->quant, &row, part);
    out->bytes =
        n_ids * (4 + row_bytes) + mica_part_bytes((mica_dtype)n->dtype, n->quant, &n->shape, 0);
    out->flops = 0;
}

/* Whether the axes after the first lie row-major without gaps. */
static bool has_packed_rows(const mica_node *x) {
    int64_t stride = 1;
    for (int i = x->shape.rank - 1; i > 0; i--) {
        if (x->shape.dims[i] != 1 && x->strides[i] != stride) return false;
        stride *= x->shape.dims[i];
    }
    return true;
}

static uint8_t scale_kind(mica_quant q) {
    switch (q.scale_dtype) {
    case MICA_DTYPE_F32:
        return MICA_KIND_F32;
    case MICA_DTYPE_F16:
        return MICA_KIND_F16;
    case MICA_DTYPE_BF16:
        return MICA_KIND_BF16;
    default:
        return MICA_KIND_U8;
    }
}

static mica_status launch(mica_launch *l, const mica_node *n, mica_error *err) {
    const mica_node *x = mica_rule_input(l->graph, n, 0), *ids = mica_rule_input(l->graph, n, 1);
    mica_gather_args *args = mica_launch_args(l, sizeof *args);
    if (!args) return mica_fail_memory(err, sizeof *args, "arguments of gather");
    mica_launch_tensor(l, &args->x, n->inputs[0]);
    mica_launch_tensor(l, &args->ids, n->inputs[1]);
    if (x->quant.mode) {
        args->quant_mode = x->quant.mode;
        args->quant_bits = x->quant.bits;
        args->quant_group = x->quant.group;
        args->quant_scale_kind = scale_kind(x->quant);
        mica_launch_read(l, &args->scales, n->inputs[0], 1);
        if (mica_quant_parts(x->quant) > 2) mica_launch_read(l, &args->biases, n->inputs[0], 2);
    }
    args->row_elements = row_elements(x);
    args->is_packed = has_packed_rows(x);
    args->dtype_out = n->dtype;
    mica_launch_rows(&ids->shape, &args->rows, &args->row);
    mica_launch_write(l, &args->out, n, 0);
    mica_launch_live(l, &args->live, n);
    mica_launch_elements(l, mica_shape_count(&n->shape));
    return MICA_STATUS_OK;
}

static size_t scratch_bytes(const mica_graph *g, const mica_node *n) {
    const mica_node *x = mica_rule_input(g, n, 0);
    if (!x->quant.mode || n->dtype == MICA_DTYPE_F32) return 0;
    return (size_t)x->shape.dims[x->shape.rank - 1] * sizeof(float);
}

static const mica_kernel kernels[] = {
    {"gather_ref", MICA_DEVICE_CPU, 0, NULL, scratch_bytes, mica_gather_ref},
};

static const mica_param params[] = {{"dtype", MICA_PARAM_I32, offsetof(mica_gather_params, dtype)}};

const mica_op mica_op_gather = {
    .name = "gather",
    .n_inputs_min = 2,
    .n_inputs_max = 2,
    .strided = 3,
    .quantized = 1,
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer,
    .cost = cost,
    .launch = launch,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};

mica_array mica_gather(mica_graph *g, mica_array x, mica_array ids, mica_dtype dtype) {
    mica_gather_params p = {.dtype = (int32_t)dtype};
    mica_array inputs[2] = {x, ids};
    return mica_array_add(g, MICA_OP_gather, inputs, 2, &p, sizeof p);
}
