/* A graph: nodes in one growing table, names in an arena, one sticky error. The public face is
 * mica/array.h; ops add nodes through mica_graph_add (op.h). */
#pragma once
#include "base/arena.h"
#include "base/str.h"
#include "base/vec.h"
#include "core/ir.h"

#define MICA_GRAPH_NODES_MAX (1 << 22)

typedef struct mica_runtime mica_runtime;

/* Threads: one at a time. */
struct mica_graph {
    mica_runtime *runtime;
    mica_arena arena;   /* names */
    mica_vec nodes;     /* mica_node; [0] is the null node */
    mica_ref free_head; /* recycled slots, chained through view_of */
    mica_error error;   /* the first one */
    mica_numeric_mode mode;
    mica_ref counts; /* the input batch.counts i32 [4], or 0 */
    bool is_tracing; /* a plan's or model's graph: handles are not counted, nothing is recycled */
};
typedef struct mica_graph mica_graph;

mica_status mica_graph_create_internal(mica_runtime *runtime, bool is_tracing, mica_graph **out,
                                       mica_error *err);
/* Borrowed until the next node is added. */
static inline mica_node *mica_graph_node(const mica_graph *g, mica_ref ref) {
    return (mica_node *)g->nodes.data + ref;
}
static inline uint32_t mica_graph_count(const mica_graph *g) { return (uint32_t)g->nodes.count; }

/* The node behind a public handle, or 0 (a null, stale or failed array: INVALID sticks, except for
 * the null array where is_optional). */
mica_ref mica_array_ref(mica_graph *g, mica_array a, bool is_optional);
/* A public handle for a node (counts it). 0 gives the null array. */
mica_array mica_array_of(mica_graph *g, mica_ref ref);
/* Adds by op with public handles; the usual body of a public op function. */
mica_array mica_array_add(mica_graph *g, int op, const mica_array *inputs, int n_inputs,
                          const void *params, size_t param_bytes);

/* Makes the error stick, if it is the first; returns status. */
mica_status mica_graph_fail(mica_graph *g, mica_status status, const char *format, ...)
    MICA_PRINTF(3, 4);

/* Leaves. name is copied. An input with a live kind has that count on axis 0. */
mica_ref mica_graph_input(mica_graph *g, const char *name, mica_dtype dtype,
                          const mica_shape *shape, mica_live live);
mica_ref mica_graph_weight(mica_graph *g, const struct mica_weight *weight);
/* Takes over the references of storage. */
mica_ref mica_graph_data(mica_graph *g, mica_dtype dtype, mica_quant quant, const mica_shape *shape,
                         const mica_storage storage[MICA_PARTS_MAX]);

/* Turns a computed node into DATA that holds its elements (references taken over) and lets go of
 * its inputs. */
void mica_graph_detach(mica_graph *g, mica_ref ref, const mica_storage storage[MICA_PARTS_MAX]);

/* True if strides are row-major without gaps (a view with an offset may be contiguous). */
bool mica_node_is_contiguous(const mica_node *n);
/* The node that owns n's storage: n itself or its view_of. */
mica_ref mica_node_root(const mica_graph *g, mica_ref ref);

/* ---- IR text: `%3 = rms_norm(%1, %2) {eps=1e-05} : f32[4, 320] live=tokens` ------------------ */
void mica_graph_print(const mica_graph *g, const mica_ref *outputs, size_t n_outputs,
                      mica_str *out);
/* Reads what print wrote, into an empty graph. Weights and data (but for printed scalars) hold no
 * bytes: such a graph can be planned, not run. */
mica_status mica_graph_parse(mica_graph *g, const char *text, size_t bytes, mica_ref *outputs,
                             size_t outputs_max, size_t *n_outputs, mica_error *err);
