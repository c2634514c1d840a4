/* How an op describes itself: shape rule, composed meaning, cost, launch, kernels. One folder
 * src/ops/<name>/ holds all of it and ends in `const mica_op mica_op_<name>`. */
#pragma once
#include "core/cpu.h"
#include "core/graph.h"

typedef enum mica_device_kind {
    MICA_DEVICE_CPU,
    MICA_DEVICE_CUDA,
    MICA_DEVICE_METAL,
    MICA_DEVICE_NULL,
} mica_device_kind;

/* One row of an op's variant table, best first, plain-C reference last. `select` takes the first
 * row whose device matches, whose needs the device has, and that accepts the node. */
typedef struct mica_kernel {
    const char *name; /* unique: "rms_norm_avx2" */
    mica_device_kind device;
    uint32_t needs; /* MICA_CPU_* bits, or a GPU architecture */
    /* NULL = every node that passed the shape rule (with contiguous inputs where not strided). */
    bool (*accepts)(const mica_graph *g, const mica_node *n);
    /* Bytes of private scratch per worker; NULL = none. */
    size_t (*scratch_bytes)(const mica_graph *g, const mica_node *n);
    mica_cpu_function cpu; /* CPU entry; GPUs find theirs by name */
} mica_kernel;

typedef enum mica_param_type {
    MICA_PARAM_BOOL, /* bool */
    MICA_PARAM_I32,
    MICA_PARAM_I64,
    MICA_PARAM_F32,
    MICA_PARAM_F64,
    MICA_PARAM_I8_LIST, /* int8_t[MICA_RANK_MAX], printed up to the node's rank */
    MICA_PARAM_U8_LIST, /* a uint8_t count, then so many uint8_t; the last of its struct */
} mica_param_type;

/* A field of the op's parameter struct, for IR text. */
typedef struct mica_param {
    const char *name;
    mica_param_type type;
    uint8_t offset;
} mica_param;

enum {
    MICA_OP_IS_VIEW = 1 << 0, /* no step: infer sets is_view, strides, view_offset, view_of */
    MICA_OP_IS_ELEMENTWISE = 1 << 1, /* out[i] depends on in[i] (broadcast) alone */
    MICA_OP_IS_EFFECT = 1 << 3,      /* result is inputs[0], changed where it lies */
    MICA_OP_IS_SHARED = 1 << 4, /* what it costs shows in the data alone: always shared by all */
};

typedef struct mica_cost {
    uint64_t bytes; /* read and written once each; weights included */
    uint64_t flops;
} mica_cost;

/* Being built: a step and where its operands come from (launch.c). */
typedef struct mica_launch mica_launch;

typedef struct mica_op {
    const char *name;
    uint8_t n_inputs_min, n_inputs_max;
    uint8_t flags;
    uint16_t optional;  /* bit i: inputs[i] may be 0 */
    uint16_t strided;   /* bit i: kernels take inputs[i] with any strides; else `lower` copies */
    uint16_t quantized; /* bit i: inputs[i] may be quantised */
    /* Bit i: where inputs[i] has the result's layout, every kernel may write the result over it: a
     * worker writes an element when nobody will read those of the input at that place any more. */
    uint16_t in_place;
    const mica_param *params;
    size_t n_params;
    /* Shape rule: fills dtype, shape, quant, live (and the view fields) of n from inputs and
     * params. Everything else of n is set. Errors: INVALID with both shapes. */
    mica_status (*infer)(const mica_graph *g, mica_node *n, mica_error *err);
    /* The same result in simpler ops of g (inputs are refs of g); oracle and fallback. NULL for
     * primitive ops. */
    mica_ref (*compose)(mica_graph *g, const mica_node *n);
    /* NULL = bytes of inputs and output once, one flop an element. */
    void (*cost)(const mica_graph *g, const mica_node *n, mica_cost *out);
    /* Fills the step's arguments through the mica_launch_ functions. NULL for views. */
    mica_status (*launch)(mica_launch *l, const mica_node *n, mica_error *err);
    const mica_kernel *kernels;
    size_t n_kernels;
    /* Whether rows a and b of the table, which both accept n, give the same bits for it: only such
     * rows may compete by their measured time (select). NULL = no two do. */
    bool (*is_same_arithmetic)(const mica_graph *g, const mica_node *n, const mica_kernel *a,
                               const mica_kernel *b);
} mica_op;

/* The table that ops.def lists; index = mica_op_id; leaves and NONE are NULL. */
typedef const mica_op *const *mica_op_table;

/* Adds a node of op with copies of inputs and params; the shape rule runs at once. Returns 0 after
 * any error (sticky in g). Used by the public functions in the op folders and by compose. */
mica_ref mica_graph_add(mica_graph *g, mica_op_id op, const mica_ref *inputs, int n_inputs,
                        const void *params, size_t param_bytes);

/* The op's parameters as its struct. */
#define MICA_PARAMS(type, n) ((const type *)(const void *)(n)->params.bytes)

/* ---- launch ------------------------------------------------------------------------------ */

#define MICA_OPERANDS_MAX (MICA_INPUTS_MAX * MICA_PARTS_MAX + 4)

struct mica_plan_builder; /* plan's own */
struct mica_launch {
    const mica_graph *graph;
    mica_step *step; /* grid may be set directly */
    struct mica_plan_builder *builder;
    bool failed; /* no memory; reported by the caller of launch */
    mica_operand operands[MICA_OPERANDS_MAX];
    void *(*allocate)(struct mica_launch *l, size_t bytes); /* zeroed, from the plan's arena */
    /* Binding and byte offset of a part of a node. */
    void (*locate)(const struct mica_launch *l, mica_ref ref, int part, uint16_t *binding,
                   uint64_t *offset, uint64_t *bytes);
    /* Bytes that no value has; the same for every step. */
    void (*reserve)(const struct mica_launch *l, uint64_t bytes, uint16_t *binding,
                    uint64_t *offset);
    mica_ref counts; /* the batch.counts input, 0 where the graph has none */
};

/* The argument struct, zeroed; NULL without memory (launch then returns OUT_OF_MEMORY). */
void *mica_launch_args(mica_launch *l, size_t bytes);
/* Enters an operand at `field`, which lies inside the argument struct. ref 0 leaves address 0.
 * For a view the address is that of its first element. */
void mica_launch_read(mica_launch *l, mica_address *field, mica_ref ref, int part);
/* The node's own result. */
void mica_launch_write(mica_launch *l, mica_address *field, const mica_node *n, int part);
/* Reads and writes an input (effects). */
void mica_launch_update(mica_launch *l, mica_address *field, mica_ref ref, int part);
/* Memory for the time of the step, which its workers share: undefined at the start. */
void mica_launch_shared(mica_launch *l, mica_address *field, uint64_t bytes);
/* The address of the live count of n, or 0 when all rows count. */
void mica_launch_live(mica_launch *l, mica_address *field, const mica_node *n);
/* As above for any kind of count (MICA_LIVE_ALL gives 0). */
void mica_launch_count(mica_launch *l, mica_address *field, mica_live live);
