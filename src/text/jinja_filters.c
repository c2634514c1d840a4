/* Filters that give text or a scalar: letter case, trim, numbers, JSON, default. Those that work
 * through a sequence are jinja_list_filters.c. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "text/jinja_ast.h"
#include "text/jinja_table.h"
#include "text/jinja_unicode.h"

/* Every filter has this signature; unused ones are normal. */
#define FILTER(function)                                                                           \
    static bool function(__attribute__((unused)) jinja_run *run,                                   \
                         __attribute__((unused)) const jinja_value *subject,                       \
                         __attribute__((unused)) const jinja_value *argument,                      \
                         __attribute__((unused)) const jinja_call *call, jinja_value *out)

static bool change_case(jinja_run *run, const jinja_value *subject, jinja_case to,
                        jinja_value *out) {
    const jinja_string *s;
    if (!mica_jinja_soft_string(run, subject, &s) || !mica_jinja_change_case(run, s, to, out))
        return false;
    return to == JINJA_TITLE_FILTER || mica_jinja_keep_markup(s, out);
}

FILTER(filter_upper) { return change_case(run, subject, JINJA_UPPER, out); }
FILTER(filter_lower) { return change_case(run, subject, JINJA_LOWER, out); }
FILTER(filter_capitalize) { return change_case(run, subject, JINJA_CAPITALIZE, out); }
FILTER(filter_title) { return change_case(run, subject, JINJA_TITLE_FILTER, out); }
FILTER(filter_string) { return mica_jinja_to_string(run, subject, out); }

FILTER(filter_trim) {
    const jinja_string *s;
    return mica_jinja_soft_string(run, subject, &s) &&
           mica_jinja_strip(run, s, &argument[0], true, true, out);
}

FILTER(filter_replace) {
    const jinja_string *s, *old, *fresh;
    int64_t count = -1;
    if (!mica_jinja_soft_string(run, subject, &s) ||
        !mica_jinja_soft_string(run, &argument[0], &old) ||
        !mica_jinja_soft_string(run, &argument[1], &fresh))
        return false;
    if (argument[2].kind != JINJA_NONE &&
        !mica_jinja_int_argument(run, "count", &argument[2], -1, &count))
        return false;
    return mica_jinja_replace(run, s, old, fresh, count, out);
}

FILTER(filter_default) {
    bool by_truth = mica_jinja_truth(&argument[1]);
    bool is_missing = subject->kind == JINJA_UNDEFINED || (by_truth && !mica_jinja_truth(subject));
    *out = *subject;
    if (!is_missing) return true;
    if (argument[0].kind == JINJA_ABSENT) return mica_jinja_string(run, "", 0, false, out);
    *out = argument[0];
    return true;
}

/* Where the line that begins at `from` ends, and where the next one begins (Python's line ends). */
static size_t find_line_end(const jinja_string *s, size_t from, size_t *next) {
    for (size_t at = from; at < s->bytes;) {
        uint32_t c = 0;
        size_t n = mica_utf8_decode(s->data + at, s->bytes - at, &c);
        *next = at + (n > 0 ? n : 1);
        if (mica_jinja_is_line_end(c)) {
            if (c == '\r' && *next < s->bytes && s->data[*next] == '\n') ++*next;
            return at;
        }
        at = *next;
    }
    *next = s->bytes + 1;
    return s->bytes;
}

/* Text of the indent: a string itself, or so many blanks; *out is NULL for none. */
static bool read_indent(jinja_run *run, const jinja_value *v, int64_t fallback,
                        const jinja_string **out) {
    int64_t width = fallback;
    jinja_value text;
    if (v->kind == JINJA_STRING) {
        *out = v->as.string;
        return true;
    }
    if (!mica_jinja_int_argument(run, "indent", v, fallback, &width)) return false;
    if (width > 4096)
        return mica_jinja_fail(run, MICA_STATUS_LIMIT, "an indent of %lld", (long long)width);
    jinja_builder b;
    mica_jinja_builder_init(&b, run);
    for (int64_t i = 0; i < width; i++)
        if (!mica_jinja_append(&b, " ", 1, false)) return false;
    if (!mica_jinja_builder_take(&b, &text)) return false;
    *out = text.as.string;
    return true;
}

/* Jinja's rule: every line but the first, and blank lines only if asked for. */
FILTER(filter_indent) {
    const jinja_string *indent;
    if (subject->kind == JINJA_UNDEFINED) return mica_jinja_fail_undefined(run, subject);
    if (subject->kind != JINJA_STRING)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "indent needs a string, not %s",
                               mica_jinja_kind_name(subject));
    if (!read_indent(run, &argument[0], 4, &indent)) return false;
    bool first = mica_jinja_truth(&argument[1]), blank = mica_jinja_truth(&argument[2]);
    const jinja_string *s = subject->as.string;
    jinja_builder b;
    mica_jinja_builder_init(&b, run);
    if (first && !mica_jinja_append_string(&b, indent)) return false;
    for (size_t from = 0, next = 0; from <= s->bytes; from = next) {
        size_t end = find_line_end(s, from, &next);
        if (from > 0 && (end > from || blank) && !mica_jinja_append_string(&b, indent))
            return false;
        bool from_input = false;
        if (!mica_jinja_append_range(&b, s, from, end)) return false;
        if (end >= s->bytes || (s->data[end] == '\r' && end + 1 == s->bytes)) break;
        mica_jinja_run_end(s, end, &from_input);
        if (!mica_jinja_append(&b, "\n", 1, from_input)) return false;
    }
    return mica_jinja_builder_take(&b, out) && mica_jinja_keep_markup(s, out);
}

FILTER(filter_center) {
    const jinja_string *s;
    int64_t width = 80;
    if (!mica_jinja_soft_string(run, subject, &s) ||
        !mica_jinja_int_argument(run, "width", &argument[0], 80, &width))
        return false;
    int64_t missing = width - mica_jinja_char_count(s);
    int64_t left = missing <= 0 ? 0 : missing / 2 + (missing & width & 1); /* Python's rounding */
    jinja_builder b;
    mica_jinja_builder_init(&b, run);
    for (int64_t i = 0; i < left; i++)
        if (!mica_jinja_append(&b, " ", 1, false)) return false;
    if (!mica_jinja_append_string(&b, s)) return false;
    for (int64_t i = left; i < missing; i++)
        if (!mica_jinja_append(&b, " ", 1, false)) return false;
    return mica_jinja_builder_take(&b, out) && mica_jinja_keep_markup(s, out);
}

FILTER(filter_escape) {
    const jinja_string *s;
    return mica_jinja_soft_string(run, subject, &s) && mica_jinja_escape(run, s, out);
}

FILTER(filter_safe) {
    const jinja_string *s;
    return mica_jinja_soft_string(run, subject, &s) && mica_jinja_mark_up(run, s, out);
}

FILTER(filter_format) {
    const jinja_string *s;
    jinja_value mapping;
    if (!mica_jinja_soft_string(run, subject, &s)) return false;
    if (call->n_positional > 0 && call->n_keyword > 0)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT,
                               "format takes positional or keyword arguments, not both");
    if (!mica_jinja_dict(run, call->n_keyword, &mapping)) return false;
    for (size_t i = 0; i < call->n_keyword; i++)
        if (!mica_jinja_dict_set(run, mapping.as.dict, mica_jinja_text(call->names[i]),
                                 call->keyword[i]))
            return false;
    return mica_jinja_format_percent(run, s, call->positional, call->n_positional,
                                     call->n_keyword > 0 ? &mapping : NULL, out);
}

/* --- numbers --- */
FILTER(filter_int) {
    int64_t base = 10, i = 0;
    double d = 0;
    if (!mica_jinja_int_argument(run, "base", &argument[1], 10, &base)) return false;
    *out = argument[0].kind == JINJA_ABSENT ? mica_jinja_int(0) : argument[0];
    if (subject->kind == JINJA_UNDEFINED) return mica_jinja_fail_undefined(run, subject);
    if (subject->kind == JINJA_BIG)
        *out = *subject;
    else if (mica_jinja_as_int(subject, &i))
        *out = mica_jinja_int(i);
    else if (subject->kind == JINJA_FLOAT) {
        d = subject->as.real;
        if (d > -9.2e18 && d < 9.2e18) *out = mica_jinja_int((int64_t)d);
    } else if (subject->kind == JINJA_STRING && base >= 2 && base <= 36) {
        if (mica_jinja_parse_int(mica_jinja_slice(subject), (int)base, &i))
            *out = mica_jinja_int(i);
        else if (mica_jinja_parse_float(mica_jinja_slice(subject), &d) && d > -9.2e18 && d < 9.2e18)
            *out = mica_jinja_int((int64_t)d);
    }
    return true;
}

FILTER(filter_float) {
    double d = 0;
    if (subject->kind == JINJA_UNDEFINED) return mica_jinja_fail_undefined(run, subject);
    *out = argument[0].kind == JINJA_ABSENT ? mica_jinja_float(0) : argument[0];
    if (mica_jinja_as_double(subject, &d) ||
        (subject->kind == JINJA_STRING && mica_jinja_parse_float(mica_jinja_slice(subject), &d)))
        *out = mica_jinja_float(d);
    return true;
}

FILTER(filter_abs) {
    if (subject->kind == JINJA_UNDEFINED) return mica_jinja_fail_undefined(run, subject);
    *out = *subject;
    int64_t i = 0;
    if (subject->kind == JINJA_FLOAT)
        out->as.real = fabs(subject->as.real);
    else if (mica_jinja_as_int(subject, &i)) {
        if (i == INT64_MIN)
            return mica_jinja_fail(run, MICA_STATUS_LIMIT, "an integer beyond 64 bits");
        *out = mica_jinja_int(i < 0 ? -i : i);
    } else {
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "bad operand type for abs: '%s'",
                               mica_jinja_kind_name(subject));
    }
    return true;
}

/* round(v, digits) of Python: exact decimal expansion, halves to even. */
static double round_common(double v, int64_t digits) {
    char text[512];
    double r = v;
    if (digits < 0) {
        double scale = pow(10, (double)-digits);
        return rint(v / scale) * scale;
    }
    if (digits > 30 || !isfinite(v)) return v;
    int n = snprintf(text, sizeof text, "%.*f", (int)digits, v);
    mica_parse_double(mica_slice_of(text, (size_t)n), &r);
    return r;
}

FILTER(filter_round) {
    int64_t digits = 0;
    double d = 0;
    if (!mica_jinja_int_argument(run, "precision", &argument[0], 0, &digits)) return false;
    if (subject->kind == JINJA_UNDEFINED) return mica_jinja_fail_undefined(run, subject);
    if (!mica_jinja_as_double(subject, &d))
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "round needs a number, not %s",
                               mica_jinja_kind_name(subject));
    mica_slice method = mica_slice_from("common");
    if (argument[1].kind == JINJA_STRING) method = mica_jinja_slice(&argument[1]);
    double scale = pow(10, (double)digits);
    if (mica_slice_is(method, "ceil"))
        *out = mica_jinja_float(ceil(d * scale) / scale);
    else if (mica_slice_is(method, "floor"))
        *out = mica_jinja_float(floor(d * scale) / scale);
    else if (!mica_slice_is(method, "common"))
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "method must be common, ceil or floor");
    else if (subject->kind == JINJA_FLOAT)
        *out = mica_jinja_float(round_common(d, digits));
    else if (digits >= 0 && subject->kind != JINJA_BOOL)
        *out = *subject;
    else
        *out = mica_jinja_int((int64_t)round_common(d, digits));
    return true;
}

/* --- JSON --- */
FILTER(filter_tojson) {
    jinja_json_style style = {.ensure_ascii = mica_jinja_truth(&argument[0]),
                              .sort_keys = mica_jinja_truth(&argument[3])};
    const jinja_value *indent = &argument[1], *separators = &argument[2];
    if (indent->kind != JINJA_ABSENT && indent->kind != JINJA_NONE &&
        !read_indent(run, indent, 0, &style.indent))
        return false;
    if (separators->kind != JINJA_ABSENT && separators->kind != JINJA_NONE) {
        const jinja_list *pair = separators->kind == JINJA_LIST ? separators->as.list : NULL;
        if (!pair || pair->count != 2 || pair->items[0].kind != JINJA_STRING ||
            pair->items[1].kind != JINJA_STRING)
            return mica_jinja_fail(run, MICA_STATUS_FORMAT,
                                   "tojson: separators must be two strings");
        style.item_separator = pair->items[0].as.string;
        style.key_separator = pair->items[1].as.string;
    }
    jinja_builder b;
    mica_jinja_builder_init(&b, run);
    return mica_jinja_print_json(&b, subject, &style) && mica_jinja_builder_take(&b, out);
}

FILTER(filter_from_json) {
    if (subject->kind != JINJA_STRING)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "from_json needs a string, not %s",
                               mica_jinja_kind_name(subject));
    const jinja_string *s = subject->as.string;
    /* One foreign byte makes all of it foreign. */
    bool from_input = s->input_first || s->n_marks > 0;
    return mica_jinja_read_json(run, "from_json", s->data, s->bytes, from_input, out);
}

FILTER(filter_length) {
    int64_t n = 0;
    if (!mica_jinja_length(subject, &n))
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "object of type '%s' has no length",
                               mica_jinja_kind_name(subject));
    *out = mica_jinja_int(n);
    return subject->kind != JINJA_STRING || mica_jinja_charge_bytes(run, subject->as.string->bytes);
}

const jinja_filter_row mica_jinja_text_filters[] = {
    {"upper", "", filter_upper},
    {"lower", "", filter_lower},
    {"capitalize", "", filter_capitalize},
    {"title", "", filter_title},
    {"string", "", filter_string},
    {"safe", "", filter_safe},
    {"trim", "?chars", filter_trim},
    {"replace", "old new ?count", filter_replace},
    {"default", "?default_value ?boolean", filter_default},
    {"d", "?default_value ?boolean", filter_default},
    {"indent", "?width ?first ?blank", filter_indent},
    {"center", "?width", filter_center},
    {"escape", "", filter_escape},
    {"e", "", filter_escape},
    {"format", "*", filter_format},
    {"int", "?default ?base", filter_int},
    {"float", "?default", filter_float},
    {"abs", "", filter_abs},
    {"round", "?precision ?method", filter_round},
    {"tojson", "?ensure_ascii ?indent ?separators ?sort_keys", filter_tojson},
    {"from_json", "", filter_from_json},
    {"length", "", filter_length},
    {"count", "", filter_length},
    {NULL, NULL, NULL},
};
