/* Operations on lazy arrays. All of them only record; shapes and dtypes are checked at the call and
 * errors stick to the graph. Broadcasting follows the usual rule (trailing axes, 1 stretches).
 * Axes may be negative. Arithmetic on f16 and bf16 is done in f32 and rounded once. */
#pragma once
#include "mica/array.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- views: no copy, no step ------------------------------------------------------------- */

/* One dim may be -1. Copies first when the strides do not allow a view. */
MICA_API mica_array mica_reshape(mica_graph *g, mica_array x, int rank, const int64_t *dims);
/* Axis i of the result is axis order[i] of x. */
MICA_API mica_array mica_permute(mica_graph *g, mica_array x, const int *order);
MICA_API mica_array mica_transpose(mica_graph *g, mica_array x); /* swaps the last two axes */
/* Elements start, start + step, ... < stop of one axis; step may be negative; Python's rules for
 * negative and far bounds. */
MICA_API mica_array mica_slice_axis(mica_graph *g, mica_array x, int axis, int64_t start,
                                    int64_t stop, int64_t step);
MICA_API mica_array mica_broadcast_to(mica_graph *g, mica_array x, int rank, const int64_t *dims);

/* ---- elementwise ------------------------------------------------------------------------- */

MICA_API mica_array mica_cast(mica_graph *g, mica_array x, mica_dtype dtype);
MICA_API mica_array mica_contiguous(mica_graph *g, mica_array x); /* x itself if it is already */

typedef enum mica_unary_kind {
    MICA_UNARY_NEGATE,
    MICA_UNARY_ABS,
    MICA_UNARY_SQUARE,
    MICA_UNARY_SQRT,
    MICA_UNARY_RSQRT,
    MICA_UNARY_EXP,
    MICA_UNARY_LOG,
    MICA_UNARY_SIN,
    MICA_UNARY_COS,
    MICA_UNARY_TANH,
    MICA_UNARY_SIGMOID,
    MICA_UNARY_SILU,      /* x * sigmoid(x) */
    MICA_UNARY_GELU,      /* x * Phi(x), by erf */
    MICA_UNARY_GELU_TANH, /* the tanh approximation */
    MICA_UNARY_RELU,
    MICA_UNARY_RECIPROCAL,
    MICA_UNARY_FLOOR,
    MICA_UNARY_CEIL,
    MICA_UNARY_ROUND, /* half to even */
    MICA_UNARY_NOT,   /* bool */
    MICA_UNARY_COUNT_,
} mica_unary_kind;
MICA_API mica_array mica_unary(mica_graph *g, mica_unary_kind kind, mica_array x);

typedef enum mica_binary_kind {
    MICA_BINARY_ADD,
    MICA_BINARY_SUB,
    MICA_BINARY_MUL,
    MICA_BINARY_DIV,
    MICA_BINARY_MIN, /* NaN if either is */
    MICA_BINARY_MAX,
    MICA_BINARY_POW,
    MICA_BINARY_EQUAL, /* comparisons give bool */
    MICA_BINARY_NOT_EQUAL,
    MICA_BINARY_LESS,
    MICA_BINARY_LESS_EQUAL,
    MICA_BINARY_GREATER,
    MICA_BINARY_GREATER_EQUAL,
    MICA_BINARY_AND, /* bool or integer bits */
    MICA_BINARY_OR,
    MICA_BINARY_COUNT_,
} mica_binary_kind;
/* Both sides have one dtype, except that a rank-0 array made by mica_scalar takes the other's. */
MICA_API mica_array mica_binary(mica_graph *g, mica_binary_kind kind, mica_array a, mica_array b);
MICA_API mica_array mica_add(mica_graph *g, mica_array a, mica_array b);
MICA_API mica_array mica_sub(mica_graph *g, mica_array a, mica_array b);
MICA_API mica_array mica_mul(mica_graph *g, mica_array a, mica_array b);
MICA_API mica_array mica_div(mica_graph *g, mica_array a, mica_array b);
MICA_API mica_array mica_minimum(mica_graph *g, mica_array a, mica_array b);
MICA_API mica_array mica_maximum(mica_graph *g, mica_array a, mica_array b);

/* condition (bool) ? a : b, broadcast. */
MICA_API mica_array mica_select(mica_graph *g, mica_array condition, mica_array a, mica_array b);
/* 0, 1, ... n-1 as dtype, times step plus start. */
MICA_API mica_array mica_arange(mica_graph *g, mica_dtype dtype, int64_t n, double start,
                                double step);
MICA_API mica_array mica_full(mica_graph *g, mica_dtype dtype, int rank, const int64_t *dims,
                              double value);

/* ---- reductions, joins, lookups ---------------------------------------------------------- */

typedef enum mica_reduce_kind {
    MICA_REDUCE_SUM,
    MICA_REDUCE_MEAN,
    MICA_REDUCE_MAX,
    MICA_REDUCE_MIN,
    MICA_REDUCE_PROD,
    MICA_REDUCE_ARGMAX, /* i32; the first of equals */
    MICA_REDUCE_COUNT_,
} mica_reduce_kind;
/* Over one axis, which stays with length 1 if keep is true, in x's dtype (ARGMAX: i32). Sums of
 * floats run in f64 and are rounded once; sums and products of integers wrap. MEAN takes floats
 * only. NaN wins in MAX and MIN and counts as smallest in ARGMAX. Errors: INVALID for MAX, MIN,
 * ARGMAX over an empty axis. */
MICA_API mica_array mica_reduce(mica_graph *g, mica_reduce_kind kind, mica_array x, int axis,
                                bool keep);
MICA_API mica_array mica_concat(mica_graph *g, const mica_array *arrays, int n, int axis);
/* Rows of x along axis 0: x [n, ...], ids i32 [...ids] -> [...ids, ...]. x may be quantised (the
 * result is then dtype). Ids outside [0, n) give rows of zeros. dtype NONE = x's own. */
MICA_API mica_array mica_gather(mica_graph *g, mica_array x, mica_array ids, mica_dtype dtype);
/* out[..., j] = x[..., ids[..., j]]; ids i32, all axes but the last equal x's. */
MICA_API mica_array mica_take_along(mica_graph *g, mica_array x, mica_array ids);
/* Indices (i32) of the k largest of the last axis, largest first, lower index first on ties.
 * NaN counts as smallest. */
MICA_API mica_array mica_top_k(mica_graph *g, mica_array x, int k);

/* ---- matrices ---------------------------------------------------------------------------- */

/* a [..., m, k] @ b [..., k, n] -> [..., m, n] in a's dtype, f32 sums; leading axes broadcast. */
MICA_API mica_array mica_matmul(mica_graph *g, mica_array a, mica_array b);
/* x [..., k] times weight [n, k] transposed, plus bias [n] or null -> [..., n] in x's dtype.
 * weight: f32, f16, bf16 or quantised. Sums in f32. */
MICA_API mica_array mica_linear(mica_graph *g, mica_array x, mica_array weight, mica_array bias);
/* Mixture of experts: row (t, s) uses expert ids[t, s].
 * x [t, k] (shared by the slots) or [t, s, k]; weight [e, n, k], bias [e, n] or null, ids i32
 * [t, s] -> [t, s, n] in x's dtype. Ids outside [0, e) give zeros. */
MICA_API mica_array mica_linear_experts(mica_graph *g, mica_array x, mica_array weight,
                                        mica_array bias, mica_array ids);
/* sum over s of weights[t, s] * x[t, s, :] -> [t, n]; f32 sum, slots in order. */
MICA_API mica_array mica_combine(mica_graph *g, mica_array x, mica_array weights);
/* Last axis in groups; K must be a multiple of the group. The encoder is MLX's, in f32. */
MICA_API mica_array mica_quantize(mica_graph *g, mica_array x, mica_quant quant);
MICA_API mica_array mica_dequantize(mica_graph *g, mica_array x, mica_dtype dtype);

/* ---- transformer layers ------------------------------------------------------------------ */

/* Over the last axis, in f32, the maximum subtracted first. A row of -inf gives zeros. */
MICA_API mica_array mica_softmax(mica_graph *g, mica_array x);
/* Root-mean-square norm over the last axis: x / sqrt(mean(x^2) + eps) * (weight + offset).
 * weight [n] of any float dtype, or null; offset is 0, or 1 for the Gemma family.
 * Squares are summed in f32. Source: Zhang & Sennrich 2019, eq. 4. */
MICA_API mica_array mica_rms_norm(mica_graph *g, mica_array x, mica_array weight, float eps,
                                  float offset);
/* (x - mean) / sqrt(var + eps) * weight + bias; weight and bias [n] or null. */
MICA_API mica_array mica_layer_norm(mica_graph *g, mica_array x, mica_array weight, mica_array bias,
                                    float eps);
/* Rotary embedding of x [t, heads, dim] at positions i32 [t]. inverse_frequencies f32 [r/2]: the
 * first r axes are rotated, r <= dim; pairs are (i, i + r/2), or (2i, 2i + 1) when interleaved.
 * cos and sin are multiplied by `scale`. Angles are exact to f32 for positions below 2^24.
 * Source: Su et al. 2021. */
MICA_API mica_array mica_rope(mica_graph *g, mica_array x, mica_array positions,
                              mica_array inverse_frequencies, float scale, bool interleaved);
/* The same with a table for each sequence: inverse_frequencies f32 [tables, r/2]; token i turns by
 * row tables[i] (i32 [t]), and not at all where there is no such row. */
MICA_API mica_array mica_rope_tables(mica_graph *g, mica_array x, mica_array positions,
                                     mica_array inverse_frequencies, mica_array tables, float scale,
                                     bool interleaved);

typedef enum mica_glu_kind {
    MICA_GLU_SILU,      /* silu(gate) * up */
    MICA_GLU_GELU,      /* gelu(gate) * up */
    MICA_GLU_GELU_TANH, /* gelu_tanh(gate) * up */
    MICA_GLU_CLAMPED,   /* gpt-oss: g = min(gate, limit), u = clamp(up, -limit, limit);
                           g * sigmoid(alpha * g) * (u + 1) */
} mica_glu_kind;
typedef struct mica_glu_options {
    mica_glu_kind kind;
    bool interleaved; /* even elements are gate, odd ones up; else first half gate, second up */
    float alpha;
    float limit;
} mica_glu_options;
/* x [..., 2n] -> [..., n]. */
MICA_API mica_array mica_glu(mica_graph *g, mica_array x, mica_glu_options options);
/* The same of gate and up [..., n], two arrays of one dtype; options.interleaved must be false. */
MICA_API mica_array mica_glu_pair(mica_graph *g, mica_array gate, mica_array up,
                                  mica_glu_options options);

typedef struct mica_attention_options {
    float scale;    /* 0 = 1 / sqrt(dim) */
    bool causal;    /* query i of tq sees keys j <= i + (tk - tq) */
    int64_t window; /* with causal: and j > i + (tk - tq) - window; 0 = none */
    float soft_cap; /* scores become cap * tanh(score / cap); 0 = none */
} mica_attention_options;
/* q [tq, heads, dim], k and v [tk, kv_heads, dim]; heads is a multiple of kv_heads; query head h
 * uses KV head h / (heads / kv_heads). sinks f32/bf16 [heads] or null: an extra logit per head in
 * the denominator. mask: bool [tq, tk] (true = may attend) or null. Rows that see nothing give
 * zeros.
 * -> [tq, heads, dim] in q's dtype; softmax in f32, online over pages of 64 keys. */
MICA_API mica_array mica_attention(mica_graph *g, mica_array q, mica_array k, mica_array v,
                                   mica_array sinks, mica_array mask,
                                   mica_attention_options options);

#ifdef __cplusplus
}
#endif
