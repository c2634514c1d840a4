/* Random graphs evaluated with all passes and without the optional ones give the same bits:
 * merging, fusing, reordering and sharing memory are invisible. Two kinds of graphs: single ops on
 * arrays of any shape (here), and parts of networks (random_layers.h). */
#include "random_layers.h"
#include "core/graph.h"

#define NODES_MAX 60
#define OUTPUTS 3
#define ELEMENTS_MAX 20000
/* Graphs of the fixed seeds are always run; more follow from a printed seed while time remains. */
#define FIXED_SEEDS 4
#define GRAPHS_MIN 100 /* of a seed */
#define GRAPHS_MAX 3000
#define SECONDS_MAX 6.0 /* of processor time for one test */

#define below random_below

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

/* ---- evaluation ---- */

typedef struct result {
    uint8_t *bytes;
    size_t n;
    mica_dtype dtypes[OUTPUTS];
    size_t ends[OUTPUTS];
} result;

typedef void (*build_function)(random_graph *r, int n);

static void build_network(random_graph *r, int n) {
    (void)n;
    random_network(r);
}

/* The outputs' bytes, one behind the other. */
static result evaluate(mica_runtime *rt, build_function build_graph, uint64_t seed, int n) {
    mica_error err = {0};
    random_graph r = {.seed = seed, .store = malloc(RANDOM_STORE_BYTES)};
    assert_ok(mica_graph_create(rt, &r.graph, &err));
    r.graph->mode = seed % 2 ? MICA_EXACT : MICA_FAST;
    build_graph(&r, n);
    assert_ok(mica_graph_check(r.graph, &err));
    mica_array outputs[OUTPUTS];
    for (int i = 0; i < OUTPUTS; i++) outputs[i] = i ? pick(&r) : r.arrays[r.n - 1];
    assert_ok(mica_eval(r.graph, outputs, OUTPUTS, &err));
    result out = {.bytes = malloc(1)};
    for (int i = 0; i < OUTPUTS; i++) {
        out.dtypes[i] = mica_array_dtype(r.graph, outputs[i]);
        size_t more =
            (size_t)mica_array_count(r.graph, outputs[i]) * mica_dtype_bytes(out.dtypes[i]);
        out.bytes = realloc(out.bytes, out.n + more + 1);
        assert_ok(mica_array_read(r.graph, outputs[i], out.bytes + out.n, more, &err));
        out.ends[i] = out.n += more;
    }
    mica_graph_destroy(&r.graph);
    free(r.store);
    return out;
}

/* Which NaN is left where there were two is not promised. */
static bool is_nan_at(const result *r, size_t at) {
    int i = 0;
    while (at >= r->ends[i]) i++;
    size_t size = mica_dtype_bytes(r->dtypes[i]), begin = i ? r->ends[i - 1] : 0;
    const uint8_t *element = r->bytes + begin + (at - begin) / size * size;
    float f;
    uint16_t half;
    double d;
    memcpy(&half, element, sizeof half);
    if (r->dtypes[i] == MICA_DTYPE_BF16) return (half & 0x7FFF) > 0x7F80;
    if (r->dtypes[i] == MICA_DTYPE_F16) return (half & 0x7FFF) > 0x7C00;
    if (r->dtypes[i] == MICA_DTYPE_F32) return memcpy(&f, element, sizeof f), isnan(f);
    if (r->dtypes[i] == MICA_DTYPE_F64) return memcpy(&d, element, sizeof d), isnan(d);
    return false;
}

static bool are_equal(const result *a, const result *b) {
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++)
        if (a->bytes[i] != b->bytes[i] && !(is_nan_at(a, i) && is_nan_at(b, i))) return false;
    return true;
}

/* ---- what pass fuse made ---- */

static const char *const fused_names[] = {"program",     "project",    "experts_glu",
                                          "experts_sum", "rope_table", "linear with a residual"};
enum { N_FUSED = 6, LINEAR_WITH_RESIDUAL = N_FUSED - 1 };

static void count_fused(void *context, const char *pass, const char *text) {
    int64_t *counts = context;
    (void)pass;
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        while (*line == '\n') line++;
        const char *equal = strstr(line, " = "), *end = strchr(line, '\n');
        if (!equal || !end || equal > end) continue;
        size_t bytes = strcspn(equal + 3, "(");
        int n_inputs = 1;
        for (const char *at = equal; at < end && *at != ')'; at++) n_inputs += *at == ',';
        for (int i = 0; i < LINEAR_WITH_RESIDUAL; i++)
            counts[i] +=
                strlen(fused_names[i]) == bytes && memcmp(fused_names[i], equal + 3, bytes) == 0;
        counts[LINEAR_WITH_RESIDUAL] +=
            bytes == 6 && memcmp("linear", equal + 3, 6) == 0 && n_inputs == 4;
    }
}

/* ---- comparing ---- */

/* What is switched off, in turns. */
static const char *const no_passes[] = {NULL, "simplify,fuse,order,replicate,place", "fuse",
                                        "simplify,replicate,donation"};
enum { N_RUNTIMES = 4 };

typedef struct comparison {
    mica_runtime *runtimes[N_RUNTIMES];
    build_function build;
    int64_t counts[N_FUSED];
    int n;
} comparison;

static void open_comparison(comparison *c, const char *level, build_function build_graph) {
    mica_error err = {0};
    *c = (comparison){.build = build_graph};
    for (int i = 0; i < N_RUNTIMES; i++) {
        mica_runtime_options options = {.struct_bytes = sizeof options, .n_threads = 2};
        options.cpu_level = level;
        options.no_pass = no_passes[i];
        if (i == 0) {
            options.dump = "fuse";
            options.dump_callback = count_fused;
            options.dump_context = c->counts;
        }
        assert_ok(mica_runtime_open(&options, &c->runtimes[i], &err));
    }
}

static void compare_one(comparison *c, uint64_t seed) {
    int n = 5 + c->n % (NODES_MAX - 5), other = 1 + c->n % (N_RUNTIMES - 1);
    result a = evaluate(c->runtimes[0], c->build, seed, n);
    result b = evaluate(c->runtimes[other], c->build, seed, n);
    if (!are_equal(&a, &b))
        fail_msg("graph %d, %d nodes, graph seed %llu, without %s", c->n, n,
                 (unsigned long long)seed, no_passes[other]);
    free(a.bytes), free(b.bytes);
    c->n++;
}

static void compare(comparison *c) {
    static const uint64_t seeds[FIXED_SEEDS] = {1, 20250101, 7777777, 0x9E3779B97F4A7C15u};
    clock_t start = clock();
    for (int s = 0; s <= FIXED_SEEDS; s++) {
        uint64_t seed = s < FIXED_SEEDS ? seeds[s] : test_seed();
        for (int i = 0; i < (s < FIXED_SEEDS ? GRAPHS_MIN : GRAPHS_MAX); i++) {
            bool is_late = (double)(clock() - start) / CLOCKS_PER_SEC > SECONDS_MAX;
            if (is_late && (s == FIXED_SEEDS || i >= GRAPHS_MIN / 10)) break;
            compare_one(c, test_random(&seed));
        }
    }
    printf("%d graphs", c->n);
    for (int i = 0; i < N_FUSED; i++)
        printf(", %lld of %s", (long long)c->counts[i], fused_names[i]);
    printf("\n");
    for (int i = 0; i < N_RUNTIMES; i++) mica_runtime_close(&c->runtimes[i]);
}

static void compare_ops(const char *level) {
    comparison c;
    open_comparison(&c, level, build);
    compare(&c);
    assert_true(c.counts[0] > 0);
}

/* Every fused op must have been met. */
static void compare_networks(const char *level) {
    comparison c;
    open_comparison(&c, level, build_network);
    compare(&c);
    for (int i = 0; i < N_FUSED; i++)
        if (!c.counts[i]) fail_msg("no %s in %d graphs", fused_names[i], c.n);
}

/* Proves: on the reference kernels. */
static void ops_at_scalar_level(void **state) {
    (void)state;
    compare_ops("scalar");
}

/* Proves: on the best kernels that this machine has. */
static void ops_at_best_level(void **state) {
    (void)state;
    compare_ops(NULL);
}

static void networks_at_scalar_level(void **state) {
    (void)state;
    compare_networks("scalar");
}

static void networks_at_best_level(void **state) {
    (void)state;
    compare_networks(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops_at_scalar_level),
        cmocka_unit_test(ops_at_best_level),
        cmocka_unit_test(networks_at_scalar_level),
        cmocka_unit_test(networks_at_best_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
