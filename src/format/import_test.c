/* Imports against matrices that a script computed from the formulas of the formats
 * (tools/golden/import_vectors.py): what the new tensors decode to is compared bit for bit. */
#include "format/import.h"
#include "core/dtype.h"
#include "format/checkpoint_rewrite.h"
#include "kernel/quant_block.h"
#include "test.h"
#include "test_folder.h"

#define FOLDER MICA_SOURCE_DIR "/tests/data/import/"

typedef struct vector_case {
    const char *name;
    mica_quant_mode mode; /* NONE: the module becomes a plain matrix */
    int bits, group;
    mica_safetensors_dtype dtype; /* of scales, or of the plain matrix */
} vector_case;

#define F32 MICA_SAFETENSORS_F32
#define F16 MICA_SAFETENSORS_F16
#define BF16 MICA_SAFETENSORS_BF16
#define U8 MICA_SAFETENSORS_U8
static const vector_case cases[] = {
    {"awq_g32", MICA_QUANT_AFFINE, 4, 32, F32},
    {"awq_g128", MICA_QUANT_AFFINE, 4, 128, F32},
    {"awq_row", MICA_QUANT_AFFINE, 4, 64, F32},
    {"awq_symmetric", MICA_QUANT_AFFINE, 4, 64, F16},
    {"awq_g16", MICA_QUANT_NONE, 0, 0, F16},
    {"gptq_symmetric", MICA_QUANT_AFFINE, 4, 64, F16},
    {"gptq_v1", MICA_QUANT_AFFINE, 4, 32, F32},
    {"gptq_v2", MICA_QUANT_AFFINE, 4, 128, F32},
    {"gptq_short_group", MICA_QUANT_AFFINE, 4, 64, F16},
    {"gptq_row", MICA_QUANT_AFFINE, 4, 128, F32},
    {"gptq_shuffled", MICA_QUANT_NONE, 0, 0, F16},
    {"gptq_g16", MICA_QUANT_NONE, 0, 0, F16},
    {"compressed_4_symmetric", MICA_QUANT_AFFINE, 4, 128, BF16},
    {"compressed_4_zeros", MICA_QUANT_AFFINE, 4, 32, F32},
    {"compressed_8_channel", MICA_QUANT_AFFINE, 8, 64, F16},
    {"compressed_8_zeros", MICA_QUANT_AFFINE, 8, 32, F32},
    {"compressed_3_zeros", MICA_QUANT_AFFINE, 3, 64, F32},
    {"compressed_4_odd_row", MICA_QUANT_NONE, 0, 0, F16},
    {"compressed_nvfp4", MICA_QUANT_NVFP4, 4, 16, U8},
    {"compressed_mxfp4", MICA_QUANT_MXFP4, 4, 32, U8},
    {"modelopt_nvfp4", MICA_QUANT_NVFP4, 4, 16, U8},
    {"fp8_blocks", MICA_QUANT_NONE, 0, 0, BF16},
    {"fp8_blocks_bf16", MICA_QUANT_NONE, 0, 0, BF16},
};

/* ---- decoding ---- */

static const mica_checkpoint_tensor *find(mica_checkpoint *c, const char *path,
                                          const char *suffix) {
    char name[256];
    snprintf(name, sizeof name, "%s.%s", path, suffix);
    return mica_checkpoint_find(c, name);
}

static const uint8_t *map(mica_checkpoint *c, const char *path, const char *suffix) {
    mica_error err;
    const uint8_t *data = NULL;
    const mica_checkpoint_tensor *t = find(c, path, suffix);
    if (!t) return NULL;
    assert_ok(mica_checkpoint_map_tensor(c, t, &data, &err));
    return data;
}

static int kind_of(mica_safetensors_dtype d) {
    return d == F32 ? MICA_KIND_F32 : d == F16 ? MICA_KIND_F16 : MICA_KIND_BF16;
}

static void decode_plain(mica_checkpoint *c, const char *path, int64_t count, float *out) {
    const uint8_t *data = map(c, path, "weight");
    mica_safetensors_dtype dtype = find(c, path, "weight")->dtype;
    for (int64_t i = 0; i < count; i++) out[i] = mica_kind_load(kind_of(dtype), data, i);
}

static void decode_module(mica_checkpoint *c, const char *path, mica_quant_desc q, int64_t n,
                          int64_t k, float *out) {
    const uint8_t *codes = map(c, path, "weight"), *scales = map(c, path, "scales"),
                  *biases = map(c, path, "biases"), *factor = map(c, path, "scale_factor");
    int64_t step = mica_quant_scale_bytes(q, k);
    for (int64_t r = 0; r < n; r++) {
        mica_quant_decode_row(q, codes + r * mica_quant_code_bytes(q, k), scales + r * step,
                              biases ? biases + r * step : NULL, k, out + r * k);
        for (int64_t i = 0; factor && i < k; i++) out[r * k + i] *= mica_load_f32(factor);
    }
}

static void check_types(mica_checkpoint *c, const char *path, const vector_case *v, int64_t n,
                        int64_t k, int64_t group) {
    const mica_shape codes = {2, {n, k * v->bits / 32}}, scales = {2, {n, k / group}};
    assert_int_equal(find(c, path, "weight")->dtype, MICA_SAFETENSORS_U32);
    assert_true(mica_shape_equal(&find(c, path, "weight")->shape, &codes));
    assert_int_equal(find(c, path, "scales")->dtype, v->dtype);
    assert_true(mica_shape_equal(&find(c, path, "scales")->shape, &scales));
    if (v->mode != MICA_QUANT_AFFINE) {
        assert_null(find(c, path, "biases"));
        return;
    }
    assert_int_equal(find(c, path, "biases")->dtype, v->dtype);
    assert_true(mica_shape_equal(&find(c, path, "biases")->shape, &scales));
}

/* Equal bits, or zeros: a sum cannot give -0 where a product does. */
static void compare(const char *name, const float *seen, const uint8_t *wanted, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        float w = mica_load_f32(wanted + 4 * i);
        if (mica_bits_from_f32(seen[i]) != mica_bits_from_f32(w) && (seen[i] != 0 || w != 0))
            fail_msg("%s: element %lld is %.9g, expected %.9g", name, (long long)i, seen[i], w);
    }
}

/* What quant_mlx says of a module. */
static int group_of(const mica_config *config, const char *path) {
    for (size_t i = 0; i < config->quant_mlx.n_rules; i++)
        if (strcmp(config->quant_mlx.rules[i].path, path) == 0)
            return config->quant_mlx.rules[i].group_size;
    return config->quant_mlx.group_size;
}

static void check_tensor(mica_checkpoint *c, mica_checkpoint *wanted,
                         const mica_checkpoint_tensor *t, const mica_config *config,
                         const vector_case *v) {
    mica_error err;
    char path[128];
    const uint8_t *data;
    int64_t n = t->shape.dims[0], k = t->shape.dims[1];
    float *seen = malloc((size_t)(n * k) * sizeof *seen);
    assert_non_null(seen);
    snprintf(path, sizeof path, "%.*s", (int)(t->name_bytes - strlen(".weight")), t->name);
    int group = group_of(config, path);
    mica_quant_desc q = {.mode = (uint8_t)v->mode, .bits = (uint8_t)v->bits};
    q.group = (uint16_t)group;
    q.scale_kind = (uint8_t)(v->dtype == U8 ? MICA_KIND_U8 : kind_of(v->dtype));
    if (v->mode == MICA_QUANT_NONE) {
        assert_int_equal(find(c, path, "weight")->dtype, v->dtype);
        assert_true(mica_shape_equal(&find(c, path, "weight")->shape, &t->shape));
        assert_null(find(c, path, "scales"));
        decode_plain(c, path, n * k, seen);
    } else {
        check_types(c, path, v, n, k, group);
        decode_module(c, path, q, n, k, seen);
    }
    assert_ok(mica_checkpoint_map_tensor(wanted, t, &data, &err));
    compare(v->name, seen, data, n * k);
    free(seen);
}

/* ---- cases ---- */

static mica_status open_case(const mica_host *host, const char *name, mica_checkpoint **c,
                             mica_config **config, mica_error *err) {
    char folder[512];
    *c = NULL;
    *config = NULL;
    snprintf(folder, sizeof folder, FOLDER "%s", name);
    mica_status st = mica_config_load(host, folder, config, err);
    if (st == MICA_STATUS_OK) st = mica_checkpoint_open(host, folder, NULL, c, err);
    if (st == MICA_STATUS_OK) st = mica_checkpoint_import(*c, *config, err);
    return st;
}

static void check_case(const vector_case *v) {
    mica_error err;
    mica_checkpoint *c, *wanted;
    mica_config *config;
    char path[512];
    print_message("%s\n", v->name);
    assert_ok(open_case(mica_host_default(), v->name, &c, &config, &err));
    assert_false(config->quant.is_present);
    assert_int_equal(config->quant_mlx.is_present, v->mode != MICA_QUANT_NONE);
    assert_int_equal(config->quant_mlx.mode, v->mode);
    assert_int_equal(config->quant_mlx.bits, v->bits);
    snprintf(path, sizeof path, FOLDER "%s/expected.safetensors", v->name);
    assert_ok(mica_checkpoint_open(mica_host_default(), path, NULL, &wanted, &err));
    assert_true(mica_checkpoint_count(wanted) > 0);
    for (size_t i = 0; i < mica_checkpoint_count(wanted); i++)
        check_tensor(c, wanted, mica_checkpoint_at(wanted, i), config, v);
    assert_int_equal(group_of(config, "model.layers.0.mlp.up_proj"), v->group);
    /* Two plain tensors and what the modules became; nothing else is left. */
    size_t parts = v->mode == MICA_QUANT_NONE ? 1 : v->mode == MICA_QUANT_MXFP4 ? 2 : 3;
    assert_int_equal(mica_checkpoint_count(c), 2 + parts * mica_checkpoint_count(wanted));
    assert_non_null(mica_checkpoint_find(c, "model.norm.weight"));
    assert_non_null(mica_checkpoint_find(c, "model.layers.0.mlp.up_proj.bias"));
    mica_checkpoint_close(&wanted);
    mica_checkpoint_close(&c);
    mica_config_destroy(&config);
}

static void test_vectors(void **state) {
    /* Every format decodes to the matrix of the formulas; names, types and shapes are MLX's. */
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_case(&cases[i]);
}

static void test_modules_differ(void **state) {
    /* A module with rows that the group of the others does not divide gets a rule of its own. */
    (void)state;
    mica_error err;
    mica_checkpoint *c;
    mica_config *config;
    assert_ok(open_case(mica_host_default(), "gptq_symmetric", &c, &config, &err));
    assert_int_equal(config->quant_mlx.n_rules, 1);
    assert_string_equal(config->quant_mlx.rules[0].path, "model.layers.0.mlp.up_proj");
    assert_true(config->quant_mlx.rules[0].is_quantized);
    assert_int_equal(config->quant_mlx.rules[0].mode, MICA_QUANT_AFFINE);
    assert_int_equal(config->quant_mlx.rules[0].bits, 4);
    assert_int_equal(config->quant_mlx.rules[0].group_size, 64);
    assert_int_equal(config->quant_mlx.group_size, 32);
    mica_checkpoint_close(&c);
    mica_config_destroy(&config);
}

static void test_views(void **state) {
    /* Layouts that are MLX's already are not copied: no recipe, the same bytes of the file. */
    (void)state;
    mica_error err;
    mica_checkpoint *c;
    mica_config *config;
    assert_ok(open_case(mica_host_default(), "compressed_4_symmetric", &c, &config, &err));
    assert_null(find(c, "model.layers.0.mlp.up_proj", "weight")->recipe);
    assert_null(find(c, "model.layers.0.mlp.up_proj", "scales")->recipe);
    mica_checkpoint_close(&c);
    mica_config_destroy(&config);
    assert_ok(open_case(mica_host_default(), "modelopt_nvfp4", &c, &config, &err));
    assert_null(find(c, "model.layers.0.mlp.up_proj", "weight")->recipe);
    assert_null(find(c, "model.layers.0.mlp.up_proj", "scales")->recipe);
    mica_checkpoint_close(&c);
    mica_config_destroy(&config);
}

typedef struct log_text {
    char text[4096];
} log_text;

static void keep_log(void *context, mica_log_level level, const char *text) {
    log_text *log = context;
    (void)level;
    strncat(log->text, text, sizeof log->text - strlen(log->text) - 2);
    strcat(log->text, "\n");
}

static void test_log(void **state) {
    /* The log says what became of the modules, and that scales of activations go. */
    (void)state;
    mica_error err;
    mica_checkpoint *c;
    mica_config *config;
    log_text log = {{0}};
    const mica_host host = {mica_allocator_default(), keep_log, &log, MICA_LOG_INFO, NULL};
    assert_ok(open_case(&host, "modelopt_nvfp4", &c, &config, &err));
    assert_non_null(strstr(log.text, "modelopt: 1 modules taken over as nvfp4"));
    assert_non_null(strstr(log.text, "scales of activations are not used"));
    mica_checkpoint_close(&c);
    mica_config_destroy(&config);
    log.text[0] = '\0';
    assert_ok(open_case(&host, "gptq_shuffled", &c, &config, &err));
    assert_non_null(strstr(log.text, "gptq: 1 modules are dequantised"));
    mica_checkpoint_close(&c);
    mica_config_destroy(&config);
}

/* Opens, imports and makes every tensor. */
static mica_status load_all(const mica_host *host, const char *name, mica_error *err) {
    mica_checkpoint *c;
    mica_config *config;
    const uint8_t *data;
    mica_status st = open_case(host, name, &c, &config, err);
    for (size_t i = 0; st == MICA_STATUS_OK && i < mica_checkpoint_count(c); i++)
        st = mica_checkpoint_map_tensor(c, mica_checkpoint_at(c, i), &data, err);
    mica_checkpoint_close(&c);
    mica_config_destroy(&config);
    return st;
}

static void test_no_memory(void **state) {
    /* Whichever allocation fails: a status, no leak, no crash. */
    (void)state;
    static const char *const names[] = {"awq_g128",           "gptq_symmetric", "gptq_shuffled",
                                        "compressed_4_zeros", "modelopt_nvfp4", "fp8_blocks"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (int64_t fail_at = 1;; fail_at++) {
            mica_error err;
            mica_alloc_counter counter;
            mica_alloc_counter_init(&counter, mica_allocator_default());
            counter.fail_at = fail_at;
            mica_host host = {.allocator = &counter.allocator};
            mica_status st = load_all(&host, names[i], &err);
            bool is_through = counter.n_calls < fail_at;
            assert_int_equal(st, is_through ? MICA_STATUS_OK : MICA_STATUS_OUT_OF_MEMORY);
            assert_int_equal(counter.n_live, 0);
            if (is_through) break;
            assert_true(fail_at < 1000);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),   cmocka_unit_test(test_modules_differ),
        cmocka_unit_test(test_views),     cmocka_unit_test(test_log),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
