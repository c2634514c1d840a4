/* Opening a model: configuration, family, checkpoint, weights; and what can be said of it without
 * running it. */
#include "model/model.h"
#include <stdio.h>
#include <string.h>
#include "base/error.h"
#include "format/import.h"
#include "model/forward.h"
#include "model/loader.h"
#include "model/rope_frequencies.h"

/* ---- families ---- */

#define MICA_FAMILY(name) extern const mica_family mica_family_##name;
#include "model/models.def"
#undef MICA_FAMILY

static const mica_family *const families[] = {
#define MICA_FAMILY(name) &mica_family_##name,
#include "model/models.def"
#undef MICA_FAMILY
};

#define MICA_FAMILY(name) #name " "
static const char family_names[] =
#include "model/models.def"
    ;
#undef MICA_FAMILY

const mica_family *mica_family_find(const char *model_type) {
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i]->model_type, model_type) == 0) return families[i];
    return NULL;
}

const char *mica_family_names(void) { return family_names; }

/* ---- KV groups ---- */

uint64_t mica_kv_group_page_bytes(const mica_kv_group *group, mica_numeric_mode mode) {
    uint64_t item = mode == MICA_EXACT ? sizeof(float) : sizeof(uint16_t);
    return item * 2 * MICA_PAGE_TOKENS * (uint64_t)group->n_layers * (uint64_t)group->n_kv_heads *
           (uint64_t)group->head_dim;
}

int64_t mica_kv_group_pages(const mica_kv_group *group, int64_t context) {
    int64_t all = (context + MICA_PAGE_TOKENS - 1) / MICA_PAGE_TOKENS;
    /* One page of slack: the ring holds a whole window behind any position inside its newest page.
     */
    int64_t ring = (group->window + MICA_PAGE_TOKENS - 1) / MICA_PAGE_TOKENS + 1;
    return group->window && ring < all ? ring : all;
}

static int64_t layer_window(const mica_config *c, int64_t layer) {
    return c->layer_types[layer] == MICA_LAYER_SLIDING ? c->sliding_window : 0;
}

static mica_status make_kv_groups(mica_model *m, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_config *c = m->config;
    size_t n = (size_t)c->num_hidden_layers;
    m->layer_group = MICA_NEW_ARRAY(m->runtime->host.allocator, uint8_t, n);
    m->layer_in_group = MICA_NEW_ARRAY(m->runtime->host.allocator, uint16_t, n);
    MICA_REQUIRE(m->layer_group && m->layer_in_group, MICA_STATUS_OUT_OF_MEMORY,
                 "out of memory: table of %zu layers", n);
    for (size_t i = 0; i < n; i++) {
        int64_t window = layer_window(c, (int64_t)i);
        size_t g = 0;
        while (g < m->n_kv_groups && m->kv_groups[g].window != window) g++;
        MICA_REQUIRE(g < MICA_KV_GROUPS_MAX, MICA_STATUS_UNSUPPORTED,
                     "config.json: layers of more than %d kinds of attention", MICA_KV_GROUPS_MAX);
        if (g == m->n_kv_groups)
            m->kv_groups[m->n_kv_groups++] =
                (mica_kv_group){.window = window,
                                .n_kv_heads = (int32_t)c->num_key_value_heads,
                                .head_dim = (int32_t)c->head_dim};
        m->layer_group[i] = (uint8_t)g;
        m->layer_in_group[i] = (uint16_t)m->kv_groups[g].n_layers++;
    }
done:
    return st;
}

/* ---- weights ---- */

/* A table that depends on the length is no weight: each sequence brings its own. */
static mica_status load_rope(mica_loader *l, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    float inverse[MICA_ROPE_PAIRS_MAX];
    const mica_config *c = l->config;
    int64_t dim, max_position = c->max_position_embeddings;
    mica_model *m = l->model;
    MICA_TRY(mica_rope_dim(&c->rope, c->head_dim, &dim, err));
    MICA_TRY(mica_rope_frequencies(&c->rope, dim, max_position, 1, inverse, &m->rope_scale, err));
    if (mica_rope_is_by_length(&c->rope, max_position))
        m->n_rope_pairs = (int32_t)(dim / 2);
    else
        MICA_TRY(mica_load_computed(l, "rope.inverse_frequencies", inverse, dim / 2, err));
    if (!c->has_rope_local) return MICA_STATUS_OK;
    MICA_REQUIRE(!mica_rope_is_by_length(&c->rope_local, max_position), MICA_STATUS_UNSUPPORTED,
                 "config.json: rope_type %s for the window layers", c->rope_local.rope_type);
    MICA_TRY(mica_rope_dim(&c->rope_local, c->head_dim, &dim, err));
    MICA_TRY(mica_rope_frequencies(&c->rope_local, dim, max_position, 1, inverse,
                                   &m->rope_local_scale, err));
    MICA_TRY(mica_load_computed(l, "rope.inverse_frequencies_local", inverse, dim / 2, err));
done:
    return st;
}

int64_t mica_model_context_max(const mica_model *m) {
    return mica_rope_context_max(&m->config->rope, m->config->max_position_embeddings);
}

void mica_model_rope_table(const mica_model *m, int64_t length, float *out) {
    const mica_config *c = m->config;
    float scale; /* the same for every length */
    /* Loading made the same call: what could fail has been judged. */
    mica_rope_frequencies(&c->rope, 2 * (int64_t)m->n_rope_pairs, c->max_position_embeddings,
                          length, out, &scale, NULL);
}

/* What one token reads: all but the embedding rows, and of the experts only those that are chosen.
 */
static void count_active(mica_model *m) {
    const mica_config *c = m->config;
    for (size_t i = 0; i < mica_weights_count(m->weights); i++) {
        const mica_weight *w = mica_weights_at(m->weights, i);
        uint64_t count = (uint64_t)mica_shape_count(&w->shape), bytes = w->bytes;
        bool is_embedding = strcmp(w->name, "model.embed_tokens.weight") == 0;
        if (is_embedding && !c->tie_word_embeddings) continue;
        bool is_expert = strstr(w->name, ".experts.") || strstr(w->name, ".switch_mlp.");
        if (is_expert && c->num_local_experts > 0) {
            count = count / (uint64_t)c->num_local_experts * (uint64_t)c->num_experts_per_tok;
            bytes = bytes / (uint64_t)c->num_local_experts * (uint64_t)c->num_experts_per_tok;
        }
        if (strncmp(w->name, "rope.", 5) != 0) m->n_parameters_active += count;
        m->weight_bytes_active += bytes;
    }
}

static mica_status check_budget(const mica_model *m, mica_error *err) {
    uint64_t budget = m->runtime->memory_budget_bytes, need = mica_checkpoint_bytes(m->checkpoint);
    uint64_t used = atomic_load(&m->runtime->weight_bytes) + atomic_load(&m->runtime->kv_bytes);
    uint64_t room = used < budget ? budget - used : 0;
    if (!budget || need <= room) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_LIMIT,
                     "the weights need %llu bytes, the memory budget is %llu, %llu of it in use",
                     (unsigned long long)need, (unsigned long long)budget,
                     (unsigned long long)used);
}

static mica_status load_weights(mica_model *m, const mica_model_options *o, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_loader l = {
        .model = m,
        .config = m->config,
        .checkpoint = m->checkpoint,
        .check_only = o->check_only,
        .progress = o->progress,
        .progress_context = o->progress_context,
        .total_bytes = mica_checkpoint_bytes(m->checkpoint),
    };
    size_t capacity = mica_checkpoint_count(m->checkpoint) + 8;
    MICA_TRY(mica_weights_create(&m->runtime->host, capacity, &m->weights, err));
    MICA_TRY(mica_loader_sort_rules(&l, m->runtime->host.allocator, err));
    MICA_TRY(m->family->load(&l, err));
    MICA_TRY(load_rope(&l, err));
    MICA_TRY(mica_checkpoint_check_all_taken(m->checkpoint, NULL, NULL, err));
    if (!o->check_only) MICA_TRY(mica_checkpoint_check_unchanged(m->checkpoint, err));
    if (!o->check_only) atomic_fetch_add(&m->runtime->weight_bytes, mica_weights_bytes(m->weights));
    m->is_counted = !o->check_only;
    count_active(m);
done:
    mica_free(m->runtime->host.allocator, l.rules);
    return st;
}

mica_status mica_model_predict(const mica_config *config, mica_predict_callback callback,
                               void *context, mica_error *err) {
    mica_config filled = *config; /* shares the texts; never destroyed */
    mica_loader l = {.config = &filled, .predict = callback, .predict_context = context};
    const mica_family *family = mica_family_find(config->model_type);
    if (!family)
        return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                         "config.json: model_type \"%s\", this build has: %s", config->model_type,
                         mica_family_names());
    if (family->fill_defaults) family->fill_defaults(&filled);
    mica_status st = family->check(&filled, err);
    return st == MICA_STATUS_OK ? family->load(&l, err) : st;
}

/* ---- life ---- */

static mica_status open_files(mica_model *m, const char *path, const mica_model_options *o,
                              mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_host *host = &m->runtime->host;
    mica_checkpoint_options options = {.use_pread = o->read_into_memory};
    MICA_TRY(mica_config_load(host, path, &m->config, err));
    MICA_TRY(mica_generation_config_load(host, path, &m->generation, err));
    m->family = mica_family_find(m->config->model_type);
    MICA_REQUIRE(m->family, MICA_STATUS_UNSUPPORTED,
                 "config.json: model_type \"%s\", this build has: %s", m->config->model_type,
                 mica_family_names());
    if (m->family->fill_defaults) m->family->fill_defaults(m->config);
    MICA_TRY(m->family->check(m->config, err));
    MICA_TRY(make_kv_groups(m, err));
    MICA_TRY(mica_checkpoint_open(host, path, &options, &m->checkpoint, err));
    MICA_TRY(mica_checkpoint_import(m->checkpoint, m->config, err));
done:
    return st;
}

mica_status mica_model_open(mica_runtime *runtime, const char *path,
                            const mica_model_options *options, mica_model **out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_model *m = NULL;
    mica_model_options o = {0};
    MICA_REQUIRE(runtime && path && out, MICA_STATUS_INVALID,
                 "mica_model_open: an argument is NULL");
    if (options) {
        size_t bytes = options->struct_bytes;
        memcpy(&o, options, bytes && bytes < sizeof o ? bytes : sizeof o);
    }
    m = MICA_NEW(runtime->host.allocator, mica_model);
    MICA_REQUIRE(m, MICA_STATUS_OUT_OF_MEMORY, "out of memory: model");
    m->runtime = runtime;
    MICA_TRY(open_files(m, path, &o, err));
    if (!o.check_only) MICA_TRY(check_budget(m, err));
    MICA_TRY(load_weights(m, &o, err));
    *out = m;
    m = NULL;
done:
    mica_model_close(&m);
    return st;
}

void mica_model_close(mica_model **model) {
    mica_model *m = model ? *model : NULL;
    if (!m) return;
    *model = NULL;
    const mica_allocator *a = m->runtime->host.allocator;
    if (m->is_counted) atomic_fetch_sub(&m->runtime->weight_bytes, mica_weights_bytes(m->weights));
    mica_weights_destroy(&m->weights);
    mica_checkpoint_close(&m->checkpoint);
    mica_config_destroy(&m->config);
    mica_free(a, m->layer_group);
    mica_free(a, m->layer_in_group);
    mica_free(a, m);
}

/* ---- what can be said of it ---- */

void mica_model_get_info(const mica_model *m, mica_model_info *out) {
    if (!m || !out) return;
    const mica_config *c = m->config;
    *out = (mica_model_info){
        .family = m->family->model_type,
        .architecture = c->architecture,
        .n_layers = c->num_hidden_layers,
        .hidden_size = c->hidden_size,
        .n_heads = c->num_attention_heads,
        .n_kv_heads = c->num_key_value_heads,
        .head_dim = c->head_dim,
        .vocab_size = c->vocab_size,
        .n_experts = c->num_local_experts,
        .n_experts_per_token = c->num_experts_per_tok,
        .sliding_window = c->sliding_window,
        .context_max = mica_model_context_max(m),
        .n_parameters = m->n_parameters,
        .n_parameters_active = m->n_parameters_active,
        .weight_bytes = mica_checkpoint_bytes(m->checkpoint),
        .weight_bytes_active = m->weight_bytes_active,
        .n_tensors = mica_checkpoint_count(m->checkpoint),
        .n_shards = mica_checkpoint_shard_count(m->checkpoint),
    };
}

static void add_stop_ids(mica_model_sampling *out, const mica_token_ids *ids) {
    for (int32_t i = 0; i < ids->count && out->n_stop_ids < 16; i++) {
        bool is_there = false;
        for (size_t j = 0; j < out->n_stop_ids; j++) is_there |= out->stop_ids[j] == ids->ids[i];
        if (!is_there) out->stop_ids[out->n_stop_ids++] = ids->ids[i];
    }
}

void mica_model_get_sampling(const mica_model *m, mica_model_sampling *out) {
    if (!m || !out) return;
    const mica_generation_config *g = &m->generation;
    *out = (mica_model_sampling){
        .has_temperature = g->has.temperature,
        .has_top_k = g->has.top_k,
        .has_top_p = g->has.top_p,
        .has_min_p = g->has.min_p,
        .has_repetition_penalty = g->has.repetition_penalty,
        .has_do_sample = g->has.do_sample,
        .temperature = (float)g->temperature,
        .top_p = (float)g->top_p,
        .min_p = (float)g->min_p,
        .repetition_penalty = (float)g->repetition_penalty,
        .top_k = (int32_t)g->top_k,
        .do_sample = g->do_sample,
    };
    add_stop_ids(out, &m->config->eos_token_ids);
    add_stop_ids(out, &g->eos_token_ids);
}

void mica_tensor_info_fill(const mica_checkpoint *c, const mica_checkpoint_tensor *t,
                           mica_tensor_info *out) {
    *out = (mica_tensor_info){
        .name = t->name,
        .dtype = mica_safetensors_dtype_name(t->dtype),
        .rank = t->shape.rank,
        .bytes = t->bytes,
        .shard = mica_checkpoint_shard_name(c, t->shard),
    };
    memcpy(out->dims, t->shape.dims, sizeof out->dims);
}

bool mica_model_get_tensor(const mica_model *m, size_t index, mica_tensor_info *out) {
    if (!m || !out || index >= mica_checkpoint_count(m->checkpoint)) return false;
    mica_tensor_info_fill(m->checkpoint, mica_checkpoint_at(m->checkpoint, index), out);
    return true;
}

/* Traces and plans the largest pass; nothing is loaded or run. */
static mica_status estimate_arena(const mica_model *m, int64_t context, mica_numeric_mode mode,
                                  uint64_t *bytes, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_graph *g = NULL;
    mica_plan *plan = NULL;
    mica_ref outputs[MICA_FORWARD_OUTPUTS_MAX];
    size_t n_outputs = 0;
    mica_plan_options options = {.label = "estimate"};
    mica_forward_shape shape = {
        .n_tokens = MICA_CHUNK_TOKENS_DEFAULT, .n_rows = 1, .n_sequences = 1};
    shape.mode = mode;
    for (size_t i = 0; i < m->n_kv_groups; i++)
        shape.table_width[i] = shape.n_pages[i] =
            (int32_t)mica_kv_group_pages(&m->kv_groups[i], context);
    MICA_TRY(mica_forward_trace(m, &shape, &g, outputs, &n_outputs, err));
    MICA_TRY(m->runtime->plan_build(m->runtime, g, outputs, n_outputs, &options, &plan, err));
    for (size_t s = 0; s < plan->n_segments; s++)
        *bytes += plan->segments[s].arena_bytes +
                  plan->segments[s].scratch_bytes * (uint64_t)m->runtime->limits.n_workers;
done:
    mica_plan_destroy(&plan);
    mica_graph_destroy(&g);
    return st;
}

mica_status mica_model_estimate(const mica_model *m, int64_t context, mica_numeric_mode mode,
                                mica_memory_estimate *out, mica_error *err) {
    if (!m || !out || (mode != MICA_FAST && mode != MICA_EXACT))
        return mica_fail(err, MICA_STATUS_INVALID,
                         "mica_model_estimate: an argument is NULL or no mode");
    if (context < 1 || context > mica_model_context_max(m))
        return mica_fail(err, MICA_STATUS_INVALID, "a context of %lld tokens, wanted 1 to %lld",
                         (long long)context, (long long)mica_model_context_max(m));
    *out = (mica_memory_estimate){.weight_bytes = mica_checkpoint_bytes(m->checkpoint)};
    for (size_t i = 0; i < m->n_kv_groups; i++)
        out->kv_bytes += (uint64_t)mica_kv_group_pages(&m->kv_groups[i], context) *
                         mica_kv_group_page_bytes(&m->kv_groups[i], mode);
    mica_status st = estimate_arena(m, context, mode, &out->scratch_bytes, err);
    if (st != MICA_STATUS_OK) {
        *out = (mica_memory_estimate){0};
        return st;
    }
    /* Logits, and the sampler's two copies of a row. */
    out->scratch_bytes +=
        (uint64_t)m->config->vocab_size * sizeof(float) * (MICA_PROMPT_LOGITS_ROWS + 2);
    out->total_bytes = out->weight_bytes + out->kv_bytes + out->scratch_bytes;
    return st;
}
