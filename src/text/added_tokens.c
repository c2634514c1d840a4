/* The trie and the rules for borders (single words, stripped space) around a match. */
#include "text/added_tokens.h"
#include <string.h>
#include "text/unicode.h"

enum { NODES_MIN = 256 };

void mica_added_trie_init(mica_added_trie *trie, const mica_allocator *allocator) {
    memset(trie, 0, sizeof(*trie));
    trie->allocator = allocator;
}

void mica_added_trie_deinit(mica_added_trie *trie) {
    mica_free(trie->allocator, trie->nodes);
    mica_added_trie_init(trie, trie->allocator);
}

/* Room for n more nodes. */
static bool make_room(mica_added_trie *t, size_t n) {
    size_t capacity = t->capacity ? t->capacity : NODES_MIN;
    while (capacity < t->n_nodes + n + 1) capacity *= 2;
    if (capacity == t->capacity) return true;
    mica_added_node *nodes = mica_realloc(t->allocator, t->nodes, capacity * sizeof(*nodes));
    if (!nodes) return false;
    t->nodes = nodes;
    t->capacity = capacity;
    if (t->n_nodes == 0) nodes[t->n_nodes++] = (mica_added_node){0};
    return true;
}

static uint32_t find_child(const mica_added_trie *t, uint32_t node, uint8_t byte) {
    if (node == 0) return t->roots[byte];
    uint32_t child = t->nodes[node].child;
    while (child && t->nodes[child].byte != byte) child = t->nodes[child].sibling;
    return child;
}

bool mica_added_trie_add(mica_added_trie *t, mica_slice text, uint32_t index) {
    if (text.bytes == 0) return true;
    if (!make_room(t, text.bytes)) return false;
    uint32_t node = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t byte = (uint8_t)text.data[i];
        uint32_t child = find_child(t, node, byte);
        if (!child) {
            child = (uint32_t)t->n_nodes++;
            t->nodes[child] = (mica_added_node){.byte = byte};
            if (node == 0)
                t->roots[byte] = child;
            else {
                t->nodes[child].sibling = t->nodes[node].child;
                t->nodes[node].child = child;
            }
        }
        node = child;
    }
    if (!t->nodes[node].token) t->nodes[node].token = index + 1;
    return true;
}

static bool is_between(mica_slice text, const char *open, const char *close) {
    return text.bytes > strlen(open) + strlen(close) && mica_slice_starts_with(text, open) &&
           mica_slice_ends_with(text, close);
}

bool mica_added_token_is_guarded(const mica_added_token *token) {
    return token->is_special || is_between(token->content, "<|", "|>") ||
           is_between(token->content, "<\xEF\xBD\x9C", "\xEF\xBD\x9C>");
}

bool mica_added_token_is_tag(const mica_added_token *token) {
    mica_slice text = token->content;
    if (!is_between(text, "<", ">") && !is_between(text, "[", "]")) return false;
    for (size_t at = 0; at < text.bytes;)
        if (mica_unicode_class(mica_unicode_next(text.data, &at)) & MICA_UNICODE_WHITE)
            return false;
    return true;
}

static bool is_from_template(const mica_added_scan *s, size_t start, size_t end) {
    return !memchr(s->origin + start, 1, end - start);
}

/* The longest token at `at` that may count there; 0 = none, else its index + 1. */
static uint32_t match_at(const mica_added_scan *s, size_t at, size_t *end) {
    uint32_t found = 0, node = 0;
    for (size_t i = at; i < s->bytes; i++) {
        node = find_child(s->trie, node, (uint8_t)s->text[i]);
        if (!node) break;
        uint32_t token = s->trie->nodes[node].token;
        if (!token) continue;
        if (s->special == MICA_SPECIAL_BY_ORIGIN && s->guarded[token - 1] &&
            !is_from_template(s, at, i + 1))
            continue;
        found = token;
        *end = i + 1;
    }
    return found;
}

static bool is_whole_word(const mica_added_scan *s, size_t start, size_t end) {
    size_t at = end, before;
    if (start > 0 && mica_unicode_is_word(mica_unicode_previous(s->text, start, &before)))
        return false;
    return end == s->bytes || !mica_unicode_is_word(mica_unicode_next(s->text, &at));
}

static size_t skip_space(const mica_added_scan *s, size_t at) {
    for (size_t next = at; at < s->bytes; at = next)
        if (!(mica_unicode_class(mica_unicode_next(s->text, &next)) & MICA_UNICODE_WHITE)) break;
    return at;
}

static size_t skip_space_back(const mica_added_scan *s, size_t at, size_t limit) {
    for (size_t before; at > limit; at = before)
        if (!(mica_unicode_class(mica_unicode_previous(s->text, at, &before)) & MICA_UNICODE_WHITE))
            break;
    return at;
}

int32_t mica_added_scan_next(mica_added_scan *s, size_t *start, size_t *end) {
    if (!s->trie->nodes) return -1;
    while (s->from < s->bytes) {
        size_t at = s->from, match_end = at;
        if (!s->trie->roots[(uint8_t)s->text[at]]) {
            s->from++;
            continue;
        }
        uint32_t found = match_at(s, at, &match_end);
        if (!found) {
            s->from++;
            continue;
        }
        s->from = match_end;
        const mica_added_token *token = &s->tokens[found - 1];
        if (s->special == MICA_SPECIAL_SKIPPED && token->is_special) continue;
        if (token->is_single_word && !is_whole_word(s, at, match_end)) continue;
        /* A token inside the space that the one before it has taken still counts, as in the
         * reference; where it strips space itself the reference fails, and it is passed over. */
        if (token->strips_left && match_end < s->done) continue;
        *start = token->strips_left ? skip_space_back(s, at, s->done) : at;
        *end = token->strips_right ? skip_space(s, match_end) : match_end;
        return (int32_t)(found - 1);
    }
    return -1;
}
