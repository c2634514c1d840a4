#include "test.h"
#include "mica/ops.h"

/* Random graphs evaluated with all passes and without the optional ones give the same bits:
 * merging, reordering and sharing memory are invisible. */

#define NODES_MAX 60
#define OUTPUTS 3
#define ELEMENTS_MAX 20000

typedef struct random_graph {
    mica_graph *graph;
    mica_array arrays[NODES_MAX];
    int n;
    uint64_t seed;
} random_graph;

static int64_t below(random_graph *r, int64_t n) {
    return (int64_t)(test_random(&r->seed) % (uint64_t)n);
}

static mica_array pick(random_graph *r) {
    /* mostly recent ones, so that chains grow */
    int64_t back = below(r, 3) ? below(r, r->n < 5 ? r->n : 5) : below(r, r->n);
    return r->arrays[r->n - 1 - back];
}

static mica_array make_leaf(random_graph *r) {
    float data[6 * 6 * 6];
    int64_t dims[3], count = 1;
    int rank = (int)below(r, 4);
    for (int i = 0; i < rank; i++) count *= dims[i] = below(r, 6) + 1;
    for (int64_t i = 0; i < count; i++) {
        data[i] = test_random_float(&r->seed) * 2;
        if (below(r, 8) == 0) data[i] = below(r, 2) ? 0.0f : -0.0f;
    }
    return mica_array_from_data(r->graph, MICA_DTYPE_F32, rank, dims, data);
}

static mica_array make_scalar(random_graph *r) {
    static const float values[] = {1.0f, 0.0f, -0.0f, 2.0f, 1.0f};
    return mica_scalar(r->graph, values[below(r, 5)]);
}

static bool do_fit(const random_graph *r, mica_array a, mica_array b) {
    int ra = mica_array_rank(r->graph, a), rb = mica_array_rank(r->graph, b);
    for (int i = 1; i <= ra && i <= rb; i++) {
        int64_t da = mica_array_dim(r->graph, a, -i), db = mica_array_dim(r->graph, b, -i);
        if (da != db && da != 1 && db != 1) return false;
    }
    return mica_array_count(r->graph, a) * mica_array_count(r->graph, b) <= ELEMENTS_MAX * 20;
}

static mica_array make_binary(random_graph *r, mica_array a) {
    static const mica_binary_kind kinds[] = {MICA_BINARY_ADD, MICA_BINARY_SUB, MICA_BINARY_MUL,
                                             MICA_BINARY_DIV, MICA_BINARY_MAX};
    mica_array b = below(r, 3) ? pick(r) : make_scalar(r);
    if (!do_fit(r, a, b)) b = below(r, 2) ? a : make_scalar(r);
    bool swaps = below(r, 2);
    return mica_binary(r->graph, kinds[below(r, 5)], swaps ? b : a, swaps ? a : b);
}

static mica_array make_unary(random_graph *r, mica_array a) {
    static const mica_unary_kind kinds[] = {MICA_UNARY_NEGATE, MICA_UNARY_ABS,  MICA_UNARY_SQUARE,
                                            MICA_UNARY_TANH,   MICA_UNARY_RELU, MICA_UNARY_SIGMOID};
    return mica_unary(r->graph, kinds[below(r, 6)], a);
}

static mica_array make_permute(random_graph *r, mica_array a) {
    int order[MICA_RANK_MAX], rank = mica_array_rank(r->graph, a);
    for (int i = 0; i < rank; i++) order[i] = i;
    for (int i = rank - 1; i > 0; i--) {
        int j = (int)below(r, i + 1), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    return mica_permute(r->graph, a, order);
}

/* To one or two axes, or split by a divisor. */
static mica_array make_reshape(random_graph *r, mica_array a) {
    int64_t count = mica_array_count(r->graph, a), divisor = below(r, 6) + 1;
    if (below(r, 2) || count == 0 || count % divisor)
        return mica_reshape(r->graph, a, 1, (int64_t[]){-1});
    return mica_reshape(r->graph, a, 3, (int64_t[]){divisor, 1, count / divisor});
}

static mica_array make_slice(random_graph *r, mica_array a) {
    int rank = mica_array_rank(r->graph, a);
    if (rank == 0) return a;
    int axis = (int)below(r, rank);
    int64_t dim = mica_array_dim(r->graph, a, axis);
    if (below(r, 3) == 0) return mica_slice_axis(r->graph, a, axis, -1, -dim - 1, -1 - below(r, 2));
    int64_t start = below(r, dim ? dim : 1);
    return mica_slice_axis(r->graph, a, axis, start, dim, 1 + below(r, 2));
}

static mica_array make_concat(random_graph *r, mica_array a) {
    int rank = mica_array_rank(r->graph, a);
    if (rank == 0 || mica_array_count(r->graph, a) > ELEMENTS_MAX / 4) return a;
    mica_array three[3] = {a, make_unary(r, a), a};
    return mica_concat(r->graph, three, 2 + (int)below(r, 2), (int)below(r, rank));
}

static mica_array make_cast(random_graph *r, mica_array a) {
    static const mica_dtype dtypes[] = {MICA_DTYPE_F32, MICA_DTYPE_F16, MICA_DTYPE_BF16,
                                        MICA_DTYPE_F64};
    return mica_cast(r->graph, mica_cast(r->graph, a, dtypes[below(r, 4)]), MICA_DTYPE_F32);
}

static mica_array make_node(random_graph *r) {
    mica_array a = pick(r);
    int rank = mica_array_rank(r->graph, a);
    if (mica_array_count(r->graph, a) > ELEMENTS_MAX) return make_leaf(r);
    switch (below(r, 12)) {
    case 0:
        return make_leaf(r);
    case 1:
        return make_unary(r, a);
    case 2:
        if (rank == 0) return make_unary(r, a);
        return mica_reduce(r->graph, (mica_reduce_kind)below(r, 4), a, (int)below(r, rank),
                           below(r, 2));
    case 3:
        return make_reshape(r, a);
    case 4:
        return make_permute(r, a);
    case 5:
        return make_slice(r, a);
    case 6:
        return make_concat(r, a);
    case 7:
        return rank ? mica_softmax(r->graph, a) : a;
    case 8:
        return make_cast(r, a);
    case 9:
        return rank > 1 ? mica_contiguous(r->graph, mica_transpose(r->graph, a)) : a;
    default:
        return make_binary(r, a);
    }
}

static void build(random_graph *r, int n) {
    r->n = 0;
    r->arrays[r->n++] = make_leaf(r);
    while (r->n < n) {
        mica_error err = {0};
        mica_array a = make_node(r);
        assert_ok(mica_graph_check(r->graph, &err));
        /* empty arrays have their own tests: reductions over nothing and the like are refused */
        if (a.node && mica_array_count(r->graph, a) > 0)
            r->arrays[r->n++] = a;
        else
            r->arrays[r->n++] = make_leaf(r);
    }
}

/* The outputs' bytes, one behind the other; free() them. */
static uint8_t *evaluate(mica_runtime *rt, uint64_t seed, int n, size_t *bytes) {
    mica_error err = {0};
    random_graph r = {.seed = seed};
    assert_ok(mica_graph_create(rt, &r.graph, &err));
    build(&r, n);
    mica_array outputs[OUTPUTS];
    for (int i = 0; i < OUTPUTS; i++) outputs[i] = i ? pick(&r) : r.arrays[n - 1];
    assert_ok(mica_eval(r.graph, outputs, OUTPUTS, &err));
    *bytes = 0;
    uint8_t *out = malloc(1);
    for (int i = 0; i < OUTPUTS; i++) {
        size_t more = (size_t)mica_array_count(r.graph, outputs[i]) *
                      mica_dtype_bytes(mica_array_dtype(r.graph, outputs[i]));
        out = realloc(out, *bytes + more + 1);
        assert_ok(mica_array_read(r.graph, outputs[i], out + *bytes, more, &err));
        *bytes += more;
    }
    mica_graph_destroy(&r.graph);
    return out;
}

static void compare(const char *level) {
    mica_runtime *runtimes[2] = {NULL};
    mica_error err = {0};
    uint64_t seed = test_seed();
    for (int i = 0; i < 2; i++) {
        mica_runtime_options options = {.struct_bytes = sizeof options, .n_threads = 2};
        options.cpu_level = level;
        options.no_pass = i ? "simplify,order,place" : NULL;
        assert_ok(mica_runtime_open(&options, &runtimes[i], &err));
    }
    for (int round = 0; round < 300; round++) {
        uint64_t graph_seed = test_random(&seed);
        size_t bytes[2];
        uint8_t *out[2];
        int n = 5 + round % (NODES_MAX - 5);
        for (int i = 0; i < 2; i++) out[i] = evaluate(runtimes[i], graph_seed, n, &bytes[i]);
        assert_int_equal(bytes[0], bytes[1]);
        if (memcmp(out[0], out[1], bytes[0]) != 0)
            fail_msg("round %d, %d nodes, graph seed %llu", round, n,
                     (unsigned long long)graph_seed);
        free(out[0]);
        free(out[1]);
    }
    for (int i = 0; i < 2; i++) mica_runtime_close(&runtimes[i]);
}

/* On the reference kernels. */
static void test_scalar_level(void **state) {
    (void)state;
    compare("scalar");
}

/* On the best kernels that this machine has. */
static void test_best_level(void **state) {
    (void)state;
    compare(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalar_level),
        cmocka_unit_test(test_best_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
