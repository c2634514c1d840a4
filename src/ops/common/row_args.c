#include "ops/common/row_args.h"
#include "base/error.h"
#include "ops/common/element.h"
#include "ops/common/launch_args.h"

mica_status mica_rule_rows(const mica_graph *g, mica_node *n, mica_error *err) {
    const mica_node *x = mica_graph_node(g, n->inputs[0]);
    char text[176];
    if (!mica_dtype_is_small_float(x->dtype) || x->shape.rank < 1)
        return mica_fail(err, MICA_STATUS_INVALID,
                         "x is %s %s, wanted f32, f16 or bf16 of rank 1 or more",
                         mica_dtype_name((mica_dtype)x->dtype), mica_shape_format(&x->shape, text));
    if (x->live && x->shape.rank < 2)
        return mica_fail(err, MICA_STATUS_INVALID, "the last axis of x %s has a live count",
                         mica_shape_format(&x->shape, text));
    n->dtype = x->dtype;
    n->shape = x->shape;
    n->live = x->live;
    return MICA_STATUS_OK;
}

mica_status mica_rule_row_vector(const mica_graph *g, const mica_node *n, int i, const char *what,
                                 int64_t length, mica_error *err) {
    if (i >= n->n_inputs || !n->inputs[i]) return MICA_STATUS_OK;
    const mica_node *v = mica_graph_node(g, n->inputs[i]);
    char text[176];
    if (!mica_dtype_is_small_float(v->dtype) || v->shape.rank != 1 || v->shape.dims[0] != length ||
        v->live)
        return mica_fail(err, MICA_STATUS_INVALID, "%s is %s %s, wanted f32, f16 or bf16 [%lld]",
                         what, mica_dtype_name((mica_dtype)v->dtype),
                         mica_shape_format(&v->shape, text), (long long)length);
    return MICA_STATUS_OK;
}

void mica_launch_row_args(mica_launch *l, mica_row_args *a, const mica_node *n) {
    const mica_node *x = mica_graph_node(l->graph, n->inputs[0]);
    const mica_shape *s = &x->shape;
    int64_t count = mica_shape_count(s);
    a->n = s->dims[s->rank - 1];
    a->n_blocks = s->rank > 1 ? s->dims[0] : 1;
    a->block_rows = 1;
    for (int axis = 1; axis < s->rank - 1; axis++) a->block_rows *= s->dims[axis];
    a->dtype = x->dtype;
    mica_launch_read(l, &a->x, n->inputs[0], 0);
    mica_launch_write(l, &a->out, n, 0);
    mica_launch_live(l, &a->live, n);
    mica_launch_elements(l, count);
}
