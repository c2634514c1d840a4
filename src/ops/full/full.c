/* full: shape rule, launch, public function. */
#include "ops/full/full.h"
#include <stddef.h>
#include <string.h>
#include "base/error.h"
#include "core/op.h"
#include "mica/ops.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"

/* 56 bytes, all there are. */
typedef struct full_params {
    double value;
    int64_t large; /* these three as in mica_shape_params */
    int32_t rank;
    int32_t dims[MICA_RANK_MAX];
    int32_t dtype;
} full_params;
static_assert(sizeof(full_params) <= MICA_PARAM_BYTES, "must fit into a node");

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    (void)g;
    const full_params *p = MICA_PARAMS(full_params, n);
    mica_shape_params shape = {.large = p->large, .rank = p->rank};
    memcpy(shape.dims, p->dims, sizeof shape.dims);
    if (mica_dtype_bytes((mica_dtype)p->dtype) == 0)
        return mica_fail(err, MICA_STATUS_INVALID, "%d is not a dtype", (int)p->dtype);
    n->dtype = (uint8_t)p->dtype;
    return mica_shape_params_unpack(&shape, &n->shape, err);
}

static void cost(const mica_graph *g, const mica_node *n, mica_cost *out) {
    (void)g;
    out->bytes = mica_part_bytes((mica_dtype)n->dtype, n->quant, &n->shape, 0);
    out->flops = 0;
}

static mica_status launch(mica_launch *l, const mica_node *n, mica_error *err) {
    mica_full_args *args = mica_launch_args(l, sizeof *args);
    if (!args) return mica_fail_memory(err, sizeof *args, "arguments of full");
    args->count = mica_shape_count(&n->shape);
    args->value = MICA_PARAMS(full_params, n)->value;
    args->dtype = n->dtype;
    mica_launch_write(l, &args->out, n, 0);
    mica_launch_elements(l, args->count);
    return MICA_STATUS_OK;
}

static const mica_kernel kernels[] = {
    {"full_ref", MICA_DEVICE_CPU, 0, NULL, NULL, mica_full_ref},
};

static const mica_param params[] = {
    {"value", MICA_PARAM_F64, offsetof(full_params, value)},
    {"dtype", MICA_PARAM_I32, offsetof(full_params, dtype)},
    MICA_SHAPE_PARAM_ROWS(offsetof(full_params, large)),
};

const mica_op mica_op_full = {
    .name = "full",
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer,
    .cost = cost,
    .launch = launch,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};

mica_array mica_full(mica_graph *g, mica_dtype dtype, int rank, const int64_t *dims, double value) {
    mica_shape_params shape = {0};
    mica_error err = {0};
    if (mica_shape_params_pack(rank, dims, &shape, &err) != MICA_STATUS_OK)
        return mica_rule_failed(g, "full", &err);
    full_params p = {.value = value, .large = shape.large, .rank = rank, .dtype = (int32_t)dtype};
    memcpy(p.dims, shape.dims, sizeof p.dims);
    return mica_array_add(g, MICA_OP_full, NULL, 0, &p, sizeof p);
}
