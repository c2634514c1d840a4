/* Lazy arrays from the outside: nothing runs early, errors stick, slots are recycled, a transformer
 * layer can be written by hand. */
#include "test.h"
#include "base/alloc.h"
#include "core/graph.h"
#include "mica/ops.h"

static mica_runtime *open_runtime(const char *backend) {
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_runtime_options o = {.struct_bytes = sizeof o, .backend = backend, .n_threads = 2};
    assert_ok(mica_runtime_open(&o, &rt, &err));
    return rt;
}

static uint64_t steps_run(const mica_runtime *rt) {
    mica_runtime_stats stats;
    mica_runtime_get_stats(rt, &stats);
    return stats.n_steps;
}

/* Proves: building a graph launches nothing; eval launches one plan; a second eval or a read of a
 * computed array launches nothing more. */
static void nothing_runs_before_eval(void **state) {
    (void)state;
    const char *const backends[] = {"cpu", "null"};
    for (int b = 0; b < 2; b++) {
        mica_error err = {0};
        mica_runtime *rt = open_runtime(backends[b]);
        mica_graph *g = NULL;
        float data[6] = {1, 2, 3, 4, 5, 6}, out[2];
        mica_runtime_stats stats;
        assert_ok(mica_graph_create(rt, &g, &err));
        mica_array x = mica_array_from_data(g, MICA_DTYPE_F32, 2, (int64_t[]){2, 3}, data);
        mica_array y = mica_softmax(g, mica_add(g, mica_mul(g, x, x), mica_scalar(g, 1)));
        mica_array sum = mica_reduce(g, MICA_REDUCE_SUM, y, 1, false);
        assert_int_equal(steps_run(rt), 0);
        assert_ok(mica_eval(g, &sum, 1, &err));
        uint64_t n = steps_run(rt);
        assert_true(n >= 3);
        mica_runtime_get_stats(rt, &stats);
        assert_int_equal(stats.n_plans_built, 1);
        assert_int_equal(stats.n_runs, 1);
        assert_ok(mica_eval(g, &sum, 1, &err));
        assert_ok(mica_array_read(g, sum, out, sizeof out, &err));
        assert_int_equal(steps_run(rt), n);
        if (b == 0) assert_true(fabsf(out[0] - 1) < 1e-6f && fabsf(out[1] - 1) < 1e-6f);
        mica_graph_destroy(&g);
        mica_runtime_close(&rt);
    }
}

/* Proves: the first error stays, later ops do nothing, and eval reports it with both shapes. */
static void errors_stick(void **state) {
    (void)state;
    mica_error err = {0};
    mica_runtime *rt = open_runtime("cpu");
    mica_graph *g = NULL;
    float data[6] = {0};
    assert_ok(mica_graph_create(rt, &g, &err));
    mica_array a = mica_array_from_data(g, MICA_DTYPE_F32, 2, (int64_t[]){2, 3}, data);
    mica_array b = mica_array_from_data(g, MICA_DTYPE_F32, 1, (int64_t[]){2}, data);
    mica_array bad = mica_add(g, a, b);
    assert_int_equal(bad.node, 0);
    mica_array later = mica_softmax(g, mica_reshape(g, bad, 1, (int64_t[]){7}));
    assert_int_equal(mica_eval(g, &later, 1, &err), MICA_STATUS_INVALID);
    assert_non_null(strstr(err.message, "[2, 3]"));
    assert_non_null(strstr(err.message, "[2]"));
    assert_int_equal(mica_graph_check(g, NULL), MICA_STATUS_INVALID);
    mica_graph_destroy(&g);
    mica_runtime_close(&rt);
}

/* Proves: a loop that releases its temporaries runs in constant memory, and a handle that was
 * released is refused afterwards. */
static void slots_are_recycled(void **state) {
    (void)state;
    mica_error err = {0};
    mica_runtime *rt = open_runtime("cpu");
    mica_graph *g = NULL;
    float one = 1, out;
    assert_ok(mica_graph_create(rt, &g, &err));
    mica_array x = mica_array_from_data(g, MICA_DTYPE_F32, 0, NULL, &one);
    mica_array step = mica_scalar(g, 1);
    uint32_t n_nodes = 0;
    for (int i = 0; i < 200; i++) {
        mica_array next = mica_add(g, x, step);
        assert_ok(mica_eval(g, &next, 1, &err));
        mica_array_release(g, &x);
        x = next;
        if (i == 10) n_nodes = mica_graph_count(g);
    }
    assert_int_equal(mica_graph_count(g), n_nodes);
    assert_ok(mica_array_read(g, x, &out, sizeof out, &err));
    assert_true(out == 201.0f);
    mica_array stale = x;
    mica_array_release(g, &x);
    assert_int_equal(mica_eval(g, &stale, 1, &err), MICA_STATUS_INVALID);
    mica_graph_destroy(&g);
    mica_runtime_close(&rt);
}

static mica_array filled(mica_graph *g, uint64_t *seed, int rank, const int64_t *dims) {
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= dims[i];
    float *data = malloc((size_t)n * sizeof *data);
    for (int64_t i = 0; i < n; i++) data[i] = 0.3f * test_random_float(seed);
    mica_array a = mica_array_from_data(g, MICA_DTYPE_F32, rank, dims, data);
    free(data);
    return a;
}

/* Proves: a transformer block is written with public ops alone, and its fused attention and norms
 * equal the same block written in elementwise and matrix ops. */
static void a_transformer_block_by_hand(void **state) {
    (void)state;
    enum { T = 7, H = 4, KV = 2, D = 8, HIDDEN = H * D };
    uint64_t seed = test_seed();
    mica_error err = {0};
    mica_runtime *rt = open_runtime("cpu");
    mica_graph *g = NULL;
    assert_ok(mica_graph_create(rt, &g, &err));
    mica_array x = filled(g, &seed, 2, (int64_t[]){T, HIDDEN});
    mica_array norm = filled(g, &seed, 1, (int64_t[]){HIDDEN});
    mica_array wq = filled(g, &seed, 2, (int64_t[]){H * D, HIDDEN});
    mica_array wk = filled(g, &seed, 2, (int64_t[]){KV * D, HIDDEN});
    mica_array wv = filled(g, &seed, 2, (int64_t[]){KV * D, HIDDEN});
    mica_array h = mica_rms_norm(g, x, norm, 1e-5f, 0);
    mica_array q = mica_reshape(g, mica_linear(g, h, wq, (mica_array){0}), 3, (int64_t[]){T, H, D});
    mica_array k =
        mica_reshape(g, mica_linear(g, h, wk, (mica_array){0}), 3, (int64_t[]){T, KV, D});
    mica_array v =
        mica_reshape(g, mica_linear(g, h, wv, (mica_array){0}), 3, (int64_t[]){T, KV, D});
    mica_array fused = mica_attention(g, q, k, v, (mica_array){0}, (mica_array){0},
                                      (mica_attention_options){.causal = true});
    /* The same by hand: scores [H, T, T], a mask of positions, softmax, values. */
    mica_array mean = mica_reduce(g, MICA_REDUCE_MEAN, mica_mul(g, x, x), 1, true);
    mica_array root = mica_unary(g, MICA_UNARY_RSQRT, mica_add(g, mean, mica_scalar(g, 1e-5f)));
    mica_array h2 = mica_mul(g, mica_mul(g, x, root), norm);
    mica_array q2 = mica_matmul(g, h2, mica_transpose(g, wq));
    mica_array k2 = mica_matmul(g, h2, mica_transpose(g, wk));
    mica_array v2 = mica_matmul(g, h2, mica_transpose(g, wv));
    int order[3] = {1, 0, 2};
    q2 = mica_permute(g, mica_reshape(g, q2, 3, (int64_t[]){T, H, D}), order);
    q2 = mica_reshape(g, q2, 4, (int64_t[]){KV, H / KV, T, D});
    k2 = mica_permute(g, mica_reshape(g, k2, 3, (int64_t[]){T, KV, D}), order);
    k2 = mica_reshape(g, k2, 4, (int64_t[]){KV, 1, T, D});
    v2 = mica_permute(g, mica_reshape(g, v2, 3, (int64_t[]){T, KV, D}), order);
    v2 = mica_reshape(g, v2, 4, (int64_t[]){KV, 1, T, D});
    mica_array scores =
        mica_mul(g, mica_matmul(g, q2, mica_transpose(g, k2)), mica_scalar(g, 1.0f / sqrtf(D)));
    mica_array rows =
        mica_reshape(g, mica_arange(g, MICA_DTYPE_F32, T, 0, 1), 2, (int64_t[]){T, 1});
    mica_array columns = mica_arange(g, MICA_DTYPE_F32, T, 0, 1);
    mica_array sees = mica_binary(g, MICA_BINARY_LESS_EQUAL, columns, rows);
    mica_array low = mica_full(g, MICA_DTYPE_F32, 1, (int64_t[]){1}, -INFINITY);
    mica_array shares = mica_softmax(g, mica_select(g, sees, scores, low));
    mica_array mixed = mica_reshape(g, mica_matmul(g, shares, v2), 3, (int64_t[]){H, T, D});
    mica_array plain = mica_permute(g, mica_contiguous(g, mixed), order);
    mica_array both[2] = {fused, plain};
    float a[T * H * D], b[T * H * D];
    assert_ok(mica_eval(g, both, 2, &err));
    assert_ok(mica_array_read(g, fused, a, sizeof a, &err));
    assert_ok(mica_array_read(g, plain, b, sizeof b, &err));
    for (int i = 0; i < T * H * D; i++) assert_true(fabsf(a[i] - b[i]) < 2e-5f);
    mica_graph_destroy(&g);
    mica_runtime_close(&rt);
}

/* Proves: every allocation of a build and an eval may fail: a status, no leak. */
static void eval_survives_out_of_memory(void **state) {
    (void)state;
    for (int64_t n = 1;; n++) {
        mica_error err = {0};
        mica_alloc_counter c;
        mica_alloc_counter_init(&c, mica_allocator_default());
        c.fail_at = n;
        mica_runtime_options o = {
            .struct_bytes = sizeof o, .allocator = &c.allocator, .n_threads = 1};
        mica_runtime *rt = NULL;
        mica_graph *g = NULL;
        float data[6] = {1, 2, 3, 4, 5, 6}, out[6];
        mica_status st = mica_runtime_open(&o, &rt, &err);
        if (!st) st = mica_graph_create(rt, &g, &err);
        if (!st) {
            mica_array x = mica_array_from_data(g, MICA_DTYPE_F32, 2, (int64_t[]){2, 3}, data);
            mica_array y = mica_softmax(g, mica_add(g, mica_transpose(g, x), mica_scalar(g, 1)));
            st = mica_array_read(g, y, out, sizeof out, &err);
            mica_graph_destroy(&g);
        }
        if (rt) mica_runtime_close(&rt);
        assert_int_equal(c.n_live, 0);
        if (c.n_calls < n) {
            assert_int_equal(st, MICA_STATUS_OK);
            return;
        }
        assert_int_equal(st, MICA_STATUS_OUT_OF_MEMORY);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_runs_before_eval),
        cmocka_unit_test(errors_stick),
        cmocka_unit_test(slots_are_recycled),
        cmocka_unit_test(a_transformer_block_by_hand),
        cmocka_unit_test(eval_survives_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
