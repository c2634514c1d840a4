/* take_along: shape rule, launch, public function. */
#include "ops/take_along/take_along.h"
#include "base/error.h"
#include "core/op.h"
#include "mica/ops.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    char a[176], b[176];
    const mica_node *x = mica_rule_input(g, n, 0), *ids = mica_rule_input(g, n, 1);
    bool fits =
        ids->dtype == MICA_DTYPE_I32 && x->shape.rank == ids->shape.rank && x->shape.rank > 0;
    for (int i = 0; fits && i < x->shape.rank - 1; i++)
        fits = x->shape.dims[i] == ids->shape.dims[i];
    /* Live rows must be rows of the axes before the last. */
    if (x->shape.rank == 1 && (x->live != MICA_LIVE_ALL || ids->live != MICA_LIVE_ALL))
        fits = false;
    if (!fits)
        return mica_fail(err, MICA_STATUS_INVALID,
                         "x %s and ids %s%s, expected i32 ids of the same leading axes",
                         mica_shape_format(&x->shape, a), mica_dtype_name((mica_dtype)ids->dtype),
                         mica_shape_format(&ids->shape, b));
    n->dtype = x->dtype;
    n->shape = ids->shape;
    n->live = MICA_LIVE_ALL;
    mica_status st = mica_rule_live(g, n, 0, err);
    return st == MICA_STATUS_OK ? mica_rule_live(g, n, 1, err) : st;
}

static void cost(const mica_graph *g, const mica_node *n, mica_cost *out) {
    (void)g;
    uint64_t count = (uint64_t)mica_shape_count(&n->shape);
    out->bytes = count * (4 + 2 * mica_dtype_bytes((mica_dtype)n->dtype));
    out->flops = 0;
}

static mica_status launch(mica_launch *l, const mica_node *n, mica_error *err) {
    mica_take_along_args *args = mica_launch_args(l, sizeof *args);
    if (!args) return mica_fail_memory(err, sizeof *args, "arguments of take_along");
    mica_launch_tensor(l, &args->x, n->inputs[0]);
    mica_launch_tensor(l, &args->ids, n->inputs[1]);
    args->rows = n->shape.rank > 1 ? n->shape.dims[0] : 1;
    args->row = 1;
    for (int i = 1; i < n->shape.rank - 1; i++) args->row *= n->shape.dims[i];
    mica_launch_write(l, &args->out, n, 0);
    mica_launch_live(l, &args->live, n);
    mica_launch_elements(l, mica_shape_count(&n->shape));
    return MICA_STATUS_OK;
}

static const mica_kernel kernels[] = {
    {"take_along_ref", MICA_DEVICE_CPU, 0, NULL, NULL, mica_take_along_ref},
};

const mica_op mica_op_take_along = {
    .name = "take_along",
    .n_inputs_min = 2,
    .n_inputs_max = 2,
    .strided = 3,
    .infer = infer,
    .cost = cost,
    .launch = launch,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};

mica_array mica_take_along(mica_graph *g, mica_array x, mica_array ids) {
    mica_array inputs[2] = {x, ids};
    return mica_array_add(g, MICA_OP_take_along, inputs, 2, NULL, 0);
}
