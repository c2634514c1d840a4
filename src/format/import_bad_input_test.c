/* Checkpoints of other programs that contradict their config or themselves: each is refused with
 * the name of the field or tensor and what was expected. A case is a good checkpoint with one
 * change. */
#include "format/import.h"
#include "format/safetensors_writer.h"
#include "test.h"
#include "test_folder.h"

#define ITEMS_MAX 8
#define CONFIG                                                                                     \
    "{\"model_type\":\"x\",\"hidden_size\":64,\"num_hidden_layers\":1,\"num_attention_heads\":4,"  \
    "\"vocab_size\":100,\"quantization_config\":{%s}}"

/* A line is "name dtype dims fill"; fill is a byte, "/16" (I32: index / 16) or "[16,64]" (I64). */
typedef struct base_case {
    const char *quant;
    const char *lines[ITEMS_MAX];
} base_case;

/* All are [16, 64], with groups of 32 where there is a choice. */
static const base_case awq = {
    "\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32,"
    "\"zero_point\":true,\"version\":\"gemm\"",
    {"p.qweight I32 64x2 0x53", "p.qzeros I32 2x2 0x70", "p.scales F16 2x16 0x30"}};
static const base_case gptq = {
    "\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32,\"sym\":true,\"desc_act\":false",
    {"p.qweight I32 8x16 0x53", "p.qzeros I32 2x2 0x77", "p.scales F16 2x16 0x30",
     "p.g_idx I32 64 /32"}};
#define PACK_WEIGHTS                                                                               \
    "\"num_bits\":4,\"type\":\"int\",\"symmetric\":false,\"strategy\":\"group\",\"group_size\":32"
#define GROUPS(weights) "\"config_groups\":{\"group_0\":{\"weights\":{" weights "}}}"
#define PACK "\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\","
static const base_case pack = {PACK GROUPS(PACK_WEIGHTS),
                               {"p.weight_packed I32 16x8 0x53", "p.weight_scale BF16 16x2 0x30",
                                "p.weight_shape I64 2 [16,64]",
                                "p.weight_zero_point I32 2x2 0x70"}};
#define NVFP4 "\"quant_method\":\"compressed-tensors\",\"format\":\"nvfp4-pack-quantized\","
#define FLOAT_WEIGHTS "\"num_bits\":4,\"type\":\"float\",\"symmetric\":true,\"group_size\":16"
static const base_case nvfp4 = {NVFP4 GROUPS(FLOAT_WEIGHTS),
                                {"p.weight_packed U8 16x32 0x53",
                                 "p.weight_scale F8_E4M3 16x4 0x30",
                                 "p.weight_global_scale F32 1 0x44"}};
#define MXFP4 "\"quant_method\":\"compressed-tensors\",\"format\":\"mxfp4-pack-quantized\","
static const base_case mxfp4 = {MXFP4 GROUPS("\"num_bits\":4,\"type\":\"float\",\"group_size\":32"),
                                {"p.weight_packed U8 16x32 0x53", "p.weight_scale U8 16x2 0x70"}};
static const base_case modelopt = {
    "\"quant_method\":\"modelopt\",\"quant_algo\":\"NVFP4\"",
    {"p.weight U8 16x32 0x53", "p.weight_scale F8_E4M3 16x4 0x30", "p.weight_scale_2 F32  0x33"}};
static const base_case fp8 = {
    "\"quant_method\":\"fp8\",\"fmt\":\"e4m3\",\"weight_block_size\":[8,32]",
    {"p.weight F8_E4M3 16x64 0x53", "p.weight_scale_inv F32 2x2 0x33"}};

/* quant: NULL for that of the base, or from "+" on in addition to it. change: a line in place of
 * that of its name, or one more; "-name" takes one away. */
typedef struct bad_case {
    const base_case *base;
    const char *quant;
    const char *change;
    mica_status status;
    const char *message;
} bad_case;

#define FORMAT MICA_STATUS_FORMAT
#define MISSING MICA_STATUS_NOT_FOUND
#define UNSUPPORTED MICA_STATUS_UNSUPPORTED
static const bad_case bad_awq[] = {
    {&awq, "\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32,\"zero_point\":true", NULL,
     FORMAT, "version is missing, expected gemm"},
    {&awq, "\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32,\"version\":\"gemv\"", NULL,
     UNSUPPORTED, "version is gemv, expected gemm"},
    {&awq, "\"quant_method\":\"awq\",\"bits\":8,\"group_size\":32,\"version\":\"gemm\"", NULL,
     UNSUPPORTED, "bits is 8, expected 4"},
    {&awq, "\"quant_method\":\"awq\",\"group_size\":32,\"version\":\"gemm\"", NULL, FORMAT,
     "bits is missing"},
    {&awq, "\"quant_method\":\"awq\",\"bits\":4,\"version\":\"gemm\"", NULL, FORMAT,
     "group_size is missing"},
    {&awq, "\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32,\"version\":\"gemm\"", NULL,
     FORMAT, "zero_point is missing"},
    {&awq,
     "\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32,\"version\":\"gemm\","
     "\"zero_point\":false",
     NULL, FORMAT, "p.qzeros: there are zero points"},
    {&awq,
     "\"quant_method\":\"awq\",\"bits\":4,\"group_size\":64,\"version\":\"gemm\","
     "\"zero_point\":true",
     NULL, FORMAT,
     "p.scales: shape [2, 16], expected [1, 16] by p.qweight [64, 2] and group size 64"},
    {&awq, NULL, "-p.qzeros", MISSING, "p.qzeros: the tensor is missing, but there is p.qweight"},
    {&awq, NULL, "-p.scales", MISSING, "p.scales: the tensor is missing"},
    {&awq, NULL, "-p.qweight", FORMAT, "there is no p.qweight that it belongs to"},
    {&awq, NULL, "p.scales U8 2x16 0", FORMAT, "p.scales: dtype U8, expected F16 or another float"},
    {&awq, NULL, "p.qweight U32 64x2 0", FORMAT, "p.qweight: dtype U32, expected I32"},
    {&awq, NULL, "p.qweight I32 64x1x2 0", FORMAT,
     "p.qweight: shape [64, 1, 2], expected a matrix"},
    {&awq, NULL, "p.qweight I32 0x2 0", FORMAT, "p.qweight: shape [0, 2], expected a matrix"},
    {&awq, NULL, "p.qweight I32 64x3 0", FORMAT, "p.scales: shape [2, 16], expected [2, 24]"},
    {&awq, NULL, "p.qweight I32 60x2 0", UNSUPPORTED,
     "rows of 60 columns, expected a multiple of 8"},
    {&awq, NULL, "p.qzeros I32 2x3 0", FORMAT, "p.qzeros: shape [2, 3], expected [2, 2]"},
    {&awq, NULL, "p.scales F16 2x16 0x7C", FORMAT, "a scale of "},
    {&awq, NULL, "p.weight F16 16x64 0", FORMAT, "p.weight: two tensors have this name"},
    {&awq, "+\"modules_to_not_convert\":[\"q\",\"p\"]", NULL, FORMAT,
     "p.qweight: the tensor is packed, but config.json lists p as not quantised"},
};

static const bad_case bad_gptq[] = {
    {&gptq, "\"quant_method\":\"gptq\",\"bits\":8,\"group_size\":32,\"sym\":true", NULL,
     UNSUPPORTED, "bits is 8, expected 4"},
    {&gptq, "\"quant_method\":\"gptq\",\"bits\":4,\"sym\":true", NULL, FORMAT,
     "group_size is missing"},
    {&gptq, "\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32", NULL, FORMAT,
     "sym is missing"},
    {&gptq, "+\"checkpoint_format\":\"marlin\"", NULL, UNSUPPORTED,
     "checkpoint_format is marlin, expected gptq or gptq_v2"},
    {&gptq, "+\"pack_dtype\":\"int16\"", NULL, UNSUPPORTED, "pack_dtype is int16, expected int32"},
    {&gptq, "+\"checkpoint_format\":\"gptq_v2\"", NULL, FORMAT,
     "p.qzeros: row 0, group 0: zero point 7, but a symmetric format has 8"},
    {&gptq, NULL, "p.qzeros I32 2x2 0x76", FORMAT,
     "p.qzeros: row 0, group 0: zero point 7, but a symmetric format has 8"},
    {&gptq, NULL, "p.qzeros I32 2x2 0xFF", FORMAT, "zero point 15 + 1 has no place in 4 bits"},
    {&gptq, NULL, "-p.qzeros", MISSING, "p.qzeros: the tensor is missing"},
    {&gptq, NULL, "p.g_idx I32 64 /31", FORMAT,
     "p.g_idx: column 62 is of group 2, expected 0 to 1"},
    {&gptq, NULL, "p.g_idx I32 64 /33", FORMAT,
     "p.g_idx: columns are out of order, but quantization_config.desc_act is false"},
    {&gptq, NULL, "p.g_idx I32 64 0xFF", FORMAT, "p.g_idx: column 0 is of group -1"},
    {&gptq, NULL, "p.g_idx I32 63 /32", FORMAT, "p.g_idx: shape [63], expected [64]"},
    {&gptq, NULL, "p.g_idx I64 64 0", FORMAT, "p.g_idx: dtype I64, expected I32"},
    {&gptq, NULL, "p.qweight I32 7x16 0", FORMAT, "p.g_idx: shape [64], expected [56]"},
    {&gptq, NULL, "p.qweight I32 8x12 0", FORMAT, "12 rows, expected a multiple of 8"},
    {&gptq, NULL, "p.qzeros I32 2x16 0", FORMAT, "p.qzeros: shape [2, 16], expected [2, 2]"},
    {&gptq, NULL, "p.scales F16 2x16 0xFF", FORMAT, "is out of range"},
    {&gptq, NULL, "p.scales F16 2x16 0x7B", FORMAT, "is out of range"},
    {&gptq, "\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32,\"sym\":true,\"desc_act\":true",
     "-p.g_idx", MISSING, "p.g_idx: the tensor is missing"},
    {&gptq, NULL, "q.qzeros I32 2x2 0", FORMAT, "q.qzeros: there is no q.qweight"},
};

static const bad_case bad_compressed[] = {
    {&pack, "\"quant_method\":\"compressed-tensors\"," GROUPS(PACK_WEIGHTS), NULL, FORMAT,
     "format is missing"},
    {&pack,
     "\"quant_method\":\"compressed-tensors\",\"format\":\"float-quantized\"," GROUPS(PACK_WEIGHTS),
     NULL, UNSUPPORTED, "format is float-quantized, expected pack-quantized"},
    {&pack, PACK "\"config_groups\":{}", NULL, FORMAT, "config_groups.*.weights is missing"},
    {&pack, PACK GROUPS("\"num_bits\":7,\"type\":\"int\",\"symmetric\":true"), NULL, UNSUPPORTED,
     "num_bits is 7, expected 2, 3, 4, 5, 6 or 8"},
    {&pack, PACK GROUPS("\"num_bits\":4,\"type\":\"float\",\"symmetric\":true"), NULL, UNSUPPORTED,
     "type is float, expected int"},
    {&pack, PACK GROUPS("\"num_bits\":4,\"type\":\"int\""), NULL, FORMAT, "symmetric is missing"},
    {&pack,
     PACK GROUPS("\"num_bits\":4,\"type\":\"int\",\"symmetric\":true,\"strategy\":\"block\""), NULL,
     UNSUPPORTED, "strategy is block, expected group or channel"},
    {&pack,
     PACK GROUPS("\"num_bits\":4,\"type\":\"int\",\"symmetric\":true,\"strategy\":\"group\""), NULL,
     FORMAT, "group_size is missing"},
    {&pack, "+\"sparsity_config\":{\"format\":\"sparse-24-bitmask\"}", NULL, UNSUPPORTED,
     "sparsity_config.format is sparse-24-bitmask, expected dense"},
    {&pack, "+\"ignore\":[\"re:.*p\",\"p\"]", NULL, FORMAT,
     "p.weight_packed: the tensor is packed, but config.json lists p"},
    {&pack, NULL, "-p.weight_shape", MISSING, "p.weight_shape: the tensor is missing"},
    {&pack, NULL, "p.weight_shape I64 2 [16,65]", FORMAT,
     "p.weight_shape: [16, 65] of 4 bits, but p.weight_packed has shape [16, 8]"},
    {&pack, NULL, "p.weight_shape I64 2 [15,64]", FORMAT, "[15, 64] of 4 bits"},
    {&pack, NULL, "p.weight_shape I64 2 [16,-64]", FORMAT, "[16, -64] of 4 bits"},
    {&pack, NULL, "p.weight_shape I64 2 [16,4611686018427387904]", FORMAT, "p.weight_shape"},
    {&pack, NULL, "p.weight_shape I64 3 [16,64]", FORMAT,
     "p.weight_shape: shape [3], expected [2]"},
    {&pack, NULL, "p.weight_shape I32 2 0", FORMAT, "p.weight_shape: dtype I32, expected I64"},
    {&pack, NULL, "p.weight_packed I32 16x9 0", FORMAT, "has shape [16, 9]"},
    {&pack, NULL, "p.weight_scale BF16 16x1 0", FORMAT,
     "p.weight_scale: shape [16, 1], expected [16, 2] by p.weight_packed [16, 8] and group size "
     "32"},
    {&pack, NULL, "-p.weight_zero_point", MISSING, "p.weight_zero_point: the tensor is missing"},
    {&pack, NULL, "p.weight_zero_point I8 16x2 0", FORMAT, "dtype I8, expected I32"},
    {&pack, NULL, "p.weight_zero_point I32 16x2 0", FORMAT, "shape [16, 2], expected [2, 2]"},
    {&pack, NULL, "p.weight_g_idx I32 64 0x7F", FORMAT, "p.weight_g_idx: column 0 is of group"},
    {&pack,
     PACK GROUPS("\"num_bits\":4,\"type\":\"int\",\"symmetric\":true,\"strategy\":\"group\","
                 "\"group_size\":32"),
     NULL, FORMAT, "p.weight_zero_point: there are zero points"},
    {&nvfp4, NVFP4 GROUPS("\"num_bits\":8,\"type\":\"float\""), NULL, UNSUPPORTED,
     "num_bits is 8, expected 4"},
    {&nvfp4, NVFP4 GROUPS("\"num_bits\":4,\"type\":\"int\""), NULL, UNSUPPORTED, "type is int"},
    {&nvfp4, NVFP4 GROUPS("\"num_bits\":4,\"type\":\"float\",\"group_size\":32"), NULL, UNSUPPORTED,
     "group_size is 32, expected 16"},
    {&nvfp4,
     NVFP4 GROUPS("\"num_bits\":4,\"type\":\"float\",\"group_size\":16,\"symmetric\":false"), NULL,
     UNSUPPORTED, "symmetric is false"},
    {&nvfp4, NULL, "-p.weight_global_scale", MISSING,
     "p.weight_global_scale: the tensor is missing"},
    {&nvfp4, NULL, "p.weight_global_scale F32 2 0", FORMAT, "shape [2], expected one number"},
    {&nvfp4, NULL, "p.weight_global_scale F32 1 0", FORMAT, "0, expected a number above 0"},
    {&nvfp4, NULL, "p.weight_global_scale F32 1 0xFF", FORMAT, "expected a number above 0"},
    {&nvfp4, NULL, "p.weight_global_scale F32 1 0x00", FORMAT, "whose inverse is too"},
    {&nvfp4, NULL, "p.weight_scale F8_E4M3 16x2 0", FORMAT, "shape [16, 2], expected [16, 4]"},
    {&nvfp4, NULL, "p.weight_scale U8 16x4 0", FORMAT, "dtype U8, expected F8_E4M3"},
    {&nvfp4, NULL, "p.weight_packed U8 16x33 0", FORMAT,
     "rows of 33 bytes, expected a multiple of 8"},
    {&mxfp4, NULL, "p.weight_scale U8 16x4 0", FORMAT, "shape [16, 4], expected [16, 2]"},
    {&mxfp4, NULL, "p.weight_scale F16 16x2 0", FORMAT, "dtype F16, expected U8"},
    {&mxfp4, NULL, "p.weight_packed U8 16x40 0", FORMAT,
     "rows of 40 bytes, expected a multiple of"},
};

static const bad_case bad_others[] = {
    {&modelopt, "\"quant_method\":\"modelopt\",\"quant_algo\":\"FP8\"", NULL, UNSUPPORTED,
     "quant_algo is FP8, expected NVFP4"},
    {&modelopt, "\"quant_method\":\"modelopt\"", NULL, FORMAT, "quant_algo is missing"},
    {&modelopt, "+\"group_size\":32", NULL, UNSUPPORTED, "group_size is 32, expected 16"},
    {&modelopt, "+" GROUPS("\"num_bits\":8"), NULL, UNSUPPORTED, "num_bits is 8"},
    {&modelopt, "+" GROUPS("\"type\":\"int\""), NULL, UNSUPPORTED, "type is int"},
    {&modelopt, "+" GROUPS("\"group_size\":32"), NULL, UNSUPPORTED, "group_size is 32"},
    {&modelopt, "+\"exclude_modules\":[\"p\"]", NULL, FORMAT, "lists p as not quantised"},
    {&modelopt, NULL, "-p.weight_scale_2", FORMAT, "there is no p.weight_scale_2"},
    {&modelopt, NULL, "-p.weight", MISSING, "p.weight: the tensor is missing"},
    {&modelopt, NULL, "p.weight BF16 16x64 0", FORMAT, "p.weight: dtype BF16, expected U8"},
    {&modelopt, NULL, "p.weight_scale_2 F32 1 0x80", FORMAT, "expected a number above 0"},
    {&modelopt, NULL, "p.weight_scale F8_E4M3 16x3 0", FORMAT, "shape [16, 3], expected [16, 4]"},
    {&modelopt, NULL, "q.scales F16 4 0", FORMAT, "q.scales: modelopt has no tensor of that name"},
    {&fp8, NULL, "q.biases F16 4 0", FORMAT, "q.biases: fp8 has no tensor of that name"},
    {&fp8, "\"quant_method\":\"fp8\"", NULL, UNSUPPORTED, "has no weight_block_size"},
    {&fp8, "\"quant_method\":\"fp8\",\"fmt\":\"e5m2\",\"weight_block_size\":[8,8]", NULL,
     UNSUPPORTED, "fmt is e5m2, expected e4m3"},
    {&fp8, NULL, "p.weight_scale_inv F32 2x3 0", FORMAT,
     "p.weight_scale_inv: shape [2, 3], expected [2, 2] by p.weight [16, 64]"},
    {&fp8, NULL, "p.weight_scale_inv F8_E8M0 2x2 0", FORMAT, "dtype F8_E8M0, expected F16"},
    {&fp8, NULL, "p.weight F8_E5M2 16x64 0", FORMAT, "dtype F8_E5M2, expected F8_E4M3"},
    {&fp8, NULL, "p.weight F8_E4M3 1024 0", FORMAT, "shape [1024], expected a matrix"},
    {&fp8, NULL, "-p.weight", MISSING, "p.weight: the tensor is missing"},
    {&fp8, NULL, "-p.weight_scale_inv", FORMAT, "no tensor is called *.weight_scale_inv"},
    {&fp8, "\"quant_method\":\"bitsandbytes\"", NULL, UNSUPPORTED,
     "quant_method is \"bitsandbytes\", expected one of awq, gptq, compressed-tensors, modelopt, "
     "fp8, mxfp4"},
    {&fp8, "\"bits\":4", NULL, UNSUPPORTED, "quant_method is \"\""},
};

/* ---- making them ---- */

typedef struct made_item {
    char name[64];
    void *data;
} made_item;

static void fill(uint8_t *data, size_t bytes, const char *how) {
    long long values[2] = {0, 0};
    if (how[0] == '/') {
        int step = atoi(how + 1);
        for (size_t i = 0; i < bytes / 4; i++) {
            int32_t v = (int32_t)i / step;
            memcpy(data + 4 * i, &v, sizeof v);
        }
    } else if (sscanf(how, "[%lld,%lld]", &values[0], &values[1]) == 2) {
        memset(data, 0, bytes);
        memcpy(data, values, bytes < sizeof values ? bytes : sizeof values);
    } else {
        memset(data, (int)strtol(how, NULL, 16), bytes);
    }
}

static void make_item(const char *line, made_item *m, mica_safetensors_item *out) {
    char dtype[16], dims[32] = "", how[64] = "";
    mica_shape shape = {0};
    uint64_t bytes;
    int used = 0;
    assert_int_equal(sscanf(line, "%63s %15s %n", m->name, dtype, &used), 2);
    /* A number has no dims: two blanks. */
    if (line[used - 1] == ' ' && line[used - 2] == ' ')
        assert_int_equal(sscanf(line + used, "%63s", how), 1);
    else
        assert_int_equal(sscanf(line + used, "%31s %63s", dims, how), 2);
    for (char *d = dims; *d;) {
        shape.dims[shape.rank++] = strtoll(d, &d, 10);
        if (*d == 'x') d++;
    }
    mica_safetensors_dtype type = mica_safetensors_dtype_from_name(mica_slice_from(dtype));
    assert_true(type != MICA_SAFETENSORS_NONE);
    assert_int_equal(mica_safetensors_tensor_bytes(type, &shape, &bytes), 0);
    m->data = malloc((size_t)bytes + 1);
    assert_non_null(m->data);
    fill(m->data, (size_t)bytes, how);
    *out = (mica_safetensors_item){m->name, type, shape, m->data};
}

static bool is_named(const char *line, const char *name) {
    size_t bytes = strcspn(name, " ");
    return strncmp(line, name, bytes) == 0 && (line[bytes] == ' ' || line[bytes] == '\0');
}

static void write_file(const test_folder *f, const base_case *base, const char *change) {
    mica_error err;
    made_item made[ITEMS_MAX + 1];
    mica_safetensors_item items[ITEMS_MAX + 1];
    size_t n = 0;
    bool is_removal = change && change[0] == '-';
    for (size_t i = 0; i < ITEMS_MAX && base->lines[i]; i++) {
        if (change && is_named(base->lines[i], change + is_removal)) continue;
        make_item(base->lines[i], &made[n], &items[n]);
        n++;
    }
    if (change && !is_removal) {
        make_item(change, &made[n], &items[n]);
        n++;
    }
    assert_ok(mica_safetensors_write_file(mica_host_default(),
                                          test_folder_at(f, "model.safetensors"), items, n, &err));
    for (size_t i = 0; i < n; i++) free(made[i].data);
}

/* Opens, imports and makes every tensor. */
static mica_status load_all(const test_folder *f, const char *config_text, mica_error *err) {
    mica_checkpoint *c = NULL;
    mica_config *config = NULL;
    const uint8_t *data;
    const mica_host *host = mica_host_default();
    mica_status st =
        mica_config_parse(host, "config.json", config_text, strlen(config_text), &config, err);
    if (st == MICA_STATUS_OK) st = mica_checkpoint_open(host, f->path, NULL, &c, err);
    if (st == MICA_STATUS_OK) st = mica_checkpoint_import(c, config, err);
    for (size_t i = 0; st == MICA_STATUS_OK && i < mica_checkpoint_count(c); i++)
        st = mica_checkpoint_map_tensor(c, mica_checkpoint_at(c, i), &data, err);
    mica_checkpoint_close(&c);
    mica_config_destroy(&config);
    return st;
}

static void check(const bad_case *b) {
    char quant[1024], config[2048];
    mica_error err = {0};
    test_folder f;
    const char *own = b->quant ? b->quant : "+";
    bool is_addition = own[0] == '+';
    snprintf(quant, sizeof quant, "%s%s%s", is_addition ? b->base->quant : "",
             is_addition && own[1] ? "," : "", own + is_addition);
    snprintf(config, sizeof config, CONFIG, quant);
    test_folder_make(&f);
    write_file(&f, b->base, b->change);
    mica_status st = load_all(&f, config, &err);
    if (st != b->status || (b->message[0] && !strstr(err.message, b->message)))
        fail_msg("%s; %s: %s: %s, expected %s: %s", quant, b->change ? b->change : "",
                 mica_status_name(st), err.message, mica_status_name(b->status), b->message);
    test_folder_remove(&f);
}

#define CHECK_ALL(list)                                                                            \
    for (size_t i = 0; i < sizeof(list) / sizeof *(list); i++) check(&(list)[i])

static void test_good(void **state) {
    /* The checkpoints that the cases change are good. */
    (void)state;
    const bad_case good[] = {
        {&awq, NULL, NULL, MICA_STATUS_OK, ""},
        {&gptq, NULL, NULL, MICA_STATUS_OK, ""},
        {&pack, NULL, NULL, MICA_STATUS_OK, ""},
        {&nvfp4, NULL, NULL, MICA_STATUS_OK, ""},
        {&mxfp4, NULL, NULL, MICA_STATUS_OK, ""},
        {&modelopt, NULL, NULL, MICA_STATUS_OK, ""},
        {&fp8, NULL, NULL, MICA_STATUS_OK, ""},
        {&gptq, NULL, "-p.g_idx", MICA_STATUS_OK, ""},
        {&fp8, NULL, "q.weight F8_E4M3 4 0", MICA_STATUS_OK, ""},
        {&awq, "+\"modules_to_not_convert\":[\"p.q\",\"\",\"x\"]", NULL, MICA_STATUS_OK, ""},
        {&fp8, "\"quant_method\":\"mxfp4\"", "p.weight F16 4 0", MICA_STATUS_OK, ""},
    };
    CHECK_ALL(good);
}

/* Whether <path>.bias of these bytes is still there after the import. */
static bool keeps_bias(const base_case *base, const char *line, const char *name) {
    char text[2048];
    mica_error err;
    mica_checkpoint *c;
    mica_config *config;
    test_folder f;
    test_folder_make(&f);
    write_file(&f, base, line);
    snprintf(text, sizeof text, CONFIG, base->quant);
    assert_ok(mica_config_parse(mica_host_default(), "c", text, strlen(text), &config, &err));
    assert_ok(mica_checkpoint_open(mica_host_default(), f.path, NULL, &c, &err));
    assert_ok(mica_checkpoint_import(c, config, &err));
    bool has = mica_checkpoint_find(c, name) != NULL;
    mica_checkpoint_close(&c);
    mica_config_destroy(&config);
    test_folder_remove(&f);
    return has;
}

static void test_bias_of_zeros(void **state) {
    /* GPTQ: a packed module's bias of zeros goes; others stay. */
    (void)state;
    assert_false(keeps_bias(&gptq, "p.bias F16 16 0", "p.bias"));
    assert_true(keeps_bias(&gptq, "p.bias F16 16 0x30", "p.bias"));
    assert_true(keeps_bias(&gptq, "q.bias F16 16 0", "q.bias"));
    assert_true(keeps_bias(&awq, "p.bias F16 16 0", "p.bias"));
}

static void test_awq(void **state) {
    /* AWQ: fields, missing parts, types, shapes, contents. */
    (void)state;
    CHECK_ALL(bad_awq);
}

static void test_gptq(void **state) {
    /* GPTQ: fields, zero points that contradict sym, groups out of range or out of order. */
    (void)state;
    CHECK_ALL(bad_gptq);
}

static void test_compressed(void **state) {
    /* compressed-tensors: fields of groups, weight_shape against the packed tensor, factors. */
    (void)state;
    CHECK_ALL(bad_compressed);
}

static void test_others(void **state) {
    /* ModelOpt, block FP8, and methods that mica does not know. */
    (void)state;
    CHECK_ALL(bad_others);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),       cmocka_unit_test(test_bias_of_zeros),
        cmocka_unit_test(test_awq),        cmocka_unit_test(test_gptq),
        cmocka_unit_test(test_compressed), cmocka_unit_test(test_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
