/* top_k: shape rule, launch, public function. */
#include "ops/top_k/top_k.h"
#include <stddef.h>
#include "base/error.h"
#include "core/op.h"
#include "mica/ops.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    char text[176];
    const mica_node *x = mica_rule_input(g, n, 0);
    int k = MICA_PARAMS(mica_top_k_params, n)->k;
    mica_status st = MICA_STATUS_OK;
    MICA_REQUIRE(x->shape.rank > 0, MICA_STATUS_INVALID, "rank 0, expected an axis");
    int last = x->shape.rank - 1;
    MICA_REQUIRE(k >= 1 && k <= MICA_TOP_K_MAX && k <= x->shape.dims[last], MICA_STATUS_INVALID,
                 "k = %d of shape %s, expected 1..%d and at most the last axis", k,
                 mica_shape_format(&x->shape, text), MICA_TOP_K_MAX);
    MICA_REQUIRE(x->shape.dims[last] <= INT32_MAX, MICA_STATUS_INVALID,
                 "the last axis of %s is too long for i32 indices",
                 mica_shape_format(&x->shape, text));
    MICA_REQUIRE(x->live == MICA_LIVE_ALL || x->shape.rank > 1, MICA_STATUS_INVALID,
                 "axis 0 of %s is live and cannot be searched", mica_shape_format(&x->shape, text));
    n->shape = x->shape;
    n->shape.dims[last] = k;
    n->dtype = MICA_DTYPE_I32;
    n->live = x->live;
done:
    return st;
}

static void cost(const mica_graph *g, const mica_node *n, mica_cost *out) {
    const mica_node *x = mica_rule_input(g, n, 0);
    uint64_t count = (uint64_t)mica_shape_count(&x->shape);
    out->bytes =
        count * mica_dtype_bytes((mica_dtype)x->dtype) + 4 * (uint64_t)mica_shape_count(&n->shape);
    out->flops = count;
}

static mica_status launch(mica_launch *l, const mica_node *n, mica_error *err) {
    mica_top_k_args *args = mica_launch_args(l, sizeof *args);
    if (!args) return mica_fail_memory(err, sizeof *args, "arguments of top_k");
    mica_launch_tensor(l, &args->x, n->inputs[0]);
    args->k = MICA_PARAMS(mica_top_k_params, n)->k;
    args->rows = n->shape.rank > 1 ? n->shape.dims[0] : 1;
    args->row = 1;
    for (int i = 1; i < n->shape.rank - 1; i++) args->row *= n->shape.dims[i];
    mica_launch_write(l, &args->out, n, 0);
    mica_launch_live(l, &args->live, n);
    mica_launch_elements(l, mica_shape_count(&mica_rule_input(l->graph, n, 0)->shape));
    return MICA_STATUS_OK;
}

static size_t heap_bytes(const mica_graph *g, const mica_node *n) {
    (void)g;
    return (size_t)MICA_PARAMS(mica_top_k_params, n)->k * sizeof(mica_top_k_entry);
}

static const mica_kernel kernels[] = {
    {"top_k_ref", MICA_DEVICE_CPU, 0, NULL, heap_bytes, mica_top_k_ref},
};

static const mica_param params[] = {{"k", MICA_PARAM_I32, offsetof(mica_top_k_params, k)}};

const mica_op mica_op_top_k = {
    .name = "top_k",
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

mica_array mica_top_k(mica_graph *g, mica_array x, int k) {
    mica_top_k_params p = {.k = k};
    return mica_array_add(g, MICA_OP_top_k, &x, 1, &p, sizeof p);
}
