/* Tokens and page tables of one conversation. */
#include "engine/sequence.h"
#include <string.h>
#include "base/error.h"
#include "model/rope_frequencies.h"

mica_status mica_sequence_init(mica_sequence *s, const mica_model *model, int64_t context,
                               mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_host *host = &model->runtime->host;
    *s = (mica_sequence){.context = context, .n_groups = model->n_kv_groups};
    s->n_rope_pairs = model->n_rope_pairs;
    s->ids = MICA_NEW_ARRAY(host->allocator, int32_t, (size_t)context);
    MICA_REQUIRE(s->ids, MICA_STATUS_OUT_OF_MEMORY, "out of memory: a sequence of %lld tokens",
                 (long long)context);
    if (s->n_rope_pairs) {
        s->rope = MICA_NEW_ARRAY(host->allocator, float, (size_t)s->n_rope_pairs);
        MICA_REQUIRE(s->rope, MICA_STATUS_OUT_OF_MEMORY, "out of memory: a rotary table");
    }
    for (size_t g = 0; g < s->n_groups; g++) {
        s->table_width[g] = (int32_t)mica_kv_group_pages(&model->kv_groups[g], context);
        s->pages[g] = MICA_NEW_ARRAY(host->allocator, int32_t, (size_t)s->table_width[g]);
        MICA_REQUIRE(s->pages[g], MICA_STATUS_OUT_OF_MEMORY, "out of memory: a page table");
    }
done:
    if (st != MICA_STATUS_OK) mica_sequence_deinit(s, host);
    return st;
}

void mica_sequence_deinit(mica_sequence *s, const mica_host *host) {
    mica_free(host->allocator, s->ids);
    mica_free(host->allocator, s->rope);
    for (size_t g = 0; g < s->n_groups; g++) mica_free(host->allocator, s->pages[g]);
    *s = (mica_sequence){0};
}

void mica_sequence_clear(mica_sequence *s, mica_page_pool *pools) {
    for (size_t g = 0; g < s->n_groups; g++) {
        mica_page_pool_give(&pools[g], s->pages[g], s->n_pages[g]);
        s->n_pages[g] = 0;
    }
    s->n_ids = s->n_cached = s->n_written = 0;
}

bool mica_sequence_reserve(mica_sequence *s, mica_page_pool *pools, int64_t tokens) {
    for (size_t g = 0; g < s->n_groups; g++) {
        int64_t want = (tokens + MICA_PAGE_TOKENS - 1) / MICA_PAGE_TOKENS;
        if (want > s->table_width[g]) want = s->table_width[g];
        int32_t more = (int32_t)want - s->n_pages[g];
        if (more <= 0) continue;
        if (!mica_page_pool_take(&pools[g], more, s->pages[g] + s->n_pages[g])) return false;
        s->n_pages[g] += more;
    }
    return true;
}

/* Whether a ring that once held the tokens before `length` can go on at `position`. */
static bool ring_holds(const mica_sequence *s, const mica_page_pool *pool, size_t g, int64_t length,
                       int64_t position) {
    if (!pool->group.window) return true;
    int64_t oldest = length - (int64_t)s->table_width[g] * MICA_PAGE_TOKENS;
    int64_t needed = position - pool->group.window + 1;
    return oldest <= 0 || needed >= oldest;
}

static void set_rope(mica_sequence *s, const mica_model *model, int64_t length) {
    float table[MICA_ROPE_PAIRS_MAX];
    size_t bytes = (size_t)s->n_rope_pairs * sizeof *table;
    s->rope_limit = mica_rope_limit(&model->config->rope, length);
    mica_model_rope_table(model, length, table);
    if (memcmp(table, s->rope, bytes) == 0) return;
    memcpy(s->rope, table, bytes);
    if (s->n_written < s->n_cached) s->n_written = s->n_cached;
    s->n_cached = 0;
}

void mica_sequence_begin_rope(mica_sequence *s, const mica_model *model, int64_t n,
                              int64_t n_most) {
    bool is_stepped = model->config->rope.type == MICA_ROPE_LONGROPE;
    if (s->n_rope_pairs) set_rope(s, model, is_stepped ? n : n_most);
}

void mica_sequence_grow_rope(mica_sequence *s, const mica_model *model) {
    if (s->n_rope_pairs && s->n_ids > s->rope_limit) set_rope(s, model, s->n_ids);
}

void mica_sequence_set_prompt(mica_sequence *s, const mica_page_pool *pools, const int32_t *ids,
                              int64_t n) {
    int64_t common = 0;
    if (s->n_written < s->n_cached) s->n_written = s->n_cached;
    while (common < s->n_cached && common < n - 1 && s->ids[common] == ids[common]) common++;
    for (size_t g = 0; g < s->n_groups; g++)
        if (!ring_holds(s, &pools[g], g, s->n_written, common)) common = 0;
    if (!common) s->n_written = 0;
    memcpy(s->ids, ids, (size_t)n * sizeof *ids);
    s->n_ids = n;
    s->n_cached = common;
}
