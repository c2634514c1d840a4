/* PCRE2 behind split_regex.h: allocation through mica_allocator, translation from Oniguruma's
 * spelling, limits. */
#include "text/split_regex.h"
#include <string.h>
#include "base/error.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

struct mica_split_regex {
    const mica_allocator *allocator;
    pcre2_general_context *general;
    pcre2_code *code;
};

struct mica_split_regex_search {
    const mica_allocator *allocator;
    const mica_split_regex *regex;
    pcre2_general_context *general;
    pcre2_match_context *limits;
    pcre2_match_data *data;
};

static void *pcre_allocate(PCRE2_SIZE bytes, void *allocator) {
    return mica_alloc((const mica_allocator *)allocator, bytes);
}
static void pcre_release(void *memory, void *allocator) {
    mica_free((const mica_allocator *)allocator, memory);
}
static pcre2_general_context *create_context(const mica_allocator *allocator) {
    /* The context hands the pointer back to the two functions above, which only read it. */
    return pcre2_general_context_create(pcre_allocate, pcre_release, (void *)(uintptr_t)allocator);
}

/* Oniguruma's word characters have the Latin-1 superscripts and fractions as well.
 * White_Space and its complement as the inside of a class: PCRE2's \s has U+180E as well. */
#define SPACE_SET                                                                                  \
    "\\x09-\\x0d\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"        \
    "\\x{205f}\\x{3000}"
#define NO_SPACE_SET                                                                               \
    "\\x00-\\x08\\x0e-\\x1f\\x21-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"       \
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-"       \
    "\\x{10ffff}"
#define WORD_SET                                                                                   \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}\\x{24b6}-\\x{24e9}\\x{" \
    "1f130}-\\x{1f149}\\x{1f150}-"                                                                 \
    "\\x{1f169}\\x{1f170}-\\x{1f189}"

typedef struct translation {
    mica_slice in;
    size_t at;
    int class_depth; /* 0: outside of [...] */
    mica_str out;
    mica_error *err;
} translation;

static mica_status refuse(translation *t, const char *what) {
    return mica_fail(t->err, MICA_STATUS_UNSUPPORTED, "regex: %s at byte %zu is not supported",
                     what, t->at);
}

static bool looking_at(const translation *t, const char *text) {
    return mica_slice_starts_with(mica_slice_of(t->in.data + t->at, t->in.bytes - t->at), text);
}

/* Copies n bytes of the pattern as they are. */
static void copy(translation *t, size_t n) {
    if (n > t->in.bytes - t->at) n = t->in.bytes - t->at;
    mica_str_append(&t->out, t->in.data + t->at, n);
    t->at += n;
}

/* \p{...} and \x{...} as a whole, others as two letters. */
static void copy_escape(translation *t) {
    bool has_braces = t->at + 2 < t->in.bytes && t->in.data[t->at + 2] == '{' &&
                      strchr("pPx", t->in.data[t->at + 1]);
    copy(t, 2);
    if (!has_braces) return;
    while (t->at < t->in.bytes && t->in.data[t->at] != '}') copy(t, 1);
    copy(t, 1);
}

static mica_status translate_escape(translation *t) {
    char c = t->at + 1 < t->in.bytes ? t->in.data[t->at + 1] : '\0';
    bool in_class = t->class_depth > 0;
    const char *set = NULL;
    switch (c) {
    case 's':
        set = SPACE_SET;
        break;
    case 'S':
        set = in_class ? NO_SPACE_SET : SPACE_SET;
        break;
    case 'w':
        set = WORD_SET;
        break;
    case 'W':
        if (in_class) return refuse(t, "\\W in a class");
        set = WORD_SET;
        break;
    case 'h':
    case 'H':
    case 'b':
    case 'B':
    case 'y':
    case 'Y':
    case 'X':
    case 'R':
    case 'K':
    case 'N':
    case 'O':
    case 'C':
    case 'Z':
    case 'G':
    case 'g':
    case 'k':
    case 'E':
    case 'Q':
    case 'c':
    case 'M':
    case 'u':
    case 'o':
    case '\0':
        return refuse(t, "an escape that engines read differently");
    default:
        copy_escape(t);
        return MICA_STATUS_OK;
    }
    if (!in_class) mica_str_append_text(&t->out, c == 'S' || c == 'W' ? "[^" : "[");
    mica_str_append_text(&t->out, set);
    if (!in_class) mica_str_append_char(&t->out, ']');
    t->at += 2;
    return MICA_STATUS_OK;
}

/* Inside of [...]. A nested class is a union there: its brackets are dropped. */
static mica_status translate_class(translation *t) {
    char c = t->in.data[t->at];
    if (c == '\\') return translate_escape(t);
    if (looking_at(t, "&&")) return refuse(t, "a class intersection");
    if (looking_at(t, "[:")) return refuse(t, "a POSIX class");
    if (looking_at(t, "[^")) return refuse(t, "a negated class in a class");
    if (c != '[' && c != ']') {
        copy(t, 1);
        return MICA_STATUS_OK;
    }
    bool is_outer = t->class_depth == 1;
    t->class_depth += c == '[' ? 1 : -1;
    if (c == ']' && is_outer) mica_str_append_char(&t->out, ']');
    t->at++;
    return MICA_STATUS_OK;
}

static mica_status translate_outside(translation *t) {
    char c = t->in.data[t->at];
    if (c == '\\') return translate_escape(t);
    if (c == '[') {
        t->class_depth = 1;
        copy(t, looking_at(t, "[^") ? 2 : 1);
        if (looking_at(t, "]")) return refuse(t, "an empty class");
        return MICA_STATUS_OK;
    }
    static const char *const groups[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"};
    if (looking_at(t, "(?") || looking_at(t, "(*")) {
        for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++)
            if (looking_at(t, groups[i])) {
                copy(t, strlen(groups[i]));
                return MICA_STATUS_OK;
            }
        if (t->at == 0 && looking_at(t, "(?i)")) {
            copy(t, 4);
            return MICA_STATUS_OK;
        }
        return refuse(t, "this kind of group");
    }
    /* After {n,m} a '+' is possessive in PCRE2 and a second repeat in Oniguruma. */
    if (looking_at(t, "}+")) return refuse(t, "'+' after a counted repeat");
    if (looking_at(t, "{,")) return refuse(t, "a repeat without a lower bound");
    copy(t, 1);
    return MICA_STATUS_OK;
}

static mica_status translate(translation *t) {
    while (t->at < t->in.bytes) {
        mica_status st = t->class_depth ? translate_class(t) : translate_outside(t);
        if (st != MICA_STATUS_OK) return st;
    }
    if (t->out.failed) return mica_fail_memory(t->err, t->in.bytes, "a split pattern");
    return MICA_STATUS_OK;
}

static mica_status compile(mica_split_regex *r, const mica_str *pattern, mica_error *err) {
    pcre2_compile_context *context = pcre2_compile_context_create(r->general);
    if (!context) return mica_fail_memory(err, 64, "a split pattern");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    int error = 0;
    PCRE2_SIZE place = 0;
    r->code = pcre2_compile((PCRE2_SPTR)pattern->data, pattern->bytes,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                            &error, &place, context);
    pcre2_compile_context_free(context);
    if (r->code) return MICA_STATUS_OK;
    if (error == PCRE2_ERROR_HEAP_FAILED) return mica_fail_memory(err, 0, "a split pattern");
    PCRE2_UCHAR message[160] = "";
    pcre2_get_error_message(error, message, sizeof(message));
    return mica_fail(err, MICA_STATUS_UNSUPPORTED, "regex does not compile: %s",
                     (const char *)message);
}

mica_status mica_split_regex_create(const mica_allocator *allocator, mica_slice pattern,
                                    mica_split_regex **out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    translation t = {.in = pattern, .err = err};
    mica_split_regex *r = NULL;
    mica_str_init(&t.out, allocator);
    MICA_REQUIRE(pattern.bytes && pattern.bytes <= MICA_REGEX_BYTES_MAX, MICA_STATUS_UNSUPPORTED,
                 "regex of %zu bytes, expected 1 to %d", pattern.bytes, MICA_REGEX_BYTES_MAX);
    MICA_TRY(translate(&t));
    r = MICA_NEW(allocator, mica_split_regex);
    if (r) r->allocator = allocator;
    if (!r || !(r->general = create_context(allocator)))
        MICA_TRY(mica_fail_memory(err, sizeof(*r), "a split pattern"));
    MICA_TRY(compile(r, &t.out, err));
    *out = r;
    r = NULL;
done:
    mica_split_regex_destroy(&r);
    mica_str_deinit(&t.out);
    return st;
}

void mica_split_regex_destroy(mica_split_regex **regex) {
    mica_split_regex *r = *regex;
    if (!r) return;
    pcre2_code_free(r->code);
    pcre2_general_context_free(r->general);
    mica_free(r->allocator, r);
    *regex = NULL;
}

mica_status mica_split_regex_search_create(const mica_split_regex *regex,
                                           const mica_allocator *allocator,
                                           mica_split_regex_search **out, mica_error *err) {
    mica_split_regex_search *s = MICA_NEW(allocator, mica_split_regex_search);
    if (!s) return mica_fail_memory(err, sizeof(*s), "a regex search");
    s->allocator = allocator;
    s->regex = regex;
    if ((s->general = create_context(allocator))) {
        s->limits = pcre2_match_context_create(s->general);
        s->data = pcre2_match_data_create(1, s->general);
    }
    if (!s->limits || !s->data) {
        mica_split_regex_search_destroy(&s);
        return mica_fail_memory(err, sizeof(*s), "a regex search");
    }
    pcre2_set_match_limit(s->limits, MICA_REGEX_MATCH_LIMIT);
    pcre2_set_depth_limit(s->limits, MICA_REGEX_DEPTH_LIMIT);
    pcre2_set_heap_limit(s->limits, MICA_REGEX_HEAP_KIB_LIMIT);
    *out = s;
    return MICA_STATUS_OK;
}

void mica_split_regex_search_destroy(mica_split_regex_search **search) {
    mica_split_regex_search *s = *search;
    if (!s) return;
    pcre2_match_data_free(s->data);
    pcre2_match_context_free(s->limits);
    pcre2_general_context_free(s->general);
    mica_free(s->allocator, s);
    *search = NULL;
}

mica_status mica_split_regex_find(mica_split_regex_search *s, const char *text, size_t bytes,
                                  size_t from, bool *found, size_t *start, size_t *end,
                                  mica_error *err) {
    int n = pcre2_match(s->regex->code, (PCRE2_SPTR)text, bytes, from, PCRE2_NO_UTF_CHECK, s->data,
                        s->limits);
    *found = n >= 0;
    if (n == PCRE2_ERROR_NOMATCH) return MICA_STATUS_OK;
    if (n == PCRE2_ERROR_NOMEMORY) return mica_fail_memory(err, 0, "a regex search");
    if (n == PCRE2_ERROR_MATCHLIMIT || n == PCRE2_ERROR_DEPTHLIMIT || n == PCRE2_ERROR_HEAPLIMIT)
        return mica_fail(err, MICA_STATUS_LIMIT,
                         "the tokenizer's split regex takes too long on this text (from byte %zu)",
                         from);
    if (n < 0) return mica_fail(err, MICA_STATUS_INTERNAL, "regex search failed with %d", n);
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(s->data);
    *start = span[0];
    *end = span[1];
    if (*start > *end) return mica_fail(err, MICA_STATUS_INTERNAL, "regex match ends early");
    return MICA_STATUS_OK;
}
