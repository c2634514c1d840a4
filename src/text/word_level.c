/* WordLevel: a piece is a token as a whole, or unknown. */
#include "base/error.h"
#include "text/token_model.h"

typedef struct model {
    mica_token_model base;
    mica_slice unknown; /* in the arena, or a literal */
    int32_t unknown_id;
} model;

static void init(mica_token_model *base) { ((model *)base)->unknown = mica_slice_from("<unk>"); }
static void deinit(mica_token_model *base) { (void)base; }

static mica_status read_field(mica_token_model *base, mica_json *j, mica_slice key, bool *is_later,
                              mica_error *err) {
    model *m = (model *)base;
    (void)is_later;
    if (mica_slice_is(key, "vocab")) return mica_token_model_read_vocab(base, j, err);
    if (mica_slice_is(key, "unk_token"))
        return mica_token_model_read_text(base, j, &m->unknown, err);
    return mica_token_model_refuse(base, key, err);
}

static mica_status finish(mica_token_model *base, mica_error *err) {
    model *m = (model *)base;
    return mica_token_model_find_unknown(base, m->unknown, &m->unknown_id, err);
}

static void run_init(mica_token_run *run, size_t text_bytes) {
    (void)run;
    (void)text_bytes;
}
static void run_deinit(mica_token_run *run) { (void)run; }

static mica_status encode(mica_token_run *run, const char *piece, size_t bytes, mica_error *err) {
    const model *m = (const model *)run->model;
    int32_t id = mica_vocab_find_model(m->base.vocab, mica_slice_of(piece, bytes));
    if (id < 0) id = m->unknown_id;
    if (mica_vec_append(run->ids, &id, 1)) return MICA_STATUS_OK;
    return mica_fail_memory(err, sizeof(id), "token ids");
}

const mica_token_model_type mica_word_level_model = {
    .name = "WordLevel",
    .model_bytes = sizeof(model),
    .run_bytes = sizeof(mica_token_run),
    .init = init,
    .read_field = read_field,
    .finish = finish,
    .deinit = deinit,
    .run_init = run_init,
    .encode = encode,
    .run_deinit = run_deinit,
};
