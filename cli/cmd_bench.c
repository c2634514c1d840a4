/* mica bench: the list of tests that the options ask for. Measuring is in bench_tests.c, printing
 * in bench_table.c, the limits of the machine in ceiling.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/thread_pool.h"
#include "bench_table.h"
#include "commands.h"
#include "random_ids.h"
#include "report.h"

#define REPETITIONS_DEFAULT 3
#define PASSES_BYTES 320 /* a list of pass names */
#define GRAPH_PASSES "fuse,simplify,order,replicate,donation"

typedef struct job {
    cli_bench bench;
    cli_options options; /* as given, with the passes that --graph switches off */
    char no_pass[PASSES_BYTES];
    cli_counts prompts, answers;
    const char *format;
    json_t *rows; /* format json */
    cli_bench_test test;
} job;

/* ---- what is to be done ---- */

static cli_counts or_default(const cli_counts *given, const cli_counts *other, int64_t value) {
    if (given->n > 0 || other->n > 0) return *given;
    return (cli_counts){.n = 1, .values = {value}};
}

static int64_t largest(const cli_counts *list) {
    int64_t most = 0;
    for (size_t i = 0; i < list->n; i++)
        if (list->values[i] > most) most = list->values[i];
    return most;
}

static mica_status read_job(job *j, const cli_options *o, mica_error *err) {
    cli_counts deep = o->generated_tokens;
    if (o->depths.n > 0 && deep.n == 0) deep = (cli_counts){.n = 1, .values = {128}};
    j->options = *o;
    j->format = o->format ? o->format : "md";
    j->prompts = or_default(&o->prompt_tokens, &deep, 512);
    j->answers = or_default(&deep, &o->prompt_tokens, 128);
    j->bench.is_graph_off = o->graph && strcmp(o->graph, "off") == 0;
    if (!j->bench.is_graph_off) return MICA_STATUS_OK;
    int n = snprintf(j->no_pass, sizeof j->no_pass, "%s%s%s", GRAPH_PASSES, o->no_pass ? "," : "",
                     o->no_pass ? o->no_pass : "");
    if (n < 0 || (size_t)n >= sizeof j->no_pass)
        return mica_fail(err, MICA_STATUS_LIMIT, "--no-pass: a list that is too long");
    j->options.no_pass = j->no_pass;
    return MICA_STATUS_OK;
}

static mica_status open_bench(cli_bench *b, const cli_options *o, int64_t context, size_t n_ids,
                              mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(cli_session_open(&b->session, o, err));
    mica_runtime_get_info(b->session.runtime, &b->machine);
    double start = mica_clock_seconds();
    MICA_TRY(cli_session_open_model(&b->session, false, err));
    MICA_TRY(cli_session_open_engine(&b->session, o->context.is_set ? 0 : context, err));
    b->start_seconds = mica_clock_seconds() - start;
    mica_model_get_info(b->session.model, &b->info);
    if (!o->no_ceilings)
        MICA_TRY(cli_ceilings_measure(b->session.model, b->session.path, &b->machine, &b->ceilings,
                                      err));
    b->n_ids = n_ids;
    b->ids = cli_random_ids(n_ids, b->info.vocab_size);
    MICA_REQUIRE(b->ids, MICA_STATUS_OUT_OF_MEMORY, "out of memory: token ids");
done:
    return st;
}

/* ---- doing it ---- */

static mica_status run_test(job *j, bool is_prompt, int64_t n, int64_t depth, double shallow_rate,
                            mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const cli_count *repetitions = &j->options.repetitions;
    cli_bench_test *t = &j->test;
    t->is_prompt = is_prompt;
    t->n = n;
    t->depth = depth;
    t->shallow_rate = shallow_rate;
    MICA_TRY(cli_bench_run(
        &j->bench, t, repetitions->is_set ? (size_t)repetitions->value : REPETITIONS_DEFAULT, err));
    if (!j->rows)
        cli_bench_print_row(&j->bench, t, j->format);
    else if (json_array_append_new(j->rows, cli_bench_row_json(&j->bench, t)) != 0)
        st = mica_fail(err, MICA_STATUS_OUT_OF_MEMORY, "out of memory: JSON");
done:
    return st;
}

static mica_status run_tests(job *j, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const cli_counts *depths = &j->options.depths;
    for (size_t i = 0; i < j->prompts.n; i++)
        MICA_TRY(run_test(j, true, j->prompts.values[i], 0, 0, err));
    for (size_t i = 0; i < j->answers.n; i++) {
        MICA_TRY(run_test(j, false, j->answers.values[i], 0, 0, err));
        double shallow_rate = j->test.bytes * j->test.median;
        for (size_t k = 0; k < depths->n; k++)
            MICA_TRY(
                run_test(j, false, j->answers.values[i], depths->values[k], shallow_rate, err));
    }
done:
    return st;
}

static mica_status run_job(job *j, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    int64_t prompt = largest(&j->prompts), depth = largest(&j->options.depths);
    int64_t answer = largest(&j->answers);
    int64_t context = depth + (answer < CLI_WARM_UP_TOKENS ? CLI_WARM_UP_TOKENS : answer);
    if (context < prompt) context = prompt;
    if (strcmp(j->format, "json") == 0) {
        j->rows = json_array();
        MICA_REQUIRE(j->rows, MICA_STATUS_OUT_OF_MEMORY, "out of memory: JSON");
    }
    MICA_TRY(open_bench(&j->bench, &j->options, context + 2,
                        (size_t)(prompt > depth ? prompt : depth) + 1, err));
    if (!j->rows) cli_bench_print_head(&j->bench, j->format);
    MICA_TRY(run_tests(j, err));
    if (j->rows)
        MICA_TRY(cli_bench_print_json(&j->bench, j->rows, err));
    else
        cli_bench_print_foot(&j->bench, j->format);
done:
    return st;
}

int cmd_bench(const cli_options *o) {
    mica_status st = MICA_STATUS_OK;
    mica_error err = {0};
    job *j = calloc(1, sizeof *j);
    if (!j) return cli_fail("out of memory: a bench");
    MICA_TRY(read_job(j, o, &err));
    MICA_TRY(run_job(j, &err));
done:
    json_decref(j->rows);
    free(j->bench.ids);
    cli_session_close(&j->bench.session);
    free(j);
    int written = cli_output_close();
    return st == MICA_STATUS_OK ? written : cli_fail_error(&err);
}
