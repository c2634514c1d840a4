/* Tiny random models for the tests of quantised checkpoints: a list of tensors in memory, what the
 * configuration predicts of it, the same quantised as MLX lays it out, and the same decoded. */
#pragma once
#include <math.h>
#include "model/model.h"
#include "model_test.h"
#include "test_folder.h"
#include "base/host.h"
#include "format/safetensors_writer.h"
#include "kernel/quant_block.h"

/* ---- tensors in memory ---- */

typedef struct case_tensor {
    char name[128];
    mica_safetensors_dtype dtype;
    mica_shape shape;
    uint8_t *data;
    size_t bytes;
} case_tensor;

typedef struct case_list {
    case_tensor items[512];
    size_t n;
} case_list;

static inline case_tensor *case_add(case_list *l, const char *name, mica_safetensors_dtype dtype,
                                    int rank, const int64_t *dims) {
    uint64_t bytes;
    assert_true(l->n < 512 && strlen(name) < sizeof l->items[0].name);
    case_tensor *t = &l->items[l->n++];
    *t = (case_tensor){.dtype = dtype};
    snprintf(t->name, sizeof t->name, "%s", name);
    assert_true(mica_shape_make(rank, dims, &t->shape));
    assert_int_equal(mica_safetensors_tensor_bytes(dtype, &t->shape, &bytes), 0);
    t->bytes = (size_t)bytes;
    t->data = calloc(1, t->bytes + 1);
    assert_non_null(t->data);
    return t;
}

static inline case_tensor *case_find(case_list *l, const char *name) {
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->items[i].name, name) == 0) return &l->items[i];
    return NULL;
}

static inline void case_remove(case_list *l, const char *name) {
    case_tensor *t = case_find(l, name);
    if (!t) fail_msg("there is no %s", name);
    free(t->data);
    *t = l->items[--l->n];
}

static inline void case_copy(case_list *l, const case_tensor *t) {
    case_tensor *copy = case_add(l, t->name, t->dtype, t->shape.rank, t->shape.dims);
    memcpy(copy->data, t->data, t->bytes);
}

static inline void case_free(case_list *l) {
    for (size_t i = 0; i < l->n; i++) free(l->items[i].data);
    l->n = 0;
}

/* model.safetensors, and config.json = config with its %s replaced by extra. */
static inline void case_write(const case_list *l, const char *config, const char *extra,
                              const test_folder *f) {
    mica_error err = {0};
    char text[8192];
    mica_safetensors_item items[512];
    for (size_t i = 0; i < l->n; i++) {
        const case_tensor *t = &l->items[i];
        items[i] = (mica_safetensors_item){t->name, t->dtype, t->shape, t->data};
    }
    assert_ok(mica_safetensors_write_file(
        mica_host_default(), test_folder_at(f, "model.safetensors"), items, l->n, &err));
    const char *place = strstr(config, "%s");
    assert_non_null(place);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(place - config), config, extra, place + 2);
    test_folder_write_text(f, "config.json", text);
}

/* ---- models ---- */

#define CASE_COMMON                                                                                \
    "\"hidden_size\": 128, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, "                 \
    "\"num_key_value_heads\": 2, \"head_dim\": 32, \"vocab_size\": 320, "                          \
    "\"max_position_embeddings\": 256, \"rms_norm_eps\": 1e-5%s"

static const char case_llama[] =
    "{\"model_type\": \"llama\", \"intermediate_size\": 256, \"tie_word_embeddings\": true, "
    "\"attention_bias\": true, " CASE_COMMON "}";
static const char case_qwen3_moe[] =
    "{\"model_type\": \"qwen3_moe\", \"intermediate_size\": 256, \"moe_intermediate_size\": 128, "
    "\"num_experts\": 4, \"num_experts_per_tok\": 2, \"norm_topk_prob\": true, "
    "\"tie_word_embeddings\": false, " CASE_COMMON "}";
static const char case_gpt_oss[] =
    "{\"model_type\": \"gpt_oss\", \"intermediate_size\": 128, \"num_local_experts\": 4, "
    "\"num_experts_per_tok\": 2, \"swiglu_limit\": 7.0, \"attention_bias\": true, "
    "\"sliding_window\": 16, \"layer_types\": [\"sliding_attention\", \"full_attention\"], "
    "\"tie_word_embeddings\": false, " CASE_COMMON "}";

typedef struct case_random {
    case_list *list;
    uint64_t state;
} case_random;

static inline bool case_ends_with(const char *name, const char *tail) {
    size_t n = strlen(name), m = strlen(tail);
    return n >= m && strcmp(name + n - m, tail) == 0;
}

static inline void case_fill(case_tensor *t, uint64_t *state) {
    float *values = (float *)(void *)t->data;
    int64_t k = t->shape.dims[t->shape.rank - 1];
    bool is_norm = case_ends_with(t->name, "norm.weight");
    float spread = is_norm ? 0.2f : t->shape.rank > 1 ? 2.0f / sqrtf((float)k) : 0.1f;
    if (case_ends_with(t->name, "embed_tokens.weight")) spread = 1.0f;
    for (size_t i = 0; i < t->bytes / sizeof(float); i++)
        values[i] = (is_norm ? 1.0f : 0.0f) + spread * test_random_float(state);
}

static inline mica_status case_predicted(void *context, const char *name,
                                         mica_safetensors_dtype dtype, const mica_shape *shape,
                                         mica_error *err) {
    case_random *r = context;
    (void)dtype, (void)err;
    /* gpt-oss's own layout of experts is made of MLX's (case_gpt_oss_layout). */
    if (strstr(name, ".experts.gate_up_proj") || strstr(name, ".experts.down_proj"))
        return MICA_STATUS_OK;
    case_fill(case_add(r->list, name, MICA_SAFETENSORS_F32, shape->rank, shape->dims), &r->state);
    return MICA_STATUS_OK;
}

/* The tensors of a configuration in f32; experts of gpt-oss as MLX names them. */
static inline void case_make(case_list *l, const char *config, uint64_t seed) {
    mica_error err = {0};
    mica_config *c = NULL;
    char text[8192], name[128];
    case_random r = {.list = l, .state = seed};
    const char *place = strstr(config, "%s");
    snprintf(text, sizeof text, "%.*s%s", (int)(place - config), config, place + 2);
    assert_ok(mica_config_parse(mica_host_default(), "config.json", text, strlen(text), &c, &err));
    assert_ok(mica_model_predict(c, case_predicted, &r, &err));
    static const char *const names[] = {"gate_proj", "up_proj", "down_proj"};
    for (int i = 0; i < c->num_hidden_layers && strcmp(c->model_type, "gpt_oss") == 0; i++)
        for (int j = 0; j < 3; j++) {
            int64_t e = c->num_local_experts, hidden = c->hidden_size, n = c->intermediate_size;
            int64_t dims[] = {e, j < 2 ? n : hidden, j < 2 ? hidden : n};
            snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%s.weight", i, names[j]);
            case_fill(case_add(l, name, MICA_SAFETENSORS_F32, 3, dims), &r.state);
            snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%s.bias", i, names[j]);
            case_fill(case_add(l, name, MICA_SAFETENSORS_F32, 2, dims), &r.state);
        }
    mica_config_destroy(&c);
}

/* ---- quantising ---- */

static inline int case_kind(mica_quant q) {
    return q.scale_dtype == MICA_DTYPE_F32    ? MICA_KIND_F32
           : q.scale_dtype == MICA_DTYPE_F16  ? MICA_KIND_F16
           : q.scale_dtype == MICA_DTYPE_BF16 ? MICA_KIND_BF16
                                              : MICA_KIND_U8;
}

/* Adds <path>.weight, .scales and .biases or .scale_factor of t to `to`, and replaces t's values by
 * what they decode to. */
static inline void case_quantize(case_tensor *t, mica_quant q, case_list *to) {
    mica_quant_desc d = {q.mode, q.bits, q.group, (uint8_t)case_kind(q)};
    char path[128], name[160];
    int rank = t->shape.rank;
    int64_t k = t->shape.dims[rank - 1], dims[MICA_RANK_MAX],
            rows = mica_shape_count(&t->shape) / k;
    int64_t each = t->shape.dims[rank - 2];
    float *values = (float *)(void *)t->data;
    bool is_scaled = q.mode == MICA_QUANT_NVFP4_SCALED, is_affine = q.mode == MICA_QUANT_AFFINE;
    uint8_t *third = NULL;
    snprintf(path, sizeof path, "%.*s", (int)(strlen(t->name) - strlen(".weight")), t->name);
    memcpy(dims, t->shape.dims, sizeof dims);
    dims[rank - 1] = k * q.bits / 32;
    snprintf(name, sizeof name, "%s.weight", path);
    uint8_t *codes = case_add(to, name, MICA_SAFETENSORS_U32, rank, dims)->data;
    dims[rank - 1] = k / q.group;
    mica_safetensors_dtype scale_dtype = mica_safetensors_dtype_of((mica_dtype)q.scale_dtype);
    snprintf(name, sizeof name, "%s.scales", path);
    uint8_t *scales = case_add(to, name, scale_dtype, rank, dims)->data;
    snprintf(name, sizeof name, "%s.biases", path);
    if (is_affine) third = case_add(to, name, scale_dtype, rank, dims)->data;
    snprintf(name, sizeof name, "%s.scale_factor", path);
    dims[0] = rank == 3 ? dims[0] : 1;
    if (is_scaled) third = case_add(to, name, MICA_SAFETENSORS_F32, 1, dims)->data;
    for (int64_t r = 0; r < rows; r++) {
        int64_t at = r * mica_quant_scale_bytes(d, k), code = r * mica_quant_code_bytes(d, k);
        void *biases = third ? third + (is_affine ? at : r / each * 4) : NULL;
        if (is_scaled && r % each == 0) {
            float amax = 0;
            for (int64_t i = 0; i < each * k; i++) amax = fmaxf(amax, fabsf(values[r * k + i]));
            amax /= 2688.0f;
            memcpy(biases, &amax, sizeof amax);
        }
        mica_quant_encode_row(d, values + r * k, k, codes + code, scales + at, biases);
        mica_quant_decode_row(d, codes + code, scales + at, biases, k, values + r * k);
    }
}

static inline bool case_is_matrix(const case_tensor *t) {
    return t->shape.rank > 1 && case_ends_with(t->name, ".weight");
}

/* Moves the tensors of plain whose rows are whole groups to quantised, in format q; the others are
 * copied. plain then holds what they decode to. */
static inline void case_quantize_all(case_list *plain, mica_quant q, case_list *quantised) {
    for (size_t i = 0; i < plain->n; i++) {
        case_tensor *t = &plain->items[i];
        if (case_is_matrix(t) && t->shape.dims[t->shape.rank - 1] % q.group == 0)
            case_quantize(t, q, quantised);
        else
            case_copy(quantised, t);
    }
}

/* ---- other layouts of experts ---- */

/* MLX's experts of layer i as gpt-oss publishes them: gate_up_proj [e, k, 2n] with even columns the
 * gates, down_proj [e, n, k]. */
static inline void case_gpt_oss_layout(case_list *l, int layer) {
    char path[96], name[128];
    snprintf(path, sizeof path, "model.layers.%d.mlp.experts.", layer);
    for (int j = 0; j < 3; j++) {
        static const char *const from[] = {"gate_proj", "up_proj", "down_proj"};
        static const char *const tails[] = {"gate_up_proj", "gate_up_proj", "down_proj"};
        int64_t step = j < 2 ? 2 : 1, shift = j == 1;
        for (int is_bias = 0; is_bias < 2; is_bias++) {
            snprintf(name, sizeof name, "%s%s.%s", path, from[j], is_bias ? "bias" : "weight");
            case_tensor source = *case_find(l, name);
            snprintf(name, sizeof name, "%s%s%s", path, tails[j], is_bias ? "_bias" : "");
            int64_t e = source.shape.dims[0], n = source.shape.dims[1];
            int64_t k = is_bias ? 1 : source.shape.dims[2];
            int64_t dims[3] = {e, is_bias ? step * n : k, step * n};
            case_tensor *to = case_find(l, name);
            if (!to) to = case_add(l, name, MICA_SAFETENSORS_F32, is_bias ? 2 : 3, dims);
            const float *in = (const float *)(void *)source.data;
            float *out = (float *)(void *)to->data;
            for (int64_t i = 0; i < e * n * k; i++) {
                int64_t expert = i / (n * k), row = i / k % n, column = i % k;
                out[(expert * k + column) * step * n + step * row + shift] = in[i];
            }
            case_remove(l, source.name);
        }
    }
}

/* Experts with a matrix each become one tensor of all (switch_mlp), part by part. */
static inline void case_switch_layout(case_list *l, int layer, int64_t n_experts) {
    static const char *const names[] = {"gate_proj", "up_proj", "down_proj"};
    static const char *const parts[] = {"weight", "scales", "biases", "scale_factor"};
    char name[128];
    for (int j = 0; j < 12; j++)
        for (int64_t e = 0; e < n_experts; e++) {
            snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%lld.%s.%s", layer,
                     (long long)e, names[j % 3], parts[j / 3]);
            case_tensor *found = case_find(l, name);
            if (!found) continue;
            case_tensor source = *found;
            bool is_factor = j / 3 == 3;
            int64_t dims[3] = {n_experts, source.shape.dims[0], source.shape.dims[1]};
            snprintf(name, sizeof name, "model.layers.%d.mlp.switch_mlp.%s.%s", layer, names[j % 3],
                     parts[j / 3]);
            case_tensor *to = case_find(l, name);
            if (!to) to = case_add(l, name, source.dtype, is_factor ? 1 : 3, dims);
            memcpy(to->data + (size_t)e * source.bytes, source.data, source.bytes);
            case_remove(l, source.name);
        }
}

/* ---- running ---- */

#define CASE_TOKENS 17
#define CASE_VOCAB 320

static inline void case_store_row(void *context, int64_t position, const float *logits) {
    memcpy((float *)context + position * CASE_VOCAB, logits, CASE_VOCAB * sizeof *logits);
}

/* The logits of CASE_TOKENS ids at every position. */
static inline void case_run(const test_folder *f, const char *level, mica_numeric_mode mode,
                            float *logits) {
    model_fixture m;
    static generation g;
    int32_t ids[CASE_TOKENS];
    for (int i = 0; i < CASE_TOKENS; i++) ids[i] = (i * 37 + 5) % CASE_VOCAB;
    fixture_options o = {.folder = f->path, .level = level, .mode = mode, .n_threads = 1};
    fixture_open(&m, &o);
    g = (generation){.on_logits = case_store_row, .logits_context = logits};
    generate(&m, ids, CASE_TOKENS, 1, &g);
    fixture_close(&m);
}
