/* Quantised checkpoints that contradict their configuration or themselves: each is refused by name,
 * with what was seen and what was wanted, and leaks nothing; nor does memory that runs out. */
#include "base/alloc.h"
#include "base/error.h"
#include "model/quantized_test_case.h"

#define Q_PROJ "model.layers.0.self_attn.q_proj"

static const mica_quant affine4 = {MICA_QUANT_AFFINE, 4, 64, MICA_DTYPE_BF16};
static const mica_quant mxfp4 = {MICA_QUANT_MXFP4, 4, 32, MICA_DTYPE_U8};
static const mica_quant mxfp8 = {MICA_QUANT_MXFP8, 8, 32, MICA_DTYPE_U8};
static const mica_quant nvfp4 = {MICA_QUANT_NVFP4, 4, 16, MICA_DTYPE_U8};
static const mica_quant scaled = {MICA_QUANT_NVFP4_SCALED, 4, 16, MICA_DTYPE_U8};

/* What a good checkpoint of a format says; %s: more of the object. */
static const char say_affine4[] = ", \"quantization\": {\"group_size\": 64, \"bits\": 4%s}";
static const char say_mxfp4[] = ", \"quantization\": {\"mode\": \"mxfp4\"%s}";
static const char say_mxfp8[] = ", \"quantization\": {\"mode\": \"mxfp8\"%s}";
static const char say_nvfp4[] = ", \"quantization\": {\"mode\": \"nvfp4\"%s}";

typedef enum change_kind {
    CHANGE_NOTHING,
    CHANGE_REMOVE, /* the tensor */
    CHANGE_SHAPE,  /* of the tensor (made anew): dims */
    CHANGE_TYPE,   /* to dtype, the same shape */
    CHANGE_BYTES,  /* the first four become these */
    CHANGE_PLAIN,  /* <tensor>.weight, .scales and .biases become a plain matrix [dims] */
} change_kind;

typedef struct refusal {
    const char *model;
    const mica_quant *quant;
    const char *says;   /* quantization of config.json */
    const char *module; /* more of it; NULL = "" */
    change_kind kind;
    const char *tensor;
    int64_t dims[3];
    mica_safetensors_dtype dtype;
    const char *bytes;
    mica_status status;
    const char *words;
} refusal;

/* clang-format off */
static const refusal refusals[] = {
    /* Tensors that are not there, or too many. */
    {case_llama, &affine4, say_affine4, NULL, CHANGE_REMOVE, Q_PROJ ".scales", {0}, 0, NULL,
     MICA_STATUS_FORMAT, Q_PROJ ".weight: dtype U32"},
    {case_llama, &affine4, say_affine4, ", \"" Q_PROJ "\": {\"bits\": 4}", CHANGE_REMOVE,
     Q_PROJ ".scales", {0}, 0, NULL, MICA_STATUS_NOT_FOUND, Q_PROJ ".scales"},
    {case_llama, &affine4, say_affine4, NULL, CHANGE_REMOVE, Q_PROJ ".biases", {0}, 0, NULL,
     MICA_STATUS_NOT_FOUND, Q_PROJ ".biases"},
    {case_llama, &mxfp4, say_mxfp4, NULL, CHANGE_SHAPE, Q_PROJ ".biases", {128, 4},
     MICA_SAFETENSORS_BF16, NULL, MICA_STATUS_FORMAT,
     Q_PROJ ".biases: config.json says mxfp4, which has no biases"},
    {case_llama, &affine4, say_affine4, NULL, CHANGE_SHAPE, Q_PROJ ".scale_factor", {1, 1},
     MICA_SAFETENSORS_F32, NULL, MICA_STATUS_FORMAT, Q_PROJ ".scale_factor"},
    {case_llama, &affine4, "%s", NULL, CHANGE_NOTHING, NULL, {0}, 0, NULL, MICA_STATUS_FORMAT,
     "model.embed_tokens.weight: dtype U32"},
    {case_llama, &affine4, say_affine4, ", \"" Q_PROJ "\": false", CHANGE_NOTHING, NULL, {0}, 0,
     NULL, MICA_STATUS_FORMAT, Q_PROJ ".weight: dtype U32"},
    {case_gpt_oss, &mxfp4, say_mxfp4, NULL, CHANGE_REMOVE,
     "model.layers.1.mlp.experts.up_proj.bias", {0}, 0, NULL, MICA_STATUS_NOT_FOUND,
     "model.layers.1.mlp.experts.up_proj.bias"},
    /* Shapes and types. */
    {case_llama, &affine4, say_affine4, NULL, CHANGE_SHAPE, Q_PROJ ".weight", {128, 15},
     MICA_SAFETENSORS_U32, NULL, MICA_STATUS_FORMAT,
     Q_PROJ ".weight: shape [128, 15], expected [128, 16]"},
    {case_llama, &affine4, say_affine4, NULL, CHANGE_SHAPE, Q_PROJ ".scales", {128, 4},
     MICA_SAFETENSORS_BF16, NULL, MICA_STATUS_FORMAT,
     Q_PROJ ".scales: shape [128, 4], expected [128, 2]"},
    {case_llama, &affine4, say_affine4, NULL, CHANGE_SHAPE, Q_PROJ ".biases", {2, 128},
     MICA_SAFETENSORS_BF16, NULL, MICA_STATUS_FORMAT,
     Q_PROJ ".biases: shape [2, 128], expected [128, 2]"},
    {case_llama, &affine4, say_affine4, NULL, CHANGE_TYPE, Q_PROJ ".biases", {0},
     MICA_SAFETENSORS_F16, NULL, MICA_STATUS_FORMAT, Q_PROJ ".biases: dtype F16, expected BF16"},
    {case_llama, &affine4, say_affine4, NULL, CHANGE_TYPE, Q_PROJ ".scales", {0},
     MICA_SAFETENSORS_U8, NULL, MICA_STATUS_FORMAT, Q_PROJ ".scales: dtype U8"},
    {case_llama, &affine4, say_affine4, NULL, CHANGE_TYPE, Q_PROJ ".weight", {0},
     MICA_SAFETENSORS_I32, NULL, MICA_STATUS_FORMAT, Q_PROJ ".weight: dtype I32, expected U32"},
    {case_llama, &mxfp4, say_mxfp4, NULL, CHANGE_TYPE, Q_PROJ ".scales", {0},
     MICA_SAFETENSORS_BF16, NULL, MICA_STATUS_FORMAT, Q_PROJ ".scales: dtype BF16, expected U8"},
    {case_llama, &scaled, say_nvfp4, NULL, CHANGE_SHAPE, Q_PROJ ".scale_factor", {2, 1},
     MICA_SAFETENSORS_F32, NULL, MICA_STATUS_FORMAT, "shape [2, 1], expected [1]"},
    {case_llama, &scaled, say_nvfp4, NULL, CHANGE_TYPE, Q_PROJ ".scale_factor", {0},
     MICA_SAFETENSORS_BF16, NULL, MICA_STATUS_FORMAT, "dtype BF16, expected F32"},
    {case_gpt_oss, &scaled, say_nvfp4, NULL, CHANGE_SHAPE,
     "model.layers.0.mlp.experts.gate_proj.scale_factor", {1, 1}, MICA_SAFETENSORS_F32, NULL,
     MICA_STATUS_FORMAT, "shape [1, 1], expected [4]"},
    {case_gpt_oss, &affine4, say_affine4, NULL, CHANGE_SHAPE,
     "model.layers.0.mlp.experts.gate_proj.weight", {4, 128, 17}, MICA_SAFETENSORS_U32, NULL,
     MICA_STATUS_FORMAT, "shape [4, 128, 17], expected [4, 128, 16]"},
    /* Formats that the tensors are not of. */
    {case_llama, &affine4, ", \"quantization\": {\"group_size\": 64, \"bits\": 8%s}", NULL,
     CHANGE_NOTHING, NULL, {0}, 0, NULL, MICA_STATUS_FORMAT,
     "model.embed_tokens.weight: shape [320, 16], expected [320, 32]"},
    {case_llama, &affine4, ", \"quantization\": {\"group_size\": 32, \"bits\": 4%s}", NULL,
     CHANGE_NOTHING, NULL, {0}, 0, NULL, MICA_STATUS_FORMAT,
     "model.embed_tokens.scales: shape [320, 2], expected [320, 4]"},
    {case_llama, &affine4, say_affine4, ", \"" Q_PROJ "\": {\"bits\": 8}", CHANGE_NOTHING, NULL,
     {0}, 0, NULL, MICA_STATUS_FORMAT, Q_PROJ ".weight: shape [128, 16], expected [128, 32]"},
    {case_llama, &nvfp4, say_mxfp4, NULL, CHANGE_NOTHING, NULL, {0}, 0, NULL, MICA_STATUS_FORMAT,
     "model.embed_tokens.scales: shape [320, 8], expected [320, 4]"},
    /* Formats that there are not. */
    {case_llama, &affine4, ", \"quantization\": {\"group_size\": 64, \"bits\": 7%s}", NULL,
     CHANGE_NOTHING, NULL, {0}, 0, NULL, MICA_STATUS_UNSUPPORTED,
     "model.embed_tokens is quantised as affine of 7 bits in groups of 64"},
    {case_llama, &affine4, ", \"quantization\": {\"group_size\": 48, \"bits\": 4%s}", NULL,
     CHANGE_NOTHING, NULL, {0}, 0, NULL, MICA_STATUS_UNSUPPORTED, "affine of 4 bits in groups of 48"},
    {case_llama, &affine4, ", \"quantization\": {\"group_size\": 256, \"bits\": 1%s}", NULL,
     CHANGE_NOTHING, NULL, {0}, 0, NULL, MICA_STATUS_UNSUPPORTED, "affine of 1 bits in groups of 256"},
    {case_llama, &mxfp4, ", \"quantization\": {\"mode\": \"mxfp4\", \"bits\": 8%s}", NULL,
     CHANGE_NOTHING, NULL, {0}, 0, NULL, MICA_STATUS_UNSUPPORTED, "mxfp4 of 8 bits in groups of 32"},
    {case_llama, &mxfp8, ", \"quantization\": {\"mode\": \"mxfp8\", \"group_size\": 64%s}", NULL,
     CHANGE_NOTHING, NULL, {0}, 0, NULL, MICA_STATUS_UNSUPPORTED, "mxfp8 of 8 bits in groups of 64"},
    {case_llama, &nvfp4, ", \"quantization\": {\"mode\": \"nvfp4\", \"group_size\": 32%s}", NULL,
     CHANGE_NOTHING, NULL, {0}, 0, NULL, MICA_STATUS_UNSUPPORTED, "nvfp4 of 4 bits in groups of 32"},
    {case_llama, &affine4, say_affine4, ", \"" Q_PROJ "\": {\"bits\": 4, \"group_size\": 16}",
     CHANGE_NOTHING, NULL, {0}, 0, NULL, MICA_STATUS_UNSUPPORTED, Q_PROJ " is quantised"},
    /* Values. */
    {case_llama, &mxfp4, say_mxfp4, NULL, CHANGE_BYTES, Q_PROJ ".scales", {0}, 0,
     "\x7F\xFE\xFF\x00", MICA_STATUS_FORMAT, Q_PROJ ".scales: byte 2 is 255"},
    {case_llama, &mxfp8, say_mxfp8, NULL, CHANGE_BYTES, Q_PROJ ".scales", {0}, 0,
     "\xFF\x00\x00\x00", MICA_STATUS_FORMAT, Q_PROJ ".scales: byte 0 is 255"},
    {case_llama, &nvfp4, say_nvfp4, NULL, CHANGE_BYTES, Q_PROJ ".scales", {0}, 0,
     "\x00\x7E\x00\x7F", MICA_STATUS_FORMAT, Q_PROJ ".scales: byte 3 is 127"},
    {case_llama, &scaled, say_nvfp4, NULL, CHANGE_BYTES, Q_PROJ ".scales", {0}, 0,
     "\x00\xFF\x00\x00", MICA_STATUS_FORMAT, Q_PROJ ".scales: byte 1 is 255"},
    {case_llama, &scaled, say_nvfp4, NULL, CHANGE_BYTES, Q_PROJ ".scale_factor", {0}, 0,
     "\x00\x00\x80\x7F", MICA_STATUS_FORMAT, Q_PROJ ".scale_factor: factor 0 is inf"},
    {case_gpt_oss, &nvfp4, say_nvfp4, NULL, CHANGE_BYTES,
     "model.layers.1.mlp.experts.down_proj.scales", {0}, 0, "\x7F\x00\x00\x00", MICA_STATUS_FORMAT,
     "model.layers.1.mlp.experts.down_proj.scales: byte 0 is 127"},
    {case_qwen3_moe, &mxfp4, say_mxfp4, NULL, CHANGE_BYTES,
     "model.layers.1.mlp.experts.2.up_proj.scales", {0}, 0, "\xFF\x00\x00\x00", MICA_STATUS_FORMAT,
     "model.layers.1.mlp.experts.2.up_proj.scales: byte 0 is 255"},
    /* Experts that are not alike. */
    {case_qwen3_moe, &affine4, say_affine4, NULL, CHANGE_PLAIN,
     "model.layers.0.mlp.experts.2.up_proj", {128, 128}, 0, NULL, MICA_STATUS_UNSUPPORTED,
     "experts.2.up_proj is stored as plain, expert 0 as affine4g64"},
    {case_qwen3_moe, &affine4, say_affine4, NULL, CHANGE_PLAIN,
     "model.layers.0.mlp.experts.0.up_proj", {128, 128}, 0, NULL, MICA_STATUS_UNSUPPORTED,
     "experts.1.up_proj is stored as affine4g64, expert 0 as plain"},
    {case_qwen3_moe, &affine4, say_affine4, NULL, CHANGE_TYPE,
     "model.layers.0.mlp.experts.3.down_proj.scales", {0}, MICA_SAFETENSORS_F16, NULL,
     MICA_STATUS_FORMAT, "experts.3.down_proj.scales: dtype F16, expected BF16"},
    {case_qwen3_moe, &affine4, say_affine4, NULL, CHANGE_REMOVE,
     "model.layers.0.mlp.experts.3.down_proj.biases", {0}, 0, NULL, MICA_STATUS_NOT_FOUND,
     "experts.3.down_proj.biases"},
    {case_qwen3_moe, &scaled, say_nvfp4, NULL, CHANGE_REMOVE,
     "model.layers.0.mlp.experts.0.down_proj.scale_factor", {0}, 0, NULL, MICA_STATUS_UNSUPPORTED,
     "experts.1.down_proj is stored as nvfp4_scaled, expert 0 as nvfp4"},
};
/* clang-format on */

static void remove_if_there(case_list *l, const char *path, const char *suffix) {
    char name[128];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    if (case_find(l, name)) case_remove(l, name);
}

static void apply(const refusal *r, case_list *l) {
    char name[128];
    int rank = r->dims[2] ? 3 : 2;
    if (r->kind == CHANGE_REMOVE) case_remove(l, r->tensor);
    if (r->kind == CHANGE_BYTES) memcpy(case_find(l, r->tensor)->data, r->bytes, 4);
    if (r->kind == CHANGE_TYPE) {
        mica_shape shape = case_find(l, r->tensor)->shape;
        case_remove(l, r->tensor);
        case_add(l, r->tensor, r->dtype, shape.rank, shape.dims);
    }
    if (r->kind == CHANGE_SHAPE) {
        remove_if_there(l, r->tensor, "");
        case_add(l, r->tensor, r->dtype, rank, r->dims);
    }
    if (r->kind == CHANGE_PLAIN) {
        static const char *const suffixes[] = {".weight", ".scales", ".biases"};
        for (int i = 0; i < 3; i++) remove_if_there(l, r->tensor, suffixes[i]);
        snprintf(name, sizeof name, "%s.weight", r->tensor);
        case_add(l, name, MICA_SAFETENSORS_F32, rank, r->dims);
    }
}

/* A folder of the model in the format, with what a case changes. */
static void make_folder(const refusal *r, test_folder *f) {
    static case_list plain, quantised;
    char says[512];
    const char *more = r->module ? r->module : "", *place = strstr(r->says, "%s");
    test_folder_make(f);
    case_make(&plain, r->model, 1);
    case_quantize_all(&plain, *r->quant, &quantised);
    apply(r, &quantised);
    snprintf(says, sizeof says, "%.*s%s%s", (int)(place - r->says), r->says, more, place + 2);
    case_write(&quantised, r->model, says, f);
    case_free(&plain);
    case_free(&quantised);
}

/* Opens with this allocator; nothing may be left. */
static mica_status try_open(const test_folder *f, mica_alloc_counter *c, mica_error *err) {
    mica_runtime *rt = NULL;
    mica_model *model = NULL;
    mica_runtime_options o = {.struct_bytes = sizeof o, .n_threads = 1};
    o.allocator = &c->allocator;
    mica_status st = mica_runtime_open(&o, &rt, err);
    if (st == MICA_STATUS_OK) st = mica_model_open(rt, f->path, NULL, &model, err);
    if ((st == MICA_STATUS_OK) != (model != NULL))
        fail_msg("status %d, model %p", st, (void *)model);
    mica_model_close(&model);
    mica_runtime_close(&rt);
    assert_int_equal(c->n_live, 0);
    return st;
}

/* Proves: each fault is refused with its reason, and no memory is left. */
static void contradictions(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const refusal *r = &refusals[i];
        mica_error err = {0};
        mica_alloc_counter c;
        test_folder f;
        make_folder(r, &f);
        mica_alloc_counter_init(&c, mica_allocator_default());
        mica_status st = try_open(&f, &c, &err);
        if (st != r->status || !strstr(err.message, r->words))
            fail_msg("case %zu: got %s: %s; wanted %s with \"%s\"", i, mica_status_name(st),
                     err.message, mica_status_name(r->status), r->words);
        assert_null(strchr(err.message, '\n'));
        test_folder_remove(&f);
    }
}

/* Proves: rows that are not whole groups are refused where a rule asks for them, before any tensor
 * is looked at. */
static void rows_in_groups(void **state) {
    (void)state;
    static case_list plain;
    static const char config[] =
        "{\"model_type\": \"llama\", \"intermediate_size\": 80, \"hidden_size\": 96, "
        "\"num_hidden_layers\": 1, \"num_attention_heads\": 3, \"num_key_value_heads\": 3, "
        "\"vocab_size\": 64, \"max_position_embeddings\": 64%s}";
    static const char says[] = ", \"quantization\": {\"group_size\": 64, \"bits\": 4, \"" Q_PROJ
                               "\": {\"group_size\": 64, \"bits\": 4}}";
    mica_error err = {0};
    mica_alloc_counter c;
    test_folder f;
    test_folder_make(&f);
    case_make(&plain, config, 1);
    case_write(&plain, config, says, &f);
    mica_alloc_counter_init(&c, mica_allocator_default());
    assert_int_equal(try_open(&f, &c, &err), MICA_STATUS_FORMAT);
    assert_non_null(
        strstr(err.message, Q_PROJ ": rows of 96 elements as affine4g64, wanted a multiple of 64"));
    case_free(&plain);
    test_folder_remove(&f);
}

/* Proves: whichever allocation fails while a quantised model is opened, once or from there on, the
 * answer is OUT_OF_MEMORY (or none was needed) and nothing is left. */
static void no_memory(void **state) {
    (void)state;
    static const refusal models[] = {
        {.model = case_qwen3_moe, .quant = &scaled, .says = say_nvfp4},
        {.model = case_gpt_oss,
         .quant = &affine4,
         .says = say_affine4,
         .module = ", \"lm_head\": {\"bits\": 4}, \"" Q_PROJ "\": {\"bits\": 4}"},
    };
    for (int i = 0; i < 4; i++) {
        mica_error err = {0};
        mica_alloc_counter c;
        test_folder f;
        make_folder(&models[i / 2], &f);
        mica_alloc_counter_init(&c, mica_allocator_default());
        assert_ok(try_open(&f, &c, &err));
        int64_t n = c.n_calls;
        assert_true(n > 20);
        for (int64_t at = 1; at <= n; at++) {
            mica_alloc_counter_init(&c, mica_allocator_default());
            c.fail_at = at;
            c.fail_after = i % 2;
            mica_status st = try_open(&f, &c, &err);
            if (st != MICA_STATUS_OUT_OF_MEMORY && (c.fail_after || st != MICA_STATUS_OK))
                fail_msg("allocation %lld of %lld: %s: %s", (long long)at, (long long)n,
                         mica_status_name(st), err.message);
        }
        test_folder_remove(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contradictions),
        cmocka_unit_test(rows_in_groups),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
