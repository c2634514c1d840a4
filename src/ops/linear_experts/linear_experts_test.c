#include "ops/linear_experts/linear_experts.h"
#include "core/op.h"
#include "op_test.h"
#include "ops/expert_list/expert_list.h"
#include "ops/linear/linear_test_case.h"

extern const mica_op mica_op_linear_experts;

static mica_cpu_function kernel_of(int level) {
#if defined(__x86_64__)
    if (level == LEVEL_AVX2) return mica_linear_experts_avx2;
    if (level == LEVEL_AVX512) return mica_linear_experts_avx512;
    if (level == LEVEL_INT8_AVX2) return mica_linear_experts_int8_avx2;
    if (level == LEVEL_INT8_VNNI) return mica_linear_experts_int8_avx512_vnni;
    if (level == LEVEL_INT16_AVX2) return mica_linear_experts_int16_avx2;
    if (level == LEVEL_INT16_VNNI) return mica_linear_experts_int16_avx512_vnni;
#elif defined(__aarch64__)
    if (level == LEVEL_NEON) return mica_linear_experts_neon;
    if (level == LEVEL_INT8_NEON) return mica_linear_experts_int8_neon_dot;
#endif
    (void)level;
    return mica_linear_experts_ref;
}
static mica_linear_rows_function rows_of(int level) {
#if defined(__x86_64__)
    if (level == LEVEL_AVX2) return mica_linear_rows_avx2;
    if (level == LEVEL_AVX512) return mica_linear_rows_avx512;
    if (level == LEVEL_INT8_AVX2) return mica_linear_rows_int8_avx2;
    if (level == LEVEL_INT8_VNNI) return mica_linear_rows_int8_avx512_vnni;
    if (level == LEVEL_INT16_AVX2) return mica_linear_rows_int16_avx2;
    if (level == LEVEL_INT16_VNNI) return mica_linear_rows_int16_avx512_vnni;
#elif defined(__aarch64__)
    if (level == LEVEL_NEON) return mica_linear_rows_neon;
    if (level == LEVEL_INT8_NEON) return mica_linear_rows_int8_neon_dot;
#endif
    (void)level;
    return mica_linear_rows_ref;
}

/* Weights of all experts are those of one test_weight with n_experts * n rows. */
typedef struct expert_case {
    test_weight w;
    int64_t tokens;
    int64_t n;
    int32_t slots;
    int32_t n_experts;
    bool is_shared;
    int32_t *ids;
    int32_t *list;
    float *x;
    float *out;
} expert_case;

static expert_case make_case(const weight_type *type, int64_t tokens, int32_t slots,
                             int32_t n_experts, int64_t n, int64_t k, bool is_shared,
                             uint64_t *seed) {
    expert_case c = {.tokens = tokens, .n = n, .slots = slots, .n_experts = n_experts};
    c.is_shared = is_shared;
    c.w = make_weight(type, n * n_experts, k, MICA_KIND_F32, MICA_KIND_BF16, seed);
    c.ids = exact_memory(tokens * slots * 4);
    c.list = exact_memory((n_experts + 1 + tokens * slots) * 4);
    c.x = make_x(MICA_KIND_F32, tokens * (is_shared ? 1 : slots) * k, seed);
    c.out = exact_memory(tokens * slots * n * 4);
    /* Some ids name no expert. */
    for (int64_t i = 0; i < tokens * slots; i++)
        c.ids[i] = (int32_t)(test_random(seed) % (uint64_t)(n_experts + 2)) - 1;
    return c;
}

static void free_case(expert_case *c) {
    free_weight(&c->w);
    free(c->ids);
    free(c->list);
    free(c->x);
    free(c->out);
}

static void run(int level, expert_case *c, const int32_t *live, int workers) {
    mica_expert_list_args l = {(uintptr_t)c->ids, (uintptr_t)c->list, (uintptr_t)live,
                               c->tokens,         c->slots,           c->n_experts};
    run_kernel(mica_expert_list_ref, &l, workers, 64);
    mica_linear_experts_args a = {.tokens = c->tokens, .n = c->n, .k = c->w.k};
    a.x = (uintptr_t)c->x;
    a.codes = (uintptr_t)c->w.codes;
    a.scales = (uintptr_t)c->w.scales;
    a.biases = (uintptr_t)c->w.biases;
    a.bias = (uintptr_t)c->w.bias;
    a.ids = (uintptr_t)c->ids;
    a.list = (uintptr_t)c->list;
    a.out = (uintptr_t)c->out;
    a.live = (uintptr_t)live;
    a.slots = c->slots;
    a.n_experts = c->n_experts;
    a.x_divide = c->is_shared ? c->slots : 1;
    a.weight = c->w.weight;
    run_kernel(kernel_of(level), &a, workers,
               mica_linear_scratch_bytes(c->w.k) + (size_t)c->n_experts * 4);
}

/* Entry e by linear's kernel, alone. */
static void expected_row(int level, const expert_case *c, int64_t e, float *row) {
    int64_t first = c->ids[e] * c->n;
    mica_linear_rows job = {.weight = c->w.weight, .x_divide = 1, .m = 1, .n = c->n, .k = c->w.k};
    void *scratch = aligned_alloc(64, mica_linear_scratch_bytes(c->w.k) / 64 * 64 + 64);
    memset(scratch, 0, 64);
    job.n_end = c->n;
    job.codes = c->w.codes + first * c->w.weight.row_bytes;
    job.scales = c->w.scales + first * c->w.weight.scale_bytes;
    job.biases =
        mica_quant_biases_at(c->w.weight.quant, c->w.biases, 0, first * c->w.weight.scale_bytes);
    job.bias = (uint8_t *)c->w.bias + first * 2;
    job.x = (const uint8_t *)(c->x + (c->is_shared ? e / c->slots : e) * c->w.k);
    job.out = (uint8_t *)row;
    rows_of(level)(&job, scratch);
    free(scratch);
}

static void check_rows(int level, const expert_case *c, int64_t live) {
    float *row = exact_memory(c->n * 4);
    for (int64_t e = 0; e < c->tokens * c->slots; e++) {
        if (e >= live * c->slots)
            for (int64_t i = 0; i < c->n; i++) row[i] = 77.0f;
        else if (c->ids[e] < 0 || c->ids[e] >= c->n_experts)
            memset(row, 0, (size_t)c->n * 4);
        else
            expected_row(level, c, e, row);
        if (memcmp(row, c->out + e * c->n, (size_t)c->n * 4) != 0)
            fail_msg("%s: entry %d of %d tokens differs from linear", level_names[level], (int)e,
                     (int)c->tokens);
    }
    free(row);
}

static void rows_are_those_of_linear(void **state) {
    /* Proves: each row has the bits of linear with its expert alone, for any batch and number of
     * workers; ids out of range give zeros; rows past the live count are untouched. */
    (void)state;
    static const int64_t tokens[] = {0, 1, 2, 5, 40, 150};
    uint64_t seed = test_seed();
    for (int level = 0; level < LEVELS; level++) {
        if (!has_level(level)) continue;
        for (int t = 0; t < WEIGHT_TYPES; t++)
            for (int i = 0; i < 6 && takes_type(level, &weight_types[t]); i++) {
                int64_t k = weight_types[t].kind == MICA_KIND_U8 ? 1088 : 1030;
                expert_case c = make_case(&weight_types[t], tokens[i], 1 + i % 4, 3 + i, 14,
                                          i % 3 ? 64 : k, i % 2, &seed);
                int64_t entries = c.tokens * c.slots;
                for (int64_t e = 0; e < entries * c.n; e++) c.out[e] = 77.0f;
                int32_t live = (int32_t)(tokens[i] - tokens[i] / 4);
                run(level, &c, i % 2 ? NULL : &live, 1 + (t + i) % 3);
                check_rows(level, &c, i % 2 ? tokens[i] : live);
                free_case(&c);
            }
    }
}

/* ---- through the library ---- */

typedef struct library_case {
    expert_case *c;
    bool is_composed;
} library_case;

static mica_array weight_array(mica_graph *g, const expert_case *c) {
    int64_t dims[3] = {c->n_experts, c->n, c->w.k};
    mica_quant_desc q = c->w.weight.quant;
    mica_quant quant = {q.mode, q.bits, q.group, MICA_DTYPE_U8};
    if (c->w.weight.kind == MICA_KIND_F32)
        return mica_array_view(g, MICA_DTYPE_F32, 3, dims, c->w.codes, NULL, NULL);
    return mica_array_view_quantized(g, quant, 3, dims, c->w.codes, c->w.scales, NULL);
}

static mica_array build(mica_graph *g, void *context) {
    const library_case *l = context;
    const expert_case *c = l->c;
    int64_t x_dims[3] = {c->tokens, c->slots, c->w.k};
    if (c->is_shared) x_dims[1] = c->w.k;
    mica_array x =
        mica_array_view(g, MICA_DTYPE_F32, c->is_shared ? 2 : 3, x_dims, c->x, NULL, NULL);
    mica_array bias = mica_array_view(g, MICA_DTYPE_BF16, 2, (int64_t[]){c->n_experts, c->n},
                                      c->w.bias, NULL, NULL);
    mica_array ids =
        mica_array_view(g, MICA_DTYPE_I32, 2, (int64_t[]){c->tokens, c->slots}, c->ids, NULL, NULL);
    mica_array y = mica_linear_experts(g, x, weight_array(g, c), bias, ids);
    mica_ref ref = mica_array_ref(g, y, false);
    if (!l->is_composed || !ref) return y;
    return mica_array_of(g, mica_op_linear_experts.compose(g, mica_graph_node(g, ref)));
}

static void means_what_it_composes_to(void **state) {
    /* Proves: through mica_eval, it equals gathering a weight for each row. */
    (void)state;
    uint64_t seed = test_seed();
    for (int i = 0; i < 4; i++) {
        expert_case c = make_case(&weight_types[i < 2 ? 0 : 3], 7, 3, 5, 12, 96, i % 2, &seed);
        library_case l = {&c, true};
        size_t count = 0;
        double *want = op_test_eval("scalar", build, &l, &count);
        l.is_composed = false;
        op_test_all_levels(build, &l, want, count, 1e-5, 2e-4);
        free(want);
        free_case(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_linear),
        cmocka_unit_test(means_what_it_composes_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
