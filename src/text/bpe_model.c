/* BPE as a model of a tokenizer: its fields in tokenizer.json, and bpe.h behind the seam. */
#include "base/error.h"
#include "text/bpe_merges.h"
#include "text/token_model.h"

enum { CACHE_TEXT_BYTES_MIN = 2048 }; /* below it, clearing the cache costs more than it saves */

typedef struct model {
    mica_token_model base;
    mica_bpe bpe;
    bool has_merges;
    mica_slice unknown; /* data NULL: none */
} model;

typedef struct run {
    mica_token_run base;
    mica_bpe_run bpe;
} run;

static void init(mica_token_model *base) {
    model *m = (model *)base;
    mica_bpe_init(&m->bpe, base->host->allocator, base->vocab);
}

static void deinit(mica_token_model *base) { mica_bpe_deinit(&((model *)base)->bpe); }

/* Affixes change how merges join, so they must be known before. */
static mica_status read_affix(model *m, mica_json *j, mica_slice *out, mica_error *err) {
    mica_status st = mica_token_model_read_text(&m->base, j, out, err);
    if (st == MICA_STATUS_OK && out->bytes > MICA_BPE_AFFIX_BYTES_MAX)
        return mica_json_fail(j, err, "an affix of %zu bytes, expected at most %d", out->bytes,
                              MICA_BPE_AFFIX_BYTES_MAX);
    if (st == MICA_STATUS_OK && out->bytes && m->has_merges)
        return mica_json_fail(j, err, "an affix that stands behind the merges");
    return st;
}

/* Merges need the vocabulary. Writers put it first; where it comes later, they are asked for again.
 */
static mica_status read_merges(model *m, mica_json *j, bool *is_later, mica_error *err) {
    *is_later = !m->base.has_vocab;
    if (*is_later) return mica_json_skip(j, err);
    m->has_merges = true;
    return mica_bpe_read_merges(&m->bpe, j, m->base.name, err);
}

static mica_status read_dropout(model *m, mica_json *j, mica_error *err) {
    if (mica_json_peek(j) == MICA_JSON_NULL) return mica_json_read_null(j, err);
    return mica_fail(err, MICA_STATUS_UNSUPPORTED, "%s: dropout must be null", m->base.name);
}

static mica_status read_field(mica_token_model *base, mica_json *j, mica_slice key, bool *is_later,
                              mica_error *err) {
    model *m = (model *)base;
    mica_bpe *bpe = &m->bpe;
    if (mica_slice_is(key, "vocab")) return mica_token_model_read_vocab(base, j, err);
    if (mica_slice_is(key, "merges")) return read_merges(m, j, is_later, err);
    if (mica_slice_is(key, "unk_token"))
        return mica_token_model_read_text(base, j, &m->unknown, err);
    if (mica_slice_is(key, "continuing_subword_prefix")) return read_affix(m, j, &bpe->prefix, err);
    if (mica_slice_is(key, "end_of_word_suffix")) return read_affix(m, j, &bpe->suffix, err);
    if (mica_slice_is(key, "fuse_unk")) return mica_json_read_bool(j, &bpe->fuse_unknown, err);
    if (mica_slice_is(key, "byte_fallback"))
        return mica_json_read_bool(j, &bpe->byte_fallback, err);
    if (mica_slice_is(key, "ignore_merges"))
        return mica_json_read_bool(j, &bpe->ignore_merges, err);
    if (mica_slice_is(key, "dropout")) return read_dropout(m, j, err);
    return mica_token_model_refuse(base, key, err);
}

static mica_status finish(mica_token_model *base, mica_error *err) {
    model *m = (model *)base;
    mica_status st = MICA_STATUS_OK;
    int n_missing = 0;
    MICA_REQUIRE(m->has_merges, MICA_STATUS_FORMAT, "%s: a BPE model without merges", base->name);
    if (m->unknown.data)
        MICA_TRY(mica_token_model_find_unknown(base, m->unknown, &m->bpe.unknown_id, err));
    m->bpe.is_byte_level = base->takes_bytes;
    mica_bpe_finish(&m->bpe, &n_missing);
    MICA_REQUIRE(!n_missing || base->takes_bytes || !m->bpe.byte_fallback, MICA_STATUS_FORMAT,
                 "%s: byte_fallback needs all 256 tokens <0x00> to <0xFF>, %d are missing",
                 base->name, n_missing);
    if (base->takes_bytes && n_missing)
        mica_host_log(base->host, MICA_LOG_WARNING,
                      "%s: %d bytes have no token; text with them cannot come back whole",
                      base->name, n_missing);
done:
    return st;
}

/* Pieces stay raw bytes where the model adds no affixes to letters. */
static bool can_take_bytes(const mica_token_model *base) {
    const mica_bpe *bpe = &((const model *)base)->bpe;
    return !bpe->prefix.bytes && !bpe->suffix.bytes;
}

static void run_init(mica_token_run *base, size_t text_bytes) {
    run *r = (run *)base;
    mica_bpe_run_init(&r->bpe, &((const model *)base->model)->bpe, base->ids);
    if (text_bytes >= CACHE_TEXT_BYTES_MIN)
        mica_piece_cache_start(&r->bpe.cache, base->ids->allocator);
}

static mica_status encode(mica_token_run *base, const char *piece, size_t bytes, mica_error *err) {
    if (mica_bpe_encode(&((run *)base)->bpe, piece, bytes)) return MICA_STATUS_OK;
    return mica_fail_memory(err, bytes, "encoding a piece of text");
}

static void run_deinit(mica_token_run *base) { mica_bpe_run_deinit(&((run *)base)->bpe); }

const mica_token_model_type mica_bpe_model = {
    .name = "BPE",
    .model_bytes = sizeof(model),
    .run_bytes = sizeof(run),
    .init = init,
    .read_field = read_field,
    .can_take_bytes = can_take_bytes,
    .finish = finish,
    .deinit = deinit,
    .run_init = run_init,
    .encode = encode,
    .run_deinit = run_deinit,
};
