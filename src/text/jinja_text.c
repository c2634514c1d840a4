/* Text operations that filters and methods share: strip, replace, letter case, join, numbers from
 * text. All keep the origin of every byte. */
#include <string.h>
#include "base/checked.h"
#include "text/jinja_ast.h"
#include "text/jinja_special_case.h"
#include "text/jinja_table.h"
#include "text/jinja_unicode.h"

bool mica_jinja_soft_string(jinja_run *run, const jinja_value *v, const jinja_string **s) {
    jinja_value text;
    if (!mica_jinja_to_string(run, v, &text)) return false;
    *s = text.as.string;
    return true;
}

bool mica_jinja_int_argument(jinja_run *run, const char *what, const jinja_value *v,
                             int64_t fallback, int64_t *out) {
    *out = fallback;
    if (v->kind == JINJA_ABSENT || mica_jinja_as_int(v, out)) return true;
    return mica_jinja_fail(run, MICA_STATUS_FORMAT, "%s must be an integer, not %s", what,
                           mica_jinja_kind_name(v));
}

bool mica_jinja_mark_up(jinja_run *run, const jinja_string *s, jinja_value *out) {
    if (!mica_jinja_substring(run, s, 0, s->bytes, out)) return false;
    out->as.string->is_markup = true;
    return true;
}

bool mica_jinja_escape(jinja_run *run, const jinja_string *s, jinja_value *out) {
    static const char from[] = "&<>'\"";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    if (s->is_markup) return mica_jinja_mark_up(run, s, out);
    jinja_builder b;
    mica_jinja_builder_init(&b, run);
    size_t done = 0;
    for (size_t i = 0; i < s->bytes; i++) {
        const char *found = s->data[i] ? strchr(from, s->data[i]) : NULL;
        bool from_input = false;
        if (!found) continue;
        mica_jinja_run_end(s, i, &from_input);
        const char *text = to[found - from];
        if (!mica_jinja_append_range(&b, s, done, i) ||
            !mica_jinja_append(&b, text, strlen(text), from_input))
            return false;
        done = i + 1;
    }
    if (!mica_jinja_append_range(&b, s, done, s->bytes) || !mica_jinja_builder_take(&b, out))
        return false;
    out->as.string->is_markup = true;
    return true;
}

/* Is the character at data[0] one of those to strip (NULL: white space)? */
static bool is_stripped(const char *data, size_t bytes, const jinja_string *set) {
    if (!set) {
        uint32_t c = 0;
        mica_utf8_decode(data, bytes, &c);
        return mica_jinja_is_space(c);
    }
    for (size_t at = 0; at < set->bytes;) {
        size_t n = mica_jinja_char_bytes(set->data + at);
        if (n == bytes && memcmp(set->data + at, data, n) == 0) return true;
        at += n;
    }
    return false;
}

bool mica_jinja_strip(jinja_run *run, const jinja_string *s, const jinja_value *characters,
                      bool left, bool right, jinja_value *out) {
    const jinja_string *set = NULL;
    if (characters->kind == JINJA_STRING)
        set = characters->as.string;
    else if (characters->kind != JINJA_ABSENT && characters->kind != JINJA_NONE)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "strip needs a string or none, not %s",
                               mica_jinja_kind_name(characters));
    size_t from = 0, to = s->bytes, set_bytes = set ? set->bytes : 0;
    while (left && from < to) {
        size_t n = mica_jinja_char_bytes(s->data + from);
        if (set_bytes > 0 && !mica_jinja_charge_bytes(run, set_bytes)) return false;
        if (!is_stripped(s->data + from, n, set)) break;
        from += n;
    }
    while (right && to > from) {
        size_t at = to - 1;
        while (((unsigned char)s->data[at] & 0xc0) == 0x80) at--;
        if (set_bytes > 0 && !mica_jinja_charge_bytes(run, set_bytes)) return false;
        if (!is_stripped(s->data + at, to - at, set)) break;
        to = at;
    }
    return mica_jinja_charge_bytes(run, s->bytes - (to - from)) &&
           mica_jinja_substring(run, s, from, to, out);
}

/* An empty `old` stands between all characters. */
static bool replace_empty(jinja_builder *b, const jinja_string *s, const jinja_string *fresh,
                          int64_t count) {
    size_t at = 0;
    for (int64_t done = 0; done < count; done++) {
        if (!mica_jinja_append_string(b, fresh)) return false;
        if (at >= s->bytes) return true;
        size_t n = mica_jinja_char_bytes(s->data + at);
        if (!mica_jinja_append_range(b, s, at, at + n)) return false;
        at += n;
    }
    return mica_jinja_append_range(b, s, at, s->bytes);
}

bool mica_jinja_replace(jinja_run *run, const jinja_string *s, const jinja_string *old,
                        const jinja_string *fresh, int64_t count, jinja_value *out) {
    jinja_builder b;
    mica_jinja_builder_init(&b, run);
    if (count < 0) count = INT64_MAX;
    if (old->bytes == 0)
        return replace_empty(&b, s, fresh, count) && mica_jinja_builder_take(&b, out);
    size_t at = 0;
    for (; count > 0 && at < s->bytes; count--) {
        const char *found = memmem(s->data + at, s->bytes - at, old->data, old->bytes);
        if (!found) break;
        size_t place = (size_t)(found - s->data);
        if (!mica_jinja_append_range(&b, s, at, place) || !mica_jinja_append_string(&b, fresh))
            return false;
        at = place + old->bytes;
    }
    return mica_jinja_append_range(&b, s, at, s->bytes) && mica_jinja_builder_take(&b, out);
}

/* What the next character becomes, by what stands before it. */
typedef struct case_state {
    jinja_case to;
    bool is_first;      /* nothing before it */
    bool follows_cased; /* TITLE: the last character was a letter with case */
    bool starts_word;   /* TITLE_FILTER */
} case_state;

static bool begins_word_after(uint32_t c) {
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || mica_jinja_is_space(c);
}

static const jinja_special_case *find_special_case(uint32_t c) {
    size_t low = 0, high = sizeof jinja_special_cases / sizeof *jinja_special_cases;
    if (c < jinja_special_cases[0].character) return NULL;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (jinja_special_cases[middle].character < c)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < sizeof jinja_special_cases / sizeof *jinja_special_cases &&
                 jinja_special_cases[low].character == c;
    return found ? &jinja_special_cases[low] : NULL;
}

static bool append_changed(jinja_builder *b, case_state *state, uint32_t c, bool from_input) {
    bool raises = state->to == JINJA_UPPER || (state->to == JINJA_CAPITALIZE && state->is_first) ||
                  (state->to == JINJA_TITLE && !state->follows_cased) ||
                  (state->to == JINJA_TITLE_FILTER && state->starts_word);
    bool to_title = state->to == JINJA_CAPITALIZE || state->to == JINJA_TITLE;
    state->is_first = false;
    state->follows_cased =
        mica_jinja_is_upper(c) || mica_jinja_is_lower(c) || mica_jinja_is_title(c);
    state->starts_word = begins_word_after(c);
    if (!raises && c == 0x130) return mica_jinja_append(b, "i\xcc\x87", 3, from_input);
    if (!raises) return mica_jinja_append_codepoint(b, mica_jinja_lower(c), from_input);
    const jinja_special_case *special = find_special_case(c);
    if (!special) {
        c = to_title ? mica_jinja_title(c) : mica_jinja_upper(c);
        return mica_jinja_append_codepoint(b, c, from_input);
    }
    const uint16_t *to = to_title ? special->title : special->upper;
    for (int i = 0; i < 3 && to[i]; i++)
        if (!mica_jinja_append_codepoint(b, to[i], from_input)) return false;
    return true;
}

bool mica_jinja_change_case(jinja_run *run, const jinja_string *s, jinja_case to,
                            jinja_value *out) {
    jinja_builder b;
    case_state state = {.to = to, .is_first = true, .starts_word = true};
    mica_jinja_builder_init(&b, run);
    size_t at = 0;
    while (at < s->bytes) {
        bool from_input = false;
        size_t end = mica_jinja_run_end(s, at, &from_input);
        while (at < end) {
            uint32_t c = 0;
            size_t n = mica_utf8_decode(s->data + at, s->bytes - at, &c);
            if (!append_changed(&b, &state, c, from_input)) return false;
            at += n > 0 ? n : 1;
        }
    }
    return mica_jinja_builder_take(&b, out);
}

bool mica_jinja_join(jinja_run *run, const jinja_list *list, const jinja_string *separator,
                     bool strict, jinja_value *out) {
    jinja_builder b;
    mica_jinja_builder_init(&b, run);
    for (size_t i = 0; i < list->count; i++) {
        const jinja_value *item = &list->items[i];
        if (strict && item->kind != JINJA_STRING)
            return mica_jinja_fail(run, MICA_STATUS_FORMAT,
                                   "sequence item %zu: expected str instance, %s found", i,
                                   mica_jinja_kind_name(item));
        if ((i > 0 && !mica_jinja_append_string(&b, separator)) || !mica_jinja_print(&b, item))
            return false;
    }
    return mica_jinja_builder_take(&b, out);
}

static mica_slice strip_ascii(mica_slice text) {
    while (text.bytes > 0 && mica_jinja_is_space((unsigned char)text.data[0]) &&
           (unsigned char)text.data[0] < 0x80)
        text.data++, text.bytes--;
    while (text.bytes > 0 && (unsigned char)text.data[text.bytes - 1] < 0x80 &&
           mica_jinja_is_space((unsigned char)text.data[text.bytes - 1]))
        text.bytes--;
    return text;
}

static int digit_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'z') return c - 'a' + 10;
    if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
    return 99;
}

bool mica_jinja_parse_int(mica_slice text, int base, int64_t *out) {
    text = strip_ascii(text);
    bool is_negative = text.bytes > 0 && text.data[0] == '-';
    size_t i = is_negative || (text.bytes > 0 && text.data[0] == '+') ? 1 : 0;
    if (i + 2 < text.bytes && text.data[i] == '0' && base != 10) {
        char mark = (char)(text.data[i + 1] | 32);
        if ((base == 16 && mark == 'x') || (base == 8 && mark == 'o') || (base == 2 && mark == 'b'))
            i += 2;
    }
    int64_t value = 0;
    bool after_digit = false;
    if (i >= text.bytes) return false;
    for (; i < text.bytes; i++) {
        int digit = digit_value(text.data[i]);
        if (text.data[i] == '_' && after_digit && i + 1 < text.bytes) {
            after_digit = false;
            continue;
        }
        if (digit >= base || !mica_mul_i64(value, base, &value) ||
            !(is_negative ? mica_sub_i64(value, digit, &value)
                          : mica_add_i64(value, digit, &value)))
            return false;
        after_digit = true;
    }
    if (!after_digit) return false;
    *out = value;
    return true;
}

bool mica_jinja_parse_float(mica_slice text, double *out) {
    text = strip_ascii(text);
    if (text.bytes > 0 && text.data[0] == '+') text.data++, text.bytes--;
    char digits[400]; /* ".5" and "5." are floats to Python */
    if (text.bytes == 0 || text.bytes + 3 > sizeof digits) return false;
    size_t n = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        bool is_digit = c >= '0' && c <= '9';
        bool digit_before = n > 0 && digits[n - 1] >= '0' && digits[n - 1] <= '9';
        if (c == '.' && !digit_before) digits[n++] = '0';
        if (n > 0 && digits[n - 1] == '.' && !is_digit) {
            if (n < 2) return false;
            digits[n++] = '0';
        }
        if (n + 3 > sizeof digits) return false;
        digits[n++] = c;
    }
    if (digits[n - 1] == '.') digits[n++] = '0';
    return mica_slice_is(text, ".") ? false : mica_parse_double(mica_slice_of(digits, n), out);
}
