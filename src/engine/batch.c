/* One buffer, its sections 64-byte aligned. */
#include "engine/batch.h"
#include <string.h>
#include "base/error.h"

static uint64_t aligned(uint64_t bytes) { return (bytes + 63) & ~63ull; }

#define SECTIONS_MAX (6 + MICA_KV_GROUPS_MAX)

/* Sections in the order of the struct, but for the tables, which come last; sizes in i32. */
static size_t list_sections(mica_batch *b, int32_t ***fields, uint64_t *sizes) {
    const mica_forward_shape *c = &b->capacity;
    size_t n = 0;
    fields[n] = &b->counts, sizes[n++] = 4;
    fields[n] = &b->token_ids, sizes[n++] = (uint64_t)c->n_tokens;
    fields[n] = &b->positions, sizes[n++] = (uint64_t)c->n_tokens;
    fields[n] = &b->token_sequence, sizes[n++] = (uint64_t)c->n_tokens;
    fields[n] = &b->sequences, sizes[n++] = (uint64_t)c->n_sequences * 4;
    fields[n] = &b->rows, sizes[n++] = (uint64_t)c->n_rows;
    for (size_t g = 0; g < b->n_groups; g++)
        fields[n] = &b->pages[g],
        sizes[n++] = (uint64_t)c->n_sequences * (uint64_t)c->table_width[g];
    return n;
}

mica_status mica_batch_init(mica_batch *b, const mica_model *model,
                            const mica_forward_shape *capacity, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    int32_t **fields[SECTIONS_MAX];
    uint64_t sizes[SECTIONS_MAX], bytes = 0, offset = 0;
    mica_runtime *rt = model->runtime;
    void *host = NULL;
    *b = (mica_batch){.capacity = *capacity, .n_groups = model->n_kv_groups};
    b->n_rope_pairs = model->n_rope_pairs;
    size_t n = list_sections(b, fields, sizes);
    for (size_t i = 0; i < n; i++) bytes += aligned(sizes[i] * sizeof(int32_t));
    uint64_t rope_at = bytes;
    bytes += aligned((uint64_t)b->n_rope_pairs * (uint64_t)capacity->n_sequences * sizeof(float));
    MICA_TRY(rt->device->backend->buffer_create(rt->device, bytes, &b->buffer, err));
    MICA_TRY(rt->device->backend->buffer_map(rt->device, b->buffer, true, &host, err));
    memset(host, 0, (size_t)bytes);
    for (size_t i = 0; i < n; i++) {
        *fields[i] = (int32_t *)((uint8_t *)host + offset);
        offset += aligned(sizes[i] * sizeof(int32_t));
    }
    if (b->n_rope_pairs) b->rope = (float *)(void *)((uint8_t *)host + rope_at);
done:
    if (st != MICA_STATUS_OK) mica_batch_deinit(b);
    return st;
}

void mica_batch_deinit(mica_batch *b) {
    mica_buffer_release(&b->buffer);
    *b = (mica_batch){0};
}

void mica_batch_begin(mica_batch *b) {
    memset(b->counts, 0, 4 * sizeof *b->counts);
    /* Rows of an earlier, larger pass would be read: a row without tokens is what says unused. */
    memset(b->sequences, 0, (size_t)b->capacity.n_sequences * 4 * sizeof *b->sequences);
}

void mica_batch_add(mica_batch *b, const mica_sequence *s, int32_t n_tokens, int32_t n_rows) {
    int32_t first = b->counts[0], row = b->counts[2];
    for (int32_t i = 0; i < n_tokens; i++) {
        b->token_ids[first + i] = s->ids[s->n_cached + i];
        b->positions[first + i] = (int32_t)(s->n_cached + i);
        b->token_sequence[first + i] = row;
    }
    for (int32_t i = 0; i < n_rows; i++) b->rows[b->counts[1] + i] = first + n_tokens - n_rows + i;
    int32_t entry[4] = {first, n_tokens, (int32_t)s->n_cached, 0};
    memcpy(b->sequences + 4 * row, entry, sizeof entry);
    for (size_t g = 0; g < b->n_groups; g++)
        memcpy(b->pages[g] + (int64_t)row * b->capacity.table_width[g], s->pages[g],
               (size_t)s->n_pages[g] * sizeof(int32_t));
    if (b->rope)
        memcpy(b->rope + (int64_t)row * b->n_rope_pairs, s->rope,
               (size_t)b->n_rope_pairs * sizeof(float));
    b->counts[0] += n_tokens;
    b->counts[1] += n_rows;
    b->counts[2]++;
}

static mica_storage section(const mica_batch *b, const void *at) {
    return (mica_storage){b->buffer, (uint64_t)((const uint8_t *)at - (uint8_t *)b->buffer->host)};
}

/* An input that the trace did not use was pruned; that is no error. */
static mica_status bind(mica_executable *e, const char *name, mica_storage storage,
                        mica_error *err) {
    mica_status st = mica_executable_bind_input(e, name, storage, err);
    return st == MICA_STATUS_NOT_FOUND ? MICA_STATUS_OK : st;
}

mica_status mica_batch_bind(const mica_batch *b, const mica_page_pool *pools, mica_executable *e,
                            mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(bind(e, MICA_BATCH_COUNTS, section(b, b->counts), err));
    MICA_TRY(bind(e, MICA_BATCH_TOKEN_IDS, section(b, b->token_ids), err));
    MICA_TRY(bind(e, MICA_BATCH_POSITIONS, section(b, b->positions), err));
    MICA_TRY(bind(e, MICA_BATCH_TOKEN_SEQUENCE, section(b, b->token_sequence), err));
    MICA_TRY(bind(e, MICA_BATCH_SEQUENCES, section(b, b->sequences), err));
    MICA_TRY(bind(e, MICA_BATCH_ROWS, section(b, b->rows), err));
    if (b->rope) MICA_TRY(bind(e, MICA_BATCH_ROPE, section(b, b->rope), err));
    for (size_t g = 0; g < b->n_groups; g++) {
        MICA_TRY(bind(e, mica_batch_pages[g], section(b, b->pages[g]), err));
        MICA_TRY(bind(e, mica_batch_pool[g], (mica_storage){pools[g].buffer, 0}, err));
    }
done:
    return st;
}
