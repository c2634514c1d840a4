/* The engine: requests in, events out. engine_step is three lines: schedule, run, postprocess.
 * Scheduling is in scheduler.c, the forward pass in runner.c, the choice of tokens in sampler.c. */
#include "engine/engine.h"
#include <math.h>
#include <string.h>
#include "base/error.h"
#include "base/thread_pool.h"
#include "engine/sampler.h"

/* ---- life ---- */

static mica_status read_options(const mica_model *model, const mica_engine_options *options,
                                mica_engine_options *o, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    *o = (mica_engine_options){0};
    if (options) {
        size_t bytes = options->struct_bytes;
        memcpy(o, options, bytes && bytes < sizeof *o ? bytes : sizeof *o);
    }
    if (!o->n_sequences) o->n_sequences = 1;
    if (!o->chunk_tokens) o->chunk_tokens = MICA_CHUNK_TOKENS_DEFAULT;
    MICA_REQUIRE(o->n_sequences > 0 && o->n_sequences <= MICA_SEQUENCES_MAX, MICA_STATUS_INVALID,
                 "%d sequences, wanted 1 to %d", o->n_sequences, MICA_SEQUENCES_MAX);
    MICA_REQUIRE(o->chunk_tokens > 0 && o->chunk_tokens <= MICA_CHUNK_TOKENS_MAX &&
                     (o->chunk_tokens & (o->chunk_tokens - 1)) == 0,
                 MICA_STATUS_INVALID, "chunks of %d tokens, wanted a power of two up to %d",
                 o->chunk_tokens, MICA_CHUNK_TOKENS_MAX);
    MICA_REQUIRE(o->mode == MICA_FAST || o->mode == MICA_EXACT, MICA_STATUS_INVALID,
                 "numeric mode %d, wanted fast or exact", (int)o->mode);
    MICA_REQUIRE(model->is_counted, MICA_STATUS_INVALID,
                 "the model was opened with check_only: it has no weights");
    MICA_REQUIRE(o->context >= 0, MICA_STATUS_INVALID, "a context of %lld tokens",
                 (long long)o->context);
    MICA_REQUIRE(o->context <= mica_model_context_max(model), MICA_STATUS_LIMIT,
                 "a context of %lld tokens, the model goes to %lld", (long long)o->context,
                 (long long)mica_model_context_max(model));
done:
    return st;
}

/* KV bytes of all sequences at a context. */
static uint64_t kv_bytes_at(const mica_model *model, mica_numeric_mode mode, int64_t context,
                            int32_t n_sequences) {
    uint64_t bytes = 0;
    for (size_t g = 0; g < model->n_kv_groups; g++)
        bytes += (uint64_t)mica_kv_group_pages(&model->kv_groups[g], context) *
                 mica_kv_group_page_bytes(&model->kv_groups[g], mode);
    return bytes * (uint64_t)n_sequences;
}

/* The largest context whose pages fit beside what the runtime holds already (the weights, other
 * models and engines), by bisection; at least one page. */
static mica_status choose_context(mica_engine *e, const mica_engine_options *o, mica_error *err) {
    mica_runtime *rt = e->model->runtime;
    uint64_t budget = rt->memory_budget_bytes;
    uint64_t used = atomic_load(&rt->weight_bytes) + atomic_load(&rt->kv_bytes);
    uint64_t room = budget > used ? budget - used : 0;
    int64_t high = o->context ? o->context : mica_model_context_max(e->model);
    e->context = high;
    if (!budget || kv_bytes_at(e->model, e->mode, high, e->n_sequences) <= room)
        return MICA_STATUS_OK;
    uint64_t need = used + kv_bytes_at(e->model, e->mode, o->context ? high : 1, e->n_sequences);
    if (o->context || need > budget)
        return mica_fail(err, MICA_STATUS_LIMIT,
                         "weights and KV pages for %lld tokens need %llu bytes, the budget is %llu",
                         (long long)(o->context ? high : 1), (unsigned long long)need,
                         (unsigned long long)budget);
    int64_t low = 1;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (kv_bytes_at(e->model, e->mode, middle, e->n_sequences) <= room)
            low = middle;
        else
            high = middle;
    }
    e->context = low;
    return MICA_STATUS_OK;
}

static mica_status create_pools(mica_engine *e, mica_error *err) {
    for (size_t g = 0; g < e->model->n_kv_groups; g++) {
        const mica_kv_group *group = &e->model->kv_groups[g];
        int64_t n_pages = mica_kv_group_pages(group, e->context) * e->n_sequences;
        mica_status st =
            mica_page_pool_init(&e->pools[g], e->model->runtime, group, e->mode, n_pages, err);
        if (st != MICA_STATUS_OK) return st;
    }
    return MICA_STATUS_OK;
}

static mica_status create_sequences(mica_engine *e, mica_error *err) {
    const mica_allocator *a = e->model->runtime->host.allocator;
    size_t vocab = (size_t)e->model->config->vocab_size;
    e->sequences = MICA_NEW_ARRAY(a, mica_sequence, (size_t)e->n_sequences);
    e->sequence_owner = MICA_NEW_ARRAY(a, int32_t, (size_t)e->n_sequences);
    e->sample_floats = MICA_NEW_ARRAY(a, float, vocab);
    e->sample_ids = MICA_NEW_ARRAY(a, int32_t, vocab);
    if (!e->sequences || !e->sequence_owner || !e->sample_floats || !e->sample_ids)
        return mica_fail_memory(err, vocab * 8, "the sampler");
    for (int32_t i = 0; i < e->n_sequences; i++) {
        e->sequence_owner[i] = -1;
        mica_status st = mica_sequence_init(&e->sequences[i], e->model, e->context, err);
        if (st != MICA_STATUS_OK) return st;
    }
    return MICA_STATUS_OK;
}

static mica_forward_shape make_capacity(const mica_engine *e) {
    mica_forward_shape c = {.n_tokens = e->chunk_tokens, .n_sequences = 1, .mode = e->mode};
    c.n_rows =
        e->chunk_tokens < MICA_PROMPT_LOGITS_ROWS ? e->chunk_tokens : MICA_PROMPT_LOGITS_ROWS;
    for (size_t g = 0; g < e->model->n_kv_groups; g++) {
        c.table_width[g] = (int32_t)mica_kv_group_pages(&e->model->kv_groups[g], e->context);
        c.n_pages[g] = e->pools[g].n_pages;
    }
    return c;
}

mica_status mica_engine_create(const mica_model *model, const mica_engine_options *options,
                               mica_engine **out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_engine *e = NULL;
    mica_engine_options o;
    MICA_REQUIRE(model && out, MICA_STATUS_INVALID, "mica_engine_create: an argument is NULL");
    MICA_TRY(read_options(model, options, &o, err));
    e = MICA_NEW(model->runtime->host.allocator, mica_engine);
    MICA_REQUIRE(e, MICA_STATUS_OUT_OF_MEMORY, "out of memory: engine");
    e->model = model;
    e->mode = o.mode;
    e->n_sequences = o.n_sequences;
    e->chunk_tokens = o.chunk_tokens;
    e->progress = o.progress;
    e->progress_context = o.progress_context;
    MICA_REQUIRE(pthread_mutex_init(&e->lock, NULL) == 0, MICA_STATUS_OUT_OF_MEMORY,
                 "out of memory: the engine's lock");
    e->has_lock = true;
    MICA_TRY(choose_context(e, &o, err));
    MICA_TRY(create_pools(e, err));
    MICA_TRY(create_sequences(e, err));
    mica_forward_shape capacity = make_capacity(e);
    MICA_TRY(mica_runner_init(&e->runner, model, &capacity, e->pools, err));
    *out = e;
    e = NULL;
done:
    mica_engine_destroy(&e);
    return st;
}

void mica_engine_destroy(mica_engine **engine) {
    mica_engine *e = engine ? *engine : NULL;
    if (!e) return;
    *engine = NULL;
    const mica_host *host = &e->model->runtime->host;
    if (e->runner.model) mica_runner_deinit(&e->runner);
    mica_runtime_trim(e->model->runtime); /* its plans are gone */
    for (int32_t i = 0; e->sequences && i < e->n_sequences; i++)
        mica_sequence_deinit(&e->sequences[i], host);
    for (size_t g = 0; g < e->model->n_kv_groups; g++)
        mica_page_pool_deinit(&e->pools[g], e->model->runtime);
    for (int32_t i = 0; i < MICA_REQUESTS_MAX; i++) mica_free(host->allocator, e->slots[i].ids);
    mica_free(host->allocator, e->sequences);
    mica_free(host->allocator, e->sequence_owner);
    mica_free(host->allocator, e->sample_floats);
    mica_free(host->allocator, e->sample_ids);
    if (e->has_lock) pthread_mutex_destroy(&e->lock);
    mica_free(host->allocator, e);
}

int64_t mica_engine_context(const mica_engine *e) { return e ? e->context : 0; }

uint64_t mica_engine_kv_bytes(const mica_engine *e) {
    return e ? kv_bytes_at(e->model, e->mode, e->context, e->n_sequences) : 0;
}

/* ---- requests ---- */

static bool is_amount(float value) { return isfinite(value) && value >= 0; }

static mica_status check_sampling(const mica_sampling *s, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_REQUIRE(is_amount(s->temperature), MICA_STATUS_INVALID, "a temperature of %g",
                 (double)s->temperature);
    MICA_REQUIRE(s->top_k >= 0, MICA_STATUS_INVALID, "top_k is %d", s->top_k);
    MICA_REQUIRE(is_amount(s->top_p) && s->top_p <= 1, MICA_STATUS_INVALID,
                 "top_p is %g, wanted 0 to 1", (double)s->top_p);
    MICA_REQUIRE(is_amount(s->min_p) && s->min_p <= 1, MICA_STATUS_INVALID,
                 "min_p is %g, wanted 0 to 1", (double)s->min_p);
    MICA_REQUIRE(is_amount(s->repeat_penalty), MICA_STATUS_INVALID, "a repeat penalty of %g",
                 (double)s->repeat_penalty);
    MICA_REQUIRE(isfinite(s->presence_penalty) && isfinite(s->frequency_penalty),
                 MICA_STATUS_INVALID, "presence and frequency penalties of %g and %g",
                 (double)s->presence_penalty, (double)s->frequency_penalty);
done:
    return st;
}

static mica_status check_request(const mica_engine *e, const mica_request *r, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    int64_t vocab = e->model->config->vocab_size;
    MICA_REQUIRE(r->ids && r->n_ids > 0, MICA_STATUS_INVALID, "the prompt is empty");
    MICA_REQUIRE(r->n_ids < (uint64_t)e->context, MICA_STATUS_CONTEXT_FULL,
                 "a prompt of %zu tokens needs a context of %zu, there are %lld", r->n_ids,
                 r->n_ids + 1, (long long)e->context);
    MICA_REQUIRE(r->n_stop_ids <= MICA_STOP_IDS_MAX, MICA_STATUS_LIMIT, "%zu stop ids, at most %d",
                 r->n_stop_ids, MICA_STOP_IDS_MAX);
    MICA_REQUIRE(r->stop_ids || !r->n_stop_ids, MICA_STATUS_INVALID, "stop_ids is NULL");
    MICA_TRY(check_sampling(&r->sampling, err));
    MICA_REQUIRE(r->vocab_limit >= 0 && r->max_tokens >= 0, MICA_STATUS_INVALID,
                 "vocab_limit and max_tokens are not negative");
    for (size_t i = 0; i < r->n_ids; i++)
        MICA_REQUIRE(r->ids[i] >= 0 && r->ids[i] < vocab, MICA_STATUS_INVALID,
                     "token id %d at position %zu, the model has %lld", r->ids[i], i,
                     (long long)vocab);
done:
    return st;
}

static mica_request_slot *find_ticket(mica_engine *e, mica_ticket ticket) {
    for (int32_t i = 0; ticket && i < MICA_REQUESTS_MAX; i++)
        if (e->slots[i].state != MICA_REQUEST_FREE && e->slots[i].ticket == ticket)
            return &e->slots[i];
    return NULL;
}

/* Fills a free slot; the caller holds the lock. */
static mica_status fill_slot(mica_engine *e, const mica_request *r, int32_t *ids,
                             mica_ticket *ticket, mica_error *err) {
    for (int32_t i = 0; i < MICA_REQUESTS_MAX; i++) {
        mica_request_slot *slot = &e->slots[i];
        if (slot->state != MICA_REQUEST_FREE) continue;
        *slot = (mica_request_slot){.state = MICA_REQUEST_WAITING, .request = *r, .ids = ids};
        slot->ticket = ++e->next_ticket;
        slot->sequence = -1;
        slot->n_prompt = (int64_t)r->n_ids;
        slot->request.ids = ids;
        slot->request.stop_ids = slot->stop_ids;
        if (r->n_stop_ids) memcpy(slot->stop_ids, r->stop_ids, r->n_stop_ids * sizeof *r->stop_ids);
        *ticket = slot->ticket;
        return MICA_STATUS_OK;
    }
    return mica_fail(err, MICA_STATUS_LIMIT, "%d requests are waiting or kept", MICA_REQUESTS_MAX);
}

mica_status mica_engine_submit(mica_engine *e, const mica_request *request, mica_ticket *ticket,
                               mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_request r = {0};
    int32_t *ids = NULL;
    if (!e || !request || !ticket)
        return mica_fail(err, MICA_STATUS_INVALID, "mica_engine_submit: an argument is NULL");
    const mica_allocator *a = e->model->runtime->host.allocator;
    size_t bytes = request->struct_bytes;
    memcpy(&r, request, bytes && bytes < sizeof r ? bytes : sizeof r);
    MICA_TRY(check_request(e, &r, err));
    ids = mica_alloc_array(a, r.n_ids, sizeof *ids);
    MICA_REQUIRE(ids, MICA_STATUS_OUT_OF_MEMORY, "out of memory: a prompt of %zu tokens", r.n_ids);
    memcpy(ids, r.ids, r.n_ids * sizeof *ids);
    pthread_mutex_lock(&e->lock);
    st = fill_slot(e, &r, ids, ticket, err);
    pthread_mutex_unlock(&e->lock);
    if (st == MICA_STATUS_OK) ids = NULL;
done:
    mica_free(a, ids);
    return st;
}

void mica_engine_cancel(mica_engine *e, mica_ticket ticket) {
    if (!e) return;
    pthread_mutex_lock(&e->lock);
    mica_request_slot *slot = find_ticket(e, ticket);
    if (slot) slot->is_cancelled = true;
    pthread_mutex_unlock(&e->lock);
}

/* Frees what a slot holds; the caller holds the lock. */
static void free_slot(mica_engine *e, mica_request_slot *slot) {
    if (slot->sequence >= 0) {
        mica_sequence_clear(&e->sequences[slot->sequence], e->pools);
        e->sequence_owner[slot->sequence] = -1;
    }
    mica_free(e->model->runtime->host.allocator, slot->ids);
    *slot = (mica_request_slot){.sequence = -1};
}

void mica_engine_forget(mica_engine *e, mica_ticket ticket) {
    if (!e) return;
    pthread_mutex_lock(&e->lock);
    mica_request_slot *slot = find_ticket(e, ticket);
    if (slot && slot->state == MICA_REQUEST_KEPT) free_slot(e, slot);
    pthread_mutex_unlock(&e->lock);
}

bool mica_engine_is_busy(const mica_engine *e) {
    if (!e) return false;
    pthread_mutex_t *lock = (pthread_mutex_t *)&e->lock; /* the state is const, the lock is not */
    pthread_mutex_lock(lock);
    bool is_busy = mica_scheduler_pick(e->slots, MICA_REQUESTS_MAX) >= 0;
    pthread_mutex_unlock(lock);
    return is_busy;
}

/* ---- admission ---- */

/* The kept request of the lowest ticket; NULL = none. */
static mica_request_slot *find_oldest_kept(mica_engine *e) {
    mica_request_slot *oldest = NULL;
    for (int32_t i = 0; i < MICA_REQUESTS_MAX; i++) {
        mica_request_slot *slot = &e->slots[i];
        if (slot->state == MICA_REQUEST_KEPT && (!oldest || slot->ticket < oldest->ticket))
            oldest = slot;
    }
    return oldest;
}

/* A sequence for the request: that of continue_from, else a free one, else the oldest that was only
 * kept. The caller holds the lock. */
static int32_t take_sequence(mica_engine *e, mica_request_slot *slot) {
    mica_request_slot *kept = find_ticket(e, slot->request.continue_from);
    int32_t free = -1;
    if (kept && kept->state == MICA_REQUEST_KEPT) {
        int32_t sequence = kept->sequence;
        kept->sequence = -1;
        free_slot(e, kept);
        return sequence;
    }
    for (int32_t i = 0; i < e->n_sequences && free < 0; i++)
        if (e->sequence_owner[i] < 0) free = i;
    mica_request_slot *oldest = free < 0 ? find_oldest_kept(e) : NULL;
    if (oldest) {
        free = oldest->sequence;
        free_slot(e, oldest);
    }
    return free;
}

/* Gives the request its sequence and the pages of its longest possible run. The caller holds the
 * lock: pools and sequences are also touched by mica_engine_forget. */
static bool admit(mica_engine *e, mica_request_slot *slot) {
    int32_t index = take_sequence(e, slot);
    if (index < 0) return false;
    slot->sequence = index;
    slot->state = MICA_REQUEST_RUNNING;
    e->sequence_owner[index] = (int32_t)(slot - e->slots);
    mica_sequence *s = &e->sequences[index];
    if (slot->request.on_prompt_logits) mica_sequence_clear(s, e->pools); /* every row is wanted */
    int64_t most = slot->request.max_tokens, room = e->context - slot->n_prompt;
    int64_t tokens = slot->n_prompt + (most && most < room ? most : room);
    mica_sequence_begin_rope(s, e->model, slot->n_prompt,
                             tokens - 1); /* the last is never computed */
    mica_sequence_set_prompt(s, e->pools, slot->ids, slot->n_prompt);
    slot->n_reused = s->n_cached;
    mica_free(e->model->runtime->host.allocator, slot->ids);
    slot->ids = NULL;
    slot->request.ids = s->ids;
    return mica_sequence_reserve(s, e->pools, tokens);
}

/* ---- events ---- */

static bool send_event(const mica_request_slot *slot, int32_t id, mica_finish finish,
                       const float *logits, const mica_error *error) {
    mica_event event = {
        .ticket = slot->ticket,
        .id = id,
        .finish = finish,
        .logits = logits,
        .n_prompt = slot->n_prompt,
        .n_cached = slot->n_reused,
        .n_generated = slot->n_generated,
        .prefill_seconds = slot->prefill_seconds,
        .decode_seconds = slot->decode_seconds,
        .error = error,
    };
    if (!slot->request.on_event) return true;
    return slot->request.on_event(slot->request.context, &event);
}

static void end_request(mica_engine *e, mica_request_slot *slot) {
    pthread_mutex_lock(&e->lock);
    if (slot->request.keep && slot->sequence >= 0)
        slot->state = MICA_REQUEST_KEPT;
    else
        free_slot(e, slot);
    pthread_mutex_unlock(&e->lock);
}

static bool is_stop_id(const mica_request_slot *slot, int32_t id) {
    for (size_t i = 0; i < slot->request.n_stop_ids; i++)
        if (slot->stop_ids[i] == id) return true;
    return false;
}

static mica_finish judge(const mica_engine *e, const mica_request_slot *slot,
                         const mica_sequence *s, int32_t id) {
    if (is_stop_id(slot, id)) return MICA_FINISH_STOP;
    if (slot->request.max_tokens && slot->n_generated >= slot->request.max_tokens)
        return MICA_FINISH_LENGTH;
    if (s->n_ids >= e->context) return MICA_FINISH_CONTEXT;
    return MICA_FINISH_NONE;
}

/* ---- a step ---- */

static void report_prompt_logits(const mica_engine *e, const mica_request_slot *slot,
                                 const mica_schedule *work, int64_t first) {
    if (!slot->request.on_prompt_logits || slot->n_generated > 0) return;
    for (int32_t i = 0; i < work->n_rows && first + i < slot->n_prompt; i++)
        slot->request.on_prompt_logits(slot->request.context, first + i,
                                       mica_runner_logits(&e->runner, i));
}

/* Chooses the next token from the last row and tells the caller. */
static void sample_and_report(mica_engine *e, mica_request_slot *slot, const mica_schedule *work) {
    mica_sequence *s = &e->sequences[slot->sequence];
    const float *logits = mica_runner_logits(&e->runner, work->n_rows - 1);
    int32_t vocab = (int32_t)e->runner.vocab;
    if (slot->request.vocab_limit && slot->request.vocab_limit < vocab)
        vocab = slot->request.vocab_limit;
    int32_t id = mica_sample(logits, vocab, &slot->request.sampling, s->ids, (size_t)s->n_ids,
                             (uint64_t)s->n_ids, e->sample_floats, e->sample_ids);
    if (id < 0) {
        mica_error error = {0};
        mica_fail(&error, MICA_STATUS_INTERNAL, "no finite logit at position %lld",
                  (long long)s->n_ids - 1);
        send_event(slot, -1, MICA_FINISH_ERROR, NULL, &error);
        end_request(e, slot);
        return;
    }
    s->ids[s->n_ids++] = id;
    slot->n_generated++;
    mica_finish finish = judge(e, slot, s, id);
    bool go_on = send_event(slot, id, finish, logits, NULL);
    if (finish == MICA_FINISH_NONE && !go_on) {
        finish = MICA_FINISH_STOP;
        send_event(slot, -1, finish, NULL, NULL);
    }
    if (finish != MICA_FINISH_NONE) end_request(e, slot);
}

/* Picks and admits; *problem says why the picked request must end instead (NONE: it may run). */
static int32_t pick_request(mica_engine *e, mica_finish *problem) {
    pthread_mutex_lock(&e->lock);
    int32_t index = mica_scheduler_pick(e->slots, MICA_REQUESTS_MAX);
    mica_request_slot *slot = index < 0 ? NULL : &e->slots[index];
    *problem = MICA_FINISH_NONE;
    if (slot && slot->is_cancelled)
        *problem = MICA_FINISH_CANCELLED;
    else if (slot && slot->state == MICA_REQUEST_WAITING && !admit(e, slot))
        *problem = MICA_FINISH_ERROR;
    pthread_mutex_unlock(&e->lock);
    return index;
}

/* The request of the next pass and its share, or slot -1. */
static mica_schedule schedule(mica_engine *e) {
    mica_schedule work = {.slot = -1};
    mica_finish problem;
    int32_t index = pick_request(e, &problem);
    if (index < 0) return work;
    mica_request_slot *slot = &e->slots[index];
    if (problem != MICA_FINISH_NONE) {
        mica_error error = {0};
        mica_fail(&error, MICA_STATUS_LIMIT, "no free KV pages for the request");
        send_event(slot, -1, problem, NULL, problem == MICA_FINISH_ERROR ? &error : NULL);
        end_request(e, slot);
        return work;
    }
    mica_sequence *s = &e->sequences[slot->sequence];
    mica_sequence_grow_rope(s, e->model);
    work = mica_scheduler_chunk(slot, s->n_ids, s->n_cached, e->chunk_tokens,
                                e->runner.batch.capacity.n_rows);
    work.slot = index;
    return work;
}

static mica_status run(mica_engine *e, const mica_schedule *work, mica_error *err) {
    mica_request_slot *slot = &e->slots[work->slot];
    mica_sequence *s = &e->sequences[slot->sequence];
    double start = mica_clock_seconds();
    bool is_prefill = slot->n_generated == 0;
    mica_batch_begin(&e->runner.batch);
    mica_batch_add(&e->runner.batch, s, work->n_tokens, work->n_rows);
    mica_status st = mica_runner_run(&e->runner, err);
    if (st != MICA_STATUS_OK) return st;
    s->n_cached += work->n_tokens;
    double seconds = mica_clock_seconds() - start;
    *(is_prefill ? &slot->prefill_seconds : &slot->decode_seconds) += seconds;
    return MICA_STATUS_OK;
}

static void postprocess(mica_engine *e, const mica_schedule *work) {
    mica_request_slot *slot = &e->slots[work->slot];
    mica_sequence *s = &e->sequences[slot->sequence];
    int64_t first = s->n_cached - work->n_tokens;
    report_prompt_logits(e, slot, work, first);
    bool go_on = !e->progress || slot->n_generated > 0 ||
                 e->progress(e->progress_context, "prefill", (uint64_t)s->n_cached,
                             (uint64_t)slot->n_prompt);
    if (!go_on) {
        send_event(slot, -1, MICA_FINISH_CANCELLED, NULL, NULL);
        end_request(e, slot);
    } else if (s->n_cached == s->n_ids) {
        sample_and_report(e, slot, work);
    }
}

mica_status mica_engine_step(mica_engine *e, mica_error *err) {
    if (!e) return mica_fail(err, MICA_STATUS_INVALID, "mica_engine_step: the engine is NULL");
    mica_schedule work = schedule(e);
    if (work.slot < 0) return MICA_STATUS_OK;
    mica_error error = {0};
    mica_status st = run(e, &work, &error);
    if (st == MICA_STATUS_OK) {
        postprocess(e, &work);
        return MICA_STATUS_OK;
    }
    /* The request fails, the engine lives: its sequence may hold half a pass and is given back. */
    mica_request_slot *slot = &e->slots[work.slot];
    slot->request.keep = false;
    send_event(slot, -1, MICA_FINISH_ERROR, NULL, &error);
    end_request(e, slot);
    return MICA_STATUS_OK;
}
