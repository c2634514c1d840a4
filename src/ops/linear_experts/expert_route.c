/* The way of tokens to their experts by the kernels of the ops that it is made of, each run whole
 * by the worker that calls. */
#include "ops/linear_experts/expert_route.h"
#include "mica/ops.h"
#include "ops/binary/binary.h"
#include "ops/common/element.h"
#include "ops/expert_list/expert_list.h"
#include "ops/reduce/reduce.h"
#include "ops/softmax/softmax.h"
#include "ops/top_k/top_k.h"

/* ---- scratch ---- */

static size_t align_part(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* The parts behind each other from `base`; returns their bytes together. */
static size_t lay_out(uint8_t *base, int64_t tokens, int64_t slots, int64_t n_experts,
                      mica_expert_route *out) {
    size_t entries = (size_t)(tokens * slots), experts = (size_t)n_experts, at[7] = {0};
    at[1] = align_part(entries * sizeof(int32_t));
    at[2] = at[1] + align_part((experts + 1 + entries) * sizeof(int32_t));
    at[3] = at[2] + align_part(entries * sizeof(float));
    at[4] = at[3] + align_part((size_t)tokens * experts * sizeof(float));
    at[5] = at[4] + align_part((size_t)tokens * sizeof(float));
    at[6] = at[5] + align_part((size_t)slots * sizeof(mica_top_k_entry));
    if (!base) return at[6];
    *out = (mica_expert_route){.shares = base + at[2],
                               .probabilities = base + at[3],
                               .sums = base + at[4],
                               .heap = base + at[5]};
    out->ids = (int32_t *)(void *)base;
    out->list = (int32_t *)(void *)(base + at[1]);
    return at[6];
}

size_t mica_expert_route_bytes(int64_t tokens, int64_t slots, int64_t n_experts) {
    return lay_out(NULL, tokens, slots, n_experts, NULL);
}

/* ---- steps ---- */

static void run_softmax(mica_cpu_function kernel, int32_t dtype, const void *x, void *out,
                        int64_t rows, int64_t n) {
    mica_softmax_args a = {.n_blocks = rows, .block_rows = 1, .n = n, .dtype = dtype};
    a.x = (uintptr_t)x;
    a.out = (uintptr_t)out;
    mica_expert_run(kernel, &a, NULL);
}

static mica_tensor_args tensor_of(const void *at, int32_t dtype, int64_t rows, int64_t n) {
    return (mica_tensor_args){(uintptr_t)at, dtype, .rank = 2, .dims = {rows, n},
                              .strides = {n, 1}};
}

static void run_top_k(const void *scores, int32_t dtype, int64_t rows, int64_t n, int32_t k,
                      const mica_expert_route *route) {
    mica_top_k_args a = {.x = tensor_of(scores, dtype, rows, n), .rows = rows, .row = 1, .k = k};
    a.out = (uintptr_t)route->ids;
    mica_expert_run(mica_top_k_ref, &a, route->heap);
}

static void take_shares(const uint8_t *scores, int32_t dtype, int64_t rows, int64_t n, int32_t k,
                        const mica_expert_route *route) {
    size_t bytes = mica_dtype_bytes((mica_dtype)dtype);
    for (int64_t i = 0; i < rows * k; i++) {
        const uint8_t *from = scores + (size_t)(i / k * n + route->ids[i]) * bytes;
        memcpy(route->shares + (size_t)i * bytes, from, bytes);
    }
}

static void divide_by_sums(int32_t dtype, int64_t rows, int32_t k, const mica_expert_route *route) {
    mica_reduce_args a = {.x = tensor_of(route->shares, dtype, rows, k), .rows = rows, .row = 1};
    a.out = (uintptr_t)route->sums;
    a.kind = MICA_REDUCE_SUM;
    mica_expert_run(mica_reduce_ref, &a, NULL);
    for (int64_t i = 0; i < rows * k; i++) {
        float share = mica_element_f32(dtype, route->shares, i);
        float sum = mica_element_f32(dtype, route->sums, i / k);
        share = mica_binary_apply(MICA_BINARY_DIV, share, sum);
        mica_element_put_f32(dtype, route->shares, i, share);
    }
}

static void find_ids(const mica_expert_route_args *a, const mica_expert_level *level,
                     const mica_linear_experts_args *experts, const mica_expert_route *route) {
    int64_t rows = mica_cpu_live(experts->live, experts->tokens), n = experts->n_experts;
    const void *scores = mica_cpu_at(a->scores);
    if (a->is_softmax_first) {
        run_softmax(level->softmax, a->dtype, scores, route->probabilities, rows, n);
        scores = route->probabilities;
    }
    run_top_k(scores, a->dtype, rows, n, experts->slots, route);
    take_shares(scores, a->dtype, rows, n, experts->slots, route);
    if (a->shares == MICA_EXPERT_SHARES_SOFTMAX)
        run_softmax(level->softmax, a->dtype, route->shares, route->shares, rows, experts->slots);
    if (a->shares == MICA_EXPERT_SHARES_SUM) divide_by_sums(a->dtype, rows, experts->slots, route);
}

static void make_list(const mica_linear_experts_args *experts, const mica_expert_route *route) {
    mica_expert_list_args a = {.ids = experts->ids,
                               .out = (uintptr_t)route->list,
                               .live = experts->live,
                               .tokens = experts->tokens,
                               .slots = experts->slots,
                               .n_experts = experts->n_experts};
    mica_expert_run(mica_expert_list_ref, &a, NULL);
}

void mica_expert_route_find(const mica_expert_route_args *a, const mica_expert_level *level,
                            mica_linear_experts_args *experts, void *scratch,
                            mica_expert_route *out) {
    lay_out(scratch, experts->tokens, experts->slots, experts->n_experts, out);
    if (a->scores) {
        find_ids(a, level, experts, out);
        experts->ids = (uintptr_t)out->ids;
    }
    make_list(experts, out);
    experts->list = (uintptr_t)out->list;
}
