/* Unigram: the split of a piece into tokens with the highest sum of scores (log probabilities),
 * found by one Viterbi pass over the bytes (Kudo 2018, "Subword Regularization", section 3.2). From
 * each character the trie gives all tokens that begin there; a character without a token of its
 * own costs the lowest score less a penalty. Among equal sums the one that was found first stays:
 * starts from left to right, short tokens before long ones, as in the reference.
 *
 * Time is text bytes x the longest token, which is limited. */
#include <math.h>
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "text/piece_cache.h"
#include "text/token_model.h"
#include "text/token_trie.h"
#include "text/unicode.h"

#define UNKNOWN_PENALTY 10.0 /* sentencepiece's kUnkPenalty */
enum { TOKEN_BYTES_MAX = 512, CACHE_TEXT_BYTES_MIN = 2048, CACHE_KIND = 0x8000 };

typedef struct model {
    mica_token_model base;
    mica_token_trie trie;
    mica_vec scores; /* double, by id */
    double unknown_score;
    int64_t unknown_id; /* -1: none */
    bool byte_fallback;
    int32_t fallback_ids[256];
} model;

/* The best way to a place in the piece: its last token begins at start. */
typedef struct path {
    double score;
    int32_t id; /* NO_PATH: not reached */
    uint32_t start;
} path;
#define NO_PATH (-1)

typedef struct run {
    mica_token_run base;
    mica_vec paths; /* path: one for each byte of the piece and one more */
    mica_piece_cache cache;
} run;

static void init(mica_token_model *base) {
    model *m = (model *)base;
    mica_token_trie_init(&m->trie, base->host->allocator);
    mica_vec_init(&m->scores, base->host->allocator, sizeof(double));
    m->unknown_id = -1;
}

static void deinit(mica_token_model *base) {
    model *m = (model *)base;
    mica_token_trie_deinit(&m->trie);
    mica_vec_deinit(&m->scores);
}

/* ---- the file ---- */

static mica_status add_token(model *m, mica_json *j, mica_slice text, double score,
                             mica_error *err) {
    mica_token_model *base = &m->base;
    size_t id = m->scores.count;
    if (id >= MICA_VOCAB_IDS_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "%s: more than %d tokens", base->name,
                         MICA_VOCAB_IDS_MAX);
    if (text.bytes > TOKEN_BYTES_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "%s: token %zu has %zu bytes, at most %d are read",
                         base->name, id, text.bytes, TOKEN_BYTES_MAX);
    if (!isfinite(score)) return mica_json_fail(j, err, "the score of token %zu is not finite", id);
    mica_status st = mica_token_model_add(base->vocab, base->name, text, (int32_t)id, true, err);
    if (st != MICA_STATUS_OK) return st;
    if (!mica_vec_append(&m->scores, &score, 1))
        return mica_fail_memory(err, (id + 1) * sizeof(score), "scores");
    return MICA_STATUS_OK;
}

/* ["token", score] */
static mica_status read_token(model *m, mica_json *j, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_slice text = {NULL, 0};
    double score = 0;
    int n = 0;
    MICA_TRY(mica_json_begin_array(j, err));
    for (; mica_json_next_item(j); n++) {
        if (n == 0)
            MICA_TRY(mica_json_read_string(j, &text, err));
        else if (n == 1)
            MICA_TRY(mica_json_read_double(j, &score, err));
        else
            MICA_TRY(mica_json_fail(j, err, "a token with more than a text and a score"));
    }
    MICA_TRY(mica_json_check(j, err));
    if (n != 2) MICA_TRY(mica_json_fail(j, err, "a token needs a text and a score"));
    MICA_TRY(add_token(m, j, text, score, err));
done:
    return st;
}

static mica_status read_vocab(model *m, mica_json *j, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    m->base.has_vocab = true;
    MICA_TRY(mica_json_begin_array(j, err));
    while (mica_json_next_item(j)) MICA_TRY(read_token(m, j, err));
    MICA_TRY(mica_json_check(j, err));
done:
    return st;
}

static mica_status read_unknown(model *m, mica_json *j, mica_error *err) {
    uint64_t id = 0;
    if (mica_json_peek(j) == MICA_JSON_NULL) return mica_json_read_null(j, err);
    mica_status st = mica_json_read_u64(j, &id, err);
    if (st == MICA_STATUS_OK) m->unknown_id = id < INT64_MAX ? (int64_t)id : INT64_MAX;
    return st;
}

static mica_status read_field(mica_token_model *base, mica_json *j, mica_slice key, bool *is_later,
                              mica_error *err) {
    model *m = (model *)base;
    (void)is_later;
    if (mica_slice_is(key, "vocab")) return read_vocab(m, j, err);
    if (mica_slice_is(key, "unk_id")) return read_unknown(m, j, err);
    if (mica_slice_is(key, "byte_fallback")) return mica_json_read_bool(j, &m->byte_fallback, err);
    return mica_token_model_refuse(base, key, err);
}

static mica_status build_trie(model *m, mica_error *err) {
    uint32_t root;
    mica_token_trie_result result = mica_token_trie_add_root(&m->trie, &root);
    for (size_t i = 0; i < m->scores.count && result == MICA_TOKEN_TRIE_ADDED; i++)
        result = mica_token_trie_add(&m->trie, root, mica_vocab_text(m->base.vocab, (int32_t)i),
                                     (int32_t)i);
    if (result == MICA_TOKEN_TRIE_NO_MEMORY)
        return mica_fail_memory(err, m->trie.n_nodes * sizeof(mica_token_trie_edge), "a trie");
    if (result == MICA_TOKEN_TRIE_FULL)
        return mica_fail(err, MICA_STATUS_LIMIT, "%s: the tokens need more than %u trie nodes",
                         m->base.name, MICA_TOKEN_TRIE_NODES_MAX);
    return MICA_STATUS_OK;
}

static mica_status finish(mica_token_model *base, mica_error *err) {
    model *m = (model *)base;
    mica_status st = MICA_STATUS_OK;
    const double *scores = m->scores.data;
    double lowest = 0;
    for (size_t i = 0; i < m->scores.count; i++)
        if (i == 0 || scores[i] < lowest) lowest = scores[i];
    m->unknown_score = lowest - UNKNOWN_PENALTY;
    MICA_REQUIRE(m->unknown_id < (int64_t)m->scores.count, MICA_STATUS_FORMAT,
                 "%s: unk_id %lld, expected below %zu", base->name, (long long)m->unknown_id,
                 m->scores.count);
    int n_missing = mica_token_model_find_fallback(base, m->fallback_ids);
    MICA_REQUIRE(!n_missing || !m->byte_fallback, MICA_STATUS_FORMAT,
                 "%s: byte_fallback needs all 256 tokens <0x00> to <0xFF>, %d are missing",
                 base->name, n_missing);
    MICA_TRY(build_trie(m, err));
done:
    return st;
}

/* ---- encoding ---- */

static void run_init(mica_token_run *base, size_t text_bytes) {
    run *r = (run *)base;
    mica_vec_init(&r->paths, base->ids->allocator, sizeof(path));
    if (text_bytes >= CACHE_TEXT_BYTES_MIN) mica_piece_cache_start(&r->cache, base->ids->allocator);
}

static void run_deinit(mica_token_run *base) {
    run *r = (run *)base;
    mica_free(base->ids->allocator, r->cache.slots);
    mica_vec_deinit(&r->paths);
}

static inline void offer(path *to, double score, int32_t id, uint32_t start) {
    if (to->id != NO_PATH && !(score > to->score)) return;
    *to = (path){score, id, start};
}

/* All tokens that begin at `start`; false: a character is unknown and there is no token for that.
 */
static inline bool step_from(const model *m, path *paths, const char *piece, size_t bytes,
                             size_t start, size_t next) {
    const double *scores = m->scores.data;
    double here = paths[start].score;
    bool has_single = false;
    uint32_t node = 0;
    for (size_t at = start; at < bytes;) {
        node = mica_token_trie_step(&m->trie, node, (uint8_t)piece[at++]);
        if (!node) break;
        int32_t id = m->trie.ids[node];
        if (id < 0) continue;
        offer(&paths[at], scores[id] + here, id, (uint32_t)start);
        has_single = has_single || at == next;
    }
    if (has_single) return true;
    if (m->unknown_id < 0) return false;
    offer(&paths[next], m->unknown_score + here, (int32_t)m->unknown_id, (uint32_t)start);
    return true;
}

static inline bool push_id(mica_vec *ids, int32_t id) {
    if (ids->count == ids->capacity && !mica_vec_reserve(ids, ids->count + 64)) return false;
    ((int32_t *)ids->data)[ids->count++] = id;
    return true;
}

/* A run of unknown characters, last id first: a token that happens to have this text, else its
 * bytes, else the unknown token. */
static bool push_unknown(const model *m, mica_vec *ids, mica_slice text) {
    int32_t id = mica_vocab_find_model(m->base.vocab, text);
    if (id >= 0 || !m->byte_fallback) return push_id(ids, id >= 0 ? id : (int32_t)m->unknown_id);
    for (size_t i = text.bytes; i-- > 0;)
        if (!push_id(ids, m->fallback_ids[(uint8_t)text.data[i]])) return false;
    return true;
}

/* Follows the best path back and turns its ids around. */
static bool push_path(const model *m, mica_vec *ids, const path *paths, mica_slice piece) {
    size_t first = ids->count, end = piece.bytes;
    while (end > 0) {
        size_t start = paths[end].start;
        if (paths[end].id != m->unknown_id) {
            if (!push_id(ids, paths[end].id)) return false;
        } else {
            while (start > 0 && paths[start].id == m->unknown_id) start = paths[start].start;
            if (!push_unknown(m, ids, mica_slice_of(piece.data + start, end - start))) return false;
        }
        end = start;
    }
    int32_t *all = ids->data;
    for (size_t i = first, k = ids->count; i + 1 < k; i++) {
        int32_t swapped = all[i];
        all[i] = all[--k];
        all[k] = swapped;
    }
    return true;
}

static mica_status encode_piece(run *r, mica_slice piece, mica_error *err) {
    const model *m = (const model *)r->base.model;
    if (piece.bytes >= UINT32_MAX || !mica_vec_reserve(&r->paths, piece.bytes + 1))
        return mica_fail_memory(err, piece.bytes * sizeof(path), "encoding a piece of text");
    path *paths = r->paths.data;
    for (size_t i = 0; i <= piece.bytes; i++) paths[i] = (path){0, NO_PATH, 0};
    for (size_t start = 0, next = 0; start < piece.bytes; start = next) {
        uint32_t c = mica_unicode_next(piece.data, &next);
        if (!step_from(m, paths, piece.data, piece.bytes, start, next))
            return mica_fail(err, MICA_STATUS_INVALID,
                             "character U+%04X has no token and the tokenizer has no unk_id", c);
    }
    if (push_path(m, r->base.ids, paths, piece)) return MICA_STATUS_OK;
    return mica_fail_memory(err, piece.bytes, "token ids");
}

static mica_status encode(mica_token_run *base, const char *piece, size_t bytes, mica_error *err) {
    run *r = (run *)base;
    mica_slice text = mica_slice_of(piece, bytes);
    if (!mica_piece_cache_takes(&r->cache, bytes)) return encode_piece(r, text, err);
    mica_piece_cached key = mica_piece_cache_key(piece, bytes, CACHE_KIND);
    mica_piece_cached *slot = mica_piece_cache_slot(&r->cache, &key);
    if (mica_piece_cache_is(slot, &key)) {
        if (mica_piece_cache_repeat(slot, base->ids)) return MICA_STATUS_OK;
        return mica_fail_memory(err, bytes, "token ids");
    }
    size_t start = base->ids->count;
    mica_status st = encode_piece(r, text, err);
    if (st == MICA_STATUS_OK) mica_piece_cache_keep(slot, key, start, base->ids->count);
    return st;
}

const mica_token_model_type mica_unigram_model = {
    .name = "Unigram",
    .model_bytes = sizeof(model),
    .run_bytes = sizeof(run),
    .init = init,
    .read_field = read_field,
    .finish = finish,
    .deinit = deinit,
    .run_init = run_init,
    .encode = encode,
    .run_deinit = run_deinit,
};
