/* Decides what the next step does. One request runs at a time, the oldest first; its prompt is cut
 * into chunks. The decision is plain data, so that tests need no model. */
#pragma once
#include "engine/request.h"

typedef struct mica_schedule {
    int32_t slot;     /* of the request to run; -1 = nothing to do */
    int32_t n_tokens; /* of its sequence, from n_cached on */
    int32_t n_rows;   /* rows of logits: 0 inside a prompt, 1 at its end, all where asked for */
} mica_schedule;

/* The slot to run next: the running one, else the waiting one with the lowest ticket; -1 = none. */
int32_t mica_scheduler_pick(const mica_request_slot *slots, int32_t n_slots);
/* How much of a sequence with n_ids tokens, n_cached of them done, the next pass takes. */
mica_schedule mica_scheduler_chunk(const mica_request_slot *slot, int64_t n_ids, int64_t n_cached,
                                   int32_t chunk_tokens, int32_t prompt_rows);
