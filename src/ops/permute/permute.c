/* permute: shape rule and public functions. */
#include "ops/permute/permute.h"
#include "base/error.h"
#include "mica/ops.h"
#include <stddef.h>

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    char text[176];
    const mica_node *x = mica_rule_input(g, n, 0);
    const int8_t *order = MICA_PARAMS(mica_permute_params, n)->order;
    unsigned seen = 0;
    mica_status st = MICA_STATUS_OK;
    n->shape = (mica_shape){.rank = x->shape.rank};
    for (int i = 0; i < x->shape.rank; i++) {
        MICA_REQUIRE(order[i] >= 0 && order[i] < x->shape.rank && !(seen >> order[i] & 1u),
                     MICA_STATUS_INVALID, "order[%d] = %d is wrong for shape %s", i, order[i],
                     mica_shape_format(&x->shape, text));
        seen |= 1u << order[i];
        n->shape.dims[i] = x->shape.dims[order[i]];
        n->strides[i] = x->strides[order[i]];
    }
    MICA_TRY(mica_rule_view(g, n, err));
    MICA_REQUIRE(x->live == MICA_LIVE_ALL || order[0] == 0, MICA_STATUS_INVALID,
                 "live axis 0 of %s must stay axis 0", mica_shape_format(&x->shape, text));
done:
    return st;
}

static const mica_param params[] = {
    {"order", MICA_PARAM_I8_LIST, offsetof(mica_permute_params, order)}};

const mica_op mica_op_permute = {
    .name = "permute",
    .n_inputs_min = 1,
    .n_inputs_max = 1,
    .flags = MICA_OP_IS_VIEW,
    .strided = 1,
    .quantized = 1, /* refused by the rule, with a message of its own */
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer,
};

mica_array mica_permute(mica_graph *g, mica_array x, const int *order) {
    mica_permute_params p = {{0}};
    mica_ref ref = mica_array_ref(g, x, false);
    if (!ref) return (mica_array){0};
    int rank = mica_graph_node(g, ref)->shape.rank;
    bool is_identity = true;
    if (rank && !order) {
        mica_graph_fail(g, MICA_STATUS_INVALID, "permute: no order of axes");
        return (mica_array){0};
    }
    for (int i = 0; i < rank; i++) {
        int axis = order[i] < 0 ? order[i] + rank : order[i];
        p.order[i] = (int8_t)(axis >= 0 && axis < rank ? axis : -1); /* -1: infer says so */
        is_identity = is_identity && axis == i;
    }
    if (is_identity) return mica_array_retain(g, x);
    return mica_array_add(g, MICA_OP_permute, &x, 1, &p, sizeof p);
}

mica_array mica_transpose(mica_graph *g, mica_array x) {
    int order[MICA_RANK_MAX];
    mica_ref ref = mica_array_ref(g, x, false);
    if (!ref) return (mica_array){0};
    int rank = mica_graph_node(g, ref)->shape.rank;
    if (rank < 2) {
        mica_graph_fail(g, MICA_STATUS_INVALID, "transpose: rank %d, expected at least 2", rank);
        return (mica_array){0};
    }
    for (int i = 0; i < rank; i++) order[i] = i;
    order[rank - 1] = rank - 2;
    order[rank - 2] = rank - 1;
    return mica_permute(g, x, order);
}
