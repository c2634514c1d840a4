/* A request inside the engine, from submit to its last event. */
#pragma once
#include "base/host.h"
#include "mica/engine.h"

#define MICA_STOP_IDS_MAX 64

typedef enum mica_request_state {
    MICA_REQUEST_FREE = 0,
    MICA_REQUEST_WAITING,
    MICA_REQUEST_RUNNING,
    MICA_REQUEST_KEPT, /* finished; its sequence stays for continue_from */
} mica_request_state;

typedef struct mica_request_slot {
    mica_request_state state;
    mica_ticket ticket;
    mica_request request; /* ids and stop_ids point at the copies below */
    int32_t *ids;         /* owned; freed once the sequence has them */
    int32_t stop_ids[MICA_STOP_IDS_MAX];
    int32_t sequence; /* index, -1 = none */
    bool is_cancelled;
    int64_t n_prompt;
    int64_t n_reused; /* prompt tokens found in the cache */
    int64_t n_generated;
    double prefill_seconds;
    double decode_seconds;
} mica_request_slot;
