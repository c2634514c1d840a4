/* reduce: shape rule, launch, public function. */
#include "ops/reduce/reduce.h"
#include <stddef.h>
#include "base/error.h"
#include "core/op.h"
#include "mica/ops.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"

static bool takes_dtype(int kind, mica_dtype dtype) {
    if (kind == MICA_REDUCE_MEAN) return mica_dtype_is_float(dtype);
    if (kind == MICA_REDUCE_SUM || kind == MICA_REDUCE_PROD) return dtype != MICA_DTYPE_BOOL;
    return true;
}

static mica_status check(const mica_node *n, const mica_node *x, int axis, mica_error *err) {
    char text[176];
    int kind = MICA_PARAMS(mica_reduce_params, n)->kind;
    mica_status st = MICA_STATUS_OK;
    MICA_REQUIRE(kind >= 0 && kind < MICA_REDUCE_COUNT_, MICA_STATUS_INVALID, "%d is not a kind",
                 kind);
    MICA_REQUIRE(takes_dtype(kind, (mica_dtype)x->dtype), MICA_STATUS_INVALID,
                 "kind %d does not take %s%s", kind, mica_dtype_name((mica_dtype)x->dtype),
                 mica_shape_format(&x->shape, text));
    bool needs_one =
        kind == MICA_REDUCE_MAX || kind == MICA_REDUCE_MIN || kind == MICA_REDUCE_ARGMAX;
    MICA_REQUIRE(!needs_one || x->shape.dims[axis] > 0, MICA_STATUS_INVALID,
                 "no largest or smallest on the empty axis %d of %s", axis,
                 mica_shape_format(&x->shape, text));
    MICA_REQUIRE(kind != MICA_REDUCE_ARGMAX || x->shape.dims[axis] <= INT32_MAX,
                 MICA_STATUS_INVALID, "axis %d of %s is too long for i32 indices", axis,
                 mica_shape_format(&x->shape, text));
    MICA_REQUIRE(x->live == MICA_LIVE_ALL || axis > 0, MICA_STATUS_INVALID,
                 "axis 0 of %s is live and cannot be reduced", mica_shape_format(&x->shape, text));
done:
    return st;
}

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    const mica_reduce_params *p = MICA_PARAMS(mica_reduce_params, n);
    const mica_node *x = mica_rule_input(g, n, 0);
    int axis = 0;
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(mica_rule_axis(p->axis, &x->shape, &axis, err));
    MICA_TRY(check(n, x, axis, err));
    n->shape = (mica_shape){0};
    for (int i = 0; i < x->shape.rank; i++) {
        if (i == axis && !p->keep) continue;
        n->shape.dims[n->shape.rank++] = i == axis ? 1 : x->shape.dims[i];
    }
    n->dtype = p->kind == MICA_REDUCE_ARGMAX ? (uint8_t)MICA_DTYPE_I32 : x->dtype;
    n->live = x->live;
done:
    return st;
}

static void cost(const mica_graph *g, const mica_node *n, mica_cost *out) {
    const mica_node *x = mica_rule_input(g, n, 0);
    uint64_t count = (uint64_t)mica_shape_count(&x->shape);
    out->bytes = count * mica_dtype_bytes((mica_dtype)x->dtype) +
                 mica_part_bytes((mica_dtype)n->dtype, n->quant, &n->shape, 0);
    out->flops = count;
}

static mica_status launch(mica_launch *l, const mica_node *n, mica_error *err) {
    const mica_reduce_params *p = MICA_PARAMS(mica_reduce_params, n);
    const mica_node *x = mica_rule_input(l->graph, n, 0);
    mica_reduce_args *args = mica_launch_args(l, sizeof *args);
    if (!args) return mica_fail_memory(err, sizeof *args, "arguments of reduce");
    mica_launch_tensor(l, &args->x, n->inputs[0]);
    int axis = p->axis < 0 ? p->axis + x->shape.rank : p->axis, last = x->shape.rank - 1;
    for (int i = axis; i < last; i++) {
        args->x.dims[i] = x->shape.dims[i + 1];
        args->x.strides[i] = x->strides[i + 1];
    }
    args->x.dims[last] = x->shape.dims[axis];
    args->x.strides[last] = x->strides[axis];
    args->kind = p->kind;
    mica_launch_rows(&n->shape, &args->rows, &args->row);
    mica_launch_write(l, &args->out, n, 0);
    mica_launch_live(l, &args->live, n);
    mica_launch_elements(l, mica_shape_count(&x->shape));
    return MICA_STATUS_OK;
}

static const mica_kernel kernels[] = {
    {"reduce_ref", MICA_DEVICE_CPU, 0, NULL, NULL, mica_reduce_ref},
};

static const mica_param params[] = {
    {"kind", MICA_PARAM_I32, offsetof(mica_reduce_params, kind)},
    {"axis", MICA_PARAM_I32, offsetof(mica_reduce_params, axis)},
    {"keep", MICA_PARAM_I32, offsetof(mica_reduce_params, keep)},
};

const mica_op mica_op_reduce = {
    .name = "reduce",
    .n_inputs_min = 1,
    .n_inputs_max = 1,
    .strided = 1,
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer,
    .cost = cost,
    .launch = launch,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};

mica_array mica_reduce(mica_graph *g, mica_reduce_kind kind, mica_array x, int axis, bool keep) {
    mica_reduce_params p = {.kind = (int32_t)kind, .axis = axis, .keep = keep};
    return mica_array_add(g, MICA_OP_reduce, &x, 1, &p, sizeof p);
}
