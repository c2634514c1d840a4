/* Live counts in the transformer ops: kernels write the live rows, with the bits they have without
 * a count, and nothing else; the last axis cannot be the live one. */
#include "ops/common/layer_test_case.h"

typedef struct fixture {
    mica_runtime *rt;
    mica_graph *g;
    mica_array tokens;    /* f32 [6, 2, 8] */
    mica_array positions; /* i32 [6] */
    mica_array weight;    /* f32 [8] */
} fixture;

static mica_array input(fixture *f, const char *name, mica_dtype dtype, mica_live live, int rank,
                        const int64_t *dims) {
    mica_shape shape;
    assert_true(mica_shape_make(rank, dims, &shape));
    return mica_array_of(f->g, mica_graph_input(f->g, name, dtype, &shape, live));
}

/* False where this machine lacks the level. */
static bool open_fixture(fixture *f, const char *level, mica_live live) {
    mica_error err = {0};
    mica_runtime_options options = {.struct_bytes = sizeof options, .cpu_level = level};
    options.n_threads = 2;
    mica_status st = mica_runtime_open(&options, &f->rt, &err);
    if (st == MICA_STATUS_UNAVAILABLE) return false;
    assert_ok(st);
    assert_ok(mica_graph_create_internal(f->rt, true, &f->g, &err));
    int64_t dims[] = {6, 2, 8};
    input(f, "batch.counts", MICA_DTYPE_I32, MICA_LIVE_ALL, 1, (int64_t[]){4});
    f->tokens = input(f, "tokens", MICA_DTYPE_F32, live, 3, dims);
    f->positions = input(f, "positions", MICA_DTYPE_I32, live, 1, dims);
    f->weight = input(f, "weight", MICA_DTYPE_F32, MICA_LIVE_ALL, 1, dims + 2);
    return true;
}

static void close_fixture(fixture *f) {
    mica_graph_destroy(&f->g);
    mica_runtime_close(&f->rt);
}

static mica_storage make_buffer(fixture *f, uint64_t bytes, void **host) {
    mica_error err = {0};
    mica_storage s = {0};
    mica_device *device = f->rt->device;
    assert_ok(device->backend->buffer_create(device, bytes, &s.buffer, &err));
    assert_ok(device->backend->buffer_map(device, s.buffer, true, host, &err));
    return s;
}

/* Runs the plan of `a` with 4 live tokens and NaN in the others; the result's memory is 0x55
 * before. */
static void run_live(fixture *f, mica_array a, uint8_t *out, size_t bytes) {
    static const char *const names[] = {"batch.counts", "tokens", "positions", "weight"};
    mica_error err = {0};
    mica_plan *plan = NULL;
    mica_executable *e = NULL;
    mica_storage storage[5];
    void *host[5];
    mica_ref ref = mica_array_ref(f->g, a, false);
    assert_ok(mica_graph_check(f->g, &err));
    assert_ok(f->rt->plan_build(f->rt, f->g, &ref, 1, NULL, &plan, &err));
    assert_ok(mica_executable_create(f->rt, plan, &e, &err));
    for (int i = 0; i < 4; i++) {
        storage[i] = make_buffer(f, 96 * 4, &host[i]);
        for (int k = 0; k < 96; k++)
            ((float *)host[i])[k] = i == 1 && k >= 64 ? NAN : 0.1f * (float)(k % 13) - 0.5f;
        mica_status st = mica_executable_bind_input(e, names[i], storage[i], &err);
        assert_true(st == MICA_STATUS_OK || st == MICA_STATUS_NOT_FOUND);
    }
    memcpy(host[0], (int32_t[]){4, 1, 0, 0}, 16);
    memcpy(host[2], (int32_t[]){0, 5, 900, 3, 1 << 30, -7}, 24);
    storage[4] = make_buffer(f, bytes, &host[4]);
    memset(host[4], 0x55, bytes);
    assert_ok(mica_executable_bind_output(e, 0, storage[4], &err));
    assert_ok(mica_executable_run(e, &err));
    memcpy(out, host[4], bytes);
    mica_executable_destroy(&e);
    for (int i = 0; i < 5; i++) mica_buffer_release(&storage[i].buffer);
}

typedef mica_array (*live_build)(mica_graph *g, fixture *f);

static mica_array build_softmax(mica_graph *g, fixture *f) { return mica_softmax(g, f->tokens); }
static mica_array build_rms_norm(mica_graph *g, fixture *f) {
    return mica_rms_norm(g, f->tokens, f->weight, 1e-5f, 0);
}
static mica_array build_layer_norm(mica_graph *g, fixture *f) {
    return mica_layer_norm(g, f->tokens, f->weight, f->weight, 1e-5f);
}
static mica_array build_rope(mica_graph *g, fixture *f) {
    mica_array frequencies = mica_slice_axis(g, f->weight, 0, 0, 3, 1);
    return mica_rope(g, f->tokens, f->positions, frequencies, 1, false);
}
static mica_array build_rope_tables(mica_graph *g, fixture *f) {
    mica_array frequencies =
        mica_reshape(g, mica_slice_axis(g, f->weight, 0, 0, 6, 1), 2, (int64_t[]){2, 3});
    return mica_rope_tables(g, f->tokens, f->positions, frequencies, f->positions, 1, false);
}
static mica_array build_glu(mica_graph *g, fixture *f) {
    return mica_glu(g, f->tokens, (mica_glu_options){MICA_GLU_CLAMPED, true, 1.702f, 7});
}
static mica_array build_attention(mica_graph *g, fixture *f) {
    mica_array k = mica_reshape(g, mica_concat(g, (mica_array[]){f->weight, f->weight}, 2, 0), 3,
                                (int64_t[]){2, 1, 8});
    return mica_attention(g, f->tokens, k, k, (mica_array){0}, (mica_array){0},
                          (mica_attention_options){.scale = 1});
}

static void kernels_stop_at_the_count(void **state) {
    /* Proves: each op writes the 4 live rows of 6, as it does without a count, and no byte of the
     * others, on each level. */
    (void)state;
    static const live_build builds[] = {build_softmax,  build_rms_norm,    build_layer_norm,
                                        build_rope,     build_rope_tables, build_glu,
                                        build_attention};
    for (size_t l = 0; l < OP_TEST_LEVELS; l++)
        for (size_t b = 0; b < sizeof builds / sizeof *builds; b++) {
            uint8_t live[384], all[384];
            fixture f;
            if (!open_fixture(&f, op_test_levels[l], MICA_LIVE_TOKENS)) continue;
            mica_array a = builds[b](f.g, &f);
            size_t bytes = (size_t)mica_array_count(f.g, a) * 4, used = bytes / 6 * 4;
            run_live(&f, a, live, bytes);
            close_fixture(&f);
            for (size_t i = used; i < bytes; i++)
                if (live[i] != 0x55) fail_msg("op %zu wrote byte %zu of a dead row", b, i);
            open_fixture(&f, op_test_levels[l], MICA_LIVE_ALL);
            run_live(&f, builds[b](f.g, &f), all, bytes);
            close_fixture(&f);
            assert_memory_equal(live, all, used);
        }
}

static void live_axis_cannot_be_last(void **state) {
    /* Proves: an op over the last axis refuses a vector whose length is a live count. */
    (void)state;
    fixture f;
    mica_error err = {0};
    open_fixture(&f, NULL, MICA_LIVE_TOKENS);
    mica_softmax(f.g, mica_cast(f.g, f.positions, MICA_DTYPE_F32));
    assert_int_equal(mica_graph_check(f.g, &err), MICA_STATUS_INVALID);
    assert_non_null(strstr(err.message, "the last axis of x [6] has a live count"));
    close_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_stop_at_the_count),
        cmocka_unit_test(live_axis_cannot_be_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
