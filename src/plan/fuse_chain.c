/* Chains: elementwise ops on floats whose results have one user become a register program
 * (core/program.h) of their last node. A program takes three inputs at most and gives the bits of
 * its chain; a chain that is too long is cut where it no longer fits. */
#include <string.h>
#include "core/program.h"
#include "mica/ops.h"
#include "plan/fuse.h"

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

static int add_node(const mica_fusion *f, chain *c, mica_ref ref);

/* Nobody else sees the value, and it has the elements of its user one by one. */
static bool can_absorb(const mica_fusion *f, mica_ref ref, const mica_node *user) {
    const mica_node *n = mica_graph_node(f->draft->graph, ref);
    uint8_t code;
    bool has_code;
    return mica_fuse_is_private(f, ref) && n->live == user->live &&
           mica_shape_equal(&n->shape, &user->shape) && !mica_fuse_reads_overwritten(f, n) &&
           find_code(f->draft, n, &code, &has_code);
}

static int add_operand(const mica_fusion *f, chain *c, mica_ref ref, const mica_node *user) {
    const mica_node *n = mica_graph_node(f->draft->graph, ref);
    double value;
    if (n->op == MICA_OP_DATA && is_float(n) &&
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

static int add_node(const mica_fusion *f, chain *c, mica_ref ref) {
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

static bool make_program(mica_fusion *f, mica_ref ref, const chain *c) {
    mica_node by = *mica_graph_node(f->draft->graph, ref);
    by.op = MICA_OP_program;
    by.n_inputs = (uint8_t)c->n_inputs;
    memset(by.inputs, 0, sizeof by.inputs);
    memcpy(by.inputs, c->inputs, (size_t)c->n_inputs * sizeof *c->inputs);
    memset(&by.params, 0, sizeof by.params);
    memcpy(&by.params, &c->params, sizeof c->params);
    if (!mica_fuse_replace(f, ref, by)) return false;
    for (int i = 1; i < c->n_nodes; i++) f->is_absorbed[c->nodes[i]] = 1;
    return true;
}

bool mica_fuse_chain(mica_fusion *f, mica_ref ref) {
    chain c = {.n_code = 0};
    int result = add_node(f, &c, ref);
    c.params.code_bytes = (uint8_t)(c.n_code * (int)sizeof *c.params.code);
    return result >= 0 && is_whole(&c, result) && make_program(f, ref, &c);
}
