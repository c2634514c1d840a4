/* project: shape rule, meaning in simpler ops, cost, launch, variants. Kernels: project_walk.c. */
#include "ops/project/project.h"
#include <stddef.h>
#include "base/checked.h"
#include "base/error.h"
#include "core/op.h"
#include "mica/ops.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"
#include "ops/linear/linear_operands.h"

#define WEIGHT_INPUT(part) (MICA_PROJECT_WEIGHT + 2 * (part))

/* ---- parts ---- */

static mica_ref weight_of(const mica_node *n, int part) {
    int i = WEIGHT_INPUT(part);
    return part < MICA_PROJECT_PARTS_MAX && i < n->n_inputs ? n->inputs[i] : 0;
}

static int count_weights(const mica_node *n) {
    int count = 0;
    while (weight_of(n, count)) count++;
    return count;
}

/* The linear of x and the part's weight and bias: what the functions of linear_operands.h take. */
static mica_node as_linear(const mica_node *n, int part) {
    int i = WEIGHT_INPUT(part);
    mica_node linear = {.op = MICA_OP_linear, .n_inputs = 3};
    linear.inputs[0] = n->inputs[MICA_PROJECT_X];
    linear.inputs[1] = n->inputs[i];
    linear.inputs[2] = i + 1 < n->n_inputs ? n->inputs[i + 1] : 0;
    return linear;
}

static int64_t weight_rows(const mica_graph *g, const mica_node *n, int part) {
    return mica_graph_node(g, weight_of(n, part))->shape.dims[0];
}

/* ---- shape rule ---- */

static mica_status check_params(const mica_node *n, mica_error *err) {
    const mica_project_params *p = MICA_PARAMS(mica_project_params, n);
    if (p->is_normed && !(p->eps >= 0))
        return mica_fail(err, MICA_STATUS_INVALID, "eps is %g", (double)p->eps);
    if (!p->is_normed && n->inputs[MICA_PROJECT_NORM])
        return mica_fail(err, MICA_STATUS_INVALID, "the weight of a norm that is not asked for");
    if (p->is_gated && (p->activation < 0 || p->activation >= MICA_UNARY_COUNT_ ||
                        p->activation == MICA_UNARY_NOT))
        return mica_fail(err, MICA_STATUS_INVALID, "activation %d", (int)p->activation);
    return MICA_STATUS_OK;
}

/* Weights come first and without gaps. */
static mica_status check_parts(const mica_graph *g, const mica_node *n, mica_error *err) {
    char text[176];
    int count = count_weights(n);
    for (int i = WEIGHT_INPUT(count); i < n->n_inputs; i++)
        if (n->inputs[i]) return mica_fail(err, MICA_STATUS_INVALID, "input %d has no weight", i);
    for (int i = 0; i < count; i++) {
        mica_node linear = as_linear(n, i);
        const mica_node *w = mica_graph_node(g, weight_of(n, i));
        mica_status st = mica_linear_check(g, &linear, err);
        if (st != MICA_STATUS_OK) return st;
        if (w->shape.rank != 2)
            return mica_fail(err, MICA_STATUS_INVALID, "weight %d is %s, expected rank 2", i,
                             mica_shape_format(&w->shape, text));
    }
    return MICA_STATUS_OK;
}

/* Columns of the result. */
static mica_status count_columns(const mica_graph *g, const mica_node *n, int64_t *out,
                                 mica_error *err) {
    int count = count_weights(n);
    bool is_gated = MICA_PARAMS(mica_project_params, n)->is_gated;
    *out = 0;
    if (is_gated && count == 1 && weight_rows(g, n, 0) % 2 == 0) {
        *out = weight_rows(g, n, 0) / 2;
        return MICA_STATUS_OK;
    }
    if (is_gated && (count != 2 || weight_rows(g, n, 0) != weight_rows(g, n, 1)))
        return mica_fail(err, MICA_STATUS_INVALID,
                         "%d weights, expected two of one height or one of an even height", count);
    for (int i = 0; i < (is_gated ? 1 : count); i++)
        if (!mica_add_i64(*out, weight_rows(g, n, i), out))
            return mica_fail(err, MICA_STATUS_INVALID, "the weights' heights get too large");
    return MICA_STATUS_OK;
}

static mica_status check_rows(const mica_graph *g, const mica_node *n, mica_error *err) {
    char a[176], b[176];
    if (!n->inputs[MICA_PROJECT_ROWS]) return MICA_STATUS_OK;
    const mica_node *x = mica_rule_input(g, n, MICA_PROJECT_X);
    const mica_node *rows = mica_rule_input(g, n, MICA_PROJECT_ROWS);
    if (rows->dtype == MICA_DTYPE_I32 && rows->shape.rank == 1 && x->shape.rank == 2)
        return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_INVALID, "x %s and rows %s%s, expected i32 rows of a matrix",
                     mica_shape_format(&x->shape, a), mica_dtype_name((mica_dtype)rows->dtype),
                     mica_shape_format(&rows->shape, b));
}

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char text[176];
    int64_t columns = 0;
    MICA_TRY(check_params(n, err));
    MICA_TRY(check_parts(g, n, err));
    MICA_TRY(check_rows(g, n, err));
    MICA_TRY(count_columns(g, n, &columns, err));
    const mica_node *x = mica_rule_input(g, n, MICA_PROJECT_X);
    MICA_TRY(mica_rule_row_vector(g, n, MICA_PROJECT_NORM, "the norm's weight",
                                  x->shape.dims[x->shape.rank - 1], err));
    mica_shape shape = x->shape;
    int rows = n->inputs[MICA_PROJECT_ROWS] ? MICA_PROJECT_ROWS : MICA_PROJECT_X;
    shape.dims[0] = mica_rule_input(g, n, rows)->shape.dims[0];
    shape.dims[shape.rank - 1] = columns;
    MICA_REQUIRE(mica_shape_make(shape.rank, shape.dims, &n->shape), MICA_STATUS_INVALID,
                 "result %s is too large", mica_shape_format(&shape, text));
    n->dtype = x->dtype;
    n->live = MICA_LIVE_ALL;
    MICA_TRY(mica_rule_live(g, n, rows, err));
done:
    return st;
}

/* ---- meaning ---- */

static mica_array compose_gate(mica_graph *g, int activation, mica_array y[2], int count,
                               int64_t columns) {
    mica_array gate = y[0], up = y[1];
    if (count == 1) {
        gate = mica_slice_axis(g, y[0], -1, 0, columns, 1);
        up = mica_slice_axis(g, y[0], -1, columns, 2 * columns, 1);
    }
    return mica_mul(g, mica_unary(g, (mica_unary_kind)activation, gate), up);
}

static mica_ref compose(mica_graph *g, const mica_node *node) {
    const mica_node n = *node; /* adding nodes may move it */
    const mica_project_params *p = MICA_PARAMS(mica_project_params, &n);
    int count = count_weights(&n);
    mica_array x = mica_array_of(g, n.inputs[MICA_PROJECT_X]), y[MICA_PROJECT_PARTS_MAX] = {{0}};
    if (n.inputs[MICA_PROJECT_ROWS])
        x = mica_gather(g, x, mica_array_of(g, n.inputs[MICA_PROJECT_ROWS]), MICA_DTYPE_NONE);
    if (p->is_normed)
        x = mica_rms_norm(g, x, mica_array_of(g, n.inputs[MICA_PROJECT_NORM]), p->eps, p->offset);
    for (int i = 0; i < count; i++) {
        mica_node linear = as_linear(&n, i);
        y[i] = mica_linear(g, x, mica_array_of(g, linear.inputs[1]),
                           mica_array_of(g, linear.inputs[2]));
    }
    if (p->is_gated)
        y[0] = compose_gate(g, p->activation, y, count, n.shape.dims[n.shape.rank - 1]);
    else if (count > 1)
        y[0] = mica_concat(g, y, count, -1);
    return mica_array_ref(g, y[0], false);
}

/* ---- running ---- */

/* Rows of k elements that are projected. */
static int64_t count_rows(const mica_node *n) {
    int64_t rows = 1;
    for (int i = 0; i + 1 < n->shape.rank; i++) rows *= n->shape.dims[i];
    return rows;
}

static int64_t row_length(const mica_graph *g, const mica_node *n) {
    const mica_node *x = mica_rule_input(g, n, MICA_PROJECT_X);
    return x->shape.dims[x->shape.rank - 1];
}

static bool has_prologue(const mica_node *n) {
    return MICA_PARAMS(mica_project_params, n)->is_normed || n->inputs[MICA_PROJECT_ROWS];
}

/* Weights, the rows of x that are wanted and the result once; 5 operations an element of a norm, 16
 * of a gate. */
static void cost(const mica_graph *g, const mica_node *n, mica_cost *out) {
    const mica_project_params *p = MICA_PARAMS(mica_project_params, n);
    uint64_t m = (uint64_t)count_rows(n), k = (uint64_t)row_length(g, n);
    uint64_t columns = (uint64_t)n->shape.dims[n->shape.rank - 1];
    *out = (mica_cost){.bytes = m * (k + columns) * mica_dtype_bytes((mica_dtype)n->dtype)};
    for (int i = 0; i < count_weights(n); i++) {
        mica_node linear = as_linear(n, i);
        uint64_t rows = (uint64_t)weight_rows(g, n, i);
        out->bytes += mica_linear_weight_bytes(g, &linear, rows);
        out->flops += 2 * m * rows * k;
    }
    if (p->is_normed) out->flops += 5 * m * k;
    if (p->is_gated) out->flops += 16 * m * columns;
}

/* By what the variants of linear accept. */
static int find_kind(const mica_graph *g, const mica_node *linear) {
    if (mica_linear_accepts_int8(g, linear)) return MICA_PROJECT_MXFP4;
    if (mica_linear_accepts_int16(g, linear)) return MICA_PROJECT_AFFINE;
    if (mica_linear_accepts_amx(g, linear)) return MICA_PROJECT_BF16;
    return MICA_PROJECT_PLAIN;
}

static void launch_part(mica_launch *l, const mica_node *n, int weight, mica_project_part *out) {
    mica_node linear = as_linear(n, weight);
    mica_linear_launch(l, &linear, &out->codes, &out->scales, &out->biases);
    mica_launch_read(l, &out->bias, linear.inputs[2], 0);
    mica_linear_describe(l->graph, &linear, &out->weight);
    out->kind = find_kind(l->graph, &linear);
    out->n = weight_rows(l->graph, n, weight);
}

/* A gated project of one weight has two parts of it all the same. */
static void launch_parts(mica_launch *l, const mica_node *n, mica_project_args *a) {
    int count = count_weights(n);
    bool is_split = a->is_gated && count == 1;
    int64_t column = 0;
    a->n_parts = is_split ? 2 : count;
    for (int i = 0; i < a->n_parts; i++) {
        launch_part(l, n, is_split ? 0 : i, &a->parts[i]);
        if (is_split) a->parts[i].n = a->n;
        if (is_split) a->parts[i].first = i * a->n;
        if (!a->is_gated) a->parts[i].column = column;
        column += a->parts[i].n;
    }
}

static void launch_norm(mica_launch *l, const mica_node *n, mica_rms_norm_args *a) {
    const mica_project_params *p = MICA_PARAMS(mica_project_params, n);
    mica_ref weight = n->inputs[MICA_PROJECT_NORM];
    a->rows.n = row_length(l->graph, n);
    a->rows.dtype = n->dtype;
    mica_launch_read(l, &a->weight, weight, 0);
    if (weight) a->weight_dtype = mica_graph_node(l->graph, weight)->dtype;
    a->eps = p->eps;
    a->offset = p->offset;
}

static mica_status launch(mica_launch *l, const mica_node *n, mica_error *err) {
    const mica_project_params *p = MICA_PARAMS(mica_project_params, n);
    mica_project_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "arguments of project");
    mica_launch_read(l, &a->x, n->inputs[MICA_PROJECT_X], 0);
    mica_launch_read(l, &a->ids, n->inputs[MICA_PROJECT_ROWS], 0);
    mica_launch_write(l, &a->out, n, 0);
    mica_launch_live(l, &a->live, n);
    a->rows = n->shape.rank > 1 ? n->shape.dims[0] : 1;
    a->rows_each = a->rows ? count_rows(n) / a->rows : 0;
    a->x_rows = mica_rule_input(l->graph, n, MICA_PROJECT_X)->shape.dims[0];
    a->n = n->shape.dims[n->shape.rank - 1];
    a->k = row_length(l->graph, n);
    a->activation = p->activation;
    a->is_normed = p->is_normed;
    a->is_gated = p->is_gated;
    launch_norm(l, n, &a->norm);
    launch_parts(l, n, a);
    mica_launch_elements(l, a->n * a->k);
    return MICA_STATUS_OK;
}

/* ids is an address that the backend fills in later: whether there are some is known here. */
static size_t scratch_bytes(const mica_graph *g, const mica_node *n) {
    return mica_project_scratch_bytes(count_rows(n), row_length(g, n), has_prologue(n),
                                      MICA_PARAMS(mica_project_params, n)->is_gated);
}

static bool accepts(const mica_graph *g, const mica_node *n) {
    (void)g;
    return !has_prologue(n) || count_rows(n) <= MICA_PROJECT_ROWS_MAX;
}

static const mica_kernel kernels[] = {
#if defined(__x86_64__)
    {"project_amx", MICA_DEVICE_CPU,
     MICA_CPU_AVX2 | MICA_CPU_AVX512 | MICA_CPU_AVX512_VNNI | MICA_CPU_AMX, accepts, scratch_bytes,
     mica_project_amx},
    {"project_avx512_vnni", MICA_DEVICE_CPU, MICA_CPU_AVX2 | MICA_CPU_AVX512 | MICA_CPU_AVX512_VNNI,
     accepts, scratch_bytes, mica_project_avx512_vnni},
    {"project_avx512", MICA_DEVICE_CPU, MICA_CPU_AVX2 | MICA_CPU_AVX512, accepts, scratch_bytes,
     mica_project_avx512},
    {"project_avx2", MICA_DEVICE_CPU, MICA_CPU_AVX2, accepts, scratch_bytes, mica_project_avx2},
#elif defined(__aarch64__)
    {"project_neon_dot", MICA_DEVICE_CPU, MICA_CPU_NEON | MICA_CPU_NEON_DOT, accepts, scratch_bytes,
     mica_project_neon_dot},
    {"project_neon", MICA_DEVICE_CPU, MICA_CPU_NEON, accepts, scratch_bytes, mica_project_neon},
#endif
    {"project_ref", MICA_DEVICE_CPU, 0, accepts, scratch_bytes, mica_project_ref},
};

static const mica_param params[] = {
    {"eps", MICA_PARAM_F32, offsetof(mica_project_params, eps)},
    {"offset", MICA_PARAM_F32, offsetof(mica_project_params, offset)},
    {"activation", MICA_PARAM_I32, offsetof(mica_project_params, activation)},
    {"normed", MICA_PARAM_BOOL, offsetof(mica_project_params, is_normed)},
    {"gated", MICA_PARAM_BOOL, offsetof(mica_project_params, is_gated)},
};

const mica_op mica_op_project = {
    .name = "project",
    .n_inputs_min = MICA_PROJECT_WEIGHT + 2,
    .n_inputs_max = MICA_PROJECT_INPUTS_MAX,
    .optional = 0xFFFF & ~(1 << MICA_PROJECT_X | 1 << MICA_PROJECT_WEIGHT),
    .quantized =
        1 << MICA_PROJECT_WEIGHT | 1 << (MICA_PROJECT_WEIGHT + 2) | 1 << (MICA_PROJECT_WEIGHT + 4),
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer,
    .compose = compose,
    .cost = cost,
    .launch = launch,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};
