/* The closed lists of filters, tests, global functions and methods, and how their arguments are
 * bound. A row's parameters are names with spaces between; "?" before a name makes it optional, "*"
 * alone means that the row reads its arguments raw. */
#pragma once
#include "text/jinja_value.h"

#define JINJA_PARAMETERS_MAX 6

/* Evaluated arguments of one call. */
typedef struct jinja_call {
    const jinja_value *positional;
    size_t n_positional;
    jinja_string *const *names; /* [n_keyword] */
    const jinja_value *keyword;
    size_t n_keyword;
} jinja_call;

/* argument  [JINJA_PARAMETERS_MAX] bound by name or place; ABSENT where not given
 * call      the same before binding */
typedef bool (*jinja_filter_function)(jinja_run *run, const jinja_value *subject,
                                      const jinja_value *argument, const jinja_call *call,
                                      jinja_value *out);
typedef struct jinja_filter_row {
    const char *name;
    const char *parameters;
    jinja_filter_function apply;
} jinja_filter_row;

typedef struct jinja_test_row {
    const char *name;
    const char *parameters;
    bool (*check)(jinja_run *run, const jinja_value *subject, const jinja_value *argument,
                  bool *out);
} jinja_test_row;

typedef struct jinja_function_row {
    const char *name;
    const char *parameters;
    bool (*call)(jinja_run *run, const jinja_value *argument, const jinja_call *call,
                 jinja_value *out);
} jinja_function_row;

/* Rows of one name stand together; `kind` says whose method it is. */
typedef struct jinja_method_row {
    const char *name;
    jinja_kind kind;
    const char *parameters;
    jinja_filter_function apply;
} jinja_method_row;

struct jinja_method {
    jinja_value self;
    const jinja_method_row *row;
};

/* Row numbers by name, or -1. Threads: any. */
int32_t mica_jinja_find_filter(mica_slice name);
int32_t mica_jinja_find_test(mica_slice name);
int32_t mica_jinja_find_function(mica_slice name);
/* The first row of the name, or -1. */
int32_t mica_jinja_find_method(mica_slice name);
const jinja_filter_row *mica_jinja_filter(int32_t row);
const jinja_test_row *mica_jinja_test(int32_t row);
const jinja_function_row *mica_jinja_function(int32_t row);
/* The row of this name for this value, starting at `row`; NULL if it has no such method. */
const jinja_method_row *mica_jinja_method(int32_t row, const jinja_value *self);

/* Fills bound[] from a call; fails for a missing, unknown or doubled argument. */
bool mica_jinja_bind(jinja_run *run, const char *name, const char *parameters,
                     const jinja_call *call, jinja_value bound[JINJA_PARAMETERS_MAX]);
bool mica_jinja_apply_filter(jinja_run *run, int32_t row, const jinja_value *subject,
                             const jinja_call *call, jinja_value *out);
bool mica_jinja_apply_test(jinja_run *run, int32_t row, const jinja_value *subject,
                           const jinja_call *call, bool *out);
bool mica_jinja_apply_method(jinja_run *run, const jinja_method_row *row, const jinja_value *self,
                             const jinja_call *call, jinja_value *out);

/* --- what the tables share --- */
/* a.name and a[key], with Jinja's order of look-ups; a missing one gives undefined. */
bool mica_jinja_attribute(jinja_run *run, const jinja_value *a, jinja_string *name, int32_t row,
                          jinja_value *out);
bool mica_jinja_item(jinja_run *run, const jinja_value *a, const jinja_value *key,
                     jinja_value *out);
/* a[from:to:step]; ABSENT or None where not given. */
bool mica_jinja_slice_value(jinja_run *run, const jinja_value *a, const jinja_value part[3],
                            jinja_value *out);
/* a op b for + - * / // % **, by jinja_op. */
bool mica_jinja_operate(jinja_run *run, int op, const jinja_value *a, const jinja_value *b,
                        jinja_value *out);
bool mica_jinja_contains(jinja_run *run, const jinja_value *container, const jinja_value *item,
                         bool *out);
bool mica_jinja_compare(jinja_run *run, int op, const jinja_value *a, const jinja_value *b,
                        bool *out);
/* "text" % values, and "text".format(...) */
bool mica_jinja_format_percent(jinja_run *run, const jinja_string *format,
                               const jinja_value *values, size_t n, const jinja_value *mapping,
                               jinja_value *out);
bool mica_jinja_format_braces(jinja_run *run, const jinja_string *format, const jinja_call *call,
                              jinja_value *out);
/* strftime(format) of the run's clock in local time, English names. */
bool mica_jinja_strftime(jinja_run *run, const jinja_string *format, jinja_value *out);
/* Sorts items by order of keys[i]; stable. */
bool mica_jinja_sort(jinja_run *run, jinja_value *items, jinja_value *keys, size_t n, bool reverse);
/* The attributes of a loop. */
bool mica_jinja_loop_attribute(jinja_run *run, const jinja_loop *loop, mica_slice name,
                               jinja_value *out);

/* Text helpers of filters and methods of the same name. */
bool mica_jinja_strip(jinja_run *run, const jinja_string *s, const jinja_value *characters,
                      bool left, bool right, jinja_value *out);
bool mica_jinja_replace(jinja_run *run, const jinja_string *s, const jinja_string *old,
                        const jinja_string *fresh, int64_t count, jinja_value *out);
/* A copy of s that counts as markup, sharing its memory. */
bool mica_jinja_mark_up(jinja_run *run, const jinja_string *s, jinja_value *out);
/* s with & < > ' " as entities, as markup; markup itself is left as it is. */
bool mica_jinja_escape(jinja_run *run, const jinja_string *s, jinja_value *out);
/* The result of an operation on `from` is markup if that is. */
static inline bool mica_jinja_keep_markup(const jinja_string *from, jinja_value *out) {
    out->as.string->is_markup = from->is_markup;
    return true;
}
typedef enum jinja_case {
    JINJA_UPPER,
    JINJA_LOWER,
    JINJA_CAPITALIZE,
    JINJA_TITLE,
    JINJA_TITLE_FILTER
} jinja_case;
bool mica_jinja_change_case(jinja_run *run, const jinja_string *s, jinja_case to, jinja_value *out);
bool mica_jinja_join(jinja_run *run, const jinja_list *list, const jinja_string *separator,
                     bool strict, jinja_value *out);
/* int(text) of Python: white space around, a sign, underscores between digits. */
bool mica_jinja_parse_int(mica_slice text, int base, int64_t *out);
bool mica_jinja_parse_float(mica_slice text, double *out);
/* A string of the value: itself, or its str(). *s is borrowed. */
bool mica_jinja_soft_string(jinja_run *run, const jinja_value *v, const jinja_string **s);
/* An integer argument: ABSENT gives the default, a non-integer fails. */
bool mica_jinja_int_argument(jinja_run *run, const char *what, const jinja_value *v,
                             int64_t fallback, int64_t *out);

/* The tables, each in its own file; they end with a NULL name. */
extern const jinja_filter_row mica_jinja_text_filters[];
extern const jinja_filter_row mica_jinja_list_filters[];
extern const jinja_test_row mica_jinja_test_rows[];
extern const jinja_function_row mica_jinja_function_rows[];
extern const jinja_method_row mica_jinja_method_rows[];
