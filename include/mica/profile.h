/* Where the time of a forward pass goes: every step of its plan, on every worker, with the bytes
 * and the arithmetic that the step's op states.
 *
 *     mica_engine_set_profile(engine, take_pass, context, &err);
 *     ... submit and step as always; take_pass is called after each pass ...
 *     mica_engine_set_profile(engine, NULL, NULL, &err);
 *
 * Two readings of the clock a step and worker are added while a callback is set, nothing before. */
#pragma once
#include "mica/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One launch, in the order of the plan. Strings are borrowed for the call. */
typedef struct mica_profile_step {
    const char *op;     /* "linear" */
    const char *kernel; /* the variant that ran: "linear_bf16_avx2" */
    const char *weight; /* name of the largest weight that it reads; NULL = none */
    const char *result; /* dtype and shape: "f32[1, 576]"; axis 0 as the plan has it */
    uint32_t node;      /* number in the text that `dump` prints */
    uint64_t bytes;     /* read and written, each once; of the plan's shapes */
    uint64_t flops;     /* of the plan's shapes */
    bool has_barrier;   /* the workers wait for each other before it */
    bool is_private;    /* every worker computes all of it, for itself */
} mica_profile_step;

/* Seconds since the pass began. A worker waits at a barrier from `arrive` to `begin`; without one
 * they are the same. It finds its share of the work between `begin` and `end`. */
typedef struct mica_profile_time {
    double arrive;
    double begin;
    double end;
} mica_profile_time;

/* One forward pass; everything is borrowed for the call. */
typedef struct mica_profile_pass {
    int32_t n_tokens;   /* that were computed */
    int32_t n_rows;     /* of them with logits */
    int32_t n_capacity; /* tokens that the plan has room for: the next power of two */
    int n_workers;
    size_t n_steps;
    const mica_profile_step *steps; /* [n_steps] */
    const mica_profile_time *times; /* [n_workers, n_steps] */
    double seconds;                 /* until all workers were done */
} mica_profile_pass;

/* Called on the thread that steps the engine, after the pass and before its events. */
typedef void (*mica_profile_callback)(void *context, const mica_profile_pass *pass);

/* callback NULL: stop. Passes run with clocks from the next step on. Threads: the one that steps.
 * Errors: INVALID (no engine), UNAVAILABLE (a backend that cannot time its steps). A pass that
 * finds no memory for its times ends the request with OUT_OF_MEMORY. */
MICA_API mica_status mica_engine_set_profile(mica_engine *engine, mica_profile_callback callback,
                                             void *context, mica_error *err);

#ifdef __cplusplus
}
#endif
