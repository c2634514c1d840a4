/* The results of mica profile, as a table, JSON or CSV. */
#pragma once
#include "ceiling.h"
#include "profile_samples.h"

typedef struct cli_profile_report {
    const cli_profile_samples *samples; /* finished */
    const cli_ceilings *ceilings;
    const mica_runtime_info *machine;
    const mica_model_info *model;
    bool is_exact;
    bool is_prefill;
    int64_t depth;  /* tokens in the cache before the pass */
    bool all_steps; /* one row a step, in order, instead of one a kernel */
} cli_profile_report;

/* format: "md", "json" or "csv". Errors: OUT_OF_MEMORY. */
mica_status cli_profile_print(const cli_profile_report *r, const char *format, mica_error *err);
