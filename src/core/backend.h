/* A backend: where plans run. One folder under src/backend/ per backend, one line in mica.c.
 * All functions report errors; none aborts. */
#pragma once
#include "core/op.h"

typedef struct mica_prepared mica_prepared; /* a plan's segment made ready for a device */
typedef struct mica_event mica_event;

typedef struct mica_device_options {
    int n_threads;         /* CPU; 0 = all cores available */
    const char *level_max; /* CPU: "scalar", "avx2", "avx512", "amx", "neon"; NULL = best */
} mica_device_options;

typedef struct mica_device_limits {
    uint32_t features;     /* MICA_CPU_* bits or an architecture */
    uint64_t memory_bytes; /* free when the device was opened; 0 = not known */
    uint64_t buffer_bytes; /* largest single buffer */
    int n_workers;         /* threads, or multiprocessors */
    char name[64];         /* of the hardware */
    char level[16];
    char feature_names[128];
} mica_device_limits;

typedef struct mica_run_stats {
    uint64_t n_runs;
    uint64_t n_steps;
} mica_run_stats;

/* One address for each binding of the plan: where its first byte lies on the device. The entry of
 * MICA_BIND_PRIVATE is the device's own. */
typedef struct mica_bound {
    uint64_t address;
    uint64_t bytes;
} mica_bound;

/* When a worker came to a step, began and ended it: mica_clock_seconds. arrive is before begin
 * where it waited at a barrier, else they are the same. */
typedef struct mica_step_time {
    double arrive;
    double begin;
    double end;
} mica_step_time;

typedef struct mica_backend {
    const char *name; /* "cpu" */
    mica_device_kind kind;
    /* Whether a device of this kind can be opened here; says why not. */
    mica_status (*probe)(const mica_host *host, mica_error *err);
    mica_status (*open)(const mica_host *host, const mica_device_options *options,
                        mica_device **out, mica_error *err);
    void (*close)(mica_device *device);
    void (*limits)(const mica_device *device, mica_device_limits *out);
    mica_status (*buffer_create)(mica_device *device, uint64_t bytes, mica_buffer **out,
                                 mica_error *err);
    /* Wraps host memory without a copy where the device can, else copies. release is called once
     * the memory is no longer used (also after a copy). */
    mica_status (*buffer_import)(mica_device *device, const void *host, uint64_t bytes,
                                 void (*release)(void *context, const void *host), void *context,
                                 mica_buffer **out, mica_error *err);
    /* Makes the bytes readable (and writable) by the host and returns their address. */
    mica_status (*buffer_map)(mica_device *device, mica_buffer *buffer, bool will_write, void **out,
                              mica_error *err);
    void (*buffer_destroy)(mica_device *device, mica_buffer *buffer);
    /* A handle for a variant, or UNAVAILABLE. */
    mica_status (*kernel_find)(mica_device *device, const mica_kernel *kernel, uint64_t *handle,
                               mica_error *err);
    /* Makes segment `index` of a plan ready: a CUDA graph, encoded commands, patched arguments. */
    mica_status (*prepare)(mica_device *device, const mica_plan *plan, size_t index,
                           mica_prepared **out, mica_error *err);
    void (*prepared_destroy)(mica_device *device, mica_prepared *prepared);
    /* Runs it; bound[n_bindings]. Returns when the work is enqueued (CPU: done). */
    mica_status (*run)(mica_device *device, mica_prepared *prepared, const mica_bound *bound,
                       mica_error *err);
    /* As run, and tells the times of every step: times[n_workers][n_steps]. NULL = cannot. */
    mica_status (*run_timed)(mica_device *device, mica_prepared *prepared, const mica_bound *bound,
                             mica_step_time *times, mica_error *err);
    /* Between buffers of this device, or host and device. */
    mica_status (*copy)(mica_device *device, mica_storage to, mica_storage from, uint64_t bytes,
                        mica_error *err);
    mica_status (*event_signal)(mica_device *device, mica_event **out, mica_error *err);
    mica_status (*event_wait)(mica_device *device, mica_event *event, mica_error *err);
    /* Frees what is kept between runs (kernel scratch). No prepared plan exists. */
    void (*trim)(mica_device *device);
    /* Threads: any. */
    void (*stats)(const mica_device *device, mica_run_stats *out);
} mica_backend;

/* Common head of every backend's device struct. */
struct mica_device {
    const mica_backend *backend;
    const mica_host *host;
};
