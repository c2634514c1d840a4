/* binary: shape rule, launch, variants, public functions. */
#include "ops/binary/binary.h"
#include <stddef.h>
#include "base/error.h"
#include "core/op.h"
#include "mica/ops.h"
#include "ops/common/element.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"

static bool is_comparison(int kind) {
    return kind >= MICA_BINARY_EQUAL && kind <= MICA_BINARY_GREATER_EQUAL;
}

static bool takes_dtype(int kind, mica_dtype dtype) {
    bool is_logic = kind == MICA_BINARY_AND || kind == MICA_BINARY_OR;
    if (dtype == MICA_DTYPE_BOOL)
        return is_logic || kind == MICA_BINARY_EQUAL || kind == MICA_BINARY_NOT_EQUAL;
    return mica_dtype_is_integer(dtype) || (mica_dtype_is_float(dtype) && !is_logic);
}

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    char a_text[176], b_text[176];
    int kind = MICA_PARAMS(mica_binary_params, n)->kind;
    const mica_node *a = mica_rule_input(g, n, 0), *b = mica_rule_input(g, n, 1);
    if (kind < 0 || kind >= MICA_BINARY_COUNT_)
        return mica_fail(err, MICA_STATUS_INVALID, "%d is not a kind", kind);
    if (a->dtype != b->dtype || !takes_dtype(kind, (mica_dtype)a->dtype))
        return mica_fail(
            err, MICA_STATUS_INVALID, "kind %d does not take %s%s and %s%s", kind,
            mica_dtype_name((mica_dtype)a->dtype), mica_shape_format(&a->shape, a_text),
            mica_dtype_name((mica_dtype)b->dtype), mica_shape_format(&b->shape, b_text));
    n->dtype = is_comparison(kind) ? (uint8_t)MICA_DTYPE_BOOL : a->dtype;
    return mica_rule_broadcast(g, n, err);
}

static mica_status launch(mica_launch *l, const mica_node *n, mica_error *err) {
    mica_binary_args *args = mica_launch_args(l, sizeof *args);
    if (!args) return mica_fail_memory(err, sizeof *args, "arguments of binary");
    args->kind = MICA_PARAMS(mica_binary_params, n)->kind;
    mica_launch_elementwise(l, &args->e, n);
    return MICA_STATUS_OK;
}

static bool has_small_floats(const mica_graph *g, const mica_node *n) {
    return mica_dtype_is_small_float(mica_rule_input(g, n, 0)->dtype);
}

static const mica_kernel kernels[] = {
#if defined(__x86_64__)
    {"binary_avx2", MICA_DEVICE_CPU, MICA_CPU_AVX2, has_small_floats, NULL, mica_binary_avx2},
#elif defined(__aarch64__)
    {"binary_neon", MICA_DEVICE_CPU, MICA_CPU_NEON, has_small_floats, NULL, mica_binary_neon},
#endif
    {"binary_ref", MICA_DEVICE_CPU, 0, NULL, NULL, mica_binary_ref},
};

static const mica_param params[] = {{"kind", MICA_PARAM_I32, offsetof(mica_binary_params, kind)}};

const mica_op mica_op_binary = {
    .name = "binary",
    .n_inputs_min = 2,
    .n_inputs_max = 2,
    .flags = MICA_OP_IS_ELEMENTWISE,
    .in_place = 3,
    .strided = 3,
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer,
    .launch = launch,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};

mica_array mica_binary(mica_graph *g, mica_binary_kind kind, mica_array a, mica_array b) {
    mica_binary_params p = {.kind = (int32_t)kind};
    mica_array pair[2] = {a, b};
    if (!mica_rule_adopt_dtype(g, pair, 2)) return (mica_array){0};
    mica_array result = mica_array_add(g, MICA_OP_binary, pair, 2, &p, sizeof p);
    for (int i = 0; i < 2; i++) mica_array_release(g, &pair[i]);
    return result;
}

mica_array mica_add(mica_graph *g, mica_array a, mica_array b) {
    return mica_binary(g, MICA_BINARY_ADD, a, b);
}
mica_array mica_sub(mica_graph *g, mica_array a, mica_array b) {
    return mica_binary(g, MICA_BINARY_SUB, a, b);
}
mica_array mica_mul(mica_graph *g, mica_array a, mica_array b) {
    return mica_binary(g, MICA_BINARY_MUL, a, b);
}
mica_array mica_div(mica_graph *g, mica_array a, mica_array b) {
    return mica_binary(g, MICA_BINARY_DIV, a, b);
}
mica_array mica_minimum(mica_graph *g, mica_array a, mica_array b) {
    return mica_binary(g, MICA_BINARY_MIN, a, b);
}
mica_array mica_maximum(mica_graph *g, mica_array a, mica_array b) {
    return mica_binary(g, MICA_BINARY_MAX, a, b);
}
