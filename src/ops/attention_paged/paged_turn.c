/* Turning heads: the rule, the arguments, and the reference. */
#include "ops/attention_paged/paged_turn.h"
#include "base/error.h"
#include "ops/common/element.h"

mica_status mica_rule_paged_turn(const mica_graph *g, mica_ref table, mica_ref norm, int64_t t,
                                 int64_t dim, mica_error *err) {
    const mica_node *x = mica_graph_node(g, table), *w = mica_graph_node(g, norm);
    char text[176];
    if (table && (x->dtype != MICA_DTYPE_F32 || x->shape.rank != 2 || x->shape.dims[0] != t ||
                  x->shape.dims[1] % 2 || x->shape.dims[1] > dim))
        return mica_fail(err, MICA_STATUS_INVALID,
                         "a table %s %s, wanted f32 [%lld, twice the pairs of %lld]",
                         mica_dtype_name((mica_dtype)x->dtype), mica_shape_format(&x->shape, text),
                         (long long)t, (long long)dim);
    if (norm && (!mica_dtype_is_small_float(w->dtype) || w->shape.rank != 1 ||
                 w->shape.dims[0] != dim || w->live))
        return mica_fail(err, MICA_STATUS_INVALID, "a norm's weight %s %s, wanted floats [%lld]",
                         mica_dtype_name((mica_dtype)w->dtype), mica_shape_format(&w->shape, text),
                         (long long)dim);
    return MICA_STATUS_OK;
}

void mica_launch_paged_turn(mica_launch *l, mica_paged_turn *turn, mica_ref table, mica_ref norm,
                            float eps, float offset) {
    mica_launch_read(l, &turn->table, table, 0);
    mica_launch_read(l, &turn->norm, norm, 0);
    if (table) turn->n_pairs = mica_graph_node(l->graph, table)->shape.dims[1] / 2;
    if (norm) turn->norm_dtype = mica_graph_node(l->graph, norm)->dtype;
    turn->eps = eps;
    turn->offset = offset;
}

void mica_paged_turn_ref(const mica_paged_turn *turn, int64_t token, int64_t dim, float *row) {
    mica_rms_norm_args norm = mica_paged_norm_args(turn, dim);
    mica_rope_args rope = {.dim = dim, .n_pairs = turn->n_pairs, .dtype = MICA_DTYPE_F32};
    if (turn->norm) mica_rms_norm_row_ref(&norm, row, row);
    if (turn->table) mica_rope_head_ref(&rope, mica_paged_table(turn, token), row, row);
}
