/* Filters that work through a sequence: map, select, sort, join and their kin. What Jinja returns
 * as a generator is a list here. */
#include <string.h>
#include "text/jinja_ast.h"
#include "text/jinja_table.h"

#define FILTER(function)                                                                           \
    static bool function(__attribute__((unused)) jinja_run *run,                                   \
                         __attribute__((unused)) const jinja_value *subject,                       \
                         __attribute__((unused)) const jinja_value *argument,                      \
                         __attribute__((unused)) const jinja_call *call, jinja_value *out)

static bool is_given(const jinja_value *v) {
    return v->kind != JINJA_ABSENT && v->kind != JINJA_NONE;
}

/* item.a.b.0 for attribute "a.b.0" (or an integer); a missing one becomes `fallback` if given. */
static bool get_path(jinja_run *run, const jinja_value *item, const jinja_value *attribute,
                     const jinja_value *fallback, jinja_value *out) {
    jinja_value at = *item, key;
    if (attribute->kind != JINJA_STRING) {
        if (!mica_jinja_item(run, item, attribute, out)) return false;
    } else {
        mica_slice path = mica_jinja_slice(attribute);
        for (size_t from = 0; from <= path.bytes;) {
            const char *dot =
                from < path.bytes ? memchr(path.data + from, '.', path.bytes - from) : NULL;
            size_t end = dot ? (size_t)(dot - path.data) : path.bytes;
            mica_slice part = mica_slice_of(path.data + from, end - from);
            int64_t index = 0;
            bool is_number = part.bytes > 0 && part.data[0] != '-' && mica_parse_i64(part, &index);
            if (is_number)
                key = mica_jinja_int(index);
            else if (!mica_jinja_substring(run, attribute->as.string, from, end, &key))
                return false;
            jinja_value next;
            if (!mica_jinja_item(run, &at, &key, &next)) return false;
            at = next;
            if (at.kind == JINJA_UNDEFINED && is_given(fallback)) at = *fallback;
            from = end + 1;
        }
        *out = at;
    }
    if (out->kind == JINJA_UNDEFINED && is_given(fallback)) *out = *fallback;
    return true;
}

/* The key by which an item is sorted or compared: its attribute, in lower case unless told. */
static bool get_key(jinja_run *run, const jinja_value *item, const jinja_value *attribute,
                    bool case_sensitive, jinja_value *out) {
    jinja_value none = {0};
    *out = *item;
    if (is_given(attribute) && !get_path(run, item, attribute, &none, out)) return false;
    if (case_sensitive || out->kind != JINJA_STRING) return true;
    return mica_jinja_change_case(run, out->as.string, JINJA_LOWER, out);
}

/* Several attributes "a,b" give a tuple. */
static bool get_sort_key(jinja_run *run, const jinja_value *item, const jinja_value *attribute,
                         bool case_sensitive, jinja_value *out) {
    bool has_comma = attribute->kind == JINJA_STRING && attribute->as.string->bytes > 0 &&
                     memchr(attribute->as.string->data, ',', attribute->as.string->bytes);
    if (!has_comma) return get_key(run, item, attribute, case_sensitive, out);
    const jinja_string *s = attribute->as.string;
    if (!mica_jinja_list(run, 2, JINJA_TUPLE, out)) return false;
    for (size_t from = 0; from <= s->bytes;) {
        const char *comma = from < s->bytes ? memchr(s->data + from, ',', s->bytes - from) : NULL;
        size_t end = comma ? (size_t)(comma - s->data) : s->bytes;
        jinja_value name, key;
        if (!mica_jinja_substring(run, s, from, end, &name) ||
            !get_key(run, item, &name, case_sensitive, &key) ||
            !mica_jinja_list_push(run, out->as.list, key))
            return false;
        from = end + 1;
    }
    return true;
}

/* Is b to stand before a? */
static bool must_swap(jinja_run *run, const jinja_value *a, const jinja_value *b, bool reverse,
                      bool *out) {
    int order = 0;
    if (!mica_jinja_order(run, reverse ? a : b, reverse ? b : a, &order)) return false;
    *out = order == -1;
    return true;
}

/* Merges [from, middle) and [middle, to) through the spare arrays. */
static bool merge(jinja_run *run, jinja_value *items, jinja_value *keys, jinja_value *spare,
                  const size_t bounds[3], bool reverse) {
    size_t i = bounds[0], j = bounds[1], n = 0;
    jinja_value *spare_keys = spare + (bounds[2] - bounds[0]);
    while (i < bounds[1] || j < bounds[2]) {
        bool takes_right = i >= bounds[1];
        if (!takes_right && j < bounds[2] &&
            !must_swap(run, &keys[i], &keys[j], reverse, &takes_right))
            return false;
        size_t k = takes_right ? j++ : i++;
        spare[n] = items[k];
        spare_keys[n++] = keys[k];
    }
    memcpy(items + bounds[0], spare, n * sizeof *items);
    memcpy(keys + bounds[0], spare_keys, n * sizeof *keys);
    return true;
}

bool mica_jinja_sort(jinja_run *run, jinja_value *items, jinja_value *keys, size_t n,
                     bool reverse) {
    jinja_value *spare = mica_jinja_alloc(run, 2 * n + 1, sizeof *spare);
    if (!spare) return false;
    for (size_t width = 1; width < n; width *= 2)
        for (size_t from = 0; from + width < n; from += 2 * width) {
            size_t to = from + 2 * width < n ? from + 2 * width : n;
            if (!merge(run, items, keys, spare, (size_t[3]){from, from + width, to}, reverse))
                return false;
        }
    return true;
}

/* A fresh list of the subject's items. */
static bool copy_items(jinja_run *run, const jinja_value *subject, jinja_flavour flavour,
                       jinja_value *out) {
    jinja_list *from = NULL;
    if (!mica_jinja_to_list(run, subject, &from) ||
        !mica_jinja_list(run, from->count, flavour, out))
        return false;
    for (size_t i = 0; i < from->count; i++)
        if (!mica_jinja_list_push(run, out->as.list, from->items[i])) return false;
    return true;
}

static bool sort_by(jinja_run *run, const jinja_value *attribute, bool case_sensitive, bool reverse,
                    jinja_list *list) {
    jinja_value *keys = mica_jinja_alloc(run, list->count + 1, sizeof *keys);
    if (!keys) return false;
    for (size_t i = 0; i < list->count; i++)
        if (!get_sort_key(run, &list->items[i], attribute, case_sensitive, &keys[i])) return false;
    return mica_jinja_sort(run, list->items, keys, list->count, reverse);
}

FILTER(filter_sort) { /* reverse case_sensitive attribute */
    return copy_items(run, subject, JINJA_PLAIN_LIST, out) &&
           sort_by(run, &argument[2], mica_jinja_truth(&argument[1]),
                   mica_jinja_truth(&argument[0]), out->as.list);
}

static bool list_entries(jinja_run *run, const jinja_dict *d, jinja_flavour flavour,
                         jinja_value *out) {
    if (!mica_jinja_list(run, d->count, flavour, out)) return false;
    for (size_t i = 0; i < d->count; i++) {
        jinja_value pair;
        if (!mica_jinja_pair(run, d->entries[i].key, d->entries[i].value, &pair) ||
            !mica_jinja_list_push(run, out->as.list, pair))
            return false;
    }
    return true;
}

FILTER(filter_dictsort) { /* case_sensitive by reverse */
    int64_t by = 0;
    if (argument[1].kind == JINJA_STRING) {
        if (mica_slice_is(mica_jinja_slice(&argument[1]), "value"))
            by = 1;
        else if (!mica_slice_is(mica_jinja_slice(&argument[1]), "key"))
            return mica_jinja_fail(run, MICA_STATUS_FORMAT, "dictsort by 'key' or 'value'");
    }
    if (subject->kind == JINJA_UNDEFINED) return mica_jinja_fail_undefined(run, subject);
    if (subject->kind != JINJA_DICT)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "dictsort needs a dictionary, not %s",
                               mica_jinja_kind_name(subject));
    jinja_value place = mica_jinja_int(by);
    return list_entries(run, subject->as.dict, JINJA_PLAIN_LIST, out) &&
           sort_by(run, &place, mica_jinja_truth(&argument[0]), mica_jinja_truth(&argument[2]),
                   out->as.list);
}

FILTER(filter_items) {
    if (subject->kind == JINJA_UNDEFINED) return mica_jinja_list(run, 0, JINJA_GENERATOR, out);
    if (subject->kind != JINJA_DICT)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT,
                               "can only get item pairs from a mapping, not %s",
                               mica_jinja_kind_name(subject));
    return list_entries(run, subject->as.dict, JINJA_GENERATOR, out);
}

FILTER(filter_list) { return copy_items(run, subject, JINJA_PLAIN_LIST, out); }

FILTER(filter_first) {
    jinja_list *list = NULL;
    if (!mica_jinja_to_list(run, subject, &list)) return false;
    *out = list->count > 0 ? list->items[0] : mica_jinja_undefined(NULL, JINJA_ABSENT);
    return true;
}

FILTER(filter_last) {
    jinja_list *list = NULL;
    if (!mica_jinja_to_list(run, subject, &list)) return false;
    *out =
        list->count > 0 ? list->items[list->count - 1] : mica_jinja_undefined(NULL, JINJA_ABSENT);
    return true;
}

FILTER(filter_join) { /* d attribute */
    jinja_list *list = NULL;
    jinja_value picked, empty, none = {0};
    const jinja_string *separator;
    if (!mica_jinja_to_list(run, subject, &list) || !mica_jinja_string(run, "", 0, false, &empty) ||
        !mica_jinja_soft_string(run, argument[0].kind == JINJA_ABSENT ? &empty : &argument[0],
                                &separator))
        return false;
    if (is_given(&argument[1])) {
        if (!mica_jinja_list(run, list->count, JINJA_PLAIN_LIST, &picked)) return false;
        for (size_t i = 0; i < list->count; i++) {
            jinja_value v;
            if (!get_path(run, &list->items[i], &argument[1], &none, &v) ||
                !mica_jinja_list_push(run, picked.as.list, v))
                return false;
        }
        list = picked.as.list;
    }
    return mica_jinja_join(run, list, separator, false, out);
}

static bool reverse_text(jinja_run *run, const jinja_string *s, jinja_value *out) {
    jinja_value part[3] = {{0}, {0}, mica_jinja_int(-1)}, text = mica_jinja_text((jinja_string *)s);
    return mica_jinja_slice_value(run, &text, part, out);
}

FILTER(filter_reverse) {
    if (subject->kind == JINJA_STRING) return reverse_text(run, subject->as.string, out);
    jinja_list *list = NULL;
    if (!mica_jinja_to_list(run, subject, &list) ||
        !mica_jinja_list(run, list->count, JINJA_GENERATOR, out))
        return false;
    for (size_t i = list->count; i > 0; i--)
        if (!mica_jinja_list_push(run, out->as.list, list->items[i - 1])) return false;
    return true;
}

/* The first item of its key only. Keys are found through a dictionary where they can be hashed. */
FILTER(filter_unique) { /* case_sensitive attribute */
    jinja_list *list = NULL;
    jinja_value seen, *found;
    if (!mica_jinja_to_list(run, subject, &list) || !mica_jinja_dict(run, 0, &seen) ||
        !mica_jinja_list(run, 0, JINJA_GENERATOR, out))
        return false;
    for (size_t i = 0; i < list->count; i++) {
        jinja_value key;
        if (!get_key(run, &list->items[i], &argument[1], mica_jinja_truth(&argument[0]), &key) ||
            !mica_jinja_dict_find(run, seen.as.dict, &key, &found))
            return false;
        if (found) continue;
        if (!mica_jinja_dict_set(run, seen.as.dict, key, mica_jinja_none()) ||
            !mica_jinja_list_push(run, out->as.list, list->items[i]))
            return false;
    }
    return true;
}

static bool find_extreme(jinja_run *run, const jinja_value *subject, const jinja_value *argument,
                         int wanted, jinja_value *out) {
    jinja_list *list = NULL;
    jinja_value best, key;
    bool case_sensitive = mica_jinja_truth(&argument[0]);
    if (!mica_jinja_to_list(run, subject, &list)) return false;
    *out = mica_jinja_undefined(NULL, JINJA_ABSENT);
    for (size_t i = 0; i < list->count; i++) {
        int order = wanted;
        if (!get_key(run, &list->items[i], &argument[1], case_sensitive, &key)) return false;
        if (i > 0 && !mica_jinja_order(run, &key, &best, &order)) return false;
        if (order != wanted) continue;
        best = key;
        *out = list->items[i];
    }
    return true;
}

FILTER(filter_min) { return find_extreme(run, subject, argument, -1, out); }
FILTER(filter_max) { return find_extreme(run, subject, argument, 1, out); }

FILTER(filter_sum) { /* attribute start */
    jinja_list *list = NULL;
    jinja_value none = {0};
    if (!mica_jinja_to_list(run, subject, &list)) return false;
    *out = argument[1].kind == JINJA_ABSENT ? mica_jinja_int(0) : argument[1];
    for (size_t i = 0; i < list->count; i++) {
        jinja_value v = list->items[i], before = *out;
        if (is_given(&argument[0]) && !get_path(run, &list->items[i], &argument[0], &none, &v))
            return false;
        if (!mica_jinja_operate(run, JINJA_OP_ADD, &before, &v, out)) return false;
    }
    return true;
}

FILTER(filter_batch) { /* linecount fill_with */
    jinja_list *list = NULL;
    jinja_value row = {0};
    int64_t size = 0;
    if (!mica_jinja_to_list(run, subject, &list) ||
        !mica_jinja_int_argument(run, "linecount", &argument[0], 0, &size) ||
        !mica_jinja_list(run, 0, JINJA_GENERATOR, out))
        return false;
    for (size_t i = 0; i < list->count; i++) {
        bool is_full = row.kind == JINJA_LIST && (int64_t)row.as.list->count == size;
        if (is_full && !mica_jinja_list_push(run, out->as.list, row)) return false;
        if ((i == 0 || is_full) && !mica_jinja_list(run, 0, JINJA_PLAIN_LIST, &row)) return false;
        if (!mica_jinja_list_push(run, row.as.list, list->items[i])) return false;
    }
    if (row.kind == JINJA_ABSENT) return true;
    while (is_given(&argument[1]) && (int64_t)row.as.list->count < size)
        if (!mica_jinja_list_push(run, row.as.list, argument[1])) return false;
    return mica_jinja_list_push(run, out->as.list, row);
}

/* --- map, select and their kin: filters and tests by name --- */
static bool read_name(jinja_run *run, const jinja_call *call, size_t at, bool is_filter,
                      int32_t *row) {
    if (call->n_positional <= at || call->positional[at].kind != JINJA_STRING)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "the name of a %s is missing",
                               is_filter ? "filter" : "test");
    mica_slice name = mica_jinja_slice(&call->positional[at]);
    *row = is_filter ? mica_jinja_find_filter(name) : mica_jinja_find_test(name);
    if (*row >= 0) return true;
    return mica_jinja_fail(run, MICA_STATUS_UNSUPPORTED, "no %s named '%.*s'",
                           is_filter ? "filter" : "test", (int)(name.bytes & 127), name.data);
}

static jinja_call skip_arguments(const jinja_call *call, size_t n) {
    jinja_call rest = *call;
    rest.positional += n;
    rest.n_positional -= n;
    return rest;
}

static const jinja_value *find_keyword(const jinja_call *call, const char *name) {
    static const jinja_value absent = {0};
    for (size_t i = 0; i < call->n_keyword; i++)
        if (mica_slice_is(mica_slice_of(call->names[i]->data, call->names[i]->bytes), name))
            return &call->keyword[i];
    return &absent;
}

FILTER(filter_map) {
    jinja_list *list = NULL;
    int32_t row = -1;
    const jinja_value *attribute = find_keyword(call, "attribute");
    if (!mica_jinja_truth(subject)) return mica_jinja_list(run, 0, JINJA_GENERATOR, out);
    bool by_attribute = call->n_positional == 0 && is_given(attribute);
    jinja_call rest = *call;
    if (!by_attribute) {
        if (!read_name(run, call, 0, true, &row)) return false;
        rest = skip_arguments(call, 1);
    }
    if (!mica_jinja_to_list(run, subject, &list) ||
        !mica_jinja_list(run, list->count, JINJA_GENERATOR, out))
        return false;
    if (!mica_jinja_enter(run)) return false; /* map("map", ...) comes back here */
    for (size_t i = 0; i < list->count; i++) {
        jinja_value v;
        bool ok = by_attribute
                      ? get_path(run, &list->items[i], attribute, find_keyword(call, "default"), &v)
                      : mica_jinja_apply_filter(run, row, &list->items[i], &rest, &v);
        if (!ok || !mica_jinja_list_push(run, out->as.list, v)) return false;
    }
    run->depth--;
    return true;
}

/* Keeps the items for which the test (or their truth) is `wanted`; by_attribute tests a field. */
static bool select_items(jinja_run *run, const jinja_value *subject, const jinja_call *call,
                         bool by_attribute, bool wanted, jinja_value *out) {
    jinja_list *list = NULL;
    int32_t row = -1;
    size_t n_names = by_attribute ? 1 : 0;
    jinja_value none = {0};
    if (!mica_jinja_truth(subject)) return mica_jinja_list(run, 0, JINJA_GENERATOR, out);
    if (by_attribute && call->n_positional == 0)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "the name of an attribute is missing");
    bool has_test = call->n_positional > n_names;
    if (has_test && !read_name(run, call, n_names, false, &row)) return false;
    jinja_call rest = skip_arguments(call, has_test ? n_names + 1 : n_names);
    if (!mica_jinja_to_list(run, subject, &list) || !mica_jinja_list(run, 0, JINJA_GENERATOR, out))
        return false;
    for (size_t i = 0; i < list->count; i++) {
        jinja_value v = list->items[i];
        if (by_attribute && !get_path(run, &list->items[i], &call->positional[0], &none, &v))
            return false;
        bool holds = mica_jinja_truth(&v);
        if (has_test && !mica_jinja_apply_test(run, row, &v, &rest, &holds)) return false;
        if (holds == wanted && !mica_jinja_list_push(run, out->as.list, list->items[i]))
            return false;
    }
    return true;
}

FILTER(filter_select) { return select_items(run, subject, call, false, true, out); }
FILTER(filter_reject) { return select_items(run, subject, call, false, false, out); }
FILTER(filter_selectattr) { return select_items(run, subject, call, true, true, out); }
FILTER(filter_rejectattr) { return select_items(run, subject, call, true, false, out); }

const jinja_filter_row mica_jinja_list_filters[] = {
    {"join", "?d ?attribute", filter_join},
    {"list", "", filter_list},
    {"items", "", filter_items},
    {"map", "*", filter_map},
    {"select", "*", filter_select},
    {"reject", "*", filter_reject},
    {"selectattr", "*", filter_selectattr},
    {"rejectattr", "*", filter_rejectattr},
    {"first", "", filter_first},
    {"last", "", filter_last},
    {"sort", "?reverse ?case_sensitive ?attribute", filter_sort},
    {"dictsort", "?case_sensitive ?by ?reverse", filter_dictsort},
    {"reverse", "", filter_reverse},
    {"unique", "?case_sensitive ?attribute", filter_unique},
    {"min", "?case_sensitive ?attribute", filter_min},
    {"max", "?case_sensitive ?attribute", filter_max},
    {"sum", "?attribute ?start", filter_sum},
    {"batch", "linecount ?fill_with", filter_batch},
    {NULL, NULL, NULL},
};
