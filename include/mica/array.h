/* Lazy arrays. A graph records what is wanted; nothing is computed before mica_eval.
 *
 *     mica_graph *g; mica_graph_create(runtime, &g, &err);
 *     mica_array x = mica_array_from_data(g, MICA_DTYPE_F32, 2, (int64_t[]){2, 3}, data);
 *     mica_array y = mica_add(g, mica_mul(g, x, x), mica_scalar(g, 1.0f));
 *     mica_eval(g, &y, 1, &err);
 *     mica_array_read(g, y, out, sizeof out, &err);
 *
 * Errors stick to the graph: an op on a failed or null array does nothing, and mica_eval reports
 * the first error. Model code stays free of checks. Ops are in ops.h. */
#pragma once
#include "mica/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- runtime ---------------------------------------------------------------------------- */

/* The library: memory, log, devices, threads; usually opened once. Threads: the pointer may be used
 * from any thread. Evaluations, and the making, stepping and destroying of engines, share the
 * runtime's working memory: the caller lets one of them run at a time. */
typedef struct mica_runtime mica_runtime;

/* exact: f32 activations and KV pages. fast: 16-bit KV pages, kernels may round activations.
 * In each mode one arithmetic serves every number of rows and threads. */
typedef enum mica_numeric_mode { MICA_FAST = 0, MICA_EXACT } mica_numeric_mode;

/* Receives the text of a pass (options.dump); borrowed for the call. */
typedef void (*mica_dump_callback)(void *context, const char *pass, const char *text);

/* Zero means default. */
typedef struct mica_runtime_options {
    size_t struct_bytes;             /* sizeof(mica_runtime_options) */
    const mica_allocator *allocator; /* default malloc; must outlive the runtime */
    mica_log_callback log;           /* default silent */
    void *log_context;
    mica_log_level log_level;
    int n_threads;         /* default: one per core available to the process */
    const char *backend;   /* "cpu" (default) or "null" (plans and counts, computes nothing) */
    const char *cpu_level; /* at most "scalar", "avx2", "avx512", "amx" or "neon"; NULL = best */
    uint64_t memory_budget_bytes; /* 0 = what the system says is available */
    const char *no_pass;          /* names of optional plan passes to skip, comma-separated */
    const char *dump;             /* pass names to dump, comma-separated, or "all" */
    mica_dump_callback dump_callback;
    void *dump_context;
    /* Where several kernels give the same bits for a large step, time them when a plan is built and
     * remember the fastest in this text file (safe to delete). NULL = no measuring. */
    const char *autotune_path;
} mica_runtime_options;

/* options may be NULL. Errors: INVALID, OUT_OF_MEMORY, UNAVAILABLE (backend or level). */
MICA_API mica_status mica_runtime_open(const mica_runtime_options *options, mica_runtime **out,
                                       mica_error *err);
/* Everything made from the runtime must be gone. */
MICA_API void mica_runtime_close(mica_runtime **runtime);

typedef struct mica_runtime_info {
    const char *backend;  /* "cpu" */
    const char *device;   /* processor name, borrowed */
    const char *level;    /* "scalar", "avx2", "avx512", "amx", "neon" */
    const char *features; /* space-separated instruction sets, borrowed */
    int n_threads;
    uint64_t memory_budget_bytes;
} mica_runtime_info;
MICA_API void mica_runtime_get_info(const mica_runtime *runtime, mica_runtime_info *out);

typedef struct mica_runtime_stats {
    uint64_t n_plans_built; /* plan_build calls since open */
    uint64_t n_runs;        /* plans run */
    uint64_t n_steps;       /* steps launched */
    uint64_t arena_bytes;   /* activations: size of the shared arena */
    uint64_t arena_peak_bytes;
    uint64_t weight_bytes; /* resident or mapped weights of open models */
    uint64_t kv_bytes;     /* KV pages of open engines */
} mica_runtime_stats;
/* Threads: any, also while a plan runs. */
MICA_API void mica_runtime_get_stats(const mica_runtime *runtime, mica_runtime_stats *out);

/* ---- arrays ----------------------------------------------------------------------------- */

typedef enum mica_dtype {
    MICA_DTYPE_NONE = 0,
    MICA_DTYPE_BOOL, /* one byte, 0 or 1 */
    MICA_DTYPE_U8,
    MICA_DTYPE_I8,
    MICA_DTYPE_U16,
    MICA_DTYPE_I16,
    MICA_DTYPE_U32,
    MICA_DTYPE_I32,
    MICA_DTYPE_U64,
    MICA_DTYPE_I64,
    MICA_DTYPE_F16,
    MICA_DTYPE_BF16,
    MICA_DTYPE_F32,
    MICA_DTYPE_F64,
    MICA_DTYPE_COUNT_,
} mica_dtype;

MICA_API const char *mica_dtype_name(mica_dtype dtype); /* "f32" */
MICA_API size_t mica_dtype_bytes(mica_dtype dtype);     /* bytes of an element; 0 for NONE */

/* How a quantised array stores its elements (groups run along the last axis). */
typedef enum mica_quant_mode {
    MICA_QUANT_NONE = 0,
    MICA_QUANT_AFFINE,       /* w = scale * q + bias; bits 2 3 4 5 6 8, group 32 64 128 */
    MICA_QUANT_MXFP4,        /* E2M1 codes, E8M0 scale per 32 */
    MICA_QUANT_MXFP8,        /* E4M3 codes, E8M0 scale per 32 */
    MICA_QUANT_NVFP4,        /* E2M1 codes, E4M3 scale per 16 */
    MICA_QUANT_NVFP4_SCALED, /* the same times an f32 factor, one for each matrix [N, K] */
} mica_quant_mode;

typedef struct mica_quant {
    uint8_t mode;        /* mica_quant_mode */
    uint8_t bits;        /* per code */
    uint16_t group;      /* elements per scale */
    uint8_t scale_dtype; /* affine: mica_dtype of scales and biases; others: U8 */
} mica_quant;

#define MICA_RANK_MAX 8

typedef struct mica_graph mica_graph;

/* A handle to a node of a graph; copy it freely. {0} is the null array ("none").
 * Counted: handles made by ops count 1. Releasing is optional: what is not released lives until
 * mica_graph_destroy; loops that go on for long release their temporaries. */
typedef struct mica_array {
    uint32_t node;
    uint32_t generation;
} mica_array;

/* Threads: one at a time per graph. The runtime outlives its graphs. */
MICA_API mica_status mica_graph_create(mica_runtime *runtime, mica_graph **out, mica_error *err);
MICA_API void mica_graph_destroy(mica_graph **g);
/* The sticky error: OK, or the status and message of the first failed op. */
MICA_API mica_status mica_graph_check(const mica_graph *g, mica_error *err);
MICA_API mica_array mica_array_retain(mica_graph *g, mica_array a);
MICA_API void mica_array_release(mica_graph *g, mica_array *a); /* sets *a to null */

/* dims[rank], data row-major. from_data copies. view keeps the caller's memory, which must stay
 * unchanged until release (when not NULL) is called with context: once nothing of the graph needs
 * it, at the latest when the graph goes; at once where the array cannot be made, or was copied
 * because the address is no multiple of the element size. */
MICA_API mica_array mica_array_from_data(mica_graph *g, mica_dtype dtype, int rank,
                                         const int64_t *dims, const void *data);
MICA_API mica_array mica_array_view(mica_graph *g, mica_dtype dtype, int rank, const int64_t *dims,
                                    const void *data, void (*release)(void *context, const void *),
                                    void *context);
MICA_API mica_array mica_scalar(mica_graph *g, float value); /* f32, rank 0 */
/* A quantised array [..., N, K] from its parts as MLX stores them (codes U32 or bytes, scales,
 * biases or NULL; for NVFP4_SCALED biases are the factors, f32 [...]), each aligned to its
 * elements; all are viewed, not copied, and must stay unchanged until the graph goes. */
MICA_API mica_array mica_array_view_quantized(mica_graph *g, mica_quant quant, int rank,
                                              const int64_t *dims, const void *codes,
                                              const void *scales, const void *biases);

MICA_API mica_dtype mica_array_dtype(const mica_graph *g, mica_array a);
MICA_API int mica_array_rank(const mica_graph *g, mica_array a);
MICA_API int64_t mica_array_dim(const mica_graph *g, mica_array a, int axis); /* -1 = last */
MICA_API int64_t mica_array_count(const mica_graph *g, mica_array a);         /* elements */

/* Computes the arrays and all they need, in one plan. Their inputs may then be let go. Computed
 * arrays keep their data until released. Errors: the sticky error; OUT_OF_MEMORY; LIMIT. */
MICA_API mica_status mica_eval(mica_graph *g, const mica_array *arrays, size_t n, mica_error *err);

/* Evaluates if need be and copies the elements out, row-major. bytes must be exactly
 * count * mica_dtype_bytes. */
MICA_API mica_status mica_array_read(mica_graph *g, mica_array a, void *out, size_t bytes,
                                     mica_error *err);

#ifdef __cplusplus
}
#endif
