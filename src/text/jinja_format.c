/* Python's two ways to format text: "%s" % values and "{}".format(values). The text of the format
 * and of the values keeps its origin. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "text/jinja_ast.h"
#include "text/jinja_table.h"

#define WIDTH_MAX 65536

/* One conversion: [[fill]align][sign][#][0][width][,][.precision][type] */
typedef struct format_spec {
    mica_slice fill; /* one character */
    bool escapes;    /* the format is markup */
    bool from_input; /* some of the conversion's text is from input: so is what fills */
    char align;      /* '<', '>', '^', '=' or 0 = by type */
    char sign;       /* '+', ' ' or 0 */
    bool is_alternate;
    bool groups; /* thousands by commas */
    int64_t width;
    int64_t precision; /* -1 = none */
    char type;         /* 0 = by value */
} format_spec;

static bool fail_format(jinja_run *run, const char *message) {
    return mica_jinja_fail(run, MICA_STATUS_FORMAT, "%s", message);
}

static bool read_number(const char *text, size_t bytes, size_t *at, int64_t *out) {
    bool any = false;
    *out = 0;
    for (; *at < bytes && text[*at] >= '0' && text[*at] <= '9'; ++*at, any = true)
        if (*out <= WIDTH_MAX) *out = *out * 10 + (text[*at] - '0');
    return any;
}

static bool check_size(jinja_run *run, const format_spec *spec) {
    if (spec->width <= WIDTH_MAX && spec->precision <= WIDTH_MAX) return true;
    return mica_jinja_fail(run, MICA_STATUS_LIMIT, "a width or precision of more than %d",
                           WIDTH_MAX);
}

/* Does some byte of [from, to) come from input? */
static bool touches_input(const jinja_string *s, size_t from, size_t to) {
    bool from_input = false;
    while (from < to && !from_input) from = mica_jinja_run_end(s, from, &from_input);
    return from_input;
}

/* Pads b's text from byte `from` on to the width. */
static bool append_padded(jinja_builder *b, const jinja_value *text, const format_spec *spec,
                          char align) {
    int64_t missing = spec->width - mica_jinja_char_count(text->as.string);
    int64_t left = missing <= 0 ? 0 : align == '>' ? missing : align == '^' ? missing / 2 : 0;
    for (int64_t i = 0; i < left; i++)
        if (!mica_jinja_append(b, spec->fill.data, spec->fill.bytes, spec->from_input))
            return false;
    if (!mica_jinja_append_string(b, text->as.string)) return false;
    for (int64_t i = left; i < missing; i++)
        if (!mica_jinja_append(b, spec->fill.data, spec->fill.bytes, spec->from_input))
            return false;
    return true;
}

static void group_digits(char *text, size_t size) {
    size_t start = text[0] == '-' || text[0] == '+' || text[0] == ' ' ? 1 : 0;
    size_t whole = start + strspn(text + start, "0123456789");
    for (size_t i = whole; i > start + 3; i -= 3) {
        size_t bytes = strlen(text) + 1;
        if (bytes + 1 > size) return;
        memmove(text + i - 3 + 1, text + i - 3, bytes - (i - 3));
        text[i - 3] = ',';
    }
}

static void print_binary(uint64_t v, char *out, const char *prefix, bool is_negative) {
    char digits[65];
    size_t n = 0;
    do digits[n++] = (char)('0' + (v & 1));
    while (v >>= 1);
    size_t at = (size_t)sprintf(out, "%s%s", is_negative ? "-" : "", prefix);
    while (n > 0) out[at++] = digits[--n];
    out[at] = 0;
}

static void print_integer(int64_t v, const format_spec *spec, char out[512]) {
    uint64_t size = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    const char *sign = v < 0 ? "-" : spec->sign == '+' ? "+" : spec->sign == ' ' ? " " : "";
    unsigned long long digits = size;
    switch (spec->type) {
    case 'x':
        sprintf(out, "%s%s%llx", sign, spec->is_alternate ? "0x" : "", digits);
        break;
    case 'X':
        sprintf(out, "%s%s%llX", sign, spec->is_alternate ? "0X" : "", digits);
        break;
    case 'o':
        sprintf(out, "%s%s%llo", sign, spec->is_alternate ? "0o" : "", digits);
        break;
    case 'b':
        print_binary(size, out, spec->is_alternate ? "0b" : "", v < 0);
        break;
    default:
        sprintf(out, "%s%llu", sign, digits);
    }
}

static bool print_real(jinja_run *run, double v, const format_spec *spec, char out[512]) {
    int precision = spec->precision < 0 ? 6 : (int)spec->precision;
    if (precision > 100) return fail_format(run, "a precision of more than 100 digits");
    const char *sign = signbit(v) ? "-" : spec->sign == '+' ? "+" : spec->sign == ' ' ? " " : "";
    double size = fabs(v);
    char type = spec->type;
    if (type == '%')
        snprintf(out, 512, "%s%.*f%%", sign, precision, size * 100);
    else if (type == 'e' || type == 'E')
        snprintf(out, 512, type == 'e' ? "%s%.*e" : "%s%.*E", sign, precision, size);
    else if (type == 'g' || type == 'G')
        snprintf(out, 512, type == 'g' ? "%s%.*g" : "%s%.*G", sign, precision, size);
    else
        snprintf(out, 512, "%s%.*f", sign, precision, size);
    return true;
}

/* The value as text, before padding. *is_number: numbers go to the right. */
static bool print_converted(jinja_run *run, const jinja_value *v, const format_spec *spec,
                            jinja_value *out, bool *is_number) {
    char text[512];
    int64_t i = 0;
    double d = 0;
    char type = spec->type;
    bool is_int = v->kind == JINJA_INT || v->kind == JINJA_BOOL;
    *is_number = (is_int || v->kind == JINJA_FLOAT) && type != 's';
    if (*is_number && (v->kind != JINJA_BOOL || type != 0)) {
        bool wants_real = type != 0 && strchr("eEfFgG%", type);
        if (v->kind == JINJA_FLOAT && type == 0 && spec->precision < 0)
            return mica_jinja_to_string(run, v, out);
        if (v->kind == JINJA_FLOAT && type != 0 && !wants_real)
            return fail_format(run, "an integer format needs an integer");
        mica_jinja_as_int(v, &i);
        mica_jinja_as_double(v, &d);
        format_spec used = *spec;
        if (v->kind == JINJA_FLOAT && type == 0) used.type = 'g';
        if (is_int && !wants_real)
            print_integer(i, &used, text);
        else if (!print_real(run, d, &used, text))
            return false;
        if (spec->groups) group_digits(text, sizeof text);
        return mica_jinja_string(run, text, strlen(text), false, out);
    }
    if (type != 0 && type != 's')
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "format '%c' needs a number, not %s", type,
                               mica_jinja_kind_name(v));
    if (!mica_jinja_to_string(run, v, out)) return false;
    const jinja_string *s = out->as.string;
    if (spec->precision >= 0 && spec->precision < mica_jinja_char_count(s))
        return mica_jinja_substring(run, s, 0, mica_jinja_char_offset(s, spec->precision), out);
    return true;
}

static bool append_converted(jinja_builder *b, const jinja_value *v, const format_spec *spec) {
    jinja_value text;
    bool is_number = false;
    if (!print_converted(b->run, v, spec, &text, &is_number)) return false;
    if (spec->escapes && !mica_jinja_escape(b->run, text.as.string, &text)) return false;
    char align = spec->align ? spec->align : is_number ? '>' : '<';
    if (align != '=') return append_padded(b, &text, spec, align);
    /* zeros between sign and digits */
    const jinja_string *s = text.as.string;
    size_t sign = s->bytes > 0 && strchr("+- ", s->data[0]) ? 1 : 0;
    format_spec rest = *spec;
    rest.width -= (int64_t)sign;
    if (!mica_jinja_append_range(b, s, 0, sign) ||
        !mica_jinja_substring(b->run, s, sign, s->bytes, &text))
        return false;
    return append_padded(b, &text, &rest, '>');
}

/* --- "%" --- */
typedef struct percent_values {
    const jinja_value *values;
    size_t n, next;
    const jinja_value *mapping;
} percent_values;

static bool next_value(jinja_run *run, percent_values *from, mica_slice key, bool has_key,
                       jinja_value *out) {
    if (has_key) {
        jinja_value name, *found = NULL;
        if (!from->mapping || from->mapping->kind != JINJA_DICT)
            return fail_format(run, "format requires a mapping");
        if (!mica_jinja_string(run, key.data, key.bytes, false, &name) ||
            !mica_jinja_dict_find(run, from->mapping->as.dict, &name, &found))
            return false;
        if (!found)
            return mica_jinja_fail(run, MICA_STATUS_FORMAT, "format: no key '%.*s'",
                                   (int)(key.bytes & 127), key.data);
        *out = *found;
        return true;
    }
    if (from->next >= from->n) return fail_format(run, "not enough arguments for format string");
    *out = from->values[from->next++];
    return true;
}

/* "%c": a character, or its number. A number may be input, and what it stands for is then made by
 * the input: it always counts as such. */
static bool convert_character(jinja_run *run, jinja_value *v) {
    char text[4];
    int64_t codepoint = 0;
    if (v->kind == JINJA_STRING && mica_jinja_char_count(v->as.string) == 1) return true;
    if (!mica_jinja_as_int(v, &codepoint))
        return fail_format(run, "%c requires an integer or one character");
    bool fits = codepoint >= 0 && codepoint <= 0x10ffff;
    size_t bytes = fits ? mica_utf8_encode((uint32_t)codepoint, text) : 0;
    if (bytes == 0) return fail_format(run, "%c: not a character");
    return mica_jinja_string(run, text, bytes, true, v);
}

/* The conversion behind a '%' at text[*at]. */
static bool convert_percent(jinja_builder *b, const jinja_string *format, size_t *at,
                            percent_values *from) {
    const char *text = format->data;
    size_t bytes = format->bytes, start = *at - 1;
    format_spec spec = {.fill = {" ", 1}, .precision = -1};
    mica_slice key = {0};
    bool has_key = false;
    if (*at < bytes && text[*at] == '(') {
        const char *end = memchr(text + *at, ')', bytes - *at);
        if (!end) return fail_format(b->run, "incomplete format key");
        key = mica_slice_of(text + *at + 1, (size_t)(end - text) - *at - 1);
        has_key = true;
        *at = (size_t)(end - text) + 1;
    }
    char align = '>';
    for (; *at < bytes && text[*at] && strchr("-+ #0", text[*at]); ++*at) {
        if (text[*at] == '-')
            align = '<';
        else if (text[*at] == '#')
            spec.is_alternate = true;
        else if (text[*at] != '0')
            spec.sign = text[*at];
        else if (align != '<')
            align = '=';
    }
    read_number(text, bytes, at, &spec.width);
    if (*at < bytes && text[*at] == '.') {
        ++*at;
        read_number(text, bytes, at, &spec.precision);
    }
    if (*at >= bytes) return fail_format(b->run, "incomplete format");
    spec.type = text[(*at)++];
    spec.from_input = touches_input(format, start, *at);
    spec.escapes = format->is_markup;
    if (!check_size(b->run, &spec)) return false;
    jinja_value v, converted;
    if (spec.type == '%') return mica_jinja_append(b, "%", 1, spec.from_input);
    if (!strchr("srdiuxXofFeEgGc", spec.type) || spec.type == 0)
        return fail_format(b->run, "unsupported format character");
    if (!next_value(b->run, from, key, has_key, &v)) return false;
    if (spec.type == 'r') {
        jinja_builder repr;
        mica_jinja_builder_init(&repr, b->run);
        if (!mica_jinja_print_repr(&repr, &v) || !mica_jinja_builder_take(&repr, &converted))
            return false;
        v = converted;
    }
    if (spec.type == 'c' && !convert_character(b->run, &v)) return false;
    bool takes_text = spec.type == 's' || spec.type == 'r' || spec.type == 'c';
    if (strchr("diu", spec.type)) {
        if (v.kind == JINJA_FLOAT && fabs(v.as.real) < 9e18) v = mica_jinja_int((int64_t)v.as.real);
        spec.type = 'd';
    }
    spec.align = align == '=' && takes_text ? '>' : align;
    if (spec.align == '=') spec.fill = mica_slice_of("0", 1);
    if (takes_text) {
        if (!mica_jinja_to_string(b->run, &v, &v)) return false;
        spec.type = 's';
    }
    return append_converted(b, &v, &spec);
}

bool mica_jinja_format_percent(jinja_run *run, const jinja_string *format,
                               const jinja_value *values, size_t n, const jinja_value *mapping,
                               jinja_value *out) {
    jinja_builder b;
    percent_values from = {values, n, 0, mapping};
    mica_jinja_builder_init(&b, run);
    size_t at = 0;
    while (at < format->bytes) {
        const char *found = memchr(format->data + at, '%', format->bytes - at);
        size_t plain = found ? (size_t)(found - format->data) : format->bytes;
        if (!mica_jinja_append_range(&b, format, at, plain)) return false;
        at = plain;
        if (!found) break;
        at++;
        if (!convert_percent(&b, format, &at, &from)) return false;
    }
    if (from.next < n && !mapping)
        return fail_format(run, "not all arguments converted during string formatting");
    return mica_jinja_builder_take(&b, out) && mica_jinja_keep_markup(format, out);
}

/* --- braces --- */
static bool read_spec(jinja_run *run, mica_slice text, format_spec *spec) {
    size_t at = 0, first = text.bytes > 0 ? mica_jinja_char_bytes(text.data) : 0;
    *spec = (format_spec){.fill = {" ", 1}, .precision = -1};
    if (first > 0 && first < text.bytes && text.data[first] && strchr("<>^=", text.data[first])) {
        spec->fill = mica_slice_of(text.data, first);
        spec->align = text.data[first];
        at = first + 1;
    } else if (text.bytes > 0 && text.data[0] && strchr("<>^=", text.data[0]))
        spec->align = text.data[at++];
    if (at < text.bytes && text.data[at] && strchr("+- ", text.data[at]))
        spec->sign = text.data[at++];
    if (at < text.bytes && text.data[at] == '#') spec->is_alternate = true, at++;
    if (at < text.bytes && text.data[at] == '0') {
        if (!spec->align) spec->align = '=', spec->fill = mica_slice_of("0", 1);
        at++;
    }
    read_number(text.data, text.bytes, &at, &spec->width);
    if (at < text.bytes && text.data[at] == ',') spec->groups = true, at++;
    if (at < text.bytes && text.data[at] == '.') {
        at++;
        if (!read_number(text.data, text.bytes, &at, &spec->precision))
            return fail_format(run, "format specifier missing precision");
    }
    if (at < text.bytes) spec->type = text.data[at++];
    bool is_known = spec->type == 0 || strchr("sdxXobfFeEgG%", spec->type);
    if (at < text.bytes || !is_known) return fail_format(run, "invalid format specifier");
    return true;
}

static bool find_field(jinja_run *run, mica_slice name, const jinja_call *call, size_t *next,
                       jinja_value *out) {
    int64_t index = 0;
    if (name.bytes == 0)
        index = (int64_t)(*next)++;
    else if (!mica_parse_i64(name, &index)) {
        for (size_t i = 0; i < call->n_keyword; i++)
            if (mica_slice_equal(name,
                                 mica_slice_of(call->names[i]->data, call->names[i]->bytes))) {
                *out = call->keyword[i];
                return true;
            }
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "format: no argument '%.*s'",
                               (int)(name.bytes & 127), name.data);
    }
    if (index < 0 || (uint64_t)index >= call->n_positional)
        return fail_format(run, "format: replacement index out of range");
    *out = call->positional[index];
    return true;
}

/* "name!r:spec" between braces. */
static bool convert_braces(jinja_builder *b, mica_slice field, bool from_input, bool escapes,
                           const jinja_call *call, size_t *next) {
    const char *colon = field.bytes > 0 ? memchr(field.data, ':', field.bytes) : NULL;
    size_t head = colon ? (size_t)(colon - field.data) : field.bytes;
    mica_slice spec_text = {field.data + head + 1, colon ? field.bytes - head - 1 : 0};
    const char *bang = head > 0 ? memchr(field.data, '!', head) : NULL;
    size_t name_bytes = bang ? (size_t)(bang - field.data) : head;
    format_spec spec;
    jinja_value v;
    if (!find_field(b->run, mica_slice_of(field.data, name_bytes), call, next, &v)) return false;
    if (bang) {
        if (head - name_bytes != 2 || !strchr("rs", bang[1]))
            return fail_format(b->run, "format: unknown conversion");
        jinja_builder text;
        mica_jinja_builder_init(&text, b->run);
        bool ok = bang[1] == 'r' ? mica_jinja_print_repr(&text, &v) : mica_jinja_print(&text, &v);
        if (!ok || !mica_jinja_builder_take(&text, &v)) return false;
    }
    if (!read_spec(b->run, spec_text, &spec) || !check_size(b->run, &spec)) return false;
    spec.from_input = from_input;
    spec.escapes = escapes;
    return append_converted(b, &v, &spec);
}

bool mica_jinja_format_braces(jinja_run *run, const jinja_string *format, const jinja_call *call,
                              jinja_value *out) {
    jinja_builder b;
    size_t next = 0, at = 0, done = 0;
    mica_jinja_builder_init(&b, run);
    for (; at < format->bytes; at++) {
        char c = format->data[at];
        if (c != '{' && c != '}') continue;
        if (!mica_jinja_append_range(&b, format, done, at)) return false;
        bool is_double = at + 1 < format->bytes && format->data[at + 1] == c;
        if (is_double) {
            done = ++at; /* the second of the two is printed */
            continue;
        }
        const char *end = memchr(format->data + at, '}', format->bytes - at);
        if (c == '}' || !end) return fail_format(run, "format: single brace");
        size_t stop = (size_t)(end - format->data);
        mica_slice field = mica_slice_of(format->data + at + 1, stop - at - 1);
        if (!convert_braces(&b, field, touches_input(format, at, stop), format->is_markup, call,
                            &next))
            return false;
        at = stop;
        done = stop + 1;
    }
    return mica_jinja_append_range(&b, format, done, format->bytes) &&
           mica_jinja_builder_take(&b, out) && mica_jinja_keep_markup(format, out);
}
