/* The table of model kinds and what they share when they are read. */
#include "text/token_model.h"
#include "base/error.h"

enum { SHOWN_BYTES_MAX = 48 }; /* of a token in an error message */

extern const mica_token_model_type mica_bpe_model, mica_unigram_model, mica_word_piece_model,
    mica_word_level_model;

static const mica_token_model_type *const types[] = {
    &mica_bpe_model,
    &mica_unigram_model,
    &mica_word_piece_model,
    &mica_word_level_model,
};

const mica_token_model_type *mica_token_model_find(mica_slice name) {
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        if (mica_slice_is(name, types[i]->name)) return types[i];
    return NULL;
}

mica_status mica_token_model_create(const mica_token_model_type *type, const mica_host *host,
                                    const char *name, mica_vocab *vocab, mica_arena *arena,
                                    mica_token_model **out, mica_error *err) {
    mica_token_model *m = mica_alloc_zero(host->allocator, type->model_bytes);
    if (!m) return mica_fail_memory(err, type->model_bytes, "a tokenizer model");
    m->type = type;
    m->host = host;
    m->name = name;
    m->vocab = vocab;
    m->arena = arena;
    type->init(m);
    *out = m;
    return MICA_STATUS_OK;
}

void mica_token_model_destroy(mica_token_model **model) {
    mica_token_model *m = *model;
    if (!m) return;
    m->type->deinit(m);
    mica_free(m->host->allocator, m);
    *model = NULL;
}

mica_status mica_token_run_create(const mica_token_model *model, mica_vec *ids, size_t text_bytes,
                                  mica_token_run **out, mica_error *err) {
    mica_token_run *run = mica_alloc_zero(model->host->allocator, model->type->run_bytes);
    if (!run) return mica_fail_memory(err, model->type->run_bytes, "encoding");
    run->model = model;
    run->ids = ids;
    model->type->run_init(run, text_bytes);
    *out = run;
    return MICA_STATUS_OK;
}

void mica_token_run_destroy(mica_token_run **run) {
    mica_token_run *r = *run;
    if (!r) return;
    r->model->type->run_deinit(r);
    mica_free(r->model->host->allocator, r);
    *run = NULL;
}

static int shown(mica_slice s) {
    return (int)(s.bytes < SHOWN_BYTES_MAX ? s.bytes : SHOWN_BYTES_MAX);
}

mica_status mica_token_model_read_id(mica_json *j, int32_t *out, mica_error *err) {
    uint64_t id = 0;
    mica_status st = mica_json_read_u64(j, &id, err);
    if (st != MICA_STATUS_OK) return st;
    if (id >= MICA_VOCAB_IDS_MAX)
        return mica_json_fail(j, err, "token id %llu, expected below %d", (unsigned long long)id,
                              MICA_VOCAB_IDS_MAX);
    *out = (int32_t)id;
    return MICA_STATUS_OK;
}

mica_status mica_token_model_read_text(mica_token_model *m, mica_json *j, mica_slice *out,
                                       mica_error *err) {
    *out = (mica_slice){NULL, 0};
    if (mica_json_peek(j) == MICA_JSON_NULL) return mica_json_read_null(j, err);
    mica_slice text;
    mica_status st = mica_json_read_string(j, &text, err);
    if (st != MICA_STATUS_OK) return st;
    out->data = mica_arena_string(m->arena, text.data, text.bytes);
    out->bytes = text.bytes;
    return out->data ? MICA_STATUS_OK : mica_fail_memory(err, text.bytes, "a tokenizer model");
}

mica_status mica_token_model_add(mica_vocab *vocab, const char *name, mica_slice text, int32_t id,
                                 bool is_model, mica_error *err) {
    mica_vocab_result result = mica_vocab_add(vocab, text, id, is_model);
    if (result == MICA_VOCAB_ADDED || result == MICA_VOCAB_SAME) return MICA_STATUS_OK;
    if (result == MICA_VOCAB_NO_MEMORY) return mica_fail_memory(err, text.bytes, "a vocabulary");
    if (result == MICA_VOCAB_TEXT_TAKEN)
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: token \"%.*s\" has id %d, but also %d", name,
                         shown(text), text.data, (int)id, (int)mica_vocab_find(vocab, text));
    mica_slice other = mica_vocab_text(vocab, id);
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: id %d belongs to \"%.*s\" and to \"%.*s\"", name,
                     (int)id, shown(other), other.data, shown(text), text.data);
}

mica_status mica_token_model_read_vocab(mica_token_model *m, mica_json *j, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_slice text;
    int32_t id = 0;
    m->has_vocab = true;
    MICA_TRY(mica_json_begin_object(j, err));
    mica_json_own_keys(j);
    while (mica_json_next_key(j, &text)) {
        int32_t n_tokens = m->vocab->count;
        MICA_TRY(mica_token_model_read_id(j, &id, err));
        MICA_TRY(mica_token_model_add(m->vocab, m->name, text, id, true, err));
        if (m->vocab->count == n_tokens)
            MICA_TRY(
                mica_json_fail(j, err, "token \"%.*s\" is listed twice", shown(text), text.data));
    }
    MICA_TRY(mica_json_check(j, err));
done:
    return st;
}

mica_status mica_token_model_find_unknown(const mica_token_model *m, mica_slice text, int32_t *id,
                                          mica_error *err) {
    *id = mica_vocab_find_model(m->vocab, text);
    if (*id >= 0) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: unk_token \"%.*s\" is not in the vocabulary",
                     m->name, shown(text), text.data ? text.data : "");
}

int mica_token_model_find_fallback(const mica_token_model *m, int32_t ids[256]) {
    static const char hex[] = "0123456789ABCDEF";
    int n_missing = 0;
    for (int b = 0; b < 256; b++) {
        char spelled[6] = {'<', '0', 'x', hex[b >> 4], hex[b & 15], '>'};
        ids[b] = mica_vocab_find_model(m->vocab, mica_slice_of(spelled, sizeof(spelled)));
        n_missing += ids[b] < 0;
    }
    return n_missing;
}

mica_status mica_token_model_refuse(const mica_token_model *m, mica_slice key, mica_error *err) {
    return mica_fail(err, MICA_STATUS_UNSUPPORTED, "%s: field \"%.*s\" of a %s model is not known",
                     m->name, shown(key), key.data, m->type->name);
}
