/* The commands of the program against the goldens of the demo model, which transformers and the
 * tokenizers library made (models/demo/README.md). */
#include <jansson.h>
#include "base/host.h"
#include "cli_run.h"
#include "format/safetensors.h"

#define LOGIT_TOLERANCE 1e-4
#define VOCAB 8192

static cli_run run;
static test_folder folder;
static json_t *golden, *tokenizer_golden;

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    if (!text) fail_msg("a golden lacks %s", key);
    return text;
}

/* Runs a command whose $F is the test's folder. */
static void expect(const char *command) {
    setenv("F", folder.path, 1);
    cli_expect(&run, 0, command);
}

static void write_json(const char *name, const json_t *value) {
    char *text = json_dumps(value, JSON_COMPACT);
    test_folder_write_text(&folder, name, text);
    free(text);
}

/* ---- text ---- */

static void test_greedy_text(void **state) {
    /* run --raw --temp 0 --exact prints the golden greedy texts. */
    (void)state;
    size_t i;
    json_t *g;
    json_array_foreach(json_object_get(golden, "greedy"), i, g) {
        char command[256];
        test_folder_write_text(&folder, "prompt", text_of(g, "prompt_text"));
        snprintf(command, sizeof command,
                 "$MICA run --raw --temp 0 --exact -n %zu --file $F/prompt demo",
                 json_array_size(json_object_get(g, "ids")));
        expect(command);
        char wanted[4096];
        const char *text = text_of(g, "text");
        size_t bytes = strlen(text);
        bool ends_line = bytes > 0 && text[bytes - 1] == '\n';
        snprintf(wanted, sizeof wanted, "%s%s", text, ends_line ? "" : "\n");
        assert_string_equal(run.out, wanted);
    }
}

static void test_render(void **state) {
    /* render gives the golden prompts of the chats, byte for byte. */
    (void)state;
    size_t i;
    json_t *chat;
    json_array_foreach(json_object_get(golden, "chats"), i, chat) {
        json_t *variables = json_deep_copy(json_object_get(chat, "template_kwargs"));
        json_object_set(variables, "messages", json_object_get(chat, "messages"));
        write_json("messages.json", variables);
        json_decref(variables);
        expect("$MICA render --add-generation-prompt demo $F/messages.json");
        assert_string_equal(run.out, text_of(chat, "rendered"));
        expect("$MICA render --add-generation-prompt demo - < $F/messages.json");
        assert_string_equal(run.out, text_of(chat, "rendered"));
    }
}

/* ---- ids ---- */

/* Writes the strings of the golden to a file, and compares the lines that come out. */
static void check_encoding(const char *key, const char *command) {
    FILE *lines = fopen(test_folder_at(&folder, "texts.jsonl"), "w");
    size_t i;
    json_t *g;
    json_array_foreach(tokenizer_golden, i, g) {
        char *text = json_dumps(json_object_get(g, "text"), JSON_ENCODE_ANY);
        fprintf(lines, "%s\n", text);
        free(text);
    }
    fclose(lines);
    expect(command);
    char *line = run.out;
    json_array_foreach(tokenizer_golden, i, g) {
        const json_t *wanted = json_object_get(g, key);
        if (!wanted) wanted = json_object_get(g, "ids");
        char *end = strchr(line, '\n');
        if (!end) fail_msg("line %zu is missing", i);
        json_t *seen = json_loadb(line, (size_t)(end - line), 0, NULL);
        if (!json_equal(seen, wanted)) fail_msg("line %zu: %.*s", i, (int)(end - line), line);
        json_decref(seen);
        line = end + 1;
    }
    assert_string_equal(line, "");
}

static void test_encode(void **state) {
    /* tokenize --jsonl gives the golden ids, with special tokens and without. */
    (void)state;
    check_encoding("ids", "$MICA tokenize --jsonl demo < $F/texts.jsonl");
    check_encoding("ids_plain", "$MICA tokenize --jsonl --no-special demo -f $F/texts.jsonl");
}

static void test_decode(void **state) {
    /* tokenize --decode gives the golden texts, by lines of JSON and by words. */
    (void)state;
    FILE *lines = fopen(test_folder_at(&folder, "ids.jsonl"), "w");
    size_t i;
    json_t *g;
    json_array_foreach(tokenizer_golden, i, g) {
        char *ids = json_dumps(json_object_get(g, "ids"), 0);
        fprintf(lines, "%s\n", ids);
        free(ids);
    }
    fclose(lines);
    expect("$MICA tokenize --decode --jsonl demo < $F/ids.jsonl");
    char *line = run.out;
    json_array_foreach(tokenizer_golden, i, g) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        json_t *seen =
            json_loadb(line, (size_t)(end - line), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        if (!json_equal(seen, json_object_get(g, "decoded"))) fail_msg("line %zu differs", i);
        json_decref(seen);
        line = end + 1;
    }
    expect("head -n 8 $F/ids.jsonl | tail -n 1 | $MICA tokenize --decode demo");
    char wanted[512];
    snprintf(wanted, sizeof wanted, "%s\n",
             text_of(json_array_get(tokenizer_golden, 7), "decoded"));
    assert_string_equal(run.out, wanted);
}

/* ---- numbers ---- */

/* A tensor of a file, copied out; free it. */
static void *read_tensor(const char *path, const char *name, size_t *bytes) {
    mica_error err = {0};
    mica_safetensors *s = NULL;
    assert_ok(mica_safetensors_open(mica_host_default(), path, &s, &err));
    const mica_safetensors_tensor *t = mica_safetensors_find(s, mica_slice_from(name));
    if (!t) fail_msg("%s has no %s", path, name);
    *bytes = (size_t)(t->end - t->begin);
    void *data = malloc(*bytes + 1);
    assert_ok(mica_file_read(mica_safetensors_file(s), t->begin, data, *bytes, &err));
    mica_safetensors_close(&s);
    return data;
}

static void write_ids(const char *file, const char *list, const char *key) {
    FILE *lines = fopen(test_folder_at(&folder, file), "w");
    size_t i;
    json_t *p;
    json_array_foreach(json_object_get(golden, list), i, p) {
        char *ids = json_dumps(json_object_get(p, key), 0);
        fprintf(lines, "%s\n", ids);
        free(ids);
    }
    fclose(lines);
}

static void test_logits(void **state) {
    /* logits --exact gives the golden last logits within 1e-4, on a folder without a tokenizer. */
    (void)state;
    write_ids("ids.jsonl", "prompts", "ids");
    expect("mkdir $F/bare; cp " DEMO_FOLDER "/config.json " DEMO_FOLDER
           "/*.safetensors " DEMO_FOLDER "/*.index.json $F/bare; rm $F/bare/golden*; "
           "$MICA logits --exact $F/bare $F/ids.jsonl $F/out.safetensors");
    size_t i;
    json_t *p;
    json_array_foreach(json_object_get(golden, "prompts"), i, p) {
        char seen_name[32], wanted_name[64];
        size_t seen_bytes, wanted_bytes;
        snprintf(seen_name, sizeof seen_name, "logits.%zu", i);
        snprintf(wanted_name, sizeof wanted_name, "logits.%s", text_of(p, "name"));
        float *seen =
            read_tensor(test_folder_at(&folder, "out.safetensors"), seen_name, &seen_bytes);
        float *wanted = read_tensor(DEMO_FOLDER "/golden.safetensors", wanted_name, &wanted_bytes);
        assert_int_equal(seen_bytes, VOCAB * sizeof(float));
        assert_int_equal(wanted_bytes, seen_bytes);
        for (size_t j = 0; j < VOCAB; j++)
            if (!(fabs((double)seen[j] - (double)wanted[j]) <= LOGIT_TOLERANCE))
                fail_msg("%s[%zu]: %g, wanted %g", wanted_name, j, (double)seen[j],
                         (double)wanted[j]);
        free(seen);
        free(wanted);
    }
}

static double logprob(const float *row, int64_t id) {
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < VOCAB; i++) most = fmax(most, (double)row[i]);
    for (size_t i = 0; i < VOCAB; i++) sum += exp((double)row[i] - most);
    return (double)row[id] - most - log(sum);
}

static void test_all_logits(void **state) {
    /* logits --all gives every position: the golden sum of log-probabilities, and the same last row
     * as without --all. */
    (void)state;
    const json_t *p = json_array_get(json_object_get(golden, "prompts"), 3);
    const json_t *ids = json_object_get(p, "ids");
    char *line = json_dumps(ids, 0);
    test_folder_write_text(&folder, "one.jsonl", line);
    free(line);
    expect("$MICA logits --exact --all demo $F/one.jsonl $F/all.safetensors;"
           "$MICA logits --exact demo - $F/last.safetensors < $F/one.jsonl");
    size_t bytes, last_bytes, n = json_array_size(ids);
    float *all = read_tensor(test_folder_at(&folder, "all.safetensors"), "logits.0", &bytes);
    float *last = read_tensor(test_folder_at(&folder, "last.safetensors"), "logits.0", &last_bytes);
    assert_int_equal(bytes, n * VOCAB * sizeof(float));
    assert_memory_equal(all + (n - 1) * VOCAB, last, last_bytes);
    double sum = 0;
    for (size_t i = 1; i < n; i++)
        sum += logprob(all + (i - 1) * VOCAB, json_integer_value(json_array_get(ids, i)));
    assert_true(fabs(sum - json_real_value(json_object_get(p, "sum_logprob"))) < 1e-3);
    free(all);
    free(last);
}

/* The greedy ids of one list of goldens. */
static void check_greedy(const char *list) {
    write_ids("prompts.jsonl", list, "prompt_ids");
    expect("$MICA logits --exact --greedy 64 demo $F/prompts.jsonl $F/greedy.safetensors");
    size_t i;
    json_t *g;
    json_array_foreach(json_object_get(golden, list), i, g) {
        char name[32];
        size_t bytes;
        snprintf(name, sizeof name, "greedy.%zu", i);
        int32_t *seen = read_tensor(test_folder_at(&folder, "greedy.safetensors"), name, &bytes);
        const json_t *ids = json_object_get(g, "ids");
        assert_int_equal(bytes, 64 * sizeof *seen); /* stop ids do not end it */
        for (size_t j = 0; j < json_array_size(ids); j++)
            if (seen[j] != json_integer_value(json_array_get(ids, j)))
                fail_msg("%s %zu: id %zu is %d", list, i, j, (int)seen[j]);
        free(seen);
    }
}

static void test_greedy_ids(void **state) {
    /* logits --greedy gives the golden greedy ids of the texts and of the chats. */
    (void)state;
    check_greedy("greedy");
    check_greedy("chats");
}

static int set_up(void **state) {
    (void)state;
    test_folder_make(&folder);
    golden = json_load_file(DEMO_FOLDER "/golden.json", 0, NULL);
    tokenizer_golden = json_load_file(DEMO_FOLDER "/tokenizer_golden.json", JSON_ALLOW_NUL, NULL);
    return golden && tokenizer_golden ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    json_decref(golden);
    json_decref(tokenizer_golden);
    cli_run_free(&run);
    test_folder_remove(&folder);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_text), cmocka_unit_test(test_render),
        cmocka_unit_test(test_encode),      cmocka_unit_test(test_decode),
        cmocka_unit_test(test_logits),      cmocka_unit_test(test_all_logits),
        cmocka_unit_test(test_greedy_ids),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
