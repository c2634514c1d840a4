/* The three shapes of data: node (what is wanted), step (one launch), plan (sealed list of steps).
 * Read this page first. Builders and passes work on mica_graph (graph.h); ops describe themselves
 * by mica_op (op.h); a backend runs plans (backend.h). */
#pragma once
#include "core/buffer.h"
#include "core/dtype.h"

/* ---- node -------------------------------------------------------------------------------- */

/* Index of a node in its graph; 0 = none. */
typedef uint32_t mica_ref;

#define MICA_INPUTS_MAX 12
#define MICA_PARTS_MAX 3 /* codes or plain data, scales, biases */
#define MICA_PARAM_BYTES 56

/* Leaves have no op folder; all others are the lines of ops.def, in order. */
typedef enum mica_op_id {
    MICA_OP_NONE = 0,
    MICA_OP_INPUT,  /* bound at every run: batch arrays, KV pools */
    MICA_OP_WEIGHT, /* of the weight store */
    MICA_OP_DATA,   /* holds its elements: from the host, or computed earlier */
#define MICA_OP(name) MICA_OP_##name,
#include "core/ops.def"
#undef MICA_OP
    MICA_OP_COUNT_,
} mica_op_id;

/* Which count of the batch limits axis 0. Shapes are capacities: a kernel of a node with a live
 * count handles the first count[live] rows of axis 0 and leaves the rest undefined. */
typedef enum mica_live {
    MICA_LIVE_ALL = 0, /* every row */
    MICA_LIVE_TOKENS,  /* batch.counts[0] */
    MICA_LIVE_ROWS,    /* batch.counts[1]: rows whose logits are wanted */
} mica_live;

/* Where a node's part 0 lies after pass `place`; parts follow each other, 64-byte aligned. */
typedef struct mica_place {
    int32_t binding; /* index into plan.bindings; -1 = not placed (views, unused) */
    uint64_t offset; /* bytes from the binding's start */
} mica_place;

typedef union mica_params {
    uint8_t bytes[MICA_PARAM_BYTES]; /* the op's own struct, zero-padded */
    int64_t align_;
} mica_params;

typedef struct mica_node {
    uint16_t op;      /* mica_op_id */
    uint8_t dtype;    /* mica_dtype; for quantised arrays the dtype of decoded values */
    uint8_t live;     /* mica_live */
    uint8_t n_inputs; /* refs used in inputs; a ref may be 0 where the op allows none */
    uint8_t is_view;  /* shares storage with view_of: strides and view_offset tell how */
    uint8_t is_output;
    uint8_t is_scalar;  /* made by mica_scalar: takes the dtype of what it meets */
    uint8_t is_private; /* every worker computes it for itself (pass `replicate`) */
    uint32_t phase;     /* steps of one phase need no barrier between them; 0 = not known */
    mica_quant quant;   /* mode NONE = plain */
    mica_shape shape;
    int64_t strides[MICA_RANK_MAX]; /* elements; row-major unless is_view */
    int64_t view_offset;            /* elements from the start of view_of's storage */
    mica_ref view_of;               /* the node that owns the storage; never itself a view */
    mica_ref inputs[MICA_INPUTS_MAX];
    mica_params params;
    const char *name;                     /* inputs and weights; lives in the graph's arena */
    const struct mica_weight *weight;     /* MICA_OP_WEIGHT */
    mica_storage storage[MICA_PARTS_MAX]; /* MICA_OP_DATA; retained buffers */
    uint32_t n_handles;                   /* public handles */
    uint32_t n_users;                     /* nodes that name it as input or view_of */
    uint32_t generation;                  /* guards recycled slots */
    mica_place place;                     /* set by pass `place` */
    const struct mica_kernel *kernel;     /* set by pass `select` */
} mica_node;

/* ---- step -------------------------------------------------------------------------------- */

/* Address of an operand inside an argument struct: the backend writes it before a run. */
typedef uint64_t mica_address;

typedef enum mica_access { MICA_ACCESS_READ = 1, MICA_ACCESS_WRITE = 2 } mica_access;

typedef struct mica_operand {
    uint32_t args_byte; /* where in the argument struct the mica_address stands */
    uint16_t binding;   /* index into plan.bindings */
    uint8_t access;     /* mica_access bits */
    uint64_t offset;    /* bytes from the binding's start */
    uint64_t bytes;     /* extent, for hazards */
} mica_operand;

typedef struct mica_step {
    const struct mica_kernel *kernel;
    mica_ref node;     /* of the plan's graph, for dumps and profiles */
    uint32_t grid[3];  /* groups; the CPU takes the product as a hint of the number of items */
    uint32_t group[3]; /* lanes of a group; unused on the CPU */
    void *args;        /* args_bytes, addresses not yet filled in */
    uint32_t args_bytes;
    uint32_t n_operands;
    const mica_operand *operands;
    bool barrier_before; /* reads or overwrites what an earlier step since the last barrier wrote */
    bool is_private;     /* every worker does the whole of it, for itself */
    size_t scratch_bytes; /* per worker or group */
    uint64_t bytes;       /* moved, as the op states it */
    uint64_t flops;
} mica_step;

/* ---- plan -------------------------------------------------------------------------------- */

typedef enum mica_binding_kind {
    MICA_BIND_ARENA,   /* activations; one per device, shared by plans */
    MICA_BIND_BUFFER,  /* weights and data: known when the plan is built */
    MICA_BIND_INPUT,   /* given at each run */
    MICA_BIND_OUTPUT,  /* given at each run */
    MICA_BIND_PRIVATE, /* activations of is_private nodes: one copy for each worker */
} mica_binding_kind;

typedef struct mica_binding {
    mica_binding_kind kind;
    uint8_t part;         /* BUFFER: which part of the node */
    mica_ref node;        /* of the plan's graph; 0 for the arena */
    uint64_t bytes;       /* that the plan may touch */
    mica_storage storage; /* BUFFER */
    const char *name;     /* INPUT: the node's name */
} mica_binding;

/* One device's share of a plan, in order; segments are chained by events. */
typedef struct mica_segment {
    mica_device *device;
    mica_step *steps;
    size_t n_steps;
    uint64_t arena_bytes;
    uint64_t private_bytes; /* of MICA_BIND_PRIVATE, for each worker */
    size_t scratch_bytes;   /* the largest of its steps */
} mica_segment;

/* Sealed and const: replayed with new bindings for every token. Threads: immutable. */
typedef struct mica_plan {
    struct mica_graph *graph; /* what the steps' node refs mean; owned */
    mica_binding *bindings;   /* [0] is the arena */
    size_t n_bindings;
    mica_segment *segments;
    size_t n_segments;
    mica_ref *outputs; /* in the order asked for, refs of graph (roots of views) */
    size_t n_outputs;
    uint64_t weight_bytes; /* read by one run, at most */
    uint64_t flops;
} mica_plan;

void mica_plan_destroy(mica_plan **plan);
