/* arange: shape rule, launch, public function. */
#include "ops/arange/arange.h"
#include <stddef.h>
#include "base/error.h"
#include "core/op.h"
#include "mica/ops.h"
#include "ops/common/launch_args.h"

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    (void)g;
    const mica_arange_params *p = MICA_PARAMS(mica_arange_params, n);
    if (mica_dtype_bytes((mica_dtype)p->dtype) == 0 || p->dtype == MICA_DTYPE_BOOL)
        return mica_fail(err, MICA_STATUS_INVALID, "dtype %s, expected a number",
                         mica_dtype_name((mica_dtype)p->dtype));
    if (!mica_shape_make(1, &p->n, &n->shape))
        return mica_fail(err, MICA_STATUS_INVALID, "%lld elements, expected 0..2^48",
                         (long long)p->n);
    n->dtype = (uint8_t)p->dtype;
    return MICA_STATUS_OK;
}

static void cost(const mica_graph *g, const mica_node *n, mica_cost *out) {
    (void)g;
    int64_t count = mica_shape_count(&n->shape);
    out->bytes = (uint64_t)count * mica_dtype_bytes((mica_dtype)n->dtype);
    out->flops = 2 * (uint64_t)count;
}

static mica_status launch(mica_launch *l, const mica_node *n, mica_error *err) {
    const mica_arange_params *p = MICA_PARAMS(mica_arange_params, n);
    mica_arange_args *args = mica_launch_args(l, sizeof *args);
    if (!args) return mica_fail_memory(err, sizeof *args, "arguments of arange");
    args->n = p->n;
    args->start = p->start;
    args->step = p->step;
    args->dtype = p->dtype;
    mica_launch_write(l, &args->out, n, 0);
    mica_launch_elements(l, p->n);
    return MICA_STATUS_OK;
}

static const mica_kernel kernels[] = {
    {"arange_ref", MICA_DEVICE_CPU, 0, NULL, NULL, mica_arange_ref},
};

static const mica_param params[] = {
    {"n", MICA_PARAM_I64, offsetof(mica_arange_params, n)},
    {"start", MICA_PARAM_F64, offsetof(mica_arange_params, start)},
    {"step", MICA_PARAM_F64, offsetof(mica_arange_params, step)},
    {"dtype", MICA_PARAM_I32, offsetof(mica_arange_params, dtype)},
};

const mica_op mica_op_arange = {
    .name = "arange",
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer,
    .cost = cost,
    .launch = launch,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};

mica_array mica_arange(mica_graph *g, mica_dtype dtype, int64_t n, double start, double step) {
    mica_arange_params p = {.n = n, .start = start, .step = step, .dtype = (int32_t)dtype};
    return mica_array_add(g, MICA_OP_arange, NULL, 0, &p, sizeof p);
}
