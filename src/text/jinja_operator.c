/* Arithmetic, comparison and membership with Python's rules. Integers are 64-bit: a result beyond
 * them is an error, never a wrong number. */
#include <math.h>
#include <string.h>
#include "base/checked.h"
#include "text/jinja_ast.h"
#include "text/jinja_table.h"

static bool fail_operands(jinja_run *run, int op, const jinja_value *a, const jinja_value *b) {
    static const char *const names[] = {"+", "-", "*", "/", "//", "%", "**"};
    if (a->kind == JINJA_UNDEFINED) return mica_jinja_fail_undefined(run, a);
    if (b->kind == JINJA_UNDEFINED) return mica_jinja_fail_undefined(run, b);
    if (a->kind == JINJA_BIG || b->kind == JINJA_BIG)
        return mica_jinja_fail(run, MICA_STATUS_LIMIT, "an integer beyond 64 bits in %s",
                               names[op]);
    return mica_jinja_fail(run, MICA_STATUS_FORMAT,
                           "unsupported operand types for %s: '%s' and '%s'", names[op],
                           mica_jinja_kind_name(a), mica_jinja_kind_name(b));
}

static bool power_int(int64_t base, int64_t exponent, int64_t *out) {
    int64_t result = 1;
    while (exponent > 0) {
        if (exponent & 1 && !mica_mul_i64(result, base, &result)) return false;
        exponent >>= 1;
        if (exponent > 0 && !mica_mul_i64(base, base, &base)) return false;
    }
    *out = result;
    return true;
}

/* *fits = false when the exact result is beyond 64 bits. b is not zero for / // %. */
static int64_t operate_int(int op, int64_t a, int64_t b, bool *fits) {
    int64_t r = 0;
    *fits = true;
    switch (op) {
    case JINJA_OP_ADD:
        *fits = mica_add_i64(a, b, &r);
        break;
    case JINJA_OP_SUBTRACT:
        *fits = mica_sub_i64(a, b, &r);
        break;
    case JINJA_OP_MULTIPLY:
        *fits = mica_mul_i64(a, b, &r);
        break;
    case JINJA_OP_FLOOR_DIVIDE:
        *fits = !(a == INT64_MIN && b == -1);
        if (*fits) r = a / b - (a % b != 0 && (a < 0) != (b < 0));
        break;
    case JINJA_OP_MODULO:
        r = b == -1 ? 0 : a % b;
        if (r != 0 && (r < 0) != (b < 0)) r += b;
        break;
    default:
        *fits = power_int(a, b, &r);
    }
    return r;
}

/* As Python does it: from the remainder, so that 1.0 // 0.1 is 9. */
static double floor_divide(double a, double b) {
    double rest = fmod(a, b), quotient = (a - rest) / b;
    if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
    if (quotient == 0) return copysign(0.0, a / b);
    double whole = floor(quotient);
    return quotient - whole > 0.5 ? whole + 1 : whole;
}

static double operate_real(int op, double a, double b) {
    switch (op) {
    case JINJA_OP_ADD:
        return a + b;
    case JINJA_OP_SUBTRACT:
        return a - b;
    case JINJA_OP_MULTIPLY:
        return a * b;
    case JINJA_OP_DIVIDE:
        return a / b;
    case JINJA_OP_FLOOR_DIVIDE:
        return floor_divide(a, b);
    case JINJA_OP_MODULO: {
        double r = fmod(a, b);
        if (r == 0) return copysign(0.0, b);
        return (r < 0) != (b < 0) ? r + b : r;
    }
    default:
        return pow(a, b);
    }
}

static bool operate_numbers(jinja_run *run, int op, const jinja_value *a, const jinja_value *b,
                            jinja_value *out) {
    int64_t i = 0, j = 0;
    double x = 0, y = 0;
    bool fits = true;
    bool are_ints = mica_jinja_as_int(a, &i) && mica_jinja_as_int(b, &j);
    mica_jinja_as_double(a, &x);
    mica_jinja_as_double(b, &y);
    bool divides = op == JINJA_OP_DIVIDE || op == JINJA_OP_FLOOR_DIVIDE || op == JINJA_OP_MODULO;
    if ((divides && y == 0) || (op == JINJA_OP_POWER && x == 0 && y < 0))
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "division by zero");
    if (!are_ints || op == JINJA_OP_DIVIDE || (op == JINJA_OP_POWER && j < 0)) {
        *out = mica_jinja_float(operate_real(op, x, y));
        return true;
    }
    *out = mica_jinja_int(operate_int(op, i, j, &fits));
    return fits || mica_jinja_fail(run, MICA_STATUS_LIMIT, "an integer beyond 64 bits");
}

static bool repeat(jinja_run *run, const jinja_value *a, int64_t n, jinja_value *out) {
    if (a->kind == JINJA_STRING) {
        const jinja_string *s = a->as.string; /* out may be a */
        jinja_builder b;
        mica_jinja_builder_init(&b, run);
        for (int64_t i = 0; i < n && s->bytes > 0; i++)
            if (!mica_jinja_append_string(&b, s)) return false;
        return mica_jinja_builder_take(&b, out) && mica_jinja_keep_markup(s, out);
    }
    const jinja_list *list = a->as.list;
    if (!mica_jinja_list(run, 0, (jinja_flavour)list->flavour, out)) return false;
    for (int64_t i = 0; i < n && list->count > 0; i++)
        for (size_t k = 0; k < list->count; k++)
            if (!mica_jinja_list_push(run, out->as.list, list->items[k])) return false;
    return true;
}

static bool add_lists(jinja_run *run, const jinja_list *a, const jinja_list *b, jinja_value *out) {
    if (!mica_jinja_list(run, a->count + b->count, (jinja_flavour)a->flavour, out)) return false;
    for (size_t i = 0; i < a->count; i++)
        if (!mica_jinja_list_push(run, out->as.list, a->items[i])) return false;
    for (size_t i = 0; i < b->count; i++)
        if (!mica_jinja_list_push(run, out->as.list, b->items[i])) return false;
    return true;
}

/* Markup escapes what is added to it, on either side, as Python's class of that name does. */
static bool add_texts(jinja_run *run, const jinja_value *a, const jinja_value *b,
                      jinja_value *out) {
    jinja_value both[2] = {*a, *b};
    bool is_markup = a->as.string->is_markup || b->as.string->is_markup;
    for (int i = 0; is_markup && i < 2; i++)
        if (!mica_jinja_escape(run, both[i].as.string, &both[i])) return false;
    if (!mica_jinja_concatenate(run, both, 2, out)) return false;
    out->as.string->is_markup = is_markup;
    return true;
}

static bool is_number(const jinja_value *v) {
    return v->kind == JINJA_INT || v->kind == JINJA_FLOAT || v->kind == JINJA_BOOL;
}

bool mica_jinja_operate(jinja_run *run, int op, const jinja_value *a, const jinja_value *b,
                        jinja_value *out) {
    int64_t n = 0;
    if (is_number(a) && is_number(b)) return operate_numbers(run, op, a, b, out);
    if (op == JINJA_OP_ADD) {
        if (a->kind == JINJA_STRING && b->kind == JINJA_STRING) return add_texts(run, a, b, out);
        if (mica_jinja_is_sequence(a) && mica_jinja_is_sequence(b) &&
            a->as.list->flavour == b->as.list->flavour)
            return add_lists(run, a->as.list, b->as.list, out);
    }
    if (op == JINJA_OP_MULTIPLY) {
        if ((a->kind == JINJA_STRING || mica_jinja_is_sequence(a)) && mica_jinja_as_int(b, &n))
            return repeat(run, a, n, out);
        if ((b->kind == JINJA_STRING || mica_jinja_is_sequence(b)) && mica_jinja_as_int(a, &n))
            return repeat(run, b, n, out);
    }
    if (op == JINJA_OP_MODULO && a->kind == JINJA_STRING) {
        bool is_tuple = b->kind == JINJA_LIST && b->as.list->flavour == JINJA_TUPLE;
        bool is_mapping = !is_tuple && (b->kind == JINJA_DICT || b->kind == JINJA_LIST);
        return mica_jinja_format_percent(run, a->as.string, is_tuple ? b->as.list->items : b,
                                         is_tuple ? b->as.list->count : 1, is_mapping ? b : NULL,
                                         out);
    }
    return fail_operands(run, op, a, b);
}

bool mica_jinja_contains(jinja_run *run, const jinja_value *container, const jinja_value *item,
                         bool *out) {
    *out = false;
    if (container->kind == JINJA_STRING) {
        const jinja_string *s = container->as.string;
        if (item->kind == JINJA_UNDEFINED) return mica_jinja_fail_undefined(run, item);
        if (item->kind != JINJA_STRING)
            return mica_jinja_fail(run, MICA_STATUS_FORMAT,
                                   "'in <string>' requires string as left operand, not %s",
                                   mica_jinja_kind_name(item));
        const jinja_string *part = item->as.string;
        *out = part->bytes == 0 ||
               (s->bytes > 0 && memmem(s->data, s->bytes, part->data, part->bytes) != NULL);
        return mica_jinja_charge_bytes(run, s->bytes);
    }
    if (container->kind == JINJA_DICT) {
        jinja_value *found = NULL;
        bool is_hashable = false;
        if (!mica_jinja_is_hashable(run, item, &is_hashable)) return false;
        if (!is_hashable)
            return mica_jinja_fail(run, MICA_STATUS_FORMAT, "unhashable type: '%s'",
                                   mica_jinja_kind_name(item));
        if (!mica_jinja_dict_find(run, container->as.dict, item, &found)) return false;
        *out = found != NULL;
        return true;
    }
    jinja_list *list = NULL;
    if (!mica_jinja_to_list(run, container, &list)) return false;
    for (size_t i = 0; i < list->count && !*out; i++)
        if (!mica_jinja_equal(run, &list->items[i], item, out)) return false;
    return true;
}

bool mica_jinja_compare(jinja_run *run, int op, const jinja_value *a, const jinja_value *b,
                        bool *out) {
    int order = 0;
    switch (op) {
    case JINJA_OP_EQUAL:
        return mica_jinja_equal(run, a, b, out);
    case JINJA_OP_NOT_EQUAL:
        if (!mica_jinja_equal(run, a, b, out)) return false;
        *out = !*out;
        return true;
    case JINJA_OP_IN:
        return mica_jinja_contains(run, b, a, out);
    case JINJA_OP_NOT_IN:
        if (!mica_jinja_contains(run, b, a, out)) return false;
        *out = !*out;
        return true;
    default:
        break;
    }
    if (!mica_jinja_order(run, a, b, &order)) return false;
    if (op == JINJA_OP_LESS)
        *out = order == -1;
    else if (op == JINJA_OP_LESS_EQUAL)
        *out = order == -1 || order == 0;
    else if (op == JINJA_OP_GREATER)
        *out = order == 1;
    else
        *out = order == 1 || order == 0;
    return true;
}
