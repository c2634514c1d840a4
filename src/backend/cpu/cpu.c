/* Device, buffers and the run loop of the CPU backend. Arguments are copied per prepared plan, so
 * that the plan stays const; addresses are patched only where a binding moved. */
#include "backend/cpu/cpu.h"
#include <stdio.h>
#include <string.h>
#include "backend/cpu/cpu_features.h"
#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "core/host_buffer.h"

#define CACHE_LINE 64

typedef struct cpu_device {
    mica_device head;
    mica_thread_pool *pool;
    uint32_t features;
    uint8_t *scratch; /* scratch_bytes for each worker */
    size_t scratch_bytes;
    uint8_t *private; /* MICA_BIND_PRIVATE: private_bytes for each worker */
    size_t private_bytes;
    _Atomic uint64_t n_runs, n_steps;
} cpu_device;

/* One place in the copied arguments that holds an address. */
typedef struct cpu_patch {
    size_t at; /* byte of a worker's arguments */
    uint64_t offset;
} cpu_patch;

/* A counter on a cache line of its own. */
typedef struct cpu_counter {
    _Atomic int64_t next;
    char padding[CACHE_LINE - sizeof(int64_t)];
} cpu_counter;

struct mica_prepared {
    const mica_segment *segment;
    size_t n_bindings;
    int n_workers;
    size_t private_binding; /* n_bindings = none */
    size_t private_stride;  /* as patched last */
    uint8_t *args;          /* for each worker: all argument structs, one after another */
    size_t args_bytes;      /* of one worker */
    size_t *step_args;      /* per step: its struct's first byte in them */
    cpu_patch *patches;     /* grouped by binding */
    uint32_t *patch_start;  /* [n_bindings + 1] */
    uint64_t *address;      /* per binding, as patched last */
    cpu_counter *counters;  /* per step */
};

static cpu_device *cast(mica_device *device) { return (cpu_device *)device; }

/* ---- device ---- */

static mica_status probe(const mica_host *host, mica_error *err) {
    (void)host;
    (void)err;
    return MICA_STATUS_OK;
}

static void close_device(mica_device *device) {
    cpu_device *d = cast(device);
    mica_thread_pool_destroy(&d->pool);
    mica_free(device->host->allocator, d->scratch);
    mica_free(device->host->allocator, d->private);
    mica_free(device->host->allocator, d);
}

static mica_status choose_features(const char *level, uint32_t *features, mica_error *err) {
    *features = mica_cpu_features_detect();
    if (!level) return MICA_STATUS_OK;
    uint32_t mask = mica_cpu_features_of_level(level);
    if (mask == UINT32_MAX)
        return mica_fail(err, MICA_STATUS_INVALID,
                         "cpu level \"%s\": wanted scalar, avx2, avx512, amx or neon", level);
    *features &= mask;
    if (strcmp(mica_cpu_features_level(*features), level) != 0)
        return mica_fail(err, MICA_STATUS_UNAVAILABLE, "cpu level %s: this machine has %s", level,
                         mica_cpu_features_level(mica_cpu_features_detect()));
    return MICA_STATUS_OK;
}

static mica_status open_device(const mica_host *host, const mica_device_options *options,
                               mica_device **out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    cpu_device *d = MICA_NEW(host->allocator, cpu_device);
    if (!d) return mica_fail_memory(err, sizeof *d, "the CPU device");
    d->head = (mica_device){&mica_backend_cpu, host};
    MICA_TRY(choose_features(options->level_max, &d->features, err));
    MICA_TRY(mica_thread_pool_create(host, options->n_threads, &d->pool, err));
    *out = &d->head;
    d = NULL;
done:
    if (d) close_device(&d->head);
    return st;
}

static void limits(const mica_device *device, mica_device_limits *out) {
    const cpu_device *d = (const cpu_device *)device;
    *out = (mica_device_limits){.features = d->features, .buffer_bytes = UINT64_MAX};
    out->memory_bytes = mica_memory_available();
    out->n_workers = mica_thread_pool_size(d->pool);
    mica_cpu_name(out->name, sizeof out->name);
    snprintf(out->level, sizeof out->level, "%s", mica_cpu_features_level(d->features));
    mica_cpu_features_format(d->features, out->feature_names, sizeof out->feature_names);
}

static mica_status kernel_find(mica_device *device, const mica_kernel *kernel, uint64_t *handle,
                               mica_error *err) {
    if (!kernel->cpu || (kernel->needs & ~cast(device)->features))
        return mica_fail(err, MICA_STATUS_UNAVAILABLE, "kernel %s is not for this processor",
                         kernel->name);
    *handle = (uint64_t)(uintptr_t)kernel->cpu;
    return MICA_STATUS_OK;
}

/* ---- prepare ---- */

static void prepared_destroy(mica_device *device, mica_prepared *p) {
    const mica_allocator *a = device->host->allocator;
    mica_free(a, p->args);
    mica_free(a, p->step_args);
    mica_free(a, p->patches);
    mica_free(a, p->patch_start);
    mica_free(a, p->address);
    mica_free(a, p->counters);
    mica_free(a, p);
}

static mica_status allocate_tables(mica_device *device, mica_prepared *p, size_t n_patches,
                                   mica_error *err) {
    const mica_allocator *a = device->host->allocator;
    size_t n_steps = p->segment->n_steps, all_args = 0;
    if (!mica_mul_size(p->args_bytes, (size_t)p->n_workers, &all_args))
        return mica_fail(err, MICA_STATUS_LIMIT, "arguments of %zu bytes for each worker",
                         p->args_bytes);
    p->args = mica_alloc_aligned(a, all_args, CACHE_LINE);
    p->step_args = MICA_NEW_ARRAY(a, size_t, n_steps + 1);
    p->patches = MICA_NEW_ARRAY(a, cpu_patch, n_patches + 1);
    p->patch_start = MICA_NEW_ARRAY(a, uint32_t, p->n_bindings + 2);
    p->address = MICA_NEW_ARRAY(a, uint64_t, p->n_bindings + 1);
    p->counters = mica_alloc_aligned(a, (n_steps + 1) * sizeof *p->counters, CACHE_LINE);
    if (!p->args || !p->step_args || !p->patches || !p->patch_start || !p->address || !p->counters)
        return mica_fail_memory(err, all_args + n_steps * sizeof *p->counters, "a prepared plan");
    memset(p->counters, 0, (n_steps + 1) * sizeof *p->counters);
    return MICA_STATUS_OK;
}

static uint8_t *worker_args(const mica_prepared *p, int worker) {
    return p->args + (size_t)worker * p->args_bytes;
}

/* Copies the arguments and sorts the patches by binding (counting sort). */
static void fill_tables(mica_prepared *p) {
    const mica_segment *segment = p->segment;
    size_t next = 0;
    for (size_t s = 0; s < segment->n_steps; s++) {
        const mica_step *step = &segment->steps[s];
        for (int w = 0; w < p->n_workers && step->args_bytes; w++)
            memcpy(worker_args(p, w) + next, step->args, step->args_bytes);
        p->step_args[s] = next;
        next += (step->args_bytes + 15u) & ~15u;
        for (uint32_t i = 0; i < step->n_operands; i++)
            p->patch_start[step->operands[i].binding + 2]++;
    }
    for (size_t b = 2; b < p->n_bindings + 2; b++) p->patch_start[b] += p->patch_start[b - 1];
    for (size_t s = 0; s < segment->n_steps; s++) {
        const mica_step *step = &segment->steps[s];
        for (uint32_t i = 0; i < step->n_operands; i++) {
            const mica_operand *o = &step->operands[i];
            size_t at = p->step_args[s] + o->args_byte;
            p->patches[p->patch_start[o->binding + 1]++] = (cpu_patch){at, o->offset};
        }
    }
}

/* Memory of which every worker has `bytes`; it grows to what the largest plan wants. */
static mica_status reserve(cpu_device *d, size_t bytes, uint8_t **memory, size_t *memory_bytes,
                           mica_error *err) {
    const mica_allocator *a = d->head.host->allocator;
    size_t all = 0;
    if (bytes <= *memory_bytes) return MICA_STATUS_OK;
    if (!mica_align_size(bytes, CACHE_LINE, &bytes) ||
        !mica_mul_size(bytes, (size_t)mica_thread_pool_size(d->pool), &all))
        return mica_fail(err, MICA_STATUS_LIMIT, "kernel scratch of %zu bytes a worker", bytes);
    uint8_t *larger = mica_alloc_aligned(a, all, CACHE_LINE);
    if (!larger) return mica_fail_memory(err, all, "kernel scratch");
    mica_free(a, *memory);
    *memory = larger;
    *memory_bytes = bytes;
    return MICA_STATUS_OK;
}

static size_t find_private(const mica_plan *plan) {
    size_t b = 0;
    while (b < plan->n_bindings && plan->bindings[b].kind != MICA_BIND_PRIVATE) b++;
    return b;
}

static mica_status prepare(mica_device *device, const mica_plan *plan, size_t index,
                           mica_prepared **out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_prepared *p = MICA_NEW(device->host->allocator, mica_prepared);
    cpu_device *d = cast(device);
    if (!p) return mica_fail_memory(err, sizeof *p, "a prepared plan");
    p->n_workers = 1;
    p->segment = &plan->segments[index];
    p->n_bindings = plan->n_bindings;
    p->private_binding = find_private(plan);
    /* One copy of the arguments serves all where they are the same for all. */
    if (p->private_binding < p->n_bindings) p->n_workers = mica_thread_pool_size(d->pool);
    size_t n_patches = 0;
    for (size_t s = 0; s < p->segment->n_steps; s++) {
        p->args_bytes += (p->segment->steps[s].args_bytes + 15u) & ~15u;
        n_patches += p->segment->steps[s].n_operands;
    }
    p->args_bytes = (p->args_bytes + CACHE_LINE) & ~(size_t)(CACHE_LINE - 1);
    MICA_TRY(allocate_tables(device, p, n_patches, err));
    MICA_TRY(reserve(d, p->segment->scratch_bytes, &d->scratch, &d->scratch_bytes, err));
    MICA_TRY(reserve(d, p->segment->private_bytes, &d->private, &d->private_bytes, err));
    fill_tables(p);
    *out = p;
    p = NULL;
done:
    if (p) prepared_destroy(device, p);
    return st;
}

/* ---- run ---- */

typedef struct cpu_run {
    cpu_device *device;
    mica_prepared *prepared;
    mica_step_time *times; /* of a timed run: [workers, steps] */
} cpu_run;

/* All of the step, as a team of one. */
static void run_alone(const mica_step *step, const void *args, void *scratch) {
    _Atomic int64_t next = 0;
    mica_cpu_worker worker = {.count = 1, .scratch = scratch, .next = &next};
    step->kernel->cpu(args, &worker);
}

static mica_cpu_worker make_worker(const cpu_run *run, int index, int count) {
    mica_cpu_worker worker = {.index = index, .count = count};
    if (run->device->scratch)
        worker.scratch = run->device->scratch + (size_t)index * run->device->scratch_bytes;
    return worker;
}

static inline void run_step(const mica_prepared *p, size_t s, const uint8_t *args,
                            mica_cpu_worker *worker) {
    const mica_step *step = &p->segment->steps[s];
    worker->next = &p->counters[s].next;
    if (step->is_private)
        run_alone(step, args + p->step_args[s], worker->scratch);
    else
        step->kernel->cpu(args + p->step_args[s], worker);
}

static void run_worker(void *context, int index, int count) {
    const cpu_run *run = context;
    mica_prepared *p = run->prepared;
    mica_cpu_worker worker = make_worker(run, index, count);
    const uint8_t *args = worker_args(p, p->n_workers > 1 ? index : 0);
    for (size_t s = 0; s < p->segment->n_steps; s++) {
        if (p->segment->steps[s].barrier_before && s)
            mica_thread_pool_barrier(run->device->pool, index);
        run_step(p, s, args, &worker);
    }
}

/* run_worker with two looks at the clock for a step: its end is the next one's arrival. */
static void run_worker_timed(void *context, int index, int count) {
    const cpu_run *run = context;
    mica_prepared *p = run->prepared;
    mica_cpu_worker worker = make_worker(run, index, count);
    const uint8_t *args = worker_args(p, p->n_workers > 1 ? index : 0);
    mica_step_time *times = run->times + (size_t)index * p->segment->n_steps;
    double now = mica_clock_seconds();
    for (size_t s = 0; s < p->segment->n_steps; s++) {
        times[s].arrive = times[s].begin = now;
        if (p->segment->steps[s].barrier_before && s) {
            mica_thread_pool_barrier(run->device->pool, index);
            times[s].begin = mica_clock_seconds();
        }
        run_step(p, s, args, &worker);
        times[s].end = now = mica_clock_seconds();
    }
}

static void patch_binding(mica_prepared *p, size_t b, uint64_t address, size_t stride) {
    p->address[b] = address;
    for (int w = 0; w < p->n_workers; w++) {
        uint8_t *args = worker_args(p, w);
        for (uint32_t i = p->patch_start[b]; i < p->patch_start[b + 1]; i++) {
            uint64_t value = address + (uint64_t)w * stride + p->patches[i].offset;
            memcpy(args + p->patches[i].at, &value, sizeof value);
        }
    }
}

/* The device's own memory may have moved or grown since the last run. */
static void patch_private(const cpu_device *d, mica_prepared *p) {
    uint64_t address = (uint64_t)(uintptr_t)d->private;
    if (p->private_binding == p->n_bindings) return;
    if (p->address[p->private_binding] == address && p->private_stride == d->private_bytes) return;
    p->private_stride = d->private_bytes;
    patch_binding(p, p->private_binding, address, p->private_stride);
}

static void run_on_all(mica_device *device, mica_prepared *p, const mica_bound *bound,
                       mica_step_time *times) {
    for (size_t b = 0; b < p->n_bindings; b++)
        if (bound[b].address != p->address[b] && b != p->private_binding)
            patch_binding(p, b, bound[b].address, 0);
    patch_private(cast(device), p);
    for (size_t s = 0; s < p->segment->n_steps; s++)
        atomic_store_explicit(&p->counters[s].next, 0, memory_order_relaxed);
    cpu_run context = {cast(device), p, times};
    mica_thread_pool_run(cast(device)->pool, times ? run_worker_timed : run_worker, &context);
    cast(device)->n_runs++;
    cast(device)->n_steps += p->segment->n_steps;
}

static mica_status run(mica_device *device, mica_prepared *p, const mica_bound *bound,
                       mica_error *err) {
    (void)err;
    run_on_all(device, p, bound, NULL);
    return MICA_STATUS_OK;
}

static mica_status run_timed(mica_device *device, mica_prepared *p, const mica_bound *bound,
                             mica_step_time *times, mica_error *err) {
    (void)err;
    run_on_all(device, p, bound, times);
    return MICA_STATUS_OK;
}

static void trim(mica_device *device) {
    cpu_device *d = cast(device);
    mica_free(device->host->allocator, d->scratch);
    mica_free(device->host->allocator, d->private);
    d->scratch = d->private = NULL;
    d->scratch_bytes = d->private_bytes = 0;
}

static void stats(const mica_device *device, mica_run_stats *out) {
    const cpu_device *d = (const cpu_device *)device;
    *out = (mica_run_stats){.n_runs = d->n_runs, .n_steps = d->n_steps};
}

const mica_backend mica_backend_cpu = {
    .name = "cpu",
    .kind = MICA_DEVICE_CPU,
    .probe = probe,
    .open = open_device,
    .close = close_device,
    .limits = limits,
    .buffer_create = mica_host_buffer_create,
    .buffer_import = mica_host_buffer_import,
    .buffer_map = mica_host_buffer_map,
    .buffer_destroy = mica_host_buffer_destroy,
    .kernel_find = kernel_find,
    .prepare = prepare,
    .prepared_destroy = prepared_destroy,
    .run = run,
    .run_timed = run_timed,
    .copy = mica_host_buffer_copy,
    .event_signal = mica_host_event_signal,
    .event_wait = mica_host_event_wait,
    .trim = trim,
    .stats = stats,
};
