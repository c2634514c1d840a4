/* Rules and launch of weight operands: what linear and linear_experts ask of them. */
#include "ops/linear/linear_operands.h"
#include "base/error.h"
#include "mica/ops.h"
#include "ops/common/rule.h"

int mica_linear_kind(int dtype) {
    switch (dtype) {
    case MICA_DTYPE_F32:
        return MICA_KIND_F32;
    case MICA_DTYPE_F16:
        return MICA_KIND_F16;
    case MICA_DTYPE_BF16:
        return MICA_KIND_BF16;
    default:
        return MICA_KIND_U8;
    }
}

mica_quant_desc mica_linear_quant(mica_quant q) {
    return (mica_quant_desc){.mode = q.mode,
                             .bits = q.bits,
                             .group = q.group,
                             .scale_kind = (uint8_t)mica_linear_kind(q.scale_dtype)};
}

static bool is_matrix_dtype(const mica_node *x) {
    return x->quant.mode == MICA_QUANT_NONE && mica_linear_kind(x->dtype) != MICA_KIND_U8;
}

static mica_status check_weight(const mica_node *x, const mica_node *w, mica_error *err) {
    char a[176], b[176];
    bool is_quantized = w->quant.mode != MICA_QUANT_NONE;
    int64_t k = w->shape.rank ? w->shape.dims[w->shape.rank - 1] : 0;
    if (x->shape.rank < 1 || x->shape.dims[x->shape.rank - 1] != k)
        return mica_fail(err, MICA_STATUS_INVALID, "x %s and weight %s differ in the last axis",
                         mica_shape_format(&x->shape, a), mica_shape_format(&w->shape, b));
    if (!is_quantized && !is_matrix_dtype(w))
        return mica_fail(err, MICA_STATUS_INVALID, "weight of %s, expected f32, f16 or bf16",
                         mica_dtype_name((mica_dtype)w->dtype));
    if (is_quantized && (!mica_quant_is_valid(w->quant) || k % w->quant.group != 0))
        return mica_fail(err, MICA_STATUS_INVALID, "weight %s in groups of %d",
                         mica_shape_format(&w->shape, b), w->quant.group);
    if (w->live != MICA_LIVE_ALL)
        return mica_fail(err, MICA_STATUS_INVALID, "weight %s has live rows",
                         mica_shape_format(&w->shape, b));
    return MICA_STATUS_OK;
}

static mica_status check_bias(const mica_node *w, const mica_node *bias, mica_error *err) {
    char a[176], b[176];
    mica_shape want = w->shape;
    want.rank--;
    want.dims[want.rank] = 0;
    bool fits = bias->shape.rank == want.rank;
    for (int i = 0; fits && i < want.rank; i++) fits = bias->shape.dims[i] == want.dims[i];
    if (!fits)
        return mica_fail(err, MICA_STATUS_INVALID, "bias %s, expected %s",
                         mica_shape_format(&bias->shape, a), mica_shape_format(&want, b));
    if (!is_matrix_dtype(bias) || bias->live != MICA_LIVE_ALL)
        return mica_fail(err, MICA_STATUS_INVALID,
                         "bias of %s, expected f32, f16 or bf16 without live rows",
                         mica_dtype_name((mica_dtype)bias->dtype));
    return MICA_STATUS_OK;
}

mica_status mica_linear_check(const mica_graph *g, const mica_node *n, mica_error *err) {
    const mica_node *x = mica_rule_input(g, n, 0), *w = mica_rule_input(g, n, 1);
    if (!is_matrix_dtype(x))
        return mica_fail(err, MICA_STATUS_INVALID, "x of %s, expected f32, f16 or bf16",
                         mica_dtype_name((mica_dtype)x->dtype));
    if (w->shape.rank < 2)
        return mica_fail(err, MICA_STATUS_INVALID, "a weight of rank %d, expected a matrix",
                         w->shape.rank);
    mica_status st = check_weight(x, w, err);
    if (st != MICA_STATUS_OK || !n->inputs[2]) return st;
    return check_bias(w, mica_rule_input(g, n, 2), err);
}

void mica_linear_describe(const mica_graph *g, const mica_node *n, mica_linear_weight *out) {
    const mica_node *w = mica_rule_input(g, n, 1);
    int64_t k = w->shape.dims[w->shape.rank - 1];
    *out = (mica_linear_weight){0};
    out->x_kind = (uint8_t)mica_linear_kind(mica_rule_input(g, n, 0)->dtype);
    if (n->inputs[2]) out->bias_kind = (uint8_t)mica_linear_kind(mica_rule_input(g, n, 2)->dtype);
    if (w->quant.mode == MICA_QUANT_NONE) {
        out->kind = (uint8_t)mica_linear_kind(w->dtype);
        out->row_bytes = k * mica_kind_bytes(out->kind);
        return;
    }
    out->quant = mica_linear_quant(w->quant);
    out->row_bytes = mica_quant_code_bytes(out->quant, k);
    out->scale_bytes = mica_quant_scale_bytes(out->quant, k);
}

uint64_t mica_linear_weight_bytes(const mica_graph *g, const mica_node *n, uint64_t n_rows) {
    mica_linear_weight w;
    mica_linear_describe(g, n, &w);
    uint64_t scales = (uint64_t)w.scale_bytes * (w.quant.mode == MICA_QUANT_AFFINE ? 2 : 1);
    uint64_t bias = n->inputs[2] ? (uint64_t)mica_kind_bytes(w.bias_kind) : 0;
    return n_rows * ((uint64_t)w.row_bytes + scales + bias);
}

bool mica_linear_accepts_amx(const mica_graph *g, const mica_node *n) {
    const mica_node *w = mica_rule_input(g, n, 1);
    bool is_dense = w->quant.mode == MICA_QUANT_NONE && w->dtype == MICA_DTYPE_BF16;
    return g->mode == MICA_FAST && (is_dense || w->quant.mode == MICA_QUANT_MXFP4);
}

bool mica_linear_accepts_int8(const mica_graph *g, const mica_node *n) {
    return g->mode == MICA_FAST && mica_rule_input(g, n, 1)->quant.mode == MICA_QUANT_MXFP4;
}

bool mica_linear_accepts_int16(const mica_graph *g, const mica_node *n) {
    return g->mode == MICA_FAST && mica_rule_input(g, n, 1)->quant.mode == MICA_QUANT_AFFINE;
}

void mica_linear_launch(mica_launch *l, const mica_node *n, mica_address *codes,
                        mica_address *scales, mica_address *biases) {
    int parts = mica_quant_parts(mica_rule_input(l->graph, n, 1)->quant);
    mica_launch_read(l, codes, n->inputs[1], 0);
    if (parts > 1) mica_launch_read(l, scales, n->inputs[1], 1);
    if (parts > 2) mica_launch_read(l, biases, n->inputs[1], 2);
}

mica_array mica_linear_compose_f32(mica_graph *g, mica_ref ref) {
    bool is_quantized = mica_graph_node(g, ref)->quant.mode != MICA_QUANT_NONE;
    mica_array a = mica_array_of(g, ref);
    return is_quantized ? mica_dequantize(g, a, MICA_DTYPE_F32) : mica_cast(g, a, MICA_DTYPE_F32);
}
