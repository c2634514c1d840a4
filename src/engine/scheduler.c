/* First come, first served. */
#include "engine/scheduler.h"

int32_t mica_scheduler_pick(const mica_request_slot *slots, int32_t n_slots) {
    int32_t best = -1;
    for (int32_t i = 0; i < n_slots; i++) {
        if (slots[i].state == MICA_REQUEST_RUNNING) return i;
        if (slots[i].state != MICA_REQUEST_WAITING) continue;
        if (best < 0 || slots[i].ticket < slots[best].ticket) best = i;
    }
    return best;
}

mica_schedule mica_scheduler_chunk(const mica_request_slot *slot, int64_t n_ids, int64_t n_cached,
                                   int32_t chunk_tokens, int32_t prompt_rows) {
    mica_schedule s = {0};
    bool wants_all =
        slot->request.on_prompt_logits && slot->n_generated == 0 && n_cached < slot->n_prompt;
    int64_t left = n_ids - n_cached;
    int64_t most = wants_all && prompt_rows < chunk_tokens ? prompt_rows : chunk_tokens;
    s.n_tokens = (int32_t)(left < most ? left : most);
    if (wants_all)
        s.n_rows = s.n_tokens;
    else
        s.n_rows = s.n_tokens == left ? 1 : 0;
    return s;
}
