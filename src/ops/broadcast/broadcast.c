/* broadcast: shape rule and public function. */
#include "ops/broadcast/broadcast.h"
#include "base/error.h"
#include "mica/ops.h"

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    char a[176], b[176];
    const mica_node *x = mica_rule_input(g, n, 0);
    mica_shape joined;
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(
        mica_shape_params_unpack(&MICA_PARAMS(mica_broadcast_params, n)->shape, &n->shape, err));
    MICA_REQUIRE(mica_shape_broadcast(&x->shape, &n->shape, &joined) &&
                     mica_shape_equal(&joined, &n->shape),
                 MICA_STATUS_INVALID, "shape %s does not stretch to %s",
                 mica_shape_format(&x->shape, a), mica_shape_format(&n->shape, b));
    MICA_TRY(mica_rule_view(g, n, err));
    MICA_REQUIRE(x->live == MICA_LIVE_ALL ||
                     (x->shape.rank == n->shape.rank && x->shape.dims[0] == n->shape.dims[0]),
                 MICA_STATUS_INVALID, "live axis 0 of %s is not axis 0 of %s",
                 mica_shape_format(&x->shape, a), mica_shape_format(&n->shape, b));
    for (int axis = 0; axis < n->shape.rank; axis++) {
        int own = axis - (n->shape.rank - x->shape.rank);
        bool repeats = own < 0 || x->shape.dims[own] != n->shape.dims[axis];
        n->strides[axis] = repeats ? 0 : x->strides[own];
    }
done:
    return st;
}

static const mica_param params[] = {MICA_SHAPE_PARAM_ROWS(0)};

const mica_op mica_op_broadcast = {
    .name = "broadcast",
    .n_inputs_min = 1,
    .n_inputs_max = 1,
    .flags = MICA_OP_IS_VIEW,
    .strided = 1,
    .quantized = 1, /* refused by the rule, with a message of its own */
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer,
};

mica_array mica_broadcast_to(mica_graph *g, mica_array x, int rank, const int64_t *dims) {
    mica_broadcast_params p = {{0}};
    mica_error err = {0};
    mica_shape to;
    mica_ref ref = mica_array_ref(g, x, false);
    if (!ref) return (mica_array){0};
    if (mica_shape_params_pack(rank, dims, &p.shape, &err) != MICA_STATUS_OK)
        return mica_rule_failed(g, "broadcast", &err);
    if (mica_shape_make(rank, dims, &to) && mica_shape_equal(&to, &mica_graph_node(g, ref)->shape))
        return mica_array_retain(g, x);
    return mica_array_add(g, MICA_OP_broadcast, &x, 1, &p, sizeof p);
}
