/* Reads tokenizer.json into a mica_tokenizer: the added tokens, and the order of things; the model
 * is read by its own file (token_model.h), the pipeline's steps by tokenizer_steps.c and
 * tokenizer_post.c. The rules are those of the reference plus strictness: what it ignores or only
 * warns about is an error here.
 *
 * Some parts need others first (the model its type, merges their vocabulary). Writers put them in
 * that order; where they do not, `model` is read in further passes over the text. */
#include <string.h>
#include "base/error.h"
#include "base/file.h"
#include "base/fuzz.h"
#include "text/tokenizer_parts.h"

enum {
    SHOWN_BYTES_MAX = 48, /* of a token in an error message */
    KEY_BYTES_MAX = 32,   /* of a field that may have to be read later */
    PASSES_MAX = 3,       /* the type, everything else, what needed the rest */
};

/* later_key: the field of `model` that the next pass has to read; empty = all. is_later: there is
 * something left for a next pass. */
typedef struct loader {
    mica_tokenizer *t;
    mica_json *j;
    const char *name;
    size_t bytes;
    mica_vec added; /* mica_added_token */
    bool has_model, is_later;
    const mica_token_model_type *type;  /* that the file names */
    const mica_token_model_type *guess; /* by its fields; NULL: none */
    char later_key[KEY_BYTES_MAX];
} loader;

static int shown(mica_slice s) {
    return (int)(s.bytes < SHOWN_BYTES_MAX ? s.bytes : SHOWN_BYTES_MAX);
}

static mica_status fail_memory(const loader *l, mica_error *err) {
    return mica_fail_memory(err, l->bytes, "a tokenizer");
}

static mica_status copy_text(loader *l, mica_slice text, mica_slice *out, mica_error *err) {
    out->data = mica_arena_string(&l->t->arena, text.data, text.bytes);
    out->bytes = text.bytes;
    return out->data ? MICA_STATUS_OK : fail_memory(l, err);
}

/* ---- added_tokens ---- */

static mica_status read_added_token(loader *l, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_added_token token = {.id = -1};
    mica_slice key, text;
    MICA_TRY(mica_json_begin_object(l->j, err));
    while (mica_json_next_key(l->j, &key)) {
        bool *flag = mica_slice_is(key, "single_word")  ? &token.is_single_word
                     : mica_slice_is(key, "lstrip")     ? &token.strips_left
                     : mica_slice_is(key, "rstrip")     ? &token.strips_right
                     : mica_slice_is(key, "normalized") ? &token.is_normalized
                     : mica_slice_is(key, "special")    ? &token.is_special
                                                        : NULL;
        if (flag) {
            MICA_TRY(mica_json_read_bool(l->j, flag, err));
        } else if (mica_slice_is(key, "id")) {
            MICA_TRY(mica_token_model_read_id(l->j, &token.id, err));
        } else if (mica_slice_is(key, "content")) {
            MICA_TRY(mica_json_read_string(l->j, &text, err));
            MICA_TRY(copy_text(l, text, &token.content, err));
        } else {
            st = mica_json_fail(l->j, err, "added token: field \"%.*s\" is not known", shown(key),
                                key.data);
            goto done;
        }
    }
    MICA_TRY(mica_json_check(l->j, err));
    if (token.id < 0 || token.content.bytes == 0 ||
        token.content.bytes > MICA_ADDED_TOKEN_BYTES_MAX)
        st = mica_json_fail(l->j, err, "added token needs an id and a content of 1 to %d bytes",
                            MICA_ADDED_TOKEN_BYTES_MAX);
    else if (!mica_vec_append(&l->added, &token, 1))
        st = fail_memory(l, err);
done:
    return st;
}

static mica_status read_added_tokens(loader *l, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(mica_json_begin_array(l->j, err));
    while (mica_json_next_item(l->j)) {
        MICA_REQUIRE(l->added.count < MICA_ADDED_TOKENS_MAX, MICA_STATUS_LIMIT,
                     "%s: more than %d added tokens", l->name, MICA_ADDED_TOKENS_MAX);
        MICA_TRY(read_added_token(l, err));
    }
    MICA_TRY(mica_json_check(l->j, err));
done:
    return st;
}

/* ---- model ---- */

static mica_status create_model(loader *l, const mica_token_model_type *type, mica_error *err) {
    mica_tokenizer *t = l->t;
    return mica_token_model_create(type, t->host, l->name, &t->vocab, &t->arena, &t->model, err);
}

static mica_status read_type(loader *l, mica_error *err) {
    mica_slice name;
    mica_status st = mica_json_read_string(l->j, &name, err);
    if (st != MICA_STATUS_OK) return st;
    l->type = mica_token_model_find(name);
    if (l->type) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_UNSUPPORTED, "%s: tokenizer model \"%.*s\" is not supported",
                     l->name, shown(name), name.data);
}

/* A field that comes before the type is known: it is passed over, but old files have no type and
 * are told apart by their fields. */
static mica_status skip_model_field(loader *l, mica_slice key, mica_error *err) {
    bool is_list = mica_slice_is(key, "vocab") && mica_json_peek(l->j) == MICA_JSON_ARRAY;
    const char *name = is_list                                          ? "Unigram"
                       : mica_slice_is(key, "merges")                   ? "BPE"
                       : mica_slice_is(key, "max_input_chars_per_word") ? "WordPiece"
                                                                        : NULL;
    if (name) l->guess = mica_token_model_find(mica_slice_from(name));
    l->is_later = true;
    return mica_json_skip(l->j, err);
}

/* One pass over the fields of `model`. Those that could not be read yet are left for another pass:
 * all of them where the type came last, else the one in l->later_key. */
static mica_status read_model(loader *l, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_slice key;
    char wanted[KEY_BYTES_MAX];
    memcpy(wanted, l->later_key, sizeof(wanted));
    l->is_later = false;
    l->later_key[0] = '\0';
    l->has_model = true;
    MICA_TRY(mica_json_begin_object(l->j, err));
    while (mica_json_next_key(l->j, &key)) {
        if (mica_slice_is(key, "type")) {
            MICA_TRY(read_type(l, err));
            if (!l->t->model && !l->is_later) MICA_TRY(create_model(l, l->type, err));
        } else if (!l->t->model) {
            MICA_TRY(skip_model_field(l, key, err));
        } else if (wanted[0] && !mica_slice_is(key, wanted)) {
            MICA_TRY(mica_json_skip(l->j, err));
        } else {
            bool is_later = false;
            MICA_TRY(l->t->model->type->read_field(l->t->model, l->j, key, &is_later, err));
            if (!is_later) continue;
            l->is_later = true;
            memcpy(l->later_key, key.data, key.bytes);
            l->later_key[key.bytes] = '\0';
        }
    }
    MICA_TRY(mica_json_check(l->j, err));
    if (l->t->model) goto done;
    const mica_token_model_type *type = l->type ? l->type : l->guess;
    MICA_REQUIRE(type, MICA_STATUS_FORMAT, "%s: the model has no type", l->name);
    MICA_TRY(create_model(l, type, err));
done:
    return st;
}

/* ---- the file ---- */

static mica_status read_top_field(loader *l, mica_slice key, mica_error *err) {
    if (mica_slice_is(key, "model")) return read_model(l, err);
    if (mica_slice_is(key, "added_tokens")) return read_added_tokens(l, err);
    if (mica_slice_is(key, "normalizer")) return mica_tokenizer_read_normalizer(l->t, l->j, err);
    if (mica_slice_is(key, "pre_tokenizer"))
        return mica_tokenizer_read_pre_tokenizer(l->t, l->j, err);
    if (mica_slice_is(key, "post_processor"))
        return mica_tokenizer_read_post_processor(l->t, l->j, err);
    if (mica_slice_is(key, "decoder")) return mica_tokenizer_read_decoder(l->t, l->j, err);
    return mica_json_skip(l->j, err); /* version, truncation, padding */
}

static mica_status read_top(loader *l, const char *json, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_slice key;
    MICA_TRY(mica_json_open(l->t->host, l->name, json, l->bytes, MICA_JSON_DEPTH_MAX, &l->j, err));
    MICA_TRY(mica_json_begin_object(l->j, err));
    while (mica_json_next_key(l->j, &key)) MICA_TRY(read_top_field(l, key, err));
    MICA_TRY(mica_json_check(l->j, err));
    MICA_TRY(mica_json_end(l->j, err));
done:
    mica_json_close(&l->j);
    return st;
}

/* A further pass: nothing but the model. */
static mica_status read_model_again(loader *l, const char *json, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_slice key;
    MICA_TRY(mica_json_open(l->t->host, l->name, json, l->bytes, MICA_JSON_DEPTH_MAX, &l->j, err));
    MICA_TRY(mica_json_begin_object(l->j, err));
    while (mica_json_next_key(l->j, &key)) {
        if (mica_slice_is(key, "model"))
            MICA_TRY(read_model(l, err));
        else
            MICA_TRY(mica_json_skip(l->j, err));
    }
    MICA_TRY(mica_json_check(l->j, err));
done:
    mica_json_close(&l->j);
    return st;
}

/* ---- putting the parts together ---- */

static mica_status enter_added_tokens(loader *l, mica_error *err) {
    mica_tokenizer *t = l->t;
    const mica_added_token *tokens = l->added.data;
    for (size_t i = 0; i < l->added.count; i++) {
        mica_status st =
            mica_token_model_add(&t->vocab, l->name, tokens[i].content, tokens[i].id, false, err);
        if (st != MICA_STATUS_OK) return st;
        mica_vocab_entry *entry = &t->vocab.entries[tokens[i].id];
        if (entry->is_added)
            return mica_fail(err, MICA_STATUS_FORMAT, "%s: added token \"%.*s\" is listed twice",
                             l->name, shown(tokens[i].content), tokens[i].content.data);
        entry->is_added = 1;
        entry->is_special = tokens[i].is_special & 1;
    }
    t->n_added = l->added.count;
    t->added = mica_arena_alloc_array(&t->arena, t->n_added + 1, sizeof(*t->added));
    if (!t->added) return fail_memory(l, err);
    if (t->n_added) memcpy(t->added, tokens, t->n_added * sizeof(*tokens));
    return MICA_STATUS_OK;
}

/* Tokens that are looked for in normalized text are themselves normalized. */
static mica_status build_tries(mica_tokenizer *t, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_normalizer_run run;
    mica_normalizer_run_init(&run, t->host->allocator, false);
    for (size_t i = 0; i < t->n_added; i++) {
        mica_slice text = t->added[i].content;
        const char *origin = NULL;
        bool is_normalized = t->added[i].is_normalized;
        if (is_normalized)
            MICA_TRY(mica_normalizer_apply(&t->normalizer, &run, text, NULL, &text, &origin, err));
        MICA_REQUIRE(text.bytes, MICA_STATUS_FORMAT,
                     "added token \"%.*s\" is nothing after the normalizer",
                     shown(t->added[i].content), t->added[i].content.data);
        if (!mica_added_trie_add(is_normalized ? &t->normalized_trie : &t->raw_trie, text,
                                 (uint32_t)i))
            MICA_TRY(mica_fail_memory(err, text.bytes, "the added tokens"));
        if (is_normalized && t->added[i].is_special) t->has_normalized_special = true;
    }
done:
    mica_normalizer_run_deinit(&run);
    return st;
}

static void warn_of_holes(const loader *l) {
    const mica_vocab *v = &l->t->vocab;
    int32_t first = 0;
    if (v->count == v->size) return;
    while (v->entries[first].is_used) first++;
    mica_host_log(l->t->host, MICA_LOG_WARNING, "%s: %d of %d token ids are not used, first %d",
                  l->name, (int)(v->size - v->count), (int)v->size, (int)first);
}

/* The map to the byte alphabet is left to the model where it comes last. */
static void choose_takes_bytes(mica_tokenizer *t) {
    mica_pre_tokenizer *p = &t->pre_tokenizer;
    const mica_token_model_type *type = t->model->type;
    bool is_last = p->n_steps && p->steps[p->n_steps - 1].kind == MICA_PRE_BYTE_MAP;
    t->model->takes_bytes = is_last && type->can_take_bytes && type->can_take_bytes(t->model);
    if (t->model->takes_bytes) p->n_steps--;
}

static mica_status finish_model(mica_tokenizer *t, mica_error *err) {
    choose_takes_bytes(t);
    mica_status st = t->model->type->finish(t->model, err);
    t->model->name = NULL;
    return st;
}

static mica_status check_post_ids(const loader *l, mica_error *err) {
    const mica_tokenizer *t = l->t;
    for (int i = 0; i < t->n_front + t->n_back; i++) {
        int32_t id = i < t->n_front ? t->front_ids[i] : t->back_ids[i - t->n_front];
        if (!mica_vocab_text(&t->vocab, id).data)
            return mica_fail(err, MICA_STATUS_FORMAT,
                             "%s: post_processor adds id %d, no such token", l->name, (int)id);
    }
    return MICA_STATUS_OK;
}

static mica_status read_all(loader *l, const char *json, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_tokenizer *t = l->t;
    /* About a quarter of a file is token text, with about 140 bytes to a token and its merges. */
    if (!mica_vocab_reserve(&t->vocab, l->bytes / 140 + 16, l->bytes / 10 + 256))
        MICA_TRY(fail_memory(l, err));
    t->decoder.joins_with_space = true;
    MICA_TRY(read_top(l, json, err));
    MICA_REQUIRE(l->has_model, MICA_STATUS_FORMAT, "%s: no model", l->name);
    for (int pass = 1; l->is_later && pass < PASSES_MAX; pass++)
        MICA_TRY(read_model_again(l, json, err));
    MICA_REQUIRE(t->model->has_vocab, MICA_STATUS_FORMAT, "%s: no vocabulary", l->name);
    MICA_TRY(enter_added_tokens(l, err));
    MICA_REQUIRE(t->vocab.count > 0, MICA_STATUS_FORMAT, "%s: no tokens", l->name);
    MICA_TRY(build_tries(t, err));
    MICA_TRY(finish_model(t, err));
    MICA_TRY(check_post_ids(l, err));
    if (!mica_token_decoder_finish(&t->decoder, &t->vocab, t->host->allocator))
        MICA_TRY(fail_memory(l, err));
    warn_of_holes(l);
done:
    return st;
}

mica_status mica_tokenizer_create(const mica_host *host, const char *name, const char *json,
                                  size_t bytes, mica_tokenizer **out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_tokenizer *t = NULL;
    loader l = {.name = name, .bytes = bytes};
    mica_vec_init(&l.added, host->allocator, sizeof(mica_added_token));
    MICA_REQUIRE(bytes <= MICA_TOKENIZER_BYTES_MAX, MICA_STATUS_LIMIT,
                 "%s: %zu bytes, at most %u are read", name, bytes, MICA_TOKENIZER_BYTES_MAX);
    t = MICA_NEW(host->allocator, mica_tokenizer);
    if (!t) MICA_TRY(fail_memory(&l, err));
    t->host = host;
    mica_arena_init(&t->arena, host->allocator, 0);
    mica_vocab_init(&t->vocab, host->allocator);
    mica_added_trie_init(&t->raw_trie, host->allocator);
    mica_added_trie_init(&t->normalized_trie, host->allocator);
    for (int i = 0; i < 256; i++) t->byte_values[i] = (char)i;
    l.t = t;
    MICA_TRY(read_all(&l, json, err));
    *out = t;
    t = NULL;
done:
    mica_vec_deinit(&l.added);
    mica_tokenizer_close(&t);
    return st;
}

mica_status mica_tokenizer_load(const mica_host *host, const char *path, mica_tokenizer **out,
                                mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char file[MICA_PATH_BYTES_MAX], *json = NULL;
    size_t bytes = 0;
    if (mica_path_kind_of(path) == MICA_PATH_FOLDER) {
        MICA_TRY(mica_path_join(path, "tokenizer.json", file, err));
        path = file;
    }
    MICA_TRY(mica_file_read_all(host, path, MICA_TOKENIZER_BYTES_MAX, &json, &bytes, err));
    const char *slash = strrchr(path, '/');
    MICA_TRY(mica_tokenizer_create(host, slash ? slash + 1 : path, json, bytes, out, err));
done:
    mica_free(host->allocator, json);
    return st;
}

void mica_tokenizer_close(mica_tokenizer **tokenizer) {
    mica_tokenizer *t = *tokenizer;
    if (!t) return;
    const mica_allocator *allocator = t->host->allocator;
    mica_token_decoder_deinit(&t->decoder, allocator);
    mica_pre_tokenizer_deinit(&t->pre_tokenizer);
    mica_normalizer_deinit(&t->normalizer);
    mica_added_trie_deinit(&t->raw_trie);
    mica_added_trie_deinit(&t->normalized_trie);
    mica_token_model_destroy(&t->model);
    mica_vocab_deinit(&t->vocab);
    mica_arena_deinit(&t->arena);
    mica_free(allocator, t);
    *tokenizer = NULL;
}

#ifdef MICA_FUZZ_TOKENIZER
/* Any bytes as tokenizer.json; what loads must encode, and decode its own ids. */
MICA_FUZZ_ENTRY(tokenizer) {
    static const char text[] = "Hello  w\xC3\xB6rld's 123\n\n <s>\xE2\x96\x81 tok\xCC\x81";
    mica_tokenizer *t = NULL;
    mica_error err = {0};
    if (mica_tokenizer_create(mica_host_default(), "fuzz", (const char *)data, size, &t, &err) !=
        MICA_STATUS_OK)
        return 0;
    mica_tokens tokens = {0};
    mica_encode_options options = {.struct_bytes = sizeof(options), .add_special_tokens = true};
    if (mica_tokenizer_encode(t, text, sizeof(text) - 1, &options, &tokens, &err) ==
        MICA_STATUS_OK) {
        char *back = NULL;
        size_t bytes = 0;
        mica_status st =
            mica_tokenizer_decode(t, tokens.ids, tokens.count, true, &back, &bytes, &err);
        if (st != MICA_STATUS_OK || !mica_utf8_is_valid(back, bytes)) __builtin_trap();
        mica_text_free(t, back);
        mica_tokens_free(t, &tokens);
    }
    mica_tokenizer_close(&t);
    return 0;
}
#endif
