/* Timed passes of one plan, gathered: for each step the medians over the passes. */
#pragma once
#include "mica/mica.h"

#define CLI_PASSES_MAX 256

/* What one step cost; seconds are medians. */
typedef struct cli_profile_row {
    char *op, *kernel, *weight, *result; /* weight: NULL = none */
    uint32_t node;
    size_t n_steps; /* 1, or how many a group holds */
    uint64_t bytes, flops;
    bool has_barrier, is_private;
    double seconds; /* from its begin to the begin of the next, mean over the workers */
    double wait;    /* of that: at the barrier behind it, for the slower ones */
} cli_profile_row;

typedef struct cli_profile_samples {
    int32_t n_tokens, n_capacity; /* of the passes */
    int n_workers;
    size_t n_steps;
    cli_profile_row *rows;    /* [n_steps], in the plan's order */
    mica_profile_time *times; /* [n_passes][n_workers][n_steps] */
    double *seconds;          /* [n_passes] */
    size_t n_passes;
    /* Made by finish: */
    double pass_seconds;  /* median */
    double start_seconds; /* until the workers began the first step */
    size_t median_pass;   /* index of the pass whose time is nearest to the median */
    cli_profile_row
        *groups; /* steps of one kernel, the longest first; strings borrowed from rows */
    size_t n_groups;
} cli_profile_samples;

/* Adds a pass; the first one decides what plan it is, others are left out (as are more than
 * CLI_PASSES_MAX). False: no memory. */
bool cli_profile_samples_add(cli_profile_samples *s, const mica_profile_pass *pass);
/* Computes medians and groups. n_passes > 0. False: no memory. */
bool cli_profile_samples_finish(cli_profile_samples *s);
void cli_profile_samples_deinit(cli_profile_samples *s);

/* Writes the median pass as Chrome's trace events: a row for each worker with its steps and, where
 * it waited for longer than a microsecond, the barriers. Errors: IO, OUT_OF_MEMORY. */
mica_status cli_profile_trace_write(const cli_profile_samples *s, const char *path,
                                    mica_error *err);
