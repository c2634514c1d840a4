/* Keys of GGUF files as configurations, and the lists of tensors; what contradicts is refused. */
#include "gguf_builder.h"
#include "test.h"
#include "test_folder.h"
#include "base/alloc.h"
#include "base/error.h"
#include "format/checkpoint_rewrite.h"
#include "format/gguf_config.h"
#include "format/gguf_tensors.h"

enum { HIDDEN = 64, VOCABULARY = 8, HEADS = 2 };

/* What a case may change before the file is written. */
typedef struct base_model {
    const char *arch;
    const char *without; /* a key that is left out */
    const char *without_tensor;
    uint32_t matrix_type;    /* of attn_v */
    uint32_t norm_type;      /* of attn_norm */
    int64_t query_rows;      /* 0 = HIDDEN */
    const float *rope_freqs; /* HIDDEN / HEADS / 2 of them, or NULL */
    uint32_t context;        /* 0 = 128 */
} base_model;

static bool wants(const base_model *m, const char *name) {
    return !m->without || strcmp(m->without, name) != 0;
}

static const char *key(const base_model *m, const char *name) {
    static char text[128];
    snprintf(text, sizeof text, "%s.%s", m->arch, name);
    return text;
}

static void put_number(gguf_builder *b, const base_model *m, const char *name, uint32_t v) {
    if (wants(m, name)) gguf_put_u32(b, key(m, name), v);
}

static void put_tensor(gguf_builder *b, const base_model *m, const char *name, uint32_t type,
                       int rank, int64_t rows, int64_t k) {
    static const uint8_t zero[1 << 16] = {0};
    const mica_gguf_type_info *info = mica_gguf_type_find(type);
    if (m->without_tensor && strcmp(m->without_tensor, name) == 0) return;
    int64_t dims[2] = {rows, k};
    size_t bytes = (size_t)(rows * k / info->elements) * info->bytes;
    assert_true(bytes <= sizeof zero);
    gguf_put_tensor(b, name, type, rank, rank == 1 ? dims + 1 : dims, zero, bytes);
}

static void put_model(gguf_builder *b, const base_model *m) {
    int64_t pairs = HIDDEN / HEADS / 2;
    if (wants(m, "general.architecture")) gguf_put_text(b, "general.architecture", m->arch);
    put_number(b, m, "embedding_length", HIDDEN);
    put_number(b, m, "block_count", 1);
    put_number(b, m, "context_length", m->context ? m->context : 128);
    put_number(b, m, "feed_forward_length", HIDDEN);
    put_number(b, m, "attention.head_count", HEADS);
    if (wants(m, "attention.layer_norm_rms_epsilon"))
        gguf_put_f32(b, key(m, "attention.layer_norm_rms_epsilon"), 1e-5f);
    put_tensor(b, m, "token_embd.weight", 8, 2, VOCABULARY, HIDDEN);
    put_tensor(b, m, "output_norm.weight", 0, 1, 1, HIDDEN);
    put_tensor(b, m, "blk.0.attn_norm.weight", m->norm_type, 1, 1, HIDDEN);
    put_tensor(b, m, "blk.0.attn_q.weight", 2, 2, m->query_rows ? m->query_rows : HIDDEN, HIDDEN);
    put_tensor(b, m, "blk.0.attn_k.weight", 2, 2, HIDDEN, HIDDEN);
    put_tensor(b, m, "blk.0.attn_v.weight", m->matrix_type, 2, HIDDEN,
               m->matrix_type == 14 ? 256 : HIDDEN);
    if (m->rope_freqs)
        gguf_put_tensor(b, "rope_freqs.weight", 0, 1, &pairs, m->rope_freqs,
                        (size_t)pairs * sizeof(float));
}

static void write_file(test_folder *f, gguf_builder *b) {
    gguf_bytes file;
    gguf_build(b, &file);
    test_folder_make(f);
    test_folder_write(f, "m.gguf", file.data, file.bytes);
    free(file.data);
}

static const char *path_of(const test_folder *f) { return test_folder_at(f, "m.gguf"); }

static mica_config *load(const test_folder *f) {
    mica_error err = {0};
    mica_config *c = NULL;
    assert_ok(mica_config_load(mica_host_default(), path_of(f), &c, &err));
    return c;
}

/* ---- configurations ---- */

/* Proves: the plain keys arrive under their names, missing ones have their defaults, sizes come
 * from the tensors, and each module's storage from its type. */
static void reads_llama(void **state) {
    (void)state;
    test_folder f;
    gguf_builder b = {0};
    base_model m = {.arch = "llama", .matrix_type = 3};
    put_model(&b, &m);
    gguf_put_f32(&b, "llama.rope.freq_base", 500000.0f);
    gguf_put_u32(&b, "tokenizer.ggml.bos_token_id", 1);
    gguf_put_u32(&b, "tokenizer.ggml.eos_token_id", 2);
    write_file(&f, &b);
    mica_config *c = load(&f);
    assert_string_equal(c->model_type, "llama");
    assert_string_equal(c->architecture, "LlamaForCausalLM");
    assert_int_equal(c->hidden_size, HIDDEN);
    assert_int_equal(c->num_key_value_heads, HEADS);
    assert_int_equal(c->head_dim, HIDDEN / HEADS);
    assert_int_equal(c->vocab_size, VOCABULARY);
    assert_true(c->tie_word_embeddings && !c->attention_bias);
    assert_true(c->rms_norm_eps > 0.99999e-5 && c->rms_norm_eps < 1.00001e-5);
    assert_true(c->rope_theta > 499999 && c->rope_theta < 500001);
    assert_int_equal(c->bos_token_id, 1);
    assert_int_equal(c->eos_token_ids.ids[0], 2);
    assert_true(c->quant_mlx.is_present);
    assert_int_equal(c->quant_mlx.mode, MICA_QUANT_AFFINE);
    assert_int_equal(c->quant_mlx.bits, 4); /* three of four */
    assert_int_equal(c->quant_mlx.n_rules, 1);
    assert_string_equal(c->quant_mlx.rules[0].path, "model.embed_tokens");
    assert_int_equal(c->quant_mlx.rules[0].bits, 8);
    mica_config_destroy(&c);
    test_folder_remove(&f);
}

/* Proves: what llama.cpp has built in for gemma3 and the file leaves out. */
static void reads_gemma3(void **state) {
    (void)state;
    test_folder f;
    gguf_builder b = {0};
    base_model m = {.arch = "gemma3"};
    put_model(&b, &m);
    gguf_put_u32(&b, "gemma3.attention.key_length", 16);
    gguf_put_u32(&b, "gemma3.attention.sliding_window", 32);
    gguf_put_text(&b, "gemma3.rope.scaling.type", "linear");
    gguf_put_f32(&b, "gemma3.rope.scaling.factor", 8);
    write_file(&f, &b);
    mica_config *c = load(&f);
    assert_string_equal(c->model_type, "gemma3_text");
    assert_int_equal(c->sliding_window_pattern, 6);
    assert_int_equal(c->head_dim, 16);
    assert_true(c->query_pre_attn_scalar > 15.99 && c->query_pre_attn_scalar < 16.01);
    assert_true(c->rope_theta > 999999 && c->rope_theta < 1000001);
    assert_int_equal(c->rope.type, MICA_ROPE_LINEAR);
    assert_int_equal(c->rope_local.type, MICA_ROPE_DEFAULT);
    assert_true(c->rope_local_base_freq > 9999 && c->rope_local_base_freq < 10001);
    assert_string_equal(c->hidden_activation, "gelu_pytorch_tanh");
    mica_config_destroy(&c);
    test_folder_remove(&f);
}

/* Llama 3's divisors as the converter computes them, in f32. */
static void fill_llama3(float factor, float original, float out[16]) {
    for (int i = 0; i < 16; i++) {
        float length = 6.2831853f * powf(10000.0f, (float)i / 16);
        float smooth = (original / length - 1) / 3;
        out[i] = length < original / 4 ? 1.0f
                 : length > original   ? factor
                                       : 1 / ((1 - smooth) / factor + smooth);
    }
}

/* Proves: divisors in rope_freqs become Llama 3's parameters again where they are its, and a list
 * of their own where they are not; all ones mean nothing. */
static void reads_rope_freqs(void **state) {
    (void)state;
    float llama3[16], other[16], ones[16];
    fill_llama3(32, 8192, llama3);
    fill_llama3(32, 64, other);
    for (int i = 0; i < 16; i++) ones[i] = 1;
    const float *lists[] = {llama3, other, ones};
    static const mica_rope_type types[] = {MICA_ROPE_LLAMA3, MICA_ROPE_LONGROPE, MICA_ROPE_DEFAULT};
    for (int i = 0; i < 3; i++) {
        test_folder f;
        gguf_builder b = {0};
        base_model m = {.arch = "llama", .rope_freqs = lists[i], .context = 131072};
        put_model(&b, &m);
        write_file(&f, &b);
        mica_config *c = load(&f);
        assert_int_equal(c->rope.type, types[i]);
        if (i == 0) {
            assert_true(c->rope.factor > 31.99 && c->rope.factor < 32.01);
            assert_int_equal(c->rope.original_max_position_embeddings, 8192);
        }
        if (i == 1) {
            assert_int_equal(c->rope.n_short_factors, 16);
            assert_memory_equal(c->rope.short_factor, other, sizeof other);
            assert_memory_equal(c->rope.long_factor, other, sizeof other);
            assert_int_equal(c->rope.original_max_position_embeddings, 131072);
        }
        mica_config_destroy(&c);
        test_folder_remove(&f);
    }
}

/* Proves: gpt-oss has what its files leave out: layer types, the clamp, an unrounded ramp. */
static void reads_gpt_oss(void **state) {
    (void)state;
    test_folder f;
    gguf_builder b = {0};
    base_model m = {.arch = "gpt-oss"};
    put_model(&b, &m);
    gguf_put_u32(&b, "gpt-oss.expert_count", 4);
    gguf_put_u32(&b, "gpt-oss.expert_used_count", 2);
    gguf_put_u32(&b, "gpt-oss.expert_feed_forward_length", 32);
    gguf_put_u32(&b, "gpt-oss.attention.sliding_window", 16);
    gguf_put_text(&b, "gpt-oss.rope.scaling.type", "yarn");
    gguf_put_f32(&b, "gpt-oss.rope.scaling.factor", 32);
    gguf_put_u32(&b, "gpt-oss.rope.scaling.original_context_length", 4096);
    write_file(&f, &b);
    mica_config *c = load(&f);
    assert_string_equal(c->model_type, "gpt_oss");
    assert_int_equal(c->intermediate_size, 32);
    assert_int_equal(c->num_local_experts, 4);
    assert_int_equal(c->layer_types[0], MICA_LAYER_SLIDING);
    assert_true(c->swiglu_limit > 6.99 && c->swiglu_limit < 7.01);
    assert_int_equal(c->rope.type, MICA_ROPE_YARN);
    assert_false(c->rope.truncate);
    assert_int_equal(c->rope.original_max_position_embeddings, 4096);
    mica_config_destroy(&c);
    test_folder_remove(&f);
}

/* Proves: ids that end a reply come from keys and from the names of control tokens, and sampling
 * from general.sampling. */
static void reads_generation(void **state) {
    (void)state;
    static const char *const tokens[] = {"a", "<|im_end|>", "<|endoftext|>", "<|end|>", "</s>"};
    mica_error err = {0};
    mica_generation_config g;
    test_folder f;
    gguf_builder b = {0};
    base_model m = {.arch = "llama"};
    put_model(&b, &m);
    gguf_put_u32(&b, "tokenizer.ggml.eos_token_id", 4);
    gguf_put_texts(&b, "tokenizer.ggml.tokens", tokens, 5);
    gguf_put_i32s(&b, "tokenizer.ggml.token_type", (int32_t[]){1, 3, 3, 1, 3}, 5);
    gguf_put_f32(&b, "general.sampling.temp", 0.5f);
    gguf_put_u32(&b, "general.sampling.top_k", 20);
    write_file(&f, &b);
    assert_ok(mica_generation_config_load(mica_host_default(), path_of(&f), &g, &err));
    assert_int_equal(g.eos_token_ids.count, 3);
    assert_int_equal(g.eos_token_ids.ids[0], 4);
    assert_int_equal(g.eos_token_ids.ids[1], 1);
    assert_int_equal(g.eos_token_ids.ids[2], 2);
    assert_true(g.has.temperature && g.temperature > 0.49 && g.temperature < 0.51);
    assert_true(g.has.do_sample && g.do_sample);
    assert_int_equal(g.top_k, 20);
    test_folder_remove(&f);
}

/* ---- tensors ---- */

/* Proves: the list has the names of the layout, quantised tensors as their three parts, and says of
 * each how it was changed; what the configuration takes is not in it. */
static void lists_tensors(void **state) {
    (void)state;
    mica_error err = {0};
    mica_checkpoint *c = NULL;
    test_folder f;
    gguf_builder b = {0};
    float ones[16];
    for (int i = 0; i < 16; i++) ones[i] = 1;
    base_model m = {.arch = "llama", .matrix_type = 14, .rope_freqs = ones};
    put_model(&b, &m);
    write_file(&f, &b);
    assert_ok(mica_checkpoint_open(mica_host_default(), path_of(&f), NULL, &c, &err));
    assert_int_equal(mica_checkpoint_count(c), 3 + 3 + 3 + 3);
    assert_string_equal(mica_checkpoint_shard_name(c, 0), "m.gguf");
    const mica_checkpoint_tensor *t =
        mica_checkpoint_find(c, "model.layers.0.self_attn.q_proj.weight");
    assert_non_null(t);
    assert_int_equal(t->dtype, MICA_SAFETENSORS_U32);
    assert_int_equal(t->shape.dims[1], HIDDEN / 8);
    assert_string_equal(t->recipe->note, "Q4_0 to affine 4 bit, group 32: lossless");
    t = mica_checkpoint_find(c, "model.layers.0.self_attn.q_proj.scales");
    assert_int_equal(t->dtype, MICA_SAFETENSORS_F16);
    assert_int_equal(t->shape.dims[1], HIDDEN / 32);
    t = mica_checkpoint_find(c, "model.layers.0.self_attn.v_proj.weight");
    assert_int_equal(t->dtype, MICA_SAFETENSORS_F16);
    assert_null(mica_checkpoint_find(c, "rope_freqs.weight"));
    t = mica_checkpoint_find(c, "model.layers.0.input_layernorm.weight");
    assert_null(t->recipe); /* read in place */
    assert_null(mica_checkpoint_shard(c, 0));
    mica_checkpoint_close(&c);
    test_folder_remove(&f);
}

/* Proves: a tensor made from blocks with an infinite scale is refused when it is asked for. */
static void refuses_infinite_scales(void **state) {
    (void)state;
    static uint8_t block[34 * 16] = {0x00, 0x7C};
    mica_error err = {0};
    mica_checkpoint *c = NULL;
    const uint8_t *data;
    test_folder f;
    gguf_builder b = {0};
    base_model m = {.arch = "llama"};
    put_model(&b, &m);
    gguf_put_tensor(&b, "output.weight", 8, 2, (int64_t[]){VOCABULARY, HIDDEN}, block,
                    sizeof block);
    write_file(&f, &b);
    assert_ok(mica_checkpoint_open(mica_host_default(), path_of(&f), NULL, &c, &err));
    assert_ok(
        mica_checkpoint_map_tensor(c, mica_checkpoint_find(c, "lm_head.weight"), &data, &err));
    assert_int_equal(
        mica_checkpoint_map_tensor(c, mica_checkpoint_find(c, "lm_head.scales"), &data, &err),
        MICA_STATUS_FORMAT);
    assert_non_null(strstr(err.message, "output.weight: row 0 of Q8_0: a scale"));
    mica_checkpoint_close(&c);
    test_folder_remove(&f);
}

/* ---- what is refused ---- */

typedef struct bad_case {
    base_model model;
    void (*add)(gguf_builder *b);
    bool in_tensors; /* else in the configuration */
    mica_status status;
    const char *words;
} bad_case;

static void none(gguf_builder *b) { (void)b; }
static void add_split(gguf_builder *b) { gguf_put_u32(b, "split.count", 3); }
static void add_experts(gguf_builder *b) { gguf_put_u32(b, "llama.expert_count", 8); }
static void add_scaling(gguf_builder *b) { gguf_put_text(b, "llama.rope.scaling.type", "spiral"); }
static void add_yarn(gguf_builder *b) {
    gguf_put_text(b, "llama.rope.scaling.type", "yarn");
    gguf_put_f32(b, "llama.rope.scaling.factor", 4);
    gguf_put_f32(b, "llama.rope.scaling.yarn_log_multiplier", 0.1f);
}
static void add_factorless(gguf_builder *b) {
    gguf_put_text(b, "llama.rope.scaling.type", "linear");
}
static void add_alibi(gguf_builder *b) { gguf_put_f32(b, "llama.attention.max_alibi_bias", 8); }
static void add_value_length(gguf_builder *b) {
    gguf_put_u32(b, "llama.attention.key_length", 32);
    gguf_put_u32(b, "llama.attention.value_length", 16);
}
static void add_kinds_of_heads(gguf_builder *b) {
    gguf_put_i32s(b, "llama.attention.head_count_kv", (int32_t[]){2, 1}, 2);
}
static void add_text_length(gguf_builder *b) {
    gguf_put_text(b, "llama.attention.head_count_kv", "2");
}
static void add_turned(gguf_builder *b) { gguf_put_u32(b, "llama.rope.dimension_count", 64); }
static void add_foreign(gguf_builder *b) {
    gguf_put_tensor(b, "blk.0.ssm_a", 0, 1, (int64_t[]){8}, "01234567012345670123456701234567", 32);
}
static void add_bad_layer(gguf_builder *b) {
    gguf_put_tensor(b, "blk.00.attn_norm.weight", 0, 1, (int64_t[]){8},
                    "01234567012345670123456701234567", 32);
}
static void add_rope_freqs(gguf_builder *b) {
    static const float zero[8] = {0};
    gguf_put_tensor(b, "rope_freqs.weight", 0, 1, (int64_t[]){8}, zero, 32);
}

#define F MICA_STATUS_FORMAT
#define U MICA_STATUS_UNSUPPORTED
static const bad_case bad_cases[] = {
    {{.arch = "llama", .without = "general.architecture"},
     none,
     false,
     F,
     "there is no key general.architecture"},
    {{.arch = "mamba"}, none, false, U, "general.architecture is \"mamba\", expected llama"},
    {{.arch = "mamba"}, none, true, U, "general.architecture is \"mamba\""},
    {{.arch = "llama", .without = "embedding_length"},
     none,
     false,
     F,
     "there is no key llama.embedding_length"},
    {{.arch = "llama", .without = "attention.head_count"},
     none,
     true,
     F,
     "cannot be divided into 0"},
    {{.arch = "llama", .without_tensor = "token_embd.weight"},
     none,
     false,
     F,
     "there is no tensor token_embd.weight"},
    {{.arch = "llama"}, add_split, false, U, "a part of a model split into 3 files"},
    {{.arch = "llama"}, add_experts, false, U, "llama.expert_count is 8, expected 0"},
    {{.arch = "llama"}, add_scaling, false, U, "rope.scaling.type is \"spiral\""},
    {{.arch = "llama"}, add_yarn, false, U, "yarn_log_multiplier is not known"},
    {{.arch = "llama"}, add_factorless, false, F, "rope.scaling.type without a positive factor"},
    {{.arch = "llama"}, add_alibi, false, U, "max_alibi_bias is not known"},
    {{.arch = "llama"}, add_value_length, false, U, "value_length is 16, expected 32"},
    {{.arch = "llama"}, add_kinds_of_heads, false, U, "differs between layers (2, 1)"},
    {{.arch = "llama"}, add_text_length, false, F, "is of type string, expected an integer"},
    {{.arch = "llama"}, add_turned, false, F, "rope.dimension_count is 64, heads have 32"},
    {{.arch = "llama"}, add_rope_freqs, false, F, "rope_freqs.weight: factor 0 is 0"},
    {{.arch = "llama"}, add_foreign, true, F, "blk.0.ssm_a: a model of architecture llama"},
    {{.arch = "llama"}, add_bad_layer, true, F, "blk.00.attn_norm.weight: a model"},
    {{.arch = "llama", .matrix_type = 20}, none, true, U, "blk.0.attn_v.weight: type IQ4_NL"},
    {{.arch = "llama", .norm_type = 8},
     none,
     true,
     U,
     "blk.0.attn_norm.weight: type Q8_0, expected F32"},
    {{.arch = "llama", .query_rows = 63}, none, true, F, "63 rows cannot be divided into 2 heads"},
    {{.arch = "llama", .query_rows = 2}, none, true, F, "2 rows cannot be divided into 2 heads"},
};

/* Proves: what is missing, unknown or contradicts is refused with a message that names it. */
static void refuses_contradictions(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad_cases / sizeof *bad_cases; i++) {
        const bad_case *k = &bad_cases[i];
        mica_error err = {0};
        mica_config *config = NULL;
        mica_checkpoint *c = NULL;
        test_folder f;
        gguf_builder b = {0};
        put_model(&b, &k->model);
        k->add(&b);
        write_file(&f, &b);
        mica_status st =
            k->in_tensors ? mica_checkpoint_open(mica_host_default(), path_of(&f), NULL, &c, &err)
                          : mica_config_load(mica_host_default(), path_of(&f), &config, &err);
        if (st != k->status || !strstr(err.message, k->words))
            fail_msg("case %zu: %s: %s; wanted: %s", i, mica_status_name(st), err.message,
                     k->words);
        test_folder_remove(&f);
    }
}

/* Proves: every failed allocation of opening a file, as configuration and as list of tensors, is
 * reported, and nothing is lost. */
static void survives_failed_allocations(void **state) {
    (void)state;
    test_folder f;
    gguf_builder b = {0};
    base_model m = {.arch = "llama", .matrix_type = 3};
    put_model(&b, &m);
    write_file(&f, &b);
    for (int what = 0; what < 3; what++) {
        int64_t n = 1;
        for (mica_status st = MICA_STATUS_OUT_OF_MEMORY; st != MICA_STATUS_OK; n++) {
            mica_alloc_counter counter;
            mica_error err = {0};
            mica_config *config = NULL;
            mica_checkpoint *c = NULL;
            mica_generation_config generation;
            mica_alloc_counter_init(&counter, mica_allocator_default());
            counter.fail_at = n;
            mica_host host = *mica_host_default();
            host.allocator = &counter.allocator;
            st = what == 0   ? mica_config_load(&host, path_of(&f), &config, &err)
                 : what == 1 ? mica_checkpoint_open(&host, path_of(&f), NULL, &c, &err)
                             : mica_generation_config_load(&host, path_of(&f), &generation, &err);
            if (st != MICA_STATUS_OK) assert_int_equal(st, MICA_STATUS_OUT_OF_MEMORY);
            mica_config_destroy(&config);
            mica_checkpoint_close(&c);
            assert_int_equal(counter.n_live, 0);
            assert_true(n < 1000);
        }
        assert_true(n > 10);
    }
    test_folder_remove(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_llama),
        cmocka_unit_test(reads_gemma3),
        cmocka_unit_test(reads_rope_freqs),
        cmocka_unit_test(reads_gpt_oss),
        cmocka_unit_test(reads_generation),
        cmocka_unit_test(lists_tensors),
        cmocka_unit_test(refuses_infinite_scales),
        cmocka_unit_test(refuses_contradictions),
        cmocka_unit_test(survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
