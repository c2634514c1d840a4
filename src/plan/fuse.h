/* What the patterns of pass fuse share. A pattern looks at one node, from the last of the graph to
 * the first, and puts a node of a fused op in its place; what the new node no longer needs dies
 * when the pass sweeps. One file per family of patterns, one line each in the list of fuse.c. */
#pragma once
#include "plan/draft.h"

typedef struct mica_fusion {
    mica_draft *draft;
    uint32_t *n_users;       /* nodes and outputs that need a node */
    uint8_t *is_absorbed;    /* part of a fused node further on: no pattern looks at it again */
    uint8_t *is_overwritten; /* by an effect */
} mica_fusion;

/* Tries to fuse the node with what it reads; true when it was replaced. */
typedef bool (*mica_fuse_pattern)(mica_fusion *f, mica_ref ref);

bool mica_fuse_residual(mica_fusion *f, mica_ref ref); /* fuse_linear.c */
bool mica_fuse_chain(mica_fusion *f, mica_ref ref);    /* fuse_chain.c */

/* Rows of x up to which a kernel may do the work of its prologue once for every worker. */
#define MICA_FUSE_ROWS_MAX 4

/* A value that an effect overwrites must be read where it was: its reader cannot move. */
bool mica_fuse_reads_overwritten(const mica_fusion *f, const mica_node *n);

/* Whether `ref` may vanish into its user: it has no other and is no output. */
bool mica_fuse_is_private(const mica_fusion *f, mica_ref ref);

/* Puts `by` in the place of a node, if its rule gives just what the node was. */
bool mica_fuse_replace(mica_fusion *f, mica_ref ref, mica_node by);
