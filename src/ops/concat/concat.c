/* concat: shape rule, launch, public function. */
#include "ops/concat/concat.h"
#include <stddef.h>
#include "base/checked.h"
#include "base/error.h"
#include "core/op.h"
#include "mica/ops.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"

static_assert(MICA_CONCAT_PARTS_MAX == MICA_INPUTS_MAX, "a node's inputs fill the arguments");

static bool matches(const mica_node *a, const mica_node *b, int axis) {
    if (a->dtype != b->dtype || a->shape.rank != b->shape.rank) return false;
    for (int i = 0; i < a->shape.rank; i++)
        if (i != axis && a->shape.dims[i] != b->shape.dims[i]) return false;
    return true;
}

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    char a[176], b[176];
    const mica_node *first = mica_rule_input(g, n, 0);
    int axis = 0;
    int64_t length = 0;
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(mica_rule_axis(MICA_PARAMS(mica_concat_params, n)->axis, &first->shape, &axis, err));
    n->shape = first->shape;
    n->dtype = first->dtype;
    n->live = MICA_LIVE_ALL;
    for (int i = 0; i < n->n_inputs; i++) {
        const mica_node *x = mica_rule_input(g, n, i);
        MICA_REQUIRE(matches(first, x, axis), MICA_STATUS_INVALID,
                     "%s%s and %s%s cannot be joined along axis %d",
                     mica_dtype_name((mica_dtype)first->dtype), mica_shape_format(&first->shape, a),
                     mica_dtype_name((mica_dtype)x->dtype), mica_shape_format(&x->shape, b), axis);
        MICA_REQUIRE(mica_add_i64(length, x->shape.dims[axis], &length), MICA_STATUS_INVALID,
                     "axis %d gets too long", axis);
        MICA_REQUIRE(x->live == MICA_LIVE_ALL || axis > 0, MICA_STATUS_INVALID,
                     "axis 0 of %s is live and cannot be joined", mica_shape_format(&x->shape, a));
        MICA_TRY(mica_rule_live(g, n, i, err));
    }
    n->shape.dims[axis] = length;
    MICA_REQUIRE(mica_shape_make(n->shape.rank, n->shape.dims, &n->shape), MICA_STATUS_INVALID,
                 "more than 2^48 elements");
done:
    return st;
}

static mica_status launch(mica_launch *l, const mica_node *n, mica_error *err) {
    mica_concat_args *args = mica_launch_args(l, sizeof *args);
    if (!args) return mica_fail_memory(err, sizeof *args, "arguments of concat");
    int axis = MICA_PARAMS(mica_concat_params, n)->axis;
    args->axis = axis < 0 ? axis + n->shape.rank : axis;
    args->n_parts = n->n_inputs;
    for (int i = 0; i < n->n_inputs; i++) mica_launch_tensor(l, &args->parts[i], n->inputs[i]);
    args->rows = args->axis > 0 ? n->shape.dims[0] : 1;
    args->slabs = args->slab_elements = 1;
    for (int i = 1; i < args->axis; i++) args->slabs *= n->shape.dims[i];
    for (int i = args->axis; i < n->shape.rank; i++) args->slab_elements *= n->shape.dims[i];
    mica_launch_write(l, &args->out, n, 0);
    mica_launch_live(l, &args->live, n);
    mica_launch_elements(l, mica_shape_count(&n->shape));
    return MICA_STATUS_OK;
}

static const mica_kernel kernels[] = {
    {"concat_ref", MICA_DEVICE_CPU, 0, NULL, NULL, mica_concat_ref},
};

static const mica_param params[] = {{"axis", MICA_PARAM_I32, offsetof(mica_concat_params, axis)}};

const mica_op mica_op_concat = {
    .name = "concat",
    .n_inputs_min = 1,
    .n_inputs_max = MICA_INPUTS_MAX,
    .strided = (1 << MICA_INPUTS_MAX) - 1,
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer,
    .launch = launch,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};

mica_array mica_concat(mica_graph *g, const mica_array *arrays, int n, int axis) {
    mica_concat_params p = {.axis = axis};
    mica_array parts[MICA_INPUTS_MAX];
    if (n < 1 || !arrays) {
        mica_graph_fail(g, MICA_STATUS_INVALID, "concat: %d arrays, expected at least 1",
                        arrays ? n : 0);
        return (mica_array){0};
    }
    if (n <= MICA_INPUTS_MAX) return mica_array_add(g, MICA_OP_concat, arrays, n, &p, sizeof p);
    /* More than a node takes: each of its inputs is the concat of a part of them. */
    int each = (n + MICA_INPUTS_MAX - 1) / MICA_INPUTS_MAX, n_parts = 0;
    for (int begin = 0; begin < n; begin += each)
        parts[n_parts++] =
            mica_concat(g, arrays + begin, n - begin < each ? n - begin : each, axis);
    mica_array result = mica_array_add(g, MICA_OP_concat, parts, n_parts, &p, sizeof p);
    for (int i = 0; i < n_parts; i++) mica_array_release(g, &parts[i]);
    return result;
}
