/* mica eval on the demo model: against its goldens (models/demo/README.md says how they were made),
 * against sums over the rows that mica logits writes, and against itself by other routes. */
#include <jansson.h>
#include "base/host.h"
#include "cli_run.h"
#include "format/safetensors.h"

#define VOCAB 8192
#define CHUNK 512
/* The goldens' softmax adds its terms in float32, which lowers each NLL by this constant; the first
 * chunk is also known from a forward pass in float64 (demo_golden_test.c, row_logprob_f32). */
#define GOLDEN_SHIFT 1.82e-5
#define CHUNK_0_NLL 3.3974245474
#define LETTER                                                                                     \
    "It was a bright cold day in April, and the clocks were striking thirteen times. <|end|>"

static cli_run run;
static test_folder folder;

static json_t *parse_output(void) {
    json_error_t error;
    json_t *j = json_loads(run.out, JSON_REJECT_DUPLICATES, &error);
    if (!j) fail_msg("not JSON: %s: %.500s", error.text, run.out);
    return j;
}

/* Runs a command whose $F is the test's folder; its output as JSON. */
static json_t *evaluate(const char *command) {
    setenv("F", folder.path, 1);
    cli_expect(&run, 0, command);
    return parse_output();
}

static double number(const json_t *object, const char *path) {
    char parts[64];
    const json_t *at = object;
    snprintf(parts, sizeof parts, "%s", path);
    for (char *part = strtok(parts, "."); part; part = strtok(NULL, "."))
        at = json_object_get(at, part);
    if (!json_is_number(at)) fail_msg("no number %s in: %.500s", path, run.out);
    return json_number_value(at);
}

static void assert_near(double seen, double wanted, double tolerance) {
    if (!(fabs(seen - wanted) <= tolerance))
        fail_msg("%.9g, wanted %.9g within %g", seen, wanted, tolerance);
}

/* ---- references ---- */

/* The logits of every position of the ids in $F/NAME, from mica logits: [rows, VOCAB]. */
static float *all_logits(const char *options, const char *name) {
    mica_error err = {0};
    mica_safetensors *s = NULL;
    char command[512];
    snprintf(command, sizeof command, "$MICA logits %s --all demo $F/%s $F/all.safetensors",
             options, name);
    setenv("F", folder.path, 1);
    cli_expect(&run, 0, command);
    assert_ok(mica_safetensors_open(mica_host_default(), test_folder_at(&folder, "all.safetensors"),
                                    &s, &err));
    const mica_safetensors_tensor *t = mica_safetensors_find(s, mica_slice_from("logits.0"));
    assert_non_null(t);
    float *data = malloc((size_t)(t->end - t->begin));
    assert_ok(mica_file_read(mica_safetensors_file(s), t->begin, data, (size_t)(t->end - t->begin),
                             &err));
    mica_safetensors_close(&s);
    return data;
}

static double log_sum(const float *row) {
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < VOCAB; i++) most = fmax(most, (double)row[i]);
    for (size_t i = 0; i < VOCAB; i++) sum += exp((double)row[i] - most);
    return most + log(sum);
}

static double row_nll(const float *row, int64_t id) { return log_sum(row) - (double)row[id]; }

static double row_divergence(const float *p, const float *q) {
    double zp = log_sum(p), zq = log_sum(q), sum = 0;
    for (size_t i = 0; i < VOCAB; i++) {
        double log_p = (double)p[i] - zp;
        sum += exp(log_p) * (log_p - ((double)q[i] - zq));
    }
    return sum;
}

static size_t row_top(const float *row) {
    size_t top = 0;
    for (size_t i = 1; i < VOCAB; i++)
        if (row[i] > row[top]) top = i;
    return top;
}

/* n ids that are no pattern, as a line of $F/NAME. */
static json_t *write_ids(const char *name, size_t n) {
    json_t *ids = json_array();
    uint64_t seed = 7;
    for (size_t i = 0; i < n; i++)
        json_array_append_new(ids, json_integer((json_int_t)(test_random(&seed) % 8000)));
    char *line = json_dumps(ids, 0);
    test_folder_write_text(&folder, name, line);
    free(line);
    return ids;
}

static int64_t id_at(const json_t *ids, size_t i) {
    return json_integer_value(json_array_get(ids, i));
}

/* ---- likelihood ---- */

/* The ids of the held-out text, as the program makes them. */
static json_t *held_out_ids(const char *data) {
    char path[4096];
    size_t bytes = 0;
    snprintf(path, sizeof path, "%s/models/gpt-oss-tiny/valid.txt", data);
    char *text = test_file_read(path, &bytes);
    json_t *string = json_stringn(text, bytes);
    char *line = json_dumps(string, JSON_ENCODE_ANY);
    test_folder_write_text(&folder, "valid.jsonl", line);
    json_decref(string);
    free(line);
    free(text);
    return evaluate("$MICA tokenize --jsonl --no-special -f $F/valid.jsonl demo");
}

static void test_golden(void **state) {
    /* Exact mode gives the golden NLL of the held-out text's first 8 chunks; fast is near it. */
    (void)state;
    const char *data = test_data_folder();
    if (!data) skip();
    json_t *golden = json_load_file(DEMO_FOLDER "/golden.json", 0, NULL);
    const json_t *chunks = json_object_get(json_object_get(golden, "valid"), "first_chunks_nll");
    size_t n = json_array_size(chunks);
    double wanted = 0;
    for (size_t i = 0; i < n; i++)
        wanted += json_number_value(json_array_get(chunks, i)) / (double)n;
    json_t *ids = held_out_ids(data), *first = json_array();
    assert_int_equal(json_array_size(ids), 52941);
    for (size_t i = 0; i < n * CHUNK + 100; i++) json_array_append(first, json_array_get(ids, i));
    char *line = json_dumps(first, 0);
    test_folder_write_text(&folder, "first.jsonl", line);
    free(line);

    json_t *j = evaluate("$MICA eval --exact --json demo --ids --ppl $F/first.jsonl");
    assert_int_equal(number(j, "chunks"), n);
    assert_int_equal(number(j, "scored"), n * (CHUNK - 1));
    assert_int_equal(number(j, "tokens"), n * CHUNK + 100);
    double exact = number(j, "likelihood.nll");
    assert_near(exact, wanted + GOLDEN_SHIFT, 1e-6);
    assert_near(number(j, "likelihood.perplexity"), exp(exact), 1e-9);
    json_decref(j);
    j = evaluate("$MICA eval --json demo --ids --ppl $F/first.jsonl");
    assert_near(number(j, "likelihood.nll"), exact, 0.003);
    json_decref(j);

    while (json_array_size(first) > CHUNK) json_array_remove(first, CHUNK);
    line = json_dumps(first, 0);
    test_folder_write_text(&folder, "one.jsonl", line);
    free(line);
    j = evaluate("$MICA eval --exact --json demo --ids --ppl $F/one.jsonl");
    assert_near(number(j, "likelihood.nll"), CHUNK_0_NLL, 1e-6);
    json_decref(j);
    json_decref(first);
    json_decref(ids);
    json_decref(golden);
}

static void test_rows(void **state) {
    /* NLL, its standard error and the second half are those of the rows that mica logits writes;
     * standard input, text output and --threads change nothing. */
    (void)state;
    json_t *ids = write_ids("ids.jsonl", 80);
    float *logits = all_logits("", "ids.jsonl");
    double sum = 0, squares = 0, half = 0;
    for (size_t i = 1; i < 80; i++) {
        double nll = row_nll(logits + (i - 1) * VOCAB, id_at(ids, i));
        sum += nll;
        squares += nll * nll;
        if (i > 40) half += nll;
    }
    double mean = sum / 79, variance = (squares - 79 * mean * mean) / 78;
    json_t *j = evaluate("$MICA eval --json demo --ids --ppl - < $F/ids.jsonl");
    assert_int_equal(number(j, "scored"), 79);
    assert_near(number(j, "likelihood.nll"), mean, 1e-9);
    assert_near(number(j, "likelihood.nll_error"), sqrt(variance / 79), 1e-9);
    json_decref(j);
    j = evaluate("$MICA eval --json demo --ids --ppl $F/ids.jsonl --score second-half --threads 1");
    assert_int_equal(number(j, "scored"), 39);
    assert_near(number(j, "likelihood.nll"), half / 39, 1e-9);
    json_decref(j);
    char wanted[64];
    snprintf(wanted, sizeof wanted, "mean NLL     %.6f", mean);
    cli_expect(&run, 0, "$MICA eval demo --ids --ppl $F/ids.jsonl");
    assert_non_null(strstr(run.out, "79 of 80 tokens scored, in 1 chunk of "));
    assert_non_null(strstr(run.out, wanted));
    assert_null(strchr(run.err, '\r'));
    json_decref(ids);
    free(logits);
}

static void test_chunks(void **state) {
    /* Chunks are read from an empty cache: cutting a line by hand gives the same mean. Overlapping
     * ones score each id once. */
    (void)state;
    json_t *ids = write_ids("ids.jsonl", 100);
    FILE *lines = fopen(test_folder_at(&folder, "cut.jsonl"), "w");
    for (size_t i = 0; i < 96; i++)
        fprintf(lines, "%c%d%s", i % 32 ? ',' : '[', (int)id_at(ids, i), i % 32 == 31 ? "]\n" : "");
    fclose(lines);
    json_t *whole = evaluate("$MICA eval --json demo --ids --ppl $F/ids.jsonl --ctx 32");
    json_t *cut = evaluate("$MICA eval --json demo --ids --ppl $F/cut.jsonl");
    assert_int_equal(number(whole, "chunks"), 3);
    assert_int_equal(number(cut, "chunks"), 3);
    assert_true(number(whole, "likelihood.nll") == number(cut, "likelihood.nll"));
    json_decref(whole);
    json_decref(cut);
    whole = evaluate("$MICA eval --json demo --ids --ppl $F/ids.jsonl --ctx 32 --stride 4");
    assert_int_equal(number(whole, "chunks"), 18);
    assert_int_equal(number(whole, "scored"), 99);
    json_decref(whole);
    json_decref(ids);
}

static void test_text(void **state) {
    /* A text is scored as its ids are, special tokens as plain text; nothing is put in front. */
    (void)state;
    test_folder_write_text(&folder, "text", LETTER);
    test_folder_write_text(&folder, "text.jsonl", "\"" LETTER "\"\n");
    json_t *text = evaluate("$MICA eval --json demo --ppl $F/text --ctx 8");
    json_t *ids = evaluate("$MICA tokenize --jsonl --no-special demo -f $F/text.jsonl > $F/i && "
                           "$MICA eval --json demo --ids --ppl $F/i --ctx 8");
    assert_true(number(text, "tokens") > 20);
    assert_true(number(text, "tokens") == number(ids, "tokens"));
    assert_true(number(text, "likelihood.nll") == number(ids, "likelihood.nll"));
    assert_true(json_is_false(json_object_get(text, "bos")));
    json_decref(text);
    json_decref(ids);
}

/* A copy of the demo model whose tokenizer puts <|startoftext|> in front of a text. */
static int64_t make_bos_model(void) {
    static const char name[] = "<|startoftext|>";
    setenv("F", folder.path, 1);
    cli_expect(&run, 0,
               "mkdir $F/bos; cp " DEMO_FOLDER "/* $F/bos; $MICA tokenize demo '<|startoftext|>'");
    json_int_t id = strtol(run.out, NULL, 10);
    json_t *tokenizer = json_load_file(DEMO_FOLDER "/tokenizer.json", JSON_ALLOW_NUL, NULL);
    json_t *post = json_pack("{s:s,s:[{s:{s:s,s:i}},{s:{s:s,s:i}}],s:[{s:{s:s,s:i}},{s:{s:s,s:i}}],"
                             "s:{s:{s:s,s:[I],s:[s]}}"
                             "}",
                             "type", "TemplateProcessing", "single", "SpecialToken", "id", name,
                             "type_id", 0, "Sequence", "id", "A", "type_id", 0, "pair", "Sequence",
                             "id", "A", "type_id", 0, "Sequence", "id", "B", "type_id", 1,
                             "special_tokens", name, "id", name, "ids", id, "tokens", name);
    assert_non_null(post);
    json_object_set_new(tokenizer, "post_processor", post);
    assert_int_equal(json_dump_file(tokenizer, test_folder_at(&folder, "bos/tokenizer.json"), 0),
                     0);
    json_decref(tokenizer);
    return id;
}

static void test_bos(void **state) {
    /* BOS goes in front of every chunk where the tokenizer has one, and is counted in its length;
     * --no-bos leaves it out. */
    (void)state;
    int64_t bos = make_bos_model();
    test_folder_write_text(&folder, "text", LETTER);
    test_folder_write_text(&folder, "text.jsonl", "\"" LETTER "\"\n");
    json_t *ids = evaluate("$MICA tokenize --jsonl --no-special demo -f $F/text.jsonl");
    size_t n = json_array_size(ids);
    FILE *lines = fopen(test_folder_at(&folder, "cut.jsonl"), "w");
    for (size_t i = 0; i < n / 7 * 7; i++) {
        if (i % 7 == 0) fprintf(lines, "[%d", (int)bos);
        fprintf(lines, ",%d%s", (int)id_at(ids, i), i % 7 == 6 ? "]\n" : "");
    }
    fclose(lines);
    json_t *with = evaluate("$MICA eval --json $F/bos --ppl $F/text --ctx 8");
    json_t *by_hand = evaluate("$MICA eval --json demo --ids --ppl $F/cut.jsonl --ctx 8");
    assert_true(json_is_true(json_object_get(with, "bos")));
    assert_int_equal(number(with, "scored"), n / 7 * 7);
    assert_true(number(with, "likelihood.nll") == number(by_hand, "likelihood.nll"));
    json_t *without = evaluate("$MICA eval --json $F/bos --no-bos --ppl $F/text --ctx 8");
    json_t *plain = evaluate("$MICA eval --json demo --ppl $F/text --ctx 8");
    assert_true(number(without, "likelihood.nll") == number(plain, "likelihood.nll"));
    json_decref(with);
    json_decref(by_hand);
    json_decref(without);
    json_decref(plain);
    json_decref(ids);
}

/* ---- divergence ---- */

static void test_same_model(void **state) {
    /* A model does not differ from itself: not from the same one, not from a copy. */
    (void)state;
    json_decref(write_ids("ids.jsonl", 200));
    static const char *const commands[] = {
        "$MICA eval --json demo --kld demo --ids --text $F/ids.jsonl --ctx 100",
        "mkdir $F/copy && cp " DEMO_FOLDER "/* $F/copy && "
        "$MICA eval --json demo --kld $F/copy --ids --text $F/ids.jsonl --ctx 100"};
    for (size_t i = 0; i < 2; i++) {
        json_t *j = evaluate(commands[i]);
        assert_int_equal(number(j, "scored"), 198);
        assert_true(number(j, "divergence.mean") == 0);
        assert_true(number(j, "divergence.max") == 0);
        assert_true(number(j, "divergence.same_top") == 1);
        assert_true(number(j, "divergence.nll_change") == 0);
        json_decref(j);
    }
}

static void test_two_settings(void **state) {
    /* Exact against fast: each figure is that of the rows that mica logits writes in both modes, in
     * the right direction, and small. */
    (void)state;
    json_t *ids = write_ids("ids.jsonl", 150);
    float *exact = all_logits("--exact", "ids.jsonl"), *fast = all_logits("", "ids.jsonl");
    double mean = 0, most = 0, change = 0, backwards = 0;
    size_t same = 0;
    for (size_t i = 0; i < 149; i++) {
        const float *p = exact + i * VOCAB, *q = fast + i * VOCAB;
        double value = row_divergence(p, q);
        mean += value / 149;
        backwards += row_divergence(q, p) / 149;
        most = fmax(most, value);
        same += row_top(p) == row_top(q);
        change += (row_nll(q, id_at(ids, i + 1)) - row_nll(p, id_at(ids, i + 1))) / 149;
    }
    json_t *j = evaluate("$MICA eval --json --exact demo --kld demo --kld-mode fast --ids "
                         "--text $F/ids.jsonl");
    assert_near(number(j, "divergence.mean"), mean, 1e-11);
    assert_true(fabs(mean - backwards) > 1e-9); /* the direction shows */
    assert_near(number(j, "divergence.max"), most, 1e-11);
    assert_near(number(j, "divergence.same_top"), (double)same / 149, 1e-12);
    assert_near(number(j, "divergence.nll_change"), change, 1e-9);
    assert_near(number(j, "other_likelihood.nll") - number(j, "likelihood.nll"), change, 1e-9);
    assert_true(mean > 0 && mean < 0.01 && same > 140);
    double median = number(j, "divergence.median"), high = number(j, "divergence.p99_9");
    assert_true(median > 0 && median < high && high <= most);
    json_decref(j);
    cli_expect(&run, 0,
               "$MICA eval --exact demo --kld demo --kld-mode fast --ids --text $F/ids.jsonl");
    assert_non_null(strstr(run.out, "A, the reference: demo (exact); B: demo (fast)"));
    assert_non_null(strstr(run.out, "same top token "));
    free(exact);
    free(fast);
    json_decref(ids);
}

/* ---- errors ---- */

static void test_wrong_usage(void **state) {
    /* Options that contradict each other are exit code 2. */
    (void)state;
    static const char *const cases[][2] = {
        {"$MICA eval demo", "--ppl FILE, or --kld MODEL --text FILE"},
        {"$MICA eval demo --ppl a --kld demo", "wanted one of them"},
        {"$MICA eval demo --ppl a --text b", "wanted one of them"},
        {"$MICA eval demo --kld demo", "--kld needs --text"},
        {"$MICA eval demo --ppl a --kld-mode fast", "--kld-mode without --kld"},
        {"$MICA eval demo --ppl a --stride 8 --score second-half", "wanted one of them"},
        {"$MICA eval demo --ppl a --ids --no-bos", "--no-bos with --ids"},
        {"$MICA eval demo --ppl a --ctx 1", "--ctx: \"1\""},
        {"$MICA eval demo --ppl a --score half", "wanted all|second-half"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cli_expect(&run, 2, cases[i][0]);
        cli_expect_line(&run, cases[i][1]);
        assert_int_equal(run.out_bytes, 0);
    }
}

static void test_failures(void **state) {
    /* What cannot be scored is exit code 1 and one line that says why. */
    (void)state;
    static const char *const cases[][2] = {
        {"$MICA eval demo --ppl $T/none", "none"},
        {"printf '' | $MICA eval demo --ppl -", "standard input: 0 tokens, nothing to score"},
        {"printf '[5]\\n[]\\n' | $MICA eval demo --ids --ppl -", "nothing to score"},
        {"printf '\\377' | $MICA eval demo --ppl -", "byte 0 is not UTF-8"},
        {"printf '[5, 6]\\n[1, 2, 8192]' | $MICA eval demo --ids --ppl -",
         "token id 8192 at position 2 of line 1, the model has 8192"},
        {"printf '[5, x]' | $MICA eval demo --ids --ppl -", "line 0"},
        {"echo a b c | $MICA eval demo --ppl - --ctx 2049", "the model goes to 2048"},
        {"echo a b c | $MICA eval demo --ppl - --ctx 8 --stride 9", "a chunk holds 8"},
        {"echo '[1, 2]' | $MICA eval demo --ids --kld " MICA_SOURCE_DIR
         "/tests/data/golden/llama --text -",
         "wanted the same"},
        {"echo '[1, 2]' | $MICA eval demo --ids --kld /nowhere/at/all --text -", "/nowhere/at/all"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cli_expect(&run, 1, cases[i][0]);
        cli_expect_line(&run, cases[i][1]);
        assert_int_equal(run.out_bytes, 0);
    }
}

static void test_interrupt(void **state) {
    /* Ctrl-C ends an evaluation between two steps, without figures, by exit code 130. */
    (void)state;
    static char buffer[1 << 16];
    json_decref(write_ids("ids.jsonl", 20000));
    char path[512];
    cli_child c;
    snprintf(path, sizeof path, "%s/ids.jsonl", folder.path);
    cli_start(&c,
              (const char *[]){"eval", "demo", "--ids", "--ppl", path, "--ctx", "64", "-v", NULL});
    assert_true(cli_read_until(c.err, "chunk 1 of 312", buffer, sizeof buffer));
    assert_int_equal(kill(c.pid, SIGINT), 0);
    cli_read_until(c.err, "interrupted", buffer, sizeof buffer);
    cli_read_until(c.out, NULL, buffer, sizeof buffer);
    assert_string_equal(buffer, "");
    assert_int_equal(cli_wait(&c), 130);
}

static int set_up(void **state) {
    (void)state;
    test_folder_make(&folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    cli_run_free(&run);
    test_folder_remove(&folder);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),       cmocka_unit_test(test_rows),
        cmocka_unit_test(test_chunks),       cmocka_unit_test(test_text),
        cmocka_unit_test(test_bos),          cmocka_unit_test(test_same_model),
        cmocka_unit_test(test_two_settings), cmocka_unit_test(test_wrong_usage),
        cmocka_unit_test(test_failures),     cmocka_unit_test(test_interrupt),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
