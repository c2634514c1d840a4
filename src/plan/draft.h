/* What the passes work on: a copy of the graph in the order in which it will run, and what is known
 * of the plan so far. Node order is step order: a pass that wants another order, or that left dead
 * nodes behind, ends in mica_draft_sweep. */
#pragma once
#include "core/graph.h"
#include "core/op.h"
#include "core/runtime.h"

#define MICA_PLAN_BINDINGS_MAX UINT16_MAX /* mica_operand.binding has 16 bits */
#define MICA_PLAN_ALIGNMENT 64            /* of every arena part, in bytes */

/* Threads: one at a time. */
typedef struct mica_draft {
    mica_runtime *runtime;
    const mica_plan_options *options;
    const mica_graph *source; /* what was asked; read by collect alone */
    const mica_ref *source_outputs;
    size_t n_outputs;

    mica_graph *graph;  /* the copy, tracing; its arena holds all that the plan will own */
    mica_ref *outputs;  /* refs of graph: roots, or leaves */
    mica_arena scratch; /* dies with the draft */
    mica_segment *segments;
    size_t n_segments;
    mica_binding *bindings; /* from place on; [0] is the arena */
    size_t n_bindings;
    uint64_t arena_bytes;       /* peak of the arena */
    uint64_t arena_value_bytes; /* of that for values; behind them what steps share meanwhile */
    uint64_t arena_floor_bytes; /* the most of those values that is alive at once */
    uint64_t private_bytes;     /* peak of each worker's own */
    mica_step *steps;           /* from sync on */
    size_t n_steps;
    mica_plan *plan; /* from seal on; then owns graph */
} mica_draft;

typedef mica_status (*mica_pass_function)(mica_draft *d, mica_error *err);

/* ---- the passes, in order (plan.c) ---- */

/* Copies what the outputs need, operands first. */
mica_status mica_pass_collect(mica_draft *d, mica_error *err);
/* Applies every op's shape rule once more; a difference is a bug of ours: INTERNAL. */
mica_status mica_pass_check(mica_draft *d, mica_error *err);
/* Gives every node a device: one segment on the default device. */
mica_status mica_pass_assign(mica_draft *d, mica_error *err);
/* Merges equal nodes, removes what changes nothing, drops dead code. */
mica_status mica_pass_simplify(mica_draft *d, mica_error *err);
/* Replaces groups of nodes by one node that does the same in one step. */
mica_status mica_pass_fuse(mica_draft *d, mica_error *err);
/* Replaces what the device cannot run as it is: by copies, or by simpler ops. */
mica_status mica_pass_lower(mica_draft *d, mica_error *err);
/* An order in which values are not overwritten before their last reader, and few are alive. */
mica_status mica_pass_order(mica_draft *d, mica_error *err);
/* Small steps that every worker does for itself, so that no barrier stands behind them. */
mica_status mica_pass_replicate(mica_draft *d, mica_error *err);
/* Bindings, and a place in one of them for every node. */
mica_status mica_pass_place(mica_draft *d, mica_error *err);
/* A kernel for every node that runs. */
mica_status mica_pass_select(mica_draft *d, mica_error *err);
/* Steps with their arguments, and the fewest barriers between them. */
mica_status mica_pass_sync(mica_draft *d, mica_error *err);
/* The plan itself: totals, outputs, the graph handed over. */
mica_status mica_pass_seal(mica_draft *d, mica_error *err);

/* ---- shared by passes ---- */

/* The op of a node; NULL for leaves. */
static inline const mica_op *mica_draft_op(const mica_draft *d, const mica_node *n) {
    return d->runtime->ops[n->op];
}
static inline bool mica_node_is_leaf(const mica_node *n) { return n->op <= MICA_OP_DATA; }
/* Whether the node becomes a step. */
static inline bool mica_node_is_computed(const mica_node *n) {
    return !mica_node_is_leaf(n) && !n->is_view;
}
static inline bool mica_draft_is_effect(const mica_draft *d, const mica_node *n) {
    const mica_op *op = mica_draft_op(d, n);
    return op && (op->flags & MICA_OP_IS_EFFECT);
}

/* True when rt->no_pass names the pass. */
bool mica_draft_is_off(const mica_draft *d, const char *pass);

/* Working memory of a pass, zeroed; NULL without memory. */
void *mica_draft_scratch(mica_draft *d, size_t count, size_t item_bytes);
/* Memory that the plan will own, zeroed; NULL without memory. */
void *mica_draft_keep(mica_draft *d, size_t count, size_t item_bytes);
mica_status mica_draft_fail_memory(const mica_draft *d, const char *what, mica_error *err);

/* Puts what first[n_first], counts and the outputs need into depth-first order (operands before
 * users, first before the rest) and drops all other nodes. Refs are renumbered everywhere. */
mica_status mica_draft_sweep(mica_draft *d, const mica_ref *first, size_t n_first, mica_error *err);
/* Depth-first post-order of what roots need; zero roots are skipped. order[] gets refs of g,
 * number[ref] = 1 + place in order, or 0. Both come from the scratch arena. */
mica_status mica_draft_walk(mica_draft *d, const mica_graph *g, const mica_ref *roots,
                            size_t n_roots, mica_ref **order, size_t *n, mica_ref **number,
                            mica_error *err);
/* Rewrites inputs and view_of of a node through map[ref]. Returns whether anything changed. */
bool mica_node_renumber(mica_node *n, const mica_ref *map);
/* Runs the shape rule of a view again after its input was replaced. */
mica_status mica_draft_refresh_view(mica_draft *d, mica_ref ref, mica_error *err);

/* [ref] = 1 for the owners of storage that an effect overwrites; NULL without memory. */
uint8_t *mica_draft_find_overwritten(mica_draft *d);

/* The i32 parameter of that name; false when the op has none. */
bool mica_draft_read_param(const mica_op *op, const mica_node *n, const char *name, int32_t *out);
/* The bytes of a one-element DATA node in host memory, whose value is known; else NULL. */
const uint8_t *mica_draft_find_element(const mica_node *n);
/* The value of a one-element array of f32, f16, bf16 or i32 in host memory, or of a cast of one
 * before it is rounded (0 and 1 stay what they are). */
bool mica_draft_read_scalar(const mica_graph *g, mica_ref ref, double *out);

/* What the op states, or else its inputs and its result once, and one operation an element. */
void mica_draft_cost(const mica_draft *d, const mica_node *n, mica_cost *out);

/* Whether the device has what the kernel needs, and the kernel takes the node. */
bool mica_draft_can_run(const mica_draft *d, const mica_node *n, const mica_kernel *k);
/* The kernel that the device runs for the node, or NULL. */
const mica_kernel *mica_draft_find_kernel(const mica_draft *d, const mica_node *n);

/* Bytes of all parts, each but the last rounded up to MICA_PLAN_ALIGNMENT; part i starts at
 * offsets[i] (NULL = not wanted). */
uint64_t mica_node_bytes(const mica_node *n, uint64_t offsets[MICA_PARTS_MAX]);
/* Bytes from the root's part to the first element of a view in it. */
uint64_t mica_view_bytes(const mica_node *n, int64_t elements, int part);
