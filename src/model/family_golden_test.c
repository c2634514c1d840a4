/* Every family against transformers in float32 on tiny random models, in exact mode, with
 * config.json as published checkpoints have it and as transformers 5 writes it. What the models
 * exercise and how they were made: tests/data/golden/README.md. */
#include "test.h"
#include "test_folder.h"
#include "model_test.h"
#include "base/host.h"
#include "format/safetensors.h"
#include "model/model.h"

#define GOLDEN MICA_SOURCE_DIR "/tests/data/golden"
#define LOGIT_TOLERANCE 1e-4
#define N_GREEDY 24
#define N_LEVELS 4

/* Folders: a family, or a family and what is special in it. */
static const char *const family_names[] = {
    "llama",        "mistral",          "qwen2",           "qwen3",        "qwen3_moe",
    "gemma3_text",  "granite",          "olmo2",           "phi3",         "phi3_longrope",
    "phi3_partial", "smollm3",          "smollm3_window",  "llama_linear", "llama_dynamic",
    "llama_yarn",   "llama_yarn_exact", "qwen3_moe_window"};
static const char *const config_names[] = {"config.json", "config.v5.json"};
static const char *const levels[N_LEVELS] = {"scalar", "avx2", "avx512", "neon"};

/* A folder with the family's weights and one of its configurations. */
static void make_folder(test_folder *f, const char *family, const char *config) {
    static const char weights[] = "model.safetensors";
    char from[512];
    size_t bytes;
    test_folder_make(f);
    snprintf(from, sizeof from, GOLDEN "/%s/%s", family, weights);
    char *data = test_file_read(from, &bytes);
    test_folder_write(f, weights, data, bytes);
    free(data);
    snprintf(from, sizeof from, GOLDEN "/%s/%s", family, config);
    data = test_file_read(from, &bytes);
    test_folder_write(f, "config.json", data, bytes);
    free(data);
}

/* A tensor of golden.safetensors, copied out; NULL where there is none. */
static void *find_golden(const char *family, const char *name, size_t n, size_t count) {
    mica_error err = {0};
    mica_safetensors *s = NULL;
    char path[512], full[64];
    snprintf(path, sizeof path, GOLDEN "/%s/golden.safetensors", family);
    snprintf(full, sizeof full, "%s_%zu", name, n);
    assert_ok(mica_safetensors_open(mica_host_default(), path, &s, &err));
    const mica_safetensors_tensor *t = mica_safetensors_find(s, mica_slice_from(full));
    if (t && t->end - t->begin != count * 4) fail_msg("%s: %s is not %zu", path, full, count);
    void *data = t ? malloc(count * 4) : NULL;
    if (t) assert_ok(mica_file_read(mica_safetensors_file(s), t->begin, data, count * 4, &err));
    mica_safetensors_close(&s);
    return data;
}

static void *read_golden(const char *family, const char *name, size_t n, size_t count) {
    void *data = find_golden(family, name, n, count);
    if (!data) fail_msg("%s: no %s_%zu", family, name, n);
    return data;
}

static double largest_difference(const float *a, const float *b, int64_t n) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        worst = d <= worst ? worst : d; /* NaN stays */
    }
    return worst;
}

typedef struct logits_store {
    float *rows;
    int64_t vocab;
    int64_t n;
} logits_store;

static void store_logits(void *context, int64_t position, const float *logits) {
    logits_store *s = context;
    memcpy(s->rows + position * s->vocab, logits, (size_t)s->vocab * sizeof *logits);
    s->n++;
}

/* The error of the last logits of a prompt whose rotary table is that of the prompt's length, and
 * not that of the reply's end, as the other calls have it. */
static double check_alone(model_fixture *f, const char *family, const int32_t *ids, size_t n) {
    size_t vocab = (size_t)f->vocab;
    float *want = read_golden(family, "logits", n, vocab);
    float *logits = calloc(vocab, sizeof *logits);
    generation g = {.first_logits = logits};
    generate(f, ids, n, 1, &g);
    double worst = largest_difference(logits, want, f->vocab);
    free(want), free(logits);
    return worst;
}

/* Last logits and greedy ids after a prompt of n ids; returns the largest error. */
static double check_prompt(model_fixture *f, const char *family, size_t n) {
    size_t vocab = (size_t)f->vocab;
    int32_t *ids = read_golden(family, "input_ids", n, n);
    int32_t *want_ids = read_golden(family, "greedy", n, N_GREEDY);
    float *want = find_golden(family, "logits_pinned", n, vocab);
    float *logits = calloc(vocab, sizeof *logits);
    generation g = {.first_logits = logits};
    double alone = want ? check_alone(f, family, ids, n) : 0;
    if (!want) want = read_golden(family, "logits", n, vocab);
    generate(f, ids, n, N_GREEDY, &g);
    double worst = largest_difference(logits, want, f->vocab);
    worst = alone <= worst ? worst : alone;
    assert_int_equal(g.n, N_GREEDY);
    for (size_t i = 0; i < N_GREEDY; i++)
        if (g.ids[i] != want_ids[i])
            fail_msg("%s, %zu tokens: id %zu is %d, wanted %d", family, n, i, g.ids[i],
                     want_ids[i]);
    free(ids), free(want_ids), free(want), free(logits);
    return worst;
}

static double check_all_positions(model_fixture *f, const char *family) {
    size_t n = 17, count = n * (size_t)f->vocab;
    int32_t *ids = read_golden(family, "input_ids", n, n);
    float *want = read_golden(family, "logits_all", n, count);
    logits_store s = {.rows = calloc(count, sizeof(float)), .vocab = f->vocab};
    generation g = {.on_logits = store_logits, .logits_context = &s};
    generate(f, ids, n, 1, &g);
    assert_int_equal(s.n, n);
    double worst = largest_difference(s.rows, want, (int64_t)count);
    free(ids), free(want), free(s.rows);
    return worst;
}

static void check_family(const char *family, const char *config, const char *level) {
    test_folder folder;
    model_fixture f;
    mica_error err = {0};
    make_folder(&folder, family, config);
    fixture_options o = {.folder = folder.path, .level = level, .mode = MICA_EXACT};
    mica_status st = fixture_try_open(&f, &o, &err);
    if (st == MICA_STATUS_UNAVAILABLE) {
        fixture_close(&f);
        test_folder_remove(&folder);
        return;
    }
    assert_ok(st);
    double e[4] = {check_prompt(&f, family, 1), check_prompt(&f, family, 17),
                   check_prompt(&f, family, 200), check_all_positions(&f, family)};
    printf("%s, %s, %s: largest errors %.2g %.2g %.2g, all positions %.2g; greedy equal\n", family,
           config, level, e[0], e[1], e[2], e[3]);
    for (int i = 0; i < 4; i++)
        if (!(e[i] <= LOGIT_TOLERANCE)) fail_msg("%s, %s: error %g", family, config, e[i]);
    fixture_close(&f);
    test_folder_remove(&folder);
}

/* Proves: logits within 1e-4 of transformers', for 1, 17 and 200 tokens and for every position of
 * 17, and all 24 greedy ids equal; for both forms of the configuration, on every level. */
static void logits_and_greedy(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof family_names / sizeof *family_names; i++)
        for (size_t c = 0; c < 2; c++)
            for (size_t l = 0; l < N_LEVELS; l++)
                check_family(family_names[i], config_names[c], levels[l]);
}

/* Proves: chunks of 8 tokens give the bits of one whole pass, for prompt and reply, in both modes.
 */
static void chunked_is_whole(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof family_names / sizeof *family_names; i++)
        for (int m = 0; m < 2; m++) {
            test_folder folder;
            float logits[2][2048];
            generation g[2] = {{.first_logits = logits[0]}, {.first_logits = logits[1]}};
            int32_t *ids = read_golden(family_names[i], "input_ids", 200, 200);
            make_folder(&folder, family_names[i], "config.json");
            for (int c = 0; c < 2; c++) {
                model_fixture f;
                fixture_options o = {.folder = folder.path, .chunk_tokens = c ? 8 : 256};
                o.mode = m ? MICA_FAST : MICA_EXACT;
                fixture_open(&f, &o);
                assert_true(f.vocab <= 2048);
                generate(&f, ids, 200, N_GREEDY, &g[c]);
                fixture_close(&f);
            }
            size_t bytes = (size_t)g[0].vocab * sizeof(float);
            if (memcmp(logits[0], logits[1], bytes) != 0)
                fail_msg("%s: logits differ by the chunk", family_names[i]);
            assert_memory_equal(g[0].ids, g[1].ids, N_GREEDY * sizeof(int32_t));
            free(ids);
            test_folder_remove(&folder);
        }
}

typedef struct prediction {
    mica_safetensors *file;
    size_t n;
} prediction;

static mica_status find_predicted(void *context, const char *name, mica_safetensors_dtype dtype,
                                  const mica_shape *shape, mica_error *err) {
    prediction *p = context;
    (void)err;
    const mica_safetensors_tensor *t = mica_safetensors_find(p->file, mica_slice_from(name));
    if (!t || t->dtype != dtype || !mica_shape_equal(&t->shape, shape))
        fail_msg("%s is not as predicted", name);
    p->n++;
    return MICA_STATUS_OK;
}

/* Proves: the tensors that each configuration predicts are those of the file, all of them. */
static void predicts_the_file(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof family_names / sizeof *family_names; i++) {
        mica_error err = {0};
        mica_config *config = NULL;
        prediction p = {0};
        char path[512];
        snprintf(path, sizeof path, GOLDEN "/%s", family_names[i]);
        assert_ok(mica_config_load(mica_host_default(), path, &config, &err));
        snprintf(path, sizeof path, GOLDEN "/%s/model.safetensors", family_names[i]);
        assert_ok(mica_safetensors_open(mica_host_default(), path, &p.file, &err));
        assert_ok(mica_model_predict(config, find_predicted, &p, &err));
        assert_int_equal(p.n, mica_safetensors_count(p.file));
        mica_safetensors_close(&p.file);
        mica_config_destroy(&config);
    }
}

/* ---- configurations with one thing changed ---- */

static void edit_config(const test_folder *f, const char *from, const char *to) {
    size_t bytes;
    char *data = test_file_read(test_folder_at(f, "config.json"), &bytes);
    char *at = strstr(data, from);
    if (!at) fail_msg("config.json does not hold %s", from);
    size_t changed_bytes = bytes + strlen(to) + 1;
    char *changed = malloc(changed_bytes);
    assert_non_null(changed);
    snprintf(changed, changed_bytes, "%.*s%s%s", (int)(at - data), data, to, at + strlen(from));
    test_folder_write_text(f, "config.json", changed);
    free(changed);
    free(data);
}

typedef struct edit_case {
    const char *family, *from, *to;
    mica_status status;
    const char *words; /* of the message */
} edit_case;

/* clang-format off */
static const edit_case refused[] = {
    {"llama", "\"hidden_act\": \"silu\"", "\"hidden_act\": \"relu2\"", MICA_STATUS_UNSUPPORTED,
     "hidden_act is \"relu2\""},
    {"gemma3_text", "gelu_pytorch_tanh", "quick_gelu", MICA_STATUS_UNSUPPORTED,
     "hidden_act is \"quick_gelu\""},
    {"llama", "\"intermediate_size\": 192,", "", MICA_STATUS_FORMAT, "needs intermediate_size"},
    {"mistral", "\"num_key_value_heads\": 2,", "", MICA_STATUS_FORMAT, "needs num_key_value_heads"},
    {"qwen2", "\"max_position_embeddings\": 1024,", "", MICA_STATUS_FORMAT,
     "needs max_position_embeddings"},
    {"llama", "\"attention_bias\": false", "\"attention_bias\": true", MICA_STATUS_NOT_FOUND,
     "q_proj.bias"},
    {"llama", "\"mlp_bias\": false", "\"mlp_bias\": true", MICA_STATUS_NOT_FOUND, "gate_proj.bias"},
    {"llama", "\"mlp_bias\": false", "\"partial_rotary_factor\": 0.5", MICA_STATUS_UNSUPPORTED,
     "partial_rotary_factor is 0.5"},
    {"llama", "\"high_freq_factor\": 4.0", "\"high_freq_factor\": 1.0", MICA_STATUS_FORMAT,
     "high_freq_factor 1 is not above"},
    {"llama", "\"mlp_bias\": false", "\"rope_local_base_freq\": 10000", MICA_STATUS_UNSUPPORTED,
     "rotary parameters per layer type"},
    {"llama", "\"mlp_bias\": false", "\"sliding_window\": 8, \"layer_types\": [\"full_attention\","
     "\"full_attention\", \"full_attention\", \"sliding_attention\"]", MICA_STATUS_UNSUPPORTED,
     "layer_types[3] is sliding_attention"},
    {"mistral", "\"sliding_window\": 32", "\"sliding_window\": 32, \"layer_types\": "
     "[\"full_attention\", \"sliding_attention\", \"sliding_attention\"]", MICA_STATUS_UNSUPPORTED,
     "layer_types[0] is full_attention"},
    {"llama", "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true", MICA_STATUS_FORMAT,
     "lm_head.weight"},
    {"qwen2", "\"tie_word_embeddings\": true", "\"unknown\": 1", MICA_STATUS_NOT_FOUND,
     "lm_head.weight"},
    {"qwen3", "\"head_dim\": 32,", "", MICA_STATUS_FORMAT, "[128, 64], expected [512, 64]"},
    {"qwen3_moe", "\"num_experts\": 8", "\"num_experts\": 9", MICA_STATUS_FORMAT, "mlp.gate.weight"},
    {"qwen3_moe", "\"moe_intermediate_size\": 48", "\"moe_intermediate_size\": 64",
     MICA_STATUS_FORMAT, "experts.0.gate_proj.weight: shape [48, 64], expected [64, 64]"},
    {"qwen3_moe", "\"moe_intermediate_size\": 48,", "", MICA_STATUS_FORMAT,
     "needs moe_intermediate_size"},
    {"qwen3_moe", "\"mlp_only_layers\": []", "\"mlp_only_layers\": [1]", MICA_STATUS_NOT_FOUND,
     "layers.1.mlp.gate_proj.weight"},
    {"qwen3_moe", "\"mlp_only_layers\": []", "\"mlp_only_layers\": [-1]", MICA_STATUS_FORMAT,
     "mlp_only_layers names layer -1"},
    {"qwen3_moe", "\"decoder_sparse_step\": 1", "\"decoder_sparse_step\": 2", MICA_STATUS_NOT_FOUND,
     "layers.0.mlp.gate_proj.weight"},
    {"qwen3_moe", "\"decoder_sparse_step\": 1", "\"decoder_sparse_step\": 0", MICA_STATUS_FORMAT,
     "decoder_sparse_step is 0"},
    {"gemma3_text", "\"attention_bias\": false", "\"use_bidirectional_attention\": true",
     MICA_STATUS_UNSUPPORTED, "use_bidirectional_attention"},
    {"gemma3_text", "\"rope_scaling\": null", "\"rope_parameters\": {\"sliding_attention\": "
     "{\"rope_type\": \"default\", \"partial_rotary_factor\": 0.5}}", MICA_STATUS_UNSUPPORTED,
     "partial_rotary_factor is 0.5"},
    {"olmo2", "\"attention_bias\": false", "\"no_rope_layers\": [1, 1, 0]",
     MICA_STATUS_UNSUPPORTED, "no_rope_layers[2] is 0, olmo2 rotates in all layers"},
    {"phi3", "\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}",
     MICA_STATUS_UNSUPPORTED, "rope_type is \"linear\", phi3 has default and longrope"},
    {"phi3", "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 4", MICA_STATUS_FORMAT,
     "layers.0.self_attn.qkv_proj.weight: shape [128, 64], expected [192, 64]"},
    {"phi3", "\"intermediate_size\": 96", "\"intermediate_size\": 64", MICA_STATUS_FORMAT,
     "layers.0.mlp.gate_up_proj.weight: shape [192, 64], expected [128, 64]"},
    {"phi3_longrope", "1.04,", "", MICA_STATUS_FORMAT, "short_factor has 7 numbers, expected 8"},
    {"phi3_longrope", "1.05,", "1.05, 1.05,", MICA_STATUS_FORMAT,
     "long_factor has 9 numbers, expected 8"},
    {"phi3_longrope", "\"type\"", "\"original_max_position_embeddings\": 128, \"type\"",
     MICA_STATUS_FORMAT, "original_max_position_embeddings is 64, but 128"},
    {"phi3_longrope", "\"type\": \"longrope\"", "\"type\": \"longer\"", MICA_STATUS_UNSUPPORTED,
     "rope_type is \"longer\""},
    {"phi3_partial", "\"partial_rotary_factor\": 0.75", "\"partial_rotary_factor\": 0.7",
     MICA_STATUS_UNSUPPORTED, "turns 11 elements"},
    {"phi3_partial", "\"partial_rotary_factor\"", "\"unknown\"", MICA_STATUS_FORMAT,
     "short_factor has 6 numbers, expected 8"},
    {"olmo2", "\"attention_bias\": false", "\"attention_bias\": true", MICA_STATUS_NOT_FOUND,
     "q_proj.bias"},
    {"olmo2", "\"attention_bias\": false", "\"partial_rotary_factor\": 0.5",
     MICA_STATUS_UNSUPPORTED, "partial_rotary_factor is 0.5, olmo2 rotates all"},
    {"olmo2", "\"num_key_value_heads\": 2,", "", MICA_STATUS_FORMAT,
     "k_proj.weight: shape [32, 64], expected [64, 64]"},
    {"granite", "\"mlp_bias\": false", "\"mlp_bias\": true", MICA_STATUS_NOT_FOUND,
     "gate_proj.bias"},
    {"granite", "\"tie_word_embeddings\": true,", "", MICA_STATUS_NOT_FOUND, "lm_head.weight"},
    {"smollm3", "\"no_rope_layers\": [\n    1,", "\"no_rope_layers\": [", MICA_STATUS_FORMAT,
     "no_rope_layers has 3 layers, num_hidden_layers is 4"},
    {"smollm3", "\"no_rope_layers\": [\n    1,", "\"no_rope_layers\": [\n    2,",
     MICA_STATUS_FORMAT, "no_rope_layers[0] is 2, expected 0 or 1"},
    {"smollm3", "\"no_rope_layers\": [\n    1,", "\"no_rope_layers\": [\n    true,",
     MICA_STATUS_FORMAT, "no_rope_layers"},
    {"smollm3", "[\n    \"full_attention\"", "[\n    \"sliding_attention\"", MICA_STATUS_FORMAT,
     "layer_types[0] is sliding_attention, but there is no sliding_window"},
    {"smollm3", "\"num_key_value_heads\": 2,", "", MICA_STATUS_FORMAT,
     "k_proj.weight: shape [32, 64], expected [64, 64]"},
    {"smollm3", "4,\n  \"num_hidden_layers\": 4,\n  \"num_key_value_heads\": 2,",
     "2, \"num_hidden_layers\": 4,", MICA_STATUS_FORMAT,
     "num_key_value_heads 4 (the default of smollm3) does not divide num_attention_heads 2"},
    {"smollm3_window", "\"use_sliding_window\": true", "\"layer_types\": [\"full_attention\", "
     "\"full_attention\", \"full_attention\", \"sliding_attention\"]", MICA_STATUS_UNSUPPORTED,
     "layer_types[3] is sliding_attention"},
    {"llama_dynamic", "\"factor\": 4.0", "\"factor\": 0.5", MICA_STATUS_FORMAT,
     "dynamic rope with factor 0.5"},
    {"llama_yarn", "\"factor\": 4.0,", "", MICA_STATUS_FORMAT, "rope_type yarn needs factor"},
    {"qwen3_moe_window", "\"use_sliding_window\": true", "\"use_sliding_window\": true, "
     "\"layer_types\": [\"sliding_attention\", \"full_attention\", \"sliding_attention\"]",
     MICA_STATUS_UNSUPPORTED, "layer_types[1] is full_attention"},
};

/* Same meaning as the published file: defaults of transformers, and fields that say nothing. */
static const edit_case same[] = {
    {"llama", "\"mlp_bias\": false", "\"sliding_window\": 8", 0, NULL},
    {"llama", "\"hidden_act\": \"silu\",", "", 0, NULL},
    {"qwen2", "\"use_sliding_window\": false,", "", 0, NULL},
    {"qwen2", "\"sliding_window\": 32,\n  \"use_sliding_window\": false",
     "\"sliding_window\": 1000, \"use_sliding_window\": true", 0, NULL},
    {"qwen2", "\"rms_norm_eps\": 1e-06,", "", 0, NULL},
    {"qwen3_moe", "\"decoder_sparse_step\": 1,", "", 0, NULL},
    {"gemma3_text", "\"hidden_activation\": \"gelu_pytorch_tanh\",", "", 0, NULL},
    {"gemma3_text", "\"rope_local_base_freq\": 10000,", "", 0, NULL},
    {"gemma3_text", "\"rope_theta\": 1000000,", "", 0, NULL},
    {"phi3", "\"rms_norm_eps\": 1e-05,", "", 0, NULL},
    {"phi3", "\"max_position_embeddings\": 1024,", "", 0, NULL},
    {"phi3", "\"original_max_position_embeddings\": 1024,", "", 0, NULL},
    {"phi3", "\"rope_scaling\": null", "\"partial_rotary_factor\": 1.0", 0, NULL},
    {"phi3_longrope", "\"type\": \"longrope\"", "\"type\": \"su\"", 0, NULL},
    {"phi3_longrope", "\"type\": \"longrope\"", "\"type\": \"yarn\"", 0, NULL},
    {"phi3_longrope", "\"type\": \"longrope\"", "\"type\": \"longrope\", \"factor\": 8", 0, NULL},
    {"olmo2", "\"max_position_embeddings\": 1024,", "", 0, NULL},
    {"olmo2", "\"attention_bias\": false", "\"sliding_window\": 8", 0, NULL},
    {"granite", "\"max_position_embeddings\": 1024,", "", 0, NULL},
    {"granite", "\"attention_bias\": false,", "", 0, NULL},
    {"smollm3", "\"no_rope_layer_interval\": 4,", "", 0, NULL},
    {"smollm3", "\"max_position_embeddings\": 1024,", "", 0, NULL},
    {"smollm3", "\"sliding_window\": null", "\"sliding_window\": 8", 0, NULL},
    {"smollm3_window", "\"max_position_embeddings\": 1024,",
     "\"no_rope_layers\": null, \"max_position_embeddings\": 2048,", 0, NULL},
    {"llama_dynamic", "\"factor\": 4.0",
     "\"original_max_position_embeddings\": 32, \"factor\": 4.0", 0, NULL},
    {"llama_yarn", "\"factor\": 4.0", "\"truncate\": true, \"factor\": 4.0", 0, NULL},
    {"qwen3_moe_window", "\"max_window_layers\": 2", "\"max_window_layers\": 0", 0, NULL},
};

/* The logits at 200 tokens change: the field is read. */
static const edit_case other[] = {
    {"llama", "\"rope_type\": \"llama3\"", "\"rope_type\": \"linear\"", 0, NULL},
    {"mistral", "\"sliding_window\": 32", "\"sliding_window\": null", 0, NULL},
    {"mistral", "\"sliding_window\": 32,", "", 0, NULL},
    {"qwen2", "\"use_sliding_window\": false", "\"use_sliding_window\": true", 0, NULL},
    {"qwen3_moe", "\"norm_topk_prob\": true,", "", 0, NULL},
    {"gemma3_text", "\"query_pre_attn_scalar\": 24,", "", 0, NULL},
    {"gemma3_text", "\"attn_logit_softcapping\": null", "\"attn_logit_softcapping\": 1", 0, NULL},
    {"gemma3_text", "\"final_logit_softcapping\": null", "\"final_logit_softcapping\": 1", 0, NULL},
    {"phi3", "\"sliding_window\": 32", "\"sliding_window\": null", 0, NULL},
    {"phi3", "\"rope_theta\": 10000.0", "\"partial_rotary_factor\": 0.5", 0, NULL},
    {"phi3_longrope", "\"original_max_position_embeddings\": 64",
     "\"original_max_position_embeddings\": 256", 0, NULL},
    {"phi3_longrope", "\"max_position_embeddings\": 512", "\"max_position_embeddings\": 1024", 0,
     NULL},
    {"phi3_longrope", "1.05,", "1.5,", 0, NULL},
    {"granite", "\"embedding_multiplier\"", "\"unknown\"", 0, NULL},
    {"granite", "\"attention_multiplier\"", "\"unknown\"", 0, NULL},
    {"granite", "\"residual_multiplier\"", "\"unknown\"", 0, NULL},
    {"granite", "\"logits_scaling\"", "\"unknown\"", 0, NULL},
    {"smollm3", "\"no_rope_layers\"", "\"unknown\"", 0, NULL},
    {"smollm3", "\"rope_theta\": 5000000.0,", "", 0, NULL},
    {"smollm3_window", "\"use_sliding_window\": true", "\"use_sliding_window\": false", 0, NULL},
    {"smollm3_window", "\"no_rope_layer_interval\": 2", "\"no_rope_layer_interval\": 3", 0, NULL},
    {"llama_linear", "\"factor\": 4.0", "\"factor\": 4.5", 0, NULL},
    {"llama_dynamic", "\"factor\": 4.0", "\"factor\": 5.0", 0, NULL},
    {"llama_yarn", "\"factor\": 4.0", "\"truncate\": false, \"factor\": 4.0", 0, NULL},
    {"llama_yarn_exact", "\"attention_factor\": 1.3", "\"attention_factor\": 1.2", 0, NULL},
    {"qwen3_moe_window", "\"use_sliding_window\": true", "\"use_sliding_window\": false", 0, NULL},
};
/* clang-format on */

/* Proves: what a family cannot do, or what contradicts its tensors, is refused by name. */
static void refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const edit_case *c = &refused[i];
        test_folder folder;
        model_fixture f;
        mica_error err = {0};
        make_folder(&folder, c->family, "config.json");
        edit_config(&folder, c->from, c->to);
        mica_status st = fixture_try_open(&f, &(fixture_options){.folder = folder.path}, &err);
        if (st != c->status || !strstr(err.message, c->words))
            fail_msg("%s, %s: got %s: %s; wanted %s with \"%s\"", c->family, c->to,
                     mica_status_name(st), err.message, mica_status_name(c->status), c->words);
        fixture_close(&f);
        test_folder_remove(&folder);
    }
}

/* The largest difference to the golden logits at 200 tokens after an edit. */
static double edited_difference(const edit_case *c) {
    test_folder folder;
    model_fixture f;
    mica_error err = {0};
    float logits[512];
    make_folder(&folder, c->family, "config.json");
    edit_config(&folder, c->from, c->to);
    fixture_options o = {.folder = folder.path, .mode = MICA_EXACT};
    mica_status st = fixture_try_open(&f, &o, &err);
    if (st != MICA_STATUS_OK) fail_msg("%s, %s: %s", c->family, c->from, err.message);
    assert_true(f.vocab <= 512);
    int32_t *ids = read_golden(c->family, "input_ids", 200, 200);
    float *want = read_golden(c->family, "logits", 200, (size_t)f.vocab);
    generation g = {.first_logits = logits};
    generate(&f, ids, 200, 1, &g);
    double d = largest_difference(logits, want, f.vocab);
    free(ids), free(want);
    fixture_close(&f);
    test_folder_remove(&folder);
    return d;
}

/* Proves: absent fields have transformers' defaults of the family; fields that matter are read. */
static void defaults(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        double d = edited_difference(&same[i]);
        if (!(d <= LOGIT_TOLERANCE)) fail_msg("%s, %s: %g", same[i].family, same[i].from, d);
    }
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        double d = edited_difference(&other[i]);
        if (!(d > 10 * LOGIT_TOLERANCE)) fail_msg("%s, %s: %g", other[i].family, other[i].to, d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_and_greedy), cmocka_unit_test(chunked_is_whole),
        cmocka_unit_test(predicts_the_file), cmocka_unit_test(refusals),
        cmocka_unit_test(defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
