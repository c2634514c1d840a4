/* Generation: sequences, KV pages, scheduling and sampling around a model.
 *
 *     mica_engine *e; mica_engine_create(model, NULL, &e, &err);
 *     mica_request r = {.struct_bytes = sizeof r, .ids = ids, .n_ids = n, .on_event = print};
 *     mica_ticket t; mica_engine_submit(e, &r, &t, &err);
 *     while (mica_engine_is_busy(e)) if (mica_engine_step(e, &err) != MICA_STATUS_OK) break;
 *
 * Requests may be submitted and cancelled from any thread; one thread calls step. */
#pragma once
#include "mica/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mica_engine mica_engine;
typedef uint64_t mica_ticket; /* 0 = none */

/* Zero means default. */
typedef struct mica_engine_options {
    size_t struct_bytes;
    mica_numeric_mode mode; /* MICA_FAST by default */
    int64_t context; /* tokens of one sequence; 0 = the smaller of the model's limit and what the
                        memory budget holds */
    int32_t n_sequences;  /* whose KV pages are held at once: one runs, the others are kept; 1..64,
                             0 = 1 */
    int32_t chunk_tokens; /* tokens of one forward pass, a power of two 1..2048; 0 = 512 */
    mica_progress_callback progress; /* stage "prefill", per chunk */
    void *progress_context;
} mica_engine_options;

/* Errors: INVALID (an option out of range, a model opened with check_only), OUT_OF_MEMORY, LIMIT
 * (context and budget: both numbers). */
MICA_API mica_status mica_engine_create(const mica_model *model, const mica_engine_options *options,
                                        mica_engine **out, mica_error *err);
/* Requests that are still there end without an event. */
MICA_API void mica_engine_destroy(mica_engine **engine);
/* Tokens that one sequence may hold, prompt and reply together. */
MICA_API int64_t mica_engine_context(const mica_engine *engine);
MICA_API uint64_t mica_engine_kv_bytes(const mica_engine *engine);

/* ---- sampling ------------------------------------------------------------------------------
 * Applied to one row of f32 logits in this order (definitions in src/engine/sampler.h):
 * mask ids without a token -> repeat, presence, frequency penalties over the sequence so far ->
 * temperature -> top_k -> top_p -> min_p -> draw. Temperature 0 is the first largest logit.
 * The draw uses Philox4x32-10 of (seed, position) and mica's own exp: the same logits, parameters
 * and seed give the same token on every machine. */
typedef struct mica_sampling {
    float temperature;       /* 0 = greedy */
    int32_t top_k;           /* 0 = off */
    float top_p;             /* 0 or 1 = off */
    float min_p;             /* 0 = off, at most 1 */
    float repeat_penalty;    /* 0 or 1 = off; divides positive and multiplies negative logits */
    float presence_penalty;  /* subtracted once from ids that occurred */
    float frequency_penalty; /* subtracted per occurrence */
    uint64_t seed;
} mica_sampling;

typedef enum mica_finish {
    MICA_FINISH_NONE = 0,
    MICA_FINISH_STOP,      /* a stop id, or the callback said so */
    MICA_FINISH_LENGTH,    /* max_tokens */
    MICA_FINISH_CONTEXT,   /* the context is full */
    MICA_FINISH_CANCELLED, /* mica_engine_cancel */
    MICA_FINISH_ERROR,     /* see error */
} mica_finish;

typedef struct mica_event {
    mica_ticket ticket;
    int32_t id;          /* the new token (stop ids included); -1 when there is none */
    mica_finish finish;  /* NONE while the request goes on; the last event has another value */
    const float *logits; /* [vocab] that id was chosen from; borrowed for the call; NULL if no id */
    int64_t n_prompt;    /* tokens of the prompt */
    int64_t n_cached;    /* of them found in the KV cache */
    int64_t n_generated; /* so far, this one included */
    double prefill_seconds;
    double decode_seconds;
    const mica_error *error; /* finish ERROR */
} mica_event;

/* Called on the thread that calls step. Returning false ends the request with FINISH_STOP. */
typedef bool (*mica_event_callback)(void *context, const mica_event *event);
/* Prompt logits, when wanted: row `position` of the prompt, [vocab] f32, borrowed. */
typedef void (*mica_logits_callback)(void *context, int64_t position, const float *logits);

typedef struct mica_request {
    size_t struct_bytes;
    const int32_t *ids; /* the prompt; copied */
    size_t n_ids;
    mica_sampling sampling;
    int64_t max_tokens;        /* 0 = until the context is full. With a dynamic rotary table it
                                  also decides that table: docs/formats.md */
    const int32_t *stop_ids;   /* copied */
    size_t n_stop_ids;         /* at most 64 */
    int32_t vocab_limit;       /* ids at and above it are never sampled; 0 = rows of logits */
    mica_ticket continue_from; /* a finished request whose KV pages are kept: those of the common
                                  beginning are used again, the ticket is forgotten. Without such
                                  pages, or with on_prompt_logits, all is computed */
    bool keep;                 /* keep the KV pages for continue_from, until forget; when a request
                                  finds no other sequence, the oldest kept pages are given up */
    mica_event_callback on_event;
    mica_logits_callback on_prompt_logits; /* every prompt position */
    void *context;
} mica_request;

/* Errors: INVALID (an id outside the vocabulary, an empty prompt, a sampling value that is negative
 * or not finite), CONTEXT_FULL (prompt + 1 > context: both numbers, before any work), LIMIT (too
 * many requests or stop ids). */
MICA_API mica_status mica_engine_submit(mica_engine *engine, const mica_request *request,
                                        mica_ticket *ticket, mica_error *err);
/* Takes effect within one step or prefill chunk; the last event has FINISH_CANCELLED. A ticket that
 * is finished or unknown is ignored, here and by forget. */
MICA_API void mica_engine_cancel(mica_engine *engine, mica_ticket ticket);
/* Gives back the pages of a finished request that was kept. */
MICA_API void mica_engine_forget(mica_engine *engine, mica_ticket ticket);
/* Requests are waiting or running. */
MICA_API bool mica_engine_is_busy(const mica_engine *engine);
/* Schedules, runs one forward pass, samples and calls the callbacks. An error of one request is
 * reported in its event; an error here is of the call. No allocation while decoding. */
MICA_API mica_status mica_engine_step(mica_engine *engine, mica_error *err);

/* Chooses an id from a row of logits as the engine does; position seeds the draw. history: ids for
 * the penalties. scratch: n floats and n ints of the caller's (no allocation). -1 when there is no
 * logit above -infinity, or an argument is NULL. Threads: any. */
MICA_API int32_t mica_sample(const float *logits, int32_t n, const mica_sampling *sampling,
                             const int32_t *history, size_t n_history, uint64_t position,
                             float *scratch_floats, int32_t *scratch_ids);

#ifdef __cplusplus
}
#endif
