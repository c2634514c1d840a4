/* gpt-oss from GGUF: the demo model, written as llama.cpp's converter writes it (gate and up rows
 * apart, MXFP4 nibbles in the order of GGUF), gives what the folder gives. */
#include "gguf_builder.h"
#include "model_test.h"
#include "test.h"
#include "test_folder.h"
#include "base/host.h"
#include "format/checkpoint.h"

#define N_IDS 40
#define N_GREEDY 16
#define VOCABULARY_MAX 8192
#define MXFP4 39u
#define BF16 30u

enum { HIDDEN = 320, INTER = 320, EXPERTS = 8, LAYERS = 8, BLOCK = 32 };

static const struct {
    const char *name, *gguf;
} names[] = {
    {"input_layernorm.weight", "attn_norm.weight"},
    {"post_attention_layernorm.weight", "post_attention_norm.weight"},
    {"self_attn.q_proj.weight", "attn_q.weight"},
    {"self_attn.q_proj.bias", "attn_q.bias"},
    {"self_attn.k_proj.weight", "attn_k.weight"},
    {"self_attn.k_proj.bias", "attn_k.bias"},
    {"self_attn.v_proj.weight", "attn_v.weight"},
    {"self_attn.v_proj.bias", "attn_v.bias"},
    {"self_attn.o_proj.weight", "attn_output.weight"},
    {"self_attn.o_proj.bias", "attn_output.bias"},
    {"self_attn.sinks", "attn_sinks.weight"},
    {"mlp.router.weight", "ffn_gate_inp.weight"},
    {"mlp.router.bias", "ffn_gate_inp.bias"},
};

static const uint8_t *map(mica_checkpoint *c, const char *name, const mica_checkpoint_tensor **t) {
    mica_error err = {0};
    const uint8_t *data = NULL;
    *t = mica_checkpoint_find(c, name);
    if (!*t) fail_msg("no tensor %s", name);
    assert_ok(mica_checkpoint_map_tensor(c, *t, &data, &err));
    return data;
}

static void copy(gguf_builder *b, mica_checkpoint *c, const char *name, const char *to) {
    const mica_checkpoint_tensor *t;
    const uint8_t *data = map(c, name, &t);
    assert_int_equal(t->dtype, MICA_SAFETENSORS_BF16);
    gguf_put_tensor(b, to, BF16, t->shape.rank, t->shape.dims, data, (size_t)t->bytes);
}

/* Element i of a block: in the file's order, neighbours share a byte. */
static unsigned element(const uint8_t *codes, int i) { return codes[i / 2] >> (i % 2 * 4) & 15u; }

/* Rows first, first + step, ... of each expert, as GGUF blocks. */
static void put_experts(gguf_builder *b, mica_checkpoint *c, int layer, const char *from,
                        const char *to, int64_t rows, int first, int step) {
    char name[128];
    const mica_checkpoint_tensor *t;
    snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%s_blocks", layer, from);
    const uint8_t *codes = map(c, name, &t);
    int64_t all = t->shape.dims[1], blocks = t->shape.dims[2];
    snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%s_scales", layer, from);
    const uint8_t *scales = map(c, name, &t);
    size_t bytes = (size_t)(EXPERTS * rows * blocks) * 17;
    uint8_t *out = calloc(bytes, 1), *at = out;
    for (int64_t e = 0; e < EXPERTS; e++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < blocks; i++, at += 17) {
                int64_t place = (e * all + first + r * step) * blocks + i;
                at[0] = scales[place];
                for (int j = 0; j < 16; j++)
                    at[1 + j] = (uint8_t)(element(codes + place * 16, j) |
                                          element(codes + place * 16, j + 16) << 4);
            }
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, to);
    gguf_put_tensor(b, name, MXFP4, 3, (int64_t[]){EXPERTS, rows, blocks * BLOCK}, out, bytes);
    snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%s_bias", layer, from);
    const uint8_t *bias = map(c, name, &t);
    uint16_t *picked = (uint16_t *)(void *)out;
    for (int64_t e = 0; e < EXPERTS; e++)
        for (int64_t r = 0; r < rows; r++)
            memcpy(&picked[e * rows + r], bias + (e * all + first + r * step) * 2, 2);
    snprintf(name, sizeof name, "blk.%d.%s.bias", layer, to);
    gguf_put_tensor(b, name, BF16, 2, (int64_t[]){EXPERTS, rows}, picked,
                    (size_t)(EXPERTS * rows) * 2);
    free(out);
}

static void put_keys(gguf_builder *b) {
    gguf_put_text(b, "general.architecture", "gpt-oss");
    gguf_put_u32(b, "gpt-oss.block_count", LAYERS);
    gguf_put_u32(b, "gpt-oss.context_length", 2048);
    gguf_put_u32(b, "gpt-oss.embedding_length", HIDDEN);
    gguf_put_u32(b, "gpt-oss.feed_forward_length", INTER);
    gguf_put_u32(b, "gpt-oss.expert_feed_forward_length", INTER);
    gguf_put_u32(b, "gpt-oss.attention.head_count", 8);
    gguf_put_u32(b, "gpt-oss.attention.head_count_kv", 2);
    gguf_put_u32(b, "gpt-oss.attention.key_length", 64);
    gguf_put_u32(b, "gpt-oss.attention.value_length", 64);
    gguf_put_u32(b, "gpt-oss.attention.sliding_window", 64);
    gguf_put_u32(b, "gpt-oss.expert_count", EXPERTS);
    gguf_put_u32(b, "gpt-oss.expert_used_count", 2);
    gguf_put_f32(b, "gpt-oss.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_put_f32(b, "gpt-oss.rope.freq_base", 150000);
    gguf_put_text(b, "gpt-oss.rope.scaling.type", "yarn");
    gguf_put_f32(b, "gpt-oss.rope.scaling.factor", 8);
    gguf_put_u32(b, "gpt-oss.rope.scaling.original_context_length", 256);
}

static void convert(const test_folder *folder) {
    mica_error err = {0};
    mica_checkpoint *c = NULL;
    gguf_builder b = {0};
    gguf_bytes file;
    char from[128], to[128];
    assert_ok(mica_checkpoint_open(mica_host_default(), DEMO_FOLDER, NULL, &c, &err));
    put_keys(&b);
    copy(&b, c, "model.embed_tokens.weight", "token_embd.weight");
    copy(&b, c, "model.norm.weight", "output_norm.weight");
    copy(&b, c, "lm_head.weight", "output.weight");
    for (int i = 0; i < LAYERS; i++) {
        for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
            snprintf(from, sizeof from, "model.layers.%d.%s", i, names[n].name);
            snprintf(to, sizeof to, "blk.%d.%s", i, names[n].gguf);
            copy(&b, c, from, to);
        }
        put_experts(&b, c, i, "gate_up_proj", "ffn_gate_exps", INTER, 0, 2);
        put_experts(&b, c, i, "gate_up_proj", "ffn_up_exps", INTER, 1, 2);
        put_experts(&b, c, i, "down_proj", "ffn_down_exps", HIDDEN, 0, 1);
    }
    gguf_build(&b, &file);
    test_folder_write(folder, "model.gguf", file.data, file.bytes);
    free(file.data);
    mica_checkpoint_close(&c);
}

static void run(const char *path, mica_numeric_mode mode, float *logits, int32_t *greedy) {
    model_fixture f;
    fixture_options o = {.folder = path, .mode = mode};
    generation g = {.first_logits = logits};
    int32_t ids[N_IDS];
    for (int i = 0; i < N_IDS; i++) ids[i] = 100 + 37 * i;
    fixture_open(&f, &o);
    assert_true(f.vocab <= VOCABULARY_MAX);
    generate(&f, ids, N_IDS, N_GREEDY, &g);
    memcpy(greedy, g.ids, N_GREEDY * sizeof *greedy);
    fixture_close(&f);
}

/* Proves: logits and greedy ids of the GGUF file are those of the folder. */
static void equals_the_folder(void **state) {
    (void)state;
    test_folder folder;
    float *logits[2];
    int32_t greedy[2][N_GREEDY];
    for (int i = 0; i < 2; i++) logits[i] = calloc(VOCABULARY_MAX, sizeof(float));
    test_folder_make(&folder);
    convert(&folder);
    run(DEMO_FOLDER, MICA_EXACT, logits[0], greedy[0]);
    run(test_folder_at(&folder, "model.gguf"), MICA_EXACT, logits[1], greedy[1]);
    double worst = 0;
    for (int i = 0; i < VOCABULARY_MAX; i++) {
        double d = fabs((double)logits[0][i] - (double)logits[1][i]);
        worst = d <= worst ? worst : d;
    }
    printf("largest difference %.2g\n", worst);
    assert_true(worst <= 1e-4);
    assert_memory_equal(greedy[0], greedy[1], sizeof greedy[0]);
    for (int i = 0; i < 2; i++) free(logits[i]);
    test_folder_remove(&folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(equals_the_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
