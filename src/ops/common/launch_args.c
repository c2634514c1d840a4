#include "ops/common/launch_args.h"

void mica_launch_tensor(mica_launch *l, mica_tensor_args *t, mica_ref ref) {
    const mica_node *n = mica_graph_node(l->graph, ref);
    t->dtype = n->dtype;
    t->rank = n->shape.rank;
    for (int axis = 0; axis < n->shape.rank; axis++) {
        t->dims[axis] = n->shape.dims[axis];
        t->strides[axis] = n->strides[axis];
    }
    mica_launch_read(l, &t->address, ref, 0);
}

void mica_launch_elements(mica_launch *l, int64_t elements) {
    int64_t items = elements / 4096 + 1;
    l->step->grid[0] = items < UINT32_MAX ? (uint32_t)items : UINT32_MAX;
    l->step->grid[1] = l->step->grid[2] = 1;
}

void mica_launch_rows(const mica_shape *s, int64_t *rows, int64_t *row) {
    *rows = s->rank ? s->dims[0] : 1;
    *row = 1;
    for (int axis = 1; axis < s->rank; axis++) *row *= s->dims[axis];
}

/* Strides of x along the axes of the result, 0 where it is broadcast. */
static void broadcast_strides(const mica_node *x, const mica_shape *out, int64_t strides[]) {
    int missing = out->rank - x->shape.rank;
    for (int axis = 0; axis < out->rank; axis++) {
        int own = axis - missing;
        strides[axis] = own < 0 || x->shape.dims[own] == 1 ? 0 : x->strides[own];
    }
}

static bool can_merge(const mica_elementwise_args *e, int n_inputs, int outer, int64_t dim,
                      int64_t strides[][MICA_RANK_MAX], int axis) {
    for (int i = 0; i < n_inputs; i++)
        if (e->strides[i][outer] != strides[i][axis] * dim) return false;
    return true;
}

/* Drops axes of length 1 and merges neighbours that every input runs through in one stride. */
static void merge_axes(mica_elementwise_args *e, const mica_shape *s, int n_inputs,
                       int64_t strides[][MICA_RANK_MAX]) {
    int rank = 0;
    for (int axis = 0; axis < s->rank; axis++) {
        int64_t dim = s->dims[axis];
        if (dim == 1) continue;
        if (rank > 0 && can_merge(e, n_inputs, rank - 1, dim, strides, axis)) {
            e->dims[rank - 1] *= dim;
        } else {
            e->dims[rank++] = dim;
        }
        for (int i = 0; i < n_inputs; i++) e->strides[i][rank - 1] = strides[i][axis];
    }
    if (rank == 0) e->dims[rank++] = 1;
    e->rank = rank;
}

void mica_launch_elementwise(mica_launch *l, mica_elementwise_args *e, const mica_node *n) {
    int64_t strides[MICA_ELEMENTWISE_INPUTS_MAX][MICA_RANK_MAX] = {{0}};
    for (int i = 0; i < n->n_inputs; i++) {
        const mica_node *x = mica_graph_node(l->graph, n->inputs[i]);
        e->dtype_in[i] = x->dtype;
        broadcast_strides(x, &n->shape, strides[i]);
        mica_launch_read(l, &e->in[i], n->inputs[i], 0);
    }
    merge_axes(e, &n->shape, n->n_inputs, strides);
    mica_launch_rows(&n->shape, &e->rows, &e->row);
    e->dtype_out = n->dtype;
    mica_launch_write(l, &e->out, n, 0);
    mica_launch_live(l, &e->live, n);
    mica_launch_elements(l, mica_shape_count(&n->shape));
}
