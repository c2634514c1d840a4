/* Global functions of templates: range, namespace, dict, raise_exception, strftime_now. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/checked.h"
#include "base/error.h"
#include "text/jinja_ast.h"
#include "text/jinja_table.h"

#define RANGE_COUNT_MAX 100000 /* as Jinja's sandbox has it */

#define FUNCTION(function)                                                                         \
    static bool function(__attribute__((unused)) jinja_run *run,                                   \
                         __attribute__((unused)) const jinja_value *argument,                      \
                         __attribute__((unused)) const jinja_call *call, jinja_value *out)

FUNCTION(call_range) {
    int64_t value[3] = {0, 0, 1};
    bool one = argument[1].kind == JINJA_ABSENT;
    for (int i = 0; i < 3; i++)
        if (!mica_jinja_int_argument(run, "range", &argument[i], value[i], &value[i])) return false;
    if (one) value[1] = value[0], value[0] = 0;
    if (value[2] == 0)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "range step must not be zero");
    bool is_empty = value[2] > 0 ? value[0] >= value[1] : value[0] <= value[1];
    uint64_t span = value[2] > 0 ? (uint64_t)value[1] - (uint64_t)value[0]
                                 : (uint64_t)value[0] - (uint64_t)value[1];
    uint64_t step = value[2] > 0 ? (uint64_t)value[2] : 0 - (uint64_t)value[2];
    uint64_t count = is_empty ? 0 : (span - 1) / step + 1;
    if (count > RANGE_COUNT_MAX)
        return mica_jinja_fail(run, MICA_STATUS_LIMIT, "range of more than %d items",
                               RANGE_COUNT_MAX);
    jinja_range *range = mica_jinja_alloc(run, 1, sizeof *range);
    if (!range) return false;
    *range = (jinja_range){value[0], value[2], (int64_t)count, value[1]};
    *out = (jinja_value){.kind = JINJA_RANGE, .as.range = range};
    return true;
}

/* A pair of a list of pairs into the dictionary. */
static bool add_pairs(jinja_run *run, const jinja_value *pairs, jinja_dict *d) {
    jinja_list *list = NULL, *pair = NULL;
    if (!mica_jinja_to_list(run, pairs, &list)) return false;
    for (size_t i = 0; i < list->count; i++) {
        if (!mica_jinja_to_list(run, &list->items[i], &pair)) return false;
        if (pair->count != 2)
            return mica_jinja_fail(run, MICA_STATUS_FORMAT, "item %zu is no pair of key and value",
                                   i);
        if (!mica_jinja_dict_set(run, d, pair->items[0], pair->items[1])) return false;
    }
    return true;
}

/* dict(mapping or pairs, a=1) and namespace alike. */
FUNCTION(call_dict) {
    if (!mica_jinja_dict(run, call->n_keyword, out)) return false;
    jinja_dict *d = out->as.dict;
    if (call->n_positional > 1)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "dict takes one positional argument");
    if (call->n_positional == 1 && call->positional[0].kind == JINJA_DICT) {
        const jinja_dict *from = call->positional[0].as.dict;
        for (size_t i = 0; i < from->count; i++)
            if (!mica_jinja_dict_set(run, d, from->entries[i].key, from->entries[i].value))
                return false;
    } else if (call->n_positional == 1 && !add_pairs(run, &call->positional[0], d))
        return false;
    for (size_t i = 0; i < call->n_keyword; i++)
        if (!mica_jinja_dict_set(run, d, mica_jinja_text(call->names[i]), call->keyword[i]))
            return false;
    return true;
}

FUNCTION(call_namespace) {
    if (!call_dict(run, argument, call, out)) return false;
    out->kind = JINJA_NAMESPACE;
    return true;
}

/* The template's own error: its message alone, at full length. */
FUNCTION(call_raise) {
    (void)out;
    const jinja_string *s;
    if (!mica_jinja_soft_string(run, &argument[0], &s)) return false;
    run->status = MICA_STATUS_FORMAT;
    mica_fail(run->err, MICA_STATUS_FORMAT, "%.*s", (int)(s->bytes < 4096 ? s->bytes : 4096),
              s->data);
    return false;
}

/* --- strftime: English names whatever the locale --- */
static const char *const day_names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
static const char *const month_names[] = {"January",   "February", "March",    "April",
                                          "May",       "June",     "July",     "August",
                                          "September", "October",  "November", "December"};

static bool append_number(jinja_builder *b, int value, int width, char pad, bool from_input) {
    char text[24];
    if (pad == '-')
        snprintf(text, sizeof text, "%d", value);
    else
        snprintf(text, sizeof text, pad == '_' ? "%*d" : "%0*d", width, value);
    return mica_jinja_append(b, text, strlen(text), from_input);
}

static int iso_week(const struct tm *t) {
    int week_day = (t->tm_wday + 6) % 7; /* Monday = 0 */
    int week = (t->tm_yday - week_day + 10) / 7;
    int last_year = t->tm_year + 1899;
    bool last_is_leap = (last_year % 4 == 0 && last_year % 100 != 0) || last_year % 400 == 0;
    if (week < 1) { /* belongs to the year before */
        int day = t->tm_yday + (last_is_leap ? 366 : 365);
        return (day - week_day + 10) / 7;
    }
    int year = last_year + 1;
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (week == 53 && t->tm_yday - week_day + 3 >= (is_leap ? 366 : 365)) return 1;
    return week;
}

static bool append_field(jinja_builder *b, char field, char pad, const struct tm *t, bool in);

static bool append_fields(jinja_builder *b, const char *fields, const struct tm *t, bool in) {
    for (; *fields; fields++) {
        bool is_field = (*fields >= 'a' && *fields <= 'z') || (*fields >= 'A' && *fields <= 'Z');
        if (is_field ? !append_field(b, *fields, 0, t, in) : !mica_jinja_append(b, fields, 1, in))
            return false;
    }
    return true;
}

static bool append_field(jinja_builder *b, char field, char pad, const struct tm *t, bool in) {
    int hour12 = t->tm_hour % 12 == 0 ? 12 : t->tm_hour % 12;
    const char *name = NULL;
    switch (field) {
    case 'Y':
        return append_number(b, t->tm_year + 1900, 4, pad, in);
    case 'y':
        return append_number(b, (t->tm_year + 1900) % 100, 2, pad, in);
    case 'C':
        return append_number(b, (t->tm_year + 1900) / 100, 2, pad, in);
    case 'm':
        return append_number(b, t->tm_mon + 1, 2, pad, in);
    case 'd':
        return append_number(b, t->tm_mday, 2, pad, in);
    case 'e':
        return append_number(b, t->tm_mday, 2, pad ? pad : '_', in);
    case 'H':
        return append_number(b, t->tm_hour, 2, pad, in);
    case 'I':
        return append_number(b, hour12, 2, pad, in);
    case 'M':
        return append_number(b, t->tm_min, 2, pad, in);
    case 'S':
        return append_number(b, t->tm_sec, 2, pad, in);
    case 'f':
        return append_number(b, 0, 6, pad, in);
    case 'j':
        return append_number(b, t->tm_yday + 1, 3, pad, in);
    case 'w':
        return append_number(b, t->tm_wday, 1, pad, in);
    case 'u':
        return append_number(b, t->tm_wday == 0 ? 7 : t->tm_wday, 1, pad, in);
    case 'V':
        return append_number(b, iso_week(t), 2, pad, in);
    case 'U':
        return append_number(b, (t->tm_yday + 7 - t->tm_wday) / 7, 2, pad, in);
    case 'W':
        return append_number(b, (t->tm_yday + 7 - (t->tm_wday + 6) % 7) / 7, 2, pad, in);
    case 'A':
        name = day_names[t->tm_wday];
        break;
    case 'B':
        name = month_names[t->tm_mon];
        break;
    case 'a':
        return mica_jinja_append(b, day_names[t->tm_wday], 3, in);
    case 'b':
    case 'h':
        return mica_jinja_append(b, month_names[t->tm_mon], 3, in);
    case 'p':
        name = t->tm_hour < 12 ? "AM" : "PM";
        break;
    case 'Z': /* a naive local time has neither zone nor offset to Python */
    case 'z':
        return true;
    case 'n':
        name = "\n";
        break;
    case 't':
        name = "\t";
        break;
    case '%':
        name = "%";
        break;
    case 'D':
    case 'x':
        return append_fields(b, "m/d/y", t, in);
    case 'F':
        return append_fields(b, "Y-m-d", t, in);
    case 'R':
        return append_fields(b, "H:M", t, in);
    case 'T':
    case 'X':
        return append_fields(b, "H:M:S", t, in);
    case 'c':
        return append_fields(b, "a b e H:M:S Y", t, in);
    case 'r':
        return append_fields(b, "I:M:S p", t, in);
    default:
        return mica_jinja_fail(b->run, MICA_STATUS_UNSUPPORTED, "strftime_now: unknown field %%%c",
                               field);
    }
    return mica_jinja_append(b, name, strlen(name), in);
}

bool mica_jinja_strftime(jinja_run *run, const jinja_string *format, jinja_value *out) {
    time_t now = (time_t)run->now_seconds;
    struct tm t;
    if (now == 0) now = time(NULL);
    if (!localtime_r(&now, &t))
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "strftime_now: the clock is out of range");
    jinja_builder b;
    mica_jinja_builder_init(&b, run);
    for (size_t at = 0; at < format->bytes; at++) {
        bool in = false;
        mica_jinja_run_end(format, at, &in);
        if (format->data[at] != '%' || at + 1 >= format->bytes) {
            if (!mica_jinja_append(&b, format->data + at, 1, in)) return false;
            continue;
        }
        char pad = 0;
        if (at + 2 < format->bytes && strchr("-_0", format->data[at + 1]) && format->data[at + 1])
            pad = format->data[++at];
        if (!append_field(&b, format->data[++at], pad, &t, in)) return false;
    }
    return mica_jinja_builder_take(&b, out);
}

FUNCTION(call_strftime) {
    if (argument[0].kind != JINJA_STRING)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "strftime_now needs a string, not %s",
                               mica_jinja_kind_name(&argument[0]));
    return mica_jinja_strftime(run, argument[0].as.string, out);
}

const jinja_function_row mica_jinja_function_rows[] = {
    {"range", "start ?stop ?step", call_range}, {"dict", "*", call_dict},
    {"namespace", "*", call_namespace},         {"raise_exception", "message", call_raise},
    {"strftime_now", "format", call_strftime},  {NULL, NULL, NULL},
};
