/* Live counts in the general ops: which shape rules keep, join and refuse them, and that kernels
 * leave the rows past the count alone. */
#include "ops/common/op_test_case.h"
#include "core/runtime.h"
#include "core/op.h"

typedef struct fixture {
    mica_runtime *rt;
    mica_graph *g;
    mica_array tokens; /* f32 [6, 8] */
    mica_array flat;   /* f32 [6] */
    mica_array ids;    /* i32 [6, 2] */
    mica_array rows;   /* f32 [6, 8], the other kind of count */
} fixture;

static mica_array input(mica_graph *g, const char *name, mica_dtype dtype, int rank,
                        const int64_t *dims, mica_live live) {
    mica_shape shape;
    assert_true(mica_shape_make(rank, dims, &shape));
    return mica_array_of(g, mica_graph_input(g, name, dtype, &shape, live));
}

/* False where this machine lacks the level. */
static bool open_fixture(fixture *f, const char *level) {
    mica_error err = {0};
    mica_runtime_options options = {.struct_bytes = sizeof options, .n_threads = 2};
    options.cpu_level = level;
    mica_status st = mica_runtime_open(&options, &f->rt, &err);
    if (st == MICA_STATUS_UNAVAILABLE) return false;
    assert_ok(st);
    assert_ok(mica_graph_create_internal(f->rt, true, &f->g, &err));
    input(f->g, "batch.counts", MICA_DTYPE_I32, 1, (int64_t[]){4}, MICA_LIVE_ALL);
    f->tokens = input(f->g, "tokens", MICA_DTYPE_F32, 2, (int64_t[]){6, 8}, MICA_LIVE_TOKENS);
    f->flat = input(f->g, "flat", MICA_DTYPE_F32, 1, (int64_t[]){6}, MICA_LIVE_TOKENS);
    f->ids = input(f->g, "ids", MICA_DTYPE_I32, 2, (int64_t[]){6, 2}, MICA_LIVE_TOKENS);
    f->rows = input(f->g, "rows", MICA_DTYPE_F32, 2, (int64_t[]){6, 8}, MICA_LIVE_ROWS);
    return true;
}

static void close_fixture(fixture *f) {
    mica_graph_destroy(&f->g);
    mica_runtime_close(&f->rt);
}

static int live_of(fixture *f, mica_array a) {
    mica_error err = {0};
    assert_ok(mica_graph_check(f->g, &err));
    return mica_graph_node(f->g, mica_array_ref(f->g, a, false))->live;
}

static void axis_0_keeps_its_count(void **state) {
    /* Proves: ops that leave axis 0 in place keep its kind of count. */
    (void)state;
    fixture f;
    open_fixture(&f, NULL);
    mica_graph *g = f.g;
    mica_array x = f.tokens, same = x;
    mica_array kept[] = {
        mica_reshape(g, x, 3, (int64_t[]){6, 2, 4}),
        mica_permute(g, mica_reshape(g, x, 3, (int64_t[]){6, 2, 4}), (int[]){0, 2, 1}),
        mica_slice_axis(g, x, 1, 2, 5, 1),
        mica_slice_axis(g, x, 0, 0, 6, 1),
        mica_broadcast_to(g, mica_reshape(g, f.flat, 2, (int64_t[]){6, 1}), 2, (int64_t[]){6, 3}),
        mica_cast(g, x, MICA_DTYPE_BF16),
        mica_unary(g, MICA_UNARY_EXP, x),
        mica_add(g, x, same),
        mica_add(g, x, mica_scalar(g, 1)),
        mica_add(g, mica_full(g, MICA_DTYPE_F32, 2, (int64_t[]){1, 8}, 1), x),
        mica_select(g, mica_binary(g, MICA_BINARY_LESS, x, same), x, mica_scalar(g, 0)),
        mica_reduce(g, MICA_REDUCE_SUM, x, 1, false),
        mica_concat(g, (mica_array[]){x, same}, 2, 1),
        mica_gather(g, mica_full(g, MICA_DTYPE_F32, 2, (int64_t[]){9, 4}, 1), f.ids, 0),
        mica_take_along(g, x, f.ids),
        mica_top_k(g, x, 3),
        mica_combine(g, mica_reshape(g, x, 3, (int64_t[]){6, 2, 4}),
                     mica_slice_axis(g, x, 1, 0, 2, 1)),
    };
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_int_equal(live_of(&f, kept[i]), MICA_LIVE_TOKENS);
    /* The rows wanted: ids of one kind pick from rows of the other. */
    mica_array one = mica_array_of(
        g, mica_graph_input(g, "wanted", MICA_DTYPE_I32, &(mica_shape){1, {6}}, MICA_LIVE_ROWS));
    assert_int_equal(live_of(&f, mica_gather(g, x, one, 0)), MICA_LIVE_ROWS);
    assert_int_equal(live_of(&f, mica_full(g, MICA_DTYPE_F32, 1, (int64_t[]){6}, 0)),
                     MICA_LIVE_ALL);
    close_fixture(&f);
}

static void refuse(const char *text, mica_array (*build)(fixture *f)) {
    fixture f;
    mica_error err = {0};
    open_fixture(&f, NULL);
    build(&f);
    assert_int_equal(mica_graph_check(f.g, &err), MICA_STATUS_INVALID);
    if (!strstr(err.message, text)) fail_msg("\"%s\" is not in \"%s\"", text, err.message);
    close_fixture(&f);
}

static mica_array merge(fixture *f) { return mica_reshape(f->g, f->tokens, 1, (int64_t[]){48}); }
static mica_array split(fixture *f) {
    return mica_reshape(f->g, f->tokens, 3, (int64_t[]){2, 3, 8});
}
static mica_array move(fixture *f) { return mica_transpose(f->g, f->tokens); }
static mica_array cut(fixture *f) { return mica_slice_axis(f->g, f->tokens, 0, 1, 6, 1); }
static mica_array stretch(fixture *f) {
    return mica_broadcast_to(f->g, f->flat, 2, (int64_t[]){6, 6});
}
static mica_array mix(fixture *f) { return mica_add(f->g, f->tokens, f->rows); }
static mica_array align(fixture *f) {
    mica_array square = mica_full(f->g, MICA_DTYPE_F32, 2, (int64_t[]){6, 6}, 1);
    return mica_add(f->g, f->flat, square);
}
static mica_array sum(fixture *f) { return mica_reduce(f->g, MICA_REDUCE_SUM, f->tokens, 0, true); }
static mica_array join(fixture *f) {
    return mica_concat(f->g, (mica_array[]){f->tokens, f->tokens}, 2, 0);
}
static mica_array search(fixture *f) { return mica_top_k(f->g, f->flat, 2); }
static mica_array pick(fixture *f) {
    mica_array ids = mica_full(f->g, MICA_DTYPE_I32, 1, (int64_t[]){3}, 0);
    return mica_take_along(f->g, f->flat, ids);
}

static void counts_cannot_be_lost(void **state) {
    /* Proves: whatever would move, cut, merge or mix live axes is an error. */
    (void)state;
    refuse("live axis 0 of [6, 8]", merge);
    refuse("live axis 0 of [6, 8]", split);
    refuse("live axis 0 of [6, 8] must stay", move);
    refuse("axis 0 of [6, 8] is live", cut);
    refuse("live axis 0 of [6]", stretch);
    refuse("two kinds of live rows", mix);
    refuse("live axis 0 of [6] is not axis 0 of [6, 6]", align);
    refuse("axis 0 of [6, 8] is live", sum);
    refuse("axis 0 of [6, 8] is live", join);
    refuse("axis 0 of [6] is live", search);
    refuse("leading axes", pick);
}

/* ---- kernels ---- */

static mica_storage make_buffer(fixture *f, uint64_t bytes, void **host) {
    mica_error err = {0};
    mica_storage s = {0};
    mica_device *device = f->rt->device;
    assert_ok(device->backend->buffer_create(device, bytes, &s.buffer, &err));
    assert_ok(device->backend->buffer_map(device, s.buffer, true, host, &err));
    return s;
}

/* Runs the plan of `a` with counts {3, 2} and NaN in the dead rows of every input; the result's
 * memory is filled with 0x55 before. */
static void run_live(fixture *f, mica_array a, uint8_t *out, size_t bytes) {
    static const char *const names[] = {"batch.counts", "tokens", "flat", "ids", "rows"};
    mica_error err = {0};
    mica_plan *plan = NULL;
    mica_executable *e = NULL;
    mica_storage storage[6];
    void *host[6];
    mica_ref ref = mica_array_ref(f->g, a, false);
    assert_ok(mica_graph_check(f->g, &err));
    assert_ok(f->rt->plan_build(f->rt, f->g, &ref, 1, NULL, &plan, &err));
    assert_ok(mica_executable_create(f->rt, plan, &e, &err));
    for (int i = 0; i < 5; i++) {
        storage[i] = make_buffer(f, 6 * 8 * 4, &host[i]);
        for (int k = 0; k < 48; k++) ((float *)host[i])[k] = k < 24 ? (float)k : NAN;
        mica_status st = mica_executable_bind_input(e, names[i], storage[i], &err);
        assert_true(st == MICA_STATUS_OK || st == MICA_STATUS_NOT_FOUND);
    }
    for (int k = 3; k < 6; k++) ((float *)host[2])[k] = NAN;
    memcpy(host[0], (int32_t[]){3, 2, 0, 0}, 16);
    memcpy(host[3], (int32_t[]){1, 0, 2, 7, 5, 5, -9, 99, -9, 99, -9, 99}, 48);
    storage[5] = make_buffer(f, bytes, &host[5]);
    memset(host[5], 0x55, bytes);
    assert_ok(mica_executable_bind_output(e, 0, storage[5], &err));
    assert_ok(mica_executable_run(e, &err));
    memcpy(out, host[5], bytes);
    mica_executable_destroy(&e);
    for (int i = 0; i < 6; i++) mica_buffer_release(&storage[i].buffer);
}

typedef mica_array (*live_build)(mica_graph *g, fixture *f);

static mica_array build_cast(mica_graph *g, fixture *f) {
    return mica_contiguous(g, mica_slice_axis(g, f->tokens, 1, 7, -9, -1));
}
static mica_array build_unary(mica_graph *g, fixture *f) {
    return mica_unary(g, MICA_UNARY_SILU, f->tokens);
}
static mica_array build_binary(mica_graph *g, fixture *f) {
    return mica_add(g, f->tokens, mica_reshape(g, f->flat, 2, (int64_t[]){6, 1}));
}
static mica_array build_select(mica_graph *g, fixture *f) {
    mica_array big = mica_binary(g, MICA_BINARY_GREATER, f->tokens, mica_scalar(g, 10));
    return mica_select(g, big, f->tokens, mica_scalar(g, 0));
}
static mica_array build_reduce(mica_graph *g, fixture *f) {
    return mica_reduce(g, MICA_REDUCE_MAX, f->tokens, 1, false);
}
static mica_array build_concat(mica_graph *g, fixture *f) {
    return mica_concat(g, (mica_array[]){f->tokens, f->tokens}, 2, 1);
}
static mica_array build_gather(mica_graph *g, fixture *f) {
    mica_array table = mica_arange(g, MICA_DTYPE_F32, 16, 0, 1);
    return mica_gather(g, mica_reshape(g, table, 2, (int64_t[]){8, 2}), f->ids, 0);
}
static mica_array build_take(mica_graph *g, fixture *f) {
    return mica_take_along(g, f->tokens, f->ids);
}
static mica_array build_top_k(mica_graph *g, fixture *f) { return mica_top_k(g, f->tokens, 2); }
static mica_array build_combine(mica_graph *g, fixture *f) {
    mica_array x = mica_reshape(g, f->tokens, 3, (int64_t[]){6, 2, 4});
    return mica_combine(g, x, mica_slice_axis(g, f->tokens, 1, 0, 2, 1));
}

static void kernels_stop_at_the_count(void **state) {
    /* Proves: each op writes the 3 live rows of 6, as it does without a count, and no byte of the
     * others, on each level. */
    (void)state;
    static const live_build builds[] = {build_cast,   build_unary,  build_binary, build_select,
                                        build_reduce, build_concat, build_gather, build_take,
                                        build_top_k,  build_combine};
    for (size_t l = 0; l < OP_TEST_LEVELS; l++)
        for (size_t b = 0; b < sizeof builds / sizeof *builds; b++) {
            uint8_t live[1024], all[1024];
            fixture f;
            if (!open_fixture(&f, op_test_levels[l])) continue;
            mica_array a = builds[b](f.g, &f);
            size_t bytes = (size_t)mica_array_count(f.g, a) * 4;
            run_live(&f, a, live, bytes);
            close_fixture(&f);
            for (size_t i = bytes / 2; i < bytes; i++)
                if (live[i] != 0x55) fail_msg("op %zu wrote byte %zu of a dead row", b, i);
            open_fixture(&f, op_test_levels[l]);
            mica_ref refs[4] = {f.tokens.node, f.flat.node, f.ids.node, f.rows.node};
            for (int i = 0; i < 4; i++) mica_graph_node(f.g, refs[i])->live = MICA_LIVE_ALL;
            run_live(&f, builds[b](f.g, &f), all, bytes);
            close_fixture(&f);
            assert_memory_equal(live, all, bytes / 2);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(axis_0_keeps_its_count),
        cmocka_unit_test(counts_cannot_be_lost),
        cmocka_unit_test(kernels_stop_at_the_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
