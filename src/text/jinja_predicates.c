/* The tests of `x is ...`. */
#include <math.h>
#include "text/jinja_ast.h"
#include "text/jinja_table.h"
#include "text/jinja_unicode.h"

#define TEST(function)                                                                             \
    static bool function(__attribute__((unused)) jinja_run *run,                                   \
                         __attribute__((unused)) const jinja_value *v,                             \
                         __attribute__((unused)) const jinja_value *argument, bool *out)

#define KIND_TEST(function, condition)                                                             \
    TEST(function) {                                                                               \
        *out = (condition);                                                                        \
        return true;                                                                               \
    }

static bool is_number(const jinja_value *v) {
    return v->kind == JINJA_INT || v->kind == JINJA_BOOL || v->kind == JINJA_FLOAT ||
           v->kind == JINJA_BIG;
}

static bool is_view(const jinja_value *v) {
    return v->kind == JINJA_LIST && !mica_jinja_is_sequence(v);
}

KIND_TEST(test_defined, v->kind != JINJA_UNDEFINED)
KIND_TEST(test_undefined, v->kind == JINJA_UNDEFINED)
KIND_TEST(test_none, v->kind == JINJA_NONE)
KIND_TEST(test_boolean, v->kind == JINJA_BOOL)
KIND_TEST(test_true, v->kind == JINJA_BOOL && v->as.boolean)
KIND_TEST(test_false, v->kind == JINJA_BOOL && !v->as.boolean)
KIND_TEST(test_integer, v->kind == JINJA_INT || v->kind == JINJA_BIG)
KIND_TEST(test_float, v->kind == JINJA_FLOAT)
KIND_TEST(test_number, is_number(v))
KIND_TEST(test_string, v->kind == JINJA_STRING)
KIND_TEST(test_mapping, v->kind == JINJA_DICT)
KIND_TEST(test_escaped, v->kind == JINJA_STRING && v->as.string->is_markup)
/* What has a length and subscripts, in Python's eyes: views of dictionaries have none. */
KIND_TEST(test_sequence, v->kind == JINJA_STRING || mica_jinja_is_sequence(v) ||
                             v->kind == JINJA_DICT || v->kind == JINJA_RANGE ||
                             v->kind == JINJA_UNDEFINED)
KIND_TEST(test_iterable, v->kind == JINJA_STRING || v->kind == JINJA_LIST ||
                             v->kind == JINJA_DICT || v->kind == JINJA_RANGE ||
                             v->kind == JINJA_UNDEFINED || is_view(v))
KIND_TEST(test_callable, v->kind == JINJA_MACRO || v->kind == JINJA_FUNCTION ||
                             v->kind == JINJA_METHOD || v->kind == JINJA_LOOP ||
                             v->kind == JINJA_UNDEFINED)

static bool remainder_is(jinja_run *run, const jinja_value *v, const jinja_value *by,
                         int64_t wanted, bool *out) {
    jinja_value rest, right = mica_jinja_int(wanted);
    return mica_jinja_operate(run, JINJA_OP_MODULO, v, by, &rest) &&
           mica_jinja_equal(run, &rest, &right, out);
}

TEST(test_odd) {
    jinja_value two = mica_jinja_int(2);
    return remainder_is(run, v, &two, 1, out);
}
TEST(test_even) {
    jinja_value two = mica_jinja_int(2);
    return remainder_is(run, v, &two, 0, out);
}
TEST(test_divisible) { return remainder_is(run, v, &argument[0], 0, out); }

TEST(test_equal) { return mica_jinja_compare(run, JINJA_OP_EQUAL, v, &argument[0], out); }
TEST(test_not_equal) { return mica_jinja_compare(run, JINJA_OP_NOT_EQUAL, v, &argument[0], out); }
TEST(test_less) { return mica_jinja_compare(run, JINJA_OP_LESS, v, &argument[0], out); }
TEST(test_less_equal) { return mica_jinja_compare(run, JINJA_OP_LESS_EQUAL, v, &argument[0], out); }
TEST(test_greater) { return mica_jinja_compare(run, JINJA_OP_GREATER, v, &argument[0], out); }
TEST(test_greater_equal) {
    return mica_jinja_compare(run, JINJA_OP_GREATER_EQUAL, v, &argument[0], out);
}
TEST(test_in) { return mica_jinja_contains(run, &argument[0], v, out); }

/* The same object; scalars and strings of one type are the same when they are equal. */
TEST(test_same) {
    const jinja_value *other = &argument[0];
    *out = false;
    if (v->kind != other->kind) return true;
    if (v->kind == JINJA_LIST)
        *out = v->as.list == other->as.list;
    else if (v->kind == JINJA_DICT)
        *out = v->as.dict == other->as.dict;
    else
        return mica_jinja_equal(run, v, other, out);
    return true;
}

/* Every letter with case has this one, and there is one. */
static bool check_case(jinja_run *run, const jinja_value *v, bool upper, bool *out) {
    const jinja_string *s;
    bool any = false, all = true;
    if (!mica_jinja_soft_string(run, v, &s) || !mica_jinja_charge_bytes(run, s->bytes))
        return false;
    for (size_t at = 0; at < s->bytes && all;) {
        uint32_t c = 0;
        size_t n = mica_utf8_decode(s->data + at, s->bytes - at, &c);
        bool is_upper = mica_jinja_is_upper(c), is_lower = mica_jinja_is_lower(c);
        any = any || (upper ? is_upper : is_lower);
        if ((upper ? is_lower : is_upper) || mica_jinja_is_title(c)) all = false;
        at += n > 0 ? n : 1;
    }
    *out = any && all;
    return true;
}

TEST(test_lower) { return check_case(run, v, false, out); }
TEST(test_upper) { return check_case(run, v, true, out); }

TEST(test_filter) {
    *out = v->kind == JINJA_STRING && mica_jinja_find_filter(mica_jinja_slice(v)) >= 0;
    return true;
}
TEST(test_test) {
    *out = v->kind == JINJA_STRING && mica_jinja_find_test(mica_jinja_slice(v)) >= 0;
    return true;
}

const jinja_test_row mica_jinja_test_rows[] = {
    {"defined", "", test_defined},
    {"undefined", "", test_undefined},
    {"none", "", test_none},
    {"string", "", test_string},
    {"mapping", "", test_mapping},
    {"iterable", "", test_iterable},
    {"sequence", "", test_sequence},
    {"boolean", "", test_boolean},
    {"true", "", test_true},
    {"false", "", test_false},
    {"integer", "", test_integer},
    {"float", "", test_float},
    {"number", "", test_number},
    {"odd", "", test_odd},
    {"even", "", test_even},
    {"divisibleby", "num", test_divisible},
    {"equalto", "other", test_equal},
    {"eq", "other", test_equal},
    {"==", "other", test_equal},
    {"ne", "other", test_not_equal},
    {"!=", "other", test_not_equal},
    {"lt", "other", test_less},
    {"lessthan", "other", test_less},
    {"<", "other", test_less},
    {"le", "other", test_less_equal},
    {"<=", "other", test_less_equal},
    {"gt", "other", test_greater},
    {"greaterthan", "other", test_greater},
    {">", "other", test_greater},
    {"ge", "other", test_greater_equal},
    {">=", "other", test_greater_equal},
    {"in", "seq", test_in},
    {"sameas", "other", test_same},
    {"callable", "", test_callable},
    {"lower", "", test_lower},
    {"upper", "", test_upper},
    {"escaped", "", test_escaped},
    {"filter", "", test_filter},
    {"test", "", test_test},
    {NULL, NULL, NULL},
};
