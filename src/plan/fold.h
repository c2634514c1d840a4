/* Constant folding: a part of the passes simplify and lower. */
#pragma once
#include "plan/draft.h"

/* Nodes that depend on small data in host memory alone become data: they are computed now, by the
 * kernels that would compute them at every run. Never weights, inputs, outputs or large results;
 * nothing in a graph without inputs, which runs once. What cannot be computed stays as it is. Dead
 * nodes are left behind. Errors: OUT_OF_MEMORY. */
mica_status mica_draft_fold(mica_draft *d, mica_error *err);
