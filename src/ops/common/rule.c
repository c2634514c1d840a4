#include "ops/common/rule.h"
#include "base/error.h"
#include "mica/ops.h"

mica_status mica_rule_axis(int64_t axis, const mica_shape *s, int *out, mica_error *err) {
    char text[176];
    int64_t from_start = axis < 0 ? axis + s->rank : axis;
    if (from_start < 0 || from_start >= s->rank)
        return mica_fail(err, MICA_STATUS_INVALID, "axis %lld of shape %s", (long long)axis,
                         mica_shape_format(s, text));
    *out = (int)from_start;
    return MICA_STATUS_OK;
}

static const char *live_name(int live) {
    return live == MICA_LIVE_TOKENS ? "tokens" : live == MICA_LIVE_ROWS ? "rows" : "all";
}

mica_status mica_rule_live(const mica_graph *g, mica_node *n, int i, mica_error *err) {
    char a[176], b[176];
    const mica_node *x = mica_rule_input(g, n, i);
    if (x->live == MICA_LIVE_ALL) return MICA_STATUS_OK;
    if (n->live != MICA_LIVE_ALL && n->live != x->live)
        return mica_fail(err, MICA_STATUS_INVALID,
                         "inputs with two kinds of live rows, %s %s and %s %s", live_name(n->live),
                         mica_shape_format(&n->shape, a), live_name(x->live),
                         mica_shape_format(&x->shape, b));
    if (n->shape.rank == 0 || x->shape.rank == 0 || n->shape.dims[0] != x->shape.dims[0])
        return mica_fail(err, MICA_STATUS_INVALID, "live axis 0 of %s is not axis 0 of %s",
                         mica_shape_format(&x->shape, a), mica_shape_format(&n->shape, b));
    n->live = x->live;
    return MICA_STATUS_OK;
}

mica_status mica_rule_residual(const mica_graph *g, const mica_node *n, int i, mica_error *err) {
    char a[176], b[176];
    if (i >= n->n_inputs || !n->inputs[i]) return MICA_STATUS_OK;
    const mica_node *r = mica_rule_input(g, n, i);
    if (r->quant.mode == MICA_QUANT_NONE && r->dtype == n->dtype && r->live == n->live &&
        mica_shape_equal(&r->shape, &n->shape))
        return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_INVALID, "residual %s%s, expected %s%s",
                     mica_dtype_name((mica_dtype)r->dtype), mica_shape_format(&r->shape, a),
                     mica_dtype_name((mica_dtype)n->dtype), mica_shape_format(&n->shape, b));
}

mica_status mica_rule_broadcast(const mica_graph *g, mica_node *n, mica_error *err) {
    char a[176], b[176];
    n->shape = mica_rule_input(g, n, 0)->shape;
    for (int i = 1; i < n->n_inputs; i++) {
        mica_shape before = n->shape;
        const mica_shape *s = &mica_rule_input(g, n, i)->shape;
        if (!mica_shape_broadcast(&before, s, &n->shape))
            return mica_fail(err, MICA_STATUS_INVALID, "shapes %s and %s do not broadcast",
                             mica_shape_format(&before, a), mica_shape_format(s, b));
    }
    n->live = MICA_LIVE_ALL;
    for (int i = 0; i < n->n_inputs; i++) {
        const mica_node *x = mica_rule_input(g, n, i);
        if (x->live != MICA_LIVE_ALL && x->shape.rank != n->shape.rank)
            return mica_fail(err, MICA_STATUS_INVALID, "live axis 0 of %s is not axis 0 of %s",
                             mica_shape_format(&x->shape, a), mica_shape_format(&n->shape, b));
        mica_status st = mica_rule_live(g, n, i, err);
        if (st != MICA_STATUS_OK) return st;
    }
    return MICA_STATUS_OK;
}

mica_status mica_rule_view(const mica_graph *g, mica_node *n, mica_error *err) {
    char text[176];
    const mica_node *x = mica_rule_input(g, n, 0);
    if (x->quant.mode != MICA_QUANT_NONE)
        return mica_fail(err, MICA_STATUS_INVALID, "quantised array %s, expected a plain one",
                         mica_shape_format(&x->shape, text));
    n->dtype = x->dtype;
    n->quant = x->quant;
    n->live = x->live;
    n->is_view = 1;
    n->view_of = mica_node_root(g, n->inputs[0]);
    n->view_offset = x->is_view ? x->view_offset : 0;
    return MICA_STATUS_OK;
}

mica_status mica_shape_params_pack(int rank, const int64_t *dims, mica_shape_params *out,
                                   mica_error *err) {
    mica_shape shape;
    if (!mica_shape_make(rank, dims, &shape))
        return mica_fail(err, MICA_STATUS_INVALID,
                         "rank %d or a length is out of range, expected rank 0..%d and at most "
                         "2^48 elements",
                         rank, MICA_RANK_MAX);
    *out = (mica_shape_params){.rank = rank};
    for (int i = 0; i < rank; i++) {
        if (dims[i] <= INT32_MAX) {
            out->dims[i] = (int32_t)dims[i];
            continue;
        }
        if (out->large) return mica_fail(err, MICA_STATUS_LIMIT, "two axes longer than 2^31");
        out->large = dims[i];
        out->dims[i] = -1;
    }
    return MICA_STATUS_OK;
}

mica_status mica_shape_params_unpack(const mica_shape_params *p, mica_shape *out, mica_error *err) {
    int64_t dims[MICA_RANK_MAX];
    bool fits = p->rank >= 0 && p->rank <= MICA_RANK_MAX;
    for (int i = 0; fits && i < p->rank; i++) dims[i] = p->dims[i] == -1 ? p->large : p->dims[i];
    if (!fits || !mica_shape_make(p->rank, dims, out))
        return mica_fail(err, MICA_STATUS_INVALID, "its parameters are not a shape");
    return MICA_STATUS_OK;
}

bool mica_rule_adopt_dtype(mica_graph *g, mica_array *arrays, int n) {
    mica_dtype dtype = MICA_DTYPE_NONE;
    for (int i = 0; i < n; i++) {
        mica_ref ref = mica_array_ref(g, arrays[i], false);
        if (!ref) return false;
        const mica_node *x = mica_graph_node(g, ref);
        if (!x->is_scalar && dtype == MICA_DTYPE_NONE) dtype = (mica_dtype)x->dtype;
    }
    for (int i = 0; i < n; i++) {
        const mica_node *x = mica_graph_node(g, mica_array_ref(g, arrays[i], false));
        bool adopts = x->is_scalar && dtype != MICA_DTYPE_NONE;
        arrays[i] = adopts ? mica_cast(g, arrays[i], dtype) : mica_array_retain(g, arrays[i]);
    }
    return true;
}

mica_array mica_rule_failed(mica_graph *g, const char *op, const mica_error *err) {
    mica_graph_fail(g, err->status, "%s: %s", op, err->message);
    return (mica_array){0};
}
