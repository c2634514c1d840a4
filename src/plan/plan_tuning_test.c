#include "plan_test.h"
#include "random_layers.h"
#include "test_folder.h"
#include "base/file.h"
#include "base/host.h"
#include "base/thread_pool.h"
#include "plan/tuning.h"

/* ---- the file ---- */

static void open_tuning(const char *path, mica_tuning **out) {
    mica_error err = {0};
    assert_ok(mica_tuning_open(mica_host_default(), path, out, &err));
}

static void expect_kernel(const mica_tuning *t, const char *key, const char *want) {
    const char *seen = mica_tuning_find(t, key);
    if (!want)
        assert_null(seen);
    else
        assert_string_equal(seen ? seen : "nothing", want);
}

/* Proves: what is added is found, written and read again; the last word on a key counts. */
static void remembers(void **state) {
    (void)state;
    test_folder f;
    mica_tuning *t;
    test_folder_make(&f);
    char path[512];
    snprintf(path, sizeof path, "%s/kernels.txt", f.path);
    open_tuning(path, &t);
    expect_kernel(t, "a", NULL);
    mica_tuning_save(t); /* nothing to write */
    assert_int_equal(mica_path_kind_of(path), MICA_PATH_NONE);
    mica_tuning_add(t, "a", "first");
    mica_tuning_add(t, "b", "second");
    mica_tuning_add(t, "a", "third");
    mica_tuning_add(t, "two words", "fourth");
    mica_tuning_add(t, "c", "new\nline");
    mica_tuning_save(t);
    mica_tuning_close(&t);
    size_t bytes;
    char *text = test_file_read(path, &bytes);
    assert_int_equal(bytes, strlen("mica kernels 1\na third\nb second\n"));
    assert_memory_equal(text, "mica kernels 1\na third\nb second\n", bytes);
    free(text);
    open_tuning(path, &t);
    expect_kernel(t, "a", "third");
    expect_kernel(t, "b", "second");
    expect_kernel(t, "c", NULL);
    mica_tuning_close(&t);
    test_folder_remove(&f);
}

static void expect_read(const char *text, size_t bytes, const char *kernel_of_a) {
    test_folder f;
    mica_tuning *t;
    test_folder_make(&f);
    test_folder_write(&f, "kernels.txt", text, bytes);
    char path[512];
    snprintf(path, sizeof path, "%s/kernels.txt", f.path);
    open_tuning(path, &t);
    expect_kernel(t, "a", kernel_of_a);
    mica_tuning_close(&t);
    test_folder_remove(&f);
}

/* Proves: a file of anything else is no error: other versions, torn lines, long words, bytes. */
static void takes_garbage(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",      "mica kernels 2\na k\n", "mica kernels 1",         "mica kernels 1\na",
        "a k\n", "mica kernels 1\na k",   "mica kernels 1\na  k\n", "mica kernels 1\n k\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect_read(texts[i], strlen(texts[i]), NULL);
    static const char torn[] = "mica kernels 1\n\n \nx\n\x80\xFF y\na \x01\na k\nb\0 k\nz";
    expect_read(torn, sizeof torn - 1, "k");
    size_t bytes = (1u << 20) + 1;
    char *large = malloc(bytes);
    memset(large, 'x', bytes);
    memcpy(large, "mica kernels 1\na k\n", 19);
    expect_read(large, bytes, NULL); /* too large */
    expect_read(large, 20000, "k");  /* a line that does not end */
    uint64_t seed = test_seed();
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < 300; i++)
            large[19 + i] = (char)(test_random(&seed) % 4 ? test_random(&seed) : '\n');
        expect_read(large, 319, "k");
    }
    for (size_t i = 19; i + 3 < 60000; i += 3) memcpy(large + i, "\nq ", 3);
    expect_read(large, 60000, "k");
    free(large);
}

/* Proves: more entries than the limit are not kept, and a folder that is not there costs a warning.
 */
static void count_warning(void *context, mica_log_level level, const char *text) {
    (void)text;
    *(int *)context += level == MICA_LOG_WARNING;
}

static void has_limits(void **state) {
    (void)state;
    int n_warnings = 0;
    mica_host host = *mica_host_default();
    mica_error err = {0};
    mica_tuning *t;
    char key[32];
    host.log = count_warning;
    host.log_context = &n_warnings;
    host.log_level = MICA_LOG_WARNING;
    assert_ok(mica_tuning_open(&host, "/nowhere/at/all/kernels.txt", &t, &err));
    for (int i = 0; i < 4200; i++) {
        snprintf(key, sizeof key, "key%d", i);
        mica_tuning_add(t, key, "k");
    }
    expect_kernel(t, "key4095", "k");
    expect_kernel(t, "key4096", NULL);
    assert_int_equal(n_warnings, 0);
    mica_tuning_save(t);
    mica_tuning_save(t);
    assert_int_equal(n_warnings, 1);
    mica_tuning_close(&t);
}

/* ---- the choice ---- */

static _Atomic int n_fast, n_slow;

static void wait_microseconds(double microseconds) {
    double end = mica_clock_seconds() + microseconds * 1e-6;
    while (mica_clock_seconds() < end) continue;
}
static void run_fast(const void *args, const mica_cpu_worker *worker) {
    (void)args;
    (void)worker;
    n_fast++;
    wait_microseconds(100);
}
static void run_slow(const void *args, const mica_cpu_worker *worker) {
    (void)args;
    (void)worker;
    n_slow++;
    wait_microseconds(500);
}
static void run_wrong(const void *args, const mica_cpu_worker *worker) {
    (void)args;
    (void)worker;
    fail_msg("a kernel of another arithmetic was run");
}

static const mica_kernel rows[] = {
    {"slow", MICA_DEVICE_CPU, 0, NULL, NULL, run_slow},
    {"wrong", MICA_DEVICE_CPU, 0, NULL, NULL, run_wrong},
    {"amx", MICA_DEVICE_CPU, MICA_CPU_AMX, NULL, NULL, run_wrong},
    {"fast", MICA_DEVICE_CPU, 0, NULL, NULL, run_fast},
};

static bool is_same(const mica_graph *g, const mica_node *n, const mica_kernel *a,
                    const mica_kernel *b) {
    (void)g;
    (void)n;
    return a->cpu != run_wrong && b->cpu != run_wrong;
}

static void expect_choice(const char *path, int n, const char *want) {
    char text[256];
    mica_error err = {0};
    plan_test t = {.backend = "cpu", .no_pass = "replicate"};
    plan_test_open(&t);
    t.runtime->limits.features = 0;
    t.ops[MICA_OP_unary].kernels = rows;
    t.ops[MICA_OP_unary].n_kernels = sizeof rows / sizeof *rows;
    t.ops[MICA_OP_unary].is_same_arithmetic = is_same;
    if (path) assert_ok(mica_tuning_open(&t.runtime->host, path, &t.runtime->tuning, &err));
    snprintf(text, sizeof text,
             "%%1 = input \"batch.counts\" : i32[4]\n"
             "%%2 = input \"x\" : f32[%d] live=tokens\n"
             "%%3 = unary(%%2) : f32[%d] live=tokens\noutput %%3\n",
             n, n);
    plan_test_parse(&t, text);
    assert_int_equal(plan_test_build(&t), MICA_STATUS_OK);
    assert_string_equal(t.plan->segments[0].steps[0].kernel->name, want);
    plan_test_close(&t);
}

/* Proves: the faster of two equals is chosen and remembered; other arithmetic, missing
 * instructions, small nodes and runtimes that do not measure leave the table's choice. */
static void chooses(void **state) {
    (void)state;
    test_folder f;
    test_folder_make(&f);
    char path[512];
    snprintf(path, sizeof path, "%s/kernels.txt", f.path);
    expect_choice(NULL, 100000, "slow");
    expect_choice(path, 100, "slow");
    assert_int_equal(n_slow, 0);
    expect_choice(path, 100000, "fast");
    assert_true(n_slow > 0 && n_fast > 0);
    n_slow = n_fast = 0;
    expect_choice(path, 100000, "fast");
    assert_int_equal(n_slow + n_fast, 0); /* remembered */
    expect_choice(path, 100001, "fast");
    assert_true(n_slow > 0); /* of another shape nothing is known */
    /* what the file says is taken only where it can be */
    size_t bytes;
    char *text = test_file_read(path, &bytes), *at = text;
    while ((at = strstr(at, " fast")) != NULL) memcpy(at, " made", 5);
    test_folder_write(&f, "kernels.txt", text, bytes);
    free(text);
    n_slow = n_fast = 0;
    expect_choice(path, 100000, "fast");
    assert_true(n_slow > 0 && n_fast > 0);
    test_folder_remove(&f);
}

/* ---- real rivals ---- */

/* The runtime's linears run by the rows of the table whose names end in _direct, and where there is
 * none for their arithmetic by those of the table. False where nothing is left to compare. */
static bool use_direct_kernels(mica_runtime *rt, mica_op ops[MICA_OP_COUNT_],
                               const mica_op *table[MICA_OP_COUNT_], mica_kernel kernels[32]) {
    size_t n = 0;
    bool has_direct = false;
    for (int i = 0; i < MICA_OP_COUNT_; i++) {
        if (!rt->ops[i]) continue;
        ops[i] = *rt->ops[i];
        table[i] = &ops[i];
    }
    for (size_t i = 0; i < ops[MICA_OP_linear].n_kernels; i++) {
        const mica_kernel *k = &ops[MICA_OP_linear].kernels[i];
        bool is_other = strstr(k->name, "int8") || strstr(k->name, "amx");
        bool is_direct = strstr(k->name, "_direct") && !(k->needs & ~rt->limits.features);
        if (is_direct || is_other) kernels[n++] = *k;
        has_direct |= is_direct;
    }
    ops[MICA_OP_linear].kernels = kernels;
    ops[MICA_OP_linear].n_kernels = n;
    rt->ops = table;
    return has_direct;
}

static void run_linear(mica_runtime *rt, mica_numeric_mode mode, uint64_t seed, float *out,
                       size_t *bytes) {
    mica_error err = {0};
    random_graph r = {.seed = seed, .store = malloc(RANDOM_STORE_BYTES)};
    assert_ok(mica_graph_create(rt, &r.graph, &err));
    r.graph->mode = mode;
    int64_t dims[2] = {5 + random_below(&r, 12), 32 * (1 + random_below(&r, 40))};
    mica_array x = random_floats(&r, 2, dims);
    mica_array y = random_linear(&r, x, 1 + random_below(&r, 60));
    *bytes = (size_t)mica_array_count(r.graph, y) * sizeof(float);
    assert_ok(mica_array_read(r.graph, y, out, *bytes, &err));
    mica_graph_destroy(&r.graph);
    free(r.store);
}

/* Proves: a few rows after the other give the bits of all rows at once, in both modes. */
static void direct_linears_agree(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    static mica_op ops[MICA_OP_COUNT_];
    static const mica_op *table[MICA_OP_COUNT_];
    static float a[16 * 60], b[16 * 60];
    mica_kernel kernels[32];
    mica_runtime *plain = NULL, *direct = NULL;
    mica_error err = {0};
    mica_runtime_options options = {.struct_bytes = sizeof options, .n_threads = 2};
    assert_ok(mica_runtime_open(&options, &plain, &err));
    assert_ok(mica_runtime_open(&options, &direct, &err));
    bool has_any = use_direct_kernels(direct, ops, table, kernels);
    for (int round = 0; round < 400 && has_any; round++) {
        uint64_t graph_seed = test_random(&seed);
        mica_numeric_mode mode = round % 2 ? MICA_EXACT : MICA_FAST;
        size_t bytes, same;
        run_linear(plain, mode, graph_seed, a, &bytes);
        run_linear(direct, mode, graph_seed, b, &same);
        assert_int_equal(bytes, same);
        if (memcmp(a, b, bytes) != 0) fail_msg("graph seed %llu", (unsigned long long)graph_seed);
    }
    mica_runtime_close(&plain);
    mica_runtime_close(&direct);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers),
        cmocka_unit_test(takes_garbage),
        cmocka_unit_test(has_limits),
        cmocka_unit_test(chooses),
        cmocka_unit_test(direct_linears_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
