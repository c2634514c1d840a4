/* What the ops that work on rows of the last axis share: the head of their argument structs, how
 * rows are given to workers, and the rule for their first input. */
#pragma once
#include <assert.h>
#include "core/op.h"

/* Rows of n elements, contiguous: n_blocks * block_rows of them; a block is one index of axis 0, so
 * that a live count is a count of blocks. */
typedef struct mica_row_args {
    uint64_t x;
    uint64_t out;
    uint64_t live; /* address of the count of live blocks, 0 = all */
    int64_t n_blocks;
    int64_t block_rows;
    int64_t n;     /* elements of a row of x */
    int32_t dtype; /* mica_dtype of x and out: f32, f16 or bf16 */
    int32_t reserved;
} mica_row_args;
static_assert(sizeof(mica_row_args) == 56, "host and device kernels share this layout");

/* This worker's live rows. */
static inline void mica_row_share(const mica_row_args *a, const mica_cpu_worker *worker,
                                  int64_t *begin, int64_t *end) {
    mica_cpu_share(worker, mica_cpu_live(a->live, a->n_blocks) * a->block_rows, 1, begin, end);
}

/* Input 0 must be f32, f16 or bf16 of rank 1 or more, and its last axis not the one with the live
 * count; n takes its dtype, shape and live kind. */
mica_status mica_rule_rows(const mica_graph *g, mica_node *n, mica_error *err);
/* Input i, unless it is 0, must be a float vector [length]. */
mica_status mica_rule_row_vector(const mica_graph *g, const mica_node *n, int i, const char *what,
                                 int64_t length, mica_error *err);
/* Fills the head from input 0 and n, and sets the grid. a lies inside the argument struct. */
void mica_launch_row_args(mica_launch *l, mica_row_args *a, const mica_node *n);
