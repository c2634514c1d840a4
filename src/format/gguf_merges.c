/* Merges of a SentencePiece vocabulary. Such a vocabulary has scores and no merges: a pair of
 * neighbours is merged if its text is a token, the best score first. As a list of merges, that is
 * every split of every token into two tokens, in the order of the score of the whole; where scores
 * are equal, the longer left part comes first, then the longer right part, then the order of the
 * vocabulary. This is the order that published tokenizer.json files have. */
#include <stdlib.h>
#include "base/error.h"
#include "base/json.h"
#include "base/vec.h"
#include "format/gguf_tokenizer_parts.h"

enum { NO_TOKEN = -1 };
/* Bytes hashed and places of the table looked at, in all. A real vocabulary of 256k tokens needs
 * 2^26. */
#define WORK_MAX (UINT64_C(1) << 30)

typedef struct merge {
    float score;
    int32_t left;
    int32_t right;
    uint32_t left_characters;
    uint32_t right_characters;
    uint32_t order;
} merge;

typedef struct merge_maker {
    const gguf_vocab *vocab;
    int32_t *table; /* ids by hash of their text */
    size_t mask;
    uint64_t work;
    mica_vec merges;
} merge_maker;

static int32_t find_token(merge_maker *m, mica_slice text) {
    const gguf_token *tokens = m->vocab->tokens;
    m->work += text.bytes;
    for (size_t place = (size_t)mica_slice_hash(text) & m->mask;; place = (place + 1) & m->mask) {
        int32_t id = m->table[place];
        m->work++;
        if (id == NO_TOKEN || mica_slice_equal(tokens[id].text, text)) return id;
    }
}

static mica_status fail_work(const merge_maker *m, mica_error *err) {
    return mica_fail(err, MICA_STATUS_LIMIT,
                     "%s: tokenizer.ggml.tokens are too long to find their merges",
                     mica_gguf_name(m->vocab->gguf));
}

static mica_status fill_table(merge_maker *m, mica_error *err) {
    const gguf_vocab *v = m->vocab;
    size_t size = 16;
    while (size < v->n_tokens * 2) size *= 2;
    m->table = mica_alloc_array(v->allocator, size, sizeof *m->table);
    if (!m->table) return mica_fail_memory(err, size * sizeof *m->table, "a vocabulary");
    for (size_t i = 0; i < size; i++) m->table[i] = NO_TOKEN;
    m->mask = size - 1;
    for (size_t i = 0; i < v->n_tokens; i++) {
        mica_slice text = v->tokens[i].text;
        size_t place = (size_t)mica_slice_hash(text) & m->mask;
        m->work += text.bytes;
        while (m->table[place] != NO_TOKEN) { /* of two equal ones the reader will complain */
            place = (place + 1) & m->mask;
            if (++m->work > WORK_MAX) return fail_work(m, err);
        }
        m->table[place] = (int32_t)i;
    }
    return MICA_STATUS_OK;
}

static bool is_continuation(char c) { return ((unsigned char)c & 0xC0) == 0x80; }

static uint32_t count_characters(mica_slice text) {
    uint32_t n = 0;
    for (size_t i = 0; i < text.bytes; i++) n += !is_continuation(text.data[i]);
    return n;
}

/* Splits of one token; they follow each other by the ids of their parts. */
static int compare_parts(const void *a, const void *b) {
    const merge *x = a, *y = b;
    if (x->left != y->left) return x->left < y->left ? -1 : 1;
    return (x->right > y->right) - (x->right < y->right);
}

static mica_status add_splits(merge_maker *m, size_t id, mica_error *err) {
    const gguf_token *token = &m->vocab->tokens[id];
    size_t first = m->merges.count;
    uint32_t n = count_characters(token->text), left_characters = 0;
    for (size_t i = 1; i < token->text.bytes; i++) {
        if (is_continuation(token->text.data[i])) continue;
        if (m->work > WORK_MAX) return fail_work(m, err);
        left_characters++;
        merge found = {.score = token->score, .left_characters = left_characters};
        found.right_characters = n - left_characters;
        found.left = find_token(m, mica_slice_of(token->text.data, i));
        if (found.left == NO_TOKEN) continue;
        found.right = find_token(m, mica_slice_of(token->text.data + i, token->text.bytes - i));
        if (found.right == NO_TOKEN) continue;
        if (!mica_vec_append(&m->merges, &found, 1))
            return mica_fail_memory(err, sizeof found, "merges");
    }
    size_t count = m->merges.count - first;
    if (count > 1) qsort(mica_vec_at(&m->merges, first), count, sizeof(merge), compare_parts);
    return MICA_STATUS_OK;
}

static int compare_merges(const void *a, const void *b) {
    const merge *x = a, *y = b;
    if (x->score < y->score || x->score > y->score) return x->score > y->score ? -1 : 1;
    if (x->left_characters != y->left_characters)
        return x->left_characters > y->left_characters ? -1 : 1;
    if (x->right_characters != y->right_characters)
        return x->right_characters > y->right_characters ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

static mica_status collect(merge_maker *m, mica_error *err) {
    for (size_t i = 0; i < m->vocab->n_tokens; i++) {
        uint8_t type = m->vocab->tokens[i].type;
        if (type != GGUF_TOKEN_NORMAL && type != GGUF_TOKEN_USER_DEFINED) continue;
        mica_status st = add_splits(m, i, err);
        if (st != MICA_STATUS_OK) return st;
    }
    merge *merges = m->merges.data;
    for (size_t i = 0; i < m->merges.count; i++) merges[i].order = (uint32_t)i;
    if (m->merges.count > 1) qsort(merges, m->merges.count, sizeof *merges, compare_merges);
    return MICA_STATUS_OK;
}

mica_status gguf_merges_put(const gguf_vocab *v, mica_str *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    merge_maker m = {.vocab = v};
    mica_vec_init(&m.merges, v->allocator, sizeof(merge));
    MICA_TRY(fill_table(&m, err));
    MICA_TRY(collect(&m, err));
    const merge *merges = m.merges.data;
    mica_str_append_char(out, '[');
    for (size_t i = 0; i < m.merges.count; i++) {
        mica_str_append_text(out, i ? ",[" : "[");
        mica_json_append_string(out, v->tokens[merges[i].left].text);
        mica_str_append_char(out, ',');
        mica_json_append_string(out, v->tokens[merges[i].right].text);
        mica_str_append_char(out, ']');
    }
    mica_str_append_char(out, ']');
done:
    mica_free(v->allocator, m.table);
    mica_vec_deinit(&m.merges);
    return st;
}
