/* Text of a message can never become a special token: whatever a template does to it, every byte
 * that came from the input is marked as input, and every byte of the template is not. The input is
 * written in one alphabet and the template in another, so that each byte of the result tells where
 * it came from. Every row of the filter and method tables is run with many subjects and arguments.
 */
#include "text/template.h"
#include "test.h"
#include "text/jinja_table.h"

#define SOURCE_BYTES 1024

/* Georgian letters (a = U+10D0) come from the input, Cyrillic ones from the template. */
#define GEO_A "\xe1\x83\x90"
#define GEO_B "\xe1\x83\x91"
#define CYR_Z "\xd0\xb6"
#define CYR_I "\xd0\xb9"

static const char variables[] =
    "{\"x\":\"" GEO_A GEO_B "\",\"y\":\" " GEO_B " \\\"" GEO_A "\\n" GEO_A
    "' \",\"e\":\"\",\"n\":60,"
    "\"l\":[\"" GEO_B "\",\"" GEO_A "\",\"" GEO_B "\"],\"d\":{\"" GEO_A "\":\"" GEO_B
    "\",\"k\":\"" GEO_A "\"},"
    "\"p\":[{\"k\":\"" GEO_A "\",\"m\":1},{\"k\":\"" GEO_B "\",\"m\":2}],"
    "\"f\":\"" GEO_A "%s%%" GEO_B "\",\"g\":\"" GEO_A "{}{{" GEO_B "}}\",\"h\":\"{:" GEO_A ">6}\","
    "\"j\":\"{\\\"" GEO_A "\\\":[\\\"" GEO_B "\\\"]}\",\"s\":\"\xc3\x9f" GEO_A "\xc7\x86\"}";

static const char *const subjects[] = {
    "x",
    "y",
    "(' " CYR_Z "' ~ y ~ '" CYR_Z "\\n')",
    "l",
    "d",
    "p",
    "f",
    "g",
    "h",
    "j",
    "s",
    "[x, '" CYR_Z "']",
    "{x: '" CYR_Z "', '" CYR_Z "': x}",
    "'%s " CYR_Z " %6s'",
    "'{} " CYR_Z " {:" CYR_I "<6}'",
    "n",
    "(x, y)",
    "(('" CYR_Z "' ~ f) % x)",
    "u",
};
static const char *const arguments[] = {
    "",
    "x",
    "'" CYR_Z "'",
    "2",
    "0",
    "true",
    "'" CYR_Z "', '" CYR_I "'",
    "x, y",
    "'" CYR_Z "', x",
    "x, '" CYR_Z "'",
    "2, '" CYR_Z "'",
    "2, x",
    "x, 1",
    "' '",
    "none, 1",
    "indent=2",
    "indent=x",
    "separators=(x, '" CYR_Z "')",
    "ensure_ascii=true",
    "sort_keys=true",
    "attribute='k'",
    "'string'",
    "'replace', '" CYR_Z "', x",
    "attribute='k', default=x",
    "'k', 'eq', x",
    "'k'",
    "l",
    "[x, '" CYR_Z "']",
    "20, true, true",
    "d",
    "20, x",
    "x, x",
    "k=x",
    "x, x, x",
};
static const char *const contexts[] = {
    "{{ %s }}",
    "{{ (%s)|list|join('" CYR_I "') }}",
    "{{ (%s)|string|trim }}",
    "{{ [%s, '" CYR_I "'] }}",
    "{{ (%s)|tojson }}",
    "{% for c in %s %}{{ c }}" CYR_I "{% endfor %}",
    "{% set z %}" CYR_I "{{ %s }}{% endset %}{{ z }}",
    "{% macro m(a) %}" CYR_I "{{ a }}{% endmacro %}{{ m(%s) }}",
    "{{ '" CYR_I "' + (%s) }}",
    "{{ (%s)[1:] }}" CYR_I "{{ (%s)[::-1] }}",
    "{% filter upper %}{{ %s }}" CYR_I "{% endfilter %}",
};
#define COUNT(list) (sizeof(list) / sizeof *(list))

/* Puts the expression into the context's %s, once or twice. */
static void fill_in(char *out, const char *context, const char *expression) {
    size_t n = 0, bytes = strlen(expression);
    for (const char *at = context; *at; at++) {
        if (at[0] != '%' || at[1] != 's') {
            out[n++] = *at;
            continue;
        }
        memcpy(out + n, expression, bytes);
        n += bytes;
        at++;
    }
    out[n] = 0;
}

static bool is_input_letter(uint32_t c) {
    return (c >= 0x10a0 && c <= 0x10ff) || (c >= 0x1c90 && c <= 0x1cbf);
}

static void check_runs(const char *source, const mica_rendered *r) {
    size_t run = 0;
    for (size_t at = 0; at < r->bytes;) {
        uint32_t c = 0;
        size_t n = mica_utf8_decode(r->text + at, r->bytes - at, &c);
        if (n == 0) fail_msg("%s: byte %zu is no UTF-8", source, at);
        while (at >= r->runs[run].end) run++;
        bool from_input = r->runs[run].from_input, from_template = c >= 0x400 && c <= 0x4ff;
        if (is_input_letter(c) && !from_input)
            fail_msg("%s: byte %zu of '%s' is input, not marked", source, at, r->text);
        if (from_template && from_input)
            fail_msg("%s: byte %zu of '%s' is marked as input", source, at, r->text);
        at += n;
    }
}

/* Renders and checks what renders. */
static bool check(const char *source) {
    mica_error err = {0};
    mica_chat_template *t = NULL;
    mica_rendered r = {0};
    mica_render_options options = {.struct_bytes = sizeof options, .now_seconds = 1754395200};
    if (mica_chat_template_create(mica_host_default(), source, strlen(source), NULL, &t, &err))
        return false;
    mica_status st =
        mica_chat_template_render(t, variables, sizeof variables - 1, &options, &r, &err);
    if (st == MICA_STATUS_OK) check_runs(source, &r);
    mica_rendered_free(t, &r);
    mica_chat_template_close(&t);
    return st == MICA_STATUS_OK;
}

/* How many of subjects x arguments rendered. Without arguments in every context, else the contexts
 * take turns. */
static size_t check_row(const char *name, bool is_method) {
    static size_t turn;
    size_t n = 0;
    for (size_t s = 0; s < COUNT(subjects); s++)
        for (size_t a = 0; a < COUNT(arguments); a++)
            for (size_t k = 0; k < (a == 0 ? COUNT(contexts) : 2); k++) {
                char expression[SOURCE_BYTES / 4], source[SOURCE_BYTES];
                snprintf(expression, sizeof expression, is_method ? "(%s).%s(%s)" : "(%s)|%s(%s)",
                         subjects[s], name, arguments[a]);
                fill_in(source, contexts[turn++ % COUNT(contexts)], expression);
                n += check(source);
            }
    return n;
}

/* Every filter keeps the origin of every byte, whatever it is given. */
static void test_filters(void **state) {
    (void)state;
    const jinja_filter_row *const tables[] = {mica_jinja_text_filters, mica_jinja_list_filters};
    size_t total = 0;
    for (size_t t = 0; t < 2; t++)
        for (const jinja_filter_row *row = tables[t]; row->name; row++) {
            size_t n = check_row(row->name, false);
            if (n == 0) fail_msg("nothing rendered with the filter %s", row->name);
            total += n;
        }
    print_message("%zu renders\n", total);
}

/* So does every method. */
static void test_methods(void **state) {
    (void)state;
    size_t total = 0;
    const char *last = "";
    for (const jinja_method_row *row = mica_jinja_method_rows; row->name; row++) {
        if (strcmp(row->name, last) == 0) continue;
        last = row->name;
        total += check_row(row->name, true);
    }
    print_message("%zu renders\n", total);
    assert_true(total > 3000);
}

/* So do operators, on every pair of subjects. */
static void test_operators(void **state) {
    (void)state;
    static const char *const operators[] = {"+", "~", "%", "*", "and", "or", "if false else"};
    size_t n = 0;
    for (size_t a = 0; a < COUNT(subjects); a++)
        for (size_t b = 0; b < COUNT(subjects); b++)
            for (size_t o = 0; o < COUNT(operators); o++)
                for (size_t c = 0; c < COUNT(contexts); c++) {
                    char expression[SOURCE_BYTES / 4], source[SOURCE_BYTES];
                    snprintf(expression, sizeof expression, "%s %s %s", subjects[a], operators[o],
                             subjects[b]);
                    fill_in(source, contexts[c], expression);
                    n += check(source);
                }
    print_message("%zu renders\n", n);
    assert_true(n > 3000);
}

/* So do functions that give back what they are given, and texts built through statements. */
static void test_statements(void **state) {
    (void)state;
    static const char *const sources[] = {
        "{{ strftime_now(x ~ '" CYR_Z "%Y') }}",
        "{{ dict(a=x, b='" CYR_Z "') }}{{ namespace(a=x).a }}{{ dict(d) }}",
        "{% for c in l %}{{ loop.cycle(x, '" CYR_Z "') }}{{ loop.previtem }}{{ loop.nextitem }}"
        "{% endfor %}",
        "{% macro m(a) %}{{ varargs }}{{ kwargs }}{{ caller(a) }}{% endmacro %}"
        "{% call(b) m(x, y, k=x) %}" CYR_Z "{{ b }}{{ b ~ '" CYR_I "' }}{% endcall %}",
        "{% with a = x, b = '" CYR_Z "' %}{{ a ~ b }}{{ (a ~ b)|upper }}{% endwith %}",
        "{% set a, b = x, '" CYR_Z "' %}{{ b ~ a ~ b }}{% set ns = namespace(t=b) %}"
        "{% for c in l %}{% set ns.t = ns.t ~ c ~ b %}{% endfor %}{{ ns.t[2:] }}{{ ns }}",
        "{% set q = [] %}{% set z = q.append(x) %}{% set z = q.insert(0, '" CYR_Z "') %}{{ q }}"
        "{{ q.pop() }}{% set z = q.extend(l) %}{{ q|join(x) }}",
        "{% set q = {} %}{% set z = q.update({x: '" CYR_Z "'}) %}{{ q }}{{ q.setdefault('" CYR_I
        "', x) }}{{ q|dictsort }}{{ q|items|list }}{{ q.pop(x) }}",
        "{% filter replace('" CYR_Z "', x) %}" CYR_Z CYR_I "{{ y }}{% endfilter %}",
        "{% generation %}" CYR_Z "{{ x }}{% endgeneration %}{{ x if x else '" CYR_Z "' }}",
        "{{ '%c%c'|format(x[0], '" CYR_Z "') }}{{ '%r|%r' % (x, '" CYR_Z "') }}",
        "{{ '{0}{1!r}{0!s:" CYR_Z ">9}'.format(x, y) }}{{ h.format('" CYR_Z "') }}",
        "{{ x.join(['" CYR_Z "', y, '" CYR_I "']) }}{{ '" CYR_Z "'.join(l) }}",
    };
    for (size_t i = 0; i < COUNT(sources); i++)
        if (!check(sources[i])) fail_msg("%s does not render", sources[i]);
}

/* Bytes that an operation makes of input are input, too, though they are other bytes. */
static void test_made_bytes(void **state) {
    (void)state;
    static const char *const sources[] = {
        "{{ x|tojson(ensure_ascii=true)|replace('\"', '') }}", /* \u10d0 ... */
        "{{ '%c' % n }}",                                      /* "<" by its number */
        "{{ '%c%c'|format(n, n) }}",
        "{{ '{:c}'.format(n) }}",
        "{{ f[3:] % () }}",                         /* "%%" */
        "{{ (g|replace('{}', ''))[1:].format() }}", /* "{{" and "}}" */
        "{{ y[2]|e }}",
        "{{ x|upper }}{{ s|upper }}{{ s|title }}",
        "{{ x.encode if false else x }}",
    };
    for (size_t i = 0; i < COUNT(sources); i++) {
        mica_error err = {0};
        mica_chat_template *t = NULL;
        mica_rendered r = {0};
        mica_status st = mica_chat_template_create(mica_host_default(), sources[i],
                                                   strlen(sources[i]), NULL, &t, &err);
        if (st == MICA_STATUS_OK)
            st = mica_chat_template_render(t, variables, sizeof variables - 1, NULL, &r, &err);
        if (st != MICA_STATUS_OK) {
            print_message("%s: %s\n", sources[i], err.message);
            mica_chat_template_close(&t);
            continue; /* an error is safe */
        }
        if (r.n_runs != 1 || !r.runs[0].from_input)
            fail_msg("%s: '%s' is not all input", sources[i], r.text);
        mica_rendered_free(t, &r);
        mica_chat_template_close(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filters),    cmocka_unit_test(test_methods),
        cmocka_unit_test(test_operators),  cmocka_unit_test(test_statements),
        cmocka_unit_test(test_made_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
