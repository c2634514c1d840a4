/* config.json and generation_config.json: real and golden files, both spellings of the rotary
 * fields, and texts that must be refused with the name of the field. */
#include "format/config.h"
#include "format/generation_config.h"
#include "test.h"
#include "test_folder.h"

/* The fields that every config needs, and a place for more. */
#define BASE                                                                                       \
    "\"model_type\":\"x\",\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,"   \
    "\"vocab_size\":100"

static mica_status parse(const char *text, mica_config **out, mica_error *err) {
    return mica_config_parse(mica_host_default(), "config.json", text, strlen(text), out, err);
}

static mica_config *load(const char *folder, const char *name) {
    mica_error err;
    mica_config *c;
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    size_t bytes;
    char *text = test_file_read(path, &bytes);
    assert_ok(mica_config_parse(mica_host_default(), path, text, bytes, &c, &err));
    free(text);
    return c;
}

/* {BASE, more} must be refused with this text in the message. */
static void refuse(const char *more, mica_status status, const char *message) {
    mica_error err = {0};
    mica_config *c;
    char text[4096];
    snprintf(text, sizeof text, "{" BASE ",%s}", more);
    mica_status st = parse(text, &c, &err);
    if (st != status || !strstr(err.message, message))
        fail_msg("%s: %s: %s, expected \"%s\"", more, mica_status_name(st), err.message, message);
    assert_null(c);
}

static mica_config *accept(const char *more) {
    mica_error err;
    mica_config *c;
    char text[4096];
    snprintf(text, sizeof text, "{" BASE "%s%s}", more[0] ? "," : "", more);
    assert_ok(parse(text, &c, &err));
    return c;
}

/* ---- real files ---- */

static void check_gpt_oss_20b(const mica_config *c) {
    assert_string_equal(c->model_type, "gpt_oss");
    assert_string_equal(c->architecture, "GptOssForCausalLM");
    assert_int_equal(c->hidden_size, 2880);
    assert_int_equal(c->intermediate_size, 2880);
    assert_int_equal(c->num_hidden_layers, 24);
    assert_int_equal(c->num_attention_heads, 64);
    assert_int_equal(c->num_key_value_heads, 8);
    assert_int_equal(c->head_dim, 64);
    assert_true(c->attention_bias);
    assert_int_equal(c->num_local_experts, 32);
    assert_int_equal(c->num_experts_per_tok, 4);
    assert_int_equal(c->vocab_size, 201088);
    assert_true(c->has.tie_word_embeddings && !c->tie_word_embeddings);
    assert_true(c->rms_norm_eps == 1e-5);
    assert_int_equal(c->sliding_window, 128);
    assert_int_equal(c->max_position_embeddings, 131072);
    assert_int_equal(c->initial_context_length, 4096);
    assert_true(c->swiglu_limit == 7.0);
    assert_string_equal(c->hidden_act, "silu");
    assert_int_equal(c->dtype, MICA_DTYPE_BF16);
    assert_false(c->has.torch_dtype);
    assert_int_equal(c->pad_token_id, 199999);
    assert_int_equal(c->bos_token_id, -1);
    assert_int_equal(c->eos_token_ids.count, 1);
    assert_int_equal(c->eos_token_ids.ids[0], 200002);
    assert_true(c->has_layer_types);
    for (int i = 0; i < 24; i++)
        assert_int_equal(c->layer_types[i], i % 2 ? MICA_LAYER_FULL : MICA_LAYER_SLIDING);
    assert_int_equal(c->rope.type, MICA_ROPE_YARN);
    assert_true(c->rope.rope_theta == 150000 && c->rope.factor == 32);
    assert_true(c->rope.beta_fast == 32 && c->rope.beta_slow == 1);
    assert_int_equal(c->rope.original_max_position_embeddings, 4096);
    assert_false(c->rope.truncate);
    assert_false(c->has_rope_local);
    assert_true(c->quant.is_present);
    assert_false(c->quant_mlx.is_present);
    assert_string_equal(c->quant.method, "mxfp4");
    assert_int_equal(c->quant.n_not_converted, 4);
    assert_string_equal(c->quant.not_converted[1], "model.layers.*.mlp.router");
}

static void test_gpt_oss_20b(void **state) {
    /* Every field of the real gpt-oss-20b has the value of the model's table. */
    (void)state;
    mica_error err;
    mica_config *c;
    mica_generation_config g;
    mica_token_ids ids;
    char path[1024];
    if (!test_data_folder()) skip();
    snprintf(path, sizeof path, "%s/gpt-oss-20b", test_data_folder());
    assert_ok(mica_config_load(mica_host_default(), path, &c, &err));
    check_gpt_oss_20b(c);
    assert_ok(mica_generation_config_load(mica_host_default(), path, &g, &err));
    assert_true(g.is_present && g.has.do_sample && g.do_sample && !g.has.temperature);
    assert_int_equal(g.bos_token_id, 199998);
    assert_ok(mica_generation_config_merge_eos(&g, c, &ids, &err));
    assert_int_equal(ids.count, 2);
    assert_true(mica_token_ids_has(&ids, 200002) && mica_token_ids_has(&ids, 199999));
    mica_config_destroy(&c);
    assert_null(c);
}

static void test_demo_model(void **state) {
    /* The shipped model's configuration loads, with few allocator calls and no leak. */
    (void)state;
    mica_error err;
    mica_config *c;
    mica_alloc_counter counter;
    mica_alloc_counter_init(&counter, mica_allocator_default());
    mica_host host = {.allocator = &counter.allocator};
    assert_ok(mica_config_load(&host, MICA_SOURCE_DIR "/models/demo", &c, &err));
    assert_int_equal(c->hidden_size, 320);
    assert_int_equal(c->head_dim, 64);
    assert_int_equal(c->bos_token_id, 8183);
    mica_config_destroy(&c);
    assert_int_equal(counter.n_live, 0);
    assert_true(counter.n_calls < 100);
}

static void compare_rope(const mica_config_rope *a, const mica_config_rope *b) {
    assert_int_equal(a->type, b->type);
    assert_true(a->rope_theta == b->rope_theta && a->factor == b->factor);
    assert_true(a->beta_fast == b->beta_fast && a->beta_slow == b->beta_slow);
    assert_true(a->low_freq_factor == b->low_freq_factor);
    assert_true(a->high_freq_factor == b->high_freq_factor);
    assert_int_equal(a->original_max_position_embeddings, b->original_max_position_embeddings);
    assert_int_equal(a->truncate, b->truncate);
}

/* Fields that one version writes and the other leaves to the family's default. */
static bool may_be_left_out(const char *name, const char *member) {
    return (!strcmp(name, "gemma3_text") && (!strcmp(member, "tie_word_embeddings") ||
                                             !strcmp(member, "use_bidirectional_attention"))) ||
           (!strcmp(name, "qwen3_moe") && !strcmp(member, "norm_topk_prob"));
}

#define SAME_INTEGER(x, y) ((x) == (y))
#define SAME_NUMBER(x, y) ((x) == (y))
#define SAME_BOOLEAN(x, y) ((x) == (y))
#define SAME_TEXT(x, y) (strcmp(x, y) == 0)

static void compare_configs(const char *name, const mica_config *a, const mica_config *b) {
#define FIELD(kind, member, min, max)                                                              \
    if (!(a->has.member == b->has.member && SAME_##kind(a->member, b->member)) &&                  \
        !may_be_left_out(name, #member))                                                           \
        fail_msg("%s: %s differs between the versions", name, #member);
#define ALIAS(kind, member, spelling, min, max)
#include "format/config_fields.def"
    assert_string_equal(a->architecture, b->architecture);
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->eos_token_ids.count, b->eos_token_ids.count);
    assert_memory_equal(a->layer_types, b->layer_types, (size_t)a->num_hidden_layers);
    assert_int_equal(a->has_rope_local, b->has_rope_local);
    compare_rope(&a->rope, &b->rope);
    compare_rope(&a->rope_local, &b->rope_local);
}

static void test_both_versions(void **state) {
    /* config.json of transformers 4 and of 5 load to the same values, for seven families. */
    (void)state;
    static const char *const names[] = {"gemma3_text", "gpt_oss", "llama",    "mistral",
                                        "qwen2",       "qwen3",   "qwen3_moe"};
    char path[1024];
    if (!test_data_folder()) skip();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/golden/%s", test_data_folder(), names[i]);
        mica_config *old = load(path, "config.json"), *new = load(path, "config.v5.json");
        compare_configs(names[i], old, new);
        mica_config_destroy(&old);
        mica_config_destroy(&new);
    }
}

static void test_layer_habits(void **state) {
    /* Without layer_types, windows follow the fields that the families use for it. */
    (void)state;
    mica_config *c = accept("\"sliding_window\":8");
    assert_int_equal(c->layer_types[0], MICA_LAYER_SLIDING);
    assert_false(c->has_layer_types);
    mica_config_destroy(&c);
    c = accept("\"sliding_window\":8,\"use_sliding_window\":false");
    assert_int_equal(c->layer_types[0], MICA_LAYER_FULL);
    assert_int_equal(c->sliding_window, 0);
    mica_config_destroy(&c);
    c = accept("\"sliding_window\":8,\"use_sliding_window\":true,\"max_window_layers\":1");
    assert_int_equal(c->layer_types[0], MICA_LAYER_FULL);
    assert_int_equal(c->layer_types[1], MICA_LAYER_SLIDING);
    mica_config_destroy(&c);
    c = accept("\"sliding_window\":8,\"sliding_window_pattern\":2");
    assert_int_equal(c->layer_types[0], MICA_LAYER_SLIDING);
    assert_int_equal(c->layer_types[1], MICA_LAYER_FULL);
    mica_config_destroy(&c);
}

static void test_defaults(void **state) {
    /* What is absent or null follows from the rest. */
    (void)state;
    mica_config *c = accept("\"num_key_value_heads\":null,\"head_dim\":null,\"pad_token_id\":-1,"
                            "\"rope_scaling\":null,\"eos_token_id\":null,\"unknown\":[{\"a\":1}]");
    assert_int_equal(c->num_key_value_heads, 4);
    assert_int_equal(c->head_dim, 16);
    assert_int_equal(c->pad_token_id, -1);
    assert_int_equal(c->eos_token_ids.count, 0);
    assert_int_equal(c->rope.type, MICA_ROPE_DEFAULT);
    assert_true(c->rope.rope_theta == 10000 && c->rope.truncate);
    assert_false(c->has.rope_theta || c->has.head_dim);
    mica_config_destroy(&c);
    c = accept("\"eos_token_id\":[5,6,5],\"rope_scaling\":{\"type\":\"su\",\"short_factor\":[1,2],"
               "\"long_factor\":[3,4.5]},\"original_max_position_embeddings\":77");
    assert_int_equal(c->eos_token_ids.count, 2);
    assert_int_equal(c->rope.type, MICA_ROPE_LONGROPE);
    assert_int_equal(c->rope.n_long_factors, 2);
    assert_true(c->rope.long_factor[1] == 4.5f);
    assert_int_equal(c->rope.original_max_position_embeddings, 77);
    assert_true(c->rope.partial_rotary_factor == 1 && c->partial_rotary_factor == 1);
    assert_false(c->has_no_rope_layers);
    mica_config_destroy(&c);
    c = accept("\"no_rope_layers\":[1,0,1],\"partial_rotary_factor\":0.75,\"rope_scaling\":{"
               "\"type\":\"yarn\",\"short_factor\":[1],\"long_factor\":[2]},"
               "\"max_position_embeddings\":9");
    assert_int_equal(c->rope.type, MICA_ROPE_LONGROPE); /* the first Phi-3 files */
    assert_true(c->rope.partial_rotary_factor == 0.75);
    assert_true(c->has_no_rope_layers); /* longer than the 2 layers is fine */
    assert_int_equal(c->has_no_rope[0], 0);
    assert_int_equal(c->has_no_rope[1], 1);
    mica_config_destroy(&c);
}

static void test_mlx_quantization(void **state) {
    /* MLX rules: a module without mode is affine, false is not quantised, true follows the rest. */
    (void)state;
    mica_config *c = accept("\"quantization\":{\"group_size\":32,\"bits\":4,\"mode\":\"mxfp4\","
                            "\"model.layers.0.mlp.router\":{\"group_size\":64,\"bits\":8},"
                            "\"lm_head\":false,\"model.norm\":true}");
    const mica_config_quant *q = &c->quant_mlx;
    assert_true(q->is_present);
    assert_int_equal(q->mode, MICA_QUANT_MXFP4);
    assert_int_equal(q->bits, 4);
    assert_int_equal(q->group_size, 32);
    assert_int_equal(q->n_rules, 2);
    assert_string_equal(q->rules[0].path, "model.layers.0.mlp.router");
    assert_true(q->rules[0].is_quantized);
    assert_int_equal(q->rules[0].mode, MICA_QUANT_AFFINE);
    assert_int_equal(q->rules[0].bits, 8);
    assert_string_equal(q->rules[1].path, "lm_head");
    assert_false(q->rules[1].is_quantized);
    mica_config_destroy(&c);
    c = accept("\"quantization\":{\"group_size\":64,\"bits\":4}");
    assert_int_equal(c->quant_mlx.mode, MICA_QUANT_AFFINE);
    mica_config_destroy(&c);
}

/* ---- refused ---- */

static void test_types(void **state) {
    /* Integers are integers, and the message names the field. */
    (void)state;
    const mica_status format = MICA_STATUS_FORMAT;
    refuse("\"head_dim\":\"24\"", format, "head_dim");
    refuse("\"head_dim\":24.0", format, "head_dim");
    refuse("\"head_dim\":1e1", format, "head_dim");
    refuse("\"head_dim\":true", format, "head_dim");
    refuse("\"head_dim\":[16]", format, "head_dim");
    refuse("\"attention_bias\":1", format, "attention_bias");
    refuse("\"attention_bias\":\"true\"", format, "attention_bias");
    refuse("\"rms_norm_eps\":\"1e-5\"", format, "rms_norm_eps");
    refuse("\"hidden_act\":3", format, "hidden_act");
    refuse("\"architectures\":\"X\"", format, "architectures");
    refuse("\"architectures\":[1]", format, "architectures");
    refuse("\"layer_types\":\"full_attention\"", format, "layer_types");
    refuse("\"eos_token_id\":\"2\"", format, "eos_token_id");
    refuse("\"eos_token_id\":[2.0]", format, "eos_token_id");
    refuse("\"rope_scaling\":\"yarn\"", format, "rope_scaling");
    refuse("\"quantization_config\":[]", format, "quantization_config");
    refuse("\"hidden_act\":\"0123456789012345678901234567890123456789012345678901234567890123\"",
           format, "hidden_act");
    refuse("\"head_dim\":16,\"head_dim\":16", format, "head_dim");
    refuse("\"head_dim\":16,\"head\\u005fdim\":16", format, "head_dim");
}

static void test_ranges(void **state) {
    /* Each range of the table has both ends. */
    (void)state;
    static const struct {
        const char *text;
        const char *field;
    } cases[] = {
        {"\"head_dim\":0", "head_dim is 0, expected 1 to 1024"},
        {"\"head_dim\":1026", "head_dim"},
        {"\"head_dim\":-16", "head_dim"},
        {"\"head_dim\":15", "even"},
        {"\"head_dim\":9223372036854775808", "head_dim"},
        {"\"intermediate_size\":1048577", "intermediate_size"},
        {"\"num_key_value_heads\":3", "does not divide"},
        {"\"num_key_value_heads\":0", "num_key_value_heads"},
        {"\"num_key_value_heads\":8", "does not divide"},
        {"\"max_position_embeddings\":16777217", "max_position_embeddings"},
        {"\"num_local_experts\":1025", "num_local_experts"},
        {"\"num_local_experts\":4,\"num_experts_per_tok\":5", "more than the 4 experts"},
        {"\"num_local_experts\":4,\"num_experts\":5", "num_experts"},
        {"\"rms_norm_eps\":0", "rms_norm_eps"},
        {"\"rms_norm_eps\":-1e-5", "rms_norm_eps"},
        {"\"rms_norm_eps\":1e999", "rms_norm_eps"},
        {"\"rope_theta\":0", "rope_theta"},
        {"\"rope_theta\":5,\"rope_parameters\":{\"rope_theta\":6}", "rope_theta"},
        {"\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":0}", "factor"},
        {"\"max_position_embeddings\":9,\"rope_scaling\":{\"rope_type\":\"yarn\"}", "needs factor"},
        {"\"rope_scaling\":{\"factor\":2}", "no rope_type"},
        {"\"rope_scaling\":{\"rope_type\":\"linear\",\"type\":\"yarn\",\"factor\":2}", "type"},
        {"\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":2}", "needs"},
        {"\"rope_scaling\":{\"rope_type\":\"longrope\",\"long_factor\":[0]}", "long_factor"},
        {"\"original_max_position_embeddings\":8,\"rope_scaling\":{\"rope_type\":\"yarn\","
         "\"factor\":2,"
         "\"original_max_position_embeddings\":9}",
         "original_max_position_embeddings is 8, but 9"},
        {"\"partial_rotary_factor\":0", "partial_rotary_factor is 0"},
        {"\"partial_rotary_factor\":0.5,\"rope_parameters\":{\"partial_rotary_factor\":0.75}",
         "partial_rotary_factor is 0.5, but 0.75"},
        {"\"no_rope_layers\":[1]", "no_rope_layers has 1 layers, num_hidden_layers is 2"},
        {"\"no_rope_layers\":[1,2]", "no_rope_layers[1] is 2, expected 0 or 1"},
        {"\"no_rope_layers\":[1,-1]", "no_rope_layers[1] is -1"},
        {"\"no_rope_layers\":[1,0.5]", "no_rope_layers"},
        {"\"no_rope_layers\":\"1\"", "no_rope_layers"},
        {"\"no_rope_layer_interval\":0", "no_rope_layer_interval is 0"},
        {"\"layer_types\":[\"full_attention\"]", "layer_types has 1 layers"},
        {"\"layer_types\":[\"full_attention\",\"sliding_attention\"]", "no sliding_window"},
        {"\"eos_token_id\":2097152", "eos_token_id"},
        {"\"eos_token_id\":-1", "eos_token_id"},
        {"\"quantization\":{\"bits\":65}", "bits"},
        {"\"quantization\":{\"bits\":\"4\"}", "bits"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].text, MICA_STATUS_FORMAT, cases[i].field);
}

static void test_unknown_values(void **state) {
    /* Values of a closed list that mica does not know are refused, not guessed at. */
    (void)state;
    const mica_status unsupported = MICA_STATUS_UNSUPPORTED;
    refuse("\"rope_scaling\":{\"rope_type\":\"mrope\"}", unsupported, "rope_type is \"mrope\"");
    refuse("\"layer_types\":[\"linear_attention\",\"full_attention\"]", unsupported,
           "layer_types[0] is \"linear_attention\"");
    refuse("\"torch_dtype\":\"float8\"", unsupported, "torch_dtype is \"float8\"");
    refuse("\"quantization\":{\"mode\":\"q4\"}", unsupported, "mode is \"q4\"");
}

static void test_required(void **state) {
    /* A config without one of the fields that every model has is refused by its name. */
    (void)state;
    static const char *const keys[] = {"model_type", "hidden_size", "num_hidden_layers",
                                       "num_attention_heads", "vocab_size"};
    for (size_t i = 0; i < 5; i++) {
        char text[1024] = "{" BASE "}";
        char *at = strstr(text, keys[i]);
        assert_non_null(at);
        at[0] = 'X';
        mica_error err;
        mica_config *c;
        assert_int_equal(parse(text, &c, &err), MICA_STATUS_FORMAT);
        assert_non_null(strstr(err.message, keys[i]));
        assert_non_null(strstr(err.message, "missing"));
    }
}

static void test_texts(void **state) {
    /* Not JSON, an LFS pointer, too long: each is said. */
    (void)state;
    mica_error err;
    mica_config *c;
    assert_int_equal(parse("", &c, &err), MICA_STATUS_FORMAT);
    assert_int_equal(parse("[]", &c, &err), MICA_STATUS_FORMAT);
    assert_int_equal(parse("{" BASE "}{}", &c, &err), MICA_STATUS_FORMAT);
    assert_int_equal(parse("version https://git-lfs.github.com/spec/v1\n", &c, &err),
                     MICA_STATUS_FORMAT);
    assert_non_null(strstr(err.message, "Git LFS pointer"));
    char *spaces = malloc(MICA_CONFIG_BYTES_MAX + 1);
    assert_non_null(spaces);
    memset(spaces, ' ', MICA_CONFIG_BYTES_MAX + 1);
    assert_int_equal(mica_config_parse(mica_host_default(), "config.json", spaces,
                                       MICA_CONFIG_BYTES_MAX + 1, &c, &err),
                     MICA_STATUS_LIMIT);
    free(spaces);
}

typedef struct log_text {
    char text[512];
} log_text;

static void keep_log(void *context, mica_log_level level, const char *text) {
    (void)level;
    snprintf(((log_text *)context)->text, sizeof(log_text), "%s", text);
}

static void test_code_is_ignored(void **state) {
    /* auto_map is passed over with a line in the log. */
    (void)state;
    mica_error err;
    mica_config *c;
    log_text log = {{0}};
    mica_host host = {mica_allocator_default(), keep_log, &log, MICA_LOG_INFO, NULL};
    static const char text[] = "{" BASE ",\"auto_map\":{\"AutoConfig\":\"evil.Config\"}}";
    assert_ok(mica_config_parse(&host, "config.json", text, sizeof text - 1, &c, &err));
    assert_non_null(strstr(log.text, "auto_map is ignored"));
    mica_config_destroy(&c);
}

static void test_generation_config(void **state) {
    /* Values and ranges of generation_config.json; a missing file is no error. */
    (void)state;
    mica_error err;
    mica_generation_config g;
    test_folder f;
    static const char good[] = "{\"do_sample\":true,\"temperature\":0.6,\"top_k\":-1,\"top_p\":1,"
                               "\"eos_token_id\":7,\"min_p\":null}";
    static const char *const bad[] = {
        "{\"temperature\":-0.1}",    "{\"temperature\":\"1\"}", "{\"top_p\":1.5}",
        "{\"top_k\":1.0}",           "{\"min_p\":-1}",          "{\"repetition_penalty\":0}",
        "{\"do_sample\":1}",         "{\"eos_token_id\":[-1]}", "[]",
        "{\"top_p\":1,\"top_p\":1}", "version https://git-lfs"};
    const mica_host *host = mica_host_default();
    assert_ok(mica_generation_config_parse(host, "g", good, sizeof good - 1, &g, &err));
    assert_true(g.do_sample && g.temperature == 0.6 && g.top_p == 1);
    assert_true(g.has.top_k && g.top_k == 0);
    assert_false(g.has.min_p || g.has.repetition_penalty);
    assert_int_equal(g.bos_token_id, -1);
    assert_true(mica_token_ids_has(&g.eos_token_ids, 7));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(mica_generation_config_parse(host, "g", bad[i], strlen(bad[i]), &g, &err),
                         MICA_STATUS_FORMAT);
        assert_false(g.is_present);
    }
    test_folder_make(&f);
    assert_ok(mica_generation_config_load(host, f.path, &g, &err));
    assert_false(g.is_present);
    mica_config *c;
    assert_int_equal(mica_config_load(host, f.path, &c, &err), MICA_STATUS_NOT_FOUND);
    test_folder_remove(&f);
}

static void test_no_memory(void **state) {
    /* Whichever allocation fails: a status, no leak, no crash. */
    (void)state;
    static const char text[] =
        "{" BASE ",\"quantization\":{\"bits\":4,\"a.b\":{\"bits\":8},\"c\":false},"
        "\"quantization_config\":{\"modules_to_not_convert\":[\"a\",\"b\\u0041\"]},"
        "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2},"
        "\"max_position_embeddings\":64}";
    for (int64_t fail_at = 1;; fail_at++) {
        mica_error err;
        mica_config *c;
        mica_alloc_counter counter;
        mica_alloc_counter_init(&counter, mica_allocator_default());
        counter.fail_at = fail_at;
        mica_host host = {.allocator = &counter.allocator};
        mica_status st = mica_config_parse(&host, "c", text, sizeof text - 1, &c, &err);
        bool is_through = counter.n_calls < fail_at;
        assert_int_equal(st, is_through ? MICA_STATUS_OK : MICA_STATUS_OUT_OF_MEMORY);
        mica_config_destroy(&c);
        assert_int_equal(counter.n_live, 0);
        if (is_through) break;
        assert_true(fail_at < 1000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt_oss_20b),
        cmocka_unit_test(test_demo_model),
        cmocka_unit_test(test_both_versions),
        cmocka_unit_test(test_layer_habits),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_mlx_quantization),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_unknown_values),
        cmocka_unit_test(test_required),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_code_is_ignored),
        cmocka_unit_test(test_generation_config),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
