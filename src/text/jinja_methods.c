/* Methods of strings, lists and dictionaries, as Python has them. Those that change a list or a
 * dictionary work on values made in the render only: the input is immutable. */
#include <string.h>
#include "text/jinja_ast.h"
#include "text/jinja_table.h"
#include "text/jinja_unicode.h"

#define METHOD(function)                                                                           \
    static bool function(__attribute__((unused)) jinja_run *run,                                   \
                         __attribute__((unused)) const jinja_value *self,                          \
                         __attribute__((unused)) const jinja_value *argument,                      \
                         __attribute__((unused)) const jinja_call *call, jinja_value *out)

static bool is_given(const jinja_value *v) {
    return v->kind != JINJA_ABSENT && v->kind != JINJA_NONE;
}

static bool text_argument(jinja_run *run, const char *method, const jinja_value *v,
                          const jinja_string **out) {
    *out = NULL;
    if (v->kind == JINJA_UNDEFINED) return mica_jinja_fail_undefined(run, v);
    if (v->kind != JINJA_STRING)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "%s needs a string, not %s", method,
                               mica_jinja_kind_name(v));
    *out = v->as.string;
    return true;
}

/* --- strings --- */
METHOD(string_strip) {
    return mica_jinja_strip(run, self->as.string, &argument[0], true, true, out);
}
METHOD(string_lstrip) {
    return mica_jinja_strip(run, self->as.string, &argument[0], true, false, out);
}
METHOD(string_rstrip) {
    return mica_jinja_strip(run, self->as.string, &argument[0], false, true, out);
}
static bool change_case(jinja_run *run, const jinja_string *s, jinja_case to, jinja_value *out) {
    return mica_jinja_change_case(run, s, to, out) && mica_jinja_keep_markup(s, out);
}

METHOD(string_upper) { return change_case(run, self->as.string, JINJA_UPPER, out); }
METHOD(string_lower) { return change_case(run, self->as.string, JINJA_LOWER, out); }
METHOD(string_title) { return change_case(run, self->as.string, JINJA_TITLE, out); }
METHOD(string_capitalize) { return change_case(run, self->as.string, JINJA_CAPITALIZE, out); }
METHOD(string_format) { return mica_jinja_format_braces(run, self->as.string, call, out); }

METHOD(string_replace) {
    const jinja_string *old, *fresh, *s = self->as.string;
    jinja_value escaped;
    int64_t count = -1;
    if (!text_argument(run, "replace", &argument[0], &old) ||
        !text_argument(run, "replace", &argument[1], &fresh) ||
        !mica_jinja_int_argument(run, "count", &argument[2], -1, &count))
        return false;
    if (s->is_markup) {
        if (!mica_jinja_escape(run, fresh, &escaped)) return false;
        fresh = escaped.as.string;
    }
    return mica_jinja_replace(run, s, old, fresh, count, out) && mica_jinja_keep_markup(s, out);
}

METHOD(string_join) {
    jinja_list *list = NULL;
    const jinja_string *s = self->as.string;
    jinja_value escaped;
    if (!mica_jinja_to_list(run, &argument[0], &list)) return false;
    if (!s->is_markup) return mica_jinja_join(run, list, s, true, out);
    if (!mica_jinja_list(run, list->count, JINJA_PLAIN_LIST, &escaped)) return false;
    for (size_t i = 0; i < list->count; i++) {
        jinja_value item;
        if (!mica_jinja_to_string(run, &list->items[i], &item) ||
            !mica_jinja_escape(run, item.as.string, &item) ||
            !mica_jinja_list_push(run, escaped.as.list, item))
            return false;
    }
    return mica_jinja_join(run, escaped.as.list, s, true, out) && mica_jinja_keep_markup(s, out);
}

static bool has_affix(const jinja_string *s, const jinja_string *affix, bool at_end) {
    if (affix->bytes > s->bytes) return false;
    const char *place = at_end ? s->data + s->bytes - affix->bytes : s->data;
    return affix->bytes == 0 || memcmp(place, affix->data, affix->bytes) == 0;
}

/* One affix or a tuple of them. */
static bool check_affix(jinja_run *run, const jinja_value *self, const jinja_value *affix,
                        bool at_end, jinja_value *out) {
    const char *method = at_end ? "endswith" : "startswith";
    const jinja_string *s;
    bool holds = false;
    if (affix->kind == JINJA_LIST && affix->as.list->flavour == JINJA_TUPLE) {
        for (size_t i = 0; i < affix->as.list->count && !holds; i++) {
            if (!text_argument(run, method, &affix->as.list->items[i], &s)) return false;
            holds = has_affix(self->as.string, s, at_end);
        }
    } else {
        if (!text_argument(run, method, affix, &s)) return false;
        holds = has_affix(self->as.string, s, at_end);
    }
    *out = mica_jinja_bool(holds);
    return true;
}

METHOD(string_startswith) { return check_affix(run, self, &argument[0], false, out); }
METHOD(string_endswith) { return check_affix(run, self, &argument[0], true, out); }

static bool remove_affix(jinja_run *run, const jinja_value *self, const jinja_value *argument,
                         bool at_end, jinja_value *out) {
    const jinja_string *s = self->as.string, *affix;
    if (!text_argument(run, "removeprefix", argument, &affix)) return false;
    size_t bytes = has_affix(s, affix, at_end) ? affix->bytes : 0;
    return mica_jinja_substring(run, s, at_end ? 0 : bytes, at_end ? s->bytes - bytes : s->bytes,
                                out);
}

METHOD(string_removeprefix) { return remove_affix(run, self, &argument[0], false, out); }
METHOD(string_removesuffix) { return remove_affix(run, self, &argument[0], true, out); }

/* Byte range [from, to) of the code points [start, end) of s, Python's slice rules. */
static bool search_range(jinja_run *run, const jinja_string *s, const jinja_value *bounds,
                         size_t *from, size_t *to) {
    int64_t n = mica_jinja_char_count(s), place[2] = {0, n};
    for (int i = 0; i < 2; i++) {
        if (is_given(&bounds[i]) &&
            !mica_jinja_int_argument(run, "a bound", &bounds[i], place[i], &place[i]))
            return false;
        if (place[i] < 0) place[i] = place[i] < -n ? 0 : place[i] + n;
        if (place[i] > n) place[i] = n;
    }
    *from = mica_jinja_char_offset(s, place[0]);
    *to = mica_jinja_char_offset(s, place[1]);
    return mica_jinja_charge_bytes(run, s->bytes);
}

/* Where `part` is first (or last) found, as a code point index; -1 if it is not. */
static bool find_text(jinja_run *run, const jinja_value *self, const jinja_value *argument,
                      bool last, int64_t *out) {
    const jinja_string *s = self->as.string, *part;
    size_t from, to;
    *out = -1;
    if (!text_argument(run, "find", &argument[0], &part) ||
        !search_range(run, s, argument + 1, &from, &to))
        return false;
    const char *place = NULL;
    for (size_t at = from; at <= to && to - at >= part->bytes;) {
        const char *found = part->bytes == 0
                                ? s->data + at
                                : memmem(s->data + at, to - at, part->data, part->bytes);
        if (!found) break;
        place = found;
        if (!last) break;
        /* A needle that repeats itself is found, and compared whole, again at the next byte. */
        if (!mica_jinja_charge_bytes(run, part->bytes)) return false;
        at = (size_t)(found - s->data) + 1;
    }
    if (!place) return true;
    jinja_string before = {
        .data = s->data, .bytes = (uint32_t)(place - s->data), .is_ascii = s->is_ascii};
    *out = mica_jinja_char_count(&before);
    return true;
}

METHOD(string_find) {
    int64_t place = -1;
    if (!find_text(run, self, argument, false, &place)) return false;
    *out = mica_jinja_int(place);
    return true;
}

METHOD(string_rfind) {
    int64_t place = -1;
    if (!find_text(run, self, argument, true, &place)) return false;
    *out = mica_jinja_int(place);
    return true;
}

METHOD(string_index) {
    int64_t place = -1;
    if (!find_text(run, self, argument, false, &place)) return false;
    *out = mica_jinja_int(place);
    return place >= 0 || mica_jinja_fail(run, MICA_STATUS_FORMAT, "substring not found");
}

METHOD(string_count) {
    const jinja_string *s = self->as.string, *part;
    size_t from, to;
    int64_t n = 0;
    if (!text_argument(run, "count", &argument[0], &part) ||
        !search_range(run, s, argument + 1, &from, &to))
        return false;
    while (part->bytes > 0 && from < to) {
        const char *found = memmem(s->data + from, to - from, part->data, part->bytes);
        if (!found) break;
        n++;
        from = (size_t)(found - s->data) + part->bytes;
    }
    if (part->bytes == 0) {
        jinja_string range = {
            .data = s->data + from, .bytes = (uint32_t)(to - from), .is_ascii = s->is_ascii};
        n = from <= to ? mica_jinja_char_count(&range) + 1 : 0;
    }
    *out = mica_jinja_int(n);
    return true;
}

/* --- splitting --- */
static bool push_part(jinja_run *run, const jinja_string *s, size_t from, size_t to,
                      jinja_value *list) {
    jinja_value part;
    return mica_jinja_substring(run, s, from, to, &part) &&
           mica_jinja_list_push(run, list->as.list, part);
}

static bool is_space_at(const jinja_string *s, size_t at) {
    uint32_t c = 0;
    mica_utf8_decode(s->data + at, s->bytes - at, &c);
    return mica_jinja_is_space(c);
}

static size_t skip_run(const jinja_string *s, size_t at, bool spaces) {
    while (at < s->bytes && is_space_at(s, at) == spaces) at += mica_jinja_char_bytes(s->data + at);
    return at;
}

static bool split_on_space(jinja_run *run, const jinja_string *s, int64_t count, jinja_value *out) {
    size_t at = skip_run(s, 0, true);
    while (at < s->bytes) {
        size_t end = count-- == 0 ? s->bytes : skip_run(s, at, false);
        if (!push_part(run, s, at, end, out)) return false;
        at = skip_run(s, end, true);
    }
    return true;
}

static size_t char_before(const jinja_string *s, size_t at) {
    do at--;
    while (((unsigned char)s->data[at] & 0xc0) == 0x80);
    return at;
}

static size_t skip_run_back(const jinja_string *s, size_t at, bool spaces) {
    while (at > 0 && is_space_at(s, char_before(s, at)) == spaces) at = char_before(s, at);
    return at;
}

static void reverse_list(jinja_list *list) {
    for (size_t i = 0, j = list->count; i + 1 < j; i++) {
        jinja_value v = list->items[i];
        list->items[i] = list->items[--j];
        list->items[j] = v;
    }
}

static bool rsplit_on_space(jinja_run *run, const jinja_string *s, int64_t count,
                            jinja_value *out) {
    size_t at = skip_run_back(s, s->bytes, true);
    while (at > 0) {
        size_t from = count-- == 0 ? 0 : skip_run_back(s, at, false);
        if (!push_part(run, s, from, at, out)) return false;
        at = skip_run_back(s, from, true);
    }
    reverse_list(out->as.list);
    return true;
}

static bool split_on_text(jinja_run *run, const jinja_string *s, const jinja_string *separator,
                          int64_t count, jinja_value *out) {
    size_t at = 0;
    for (; count != 0 && at < s->bytes; count--) {
        const char *found = memmem(s->data + at, s->bytes - at, separator->data, separator->bytes);
        if (!found) break;
        size_t place = (size_t)(found - s->data);
        if (!push_part(run, s, at, place, out)) return false;
        at = place + separator->bytes;
    }
    return push_part(run, s, at, s->bytes, out);
}

static bool rsplit_on_text(jinja_run *run, const jinja_string *s, const jinja_string *separator,
                           int64_t count, jinja_value *out) {
    size_t end = s->bytes, at = end;
    while (count != 0 && at >= separator->bytes) {
        size_t from = at - separator->bytes;
        bool may_match = s->data[from] == separator->data[0];
        if (may_match && !mica_jinja_charge_bytes(run, separator->bytes)) return false;
        if (!may_match || memcmp(s->data + from, separator->data, separator->bytes) != 0) {
            at--;
            continue;
        }
        if (!push_part(run, s, at, end, out)) return false;
        end = at = from;
        count--;
    }
    if (!push_part(run, s, 0, end, out)) return false;
    reverse_list(out->as.list);
    return true;
}

static bool split(jinja_run *run, const jinja_value *self, const jinja_value *argument,
                  bool backwards, jinja_value *out) {
    const jinja_string *s = self->as.string, *separator;
    int64_t count = -1;
    if (!mica_jinja_int_argument(run, "maxsplit", &argument[1], -1, &count) ||
        !mica_jinja_list(run, 0, JINJA_PLAIN_LIST, out) || !mica_jinja_charge_bytes(run, s->bytes))
        return false;
    if (!is_given(&argument[0]))
        return backwards ? rsplit_on_space(run, s, count, out) : split_on_space(run, s, count, out);
    if (!text_argument(run, "split", &argument[0], &separator)) return false;
    if (separator->bytes == 0) return mica_jinja_fail(run, MICA_STATUS_FORMAT, "empty separator");
    return backwards ? rsplit_on_text(run, s, separator, count, out)
                     : split_on_text(run, s, separator, count, out);
}

METHOD(string_split) { return split(run, self, argument, false, out); }
METHOD(string_rsplit) { return split(run, self, argument, true, out); }

METHOD(string_splitlines) {
    const jinja_string *s = self->as.string;
    bool keeps_ends = mica_jinja_truth(&argument[0]);
    if (!mica_jinja_list(run, 0, JINJA_PLAIN_LIST, out) || !mica_jinja_charge_bytes(run, s->bytes))
        return false;
    size_t from = 0, at = 0;
    while (at < s->bytes) {
        uint32_t c = 0;
        size_t n = mica_utf8_decode(s->data + at, s->bytes - at, &c), end = at;
        at += n > 0 ? n : 1;
        if (!mica_jinja_is_line_end(c)) continue;
        if (c == '\r' && at < s->bytes && s->data[at] == '\n') at++;
        if (!push_part(run, s, from, keeps_ends ? at : end, out)) return false;
        from = at;
    }
    return from >= s->bytes || push_part(run, s, from, s->bytes, out);
}

METHOD(string_partition) {
    const jinja_string *s = self->as.string, *separator;
    if (!text_argument(run, "partition", &argument[0], &separator)) return false;
    if (separator->bytes == 0) return mica_jinja_fail(run, MICA_STATUS_FORMAT, "empty separator");
    const char *found =
        s->bytes > 0 ? memmem(s->data, s->bytes, separator->data, separator->bytes) : NULL;
    size_t place = found ? (size_t)(found - s->data) : s->bytes;
    size_t behind = found ? place + separator->bytes : s->bytes;
    return mica_jinja_list(run, 3, JINJA_TUPLE, out) && push_part(run, s, 0, place, out) &&
           push_part(run, s, place, behind, out) && push_part(run, s, behind, s->bytes, out);
}

/* --- kinds of characters --- */
typedef enum char_class { CLASS_DIGIT, CLASS_ALPHA, CLASS_ALNUM, CLASS_SPACE } char_class;

static bool is_in_class(uint32_t c, char_class of) {
    bool is_digit = c >= '0' && c <= '9';
    switch (of) {
    case CLASS_DIGIT:
        return is_digit;
    case CLASS_SPACE:
        return mica_jinja_is_space(c);
    case CLASS_ALPHA:
        return mica_jinja_is_word(c) && !is_digit && c != '_';
    default:
        return mica_jinja_is_word(c) && c != '_';
    }
}

static bool check_class(jinja_run *run, const jinja_value *self, char_class of, jinja_value *out) {
    const jinja_string *s = self->as.string;
    bool all = s->bytes > 0;
    for (size_t at = 0; at < s->bytes && all;) {
        uint32_t c = 0;
        size_t n = mica_utf8_decode(s->data + at, s->bytes - at, &c);
        all = is_in_class(c, of);
        at += n > 0 ? n : 1;
    }
    *out = mica_jinja_bool(all);
    return mica_jinja_charge_bytes(run, s->bytes);
}

METHOD(string_isdigit) { return check_class(run, self, CLASS_DIGIT, out); }
METHOD(string_isalpha) { return check_class(run, self, CLASS_ALPHA, out); }
METHOD(string_isalnum) { return check_class(run, self, CLASS_ALNUM, out); }
METHOD(string_isspace) { return check_class(run, self, CLASS_SPACE, out); }

static bool check_case(jinja_run *run, const jinja_value *self, const char *test,
                       jinja_value *out) {
    bool holds = false;
    jinja_call none = {0};
    if (!mica_jinja_apply_test(run, mica_jinja_find_test(mica_slice_from(test)), self, &none,
                               &holds))
        return false;
    *out = mica_jinja_bool(holds);
    return true;
}

METHOD(string_isupper) { return check_case(run, self, "upper", out); }
METHOD(string_islower) { return check_case(run, self, "lower", out); }

/* --- dictionaries --- */
static bool check_mutable(jinja_run *run, const jinja_value *self) {
    bool is_frozen = self->kind == JINJA_DICT ? self->as.dict->is_frozen : self->as.list->is_frozen;
    if (is_frozen)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT,
                               "the input is immutable: cannot change a %s",
                               mica_jinja_kind_name(self));
    if (self->kind == JINJA_LIST && self->as.list->flavour != JINJA_PLAIN_LIST)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "cannot change a %s",
                               mica_jinja_kind_name(self));
    return true;
}

static bool list_dict(jinja_run *run, const jinja_dict *d, jinja_flavour flavour,
                      jinja_value *out) {
    if (!mica_jinja_list(run, d->count, flavour, out)) return false;
    for (size_t i = 0; i < d->count; i++) {
        jinja_value v = flavour == JINJA_DICT_KEYS ? d->entries[i].key : d->entries[i].value;
        if (flavour == JINJA_DICT_ITEMS &&
            !mica_jinja_pair(run, d->entries[i].key, d->entries[i].value, &v))
            return false;
        if (!mica_jinja_list_push(run, out->as.list, v)) return false;
    }
    return true;
}

METHOD(dict_keys) { return list_dict(run, self->as.dict, JINJA_DICT_KEYS, out); }
METHOD(dict_values) { return list_dict(run, self->as.dict, JINJA_DICT_VALUES, out); }
METHOD(dict_items) { return list_dict(run, self->as.dict, JINJA_DICT_ITEMS, out); }

METHOD(dict_get) {
    jinja_value *found = NULL;
    bool is_hashable = false;
    if (!mica_jinja_is_hashable(run, &argument[0], &is_hashable)) return false;
    if (!is_hashable)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "unhashable type: '%s'",
                               mica_jinja_kind_name(&argument[0]));
    if (!mica_jinja_dict_find(run, self->as.dict, &argument[0], &found)) return false;
    if (found)
        *out = *found;
    else
        *out = argument[1].kind == JINJA_ABSENT ? mica_jinja_none() : argument[1];
    return true;
}

METHOD(dict_pop) {
    jinja_value *found = NULL;
    if (!check_mutable(run, self) ||
        !mica_jinja_dict_find(run, self->as.dict, &argument[0], &found))
        return false;
    if (!found && argument[1].kind == JINJA_ABSENT)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "pop: no such key");
    *out = found ? *found : argument[1];
    return !found || mica_jinja_dict_remove(run, self->as.dict, &argument[0]);
}

METHOD(dict_update) {
    jinja_value more;
    if (!check_mutable(run, self)) return false;
    int32_t row = mica_jinja_find_function(mica_slice_from("dict"));
    if (!mica_jinja_function(row)->call(run, argument, call, &more)) return false;
    for (size_t i = 0; i < more.as.dict->count; i++) {
        const jinja_entry *e = &more.as.dict->entries[i];
        if (!mica_jinja_dict_set(run, self->as.dict, e->key, e->value)) return false;
    }
    *out = mica_jinja_none();
    return true;
}

METHOD(dict_setdefault) {
    jinja_value *found = NULL;
    if (!check_mutable(run, self) ||
        !mica_jinja_dict_find(run, self->as.dict, &argument[0], &found))
        return false;
    *out = found ? *found : argument[1].kind == JINJA_ABSENT ? mica_jinja_none() : argument[1];
    return found || mica_jinja_dict_set(run, self->as.dict, argument[0], *out);
}

METHOD(dict_copy) {
    jinja_call from = {.positional = self, .n_positional = 1};
    int32_t row = mica_jinja_find_function(mica_slice_from("dict"));
    return mica_jinja_function(row)->call(run, argument, &from, out);
}

/* --- lists --- */
METHOD(list_append) {
    *out = mica_jinja_none();
    return check_mutable(run, self) && mica_jinja_list_push(run, self->as.list, argument[0]);
}

METHOD(list_extend) {
    jinja_list *more = NULL;
    *out = mica_jinja_none();
    if (!check_mutable(run, self) || !mica_jinja_to_list(run, &argument[0], &more)) return false;
    size_t count = more->count; /* it may be the list itself */
    for (size_t i = 0; i < count; i++)
        if (!mica_jinja_list_push(run, self->as.list, more->items[i])) return false;
    return true;
}

METHOD(list_insert) {
    int64_t at = 0, n = (int64_t)self->as.list->count;
    *out = mica_jinja_none();
    if (!check_mutable(run, self) || !mica_jinja_int_argument(run, "index", &argument[0], 0, &at) ||
        !mica_jinja_list_push(run, self->as.list, argument[1]))
        return false;
    if (at < 0) at = at < -n ? 0 : at + n;
    if (at > n) at = n;
    jinja_value *items = self->as.list->items;
    memmove(items + at + 1, items + at, (size_t)(n - at) * sizeof *items);
    items[at] = argument[1];
    return mica_jinja_charge(run, (size_t)(n - at) / 16);
}

METHOD(list_pop) {
    jinja_list *list = self->as.list;
    int64_t n = (int64_t)list->count, at = -1;
    if (!check_mutable(run, self) || !mica_jinja_int_argument(run, "index", &argument[0], -1, &at))
        return false;
    if (at < 0) at += n;
    if (at < 0 || at >= n)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "pop index out of range");
    *out = list->items[at];
    memmove(list->items + at, list->items + at + 1, (size_t)(n - at - 1) * sizeof *list->items);
    list->count--;
    return mica_jinja_charge(run, (size_t)(n - at) / 16);
}

METHOD(list_reverse) {
    *out = mica_jinja_none();
    if (!check_mutable(run, self)) return false;
    reverse_list(self->as.list);
    return mica_jinja_charge(run, self->as.list->count / 16);
}

static bool count_equal(jinja_run *run, const jinja_list *list, const jinja_value *v, int64_t *n,
                        int64_t *first) {
    *n = 0;
    *first = -1;
    for (size_t i = 0; i < list->count; i++) {
        bool is_equal = false;
        if (!mica_jinja_equal(run, &list->items[i], v, &is_equal)) return false;
        if (is_equal && *n == 0) *first = (int64_t)i;
        *n += is_equal;
    }
    return true;
}

METHOD(list_count) {
    int64_t n, first;
    if (!count_equal(run, self->as.list, &argument[0], &n, &first)) return false;
    *out = mica_jinja_int(n);
    return true;
}

METHOD(list_index) {
    int64_t n, first;
    if (!count_equal(run, self->as.list, &argument[0], &n, &first)) return false;
    *out = mica_jinja_int(first);
    return first >= 0 || mica_jinja_fail(run, MICA_STATUS_FORMAT, "the value is not in the list");
}

METHOD(list_copy) {
    *out = *self;
    jinja_value part[3] = {{0}, {0}, {0}};
    return mica_jinja_slice_value(run, self, part, out);
}

/* Rows of one name stand together. */
const jinja_method_row mica_jinja_method_rows[] = {
    {"append", JINJA_LIST, "object", list_append},
    {"capitalize", JINJA_STRING, "", string_capitalize},
    {"copy", JINJA_DICT, "", dict_copy},
    {"copy", JINJA_LIST, "", list_copy},
    {"count", JINJA_STRING, "sub ?start ?end", string_count},
    {"count", JINJA_LIST, "value", list_count},
    {"endswith", JINJA_STRING, "suffix", string_endswith},
    {"extend", JINJA_LIST, "iterable", list_extend},
    {"find", JINJA_STRING, "sub ?start ?end", string_find},
    {"format", JINJA_STRING, "*", string_format},
    {"get", JINJA_DICT, "key ?default", dict_get},
    {"index", JINJA_STRING, "sub ?start ?end", string_index},
    {"index", JINJA_LIST, "value", list_index},
    {"insert", JINJA_LIST, "index object", list_insert},
    {"isalnum", JINJA_STRING, "", string_isalnum},
    {"isalpha", JINJA_STRING, "", string_isalpha},
    {"isdigit", JINJA_STRING, "", string_isdigit},
    {"islower", JINJA_STRING, "", string_islower},
    {"isspace", JINJA_STRING, "", string_isspace},
    {"isupper", JINJA_STRING, "", string_isupper},
    {"items", JINJA_DICT, "", dict_items},
    {"join", JINJA_STRING, "iterable", string_join},
    {"keys", JINJA_DICT, "", dict_keys},
    {"lower", JINJA_STRING, "", string_lower},
    {"lstrip", JINJA_STRING, "?chars", string_lstrip},
    {"partition", JINJA_STRING, "sep", string_partition},
    {"pop", JINJA_DICT, "key ?default", dict_pop},
    {"pop", JINJA_LIST, "?index", list_pop},
    {"removeprefix", JINJA_STRING, "prefix", string_removeprefix},
    {"removesuffix", JINJA_STRING, "suffix", string_removesuffix},
    {"replace", JINJA_STRING, "old new ?count", string_replace},
    {"reverse", JINJA_LIST, "", list_reverse},
    {"rfind", JINJA_STRING, "sub ?start ?end", string_rfind},
    {"rsplit", JINJA_STRING, "?sep ?maxsplit", string_rsplit},
    {"rstrip", JINJA_STRING, "?chars", string_rstrip},
    {"setdefault", JINJA_DICT, "key ?default", dict_setdefault},
    {"split", JINJA_STRING, "?sep ?maxsplit", string_split},
    {"splitlines", JINJA_STRING, "?keepends", string_splitlines},
    {"startswith", JINJA_STRING, "prefix", string_startswith},
    {"strip", JINJA_STRING, "?chars", string_strip},
    {"title", JINJA_STRING, "", string_title},
    {"update", JINJA_DICT, "*", dict_update},
    {"upper", JINJA_STRING, "", string_upper},
    {"values", JINJA_DICT, "", dict_values},
    {NULL, JINJA_ABSENT, NULL, NULL},
};
