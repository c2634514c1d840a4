/* Published weights, from GGUF files: SmolLM2-135M-Instruct (Q4_1) and Gemma-3-270M (Q4_K_M).
 * tools/fetch_weights.py finds them in a cache or downloads them; expected values are those of
 * llama.cpp on the same files (tools/compare_llama.py). Without the files and without network the
 * program ends with 77, which CTest counts as skipped; where MICA_TEST_STRICT or
 * MICA_TEST_WEIGHTS (the folder of the cache) is set, it fails instead. */
#include <jansson.h>
#include "base/host.h"
#include "cli_run.h"
#include "format/safetensors.h"

#define EXIT_SKIPPED 77
#define EXIT_UNREACHABLE 3
#define DATA MICA_SOURCE_DIR "/tests/data/download"
#define TEXT DATA "/text.txt"
#define PATH_BYTES 4096

/* llama.cpp takes the file as it is with activations rounded to 8 bits, which moves it that far
 * from the mean negative log-likelihood that these weights give; with weights unpacked to float32
 * it does not round, and the rest is the order of sums, its half-float table of gelu, and the f16
 * that we hold Q6_K in. */
#define NLL_TOLERANCE 5e-4
#define NLL_TOLERANCE_AS_IS 0.02
#define NLL_TOLERANCE_FAST 0.01
/* Where the first id leads the second by this at every step of llama.cpp's own run, its rounding
 * does not change an id of the prompts here. */
#define LEAD_SAFE 0.15

typedef struct published {
    const char *name;      /* of its expected values */
    char path[PATH_BYTES]; /* of the file */
    const char *prompt;    /* for mica run, with Paris in the answer */
    const char *flags;
    json_t *expected;
} published;

static published smollm2 = {
    .name = "smollm2", .prompt = "What is the capital of France?", .flags = ""};
static published gemma3 = {
    .name = "gemma3", .prompt = "The capital of France is the city of", .flags = "--raw -n 8"};
static cli_run run;
static test_folder folder;

/* Runs a command with $F the test's folder, $GGUF the model's file. */
static void expect(const published *p, const char *command) {
    setenv("F", folder.path, 1);
    setenv("GGUF", p->path, 1);
    cli_expect(&run, 0, command);
}

static const json_t *prompt_at(const published *p, size_t i) {
    return json_array_get(json_object_get(p->expected, "prompts"), i);
}

static size_t count_prompts(const published *p) {
    size_t n = json_array_size(json_object_get(p->expected, "prompts"));
    assert_true(n >= 4);
    return n;
}

static double real_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("no number %s", key);
    return json_number_value(value);
}

/* ---- what people see ---- */

static void check_answer(const published *p) {
    char command[512];
    snprintf(command, sizeof command, "$MICA run \"$GGUF\" \"%s\" --temp 0 %s", p->prompt,
             p->flags);
    expect(p, command);
    if (!strstr(run.out, "Paris")) fail_msg("%s: no Paris in: %s", p->name, run.out);
    char *first = strdup(run.out);
    /* The converted folder holds the same values in the same layout: the same answer. */
    snprintf(command, sizeof command, "$MICA run \"$F/%s\" \"%s\" --temp 0 %s", p->name, p->prompt,
             p->flags);
    expect(p, command);
    assert_string_equal(run.out, first);
    free(first);
}

static void test_smollm2_answers(void **state) {
    /* A chat with the template of the file: the capital of France is Paris. */
    (void)state;
    check_answer(&smollm2);
}

static void test_gemma3_answers(void **state) {
    /* A base model without a template goes on with a sentence: Paris. */
    (void)state;
    check_answer(&gemma3);
}

/* ---- ids ---- */

/* The ids that the model's tokenizer makes of a text, against those of llama.cpp, which puts BOS in
 * front for models that want it; `mica tokenize` adds nothing. */
static void check_ids(const published *p, const char *text, const json_t *wanted) {
    test_folder_write_text(&folder, "text", text);
    json_t *line = json_string(text);
    char *dumped = json_dumps(line, JSON_ENCODE_ANY);
    test_folder_write_text(&folder, "text.jsonl", dumped);
    free(dumped);
    json_decref(line);
    expect(p, "$MICA tokenize --jsonl -f $F/text.jsonl \"$GGUF\"");
    json_t *seen = json_loads(run.out, 0, NULL);
    json_t *rest = json_copy((json_t *)(uintptr_t)wanted);
    if (p == &gemma3) json_array_remove(rest, 0);
    if (!json_equal(seen, rest)) fail_msg("%s: ids of \"%.60s\": %s", p->name, text, run.out);
    json_decref(seen);
    json_decref(rest);
}

static void check_encoding(const published *p) {
    size_t bytes;
    char *text = test_file_read(TEXT, &bytes);
    check_ids(p, text, json_object_get(p->expected, "text_ids"));
    free(text);
    for (size_t i = 0; i < count_prompts(p); i++) {
        const json_t *prompt = prompt_at(p, i);
        check_ids(p, json_string_value(json_object_get(prompt, "text")),
                  json_object_get(prompt, "ids"));
    }
}

static void test_ids(void **state) {
    /* Tokenizers that are made from a file's keys give the ids of llama.cpp. */
    (void)state;
    check_encoding(&smollm2);
    check_encoding(&gemma3);
}

static void check_chat_ids(const published *p) {
    /* The template of the file, with its default system message, makes the prompt that llama.cpp's
     * expected values begin from. */
    test_folder_write_text(&folder, "chat.json",
                           "{\"messages\": [{\"role\": \"user\", \"content\": "
                           "\"What is the capital of France?\"}]}");
    expect(p, "$MICA render --add-generation-prompt \"$GGUF\" $F/chat.json");
    assert_string_equal(run.out, json_string_value(json_object_get(prompt_at(p, 0), "text")));
}

static void test_template(void **state) {
    /* The chat template that is a key of the file renders. */
    (void)state;
    check_chat_ids(&smollm2);
}

static int32_t *read_greedy(size_t i, size_t n) {
    mica_error err = {0};
    mica_safetensors *s = NULL;
    char name[32];
    snprintf(name, sizeof name, "greedy.%zu", i);
    assert_ok(mica_safetensors_open(mica_host_default(),
                                    test_folder_at(&folder, "greedy.safetensors"), &s, &err));
    const mica_safetensors_tensor *t = mica_safetensors_find(s, mica_slice_from(name));
    if (!t) fail_msg("no %s", name);
    assert_int_equal(t->end - t->begin, n * sizeof(int32_t));
    int32_t *ids = malloc(n * sizeof *ids);
    assert_ok(mica_file_read(mica_safetensors_file(s), t->begin, ids, n * sizeof *ids, &err));
    mica_safetensors_close(&s);
    return ids;
}

static void compare_ids(const published *p, size_t prompt, const int32_t *seen,
                        const json_t *wanted) {
    for (size_t i = 0; i < json_array_size(wanted); i++)
        if (seen[i] != json_integer_value(json_array_get(wanted, i)))
            fail_msg("%s, prompt %zu: id %zu is %d", p->name, prompt, i, (int)seen[i]);
}

static void check_greedy(const published *p) {
    size_t n_as_is = 0, n_ids = json_array_size(json_object_get(prompt_at(p, 0), "greedy"));
    assert_int_equal(n_ids, 32);
    FILE *lines = fopen(test_folder_at(&folder, "ids.jsonl"), "w");
    for (size_t i = 0; i < count_prompts(p); i++) {
        char *ids = json_dumps(json_object_get(prompt_at(p, i), "ids"), 0);
        fprintf(lines, "%s\n", ids);
        free(ids);
    }
    fclose(lines);
    expect(p, "$MICA logits --exact --greedy 32 \"$GGUF\" $F/ids.jsonl $F/greedy.safetensors");
    for (size_t i = 0; i < count_prompts(p); i++) {
        const json_t *prompt = prompt_at(p, i);
        int32_t *seen = read_greedy(i, n_ids);
        compare_ids(p, i, seen, json_object_get(prompt, "greedy"));
        if (real_of(prompt, "smallest_lead_as_is") > LEAD_SAFE) {
            compare_ids(p, i, seen, json_object_get(prompt, "greedy_as_is"));
            n_as_is++;
        }
        free(seen);
    }
    assert_true(n_as_is >= 2);
}

static void test_smollm2_greedy(void **state) {
    /* 32 greedy ids of each prompt are those of llama.cpp with these weights in float32, and of
     * llama.cpp on the file as it is where no tie is near. */
    (void)state;
    check_greedy(&smollm2);
}

static void test_gemma3_greedy(void **state) {
    /* The same for Gemma. */
    (void)state;
    check_greedy(&gemma3);
}

/* ---- likelihood ---- */

static double measure_nll(const published *p, const char *model, const char *flags) {
    char command[512];
    snprintf(command, sizeof command, "$MICA eval \"%s\" --ppl " TEXT " --ctx 512 --json %s", model,
             flags);
    expect(p, command);
    json_t *report = json_loads(run.out, 0, NULL);
    if (!report) fail_msg("eval printed %s", run.out);
    size_t n = json_array_size(json_object_get(p->expected, "text_ids"));
    assert_int_equal(json_integer_value(json_object_get(report, "scored")), n - 1);
    double nll = real_of(json_object_get(report, "likelihood"), "nll");
    json_decref(report);
    return nll;
}

static void check_near(const char *what, double seen, double wanted, double tolerance) {
    printf("%s: mean NLL %.6f, wanted %.6f, difference %.2e (at most %g)\n", what, seen, wanted,
           fabs(seen - wanted), tolerance);
    if (!(fabs(seen - wanted) <= tolerance))
        fail_msg("%s: mean NLL %.6f, wanted %.6f", what, seen, wanted);
}

static void check_likelihood(const published *p) {
    double wanted = real_of(p->expected, "text_mean_nll");
    double as_is = real_of(p->expected, "text_mean_nll_as_is");
    char converted[64], what[96];
    snprintf(converted, sizeof converted, "$F/%s", p->name);
    double exact = measure_nll(p, "$GGUF", "--exact");
    snprintf(what, sizeof what, "%s, llama.cpp with float32 weights", p->name);
    check_near(what, exact, wanted, NLL_TOLERANCE);
    snprintf(what, sizeof what, "%s, llama.cpp on the file", p->name);
    check_near(what, exact, as_is, NLL_TOLERANCE_AS_IS);
    snprintf(what, sizeof what, "%s, fast mode against exact", p->name);
    check_near(what, measure_nll(p, "$GGUF", ""), exact, NLL_TOLERANCE_FAST);
    snprintf(what, sizeof what, "%s, converted against the file", p->name);
    check_near(what, measure_nll(p, converted, "--exact"), exact, 0);
}

static void test_smollm2_likelihood(void **state) {
    /* The likelihood of a text is llama.cpp's, and conversion to a folder does not change a bit of
     * it. */
    (void)state;
    check_likelihood(&smollm2);
}

static void test_gemma3_likelihood(void **state) {
    /* The same for Gemma. */
    (void)state;
    check_likelihood(&gemma3);
}

/* ---- getting the files ---- */

static bool is_set(const char *name) {
    const char *text = getenv(name);
    return text && text[0];
}

/* Ends the program: with a failure where tests may not be skipped. */
static int give_up(const char *why) {
    bool is_strict = is_set("MICA_TEST_STRICT") || is_set("MICA_TEST_WEIGHTS");
    fprintf(stderr, "download_test: %s: %s\n", is_strict ? "failed" : "skipped", why);
    return is_strict ? EXIT_FAILURE : EXIT_SKIPPED;
}

static bool read_path(FILE *from, published *p) {
    if (!fgets(p->path, sizeof p->path, from)) return false;
    p->path[strcspn(p->path, "\n")] = '\0';
    return p->path[0] == '/';
}

/* Asks the script for the paths; 0, or the program's exit code. */
static int find_weights(void) {
    FILE *script = popen("python3 " MICA_SOURCE_DIR "/tools/fetch_weights.py "
                         "${MICA_TEST_WEIGHTS:+\"$MICA_TEST_WEIGHTS\"}",
                         "r");
    if (!script) return give_up("cannot start a shell");
    bool has_paths = read_path(script, &smollm2) && read_path(script, &gemma3);
    int status = pclose(script);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && has_paths) return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_UNREACHABLE)
        return give_up("the weights are not in the cache and cannot be downloaded here");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) return give_up("there is no python3");
    fprintf(stderr, "download_test: tools/fetch_weights.py failed\n");
    return EXIT_FAILURE;
}

static void load(published *p) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, DATA "/%s.json", p->name);
    p->expected = json_load_file(path, 0, NULL);
    if (!p->expected) fail_msg("%s: not read", path);
    snprintf(path, sizeof path, "$MICA convert \"$GGUF\" \"$F/%s\"", p->name);
    expect(p, path);
}

static int set_up(void **state) {
    (void)state;
    test_folder_make(&folder);
    load(&smollm2);
    load(&gemma3);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    json_decref(smollm2.expected);
    json_decref(gemma3.expected);
    cli_run_free(&run);
    test_folder_remove(&folder);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smollm2_answers),
        cmocka_unit_test(test_gemma3_answers),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_template),
        cmocka_unit_test(test_smollm2_greedy),
        cmocka_unit_test(test_gemma3_greedy),
        cmocka_unit_test(test_smollm2_likelihood),
        cmocka_unit_test(test_gemma3_likelihood),
    };
    int code = find_weights();
    return code ? code : cmocka_run_group_tests(tests, set_up, tear_down);
}
