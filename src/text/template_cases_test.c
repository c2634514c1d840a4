/* Chat templates against outputs that Jinja2 made (tools/template_cases.py): snippets of every
 * feature, the demo model's template, and real templates where the test data folder is there. */
#include "test.h"
#include <time.h>
#include "base/file.h"
#include "base/json.h"
#include "text/template.h"

#define INPUTS_MAX 512

typedef struct test_case {
    char *name, *source, *file, *expected, *fnv;
    char *message; /* of an error that the template raised */
    size_t source_bytes, expected_bytes;
    int64_t input;
    bool is_error;
} test_case;

typedef struct test_cases {
    char *inputs[INPUTS_MAX];
    size_t input_bytes[INPUTS_MAX];
    size_t n_inputs, n_run, n_wrong;
    const char *folder;           /* of `file` */
    mica_chat_template *template; /* of the last file */
    char file[256];
} test_cases;

static char *take_string(mica_json *j, size_t *bytes) {
    mica_error err = {0};
    mica_slice text;
    assert_ok(mica_json_read_string(j, &text, &err));
    if (bytes) *bytes = text.bytes;
    return mica_alloc_string(mica_allocator_default(), text.data, text.bytes);
}

static test_case read_case(mica_json *j) {
    mica_error err = {0};
    mica_slice key;
    test_case c = {0};
    assert_ok(mica_json_begin_object(j, &err));
    while (mica_json_next_key(j, &key)) {
        if (mica_slice_is(key, "name"))
            c.name = take_string(j, NULL);
        else if (mica_slice_is(key, "template"))
            c.source = take_string(j, &c.source_bytes);
        else if (mica_slice_is(key, "file"))
            c.file = take_string(j, NULL);
        else if (mica_slice_is(key, "expected"))
            c.expected = take_string(j, &c.expected_bytes);
        else if (mica_slice_is(key, "fnv"))
            c.fnv = take_string(j, NULL);
        else if (mica_slice_is(key, "message"))
            c.message = take_string(j, NULL);
        else if (mica_slice_is(key, "input"))
            assert_ok(mica_json_read_i64(j, &c.input, &err));
        else
            assert_ok(mica_json_read_bool(j, &c.is_error, &err));
    }
    assert_ok(mica_json_check(j, &err));
    return c;
}

static void free_case(test_case *c) {
    const mica_allocator *a = mica_allocator_default();
    mica_free(a, c->name);
    mica_free(a, c->source);
    mica_free(a, c->file);
    mica_free(a, c->expected);
    mica_free(a, c->fnv);
    mica_free(a, c->message);
}

static uint64_t hash_text(const char *data, size_t bytes) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++) h = (h ^ (unsigned char)data[i]) * 0x100000001b3u;
    return h;
}

/* 2025-08-05 12:34:56 local time, as the reference has it. */
static int64_t reference_clock(void) {
    struct tm t = {.tm_year = 125,
                   .tm_mon = 7,
                   .tm_mday = 5,
                   .tm_hour = 12,
                   .tm_min = 34,
                   .tm_sec = 56,
                   .tm_isdst = -1};
    return (int64_t)mktime(&t);
}

static bool is_as_expected(const test_case *c, const mica_rendered *r) {
    if (c->fnv) {
        char text[17];
        snprintf(text, sizeof text, "%016llx", (unsigned long long)hash_text(r->text, r->bytes));
        return strcmp(text, c->fnv) == 0;
    }
    return r->bytes == c->expected_bytes && memcmp(r->text, c->expected, r->bytes) == 0;
}

/* An .xz file into a tokenizer_config.json in a fresh folder. */
static void unpack(const char *path, char *folder) {
    char command[2 * MICA_PATH_BYTES_MAX];
    assert_non_null(mkdtemp(folder));
    snprintf(command, sizeof command, "xz -dc '%s' > '%s/tokenizer_config.json'", path, folder);
    assert_int_equal(system(command), 0);
}

static void remove_folder(const char *folder) {
    char path[MICA_PATH_BYTES_MAX];
    snprintf(path, sizeof path, "%s/tokenizer_config.json", folder);
    remove(path);
    remove(folder);
}

static mica_status open_template(test_cases *all, const test_case *c, mica_error *err) {
    const mica_host *host = mica_host_default();
    if (c->source) {
        mica_chat_template_close(&all->template);
        return mica_chat_template_create(host, c->source, c->source_bytes, NULL, &all->template,
                                         err);
    }
    if (all->template && strcmp(c->file, all->file) == 0) return MICA_STATUS_OK;
    mica_chat_template_close(&all->template);
    char path[MICA_PATH_BYTES_MAX];
    snprintf(path, sizeof path, "%s/%s", all->folder, c->file);
    snprintf(all->file, sizeof all->file, "%s", c->file);
    char *config = strstr(path, "/tokenizer_config.json");
    char folder[] = "/tmp/mica-template-XXXXXX";
    bool is_packed = config && strstr(config, ".xz");
    if (is_packed)
        unpack(path, folder);
    else if (config)
        *config = 0; /* the folder */
    mica_status st =
        mica_chat_template_load(host, is_packed ? folder : path, false, &all->template, err);
    if (is_packed) remove_folder(folder);
    return st;
}

static void run_case(test_cases *all, const test_case *c) {
    mica_error err = {0};
    mica_rendered r = {0};
    mica_render_options options = {.struct_bytes = sizeof options,
                                   .now_seconds = reference_clock()};
    mica_status st = open_template(all, c, &err);
    if (st == MICA_STATUS_OK)
        st = mica_chat_template_render(all->template, all->inputs[c->input],
                                       all->input_bytes[c->input], &options, &r, &err);
    bool ok = st == MICA_STATUS_OK ? !c->is_error && is_as_expected(c, &r) : c->is_error;
    if (c->message) ok = ok && strcmp(err.message, c->message) == 0;
    all->n_run++;
    if (!ok && all->n_wrong++ < 60)
        print_error("%s %s: %s\n  got      %s\n  expected %s\n", c->name, c->file ? c->file : "",
                    c->source ? c->source : "", st == MICA_STATUS_OK ? r.text : err.message,
                    c->is_error   ? "(an error)"
                    : c->expected ? c->expected
                                  : c->fnv);
    if (all->template) mica_rendered_free(all->template, &r);
}

/* Renders every case of a file; skips those whose file is not there when `skips`. */
static void run_file(const char *path, const char *folder, size_t n_least) {
    mica_error err = {0};
    char *text = NULL;
    size_t bytes = 0;
    mica_json *j = NULL;
    mica_slice key;
    const mica_host *host = mica_host_default();
    test_cases *all = calloc(1, sizeof *all);
    all->folder = folder;
    assert_ok(mica_file_read_all(host, path, 64u << 20, &text, &bytes, &err));
    assert_ok(mica_json_open(host, path, text, bytes, 16, &j, &err));
    assert_ok(mica_json_begin_object(j, &err));
    while (mica_json_next_key(j, &key)) {
        bool are_inputs = mica_slice_is(key, "inputs");
        assert_ok(mica_json_begin_array(j, &err));
        while (mica_json_next_item(j)) {
            if (are_inputs) {
                assert_true(all->n_inputs < INPUTS_MAX);
                all->inputs[all->n_inputs] = take_string(j, &all->input_bytes[all->n_inputs]);
                all->n_inputs++;
                continue;
            }
            test_case c = read_case(j);
            run_case(all, &c);
            free_case(&c);
        }
        assert_ok(mica_json_check(j, &err));
    }
    assert_ok(mica_json_check(j, &err));
    mica_json_close(&j);
    mica_free(host->allocator, text);
    mica_chat_template_close(&all->template);
    for (size_t i = 0; i < all->n_inputs; i++) mica_free(host->allocator, all->inputs[i]);
    size_t n_run = all->n_run, n_wrong = all->n_wrong;
    free(all);
    print_message("%zu cases\n", n_run);
    assert_true(n_run >= n_least);
    assert_int_equal(n_wrong, 0);
}

/* Every language feature prints what Jinja2 prints, byte for byte, or fails where it fails. */
static void test_features(void **state) {
    (void)state;
    run_file(MICA_SOURCE_DIR "/tests/data/template/features.json", NULL, 1000);
}

/* The demo model's template renders every conversation as Jinja2 does. */
static void test_demo_template(void **state) {
    (void)state;
    run_file(MICA_SOURCE_DIR "/tests/data/template/demo.json", MICA_SOURCE_DIR "/models/demo", 100);
}

/* Templates written for the tests (tools, reasoning, strict turns, printing) render seeded random
 * conversations as Jinja2 does, and raise what it raises. */
static void test_own_templates(void **state) {
    (void)state;
    run_file(MICA_SOURCE_DIR "/tests/data/template/own.json",
             MICA_SOURCE_DIR "/tests/data/template", 200);
}

/* Real templates render every conversation as Jinja2 does, or fail where it fails. */
static void test_real_templates(void **state) {
    (void)state;
    const char *folder = test_data_folder();
    if (!folder) skip();
    run_file(MICA_SOURCE_DIR "/tests/data/template/models.json", folder, 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_features),
        cmocka_unit_test(test_demo_template),
        cmocka_unit_test(test_own_templates),
        cmocka_unit_test(test_real_templates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
