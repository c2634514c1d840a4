/* JSON of templates: reading variables and from_json, writing for tojson as Python's json.dumps
 * does. Numbers beyond int64 keep their digits. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <math.h>
#include "base/json.h"
#include "text/jinja_ast.h"
#include "text/jinja_value.h"
#include "text/template.h"

static bool read_value(jinja_run *run, mica_json *j, bool from_input, jinja_value *out);

static bool fail_reader(jinja_run *run, mica_status status, const mica_error *err) {
    return mica_jinja_fail(run, status, "%s", err->message);
}

static bool read_array(jinja_run *run, mica_json *j, bool from_input, jinja_value *out) {
    mica_error err = {0};
    mica_status status = mica_json_begin_array(j, &err);
    if (status != MICA_STATUS_OK) return fail_reader(run, status, &err);
    if (!mica_jinja_list(run, 0, JINJA_PLAIN_LIST, out)) return false;
    while (mica_json_next_item(j)) {
        jinja_value item;
        if (!read_value(run, j, from_input, &item) ||
            !mica_jinja_list_push(run, out->as.list, item))
            return false;
    }
    status = mica_json_check(j, &err);
    return status == MICA_STATUS_OK || fail_reader(run, status, &err);
}

static bool read_object(jinja_run *run, mica_json *j, bool from_input, jinja_value *out) {
    mica_error err = {0};
    mica_slice key;
    mica_status status = mica_json_begin_object(j, &err);
    if (status != MICA_STATUS_OK) return fail_reader(run, status, &err);
    if (!mica_jinja_dict(run, 0, out)) return false;
    while (mica_json_next_key(j, &key)) {
        jinja_value name, value;
        if (!mica_jinja_string(run, key.data, key.bytes, from_input, &name) ||
            !read_value(run, j, from_input, &value) ||
            !mica_jinja_dict_set(run, out->as.dict, name, value))
            return false;
    }
    status = mica_json_check(j, &err);
    return status == MICA_STATUS_OK || fail_reader(run, status, &err);
}

/* Python's rule: with a point or an exponent it is a float (too large: infinity), else an integer.
 */
static bool read_number(jinja_run *run, mica_json *j, jinja_value *out) {
    mica_error err = {0};
    mica_slice text;
    int64_t i = 0;
    double d = 0;
    mica_status status = mica_json_read_number_text(j, &text, &err);
    if (status != MICA_STATUS_OK) return fail_reader(run, status, &err);
    bool is_real = false;
    for (size_t k = 0; k < text.bytes; k++) is_real = is_real || memchr(".eE", text.data[k], 3);
    if (is_real) {
        if (!mica_parse_double(text, &d)) d = text.data[0] == '-' ? -INFINITY : INFINITY;
        *out = mica_jinja_float(d);
    } else if (mica_parse_i64(text, &i) || mica_slice_is(text, "-0")) {
        *out = mica_jinja_int(i);
    } else {
        if (!mica_jinja_string(run, text.data, text.bytes, false, out)) return false;
        out->kind = JINJA_BIG;
    }
    return true;
}

static bool read_value(jinja_run *run, mica_json *j, bool from_input, jinja_value *out) {
    mica_error err = {0};
    mica_slice text;
    bool b = false;
    mica_status status;
    switch (mica_json_peek(j)) {
    case MICA_JSON_OBJECT:
        return read_object(run, j, from_input, out);
    case MICA_JSON_ARRAY:
        return read_array(run, j, from_input, out);
    case MICA_JSON_NUMBER:
        return read_number(run, j, out);
    case MICA_JSON_STRING:
        status = mica_json_read_string(j, &text, &err);
        if (status != MICA_STATUS_OK) return fail_reader(run, status, &err);
        return mica_jinja_string(run, text.data, text.bytes, from_input, out);
    case MICA_JSON_BOOL:
        status = mica_json_read_bool(j, &b, &err);
        *out = mica_jinja_bool(b);
        break;
    default: /* null; anything broken is reported by the reader */
        status = mica_json_read_null(j, &err);
        *out = mica_jinja_none();
    }
    return status == MICA_STATUS_OK || fail_reader(run, status, &err);
}

bool mica_jinja_read_json(jinja_run *run, const char *name, const char *text, size_t bytes,
                          bool from_input, jinja_value *out) {
    mica_error err = {0};
    mica_json *j = NULL;
    mica_status status =
        mica_json_open(run->host, name, text, bytes, MICA_JSON_DEPTH_MAX, &j, &err);
    if (status != MICA_STATUS_OK) return fail_reader(run, status, &err);
    bool ok = read_value(run, j, from_input, out);
    if (ok && (status = mica_json_end(j, &err)) != MICA_STATUS_OK)
        ok = fail_reader(run, status, &err);
    mica_json_close(&j);
    return ok;
}

/* --- writing --- */
static bool print_json_escape(jinja_builder *b, uint32_t c, bool from_input) {
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    char text[16];
    const char *found = c < 0x80 && c != 0 ? strchr(from, (int)c) : NULL;
    if (found)
        snprintf(text, sizeof text, "\\%c", to[found - from]);
    else if (c < 0x10000)
        snprintf(text, sizeof text, "\\u%04" PRIx32, c);
    else
        snprintf(text, sizeof text, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xd800 + ((c - 0x10000) >> 10),
                 0xdc00 + ((c - 0x10000) & 0x3ff));
    return mica_jinja_append(b, text, strlen(text), from_input);
}

static bool print_json_string(jinja_builder *b, const jinja_string *s, bool ensure_ascii) {
    if (!mica_jinja_append_text(b, "\"")) return false;
    size_t done = 0, at = 0;
    while (at < s->bytes) {
        unsigned char byte = (unsigned char)s->data[at];
        uint32_t c = byte;
        size_t bytes = 1;
        bool is_plain =
            byte >= 0x20 && byte != '"' && byte != '\\' && (byte < 0x7f || !ensure_ascii);
        if (byte >= 0x80) bytes = mica_jinja_char_bytes(s->data + at);
        if (!is_plain) {
            bool from_input = false;
            mica_jinja_run_end(s, at, &from_input);
            if (byte >= 0x80) mica_utf8_decode(s->data + at, s->bytes - at, &c);
            if (!mica_jinja_append_range(b, s, done, at) || !print_json_escape(b, c, from_input))
                return false;
            done = at + bytes;
        }
        at += bytes;
    }
    return mica_jinja_append_range(b, s, done, s->bytes) && mica_jinja_append_text(b, "\"");
}

static bool print_json_at(jinja_builder *b, const jinja_value *v, const jinja_json_style *style,
                          int depth);

static bool print_newline(jinja_builder *b, const jinja_json_style *style, int depth) {
    if (!style->indent) return true;
    if (!mica_jinja_append_text(b, "\n")) return false;
    for (int i = 0; i < depth; i++)
        if (!mica_jinja_append_string(b, style->indent)) return false;
    return true;
}

/* What stands between two items: the separator, and a new line with an indent. */
static bool print_separator(jinja_builder *b, const jinja_json_style *style, size_t i, int depth) {
    if (i > 0) {
        bool ok = style->item_separator ? mica_jinja_append_string(b, style->item_separator)
                                        : mica_jinja_append_text(b, style->indent ? "," : ", ");
        if (!ok) return false;
    }
    return print_newline(b, style, depth);
}

static bool print_json_list(jinja_builder *b, const jinja_list *list, const jinja_json_style *style,
                            int depth) {
    if (list->count == 0) return mica_jinja_append_text(b, "[]");
    if (!mica_jinja_append_text(b, "[")) return false;
    for (size_t i = 0; i < list->count; i++)
        if (!print_separator(b, style, i, depth + 1) ||
            !print_json_at(b, &list->items[i], style, depth + 1))
            return false;
    return print_newline(b, style, depth) && mica_jinja_append_text(b, "]");
}

static bool print_json_float(jinja_builder *b, double v) {
    if (isnan(v)) return mica_jinja_append_text(b, "NaN");
    if (isinf(v)) return mica_jinja_append_text(b, v < 0 ? "-Infinity" : "Infinity");
    char text[32];
    return mica_jinja_append(b, text, mica_format_double(v, text), false);
}

/* Keys that are no strings are written as strings, as json.dumps does. */
static bool print_json_key(jinja_builder *b, const jinja_value *key,
                           const jinja_json_style *style) {
    if (key->kind == JINJA_STRING) return print_json_string(b, key->as.string, style->ensure_ascii);
    if (key->kind != JINJA_NONE && key->kind != JINJA_BOOL && key->kind != JINJA_INT &&
        key->kind != JINJA_FLOAT && key->kind != JINJA_BIG)
        return mica_jinja_fail(b->run, MICA_STATUS_FORMAT,
                               "tojson: keys must be str, int, float, bool or None, not %s",
                               mica_jinja_kind_name(key));
    return mica_jinja_append_text(b, "\"") && print_json_at(b, key, style, 0) &&
           mica_jinja_append_text(b, "\"");
}

static void sort_entries(const jinja_entry **entries, size_t n) {
    for (size_t gap = n / 2; gap > 0; gap /= 2) /* shell sort: keys differ, so order is unique */
        for (size_t i = gap; i < n; i++) {
            const jinja_entry *moving = entries[i];
            mica_slice key = mica_jinja_slice(&moving->key);
            size_t k = i;
            for (; k >= gap; k -= gap) {
                mica_slice other = mica_jinja_slice(&entries[k - gap]->key);
                size_t common = key.bytes < other.bytes ? key.bytes : other.bytes;
                int c = common > 0 ? memcmp(other.data, key.data, common) : 0;
                if (c < 0 || (c == 0 && other.bytes <= key.bytes)) break;
                entries[k] = entries[k - gap];
            }
            entries[k] = moving;
        }
}

static bool print_json_dict(jinja_builder *b, const jinja_dict *d, const jinja_json_style *style,
                            int depth) {
    if (d->count == 0) return mica_jinja_append_text(b, "{}");
    const jinja_entry **entries = mica_jinja_alloc(b->run, d->count, sizeof *entries);
    if (!entries || !mica_jinja_append_text(b, "{")) return false;
    bool all_strings = true;
    for (size_t i = 0; i < d->count; i++) {
        entries[i] = &d->entries[i];
        all_strings = all_strings && d->entries[i].key.kind == JINJA_STRING;
    }
    if (style->sort_keys && !all_strings)
        return mica_jinja_fail(b->run, MICA_STATUS_FORMAT, "tojson: sort_keys needs str keys");
    if (style->sort_keys) sort_entries(entries, d->count);
    for (size_t i = 0; i < d->count; i++) {
        bool ok = print_separator(b, style, i, depth + 1) &&
                  print_json_key(b, &entries[i]->key, style) &&
                  (style->key_separator ? mica_jinja_append_string(b, style->key_separator)
                                        : mica_jinja_append_text(b, ": ")) &&
                  print_json_at(b, &entries[i]->value, style, depth + 1);
        if (!ok) return false;
    }
    return print_newline(b, style, depth) && mica_jinja_append_text(b, "}");
}

static bool print_json_at(jinja_builder *b, const jinja_value *v, const jinja_json_style *style,
                          int depth) {
    if (depth >= MICA_TEMPLATE_DEPTH_MAX)
        return mica_jinja_fail(b->run, MICA_STATUS_LIMIT, "a value is nested deeper than %d levels",
                               MICA_TEMPLATE_DEPTH_MAX);
    switch (v->kind) {
    case JINJA_NONE:
        return mica_jinja_append_text(b, "null");
    case JINJA_BOOL:
        return mica_jinja_append_text(b, v->as.boolean ? "true" : "false");
    case JINJA_INT:
    case JINJA_BIG:
        return mica_jinja_print(b, v);
    case JINJA_FLOAT:
        return print_json_float(b, v->as.real);
    case JINJA_STRING:
        return print_json_string(b, v->as.string, style->ensure_ascii);
    case JINJA_LIST:
        if (v->as.list->flavour >= JINJA_DICT_KEYS && v->as.list->flavour <= JINJA_DICT_ITEMS)
            break;
        return print_json_list(b, v->as.list, style, depth);
    case JINJA_DICT:
        return print_json_dict(b, v->as.dict, style, depth);
    default:
        break;
    }
    return mica_jinja_fail(b->run, MICA_STATUS_FORMAT, "object of type %s is not JSON serializable",
                           mica_jinja_kind_name(v));
}

bool mica_jinja_print_json(jinja_builder *b, const jinja_value *v, const jinja_json_style *style) {
    return print_json_at(b, v, style, 0);
}
