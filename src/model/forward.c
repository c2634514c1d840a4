/* Sets up the batch inputs and lets the family trace its pass. */
#include "model/forward.h"
#include <string.h>
#include "base/error.h"

static mica_array add_input(mica_graph *g, const char *name, mica_dtype dtype, int rank,
                            const int64_t *dims, mica_live live) {
    mica_shape shape;
    if (!mica_shape_make(rank, dims, &shape)) {
        mica_graph_fail(g, MICA_STATUS_LIMIT, "%s: a dim is out of range", name);
        return (mica_array){0};
    }
    return mica_array_of(g, mica_graph_input(g, name, dtype, &shape, live));
}

static void add_batch_inputs(mica_forward *f) {
    mica_graph *g = f->graph;
    const mica_forward_shape *s = &f->shape;
    mica_dtype i32 = MICA_DTYPE_I32;
    mica_dtype kv = s->mode == MICA_EXACT ? MICA_DTYPE_F32 : MICA_DTYPE_BF16;
    int64_t tokens[] = {s->n_tokens}, rows[] = {s->n_rows}, sequences[] = {s->n_sequences, 4};
    add_input(g, MICA_BATCH_COUNTS, i32, 1, (int64_t[]){4}, MICA_LIVE_ALL);
    f->token_ids = add_input(g, MICA_BATCH_TOKEN_IDS, i32, 1, tokens, MICA_LIVE_TOKENS);
    f->positions = add_input(g, MICA_BATCH_POSITIONS, i32, 1, tokens, MICA_LIVE_TOKENS);
    f->token_sequence = add_input(g, MICA_BATCH_TOKEN_SEQUENCE, i32, 1, tokens, MICA_LIVE_TOKENS);
    f->sequences = add_input(g, MICA_BATCH_SEQUENCES, i32, 2, sequences, MICA_LIVE_ALL);
    f->rows = add_input(g, MICA_BATCH_ROWS, i32, 1, rows, MICA_LIVE_ROWS);
    if (f->model->n_rope_pairs > 0) {
        int64_t tables[] = {s->n_sequences, f->model->n_rope_pairs};
        f->rope = add_input(g, MICA_BATCH_ROPE, MICA_DTYPE_F32, 2, tables, MICA_LIVE_ALL);
    }
    for (size_t i = 0; i < f->model->n_kv_groups; i++) {
        const mica_kv_group *group = &f->model->kv_groups[i];
        int64_t table[] = {s->n_sequences, s->table_width[i]};
        int64_t pool[] = {s->n_pages[i],     group->n_layers,  2,
                          group->n_kv_heads, MICA_PAGE_TOKENS, group->head_dim};
        f->pages[i] = add_input(g, mica_batch_pages[i], i32, 2, table, MICA_LIVE_ALL);
        f->pool[i] = add_input(g, mica_batch_pool[i], kv, 6, pool, MICA_LIVE_ALL);
    }
}

mica_status mica_forward_trace(const mica_model *model, const mica_forward_shape *shape,
                               mica_graph **out, mica_ref outputs[MICA_FORWARD_OUTPUTS_MAX],
                               size_t *n_outputs, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_graph *g = NULL;
    MICA_TRY(mica_graph_create_internal(model->runtime, true, &g, err));
    g->mode = shape->mode;
    mica_forward f = {.model = model, .graph = g, .shape = *shape};
    add_batch_inputs(&f);
    mica_array logits = model->family->forward(&f);
    outputs[0] = mica_array_ref(g, logits, false);
    *n_outputs = 1;
    for (size_t i = 0; i < model->n_kv_groups; i++)
        outputs[(*n_outputs)++] = mica_array_ref(g, f.pool[i], false);
    MICA_TRY(mica_graph_check(g, err));
    *out = g;
    g = NULL;
done:
    mica_graph_destroy(&g);
    return st;
}
