/* expert_list: which rows each expert of a mixture has to do, so that the groups of a later step
 * find their work without a launch that depends on data. Used by linear_experts only. */
#include "ops/expert_list/expert_list.h"
#include "base/error.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"
#include "ops/expert_list/expert_list_params.h"

static mica_status expert_list_infer(const mica_graph *g, mica_node *n, mica_error *err) {
    char text[176];
    const mica_node *ids = mica_rule_input(g, n, 0);
    int64_t n_experts = MICA_PARAMS(mica_expert_list_params, n)->n_experts;
    if (ids->dtype != MICA_DTYPE_I32 || ids->shape.rank != 2)
        return mica_fail(err, MICA_STATUS_INVALID, "ids %s of %s, expected i32 of rank 2",
                         mica_shape_format(&ids->shape, text),
                         mica_dtype_name((mica_dtype)ids->dtype));
    if (n_experts < 1 || n_experts > MICA_EXPERTS_MAX)
        return mica_fail(err, MICA_STATUS_INVALID, "%lld experts, expected 1 to %d",
                         (long long)n_experts, MICA_EXPERTS_MAX);
    int64_t entries = mica_shape_count(&ids->shape);
    if (entries > INT32_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "ids %s, expected fewer than 2^31",
                         mica_shape_format(&ids->shape, text));
    mica_shape_make(1, (int64_t[]){n_experts + 1 + entries}, &n->shape);
    n->dtype = MICA_DTYPE_I32;
    n->live = MICA_LIVE_ALL; /* the kernel reads the count of live ids itself */
    return MICA_STATUS_OK;
}

static mica_status expert_list_launch(mica_launch *l, const mica_node *n, mica_error *err) {
    const mica_node *ids = mica_rule_input(l->graph, n, 0);
    mica_expert_list_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "expert_list arguments");
    mica_launch_read(l, &a->ids, n->inputs[0], 0);
    mica_launch_write(l, &a->out, n, 0);
    mica_launch_count(l, &a->live, (mica_live)ids->live);
    a->tokens = ids->shape.dims[0];
    a->slots = (int32_t)ids->shape.dims[1];
    a->n_experts = MICA_PARAMS(mica_expert_list_params, n)->n_experts;
    mica_launch_elements(l, 1); /* one worker does it */
    return MICA_STATUS_OK;
}

static const mica_param expert_list_params[] = {{"n_experts", MICA_PARAM_I32, 0}};

static const mica_kernel expert_list_kernels[] = {
    {"expert_list_ref", MICA_DEVICE_CPU, 0, NULL, NULL, mica_expert_list_ref},
};

const mica_op mica_op_expert_list = {
    .name = "expert_list",
    .n_inputs_min = 1,
    .n_inputs_max = 1,
    .params = expert_list_params,
    .n_params = 1,
    .infer = expert_list_infer,
    .launch = expert_list_launch,
    .kernels = expert_list_kernels,
    .n_kernels = 1,
};
