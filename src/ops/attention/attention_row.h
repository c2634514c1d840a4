/* One query row in plain C: online softmax in f64, key by key. The reference kernels of both
 * attention ops are loops around it. */
#pragma once
#include <math.h>
#include "ops/common/element.h"

typedef struct attention_row {
    const float *q; /* [dim] */
    int64_t dim;
    double scale;
    double soft_cap; /* 0 = none */
    double largest;  /* score so far, or the sink */
    double sum;      /* of exp(score - largest); the sink counts 1 */
    double *out;     /* [dim], to be divided by sum */
} attention_row;

static inline void attention_row_begin(attention_row *r, bool has_sink, float sink) {
    r->largest = has_sink ? (double)sink : (double)-INFINITY;
    r->sum = has_sink ? 1.0 : 0.0;
    for (int64_t i = 0; i < r->dim; i++) r->out[i] = 0;
}

/* An element of K or V; the batch's own are rounded as the pool stores them. */
static inline double attention_element(int dtype, bool rounds, const void *row, int64_t i) {
    float v = mica_element_f32(dtype, row, i);
    return (double)(rounds ? mica_f32_from_bf16(mica_bf16_from_f32(v)) : v);
}

static inline void attention_row_add(attention_row *r, const void *k, const void *v, int dtype,
                                     bool rounds) {
    double score = 0;
    for (int64_t i = 0; i < r->dim; i++)
        score += (double)r->q[i] * attention_element(dtype, rounds, k, i);
    score *= r->scale;
    if (r->soft_cap != 0) score = r->soft_cap * tanh(score / r->soft_cap);
    if (score > r->largest) {
        double shrink = exp(r->largest - score);
        r->sum *= shrink;
        for (int64_t i = 0; i < r->dim; i++) r->out[i] *= shrink;
        r->largest = score;
    }
    /* -inf so far: a score of -inf weighs nothing, NaN must come through. */
    double p = exp(score - (r->largest == -INFINITY ? 0 : r->largest));
    r->sum += p;
    for (int64_t i = 0; i < r->dim; i++) r->out[i] += p * attention_element(dtype, rounds, v, i);
}

/* Element i of the result; a row that saw nothing gives 0. */
static inline double attention_row_result(const attention_row *r, int64_t i) {
    return r->sum == 0 ? 0 : r->out[i] / r->sum;
}
