/* Jobs over the rows of experts: what the walk of linear_experts shares with those of the fused ops
 * experts_glu and experts_sum. */
#pragma once
#include "ops/linear_experts/linear_experts.h"

/* The experts that have rows in the list, ascending, into active[n_experts]; returns how many. */
int64_t mica_experts_find_active(const mica_linear_experts_args *a, int32_t *active);

/* A job over the rows of no expert yet: x, out and the weight's type. */
mica_linear_rows mica_experts_whole_job(const mica_linear_experts_args *a);

/* Points the job at the weight rows of one expert and at the rows that chose it. */
void mica_experts_set_expert(const mica_linear_experts_args *a, int32_t expert,
                             mica_linear_rows *job);

/* The rows of an expert are done in groups of MICA_LINEAR_BLOCK, so that a group is packed once for
 * all tiles of the weight. Groups are counted through all active experts. */
int64_t mica_experts_count_groups(const mica_linear_experts_args *a, const int32_t *active,
                                  int64_t n_active);

/* Where a worker stands; starts as zeros. */
typedef struct mica_experts_cursor {
    int64_t at;    /* index into active */
    int64_t first; /* number of its first group */
} mica_experts_cursor;

/* Points the job at the weight and rows of a group; numbers must not fall from call to call.
 * Returns the expert. */
int32_t mica_experts_set_group(const mica_linear_experts_args *a, const int32_t *active,
                               int64_t group, mica_experts_cursor *cursor, mica_linear_rows *job);

/* Whether entry `e` names an expert. */
static inline bool mica_experts_has_expert(const mica_linear_experts_args *a, int64_t e) {
    const int32_t *ids = mica_cpu_at(a->ids);
    return ids[e] >= 0 && ids[e] < a->n_experts;
}

/* Rows of out, `width` elements each, whose id names no expert are in no list: this worker's share
 * of them becomes zeros. */
void mica_experts_clear_rows(const mica_linear_experts_args *a, int64_t width,
                             const mica_cpu_worker *worker);
