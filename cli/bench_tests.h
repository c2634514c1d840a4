/* The measurements of mica bench: speeds of prompts and of generation, repeated. */
#pragma once
#include "ceiling.h"
#include "session.h"

#define CLI_REPETITIONS_MAX 1000
#define CLI_WARM_UP_TOKENS 8 /* generated before the clock counts */

/* pp reads n tokens, tg generates n behind depth others. */
typedef struct cli_bench_test {
    bool is_prompt;
    int64_t n;
    int64_t depth;
    size_t n_rates;
    double rates[CLI_REPETITIONS_MAX]; /* tokens a second, sorted at the end */
    double median;
    double flops; /* of all its tokens, as the plan's steps state them; tg: of one token */
    double bytes; /* tg: weights and KV pages that a token reads; pp: 0 */
    double
        shallow_rate; /* tg with a depth: bytes a second of the test without one; 0 = not known */
} cli_bench_test;

typedef struct cli_bench {
    cli_session session;
    mica_model_info info;
    mica_runtime_info machine;
    cli_ceilings ceilings; /* zero: not measured */
    bool is_graph_off;
    double start_seconds; /* opening the model and making the engine */
    int32_t *ids;         /* [n_ids] */
    size_t n_ids;
    /* Of the run that goes on: */
    double first_seconds, last_seconds; /* clock at the first and the last id */
    mica_finish finish;
    mica_error error;
    double flops; /* of the passes seen */
} cli_bench;

/* Runs t so many times after a warm-up and fills in its results; is_prompt, n, depth and
 * shallow_rate are set. Errors: of the engine, CANCELLED. */
mica_status cli_bench_run(cli_bench *b, cli_bench_test *t, size_t repetitions, mica_error *err);
