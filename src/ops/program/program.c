/* program: shape rule, composed meaning, cost, launch, variants. Only pass `fuse` makes such nodes.
 */
#include "ops/program/program.h"
#include <stddef.h>
#include <string.h>
#include "base/error.h"
#include "core/op.h"
#include "mica/ops.h"
#include "ops/common/element.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"

static_assert(sizeof(mica_program_params) <= MICA_PARAM_BYTES, "parameters lie in the node");

static bool is_code(uint8_t code) {
    if (code < MICA_PROGRAM_BINARY) return code < MICA_UNARY_COUNT_ && code != MICA_UNARY_NOT;
    if (code < MICA_PROGRAM_ROUND_F16) return code - MICA_PROGRAM_BINARY <= MICA_BINARY_POW;
    return code <= MICA_PROGRAM_ROUND_BF16;
}

/* A register that instruction i may read. */
static bool is_known(uint8_t r, int i, int n_inputs) {
    if (r < MICA_PROGRAM_INPUTS_MAX) return r < n_inputs;
    return r < MICA_PROGRAM_RESULT_0 + i;
}

static int count_code(const mica_program_params *p) {
    return p->code_bytes / (int)sizeof(mica_program_instruction);
}

static mica_status check_code(const mica_program_params *p, int n_inputs, mica_error *err) {
    int n = count_code(p);
    if (n < 1 || n > MICA_PROGRAM_CODE_MAX || p->code_bytes % sizeof *p->code)
        return mica_fail(err, MICA_STATUS_INVALID,
                         "a program of %d bytes, wanted 3 to %d by threes", p->code_bytes,
                         (int)sizeof p->code);
    for (int i = 0; i < n; i++) {
        const mica_program_instruction *c = &p->code[i];
        bool is_unary = mica_program_is_unary(c->code);
        if (!is_code(c->code) || !is_known(c->a, i, n_inputs) ||
            (is_unary ? c->b != 0 : !is_known(c->b, i, n_inputs)))
            return mica_fail(err, MICA_STATUS_INVALID, "instruction %d is (%d, %d, %d)", i, c->code,
                             c->a, c->b);
    }
    return MICA_STATUS_OK;
}

static mica_dtype result_dtype(const mica_program_params *p) {
    uint8_t last = p->code[count_code(p) - 1].code;
    return last == MICA_PROGRAM_ROUND_F16    ? MICA_DTYPE_F16
           : last == MICA_PROGRAM_ROUND_BF16 ? MICA_DTYPE_BF16
                                             : MICA_DTYPE_F32;
}

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    const mica_program_params *p = MICA_PARAMS(mica_program_params, n);
    mica_status st = check_code(p, n->n_inputs, err);
    if (st != MICA_STATUS_OK) return st;
    for (int i = 0; i < n->n_inputs; i++) {
        mica_dtype dtype = (mica_dtype)mica_rule_input(g, n, i)->dtype;
        if (!mica_dtype_is_small_float(dtype))
            return mica_fail(err, MICA_STATUS_INVALID, "input %d is %s, wanted f32, f16 or bf16", i,
                             mica_dtype_name(dtype));
    }
    n->dtype = (uint8_t)result_dtype(p);
    return mica_rule_broadcast(g, n, err);
}

/* ---- composed meaning ---- */

static mica_array add_instruction(mica_graph *g, uint8_t code, mica_array a, mica_array b) {
    mica_dtype dtype = code == MICA_PROGRAM_ROUND_F16 ? MICA_DTYPE_F16 : MICA_DTYPE_BF16;
    if (code < MICA_PROGRAM_BINARY) return mica_unary(g, (mica_unary_kind)code, a);
    if (code < MICA_PROGRAM_ROUND_F16)
        return mica_binary(g, (mica_binary_kind)(code - MICA_PROGRAM_BINARY), a, b);
    return mica_cast(g, a, dtype);
}

/* Registers are f32: what is rounded on the way is widened again. An input that the result does not
 * depend on still stretches it. */
static mica_ref compose(mica_graph *g, const mica_node *n) {
    const mica_program_params p = *MICA_PARAMS(mica_program_params, n);
    const mica_shape shape = n->shape;
    mica_array r[MICA_PROGRAM_REGISTERS] = {{0}};
    int count = count_code(&p);
    for (int i = 0; i < n->n_inputs; i++)
        r[i] = mica_cast(g, mica_array_of(g, n->inputs[i]), MICA_DTYPE_F32);
    for (int i = 0; i < MICA_PROGRAM_CONSTANTS_MAX; i++)
        r[MICA_PROGRAM_CONSTANT_0 + i] =
            mica_full(g, MICA_DTYPE_F32, 0, NULL, (double)p.constants[i]);
    for (int i = 0; i < count; i++) {
        mica_array v = add_instruction(g, p.code[i].code, r[p.code[i].a], r[p.code[i].b]);
        if (i + 1 < count) v = mica_cast(g, v, MICA_DTYPE_F32);
        r[MICA_PROGRAM_RESULT_0 + i] = v;
    }
    mica_array result = r[MICA_PROGRAM_RESULT_0 + count - 1];
    mica_ref ref = mica_array_ref(g, result, false);
    if (!ref || mica_shape_equal(&mica_graph_node(g, ref)->shape, &shape)) return ref;
    result = mica_contiguous(g, mica_broadcast_to(g, result, shape.rank, shape.dims));
    return mica_array_ref(g, result, false);
}

/* ---- running ---- */

static void cost(const mica_graph *g, const mica_node *n, mica_cost *out) {
    uint64_t count = (uint64_t)mica_shape_count(&n->shape);
    out->bytes = count * mica_dtype_bytes((mica_dtype)n->dtype);
    for (int i = 0; i < n->n_inputs; i++) {
        const mica_node *x = mica_rule_input(g, n, i);
        out->bytes +=
            (uint64_t)mica_shape_count(&x->shape) * mica_dtype_bytes((mica_dtype)x->dtype);
    }
    out->flops = count * (uint64_t)count_code(MICA_PARAMS(mica_program_params, n));
}

static mica_status launch(mica_launch *l, const mica_node *n, mica_error *err) {
    const mica_program_params *p = MICA_PARAMS(mica_program_params, n);
    mica_program_args *args = mica_launch_args(l, sizeof *args);
    if (!args) return mica_fail_memory(err, sizeof *args, "arguments of program");
    memcpy(args->constants, p->constants, sizeof args->constants);
    memcpy(args->code, p->code, sizeof args->code);
    args->n_inputs = n->n_inputs;
    args->n_code = count_code(p);
    mica_launch_elementwise(l, &args->e, n);
    return MICA_STATUS_OK;
}

static const mica_kernel kernels[] = {
#if defined(__x86_64__)
    {"program_avx2", MICA_DEVICE_CPU, MICA_CPU_AVX2, NULL, NULL, mica_program_avx2},
#elif defined(__aarch64__)
    {"program_neon", MICA_DEVICE_CPU, MICA_CPU_NEON, NULL, NULL, mica_program_neon},
#endif
    {"program_ref", MICA_DEVICE_CPU, 0, NULL, NULL, mica_program_ref},
};

#define CONSTANT(i) offsetof(mica_program_params, constants) + (i) * sizeof(float)
static const mica_param params[] = {
    {"c0", MICA_PARAM_F32, CONSTANT(0)},
    {"c1", MICA_PARAM_F32, CONSTANT(1)},
    {"c2", MICA_PARAM_F32, CONSTANT(2)},
    {"c3", MICA_PARAM_F32, CONSTANT(3)},
    {"code", MICA_PARAM_U8_LIST, offsetof(mica_program_params, code_bytes)},
};

const mica_op mica_op_program = {
    .name = "program",
    .n_inputs_min = 1,
    .n_inputs_max = MICA_PROGRAM_INPUTS_MAX,
    .flags = MICA_OP_IS_ELEMENTWISE,
    .in_place = 7,
    .strided = (1 << MICA_PROGRAM_INPUTS_MAX) - 1,
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer,
    .compose = compose,
    .cost = cost,
    .launch = launch,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};
