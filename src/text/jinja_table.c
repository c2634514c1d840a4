/* Finding rows of the closed lists and binding arguments to their parameters. */
#include "text/jinja_table.h"
#include <string.h>
#include "base/checked.h"
#include "text/jinja_ast.h"

static size_t count_rows(const jinja_filter_row *rows) {
    size_t n = 0;
    while (rows[n].name) n++;
    return n;
}

/* Text filters first, then list filters. */
int32_t mica_jinja_find_filter(mica_slice name) {
    size_t n = count_rows(mica_jinja_text_filters);
    for (size_t i = 0; i < n; i++)
        if (mica_slice_is(name, mica_jinja_text_filters[i].name)) return (int32_t)i;
    for (size_t i = 0; mica_jinja_list_filters[i].name; i++)
        if (mica_slice_is(name, mica_jinja_list_filters[i].name)) return (int32_t)(n + i);
    return -1;
}

const jinja_filter_row *mica_jinja_filter(int32_t row) {
    size_t n = count_rows(mica_jinja_text_filters);
    size_t i = (size_t)row;
    return i < n ? &mica_jinja_text_filters[i] : &mica_jinja_list_filters[i - n];
}

int32_t mica_jinja_find_test(mica_slice name) {
    for (int32_t i = 0; mica_jinja_test_rows[i].name; i++)
        if (mica_slice_is(name, mica_jinja_test_rows[i].name)) return i;
    return -1;
}

const jinja_test_row *mica_jinja_test(int32_t row) { return &mica_jinja_test_rows[row]; }

int32_t mica_jinja_find_function(mica_slice name) {
    for (int32_t i = 0; mica_jinja_function_rows[i].name; i++)
        if (mica_slice_is(name, mica_jinja_function_rows[i].name)) return i;
    return -1;
}

const jinja_function_row *mica_jinja_function(int32_t row) {
    return &mica_jinja_function_rows[row];
}

int32_t mica_jinja_find_method(mica_slice name) {
    for (int32_t i = 0; mica_jinja_method_rows[i].name; i++)
        if (mica_slice_is(name, mica_jinja_method_rows[i].name)) return i;
    return -1;
}

const jinja_method_row *mica_jinja_method(int32_t row, const jinja_value *self) {
    if (row < 0) return NULL;
    const char *name = mica_jinja_method_rows[row].name;
    for (const jinja_method_row *m = &mica_jinja_method_rows[row]; m->name; m++) {
        if (strcmp(m->name, name) != 0) break;
        if (m->kind == (jinja_kind)self->kind) return m;
    }
    return NULL;
}

/* The place of a parameter by name, or -1. */
static int find_parameter(const char *parameters, const jinja_string *name) {
    int place = 0;
    for (const char *at = parameters; *at; place++) {
        if (*at == '?') at++;
        size_t bytes = strcspn(at, " ");
        if (mica_slice_equal(mica_slice_of(at, bytes), mica_slice_of(name->data, name->bytes)))
            return place;
        at += bytes;
        if (*at == ' ') at++;
    }
    return -1;
}

static size_t count_parameters(const char *parameters) {
    size_t n = *parameters ? 1 : 0;
    for (; *parameters; parameters++) n += *parameters == ' ';
    return n;
}

bool mica_jinja_bind(jinja_run *run, const char *name, const char *parameters,
                     const jinja_call *call, jinja_value bound[JINJA_PARAMETERS_MAX]) {
    memset(bound, 0, JINJA_PARAMETERS_MAX * sizeof *bound);
    if (strcmp(parameters, "*") == 0) return true;
    size_t n = count_parameters(parameters);
    if (call->n_positional > n)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "%s takes at most %zu arguments, not %zu",
                               name, n, call->n_positional);
    for (size_t i = 0; i < call->n_positional; i++) bound[i] = call->positional[i];
    for (size_t i = 0; i < call->n_keyword; i++) {
        const jinja_string *key = call->names[i];
        int place = find_parameter(parameters, key);
        if (place < 0 || bound[place].kind != JINJA_ABSENT)
            return mica_jinja_fail(run, MICA_STATUS_FORMAT, "%s: %s argument '%.*s'", name,
                                   place < 0 ? "unknown" : "two values for",
                                   (int)(key->bytes & 127), key->data);
        bound[place] = call->keyword[i];
    }
    const char *at = parameters;
    for (size_t i = 0; i < n; i++) {
        size_t bytes = strcspn(at, " ");
        if (*at != '?' && bound[i].kind == JINJA_ABSENT)
            return mica_jinja_fail(run, MICA_STATUS_FORMAT, "%s needs its argument '%.*s'", name,
                                   (int)bytes, at);
        at += bytes + (at[bytes] == ' ');
    }
    return true;
}

bool mica_jinja_apply_filter(jinja_run *run, int32_t row, const jinja_value *subject,
                             const jinja_call *call, jinja_value *out) {
    const jinja_filter_row *f = mica_jinja_filter(row);
    jinja_value bound[JINJA_PARAMETERS_MAX];
    return mica_jinja_charge(run, 1) && mica_jinja_bind(run, f->name, f->parameters, call, bound) &&
           f->apply(run, subject, bound, call, out);
}

bool mica_jinja_apply_test(jinja_run *run, int32_t row, const jinja_value *subject,
                           const jinja_call *call, bool *out) {
    const jinja_test_row *t = mica_jinja_test(row);
    jinja_value bound[JINJA_PARAMETERS_MAX];
    return mica_jinja_charge(run, 1) && mica_jinja_bind(run, t->name, t->parameters, call, bound) &&
           t->check(run, subject, bound, out);
}

bool mica_jinja_apply_method(jinja_run *run, const jinja_method_row *row, const jinja_value *self,
                             const jinja_call *call, jinja_value *out) {
    jinja_value bound[JINJA_PARAMETERS_MAX];
    return mica_jinja_charge(run, 1) &&
           mica_jinja_bind(run, row->name, row->parameters, call, bound) &&
           row->apply(run, self, bound, call, out);
}

/* --- look-ups --- */
static bool bind_method(jinja_run *run, const jinja_value *self, const jinja_method_row *row,
                        jinja_value *out) {
    jinja_method *m = mica_jinja_alloc(run, 1, sizeof *m);
    if (!m) return false;
    *m = (jinja_method){*self, row};
    *out = (jinja_value){.kind = JINJA_METHOD, .as.method = m};
    return true;
}

static bool find_key(jinja_run *run, const jinja_value *a, const jinja_value *key, jinja_value *out,
                     bool *is_found) {
    jinja_value *found = NULL;
    *is_found = false;
    if (a->kind != JINJA_DICT && a->kind != JINJA_NAMESPACE) return true;
    if (!mica_jinja_dict_find(run, a->as.dict, key, &found)) return false;
    if (found) *out = *found;
    *is_found = found != NULL;
    return true;
}

bool mica_jinja_attribute(jinja_run *run, const jinja_value *a, jinja_string *name, int32_t row,
                          jinja_value *out) {
    bool is_found = false;
    jinja_value key = mica_jinja_text(name);
    if (a->kind == JINJA_UNDEFINED) return mica_jinja_fail_undefined(run, a);
    if (a->kind == JINJA_LOOP)
        return mica_jinja_loop_attribute(run, a->as.loop, mica_jinja_slice(&key), out);
    const jinja_method_row *method = mica_jinja_method(row, a);
    if (method) return bind_method(run, a, method, out);
    if (!find_key(run, a, &key, out, &is_found)) return false;
    if (!is_found) *out = mica_jinja_undefined(name, (jinja_kind)a->kind);
    return true;
}

/* a[i] of a sequence; *out stays undefined when there is no such place. */
static bool index_value(jinja_run *run, const jinja_value *a, int64_t i, jinja_value *out) {
    int64_t n = 0;
    if (a->kind == JINJA_LIST && !mica_jinja_is_sequence(a)) return true; /* dict views */
    if (a->kind != JINJA_LIST && a->kind != JINJA_STRING && a->kind != JINJA_RANGE) return true;
    mica_jinja_length(a, &n);
    if (i < 0) i += n;
    if (i < 0 || i >= n) return true;
    if (a->kind == JINJA_LIST)
        *out = a->as.list->items[i];
    else if (a->kind == JINJA_RANGE)
        *out = mica_jinja_int(a->as.range->start + i * a->as.range->step);
    else {
        size_t at = mica_jinja_char_offset(a->as.string, i);
        size_t bytes = mica_jinja_char_bytes(a->as.string->data + at);
        return mica_jinja_charge_bytes(run, a->as.string->is_ascii ? 1 : at) &&
               mica_jinja_substring(run, a->as.string, at, at + bytes, out);
    }
    return true;
}

bool mica_jinja_item(jinja_run *run, const jinja_value *a, const jinja_value *key,
                     jinja_value *out) {
    bool is_found = false;
    int64_t i = 0;
    if (a->kind == JINJA_UNDEFINED) return mica_jinja_fail_undefined(run, a);
    if (!find_key(run, a, key, out, &is_found) || is_found) return is_found;
    *out = mica_jinja_undefined(key->kind == JINJA_STRING ? key->as.string : NULL,
                                (jinja_kind)a->kind);
    if (mica_jinja_as_int(key, &i)) return index_value(run, a, i, out);
    if (key->kind != JINJA_STRING) return true;
    if (a->kind == JINJA_LOOP)
        return mica_jinja_loop_attribute(run, a->as.loop, mica_jinja_slice(key), out);
    const jinja_method_row *method =
        mica_jinja_method(mica_jinja_find_method(mica_jinja_slice(key)), a);
    return !method || bind_method(run, a, method, out);
}

/* --- slices --- */
typedef struct slice_range {
    int64_t from, step, count;
} slice_range;

static bool resolve_slice(jinja_run *run, const jinja_value part[3], int64_t n, slice_range *out) {
    int64_t value[3] = {0, 0, 1};
    bool is_given[3];
    for (int i = 0; i < 3; i++) {
        is_given[i] = part[i].kind != JINJA_ABSENT && part[i].kind != JINJA_NONE;
        if (is_given[i] && !mica_jinja_as_int(&part[i], &value[i]))
            return mica_jinja_fail(run, MICA_STATUS_FORMAT, "slice bounds must be integers, not %s",
                                   mica_jinja_kind_name(&part[i]));
    }
    int64_t step = value[2];
    if (step == 0) return mica_jinja_fail(run, MICA_STATUS_FORMAT, "slice step cannot be zero");
    if (step < -n - 1) step = -n - 1; /* longer steps take one item, as these do */
    if (step > n + 1) step = n + 1;
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    for (int i = 0; i < 2; i++) {
        if (!is_given[i]) {
            value[i] = (i == 0) == (step > 0) ? low : high;
            continue;
        }
        if (value[i] < 0) value[i] = value[i] < -n ? -1 - n : value[i] + n;
        if (value[i] < low) value[i] = low;
        if (value[i] > high) value[i] = high;
    }
    int64_t span = step > 0 ? value[1] - value[0] : value[0] - value[1];
    int64_t stride = step > 0 ? step : -step;
    *out = (slice_range){value[0], step, span > 0 ? (span + stride - 1) / stride : 0};
    return true;
}

static bool slice_string(jinja_run *run, const jinja_string *s, const slice_range *r,
                         jinja_value *out) {
    if (r->count <= 0) return mica_jinja_substring(run, s, 0, 0, out);
    if (!mica_jinja_charge_bytes(run, s->bytes)) return false;
    if (r->step == 1) {
        size_t from = mica_jinja_char_offset(s, r->from);
        size_t to = s->is_ascii ? from + (size_t)r->count : from;
        for (int64_t i = 0; !s->is_ascii && i < r->count; i++)
            to += mica_jinja_char_bytes(s->data + to);
        return mica_jinja_substring(run, s, from, to, out);
    }
    jinja_builder b;
    mica_jinja_builder_init(&b, run);
    size_t at = mica_jinja_char_offset(s, r->from);
    for (int64_t i = 0; i < r->count; i++) {
        if (!mica_jinja_append_range(&b, s, at, at + mica_jinja_char_bytes(s->data + at)))
            return false;
        /* Walk to the next character taken, forwards or backwards. */
        for (int64_t k = 0; i + 1 < r->count && k < r->step; k++)
            at += mica_jinja_char_bytes(s->data + at);
        for (int64_t k = 0; i + 1 < r->count && k > r->step; k--) do
                at--;
            while (((unsigned char)s->data[at] & 0xc0) == 0x80);
    }
    return mica_jinja_builder_take(&b, out) && mica_jinja_keep_markup(s, out);
}

bool mica_jinja_slice_value(jinja_run *run, const jinja_value *a, const jinja_value part[3],
                            jinja_value *out) {
    int64_t n = 0;
    slice_range r = {0};
    if (a->kind == JINJA_UNDEFINED) return mica_jinja_fail_undefined(run, a);
    if (!mica_jinja_is_sequence(a) && a->kind != JINJA_STRING && a->kind != JINJA_RANGE)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "'%s' object cannot be sliced",
                               mica_jinja_kind_name(a));
    mica_jinja_length(a, &n);
    if (!resolve_slice(run, part, n, &r)) return false;
    if (a->kind == JINJA_STRING) return slice_string(run, a->as.string, &r, out);
    if (a->kind == JINJA_RANGE) {
        const jinja_range *old = a->as.range;
        int64_t step = 0, span = 0, stop = 0;
        if (!mica_mul_i64(old->step, r.step, &step) || !mica_mul_i64(step, r.count, &span) ||
            !mica_add_i64(old->start + r.from * old->step, span, &stop))
            return mica_jinja_fail(run, MICA_STATUS_LIMIT, "an integer beyond 64 bits");
        jinja_range *range = mica_jinja_alloc(run, 1, sizeof *range);
        if (!range) return false;
        *range = (jinja_range){old->start + r.from * old->step, step, r.count, stop};
        *out = (jinja_value){.kind = JINJA_RANGE, .as.range = range};
        return true;
    }
    if (!mica_jinja_list(run, (size_t)r.count, (jinja_flavour)a->as.list->flavour, out))
        return false;
    for (int64_t i = 0; i < r.count; i++)
        if (!mica_jinja_list_push(run, out->as.list, a->as.list->items[r.from + i * r.step]))
            return false;
    return true;
}
