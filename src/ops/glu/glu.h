/* Gated activations: a row of 2n, or two rows of n, become a row of n. Computed in f32 (the
 * reference: f64), rounded once. */
#pragma once
#include "ops/common/row_args.h"

typedef struct mica_glu_params {
    int32_t kind; /* mica_glu_kind */
    bool is_interleaved;
    float alpha; /* MICA_GLU_CLAMPED */
    float limit;
} mica_glu_params;

typedef struct mica_glu_args {
    mica_row_args rows; /* n = elements of x's row; without `up` the result's has half of them */
    uint64_t up;        /* rows of the second input; 0 = they are in x */
    int32_t kind;
    int32_t is_interleaved;
    float alpha;
    float limit;
} mica_glu_args;
static_assert(sizeof(mica_glu_args) == 80, "host and device kernels share this layout");

/* Elements of a row of the result. */
static inline int64_t mica_glu_width(const mica_glu_args *a) {
    return a->up ? a->rows.n : a->rows.n / 2;
}

/* gelu(x) by tanh = x * sigmoid(2 * sqrt(2 / pi) * (x + 0.044715 x^3)). */
#define MICA_GLU_GELU_SCALE 1.5957691216057308f
#define MICA_GLU_GELU_CUBE 0.044715f

void mica_glu_ref(const void *args, const mica_cpu_worker *worker);
/* All kinds but MICA_GLU_GELU (erf). */
void mica_glu_avx2(const void *args, const mica_cpu_worker *worker);
void mica_glu_neon(const void *args, const mica_cpu_worker *worker);
void mica_glu_avx512(const void *args, const mica_cpu_worker *worker);
