/* Dispatch over the kinds of pattern. Only the general regexes can fail or take memory. */
#include "text/split_pattern.h"
#include <string.h>
#include "text/unicode.h"

mica_status mica_split_pattern_from_regex(const mica_allocator *allocator, mica_slice regex,
                                          mica_split_pattern *out, mica_error *err) {
    const mica_splitter *known = mica_splitter_find(regex);
    *out = (mica_split_pattern){.kind = MICA_SPLIT_KNOWN, .splitter = known};
    if (known) return MICA_STATUS_OK;
    out->kind = MICA_SPLIT_REGEX;
    return mica_split_regex_create(allocator, regex, &out->regex, err);
}

void mica_split_pattern_deinit(mica_split_pattern *pattern) {
    mica_split_regex_destroy(&pattern->regex);
}

void mica_split_scan_init(mica_split_scan *scan, const mica_split_pattern *pattern,
                          const mica_allocator *allocator) {
    *scan = (mica_split_scan){.pattern = pattern, .allocator = allocator, .last_end = SIZE_MAX};
}

void mica_split_scan_deinit(mica_split_scan *scan) {
    mica_split_regex_search_destroy(&scan->search);
}

void mica_split_scan_begin(mica_split_scan *scan, const char *text, size_t bytes) {
    scan->text = text;
    scan->bytes = bytes;
    scan->from = 0;
    scan->last_end = SIZE_MAX;
}

enum { SHORT_LITERAL_MAX = 4 };

/* A short literal is looked for by its first byte, which is faster than memmem for single hits;
 * memmem keeps long ones linear. */
static const char *find_text(const char *text, size_t bytes, mica_slice literal) {
    if (literal.bytes > SHORT_LITERAL_MAX) return memmem(text, bytes, literal.data, literal.bytes);
    const char *end = text + bytes;
    while ((size_t)(end - text) >= literal.bytes &&
           (text = memchr(text, literal.data[0], (size_t)(end - text)))) {
        if ((size_t)(end - text) < literal.bytes) return NULL;
        if (memcmp(text, literal.data, literal.bytes) == 0) return text;
        text++;
    }
    return NULL;
}

static bool find_literal(const mica_split_scan *s, size_t *start, size_t *end) {
    mica_slice literal = s->pattern->literal;
    const char *hit = find_text(s->text + s->from, s->bytes - s->from, literal);
    if (!hit) return false;
    *start = (size_t)(hit - s->text);
    *end = *start + literal.bytes;
    return true;
}

static bool is_of_kind(mica_split_kind kind, uint32_t c) {
    if (kind == MICA_SPLIT_NUMBER) return mica_unicode_class(c) == MICA_UNICODE_NUMBER;
    if (kind == MICA_SPLIT_WHITE) return mica_unicode_class(c) & MICA_UNICODE_WHITE;
    return mica_unicode_is_punctuation(c);
}

static bool find_character(const mica_split_scan *s, size_t *start, size_t *end) {
    for (size_t at = s->from, next; at < s->bytes; at = next) {
        next = at;
        if (!is_of_kind(s->pattern->kind, mica_unicode_next(s->text, &next))) continue;
        *start = at;
        *end = next;
        return true;
    }
    return false;
}

/* 0 white space, 1 word, 2 other. */
static int word_kind(uint32_t c) {
    if (mica_unicode_class(c) & MICA_UNICODE_WHITE) return 0;
    return mica_unicode_is_word(c) ? 1 : 2;
}

static bool find_word_or_other(const mica_split_scan *s, size_t *start, size_t *end) {
    int kind = 0;
    size_t at = s->from, next;
    for (; at < s->bytes; at = next) {
        next = at;
        int k = word_kind(mica_unicode_next(s->text, &next));
        if (kind && k != kind) break;
        if (!kind) *start = at;
        kind = k;
    }
    *end = at;
    return kind != 0;
}

static void find_length(const mica_split_scan *s, size_t *start, size_t *end) {
    size_t at = s->from;
    for (size_t n = 0; n < s->pattern->length && at < s->bytes; n++)
        (void)mica_unicode_next(s->text, &at);
    *start = s->from;
    *end = at;
}

/* After an empty match that touches the last one, the search goes on one character further, as in
 * the reference's iterator. */
static mica_status find_regex(mica_split_scan *s, bool *found, size_t *start, size_t *end,
                              mica_error *err) {
    if (!s->search) {
        mica_status st =
            mica_split_regex_search_create(s->pattern->regex, s->allocator, &s->search, err);
        if (st != MICA_STATUS_OK) return st;
    }
    *found = false;
    while (s->from <= s->bytes) {
        mica_status st =
            mica_split_regex_find(s->search, s->text, s->bytes, s->from, found, start, end, err);
        if (st != MICA_STATUS_OK || !*found) return st;
        if (*start != *end || *end != s->last_end) return MICA_STATUS_OK;
        *found = false;
        if (s->from >= s->bytes) break;
        (void)mica_unicode_next(s->text, &s->from);
    }
    return MICA_STATUS_OK;
}

mica_status mica_split_scan_next(mica_split_scan *s, bool *found, size_t *start, size_t *end,
                                 mica_error *err) {
    *found = false;
    if (s->pattern->kind == MICA_SPLIT_REGEX) {
        mica_status st = find_regex(s, found, start, end, err);
        if (st != MICA_STATUS_OK || !*found) return st;
    } else {
        if (s->from >= s->bytes) return MICA_STATUS_OK;
        switch (s->pattern->kind) {
        case MICA_SPLIT_KNOWN:
            *start = s->from;
            *end = mica_splitter_next(s->pattern->splitter, s->text, s->bytes, s->from);
            *found = true;
            break;
        case MICA_SPLIT_LITERAL:
            *found = find_literal(s, start, end);
            break;
        case MICA_SPLIT_LENGTH:
            find_length(s, start, end);
            *found = true;
            break;
        case MICA_SPLIT_WORD_OR_OTHER:
            *found = find_word_or_other(s, start, end);
            break;
        default:
            *found = find_character(s, start, end);
            break;
        }
        if (!*found) return MICA_STATUS_OK;
    }
    s->from = *end;
    s->last_end = *end;
    return MICA_STATUS_OK;
}
