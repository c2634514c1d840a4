/* From a graph to a sealed plan: the list of passes. One file per pass; draft.h is what they share.
 * Read plan.c next. */
#pragma once
#include "core/graph.h"
#include "core/runtime.h"

/* Builds a plan that computes outputs[n_outputs], refs of g (views stand for their roots). g is not
 * changed, and the plan keeps nothing of it but its weights, which must outlive the plan.
 * options may be NULL. Counts rt->n_plans_built.
 * Errors: INVALID, UNSUPPORTED (no kernel, and no simpler form), LIMIT, OUT_OF_MEMORY.
 * Threads: one at a time per runtime. */
mica_status mica_plan_build(mica_runtime *rt, const mica_graph *g, const mica_ref *outputs,
                            size_t n_outputs, const mica_plan_options *options, mica_plan **out,
                            mica_error *err);

/* Checks the comma-separated names of passes to switch off and to dump; either may be NULL.
 * Errors: INVALID with the names that there are. */
mica_status mica_plan_check_names(const char *no_pass, const char *dump, mica_error *err);
