/* Attention over pages: q and k go into it as the projections left them, where the batch has few
 * rows. Attention and kv_write then do the heads' norms and the rotary embedding themselves, and
 * the steps for that and their barriers are gone. Angles are computed once for all layers: every
 * rotary embedding reads a table of them. */
#include <string.h>
#include "mica/ops.h"
#include "plan/fuse.h"

/* Inputs by place, as core/paged.h lists them; the last ones are those of the fused form. */
enum { ROPE_X, ROPE_POSITIONS, ROPE_FREQUENCIES, ROPE_TABLES, ROPE_INPUTS };
enum { NORM_X, NORM_WEIGHT };
enum { ATTENTION_Q, ATTENTION_K, ATTENTION_TABLE = 9, ATTENTION_Q_NORM, ATTENTION_K_NORM };
enum { WRITE_K = 1, WRITE_AFTER = 7, WRITE_TABLE, WRITE_K_NORM };

static const mica_node *node_of(const mica_fusion *f, mica_ref ref) {
    return mica_graph_node(f->draft->graph, ref);
}

/* ---- tables ---- */

static bool is_same_table(const mica_node *n, const mica_node *wanted) {
    return n->op == wanted->op && n->n_inputs == wanted->n_inputs &&
           memcmp(n->inputs, wanted->inputs, n->n_inputs * sizeof *n->inputs) == 0 &&
           memcmp(n->params.bytes, wanted->params.bytes, MICA_PARAM_BYTES) == 0;
}

/* The table by which a rope of positions and frequencies turns: one that was added before, or a new
 * one; 0 when there is none. */
static mica_ref find_table(mica_fusion *f, mica_ref rope) {
    const mica_node *n = node_of(f, rope);
    mica_node table = {.op = MICA_OP_rope_table, .n_inputs = (uint8_t)(n->n_inputs - 1)};
    memcpy(table.inputs, n->inputs + ROPE_POSITIONS, table.n_inputs * sizeof *table.inputs);
    mica_fuse_copy_param(f, n, &table, "scale");
    for (mica_ref r = f->count; r < mica_graph_count(f->draft->graph); r++)
        if (!f->is_absorbed[r] && is_same_table(node_of(f, r), &table)) return r;
    if (mica_fuse_reads_overwritten(f, n)) return 0;
    return mica_fuse_add(f, table);
}

/* rope(x, positions, frequencies): rope(x, table). */
bool mica_fuse_rope_table(mica_fusion *f, mica_ref ref) {
    mica_node by = *node_of(f, ref);
    if (by.op != MICA_OP_rope || by.n_inputs <= ROPE_FREQUENCIES) return false;
    mica_ref table = find_table(f, ref);
    if (!table) return false;
    by.n_inputs = 2;
    memset(by.inputs + 1, 0, (ROPE_INPUTS - 1) * sizeof *by.inputs);
    by.inputs[ROPE_POSITIONS] = table;
    if (mica_fuse_replace(f, ref, by)) return true;
    mica_fuse_drop_unused(f, table);
    return false;
}

/* ---- heads ---- */

/* How q or k comes from what a projection made. */
typedef struct head_path {
    mica_ref x;      /* the projection's result, or a view of it */
    mica_ref rope;   /* 0 = none */
    mica_ref norm;   /* 0 = none */
    mica_ref weight; /* of the norm */
} head_path;

/* Whether a node may vanish into those `n_users` that read it. */
static bool can_vanish(const mica_fusion *f, mica_ref ref, uint32_t n_users) {
    const mica_node *n = node_of(f, ref);
    return f->n_users[ref] == n_users && !n->is_output && n->dtype == MICA_DTYPE_F32 &&
           !mica_fuse_reads_overwritten(f, n) && !f->is_overwritten[ref];
}

static bool is_interleaved(const mica_fusion *f, const mica_node *rope) {
    const mica_op *op = mica_draft_op(f->draft, rope);
    bool value = true;
    for (size_t i = 0; i < op->n_params; i++)
        if (strcmp(op->params[i].name, "interleaved") == 0)
            memcpy(&value, rope->params.bytes + op->params[i].offset, sizeof value);
    return value;
}

/* `ref` has n_users users, those that are about to be fused. */
static head_path find_path(const mica_fusion *f, mica_ref ref, uint32_t n_users) {
    head_path p = {.x = ref};
    const mica_node *n = node_of(f, ref);
    if (n->op == MICA_OP_rope && n->n_inputs > ROPE_FREQUENCIES && can_vanish(f, ref, n_users) &&
        !is_interleaved(f, n)) {
        p.rope = ref;
        p.x = n->inputs[ROPE_X];
        n_users = 1;
        n = node_of(f, p.x);
    }
    if (n->op == MICA_OP_rms_norm && n->inputs[NORM_WEIGHT] && can_vanish(f, p.x, n_users)) {
        p.norm = p.x;
        p.weight = n->inputs[NORM_WEIGHT];
        p.x = n->inputs[NORM_X];
    }
    return p;
}

static bool is_same_norm(const mica_fusion *f, const head_path *a, const head_path *b) {
    const mica_node *x = node_of(f, a->norm), *y = node_of(f, b->norm);
    if (!a->norm || !b->norm) return !a->norm && !b->norm;
    return memcmp(x->params.bytes, y->params.bytes, MICA_PARAM_BYTES) == 0;
}

/* One table and one kind of norm for q and k, and something to fuse. */
static bool do_match(const mica_fusion *f, const head_path *q, const head_path *k) {
    if (!q->rope != !k->rope || !is_same_norm(f, q, k)) return false;
    return q->rope || q->norm;
}

static void set_norm(const mica_fusion *f, mica_node *by, const head_path *path) {
    if (!path->norm) return;
    mica_fuse_copy_param(f, node_of(f, path->norm), by, "eps");
    mica_fuse_copy_param(f, node_of(f, path->norm), by, "offset");
}

static bool fuse_attention(mica_fusion *f, mica_ref ref, const head_path *q, const head_path *k,
                           mica_ref table) {
    mica_node by = *node_of(f, ref);
    by.n_inputs = ATTENTION_K_NORM + 1;
    by.inputs[ATTENTION_Q] = q->x;
    by.inputs[ATTENTION_K] = k->x;
    by.inputs[ATTENTION_TABLE] = table;
    by.inputs[ATTENTION_Q_NORM] = q->weight;
    by.inputs[ATTENTION_K_NORM] = k->weight;
    set_norm(f, &by, q);
    return mica_fuse_replace(f, ref, by);
}

static bool fuse_write(mica_fusion *f, mica_ref ref, const head_path *k, mica_ref table) {
    mica_node by = *node_of(f, ref);
    by.n_inputs = WRITE_K_NORM + 1;
    by.inputs[WRITE_K] = k->x;
    by.inputs[WRITE_TABLE] = table;
    by.inputs[WRITE_K_NORM] = k->weight;
    set_norm(f, &by, k);
    return mica_fuse_replace(f, ref, by);
}

/* kv_write and the attention before it, which read the same k. */
bool mica_fuse_attention(mica_fusion *f, mica_ref ref) {
    const mica_node *n = node_of(f, ref);
    if (n->op != MICA_OP_kv_write || n->n_inputs != WRITE_AFTER + 1 || !n->inputs[WRITE_AFTER])
        return false;
    mica_ref attention = n->inputs[WRITE_AFTER], key = n->inputs[WRITE_K];
    const mica_node *a = node_of(f, attention);
    if (a->op != MICA_OP_attention_paged || a->n_inputs != ATTENTION_TABLE ||
        a->inputs[ATTENTION_K] != key || a->shape.dims[0] > MICA_FUSE_ROWS_MAX)
        return false;
    head_path q = find_path(f, a->inputs[ATTENTION_Q], 1), k = find_path(f, key, 2);
    if (!do_match(f, &q, &k)) return false;
    mica_ref table = q.rope ? find_table(f, q.rope) : 0;
    if (q.rope && (!table || find_table(f, k.rope) != table)) return false;
    if (!fuse_attention(f, attention, &q, &k, table)) {
        if (table) mica_fuse_drop_unused(f, table);
        return false;
    }
    return fuse_write(f, ref, &k, table);
}
