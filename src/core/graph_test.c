/* The graph from its public side: handles, lifetimes, the memory behind views, and calls with
 * nonsense, none of which may do worse than an error. */
#include "core/graph.h"
#include "test.h"
#include "base/alloc.h"
#include "core/runtime.h"
#include "mica/ops.h"

#define BLOCK_MAX ((size_t)64 << 20) /* larger allocations of a hostile call fail */

typedef struct graph_case {
    mica_alloc_counter counter;
    mica_runtime *runtime;
    mica_graph *graph;
    mica_error err;
} graph_case;

static void *allocate_some(void *context, size_t bytes, size_t alignment) {
    (void)context;
    if (bytes > BLOCK_MAX) return NULL;
    return mica_allocator_system.allocate(NULL, bytes, alignment);
}

static void open_case(graph_case *c) {
    mica_error err = {0};
    static mica_allocator parent;
    parent = mica_allocator_system;
    parent.allocate = allocate_some;
    mica_alloc_counter_init(&c->counter, &parent);
    mica_runtime_options o = {.struct_bytes = sizeof o, .n_threads = 2};
    o.allocator = &c->counter.allocator;
    c->runtime = NULL;
    c->graph = NULL;
    assert_ok(mica_runtime_open(&o, &c->runtime, &err));
    assert_ok(mica_graph_create(c->runtime, &c->graph, &err));
}

static void new_graph(graph_case *c) {
    mica_error err = {0};
    mica_graph_destroy(&c->graph);
    assert_ok(mica_graph_create(c->runtime, &c->graph, &err));
}

static void close_case(graph_case *c) {
    mica_graph_destroy(&c->graph);
    assert_null(c->graph);
    mica_runtime_close(&c->runtime);
    assert_int_equal(c->counter.n_live, 0);
}

/* ---- handles ---- */

/* Proves: a stale, foreign or null handle is refused, and asking about it gives nothing. */
static void handles_are_checked(void **state) {
    (void)state;
    graph_case c;
    open_case(&c);
    mica_array x = mica_scalar(c.graph, 1), stale = x;
    mica_array_release(c.graph, &x);
    assert_int_equal(x.node, 0);
    mica_array_release(c.graph, &x); /* null: nothing */
    mica_array again = stale;
    mica_array_release(c.graph, &again); /* a second time: nothing */
    const mica_array wrong[] = {stale, {0, 7}, {1u << 30, 0}, {UINT32_MAX, UINT32_MAX}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(mica_array_dtype(c.graph, wrong[i]), MICA_DTYPE_NONE);
        assert_int_equal(mica_array_rank(c.graph, wrong[i]), 0);
        assert_int_equal(mica_array_count(c.graph, wrong[i]), 0);
        assert_int_equal(mica_array_dim(c.graph, wrong[i], 0), 0);
        mica_array copy = wrong[i];
        mica_array_release(c.graph, &copy);
        assert_int_equal(mica_graph_check(c.graph, NULL), MICA_STATUS_OK);
    }
    mica_array fresh = mica_scalar(c.graph, 2); /* takes the slot of the released one */
    assert_int_equal(fresh.node, stale.node);
    assert_int_not_equal(fresh.generation, stale.generation);
    for (size_t i = 0; i < 4; i++) {
        new_graph(&c);
        mica_array old = mica_scalar(c.graph, 2);
        mica_array_release(c.graph, &old);
        assert_int_equal(mica_unary(c.graph, MICA_UNARY_ABS, wrong[i]).node, 0);
        assert_int_equal(mica_graph_check(c.graph, &c.err), MICA_STATUS_INVALID);
    }
    close_case(&c);
}

/* Proves: dims by axis, from either end; axes out of range give 0. */
static void dims_by_axis(void **state) {
    (void)state;
    graph_case c;
    open_case(&c);
    float data[6] = {0};
    mica_array x = mica_array_from_data(c.graph, MICA_DTYPE_F32, 2, (int64_t[]){2, 3}, data);
    const struct {
        int axis, want;
    } axes[] = {{0, 2}, {1, 3}, {-1, 3}, {-2, 2}, {2, 0}, {-3, 0}, {INT32_MIN, 0}, {INT32_MAX, 0}};
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(mica_array_dim(c.graph, x, axes[i].axis), axes[i].want);
    close_case(&c);
}

/* Proves: a slot whose generations are used up is not given out again, so that no old handle fits a
 * new node; and handles past what can be counted keep their node for ever. */
static void counters_do_not_wrap(void **state) {
    (void)state;
    graph_case c;
    open_case(&c);
    mica_array x = mica_scalar(c.graph, 1);
    mica_graph_node(c.graph, x.node)->generation = UINT32_MAX;
    x.generation = UINT32_MAX;
    mica_array last = x;
    mica_array_release(c.graph, &x);
    for (int i = 0; i < 3; i++) assert_int_not_equal(mica_scalar(c.graph, 2).node, last.node);
    assert_int_equal(mica_array_dtype(c.graph, (mica_array){last.node, 0}), MICA_DTYPE_NONE);
    mica_array y = mica_scalar(c.graph, 3);
    mica_graph_node(c.graph, y.node)->n_handles = UINT32_MAX - 1;
    mica_array copies[3];
    for (int i = 0; i < 3; i++) copies[i] = mica_array_retain(c.graph, y);
    for (int i = 0; i < 3; i++) mica_array_release(c.graph, &copies[i]);
    mica_array_release(c.graph, &y);
    assert_int_equal(mica_array_dtype(c.graph, (mica_array){4, 0}), MICA_DTYPE_F32);
    close_case(&c);
}

/* Proves: released inputs live as long as what was made from them, and go with it, views included.
 */
static void users_keep_inputs(void **state) {
    (void)state;
    graph_case c;
    float data[6] = {1, 2, 3, 4, 5, 6}, out[6];
    mica_error err = {0};
    open_case(&c);
    int64_t before = c.counter.n_live;
    uint32_t n_nodes = 0;
    for (int i = 0; i < 5; i++) {
        mica_array x = mica_array_from_data(c.graph, MICA_DTYPE_F32, 2, (int64_t[]){2, 3}, data);
        mica_array t = mica_transpose(c.graph, x);
        mica_array s = mica_slice_axis(c.graph, t, 0, 1, 3, 1);
        mica_array y = mica_add(c.graph, s, s);
        mica_array_release(c.graph, &x);
        mica_array_release(c.graph, &t);
        mica_array_release(c.graph, &s);
        if (i % 2)
            assert_ok(mica_array_read(c.graph, y, out, 16, &err));
        else
            assert_ok(mica_eval(c.graph, (mica_array[]){y, y, y}, 3, &err));
        if (i % 2) assert_true(out[0] == 4 && out[1] == 10 && out[2] == 6 && out[3] == 12);
        mica_array_release(c.graph, &y);
        if (i == 0) n_nodes = mica_graph_count(c.graph);
    }
    assert_int_equal(mica_graph_count(c.graph), n_nodes);
    /* All that is left: at most the arena and scratch of the runtime. */
    mica_runtime_trim(c.runtime);
    assert_int_equal(c.counter.n_live, before);
    close_case(&c);
}

/* ---- memory of the caller ---- */

static void count_release(void *context, const void *host) {
    (void)host;
    ++*(int *)context;
}

/* Proves: viewed memory is let go once, when nothing needs it any more, or at once where no array
 * came to be. */
static void views_of_memory(void **state) {
    (void)state;
    graph_case c;
    mica_error err = {0};
    _Alignas(8) float data[4] = {1, 2, 3, 4};
    float out[2];
    int n = 0;
    open_case(&c);
    mica_array x =
        mica_array_view(c.graph, MICA_DTYPE_F32, 1, (int64_t[]){4}, data, count_release, &n);
    mica_array y = mica_slice_axis(c.graph, x, 0, 3, INT64_MIN, -2);
    mica_array_release(c.graph, &x);
    assert_ok(mica_array_read(c.graph, y, out, sizeof out, &err));
    assert_true(out[0] == 4 && out[1] == 2);
    assert_int_equal(n, 0);
    mica_array_release(c.graph, &y);
    assert_int_equal(n, 1);
    mica_array_view(c.graph, MICA_DTYPE_F32, 1, (int64_t[]){4}, data, count_release, &n);
    mica_graph_destroy(&c.graph);
    assert_int_equal(n, 2);
    const struct {
        mica_dtype dtype;
        int rank;
        int64_t dim;
        const void *data;
    } wrong[] = {
        {MICA_DTYPE_F32, 1, -4, data},
        {MICA_DTYPE_F32, 9, 4, data},
        {MICA_DTYPE_NONE, 1, 4, data},
        {(mica_dtype)99, 1, 4, data},
        {MICA_DTYPE_F32, 1, 4, NULL},
        {MICA_DTYPE_F32, 1, 1, data}, /* right, but the graph has failed */
    };
    for (int i = 0; i < 6; i++) {
        new_graph(&c);
        if (i == 5) mica_graph_fail(c.graph, MICA_STATUS_INVALID, "before");
        int64_t dims[9] = {wrong[i].dim, 1, 1, 1, 1, 1, 1, 1, 1};
        n = 0;
        assert_int_equal(mica_array_view(c.graph, wrong[i].dtype, wrong[i].rank, dims,
                                         wrong[i].data, count_release, &n)
                             .node,
                         0);
        assert_int_equal(n, 1);
        assert_int_equal(mica_graph_check(c.graph, NULL), MICA_STATUS_INVALID);
    }
    /* Data at an odd address are copied: release comes at once, the elements are right. */
    new_graph(&c);
    char odd[12] = {0};
    memcpy(odd + 1, data, 8);
    n = 0;
    mica_array copied =
        mica_array_view(c.graph, MICA_DTYPE_F32, 1, (int64_t[]){2}, odd + 1, count_release, &n);
    assert_int_equal(n, 1);
    float back[2];
    assert_int_equal(mica_array_read(c.graph, copied, back, sizeof back, NULL), MICA_STATUS_OK);
    assert_memory_equal(back, data, sizeof back);
    close_case(&c);
}

/* Proves: quantised views with a part missing, unaligned or of a wrong type are refused. */
static void quantized_views(void **state) {
    (void)state;
    graph_case c;
    _Alignas(8) uint8_t codes[64] = {0}, scales[64] = {0};
    const mica_quant affine = {MICA_QUANT_AFFINE, 4, 32, MICA_DTYPE_F16};
    const mica_quant fp4 = {MICA_QUANT_MXFP4, 4, 32, MICA_DTYPE_U8};
    const struct {
        mica_quant q;
        int64_t k;
        const void *codes, *scales, *biases;
        bool is_right;
    } cases[] = {
        {affine, 64, codes, scales, scales + 32, true},
        {fp4, 64, codes, scales, NULL, true},
        {fp4, 64, codes + 1, scales + 1, NULL, true}, /* bytes may lie anywhere */
        {fp4, 0, NULL, NULL, NULL, true},
        {affine, 64, codes, scales, NULL, false},
        {affine, 64, codes, NULL, scales, false},
        {affine, 64, codes + 2, scales, scales, false},
        {affine, 64, codes, scales + 1, scales, false},
        {affine, 48, codes, scales, scales, false},
        {fp4, 64, codes, NULL, NULL, false},
        {fp4, -64, codes, scales, NULL, false},
        {{0}, 64, codes, scales, NULL, false},
        {{9, 4, 32, MICA_DTYPE_U8}, 64, codes, scales, NULL, false},
        {{MICA_QUANT_MXFP4, 4, 0, MICA_DTYPE_U8}, 64, codes, scales, NULL, false},
    };
    open_case(&c);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        new_graph(&c);
        mica_array a = mica_array_view_quantized(c.graph, cases[i].q, 1, &cases[i].k,
                                                 cases[i].codes, cases[i].scales, cases[i].biases);
        if ((a.node != 0) != cases[i].is_right) fail_msg("case %zu", i);
        if (!a.node) continue;
        char out[256];
        assert_int_equal(mica_array_read(c.graph, a, out, 128, &c.err), MICA_STATUS_INVALID);
        mica_array plain = mica_dequantize(c.graph, a, MICA_DTYPE_BF16);
        assert_int_equal(mica_array_read(c.graph, plain, out, (size_t)cases[i].k * 2, &c.err), 0);
    }
    close_case(&c);
}

/* ---- eval ---- */

/* Proves: equal expressions, views and inputs asked for together each have their elements; arrays
 * without elements work; a read of the wrong size is refused. */
static void eval_of_many(void **state) {
    (void)state;
    graph_case c;
    mica_error err = {0};
    float data[4] = {1, 2, 3, 4}, out[4];
    open_case(&c);
    mica_graph *g = c.graph;
    mica_array x = mica_array_from_data(g, MICA_DTYPE_F32, 2, (int64_t[]){2, 2}, data);
    mica_array none = mica_array_from_data(g, MICA_DTYPE_F32, 2, (int64_t[]){0, 2}, NULL);
    mica_array all[] = {
        mica_add(g, x, x),
        mica_add(g, x, x),
        mica_mul(g, x, mica_scalar(g, 1)),
        x,
        mica_transpose(g, mica_add(g, x, x)),
        mica_cast(g, mica_cast(g, x, MICA_DTYPE_F32), MICA_DTYPE_F32),
    };
    const float want[6][4] = {{2, 4, 6, 8}, {2, 4, 6, 8}, {1, 2, 3, 4},
                              {1, 2, 3, 4}, {2, 6, 4, 8}, {1, 2, 3, 4}};
    assert_ok(mica_eval(g, all, 6, &err));
    for (int i = 0; i < 6; i++) {
        assert_ok(mica_array_read(g, all[i], out, sizeof out, &err));
        for (int j = 0; j < 4; j++)
            if (out[j] != want[i][j]) fail_msg("array %d, element %d: %g", i, j, (double)out[j]);
    }
    mica_array empty[] = {mica_add(g, none, none), mica_concat(g, (mica_array[]){none, none}, 2, 0),
                          mica_softmax(g, none), mica_transpose(g, none)};
    assert_ok(mica_eval(g, empty, 4, &err));
    for (int i = 0; i < 4; i++) assert_ok(mica_array_read(g, empty[i], NULL, 0, &err));
    mica_array sum = mica_reduce(g, MICA_REDUCE_SUM, none, 0, false);
    assert_ok(mica_array_read(g, sum, out, 8, &err));
    assert_true(out[0] == 0 && out[1] == 0);
    assert_int_equal(mica_array_read(g, x, out, 15, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_array_read(g, x, out, SIZE_MAX, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_array_read(g, x, NULL, 16, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_eval(g, NULL, 1, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_eval(g, all, SIZE_MAX, &err), MICA_STATUS_LIMIT);
    assert_ok(mica_eval(g, NULL, 0, &err));
    assert_int_equal(mica_eval(NULL, all, 1, &err), MICA_STATUS_INVALID);
    assert_ok(mica_graph_check(g, &err)); /* a wrong call is no error of the graph */
    close_case(&c);
}

/* Proves: two runtimes in one process do not know of each other. */
static void two_runtimes(void **state) {
    (void)state;
    graph_case a, b;
    mica_error err = {0};
    mica_runtime_stats stats;
    float out;
    open_case(&a);
    open_case(&b);
    mica_array x = mica_scalar(a.graph, 2), y = mica_scalar(b.graph, 3);
    x = mica_mul(a.graph, x, x);
    y = mica_mul(b.graph, y, y);
    assert_ok(mica_array_read(b.graph, y, &out, sizeof out, &err));
    assert_true(out == 9);
    mica_runtime_get_stats(a.runtime, &stats);
    assert_int_equal(stats.n_runs, 0);
    close_case(&b);
    assert_ok(mica_array_read(a.graph, x, &out, sizeof out, &err));
    assert_true(out == 4);
    close_case(&a);
}

/* ---- nonsense ---- */

typedef struct chaos {
    mica_graph *g;
    uint64_t seed;
    mica_array pool[12];
} chaos;

static uint64_t pick(chaos *c, uint64_t n) { return test_random(&c->seed) % n; }

static mica_array pick_array(chaos *c) {
    if (pick(c, 40) == 0) return (mica_array){(uint32_t)pick(c, 30), (uint32_t)pick(c, 3)};
    return c->pool[pick(c, 12)];
}

static int64_t pick_int(chaos *c) {
    static const int64_t odd[] = {
        -1, -2, INT64_MIN, INT64_MAX, INT32_MIN, INT32_MAX, INT64_C(1) << 49, 255, 1 << 20};
    return pick(c, 8) == 0 ? odd[pick(c, 9)] : (int64_t)pick(c, 7);
}

static int pick_small(chaos *c) { return (int)pick_int(c); }

static float pick_float(chaos *c) {
    static const float odd[] = {0, -1, INFINITY, -INFINITY, NAN, 1e-38f, 1e38f, 1e-5f};
    return odd[pick(c, 8)];
}

static int pick_dims(chaos *c, int64_t dims[MICA_RANK_MAX]) {
    int rank = pick(c, 12) == 0 ? pick_small(c) : (int)pick(c, 4);
    for (int i = 0; i < MICA_RANK_MAX; i++) dims[i] = pick_int(c);
    return rank;
}

static mica_array make_data(chaos *c) {
    static _Alignas(64) uint8_t bytes[4096 * 8];
    int64_t dims[MICA_RANK_MAX];
    static const int64_t sizes[] = {1, 2, 2, 2, 3, 4};
    int rank = (int)pick(c, 4);
    mica_dtype dtype = (mica_dtype)(1 + pick(c, MICA_DTYPE_COUNT_ - 1));
    for (int i = 0; i < MICA_RANK_MAX; i++) dims[i] = pick(c, 9) ? sizes[pick(c, 6)] : 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = dtype == MICA_DTYPE_BOOL ? (uint8_t)pick(c, 2) : (uint8_t)pick(c, 256);
    if (pick(c, 4) == 0) return mica_array_from_data(c->g, dtype, rank, dims, bytes);
    static const mica_quant quants[] = {{MICA_QUANT_MXFP4, 4, 32, MICA_DTYPE_U8},
                                        {MICA_QUANT_AFFINE, 3, 32, MICA_DTYPE_BF16},
                                        {MICA_QUANT_NVFP4, 4, 16, MICA_DTYPE_U8}};
    if (pick(c, 4)) return mica_array_from_data(c->g, MICA_DTYPE_F32, rank, dims, bytes);
    dims[rank] = 32 * (1 + (int64_t)pick(c, 3));
    return mica_array_view_quantized(c->g, quants[pick(c, 3)], rank + 1, dims, bytes, bytes, bytes);
}

static mica_array call_shapes(chaos *c) {
    int64_t dims[MICA_RANK_MAX];
    int order[MICA_RANK_MAX], rank = pick_dims(c, dims);
    mica_array x = pick_array(c), list[14];
    for (int i = 0; i < MICA_RANK_MAX; i++) order[i] = pick_small(c);
    for (int i = 0; i < 14; i++) list[i] = pick_array(c);
    switch (pick(c, 8)) {
    case 0:
        return mica_reshape(c->g, x, rank, dims);
    case 1:
        return mica_permute(c->g, x, order);
    case 2:
        return mica_transpose(c->g, x);
    case 3:
        return mica_slice_axis(c->g, x, pick_small(c), dims[0], dims[1], dims[2]);
    case 4:
        return mica_broadcast_to(c->g, x, rank, dims);
    case 5:
        return mica_concat(c->g, list, (int)pick(c, 15) - 1, pick_small(c));
    case 6:
        return mica_full(c->g, (mica_dtype)pick_small(c), rank, dims, (double)pick_float(c));
    default:
        return mica_arange(c->g, (mica_dtype)pick_small(c), pick_int(c), (double)pick_float(c),
                           (double)pick_float(c));
    }
}

static mica_array call_elements(chaos *c) {
    mica_array x = pick_array(c), y = pick_array(c), z = pick_array(c);
    switch (pick(c, 9)) {
    case 0:
        return mica_cast(c->g, x, (mica_dtype)pick_small(c));
    case 1:
        return mica_contiguous(c->g, x);
    case 2:
        return mica_unary(c->g, (mica_unary_kind)pick(c, MICA_UNARY_COUNT_ + 2), x);
    case 3:
        return mica_binary(c->g, (mica_binary_kind)pick(c, MICA_BINARY_COUNT_ + 2), x, y);
    case 4:
        return mica_select(c->g, x, y, z);
    case 5:
        return mica_reduce(c->g, (mica_reduce_kind)pick(c, MICA_REDUCE_COUNT_ + 2), x,
                           pick_small(c), pick(c, 2));
    case 6:
        return mica_gather(c->g, x, y, (mica_dtype)pick_small(c));
    case 7:
        return mica_take_along(c->g, x, y);
    default:
        return mica_top_k(c->g, x, pick_small(c));
    }
}

static mica_array call_layers(chaos *c) {
    mica_array a[5], none = {0};
    for (int i = 0; i < 5; i++) a[i] = pick(c, 4) ? pick_array(c) : none;
    mica_quant q = {(uint8_t)pick(c, 6), (uint8_t)pick(c, 9), (uint16_t)(16u << pick(c, 4)),
                    (uint8_t)pick(c, MICA_DTYPE_COUNT_ + 1)};
    mica_glu_options glu = {(mica_glu_kind)pick(c, 6), pick(c, 2), pick_float(c), pick_float(c)};
    mica_attention_options attention = {pick_float(c), pick(c, 2), pick_int(c), pick_float(c)};
    switch (pick(c, 12)) {
    case 0:
        return mica_matmul(c->g, a[0], a[1]);
    case 1:
        return mica_linear(c->g, a[0], a[1], a[2]);
    case 2:
        return mica_linear_experts(c->g, a[0], a[1], a[2], a[3]);
    case 3:
        return mica_combine(c->g, a[0], a[1]);
    case 4:
        return mica_quantize(c->g, a[0], q);
    case 5:
        return mica_dequantize(c->g, a[0], (mica_dtype)pick_small(c));
    case 6:
        return mica_softmax(c->g, a[0]);
    case 7:
        return mica_rms_norm(c->g, a[0], a[1], pick_float(c), pick_float(c));
    case 8:
        return mica_layer_norm(c->g, a[0], a[1], a[2], pick_float(c));
    case 9:
        if (pick(c, 2))
            return mica_rope_tables(c->g, a[0], a[1], a[2], a[3], pick_float(c), pick(c, 2));
        return mica_rope(c->g, a[0], a[1], a[2], pick_float(c), pick(c, 2));
    case 10:
        return mica_glu(c->g, a[0], glu);
    default:
        return mica_attention(c->g, a[0], a[1], a[2], a[3], a[4], attention);
    }
}

/* A graph of random calls on random arrays, until one sticks; what came to be is evaluated. */
static int run_chaos(graph_case *k, chaos *c) {
    int n_right = 0;
    new_graph(k);
    c->g = k->graph;
    for (int i = 0; i < 12; i++) c->pool[i] = make_data(c);
    assert_int_equal(mica_graph_check(c->g, &k->err), MICA_STATUS_OK);
    for (int i = 0; i < 12; i++) {
        uint64_t family = pick(c, 3);
        mica_array x = family == 0   ? call_shapes(c)
                       : family == 1 ? call_elements(c)
                                     : call_layers(c);
        if (mica_graph_check(c->g, &k->err) != MICA_STATUS_OK) {
            assert_int_equal(x.node, 0);
            assert_true(k->err.status == MICA_STATUS_INVALID ||
                        k->err.status == MICA_STATUS_LIMIT ||
                        k->err.status == MICA_STATUS_UNSUPPORTED ||
                        k->err.status == MICA_STATUS_OUT_OF_MEMORY);
            assert_true(k->err.message[0] && !strchr(k->err.message, '\n'));
            break;
        }
        if (mica_array_count(c->g, x) > 1 << 20) continue; /* right, but not worth the time */
        mica_status st = mica_eval(c->g, &x, 1, &k->err);
        if (st != MICA_STATUS_OK && st != MICA_STATUS_OUT_OF_MEMORY && st != MICA_STATUS_LIMIT)
            fail_msg("eval: %s: %s", mica_status_name(st), k->err.message);
        n_right++;
        if (pick(c, 3))
            c->pool[pick(c, 12)] = x;
        else
            mica_array_release(c->g, &x);
    }
    return n_right;
}

/* Proves: ops called with nonsense give an error of the graph or an array that can be evaluated;
 * nothing crashes, nothing leaks. */
static void ops_with_nonsense(void **state) {
    (void)state;
    graph_case k;
    chaos c = {.seed = test_seed()};
    int n_graphs = getenv("MICA_SOAK") ? 200000 : 4000, n_right = 0;
    open_case(&k);
    for (int i = 0; i < n_graphs; i++) n_right += run_chaos(&k, &c);
    printf("%d arrays of %d graphs were right\n", n_right, n_graphs);
    assert_true(n_right > n_graphs / 8);
    close_case(&k);
}

/* Proves: calls without a graph, a runtime or a place for the result do nothing. */
static void null_arguments(void **state) {
    (void)state;
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_graph *g = NULL;
    mica_array x = {1, 0};
    float out;
    assert_int_equal(mica_runtime_open(NULL, NULL, &err), MICA_STATUS_INVALID);
    mica_runtime_options o = {.struct_bytes = sizeof o, .n_threads = -1};
    assert_int_equal(mica_runtime_open(&o, &rt, NULL), MICA_STATUS_INVALID);
    o.n_threads = INT32_MAX;
    assert_int_equal(mica_runtime_open(&o, &rt, &err), MICA_STATUS_INVALID);
    o.n_threads = 1;
    o.backend = "tpu";
    assert_int_equal(mica_runtime_open(&o, &rt, &err), MICA_STATUS_UNAVAILABLE);
    o.backend = NULL;
    o.cpu_level = "mmx";
    assert_int_equal(mica_runtime_open(&o, &rt, &err), MICA_STATUS_INVALID);
    o.cpu_level = NULL;
    char names[4096];
    memset(names, 'n', sizeof names - 1);
    names[sizeof names - 1] = 0;
    o.no_pass = names;
    assert_int_equal(mica_runtime_open(&o, &rt, &err), MICA_STATUS_LIMIT);
    o.no_pass = NULL;
    mica_allocator half = {.allocate = mica_allocator_system.allocate};
    o.allocator = &half;
    assert_int_equal(mica_runtime_open(&o, &rt, &err), MICA_STATUS_INVALID);
    assert_null(rt);
    mica_runtime_close(&rt);
    mica_runtime_close(NULL);
    assert_int_equal(mica_graph_create(NULL, &g, &err), MICA_STATUS_INVALID);
    mica_graph_destroy(&g);
    mica_graph_destroy(NULL);
    assert_int_equal(mica_graph_check(NULL, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_array_retain(NULL, x).node, 0);
    mica_array_release(NULL, &x);
    assert_int_equal(mica_scalar(NULL, 1).node, 0);
    assert_int_equal(mica_array_count(NULL, x), 0);
    assert_int_equal(mica_array_read(NULL, x, &out, sizeof out, &err), MICA_STATUS_INVALID);
    /* Options of an older caller: only what struct_bytes covers is read. */
    o = (mica_runtime_options){.n_threads = INT32_MAX, .backend = "tpu"};
    o.struct_bytes = offsetof(mica_runtime_options, n_threads);
    assert_ok(mica_runtime_open(&o, &rt, &err));
    mica_runtime_close(&rt);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handles_are_checked),  cmocka_unit_test(dims_by_axis),
        cmocka_unit_test(counters_do_not_wrap), cmocka_unit_test(users_keep_inputs),
        cmocka_unit_test(views_of_memory),      cmocka_unit_test(quantized_views),
        cmocka_unit_test(eval_of_many),         cmocka_unit_test(two_runtimes),
        cmocka_unit_test(ops_with_nonsense),    cmocka_unit_test(null_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
