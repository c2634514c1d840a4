/* select: shape rule, launch, public function. */
#include "ops/select/select.h"
#include "base/error.h"
#include "core/op.h"
#include "mica/ops.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    char a_text[176], b_text[176];
    const mica_node *condition = mica_rule_input(g, n, 0);
    const mica_node *a = mica_rule_input(g, n, 1), *b = mica_rule_input(g, n, 2);
    if (condition->dtype != MICA_DTYPE_BOOL)
        return mica_fail(err, MICA_STATUS_INVALID, "condition is %s%s, expected bool",
                         mica_dtype_name((mica_dtype)condition->dtype),
                         mica_shape_format(&condition->shape, a_text));
    if (a->dtype != b->dtype)
        return mica_fail(
            err, MICA_STATUS_INVALID, "%s%s and %s%s, expected one dtype",
            mica_dtype_name((mica_dtype)a->dtype), mica_shape_format(&a->shape, a_text),
            mica_dtype_name((mica_dtype)b->dtype), mica_shape_format(&b->shape, b_text));
    n->dtype = a->dtype;
    return mica_rule_broadcast(g, n, err);
}

static mica_status launch(mica_launch *l, const mica_node *n, mica_error *err) {
    mica_select_args *args = mica_launch_args(l, sizeof *args);
    if (!args) return mica_fail_memory(err, sizeof *args, "arguments of select");
    mica_launch_elementwise(l, &args->e, n);
    return MICA_STATUS_OK;
}

static const mica_kernel kernels[] = {
    {"select_ref", MICA_DEVICE_CPU, 0, NULL, NULL, mica_select_ref},
};

const mica_op mica_op_select = {
    .name = "select",
    .n_inputs_min = 3,
    .n_inputs_max = 3,
    .flags = MICA_OP_IS_ELEMENTWISE,
    .in_place = 7,
    .strided = 7,
    .infer = infer,
    .launch = launch,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};

mica_array mica_select(mica_graph *g, mica_array condition, mica_array a, mica_array b) {
    mica_array all[3] = {condition, a, b};
    if (!mica_rule_adopt_dtype(g, all + 1, 2)) return (mica_array){0};
    mica_array result = mica_array_add(g, MICA_OP_select, all, 3, NULL, 0);
    for (int i = 1; i < 3; i++) mica_array_release(g, &all[i]);
    return result;
}
