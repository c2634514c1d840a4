/* linear: x [..., k] times weight [n, k] transposed, plus bias [n], plus (pass fuse) a residual of
 * the result's shape. Rows of x are independent, so all its leading axes count as one. Kernels:
 * linear_rows.h. */
#include "ops/linear/linear.h"
#include "base/error.h"
#include "mica/ops.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"
#include "ops/linear/linear_operands.h"

enum { IN_X, IN_WEIGHT, IN_BIAS, IN_RESIDUAL, N_INPUTS };

mica_array mica_linear(mica_graph *g, mica_array x, mica_array weight, mica_array bias) {
    return mica_array_add(g, MICA_OP_linear, (mica_array[]){x, weight, bias}, 3, NULL, 0);
}

static mica_status linear_infer(const mica_graph *g, mica_node *n, mica_error *err) {
    char text[176];
    mica_status st = mica_linear_check(g, n, err);
    if (st != MICA_STATUS_OK) return st;
    const mica_node *x = mica_rule_input(g, n, 0), *w = mica_rule_input(g, n, 1);
    if (w->shape.rank != 2)
        return mica_fail(err, MICA_STATUS_INVALID, "weight %s, expected rank 2",
                         mica_shape_format(&w->shape, text));
    mica_shape shape = x->shape;
    shape.dims[shape.rank - 1] = w->shape.dims[0];
    if (!mica_shape_make(shape.rank, shape.dims, &n->shape))
        return mica_fail(err, MICA_STATUS_INVALID, "result %s is too large",
                         mica_shape_format(&shape, text));
    n->dtype = x->dtype;
    n->live = MICA_LIVE_ALL;
    st = mica_rule_live(g, n, IN_X, err);
    return st == MICA_STATUS_OK ? mica_rule_residual(g, n, IN_RESIDUAL, err) : st;
}

/* reshape(x to [m, k]) @ transpose(weight) + bias, all in f32. */
static mica_ref linear_compose(mica_graph *g, const mica_node *node) {
    mica_node n = *node; /* adding nodes may move it */
    mica_shape shape = n.shape;
    mica_array x = mica_linear_compose_f32(g, n.inputs[0]);
    bool is_row = shape.rank == 1;
    if (is_row) x = mica_reshape(g, x, 2, (int64_t[]){1, -1});
    mica_array w = mica_transpose(g, mica_linear_compose_f32(g, n.inputs[1]));
    mica_array y = mica_matmul(g, x, w);
    if (n.inputs[2]) y = mica_add(g, y, mica_linear_compose_f32(g, n.inputs[2]));
    if (is_row) y = mica_reshape(g, y, 1, shape.dims);
    y = mica_cast(g, y, (mica_dtype)n.dtype);
    if (n.n_inputs > IN_RESIDUAL && n.inputs[IN_RESIDUAL])
        y = mica_add(g, y, mica_array_of(g, n.inputs[IN_RESIDUAL]));
    return mica_array_ref(g, y, false);
}

/* Rows of x over all leading axes. */
static int64_t count_rows(const mica_shape *s) {
    int64_t rows = 1;
    for (int i = 0; i + 1 < s->rank; i++) rows *= s->dims[i];
    return rows;
}

static void linear_cost(const mica_graph *g, const mica_node *n, mica_cost *out) {
    const mica_node *x = mica_rule_input(g, n, 0);
    uint64_t m = (uint64_t)count_rows(&x->shape);
    uint64_t columns = (uint64_t)n->shape.dims[n->shape.rank - 1];
    uint64_t k = (uint64_t)x->shape.dims[x->shape.rank - 1];
    out->bytes = mica_linear_weight_bytes(g, n, columns) +
                 m * (k + columns * (n->n_inputs > IN_RESIDUAL ? 2 : 1)) *
                     mica_dtype_bytes((mica_dtype)x->dtype);
    out->flops = 2 * m * columns * k;
}

static mica_status linear_launch(mica_launch *l, const mica_node *n, mica_error *err) {
    const mica_node *x = mica_rule_input(l->graph, n, 0);
    mica_linear_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "linear arguments");
    mica_launch_read(l, &a->x, n->inputs[0], 0);
    mica_linear_launch(l, n, &a->codes, &a->scales, &a->biases);
    mica_launch_read(l, &a->bias, n->inputs[IN_BIAS], 0);
    if (n->n_inputs > IN_RESIDUAL) mica_launch_read(l, &a->residual, n->inputs[IN_RESIDUAL], 0);
    mica_launch_write(l, &a->out, n, 0);
    mica_launch_live(l, &a->live, n);
    mica_linear_describe(l->graph, n, &a->weight);
    a->rows = x->shape.rank > 1 ? x->shape.dims[0] : 1;
    a->rows_each = a->rows ? count_rows(&x->shape) / a->rows : 0;
    a->n = n->shape.dims[n->shape.rank - 1];
    a->k = x->shape.dims[x->shape.rank - 1];
    mica_launch_elements(l, a->n * a->k);
    return MICA_STATUS_OK;
}

static size_t linear_scratch_bytes(const mica_graph *g, const mica_node *n) {
    const mica_node *x = mica_rule_input(g, n, 0);
    return mica_linear_scratch_bytes(x->shape.dims[x->shape.rank - 1]);
}

static const mica_kernel linear_kernels[] = {
#if defined(__x86_64__)
    {"linear_amx", MICA_DEVICE_CPU, MICA_CPU_AVX2 | MICA_CPU_AVX512 | MICA_CPU_AMX,
     mica_linear_accepts_amx, linear_scratch_bytes, mica_linear_amx},
    {"linear_int8_avx512_vnni", MICA_DEVICE_CPU,
     MICA_CPU_AVX2 | MICA_CPU_AVX512 | MICA_CPU_AVX512_VNNI, mica_linear_accepts_int8,
     linear_scratch_bytes, mica_linear_int8_avx512_vnni},
    {"linear_int8_avx2", MICA_DEVICE_CPU, MICA_CPU_AVX2, mica_linear_accepts_int8,
     linear_scratch_bytes, mica_linear_int8_avx2},
    {"linear_int16_avx512_vnni", MICA_DEVICE_CPU,
     MICA_CPU_AVX2 | MICA_CPU_AVX512 | MICA_CPU_AVX512_VNNI, mica_linear_accepts_int16,
     linear_scratch_bytes, mica_linear_int16_avx512_vnni},
    {"linear_int16_avx2", MICA_DEVICE_CPU, MICA_CPU_AVX2, mica_linear_accepts_int16,
     linear_scratch_bytes, mica_linear_int16_avx2},
    {"linear_avx512", MICA_DEVICE_CPU, MICA_CPU_AVX2 | MICA_CPU_AVX512, NULL, linear_scratch_bytes,
     mica_linear_avx512},
    {"linear_avx2", MICA_DEVICE_CPU, MICA_CPU_AVX2, NULL, linear_scratch_bytes, mica_linear_avx2},
    /* Only where they were measured to be faster. */
    {"linear_int16_avx512_vnni_direct", MICA_DEVICE_CPU,
     MICA_CPU_AVX2 | MICA_CPU_AVX512 | MICA_CPU_AVX512_VNNI, mica_linear_accepts_direct_int16,
     linear_scratch_bytes, mica_linear_direct_int16_avx512_vnni},
    {"linear_int16_avx2_direct", MICA_DEVICE_CPU, MICA_CPU_AVX2, mica_linear_accepts_direct_int16,
     linear_scratch_bytes, mica_linear_direct_int16_avx2},
    {"linear_avx512_direct", MICA_DEVICE_CPU, MICA_CPU_AVX2 | MICA_CPU_AVX512,
     mica_linear_accepts_direct, linear_scratch_bytes, mica_linear_direct_avx512},
    {"linear_avx2_direct", MICA_DEVICE_CPU, MICA_CPU_AVX2, mica_linear_accepts_direct,
     linear_scratch_bytes, mica_linear_direct_avx2},
#elif defined(__aarch64__)
    {"linear_int8_neon_dot", MICA_DEVICE_CPU, MICA_CPU_NEON | MICA_CPU_NEON_DOT,
     mica_linear_accepts_int8, linear_scratch_bytes, mica_linear_int8_neon_dot},
    {"linear_neon", MICA_DEVICE_CPU, MICA_CPU_NEON, NULL, linear_scratch_bytes, mica_linear_neon},
    {"linear_neon_direct", MICA_DEVICE_CPU, MICA_CPU_NEON, mica_linear_accepts_direct,
     linear_scratch_bytes, mica_linear_direct_neon},
#endif
    {"linear_ref", MICA_DEVICE_CPU, 0, NULL, linear_scratch_bytes, mica_linear_ref},
};

const mica_op mica_op_linear = {
    .name = "linear",
    .n_inputs_min = IN_RESIDUAL,
    .n_inputs_max = N_INPUTS,
    .optional = 1 << IN_BIAS | 1 << IN_RESIDUAL,
    .quantized = 1 << IN_WEIGHT,
    .in_place = 1 << IN_RESIDUAL, /* each element is read where it is written, just before */
    .infer = linear_infer,
    .compose = linear_compose,
    .cost = linear_cost,
    .launch = linear_launch,
    .kernels = linear_kernels,
    .n_kernels = sizeof linear_kernels / sizeof linear_kernels[0],
    .is_same_arithmetic = mica_linear_is_same_arithmetic,
};
