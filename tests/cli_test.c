/* The program mica as its user meets it: usage, errors, help, input and output. */
#include <jansson.h>
#include "cli_run.h"

static cli_run run;

static json_t *parse_output(void) {
    json_error_t error;
    json_t *j = json_loads(run.out, JSON_REJECT_DUPLICATES, &error);
    if (!j) fail_msg("not JSON: %s: %.500s", error.text, run.out);
    return j;
}

/* ---- usage ---- */

static void test_wrong_usage(void **state) {
    /* Wrong usage is exit code 2, one line that names the culprit, and no output. */
    (void)state;
    static const char *const cases[][2] = {
        {"$MICA", "a command is missing"},
        {"$MICA rnu demo", "nearest: run"},
        {"$MICA qqqqqqqq", "unknown command qqqqqqqq"},
        {"$MICA --frobnicate", "unknown option --frobnicate"},
        {"$MICA run --tmep 1 demo x", "unknown option --tmep (nearest: --temp)"},
        {"$MICA run -q demo x", "unknown option -q"},
        {"$MICA run --temp abc demo x", "--temp: \"abc\", wanted a number from 0.0 to 100.0"},
        {"$MICA run --temp nan demo x", "--temp: \"nan\""},
        {"$MICA run --temp -1 demo x", "--temp: \"-1\""},
        {"$MICA run -n 0 demo x", "--max-tokens: \"0\", wanted a whole number from 1"},
        {"$MICA run -n 1.5 demo x", "--max-tokens: \"1.5\""},
        {"$MICA run -n 99999999999999999999 demo x", "--max-tokens"},
        {"$MICA run demo x -n", "--max-tokens needs a value: N"},
        {"$MICA run --top-p=2 demo x", "--top-p: \"2\""},
        {"$MICA run --raw=yes demo x", "--raw takes no value"},
        {"$MICA run --reasoning-effort huge demo x", "wanted low|medium|high"},
        {"$MICA run --memory 12Q demo x", "--memory: \"12Q\""},
        {"$MICA run demo x y", "unexpected argument \"y\", wanted MODEL [PROMPT]"},
        {"$MICA run", "an argument is missing, wanted MODEL [PROMPT]"},
        {"$MICA run demo x --file y", "wanted one of them"},
        {"$MICA run --raw --system x demo y", "--raw"},
        {"$MICA tokenize demo x --jsonl", "wanted one of them"},
        {"$MICA logits demo x", "an argument is missing"},
        {"$MICA bench -p 1,x demo", "--prompt: \"1,x\""},
        {"$MICA bench -d 0 demo", "--depth: \"0\""},
        {"$MICA bench --graph=maybe demo", "wanted on|off"},
        {"$MICA bench -o xml demo", "wanted md|json|csv"},
        {"$MICA bench --steps demo", "unknown option --steps"},
        {"$MICA profile", "an argument is missing, wanted MODEL"},
        {"$MICA profile -p 2049 demo", "--prompt: \"2049\""},
        {"$MICA profile -p 16,32 demo", "--prompt: \"16,32\""},
        {"$MICA profile -r 257 demo", "--repetitions: \"257\""},
        {"$MICA profile -d -1 demo", "--depth: \"-1\""},
        {"$MICA profile -p 32 -d 48 demo", "wanted a prompt of a power of two that divides"},
        {"$MICA profile demo --trace", "--trace needs a value: FILE"},
        {"$MICA convert demo", "an argument is missing, wanted MODEL OUT"},
        {"$MICA convert -q q4 demo x", "\"q4\" is no quantisation: expected affine:BITS:GROUP"},
        {"$MICA convert --dtype int8 demo x", "wanted bf16|f16|f32"},
        {"$MICA convert --recipe mixed_5_6 demo x", "mixed_4_6"},
        {"$MICA convert --recipe mixed_4_6 -q mxfp4 demo x", "affine:4, but mxfp4"},
        {"$MICA convert --override lm_head demo x", "expected PATTERN=affine:8:64"},
        {"$MICA completion tcsh", "wanted bash, zsh or fish"},
        {"$MICA help runn", "unknown command runn (nearest: run)"},
        {"$MICA run \"$(printf 'a\\nb')\" x y", "unexpected argument"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cli_expect(&run, 2, cases[i][0]);
        cli_expect_line(&run, cases[i][1]);
        assert_int_equal(run.out_bytes, 0);
    }
}

static void test_spellings(void **state) {
    /* Values may follow "=", a letter or a space; -- ends the options; options may come last. */
    (void)state;
    static const char *const commands[] = {
        "$MICA tokenize demo --file=" DEMO_FOLDER "/config.json",
        "$MICA tokenize demo --file " DEMO_FOLDER "/config.json",
        "$MICA tokenize -f" DEMO_FOLDER "/config.json demo",
        "$MICA tokenize -f " DEMO_FOLDER "/config.json -- demo",
    };
    char *first = NULL;
    for (size_t i = 0; i < 4; i++) {
        cli_expect(&run, 0, commands[i]);
        if (!first) first = strdup(run.out);
        assert_string_equal(run.out, first);
    }
    free(first);
    cli_expect(&run, 0, "$MICA tokenize demo -- --file");
    assert_non_null(strstr(run.out, "file"));
}

static void test_failed_jobs(void **state) {
    /* A job that fails is exit code 1 and one line that says what and where. */
    (void)state;
    static const char *const cases[][2] = {
        {"$MICA show /nowhere/at/all", "/nowhere/at/all: no such file or folder"},
        {"HF_HUB_CACHE=$T/none $MICA show org/name", "models--org--name"},
        {"$MICA show 'org/../x'", "org/../x"},
        {"$MICA show \"$T\"", "config.json"},
        {"$MICA show " DEMO_FOLDER "/config.json", "config.json"},
        {"head -c 100000 " DEMO_FOLDER "/model-00001-of-00002.safetensors > $T/a.safetensors; "
         "$MICA show $T/a.safetensors",
         "a.safetensors"},
        {"printf '\\377' | $MICA run demo", "standard input: byte 0 is not UTF-8"},
        {"printf '' | $MICA run --raw demo 2>$T/e; c=$?; grep -v ^context $T/e >&2; exit $c",
         "the prompt is empty"},
        {"$MICA run demo --file $T/none", "none"},
        {"$MICA run demo --file $T", "a folder, wanted a file"},
        {"$MICA run --ctx 20 demo 'Define courage.' 2>$T/e; c=$?; grep -v ^context $T/e >&2; "
         "exit $c",
         "there are 20"},
        {"$MICA render demo $T/none.json", "none.json"},
        {"echo '{\"messages\": 1, \"messages\": 2}' | $MICA render demo -", "messages"},
        {"$MICA tokenize --decode demo '1 x'", "\"x\" is not a token id"},
        {"$MICA tokenize --decode demo 99999999", "99999999"},
        {"printf '\"a\"\\n\"b\\n' | $MICA tokenize --jsonl demo >/dev/null", "line 1"},
        {"printf '[1]\\n\\n' | $MICA logits demo - $T/o", "line 1"},
        {"printf '[1]\\n[]\\n' | $MICA logits demo - $T/o", "line 1"},
        {"printf '[1.5]\\n' | $MICA logits demo - $T/o", "line 0"},
        {"printf '[99999]\\n' | $MICA logits demo - $T/o", "99999"},
        {"printf '[-1]\\n' | $MICA logits demo - $T/o", "-1"},
        {"printf '' | $MICA logits demo - $T/o", "no lines"},
        {"echo '[1]' | $MICA logits demo - $T/no/o.safetensors", "no"},
        {"$MICA profile -r 1 demo --trace $T/no/trace.json", "no/trace.json"},
        {"$MICA bench -n 4 -r 1 -d 10000000 demo 2>$T/e || { tail -1 $T/e >&2; exit 1; }",
         "context of"},
        {"$MICA bench --graph=off --no-pass nothing demo", "no-pass \"nothing\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cli_expect(&run, 1, cases[i][0]);
        cli_expect_line(&run, cases[i][1]);
    }
}

/* ---- help ---- */

static void test_help(void **state) {
    /* Every form of the help names every command; help of a command names its options. */
    (void)state;
    static const char *const commands[] = {"run",    "chat",   "show",   "tokenize",
                                           "render", "logits", "bench",  "profile",
                                           "eval",   "doctor", "version"};
    static const char *const forms[] = {
        "$MICA help",           "$MICA --help",          "$MICA -h",
        "$MICA help --man",     "$MICA help --markdown", "$MICA completion bash",
        "$MICA completion zsh", "$MICA completion fish"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        cli_expect(&run, 0, forms[i]);
        assert_int_equal(run.err_bytes, 0);
        for (size_t j = 0; j < sizeof commands / sizeof *commands; j++)
            if (!strstr(run.out, commands[j])) fail_msg("%s lacks %s", forms[i], commands[j]);
    }
    cli_expect(&run, 0, "$MICA run --help");
    static const char *const flags[] = {"-n,",
                                        "--file",
                                        "--temp",
                                        "--top-k",
                                        "--top-p",
                                        "--min-p",
                                        "--stop",
                                        "--repeat-penalty",
                                        "--presence-penalty",
                                        "--frequency-penalty",
                                        "--seed",
                                        "--system",
                                        "--reasoning-effort",
                                        "--chat-template",
                                        "--raw",
                                        "--json",
                                        "--ctx",
                                        "--threads",
                                        "--exact",
                                        "--show-reasoning",
                                        "--show-timings",
                                        "--verbose"};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (!strstr(run.out, flags[i])) fail_msg("help of run lacks %s", flags[i]);
    char *by_option = strdup(run.out);
    cli_expect(&run, 0, "$MICA help run");
    assert_string_equal(run.out, by_option);
    free(by_option);
}

static void test_completion(void **state) {
    /* The bash script completes commands, options and choices in a real bash. */
    (void)state;
    cli_shell(&run, "command -v bash");
    if (run.code != 0) skip();
    cli_expect(
        &run, 0,
        "$MICA completion bash > $T/c; mkdir -p $T/e; bash -c 'cd $T/e; . $T/c; "
        "t() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _mica; echo \"${COMPREPLY[@]}\"; };"
        "t mica tok; t mica run --tem; t mica run --reasoning-effort \"\"; t mica show dem'");
    assert_string_equal(run.out, "tokenize\n--temp\nlow medium high\ndemo\n");
}

static void test_document(void **state) {
    /* docs/cli.md is what the program says today (make docs writes it). */
    (void)state;
    cli_expect(&run, 0, "$MICA help --markdown | cmp - " MICA_SOURCE_DIR "/docs/cli.md");
}

static void test_version(void **state) {
    /* The version is that of the headers. */
    (void)state;
    char wanted[64];
    snprintf(wanted, sizeof wanted, "mica %d.%d.%d\n", MICA_VERSION_MAJOR, MICA_VERSION_MINOR,
             MICA_VERSION_PATCH);
    cli_expect(&run, 0, "$MICA --version");
    assert_int_equal(strncmp(run.out, wanted, strlen(wanted)), 0);
}

/* ---- input and output ---- */

static void test_prompt_sources(void **state) {
    /* Argument, file and pipe are the same prompt; one line feed at the end does not count. */
    (void)state;
    static const char *const commands[] = {
        "$MICA run --temp 0 -n 40 demo 'Count from 3 to 9.' 2>/dev/null",
        "echo 'Count from 3 to 9.' | $MICA run --temp 0 -n 40 demo 2>/dev/null",
        "printf 'Count from 3 to 9.' | $MICA run --temp 0 -n 40 demo 2>/dev/null",
        "echo 'Count from 3 to 9.' > $T/p; $MICA run --temp 0 -n 40 -f $T/p demo 2>/dev/null",
        "cd $T && $MICA run --temp 0 -n 40 " DEMO_FOLDER " 'Count from 3 to 9.' 2>/dev/null",
        "MICA_DEMO=" DEMO_FOLDER " $MICA run --temp 0 -n 40 demo 'Count from 3 to 9.' 2>/dev/null",
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        cli_expect(&run, 0, commands[i]);
        assert_string_equal(run.out, "3, 4, 5, 6, 7, 8, 9.\n");
    }
}

static void test_run_output(void **state) {
    /* The answer alone is on stdout; context, timings and seed are on stderr. */
    (void)state;
    cli_expect(&run, 0, "$MICA run --temp 0 demo 'Count from 3 to 9.' --show-timings --verbose");
    assert_string_equal(run.out, "3, 4, 5, 6, 7, 8, 9.\n");
    assert_non_null(strstr(run.err, "context 2048 tokens\n"));
    assert_non_null(strstr(run.err, "seed "));
    assert_non_null(strstr(run.err, " tok/s"));
    assert_non_null(strstr(run.err, "peak memory"));

    cli_expect(&run, 0, "$MICA run --temp 0 demo 'Count from 3 to 9.' --show-reasoning");
    assert_string_equal(run.out, "I will count from 3 to 9.\n\n3, 4, 5, 6, 7, 8, 9.\n");
    cli_expect(&run, 0, "$MICA run --temp 0 demo 'Count from 3 to 9.' --stop ', 6' --stop zzz");
    assert_string_equal(run.out, "3, 4, 5\n");
}

static void test_run_json(void **state) {
    /* --json prints one object and nothing else. */
    (void)state;
    cli_expect(&run, 0, "$MICA run --temp 0 --seed 7 --json demo 'Count from 3 to 9.'");
    assert_int_equal(run.err_bytes, 0);
    json_t *j = parse_output();
    assert_string_equal(json_string_value(json_object_get(j, "text")), "3, 4, 5, 6, 7, 8, 9.");
    assert_string_equal(json_string_value(json_object_get(j, "reasoning")),
                        "I will count from 3 to 9.");
    assert_string_equal(json_string_value(json_object_get(j, "finish_reason")), "stop");
    assert_int_equal(json_integer_value(json_object_get(j, "seed")), 7);
    const json_t *usage = json_object_get(j, "usage");
    assert_int_equal(json_integer_value(json_object_get(usage, "prompt_tokens")), 74);
    assert_true(json_integer_value(json_object_get(usage, "completion_tokens")) > 10);
    assert_true(json_is_object(json_object_get(j, "timings")));
    json_decref(j);
    cli_expect(&run, 0, "$MICA run --temp 0 -n 3 --json demo x");
    j = parse_output();
    assert_string_equal(json_string_value(json_object_get(j, "finish_reason")), "length");
    json_decref(j);
}

static void test_sampling(void **state) {
    /* The same seed gives the same text, on any number of threads; another seed another text. */
    (void)state;
    cli_expect(&run, 0, "$MICA run --raw --seed 1 -n 24 demo Once 2>/dev/null");
    char *first = strdup(run.out);
    cli_expect(&run, 0, "$MICA run --raw --seed 1 -n 24 --threads 1 demo Once 2>/dev/null");
    assert_string_equal(run.out, first);
    cli_expect(&run, 0, "$MICA run --raw --seed 2 -n 24 demo Once 2>/dev/null");
    assert_string_not_equal(run.out, first);
    cli_expect(&run, 0, "$MICA run --raw --seed 1 --top-k 1 -n 24 demo Once 2>/dev/null");
    free(first);
    first = strdup(run.out);
    cli_expect(&run, 0, "$MICA run --raw --temp 0 -n 24 demo Once 2>/dev/null");
    assert_string_equal(run.out, first);
    free(first);
}

static void test_context(void **state) {
    /* A reply that fills the context says so and is no failure. */
    (void)state;
    cli_expect(&run, 0, "$MICA run --raw --temp 0 --ctx 24 demo 'In the beginning'");
    assert_non_null(strstr(run.err, "context 24 tokens\n"));
    assert_non_null(strstr(run.err, "the context is full: 24 tokens\n"));
}

static void test_output_failures(void **state) {
    /* A full device and a closed stdout are failures; a reader that leaves is none to speak of. */
    (void)state;
    cli_expect(&run, 1, "$MICA help > /dev/full");
    cli_expect_line(&run, "No space left on device");
    cli_expect(&run, 1, "$MICA help >&-");
    cli_expect_line(&run, "standard output");
    cli_expect(&run, 0, "$MICA show --tensors demo | head -n 1 >/dev/null");
    assert_int_equal(run.err_bytes, 0);
    cli_expect(&run, 0, "$MICA run --raw --temp 0 -n 300 demo The 2>$T/e | head -c 5; cat $T/e");
    assert_string_equal(strchr(run.out, 'c') ? strstr(run.out, "context") : "",
                        "context 2048 tokens\n");
}

static void test_pipes_have_no_escapes(void **state) {
    /* No escape sequences and no progress bars where there is no terminal. */
    (void)state;
    cli_expect(&run, 0, "$MICA run --temp 0 demo 'Count from 3 to 9.' --show-reasoning 2>&1");
    assert_null(strchr(run.out, '\x1b'));
    assert_null(strchr(run.out, '\r'));
}

static void test_chat(void **state) {
    /* Turns, commands and the end of input, without a terminal. */
    (void)state;
    cli_expect(&run, 0,
               "printf 'Count from 3 to 9.\\n/save %s\\n/reset\\nCount from 4 to 6.\\n/nonsense\\n"
               "/system Be brief.\\n/save %s\\n/exit\\nnot read\\n' $T/a.json $T/b.json | "
               "$MICA chat --temp 0 --exact demo; cat $T/a.json $T/b.json");
    const char *second = strchr(run.out, '\n');
    assert_int_equal(strncmp(run.out, "3, 4, 5, 6, 7, 8, 9.\n", 21), 0);
    assert_int_equal(strncmp(second + 1, "4, 5, 6", 7), 0);
    assert_non_null(strstr(run.out, "\"role\": \"assistant\""));
    assert_non_null(strstr(run.out, "\"thinking\": \"I will count from 3 to 9.\""));
    assert_non_null(strstr(run.out, "\"content\": \"Be brief.\""));
    assert_null(strstr(run.out, "not read"));
    assert_non_null(strstr(run.err, "unknown command /nonsense"));
    assert_non_null(strstr(run.err, "saved 2 messages"));
}

static void test_chat_context(void **state) {
    /* A chat that fills its context says so, keeps what it has, and goes on after /reset. */
    (void)state;
    cli_expect(&run, 0,
               "{ echo 'Count from 3 to 9.'; for i in 1 2 3 4; do echo 'Count from 3 to 9 and from "
               "10 to 20, please, one more time.'; done; echo /reset; echo 'Count from 3 to 9.'; } "
               "| $MICA chat --temp 0 --ctx 160 demo");
    assert_non_null(strstr(run.err, "/reset starts anew"));
    const char *last = strstr(run.out, "3, 4, 5, 6, 7, 8, 9.\n");
    assert_non_null(last);
    assert_non_null(strstr(last + 1, "3, 4, 5, 6, 7, 8, 9.\n"));
}

/* ---- other commands ---- */

static void test_show(void **state) {
    /* show lists the model, its 155 tensors and the memory for a context; a file as well. */
    (void)state;
    cli_expect(&run, 0, "$MICA show --json --ctx 512 demo");
    json_t *j = parse_output();
    const json_t *tensors = json_object_get(j, "tensors");
    assert_int_equal(json_array_size(tensors), 155);
    const json_t *first = json_array_get(tensors, 0);
    assert_true(json_is_string(json_object_get(first, "name")));
    assert_true(json_is_string(json_object_get(first, "dtype")));
    assert_true(json_is_array(json_object_get(first, "shape")));
    assert_true(json_is_string(json_object_get(first, "shard")));
    const json_t *memory = json_array_get(json_object_get(j, "memory"), 0);
    assert_int_equal(json_integer_value(json_object_get(memory, "context")), 512);
    json_int_t sum = json_integer_value(json_object_get(memory, "weight_bytes")) +
                     json_integer_value(json_object_get(memory, "kv_bytes")) +
                     json_integer_value(json_object_get(memory, "scratch_bytes"));
    assert_int_equal(json_integer_value(json_object_get(memory, "total_bytes")), sum);
    json_decref(j);
    cli_expect(&run, 0, "$MICA show demo; $MICA show --tensors demo");
    assert_non_null(strstr(run.out, "GptOssForCausalLM"));
    assert_non_null(strstr(run.out, "model.embed_tokens.weight  BF16  [8192, 320]  model-0000"));
    cli_expect(&run, 0, "$MICA show --json " DEMO_FOLDER "/model-00001-of-00002.safetensors");
    j = parse_output();
    assert_true(json_array_size(json_object_get(j, "tensors")) > 10);
    json_decref(j);
}

static void test_convert(void **state) {
    /* convert reports what it did, says it tensor by tensor, refuses a folder that is there, and
     * what it wrote answers as the model did. */
    (void)state;
    cli_expect(&run, 0, "$MICA convert --json demo \"$T/plain\"");
    json_t *j = parse_output();
    assert_int_equal(json_integer_value(json_object_get(j, "changed")), 0);
    assert_int_equal(json_integer_value(json_object_get(j, "files")), 1);
    assert_int_equal(json_integer_value(json_object_get(j, "tensors")), 179);
    json_decref(j);
    cli_expect(&run, 0,
               "$MICA convert -v -q affine:8:64 --override 'lm_head=none' demo $T/q\n"
               "$MICA show --tensors $T/q");
    assert_non_null(strstr(run.out, " bits per weight\n"));
    assert_non_null(strstr(run.out, "weights changed: error max "));
    assert_non_null(strstr(run.err, "lm_head [8192, 320]: BF16, as it was\n"));
    assert_non_null(strstr(run.err, "model.embed_tokens [8192, 320]: BF16 -> affine:8:64, error"));
    assert_non_null(strstr(run.err, "mlp.experts.up_proj [8, 320, 320]: mxfp4, as it was"));
    assert_non_null(strstr(run.out, "model.embed_tokens.scales"));
    cli_expect(&run, 0,
               "$MICA run --temp 0 -n 12 demo 'Who are you?' >$T/a\n"
               "$MICA convert demo $T/plain >$T/b && rm $T/b\n"
               "$MICA run --temp 0 -n 12 $T/plain 'Who are you?' | cmp - $T/a");
    cli_expect(&run, 1, "mkdir $T/there && touch $T/there/x && $MICA convert demo $T/there");
    cli_expect_line(&run, "is not empty (x)");
    cli_expect(&run, 1, "$MICA convert /nowhere $T/out");
}

static void test_doctor(void **state) {
    /* The self-test passes on this machine, at scalar level too. */
    (void)state;
    cli_expect(&run, 0, "$MICA doctor");
    assert_non_null(strstr(run.out, "scalar   attention      ok"));
    assert_null(strstr(run.out, "FAILED"));
}

static void test_bench(void **state) {
    /* All forms of bench give a positive speed for each test that was asked for. */
    (void)state;
    cli_expect(&run, 0, "$MICA bench -p 16,32 -n 8 -r 2 -o json demo");
    json_t *j = parse_output();
    const json_t *results = json_object_get(j, "results");
    assert_int_equal(json_array_size(results), 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(json_real_value(json_object_get(json_array_get(results, i), "median_tok_s")) >
                    0);
    assert_true(json_real_value(json_object_get(j, "read_bytes_per_second")) > 1e8);
    json_decref(j);
    cli_expect(&run, 0, "$MICA bench -n 4 -r 1 -o csv demo; $MICA bench -p 8 -r 1 demo");
    assert_non_null(strstr(run.out, ",tg 4,"));
    assert_non_null(strstr(run.out, "| pp 8 |"));
    assert_non_null(strstr(run.out, "graph on"));
    assert_non_null(strstr(run.out, "peak memory"));
}

static double real_at(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("no number %s: %.500s", key, run.out);
    return json_number_value(value);
}

static void test_bench_facts(void **state) {
    /* Ceilings, bytes, operations and the time that a depth's bytes predict are there; a depth
     * costs KV bytes; --no-ceilings and --graph=off are heard. */
    (void)state;
    cli_expect(&run, 0, "$MICA bench -n 4 -d 500 -r 1 -o json demo");
    json_t *j = parse_output();
    assert_true(real_at(j, "fma_flops") > 1e8);
    assert_true(real_at(j, "peak_memory_bytes") > real_at(j, "weight_bytes_active"));
    assert_true(real_at(j, "start_seconds") > 0);
    const json_t *shallow = json_array_get(json_object_get(j, "results"), 0);
    const json_t *deep = json_array_get(json_object_get(j, "results"), 1);
    assert_int_equal((int)real_at(deep, "depth"), 500);
    assert_null(json_object_get(shallow, "predicted_seconds"));
    double bytes = real_at(shallow, "bytes_per_second") * real_at(shallow, "seconds");
    double deep_bytes = real_at(deep, "bytes_per_second") * real_at(deep, "seconds");
    assert_true(deep_bytes > bytes + 400 * 128);
    assert_true(real_at(deep, "predicted_seconds") > real_at(shallow, "seconds"));
    assert_true(real_at(shallow, "flops_per_second") > 0);
    assert_true(real_at(shallow, "share") > 0);
    assert_true(real_at(j, "activation_bytes") > 0);
    json_decref(j);
    cli_expect(&run, 0, "$MICA bench -n 4 -d 500 -r 1 -o json --no-ceilings --graph=off demo");
    j = parse_output();
    assert_string_equal(json_string_value(json_object_get(j, "graph")), "off");
    assert_true(real_at(j, "fma_flops") == 0);
    json_decref(j);
}

static void test_profile(void **state) {
    /* Every form of profile: the steps add up to the pass, kernels to the steps. */
    (void)state;
    cli_expect(&run, 0, "$MICA profile -r 3 -o json demo");
    json_t *j = parse_output();
    const json_t *steps = json_object_get(j, "steps"), *kernels = json_object_get(j, "kernels");
    double all = real_at(j, "start_seconds"), grouped = all, count = 0;
    size_t i;
    const json_t *row;
    json_array_foreach((json_t *)(uintptr_t)steps, i, row) all += real_at(row, "seconds");
    json_array_foreach((json_t *)(uintptr_t)kernels, i, row) {
        grouped += real_at(row, "seconds");
        count += real_at(row, "steps");
    }
    assert_true(json_array_size(steps) > 10 && (size_t)count == json_array_size(steps));
    assert_true(grouped > 0.99 * all && grouped < 1.01 * all);
    assert_true(all > 0.2 * real_at(j, "seconds") && all < 5 * real_at(j, "seconds"));
    json_decref(j);
    cli_expect(&run, 0, "$MICA profile -r 2 -p 32 -d 64 --steps demo");
    assert_non_null(strstr(run.out, "prefill"));
    assert_non_null(strstr(run.out, "32 tokens behind 64"));
    assert_non_null(strstr(run.out, "lm_head.weight"));
    cli_expect(&run, 0, "$MICA profile -r 1 -d 20 -o csv demo");
    assert_non_null(strstr(run.out, "node,op,kernel"));
}

static void test_profile_trace(void **state) {
    /* The trace is JSON whose events lie one behind the other on each worker. */
    (void)state;
    cli_expect(&run, 0,
               "$MICA profile -r 2 --threads 2 demo --trace $T/t.json >$T/x; cat $T/t.json");
    json_t *j = parse_output();
    json_t *events = json_object_get(j, "traceEvents");
    double ends[2] = {0, 0};
    size_t i, n_spans[2] = {0, 0};
    const json_t *event;
    json_array_foreach(events, i, event) {
        if (strcmp(json_string_value(json_object_get(event, "ph")), "X") != 0) continue;
        int worker = (int)real_at(event, "tid");
        assert_in_range(worker, 0, 1);
        assert_true(real_at(event, "ts") >= ends[worker] - 0.002);
        ends[worker] = real_at(event, "ts") + real_at(event, "dur");
        n_spans[worker]++;
    }
    assert_true(n_spans[0] > 10 && n_spans[1] > 10);
    json_decref(j);
}

static int tear_down(void **state) {
    (void)state;
    cli_run_free(&run);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_usage),
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_failed_jobs),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_completion),
        cmocka_unit_test(test_document),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_prompt_sources),
        cmocka_unit_test(test_run_output),
        cmocka_unit_test(test_run_json),
        cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_output_failures),
        cmocka_unit_test(test_pipes_have_no_escapes),
        cmocka_unit_test(test_chat),
        cmocka_unit_test(test_chat_context),
        cmocka_unit_test(test_show),
        cmocka_unit_test(test_convert),
        cmocka_unit_test(test_doctor),
        cmocka_unit_test(test_bench),
        cmocka_unit_test(test_bench_facts),
        cmocka_unit_test(test_profile),
        cmocka_unit_test(test_profile_trace),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
