/* The layout of MLX, against the layout of Hugging Face, element by element. */
#include "format/mlx_layout.h"
#include "format/safetensors_writer.h"
#include "test.h"
#include "test_folder.h"

#define CONFIG(type, more)                                                                         \
    "{\"model_type\": \"" type "\", \"hidden_size\": 64, \"num_hidden_layers\": 1, "               \
    "\"num_attention_heads\": 2, \"vocab_size\": 16, \"intermediate_size\": 6" more "}"

static uint8_t bytes_of_weights[1 << 16];

/* Opens a checkpoint of these tensors (their data are bytes 0, 1, 2, ...) and lays it out. */
static mica_status lay_out(test_folder *f, const char *config_text, mica_safetensors_item *items,
                           size_t n, mica_checkpoint **c, mica_error *error) {
    mica_error err = {0};
    mica_config *config = NULL;
    for (size_t i = 0; i < sizeof bytes_of_weights; i++)
        bytes_of_weights[i] = (uint8_t)(i * 7 + (i >> 8) * 13);
    for (size_t i = 0; i < n; i++)
        if (!items[i].data) items[i].data = bytes_of_weights + 16 * i;
    test_folder_make(f);
    const char *path = test_folder_at(f, "model.safetensors");
    assert_ok(mica_safetensors_write_file(mica_host_default(), path, items, n, &err));
    assert_ok(mica_config_parse(mica_host_default(), "config.json", config_text,
                                strlen(config_text), &config, &err));
    assert_ok(mica_checkpoint_open(mica_host_default(), f->path, NULL, c, &err));
    mica_status st = mica_mlx_layout_apply(*c, config, error);
    mica_config_destroy(&config);
    return st;
}

static uint8_t *read_tensor(mica_checkpoint *c, const char *name, mica_safetensors_dtype dtype,
                            int rank, const int64_t *dims) {
    char seen[176];
    mica_error err = {0};
    const mica_checkpoint_tensor *t = mica_checkpoint_find(c, name);
    if (!t) fail_msg("%s is missing", name);
    assert_int_equal(t->dtype, dtype);
    if (t->shape.rank != rank || memcmp(t->shape.dims, dims, (size_t)rank * sizeof *dims) != 0)
        fail_msg("%s: %s", name, mica_shape_format(&t->shape, seen));
    uint8_t *data = malloc(t->bytes + 1);
    assert_ok(mica_checkpoint_read_tensor(c, t, 0, data, (size_t)t->bytes, &err));
    return data;
}

#define DIMS(...)                                                                                  \
    (const int64_t[]) { __VA_ARGS__ }

static void test_blocks(void **state) {
    /* gpt_oss: even rows are gate, odd rows up; blocks and scales keep every byte. */
    (void)state;
    enum { E = 2, N = 5, BLOCKS = 3 };
    test_folder f;
    mica_checkpoint *c;
    mica_error err = {0};
    mica_safetensors_item items[] = {
        {"l.mlp.experts.gate_up_proj_blocks", MICA_SAFETENSORS_U8, {4, {E, 2 * N, BLOCKS, 16}}, 0},
        {"l.mlp.experts.gate_up_proj_scales", MICA_SAFETENSORS_U8, {3, {E, 2 * N, BLOCKS}}, 0},
        {"l.mlp.experts.gate_up_proj_bias", MICA_SAFETENSORS_BF16, {2, {E, 2 * N}}, 0},
        {"l.mlp.experts.down_proj_blocks", MICA_SAFETENSORS_U8, {4, {E, N, BLOCKS, 16}}, 0},
        {"l.mlp.experts.down_proj_scales", MICA_SAFETENSORS_U8, {3, {E, N, BLOCKS}}, 0},
        {"l.mlp.experts.down_proj_bias", MICA_SAFETENSORS_BF16, {2, {E, N}}, 0},
        {"l.mlp.router.weight", MICA_SAFETENSORS_BF16, {2, {E, 32}}, 0},
    };
    assert_ok(lay_out(&f, CONFIG("gpt_oss", ""), items, 7, &c, &err));
    assert_int_equal(mica_checkpoint_count(c), 10);
    static const char *const names[2] = {"gate_proj", "up_proj"};
    static const struct {
        const char *end;
        mica_safetensors_dtype dtype;
        int rank;
        int64_t last;
        size_t row_bytes;
    } parts[3] = {{"weight", MICA_SAFETENSORS_U32, 3, BLOCKS * 4, BLOCKS * 16},
                  {"scales", MICA_SAFETENSORS_U8, 3, BLOCKS, BLOCKS},
                  {"bias", MICA_SAFETENSORS_BF16, 2, 0, 2}};
    for (int which = 0; which < 2; which++)
        for (size_t p = 0; p < 3; p++) {
            char name[64];
            snprintf(name, sizeof name, "l.mlp.experts.%s.%s", names[which], parts[p].end);
            uint8_t *data =
                read_tensor(c, name, parts[p].dtype, parts[p].rank, DIMS(E, N, parts[p].last));
            const uint8_t *from = items[p].data;
            size_t row = parts[p].row_bytes;
            for (size_t r = 0; r < E * N; r++)
                assert_memory_equal(data + r * row, from + (2 * r + (size_t)which) * row, row);
            free(data);
        }
    uint8_t *down = read_tensor(c, "l.mlp.experts.down_proj.weight", MICA_SAFETENSORS_U32, 3,
                                DIMS(E, N, BLOCKS * 4));
    assert_memory_equal(down, items[3].data, E * N * BLOCKS * 16);
    free(down);
    free(read_tensor(c, "l.mlp.experts.down_proj.scales", MICA_SAFETENSORS_U8, 3,
                     DIMS(E, N, BLOCKS)));
    free(read_tensor(c, "l.mlp.experts.down_proj.bias", MICA_SAFETENSORS_BF16, 2, DIMS(E, N)));
    free(read_tensor(c, "l.mlp.router.weight", MICA_SAFETENSORS_BF16, 2, DIMS(E, 32)));
    mica_checkpoint_close(&c);
    test_folder_remove(&f);
}

static void check_turned(const uint8_t *data, const uint8_t *from, int64_t e, int64_t n, int64_t k,
                         int64_t columns, int64_t first, int64_t step, size_t item) {
    for (int64_t i = 0; i < e; i++)
        for (int64_t r = 0; r < n; r++)
            for (int64_t x = 0; x < k; x++)
                assert_memory_equal(
                    data + (size_t)((i * n + r) * k + x) * item,
                    from + (size_t)((i * k + x) * columns + first + step * r) * item, item);
}

static void test_float_experts(void **state) {
    /* gpt_oss without blocks: [e, k, n] becomes [e, n, k], of 2 and 4 bytes, past a tile's edge. */
    (void)state;
    enum { E = 2, N = 37, K = 33 };
    static const mica_safetensors_dtype dtypes[2] = {MICA_SAFETENSORS_BF16, MICA_SAFETENSORS_F32};
    for (int d = 0; d < 2; d++) {
        test_folder f;
        mica_checkpoint *c;
        mica_error err = {0};
        size_t item = d == 0 ? 2 : 4;
        mica_safetensors_item items[] = {
            {"l.mlp.experts.gate_up_proj", dtypes[d], {3, {E, K, 2 * N}}, 0},
            {"l.mlp.experts.down_proj", dtypes[d], {3, {E, N, K}}, 0},
        };
        assert_ok(lay_out(&f, CONFIG("gpt_oss", ""), items, 2, &c, &err));
        assert_int_equal(mica_checkpoint_count(c), 3);
        static const char *const names[2] = {"l.mlp.experts.gate_proj.weight",
                                             "l.mlp.experts.up_proj.weight"};
        for (int which = 0; which < 2; which++) {
            uint8_t *data = read_tensor(c, names[which], dtypes[d], 3, DIMS(E, N, K));
            check_turned(data, items[0].data, E, N, K, 2 * N, which, 2, item);
            free(data);
        }
        uint8_t *data =
            read_tensor(c, "l.mlp.experts.down_proj.weight", dtypes[d], 3, DIMS(E, K, N));
        check_turned(data, items[1].data, E, K, N, K, 0, 1, item);
        free(data);
        mica_checkpoint_close(&c);
        test_folder_remove(&f);
    }
}

static void test_stack(void **state) {
    /* qwen3_moe: experts in the order of their numbers (10 after 9), quantised ones part by part.
     */
    (void)state;
    enum { E = 12, N = 3, K = 5 };
    test_folder f;
    mica_checkpoint *c;
    mica_error err = {0};
    char names[2 * E][64];
    mica_safetensors_item items[2 * E + 1];
    for (int i = 0; i < E; i++) {
        snprintf(names[i], 64, "model.layers.0.mlp.experts.%d.up_proj.weight", i);
        snprintf(names[E + i], 64, "model.layers.0.mlp.experts.%d.up_proj.scales", i);
        items[i] = (mica_safetensors_item){names[i], MICA_SAFETENSORS_F16, {2, {N, K}}, NULL};
        items[E + i] = (mica_safetensors_item){names[E + i], MICA_SAFETENSORS_F32, {1, {2}}, NULL};
    }
    items[(size_t)2 * E] = (mica_safetensors_item){
        "model.layers.0.mlp.gate.weight", MICA_SAFETENSORS_F16, {2, {E, K}}, NULL};
    assert_ok(
        lay_out(&f, CONFIG("qwen3_moe", ", \"num_experts\": 12"), items, 2 * E + 1, &c, &err));
    assert_int_equal(mica_checkpoint_count(c), 3);
    uint8_t *data = read_tensor(c, "model.layers.0.mlp.switch_mlp.up_proj.weight",
                                MICA_SAFETENSORS_F16, 3, DIMS(E, N, K));
    for (size_t i = 0; i < E; i++)
        assert_memory_equal(data + i * N * K * 2, items[i].data, N * K * 2);
    free(data);
    data = read_tensor(c, "model.layers.0.mlp.switch_mlp.up_proj.scales", MICA_SAFETENSORS_F32, 2,
                       DIMS(E, 2));
    for (size_t i = 0; i < E; i++) assert_memory_equal(data + i * 8, items[E + i].data, 8);
    free(data);
    mica_checkpoint_close(&c);
    test_folder_remove(&f);
}

static void test_dropped(void **state) {
    /* Precomputed rotations go; the head goes where the config says that it is tied. */
    (void)state;
    static const char *const configs[] = {CONFIG("llama", ""),
                                          CONFIG("llama", ", \"tie_word_embeddings\": true"),
                                          CONFIG("llama", ", \"tie_word_embeddings\": false")};
    for (size_t i = 0; i < 3; i++) {
        test_folder f;
        mica_checkpoint *c;
        mica_error err = {0};
        mica_safetensors_item items[] = {
            {"model.layers.0.self_attn.rotary_emb.inv_freq", MICA_SAFETENSORS_F32, {1, {4}}, 0},
            {"lm_head.weight", MICA_SAFETENSORS_F32, {2, {2, 2}}, 0},
            {"model.norm.weight", MICA_SAFETENSORS_F32, {1, {4}}, 0},
        };
        assert_ok(lay_out(&f, configs[i], items, 3, &c, &err));
        assert_int_equal(mica_checkpoint_count(c), i == 1 ? 1 : 2);
        assert_non_null(mica_checkpoint_find(c, "model.norm.weight"));
        mica_checkpoint_close(&c);
        test_folder_remove(&f);
    }
}

static void refuse(const char *config, mica_safetensors_item *items, size_t n, mica_status status,
                   const char *text) {
    test_folder f;
    mica_checkpoint *c = NULL;
    mica_error err = {0};
    mica_status st = lay_out(&f, config, items, n, &c, &err);
    if (st != status || !strstr(err.message, text))
        fail_msg("%s: %s, wanted \"%s\"", mica_status_name(st), err.message, text);
    mica_checkpoint_close(&c);
    test_folder_remove(&f);
}

static void test_refusals(void **state) {
    /* Tensors that do not go together, and families that are not known, are named. */
    (void)state;
    mica_safetensors_item odd[] = {
        {"l.mlp.experts.gate_up_proj_bias", MICA_SAFETENSORS_BF16, {2, {2, 5}}, 0}};
    refuse(CONFIG("gpt_oss", ""), odd, 1, MICA_STATUS_FORMAT, "as many gate as up rows");
    mica_safetensors_item rank[] = {
        {"l.mlp.experts.down_proj_blocks", MICA_SAFETENSORS_U8, {3, {2, 4, 32}}, 0}};
    refuse(CONFIG("gpt_oss", ""), rank, 1, MICA_STATUS_FORMAT, "U8 [2, 4, 32]");
    mica_safetensors_item wide[] = {
        {"l.mlp.experts.down_proj_blocks", MICA_SAFETENSORS_U8, {4, {2, 4, 2, 8}}, 0}};
    refuse(CONFIG("gpt_oss", ""), wide, 1, MICA_STATUS_FORMAT, "[experts, rows, blocks, 16]");
    mica_safetensors_item type[] = {
        {"l.mlp.experts.gate_up_proj", MICA_SAFETENSORS_U8, {3, {2, 4, 2}}, 0}};
    refuse(CONFIG("gpt_oss", ""), type, 1, MICA_STATUS_FORMAT, "floats");
    mica_safetensors_item both[] = {
        {"l.mlp.experts.down_proj.scales", MICA_SAFETENSORS_U8, {3, {2, 4, 2}}, 0},
        {"l.mlp.experts.down_proj_scales", MICA_SAFETENSORS_U8, {3, {2, 4, 2}}, 0}};
    refuse(CONFIG("gpt_oss", ""), both, 2, MICA_STATUS_FORMAT, "two tensors have this name");
#define EXPERT(i) "model.layers.0.mlp.experts." #i ".up_proj.weight"
    mica_safetensors_item missing[] = {{EXPERT(0), MICA_SAFETENSORS_F16, {2, {2, 2}}, 0},
                                       {EXPERT(1), MICA_SAFETENSORS_F16, {2, {2, 2}}, 0}};
    refuse(CONFIG("qwen3_moe", ", \"num_experts\": 3"), missing, 2, MICA_STATUS_NOT_FOUND,
           EXPERT(2));
    refuse(CONFIG("qwen3_moe", ", \"num_experts\": 2"), missing + 1, 1, MICA_STATUS_NOT_FOUND,
           EXPERT(0));
    refuse(CONFIG("qwen3_moe", ", \"num_experts\": 1"), missing, 2, MICA_STATUS_FORMAT,
           "has 1 experts");
    mica_safetensors_item shapes[] = {{EXPERT(0), MICA_SAFETENSORS_F16, {2, {2, 2}}, 0},
                                      {EXPERT(1), MICA_SAFETENSORS_F16, {2, {2, 3}}, 0}};
    refuse(CONFIG("qwen3_moe", ", \"num_experts\": 2"), shapes, 2, MICA_STATUS_FORMAT,
           "F16 [2, 3], expected F16 [2, 2]");
    mica_safetensors_item norm[] = {{"model.norm.weight", MICA_SAFETENSORS_F16, {1, {2}}, 0}};
    refuse(CONFIG("abacus", ""), norm, 1, MICA_STATUS_UNSUPPORTED, "\"abacus\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),   cmocka_unit_test(test_float_experts),
        cmocka_unit_test(test_stack),    cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
