/* Running one or two models over chunks of token ids and measuring their logits row by row. Of the
 * reference at most CLI_EVAL_BLOCK rows of logits are held: the models take turns. */
#pragma once
#include "eval_chunks.h"
#include "eval_math.h"
#include "mica/mica.h"
#include "progress.h"

#define CLI_EVAL_BLOCK 64 /* positions that a model reads in one turn */

/* What comes of the scored positions. Of one model only nll and n_hits[0] are filled. */
typedef struct cli_eval_result {
    cli_mean nll[2];     /* -log p of each id: of the model or reference, and of the other */
    cli_mean change;     /* nll of the other - nll of the reference */
    cli_mean divergence; /* KL(reference || other) */
    int64_t n_same_top;  /* positions whose most likely ids agree */
    double *divergences; /* [divergence.n] */
    size_t divergences_capacity;
} cli_eval_result;
void cli_eval_result_deinit(cli_eval_result *r);

typedef struct cli_eval_side {
    mica_engine *engine;
    int64_t n_rows; /* positions read of the running chunk */
    mica_finish finish;
    mica_error error;
} cli_eval_side;

typedef struct cli_eval_run {
    size_t n_sides; /* 1: likelihood; 2: side 0 is the reference */
    cli_eval_side sides[2];
    int64_t vocab;
    float *
        rows; /* [CLI_EVAL_BLOCK, vocab] of the reference, position p in row p % BLOCK; two sides */
    const cli_chunk *chunk; /* running */
    cli_eval_result result;
    mica_error error; /* the first failure inside a callback */
} cli_eval_run;

/* Engines of both sides are open with chunks of CLI_EVAL_BLOCK tokens. Zero is fine for the rest.
 */
mica_status cli_eval_run_init(cli_eval_run *r, int64_t vocab, mica_error *err);
/* Frees rows, result and engines. */
void cli_eval_run_deinit(cli_eval_run *r);
/* Runs one chunk through every side. Errors: CANCELLED after Ctrl-C; FORMAT for logits that are not
 * numbers; those of the engine. */
mica_status cli_eval_run_chunk(cli_eval_run *r, const cli_chunk *chunk, mica_error *err);
