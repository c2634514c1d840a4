/* Timed passes: runs an executable with clocks and describes its steps; the public side is
 * mica/profile.h. */
#pragma once
#include "core/runtime.h"
#include "mica/profile.h"

/* Who wants to know; no callback = nobody. */
typedef struct mica_profiler {
    mica_profile_callback callback;
    void *context;
} mica_profiler;

/* Runs e as mica_executable_run does and calls the profiler's callback. counts: live tokens and
 * rows; n_capacity: tokens of the plan. Errors: those of the run; UNAVAILABLE, OUT_OF_MEMORY. */
mica_status mica_profiler_run(const mica_profiler *p, mica_runtime *rt, mica_executable *e,
                              const int32_t counts[2], int32_t n_capacity, mica_error *err);
