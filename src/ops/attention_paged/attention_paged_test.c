/* Paged attention: against double precision, whatever the chunking, the neighbours and the threads.
 */
#include "ops/attention_paged/paged_test.h"
#include "core/runtime.h"
#include "mica/array.h"

static const mica_kernel *kernels(size_t *n) {
    *n = mica_op_attention_paged.n_kernels;
    return mica_op_attention_paged.kernels;
}

static const mica_kernel *writer(void) {
    return &mica_op_kv_write.kernels[mica_op_kv_write.n_kernels - 1];
}

/* Runs a sequence of the world from position 0 in chunks (the last size repeats) and returns all
 * results, [length, heads, dim]. The pool starts as NaN. */
static float *run_chunks(const mica_kernel *kernel, paged_world *w, int64_t sequence,
                         const int64_t *chunks, int n_chunks, int n_threads) {
    int64_t row = w->heads * w->dim;
    float *all = malloc((size_t)(w->length * row) * sizeof *all);
    paged_clear_pool(w);
    for (int64_t past = 0, i = 0; past < w->length; i++) {
        int64_t count = chunks[i < n_chunks ? i : n_chunks - 1];
        if (count > w->length - past) count = w->length - past;
        paged_batch b;
        paged_batch_create(&b, w, &(paged_part){sequence, past, count}, 1);
        paged_attend(kernel, w, &b, n_threads);
        paged_write(writer(), w, &b, 1);
        memcpy(all + past * row, b.out, (size_t)(count * row) * sizeof *all);
        assert_true(isnan(b.out[count * row])); /* rows past the live count stay untouched */
        paged_batch_destroy(&b);
        past += count;
    }
    return all;
}

static void expect_oracle(const char *what, const paged_world *w, int64_t sequence,
                          const float *all) {
    double want[256];
    for (int64_t p = 0; p < w->length; p++)
        for (int64_t h = 0; h < w->heads; h++) {
            paged_oracle(w, sequence, p, h, want);
            for (int64_t d = 0; d < w->dim; d++) {
                double got = (double)all[(p * w->heads + h) * w->dim + d];
                /* Sums of up to a few hundred products of size 4 in f32. */
                if (!(fabs(got - want[d]) <= 2e-5))
                    fail_msg("%s: position %lld head %lld dim %lld: got %.9g, want %.9g", what,
                             (long long)p, (long long)h, (long long)d, got, want[d]);
            }
        }
}

static void expect_same(const char *what, const float *a, const float *b, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("%s: element %lld: %.9g and %.9g", what, (long long)i, (double)a[i],
                     (double)b[i]);
}

typedef struct shape_case {
    int64_t heads, kv_heads, dim, length, window, ring;
    int pool_dtype;
    bool has_sinks;
    float soft_cap;
} shape_case;

static const shape_case shape_cases[] = {
    {8, 8, 64, 150, 0, 0, MICA_DTYPE_BF16, true, 0},    /* GQA 1 */
    {6, 2, 64, 200, 0, 0, MICA_DTYPE_BF16, false, 0},   /* GQA 3 */
    {16, 2, 64, 210, 0, 0, MICA_DTYPE_BF16, true, 0},   /* GQA 8: the shape of gpt-oss */
    {16, 2, 64, 410, 128, 3, MICA_DTYPE_BF16, true, 0}, /* its window layers: a ring of 3 pages */
    {16, 2, 64, 200, 0, 0, MICA_DTYPE_F32, true, 0},
    {8, 1, 64, 260, 100, 3, MICA_DTYPE_F32, false, 0}, /* a window that is no whole page */
    {4, 2, 16, 129, 0, 0, MICA_DTYPE_F32, true, 5.0f}, /* soft cap */
    {3, 1, 80, 130, 64, 2, MICA_DTYPE_BF16, false, 0},
    {4, 2, 72, 65, 0, 0, MICA_DTYPE_BF16, true, 0},  /* not whole vectors of 16 */
    {2, 1, 5, 70, 0, 0, MICA_DTYPE_F32, true, 0},    /* not whole vectors at all */
    {70, 1, 24, 66, 0, 0, MICA_DTYPE_BF16, true, 0}, /* more heads than rows of a block */
    {4, 1, 128, 192, 0, 0, MICA_DTYPE_BF16, true, 0},
    {2, 2, 64, 64, 0, 0, MICA_DTYPE_BF16, true, 0},  /* a page exactly */
    {2, 2, 64, 1, 0, 0, MICA_DTYPE_F32, false, 0},   /* one token */
    {8, 2, 32, 200, 1, 2, MICA_DTYPE_BF16, true, 0}, /* only itself */
};

static paged_world make_world(const shape_case *c, int64_t n_sequences, uint64_t *seed) {
    paged_world w = {.heads = c->heads,
                     .kv_heads = c->kv_heads,
                     .dim = c->dim,
                     .length = c->length,
                     .n_sequences = n_sequences,
                     .pool_dtype = c->pool_dtype,
                     .window = c->window,
                     .soft_cap = c->soft_cap};
    w.scale = 1.0f / sqrtf((float)c->dim);
    paged_world_create(&w, c->ring, c->has_sinks, seed);
    return w;
}

static void matches_oracle_and_ignores_chunks(void **state) {
    /* Every kernel agrees with double precision, and gives the same bits for every chunking. */
    (void)state;
    static const int64_t splits[][3] = {{1 << 20, 0, 0}, {1, 0, 0}, {64, 0, 0}, {7, 130, 33}};
    uint64_t seed = test_seed();
    size_t n;
    const mica_kernel *k = kernels(&n);
    for (size_t c = 0; c < sizeof shape_cases / sizeof *shape_cases; c++) {
        paged_world w = make_world(&shape_cases[c], 1, &seed);
        for (size_t i = 0; i < n; i++) {
            if (!paged_has(&k[i])) continue;
            char what[96];
            snprintf(what, sizeof what, "%s, case %zu", k[i].name, c);
            float *whole = run_chunks(&k[i], &w, 0, splits[0], 1, 2);
            expect_oracle(what, &w, 0, whole);
            for (int s = 1; s < 4; s++) {
                float *parts = run_chunks(&k[i], &w, 0, splits[s], s == 3 ? 3 : 1, s);
                expect_same(what, parts, whole, w.length * w.heads * w.dim);
                free(parts);
            }
            free(whole);
        }
        paged_world_destroy(&w);
    }
}

static void neighbours_and_threads_change_nothing(void **state) {
    /* Three sequences in one batch, at different pasts, equal each alone, on 1, 2 and 3 threads. */
    (void)state;
    uint64_t seed = test_seed();
    size_t n;
    const mica_kernel *k = kernels(&n);
    for (int c = 2; c < 5; c++) {
        paged_world w = make_world(&shape_cases[c], 4, &seed);
        int64_t row = w.heads * w.dim;
        /* Row 1 of the batch's table is unused. */
        paged_part past[3] = {{2, 0, 100}, {0, 0, 64}, {3, 0, 1}};
        paged_part now[3] = {{2, 100, 1}, {0, 64, 130}, {3, 1, 70}};
        for (size_t i = 0; i < n; i++) {
            if (!paged_has(&k[i])) continue;
            paged_clear_pool(&w);
            paged_batch b;
            paged_batch_create(&b, &w, past, 3);
            paged_write(writer(), &w, &b, 1);
            paged_batch_destroy(&b);
            float *together = NULL;
            for (int threads = 1; threads <= 3; threads++) {
                paged_batch_create(&b, &w, now, 3);
                paged_attend(&k[i], &w, &b, threads);
                if (together) expect_same(k[i].name, b.out, together, b.n_tokens * row);
                free(together);
                together = b.out;
                b.out = NULL;
                paged_batch_destroy(&b);
            }
            float *at = together;
            for (int p = 0; p < 3; p++) {
                paged_batch_create(&b, &w, &now[p], 1);
                paged_attend(&k[i], &w, &b, 1);
                expect_same(k[i].name, b.out, at, now[p].count * row);
                at += now[p].count * row;
                paged_batch_destroy(&b);
            }
            free(together);
        }
        paged_world_destroy(&w);
    }
}

static void shared_histories_give_the_same_bits(void **state) {
    /* Long histories: one token or a few, their ranges of pages shared by 2 to 5 threads or not,
     * equal the chunk that computed everything at once. */
    (void)state;
    static const shape_case cases[] = {
        {9, 3, 64, 820, 0, 0, MICA_DTYPE_BF16, false, 0},
        {8, 2, 32, 540, 0, 0, MICA_DTYPE_F32, true, 3.0f},
        {4, 1, 40, 900, 600, 12, MICA_DTYPE_BF16, true, 0}, /* a window of many pages */
        {4, 4, 32, 400, 130, 4, MICA_DTYPE_BF16, true, 0},  /* a short one is one range */
    };
    uint64_t seed = test_seed();
    size_t n;
    const mica_kernel *k = kernels(&n);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        paged_world w = make_world(&cases[c], 1, &seed);
        int64_t row = w.heads * w.dim, past = w.length - 20;
        for (size_t i = 0; i < n; i++) {
            if (!paged_has(&k[i])) continue;
            float *whole = run_chunks(&k[i], &w, 0, &past, 1, 2);
            for (int run = 0; run < 8; run++) {
                paged_batch b;
                paged_batch_create(&b, &w, &(paged_part){0, past, run < 4 ? 1 : 20}, 1);
                w.parts_bytes = run % 4 == 3 ? 100 : 1 << 22; /* 100: too few */
                paged_attend(&k[i], &w, &b, 2 + run % 4);
                expect_same(k[i].name, b.out, whole + past * row, b.n_tokens * row);
                paged_batch_destroy(&b);
            }
            double want[64];
            paged_oracle(&w, 0, w.length - 1, w.heads - 1, want);
            for (int64_t d = 0; d < w.dim; d++)
                assert_float_equal(whole[w.length * row - w.dim + d], want[d], 2e-5);
            w.parts_bytes = 0;
            free(whole);
        }
        paged_world_destroy(&w);
    }
}

static void later_tokens_do_not_reach_back(void **state) {
    /* NaN and infinity in the K and V of a chunk's last tokens leave all earlier results as they
     * are, to the bit, and show in the later ones. */
    (void)state;
    uint64_t seed = test_seed();
    size_t n;
    const mica_kernel *k = kernels(&n);
    for (int c = 0; c < 5; c++) {
        paged_world w = make_world(&shape_cases[c], 1, &seed);
        int64_t row = w.heads * w.dim, bad = 70 * w.kv_heads * w.dim;
        for (size_t i = 0; i < n; i++) {
            if (!paged_has(&k[i])) continue;
            float keep_k = w.k[0][bad], keep_v = w.v[0][bad];
            float *clean = run_chunks(&k[i], &w, 0, &(int64_t){1 << 20}, 1, 1);
            w.k[0][bad] = NAN;
            w.v[0][bad] = INFINITY;
            float *spoilt = run_chunks(&k[i], &w, 0, &(int64_t){1 << 20}, 1, 1);
            w.k[0][bad] = keep_k;
            w.v[0][bad] = keep_v;
            expect_same(k[i].name, spoilt, clean, 70 * row);
            assert_true(isnan(spoilt[70 * row]));
            free(clean);
            free(spoilt);
        }
        paged_world_destroy(&w);
    }
}

static void extreme_scores(void **state) {
    /* Scores of +-1e4, equal keys and keys of -inf weigh as they should: nothing overflows. */
    (void)state;
    uint64_t seed = test_seed();
    size_t n;
    const mica_kernel *k = kernels(&n);
    shape_case c = {2, 1, 16, 140, 0, 0, MICA_DTYPE_F32, true, 0};
    paged_world w = make_world(&c, 1, &seed);
    for (int64_t i = 0; i < w.length * w.dim; i++) w.k[0][i] *= 3000;
    for (int64_t d = 0; d < w.dim; d++) w.k[0][100 * w.dim + d] = 0;
    w.k[0][100 * w.dim] = -INFINITY; /* q > 0 there gives -inf, q < 0 would give +inf */
    for (int64_t p = 0; p < w.length; p++)
        for (int64_t h = 0; h < w.heads; h++)
            w.q[0][(p * w.heads + h) * w.dim] = 0.5f + 0.25f * test_random_float(&seed);
    for (size_t i = 0; i < n; i++) {
        if (!paged_has(&k[i])) continue;
        float *all = run_chunks(&k[i], &w, 0, &(int64_t){1 << 20}, 1, 2);
        double want[16];
        for (int64_t p = 0; p < w.length; p++)
            for (int64_t h = 0; h < w.heads; h++) {
                paged_oracle(&w, 0, p, h, want);
                for (int64_t d = 0; d < w.dim; d++) {
                    double got = (double)all[(p * w.heads + h) * w.dim + d];
                    /* A score of 1e4 carries an error of about 1e-3 in f32, so weights do too. */
                    if (!(fabs(got - want[d]) <= 2e-2))
                        fail_msg("%s: position %lld: got %g, want %g", k[i].name, (long long)p, got,
                                 want[d]);
                }
            }
        free(all);
    }
    paged_world_destroy(&w);
}

/* ---- through a plan ---- */

typedef struct plan_fixture {
    mica_runtime *rt;
    mica_graph *g;
    mica_executable *e;
    mica_buffer *buffers[16];
    int n_buffers;
} plan_fixture;

static mica_ref add_input(plan_fixture *f, const char *name, mica_dtype dtype, mica_live live,
                          int rank, const int64_t *dims) {
    mica_shape shape;
    assert_true(mica_shape_make(rank, dims, &shape));
    return mica_graph_input(f->g, name, dtype, &shape, live);
}

/* The batch of one layer as the model builds it; outputs: attention, the pool. */
static void build_plan(plan_fixture *f, const paged_world *w, const paged_batch *b) {
    mica_error err = {0};
    int64_t t = b->n_tokens + 5;
    mica_attention_paged_inputs in = {0};
    add_input(f, "batch.counts", MICA_DTYPE_I32, MICA_LIVE_ALL, 1, (int64_t[]){4});
    in.q = add_input(f, "q", MICA_DTYPE_F32, MICA_LIVE_TOKENS, 3, (int64_t[]){t, w->heads, w->dim});
    in.k =
        add_input(f, "k", MICA_DTYPE_F32, MICA_LIVE_TOKENS, 3, (int64_t[]){t, w->kv_heads, w->dim});
    in.v =
        add_input(f, "v", MICA_DTYPE_F32, MICA_LIVE_TOKENS, 3, (int64_t[]){t, w->kv_heads, w->dim});
    in.pool = add_input(f, "pool", (mica_dtype)w->pool_dtype, MICA_LIVE_ALL, 6,
                        (int64_t[]){w->n_pages, w->n_layers, 2, w->kv_heads, 64, w->dim});
    in.page_table = add_input(f, "pages", MICA_DTYPE_I32, MICA_LIVE_ALL, 2,
                              (int64_t[]){w->n_sequences, w->table_width});
    in.positions = add_input(f, "positions", MICA_DTYPE_I32, MICA_LIVE_TOKENS, 1, &t);
    in.token_sequence = add_input(f, "owners", MICA_DTYPE_I32, MICA_LIVE_TOKENS, 1, &t);
    in.sequences = add_input(f, "sequences", MICA_DTYPE_I32, MICA_LIVE_ALL, 2,
                             (int64_t[]){w->n_sequences, MICA_SEQUENCE_FIELDS});
    in.sinks = add_input(f, "sinks", MICA_DTYPE_F32, MICA_LIVE_ALL, 1, &w->heads);
    mica_attention_paged_params p = {
        .window = w->window, .layer = w->layer, .scale = w->scale, .soft_cap = w->soft_cap};
    mica_ref out[2];
    out[0] = mica_attention_paged(f->g, &in, &p);
    mica_kv_write_inputs kv = {in.pool,           in.k,         in.v,  in.page_table, in.positions,
                               in.token_sequence, in.sequences, out[0]};
    out[1] = mica_kv_write(f->g, &kv, &(mica_kv_write_params){.layer = w->layer});
    assert_ok(mica_graph_check(f->g, &err));
    mica_plan *plan = NULL;
    assert_ok(f->rt->plan_build(f->rt, f->g, out, 2, NULL, &plan, &err));
    assert_ok(mica_executable_create(f->rt, plan, &f->e, &err));
}

static mica_storage import(plan_fixture *f, void *data, size_t bytes) {
    mica_error err = {0};
    mica_storage s = {0};
    mica_device *d = f->rt->device;
    assert_ok(d->backend->buffer_import(d, data, bytes, NULL, NULL, &s.buffer, &err));
    f->buffers[f->n_buffers++] = s.buffer;
    return s;
}

static void bind(plan_fixture *f, const char *name, void *data, size_t bytes) {
    mica_error err = {0};
    assert_ok(mica_executable_bind_input(f->e, name, import(f, data, bytes), &err));
}

static void run_plan(plan_fixture *f, const paged_world *w, paged_batch *b) {
    mica_error err = {0};
    size_t t = (size_t)b->n_tokens + 5, q = t * (size_t)(w->heads * w->dim) * sizeof(float);
    size_t k = t * (size_t)(w->kv_heads * w->dim) * sizeof(float);
    bind(f, "batch.counts", b->counts, sizeof b->counts);
    bind(f, "q", b->q, q);
    bind(f, "k", b->k, k);
    bind(f, "v", b->v, k);
    bind(f, "pool", w->pool, paged_pool_bytes(w));
    bind(f, "pages", w->page_table, (size_t)(w->n_sequences * w->table_width) * 4);
    bind(f, "positions", b->positions, t * 4);
    bind(f, "owners", b->owners, t * 4);
    bind(f, "sequences", b->sequences, (size_t)w->n_sequences * MICA_SEQUENCE_FIELDS * 4);
    bind(f, "sinks", w->sinks, (size_t)w->heads * sizeof(float));
    assert_ok(mica_executable_bind_output(f->e, 0, import(f, b->out, q), &err));
    assert_ok(mica_executable_run(f->e, &err));
}

/* Two sequences at these pasts get more tokens. */
static void check_plan(const shape_case *c, const paged_part past[2], const paged_part now[2]) {
#if defined(__aarch64__)
    static const char *const levels[] = {"scalar", "neon"};
#else
    static const char *const levels[] = {"scalar", "avx2", "avx512"};
#endif
    uint64_t seed = test_seed();
    paged_world w = make_world(c, 2, &seed);
    size_t bytes = paged_pool_bytes(&w);
    uint8_t *want_pool = malloc(bytes);
    for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
        plan_fixture f = {0};
        mica_error err = {0};
        mica_runtime_options options = {.struct_bytes = sizeof options, .cpu_level = levels[l]};
        options.n_threads = 2;
        if (mica_runtime_open(&options, &f.rt, &err) != MICA_STATUS_OK) continue;
        assert_ok(mica_graph_create_internal(f.rt, true, &f.g, &err));
        size_t n;
        const mica_kernel *k = kernels(&n) + (n - 1 - l);
        paged_batch b, direct;
        paged_clear_pool(&w);
        paged_batch_create(&b, &w, past, 2);
        paged_write(writer(), &w, &b, 1);
        paged_batch_destroy(&b);
        uint8_t *before = malloc(bytes);
        memcpy(before, w.pool, bytes);
        paged_batch_create(&direct, &w, now, 2);
        paged_attend(k, &w, &direct, 1);
        paged_write(writer(), &w, &direct, 1);
        memcpy(want_pool, w.pool, bytes);
        memcpy(w.pool, before, bytes);
        paged_batch_create(&b, &w, now, 2);
        build_plan(&f, &w, &b);
        run_plan(&f, &w, &b);
        expect_same(k->name, b.out, direct.out, b.n_tokens * w.heads * w.dim);
        assert_memory_equal(w.pool, want_pool, bytes);
        mica_executable_destroy(&f.e);
        for (int i = 0; i < f.n_buffers; i++) mica_buffer_release(&f.buffers[i]);
        mica_graph_destroy(&f.g);
        mica_runtime_close(&f.rt);
        paged_batch_destroy(&b);
        paged_batch_destroy(&direct);
        free(before);
    }
    free(want_pool);
    paged_world_destroy(&w);
}

static void plans_read_before_they_write(void **state) {
    /* Proves: the two ops in a plan, attention first although both name the pool, give the bits of
     * the kernels called by hand, in results and pool, on each level; a ring is what would break.
     * Long histories take the plan's shared memory. */
    (void)state;
    static const shape_case long_case = {6, 2, 64, 700, 0, 0, MICA_DTYPE_BF16, true, 0};
    check_plan(&shape_cases[3], (paged_part[2]){{0, 0, 150}, {1, 0, 190}},
               (paged_part[2]){{1, 190, 200}, {0, 150, 1}});
    check_plan(&long_case, (paged_part[2]){{0, 0, 690}, {1, 0, 300}},
               (paged_part[2]){{1, 300, 2}, {0, 690, 1}});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_oracle_and_ignores_chunks),
        cmocka_unit_test(neighbours_and_threads_change_nothing),
        cmocka_unit_test(shared_histories_give_the_same_bits),
        cmocka_unit_test(later_tokens_do_not_reach_back),
        cmocka_unit_test(extreme_scores),
        cmocka_unit_test(plans_read_before_they_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
