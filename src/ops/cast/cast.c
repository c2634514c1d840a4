/* cast: shape rule, launch, variants, public functions. */
#include "ops/cast/cast.h"
#include <stddef.h>
#include "base/error.h"
#include "core/op.h"
#include "mica/ops.h"
#include "ops/common/element.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    int32_t dtype = MICA_PARAMS(mica_cast_params, n)->dtype;
    if (mica_dtype_bytes((mica_dtype)dtype) == 0)
        return mica_fail(err, MICA_STATUS_INVALID, "%d is not a dtype", (int)dtype);
    n->dtype = (uint8_t)dtype;
    return mica_rule_broadcast(g, n, err);
}

static mica_status launch(mica_launch *l, const mica_node *n, mica_error *err) {
    mica_cast_args *args = mica_launch_args(l, sizeof *args);
    if (!args) return mica_fail_memory(err, sizeof *args, "arguments of cast");
    mica_launch_elementwise(l, &args->e, n);
    return MICA_STATUS_OK;
}

static bool is_between_floats(const mica_graph *g, const mica_node *n) {
    return mica_dtype_is_small_float(n->dtype) &&
           mica_dtype_is_small_float(mica_rule_input(g, n, 0)->dtype);
}

static const mica_kernel kernels[] = {
#if defined(__x86_64__)
    {"cast_avx2", MICA_DEVICE_CPU, MICA_CPU_AVX2, is_between_floats, NULL, mica_cast_avx2},
#elif defined(__aarch64__)
    {"cast_neon", MICA_DEVICE_CPU, MICA_CPU_NEON, is_between_floats, NULL, mica_cast_neon},
#endif
    {"cast_ref", MICA_DEVICE_CPU, 0, NULL, NULL, mica_cast_ref},
};

static const mica_param params[] = {{"dtype", MICA_PARAM_I32, offsetof(mica_cast_params, dtype)}};

const mica_op mica_op_cast = {
    .name = "cast",
    .n_inputs_min = 1,
    .n_inputs_max = 1,
    .flags = MICA_OP_IS_ELEMENTWISE,
    .in_place = 1,
    .strided = 1,
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer,
    .launch = launch,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};

mica_array mica_cast(mica_graph *g, mica_array x, mica_dtype dtype) {
    mica_cast_params p = {.dtype = (int32_t)dtype};
    mica_ref ref = mica_array_ref(g, x, false);
    if (!ref) return (mica_array){0};
    const mica_node *n = mica_graph_node(g, ref);
    if (n->dtype == dtype && n->quant.mode == MICA_QUANT_NONE) return mica_array_retain(g, x);
    return mica_array_add(g, MICA_OP_cast, &x, 1, &p, sizeof p);
}

mica_array mica_contiguous(mica_graph *g, mica_array x) {
    mica_ref ref = mica_array_ref(g, x, false);
    if (!ref) return (mica_array){0};
    const mica_node *n = mica_graph_node(g, ref);
    if (mica_node_is_contiguous(n)) return mica_array_retain(g, x);
    mica_cast_params p = {.dtype = n->dtype};
    return mica_array_add(g, MICA_OP_cast, &x, 1, &p, sizeof p);
}
