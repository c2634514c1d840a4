/* linear_experts: row (t, s) of the result is x's row times the weight of expert ids[t, s]. Which
 * rows an expert has comes from op expert_list; gate, up and down of a layer share one list. */
#include "ops/linear_experts/linear_experts.h"
#include "base/error.h"
#include "core/experts.h"
#include "mica/ops.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"
#include "ops/expert_list/expert_list_params.h"
#include "ops/linear/linear_operands.h"

enum {
    INPUT_X = MICA_LINEAR_EXPERTS_X,
    INPUT_WEIGHT = MICA_LINEAR_EXPERTS_WEIGHT,
    INPUT_BIAS = MICA_LINEAR_EXPERTS_BIAS,
    INPUT_IDS = MICA_LINEAR_EXPERTS_IDS,
    INPUT_LIST = MICA_LINEAR_EXPERTS_LIST,
    INPUT_COUNT = MICA_LINEAR_EXPERTS_INPUTS,
};

mica_array mica_linear_experts(mica_graph *g, mica_array x, mica_array weight, mica_array bias,
                               mica_array ids) {
    mica_ref ref = mica_array_ref(g, weight, false);
    if (!ref || mica_graph_node(g, ref)->shape.rank != 3) {
        if (ref)
            mica_graph_fail(g, MICA_STATUS_INVALID,
                            "linear_experts: weight of rank %d, "
                            "expected 3",
                            mica_graph_node(g, ref)->shape.rank);
        return (mica_array){0};
    }
    int64_t n_experts = mica_graph_node(g, ref)->shape.dims[0];
    mica_expert_list_params params = {(int32_t)(n_experts < INT32_MAX ? n_experts : INT32_MAX)};
    mica_array list = mica_array_add(g, MICA_OP_expert_list, &ids, 1, &params, sizeof params);
    mica_array inputs[INPUT_COUNT] = {x, weight, bias, ids, list};
    mica_array out = mica_array_add(g, MICA_OP_linear_experts, inputs, INPUT_COUNT, NULL, 0);
    mica_array_release(g, &list);
    return out;
}

static mica_status check_ids(const mica_node *x, const mica_node *w, const mica_node *ids,
                             const mica_node *list, mica_error *err) {
    char a[176], b[176];
    bool is_row = x->shape.rank == 2;
    if (w->shape.rank != 3)
        return mica_fail(err, MICA_STATUS_INVALID, "weight %s, expected rank 3",
                         mica_shape_format(&w->shape, a));
    if (ids->dtype != MICA_DTYPE_I32 || ids->shape.rank != 2)
        return mica_fail(err, MICA_STATUS_INVALID, "ids %s of %s, expected i32 of rank 2",
                         mica_shape_format(&ids->shape, a),
                         mica_dtype_name((mica_dtype)ids->dtype));
    if ((!is_row && x->shape.rank != 3) || x->shape.dims[0] != ids->shape.dims[0] ||
        (!is_row && x->shape.dims[1] != ids->shape.dims[1]))
        return mica_fail(err, MICA_STATUS_INVALID, "x %s does not fit ids %s",
                         mica_shape_format(&x->shape, a), mica_shape_format(&ids->shape, b));
    int64_t want = w->shape.dims[0] + 1 + mica_shape_count(&ids->shape);
    if (list->dtype != MICA_DTYPE_I32 || mica_shape_count(&list->shape) != want)
        return mica_fail(err, MICA_STATUS_INVALID, "list %s, expected [%lld]",
                         mica_shape_format(&list->shape, a), (long long)want);
    return MICA_STATUS_OK;
}

static mica_status linear_experts_infer(const mica_graph *g, mica_node *n, mica_error *err) {
    char text[176];
    const mica_node *x = mica_rule_input(g, n, INPUT_X), *w = mica_rule_input(g, n, INPUT_WEIGHT);
    const mica_node *ids = mica_rule_input(g, n, INPUT_IDS);
    mica_status st = mica_linear_check(g, n, err);
    if (st == MICA_STATUS_OK) st = check_ids(x, w, ids, mica_rule_input(g, n, INPUT_LIST), err);
    if (st != MICA_STATUS_OK) return st;
    int64_t dims[3] = {ids->shape.dims[0], ids->shape.dims[1], w->shape.dims[1]};
    if (!mica_shape_make(3, dims, &n->shape))
        return mica_fail(err, MICA_STATUS_INVALID, "too many elements for ids %s",
                         mica_shape_format(&ids->shape, text));
    n->dtype = x->dtype;
    n->live = MICA_LIVE_ALL;
    st = mica_rule_live(g, n, INPUT_X, err);
    return st == MICA_STATUS_OK ? mica_rule_live(g, n, INPUT_IDS, err) : st;
}

/* Gathers a weight for every row: x [t, s or 1, 1, k] @ transpose(weight[ids]) [t, s, k, n]. */
static mica_ref linear_experts_compose(mica_graph *g, const mica_node *node) {
    mica_node n = *node; /* adding nodes may move it */
    mica_shape x_shape = mica_graph_node(g, n.inputs[INPUT_X])->shape;
    int64_t t = n.shape.dims[0], k = x_shape.dims[x_shape.rank - 1];
    int64_t x_slots = x_shape.rank == 3 ? x_shape.dims[1] : 1;
    mica_array ids = mica_array_of(g, n.inputs[INPUT_IDS]);
    mica_array x = mica_linear_compose_f32(g, n.inputs[INPUT_X]);
    x = mica_reshape(g, x, 4, (int64_t[]){t, x_slots, 1, k});
    mica_array w = mica_linear_compose_f32(g, n.inputs[INPUT_WEIGHT]);
    w = mica_transpose(g, mica_gather(g, w, ids, MICA_DTYPE_NONE));
    mica_array y = mica_reshape(g, mica_matmul(g, x, w), 3, n.shape.dims);
    if (n.inputs[INPUT_BIAS]) {
        mica_array bias = mica_linear_compose_f32(g, n.inputs[INPUT_BIAS]);
        y = mica_add(g, y, mica_gather(g, bias, ids, MICA_DTYPE_NONE));
    }
    return mica_array_ref(g, mica_cast(g, y, (mica_dtype)n.dtype), false);
}

static void linear_experts_cost(const mica_graph *g, const mica_node *n, mica_cost *out) {
    const mica_node *x = mica_rule_input(g, n, INPUT_X), *w = mica_rule_input(g, n, INPUT_WEIGHT);
    uint64_t entries = (uint64_t)(n->shape.dims[0] * n->shape.dims[1]);
    uint64_t experts = (uint64_t)w->shape.dims[0], columns = (uint64_t)w->shape.dims[1];
    uint64_t k = (uint64_t)w->shape.dims[2];
    uint64_t element = mica_dtype_bytes((mica_dtype)x->dtype);
    out->bytes = mica_linear_weight_bytes(g, n, (entries < experts ? entries : experts) * columns) +
                 ((uint64_t)mica_shape_count(&x->shape) + entries * columns) * element;
    out->flops = 2 * entries * columns * k;
}

static mica_status linear_experts_launch(mica_launch *l, const mica_node *n, mica_error *err) {
    const mica_node *x = mica_rule_input(l->graph, n, INPUT_X);
    const mica_node *w = mica_rule_input(l->graph, n, INPUT_WEIGHT);
    mica_linear_experts_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "linear_experts arguments");
    mica_launch_read(l, &a->x, n->inputs[INPUT_X], 0);
    mica_linear_launch(l, n, &a->codes, &a->scales, &a->biases);
    mica_launch_read(l, &a->bias, n->inputs[INPUT_BIAS], 0);
    mica_launch_read(l, &a->ids, n->inputs[INPUT_IDS], 0);
    mica_launch_read(l, &a->list, n->inputs[INPUT_LIST], 0);
    mica_launch_write(l, &a->out, n, 0);
    mica_launch_live(l, &a->live, n);
    mica_linear_describe(l->graph, n, &a->weight);
    a->tokens = n->shape.dims[0];
    a->n = w->shape.dims[1];
    a->k = w->shape.dims[2];
    a->slots = (int32_t)n->shape.dims[1];
    a->n_experts = (int32_t)w->shape.dims[0];
    a->x_divide = x->shape.rank == 2 && a->slots ? a->slots : 1;
    mica_launch_elements(l, a->n * a->k);
    return MICA_STATUS_OK;
}

static size_t linear_experts_scratch_bytes(const mica_graph *g, const mica_node *n) {
    const mica_node *w = mica_rule_input(g, n, INPUT_WEIGHT);
    return mica_linear_scratch_bytes(w->shape.dims[2]) + (size_t)w->shape.dims[0] * sizeof(int32_t);
}

static const mica_kernel linear_experts_kernels[] = {
#if defined(__x86_64__)
    {"linear_experts_amx", MICA_DEVICE_CPU, MICA_CPU_AVX2 | MICA_CPU_AVX512 | MICA_CPU_AMX,
     mica_linear_accepts_amx, linear_experts_scratch_bytes, mica_linear_experts_amx},
    {"linear_experts_int8_avx512_vnni", MICA_DEVICE_CPU,
     MICA_CPU_AVX2 | MICA_CPU_AVX512 | MICA_CPU_AVX512_VNNI, mica_linear_accepts_int8,
     linear_experts_scratch_bytes, mica_linear_experts_int8_avx512_vnni},
    {"linear_experts_int8_avx2", MICA_DEVICE_CPU, MICA_CPU_AVX2, mica_linear_accepts_int8,
     linear_experts_scratch_bytes, mica_linear_experts_int8_avx2},
    {"linear_experts_int16_avx512_vnni", MICA_DEVICE_CPU,
     MICA_CPU_AVX2 | MICA_CPU_AVX512 | MICA_CPU_AVX512_VNNI, mica_linear_accepts_int16,
     linear_experts_scratch_bytes, mica_linear_experts_int16_avx512_vnni},
    {"linear_experts_int16_avx2", MICA_DEVICE_CPU, MICA_CPU_AVX2, mica_linear_accepts_int16,
     linear_experts_scratch_bytes, mica_linear_experts_int16_avx2},
    {"linear_experts_avx512", MICA_DEVICE_CPU, MICA_CPU_AVX2 | MICA_CPU_AVX512, NULL,
     linear_experts_scratch_bytes, mica_linear_experts_avx512},
    {"linear_experts_avx2", MICA_DEVICE_CPU, MICA_CPU_AVX2, NULL, linear_experts_scratch_bytes,
     mica_linear_experts_avx2},
#elif defined(__aarch64__)
    {"linear_experts_int8_neon_dot", MICA_DEVICE_CPU, MICA_CPU_NEON | MICA_CPU_NEON_DOT,
     mica_linear_accepts_int8, linear_experts_scratch_bytes, mica_linear_experts_int8_neon_dot},
    {"linear_experts_neon", MICA_DEVICE_CPU, MICA_CPU_NEON, NULL, linear_experts_scratch_bytes,
     mica_linear_experts_neon},
#endif
    {"linear_experts_ref", MICA_DEVICE_CPU, 0, NULL, linear_experts_scratch_bytes,
     mica_linear_experts_ref},
};

const mica_op mica_op_linear_experts = {
    .name = "linear_experts",
    .n_inputs_min = INPUT_COUNT,
    .n_inputs_max = INPUT_COUNT,
    .optional = 1 << INPUT_BIAS,
    .quantized = 1 << INPUT_WEIGHT,
    .infer = linear_experts_infer,
    .compose = linear_experts_compose,
    .cost = linear_experts_cost,
    .launch = linear_experts_launch,
    .kernels = linear_experts_kernels,
    .n_kernels = sizeof linear_experts_kernels / sizeof linear_experts_kernels[0],
};
