/* Tokenizers against recorded results of the reference (made by tools/tokenizer_cases.py and
 * tools/tokenizer_pipelines.py): the demo model's, real ones, and small ones with random pipelines.
 */
#include "base/file.h"
#include "base/json.h"
#include "test.h"
#include "text/tokenizer.h"

#define CASES MICA_SOURCE_DIR "/tests/data/tokenizer/"

typedef struct test_case {
    char *text, *back, *visible; /* NULL where not given */
    size_t text_bytes;
    int32_t *ids, *plain;
    size_t n_ids, n_plain;
    bool is_plain, adds, is_golden; /* golden: decoded with special tokens only */
} test_case;

static char *copy_text(mica_json *j, size_t *bytes) {
    mica_error err = {0};
    mica_slice text;
    assert_ok(mica_json_read_string(j, &text, &err));
    char *copy = malloc(text.bytes + 1);
    assert_non_null(copy);
    memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    if (bytes) *bytes = text.bytes;
    return copy;
}

static int32_t *copy_ids(mica_json *j, size_t *count) {
    mica_error err = {0};
    size_t n = 0, capacity = 64;
    int32_t *ids = malloc(capacity * sizeof(*ids));
    assert_ok(mica_json_begin_array(j, &err));
    while (mica_json_next_item(j)) {
        int64_t id = 0;
        assert_ok(mica_json_read_i64(j, &id, &err));
        if (n == capacity) ids = realloc(ids, (capacity *= 2) * sizeof(*ids));
        assert_non_null(ids);
        ids[n++] = (int32_t)id;
    }
    assert_ok(mica_json_check(j, &err));
    *count = n;
    return ids;
}

static void read_case(mica_json *j, test_case *c) {
    mica_error err = {0};
    mica_slice key;
    *c = (test_case){0};
    assert_ok(mica_json_begin_object(j, &err));
    while (mica_json_next_key(j, &key)) {
        if (mica_slice_is(key, "text"))
            c->text = copy_text(j, &c->text_bytes);
        else if (mica_slice_is(key, "ids"))
            c->ids = copy_ids(j, &c->n_ids);
        else if (mica_slice_is(key, "ids_plain"))
            c->plain = copy_ids(j, &c->n_plain);
        else if (mica_slice_is(key, "text_back"))
            c->back = copy_text(j, NULL);
        else if (mica_slice_is(key, "decoded")) {
            c->back = copy_text(j, NULL);
            c->is_golden = true;
        } else if (mica_slice_is(key, "text_visible"))
            c->visible = copy_text(j, NULL);
        else if (mica_slice_is(key, "add"))
            assert_ok(mica_json_read_bool(j, &c->adds, &err));
        else if (mica_slice_is(key, "plain") && mica_json_peek(j) == MICA_JSON_ARRAY)
            c->plain = copy_ids(j, &c->n_plain);
        else if (mica_slice_is(key, "plain"))
            assert_ok(mica_json_read_bool(j, &c->is_plain, &err));
        else if (mica_slice_is(key, "texts")) {
            assert_ok(mica_json_begin_array(j, &err));
            for (int i = 0; mica_json_next_item(j); i++)
                *(i ? &c->back : &c->visible) = copy_text(j, NULL);
        } else
            assert_ok(mica_json_skip(j, &err));
    }
    assert_ok(mica_json_check(j, &err));
}

static void free_case(test_case *c) {
    free(c->text);
    free(c->back);
    free(c->visible);
    free(c->ids);
    free(c->plain);
}

static void check_ids(const mica_tokenizer *t, const test_case *c, bool is_plain,
                      const int32_t *ids, size_t count) {
    mica_error err = {0};
    mica_tokens got = {0};
    mica_encode_options options = {sizeof(options), is_plain, c->adds};
    assert_ok(mica_tokenizer_encode(t, c->text, c->text_bytes, &options, &got, &err));
    if (got.count != count || (count && memcmp(got.ids, ids, count * sizeof(*ids)) != 0))
        fail_msg("ids of \"%s\" (plain %d) differ: %zu, expected %zu", c->text, is_plain, got.count,
                 count);
    mica_tokens_free(t, &got);
}

/* Whole and streamed decoding give the same text. */
static void check_text(const mica_tokenizer *t, const test_case *c, bool keeps_special,
                       const char *want) {
    mica_error err = {0};
    char *text = NULL;
    const char *part;
    size_t bytes = 0, at = 0;
    assert_ok(mica_tokenizer_decode(t, c->ids, c->n_ids, keeps_special, &text, &bytes, &err));
    assert_int_equal(bytes, strlen(text)); /* no case decodes to a NUL in the middle */
    if (strcmp(text, want) != 0) fail_msg("decoded \"%s\", expected \"%s\"", text, want);
    mica_detokenizer *d = NULL;
    assert_ok(mica_detokenizer_create(t, keeps_special, &d, &err));
    for (size_t i = 0; i <= c->n_ids; i++) {
        if (i < c->n_ids)
            assert_ok(mica_detokenizer_push(d, c->ids[i], &part, &bytes, &err));
        else
            assert_ok(mica_detokenizer_flush(d, &part, &bytes, &err));
        assert_true(mica_utf8_is_valid(part, bytes));
        assert_true(at + bytes <= strlen(text));
        assert_memory_equal(part, text + at, bytes);
        at += bytes;
    }
    assert_int_equal(at, strlen(text));
    mica_detokenizer_destroy(&d);
    mica_text_free(t, text);
}

static void check_case(const mica_tokenizer *t, const test_case *c, bool has_texts) {
    check_ids(t, c, c->is_plain, c->ids, c->n_ids);
    if (!c->is_plain && has_texts)
        check_ids(t, c, true, c->plain ? c->plain : c->ids, c->plain ? c->n_plain : c->n_ids);
    if (strlen(c->text) != c->text_bytes) return;
    const char *back = c->back ? c->back : has_texts ? c->text : NULL;
    if (back) check_text(t, c, true, back);
    const char *visible = c->visible ? c->visible : c->is_golden ? NULL : back;
    if (visible) check_text(t, c, false, visible);
}

static char *read_file(const char *path, size_t *bytes) {
    mica_error err = {0};
    char *text = NULL;
    assert_ok(mica_file_read_all(mica_host_default(), path, 256u << 20, &text, bytes, &err));
    return text;
}

/* Calls use for each line of a file. */
static int for_lines(const char *path, void (*use)(mica_json *j, void *context), void *context) {
    mica_error err = {0};
    size_t bytes = 0;
    int n = 0;
    char *text = read_file(path, &bytes);
    for (char *line = text, *end; line < text + bytes; line = end + 1, n++) {
        end = memchr(line, '\n', (size_t)(text + bytes - line));
        assert_non_null(end);
        mica_json *j = NULL;
        assert_ok(mica_json_open(mica_host_default(), path, line, (size_t)(end - line),
                                 MICA_JSON_DEPTH_MAX, &j, &err));
        use(j, context);
        mica_json_close(&j);
    }
    mica_free(mica_host_default()->allocator, text);
    return n;
}

static void use_case_line(mica_json *j, void *tokenizer) {
    test_case c;
    read_case(j, &c);
    check_case(tokenizer, &c, true);
    free_case(&c);
}

static mica_tokenizer *open_text(const char *name, const char *json, size_t bytes) {
    mica_error err = {0};
    mica_tokenizer *t = NULL;
    assert_ok(mica_tokenizer_create(mica_host_default(), name, json, bytes, &t, &err));
    return t;
}

/* Unpacks FOLDER/<file>.xz, or skips the test where there is no data. */
static mica_tokenizer *open_real(const char *file) {
    const char *folder = test_data_folder();
    if (!folder) skip();
    char command[4096];
    snprintf(command, sizeof(command), "xz -dc '%s/%s'", folder, file);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    char *text = malloc(MICA_TOKENIZER_BYTES_MAX);
    assert_non_null(text);
    size_t bytes = fread(text, 1, MICA_TOKENIZER_BYTES_MAX, pipe);
    assert_int_equal(pclose(pipe), 0);
    mica_tokenizer *t = open_text(file, text, bytes);
    free(text);
    return t;
}

static void run_real(const char *file, const char *cases) {
    mica_tokenizer *t = open_real(file);
    assert_int_equal(for_lines(cases, use_case_line, t), 300);
    mica_tokenizer_close(&t);
}

static void gpt_oss_equals_the_reference(void **state) {
    (void)state;
    run_real("gpt-oss-20b/tokenizer.json.xz", CASES "gpt_oss.jsonl");
}

static void qwen3_equals_the_reference(void **state) {
    (void)state;
    run_real("tokenizers/qwen3/tokenizer.json.xz", CASES "qwen3.jsonl");
}

static void gemma3_equals_the_reference(void **state) {
    (void)state;
    run_real("tokenizers/gemma3/tokenizer.json.xz", CASES "gemma3.jsonl");
}

static void use_pipeline_line(mica_json *j, void *context) {
    mica_error err = {0};
    mica_slice key;
    mica_tokenizer *t = NULL;
    int *n_cases = context;
    assert_ok(mica_json_begin_object(j, &err));
    while (mica_json_next_key(j, &key)) {
        if (mica_slice_is(key, "tokenizer")) {
            size_t bytes = 0;
            char *text = copy_text(j, &bytes);
            t = open_text("pipeline", text, bytes);
            free(text);
            continue;
        }
        assert_ok(mica_json_begin_array(j, &err));
        for (; mica_json_next_item(j); (*n_cases)++) {
            test_case c;
            read_case(j, &c);
            check_case(t, &c, false);
            free_case(&c);
        }
        assert_ok(mica_json_check(j, &err));
    }
    assert_ok(mica_json_check(j, &err));
    mica_tokenizer_close(&t);
}

static void random_pipelines_equal_the_reference(void **state) {
    (void)state;
    int n_cases = 0;
    const char *path = getenv("MICA_TEST_PIPELINES"); /* a larger set */
    for_lines(path ? path : CASES "pipelines.jsonl", use_pipeline_line, &n_cases);
    assert_true(n_cases >= 200);
}

static void small_ones_of_each_family_equal_the_reference(void **state) {
    /* Trained small, spelled as the families' files: made by tools/tokenizer_zoo.py. */
    (void)state;
    int n_cases = 0;
    assert_int_equal(for_lines(CASES "families.jsonl", use_pipeline_line, &n_cases), 23);
    assert_int_equal(n_cases, 23 * 12);
}

/* The demo model's golden file is a list of {"text", "ids", "ids_plain", "decoded"}. */
static void demo_model_equals_its_goldens(void **state) {
    (void)state;
    mica_error err = {0};
    mica_tokenizer *t = NULL;
    mica_json *j = NULL;
    size_t bytes = 0;
    int n = 0;
    const char *path = MICA_SOURCE_DIR "/models/demo/tokenizer_golden.json";
    assert_ok(mica_tokenizer_load(mica_host_default(), MICA_SOURCE_DIR "/models/demo", &t, &err));
    char *text = read_file(path, &bytes);
    assert_ok(mica_json_open(mica_host_default(), path, text, bytes, 16, &j, &err));
    assert_ok(mica_json_begin_array(j, &err));
    for (; mica_json_next_item(j); n++) use_case_line(j, t);
    assert_ok(mica_json_check(j, &err));
    assert_int_equal(n, 60);
    mica_json_close(&j);
    mica_free(mica_host_default()->allocator, text);
    mica_tokenizer_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(demo_model_equals_its_goldens),
        cmocka_unit_test(random_pipelines_equal_the_reference),
        cmocka_unit_test(small_ones_of_each_family_equal_the_reference),
        cmocka_unit_test(gpt_oss_equals_the_reference),
        cmocka_unit_test(qwen3_equals_the_reference),
        cmocka_unit_test(gemma3_equals_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
