/* Every budget of a template, on a thread with little stack and with counted memory: what is too
 * much ends as LIMIT with the name of what ran out, within seconds, and gives everything back. */
#include "text/template.h"
#include <pthread.h>
#include <time.h>
#include "base/alloc.h"
#include "test.h"
#include "text/jinja_eval.h"

/* The sanitizers' frames are several times those of a release build. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifdef IS_SANITIZED
#define STACK_BYTES (2u << 20)
#define SECONDS_MAX 60.0
#else
#define STACK_BYTES (256u << 10)
#define SECONDS_MAX 6.0 /* the budget's 1 s, on a machine that does other things, too */
#endif

/* ---- one render on a small thread ---- */

typedef struct job {
    const char *source;
    size_t source_bytes;
    const char *variables;
    mica_status status;
    char message[sizeof((mica_error *)0)->message];
    int64_t n_live; /* blocks that were not given back */
    double seconds;
} job;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *render_on_thread(void *context) {
    job *j = context;
    mica_alloc_counter counter;
    mica_host host = *mica_host_default();
    mica_chat_template *t = NULL;
    mica_rendered r = {0};
    mica_error err = {0};
    double start = now();
    mica_alloc_counter_init(&counter, mica_allocator_default());
    host.allocator = &counter.allocator;
    j->status = mica_chat_template_create(&host, j->source, j->source_bytes, NULL, &t, &err);
    if (j->status == MICA_STATUS_OK)
        j->status =
            mica_chat_template_render(t, j->variables, strlen(j->variables), NULL, &r, &err);
    if (t) mica_rendered_free(t, &r);
    mica_chat_template_close(&t);
    j->n_live = counter.n_live;
    j->seconds = now() - start;
    memcpy(j->message, err.message, sizeof j->message);
    return NULL;
}

static job render(const char *source, const char *variables) {
    job j = {.source = source, .source_bytes = strlen(source), .variables = variables};
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    assert_int_equal(pthread_attr_setstacksize(&attributes, STACK_BYTES), 0);
    assert_int_equal(pthread_create(&thread, &attributes, render_on_thread, &j), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    if (j.n_live != 0) fail_msg("%.200s: %lld blocks are left", source, (long long)j.n_live);
    if (j.seconds > SECONDS_MAX) fail_msg("%.200s: took %.1f s", source, j.seconds);
    return j;
}

/* part: words of the message, or several that may come, separated by "|". */
static void assert_limited(const char *source, const char *variables, const char *part) {
    job j = render(source, variables);
    char parts[200];
    bool found = false;
    snprintf(parts, sizeof parts, "%s", part);
    for (char *p = strtok(parts, "|"); p; p = strtok(NULL, "|"))
        found = found || strstr(j.message, p) != NULL;
    if (j.status != MICA_STATUS_LIMIT || !found)
        fail_msg("%.200s: %s: '%.300s', wanted '%s'", source, mica_status_name(j.status), j.message,
                 part);
}

static void assert_fine(const char *source, const char *variables) {
    job j = render(source, variables);
    if (j.status != MICA_STATUS_OK) fail_msg("%.200s: %s", source, j.message);
}

/* start + before * n + middle + after * n + end; free it */
static char *nest(const char *start, const char *before, const char *middle, const char *after,
                  const char *end, size_t n) {
    size_t bytes =
        strlen(start) + strlen(middle) + strlen(end) + n * (strlen(before) + strlen(after)) + 1;
    char *out = malloc(bytes), *at = out;
    assert_non_null(out);
    at = stpcpy(at, start);
    for (size_t i = 0; i < n; i++) at = stpcpy(at, before);
    at = stpcpy(at, middle);
    for (size_t i = 0; i < n; i++) at = stpcpy(at, after);
    stpcpy(at, end);
    return out;
}

/* ---- depth ---- */

/* Whatever nests in a source is refused beyond its limit; a hundred levels are run. */
static void test_source_depth(void **state) {
    (void)state;
    static const struct {
        const char *start, *before, *middle, *after, *end, *part;
        size_t n;
    } rows[] = {
        {"", "{% if true %}", "x", "{% endif %}", "", "deeper than 128", 5500},
        {"", "{% if false %}{% else %}", "x", "{% endif %}", "", "deeper than 128", 5500},
        {"", "{% for x in [1] %}", "x", "{% endfor %}", "", "deeper than 128", 5500},
        {"", "{% set x %}", "x", "{% endset %}", "", "deeper than 128", 5500},
        {"", "{% with %}", "x", "{% endwith %}", "", "deeper than 128", 5500},
        {"", "{% filter upper %}", "x", "{% endfilter %}", "", "deeper than 128", 5500},
        {"", "{% generation %}", "x", "{% endgeneration %}", "", "deeper than 128", 5500},
        {"", "{% macro m() %}", "x", "{% endmacro %}", "", "deeper than 128", 5500},
        {"{% macro m() %}{{ caller() }}{% endmacro %}", "{% call m() %}", "x", "{% endcall %}", "",
         "deeper than", 5500},
        {"{{ ", "(", "1", ")", " }}", "deeper than 128", 6000},
        {"{{ ", "[", "1", "]", " }}", "deeper than 128", 6000},
        {"{{ ", "{1: ", "1", "}", " }}", "deeper than 128", 6000},
        {"{{ ", "(1,", "1", ")", " }}", "deeper than 128", 6000},
        {"{{ ", "-", "1", "", " }}", "deeper than 128", 6000},
        {"{{ ", "not ", "1", "", " }}", "deeper than 128", 6000},
        {"{{ ", "1 if 0 else ", "1", "", " }}", "deeper than 128", 6000},
        {"{{ ", "range(", "1", ")", " }}", "deeper than 128", 6000},
        {"{{ ", "[1][", "0", "]", " }}", "deeper than 128", 6000},
        {"{{ ", "1|default(", "1", ")", " }}", "deeper than 128", 6000},
        {"{{ ", "1 is eq(", "1", ")", " }}", "deeper than 128", 6000},
        {"{% for ", "(", "a", ",)", " in [] %}{% endfor %}", "deeper than 128", 6000},
        {"{{ x", "", "", ".a", " }}", "chain of more than 128", 6000},
        {"{{ x", "", "", "[0]", " }}", "chain of more than 128", 6000},
        {"{{ x", "", "", "|string", " }}", "chain of more than 128", 6000},
        {"{{ x", "", "", "()", " }}", "chain of more than 128", 6000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *source = nest(rows[i].start, rows[i].before, rows[i].middle, rows[i].after,
                            rows[i].end, rows[i].n);
        assert_limited(source, "{\"x\": 1}", rows[i].part);
        free(source);
    }
    static const char *const fine[][5] = {
        {"", "{% if true %}", "x", "{% endif %}", ""},
        {"", "{% for x in [1] %}", "x", "{% endfor %}", ""},
        {"", "{% set x %}", "x", "{% endset %}", ""},
        {"{{ ", "(", "1", ")", " }}"},
        {"{{ ", "[", "1", "]", " }}"},
        {"{{ ", "not ", "1", "", " }}"},
        {"{{ ", "1 if 0 else ", "1", "", " }}"},
        {"{{ ", "1 + ", "1", "", " }}"},
    };
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        char *source = nest(fine[i][0], fine[i][1], fine[i][2], fine[i][3], fine[i][4], 100);
        assert_fine(source, "{}");
        free(source);
    }
}

/* Recursion of macros, and values that hold themselves or are deep, end on a small stack. */
static void test_run_depth(void **state) {
    (void)state;
    static const char *const sources[] = {
        "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        "{% macro f(x) %}{% if 1 %}{% for i in [1] %}{{ [[[[f(x)]]]] }}{% endfor %}{% endif %}"
        "{% endmacro %}{{ f(1) }}",
        "{% macro f(x) %}{% filter trim %}{% set y %}{{ (f(x)|trim) ~ [f(x)] }}{% endset %}"
        "{% endfilter %}{% endmacro %}{{ f(1) }}",
        "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ g() }}",
        "{% macro w() %}{{ caller() }}{% call w() %}a{% endcall %}{% endmacro %}"
        "{% call w() %}b{% endcall %}",
        "{% macro f(x=f()) %}{% endmacro %}{{ f() }}",
        "{% set l = [] %}{% set x = l.append(l) %}{{ l }}",
        "{% set l = [] %}{% set x = l.append(l) %}{{ l|tojson }}",
        "{% set d = {} %}{% set x = d.update({'a': d}) %}{{ d }}",
        "{% set a = [] %}{% set b = [] %}{% set x = a.append(b) %}{% set x = b.append(a) %}{{ a == "
        "b }}",
        "{% set a = [] %}{% set b = [] %}{% set x = a.append(b) %}{% set x = b.append(a) %}{{ a < "
        "b }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(5000) %}{% set ns.x = [ns.x] %}{% endfor "
        "%}"
        "{{ ns.x }}",
        "{% set ns = namespace(x=1) %}{% for i in range(5000) %}{% set ns.x = (ns.x,) %}{% endfor "
        "%}"
        "{{ {ns.x: 1} }}",
        "{% set ns = namespace(x=1) %}{% for i in range(5000) %}{% set ns.x = (ns.x,) %}{% endfor "
        "%}"
        "{{ ns.x in {} }}",
    };
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        assert_limited(sources[i], "{}", "nested deeper than");
}

/* Variables and texts of JSON nested without end are refused, too. */
static void test_input_depth(void **state) {
    (void)state;
    char *lists = nest("{\"x\": ", "[", "1", "]", "}", 100000);
    char *objects = nest("{\"x\": ", "{\"a\": ", "1", "}", "}", 100000);
    char *source = nest("{{ '", "[", "", "]", "'|from_json }}", 6000);
    const job jobs[] = {render("{{ x }}", lists), render("{{ x }}", objects), render(source, "{}")};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(jobs[i].status, MICA_STATUS_FORMAT);
        assert_non_null(strstr(jobs[i].message, "nested deeper than 64 levels"));
    }
    free(lists);
    free(objects);
    free(source);
}

/* ---- steps and time ---- */

/* A render by hand, with budgets of its own. */
static mica_status run_within(const char *source, int64_t steps, double seconds, mica_error *err) {
    const mica_host *host = mica_host_default();
    jinja_run run = {.host = host, .err = err, .steps_left = steps, .steps_check = steps};
    jinja_program program = {0};
    jinja_scope scope = {0};
    jinja_state state = {.run = &run, .program = &program, .scope = &scope};
    mica_arena_init(&run.arena, host->allocator, MICA_TEMPLATE_HEAP_BYTES_MAX);
    if (seconds > 0) run.deadline_ns = (int64_t)((now() + seconds) * 1e9);
    mica_jinja_builder_init(&state.output, &run);
    if (mica_jinja_parse(&run, mica_slice_from(source), &program)) {
        scope.slots = mica_jinja_alloc(&run, program.n_symbols + 1, sizeof *scope.slots);
        assert_non_null(scope.slots);
        memset(scope.slots, 0, (program.n_symbols + 1) * sizeof *scope.slots);
        mica_jinja_render(&state);
    }
    mica_arena_deinit(&run.arena);
    return run.status;
}

#define LOOPS(body)                                                                                \
    "{% for i in range(100000) %}{% for j in range(100000) %}" body "{% endfor %}{% endfor %}"
#define TIME "more than 10000000 steps|took longer than 1 s"
#define NEEDLE "{% set a = 'a' * 1000000 %}"
#define DICTIONARY                                                                                 \
    "{% set d = {} %}{% for i in range(50000) %}{% set x = d.update({i: i}) %}{% endfor %}"
#define TUPLES                                                                                     \
    "{% set ns = namespace(s=(1, 2), t=(1, 2)) %}{% for i in range(60) %}"                         \
    "{% set ns.s = (ns.s, ns.s) %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}"

/* Endless work ends by its steps alone, also where one operation on a large value costs as much as
 * many small ones. */
static void test_work(void **state) {
    (void)state;
    static const char *const sources[] = {
        LOOPS(""),
        LOOPS("{% if false %}{% elif true %}{% endif %}"),
        LOOPS("{% continue %}"),
        "{% set l = [1] %}{% for x in l %}{% set y = l.append(1) %}{% endfor %}",
        NEEDLE LOOPS("{% set x = 'b' in a %}"),
        NEEDLE LOOPS("{% set x = a.count('b') %}"),
        NEEDLE LOOPS("{% set x = a.find('b') %}"),
        NEEDLE LOOPS("{% set x = a.rfind('b') %}"),
        NEEDLE LOOPS("{% set x = a.split('b') %}"),
        NEEDLE LOOPS("{% set x = a.strip('b') %}{% set x = a|int %}{% set x = a|float %}"),
        NEEDLE LOOPS("{% set x = {}[a] %}"),
        NEEDLE LOOPS("{% set x = {}.get(a) %}"),
        NEEDLE LOOPS("{% set x = a == a ~ 'b' %}"),
        NEEDLE "{{ a.rfind('a' * 500000) }}",
        NEEDLE "{{ a.rsplit('a' * 500000 ~ 'b')|length }}",
        NEEDLE "{{ a.strip('b' * 1000000 ~ 'a')|length }}",
        NEEDLE "{{ a|trim('b' * 1000000 ~ 'a')|length }}",
        NEEDLE "{% set t = (a, a, a, a) %}" LOOPS("{% set x = t in {} %}"),
        TUPLES "{{ {ns.t: 1}|length }}",
        TUPLES "{{ ns.t in {} }}",
        TUPLES "{{ {}.get(ns.t) }}",
        TUPLES "{{ ns.s == ns.t }}",
        TUPLES "{{ ns.s < ns.t }}",
        "{% set l = range(100000)|list %}" LOOPS("{% set x = l.index(99999) %}"),
        "{% set l = range(100000)|list %}" LOOPS("{% set x = l|sum %}{% set x = l|max %}"),
        "{% set l = range(100000)|list %}" LOOPS(
            "{% set x = l.pop() %}{% set x = l.insert(0, 1) %}"),
        DICTIONARY "{% for i in range(50000) %}{% set x = d.pop(i) %}{% endfor %}",
    };
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        mica_error err = {0};
        double start = now();
        mica_status st = run_within(sources[i], 300000, 0, &err);
        if (st != MICA_STATUS_LIMIT || !strstr(err.message, "steps"))
            fail_msg("%s: %s", sources[i], err.message);
        if (now() - start > SECONDS_MAX) fail_msg("%s: took %.1f s", sources[i], now() - start);
    }
    assert_limited(sources[0], "{}", TIME);
}

/* Steps and time are two budgets: each ends a render by itself. */
static void test_steps_and_time(void **state) {
    (void)state;
    mica_error err = {0};
    assert_int_equal(run_within(LOOPS(""), 100000, 0, &err), MICA_STATUS_LIMIT);
    assert_non_null(strstr(err.message, "steps"));
    double start = now();
    assert_int_equal(run_within(LOOPS(""), INT64_MAX, 0.05, &err), MICA_STATUS_LIMIT);
    assert_non_null(strstr(err.message, "took longer than"));
    assert_true(now() - start < SECONDS_MAX);
    assert_ok(run_within("{% for i in range(1000) %}{% endfor %}", 100000, 0, &err));
}

/* Keys that fall on the same place of a dictionary cost steps, not only time. */
static void test_colliding_keys(void **state) {
    (void)state;
    enum { KEYS = 1500 };
    mica_error err = {0};
    for (int collides = 0; collides < 2; collides++) {
        char *source = malloc(KEYS * 16 + 64), *at = stpcpy(source, "{% set d = {");
        int n = 0;
        for (int64_t i = 0; n < KEYS; i++) {
            char key[24];
            snprintf(key, sizeof key, "%lld", (long long)i);
            if (collides && (mica_slice_hash(mica_slice_from(key)) & 0x7ff) != 5) continue;
            at += snprintf(at, 32, "'%s': 1,", key);
            n++;
        }
        stpcpy(at, "} %}");
        mica_status st = run_within(source, 60000, 0, &err);
        assert_int_equal(st, collides ? MICA_STATUS_LIMIT : MICA_STATUS_OK);
        free(source);
    }
}

/* ---- sizes ---- */

/* Output, memory, ranges, texts and integers that grow too large, each by its name; what is just
 * within a limit is fine. */
static void test_sizes(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"{% set s = 'a' * 1048576 %}{% for i in range(17) %}{{ s }}{% endfor %}",
         "16777216 bytes of output"},
        {"{% set s = 'a' * 1048576 %}{% for i in range(16) %}{{ s }}{% endfor %}x",
         "16777216 bytes of output"},
        {"{{ 'a' * 1000000000 }}", "67108864 bytes of memory|" TIME},
        {"{{ [1] * 1000000000 }}", "67108864 bytes of memory|" TIME},
        {"{{ (1,) * 9223372036854775807 }}", "67108864 bytes of memory|" TIME},
        {"{% set ns = namespace(s='ab') %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}"
         "{% endfor %}",
         "67108864 bytes of memory"},
        {"{% set ns = namespace(s='ab') %}{% for a in range(99) %}{% set ns.s = ns.s ~ ns.s %}"
         "{% endfor %}",
         "67108864 bytes of memory"},
        {"{% set l = [1] %}{% for i in range(64) %}{% set y = l.extend(l) %}{% endfor %}",
         "67108864 bytes of memory|" TIME},
        {"{{ ('a' * 100000)|replace('a', 'b' * 100000) }}", "67108864 bytes of memory"},
        {"{{ ('a' * 100000).replace('', 'b' * 100000) }}", "67108864 bytes of memory"},
        {"{{ ('x' * 10000)|list|join('y' * 100000) }}", "67108864 bytes of memory"},
        {"{{ ('y' * 100000).join(('x' * 10000)|list) }}", "67108864 bytes of memory"},
        {"{% set s = '%s' * 50000 %}{{ s % ((('x' * 2000),) * 50000) }}",
         "67108864 bytes of memory|" TIME},
        {"{{ ('{0}' * 50000).format('x' * 2000) }}", "67108864 bytes of memory|" TIME},
        {"{{ ('\\n' * 100000)|indent('x' * 1000, blank=true) }}", "67108864 bytes of memory"},
        {"{{ 'x'|center(999999999) }}", "67108864 bytes of memory|" TIME},
        {"{{ 'x'|indent(4097) }}", "indent of 4097"},
        {"{{ 'x'|tojson(indent=999999999) }}", "indent of 999999999"},
        {"{{ '%65537d' % 5 }}", "width or precision of more than 65536"},
        {"{{ '%.99999999999999999999s' % 'x' }}", "width or precision of more than 65536"},
        {"{{ '{:>65537}'.format(5) }}", "width or precision of more than 65536"},
        {"{{ range(100001) }}", "range of more than 100000 items"},
        {"{{ range(9223372036854775807)|list }}", "range of more than 100000 items"},
        {"{{ range(-9223372036854775807, 9223372036854775807, 1)|list }}",
         "range of more than 100000 items"},
        {"{{ [range(100000)]|map('list')|list|tojson }}{% set l = range(100000)|list %}"
         "{% for i in range(99999) %}{% set m = l + l %}{% endfor %}",
         "67108864 bytes of memory|" TIME},
        {"{{ 9223372036854775807 + 1 }}", "integer beyond 64 bits"},
        {"{{ 9223372036854775807 * 2 }}", "integer beyond 64 bits"},
        {"{{ 10 ** 19 }}", "integer beyond 64 bits"},
        {"{{ 12345678901234567890 }}", "integer beyond 64 bits"},
        {"{{ (-9223372036854775807 - 1) // -1 }}", "integer beyond 64 bits"},
        {"{{ -(-9223372036854775807 - 1) }}", "integer beyond 64 bits"},
    };
    static const char *const fine[] = {
        "{% set s = 'a' * 1048576 %}{% for i in range(16) %}{{ s }}{% endfor %}",
        "{{ 'x'|indent(4096) }}",
        "{{ '%65536d' % 5 }}",
        "{{ range(100000)|length }}",
        "{{ 9223372036854775807 }}{{ 3037000499 * 3037000499 }}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_limited(rows[i][0], "{}", rows[i][1]);
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) assert_fine(fine[i], "{}");
}

/* A source of 1 MiB is taken, one byte more is not; neither are too many names. */
static void test_source_size(void **state) {
    (void)state;
    char *source = nest("", "x", "", "", "", MICA_TEMPLATE_SOURCE_BYTES_MAX);
    assert_fine(source, "{}");
    free(source);
    source = nest("x", "x", "", "", "", MICA_TEMPLATE_SOURCE_BYTES_MAX);
    assert_limited(source, "{}", "at most 1048576 are taken");
    free(source);
    char *names = malloc(1 << 20), *at = names;
    for (int i = 0; at - names < (1 << 20) - 32; i++) at += sprintf(at, "{{n%d}}", i);
    assert_limited(names, "{}", "names|steps");
    free(names);
    source = nest("{{ ", "x,", "", "", " }}", 300000);
    job j = render(source, "{}"); /* one tuple of many: it may be too much or not */
    assert_true(j.status == MICA_STATUS_OK || j.status == MICA_STATUS_LIMIT);
    free(source);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_source_depth),   cmocka_unit_test(test_run_depth),
        cmocka_unit_test(test_input_depth),    cmocka_unit_test(test_work),
        cmocka_unit_test(test_steps_and_time), cmocka_unit_test(test_colliding_keys),
        cmocka_unit_test(test_sizes),          cmocka_unit_test(test_source_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
