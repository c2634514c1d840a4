/* What the patterns of pass fuse share. A pattern looks at one node, from the last of the graph to
 * the first, and puts a node of a fused op in its place; what the new node no longer needs dies
 * when the pass sweeps. One file per family of patterns, one line each in the list of fuse.c. */
#pragma once
#include "plan/draft.h"

typedef struct mica_fusion {
    mica_draft *draft;
    uint32_t *n_users;       /* nodes and outputs that need a node; kept up by what is below */
    uint8_t *is_absorbed;    /* part of a fused node further on: no pattern looks at it again */
    uint8_t *is_overwritten; /* by an effect */
    uint32_t count;          /* nodes when the pass began: what patterns added comes behind */
    uint32_t capacity;       /* of the three arrays */
} mica_fusion;

/* Tries to fuse the node with what it reads; true when it was replaced. */
typedef bool (*mica_fuse_pattern)(mica_fusion *f, mica_ref ref);

bool mica_fuse_residual(mica_fusion *f, mica_ref ref);     /* fuse_linear.c */
bool mica_fuse_gate(mica_fusion *f, mica_ref ref);         /* fuse_project.c */
bool mica_fuse_side_by_side(mica_fusion *f, mica_ref ref); /* fuse_project.c */
bool mica_fuse_prologue(mica_fusion *f, mica_ref ref);     /* fuse_project.c */
bool mica_fuse_experts_sum(mica_fusion *f, mica_ref ref);  /* fuse_experts.c */
bool mica_fuse_experts_glu(mica_fusion *f, mica_ref ref);  /* fuse_experts.c */
bool mica_fuse_attention(mica_fusion *f, mica_ref ref);    /* fuse_attention.c */
bool mica_fuse_rope_table(mica_fusion *f, mica_ref ref);   /* fuse_attention.c */
bool mica_fuse_chain(mica_fusion *f, mica_ref ref);        /* fuse_chain.c */

/* Rows of x up to which a kernel may do the work of its prologue once for every worker. */
#define MICA_FUSE_ROWS_MAX 4

/* A value that an effect overwrites must be read where it was: its reader cannot move. */
bool mica_fuse_reads_overwritten(const mica_fusion *f, const mica_node *n);

/* Whether `ref` may vanish into its user: it has no other and is no output. */
bool mica_fuse_is_private(const mica_fusion *f, mica_ref ref);

/* Puts `by` in the place of a node, if its rule gives just what the node was. Nodes that nobody
 * needs any more are absorbed. */
bool mica_fuse_replace(mica_fusion *f, mica_ref ref, mica_node by);

/* Adds a node behind all others, for a pattern that needs one more; op, inputs and params of `node`
 * are read. 0 when its rule refuses it or the table is full; without memory the pass fails. */
mica_ref mica_fuse_add(mica_fusion *f, mica_node node);
/* Absorbs a node that was added in vain. */
void mica_fuse_drop_unused(mica_fusion *f, mica_ref ref);
/* Runs the shape rule of a view again after its input became another view: true if it fits. */
bool mica_fuse_refresh_view(mica_fusion *f, mica_ref ref);

/* Parameters by name, since the structs are the ops' own. The op must have the parameter. */
void mica_fuse_set_param(const mica_fusion *f, mica_node *n, const char *name, int64_t value);
void mica_fuse_copy_param(const mica_fusion *f, const mica_node *from, mica_node *to,
                          const char *name);
