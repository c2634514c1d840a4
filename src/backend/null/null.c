/* The null backend: counts runs and steps. Kernels are selected as on a scalar CPU. */
#include "backend/null/null.h"
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "core/host_buffer.h"

typedef struct null_device {
    mica_device head;
    _Atomic uint64_t n_runs, n_steps;
} null_device;

struct mica_prepared {
    size_t n_steps;
};

static mica_status probe(const mica_host *host, mica_error *err) {
    (void)host;
    (void)err;
    return MICA_STATUS_OK;
}

static mica_status open_device(const mica_host *host, const mica_device_options *options,
                               mica_device **out, mica_error *err) {
    (void)options;
    null_device *d = MICA_NEW(host->allocator, null_device);
    if (!d) return mica_fail_memory(err, sizeof *d, "the null device");
    d->head = (mica_device){&mica_backend_null, host};
    *out = &d->head;
    return MICA_STATUS_OK;
}

static void close_device(mica_device *device) { mica_free(device->host->allocator, device); }

static void limits(const mica_device *device, mica_device_limits *out) {
    (void)device;
    *out = (mica_device_limits){.buffer_bytes = UINT64_MAX, .n_workers = 1};
    out->memory_bytes = mica_memory_available();
    snprintf(out->name, sizeof out->name, "null");
    snprintf(out->level, sizeof out->level, "scalar");
}

/* Zeroed: nothing is computed, but what is read stays defined. */
static mica_status buffer_create(mica_device *device, uint64_t bytes, mica_buffer **out,
                                 mica_error *err) {
    mica_status st = mica_host_buffer_create(device, bytes, out, err);
    if (st == MICA_STATUS_OK) memset((*out)->host, 0, (size_t)bytes);
    return st;
}

static mica_status kernel_find(mica_device *device, const mica_kernel *kernel, uint64_t *handle,
                               mica_error *err) {
    (void)device;
    (void)kernel;
    (void)err;
    *handle = 0;
    return MICA_STATUS_OK;
}

static mica_status prepare(mica_device *device, const mica_plan *plan, size_t index,
                           mica_prepared **out, mica_error *err) {
    mica_prepared *p = MICA_NEW(device->host->allocator, mica_prepared);
    if (!p) return mica_fail_memory(err, sizeof *p, "a prepared plan");
    p->n_steps = plan->segments[index].n_steps;
    *out = p;
    return MICA_STATUS_OK;
}

static void prepared_destroy(mica_device *device, mica_prepared *p) {
    mica_free(device->host->allocator, p);
}

static mica_status run(mica_device *device, mica_prepared *p, const mica_bound *bound,
                       mica_error *err) {
    (void)bound;
    (void)err;
    null_device *d = (null_device *)device;
    d->n_runs++;
    d->n_steps += p->n_steps;
    return MICA_STATUS_OK;
}

static void trim(mica_device *device) { (void)device; }

static void stats(const mica_device *device, mica_run_stats *out) {
    const null_device *d = (const null_device *)device;
    *out = (mica_run_stats){.n_runs = d->n_runs, .n_steps = d->n_steps};
}

const mica_backend mica_backend_null = {
    .name = "null",
    .kind = MICA_DEVICE_NULL,
    .probe = probe,
    .open = open_device,
    .close = close_device,
    .limits = limits,
    .buffer_create = buffer_create,
    .buffer_import = mica_host_buffer_import,
    .buffer_map = mica_host_buffer_map,
    .buffer_destroy = mica_host_buffer_destroy,
    .kernel_find = kernel_find,
    .prepare = prepare,
    .prepared_destroy = prepared_destroy,
    .run = run,
    .copy = mica_host_buffer_copy,
    .event_signal = mica_host_event_signal,
    .event_wait = mica_host_event_wait,
    .trim = trim,
    .stats = stats,
};
