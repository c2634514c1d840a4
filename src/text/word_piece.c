/* WordPiece: a word is cut from left to right into the longest tokens there are; those inside of a
 * word are written with a prefix ("##"). A word with a rest that has no token, or with too many
 * characters, is unknown as a whole. */
#include "base/error.h"
#include "text/token_model.h"
#include "text/token_trie.h"
#include "text/unicode.h"

enum { TOKEN_BYTES_MAX = 512, CHARACTERS_DEFAULT = 100 };

typedef struct model {
    mica_token_model base;
    mica_token_trie trie; /* root 0: all tokens; root 1: those with the prefix, without it */
    uint32_t roots[2];
    mica_slice unknown, prefix; /* in the arena, or literals */
    int32_t unknown_id;
    uint64_t characters_max; /* of a word */
} model;

static void init(mica_token_model *base) {
    model *m = (model *)base;
    mica_token_trie_init(&m->trie, base->host->allocator);
    m->unknown = mica_slice_from("[UNK]");
    m->prefix = mica_slice_from("##");
    m->characters_max = CHARACTERS_DEFAULT;
}

static void deinit(mica_token_model *base) { mica_token_trie_deinit(&((model *)base)->trie); }

static mica_status read_text(model *m, mica_json *j, mica_slice *out, mica_error *err) {
    mica_status st = mica_token_model_read_text(&m->base, j, out, err);
    if (st == MICA_STATUS_OK && !out->data) return mica_json_fail(j, err, "null, expected a text");
    return st;
}

static mica_status read_field(mica_token_model *base, mica_json *j, mica_slice key, bool *is_later,
                              mica_error *err) {
    model *m = (model *)base;
    (void)is_later;
    if (mica_slice_is(key, "vocab")) return mica_token_model_read_vocab(base, j, err);
    if (mica_slice_is(key, "unk_token")) return read_text(m, j, &m->unknown, err);
    if (mica_slice_is(key, "continuing_subword_prefix")) return read_text(m, j, &m->prefix, err);
    if (mica_slice_is(key, "max_input_chars_per_word"))
        return mica_json_read_u64(j, &m->characters_max, err);
    return mica_token_model_refuse(base, key, err);
}

static bool has_prefix(const model *m, mica_slice text) {
    return text.bytes >= m->prefix.bytes &&
           mica_slice_equal(mica_slice_of(text.data, m->prefix.bytes), m->prefix);
}

static mica_token_trie_result add_token(model *m, int32_t id) {
    size_t cut = m->prefix.bytes;
    mica_slice text = mica_vocab_text(m->base.vocab, id);
    mica_token_trie_result result = mica_token_trie_add(&m->trie, m->roots[0], text, id);
    if (result != MICA_TOKEN_TRIE_ADDED || !has_prefix(m, text)) return result;
    text = mica_slice_of(text.data + cut, text.bytes - cut);
    return mica_token_trie_add(&m->trie, m->roots[1], text, id);
}

static mica_status build_trie(model *m, mica_error *err) {
    const mica_vocab *v = m->base.vocab;
    mica_token_trie_result result = MICA_TOKEN_TRIE_ADDED;
    for (int i = 0; i < 2 && result == MICA_TOKEN_TRIE_ADDED; i++)
        result = mica_token_trie_add_root(&m->trie, &m->roots[i]);
    for (int32_t id = 0; id < v->size && result == MICA_TOKEN_TRIE_ADDED; id++) {
        if (!v->entries[id].is_model) continue;
        if (v->entries[id].bytes > TOKEN_BYTES_MAX)
            return mica_fail(err, MICA_STATUS_LIMIT,
                             "%s: token %d has %u bytes, at most %d are read", m->base.name,
                             (int)id, (unsigned)v->entries[id].bytes, TOKEN_BYTES_MAX);
        result = add_token(m, id);
    }
    if (result == MICA_TOKEN_TRIE_NO_MEMORY)
        return mica_fail_memory(err, m->trie.n_nodes * sizeof(mica_token_trie_edge), "a trie");
    if (result == MICA_TOKEN_TRIE_FULL)
        return mica_fail(err, MICA_STATUS_LIMIT, "%s: the tokens need more than %u trie nodes",
                         m->base.name, MICA_TOKEN_TRIE_NODES_MAX);
    return MICA_STATUS_OK;
}

static mica_status finish(mica_token_model *base, mica_error *err) {
    model *m = (model *)base;
    mica_status st = mica_token_model_find_unknown(base, m->unknown, &m->unknown_id, err);
    return st == MICA_STATUS_OK ? build_trie(m, err) : st;
}

static void run_init(mica_token_run *run, size_t text_bytes) {
    (void)run;
    (void)text_bytes;
}
static void run_deinit(mica_token_run *run) { (void)run; }

/* The longest token below a root that begins the text; its id, or -1. */
static int32_t find_longest(const model *m, uint32_t root, mica_slice text, size_t *bytes) {
    int32_t found = -1;
    uint32_t node = root;
    for (size_t i = 0; i < text.bytes; i++) {
        node = mica_token_trie_step(&m->trie, node, (uint8_t)text.data[i]);
        if (!node) break;
        if (m->trie.ids[node] < 0) continue;
        found = m->trie.ids[node];
        *bytes = i + 1;
    }
    return found;
}

static bool is_too_long(const model *m, mica_slice word) {
    uint64_t n = 0;
    if (word.bytes <= m->characters_max) return false;
    for (size_t at = 0; at < word.bytes && n <= m->characters_max; n++)
        (void)mica_unicode_next(word.data, &at);
    return n > m->characters_max;
}

static mica_status encode(mica_token_run *run, const char *piece, size_t bytes, mica_error *err) {
    const model *m = (const model *)run->model;
    size_t first = run->ids->count, taken = 0;
    int32_t id = m->unknown_id;
    bool is_unknown = is_too_long(m, mica_slice_of(piece, bytes));
    for (size_t at = 0; at < bytes && !is_unknown; at += taken) {
        id = find_longest(m, m->roots[at > 0], mica_slice_of(piece + at, bytes - at), &taken);
        is_unknown = id < 0;
        if (!is_unknown && !mica_vec_append(run->ids, &id, 1))
            return mica_fail_memory(err, bytes, "token ids");
    }
    if (!is_unknown) return MICA_STATUS_OK;
    run->ids->count = first;
    if (mica_vec_append(run->ids, &m->unknown_id, 1)) return MICA_STATUS_OK;
    return mica_fail_memory(err, bytes, "token ids");
}

const mica_token_model_type mica_word_piece_model = {
    .name = "WordPiece",
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
