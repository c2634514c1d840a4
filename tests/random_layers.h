/* Random parts of networks for the tests of the planner: norms, projections, gates, mixtures of
 * experts, heads and attention, on few or many rows, over weights of every kind, so that every
 * pattern of pass fuse is met in many disguises. All arrays are small. */
#pragma once
#include "test.h"
#include "mica/ops.h"

#define RANDOM_STORE_BYTES (1u << 20)

/* A graph under construction. The store holds weights that the graph only views. */
typedef struct random_graph {
    mica_graph *graph;
    mica_array arrays[64];
    int n;
    uint64_t seed;
    uint8_t *store;
    size_t stored_bytes;
} random_graph;

static inline int64_t random_below(random_graph *r, int64_t n) {
    return (int64_t)(test_random(&r->seed) % (uint64_t)n);
}

/* Floats of about one, with zeros of both signs and a few outliers. */
static inline mica_array random_floats(random_graph *r, int rank, const int64_t *dims) {
    int64_t count = 1;
    for (int i = 0; i < rank; i++) count *= dims[i];
    float *data = malloc((size_t)count * sizeof *data + 1);
    for (int64_t i = 0; i < count; i++) {
        data[i] = test_random_float(&r->seed) * (random_below(r, 50) ? 2.0f : 30.0f);
        if (random_below(r, 8) == 0) data[i] = random_below(r, 2) ? 0.0f : -0.0f;
    }
    mica_array a = mica_array_from_data(r->graph, MICA_DTYPE_F32, rank, dims, data);
    free(data);
    return a;
}

static inline mica_array random_ids(random_graph *r, int rank, const int64_t *dims, int64_t below) {
    int32_t ids[64];
    int64_t count = 1;
    for (int i = 0; i < rank; i++) count *= dims[i];
    assert_true(count <= 64);
    for (int64_t i = 0; i < count; i++) ids[i] = (int32_t)random_below(r, below);
    return mica_array_from_data(r->graph, MICA_DTYPE_I32, rank, dims, ids);
}

/* ---- weights ---- */

static inline uint8_t *take_store(random_graph *r, size_t bytes) {
    r->stored_bytes = (r->stored_bytes + 63) & ~(size_t)63;
    assert_true(r->stored_bytes + bytes <= RANDOM_STORE_BYTES);
    uint8_t *at = r->store + r->stored_bytes;
    r->stored_bytes += bytes;
    return at;
}

/* Any codes; scales of about 1 / 32 (affine, bf16) or 1 / 8 (mxfp4, exponents). */
static inline mica_array random_quantized(random_graph *r, int rank, const int64_t *dims) {
    bool is_affine = random_below(r, 2), is_wide = random_below(r, 2);
    mica_quant quant =
        is_affine ? (mica_quant){MICA_QUANT_AFFINE, (uint8_t)(is_wide ? 8 : 4), 32, MICA_DTYPE_BF16}
                  : (mica_quant){MICA_QUANT_MXFP4, 4, 32, MICA_DTYPE_U8};
    size_t count = 1;
    for (int i = 0; i < rank; i++) count *= (size_t)dims[i];
    uint8_t *codes = take_store(r, count * quant.bits / 8);
    uint8_t *scales = take_store(r, count / 32 * 2), *biases = take_store(r, count / 32 * 2);
    for (size_t i = 0; i < count * quant.bits / 8; i++) codes[i] = (uint8_t)random_below(r, 256);
    for (size_t i = 0; i < count / 32; i++) {
        uint16_t scale = (uint16_t)(0x3C80 + random_below(r, 256));
        uint16_t bias = (uint16_t)(0x3D80 + random_below(r, 128) + (random_below(r, 2) << 15));
        scales[i] = (uint8_t)(122 + random_below(r, 4));
        if (is_affine) memcpy(scales + 2 * i, &scale, 2);
        memcpy(biases + 2 * i, &bias, 2);
    }
    return mica_array_view_quantized(r->graph, quant, rank, dims, codes, scales,
                                     is_affine ? biases : NULL);
}

/* A cast is a node, not a weight: 16-bit weights are data. */
static inline mica_array random_half(random_graph *r, int rank, const int64_t *dims) {
    size_t count = 1;
    for (int i = 0; i < rank; i++) count *= (size_t)dims[i];
    uint16_t *data = (uint16_t *)(void *)take_store(r, count * 2);
    for (size_t i = 0; i < count; i++)
        data[i] = (uint16_t)(0x3D00 + random_below(r, 512) + (random_below(r, 2) << 15));
    return mica_array_from_data(r->graph, MICA_DTYPE_BF16, rank, dims, data);
}

static inline mica_array random_weight(random_graph *r, int rank, const int64_t *dims) {
    switch (random_below(r, 3)) {
    case 0:
        return random_floats(r, rank, dims);
    case 1:
        return random_half(r, rank, dims);
    default:
        return random_quantized(r, rank, dims);
    }
}

static inline mica_array random_linear(random_graph *r, mica_array x, int64_t n) {
    int64_t k = mica_array_dim(r->graph, x, -1);
    mica_array bias = {0};
    if (random_below(r, 2)) bias = random_floats(r, 1, &n);
    return mica_linear(r->graph, x, random_weight(r, 2, (int64_t[]){n, k}), bias);
}

static inline mica_array random_norm(random_graph *r, mica_array x) {
    int64_t k = mica_array_dim(r->graph, x, -1);
    mica_array weight = {0};
    if (random_below(r, 4))
        weight = random_below(r, 2) ? random_floats(r, 1, &k) : random_half(r, 1, &k);
    if (random_below(r, 6) == 0)
        return mica_layer_norm(r->graph, x, weight, (mica_array){0}, 1e-5f);
    return mica_rms_norm(r->graph, x, weight, 1e-5f, (float)random_below(r, 2));
}

/* ---- parts of layers: x [m, k] to [m, k] ---- */

static inline mica_array random_activation(random_graph *r, mica_array x) {
    static const mica_unary_kind kinds[] = {MICA_UNARY_SILU, MICA_UNARY_GELU, MICA_UNARY_GELU_TANH,
                                            MICA_UNARY_RELU, MICA_UNARY_SIGMOID};
    return mica_unary(r->graph, kinds[random_below(r, 5)], x);
}

/* Dense: gate and up as two linears or as halves of one, in the spellings that families use. */
static inline mica_array random_gated(random_graph *r, mica_array x) {
    int64_t n = 32 * (1 + random_below(r, 3));
    mica_glu_options options = {.kind = (mica_glu_kind)random_below(r, 4)};
    options.alpha = 1.7f;
    options.limit = 3.0f;
    if (random_below(r, 4) == 0) {
        options.interleaved = random_below(r, 2);
        return mica_glu(r->graph, random_linear(r, x, 2 * n), options);
    }
    mica_array gate, up;
    if (random_below(r, 2)) {
        gate = random_linear(r, x, n);
        up = random_linear(r, x, n);
    } else {
        mica_array both = random_linear(r, x, 2 * n);
        gate = mica_slice_axis(r->graph, both, 1, 0, n, 1);
        up = mica_slice_axis(r->graph, both, 1, n, 2 * n, 1);
    }
    if (random_below(r, 4) == 0)
        return mica_glu_pair(r->graph, mica_contiguous(r->graph, gate),
                             mica_contiguous(r->graph, up), options);
    gate = random_activation(r, gate);
    bool swaps = random_below(r, 2);
    return mica_mul(r->graph, swaps ? up : gate, swaps ? gate : up);
}

/* What is added may stand on either side. */
static inline mica_array random_sum(random_graph *r, mica_array a, mica_array b) {
    bool swaps = random_below(r, 2);
    return mica_add(r->graph, swaps ? b : a, swaps ? a : b);
}

static inline mica_array random_dense_layer(random_graph *r, mica_array x) {
    int64_t k = mica_array_dim(r->graph, x, -1);
    mica_array h = random_below(r, 4) ? random_norm(r, x) : x;
    h = random_linear(r, random_gated(r, h), k);
    return random_below(r, 4) ? random_sum(r, h, x) : h;
}

/* Ids and shares of the experts that take a row. */
static inline void random_route(random_graph *r, mica_array h, int64_t n_experts, mica_array *ids,
                                mica_array *shares) {
    mica_graph *g = r->graph;
    mica_array scores = random_linear(r, h, n_experts);
    bool is_softmax_first = random_below(r, 2);
    if (is_softmax_first) scores = mica_softmax(g, scores);
    *ids = mica_top_k(g, scores, 1 + (int)random_below(r, 3));
    *shares = mica_take_along(g, scores, *ids);
    if (!is_softmax_first)
        *shares = mica_softmax(g, *shares);
    else if (random_below(r, 2))
        *shares = mica_div(g, *shares, mica_reduce(g, MICA_REDUCE_SUM, *shares, -1, true));
}

static inline mica_array random_expert_linear(random_graph *r, mica_array x, mica_array ids,
                                              int64_t n_experts, int64_t n) {
    int64_t k = mica_array_dim(r->graph, x, -1);
    mica_array bias = {0};
    if (random_below(r, 2)) bias = random_floats(r, 2, (int64_t[]){n_experts, n});
    mica_array weight = random_weight(r, 3, (int64_t[]){n_experts, n, k});
    return mica_linear_experts(r->graph, x, weight, bias, ids);
}

static inline mica_array random_expert_layer(random_graph *r, mica_array x) {
    mica_graph *g = r->graph;
    int64_t k = mica_array_dim(g, x, -1), n = 32 * (1 + random_below(r, 2)), n_experts = 4;
    mica_array h = random_below(r, 4) ? random_norm(r, x) : x, ids, shares;
    random_route(r, h, n_experts, &ids, &shares);
    mica_glu_options options = {.kind = (mica_glu_kind)random_below(r, 4), .alpha = 1.7f};
    options.limit = 3.0f;
    mica_array up;
    if (random_below(r, 2)) {
        options.interleaved = random_below(r, 2);
        up = mica_glu(g, random_expert_linear(r, h, ids, n_experts, 2 * n), options);
    } else {
        mica_array gate = random_expert_linear(r, h, ids, n_experts, n);
        up = mica_glu_pair(g, gate, random_expert_linear(r, h, ids, n_experts, n), options);
    }
    mica_array y = mica_combine(g, random_expert_linear(r, up, ids, n_experts, k), shares);
    return random_below(r, 4) ? random_sum(r, y, x) : y;
}

/* Heads [m, heads, dim] of a projection [m, heads * dim]; some are normed, some turned. */
static inline mica_array random_heads(random_graph *r, mica_array x, int64_t heads,
                                      mica_array positions, mica_array frequencies, bool turns) {
    int64_t m = mica_array_dim(r->graph, x, 0), dim = mica_array_dim(r->graph, x, 1) / heads;
    x = mica_reshape(r->graph, x, 3, (int64_t[]){m, heads, dim});
    if (random_below(r, 4) == 0) x = random_norm(r, x);
    return turns ? mica_rope(r->graph, x, positions, frequencies, 1.0f, random_below(r, 2)) : x;
}

static inline mica_array random_attention_layer(random_graph *r, mica_array x) {
    mica_graph *g = r->graph;
    int64_t m = mica_array_dim(g, x, 0), k = mica_array_dim(g, x, 1), dim = 32;
    int64_t heads = 2, kv_heads = 1 + random_below(r, 2), half = dim / 2;
    mica_array h = random_below(r, 4) ? random_norm(r, x) : x, q, key, v;
    mica_array positions = mica_arange(g, MICA_DTYPE_I32, m, (double)random_below(r, 50), 1);
    mica_array frequencies = random_floats(r, 1, &half);
    if (random_below(r, 2)) {
        q = random_linear(r, h, heads * dim);
        key = random_linear(r, h, kv_heads * dim);
        v = random_linear(r, h, kv_heads * dim);
    } else {
        int64_t a = heads * dim, b = a + kv_heads * dim, c = b + kv_heads * dim;
        mica_array all = random_linear(r, h, c);
        q = mica_slice_axis(g, all, 1, 0, a, 1);
        key = mica_slice_axis(g, all, 1, a, b, 1);
        v = mica_slice_axis(g, all, 1, b, c, 1);
    }
    bool turns = random_below(r, 3);
    q = random_heads(r, q, heads, positions, frequencies, turns);
    key = random_heads(r, key, kv_heads, positions, frequencies, turns);
    v = mica_reshape(g, v, 3, (int64_t[]){m, kv_heads, dim});
    mica_attention_options options = {.causal = random_below(r, 2)};
    mica_array a = mica_attention(g, q, key, v, (mica_array){0}, (mica_array){0}, options);
    a = mica_reshape(g, a, 2, (int64_t[]){m, heads * dim});
    return random_sum(r, random_linear(r, a, k), x);
}

/* Some rows are chosen, or taken apart and joined again: x [m, k] to [m', k]. */
static inline mica_array random_rows(random_graph *r, mica_array x) {
    mica_graph *g = r->graph;
    int64_t m = mica_array_dim(g, x, 0), chosen = 1 + random_below(r, 6);
    if (random_below(r, 2)) return mica_gather(g, x, random_ids(r, 1, &chosen, m), MICA_DTYPE_NONE);
    mica_array parts[2] = {mica_slice_axis(g, x, 0, 0, m / 2 + 1, 1),
                           mica_slice_axis(g, x, 0, -1, m / 2 - m, -1)};
    return mica_concat(g, parts, 2, 0);
}

/* Elementwise chains with constants, broadcast rows, choices and other dtypes. */
static inline mica_array random_chain(random_graph *r, mica_array x) {
    static const mica_dtype dtypes[] = {MICA_DTYPE_F16, MICA_DTYPE_BF16};
    mica_graph *g = r->graph;
    mica_dtype dtype = mica_array_dtype(g, x);
    int64_t k = mica_array_dim(g, x, -1);
    if (random_below(r, 3) == 0) x = mica_cast(g, x, dtypes[random_below(r, 2)]);
    for (int64_t i = random_below(r, 5); i >= 0; i--) {
        mica_array y = random_activation(r, x);
        if (random_below(r, 3) == 0) y = mica_mul(g, y, mica_scalar(g, 0.125f));
        if (random_below(r, 4) == 0) {
            mica_array row = mica_cast(g, random_floats(r, 1, &k), mica_array_dtype(g, x));
            y = mica_add(g, row, y);
        }
        if (random_below(r, 4) == 0)
            y = mica_select(g, mica_binary(g, MICA_BINARY_GREATER, x, y), y, x);
        x = random_below(r, 2) ? random_sum(r, x, y) : y;
    }
    return mica_cast(g, x, dtype);
}

/* The logits of a few rows: the end of a network. */
static inline mica_array random_head(random_graph *r, mica_array x) {
    int64_t rows = 1 + random_below(r, 3), m = mica_array_dim(r->graph, x, 0);
    x = mica_gather(r->graph, x, random_ids(r, 1, &rows, m), MICA_DTYPE_NONE);
    return random_linear(r, random_norm(r, x), 96);
}

static inline mica_array random_layer(random_graph *r, mica_array x) {
    switch (random_below(r, 8)) {
    case 0:
    case 1:
        return random_dense_layer(r, x);
    case 2:
    case 3:
        return random_expert_layer(r, x);
    case 4:
        return random_attention_layer(r, x);
    case 5:
        return random_rows(r, x);
    case 6:
        return random_chain(r, x);
    default:
        return random_norm(r, x);
    }
}

/* One to four layers on [m, k]; arrays[] has what came out of each. */
static inline void random_network(random_graph *r) {
    static const int64_t rows[] = {1, 2, 3, 4, 5, 9, 17};
    int64_t dims[2] = {rows[random_below(r, 7)], 32 * (1 + random_below(r, 2))};
    mica_array x = random_floats(r, 2, dims);
    bool is_half = random_below(r, 5) == 0;
    if (is_half) x = mica_cast(r->graph, x, MICA_DTYPE_BF16);
    r->n = 0;
    for (int64_t i = random_below(r, 4); i >= 0; i--) r->arrays[r->n++] = x = random_layer(r, x);
    if (random_below(r, 2)) r->arrays[r->n++] = random_head(r, x);
}
