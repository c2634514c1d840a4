/* unary: shape rule, launch, variants, public function. */
#include "ops/unary/unary.h"
#include <stddef.h>
#include "base/error.h"
#include "core/op.h"
#include "mica/ops.h"
#include "ops/common/element.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"

static bool takes_integers(int kind) {
    switch (kind) {
    case MICA_UNARY_NEGATE:
    case MICA_UNARY_ABS:
    case MICA_UNARY_SQUARE:
    case MICA_UNARY_RELU:
    case MICA_UNARY_FLOOR:
    case MICA_UNARY_CEIL:
    case MICA_UNARY_ROUND:
        return true;
    default:
        return false;
    }
}

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    char text[176];
    int kind = MICA_PARAMS(mica_unary_params, n)->kind;
    const mica_node *x = mica_rule_input(g, n, 0);
    mica_dtype dtype = (mica_dtype)x->dtype;
    if (kind < 0 || kind >= MICA_UNARY_COUNT_)
        return mica_fail(err, MICA_STATUS_INVALID, "%d is not a kind", kind);
    bool fits = kind == MICA_UNARY_NOT       ? dtype == MICA_DTYPE_BOOL
                : mica_dtype_is_float(dtype) ? true
                                             : mica_dtype_is_integer(dtype) && takes_integers(kind);
    if (!fits)
        return mica_fail(err, MICA_STATUS_INVALID, "kind %d does not take %s%s", kind,
                         mica_dtype_name(dtype), mica_shape_format(&x->shape, text));
    n->dtype = x->dtype;
    return mica_rule_broadcast(g, n, err);
}

static mica_status launch(mica_launch *l, const mica_node *n, mica_error *err) {
    mica_unary_args *args = mica_launch_args(l, sizeof *args);
    if (!args) return mica_fail_memory(err, sizeof *args, "arguments of unary");
    args->kind = MICA_PARAMS(mica_unary_params, n)->kind;
    mica_launch_elementwise(l, &args->e, n);
    return MICA_STATUS_OK;
}

static bool is_small_float(const mica_graph *g, const mica_node *n) {
    (void)g;
    return mica_dtype_is_small_float(n->dtype);
}

static const mica_kernel kernels[] = {
#if defined(__x86_64__)
    {"unary_avx2", MICA_DEVICE_CPU, MICA_CPU_AVX2, is_small_float, NULL, mica_unary_avx2},
#elif defined(__aarch64__)
    {"unary_neon", MICA_DEVICE_CPU, MICA_CPU_NEON, is_small_float, NULL, mica_unary_neon},
#endif
    {"unary_ref", MICA_DEVICE_CPU, 0, NULL, NULL, mica_unary_ref},
};

static const mica_param params[] = {{"kind", MICA_PARAM_I32, offsetof(mica_unary_params, kind)}};

const mica_op mica_op_unary = {
    .name = "unary",
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

mica_array mica_unary(mica_graph *g, mica_unary_kind kind, mica_array x) {
    mica_unary_params p = {.kind = (int32_t)kind};
    return mica_array_add(g, MICA_OP_unary, &x, 1, &p, sizeof p);
}
