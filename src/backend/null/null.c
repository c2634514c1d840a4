/* The null backend: counts runs and steps. Kernels are selected as on a scalar CPU. */
#include "backend/null/null.h"
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "base/thread_pool.h"

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

static mica_status wrap(mica_device *device, void *host, uint64_t bytes,
                        void (*release)(void *, const void *), void *context, mica_buffer **out,
                        mica_error *err) {
    mica_buffer *b = MICA_NEW(device->host->allocator, mica_buffer);
    if (!b) return mica_fail_memory(err, sizeof *b, "a buffer");
    atomic_store(&b->references, 1);
    b->device = device;
    b->host = host;
    b->handle = (uint64_t)(uintptr_t)host;
    b->bytes = bytes;
    b->release_memory = release;
    b->release_context = context;
    *out = b;
    return MICA_STATUS_OK;
}

static mica_status buffer_create(mica_device *device, uint64_t bytes, mica_buffer **out,
                                 mica_error *err) {
    /* Zeroed: nothing is computed, but what is read stays defined. */
    void *host = bytes <= SIZE_MAX ? mica_alloc_zero(device->host->allocator, (size_t)bytes) : NULL;
    if (!host) return mica_fail_memory(err, (size_t)bytes, "a buffer");
    mica_status st = wrap(device, host, bytes, NULL, NULL, out, err);
    if (st != MICA_STATUS_OK) mica_free(device->host->allocator, host);
    return st;
}

static mica_status buffer_import(mica_device *device, const void *host, uint64_t bytes,
                                 void (*release)(void *, const void *), void *context,
                                 mica_buffer **out, mica_error *err) {
    if (!release) release = mica_buffer_keep;
    mica_status st = wrap(device, (void *)(uintptr_t)host, bytes, release, context, out, err);
    if (st != MICA_STATUS_OK) release(context, host);
    return st;
}

static mica_status buffer_map(mica_device *device, mica_buffer *buffer, bool will_write, void **out,
                              mica_error *err) {
    (void)device;
    (void)will_write;
    (void)err;
    *out = buffer->host;
    return MICA_STATUS_OK;
}

static void buffer_destroy(mica_device *device, mica_buffer *buffer) {
    if (buffer->release_memory) buffer->release_memory(buffer->release_context, buffer->host);
    else mica_free(device->host->allocator, buffer->host);
    mica_free(device->host->allocator, buffer);
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

static mica_status copy(mica_device *device, mica_storage to, mica_storage from, uint64_t bytes,
                        mica_error *err) {
    (void)device;
    if (to.offset > to.buffer->bytes || bytes > to.buffer->bytes - to.offset ||
        from.offset > from.buffer->bytes || bytes > from.buffer->bytes - from.offset)
        return mica_fail(err, MICA_STATUS_INVALID, "a copy of %llu bytes past a buffer's end",
                         (unsigned long long)bytes);
    memmove((uint8_t *)to.buffer->host + to.offset, (uint8_t *)from.buffer->host + from.offset,
            (size_t)bytes);
    return MICA_STATUS_OK;
}

static mica_status event_signal(mica_device *device, mica_event **out, mica_error *err) {
    (void)device;
    (void)err;
    *out = NULL;
    return MICA_STATUS_OK;
}

static mica_status event_wait(mica_device *device, mica_event *event, mica_error *err) {
    (void)device;
    (void)event;
    (void)err;
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
    .buffer_import = buffer_import,
    .buffer_map = buffer_map,
    .buffer_destroy = buffer_destroy,
    .kernel_find = kernel_find,
    .prepare = prepare,
    .prepared_destroy = prepared_destroy,
    .run = run,
    .copy = copy,
    .event_signal = event_signal,
    .event_wait = event_wait,
    .trim = trim,
    .stats = stats,
};
