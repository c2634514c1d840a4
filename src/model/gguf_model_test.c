/* Whole models from GGUF files. The golden models of the families are written as llama.cpp's
 * converter writes them (names, permuted rows, shifted norms, stacked experts, divisors of the
 * rotation as tensors), opened from there, and held against the same reference outputs. */
#include "test.h"
#include "test_folder.h"
#include "gguf_builder.h"
#include "model_test.h"
#include "base/host.h"
#include "format/config.h"
#include "format/gguf.h"
#include "format/safetensors.h"
#include "kernel/float_format.h"
#include "model/model.h"

#define GOLDEN MICA_SOURCE_DIR "/tests/data/golden"
#define LOGIT_TOLERANCE 1e-4
#define N_PROMPT 17
#define N_GREEDY 24

/* How matrices are stored. Those of a decoded kind are quantised and written as the F32 numbers
 * that the blocks stand for. */
typedef enum matrix_storage {
    STORE_BF16,
    STORE_F16,
    STORE_F32,
    STORE_Q8_0,
    STORE_Q4_1,
    STORE_Q5_0
} matrix_storage;

typedef struct family_case {
    const char *folder, *arch;
    bool permutes, shifts;
} family_case;

static const family_case families[] = {
    {"llama", "llama", true, false},         {"llama_linear", "llama", true, false},
    {"qwen2", "qwen2", false, false},        {"qwen3", "qwen3", false, false},
    {"qwen3_moe", "qwen3moe", false, false}, {"gemma3_text", "gemma3", false, true},
    {"granite", "granite", true, false},     {"olmo2", "olmo2", false, false},
    {"phi3", "phi3", false, false},          {"phi3_longrope", "phi3", false, false},
    {"phi3_partial", "phi3", false, false},  {"smollm3", "smollm3", true, false},
};
enum { N_FAMILIES = sizeof families / sizeof *families };
/* Its golden rotates in layers that no GGUF file can name: see rotates_by_interval. */
static const family_case *const smollm3 = &families[N_FAMILIES - 1];

/* ---- names ---- */

static const struct {
    const char *arch; /* NULL = all others */
    const char *name, *gguf;
} names[] = {
    {NULL, "model.embed_tokens", "token_embd"},
    {NULL, "model.norm", "output_norm"},
    {NULL, "lm_head", "output"},
    {"olmo2", "post_attention_layernorm", "post_attention_norm"},
    {"gemma3", "post_attention_layernorm", "post_attention_norm"},
    {NULL, "post_attention_layernorm", "ffn_norm"},
    {NULL, "pre_feedforward_layernorm", "ffn_norm"},
    {NULL, "post_feedforward_layernorm", "post_ffw_norm"},
    {NULL, "input_layernorm", "attn_norm"},
    {NULL, "self_attn.q_proj", "attn_q"},
    {NULL, "self_attn.k_proj", "attn_k"},
    {NULL, "self_attn.v_proj", "attn_v"},
    {NULL, "self_attn.o_proj", "attn_output"},
    {NULL, "self_attn.qkv_proj", "attn_qkv"},
    {NULL, "self_attn.q_norm", "attn_q_norm"},
    {NULL, "self_attn.k_norm", "attn_k_norm"},
    {NULL, "mlp.gate_proj", "ffn_gate"},
    {NULL, "mlp.up_proj", "ffn_up"},
    {NULL, "mlp.gate_up_proj", "ffn_up"},
    {NULL, "mlp.down_proj", "ffn_down"},
    {NULL, "mlp.gate", "ffn_gate_inp"},
};

/* "model.layers.3.mlp.up_proj.weight" to "blk.3.ffn_up.weight"; false for a single expert. */
static bool name_tensor(const family_case *f, const char *name, char out[128]) {
    char layer[16] = "", path[128];
    const char *suffix = strrchr(name, '.');
    int i = 0, used = 0;
    if (sscanf(name, "model.layers.%d.%n", &i, &used) == 1) {
        snprintf(layer, sizeof layer, "blk.%d.", i);
        name += used;
    }
    if (strstr(name, "mlp.experts.")) return false;
    snprintf(path, sizeof path, "%.*s", (int)(suffix - name), name);
    for (size_t n = 0; n < sizeof names / sizeof *names; n++)
        if (strcmp(names[n].name, path) == 0 &&
            (!names[n].arch || strcmp(names[n].arch, f->arch) == 0)) {
            snprintf(out, 128, "%s%s%s", layer, names[n].gguf, suffix);
            return true;
        }
    fail_msg("no GGUF name for %s", name);
    return false;
}

/* ---- blocks ---- */

static void put_half(uint8_t *p, float v) {
    uint16_t half = mica_f16_from_f32(v);
    memcpy(p, &half, 2);
}

static float get_half(const uint8_t *p) { return mica_f32_from_f16(mica_load_u16(p)); }

static float clamp(float v, float low, float high) { return v < low ? low : v > high ? high : v; }

static int block_bytes(matrix_storage s) {
    return s == STORE_Q8_0 ? 34 : s == STORE_Q4_1 ? 20 : 22;
}

/* 32 values to a block; in place they become what the block stands for. */
static void encode_block(matrix_storage s, float *v, uint8_t *out) {
    float low = v[0], high = v[0], most = 0;
    for (int i = 0; i < 32; i++) {
        low = fminf(low, v[i]);
        high = fmaxf(high, v[i]);
        most = fmaxf(most, fabsf(v[i]));
    }
    memset(out, 0, (size_t)block_bytes(s));
    if (s == STORE_Q8_0) {
        put_half(out, most / 127);
        float d = get_half(out);
        for (int i = 0; i < 32; i++) {
            int q = d > 0 ? (int)clamp(rintf(v[i] / d), -128, 127) : 0;
            out[2 + i] = (uint8_t)(int8_t)q;
            v[i] = d * (float)q;
        }
    } else if (s == STORE_Q4_1) {
        put_half(out, (high - low) / 15);
        put_half(out + 2, low);
        float d = get_half(out), m = get_half(out + 2);
        for (int i = 0; i < 32; i++) {
            int q = d > 0 ? (int)clamp(rintf((v[i] - m) / d), 0, 15) : 0;
            out[4 + i % 16] = (uint8_t)(out[4 + i % 16] | q << (i < 16 ? 0 : 4));
            v[i] = d * (float)q + m;
        }
    } else {
        put_half(out, most / 15);
        float d = get_half(out);
        uint32_t high_bits = 0;
        for (int i = 0; i < 32; i++) {
            int q = d > 0 ? (int)clamp(rintf(v[i] / d) + 16, 0, 31) : 16;
            out[6 + i % 16] = (uint8_t)(out[6 + i % 16] | (q & 15) << (i < 16 ? 0 : 4));
            high_bits |= (uint32_t)(q >> 4) << i;
            v[i] = d * (float)(q - 16);
        }
        memcpy(out + 2, &high_bits, 4);
    }
}

/* ---- writing ---- */

typedef struct converter {
    const family_case *family;
    const mica_config *config;
    gguf_builder builder;
    matrix_storage storage;
    bool decoded;
} converter;

static void put_matrix(converter *c, const char *name, int rank, const int64_t *dims, float *v) {
    int64_t count = 1, k = dims[rank - 1];
    for (int i = 0; i < rank; i++) count *= dims[i];
    bool is_quantised = c->storage >= STORE_Q8_0 && k % 32 == 0;
    static const uint32_t types[] = {30, 1, 0, 8, 3, 6};
    uint8_t *blocks = calloc((size_t)count / 32 + 1, 34);
    if (is_quantised) {
        for (int64_t i = 0; i < count; i += 32)
            encode_block(c->storage, v + i, blocks + i / 32 * block_bytes(c->storage));
        size_t bytes = (size_t)(count / 32 * block_bytes(c->storage));
        if (c->decoded)
            gguf_put_tensor(&c->builder, name, 0, rank, dims, v, (size_t)count * 4);
        else
            gguf_put_tensor(&c->builder, name, types[c->storage], rank, dims, blocks, bytes);
    } else if (c->storage == STORE_F32) {
        gguf_put_tensor(&c->builder, name, 0, rank, dims, v, (size_t)count * 4);
    } else {
        bool is_f16 = c->storage == STORE_F16;
        uint16_t *halves = malloc((size_t)count * 2);
        for (int64_t i = 0; i < count; i++)
            halves[i] = is_f16 ? mica_f16_from_f32(v[i]) : mica_bf16_from_f32(v[i]);
        gguf_put_tensor(&c->builder, name, is_f16 ? 1 : 30, rank, dims, halves, (size_t)count * 2);
        free(halves);
    }
    free(blocks);
}

/* Row half * (n / 2) + j of a head goes to row 2j + half. */
static void permute(float *v, int64_t rows, int64_t k, int64_t heads) {
    float *copy = malloc((size_t)(rows * k) * sizeof *copy);
    memcpy(copy, v, (size_t)(rows * k) * sizeof *copy);
    int64_t n = rows / heads;
    for (int64_t r = 0; r < rows; r++) {
        int64_t head = r / n, i = r % n, to = head * n + 2 * (i % (n / 2)) + i / (n / 2);
        memcpy(v + to * k, copy + r * k, (size_t)k * sizeof *v);
    }
    free(copy);
}

static float *read_floats(const mica_safetensors *s, const mica_safetensors_tensor *t) {
    mica_error err = {0};
    int64_t count = mica_shape_count(&t->shape);
    uint16_t *halves = malloc((size_t)count * 2);
    float *v = malloc((size_t)count * sizeof *v);
    assert_int_equal(t->dtype, MICA_SAFETENSORS_BF16);
    assert_ok(mica_file_read(mica_safetensors_file(s), t->begin, halves, (size_t)count * 2, &err));
    for (int64_t i = 0; i < count; i++) v[i] = mica_f32_from_bf16(halves[i]);
    free(halves);
    return v;
}

static void convert_tensor(converter *c, const mica_safetensors *s,
                           const mica_safetensors_tensor *t) {
    char name[128];
    if (!name_tensor(c->family, t->name, name)) return;
    float *v = read_floats(s, t);
    int64_t rows = t->shape.dims[0], k = t->shape.rank > 1 ? t->shape.dims[1] : 1;
    if (c->family->permutes && strstr(name, "attn_q."))
        permute(v, rows, k, c->config->num_attention_heads);
    if (c->family->permutes && strstr(name, "attn_k."))
        permute(v, rows, k, c->config->num_key_value_heads);
    for (int64_t i = 0; c->family->shifts && strstr(name, "norm.") && i < rows * k; i++) v[i] += 1;
    if (t->shape.rank == 1)
        gguf_put_tensor(&c->builder, name, 0, 1, t->shape.dims, v, (size_t)rows * 4);
    else
        put_matrix(c, name, 2, t->shape.dims, v);
    free(v);
}

/* The matrices of all experts of a layer, one after another. */
static void convert_experts(converter *c, const mica_safetensors *s, int layer, const char *part) {
    char name[128];
    int64_t e = c->config->num_local_experts, dims[3] = {e, 0, 0};
    float *all = NULL;
    for (int64_t i = 0; i < e; i++) {
        snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%d.%s_proj.weight", layer, (int)i,
                 part);
        const mica_safetensors_tensor *t = mica_safetensors_find(s, mica_slice_from(name));
        if (!t) return;
        dims[1] = t->shape.dims[0], dims[2] = t->shape.dims[1];
        size_t count = (size_t)(dims[1] * dims[2]);
        if (!all) all = malloc((size_t)e * count * sizeof *all);
        float *v = read_floats(s, t);
        memcpy(all + (size_t)i * count, v, count * sizeof *v);
        free(v);
    }
    snprintf(name, sizeof name, "blk.%d.ffn_%s_exps.weight", layer, part);
    put_matrix(c, name, 3, dims, all);
    free(all);
}

static const char *key(const converter *c, const char *name) {
    static char text[128];
    snprintf(text, sizeof text, "%s.%s", c->family->arch, name);
    return text;
}

static void put_vector(converter *c, const char *name, const float *v, int64_t n) {
    gguf_put_tensor(&c->builder, name, 0, 1, &n, v, (size_t)n * 4);
}

/* The divisors that the converter computes for Llama 3's rule. */
static void put_llama3(converter *c) {
    const mica_config_rope *r = &c->config->rope;
    float v[512];
    int64_t n = c->config->head_dim / 2;
    for (int64_t i = 0; i < n; i++) {
        double frequency = pow(r->rope_theta, -(double)i / (double)n);
        double length = 6.283185307179586 / frequency;
        double original = (double)r->original_max_position_embeddings;
        double smooth =
            (original / length - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
        v[i] = length < original / r->high_freq_factor ? 1.0f
               : length > original / r->low_freq_factor
                   ? (float)r->factor
                   : (float)(1 / ((1 - smooth) / r->factor + smooth));
    }
    put_vector(c, "rope_freqs.weight", v, n);
}

static void put_rope(converter *c) {
    const mica_config_rope *r = &c->config->rope;
    gguf_builder *b = &c->builder;
    int64_t turned = (int64_t)(r->partial_rotary_factor * (double)c->config->head_dim);
    gguf_put_f32(b, key(c, "rope.freq_base"), (float)r->rope_theta);
    gguf_put_u32(b, key(c, "rope.dimension_count"), (uint32_t)turned);
    if (strcmp(c->family->arch, "gemma3") == 0)
        gguf_put_f32(b, key(c, "rope.freq_base_swa"), (float)c->config->rope_local_base_freq);
    if (r->type == MICA_ROPE_LLAMA3) put_llama3(c);
    if (r->type == MICA_ROPE_LINEAR) {
        gguf_put_text(b, key(c, "rope.scaling.type"), "linear");
        gguf_put_f32(b, key(c, "rope.scaling.factor"), (float)r->factor);
    }
    if (r->type != MICA_ROPE_LONGROPE) return;
    double original = (double)c->config->original_max_position_embeddings;
    double stretch = (double)c->config->max_position_embeddings / original;
    gguf_put_u32(b, key(c, "rope.scaling.original_context_length"), (uint32_t)original);
    gguf_put_f32(b, key(c, "rope.scaling.attn_factor"),
                 (float)sqrt(1 + log(stretch) / log(original)));
    put_vector(c, "rope_factors_short.weight", r->short_factor, r->n_short_factors);
    put_vector(c, "rope_factors_long.weight", r->long_factor, r->n_long_factors);
}

static void put_keys(converter *c) {
    const mica_config *m = c->config;
    gguf_builder *b = &c->builder;
    gguf_put_text(b, "general.architecture", c->family->arch);
    gguf_put_u32(b, key(c, "block_count"), (uint32_t)m->num_hidden_layers);
    gguf_put_u32(b, key(c, "context_length"), (uint32_t)m->max_position_embeddings);
    gguf_put_u32(b, key(c, "embedding_length"), (uint32_t)m->hidden_size);
    gguf_put_u32(b, key(c, "feed_forward_length"), (uint32_t)m->intermediate_size);
    gguf_put_u32(b, key(c, "attention.head_count"), (uint32_t)m->num_attention_heads);
    gguf_put_u32(b, key(c, "attention.head_count_kv"), (uint32_t)m->num_key_value_heads);
    gguf_put_u32(b, key(c, "attention.key_length"), (uint32_t)m->head_dim);
    gguf_put_u32(b, key(c, "attention.value_length"), (uint32_t)m->head_dim);
    gguf_put_f32(b, key(c, "attention.layer_norm_rms_epsilon"), (float)m->rms_norm_eps);
    if (m->num_local_experts > 0) {
        gguf_put_u32(b, key(c, "expert_count"), (uint32_t)m->num_local_experts);
        gguf_put_u32(b, key(c, "expert_used_count"), (uint32_t)m->num_experts_per_tok);
        gguf_put_u32(b, key(c, "expert_feed_forward_length"), (uint32_t)m->moe_intermediate_size);
    }
    if (strcmp(c->family->arch, "gemma3") == 0) {
        gguf_put_u32(b, key(c, "attention.sliding_window"), (uint32_t)m->sliding_window);
        gguf_put_u32(b, key(c, "attention.sliding_window_pattern"),
                     (uint32_t)m->sliding_window_pattern);
        gguf_put_f32(b, key(c, "attention.scale"), (float)(1 / sqrt(m->query_pre_attn_scalar)));
    }
    if (strcmp(c->family->arch, "phi3") == 0 && m->sliding_window)
        gguf_put_u32(b, key(c, "attention.sliding_window"), (uint32_t)m->sliding_window);
    if (strcmp(c->family->arch, "granite") == 0) {
        gguf_put_f32(b, key(c, "attention.scale"), (float)m->attention_multiplier);
        gguf_put_f32(b, key(c, "embedding_scale"), (float)m->embedding_multiplier);
        gguf_put_f32(b, key(c, "residual_scale"), (float)m->residual_multiplier);
        gguf_put_f32(b, key(c, "logit_scale"), (float)m->logits_scaling);
    }
    put_rope(c);
}

/* The golden model as <folder>/model.gguf. */
static void convert(const test_folder *out, const family_case *family, matrix_storage storage,
                    bool decoded) {
    mica_error err = {0};
    mica_config *config = NULL;
    mica_safetensors *s = NULL;
    gguf_bytes file;
    char path[512];
    snprintf(path, sizeof path, GOLDEN "/%s", family->folder);
    assert_ok(mica_config_load(mica_host_default(), path, &config, &err));
    mica_family_find(config->model_type)->fill_defaults(config);
    snprintf(path, sizeof path, GOLDEN "/%s/model.safetensors", family->folder);
    assert_ok(mica_safetensors_open(mica_host_default(), path, &s, &err));
    converter c = {.family = family, .config = config, .storage = storage, .decoded = decoded};
    put_keys(&c);
    for (size_t i = 0; i < mica_safetensors_count(s); i++)
        convert_tensor(&c, s, mica_safetensors_at(s, i));
    for (int i = 0; i < config->num_hidden_layers && config->num_local_experts > 0; i++) {
        convert_experts(&c, s, i, "gate");
        convert_experts(&c, s, i, "up");
        convert_experts(&c, s, i, "down");
    }
    gguf_build(&c.builder, &file);
    test_folder_write(out, "model.gguf", file.data, file.bytes);
    free(file.data);
    mica_safetensors_close(&s);
    mica_config_destroy(&config);
}

/* ---- running ---- */

static void *find_golden(const char *family, const char *name, size_t count) {
    mica_error err = {0};
    mica_safetensors *s = NULL;
    char path[512], full[64];
    snprintf(path, sizeof path, GOLDEN "/%s/golden.safetensors", family);
    snprintf(full, sizeof full, "%s_%d", name, N_PROMPT);
    assert_ok(mica_safetensors_open(mica_host_default(), path, &s, &err));
    const mica_safetensors_tensor *t = mica_safetensors_find(s, mica_slice_from(full));
    void *data = t ? malloc(count * 4) : NULL;
    if (t) assert_int_equal(t->end - t->begin, count * 4);
    if (t) assert_ok(mica_file_read(mica_safetensors_file(s), t->begin, data, count * 4, &err));
    mica_safetensors_close(&s);
    return data;
}

/* Logits after the prompt, and the greedy reply. */
static int64_t run(const test_folder *folder, const char *name, const char *family,
                   float logits[2048], int32_t greedy[N_GREEDY]) {
    model_fixture f;
    fixture_options o = {.folder = test_folder_at(folder, name), .mode = MICA_EXACT};
    generation g = {.first_logits = logits};
    int32_t *ids = find_golden(family, "input_ids", N_PROMPT);
    fixture_open(&f, &o);
    assert_true(f.vocab <= 2048);
    generate(&f, ids, N_PROMPT, N_GREEDY, &g);
    memcpy(greedy, g.ids, N_GREEDY * sizeof *greedy);
    fixture_close(&f);
    free(ids);
    return g.vocab;
}

static double largest_difference(const float *a, const float *b, int64_t n) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        worst = d <= worst ? worst : d; /* NaN stays */
    }
    return worst;
}

static void check_golden(const family_case *family, matrix_storage storage) {
    test_folder folder;
    float logits[2048];
    int32_t greedy[N_GREEDY];
    test_folder_make(&folder);
    convert(&folder, family, storage, false);
    int64_t vocab = run(&folder, "model.gguf", family->folder, logits, greedy);
    float *want = find_golden(family->folder, "logits_pinned", (size_t)vocab);
    if (!want) want = find_golden(family->folder, "logits", (size_t)vocab);
    int32_t *want_ids = find_golden(family->folder, "greedy", N_GREEDY);
    double error = largest_difference(logits, want, vocab);
    printf("%s, storage %d: largest error %.2g\n", family->folder, (int)storage, error);
    if (!(error <= LOGIT_TOLERANCE)) fail_msg("%s: error %g", family->folder, error);
    assert_memory_equal(greedy, want_ids, sizeof greedy);
    free(want), free(want_ids);
    test_folder_remove(&folder);
}

/* Proves: a golden model of every family, written as GGUF in bf16, gives the reference's logits
 * within 1e-4 and its greedy ids: names, permutation, norms, experts, rotations and scales are
 * taken as the converter means them. */
static void bf16_equals_the_goldens(void **state) {
    (void)state;
    for (size_t i = 0; i + 1 < N_FAMILIES; i++) check_golden(&families[i], STORE_BF16);
}

/* Proves: SmolLM3 from GGUF rotates as its configuration without a list of layers does. */
static void rotates_by_interval(void **state) {
    (void)state;
    static const char list[] = "\"no_rope_layers\"",
                      weights[] = GOLDEN "/smollm3/model.safetensors";
    test_folder folder;
    float logits[2][2048];
    int32_t greedy[2][N_GREEDY];
    size_t bytes;
    test_folder_make(&folder);
    convert(&folder, smollm3, STORE_BF16, false);
    char *data = test_file_read(weights, &bytes);
    test_folder_write(&folder, "model.safetensors", data, bytes);
    free(data);
    data = test_file_read(GOLDEN "/smollm3/config.json", &bytes);
    char *at = strstr(data, list);
    assert_non_null(at);
    at[1] = 'x';
    test_folder_write(&folder, "config.json", data, bytes);
    free(data);
    int64_t vocab = run(&folder, "model.gguf", "smollm3", logits[0], greedy[0]);
    run(&folder, "", "smollm3", logits[1], greedy[1]);
    double error = largest_difference(logits[0], logits[1], vocab);
    if (!(error <= LOGIT_TOLERANCE)) fail_msg("error %g", error);
    assert_memory_equal(greedy[0], greedy[1], sizeof greedy[0]);
    test_folder_remove(&folder);
}

/* Proves: the same for F32. */
static void f32_equals_the_goldens(void **state) {
    (void)state;
    check_golden(&families[0], STORE_F32);
    check_golden(&families[5], STORE_F32);
}

/* Proves: a quantised file gives the logits of the file that holds the numbers its blocks stand
 * for, in F32: every block arrives exactly, also where rows are permuted or experts are stacked. */
static void blocks_equal_their_values(void **state) {
    (void)state;
    static const matrix_storage kinds[] = {STORE_Q8_0, STORE_Q4_1, STORE_Q5_0, STORE_F16};
    for (size_t i = 0; i < N_FAMILIES; i++) {
        test_folder folder;
        float logits[2][2048];
        int32_t greedy[2][N_GREEDY];
        matrix_storage kind = kinds[i % 4];
        test_folder_make(&folder);
        for (int d = 0; d < 2; d++) {
            convert(&folder, &families[i], kind, d == 1);
            int64_t vocab = run(&folder, "model.gguf", families[i].folder, logits[d], greedy[d]);
            if (d == 0) continue;
            double error = largest_difference(logits[0], logits[1], vocab);
            printf("%s, storage %d: blocks against values %.2g\n", families[i].folder, (int)kind,
                   error);
            if (!(error <= LOGIT_TOLERANCE)) fail_msg("%s: error %g", families[i].folder, error);
        }
        test_folder_remove(&folder);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bf16_equals_the_goldens),
        cmocka_unit_test(f32_equals_the_goldens),
        cmocka_unit_test(rotates_by_interval),
        cmocka_unit_test(blocks_equal_their_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
