/* From the keys tokenizer.* to tokenizer.json. What GGUF leaves out because llama.cpp has it built
 * in (splits, normalizers, decoders) is written as the model's own file has it. */
#include "format/gguf_tokenizer.h"
#include <math.h>
#include <string.h>
#include "base/error.h"
#include "format/gguf_json.h"
#include "format/gguf_tokenizer_parts.h"

enum { BYTE_TOKENS = 256, SPECIAL_KEYS = 7 };

/* The character that stands for a space. */
#define META "\xE2\x96\x81"

/* Special tokens: their keys, and their fields in tokenizer_config.json. */
static const struct {
    const char *key;
    const char *field; /* NULL: none */
} special_keys[SPECIAL_KEYS] = {
    {"tokenizer.ggml.bos_token_id", "bos_token"},
    {"tokenizer.ggml.eos_token_id", "eos_token"},
    {"tokenizer.ggml.unknown_token_id", "unk_token"},
    {"tokenizer.ggml.padding_token_id", "pad_token"},
    {"tokenizer.ggml.eot_token_id", NULL},
    {"tokenizer.ggml.eom_token_id", NULL},
    {"tokenizer.ggml.mask_token_id", NULL},
};
enum { BOS = 0, EOS = 1, UNKNOWN = 2 };

typedef enum tokenizer_kind { KIND_BYTE_LEVEL, KIND_SENTENCEPIECE, KIND_UNIGRAM } tokenizer_kind;

typedef struct writer {
    gguf_vocab vocab;
    mica_arena arena; /* texts that differ from the file's */
    mica_str *out;
    tokenizer_kind kind;
    const gguf_pre_tokenizer *pre; /* byte level only */
    int64_t ids[SPECIAL_KEYS];     /* -1: none */
    bool adds_bos, adds_eos, adds_space, has_all_bytes;
} writer;

/* ---- reading ---- */

static mica_status fail_memory(const writer *w, mica_error *err) {
    return mica_fail_memory(err, w->vocab.n_tokens * sizeof(gguf_token), "a vocabulary");
}

static mica_status fail_key(const mica_gguf *g, mica_status status, const char *key,
                            const char *text, mica_error *err) {
    return mica_fail(err, status, "%s: %s %s", mica_gguf_name(g), key, text);
}

static mica_status find_kind(writer *w, mica_error *err) {
    const mica_gguf *g = w->vocab.gguf;
    mica_slice name = {0};
    bool is_there;
    mica_status st = mica_gguf_read_string(g, "tokenizer.ggml.model", &name, &is_there, err);
    if (st != MICA_STATUS_OK) return st;
    if (!is_there)
        return fail_key(g, MICA_STATUS_NOT_FOUND, "tokenizer.ggml.model",
                        "is missing: the file has no tokenizer", err);
    if (mica_slice_is(name, "gpt2")) {
        w->kind = KIND_BYTE_LEVEL;
        st = gguf_pre_tokenizer_find(g, &w->pre, err);
        w->adds_bos = st == MICA_STATUS_OK && w->pre->adds_bos;
        return st;
    }
    if (mica_slice_is(name, "llama")) {
        w->kind = KIND_SENTENCEPIECE;
        w->adds_bos = w->adds_space = true;
    } else if (mica_slice_is(name, "t5")) {
        w->kind = KIND_UNIGRAM;
        w->adds_eos = w->adds_space = true;
    } else {
        return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                         "%s: tokenizer.ggml.model is \"%.*s\", expected gpt2, llama or t5",
                         mica_gguf_name(g), (int)(name.bytes < 64 ? name.bytes : 64), name.data);
    }
    return MICA_STATUS_OK;
}

/* An array that has an item for each token, or NULL where there is none. */
static mica_status find_array(const mica_gguf *g, const char *key, mica_gguf_value_type type,
                              uint64_t count, const mica_gguf_value **out, mica_error *err) {
    const mica_gguf_value *v = *out = mica_gguf_find(g, key);
    if (!v) return MICA_STATUS_OK;
    if (v->type != MICA_GGUF_ARRAY || v->item_type != type)
        return fail_key(g, MICA_STATUS_FORMAT, key,
                        type == MICA_GGUF_F32 ? "is no array of f32" : "is no array of i32", err);
    if (v->count == count) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: %s has %llu items for %llu tokens",
                     mica_gguf_name(g), key, (unsigned long long)v->count,
                     (unsigned long long)count);
}

/* User-defined tokens have spaces in GGUF where the vocabulary has META. */
static mica_status spell(writer *w, gguf_token *token, mica_error *err) {
    if (w->kind == KIND_BYTE_LEVEL || token->type != GGUF_TOKEN_USER_DEFINED ||
        !memchr(token->text.data, ' ', token->text.bytes))
        return MICA_STATUS_OK;
    char *copy = mica_arena_alloc_array(&w->arena, token->text.bytes, strlen(META));
    if (!copy) return fail_memory(w, err);
    size_t used = 0;
    for (size_t i = 0; i < token->text.bytes; i++) {
        bool is_space = token->text.data[i] == ' ';
        memcpy(copy + used, is_space ? META : &token->text.data[i], is_space ? strlen(META) : 1);
        used += is_space ? strlen(META) : 1;
    }
    token->text = mica_slice_of(copy, used);
    return MICA_STATUS_OK;
}

/* "[PAD7]" of id 7 fills up a vocabulary to the rows of the embedding. */
static bool is_filling(mica_slice text, size_t id) {
    char filling[32];
    mica_format(filling, sizeof filling, "[PAD%zu]", id);
    return mica_slice_is(text, filling);
}

static mica_status read_token(writer *w, size_t id, mica_slice text, const mica_gguf_value *types,
                              const mica_gguf_value *scores, mica_error *err) {
    gguf_token *token = &w->vocab.tokens[id];
    const char *name = mica_gguf_name(w->vocab.gguf);
    int64_t type = types ? mica_gguf_integer_at(types, id) : GGUF_TOKEN_NORMAL;
    *token = (gguf_token){.text = text};
    token->type = (uint8_t)(type < 0 || type > GGUF_TOKEN_BYTE ? 0 : type);
    token->score = scores ? (float)mica_gguf_number_at(scores, id) : 0;
    if (!mica_utf8_is_valid(text.data, text.bytes))
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: token %zu is not UTF-8", name, id);
    if (!isfinite(token->score))
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: the score of token %zu is not finite", name,
                         id);
    /* The converter writes -1000 for them; SentencePiece tries them before all others. */
    if (token->type == GGUF_TOKEN_USER_DEFINED && w->kind == KIND_SENTENCEPIECE) token->score = 0;
    if (text.bytes == 0 || (token->type == GGUF_TOKEN_UNUSED && is_filling(text, id)))
        token->text = (mica_slice){NULL, 0};
    return spell(w, token, err);
}

static mica_status read_tokens(writer *w, mica_error *err) {
    static const char key[] = "tokenizer.ggml.tokens";
    mica_status st = MICA_STATUS_OK;
    const mica_gguf *g = w->vocab.gguf;
    const mica_gguf_value *texts = mica_gguf_find(g, key), *types, *scores;
    mica_slice text;
    size_t place = 0;
    if (!texts) return fail_key(g, MICA_STATUS_NOT_FOUND, key, "is missing", err);
    if (texts->type != MICA_GGUF_ARRAY || texts->item_type != MICA_GGUF_STRING)
        return fail_key(g, MICA_STATUS_FORMAT, key, "is no array of strings", err);
    if (texts->count == 0 || texts->count > MICA_GGUF_TOKENS_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "%s: rule G11: %llu tokens, expected 1 to %u",
                         mica_gguf_name(g), (unsigned long long)texts->count, MICA_GGUF_TOKENS_MAX);
    MICA_TRY(find_array(g, "tokenizer.ggml.token_type", MICA_GGUF_I32, texts->count, &types, err));
    MICA_TRY(find_array(g, "tokenizer.ggml.scores", MICA_GGUF_F32, texts->count, &scores, err));
    if (w->kind != KIND_BYTE_LEVEL && !scores)
        return fail_key(g, MICA_STATUS_FORMAT, "tokenizer.ggml.scores", "is missing", err);
    w->vocab.n_tokens = (size_t)texts->count;
    w->vocab.tokens = MICA_NEW_ARRAY(w->vocab.allocator, gguf_token, w->vocab.n_tokens);
    if (!w->vocab.tokens) return fail_memory(w, err);
    for (size_t i = 0; i < w->vocab.n_tokens && mica_gguf_next_string(texts, &place, &text); i++)
        MICA_TRY(read_token(w, i, text, types, scores, err));
done:
    return st;
}

static mica_status read_special_ids(const mica_gguf *g, uint64_t n_tokens,
                                    int64_t ids[SPECIAL_KEYS], mica_error *err) {
    for (int i = 0; i < SPECIAL_KEYS; i++) {
        ids[i] = -1;
        mica_status st = mica_gguf_read_integer(g, special_keys[i].key, &ids[i], NULL, err);
        if (st != MICA_STATUS_OK) return st;
        /* Files exist with 4294967295 for "none". */
        if (ids[i] < 0 || (uint64_t)ids[i] >= n_tokens) ids[i] = -1;
    }
    return MICA_STATUS_OK;
}

static mica_status read_flags(writer *w, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_gguf *g = w->vocab.gguf;
    MICA_TRY(mica_gguf_read_bool(g, "tokenizer.ggml.add_bos_token", &w->adds_bos, NULL, err));
    MICA_TRY(mica_gguf_read_bool(g, "tokenizer.ggml.add_eos_token", &w->adds_eos, NULL, err));
    MICA_TRY(mica_gguf_read_bool(g, "tokenizer.ggml.add_space_prefix", &w->adds_space, NULL, err));
done:
    return st;
}

/* Marks what is looked for before anything else; looks whether there is a token for every byte. */
static void mark_tokens(writer *w) {
    bool has_byte[BYTE_TOKENS] = {false};
    int n_bytes = 0;
    for (size_t i = 0; i < w->vocab.n_tokens; i++) {
        gguf_token *t = &w->vocab.tokens[i];
        t->is_special = t->type == GGUF_TOKEN_CONTROL || t->type == GGUF_TOKEN_UNKNOWN;
        if (t->text.bytes != 6) continue;
        for (int b = 0; b < BYTE_TOKENS && t->type == GGUF_TOKEN_BYTE; b++) {
            char text[8];
            mica_format(text, sizeof text, "<0x%02X>", (unsigned)b);
            if (!mica_slice_is(t->text, text)) continue;
            n_bytes += !has_byte[b];
            has_byte[b] = true;
        }
    }
    w->has_all_bytes = n_bytes == BYTE_TOKENS;
    for (int i = 0; i < SPECIAL_KEYS; i++)
        if (w->ids[i] >= 0) w->vocab.tokens[w->ids[i]].is_special = true;
}

static mica_status read_all(writer *w, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(find_kind(w, err));
    MICA_TRY(read_tokens(w, err));
    MICA_TRY(read_special_ids(w->vocab.gguf, w->vocab.n_tokens, w->ids, err));
    MICA_TRY(read_flags(w, err));
    mark_tokens(w);
done:
    return st;
}

/* ---- writing ---- */

static bool is_added(const gguf_token *t) {
    return t->text.bytes > 0 && (t->is_special || t->type == GGUF_TOKEN_USER_DEFINED);
}

static void put_added_tokens(const writer *w) {
    mica_str *out = w->out;
    mica_gguf_put_key(out, "added_tokens");
    mica_str_append_char(out, '[');
    bool is_first = true;
    for (size_t i = 0; i < w->vocab.n_tokens; i++) {
        const gguf_token *t = &w->vocab.tokens[i];
        if (!is_added(t)) continue;
        mica_str_append_format(out, "%s{\"id\":%zu,\"content\":", is_first ? "" : ",", i);
        mica_json_append_string(out, t->text);
        mica_str_append_format(out,
                               ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                               "\"normalized\":false,\"special\":%s}",
                               t->is_special ? "true" : "false");
        is_first = false;
    }
    mica_str_append_char(out, ']');
}

static void put_place(mica_str *out, mica_slice name) {
    mica_str_append_text(out, "{\"SpecialToken\":{\"id\":");
    mica_json_append_string(out, name);
    mica_str_append_text(out, ",\"type_id\":0}}");
}

/* The ids around a text: those of bos and eos, where they are asked for and exist. */
static void put_post_processor(const writer *w) {
    static const char sequence[] = "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}";
    mica_str *out = w->out;
    int64_t around[2] = {w->adds_bos ? w->ids[BOS] : -1, w->adds_eos ? w->ids[EOS] : -1};
    mica_gguf_put_key(out, "post_processor");
    for (int i = 0; i < 2; i++)
        if (around[i] >= 0 && w->vocab.tokens[around[i]].text.bytes == 0) around[i] = -1;
    if (around[0] < 0 && around[1] < 0) {
        mica_str_append_text(out, "null");
        return;
    }
    mica_str_append_text(out, "{\"type\":\"TemplateProcessing\",\"single\":[");
    for (int i = 0; i < 3; i++) {
        int64_t id = i == 1 ? -1 : around[i / 2];
        if (i != 1 && id < 0) continue;
        if (i > 0 && (i == 2 || around[0] >= 0)) mica_str_append_char(out, ',');
        if (i == 1)
            mica_str_append_text(out, sequence);
        else
            put_place(out, w->vocab.tokens[id].text);
    }
    mica_str_append_format(out, "],\"pair\":[%s,{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],",
                           sequence);
    mica_str_append_text(out, "\"special_tokens\":{");
    for (int i = 0; i < 2; i++) {
        if (around[i] < 0 || (i == 1 && around[1] == around[0])) continue;
        mica_slice text = w->vocab.tokens[around[i]].text;
        if (out->data && out->bytes && out->data[out->bytes - 1] == '}')
            mica_str_append_char(out, ',');
        mica_json_append_string(out, text);
        mica_str_append_text(out, ":{\"id\":");
        mica_json_append_string(out, text);
        mica_str_append_format(out, ",\"ids\":[%lld],\"tokens\":[", (long long)around[i]);
        mica_json_append_string(out, text);
        mica_str_append_text(out, "]}");
    }
    mica_str_append_text(out, "}}");
}

/* id by id; holes are tokens without a text. */
static void put_vocab(const writer *w) {
    mica_str *out = w->out;
    mica_gguf_put_key(out, "vocab");
    mica_str_append_char(out, '{');
    bool is_first = true;
    for (size_t i = 0; i < w->vocab.n_tokens; i++) {
        const gguf_token *t = &w->vocab.tokens[i];
        /* Added tokens are not spelled in the alphabet of bytes. */
        if (t->text.bytes == 0 || (w->kind == KIND_BYTE_LEVEL && is_added(t))) continue;
        if (!is_first) mica_str_append_char(out, ',');
        mica_json_append_string(out, t->text);
        mica_str_append_format(out, ":%zu", i);
        is_first = false;
    }
    mica_str_append_char(out, '}');
}

static mica_status put_given_merges(const writer *w, mica_error *err) {
    static const char key[] = "tokenizer.ggml.merges";
    const mica_gguf *g = w->vocab.gguf;
    const mica_gguf_value *v = mica_gguf_find(g, key);
    mica_slice text;
    size_t place = 0;
    if (!v || v->type != MICA_GGUF_ARRAY || v->item_type != MICA_GGUF_STRING)
        return fail_key(g, MICA_STATUS_FORMAT, key, v ? "is no array of strings" : "is missing",
                        err);
    mica_str_append_char(w->out, '[');
    for (uint64_t i = 0; mica_gguf_next_string(v, &place, &text); i++) {
        const char *space = text.bytes > 1 ? memchr(text.data + 1, ' ', text.bytes - 1) : NULL;
        if (!space || !mica_utf8_is_valid(text.data, text.bytes))
            return mica_fail(err, MICA_STATUS_FORMAT,
                             "%s: merge %llu is no pair of texts with a space between",
                             mica_gguf_name(g), (unsigned long long)i);
        size_t left = (size_t)(space - text.data);
        mica_str_append_text(w->out, i ? ",[" : "[");
        mica_json_append_string(w->out, mica_slice_of(text.data, left));
        mica_str_append_char(w->out, ',');
        mica_json_append_string(w->out, mica_slice_of(space + 1, text.bytes - left - 1));
        mica_str_append_char(w->out, ']');
    }
    mica_str_append_char(w->out, ']');
    return MICA_STATUS_OK;
}

static mica_status put_byte_level(const writer *w, mica_error *err) {
    mica_str *out = w->out;
    mica_str_append_text(out, w->pre->composes ? ",\"normalizer\":{\"type\":\"NFC\"}"
                                               : ",\"normalizer\":null");
    mica_gguf_put_key(out, "pre_tokenizer");
    gguf_pre_tokenizer_put(w->pre, w->adds_space, out);
    put_post_processor(w);
    mica_str_append_format(
        out,
        ",\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,"
        "\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
        "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,"
        "\"byte_fallback\":false,\"ignore_merges\":%s",
        w->pre->ignores_merges ? "true" : "false");
    put_vocab(w);
    mica_gguf_put_key(out, "merges");
    mica_status st = put_given_merges(w, err);
    mica_str_append_char(out, '}');
    return st;
}

static mica_slice unknown_text(const writer *w) {
    return w->ids[UNKNOWN] >= 0 ? w->vocab.tokens[w->ids[UNKNOWN]].text : (mica_slice){NULL, 0};
}

/* A space is META; where asked for, one stands before the text, and goes again when it is decoded.
 */
static mica_status put_sentencepiece(const writer *w, mica_error *err) {
    static const char replace[] =
        "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" META "\"}";
    mica_str *out = w->out;
    mica_slice unknown = unknown_text(w);
    mica_gguf_put_key(out, "normalizer");
    mica_str_append_text(out, w->adds_space ? "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":"
                                              "\"Prepend\",\"prepend\":\"" META "\"},"
                                            : "");
    mica_str_append_text(out, replace);
    mica_str_append_text(out, w->adds_space ? "]}" : "");
    mica_str_append_text(out, ",\"pre_tokenizer\":null");
    put_post_processor(w);
    mica_str_append_text(
        out, ",\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{"
             "\"String\":\"" META "\"},\"content\":\" \"}");
    mica_str_append_text(out, w->has_all_bytes ? ",{\"type\":\"ByteFallback\"}" : "");
    mica_str_append_text(out, ",{\"type\":\"Fuse\"}");
    if (w->adds_space)
        mica_str_append_text(out, ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}");
    mica_str_append_text(out, "]},\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":");
    if (unknown.bytes > 0)
        mica_json_append_string(out, unknown);
    else
        mica_str_append_text(out, "null");
    mica_str_append_format(out,
                           ",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
                           "\"fuse_unk\":true,\"byte_fallback\":%s,\"ignore_merges\":false",
                           w->has_all_bytes ? "true" : "false");
    put_vocab(w);
    mica_gguf_put_key(out, "merges");
    mica_status st = gguf_merges_put(&w->vocab, out, err);
    mica_str_append_char(out, '}');
    return st;
}

/* Standard base64 with its padding. */
static void put_base64(mica_str *out, const uint8_t *data, size_t bytes) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes; i += 3) {
        uint32_t word = 0;
        size_t n = bytes - i < 3 ? bytes - i : 3;
        for (size_t j = 0; j < 3; j++) word = word << 8 | (j < n ? data[i + j] : 0u);
        for (size_t j = 0; j < 4; j++)
            mica_str_append_char(out, j <= n ? letters[word >> (18 - 6 * j) & 63] : '=');
    }
}

/* The map of characters that SentencePiece compiled, and what it does with white space. */
static mica_status put_unigram_normalizer(const writer *w, mica_error *err) {
    static const char key[] = "tokenizer.ggml.precompiled_charsmap";
    const mica_gguf *g = w->vocab.gguf;
    const mica_gguf_value *map = mica_gguf_find(g, key);
    mica_gguf_put_key(w->out, "normalizer");
    if (!map || map->bytes == 0) {
        mica_str_append_text(w->out, "null");
        return MICA_STATUS_OK;
    }
    if (map->type != MICA_GGUF_ARRAY ||
        (map->item_type != MICA_GGUF_U8 && map->item_type != MICA_GGUF_I8))
        return fail_key(g, MICA_STATUS_FORMAT, key, "is no array of bytes", err);
    mica_str_append_text(w->out, "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"");
    put_base64(w->out, map->data, map->bytes);
    mica_str_append_text(w->out, "\"}");
    return MICA_STATUS_OK;
}

static mica_status put_unigram(const writer *w, mica_error *err) {
    mica_str *out = w->out;
    bool removes_spaces = false;
    mica_status st = mica_gguf_read_bool(w->vocab.gguf, "tokenizer.ggml.remove_extra_whitespaces",
                                         &removes_spaces, NULL, err);
    if (st == MICA_STATUS_OK) st = put_unigram_normalizer(w, err);
    if (st != MICA_STATUS_OK) return st;
    mica_str_append_format(
        out,
        ",\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[%s{\"type\":\"Metaspace\","
        "\"replacement\":\"" META "\",\"prepend_scheme\":\"%s\",\"split\":true}]}",
        removes_spaces ? "{\"type\":\"WhitespaceSplit\"}," : "",
        w->adds_space ? "always" : "never");
    put_post_processor(w);
    mica_str_append_format(out,
                           ",\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"" META
                           "\",\"prepend_scheme\":\"%s\",\"split\":true},\"model\":{\"type\":"
                           "\"Unigram\"",
                           w->adds_space ? "always" : "never");
    if (w->ids[UNKNOWN] >= 0) mica_gguf_put_integer(out, "unk_id", w->ids[UNKNOWN]);
    mica_gguf_put_bool(out, "byte_fallback", w->has_all_bytes);
    mica_gguf_put_key(out, "vocab");
    mica_str_append_char(out, '[');
    for (size_t i = 0; i < w->vocab.n_tokens; i++) {
        const gguf_token *t = &w->vocab.tokens[i];
        if (t->text.bytes == 0)
            return mica_fail(err, MICA_STATUS_FORMAT, "%s: token %zu is empty",
                             mica_gguf_name(w->vocab.gguf), i);
        mica_str_append_text(out, i ? ",[" : "[");
        mica_json_append_string(out, t->text);
        mica_str_append_char(out, ',');
        mica_gguf_append_number(out, (double)t->score);
        mica_str_append_char(out, ']');
    }
    mica_str_append_text(out, "]}");
    return MICA_STATUS_OK;
}

/* ---- the texts ---- */

static mica_status check_built(const mica_str *out, mica_error *err) {
    if (!out->failed) return MICA_STATUS_OK;
    if (out->limit_bytes && out->bytes + 64 > out->limit_bytes)
        return mica_fail(err, MICA_STATUS_LIMIT, "the text of a tokenizer has more than %zu bytes",
                         out->limit_bytes);
    return mica_fail_memory(err, out->bytes, "the text of a tokenizer");
}

mica_status mica_gguf_tokenizer_text(const mica_gguf *g, mica_str *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    writer w = {.vocab = {.gguf = g, .allocator = out->allocator}, .out = out};
    mica_arena_init(&w.arena, out->allocator, MICA_GGUF_TOKENIZER_BYTES_MAX);
    if (out->limit_bytes == 0) out->limit_bytes = MICA_GGUF_TOKENIZER_BYTES_MAX;
    MICA_TRY(read_all(&w, err));
    mica_str_append_text(out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null");
    put_added_tokens(&w);
    switch (w.kind) {
    case KIND_BYTE_LEVEL:
        MICA_TRY(put_byte_level(&w, err));
        break;
    case KIND_SENTENCEPIECE:
        MICA_TRY(put_sentencepiece(&w, err));
        break;
    case KIND_UNIGRAM:
        MICA_TRY(put_unigram(&w, err));
        break;
    }
    mica_str_append_char(out, '}');
    MICA_TRY(check_built(out, err));
done:
    mica_free(w.vocab.allocator, w.vocab.tokens);
    mica_arena_deinit(&w.arena);
    return st;
}

/* The text of a token, found by walking. */
static mica_slice text_of(const mica_gguf_value *tokens, int64_t id) {
    mica_slice text = {NULL, 0};
    size_t place = 0;
    for (int64_t i = 0; i <= id; i++)
        if (!mica_gguf_next_string(tokens, &place, &text)) return (mica_slice){NULL, 0};
    return text;
}

static mica_status put_special_tokens(const mica_gguf *g, mica_str *out, mica_error *err) {
    const mica_gguf_value *tokens = mica_gguf_find(g, "tokenizer.ggml.tokens");
    int64_t ids[SPECIAL_KEYS];
    if (!tokens || tokens->type != MICA_GGUF_ARRAY || tokens->item_type != MICA_GGUF_STRING)
        return MICA_STATUS_OK;
    mica_status st = read_special_ids(g, tokens->count, ids, err);
    for (int i = 0; i < SPECIAL_KEYS && st == MICA_STATUS_OK; i++)
        if (ids[i] >= 0 && special_keys[i].field)
            mica_gguf_put_text(out, special_keys[i].field, text_of(tokens, ids[i]));
    return st;
}

mica_status mica_gguf_special_tokens_text(const mica_gguf *g, mica_str *out, mica_error *err) {
    mica_str_append_char(out, '{');
    mica_status st = put_special_tokens(g, out, err);
    mica_str_append_char(out, '}');
    return st == MICA_STATUS_OK ? check_built(out, err) : st;
}

mica_status mica_gguf_chat_template(const mica_gguf *g, bool for_tools, mica_slice *out,
                                    mica_error *err) {
    bool is_there = false;
    mica_status st = MICA_STATUS_OK;
    if (for_tools)
        st = mica_gguf_read_string(g, "tokenizer.chat_template.tool_use", out, &is_there, err);
    if (st == MICA_STATUS_OK && !is_there)
        st = mica_gguf_read_string(g, "tokenizer.chat_template", out, &is_there, err);
    if (st != MICA_STATUS_OK || is_there) return st;
    return mica_fail(err, MICA_STATUS_NOT_FOUND,
                     "%s: no chat template (there is no key tokenizer.chat_template)",
                     mica_gguf_name(g));
}

/* One template is a string, several are a list. */
static mica_status put_templates(const mica_gguf *g, mica_str *out, mica_error *err) {
    mica_slice source = {0}, tools = {0};
    bool has_source, has_tools;
    mica_status st = mica_gguf_read_string(g, "tokenizer.chat_template", &source, &has_source, err);
    if (st == MICA_STATUS_OK)
        st = mica_gguf_read_string(g, "tokenizer.chat_template.tool_use", &tools, &has_tools, err);
    if (st != MICA_STATUS_OK || !has_source) return st;
    if (!has_tools) {
        mica_gguf_put_text(out, "chat_template", source);
        return st;
    }
    mica_str_append_text(out, ",\"chat_template\":[{\"name\":\"default\"");
    mica_gguf_put_text(out, "template", source);
    mica_str_append_text(out, "},{\"name\":\"tool_use\"");
    mica_gguf_put_text(out, "template", tools);
    mica_str_append_text(out, "}]");
    return st;
}

mica_status mica_gguf_tokenizer_config_text(const mica_gguf *g, mica_str *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_str_append_text(out, "{\"tokenizer_class\":\"PreTrainedTokenizerFast\","
                              "\"clean_up_tokenization_spaces\":false");
    MICA_TRY(put_special_tokens(g, out, err));
    MICA_TRY(put_templates(g, out, err));
    mica_str_append_char(out, '}');
    MICA_TRY(check_built(out, err));
done:
    return st;
}
