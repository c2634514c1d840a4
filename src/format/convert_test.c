/* Conversions of small made-up checkpoints, held against the row functions of kernel/quant_block.h:
 * every byte of every output, the new config.json, and what is left when something goes wrong. */
#include "format/convert.h"
#include <errno.h>
#include <jansson.h>
#include "format/checkpoint.h"
#include "format/quant_spec.h"
#include "format/safetensors_writer.h"
#include "kernel/quant_block.h"
#include "test.h"
#include "test_folder.h"

enum { ROWS = 6, K = 128, ITEMS_MAX = 40 };

#define CONFIG_OF(type, more)                                                                      \
    "{\"model_type\": \"" type "\", \"hidden_size\": 64, \"num_hidden_layers\": 2,\n"              \
    " \"num_attention_heads\": 2, \"vocab_size\": 16, \"intermediate_size\": 6,\n"                 \
    " \"torch_dtype\": \"float32\", \"x\": [1.50, {}, [], {\"a\": \"\\u00e9\\n\"}]" more "}"
#define CONFIG CONFIG_OF("llama", "")

/* ---- models ---- */

/* Random values of one type; a few zeros and outliers. */
static void *make_values(mica_safetensors_dtype dtype, size_t n, uint64_t *seed) {
    float *values = malloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++) {
        values[i] = test_random_float(seed) * (i % 37 == 5 ? 30.0f : 1.0f);
        if (i % 11 == 3) values[i] = 0;
        uint16_t half = dtype == MICA_SAFETENSORS_BF16 ? mica_bf16_from_f32(values[i])
                                                       : mica_f16_from_f32(values[i]);
        if (dtype != MICA_SAFETENSORS_F32) memcpy((char *)values + 2 * i, &half, 2);
    }
    return values;
}

typedef struct model {
    test_folder folder;
    mica_safetensors_item items[ITEMS_MAX];
    size_t n;
    uint64_t seed;
} model;

static void add_tensor(model *m, const char *name, mica_safetensors_dtype dtype, mica_shape shape,
                       const void *data) {
    size_t count = (size_t)mica_shape_count(&shape);
    size_t bytes = count * (size_t)mica_safetensors_dtype_bits(dtype) / 8;
    void *copy = data ? malloc(bytes + 1) : make_values(dtype, count, &m->seed);
    if (data) memcpy(copy, data, bytes);
    assert_true(m->n < ITEMS_MAX);
    m->items[m->n++] = (mica_safetensors_item){name, dtype, shape, copy};
}

static void model_write(model *m, const char *config) {
    mica_error err = {0};
    test_folder_make(&m->folder);
    const char *path = test_folder_at(&m->folder, "model.safetensors");
    assert_ok(mica_safetensors_write_file(mica_host_default(), path, m->items, m->n, &err));
    test_folder_write_text(&m->folder, "config.json", config);
}

static void model_free(model *m) {
    for (size_t i = 0; i < m->n; i++) free((void *)(uintptr_t)m->items[i].data);
    test_folder_remove(&m->folder);
}

/* Two matrices, a vector and a matrix whose rows are no whole groups. */
static void model_make(model *m, mica_safetensors_dtype dtype, const char *config) {
    *m = (model){.seed = test_seed()};
    add_tensor(m, "lm_head.weight", dtype, (mica_shape){2, {ROWS, K}}, NULL);
    add_tensor(m, "model.layers.0.mlp.up_proj.weight", dtype, (mica_shape){2, {ROWS, K}}, NULL);
    add_tensor(m, "model.layers.0.mlp.odd.weight", dtype, (mica_shape){2, {3, 40}}, NULL);
    add_tensor(m, "model.layers.0.mlp.up_proj.bias", dtype, (mica_shape){1, {ROWS}}, NULL);
    add_tensor(m, "model.norm.weight", dtype, (mica_shape){1, {K}}, NULL);
    model_write(m, config);
}

/* ---- converting and reading ---- */

static mica_status convert(const model *m, const char *name, const mica_convert_options *o,
                           mica_convert_report *report, mica_error *err) {
    mica_convert_options none = {0};
    return mica_convert_folder(mica_host_default(), m->folder.path,
                               test_folder_at(&m->folder, name), o ? o : &none, report, err);
}

static void convert_ok(const model *m, const char *name, const mica_convert_options *o,
                       mica_convert_report *report) {
    mica_error err = {0};
    assert_ok(convert(m, name, o, report, &err));
}

/* Options for converting one folder of m into another. */
static void convert_again(const model *m, const char *from, const char *to,
                          const mica_convert_options *o) {
    mica_error err = {0};
    assert_ok(mica_convert_folder(mica_host_default(), test_folder_at(&m->folder, from),
                                  test_folder_at(&m->folder, to), o, NULL, &err));
}

static mica_checkpoint *open_folder(const model *m, const char *name) {
    mica_error err = {0};
    mica_checkpoint *c;
    assert_ok(mica_checkpoint_open(mica_host_default(), test_folder_at(&m->folder, name), NULL, &c,
                                   &err));
    return c;
}

static uint8_t *read_tensor(mica_checkpoint *c, const char *path, const char *end,
                            mica_safetensors_dtype dtype) {
    char name[256];
    mica_error err = {0};
    snprintf(name, sizeof name, "%s%s", path, end);
    const mica_checkpoint_tensor *t = mica_checkpoint_find(c, name);
    if (!t) fail_msg("%s is missing", name);
    if (t->dtype != dtype) fail_msg("%s is %s", name, mica_safetensors_dtype_name(t->dtype));
    uint8_t *data = malloc((size_t)t->bytes + 1);
    assert_ok(mica_checkpoint_read_tensor(c, t, 0, data, (size_t)t->bytes, &err));
    return data;
}

static json_t *read_config(const model *m, const char *name) {
    char path[1024];
    json_error_t error;
    snprintf(path, sizeof path, "%s/%s/config.json", m->folder.path, name);
    json_t *j = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!j) fail_msg("%s: %s", path, error.text);
    return j;
}

static void check_mode(const json_t *quantization, const char *spec_text) {
    mica_quant_spec spec;
    mica_error err = {0};
    assert_ok(mica_quant_spec_parse(mica_slice_from(spec_text), &spec, &err));
    assert_int_equal(json_integer_value(json_object_get(quantization, "bits")), spec.bits);
    assert_int_equal(json_integer_value(json_object_get(quantization, "group_size")), spec.group);
    assert_string_equal(json_string_value(json_object_get(quantization, "mode")),
                        mica_quant_mode_name(spec.mode));
}

static int kind_of(mica_safetensors_dtype dtype) {
    return dtype == MICA_SAFETENSORS_F32   ? MICA_KIND_F32
           : dtype == MICA_SAFETENSORS_F16 ? MICA_KIND_F16
                                           : MICA_KIND_BF16;
}

static mica_quant_desc describe(const char *text, mica_safetensors_dtype scales) {
    mica_quant_spec spec;
    mica_error err = {0};
    assert_ok(mica_quant_spec_parse(mica_slice_from(text), &spec, &err));
    int kind = spec.mode == MICA_QUANT_AFFINE ? kind_of(scales) : MICA_KIND_U8;
    return (mica_quant_desc){spec.mode, spec.bits, spec.group, (uint8_t)kind};
}

/* A matrix as it has to come out: codes, scales, biases, and what they decode to. */
typedef struct expected {
    uint8_t codes[ROWS * K], scales[ROWS * K], biases[ROWS * K];
    float values[ROWS * K];
    double error_max, error_squares;
} expected;

static void encode(expected *e, mica_quant_desc q, const float *in) {
    int64_t code_bytes = mica_quant_code_bytes(q, K), scale_bytes = mica_quant_scale_bytes(q, K);
    for (int64_t r = 0; r < ROWS; r++) {
        mica_quant_encode_row(q, in + r * K, K, e->codes + r * code_bytes,
                              e->scales + r * scale_bytes, e->biases + r * scale_bytes);
        mica_quant_decode_row(q, e->codes + r * code_bytes, e->scales + r * scale_bytes,
                              e->biases + r * scale_bytes, K, e->values + r * K);
    }
    e->error_max = e->error_squares = 0;
    for (size_t i = 0; i < ROWS * K; i++) {
        double error = fabs((double)(e->values[i] - in[i]));
        e->error_max = fmax(error, e->error_max);
        e->error_squares += error * error;
    }
}

static void load(float *out, const void *data, mica_safetensors_dtype dtype, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = mica_kind_load(kind_of(dtype), data, (int64_t)i);
}

static void check_quantized(mica_checkpoint *c, const char *path, const expected *e,
                            mica_quant_desc q, mica_safetensors_dtype scales) {
    size_t code_bytes = (size_t)(ROWS * mica_quant_code_bytes(q, K));
    size_t scale_bytes = (size_t)(ROWS * mica_quant_scale_bytes(q, K));
    bool is_affine = q.mode == MICA_QUANT_DESC_AFFINE;
    uint8_t *codes = read_tensor(c, path, ".weight", MICA_SAFETENSORS_U32);
    uint8_t *s = read_tensor(c, path, ".scales", is_affine ? scales : MICA_SAFETENSORS_U8);
    assert_memory_equal(codes, e->codes, code_bytes);
    assert_memory_equal(s, e->scales, scale_bytes);
    free(codes);
    free(s);
    if (!is_affine) return;
    uint8_t *biases = read_tensor(c, path, ".biases", scales);
    assert_memory_equal(biases, e->biases, scale_bytes);
    free(biases);
}

static const char *const modes[] = {"affine:2:32",  "affine:3:64", "affine:4:64",
                                    "affine:5:128", "affine:6:32", "affine:8:64",
                                    "mxfp4",        "mxfp8",       "nvfp4"};
enum { N_MODES = sizeof modes / sizeof *modes };

/* ---- tests ---- */

static void test_encode(void **state) {
    /* Every mode, from every float type: bytes as the row encoder makes them, scales of the
     * weight's type, vectors and odd matrices as they were, errors and config true. */
    (void)state;
    static const mica_safetensors_dtype dtypes[] = {MICA_SAFETENSORS_BF16, MICA_SAFETENSORS_F16,
                                                    MICA_SAFETENSORS_F32};
    static expected head, up;
    for (size_t d = 0; d < 3; d++)
        for (size_t i = 0; i < N_MODES; i++) {
            model m;
            mica_convert_report report;
            float values[ROWS * K];
            mica_convert_options o = {.quantize = modes[i], .n_threads = 1 + (int)i % 3};
            model_make(&m, dtypes[d], CONFIG);
            convert_ok(&m, "out", &o, &report);
            mica_checkpoint *c = open_folder(&m, "out");
            mica_quant_desc q = describe(modes[i], dtypes[d]);
            load(values, m.items[0].data, dtypes[d], ROWS * K);
            encode(&head, q, values);
            check_quantized(c, "lm_head", &head, q, dtypes[d]);
            load(values, m.items[1].data, dtypes[d], ROWS * K);
            encode(&up, q, values);
            check_quantized(c, "model.layers.0.mlp.up_proj", &up, q, dtypes[d]);
            for (size_t t = 2; t < m.n; t++) {
                uint8_t *data = read_tensor(c, m.items[t].name, "", dtypes[d]);
                size_t n = (size_t)mica_shape_count(&m.items[t].shape);
                assert_memory_equal(data, m.items[t].data,
                                    n * (size_t)mica_safetensors_dtype_bits(dtypes[d]) / 8);
                free(data);
            }
            assert_true(report.error_max == fmax(head.error_max, up.error_max));
            assert_int_equal(report.n_changed, 2 * ROWS * K);
            double rms = sqrt((head.error_squares + up.error_squares) / (2 * ROWS * K));
            assert_true(fabs(report.error_rms - rms) <= 1e-9 * rms);
            assert_int_equal(report.bytes_out, mica_file_bytes(mica_checkpoint_shard_file(c, 0)));
            double bits = (double)mica_checkpoint_bytes(c) * 8 / (double)report.n_parameters;
            assert_true(fabs(report.bits_per_weight - bits) < 1e-9);
            assert_int_equal(report.n_tensors, mica_checkpoint_count(c));
            assert_int_equal(report.n_parameters, 2 * ROWS * K + 120 + ROWS + K);
            json_t *config = read_config(&m, "out");
            check_mode(json_object_get(config, "quantization"), modes[i]);
            assert_true(json_equal(json_object_get(config, "quantization"),
                                   json_object_get(config, "quantization_config")));
            assert_int_equal(json_object_size(json_object_get(config, "quantization")), 3);
            json_decref(config);
            mica_checkpoint_close(&c);
            model_free(&m);
        }
}

static void test_copy(void **state) {
    /* Without options every tensor stays byte for byte, plain or quantised, and so does the
     * description; texts are taken over. */
    (void)state;
    for (size_t i = 0; i <= N_MODES; i++) {
        model m;
        mica_convert_report report;
        mica_error err = {0};
        mica_convert_options o = {.quantize = i < N_MODES ? modes[i] : NULL}, none = {0};
        model_make(&m, MICA_SAFETENSORS_BF16, CONFIG);
        test_folder_write_text(&m.folder, "tokenizer.json", "{\"any\": \"text\"}\n");
        test_folder_write_text(&m.folder, "README.md", "not wanted");
        convert_ok(&m, "a", &o, NULL);
        assert_ok(mica_convert_folder(mica_host_default(), test_folder_at(&m.folder, "a"),
                                      test_folder_at(&m.folder, "b"), &none, &report, &err));
        assert_int_equal(report.n_changed, 0);
        assert_true(report.error_max == 0 && report.bytes_in == report.bytes_out);
        assert_int_equal(report.n_rounded, 0);
        static const char *const files[] = {"model.safetensors", "config.json", "tokenizer.json"};
        for (size_t f = 0; f < 3; f++) {
            size_t a_bytes, b_bytes;
            char a[64], b[64];
            snprintf(a, sizeof a, "a/%s", files[f]);
            snprintf(b, sizeof b, "b/%s", files[f]);
            char *x = test_file_read(test_folder_at(&m.folder, a), &a_bytes);
            char *y = test_file_read(test_folder_at(&m.folder, b), &b_bytes);
            assert_int_equal(a_bytes, b_bytes);
            assert_memory_equal(x, y, a_bytes);
            free(x);
            free(y);
        }
        assert_int_not_equal(access(test_folder_at(&m.folder, "a/README.md"), F_OK), 0);
        model_free(&m);
    }
}

static void test_decode(void **state) {
    /* A dtype alone makes quantised matrices plain: the values that the row decoder gives. */
    (void)state;
    static expected e;
    for (size_t i = 0; i < N_MODES; i++) {
        model m;
        float values[ROWS * K];
        mica_convert_options quantize = {.quantize = modes[i]}, plain = {.dtype = "f32"};
        model_make(&m, MICA_SAFETENSORS_BF16, CONFIG);
        convert_ok(&m, "q", &quantize, NULL);
        convert_again(&m, "q", "f", &plain);
        load(values, m.items[0].data, MICA_SAFETENSORS_BF16, ROWS * K);
        encode(&e, describe(modes[i], MICA_SAFETENSORS_BF16), values);
        mica_checkpoint *c = open_folder(&m, "f");
        uint8_t *data = read_tensor(c, "lm_head", ".weight", MICA_SAFETENSORS_F32);
        assert_memory_equal(data, e.values, sizeof e.values);
        free(data);
        assert_int_equal(mica_checkpoint_count(c), m.n);
        json_t *config = read_config(&m, "f");
        assert_null(json_object_get(config, "quantization"));
        assert_null(json_object_get(config, "quantization_config"));
        assert_string_equal(json_string_value(json_object_get(config, "torch_dtype")), "float32");
        json_decref(config);
        mica_checkpoint_close(&c);
        model_free(&m);
    }
}

static void test_encode_again(void **state) {
    /* Another mode is encoded from what the first one decodes to; the same mode keeps its bytes. */
    (void)state;
    static expected first, second;
    model m;
    float values[ROWS * K];
    mica_convert_options o = {.quantize = "affine:8:32"}, next = {.quantize = "affine:3:64"};
    mica_convert_options same = {.quantize = "affine:8:32", .dtype = "f16"};
    model_make(&m, MICA_SAFETENSORS_F32, CONFIG);
    convert_ok(&m, "a", &o, NULL);
    convert_again(&m, "a", "b", &next);
    convert_again(&m, "a", "c", &same);
    mica_quant_desc q = describe("affine:8:32", MICA_SAFETENSORS_F32);
    mica_quant_desc p = describe("affine:3:64", MICA_SAFETENSORS_F32);
    load(values, m.items[0].data, MICA_SAFETENSORS_F32, ROWS * K);
    encode(&first, q, values);
    encode(&second, p, first.values);
    mica_checkpoint *b = open_folder(&m, "b"), *c = open_folder(&m, "c");
    check_quantized(b, "lm_head", &second, p, MICA_SAFETENSORS_F32);
    check_quantized(c, "lm_head", &first, q, MICA_SAFETENSORS_F32);
    free(read_tensor(c, "model.norm", ".weight", MICA_SAFETENSORS_F16));
    mica_checkpoint_close(&b);
    mica_checkpoint_close(&c);
    model_free(&m);
}

static void test_dtype(void **state) {
    /* Floats are rounded to the nearest of the new type; quantising rounds to it first. */
    (void)state;
    static expected e;
    model m;
    float values[ROWS * K];
    mica_convert_report report;
    mica_convert_options bf16 = {.dtype = "bf16"};
    mica_convert_options both = {.dtype = "f16", .quantize = "affine:4:64"};
    model_make(&m, MICA_SAFETENSORS_F32, CONFIG);
    convert_ok(&m, "a", &bf16, &report);
    convert_ok(&m, "b", &both, NULL);
    mica_checkpoint *a = open_folder(&m, "a"), *b = open_folder(&m, "b");
    double error = 0;
    for (size_t t = 0; t < m.n; t++) {
        uint8_t *data = read_tensor(a, m.items[t].name, "", MICA_SAFETENSORS_BF16);
        for (int64_t i = 0; i < mica_shape_count(&m.items[t].shape); i++) {
            float was = mica_kind_load(MICA_KIND_F32, m.items[t].data, i);
            assert_int_equal(mica_load_u16(data + 2 * i), mica_bf16_from_f32(was));
            float is = mica_kind_load(MICA_KIND_BF16, data, i);
            error = fmax(error, fabs((double)(is - was)));
        }
        free(data);
    }
    assert_true(report.error_max == error);
    load(values, m.items[0].data, MICA_SAFETENSORS_F32, ROWS * K);
    for (size_t i = 0; i < ROWS * K; i++)
        values[i] = mica_f32_from_f16(mica_f16_from_f32(values[i]));
    mica_quant_desc q = describe("affine:4:64", MICA_SAFETENSORS_F16);
    encode(&e, q, values);
    check_quantized(b, "lm_head", &e, q, MICA_SAFETENSORS_F16);
    json_t *config = read_config(&m, "b");
    assert_string_equal(json_string_value(json_object_get(config, "torch_dtype")), "float16");
    json_decref(config);
    mica_checkpoint_close(&a);
    mica_checkpoint_close(&b);
    model_free(&m);
}

static void test_config_text(void **state) {
    /* Keys keep their order, numbers their spelling, strings their text. */
    (void)state;
    model m;
    size_t bytes;
    model_make(&m, MICA_SAFETENSORS_BF16,
               CONFIG_OF("llama", ", \"quantization_config\": null, \"big\": 1e400, \"z\": -0.0"));
    convert_ok(&m, "out", NULL, NULL);
    char *text = test_file_read(test_folder_at(&m.folder, "out/config.json"), &bytes);
    static const char wanted[] = "{\n"
                                 "    \"model_type\": \"llama\",\n"
                                 "    \"hidden_size\": 64,\n"
                                 "    \"num_hidden_layers\": 2,\n"
                                 "    \"num_attention_heads\": 2,\n"
                                 "    \"vocab_size\": 16,\n"
                                 "    \"intermediate_size\": 6,\n"
                                 "    \"torch_dtype\": \"bfloat16\",\n"
                                 "    \"x\": [\n"
                                 "        1.50,\n"
                                 "        {},\n"
                                 "        [],\n"
                                 "        {\n"
                                 "            \"a\": \"\xC3\xA9\\n\"\n"
                                 "        }\n"
                                 "    ],\n"
                                 "    \"big\": 1e400,\n"
                                 "    \"z\": -0.0\n"
                                 "}\n";
    assert_string_equal(text, wanted);
    free(text);
    model_free(&m);
}

static void test_mixed_config(void **state) {
    /* Modules that differ from the rest stand in the config by path; converting again keeps them.
     */
    (void)state;
    model m;
    const char *overrides[] = {"lm_head=mxfp8"};
    mica_convert_options o = {.quantize = "affine:4:64", .overrides = overrides, .n_overrides = 1};
    mica_convert_options none = {0};
    model_make(&m, MICA_SAFETENSORS_BF16, CONFIG);
    convert_ok(&m, "a", &o, NULL);
    convert_again(&m, "a", "b", &none);
    for (int i = 0; i < 2; i++) {
        json_t *config = read_config(&m, i == 0 ? "a" : "b");
        json_t *quantization = json_object_get(config, "quantization");
        check_mode(quantization, "affine:4:64");
        check_mode(json_object_get(quantization, "lm_head"), "mxfp8");
        assert_int_equal(json_object_size(quantization), 4);
        json_decref(config);
    }
    model_free(&m);
}

/* ---- gpt_oss ---- */

static void test_experts_stay(void **state) {
    /* HF blocks of gpt_oss become MLX's mxfp4 and stay so beside affine; the router gets 8 bits. */
    (void)state;
    enum { E = 2, N = 4 };
    model m = {.seed = test_seed()};
    uint8_t blocks[E * 2 * N * 4 * 16], scales[E * 2 * N * 4];
    static const char path[] = "model.layers.0.mlp.experts.up_proj";
    mica_convert_options o = {.quantize = "affine:4:64"};
    for (size_t i = 0; i < sizeof blocks; i++) blocks[i] = (uint8_t)test_random(&m.seed);
    for (size_t i = 0; i < sizeof scales; i++) scales[i] = (uint8_t)(100 + i % 50);
    add_tensor(&m, "model.layers.0.mlp.experts.gate_up_proj_blocks", MICA_SAFETENSORS_U8,
               (mica_shape){4, {E, 2 * N, 4, 16}}, blocks);
    add_tensor(&m, "model.layers.0.mlp.experts.gate_up_proj_scales", MICA_SAFETENSORS_U8,
               (mica_shape){3, {E, 2 * N, 4}}, scales);
    add_tensor(&m, "model.layers.0.mlp.router.weight", MICA_SAFETENSORS_BF16,
               (mica_shape){2, {E, K}}, NULL);
    add_tensor(&m, "model.layers.0.self_attn.q_proj.weight", MICA_SAFETENSORS_BF16,
               (mica_shape){2, {N, K}}, NULL);
    model_write(&m, CONFIG_OF("gpt_oss", ", \"quantization_config\": {\"quant_method\": "
                                         "\"mxfp4\", \"modules_to_not_convert\": []}"));
    convert_ok(&m, "out", &o, NULL);
    mica_checkpoint *c = open_folder(&m, "out");
    uint8_t *codes = read_tensor(c, path, ".weight", MICA_SAFETENSORS_U32);
    uint8_t *up_scales = read_tensor(c, path, ".scales", MICA_SAFETENSORS_U8);
    for (size_t r = 0; r < E * N; r++) {
        assert_memory_equal(codes + r * 64, blocks + (2 * r + 1) * 64, 64);
        assert_memory_equal(up_scales + r * 4, scales + (2 * r + 1) * 4, 4);
    }
    free(codes);
    free(up_scales);
    json_t *config = read_config(&m, "out");
    json_t *quantization = json_object_get(config, "quantization");
    check_mode(quantization, "affine:4:64");
    check_mode(json_object_get(quantization, path), "mxfp4");
    check_mode(json_object_get(quantization, "model.layers.0.mlp.router"), "affine:8:64");
    json_decref(config);
    mica_checkpoint_close(&c);
    ((uint8_t *)(uintptr_t)m.items[1].data)[7] = 255;
    test_folder_remove(&m.folder);
    model_write(&m, CONFIG_OF("gpt_oss", ", \"quantization_config\": {\"quant_method\": "
                                         "\"mxfp4\"}"));
    static const char *const dtypes[] = {NULL, "bf16"};
    for (int i = 0; i < 2; i++) {
        mica_error err = {0};
        mica_convert_options with_dtype = {.dtype = dtypes[i]};
        assert_int_equal(convert(&m, "out", &with_dtype, NULL, &err), MICA_STATUS_FORMAT);
        assert_non_null(strstr(err.message, "is 255"));
    }
    model_free(&m);
}

/* ---- imports ---- */

static void test_factor(void **state) {
    /* nvfp4 with a factor (ModelOpt), which MLX's layers have not: plain, product by product; or
     * encoded anew. A scale that is NaN is refused. */
    (void)state;
    model m = {.seed = test_seed()};
    static const char config[] = CONFIG_OF(
        "llama", ", \"quantization_config\": {\"quant_method\": \"modelopt\", \"quant_algo\": "
                 "\"NVFP4\"}");
    uint8_t codes[ROWS * K / 2], scales[ROWS * K / 16];
    float factor = 0.0123f, values[ROWS * K];
    static expected again;
    mica_convert_options none = {0}, o = {.quantize = "affine:8:32", .dtype = "f32"};
    for (size_t i = 0; i < sizeof codes; i++) codes[i] = (uint8_t)test_random(&m.seed);
    for (size_t i = 0; i < sizeof scales; i++) scales[i] = (uint8_t)(i * 5 % 0x7F);
    add_tensor(&m, "lm_head.weight", MICA_SAFETENSORS_U8, (mica_shape){2, {ROWS, K / 2}}, codes);
    add_tensor(&m, "lm_head.weight_scale", MICA_SAFETENSORS_F8_E4M3,
               (mica_shape){2, {ROWS, K / 16}}, scales);
    add_tensor(&m, "lm_head.weight_scale_2", MICA_SAFETENSORS_F32, (mica_shape){0}, &factor);
    model_write(&m, config);
    for (int64_t r = 0; r < ROWS; r++) {
        mica_quant_decode_row(describe("nvfp4", MICA_SAFETENSORS_F32), codes + r * K / 2,
                              scales + r * K / 16, NULL, K, values + r * K);
        for (int64_t i = 0; i < K; i++) values[r * K + i] *= factor;
    }
    convert_ok(&m, "plain", &none, NULL);
    convert_ok(&m, "again", &o, NULL);
    mica_checkpoint *plain = open_folder(&m, "plain"), *c = open_folder(&m, "again");
    uint8_t *data = read_tensor(plain, "lm_head", ".weight", MICA_SAFETENSORS_F32);
    for (size_t i = 0; i < ROWS * K; i++) /* the factor may go to the scale first */
        assert_true(fabsf(mica_load_f32(data + 4 * i) - values[i]) <= 0x1p-22f * fabsf(values[i]));
    load(values, data, MICA_SAFETENSORS_F32, ROWS * K);
    free(data);
    encode(&again, describe("affine:8:32", MICA_SAFETENSORS_F32), values);
    check_quantized(c, "lm_head", &again, describe("affine:8:32", MICA_SAFETENSORS_F32),
                    MICA_SAFETENSORS_F32);
    assert_int_equal(mica_checkpoint_count(plain), 1);
    mica_checkpoint_close(&plain);
    mica_checkpoint_close(&c);
    ((uint8_t *)(uintptr_t)m.items[1].data)[9] = 0x7F;
    test_folder_remove(&m.folder);
    model_write(&m, config);
    mica_error err = {0};
    assert_int_equal(convert(&m, "out", &none, NULL, &err), MICA_STATUS_FORMAT);
    model_free(&m);
}

static void test_defaults_of_config(void **state) {
    /* A config that says a mode without its numbers means MLX's own. */
    (void)state;
    model m;
    mica_convert_options o = {.quantize = "affine:4:64"}, none = {0};
    model_make(&m, MICA_SAFETENSORS_BF16, CONFIG);
    convert_ok(&m, "a", &o, NULL);
    test_folder_write_text(&m.folder, "a/config.json",
                           CONFIG_OF("llama", ", \"quantization\": {\"mode\": \"affine\"}"));
    convert_again(&m, "a", "b", &none);
    json_t *config = read_config(&m, "b");
    check_mode(json_object_get(config, "quantization"), "affine:4:64");
    json_decref(config);
    model_free(&m);
}

/* ---- files ---- */

static void test_shards(void **state) {
    /* Many small files with an index, a module never divided; together what one file holds. */
    (void)state;
    model m;
    mica_convert_report report;
    mica_convert_options one = {.quantize = "mxfp4"}, many = one;
    many.shard_bytes_max = 450;
    model_make(&m, MICA_SAFETENSORS_BF16, CONFIG);
    convert_ok(&m, "one", &one, NULL);
    convert_ok(&m, "many", &many, &report);
    assert_int_equal(report.n_shards, 4);
    mica_checkpoint *a = open_folder(&m, "one"), *b = open_folder(&m, "many");
    assert_int_equal(mica_checkpoint_shard_count(b), 4);
    assert_string_equal(mica_checkpoint_shard_name(b, 1), "model-00002-of-00004.safetensors");
    assert_int_equal(mica_checkpoint_count(a), mica_checkpoint_count(b));
    for (size_t i = 0; i < mica_checkpoint_count(a); i++) {
        const mica_checkpoint_tensor *x = mica_checkpoint_at(a, i), *y = mica_checkpoint_at(b, i);
        assert_string_equal(x->name, y->name);
        uint8_t *p = read_tensor(a, x->name, "", x->dtype);
        uint8_t *q = read_tensor(b, y->name, "", x->dtype);
        assert_memory_equal(p, q, (size_t)x->bytes);
        free(p);
        free(q);
    }
    assert_int_equal(mica_checkpoint_find(b, "lm_head.weight")->shard,
                     mica_checkpoint_find(b, "lm_head.scales")->shard);
    mica_slice format;
    assert_true(mica_safetensors_metadata_find(mica_checkpoint_shard(b, 0), "format", &format));
    assert_true(mica_slice_is(format, "mlx"));
    mica_checkpoint_close(&a);
    mica_checkpoint_close(&b);
    model_free(&m);
}

static size_t count_entries(const char *path) {
    char *names = NULL;
    size_t count = 0;
    mica_error err = {0};
    assert_ok(mica_path_list(mica_host_default(), path, &names, &count, &err));
    mica_free(mica_allocator_default(), names);
    return count;
}

static void expect_refusal(model *m, const mica_convert_options *o, mica_status status,
                           const char *text) {
    mica_error err = {0};
    mica_convert_report report = {.n_tensors = 7};
    size_t before = count_entries(m->folder.path);
    mica_status st = convert(m, "out", o, &report, &err);
    if (st != status || !strstr(err.message, text))
        fail_msg("%s: %s; wanted %s: %s", mica_status_name(st), err.message,
                 mica_status_name(status), text);
    assert_int_equal(report.n_tensors, 0);
    assert_int_equal(count_entries(m->folder.path), before);
}

static void test_values_refused(void **state) {
    /* Values that cannot be stored are refused by tensor and row; casts keep NaN and infinity. */
    (void)state;
    model m = {.seed = test_seed()};
    float values[ROWS * K] = {0};
    mica_convert_options quantize = {.quantize = "affine:4:64"}, mx = {.quantize = "mxfp8"};
    mica_convert_options f16 = {.dtype = "f16"}, bf16 = {.dtype = "bf16"};
    values[3 * K + 2] = NAN;
    values[4 * K + 1] = -INFINITY;
    add_tensor(&m, "a.weight", MICA_SAFETENSORS_F32, (mica_shape){2, {ROWS, K}}, values);
    model_write(&m, CONFIG);
    expect_refusal(&m, &quantize, MICA_STATUS_FORMAT, "a: row 3 holds a value that is not finite");
    expect_refusal(&m, &mx, MICA_STATUS_FORMAT, "a: row 3 holds a value that is not finite");
    convert_ok(&m, "cast", &bf16, NULL);
    mica_checkpoint *c = open_folder(&m, "cast");
    uint8_t *data = read_tensor(c, "a", ".weight", MICA_SAFETENSORS_BF16);
    assert_true(isnan(mica_kind_load(MICA_KIND_BF16, data, 3 * K + 2)));
    assert_true(mica_kind_load(MICA_KIND_BF16, data, 4 * K + 1) == -INFINITY);
    free(data);
    mica_checkpoint_close(&c);
    model_free(&m);
    m = (model){0};
    memset(values, 0, sizeof values);
    values[2 * K] = 65520.0f;
    add_tensor(&m, "a.weight", MICA_SAFETENSORS_F32, (mica_shape){2, {ROWS, K}}, values);
    model_write(&m, CONFIG);
    expect_refusal(&m, &f16, MICA_STATUS_FORMAT, "a: row 2 holds a value that is too large");
    f16.quantize = "affine:4:64";
    expect_refusal(&m, &f16, MICA_STATUS_FORMAT, "a: row 2 holds a value that is too large");
    model_free(&m);
}

static void test_parts_refused(void **state) {
    /* Quantised tensors that contradict each other or the config are named, with both shapes. */
    (void)state;
#define AFFINE ", \"quantization\": {\"group_size\": 64, \"bits\": 4}"
    static const struct {
        const char *config, *text;
        mica_safetensors_item items[3];
        mica_status status;
    } cases[] = {
        {CONFIG_OF("llama", AFFINE),
         "a.biases is missing",
         {{"a.weight", MICA_SAFETENSORS_U32, {2, {2, 8}}, 0},
          {"a.scales", MICA_SAFETENSORS_F16, {2, {2, 1}}, 0}},
         MICA_STATUS_NOT_FOUND},
        {CONFIG_OF("llama", AFFINE),
         "a.biases: F16 [2, 2] does not go with F16 [2, 1] of a.scales",
         {{"a.weight", MICA_SAFETENSORS_U32, {2, {2, 8}}, 0},
          {"a.scales", MICA_SAFETENSORS_F16, {2, {2, 1}}, 0},
          {"a.biases", MICA_SAFETENSORS_F16, {2, {2, 2}}, 0}},
         MICA_STATUS_FORMAT},
        {CONFIG_OF("llama", AFFINE),
         "a.scales: F16 [2, 1] does not go with U32 [2, 16] of a.weight",
         {{"a.weight", MICA_SAFETENSORS_U32, {2, {2, 16}}, 0},
          {"a.scales", MICA_SAFETENSORS_F16, {2, {2, 1}}, 0},
          {"a.biases", MICA_SAFETENSORS_F16, {2, {2, 1}}, 0}},
         MICA_STATUS_FORMAT},
        {CONFIG_OF("llama", AFFINE),
         "a.scales: F16 [3, 1] does not go with U32 [2, 8] of a.weight",
         {{"a.weight", MICA_SAFETENSORS_U32, {2, {2, 8}}, 0},
          {"a.scales", MICA_SAFETENSORS_F16, {2, {3, 1}}, 0},
          {"a.biases", MICA_SAFETENSORS_F16, {2, {3, 1}}, 0}},
         MICA_STATUS_FORMAT},
        {CONFIG_OF("llama", AFFINE),
         "those of mxfp4, the config says affine:4:64",
         {{"a.weight", MICA_SAFETENSORS_U32, {2, {2, 8}}, 0},
          {"a.scales", MICA_SAFETENSORS_U8, {2, {2, 2}}, 0}},
         MICA_STATUS_FORMAT},
        {CONFIG_OF("llama", ""),
         "the config says none",
         {{"a.weight", MICA_SAFETENSORS_U32, {2, {2, 8}}, 0},
          {"a.scales", MICA_SAFETENSORS_F16, {2, {2, 1}}, 0},
          {"a.biases", MICA_SAFETENSORS_F16, {2, {2, 1}}, 0}},
         MICA_STATUS_FORMAT},
        {CONFIG_OF("llama", AFFINE),
         "does not go with",
         {{"a.weight", MICA_SAFETENSORS_F16, {2, {2, 8}}, 0},
          {"a.scales", MICA_SAFETENSORS_F16, {2, {2, 1}}, 0}},
         MICA_STATUS_FORMAT},
        {CONFIG_OF("llama", AFFINE),
         "does not go with",
         {{"a.weight", MICA_SAFETENSORS_U32, {2, {2, 9}}, 0},
          {"a.scales", MICA_SAFETENSORS_U8, {2, {2, 2}}, 0}},
         MICA_STATUS_FORMAT},
        {CONFIG_OF("llama", AFFINE),
         "a.scales: there is no a.weight",
         {{"a.scales", MICA_SAFETENSORS_U8, {2, {2, 2}}, 0}},
         MICA_STATUS_FORMAT},
        {CONFIG_OF("llama", AFFINE),
         "a.biases: there is no a.scales",
         {{"a.weight", MICA_SAFETENSORS_F16, {2, {2, 8}}, 0},
          {"a.biases", MICA_SAFETENSORS_F16, {2, {2, 1}}, 0}},
         MICA_STATUS_FORMAT},
    };
    static const uint8_t zeros[512];
    mica_convert_options o = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model m = {0};
        for (size_t t = 0; t < 3 && cases[i].items[t].name; t++)
            add_tensor(&m, cases[i].items[t].name, cases[i].items[t].dtype, cases[i].items[t].shape,
                       zeros);
        model_write(&m, cases[i].config);
        expect_refusal(&m, &o, cases[i].status, cases[i].text);
        model_free(&m);
    }
}

static void test_occupied(void **state) {
    /* A folder with something in it is refused and stays as it is. */
    (void)state;
    model m;
    mica_error err = {0};
    model_make(&m, MICA_SAFETENSORS_BF16, CONFIG);
    convert_ok(&m, "out", NULL, NULL);
    assert_int_equal(convert(&m, "out", NULL, NULL, &err), MICA_STATUS_INVALID);
    assert_non_null(strstr(err.message, "is not empty"));
    assert_int_equal(count_entries(test_folder_at(&m.folder, "out")), 2);
    model_free(&m);
}

typedef struct watch {
    int64_t calls, stop_at;
    uint64_t done;
} watch;

static bool take_progress(void *context, const char *stage, uint64_t done, uint64_t total) {
    watch *w = context;
    assert_string_equal(stage, "convert");
    assert_true(done > w->done && done <= total);
    w->done = done;
    return ++w->calls != w->stop_at;
}

static void test_cancel(void **state) {
    /* Progress goes up to the end; stopping at any call leaves nothing. */
    (void)state;
    model m;
    mica_error err = {0};
    mica_convert_report report;
    model_make(&m, MICA_SAFETENSORS_BF16, CONFIG);
    for (int64_t stop_at = 1;; stop_at++) {
        watch w = {.stop_at = stop_at};
        mica_convert_options o = {
            .quantize = "affine:4:64", .progress = take_progress, .progress_context = &w};
        mica_status st = convert(&m, "out", &o, &report, &err);
        bool is_whole = mica_path_kind_of(test_folder_at(&m.folder, "out")) != MICA_PATH_NONE;
        assert_int_equal(count_entries(m.folder.path), is_whole ? 3 : 2);
        assert_int_equal(st, is_whole ? MICA_STATUS_OK : MICA_STATUS_CANCELLED);
        if (!is_whole) continue;
        assert_true(w.done > 0 && w.done < report.bytes_out); /* without the header */
        assert_true(stop_at > 5);
        break;
    }
    model_free(&m);
}

typedef struct fault {
    int64_t calls, fail_at;
    mica_io_call kind; /* of disk_full: only these count */
} fault;

static int fail_call(void *context, mica_io_call call, size_t *bytes) {
    fault *f = context;
    (void)call, (void)bytes;
    return ++f->calls == f->fail_at ? EIO : 0;
}

static int fill_disk(void *context, mica_io_call call, size_t *bytes) {
    fault *f = context;
    (void)bytes;
    if (call != MICA_IO_WRITE) return 0;
    return ++f->calls >= f->fail_at ? ENOSPC : 0;
}

static void try_faults(int (*before)(void *, mica_io_call, size_t *)) {
    model m;
    model_make(&m, MICA_SAFETENSORS_BF16, CONFIG);
    mica_convert_options o = {.quantize = "affine:4:64", .n_threads = 2, .shard_bytes_max = 900};
    for (int64_t fail_at = 1;; fail_at++) {
        fault context = {.fail_at = fail_at};
        mica_io_hook hook = {&context, before};
        mica_alloc_counter counter;
        mica_error err = {0};
        mica_alloc_counter_init(&counter, mica_allocator_default());
        mica_host host = {.allocator = &counter.allocator, .io = &hook};
        test_folder made;
        snprintf(made.path, sizeof made.path, "%.200s/out", m.folder.path);
        const char *out = made.path;
        mica_status st = mica_convert_folder(&host, m.folder.path, out, &o, NULL, &err);
        assert_int_equal(counter.n_live, 0);
        if (st != MICA_STATUS_OK) {
            assert_int_equal(st, MICA_STATUS_IO);
            /* Only the last call, which makes the name last, comes after the folder is there. */
            bool is_there = mica_path_kind_of(out) == MICA_PATH_FOLDER;
            assert_int_equal(count_entries(m.folder.path), is_there ? 3 : 2);
            if (is_there) assert_int_equal(count_entries(out), 4);
        }
        if (mica_path_kind_of(out) != MICA_PATH_NONE) test_folder_remove(&made);
        if (context.calls < fail_at) {
            assert_int_equal(st, MICA_STATUS_OK);
            break;
        }
        assert_true(fail_at < 2000);
    }
    model_free(&m);
}

static void test_io_errors(void **state) {
    /* Whichever system call fails: an error, no leak, and no half folder. */
    (void)state;
    try_faults(fail_call);
}

static void test_disk_full(void **state) {
    /* A disk that is full from any write on leaves nothing. */
    (void)state;
    try_faults(fill_disk);
}

static void test_out_of_memory(void **state) {
    /* Whichever allocation fails: OUT_OF_MEMORY, no leak, nothing left on disk. */
    (void)state;
    model m;
    mica_convert_options o = {.quantize = "mxfp4", .n_threads = 2, .shard_bytes_max = 900};
    model_make(&m, MICA_SAFETENSORS_F32, CONFIG);
    test_folder_write_text(&m.folder, "tokenizer.json", "{}");
    for (int64_t fail_at = 1;; fail_at++) {
        mica_error err = {0};
        mica_alloc_counter counter;
        mica_alloc_counter_init(&counter, mica_allocator_default());
        counter.fail_at = fail_at;
        mica_host host = {.allocator = &counter.allocator};
        mica_status st = mica_convert_folder(&host, m.folder.path, test_folder_at(&m.folder, "out"),
                                             &o, NULL, &err);
        assert_int_equal(counter.n_live, 0);
        if (counter.n_calls < fail_at) {
            assert_int_equal(st, MICA_STATUS_OK);
            break;
        }
        /* What is only for messages may be left out. */
        assert_true(st == MICA_STATUS_OUT_OF_MEMORY || st == MICA_STATUS_OK);
        if (st == MICA_STATUS_OK) {
            test_folder made = {{0}};
            snprintf(made.path, sizeof made.path, "%s", test_folder_at(&m.folder, "out"));
            test_folder_remove(&made);
        }
        assert_int_equal(count_entries(m.folder.path), 3);
        assert_true(fail_at < 5000);
    }
    model_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_encode_again),
        cmocka_unit_test(test_dtype),
        cmocka_unit_test(test_config_text),
        cmocka_unit_test(test_mixed_config),
        cmocka_unit_test(test_experts_stay),
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_factor),
        cmocka_unit_test(test_defaults_of_config),
        cmocka_unit_test(test_values_refused),
        cmocka_unit_test(test_parts_refused),
        cmocka_unit_test(test_occupied),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_io_errors),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
