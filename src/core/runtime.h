/* The runtime: everything that eval and the engine need, filled by mica.c. Through it they reach
 * ops, passes and backends, which never see each other. */
#pragma once
#include "core/backend.h"

#define MICA_PASS_NAMES_MAX 256

typedef struct mica_plan_options {
    const char *label; /* for dumps and logs */
    bool is_probe;     /* run once while another plan is built: not dumped, counted or tuned */
} mica_plan_options;

/* Threads: fields above the line are immutable after open; one evaluation at a time. */
struct mica_runtime {
    mica_host host;
    mica_op_table ops; /* MICA_OP_COUNT_ entries */
    const mica_backend *const *backends;
    size_t n_backends;
    /* Builds a plan for refs of g; g itself is not changed. */
    mica_status (*plan_build)(struct mica_runtime *rt, const mica_graph *g, const mica_ref *outputs,
                              size_t n_outputs, const mica_plan_options *options, mica_plan **out,
                              mica_error *err);
    mica_device *device;        /* the default device */
    struct mica_tuning *tuning; /* measured choices of kernels; NULL = by the tables alone */
    mica_device_limits limits;
    uint64_t memory_budget_bytes;
    mica_numeric_mode mode; /* of graphs that users make; models choose their own */
    char no_pass[MICA_PASS_NAMES_MAX];
    char dump[MICA_PASS_NAMES_MAX];
    mica_dump_callback dump_callback;
    void *dump_context;
    /* ---- */
    _Atomic uint64_t n_plans_built; /* counted by plan_build; atomics: statistics for any thread */
    _Atomic uint64_t weight_bytes;
    _Atomic uint64_t kv_bytes;
    mica_buffer *arena; /* activations of every plan; grows to the largest */
    _Atomic uint64_t arena_bytes;
    _Atomic uint64_t arena_peak_bytes;
    _Atomic size_t n_executables; /* alive: the arena is theirs */
};

/* Frees the arena and what the device keeps between runs, unless an executable is alive: called
 * when an engine goes, so that memory returns to what it was. */
void mica_runtime_trim(mica_runtime *rt);

/* A plan with its prepared segments and its table of bound addresses. Threads: one at a time. */
typedef struct mica_executable mica_executable;

/* Takes the plan over, also on failure. */
mica_status mica_executable_create(mica_runtime *rt, mica_plan *plan, mica_executable **out,
                                   mica_error *err);
void mica_executable_destroy(mica_executable **e);
const mica_plan *mica_executable_plan(const mica_executable *e);
/* Sets where an INPUT (by name) or the i-th OUTPUT lies. Errors: NOT_FOUND, INVALID (too small).
 * An output that was pruned or that is a leaf needs none. No allocation. */
mica_status mica_executable_bind_input(mica_executable *e, const char *name, mica_storage storage,
                                       mica_error *err);
mica_status mica_executable_bind_output(mica_executable *e, size_t index, mica_storage storage,
                                        mica_error *err);
/* Runs all segments. No allocation after the first run. */
mica_status mica_executable_run(mica_executable *e, mica_error *err);
/* The same with clocks: for each segment times[n_workers][n_steps], one after another; n_workers as
 * in the device's limits. Errors: also UNAVAILABLE. */
mica_status mica_executable_run_timed(mica_executable *e, mica_step_time *times, mica_error *err);

/* True if `name` is in a comma-separated list, or the list is "all" and is_dump. */
bool mica_name_is_listed(const char *list, const char *name, bool all_counts);
