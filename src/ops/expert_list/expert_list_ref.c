/* Sorts the chosen experts by counting: one pass counts, one places. One worker does it, since a
 * batch has few entries. */
#include "ops/expert_list/expert_list.h"
#include <string.h>

static bool is_valid(const mica_expert_list_args *a, int32_t id) {
    return id >= 0 && id < a->n_experts;
}

void mica_expert_list_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_expert_list_args *a = args;
    const int32_t *ids = mica_cpu_at(a->ids);
    int32_t *offsets = mica_cpu_at(a->out), *entries = offsets + a->n_experts + 1;
    int64_t n = mica_cpu_live(a->live, a->tokens) * a->slots;
    if (worker->index != 0) return;
    /* offsets[e + 1] first counts expert e, then is where its next entry goes, then its end. */
    memset(offsets, 0, ((size_t)a->n_experts + 1) * sizeof *offsets);
    memset(entries, 0xFF, (size_t)(a->tokens * a->slots) * sizeof *entries);
    for (int64_t i = 0; i < n; i++)
        if (is_valid(a, ids[i])) offsets[ids[i] + 1]++;
    int32_t sum = 0;
    for (int32_t e = 0; e < a->n_experts; e++) {
        int32_t count = offsets[e + 1];
        offsets[e + 1] = sum;
        sum += count;
    }
    for (int64_t i = 0; i < n; i++)
        if (is_valid(a, ids[i])) entries[offsets[ids[i] + 1]++] = (int32_t)i;
}
