/* Several projections of one x in one step: weights side by side, or a gate and what it lets
 * through; an RMS norm of x and a choice of its rows may come before. Only pass fuse makes such
 * nodes. The matrix work is linear's, the norm is rms_norm's and the gate is computed by unary and
 * binary: the bits of the ops that the node stands for. */
#pragma once
#include "core/cpu.h"
#include "ops/linear/linear_rows.h"
#include "ops/rms_norm/rms_norm.h"

#define MICA_PROJECT_PARTS_MAX 3
/* Kernels choose and norm so few rows, each worker for itself; more is left to simpler ops. */
#define MICA_PROJECT_ROWS_MAX MICA_LINEAR_DIRECT

/* Inputs: x, norm weight, rows, then a weight and its bias up to three times. */
enum {
    MICA_PROJECT_X,
    MICA_PROJECT_NORM,
    MICA_PROJECT_ROWS,
    MICA_PROJECT_WEIGHT,
    MICA_PROJECT_INPUTS_MAX = MICA_PROJECT_WEIGHT + 2 * MICA_PROJECT_PARTS_MAX,
};

typedef struct mica_project_params {
    float eps; /* of the norm, as its offset */
    float offset;
    int32_t activation; /* mica_unary_kind; of the gate */
    bool is_normed;
    bool is_gated; /* one weight: its rows are those of the gate, then as many of the other */
} mica_project_params;

/* Kinds of weights for which linear may have functions of their own in fast mode. */
enum {
    MICA_PROJECT_PLAIN, /* all others, and all weights in exact mode */
    MICA_PROJECT_BF16,
    MICA_PROJECT_MXFP4,
    MICA_PROJECT_AFFINE,
    MICA_PROJECT_KINDS,
};

typedef struct mica_project_part {
    uint64_t codes; /* or dense elements */
    uint64_t scales;
    uint64_t biases;
    uint64_t bias;  /* 0 = none */
    int64_t n;      /* columns that it gives */
    int64_t first;  /* weight row of the first of them */
    int64_t column; /* of the result where they begin; 0 in a gated project */
    int32_t kind;   /* MICA_PROJECT_PLAIN .. */
    int32_t reserved;
    mica_linear_weight weight;
} mica_project_part;
static_assert(sizeof(mica_project_part) == 96, "host and device kernels share this layout");

typedef struct mica_project_args {
    uint64_t x;
    uint64_t ids; /* i32 [rows]: rows of x; 0 = all of them */
    uint64_t out;
    uint64_t live;     /* address of the count of live rows, 0 = all */
    int64_t rows;      /* length of axis 0 of the result */
    int64_t rows_each; /* rows of k elements in one of them */
    int64_t x_rows;    /* length of axis 0 of x: ids outside of it choose zeros */
    int64_t n;         /* columns of the result */
    int64_t k;
    int32_t n_parts; /* gated: 2 */
    int32_t activation;
    int32_t is_normed;
    int32_t is_gated;
    mica_rms_norm_args norm; /* its x, out and live are not used */
    mica_project_part parts[MICA_PROJECT_PARTS_MAX];
} mica_project_args;
static_assert(sizeof(mica_project_args) == 456, "host and device kernels share this layout");

/* out[i] = activation(gate[i]) * up[i] for n elements of a dtype, rounded after each function. */
typedef void (*mica_project_gate_function)(int activation, int dtype, const void *gate,
                                           const void *up, void *out, int64_t n);

/* What the walk calls at one level of instruction sets. */
typedef struct mica_project_level {
    mica_linear_rows_function rows[MICA_PROJECT_KINDS]; /* what linear would run */
    mica_rms_norm_row_function norm;
    mica_project_gate_function gate;
} mica_project_level;

/* Gives the workers tiles of the weights' rows; each worker prepares the rows of x for itself. */
void mica_project_walk(const mica_project_args *a, const mica_cpu_worker *worker,
                       const mica_project_level *level);

/* Scratch of one worker for m rows of k elements. */
size_t mica_project_scratch_bytes(int64_t m, int64_t k, bool has_prologue, bool is_gated);

void mica_project_gate_ref(int activation, int dtype, const void *gate, const void *up, void *out,
                           int64_t n);
void mica_project_gate_avx2(int activation, int dtype, const void *gate, const void *up, void *out,
                            int64_t n);
void mica_project_gate_neon(int activation, int dtype, const void *gate, const void *up, void *out,
                            int64_t n);

void mica_project_ref(const void *args, const mica_cpu_worker *worker);
void mica_project_avx2(const void *args, const mica_cpu_worker *worker);
void mica_project_avx512(const void *args, const mica_cpu_worker *worker);
void mica_project_avx512_vnni(const void *args, const mica_cpu_worker *worker);
void mica_project_amx(const void *args, const mica_cpu_worker *worker);
void mica_project_neon(const void *args, const mica_cpu_worker *worker);
void mica_project_neon_dot(const void *args, const mica_cpu_worker *worker);
