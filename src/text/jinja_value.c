/* Lists, dictionaries, equality and order of template values, and the budget. Strings and their
 * origin marks are jinja_string.c. */
#include "text/jinja_value.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <math.h>
#include <time.h>
#include "base/checked.h"
#include "base/error.h"
#include "text/jinja_ast.h"
#include "text/template.h"

/* Native levels of the evaluator and of walks over nested values. One level of template nesting
 * costs a few of them; 512 levels stay below 256 KiB of stack in a release build. */
#define NATIVE_DEPTH_MAX 512
#define VALUE_DEPTH_MAX MICA_TEMPLATE_DEPTH_MAX
#define STEPS_PER_CLOCK_READ 2048
#define BYTES_PER_STEP 64
#define DICT_SCAN_MAX 8
#define PROBES_PER_STEP 16

bool mica_jinja_fail(jinja_run *run, mica_status status, const char *format, ...) {
    if (run->status != MICA_STATUS_OK) return false;
    run->status = status;
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (run->line > 0)
        mica_fail(run->err, status, "template line %u: %s", run->line, text);
    else
        mica_fail(run->err, status, "%s", text);
    return false;
}

static int64_t read_clock_ns(void) {
    struct timespec t;
    if (clock_gettime(CLOCK_MONOTONIC, &t) != 0) return 0;
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool mica_jinja_charge(jinja_run *run, size_t n) {
    run->steps_left = n >= (size_t)run->steps_left ? 0 : run->steps_left - (int64_t)n;
    if (run->steps_left <= 0)
        return mica_jinja_fail(run, MICA_STATUS_LIMIT, "more than %d steps",
                               MICA_TEMPLATE_STEPS_MAX);
    if (run->deadline_ns > 0 && run->steps_left <= run->steps_check) {
        run->steps_check = run->steps_left - STEPS_PER_CLOCK_READ;
        if (read_clock_ns() > run->deadline_ns)
            return mica_jinja_fail(run, MICA_STATUS_LIMIT, "took longer than %g s",
                                   MICA_TEMPLATE_SECONDS_MAX);
    }
    return true;
}

bool mica_jinja_charge_bytes(jinja_run *run, size_t bytes) {
    return mica_jinja_charge(run, 1 + bytes / BYTES_PER_STEP);
}

void *mica_jinja_alloc(jinja_run *run, size_t count, size_t item_bytes) {
    size_t bytes = 0;
    bool fits = mica_mul_size(count, item_bytes, &bytes);
    size_t limit = run->arena.limit_bytes;
    if (!fits || (limit > 0 && (bytes > limit || run->arena.used_bytes > limit - bytes))) {
        mica_jinja_fail(run, MICA_STATUS_LIMIT, "more than %zu bytes of memory", limit);
        return NULL;
    }
    void *memory = mica_arena_alloc(&run->arena, bytes);
    if (memory) return memory;
    /* Rounding to 16 bytes may pass the limit where the sum above does not. */
    if (limit > 0 && run->arena.used_bytes + bytes + 64 > limit)
        mica_jinja_fail(run, MICA_STATUS_LIMIT, "more than %zu bytes of memory", limit);
    else
        mica_jinja_fail(run, MICA_STATUS_OUT_OF_MEMORY, "out of memory: %zu bytes", bytes);
    return NULL;
}

bool mica_jinja_enter(jinja_run *run) {
    if (run->depth >= NATIVE_DEPTH_MAX)
        return mica_jinja_fail(run, MICA_STATUS_LIMIT, "nested deeper than %d levels",
                               NATIVE_DEPTH_MAX);
    run->depth++;
    return true;
}

static bool enter_value(jinja_run *run, int depth) {
    if (depth >= VALUE_DEPTH_MAX)
        return mica_jinja_fail(run, MICA_STATUS_LIMIT, "a value is nested deeper than %d levels",
                               VALUE_DEPTH_MAX);
    return mica_jinja_charge(run, 1);
}

const char *mica_jinja_kind_name(const jinja_value *v) {
    static const char *const names[] = {
        [JINJA_ABSENT] = "nothing",    [JINJA_UNDEFINED] = "Undefined",
        [JINJA_NONE] = "NoneType",     [JINJA_BOOL] = "bool",
        [JINJA_INT] = "int",           [JINJA_FLOAT] = "float",
        [JINJA_BIG] = "int",           [JINJA_STRING] = "str",
        [JINJA_LIST] = "list",         [JINJA_DICT] = "dict",
        [JINJA_RANGE] = "range",       [JINJA_NAMESPACE] = "Namespace",
        [JINJA_LOOP] = "LoopContext",  [JINJA_MACRO] = "Macro",
        [JINJA_FUNCTION] = "function", [JINJA_METHOD] = "method",
    };
    static const char *const flavours[] = {"list",        "tuple",      "dict_keys",
                                           "dict_values", "dict_items", "generator"};
    if (v->kind == JINJA_LIST && v->as.list) return flavours[v->as.list->flavour];
    return names[v->kind];
}

bool mica_jinja_fail_undefined(jinja_run *run, const jinja_value *v) {
    const jinja_string *name = v->as.string;
    int bytes = name ? (int)(name->bytes < 100 ? name->bytes : 100) : 0;
    const char *text = name ? name->data : "";
    if (v->owner == 0)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "'%.*s' is undefined", bytes, text);
    jinja_value owner = {.kind = v->owner};
    return mica_jinja_fail(run, MICA_STATUS_FORMAT, "'%s object' has no attribute '%.*s'",
                           mica_jinja_kind_name(&owner), bytes, text);
}

bool mica_jinja_is_sequence(const jinja_value *v) {
    return v->kind == JINJA_LIST &&
           (v->as.list->flavour == JINJA_PLAIN_LIST || v->as.list->flavour == JINJA_TUPLE);
}

bool mica_jinja_as_int(const jinja_value *v, int64_t *out) {
    if (v->kind == JINJA_INT)
        *out = v->as.integer;
    else if (v->kind == JINJA_BOOL)
        *out = v->as.boolean;
    else
        return false;
    return true;
}

bool mica_jinja_as_double(const jinja_value *v, double *out) {
    int64_t i = 0;
    if (v->kind == JINJA_FLOAT)
        *out = v->as.real;
    else if (mica_jinja_as_int(v, &i))
        *out = (double)i;
    else if (v->kind == JINJA_BIG) {
        if (!mica_parse_double(mica_jinja_slice(v), out))
            *out = v->as.string->data[0] == '-' ? -INFINITY : INFINITY;
    } else
        return false;
    return true;
}

bool mica_jinja_list(jinja_run *run, size_t capacity, jinja_flavour flavour, jinja_value *out) {
    jinja_list *list = mica_jinja_alloc(run, 1, sizeof *list);
    if (!list) return false;
    *list = (jinja_list){.capacity = capacity, .flavour = (uint8_t)flavour};
    if (capacity > 0) {
        list->items = mica_jinja_alloc(run, capacity, sizeof *list->items);
        if (!list->items) return false;
    }
    *out = (jinja_value){.kind = JINJA_LIST, .as.list = list};
    return true;
}

bool mica_jinja_list_push(jinja_run *run, jinja_list *list, jinja_value item) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity < 4 ? 4 : list->capacity * 2;
        jinja_value *items = mica_jinja_alloc(run, capacity, sizeof *items);
        if (!items) return false;
        if (list->count > 0) memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = item;
    return mica_jinja_charge(run, 1);
}

bool mica_jinja_pair(jinja_run *run, jinja_value a, jinja_value b, jinja_value *out) {
    return mica_jinja_list(run, 2, JINJA_TUPLE, out) &&
           mica_jinja_list_push(run, out->as.list, a) && mica_jinja_list_push(run, out->as.list, b);
}

static uint64_t mix_hash(uint64_t h) {
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    return h ^ (h >> 29);
}

/* Equal values have equal hashes: 1 == 1.0 == True. *is_hashable becomes false at a list or a
 * dictionary. Tuples that share their parts may have far more leaves than memory: each is charged.
 */
static bool hash_value(jinja_run *run, const jinja_value *v, int depth, uint64_t *out,
                       bool *is_hashable) {
    double d = 0;
    if (!enter_value(run, depth)) return false;
    if (v->kind == JINJA_STRING) {
        *out = mica_slice_hash(mica_jinja_slice(v));
        return mica_jinja_charge_bytes(run, v->as.string->bytes);
    }
    if (mica_jinja_as_double(v, &d)) {
        uint64_t bits = 0;
        if (d == 0) d = 0; /* -0.0 */
        memcpy(&bits, &d, sizeof bits);
        *out = mix_hash(bits);
        return true;
    }
    *out = mix_hash(v->kind);
    *is_hashable = v->kind != JINJA_DICT;
    if (v->kind != JINJA_LIST) return true;
    *is_hashable = v->as.list->flavour == JINJA_TUPLE;
    uint64_t h = 0x9e3779b97f4a7c15u, item = 0;
    for (size_t i = 0; i < v->as.list->count && *is_hashable; i++) {
        if (!hash_value(run, &v->as.list->items[i], depth + 1, &item, is_hashable)) return false;
        h = mix_hash(h ^ item);
    }
    *out = h;
    return true;
}

bool mica_jinja_is_hashable(jinja_run *run, const jinja_value *v, bool *out) {
    uint64_t hash = 0;
    *out = true;
    return hash_value(run, v, 0, &hash, out);
}

bool mica_jinja_dict(jinja_run *run, size_t capacity, jinja_value *out) {
    jinja_dict *d = mica_jinja_alloc(run, 1, sizeof *d);
    if (!d) return false;
    *d = (jinja_dict){.capacity = capacity};
    if (capacity > 0) {
        d->entries = mica_jinja_alloc(run, capacity, sizeof *d->entries);
        if (!d->entries) return false;
    }
    *out = (jinja_value){.kind = JINJA_DICT, .as.dict = d};
    return true;
}

/* Keys may be chosen so that they fall on the same slots: long searches are charged. */
static bool index_entry(jinja_run *run, jinja_dict *d, size_t entry) {
    size_t slot = (size_t)d->entries[entry].hash & (d->index_size - 1), n = 0;
    for (; d->index[slot] != 0; n++) slot = (slot + 1) & (d->index_size - 1);
    d->index[slot] = (uint32_t)entry + 1;
    return n < PROBES_PER_STEP || mica_jinja_charge(run, n / PROBES_PER_STEP);
}

static bool rebuild_index(jinja_run *run, jinja_dict *d) {
    if (d->capacity <= DICT_SCAN_MAX) return true;
    if (d->index_size < d->capacity * 2) {
        size_t size = 32;
        while (size < d->capacity * 2) size *= 2;
        d->index = mica_jinja_alloc(run, size, sizeof *d->index);
        if (!d->index) return false;
        d->index_size = size;
    }
    memset(d->index, 0, d->index_size * sizeof *d->index);
    for (size_t i = 0; i < d->count; i++)
        if (!index_entry(run, d, i)) return false;
    return mica_jinja_charge(run, d->index_size / PROBES_PER_STEP);
}

/* The number of the entry, or -1. */
static bool find_entry(jinja_run *run, const jinja_dict *d, const jinja_value *key, uint64_t hash,
                       int64_t *out) {
    bool is_equal = false;
    *out = -1;
    if (!d->index) {
        for (size_t i = 0; i < d->count; i++) {
            if (d->entries[i].hash != hash) continue;
            if (!mica_jinja_equal(run, &d->entries[i].key, key, &is_equal)) return false;
            if (is_equal) *out = (int64_t)i;
            if (is_equal) return true;
        }
        return true;
    }
    size_t slot = (size_t)hash & (d->index_size - 1), n = 1;
    for (; d->index[slot] != 0; slot = (slot + 1) & (d->index_size - 1), n++) {
        size_t i = d->index[slot] - 1;
        if (n % PROBES_PER_STEP == 0 && !mica_jinja_charge(run, 1)) return false;
        if (d->entries[i].hash != hash) continue;
        if (!mica_jinja_equal(run, &d->entries[i].key, key, &is_equal)) return false;
        if (is_equal) *out = (int64_t)i;
        if (is_equal) return true;
    }
    return true;
}

static bool grow_dict(jinja_run *run, jinja_dict *d) {
    size_t capacity = d->capacity < 4 ? 4 : d->capacity * 2;
    jinja_entry *entries = mica_jinja_alloc(run, capacity, sizeof *entries);
    if (!entries) return false;
    if (d->count > 0) memcpy(entries, d->entries, d->count * sizeof *entries);
    d->entries = entries;
    d->capacity = capacity;
    return rebuild_index(run, d);
}

bool mica_jinja_dict_set(jinja_run *run, jinja_dict *d, jinja_value key, jinja_value value) {
    uint64_t hash = 0;
    int64_t found = -1;
    bool is_hashable = true;
    if (!hash_value(run, &key, 0, &hash, &is_hashable)) return false;
    if (!is_hashable)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "unhashable type: '%s'",
                               mica_jinja_kind_name(&key));
    if (!find_entry(run, d, &key, hash, &found)) return false;
    if (found >= 0) {
        d->entries[found].value = value;
        return true;
    }
    if (d->count == d->capacity && !grow_dict(run, d)) return false;
    d->entries[d->count++] = (jinja_entry){key, value, hash};
    /* A dictionary created with a larger capacity gets its index with the first entry. */
    if (!d->index && d->capacity > DICT_SCAN_MAX) return rebuild_index(run, d);
    return !d->index || index_entry(run, d, d->count - 1);
}

bool mica_jinja_dict_find(jinja_run *run, const jinja_dict *d, const jinja_value *key,
                          jinja_value **found) {
    int64_t entry = -1;
    uint64_t hash = 0;
    bool is_hashable = true;
    *found = NULL;
    if (!hash_value(run, key, 0, &hash, &is_hashable)) return false;
    if (!is_hashable) return true;
    if (!find_entry(run, d, key, hash, &entry)) return false;
    if (entry >= 0) *found = &d->entries[entry].value;
    return true;
}

jinja_value *mica_jinja_dict_get(const jinja_dict *d, const char *key) {
    for (size_t i = 0; i < d->count; i++) {
        const jinja_value *k = &d->entries[i].key;
        if (k->kind == JINJA_STRING && mica_slice_is(mica_jinja_slice(k), key))
            return &d->entries[i].value;
    }
    return NULL;
}

bool mica_jinja_dict_remove(jinja_run *run, jinja_dict *d, const jinja_value *key) {
    int64_t entry = -1;
    uint64_t hash = 0;
    bool is_hashable = true;
    if (!hash_value(run, key, 0, &hash, &is_hashable)) return false;
    if (!is_hashable) return true;
    if (!find_entry(run, d, key, hash, &entry)) return false;
    if (entry < 0) return true;
    size_t behind = d->count - (size_t)entry - 1;
    memmove(&d->entries[entry], &d->entries[entry + 1], behind * sizeof *d->entries);
    d->count--;
    return mica_jinja_charge(run, 1 + d->count / 8) && rebuild_index(run, d);
}

static bool list_characters(jinja_run *run, const jinja_string *s, jinja_value *list) {
    if (!mica_jinja_list(run, (size_t)mica_jinja_char_count(s), JINJA_PLAIN_LIST, list))
        return false;
    for (size_t at = 0; at < s->bytes;) {
        size_t bytes = mica_jinja_char_bytes(s->data + at);
        jinja_value c;
        if (!mica_jinja_substring(run, s, at, at + bytes, &c)) return false;
        c.as.string->is_markup = false; /* Python's Markup gives plain characters */
        if (!mica_jinja_list_push(run, list->as.list, c)) return false;
        at += bytes;
    }
    return true;
}

bool mica_jinja_to_list(jinja_run *run, const jinja_value *v, jinja_list **out) {
    jinja_value made = {0};
    switch (v->kind) {
    case JINJA_LIST:
        *out = v->as.list;
        return true;
    case JINJA_UNDEFINED:
        if (!mica_jinja_list(run, 0, JINJA_PLAIN_LIST, &made)) return false;
        break;
    case JINJA_STRING:
        if (!list_characters(run, v->as.string, &made)) return false;
        break;
    case JINJA_DICT:
        if (!mica_jinja_list(run, v->as.dict->count, JINJA_PLAIN_LIST, &made)) return false;
        for (size_t i = 0; i < v->as.dict->count; i++)
            if (!mica_jinja_list_push(run, made.as.list, v->as.dict->entries[i].key)) return false;
        break;
    case JINJA_RANGE:
        if (!mica_jinja_list(run, (size_t)v->as.range->count, JINJA_PLAIN_LIST, &made))
            return false;
        for (int64_t i = 0; i < v->as.range->count; i++) {
            jinja_value item = mica_jinja_int(v->as.range->start + i * v->as.range->step);
            if (!mica_jinja_list_push(run, made.as.list, item)) return false;
        }
        break;
    default:
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "'%s' object is not iterable",
                               mica_jinja_kind_name(v));
    }
    *out = made.as.list;
    return true;
}

void mica_jinja_freeze(jinja_value *v) {
    if (v->kind == JINJA_LIST) {
        v->as.list->is_frozen = true;
        for (size_t i = 0; i < v->as.list->count; i++) mica_jinja_freeze(&v->as.list->items[i]);
    } else if (v->kind == JINJA_DICT) {
        v->as.dict->is_frozen = true;
        for (size_t i = 0; i < v->as.dict->count; i++)
            mica_jinja_freeze(&v->as.dict->entries[i].value);
    }
}

bool mica_jinja_length(const jinja_value *v, int64_t *out) {
    switch (v->kind) {
    case JINJA_UNDEFINED:
        *out = 0;
        return true;
    case JINJA_STRING:
        *out = mica_jinja_char_count(v->as.string);
        return true;
    case JINJA_LIST:
        *out = (int64_t)v->as.list->count;
        return true;
    case JINJA_DICT:
        *out = (int64_t)v->as.dict->count;
        return true;
    case JINJA_RANGE:
        *out = v->as.range->count;
        return true;
    default:
        return false;
    }
}

bool mica_jinja_truth(const jinja_value *v) {
    switch (v->kind) {
    case JINJA_ABSENT:
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return v->as.boolean;
    case JINJA_INT:
        return v->as.integer != 0;
    case JINJA_FLOAT:
        return v->as.real != 0;
    case JINJA_STRING:
        return v->as.string->bytes > 0;
    case JINJA_LIST:
        return v->as.list->count > 0;
    case JINJA_DICT:
        return v->as.dict->count > 0;
    case JINJA_RANGE:
        return v->as.range->count > 0;
    default:
        return true;
    }
}

static bool equal_at(jinja_run *run, const jinja_value *a, const jinja_value *b, int depth,
                     bool *out);

static bool equal_lists(jinja_run *run, const jinja_list *a, const jinja_list *b, int depth,
                        bool *out) {
    *out = a->count == b->count && (a->flavour == JINJA_TUPLE) == (b->flavour == JINJA_TUPLE);
    for (size_t i = 0; *out && i < a->count && i < b->count; i++)
        if (!equal_at(run, &a->items[i], &b->items[i], depth + 1, out)) return false;
    return true;
}

static bool equal_dicts(jinja_run *run, const jinja_dict *a, const jinja_dict *b, int depth,
                        bool *out) {
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++) {
        int64_t other = -1;
        if (!find_entry(run, b, &a->entries[i].key, a->entries[i].hash, &other)) return false;
        if (other < 0)
            *out = false;
        else if (!equal_at(run, &a->entries[i].value, &b->entries[other].value, depth + 1, out))
            return false;
    }
    return true;
}

static bool equal_ranges(const jinja_range *a, const jinja_range *b) {
    if (a->count != b->count) return false;
    if (a->count == 0) return true;
    return a->start == b->start && (a->count == 1 || a->step == b->step);
}

/* Numbers of unlike kinds: exact where both are integers, else as doubles. */
static bool equal_numbers(const jinja_value *a, const jinja_value *b, bool *out) {
    int64_t i = 0, j = 0;
    double x = 0, y = 0;
    if (mica_jinja_as_int(a, &i) && mica_jinja_as_int(b, &j))
        *out = i == j;
    else if (a->kind == JINJA_BIG && b->kind == JINJA_BIG)
        *out = mica_slice_equal(mica_jinja_slice(a), mica_jinja_slice(b));
    else if (mica_jinja_as_double(a, &x) && mica_jinja_as_double(b, &y))
        *out = x == y;
    else
        return false;
    return true;
}

static bool equal_at(jinja_run *run, const jinja_value *a, const jinja_value *b, int depth,
                     bool *out) {
    if (!enter_value(run, depth)) return false;
    if (equal_numbers(a, b, out)) return true;
    *out = false;
    if (a->kind != b->kind) return true;
    switch (a->kind) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        *out = true;
        return true;
    case JINJA_STRING:
        *out = mica_slice_equal(mica_jinja_slice(a), mica_jinja_slice(b));
        return !*out || mica_jinja_charge_bytes(run, a->as.string->bytes);
    case JINJA_LIST:
        if (a->as.list == b->as.list) *out = true;
        return *out || equal_lists(run, a->as.list, b->as.list, depth, out);
    case JINJA_DICT:
        if (a->as.dict == b->as.dict) *out = true;
        return *out || equal_dicts(run, a->as.dict, b->as.dict, depth, out);
    case JINJA_RANGE:
        *out = equal_ranges(a->as.range, b->as.range);
        return true;
    case JINJA_FUNCTION:
        *out = a->as.function == b->as.function;
        return true;
    default:
        *out = a->as.macro == b->as.macro;
        return true; /* the same object */
    }
}

bool mica_jinja_equal(jinja_run *run, const jinja_value *a, const jinja_value *b, bool *out) {
    return equal_at(run, a, b, 0, out);
}

static int order_texts(const jinja_string *a, const jinja_string *b) {
    size_t n = a->bytes < b->bytes ? a->bytes : b->bytes;
    int c = n > 0 ? memcmp(a->data, b->data, n) : 0; /* UTF-8 sorts as its code points do */
    if (c == 0) c = (a->bytes > b->bytes) - (a->bytes < b->bytes);
    return (c > 0) - (c < 0);
}

static bool order_at(jinja_run *run, const jinja_value *a, const jinja_value *b, int depth,
                     int *out) {
    int64_t i = 0, j = 0;
    double x = 0, y = 0;
    if (!enter_value(run, depth)) return false;
    if (mica_jinja_as_int(a, &i) && mica_jinja_as_int(b, &j)) {
        *out = (i > j) - (i < j);
        return true;
    }
    if (mica_jinja_as_double(a, &x) && mica_jinja_as_double(b, &y)) {
        *out = isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
        return true;
    }
    if (a->kind == JINJA_STRING && b->kind == JINJA_STRING) {
        *out = order_texts(a->as.string, b->as.string);
        return true;
    }
    if (mica_jinja_is_sequence(a) && mica_jinja_is_sequence(b) &&
        a->as.list->flavour == b->as.list->flavour) {
        const jinja_list *l = a->as.list, *r = b->as.list;
        for (size_t k = 0; k < l->count && k < r->count; k++) {
            bool is_equal = false;
            if (!equal_at(run, &l->items[k], &r->items[k], depth + 1, &is_equal)) return false;
            if (!is_equal) return order_at(run, &l->items[k], &r->items[k], depth + 1, out);
        }
        *out = (l->count > r->count) - (l->count < r->count);
        return true;
    }
    if (a->kind == JINJA_UNDEFINED) return mica_jinja_fail_undefined(run, a);
    if (b->kind == JINJA_UNDEFINED) return mica_jinja_fail_undefined(run, b);
    return mica_jinja_fail(run, MICA_STATUS_FORMAT, "cannot order '%s' and '%s'",
                           mica_jinja_kind_name(a), mica_jinja_kind_name(b));
}

bool mica_jinja_order(jinja_run *run, const jinja_value *a, const jinja_value *b, int *out) {
    return order_at(run, a, b, 0, out);
}
