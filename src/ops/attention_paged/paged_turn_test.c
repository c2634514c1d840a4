/* The paged ops with the heads' norms and the rotary embedding inside: the bits of the steps they
 * replace, in results and pool, at every level, for contiguous q, k and v and for slices of one
 * matrix. */
#include "ops/attention_paged/paged_test.h"
#include "core/runtime.h"
#include "mica/array.h"
#include "mica/ops.h"

typedef struct turn_case {
    int64_t tokens, heads, kv_heads, dim, n_pairs;
    bool has_norm, is_sliced, is_interleaved;
    int pool_dtype;
} turn_case;

#define LENGTH 80 /* of the history: more than a page */

/* One layer from the projections' result to the pool. */
typedef struct turn_layer {
    mica_runtime *rt;
    mica_graph *g;
    mica_executable *e;
    mica_buffer *buffers[16];
    int n_buffers;
} turn_layer;

static mica_array add_input(turn_layer *l, const char *name, mica_dtype dtype, int rank,
                            const int64_t *dims, bool is_live) {
    mica_shape shape;
    assert_true(mica_shape_make(rank, dims, &shape));
    return mica_array_of(l->g, mica_graph_input(l->g, name, dtype, &shape,
                                                is_live ? MICA_LIVE_TOKENS : MICA_LIVE_ALL));
}

/* Heads of q (which = 0), k or v. */
static mica_array project(turn_layer *l, const turn_case *c, mica_array x, int which) {
    static const char *const names[] = {"q", "k", "v"};
    int64_t q = c->heads * c->dim, kv = c->kv_heads * c->dim, n = which ? kv : q;
    int64_t dims[3] = {c->tokens, n / c->dim, c->dim}, first = which ? q + (which - 1) * kv : 0;
    if (!c->is_sliced) return add_input(l, names[which], MICA_DTYPE_F32, 3, dims, true);
    return mica_reshape(l->g, mica_slice_axis(l->g, x, 1, first, first + n, 1), 3, dims);
}

static mica_array turn(turn_layer *l, const turn_case *c, mica_array x, mica_array positions,
                       mica_array frequencies, mica_array norm) {
    if (c->has_norm) x = mica_rms_norm(l->g, x, norm, 1e-5f, 0.5f);
    return mica_rope(l->g, x, positions, frequencies, 1.25f, c->is_interleaved);
}

static void build(turn_layer *l, const turn_case *c) {
    mica_error err = {0};
    int64_t t = c->tokens, all = (c->heads + 2 * c->kv_heads) * c->dim;
    add_input(l, "batch.counts", MICA_DTYPE_I32, 1, (int64_t[]){4}, false);
    mica_array x = add_input(l, "x", MICA_DTYPE_F32, 2, (int64_t[]){t, all}, true);
    mica_array positions = add_input(l, "positions", MICA_DTYPE_I32, 1, &t, true);
    mica_array f = add_input(l, "frequencies", MICA_DTYPE_F32, 1, &c->n_pairs, false);
    mica_array norms[2] = {add_input(l, "q_norm", MICA_DTYPE_BF16, 1, &c->dim, false),
                           add_input(l, "k_norm", MICA_DTYPE_F32, 1, &c->dim, false)};
    mica_array heads[3];
    for (int i = 0; i < 3; i++) heads[i] = project(l, c, x, i);
    for (int i = 0; i < 2; i++) heads[i] = turn(l, c, heads[i], positions, f, norms[i]);
    mica_attention_paged_inputs in = {.q = mica_array_ref(l->g, heads[0], false),
                                      .k = mica_array_ref(l->g, heads[1], false),
                                      .v = mica_array_ref(l->g, heads[2], false),
                                      .positions = mica_array_ref(l->g, positions, false)};
    int64_t pool[] = {4, 1, 2, c->kv_heads, 64, c->dim}, fields = MICA_SEQUENCE_FIELDS;
    in.pool = add_input(l, "pool", (mica_dtype)c->pool_dtype, 6, pool, false).node;
    in.page_table = add_input(l, "pages", MICA_DTYPE_I32, 2, (int64_t[]){1, 4}, false).node;
    in.token_sequence = add_input(l, "owners", MICA_DTYPE_I32, 1, &t, true).node;
    in.sequences = add_input(l, "sequences", MICA_DTYPE_I32, 2, (int64_t[]){1, fields}, false).node;
    mica_ref out[2];
    out[0] = mica_attention_paged(l->g, &in, &(mica_attention_paged_params){.soft_cap = 30});
    mica_kv_write_inputs kv = {in.pool,           in.k,         in.v,  in.page_table, in.positions,
                               in.token_sequence, in.sequences, out[0]};
    out[1] = mica_kv_write(l->g, &kv, &(mica_kv_write_params){0});
    assert_ok(mica_graph_check(l->g, &err));
    mica_plan *plan = NULL;
    assert_ok(l->rt->plan_build(l->rt, l->g, out, 2, NULL, &plan, &err));
    assert_ok(mica_executable_create(l->rt, plan, &l->e, &err));
}

static mica_storage import(turn_layer *l, void *data, size_t bytes) {
    mica_error err = {0};
    mica_storage s = {0};
    mica_device *d = l->rt->device;
    assert_ok(d->backend->buffer_import(d, data, bytes, NULL, NULL, &s.buffer, &err));
    l->buffers[l->n_buffers++] = s.buffer;
    return s;
}

/* Inputs that the graph does not have are passed over. */
static void bind(turn_layer *l, const char *name, void *data, size_t bytes) {
    mica_error err = {0};
    for (size_t i = 0; i < mica_executable_plan(l->e)->n_bindings; i++) {
        const char *known = mica_executable_plan(l->e)->bindings[i].name;
        if (known && strcmp(known, name) == 0)
            assert_ok(mica_executable_bind_input(l->e, name, import(l, data, bytes), &err));
    }
}

/* Data of a case: what the layer reads, and its pool before. */
typedef struct turn_data {
    float *x, *parts[3], *frequencies, *k_norm;
    uint16_t *q_norm;
    uint8_t *pool;
    size_t pool_bytes;
    int32_t positions[8], owners[8], counts[4], sequences[MICA_SEQUENCE_FIELDS], pages[4];
} turn_data;

static void data_create(turn_data *d, const turn_case *c, uint64_t *seed) {
    memset(d, 0, sizeof *d);
    int64_t heads[3] = {c->heads, c->kv_heads, c->kv_heads}, all = 0, first = 0;
    for (int i = 0; i < 3; i++) all += heads[i] * c->dim;
    d->x = paged_random(c->tokens * all, 2, seed);
    for (int i = 0; i < 3; first += heads[i++] * c->dim) {
        int64_t n = heads[i] * c->dim;
        d->parts[i] = malloc((size_t)(c->tokens * n) * sizeof(float));
        for (int64_t t = 0; t < c->tokens; t++)
            memcpy(d->parts[i] + t * n, d->x + t * all + first, (size_t)n * sizeof(float));
    }
    d->frequencies = paged_random(c->n_pairs, 1, seed);
    d->k_norm = paged_random(c->dim, 2, seed);
    d->q_norm = malloc((size_t)c->dim * sizeof *d->q_norm);
    for (int64_t i = 0; i < c->dim; i++) d->q_norm[i] = mica_bf16_from_f32(test_random_float(seed));
    int64_t count = 4 * 2 * c->kv_heads * 64 * c->dim;
    bool is_bf16 = c->pool_dtype == MICA_DTYPE_BF16;
    float *values = paged_random(count, 1, seed);
    d->pool_bytes = (size_t)count * (is_bf16 ? 2 : 4);
    d->pool = malloc(d->pool_bytes);
    for (int64_t i = 0; i < count; i++) {
        uint16_t bits = mica_bf16_from_f32(values[i]);
        memcpy(d->pool + (size_t)i * (is_bf16 ? 2 : 4), is_bf16 ? (void *)&bits : &values[i],
               is_bf16 ? 2 : 4);
    }
    free(values);
    d->counts[0] = (int32_t)c->tokens;
    d->sequences[MICA_SEQUENCE_COUNT] = (int32_t)c->tokens;
    d->sequences[MICA_SEQUENCE_PAST] = LENGTH;
    for (int i = 0; i < 4; i++) d->pages[i] = 3 - i;
    for (int64_t t = 0; t < c->tokens; t++) d->positions[t] = (int32_t)(LENGTH + t);
}

static void data_destroy(turn_data *d) {
    for (int i = 0; i < 3; i++) free(d->parts[i]);
    free(d->x);
    free(d->frequencies);
    free(d->k_norm);
    free(d->q_norm);
    free(d->pool);
}

/* Runs the layer on a copy of the pool, which is returned; *out is the attention's result. */
static uint8_t *run(const turn_case *c, turn_data *d, const char *level, const char *no_pass,
                    float *out, size_t *n_steps) {
    turn_layer l = {0};
    mica_error err = {0};
    mica_runtime_options options = {.struct_bytes = sizeof options, .n_threads = 2};
    options.cpu_level = level;
    options.no_pass = no_pass;
    if (mica_runtime_open(&options, &l.rt, &err) != MICA_STATUS_OK) return NULL;
    assert_ok(mica_graph_create_internal(l.rt, true, &l.g, &err));
    build(&l, c);
    static const char *const names[] = {"q", "k", "v"};
    size_t row = (size_t)(c->tokens * c->dim) * sizeof(float), pairs = (size_t)c->n_pairs;
    size_t heads[3] = {(size_t)c->heads, (size_t)c->kv_heads, (size_t)c->kv_heads};
    uint8_t *pool = malloc(d->pool_bytes);
    memcpy(pool, d->pool, d->pool_bytes);
    bind(&l, "batch.counts", d->counts, sizeof d->counts);
    bind(&l, "x", d->x, row * (heads[0] + heads[1] + heads[2]));
    for (int i = 0; i < 3; i++) bind(&l, names[i], d->parts[i], row * heads[i]);
    bind(&l, "positions", d->positions, (size_t)c->tokens * sizeof(int32_t));
    bind(&l, "owners", d->owners, (size_t)c->tokens * sizeof(int32_t));
    bind(&l, "frequencies", d->frequencies, pairs * sizeof(float));
    bind(&l, "q_norm", d->q_norm, (size_t)c->dim * sizeof(uint16_t));
    bind(&l, "k_norm", d->k_norm, (size_t)c->dim * sizeof(float));
    bind(&l, "pool", pool, d->pool_bytes);
    bind(&l, "pages", d->pages, sizeof d->pages);
    bind(&l, "sequences", d->sequences, sizeof d->sequences);
    assert_ok(mica_executable_bind_output(l.e, 0, import(&l, out, row * heads[0]), &err));
    assert_ok(mica_executable_run(l.e, &err));
    *n_steps = mica_executable_plan(l.e)->segments[0].n_steps;
    mica_executable_destroy(&l.e);
    for (int i = 0; i < l.n_buffers; i++) mica_buffer_release(&l.buffers[i]);
    mica_graph_destroy(&l.g);
    mica_runtime_close(&l.rt);
    return pool;
}

static void fused_equals_unfused(void **state) {
    /* Proves: with and without pass fuse the same bits; few tokens have three steps: the table, the
     * attention, the write. */
    (void)state;
    static const turn_case cases[] = {
        {1, 6, 2, 64, 32, false, false, false, MICA_DTYPE_BF16},
        {1, 4, 2, 64, 32, true, true, false, MICA_DTYPE_BF16},
        {3, 6, 2, 32, 16, false, true, false, MICA_DTYPE_F32},
        {4, 4, 4, 40, 20, true, true, false, MICA_DTYPE_BF16}, /* not whole vectors */
        {2, 4, 1, 48, 10, true, false, false, MICA_DTYPE_F32}, /* a part of the head turns */
        {6, 4, 2, 64, 32, true, true, false, MICA_DTYPE_BF16}, /* too many to fuse */
        {2, 4, 2, 32, 16, false, true, true, MICA_DTYPE_BF16}, /* not fused: other pairs */
    };
#if defined(__aarch64__)
    static const char *const levels[] = {"scalar", "neon"};
#else
    static const char *const levels[] = {"scalar", "avx2", "avx512"};
#endif
    uint64_t seed = test_seed();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const turn_case *c = &cases[i];
        turn_data d;
        data_create(&d, c, &seed);
        size_t count = (size_t)(c->tokens * c->heads * c->dim), n_steps, n_plain;
        float *a = malloc(count * sizeof *a), *b = malloc(count * sizeof *b);
        for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
            uint8_t *fused = run(c, &d, levels[l], NULL, a, &n_steps);
            uint8_t *plain = run(c, &d, levels[l], "fuse", b, &n_plain);
            if (!fused) continue;
            bool is_fused = c->tokens <= 4 && !c->is_interleaved;
            if (is_fused ? n_steps != 3 : n_steps < 4)
                fail_msg("case %zu: %zu steps, %zu without fuse", i, n_steps, n_plain);
            if (memcmp(a, b, count * sizeof *a) != 0 || memcmp(fused, plain, d.pool_bytes) != 0)
                fail_msg("case %zu at %s: fused and unfused differ", i, levels[l]);
            assert_memory_not_equal(fused, d.pool, d.pool_bytes);
            free(fused);
            free(plain);
        }
        free(a);
        free(b);
        data_destroy(&d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(fused_equals_unfused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
