/* Projections: linears of one x become one node of op `project`, side by side or as a gate and what
 * it lets through, and a norm before them that nobody else reads goes into it where x has few rows,
 * as does the choice of those rows. */
#include <string.h>
#include "mica/ops.h"
#include "plan/fuse.h"

/* Inputs of project: x, the norm's weight, the chosen rows, then weights and biases. */
enum { IN_X, IN_NORM, IN_ROWS, IN_WEIGHT, PARTS_MAX = 3 };

static const mica_node *node_of(const mica_fusion *f, mica_ref ref) {
    return mica_graph_node(f->draft->graph, ref);
}

/* A linear without a residual. */
static bool is_plain_linear(const mica_fusion *f, mica_ref ref) {
    const mica_node *n = node_of(f, ref);
    return n->op == MICA_OP_linear && n->n_inputs == 3 && !f->is_absorbed[ref] &&
           !f->is_overwritten[ref] && !mica_fuse_reads_overwritten(f, n);
}

static bool is_of_type(const mica_node *a, const mica_node *b) {
    return a->dtype == b->dtype && a->live == b->live && mica_shape_equal(&a->shape, &b->shape);
}

/* A project of x alone. */
static mica_node begin_project(mica_ref x) {
    mica_node n = {.op = MICA_OP_project, .n_inputs = IN_WEIGHT};
    n.inputs[IN_X] = x;
    return n;
}

static void add_part(mica_node *project, const mica_node *linear) {
    project->inputs[project->n_inputs++] = linear->inputs[1];
    project->inputs[project->n_inputs++] = linear->inputs[2];
}

/* Puts what `project` says of op, inputs and params in the place of ref. */
static bool replace_by(mica_fusion *f, mica_ref ref, const mica_node *project) {
    mica_node by = *node_of(f, ref);
    by.op = project->op;
    by.n_inputs = project->n_inputs;
    memcpy(by.inputs, project->inputs, sizeof by.inputs);
    by.params = project->params;
    return mica_fuse_replace(f, ref, by);
}

/* ---- norm and choice of rows ---- */

static int64_t count_rows(const mica_node *n) {
    int64_t rows = 1;
    for (int i = 0; i + 1 < n->shape.rank; i++) rows *= n->shape.dims[i];
    return rows;
}

/* gather of whole rows of a matrix by a vector. */
static bool is_choice_of_rows(const mica_fusion *f, mica_ref ref) {
    const mica_node *n = node_of(f, ref);
    if (n->op != MICA_OP_gather || !mica_fuse_is_private(f, ref)) return false;
    const mica_node *x = node_of(f, n->inputs[0]), *ids = node_of(f, n->inputs[1]);
    return x->quant.mode == MICA_QUANT_NONE && x->dtype == n->dtype && x->shape.rank == 2 &&
           ids->shape.rank == 1 && mica_node_is_contiguous(x) && mica_node_is_contiguous(ids) &&
           !mica_fuse_reads_overwritten(f, n);
}

/* Takes the rows that the norm reads from before their choice. */
static void absorb_rows(const mica_fusion *f, mica_node *project) {
    if (!is_choice_of_rows(f, project->inputs[IN_X])) return;
    const mica_node *gather = node_of(f, project->inputs[IN_X]);
    project->inputs[IN_X] = gather->inputs[0];
    project->inputs[IN_ROWS] = gather->inputs[1];
}

/* Whether the node, a linear or a project without a norm, can compute that of its x itself. */
static bool can_take_norm(const mica_fusion *f, mica_ref ref) {
    const mica_node *n = node_of(f, ref), *norm = node_of(f, n->inputs[IN_X]);
    return norm->op == MICA_OP_rms_norm && mica_fuse_is_private(f, n->inputs[IN_X]) &&
           count_rows(n) <= MICA_FUSE_ROWS_MAX && !mica_fuse_reads_overwritten(f, norm);
}

/* Puts `project`, whose x is a norm, in the place of ref, with the norm in it. */
static bool take_norm(mica_fusion *f, mica_ref ref, const mica_node *project) {
    if (!can_take_norm(f, ref)) return false;
    const mica_node *norm = node_of(f, project->inputs[IN_X]);
    mica_node by = *project;
    by.inputs[IN_X] = norm->inputs[0];
    by.inputs[IN_NORM] = norm->inputs[1];
    mica_fuse_copy_param(f, norm, &by, "eps");
    mica_fuse_copy_param(f, norm, &by, "offset");
    mica_fuse_set_param(f, &by, "normed", true);
    absorb_rows(f, &by);
    return replace_by(f, ref, &by);
}

/* linear of an rms_norm. */
bool mica_fuse_prologue(mica_fusion *f, mica_ref ref) {
    if (!is_plain_linear(f, ref)) return false;
    const mica_node *n = node_of(f, ref);
    mica_node project = begin_project(n->inputs[IN_X]);
    add_part(&project, n);
    return take_norm(f, ref, &project);
}

/* ---- gates ---- */

/* Two linears of one x. */
static bool gate_by_two(const mica_fusion *f, mica_ref gate, mica_ref up, mica_node *out) {
    const mica_node *a = node_of(f, gate), *b = node_of(f, up);
    if (!is_plain_linear(f, gate) || !is_plain_linear(f, up) || gate == up ||
        !mica_fuse_is_private(f, gate) || !mica_fuse_is_private(f, up) ||
        a->inputs[IN_X] != b->inputs[IN_X])
        return false;
    *out = begin_project(a->inputs[IN_X]);
    add_part(out, a);
    add_part(out, b);
    return true;
}

/* The half of a linear's columns that begins at `offset`, and nobody else's. */
static bool is_half(const mica_fusion *f, mica_ref ref, mica_ref linear, int64_t offset) {
    const mica_node *n = node_of(f, ref), *l = node_of(f, linear);
    int last = n->shape.rank - 1;
    if (!n->is_view || n->view_of != linear || n->inputs[0] != linear || n->n_inputs != 1 ||
        !mica_fuse_is_private(f, ref) || n->shape.rank != l->shape.rank || last < 0 ||
        n->view_offset != offset || l->shape.dims[last] != 2 * n->shape.dims[last])
        return false;
    for (int i = 0; i <= last; i++)
        if ((i < last && n->shape.dims[i] != l->shape.dims[i]) ||
            (n->shape.dims[i] > 1 && n->strides[i] != l->strides[i]))
            return false;
    return true;
}

/* Two halves of one linear that nobody else reads. */
static bool gate_by_halves(const mica_fusion *f, mica_ref gate, mica_ref up, mica_node *out) {
    const mica_node *a = node_of(f, gate);
    mica_ref linear = a->is_view ? a->view_of : 0;
    enum { USERS = 4 }; /* each view counts as its input's user and as the storage's */
    if (!linear || !is_plain_linear(f, linear) || f->n_users[linear] != USERS || a->shape.rank < 1)
        return false;
    if (!is_half(f, gate, linear, 0) || !is_half(f, up, linear, a->shape.dims[a->shape.rank - 1]))
        return false;
    *out = begin_project(node_of(f, linear)->inputs[IN_X]);
    add_part(out, node_of(f, linear));
    return true;
}

/* activation(gate) * up with the activation on this side. */
static bool find_gate(const mica_fusion *f, mica_ref ref, int side, mica_node *out) {
    const mica_node *n = node_of(f, ref), *active = node_of(f, n->inputs[side]);
    int32_t kind = 0;
    if (active->op != MICA_OP_unary || !mica_fuse_is_private(f, n->inputs[side]) ||
        !is_of_type(active, n) || f->is_overwritten[n->inputs[side]] ||
        !mica_draft_read_param(mica_draft_op(f->draft, active), active, "kind", &kind))
        return false;
    mica_ref gate = active->inputs[0], up = n->inputs[1 - side];
    if (!is_of_type(node_of(f, gate), n) || !is_of_type(node_of(f, up), n)) return false;
    if (!gate_by_two(f, gate, up, out) && !gate_by_halves(f, gate, up, out)) return false;
    mica_fuse_set_param(f, out, "activation", kind);
    mica_fuse_set_param(f, out, "gated", true);
    return true;
}

bool mica_fuse_gate(mica_fusion *f, mica_ref ref) {
    const mica_node *n = node_of(f, ref);
    int32_t kind = 0;
    if (n->op != MICA_OP_binary ||
        !mica_draft_read_param(mica_draft_op(f->draft, n), n, "kind", &kind) ||
        kind != MICA_BINARY_MUL)
        return false;
    for (int side = 0; side < 2; side++) {
        mica_node by;
        if (!find_gate(f, ref, side, &by) || !replace_by(f, ref, &by)) continue;
        take_norm(f, ref, &by);
        return true;
    }
    return false;
}

/* ---- side by side ---- */

/* Linears of one x, in node order, and what they were. */
typedef struct linear_group {
    mica_ref refs[PARTS_MAX];
    mica_node was[PARTS_MAX];
    int n;
} linear_group;

/* Weights that are computed could depend on another linear of the group. */
static bool is_leaf(const mica_fusion *f, mica_ref ref) {
    return !ref || mica_node_is_leaf(node_of(f, mica_node_root(f->draft->graph, ref)));
}

static bool can_stand_beside(const mica_fusion *f, mica_ref ref) {
    const mica_node *n = node_of(f, ref);
    return is_plain_linear(f, ref) && !n->is_output && n->shape.rank > 1 &&
           is_leaf(f, n->inputs[1]) && is_leaf(f, n->inputs[2]);
}

/* `ref` is the last of them; the walk has not come to the others yet. */
static void find_group(const mica_fusion *f, mica_ref ref, linear_group *out) {
    enum { WINDOW = 64 }; /* a layer's projections of one x stand close to each other */
    mica_ref x = node_of(f, ref)->inputs[IN_X], found[PARTS_MAX];
    int n = 0;
    out->n = 0;
    if (!can_stand_beside(f, ref)) return;
    for (mica_ref r = ref; r > 0 && ref - r < WINDOW && n < PARTS_MAX; r--)
        if (node_of(f, r)->inputs[IN_X] == x && can_stand_beside(f, r)) found[n++] = r;
    for (; out->n < n; out->n++) {
        out->refs[out->n] = found[n - 1 - out->n];
        out->was[out->n] = *node_of(f, out->refs[out->n]);
    }
}

static mica_ref add_project(mica_fusion *f, const linear_group *group) {
    mica_node project = begin_project(group->was[0].inputs[IN_X]);
    for (int i = 0; i < group->n; i++) add_part(&project, &group->was[i]);
    return mica_fuse_add(f, project);
}

/* Makes linear i a view of its columns in the project. */
static bool become_slice(mica_fusion *f, const linear_group *group, int i, mica_ref project) {
    mica_node by = group->was[i];
    int axis = by.shape.rank - 1;
    int64_t start = 0;
    for (int j = 0; j < i; j++) start += group->was[j].shape.dims[axis];
    by.op = MICA_OP_slice;
    by.n_inputs = 1;
    memset(by.inputs, 0, sizeof by.inputs);
    by.inputs[0] = project;
    memset(&by.params, 0, sizeof by.params);
    mica_fuse_set_param(f, &by, "start", start);
    mica_fuse_set_param(f, &by, "stop", start + by.shape.dims[axis]);
    mica_fuse_set_param(f, &by, "step", 1);
    mica_fuse_set_param(f, &by, "axis", axis);
    return mica_fuse_replace(f, group->refs[i], by);
}

static bool do_users_read(mica_fusion *f, mica_ref ref, bool is_slice);

/* Node `user` reads `ref` as its input i. A view of a slice becomes a view of the project. */
static bool does_user_read(mica_fusion *f, mica_ref ref, bool is_slice, mica_ref user, int i) {
    const mica_node *n = node_of(f, user);
    if (n->is_view)
        return is_slice && mica_fuse_refresh_view(f, user) && do_users_read(f, user, false);
    return mica_node_is_contiguous(node_of(f, ref)) || mica_draft_op(f->draft, n)->strided >> i & 1;
}

/* Whether all users of a slice, or of a view of one, read it where it lies: without a copy. */
static bool do_users_read(mica_fusion *f, mica_ref ref, bool is_slice) {
    uint32_t left = f->n_users[ref];
    for (mica_ref r = ref + 1; r < f->count && left; r++) {
        const mica_node *n = node_of(f, r);
        for (int i = 0; i < n->n_inputs && !f->is_absorbed[r]; i++) {
            if (n->inputs[i] != ref) continue;
            left -= is_slice && n->is_view ? 2 : 1; /* as input, and as owner of the storage */
            if (!does_user_read(f, ref, is_slice, r, i)) return false;
        }
    }
    return true;
}

/* Makes the linears what they were. */
static void restore(mica_fusion *f, const linear_group *group) {
    for (int i = 0; i < group->n; i++) {
        mica_ref ref = group->refs[i];
        if (!node_of(f, ref)->is_view) continue;
        mica_fuse_replace(f, ref, group->was[i]);
        for (mica_ref r = ref + 1; r < f->count; r++)
            if (node_of(f, r)->is_view && node_of(f, r)->inputs[0] == ref && !f->is_absorbed[r])
                mica_fuse_refresh_view(f, r);
    }
}

/* linears of one x: a project whose columns they are. Not where that would cost a copy. */
bool mica_fuse_side_by_side(mica_fusion *f, mica_ref ref) {
    linear_group group;
    find_group(f, ref, &group);
    mica_ref project = group.n > 1 ? add_project(f, &group) : 0;
    if (!project) return false;
    bool is_good = true;
    for (int i = 0; i < group.n && is_good; i++)
        is_good = become_slice(f, &group, i, project) && do_users_read(f, group.refs[i], true);
    if (is_good) {
        mica_node alone = *node_of(f, project);
        take_norm(f, project, &alone);
        return true;
    }
    restore(f, &group);
    mica_fuse_drop_unused(f, project);
    return false;
}
