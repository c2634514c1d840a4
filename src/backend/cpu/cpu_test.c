/* The CPU backend with plans made by hand: addresses follow their bindings, barriers order the
 * workers, counters start at 0, scratch is private; levels and buffers at their limits. */
#include "backend/cpu/cpu.h"
#include "test.h"
#include "backend/cpu/cpu_features.h"
#include "base/alloc.h"
#include "base/thread_pool.h"

#define N 5000

typedef struct shift_args {
    mica_address in;
    mica_address out;
    mica_address unused; /* no operand: stays 0 */
    int64_t n;
    int32_t add;
    bool is_reversed;
} shift_args;

/* out[i] = in[i or n - 1 - i] + add, a few items at a time. */
static void shift(const void *args, const mica_cpu_worker *w) {
    const shift_args *a = args;
    const int32_t *in = mica_cpu_at(a->in);
    int32_t *out = mica_cpu_at(a->out);
    int64_t begin, end;
    while (mica_cpu_take(w, a->n, 7, &begin, &end))
        for (int64_t i = begin; i < end; i++)
            out[i] = in[a->is_reversed ? a->n - 1 - i : i] + a->add + (a->unused != 0) * 1000000;
}

#define SCRATCH_BYTES 1000

/* Fills the scratch of every worker with its index and looks at it again behind a wait. */
static void mark_scratch(const void *args, const mica_cpu_worker *w) {
    const shift_args *a = args;
    int32_t *out = mica_cpu_at(a->out);
    uint8_t *scratch = w->scratch;
    bool is_right = ((uintptr_t)scratch & 63) == 0;
    memset(scratch, w->index + 1, SCRATCH_BYTES);
    atomic_fetch_add(w->next, 1);
    while (atomic_load(w->next) < w->count) continue; /* all have written theirs */
    for (int i = 0; i < SCRATCH_BYTES; i++) is_right = is_right && scratch[i] == w->index + 1;
    out[w->index] = is_right;
}

static const mica_kernel shift_kernel = {.name = "shift", .device = MICA_DEVICE_CPU, .cpu = shift};
static const mica_kernel mark_kernel = {
    .name = "mark", .device = MICA_DEVICE_CPU, .cpu = mark_scratch};

/* Two steps through the arena: out = reverse(in + 1) + 10. Bindings: arena, in, out. */
typedef struct hand_plan {
    shift_args args[2];
    mica_operand operands[2][2];
    mica_step steps[2];
    mica_segment segment;
    mica_binding bindings[3];
    mica_plan plan;
} hand_plan;

static mica_operand operand(size_t field, uint16_t binding, uint64_t offset, uint8_t access) {
    return (mica_operand){(uint32_t)field, binding, access, offset, N * sizeof(int32_t)};
}

static void make_plan(hand_plan *p) {
    const size_t in = offsetof(shift_args, in), out = offsetof(shift_args, out);
    *p = (hand_plan){.args = {{.n = N, .add = 1}, {.n = N, .add = 10, .is_reversed = true}}};
    p->operands[0][0] = operand(in, 1, 0, MICA_ACCESS_READ);
    p->operands[0][1] = operand(out, 0, 128, MICA_ACCESS_WRITE);
    p->operands[1][0] = operand(in, 0, 128, MICA_ACCESS_READ);
    p->operands[1][1] = operand(out, 2, 64, MICA_ACCESS_WRITE);
    for (int i = 0; i < 2; i++) {
        p->steps[i] = (mica_step){.kernel = &shift_kernel, .args = &p->args[i]};
        p->steps[i].args_bytes = sizeof(shift_args);
        p->steps[i].n_operands = 2;
        p->steps[i].operands = p->operands[i];
    }
    p->steps[1].barrier_before = true;
    p->segment = (mica_segment){.steps = p->steps, .n_steps = 2};
    p->bindings[0].kind = MICA_BIND_ARENA;
    p->bindings[1].kind = MICA_BIND_INPUT;
    p->bindings[2].kind = MICA_BIND_OUTPUT;
    p->plan = (mica_plan){
        .bindings = p->bindings, .n_bindings = 3, .segments = &p->segment, .n_segments = 1};
}

static mica_device *open_device(const mica_host *host, int n_threads) {
    mica_error err = {0};
    mica_device *device = NULL;
    mica_device_options o = {.n_threads = n_threads};
    assert_ok(mica_backend_cpu.open(host, &o, &device, &err));
    return device;
}

static mica_bound bound(const void *memory) {
    return (mica_bound){(uint64_t)(uintptr_t)memory, N * sizeof(int32_t) + 128};
}

static void run_and_check(mica_device *device, mica_prepared *prepared, const int32_t *arena,
                          const int32_t *in, const int32_t *out) {
    mica_error err = {0};
    mica_bound table[3] = {bound(arena), bound(in), bound(out)};
    assert_ok(mica_backend_cpu.run(device, prepared, table, &err));
    for (int i = 0; i < N; i++)
        if (out[16 + i] != in[N - 1 - i] + 11) fail_msg("item %d: %d", i, out[16 + i]);
}

/* Proves: each run uses the addresses of its own table, whichever bindings moved, with any number
 * of threads; the step that reads what the other wrote waits for it; the plan itself stays as it
 * was. */
static void addresses_follow_bindings(void **state) {
    (void)state;
    int32_t *memory[6];
    for (int m = 0; m < 6; m++) {
        memory[m] = calloc(N + 64, sizeof(int32_t));
        for (int i = 0; i < N; i++) memory[m][i] = i * (m + 1);
    }
    for (int n_threads = 1; n_threads <= 5; n_threads++) {
        mica_error err = {0};
        mica_device *device = open_device(mica_host_default(), n_threads);
        mica_prepared *prepared = NULL, *other = NULL;
        mica_run_stats stats;
        hand_plan p, before;
        make_plan(&p);
        before = p;
        assert_ok(mica_backend_cpu.prepare(device, &p.plan, 0, &prepared, &err));
        assert_ok(mica_backend_cpu.prepare(device, &p.plan, 0, &other, &err));
        for (int round = 0; round < 20; round++) {
            const int32_t *in = memory[round % 3 ? 0 : 1], *out = memory[round & 1 ? 2 : 3];
            const int32_t *arena = memory[round & 2 ? 4 : 5];
            run_and_check(device, round % 5 ? prepared : other, arena, in, out);
        }
        assert_memory_equal(&p, &before, sizeof p);
        mica_backend_cpu.stats(device, &stats);
        assert_int_equal(stats.n_runs, 20);
        assert_int_equal(stats.n_steps, 40);
        mica_backend_cpu.prepared_destroy(device, prepared);
        mica_backend_cpu.prepared_destroy(device, other);
        mica_backend_cpu.close(device);
    }
    for (int m = 0; m < 6; m++) free(memory[m]);
}

/* Proves: every worker has scratch of its own, aligned, also after another plan made it grow, and
 * after a trim. */
static void scratch_is_private(void **state) {
    (void)state;
    mica_error err = {0};
    int32_t marks[4] = {0};
    mica_device *device = open_device(mica_host_default(), 4);
    mica_prepared *prepared[2] = {NULL, NULL};
    shift_args args = {0};
    mica_operand o = operand(offsetof(shift_args, out), 1, 0, MICA_ACCESS_WRITE);
    mica_step step = {.kernel = &mark_kernel, .args = &args, .args_bytes = sizeof args};
    step.n_operands = 1;
    step.operands = &o;
    mica_segment segments[2] = {
        {.steps = &step, .n_steps = 1, .scratch_bytes = SCRATCH_BYTES},
        {.steps = &step, .n_steps = 1, .scratch_bytes = 100 * SCRATCH_BYTES}};
    mica_binding bindings[2] = {{.kind = MICA_BIND_ARENA}, {.kind = MICA_BIND_OUTPUT}};
    mica_plan plan = {.bindings = bindings, .n_bindings = 2, .segments = segments, .n_segments = 2};
    mica_bound table[2] = {{0, 0}, bound(marks)};
    for (int round = 0; round < 2; round++) {
        for (size_t s = 0; s < 2; s++) {
            assert_ok(mica_backend_cpu.prepare(device, &plan, s, &prepared[s], &err));
            for (size_t i = 0; i <= s; i++) {
                memset(marks, 0, sizeof marks);
                assert_ok(mica_backend_cpu.run(device, prepared[i], table, &err));
                for (int w = 0; w < 4; w++) assert_int_equal(marks[w], 1);
            }
        }
        for (size_t s = 0; s < 2; s++) mica_backend_cpu.prepared_destroy(device, prepared[s]);
        mica_backend_cpu.trim(device);
    }
    segments[0].scratch_bytes = SIZE_MAX - 3;
    assert_int_equal(mica_backend_cpu.prepare(device, &plan, 0, &prepared[0], &err),
                     MICA_STATUS_LIMIT);
    segments[0].scratch_bytes = SIZE_MAX / 2;
    assert_int_equal(mica_backend_cpu.prepare(device, &plan, 0, &prepared[0], &err),
                     MICA_STATUS_LIMIT);
    mica_backend_cpu.close(device);
}

/* Proves: a plan without steps runs; no memory at any allocation of open and prepare is a status.
 */
static void no_steps_and_no_memory(void **state) {
    (void)state;
    for (int64_t n = 0;; n++) {
        mica_error err = {0};
        mica_alloc_counter c;
        mica_alloc_counter_init(&c, mica_allocator_default());
        c.fail_at = n;
        mica_host host = {.allocator = &c.allocator};
        mica_device_options o = {.n_threads = 2};
        mica_device *device = NULL;
        mica_prepared *prepared = NULL;
        hand_plan p;
        make_plan(&p);
        p.segment.n_steps = n ? 2 : 0;
        p.segment.scratch_bytes = 100;
        mica_status st = mica_backend_cpu.open(&host, &o, &device, &err);
        if (!st) st = mica_backend_cpu.prepare(device, &p.plan, 0, &prepared, &err);
        if (!st && !n)
            assert_ok(mica_backend_cpu.run(device, prepared, (mica_bound[3]){{0}}, &err));
        if (prepared) mica_backend_cpu.prepared_destroy(device, prepared);
        if (device) mica_backend_cpu.close(device);
        assert_int_equal(c.n_live, 0);
        if (n && !st) break;
        assert_int_equal(st, n ? MICA_STATUS_OUT_OF_MEMORY : MICA_STATUS_OK);
    }
}

/* ---- buffers ---- */

static void count_release(void *context, const void *host) {
    (void)host;
    ++*(int *)context;
}

/* Proves: buffers are aligned, zero bytes included; imported memory is let go at the last
 * reference; copies stay within both buffers, whatever the offsets add up to. */
static void buffers(void **state) {
    (void)state;
    mica_error err = {0};
    mica_device *device = open_device(mica_host_default(), 1);
    mica_buffer *a = NULL, *b = NULL, *again;
    uint8_t bytes[100];
    int n = 0;
    memset(bytes, 7, sizeof bytes);
    assert_ok(mica_backend_cpu.buffer_create(device, 0, &a, &err));
    assert_int_equal((uintptr_t)a->host % 64, 0);
    mica_buffer_release(&a);
    assert_int_equal(mica_backend_cpu.buffer_create(device, UINT64_MAX, &a, &err),
                     MICA_STATUS_LIMIT);
    assert_null(a);
    assert_ok(mica_backend_cpu.buffer_create(device, 100, &a, &err));
    assert_ok(mica_backend_cpu.buffer_import(device, bytes, 100, count_release, &n, &b, &err));
    again = mica_buffer_retain(b);
    assert_ok(mica_backend_cpu.copy(device, (mica_storage){a, 0}, (mica_storage){b, 0}, 100, &err));
    assert_memory_equal(a->host, bytes, 100);
    const uint64_t wrong[][3] = {{1, 0, 100},
                                 {0, 1, 100},
                                 {101, 0, 0},
                                 {UINT64_MAX, 0, 1},
                                 {0, UINT64_MAX, 2},
                                 {0, 0, UINT64_MAX},
                                 {50, 0, UINT64_MAX - 20}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(mica_backend_cpu.copy(device, (mica_storage){a, wrong[i][0]},
                                               (mica_storage){b, wrong[i][1]}, wrong[i][2], &err),
                         MICA_STATUS_INVALID);
    mica_buffer_release(&b);
    assert_null(b);
    assert_int_equal(n, 0);
    mica_buffer_release(&again);
    mica_buffer_release(&again);
    assert_int_equal(n, 1);
    mica_buffer_release(&a);
    mica_backend_cpu.close(device);
}

/* ---- levels ---- */

/* Proves: a level keeps no more than its instruction sets, refuses kernels that need others, and a
 * level that is unknown or not there is an error. */
static void levels(void **state) {
    (void)state;
    static const char *const names[] = {"scalar", "avx2", "avx512", "neon"};
    mica_error err = {0};
    uint32_t all = mica_cpu_features_detect();
    char text[128];
    mica_cpu_features_format(UINT32_MAX, text, sizeof text);
    assert_string_equal(text, "avx2 avx512 avx512_vnni avx512_bf16 amx neon neon_dot");
    mica_cpu_features_format(UINT32_MAX, text, 9); /* cut, not past the end */
    assert_string_equal(text, "avx2 avx");
    mica_cpu_features_format(0, text, sizeof text);
    assert_string_equal(text, "");
    mica_cpu_name(text, sizeof text);
    assert_true(text[0] && text[0] != ' ');
    for (int i = 0; i < 4; i++) {
        mica_device_options o = {.n_threads = 1, .level_max = names[i]};
        mica_device *device = NULL;
        mica_device_limits limits;
        mica_status st = mica_backend_cpu.open(mica_host_default(), &o, &device, &err);
        if (i == 1 && !(all & MICA_CPU_AVX2)) assert_int_equal(st, MICA_STATUS_UNAVAILABLE);
        if (i == 2 && !(all & MICA_CPU_AVX512)) assert_int_equal(st, MICA_STATUS_UNAVAILABLE);
        if (i == 3 && !(all & MICA_CPU_NEON)) assert_int_equal(st, MICA_STATUS_UNAVAILABLE);
        if (st == MICA_STATUS_UNAVAILABLE) continue;
        assert_ok(st);
        mica_backend_cpu.limits(device, &limits);
        assert_string_equal(limits.level, names[i]);
        assert_int_equal(limits.features & ~(all & mica_cpu_features_of_level(names[i])), 0);
        for (int bit = 0; bit < 7; bit++) {
            mica_kernel kernel = {.name = "k", .needs = 1u << bit, .cpu = shift};
            uint64_t handle = 0;
            st = mica_backend_cpu.kernel_find(device, &kernel, &handle, &err);
            bool has = limits.features >> bit & 1u;
            assert_int_equal(st, has ? MICA_STATUS_OK : MICA_STATUS_UNAVAILABLE);
        }
        mica_backend_cpu.close(device);
    }
    assert_int_equal(mica_cpu_features_of_level("scalar"), 0);
    assert_int_equal(mica_cpu_features_of_level("sse"), UINT32_MAX);
    mica_device *device = NULL;
    mica_device_options o = {.level_max = "sse"};
    assert_int_equal(mica_backend_cpu.open(mica_host_default(), &o, &device, &err),
                     MICA_STATUS_INVALID);
    assert_null(device);
}

/* Proves: a timed run computes the same as a plain one, and its clocks are in order: on a worker a
 * step arrives when the one before it ends, and nobody begins behind a barrier before all have come
 * to it. */
static void times_are_in_order(void **state) {
    (void)state;
    mica_error err = {0};
    int32_t *memory[3];
    for (int m = 0; m < 3; m++) memory[m] = calloc(N + 64, sizeof(int32_t));
    for (int i = 0; i < N; i++) memory[1][i] = i * 3;
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        mica_device *device = open_device(mica_host_default(), n_threads);
        hand_plan p;
        make_plan(&p);
        mica_prepared *prepared = NULL;
        assert_ok(mica_backend_cpu.prepare(device, &p.plan, 0, &prepared, &err));
        mica_bound table[3] = {bound(memory[0]), bound(memory[1]), bound(memory[2])};
        mica_step_time times[3][2] = {0};
        memset(memory[2], 0, N * sizeof(int32_t));
        double start = mica_clock_seconds();
        assert_ok(mica_backend_cpu.run_timed(device, prepared, table, times[0], &err));
        double end = mica_clock_seconds();
        for (int i = 0; i < N; i++) assert_int_equal(memory[2][16 + i], memory[1][N - 1 - i] + 11);
        for (int w = 0; w < n_threads; w++) {
            const mica_step_time *t = times[w];
            assert_true(start <= t[0].arrive && t[0].arrive == t[0].begin);
            assert_true(t[0].begin <= t[0].end && t[0].end == t[1].arrive);
            assert_true(t[1].begin <= t[1].end && t[1].end <= end);
            for (int other = 0; other < n_threads; other++)
                assert_true(times[other][1].arrive <= t[1].begin);
        }
        mica_backend_cpu.prepared_destroy(device, prepared);
        mica_backend_cpu.close(device);
    }
    for (int m = 0; m < 3; m++) free(memory[m]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_in_order),
        cmocka_unit_test(addresses_follow_bindings),
        cmocka_unit_test(scratch_is_private),
        cmocka_unit_test(no_steps_and_no_memory),
        cmocka_unit_test(buffers),
        cmocka_unit_test(levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
