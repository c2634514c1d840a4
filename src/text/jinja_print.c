/* str() and repr() of template values, as Python prints them. Punctuation and numbers count as the
 * template's; the text of strings keeps its origin. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "text/jinja_ast.h"
#include "text/jinja_unicode.h"
#include "text/jinja_value.h"
#include "text/template.h"

static bool append_format(jinja_builder *b, const char *format, long long i) {
    char text[32];
    snprintf(text, sizeof text, format, i);
    return mica_jinja_append_text(b, text);
}

static bool print_escape(jinja_builder *b, uint32_t c, char quote, bool from_input) {
    char text[16];
    if (c == '\\' || c == (uint32_t)quote)
        snprintf(text, sizeof text, "\\%c", (char)c);
    else if (c == '\n')
        snprintf(text, sizeof text, "\\n");
    else if (c == '\r')
        snprintf(text, sizeof text, "\\r");
    else if (c == '\t')
        snprintf(text, sizeof text, "\\t");
    else if (c < 0x100)
        snprintf(text, sizeof text, "\\x%02" PRIx32, c);
    else if (c < 0x10000)
        snprintf(text, sizeof text, "\\u%04" PRIx32, c);
    else
        snprintf(text, sizeof text, "\\U%08" PRIx32, c);
    return mica_jinja_append(b, text, strlen(text), from_input);
}

/* Single quotes, unless the text holds some and no double ones. */
static bool print_string_repr(jinja_builder *b, const jinja_string *s) {
    bool has_single = s->bytes > 0 && memchr(s->data, '\'', s->bytes);
    bool has_double = s->bytes > 0 && memchr(s->data, '"', s->bytes);
    char quote = has_single && !has_double ? '"' : '\'';
    if (!mica_jinja_append(b, &quote, 1, false)) return false;
    size_t done = 0, at = 0;
    while (at < s->bytes) {
        uint32_t c = 0;
        size_t bytes = mica_utf8_decode(s->data + at, s->bytes - at, &c);
        bool is_plain = c != '\\' && c != (uint32_t)quote && mica_jinja_is_printable(c);
        if (!is_plain) {
            bool from_input = false;
            mica_jinja_run_end(s, at, &from_input);
            if (!mica_jinja_append_range(b, s, done, at) || !print_escape(b, c, quote, from_input))
                return false;
            done = at + bytes;
        }
        at += bytes > 0 ? bytes : 1;
    }
    return mica_jinja_append_range(b, s, done, s->bytes) && mica_jinja_append(b, &quote, 1, false);
}

static bool print_value(jinja_builder *b, const jinja_value *v, int depth);

static bool print_list(jinja_builder *b, const jinja_list *list, int depth) {
    static const char *const open[] = {"[", "(", "dict_keys([", "dict_values([", "dict_items([",
                                       "["};
    static const char *const close[] = {"]", ")", "])", "])", "])", "]"};
    if (!mica_jinja_append_text(b, open[list->flavour])) return false;
    for (size_t i = 0; i < list->count; i++)
        if ((i > 0 && !mica_jinja_append_text(b, ", ")) ||
            !print_value(b, &list->items[i], depth + 1))
            return false;
    if (list->flavour == JINJA_TUPLE && list->count == 1 && !mica_jinja_append_text(b, ","))
        return false;
    return mica_jinja_append_text(b, close[list->flavour]);
}

static bool print_dict(jinja_builder *b, const jinja_dict *d, int depth) {
    if (!mica_jinja_append_text(b, "{")) return false;
    for (size_t i = 0; i < d->count; i++)
        if ((i > 0 && !mica_jinja_append_text(b, ", ")) ||
            !print_value(b, &d->entries[i].key, depth + 1) || !mica_jinja_append_text(b, ": ") ||
            !print_value(b, &d->entries[i].value, depth + 1))
            return false;
    return mica_jinja_append_text(b, "}");
}

static bool print_float(jinja_builder *b, double v) {
    char text[32];
    return mica_jinja_append(b, text, mica_format_double(v, text), false);
}

static bool print_range(jinja_builder *b, const jinja_range *r) {
    if (!mica_jinja_append_text(b, "range(") || !append_format(b, "%lld", r->start) ||
        !append_format(b, ", %lld", r->stop))
        return false;
    return (r->step == 1 || append_format(b, ", %lld", r->step)) && mica_jinja_append_text(b, ")");
}

static bool print_object(jinja_builder *b, const jinja_value *v) {
    mica_jinja_append_text(b, "<");
    mica_jinja_append_text(b, mica_jinja_kind_name(v));
    return mica_jinja_append_text(b, ">");
}

/* repr(v) */
static bool print_value(jinja_builder *b, const jinja_value *v, int depth) {
    if (depth >= MICA_TEMPLATE_DEPTH_MAX)
        return mica_jinja_fail(b->run, MICA_STATUS_LIMIT, "a value is nested deeper than %d levels",
                               MICA_TEMPLATE_DEPTH_MAX);
    switch (v->kind) {
    case JINJA_UNDEFINED:
        return mica_jinja_append_text(b, "Undefined");
    case JINJA_NONE:
        return mica_jinja_append_text(b, "None");
    case JINJA_BOOL:
        return mica_jinja_append_text(b, v->as.boolean ? "True" : "False");
    case JINJA_INT:
        return append_format(b, "%lld", v->as.integer);
    case JINJA_FLOAT:
        return print_float(b, v->as.real);
    case JINJA_BIG:
        return mica_jinja_append_string(b, v->as.string);
    case JINJA_STRING:
        if (!v->as.string->is_markup) return print_string_repr(b, v->as.string);
        return mica_jinja_append_text(b, "Markup(") && print_string_repr(b, v->as.string) &&
               mica_jinja_append_text(b, ")");
    case JINJA_LIST:
        return print_list(b, v->as.list, depth);
    case JINJA_DICT:
        return print_dict(b, v->as.dict, depth);
    case JINJA_RANGE:
        return print_range(b, v->as.range);
    case JINJA_NAMESPACE:
        return mica_jinja_append_text(b, "<Namespace ") && print_dict(b, v->as.dict, depth) &&
               mica_jinja_append_text(b, ">");
    default:
        return print_object(b, v);
    }
}

bool mica_jinja_print_repr(jinja_builder *b, const jinja_value *v) { return print_value(b, v, 0); }

bool mica_jinja_print(jinja_builder *b, const jinja_value *v) {
    if (v->kind == JINJA_STRING) return mica_jinja_append_string(b, v->as.string);
    if (v->kind == JINJA_UNDEFINED) return true;
    return print_value(b, v, 0);
}

bool mica_jinja_to_string(jinja_run *run, const jinja_value *v, jinja_value *out) {
    if (v->kind == JINJA_STRING) {
        *out = *v;
        return true;
    }
    jinja_builder b;
    mica_jinja_builder_init(&b, run);
    return mica_jinja_print(&b, v) && mica_jinja_builder_take(&b, out);
}
