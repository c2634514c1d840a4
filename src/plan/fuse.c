/* Pass fuse: groups of nodes become one node, so that values in between need no memory and no step.
 *
 * Residuals: what is added to the result of a linear that nobody else sees becomes its fourth
 * input.
 *
 * Chains: elementwise ops on floats whose results have one user become a register program
 * (core/program.h) of their last node. A program takes three inputs at most and gives the bits of
 * its chain; a chain that is too long is cut where it no longer fits. */
#include <string.h>
#include "base/error.h"
#include "core/program.h"
#include "mica/ops.h"
#include "plan/draft.h"

typedef struct fusion {
    mica_draft *draft;
    uint32_t *n_users;       /* nodes and outputs that need a node */
    uint8_t *is_absorbed;    /* part of a program of a later node */
    uint8_t *is_overwritten; /* by an effect */
} fusion;

/* A program under construction. */
typedef struct chain {
    mica_program_params params;
    mica_ref inputs[MICA_PROGRAM_INPUTS_MAX];
    mica_ref nodes[MICA_PROGRAM_CODE_MAX];
    int n_inputs, n_constants, n_code, n_nodes;
} chain;

/* ---- instructions ---- */

static bool is_float(const mica_node *n) {
    return n->quant.mode == MICA_QUANT_NONE &&
           (n->dtype == MICA_DTYPE_F32 || n->dtype == MICA_DTYPE_F16 ||
            n->dtype == MICA_DTYPE_BF16);
}

/* The instruction of a node whose operands and result are floats; false for all other nodes. A cast
 * has none but its rounding: *has_code is false. */
static bool find_code(const mica_draft *d, const mica_node *n, uint8_t *code, bool *has_code) {
    int32_t kind = 0;
    if (n->is_view || !is_float(n)) return false;
    for (int i = 0; i < n->n_inputs; i++)
        if (!is_float(mica_graph_node(d->graph, n->inputs[i]))) return false;
    *has_code = n->op != MICA_OP_cast;
    *code = 0;
    if (n->op == MICA_OP_cast) return true;
    if (n->op != MICA_OP_unary && n->op != MICA_OP_binary) return false;
    if (!mica_draft_read_param(mica_draft_op(d, n), n, "kind", &kind)) return false;
    if (n->op == MICA_OP_unary ? kind == MICA_UNARY_NOT : kind > MICA_BINARY_POW) return false;
    *code = (uint8_t)((n->op == MICA_OP_unary ? MICA_PROGRAM_UNARY : MICA_PROGRAM_BINARY) + kind);
    return true;
}

/* The register of the result, or -1 when the program is full. */
static int add_code(chain *c, uint8_t code, int a, int b) {
    if (c->n_code == MICA_PROGRAM_CODE_MAX) return -1;
    c->params.code[c->n_code] = (mica_program_instruction){code, (uint8_t)a, (uint8_t)b};
    return MICA_PROGRAM_RESULT_0 + c->n_code++;
}

static int add_constant(chain *c, float value) {
    int i = 0;
    while (i < c->n_constants && memcmp(&c->params.constants[i], &value, sizeof value) != 0) i++;
    if (i == MICA_PROGRAM_CONSTANTS_MAX) return -1;
    if (i == c->n_constants) c->params.constants[c->n_constants++] = value;
    return MICA_PROGRAM_CONSTANT_0 + i;
}

static int add_input(chain *c, mica_ref ref) {
    int i = 0;
    while (i < c->n_inputs && c->inputs[i] != ref) i++;
    if (i == MICA_PROGRAM_INPUTS_MAX) return -1;
    if (i == c->n_inputs) c->inputs[c->n_inputs++] = ref;
    return i;
}

/* ---- growing a chain ---- */

static int add_node(const fusion *f, chain *c, mica_ref ref);

/* A value that an effect overwrites must be read where it was: its reader cannot move. */
static bool reads_overwritten(const fusion *f, const mica_node *n) {
    for (int i = 0; i < n->n_inputs; i++)
        if (f->is_overwritten[mica_node_root(f->draft->graph, n->inputs[i])]) return true;
    return false;
}

/* Nobody else sees the value, and it has the elements of its user one by one. */
static bool can_absorb(const fusion *f, mica_ref ref, const mica_node *user) {
    const mica_node *n = mica_graph_node(f->draft->graph, ref);
    uint8_t code;
    bool has_code;
    return f->n_users[ref] == 1 && !n->is_output && n->live == user->live &&
           mica_shape_equal(&n->shape, &user->shape) && !reads_overwritten(f, n) &&
           find_code(f->draft, n, &code, &has_code);
}

static int add_operand(const fusion *f, chain *c, mica_ref ref, const mica_node *user) {
    const mica_node *n = mica_graph_node(f->draft->graph, ref);
    double value;
    if (n->op == MICA_OP_DATA && n->dtype == MICA_DTYPE_F32 &&
        mica_draft_read_scalar(f->draft->graph, ref, &value)) {
        int r = add_constant(c, (float)value);
        if (r >= 0) return r;
    }
    if (can_absorb(f, ref, user)) {
        chain before = *c;
        int r = add_node(f, c, ref);
        if (r >= 0) return r;
        *c = before;
    }
    return add_input(c, ref);
}

static int add_node(const fusion *f, chain *c, mica_ref ref) {
    const mica_node *n = mica_graph_node(f->draft->graph, ref);
    int r[2] = {0, 0};
    uint8_t code;
    bool has_code;
    if (!find_code(f->draft, n, &code, &has_code) || c->n_nodes == MICA_PROGRAM_CODE_MAX) return -1;
    c->nodes[c->n_nodes++] = ref;
    for (int i = 0; i < n->n_inputs; i++)
        if ((r[i] = add_operand(f, c, n->inputs[i], n)) < 0) return -1;
    if (has_code) r[0] = add_code(c, code, r[0], r[1]);
    if (r[0] < 0 || n->dtype == MICA_DTYPE_F32) return r[0];
    return add_code(
        c, n->dtype == MICA_DTYPE_F16 ? MICA_PROGRAM_ROUND_F16 : MICA_PROGRAM_ROUND_BF16, r[0], 0);
}

/* The last instruction gives the result; a program without inputs would have no shape. */
static bool is_whole(const chain *c, int result) {
    return c->n_nodes > 1 && c->n_inputs > 0 && c->n_code > 0 &&
           result == MICA_PROGRAM_RESULT_0 + c->n_code - 1;
}

/* Puts `by` in the place of a node, if its rule gives just what the node was. */
static bool replace_node(fusion *f, mica_ref ref, mica_node by) {
    mica_draft *d = f->draft;
    mica_node *n = mica_graph_node(d->graph, ref);
    mica_error ignored;
    by.live = MICA_LIVE_ALL;
    if (mica_draft_op(d, &by)->infer(d->graph, &by, &ignored) != MICA_STATUS_OK) return false;
    if (by.dtype != n->dtype || by.live != n->live || !mica_shape_equal(&by.shape, &n->shape))
        return false;
    *n = by;
    return true;
}

static void make_program(fusion *f, mica_ref ref, const chain *c) {
    mica_node by = *mica_graph_node(f->draft->graph, ref);
    by.op = MICA_OP_program;
    by.n_inputs = (uint8_t)c->n_inputs;
    memset(by.inputs, 0, sizeof by.inputs);
    memcpy(by.inputs, c->inputs, (size_t)c->n_inputs * sizeof *c->inputs);
    memset(&by.params, 0, sizeof by.params);
    memcpy(&by.params, &c->params, sizeof c->params);
    if (!replace_node(f, ref, by)) return;
    for (int i = 1; i < c->n_nodes; i++) f->is_absorbed[c->nodes[i]] = 1;
}

static void fuse_chain(fusion *f, mica_ref ref) {
    chain c = {.n_code = 0};
    int result = add_node(f, &c, ref);
    c.params.code_bytes = (uint8_t)(c.n_code * (int)sizeof *c.params.code);
    if (result >= 0 && is_whole(&c, result)) make_program(f, ref, &c);
}

/* ---- residuals ---- */

/* Whether operand `side` of a sum is a linear that can take the other one. */
static bool can_take_residual(const fusion *f, const mica_node *sum, int side) {
    const mica_graph *g = f->draft->graph;
    mica_ref ref = sum->inputs[side];
    const mica_node *n = mica_graph_node(g, ref),
                    *other = mica_graph_node(g, sum->inputs[1 - side]);
    return n->op == MICA_OP_linear && n->n_inputs == 3 && f->n_users[ref] == 1 && !n->is_output &&
           n->live == sum->live && mica_shape_equal(&n->shape, &sum->shape) &&
           other->live == sum->live && other->dtype == n->dtype &&
           mica_shape_equal(&other->shape, &sum->shape) && !reads_overwritten(f, n);
}

/* linear(x, w, bias) + y, either way round. True when the node was replaced. */
static bool fuse_residual(fusion *f, mica_ref ref) {
    const mica_node *n = mica_graph_node(f->draft->graph, ref);
    int32_t kind = 0;
    if (n->op != MICA_OP_binary ||
        !mica_draft_read_param(mica_draft_op(f->draft, n), n, "kind", &kind) ||
        kind != MICA_BINARY_ADD)
        return false;
    for (int side = 1; side >= 0; side--) {
        if (!can_take_residual(f, n, side)) continue;
        mica_node by = *n;
        const mica_node *linear = mica_graph_node(f->draft->graph, n->inputs[side]);
        by.op = MICA_OP_linear;
        by.params = linear->params;
        memcpy(by.inputs, linear->inputs, 3 * sizeof *by.inputs);
        by.inputs[3] = n->inputs[1 - side];
        by.n_inputs = 4;
        if (replace_node(f, ref, by)) return true;
    }
    return false;
}

/* ---- the walk ---- */

static mica_status open_fusion(mica_draft *d, fusion *f, mica_error *err) {
    uint32_t count = mica_graph_count(d->graph);
    *f = (fusion){.draft = d};
    f->n_users = mica_draft_scratch(d, count, sizeof *f->n_users);
    f->is_absorbed = mica_draft_scratch(d, count, 1);
    f->is_overwritten = mica_draft_find_overwritten(d);
    if (!f->n_users || !f->is_absorbed || !f->is_overwritten)
        return mica_draft_fail_memory(d, "fusing", err);
    for (mica_ref r = 1; r < count; r++) {
        const mica_node *n = mica_graph_node(d->graph, r);
        for (int i = 0; i < n->n_inputs; i++) f->n_users[n->inputs[i]]++;
        if (n->is_view) f->n_users[n->view_of]++;
    }
    for (size_t i = 0; i < d->n_outputs; i++) f->n_users[d->outputs[i]]++;
    f->n_users[d->graph->counts]++;
    return MICA_STATUS_OK;
}

/* Users come behind their operands: from the end, each chain begins with its last node. */
mica_status mica_pass_fuse(mica_draft *d, mica_error *err) {
    fusion f;
    mica_status st = open_fusion(d, &f, err);
    if (st != MICA_STATUS_OK) return st;
    for (mica_ref r = mica_graph_count(d->graph) - 1; r > 0; r--)
        if (!f.is_absorbed[r] && !fuse_residual(&f, r)) fuse_chain(&f, r);
    return mica_draft_sweep(d, NULL, 0, err);
}
