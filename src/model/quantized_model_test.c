/* MLX's quantised checkpoints: the logits of a model in every format are those of the plain model
 * that holds the decoded values. What is refused: quantized_model_bad_input_test.c. */
#include "model/quantized_test_case.h"

/* Sums of 128 products in two orders. */
#define TOLERANCE 2e-5

static const mica_quant formats[] = {
    {MICA_QUANT_AFFINE, 2, 32, MICA_DTYPE_F32},   {MICA_QUANT_AFFINE, 2, 64, MICA_DTYPE_F16},
    {MICA_QUANT_AFFINE, 2, 128, MICA_DTYPE_BF16}, {MICA_QUANT_AFFINE, 3, 32, MICA_DTYPE_F16},
    {MICA_QUANT_AFFINE, 3, 64, MICA_DTYPE_BF16},  {MICA_QUANT_AFFINE, 3, 128, MICA_DTYPE_F32},
    {MICA_QUANT_AFFINE, 4, 32, MICA_DTYPE_BF16},  {MICA_QUANT_AFFINE, 4, 64, MICA_DTYPE_F32},
    {MICA_QUANT_AFFINE, 4, 128, MICA_DTYPE_F16},  {MICA_QUANT_AFFINE, 5, 32, MICA_DTYPE_F32},
    {MICA_QUANT_AFFINE, 5, 64, MICA_DTYPE_F16},   {MICA_QUANT_AFFINE, 5, 128, MICA_DTYPE_BF16},
    {MICA_QUANT_AFFINE, 6, 32, MICA_DTYPE_F16},   {MICA_QUANT_AFFINE, 6, 64, MICA_DTYPE_BF16},
    {MICA_QUANT_AFFINE, 6, 128, MICA_DTYPE_F32},  {MICA_QUANT_AFFINE, 8, 32, MICA_DTYPE_BF16},
    {MICA_QUANT_AFFINE, 8, 64, MICA_DTYPE_F32},   {MICA_QUANT_AFFINE, 8, 128, MICA_DTYPE_F16},
    {MICA_QUANT_MXFP4, 4, 32, MICA_DTYPE_U8},     {MICA_QUANT_MXFP8, 8, 32, MICA_DTYPE_U8},
    {MICA_QUANT_NVFP4, 4, 16, MICA_DTYPE_U8},     {MICA_QUANT_NVFP4_SCALED, 4, 16, MICA_DTYPE_U8},
};
enum { N_FORMATS = sizeof formats / sizeof *formats };

#if defined(__aarch64__)
static const char *const levels[] = {"scalar", "neon"};
#else
static const char *const levels[] = {"scalar", "avx2", "avx512"};
#endif
enum { N_LEVELS = sizeof levels / sizeof *levels };

/* The levels that this machine has. */
static int count_levels(void) {
    mica_error err = {0};
    int n = 0;
    for (; n < N_LEVELS; n++) {
        mica_runtime *rt = NULL;
        mica_runtime_options o = {.struct_bytes = sizeof o, .cpu_level = levels[n]};
        if (mica_runtime_open(&o, &rt, &err)) break;
        mica_runtime_close(&rt);
    }
    return n;
}

/* What MLX writes for a format. */
static void write_rule(mica_quant q, char out[256]) {
    static const char *const names[] = {"", "affine", "mxfp4", "mxfp8", "nvfp4", "nvfp4"};
    snprintf(out, 256, ", \"quantization\": {\"group_size\": %d, \"bits\": %d, \"mode\": \"%s\"}",
             q.group, q.bits, names[q.mode]);
}

typedef struct pair {
    test_folder plain, quantised;
} pair;

static void make_folders(pair *p) {
    test_folder_make(&p->plain);
    test_folder_make(&p->quantised);
}

static void remove_folders(pair *p) {
    test_folder_remove(&p->plain);
    test_folder_remove(&p->quantised);
}

static void compare(const pair *p, const char *what, const char *level, mica_numeric_mode mode,
                    double tolerance) {
    static float want[CASE_TOKENS * CASE_VOCAB], got[CASE_TOKENS * CASE_VOCAB];
    double worst = 0, largest = 0;
    case_run(&p->plain, level, mode, want);
    case_run(&p->quantised, level, mode, got);
    for (int i = 0; i < CASE_TOKENS * CASE_VOCAB; i++) {
        double d = fabs((double)want[i] - (double)got[i]);
        worst = d <= worst ? worst : d; /* NaN stays */
        largest = fmax(largest, fabs((double)want[i]));
    }
    if (!(worst <= tolerance * fmax(1, largest)))
        fail_msg("%s, %s: logits of up to %g differ by %g", what, level, largest, worst);
}

static void compare_levels(const pair *p, const char *what) {
    for (int i = 0; i < count_levels(); i++) compare(p, what, levels[i], MICA_EXACT, TOLERANCE);
}

/* Proves: in every format, gpt-oss as MLX converts it (experts [e, n, k], gate and up apart,
 * quantised embedding, head and router) has the logits of its own layout with the decoded values;
 * on every level; and in fast mode where the weights do not choose the arithmetic (affine and mxfp4
 * do: x is rounded, which may send a token to another expert; see tied_embedding). */
static void gpt_oss_in_every_format(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    for (int i = 0; i < N_FORMATS; i++) {
        static case_list plain, quantised;
        pair p;
        char rule[256], what[32];
        make_folders(&p);
        case_make(&plain, case_gpt_oss, seed + (uint64_t)i);
        case_quantize_all(&plain, formats[i], &quantised);
        for (int layer = 0; layer < 2; layer++) case_gpt_oss_layout(&plain, layer);
        write_rule(formats[i], rule);
        case_write(&quantised, case_gpt_oss, rule, &p.quantised);
        case_write(&plain, case_gpt_oss, "", &p.plain);
        compare_levels(&p, mica_quant_format(formats[i], what));
        bool is_rounded =
            formats[i].mode == MICA_QUANT_MXFP4 || formats[i].mode == MICA_QUANT_AFFINE;
        if (!is_rounded) compare(&p, what, NULL, MICA_FAST, 1e-2);
        case_free(&plain);
        case_free(&quantised);
        remove_folders(&p);
    }
}

/* Proves: a tied embedding may be quantised: rows are decoded for tokens, and it is the head; and
 * in fast mode, without experts to choose, rounding x to 16 bits for affine weights stays small. */
static void tied_embedding(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    for (int i = 0; i < N_FORMATS; i += 3) {
        static case_list plain, quantised;
        pair p;
        char rule[256], what[32];
        make_folders(&p);
        case_make(&plain, case_llama, seed + (uint64_t)i);
        case_quantize_all(&plain, formats[i], &quantised);
        write_rule(formats[i], rule);
        case_write(&quantised, case_llama, rule, &p.quantised);
        case_write(&plain, case_llama, "", &p.plain);
        compare_levels(&p, mica_quant_format(formats[i], what));
        if (formats[i].mode != MICA_QUANT_MXFP4) compare(&p, what, NULL, MICA_FAST, 1e-2);
        case_free(&plain);
        case_free(&quantised);
        remove_folders(&p);
    }
}

/* Proves: experts of qwen3_moe with a quantised matrix each are stacked part by part; the same as
 * one tensor of all (switch_mlp), quantised or plain, give the same logits. */
static void qwen3_moe_in_its_layouts(void **state) {
    (void)state;
    static const mica_quant some[] = {{MICA_QUANT_AFFINE, 4, 64, MICA_DTYPE_F16},
                                      {MICA_QUANT_AFFINE, 3, 32, MICA_DTYPE_F32},
                                      {MICA_QUANT_MXFP4, 4, 32, MICA_DTYPE_U8},
                                      {MICA_QUANT_NVFP4_SCALED, 4, 16, MICA_DTYPE_U8}};
    uint64_t seed = test_seed();
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        static case_list plain, quantised;
        pair p;
        char rule[256], what[32];
        make_folders(&p);
        case_make(&plain, case_qwen3_moe, seed + i);
        case_quantize_all(&plain, some[i], &quantised);
        write_rule(some[i], rule);
        mica_quant_format(some[i], what);
        case_write(&quantised, case_qwen3_moe, rule, &p.quantised);
        case_write(&plain, case_qwen3_moe, "", &p.plain);
        compare_levels(&p, what);
        for (int layer = 0; layer < 2; layer++) case_switch_layout(&quantised, layer, 4);
        case_write(&quantised, case_qwen3_moe, rule, &p.quantised);
        compare_levels(&p, what);
        for (int layer = 0; layer < 2; layer++) case_switch_layout(&plain, layer, 4);
        case_write(&plain, case_qwen3_moe, "", &p.plain);
        compare_levels(&p, what);
        case_free(&plain);
        case_free(&quantised);
        remove_folders(&p);
    }
}

/* Quantises one matrix of plain in its own format. */
static void quantise_one(case_list *plain, const char *path, mica_quant q, case_list *to) {
    char name[128];
    snprintf(name, sizeof name, "%s.weight", path);
    case_remove(to, name);
    case_quantize(case_find(plain, name), q, to);
}

/* Proves: the rules of config.json: a module of its own has its own format; without a mode that is
 * affine whatever the top level says, and without numbers MLX's defaults; false is plain; an absent
 * one is quantised as the top level says if and only if it has scales. */
static void rules_by_module(void **state) {
    (void)state;
    static case_list plain, quantised;
    static const char config[] =
        ", \"quantization\": {\"group_size\": 32, \"bits\": 4, \"mode\": \"mxfp4\", "
        "\"model.layers.0.mlp.router\": {\"group_size\": 32, \"bits\": 8}, "
        "\"model.layers.1.self_attn.q_proj\": {\"mode\": \"mxfp8\"}, "
        "\"model.layers.1.self_attn.k_proj\": {\"mode\": \"affine\", \"bits\": 3}, "
        "\"model.layers.1.self_attn.o_proj\": false, "
        "\"model.layers.9.not.there\": {\"bits\": 7}, "
        "\"model.embed_tokens\": {\"group_size\": 128, \"bits\": 6, \"mode\": \"affine\"}}";
    const mica_quant affine8 = {MICA_QUANT_AFFINE, 8, 32, MICA_DTYPE_BF16};
    const mica_quant affine3 = {MICA_QUANT_AFFINE, 3, 64, MICA_DTYPE_F16};
    const mica_quant affine6 = {MICA_QUANT_AFFINE, 6, 128, MICA_DTYPE_F32};
    const mica_quant mxfp8 = {MICA_QUANT_MXFP8, 8, 32, MICA_DTYPE_U8};
    const mica_quant mxfp4 = {MICA_QUANT_MXFP4, 4, 32, MICA_DTYPE_U8};
    pair p;
    make_folders(&p);
    case_make(&plain, case_gpt_oss, test_seed());
    for (size_t i = 0; i < plain.n; i++) case_copy(&quantised, &plain.items[i]);
    quantise_one(&plain, "model.layers.0.mlp.router", affine8, &quantised);
    quantise_one(&plain, "model.layers.1.self_attn.q_proj", mxfp8, &quantised);
    quantise_one(&plain, "model.layers.1.self_attn.k_proj", affine3, &quantised);
    quantise_one(&plain, "model.embed_tokens", affine6, &quantised);
    quantise_one(&plain, "lm_head", mxfp4, &quantised);
    quantise_one(&plain, "model.layers.0.mlp.experts.up_proj", mxfp4, &quantised);
    for (int layer = 0; layer < 2; layer++) case_gpt_oss_layout(&plain, layer);
    case_write(&quantised, case_gpt_oss, config, &p.quantised);
    case_write(&plain, case_gpt_oss, "", &p.plain);
    compare_levels(&p, "rules");
    case_free(&plain);
    case_free(&quantised);
    remove_folders(&p);
}

/* ---- what is said of a model ---- */

static void get_info(const test_folder *f, mica_model_info *out) {
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_model *m = NULL;
    mica_memory_estimate e;
    mica_runtime_stats stats;
    assert_ok(mica_runtime_open(NULL, &rt, &err));
    assert_ok(mica_model_open(rt, f->path, NULL, &m, &err));
    mica_model_get_info(m, out);
    assert_ok(mica_model_estimate(m, 64, MICA_FAST, &e, &err));
    assert_int_equal(e.weight_bytes, out->weight_bytes);
    mica_runtime_get_stats(rt, &stats);
    assert_int_equal(stats.weight_bytes, out->weight_bytes + 16 * sizeof(float)); /* and rope */
    mica_model_close(&m);
    mica_runtime_close(&rt);
}

/* Proves: parameters are counted as elements, not as words; active ones are the same whichever
 * layout the experts have; bytes are those of the file, and less than the plain model's. */
static void counts(void **state) {
    (void)state;
    static case_list plain, quantised;
    static const mica_quant q = {MICA_QUANT_AFFINE, 4, 64, MICA_DTYPE_BF16};
    mica_model_info info[3];
    char rule[256];
    pair p;
    make_folders(&p);
    case_make(&plain, case_qwen3_moe, 1);
    case_quantize_all(&plain, q, &quantised);
    write_rule(q, rule);
    case_write(&plain, case_qwen3_moe, "", &p.plain);
    get_info(&p.plain, &info[0]);
    case_write(&quantised, case_qwen3_moe, rule, &p.quantised);
    get_info(&p.quantised, &info[1]);
    for (int layer = 0; layer < 2; layer++) case_switch_layout(&quantised, layer, 4);
    case_write(&quantised, case_qwen3_moe, rule, &p.quantised);
    get_info(&p.quantised, &info[2]);
    for (int i = 1; i < 3; i++) {
        assert_int_equal(info[i].n_parameters, info[0].n_parameters);
        assert_int_equal(info[i].n_parameters_active, info[0].n_parameters_active);
        assert_int_equal(info[i].weight_bytes, info[1].weight_bytes);
        assert_int_equal(info[i].weight_bytes_active, info[1].weight_bytes_active);
        assert_true(info[i].weight_bytes_active < info[i].weight_bytes);
        assert_true(info[i].weight_bytes * 6 < info[0].weight_bytes);
    }
    case_free(&plain);
    case_free(&quantised);
    remove_folders(&p);
}

typedef struct predicted {
    case_list *list;
    size_t n;
} predicted;

static mica_status compare_prediction(void *context, const char *name, mica_safetensors_dtype dtype,
                                      const mica_shape *shape, mica_error *err) {
    predicted *p = context;
    (void)err;
    const case_tensor *t = case_find(p->list, name);
    if (!t) fail_msg("the checkpoint has no %s", name);
    bool is_float = dtype == MICA_SAFETENSORS_BF16;
    if (dtype != t->dtype && !(is_float && t->dtype == MICA_SAFETENSORS_F32))
        fail_msg("%s: dtype %s", name, mica_safetensors_dtype_name(dtype));
    assert_true(mica_shape_equal(&t->shape, shape));
    p->n++;
    return MICA_STATUS_OK;
}

/* Proves: a configuration of MLX predicts exactly the tensors that such a checkpoint has. */
static void predicts_quantised_tensors(void **state) {
    (void)state;
    static const char *const configs[] = {case_gpt_oss, case_qwen3_moe, case_llama};
    static const mica_quant some[] = {{MICA_QUANT_AFFINE, 3, 64, MICA_DTYPE_BF16},
                                      {MICA_QUANT_NVFP4, 4, 16, MICA_DTYPE_U8}};
    for (int i = 0; i < 6; i++) {
        static case_list plain, quantised;
        mica_error err = {0};
        mica_config *c = NULL;
        test_folder f;
        char rule[256];
        test_folder_make(&f);
        case_make(&plain, configs[i / 2], 1);
        case_quantize_all(&plain, some[i % 2], &quantised);
        if (i / 2 == 1)
            for (int layer = 0; layer < 2; layer++) case_switch_layout(&quantised, layer, 4);
        write_rule(some[i % 2], rule);
        case_write(&quantised, configs[i / 2], rule, &f);
        assert_ok(mica_config_load(mica_host_default(), f.path, &c, &err));
        predicted p = {.list = &quantised};
        assert_ok(mica_model_predict(c, compare_prediction, &p, &err));
        assert_int_equal(p.n, quantised.n);
        mica_config_destroy(&c);
        case_free(&plain);
        case_free(&quantised);
        test_folder_remove(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt_oss_in_every_format),
        cmocka_unit_test(tied_embedding),
        cmocka_unit_test(qwen3_moe_in_its_layouts),
        cmocka_unit_test(rules_by_module),
        cmocka_unit_test(counts),
        cmocka_unit_test(predicts_quantised_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
