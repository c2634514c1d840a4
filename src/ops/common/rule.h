/* What the shape rules of several ops share: axes, broadcasting, live counts, and shapes as
 * parameters. Errors: INVALID, with the shapes; the op's name
 * is put in front by mica_graph_add and mica_rule_failed. */
#pragma once
#include <assert.h>
#include "core/op.h"

/* The node behind input i. Borrowed until a node is added. */
static inline const mica_node *mica_rule_input(const mica_graph *g, const mica_node *n, int i) {
    return mica_graph_node(g, n->inputs[i]);
}

/* axis of s, counted from the end when negative. */
mica_status mica_rule_axis(int64_t axis, const mica_shape *s, int *out, mica_error *err);

/* Gives n the live kind of input i, whose axis 0 is n's. Errors: two kinds, or axes 0 of different
 * length or place (n->shape must be set). */
mica_status mica_rule_live(const mica_graph *g, mica_node *n, int i, mica_error *err);

/* Input i, where there is one, must have n's dtype, shape and live kind, which are set already. */
mica_status mica_rule_residual(const mica_graph *g, const mica_node *n, int i, mica_error *err);

/* n->shape = the broadcast of all inputs; n->live = theirs. */
mica_status mica_rule_broadcast(const mica_graph *g, mica_node *n, mica_error *err);

/* Starts a view of input 0: dtype, quant, root and offset; shape, strides and live are left to the
 * op. Quantised inputs are refused: their parts have no strides. */
mica_status mica_rule_view(const mica_graph *g, mica_node *n, mica_error *err);

/* A shape as op parameters: 32-bit lengths, so that it fits; at most one axis may be longer, which
 * is written as -1 and stands in `large`. */
typedef struct mica_shape_params {
    int64_t large;
    int32_t rank;
    int32_t dims[MICA_RANK_MAX];
} mica_shape_params;
static_assert(sizeof(mica_shape_params) == 48, "parameters are printed by offset");

/* The rows of the op's parameter table for a mica_shape_params at `start` of its struct. */
#define MICA_SHAPE_PARAM_ROWS(start)                                                               \
    {"large", MICA_PARAM_I64, (start) + 0}, {"rank", MICA_PARAM_I32, (start) + 8},                 \
        {"d0", MICA_PARAM_I32, (start) + 12}, {"d1", MICA_PARAM_I32, (start) + 16},                \
        {"d2", MICA_PARAM_I32, (start) + 20}, {"d3", MICA_PARAM_I32, (start) + 24},                \
        {"d4", MICA_PARAM_I32, (start) + 28}, {"d5", MICA_PARAM_I32, (start) + 32},                \
        {"d6", MICA_PARAM_I32, (start) + 36}, {                                                    \
        "d7", MICA_PARAM_I32, (start) + 40                                                         \
    }

/* Errors: INVALID for a shape that mica_shape_make refuses, LIMIT for two long axes. */
mica_status mica_shape_params_pack(int rank, const int64_t *dims, mica_shape_params *out,
                                   mica_error *err);
mica_status mica_shape_params_unpack(const mica_shape_params *p, mica_shape *out, mica_error *err);

/* Retains n arrays for an op that wants one dtype: those made by mica_scalar are cast to that of
 * the others. The caller releases all n. Returns false, with nothing to release, after an error. */
bool mica_rule_adopt_dtype(mica_graph *g, mica_array *arrays, int n);

/* Makes "<op>: <message>" stick to g; returns the null array. */
mica_array mica_rule_failed(mica_graph *g, const char *op, const mica_error *err);
