/* Text to ids: added tokens are cut out of the raw text, the rest is normalized, added tokens of
 * the normalized text are cut out, the rest is split into pieces, and each piece is encoded. */
#include <string.h>
#include "base/error.h"
#include "base/fuzz.h"
#include "text/tokenizer_parts.h"

/* One call at work. */
typedef struct encoder {
    const mica_tokenizer *t;
    mica_added_special special;
    bool *guarded;       /* [n_added]; only for prompts with origins */
    mica_vec ids;        /* int32_t: the output */
    mica_token_run *run; /* of the model */
    mica_normalizer_run normalizer;
    mica_pre_walker walker;
} encoder;

static mica_status encoder_init(encoder *e, const mica_tokenizer *t, mica_added_special special,
                                size_t text_bytes, mica_error *err) {
    const mica_allocator *a = t->host->allocator;
    *e = (encoder){.t = t, .special = special};
    mica_vec_init(&e->ids, a, sizeof(int32_t));
    mica_normalizer_run_init(&e->normalizer, a, special == MICA_SPECIAL_BY_ORIGIN);
    mica_pre_walker_init(&e->walker, &t->pre_tokenizer, a);
    return mica_token_run_create(t->model, &e->ids, text_bytes, &e->run, err);
}

static void encoder_deinit(encoder *e) {
    mica_token_run_destroy(&e->run);
    mica_pre_walker_deinit(&e->walker);
    mica_normalizer_run_deinit(&e->normalizer);
    mica_vec_deinit(&e->ids);
    mica_free(e->t->host->allocator, e->guarded);
}

static mica_status push_id(encoder *e, int32_t id, mica_error *err) {
    if (mica_vec_append(&e->ids, &id, 1)) return MICA_STATUS_OK;
    return mica_fail_memory(err, sizeof(id), "token ids");
}

/* Text without added tokens. */
static mica_status encode_ordinary(encoder *e, mica_slice text, bool is_at_start, mica_error *err) {
    mica_status st = mica_pre_walker_begin(&e->walker, text.data, text.bytes, is_at_start, err);
    bool found = false;
    mica_pre_piece piece;
    while (st == MICA_STATUS_OK &&
           (st = mica_pre_walker_next(&e->walker, &found, &piece, err)) == MICA_STATUS_OK && found)
        st = e->t->model->type->encode(e->run, piece.text, piece.bytes, err);
    return st;
}

/* Text between added tokens of the raw text. */
static mica_status encode_raw(encoder *e, mica_slice raw, const char *origin, bool is_at_start,
                              mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_tokenizer *t = e->t;
    mica_added_scan scan = {.trie = &t->normalized_trie,
                            .tokens = t->added,
                            .special = e->special,
                            .guarded = e->guarded};
    mica_slice text;
    size_t start = 0, end = 0;
    int32_t index;
    if (raw.bytes == 0) return MICA_STATUS_OK;
    MICA_TRY(mica_normalizer_apply(&t->normalizer, &e->normalizer, raw, origin, &text, &scan.origin,
                                   err));
    scan.text = text.data;
    scan.bytes = text.bytes;
    while ((index = mica_added_scan_next(&scan, &start, &end)) >= 0) {
        if (start > scan.done)
            MICA_TRY(encode_ordinary(e, mica_slice_of(text.data + scan.done, start - scan.done),
                                     is_at_start && scan.done == 0, err));
        MICA_TRY(push_id(e, t->added[index].id, err));
        scan.done = end;
    }
    MICA_TRY(encode_ordinary(e, mica_slice_of(text.data + scan.done, text.bytes - scan.done),
                             is_at_start && scan.done == 0, err));
done:
    return st;
}

static mica_status encode_all(encoder *e, mica_slice text, const char *origin, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_tokenizer *t = e->t;
    mica_added_scan scan = {.trie = &t->raw_trie,
                            .tokens = t->added,
                            .special = e->special,
                            .guarded = e->guarded,
                            .text = text.data,
                            .bytes = text.bytes,
                            .origin = origin};
    size_t start = 0, end = 0;
    int32_t index;
    while ((index = mica_added_scan_next(&scan, &start, &end)) >= 0) {
        if (start > scan.done)
            MICA_TRY(encode_raw(e, mica_slice_of(text.data + scan.done, start - scan.done),
                                origin ? origin + scan.done : NULL, scan.done == 0, err));
        MICA_TRY(push_id(e, t->added[index].id, err));
        scan.done = end;
    }
    MICA_TRY(encode_raw(e, mica_slice_of(text.data + scan.done, text.bytes - scan.done),
                        origin ? origin + scan.done : NULL, scan.done == 0, err));
done:
    return st;
}

static mica_status check_text(const char *text, size_t bytes, mica_error *err) {
    if (bytes && !text) return mica_fail(err, MICA_STATUS_INVALID, "text is NULL");
    if (bytes > MICA_ENCODE_BYTES_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "text of %zu bytes, at most %u are encoded", bytes,
                         MICA_ENCODE_BYTES_MAX);
    size_t valid = mica_utf8_valid_prefix(text, bytes, NULL);
    if (valid == bytes) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT, "text is not valid UTF-8 at byte %zu", valid);
}

/* Moves the ids out of the encoder. */
static void take_ids(encoder *e, mica_tokens *out) {
    out->ids = e->ids.data;
    out->count = e->ids.count;
    mica_vec_init(&e->ids, e->t->host->allocator, sizeof(int32_t));
}

mica_status mica_tokenizer_encode(const mica_tokenizer *t, const char *text, size_t bytes,
                                  const mica_encode_options *options, mica_tokens *out,
                                  mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    *out = (mica_tokens){0};
    if (options && options->struct_bytes < sizeof(*options))
        return mica_fail(err, MICA_STATUS_INVALID, "mica_encode_options: struct_bytes is not set");
    st = check_text(text, bytes, err);
    if (st != MICA_STATUS_OK) return st;
    bool adds_ids = options && options->add_special_tokens;
    encoder e;
    MICA_TRY(encoder_init(
        &e, t, options && options->plain_special ? MICA_SPECIAL_SKIPPED : MICA_SPECIAL_MATCHED,
        bytes, err));
    for (int i = 0; adds_ids && i < t->n_front; i++) MICA_TRY(push_id(&e, t->front_ids[i], err));
    MICA_TRY(encode_all(&e, mica_slice_of(text ? text : "", bytes), NULL, err));
    for (int i = 0; adds_ids && i < t->n_back; i++) MICA_TRY(push_id(&e, t->back_ids[i], err));
    take_ids(&e, out);
done:
    encoder_deinit(&e);
    return st;
}

/* One byte of origin for each byte of text, from the runs. */
static mica_status spread_origin(const mica_rendered *r, char *origin, mica_error *err) {
    size_t at = 0;
    for (size_t i = 0; i < r->n_runs; i++) {
        if (r->runs[i].end < at || r->runs[i].end > r->bytes)
            return mica_fail(err, MICA_STATUS_INVALID,
                             "run %zu ends at byte %zu, expected %zu to %zu", i, r->runs[i].end, at,
                             r->bytes);
        memset(origin + at, r->runs[i].from_input, r->runs[i].end - at);
        at = r->runs[i].end;
    }
    if (at == r->bytes) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_INVALID, "runs end at byte %zu of %zu", at, r->bytes);
}

/* Whether a match is a tag whose own letters, less the space it takes, all come from the template.
 */
static bool is_written(const mica_added_token *token, mica_slice text, const char *origin,
                       size_t start, size_t end) {
    if (!mica_added_token_is_tag(token)) return false;
    const char *open = memchr(text.data + start, token->content.data[0], end - start);
    if (!open) return false;
    start = (size_t)(open - text.data);
    size_t bytes = token->content.bytes < end - start ? token->content.bytes : end - start;
    return !memchr(origin + start, 1, bytes);
}

/* Tags that the template writes in this prompt are guarded too. Those that are looked for in
 * normalized text are taken as they are spelled. */
static void guard_tags(encoder *e, mica_slice text, const char *origin) {
    const mica_tokenizer *t = e->t;
    const mica_added_trie *const tries[] = {&t->raw_trie, &t->normalized_trie};
    for (int i = 0; i < 2; i++) {
        mica_added_scan scan = {.trie = tries[i],
                                .tokens = t->added,
                                .special = MICA_SPECIAL_MATCHED,
                                .text = text.data,
                                .bytes = text.bytes};
        size_t start = 0, end = 0;
        int32_t index;
        while ((index = mica_added_scan_next(&scan, &start, &end)) >= 0)
            if (is_written(&t->added[index], text, origin, start, end)) e->guarded[index] = true;
    }
}

static mica_status choose_guarded(encoder *e, mica_slice text, const char *origin,
                                  mica_error *err) {
    const mica_tokenizer *t = e->t;
    e->guarded = mica_alloc_array_zero(t->host->allocator, t->n_added + 1, sizeof(bool));
    if (!e->guarded) return mica_fail_memory(err, t->n_added, "the guarded tokens");
    for (size_t i = 0; i < t->n_added; i++)
        e->guarded[i] = mica_added_token_is_guarded(&t->added[i]);
    guard_tags(e, text, origin);
    return MICA_STATUS_OK;
}

mica_status mica_tokenizer_encode_rendered(const mica_tokenizer *t, const mica_rendered *r,
                                           mica_tokens *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char *origin = NULL;
    *out = (mica_tokens){0};
    st = check_text(r->text, r->bytes, err);
    if (st != MICA_STATUS_OK) return st;
    encoder e;
    MICA_TRY(encoder_init(&e, t, MICA_SPECIAL_BY_ORIGIN, r->bytes, err));
    origin = mica_alloc(t->host->allocator, r->bytes + 1);
    if (!origin) MICA_TRY(mica_fail_memory(err, r->bytes + 1, "the origin of a prompt"));
    MICA_TRY(spread_origin(r, origin, err));
    mica_slice text = mica_slice_of(r->text ? r->text : "", r->bytes);
    MICA_TRY(choose_guarded(&e, text, origin, err));
    MICA_TRY(encode_all(&e, text, origin, err));
    take_ids(&e, out);
done:
    mica_free(t->host->allocator, origin);
    encoder_deinit(&e);
    return st;
}

void mica_tokens_free(const mica_tokenizer *t, mica_tokens *tokens) {
    mica_free(t->host->allocator, tokens->ids);
    *tokens = (mica_tokens){0};
}

#ifdef MICA_FUZZ_TOKENIZER_ENCODE
#include "text/tokenizer_sample.h"

/* The first byte chooses a small tokenizer, the second the options, the rest is text. Byte-level
 * tokenizers must give the text back; decoded text is always valid UTF-8. */
MICA_FUZZ_ENTRY(tokenizer_encode) {
    if (size < 2) return 0;
    static mica_tokenizer *samples[SAMPLES];
    int kind = data[0] % SAMPLES;
    if (!samples[kind]) samples[kind] = sample_open(mica_host_default(), kind, NULL);
    const mica_tokenizer *t = samples[kind];
    if (!t) __builtin_trap();
    const char *text = (const char *)data + 2;
    mica_tokens tokens = {0};
    mica_error err = {0};
    mica_encode_options options = {.struct_bytes = sizeof(options),
                                   .plain_special = data[1] & 1,
                                   .add_special_tokens = data[1] >> 1 & 1};
    mica_status st = mica_tokenizer_encode(t, text, size - 2, &options, &tokens, &err);
    if ((st == MICA_STATUS_OK) != mica_utf8_is_valid(text, size - 2)) __builtin_trap();
    if (st == MICA_STATUS_OK) {
        char *back = NULL;
        size_t bytes = 0;
        st = mica_tokenizer_decode(t, tokens.ids, tokens.count, true, &back, &bytes, &err);
        if (st != MICA_STATUS_OK || !mica_utf8_is_valid(back, bytes)) __builtin_trap();
        /* The token <tool> takes the space around it. */
        bool is_exact = sample_is_exact(kind) && !options.add_special_tokens &&
                        !memmem(text, size - 2, "<tool>", 6);
        if (is_exact && (bytes != size - 2 || memcmp(back, text, bytes) != 0)) __builtin_trap();
        mica_text_free(t, back);
    }
    mica_tokens_free(t, &tokens);
    return 0;
}
#endif
