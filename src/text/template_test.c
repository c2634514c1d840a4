/* Chat templates apart from the language itself (template_cases_test.c): budgets, errors, origin of
 * the text, immutability, loading rules, memory. */
#include "text/template.h"
#include <pthread.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/file.h"
#include "text/jinja_value.h"
#include "test.h"

static mica_error err;

static mica_status compile(const char *source, size_t bytes, mica_chat_template **out) {
    return mica_chat_template_create(mica_host_default(), source, bytes, NULL, out, &err);
}

/* Compiles and renders; the text is freed by the caller. */
static mica_status render_bytes(const char *source, size_t bytes, const char *variables,
                                char **text, mica_rendered *runs) {
    mica_chat_template *t = NULL;
    mica_rendered r = {0};
    if (text) *text = NULL;
    mica_status st = compile(source, bytes, &t);
    if (st != MICA_STATUS_OK) return st;
    st = mica_chat_template_render(t, variables, strlen(variables), NULL, &r, &err);
    if (st == MICA_STATUS_OK && text) *text = strdup(r.text);
    if (runs && st == MICA_STATUS_OK) {
        *runs = r; /* the caller frees it: default allocator */
        r = (mica_rendered){0};
    }
    mica_rendered_free(t, &r);
    mica_chat_template_close(&t);
    return st;
}

static mica_status render(const char *source, const char *variables, char **text) {
    return render_bytes(source, strlen(source), variables, text, NULL);
}

static void assert_renders(const char *source, const char *variables, const char *expected) {
    char *text = NULL;
    mica_status st = render(source, variables, &text);
    if (st != MICA_STATUS_OK) fail_msg("%s: %s", source, err.message);
    if (strcmp(text, expected) != 0)
        fail_msg("%s: got '%s', expected '%s'", source, text, expected);
    free(text);
}

static void assert_fails(const char *source, const char *variables, mica_status wanted,
                         const char *part) {
    char *text = NULL;
    mica_status st = render(source, variables, &text);
    if (st != wanted || !strstr(err.message, part))
        fail_msg("%.200s: %s: %s", source, mica_status_name(st), st ? err.message : text);
    free(text);
}

static char *repeat(const char *before, const char *middle, const char *after, size_t n) {
    size_t b = strlen(before), a = strlen(after), m = strlen(middle);
    char *out = malloc(n * (a + b) + m + 1), *at = out;
    for (size_t i = 0; i < n; i++, at += b) memcpy(at, before, b);
    memcpy(at, middle, m);
    at += m;
    for (size_t i = 0; i < n; i++, at += a) memcpy(at, after, a);
    *at = 0;
    return out;
}

static void assert_nesting_limited(const char *before, const char *middle, const char *after,
                                   size_t n) {
    char *source = repeat(before, middle, after, n);
    assert_fails(source, "{}", MICA_STATUS_LIMIT, "deeper than 128");
    free(source);
}

/* Sources nested without end are refused at load, whatever nests; 100 levels are fine. */
static void test_parser_depth(void **state) {
    (void)state;
    assert_nesting_limited("{% if true %}", "x", "{% endif %}", 5500);
    assert_nesting_limited("{% for x in [1] %}", "x", "{% endfor %}", 5500);
    assert_nesting_limited("{% macro m() %}", "x", "{% endmacro %}", 200);
    char *fine = repeat("{% if true %}", "x", "{% endif %}", 100);
    assert_renders(fine, "{}", "x");
    free(fine);
}

static void test_parser_depth_expressions(void **state) {
    (void)state;
    char *inner = repeat("(", "1", ")", 6000), *lists = repeat("[", "", "]", 6000);
    char *signs = repeat("-", "1", "", 6000), *nots = repeat("not ", "1", "", 6000);
    char *ternary = repeat("1 if 0 else ", "1", "", 6000), *calls = repeat("f(", "1", ")", 6000);
    char *dicts = repeat("{1:", "1", "}", 6000), *items = repeat("a[", "1", "]", 6000);
    char *all[] = {inner, lists, signs, nots, ternary, calls, dicts, items};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        size_t bytes = strlen(all[i]) + 16;
        char *source = malloc(bytes);
        snprintf(source, bytes, "{{ %s }}", all[i]);
        assert_fails(source, "{}", MICA_STATUS_LIMIT, "deeper than 128");
        free(source);
        free(all[i]);
    }
    char *fine = repeat("(", "1", ")", 100);
    char source[300];
    snprintf(source, sizeof source, "{{ %s }}", fine);
    assert_renders(source, "{}", "1");
    free(fine);
}

/* Long flat chains are not deep: thousands of operands work, thousands of links in one path do not.
 */
static void test_chains(void **state) {
    (void)state;
    char *sum = repeat("1 + ", "1", "", 2000), *links = repeat("", "a", ".a", 6000);
    char *source = malloc(20000);
    snprintf(source, 20000, "{{ %s }}", sum);
    assert_renders(source, "{}", "2001");
    free(source);
    source = malloc(20000);
    snprintf(source, 20000, "{{ %s }}", links);
    assert_fails(source, "{}", MICA_STATUS_LIMIT, "chain of more than 128");
    free(source);
    free(sum);
    free(links);
    char *tests = repeat("{% elif 0 %}", "", "", 3000);
    source = malloc(60000);
    snprintf(source, 60000, "{%% if 0 %%}%s{%% else %%}x{%% endif %%}", tests);
    assert_renders(source, "{}", "x");
    free(source);
    free(tests);
}

/* Runs a render on a thread with little stack. */
typedef struct small_thread {
    const char *source;
    mica_status status;
    char message[504];
} small_thread;

static void *render_on_thread(void *context) {
    small_thread *job = context;
    mica_chat_template *t = NULL;
    mica_rendered r = {0};
    mica_error own = {0};
    job->status = mica_chat_template_create(mica_host_default(), job->source, strlen(job->source),
                                            NULL, &t, &own);
    if (job->status == MICA_STATUS_OK)
        job->status = mica_chat_template_render(t, "{}", 2, NULL, &r, &own);
    if (t) mica_rendered_free(t, &r);
    mica_chat_template_close(&t);
    memcpy(job->message, own.message, sizeof own.message);
    return NULL;
}

/* Endless recursion of macros and values is an error, also with a small stack. (The sanitizers'
 * frames are several times those of a release build, which stays below 256 KiB.) */
static void test_recursion(void **state) {
    (void)state;
    static const char *const sources[] = {
        "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        "{% macro f(x) %}{% if 1 %}{% for i in [1] %}{{ [[[[f(x)]]]] }}{% endfor %}{% endif %}"
        "{% endmacro %}{{ f(1) }}",
        "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ g() }}",
        "{% set l = [] %}{% set x = l.append(l) %}{{ l }}",
        "{% set l = [] %}{% set x = l.append(l) %}{{ l|tojson }}",
        "{% set a = [] %}{% set b = [] %}{% set x = a.append(b) %}{% set x = b.append(a) %}{{ a == "
        "b }}",
        "{% set a = [] %}{% set b = [] %}{% set x = a.append(b) %}{% set x = b.append(a) %}{{ a < "
        "b }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(5000) %}{% set ns.x = [ns.x] %}{% endfor "
        "%}"
        "{{ ns.x }}",
        "{% macro w() %}{{ caller() }}{% call w() %}a{% endcall %}{% endmacro %}"
        "{% call w() %}b{% endcall %}",
        "{% macro f(x=f()) %}{% endmacro %}{{ f() }}",
    };
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        small_thread job = {.source = sources[i]};
        pthread_t thread;
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 2u << 20);
        assert_int_equal(pthread_create(&thread, &attributes, render_on_thread, &job), 0);
        pthread_join(thread, NULL);
        pthread_attr_destroy(&attributes);
        if (job.status != MICA_STATUS_LIMIT) fail_msg("%s: %s", sources[i], job.message);
    }
}

/* Endless work, output and memory each end in LIMIT. */
static void test_budgets(void **state) {
    (void)state;
    static const struct {
        const char *source, *part;
    } rows[] = {
        {"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", ""},
        {"{% for a in range(99999999) %}{% endfor %}", "range of more than 100000"},
        {"{{ range(9223372036854775807)|list }}", "range of more than 100000"},
        {"{% for a in range(99999) %}{% set l = range(99999)|list %}{% endfor %}", ""},
        {"{% set ns = namespace(s='ab') %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}"
         "{% endfor %}",
         "bytes of memory"},
        {"{% set ns = namespace(s='ab') %}{% for a in range(99) %}{% set ns.s = ns.s ~ ns.s %}"
         "{% endfor %}",
         "bytes of memory"},
        {"{% set s = 'a' * 1000000 %}{% for a in range(99) %}{{ s }}{% endfor %}",
         "16777216 bytes of output"},
        {"{{ 'abc' * 1000000000 }}", ""},
        {"{{ [1] * 1000000000 }}", ""},
        {"{{ ('a' * 100000)|replace('a', 'b' * 100000) }}", "bytes of memory"},
        {"{{ '%99999999d' % 5 }}", "width or precision of more than 65536"},
        {"{{ '{:>65537}'.format(5) }}", "width or precision of more than 65536"},
        {"{{ ('x' * 10000)|list|join('y' * 10000) }}", "bytes of memory"},
        {"{{ 'x'|center(999999999) }}", ""},
        {"{{ 'x'|indent(999999999) }}", "indent of 999999999"},
        {"{% set l = [1] %}{% for x in l %}{% set y = l.append(x) %}{% endfor %}", ""},
        {"{% set l = [1] %}{% for i in range(64) %}{% set y = l.extend(l) %}{% endfor %}", ""},
        {"{{ 9223372036854775807 + 1 }}", "beyond 64 bits"},
        {"{{ -9223372036854775807 - 2 }}", "beyond 64 bits"},
        {"{{ 3 ** 99 }}", "beyond 64 bits"},
        {"{{ 12345678901234567890 }}", "beyond 64 bits"},
        {"{{ big + 1 }}", "beyond 64 bits"},
        {"{{ (-9223372036854775807 - 1) // -1 }}", "beyond 64 bits"},
        {"{{ (-9223372036854775807 - 1)|abs }}", "beyond 64 bits"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_fails(rows[i].source, "{\"big\": 123456789012345678901234567890}", MICA_STATUS_LIMIT,
                     rows[i].part);
    char *big = repeat("x", "", "", MICA_TEMPLATE_SOURCE_BYTES_MAX + 1);
    assert_fails(big, "{}", MICA_STATUS_LIMIT, "at most 1048576");
    free(big);
}

/* Repeated `+` on one text costs linear memory: 200,000 steps to 2 MB stay inside the heap. */
static void test_growing_text(void **state) {
    (void)state;
    char *text = NULL;
    assert_ok(render("{% set ns = namespace(s='') %}{% for i in range(100000) %}"
                     "{% set ns.s = ns.s + 'ab' ~ 'cdefgh' %}{% endfor %}{{ ns.s|length }}",
                     "{}", &text));
    assert_string_equal(text, "800000");
    free(text);
}

/* Numbers of the input beyond 64 bits keep their digits. */
static void test_big_integers(void **state) {
    (void)state;
    assert_renders("{{ x }} {{ x|tojson }} {{ x is integer }} {{ x == x }} {{ x > 1 }}",
                   "{\"x\": 123456789012345678901234567890}",
                   "123456789012345678901234567890 123456789012345678901234567890 True True True");
}

/* Names that are not on the closed lists are errors at load, used or not. */
static void test_unknown_names(void **state) {
    (void)state;
    assert_fails("{% if false %}{{ x|nope }}{% endif %}", "{}", MICA_STATUS_UNSUPPORTED,
                 "no filter named 'nope'");
    assert_fails("\n{% if false %}{{ x is nope }}{% endif %}", "{}", MICA_STATUS_UNSUPPORTED,
                 "line 2: no test named 'nope'");
    assert_fails("{% if false %}{{ nope(1) }}{% endif %}", "{}", MICA_STATUS_UNSUPPORTED,
                 "no function named 'nope'");
    assert_fails("{% if false %}{{ []|map('nope') }}{% endif %}", "{}", MICA_STATUS_UNSUPPORTED,
                 "no filter named 'nope'");
    assert_fails("{% if false %}{{ []|selectattr('a', 'nope') }}{% endif %}", "{}",
                 MICA_STATUS_UNSUPPORTED, "no test named 'nope'");
    assert_fails("{% nope %}", "{}", MICA_STATUS_UNSUPPORTED, "no statement named 'nope'");
    assert_fails("{% include 'x' %}", "{}", MICA_STATUS_UNSUPPORTED,
                 "no statement named 'include'");
    assert_fails("{% for x in l recursive %}{% endfor %}", "{}", MICA_STATUS_UNSUPPORTED,
                 "recursive");
    assert_fails("{{ cycler(1) }}", "{}", MICA_STATUS_UNSUPPORTED, "no function named 'cycler'");
}

/* Errors are values with the line and what was wrong. */
static void test_errors(void **state) {
    (void)state;
    assert_fails("{{ 1 +\n\n }}", "{}", MICA_STATUS_FORMAT,
                 "line 3: unexpected '}}', expected an expression");
    assert_fails("a\n{{ x.y.z }}", "{\"x\": {}}", MICA_STATUS_FORMAT,
                 "line 2: 'dict object' has no attribute 'y'");
    assert_fails("{{ x.y }}", "{}", MICA_STATUS_FORMAT, "'x' is undefined");
    assert_fails("{{ x() }}{% set x = 1 %}", "{}", MICA_STATUS_FORMAT, "'x' is undefined");
    assert_fails("{{ 'a' + 1 }}", "{}", MICA_STATUS_FORMAT, "for +: 'str' and 'int'");
    assert_fails("{{ 1 < 'a' }}", "{}", MICA_STATUS_FORMAT, "cannot order 'int' and 'str'");
    assert_fails("{{ 1 // 0 }}", "{}", MICA_STATUS_FORMAT, "division by zero");
    assert_fails("{{ raise_exception('no ' ~ 'way') }}", "{}", MICA_STATUS_FORMAT, "no way");
    assert_string_equal(err.message, "no way");
    assert_fails("{{ x }}", "{\"x\": }", MICA_STATUS_FORMAT, "template variables");
    assert_fails("{{ x }}", "[]", MICA_STATUS_FORMAT, "not an object");
    assert_fails("{{ x }}", "{\"x\": 1, \"x\": 2}", MICA_STATUS_FORMAT, "");
    assert_fails("{{ '\xff' }}", "{}", MICA_STATUS_FORMAT, "invalid UTF-8 at byte 4");
    assert_fails("{{ x }}", "{\"x\": \"\xff\"}", MICA_STATUS_FORMAT, "");
    assert_fails("{{ strftime_now('%Q') }}", "{}", MICA_STATUS_UNSUPPORTED, "unknown field %Q");
    assert_fails("{{ ''|tojson(nope=1) }}", "{}", MICA_STATUS_FORMAT, "unknown argument 'nope'");
    assert_fails("{{ range() }}", "{}", MICA_STATUS_FORMAT, "range needs its argument 'start'");
    mica_chat_template *t = NULL;
    mica_rendered r;
    mica_render_options options = {.struct_bytes = 3};
    assert_ok(compile("x", 1, &t));
    assert_int_equal(mica_chat_template_render(t, "{}", 2, &options, &r, &err),
                     MICA_STATUS_INVALID);
    mica_chat_template_close(&t);
}

/* The input is immutable; what the render makes is not. */
static void test_immutable_input(void **state) {
    (void)state;
    static const char *const changes[] = {
        "{{ l.append(1) }}",   "{{ l.pop() }}",
        "{{ l.extend([1]) }}", "{{ l.insert(0, 1) }}",
        "{{ l.reverse() }}",   "{{ d.pop('a') }}",
        "{{ d.update(b=1) }}", "{{ d.setdefault('b') }}",
        "{{ d.a.append(1) }}", "{{ messages[0].update(role='x') }}",
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        assert_fails(changes[i], "{\"l\":[1],\"d\":{\"a\":[1]},\"messages\":[{\"role\":\"user\"}]}",
                     MICA_STATUS_FORMAT, "immutable");
    assert_renders("{% set l = [1] %}{{ l.append(2) }}{{ l.pop(0) }}{{ l.extend([3]) }}"
                   "{{ l.insert(0, 9) }}{{ l.reverse() }}{{ l }}",
                   "{}", "None1NoneNoneNone[3, 2, 9]");
    assert_renders("{% set d = {'a': 1} %}{{ d.update({'b': 2}, c=3) }}{{ d.pop('a') }}"
                   "{{ d.pop('z', 0) }}{{ d.setdefault('b', 7) }}{{ d.setdefault('e', 5) }}{{ d }}",
                   "{}", "None1025{'b': 2, 'c': 3, 'e': 5}");
    assert_renders("{% set m = x + [1] %}{{ m.append(2) }}{{ m }}", "{\"x\": [0]}",
                   "None[0, 1, 2]");
    assert_fails("{{ (1, 2).append(3) }}", "{}", MICA_STATUS_FORMAT, "cannot change a tuple");
}

/* A large dictionary finds, replaces and removes its keys (hash index). */
static void test_large_dictionary(void **state) {
    (void)state;
    assert_renders(
        "{% set d = dict() %}{% for i in range(1000) %}{% set x = d.update({i: i * i}) %}"
        "{% endfor %}{% for i in range(0, 1000, 2) %}{% set x = d.pop(i) %}{% endfor %}"
        "{{ d|length }} {{ d[999] }} {{ d[998] is defined }} {{ d[3.0] }} {{ d.keys()|first }}",
        "{}", "500 998001 False 9 1");
}

/* --- origin of the text --- */
/* Brackets are put around every run from input. */
static void assert_origin(const char *source, const char *variables, const char *expected) {
    mica_rendered r = {0};
    char marked[1024];
    size_t n = 0, from = 0;
    mica_status st = render_bytes(source, strlen(source), variables, NULL, &r);
    if (st != MICA_STATUS_OK) fail_msg("%s: %s", source, err.message);
    for (size_t i = 0; i < r.n_runs; i++) {
        assert_true(r.runs[i].end > from);
        if (i > 0) assert_true(r.runs[i].from_input != r.runs[i - 1].from_input);
        if (r.runs[i].from_input) marked[n++] = '[';
        memcpy(marked + n, r.text + from, r.runs[i].end - from);
        n += r.runs[i].end - from;
        if (r.runs[i].from_input) marked[n++] = ']';
        from = r.runs[i].end;
    }
    assert_int_equal(from, r.bytes);
    marked[n] = 0;
    if (strcmp(marked, expected) != 0)
        fail_msg("%s: got '%s', expected '%s'", source, marked, expected);
    mica_free(mica_allocator_default(), r.text);
    mica_free(mica_allocator_default(), r.runs);
}

/* Every operation on text keeps which bytes came from the input. */
static void test_origin(void **state) {
    (void)state;
    static const char variables[] =
        "{\"x\":\"ab\",\"y\":\"c d\",\"u\":\"\\u00e9z\",\"l\":[\"p\",\"q\"],"
        "\"d\":{\"k\":\"v\"},\"q\":\"a\\nb\\\"\",\"n\":5,\"e\":\"\"}";
    static const struct {
        const char *source, *expected;
    } rows[] = {
        {"t{{ x }}t", "t[ab]t"},
        {"{{ x }}{{ y }}", "[abc d]"},
        {"{{ e }}t{{ e }}", "t"},
        {"{{ 't' + x + 'u' }}", "t[ab]u"},
        {"{{ 't' ~ x ~ y ~ 'u' ~ n }}", "t[abc d]u5"},
        {"{{ ('t' + x + 'u')[1:] }}", "[ab]u"},
        {"{{ ('t' + x + 'u')[2:3] }}", "[b]"},
        {"{{ ('t' + x + 'u')[::-1] }}", "u[ba]t"},
        {"{{ ('tt' + x + 'u')[::2] }}", "t[a]u"},
        {"{{ ('t' + u + 'u')[1] }}{{ u[::-1] }}", "[\xc3\xa9z\xc3\xa9]"},
        {"{{ ('  ' + x + ' ')|trim }}", "[ab]"},
        {"{{ (' t' + x + ' ').strip() }}{{ x.lstrip('a') }}{{ x.rstrip('b') }}", "t[abba]"},
        {"{{ y|replace('c', 't') }}", "t[ d]"},
        {"{{ 'tct'|replace('c', x) }}", "t[ab]t"},
        {"{{ 't' * 2 }}{{ x * 2 }}", "tt[abab]"},
        {"{{ l|join(', ') }}", "[p], [q]"},
        {"{{ ['s', x]|join(y) }}", "s[c dab]"},
        {"{{ '-'.join(l) }}", "[p]-[q]"},
        {"{{ d|tojson }}", "{\"[k]\": \"[v]\"}"},
        {"{{ q|tojson }}", "\"[a\\nb\\\"]\""},
        {"{{ [x, 't', n]|tojson }}", "[\"[ab]\", \"t\", 5]"},
        {"{{ d }}", "{'[k]': '[v]'}"},
        {"{{ '%s-%s'|format(x, 't') }}", "[ab]-t"},
        {"{{ '%4s|' % x }}", "  [ab]|"},
        {"{{ '{}-{:>4}'.format(x, 't') }}", "[ab]-   t"},
        {"{{ y.format(1) }}", "[c d]"},
        {"{{ (y ~ 't').split(' ')[1] }}", "[d]t"},
        {"{{ ('t ' ~ y).split()|last }}", "[d]"},
        {"{{ ('t' ~ x)|upper }}{{ ('T' ~ x)|lower }}", "T[AB]t[ab]"},
        {"{{ ('t' ~ x)|capitalize }}{{ ('t ' ~ x)|title }}", "T[ab]T [Ab]"},
        {"{{ q|indent(2) }}", "[a\n]  [b\"]"},
        {"{{ ('t' ~ x)|e }}{{ '<' ~ q|e }}", "t[ab]<[a\nb&#34;]"},
        {"{{ x|center(4) }}", " [ab] "},
        {"{{ x|list|join }}{{ x|first }}{{ x|last }}", "[abab]"},
        {"{{ x|reverse }}{{ l|sort|join }}{{ l|map('upper')|join }}", "[bapqPQ]"},
        {"{{ x|string }}{{ x|safe }}{{ x|default('t') }}{{ z|default('t') }}", "[ababab]t"},
        {"{% set s %}t{{ x }}t{% endset %}{{ s }}", "t[ab]t"},
        {"{% macro m(a) %}t{{ a }}{% endmacro %}{{ m(x) }}{{ m('t') }}", "t[ab]tt"},
        {"{% filter upper %}t{{ x }}{% endfilter %}", "T[AB]"},
        {"{% for c in 't' ~ x %}{{ c }},{% endfor %}", "t,[a],[b],"},
        {"{% for k, v in d.items() %}{{ k }}={{ v }}{% endfor %}", "[k]=[v]"},
        {"{% set ns = namespace(s='') %}{% for c in l %}{% set ns.s = ns.s + 't' + c %}{% endfor %}"
         "{{ ns.s }}",
         "t[p]t[q]"},
        {"{{ '{\"a\": \"t\"}'|from_json|tojson }}", "{\"a\": \"t\"}"},
        {"{{ ('{\"a\": \"' ~ x ~ '\"}')|from_json|tojson }}", "{\"[a]\": \"[ab]\"}"},
        {"{{ ('t,' ~ x).partition(',')[2] }}{{ ('t' ~ x).removeprefix('t') }}", "[abab]"},
        {"{{ (x ~ '\\n' ~ 't').splitlines()[0] }}{{ strftime_now(x) }}", "[abab]"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_origin(rows[i].source, variables, rows[i].expected);
}

/* Special tokens of the defaults are the template's; the same name in the variables is input. */
static void test_defaults(void **state) {
    (void)state;
    mica_chat_template *t = NULL;
    mica_rendered r = {0};
    assert_ok(mica_chat_template_create(mica_host_default(), "{{ bos_token }}{{ x }}", 22,
                                        "{\"bos_token\": \"<s>\"}", &t, &err));
    assert_ok(mica_chat_template_render(t, "{\"x\": \"y\"}", 10, NULL, &r, &err));
    assert_string_equal(r.text, "<s>y");
    assert_int_equal(r.n_runs, 2);
    assert_false(r.runs[0].from_input);
    mica_rendered_free(t, &r);
    assert_ok(mica_chat_template_render(t, "{\"bos_token\": \"<b>\"}", 20, NULL, &r, &err));
    assert_string_equal(r.text, "<b>");
    assert_true(r.runs[0].from_input);
    mica_rendered_free(t, &r);
    mica_chat_template_close(&t);
}

/* --- messages --- */
/* Arguments become objects, parts become text, reasoning is found under all its names. */
static void test_messages(void **state) {
    (void)state;
    assert_renders(
        "{{ messages[0].tool_calls[0].function.arguments|tojson }}",
        "{\"messages\":[{\"tool_calls\":[{\"function\":{\"arguments\":\" {\\\"a\\\": 1}\"}}]}]}",
        "{\"a\": 1}");
    assert_renders("{# items #}{{ messages[0].tool_calls[0].arguments is string }}",
                   "{\"messages\":[{\"tool_calls\":[{\"arguments\":\"{broken\"}]}]}", "True");
    assert_renders("{# items #}{{ messages[0].tool_calls[0].arguments is string }}",
                   "{\"messages\":[{\"tool_calls\":[{\"arguments\":\"[1]\"}]}]}", "True");
    assert_renders("{# items #}{{ messages[0].tool_calls[0].arguments is mapping }}",
                   "{\"messages\":[{\"tool_calls\":[{\"arguments\":\"{}\"}]}]}", "True");
    /* A template that adds them to its text gets them as the text that they are. */
    assert_renders("{{ 'call ' + messages[0].tool_calls[0].function.arguments }}",
                   "{\"messages\":[{\"tool_calls\":[{\"function\":{\"arguments\":"
                   "\"{\\\"a\\\": 1}\"}}]}]}",
                   "call {\"a\": 1}");
    assert_renders("{{ messages[0].content }}",
                   "{\"messages\":[{\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
                   "{\"type\":\"input_text\",\"text\":\"b\"}]}]}",
                   "a\nb");
    assert_renders("{% for p in messages[0].content %}{{ p.text }};{% endfor %}",
                   "{\"messages\":[{\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}]}", "a;");
    assert_fails("{{ messages[0].content }}",
                 "{\"messages\":[{\"content\":[{\"type\":\"image_url\",\"image_url\":\"x\"}]}]}",
                 MICA_STATUS_UNSUPPORTED, "messages[0].content[0] is no text part");
    assert_renders("{{ messages[0].thinking }}{{ messages[0].reasoning_content }}",
                   "{\"messages\":[{\"reasoning\":\"r\",\"thinking\":null}]}", "rr");
    assert_renders("{{ messages[0].thinking }}{{ messages[0].reasoning_content }}",
                   "{\"messages\":[{\"reasoning_content\":\"r\",\"thinking\":\"t\"}]}", "tr");
    assert_renders("{{ messages }}", "{\"messages\":[1, null, {\"tool_calls\": 5}]}",
                   "[1, None, {'tool_calls': 5}]");
}

/* Tools are never dropped silently: a template that does not read them refuses them. */
static void test_tools_refused(void **state) {
    (void)state;
    assert_fails("x", "{\"tools\":[{}]}", MICA_STATUS_UNSUPPORTED, "does not take tools");
    assert_renders("x", "{\"tools\":[]}", "x");
    assert_renders("{% if tools %}{{ tools|length }}{% endif %}", "{\"tools\":[{}]}", "1");
}

/* --- loading --- */
static char folder[] = "/tmp/mica-template-XXXXXX";

static void write_file(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!text) {
        unlink(path);
        return;
    }
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void assert_loads(const char *name, bool for_tools, const char *expected) {
    char path[256];
    mica_chat_template *t = NULL;
    mica_rendered r = {0};
    snprintf(path, sizeof path, "%s%s%s", folder, name[0] ? "/" : "", name);
    assert_ok(mica_chat_template_load(mica_host_default(), path, for_tools, &t, &err));
    assert_ok(mica_chat_template_render(t, "{}", 2, NULL, &r, &err));
    assert_string_equal(r.text, expected);
    mica_rendered_free(t, &r);
    mica_chat_template_close(&t);
}

/* chat_template.jinja wins over tokenizer_config.json; a list is chosen from by name; special
 * tokens are defaults. */
static void test_loading(void **state) {
    (void)state;
    mica_chat_template *t = NULL;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(mica_chat_template_load(mica_host_default(), folder, false, &t, &err),
                     MICA_STATUS_NOT_FOUND);
    assert_int_equal(
        mica_chat_template_load(mica_host_default(), "/nonexistent/x", false, &t, &err),
        MICA_STATUS_NOT_FOUND);
    write_file(
        "tokenizer_config.json",
        "{\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"</s>\","
        "\"lstrip\": false}, \"pad_token\": null, \"add_bos_token\": true, \"unk_token\": \"\","
        "\"chat_template\": \"A{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}"
        "{{ add_bos_token is defined }}{{ unk_token is defined }}\\n\"}");
    assert_loads("", false, "A<s></s>FalseFalseFalse");
    write_file("chat_template.jinja", "B{{ bos_token }}\n");
    assert_loads("", false, "B<s>");
    write_file("other.jinja", "C{{ eos_token }}");
    assert_loads("other.jinja", false, "C</s>");
    write_file("chat_template.jinja", NULL);
    write_file("tokenizer_config.json",
               "{\"chat_template\": [{\"name\": \"default\", \"template\": \"D\"},"
               "{\"name\": \"tool_use\", \"template\": \"T\"}, {\"name\": \"rag\", \"template\": "
               "\"R\"}]}");
    assert_loads("", false, "D");
    assert_loads("", true, "T");
    write_file("tokenizer_config.json",
               "{\"chat_template\": [{\"template\": \"D\", \"name\": \"default\"}]}");
    assert_loads("", true, "D");
    write_file("tokenizer_config.json", "{\"chat_template\": \"{{ 1 +\"}");
    assert_int_equal(mica_chat_template_load(mica_host_default(), folder, false, &t, &err),
                     MICA_STATUS_FORMAT);
    assert_non_null(strstr(err.message, "tokenizer_config.json"));
    write_file("tokenizer_config.json", "{\"chat_template\": 5}");
    assert_int_equal(mica_chat_template_load(mica_host_default(), folder, false, &t, &err),
                     MICA_STATUS_FORMAT);
    write_file("tokenizer_config.json", NULL);
    write_file("other.jinja", NULL);
    rmdir(folder);
}

/* The clock is the one that was given. */
static void test_clock(void **state) {
    (void)state;
    mica_chat_template *t = NULL;
    mica_rendered r = {0};
    const char *source = "{{ strftime_now('%Y-%m-%d') }}{{ add_generation_prompt }}";
    mica_render_options options = {.struct_bytes = sizeof options,
                                   .add_generation_prompt = true,
                                   .now_seconds = 1754395200 /* noon UTC of 2025-08-05 */};
    assert_ok(compile(source, strlen(source), &t));
    assert_ok(mica_chat_template_render(t, "{}", 2, &options, &r, &err));
    assert_string_equal(r.text, "2025-08-05True");
    mica_rendered_free(t, &r);
    mica_chat_template_close(&t);
}

/* --- memory --- */
static const char memory_source[] =
    "{% macro m(a, b=1) %}{{ a }}{{ caller() if caller is defined }}{% endmacro %}"
    "{% set ns = namespace(x='') %}{% for k, v in d.items() if v %}{% set ns.x = ns.x + k %}{% "
    "endfor %}"
    "{% call m(ns.x) %}{{ [1, 2, x]|map('string')|join(', ')|upper }}{% endcall %}"
    "{{ d|tojson(indent=2) }}{{ messages|selectattr('role', 'eq', 'user')|list|length }}"
    "{{ x.split(',')[::-1] }}{{ 'a' 'b' }}{{ '%s' % x }}{{ x|replace('a', 'b' * 100) }}";
static const char memory_variables[] =
    "{\"x\":\"a,b\\n\",\"d\":{\"k\":[1,2,{\"z\":null}],\"e\":2.5},"
    "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"h\"}]},"
    "{\"role\":\"assistant\",\"thinking\":\"t\",\"tool_calls\":[{\"arguments\":\"{}\"}]}]}";

static mica_status render_with(const mica_host *host) {
    mica_chat_template *t = NULL;
    mica_rendered r = {0};
    mica_status st = mica_chat_template_create(host, memory_source, strlen(memory_source),
                                               "{\"bos_token\": \"<s>\"}", &t, &err);
    if (st == MICA_STATUS_OK)
        st = mica_chat_template_render(t, memory_variables, strlen(memory_variables), NULL, &r,
                                       &err);
    if (t) mica_rendered_free(t, &r);
    mica_chat_template_close(&t);
    return st;
}

/* Each allocation that fails gives OUT_OF_MEMORY, and nothing leaks. */
static void test_out_of_memory(void **state) {
    (void)state;
    mica_alloc_counter counter;
    mica_host host = *mica_host_default();
    host.allocator = &counter.allocator;
    for (int both = 0; both < 2; both++) {
        mica_status st = MICA_STATUS_OUT_OF_MEMORY;
        int64_t n = 1;
        for (; st != MICA_STATUS_OK && n < 2000; n++) {
            mica_alloc_counter_init(&counter, mica_allocator_default());
            counter.fail_at = n;
            counter.fail_after = both == 1;
            st = render_with(&host);
            if (st != MICA_STATUS_OK) assert_int_equal(st, MICA_STATUS_OUT_OF_MEMORY);
            assert_int_equal(counter.n_live, 0);
        }
        assert_int_equal(st, MICA_STATUS_OK);
        assert_true(n > 20);
        print_message("%lld allocator calls\n", (long long)n - 1);
    }
}

/* One template renders on many threads at once. */
static void *render_often(void *context) {
    mica_chat_template *t = context;
    for (int i = 0; i < 200; i++) {
        mica_rendered r = {0};
        mica_error own;
        if (mica_chat_template_render(t, memory_variables, strlen(memory_variables), NULL, &r,
                                      &own))
            return (void *)1;
        mica_rendered_free(t, &r);
    }
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    mica_chat_template *t = NULL;
    pthread_t threads[4];
    assert_ok(compile(memory_source, strlen(memory_source), &t));
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, render_often, t), 0);
    for (int i = 0; i < 4; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    mica_chat_template_close(&t);
}

/* The demo model's golden chats come out byte for byte. */
static void test_golden_chats(void **state) {
    (void)state;
    const mica_host *host = mica_host_default();
    char *text = NULL;
    size_t bytes = 0;
    jinja_value golden;
    mica_chat_template *t = NULL;
    jinja_run run = {.host = host, .err = &err, .steps_left = INT64_MAX};
    mica_arena_init(&run.arena, host->allocator, 0);
    assert_ok(mica_chat_template_load(host, MICA_SOURCE_DIR "/models/demo", false, &t, &err));
    assert_ok(mica_file_read_all(host, MICA_SOURCE_DIR "/models/demo/golden.json", 16u << 20, &text,
                                 &bytes, &err));
    assert_true(mica_jinja_read_json(&run, "golden.json", text, bytes, true, &golden));
    const jinja_list *chats = mica_jinja_dict_get(golden.as.dict, "chats")->as.list;
    assert_true(chats->count >= 4);
    for (size_t i = 0; i < chats->count; i++) {
        const jinja_dict *chat = chats->items[i].as.dict;
        jinja_value *variables = mica_jinja_dict_get(chat, "template_kwargs"), key;
        assert_true(mica_jinja_string(&run, "messages", 8, true, &key));
        assert_true(mica_jinja_dict_set(&run, variables->as.dict, key,
                                        *mica_jinja_dict_get(chat, "messages")));
        jinja_builder b;
        mica_jinja_builder_init(&b, &run);
        assert_true(mica_jinja_print_json(&b, variables, &(jinja_json_style){0}));
        mica_rendered r = {0};
        mica_render_options options = {.struct_bytes = sizeof options,
                                       .add_generation_prompt = true};
        assert_ok(mica_chat_template_render(t, b.data, b.bytes, &options, &r, &err));
        const jinja_string *expected = mica_jinja_dict_get(chat, "rendered")->as.string;
        assert_int_equal(r.bytes, expected->bytes);
        assert_memory_equal(r.text, expected->data, r.bytes);
        mica_rendered_free(t, &r);
    }
    mica_chat_template_close(&t);
    mica_arena_deinit(&run.arena);
    mica_free(host->allocator, text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parser_depth),
        cmocka_unit_test(test_parser_depth_expressions),
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_recursion),
        cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_growing_text),
        cmocka_unit_test(test_big_integers),
        cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_immutable_input),
        cmocka_unit_test(test_large_dictionary),
        cmocka_unit_test(test_origin),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_tools_refused),
        cmocka_unit_test(test_loading),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_golden_chats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
