/* quantization_config of other programs: what each of them writes, both places, strict types, and
 * groups that differ. MLX's own quantization is tested with the rest of the config. */
#include "format/config.h"
#include "test.h"

#define BASE                                                                                       \
    "\"model_type\":\"x\",\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,"   \
    "\"vocab_size\":100"

static mica_status parse(const char *more, mica_config **out, mica_error *err) {
    char text[4096];
    snprintf(text, sizeof text, "{" BASE ",%s}", more);
    return mica_config_parse(mica_host_default(), "config.json", text, strlen(text), out, err);
}

static mica_config *accept(const char *more) {
    mica_error err;
    mica_config *c;
    assert_ok(parse(more, &c, &err));
    return c;
}

static void refuse(const char *more, mica_status status, const char *message) {
    mica_error err = {0};
    mica_config *c;
    mica_status st = parse(more, &c, &err);
    if (st != status || !strstr(err.message, message))
        fail_msg("%s: %s: %s, expected \"%s\"", more, mica_status_name(st), err.message, message);
    assert_null(c);
}

static void test_flat(void **state) {
    /* The flat fields of AWQ, GPTQ and FP8; null means absent. */
    (void)state;
    mica_config *c =
        accept("\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":-1,"
               "\"sym\":false,\"desc_act\":true,\"checkpoint_format\":\"gptq_v2\",\"version\":null,"
               "\"pack_dtype\":\"int32\",\"dynamic\":{\"-:x\":{}},\"meta\":{\"a\":[1]}}");
    const mica_config_quant *q = &c->quant;
    assert_true(q->is_present);
    assert_int_equal(q->bits, 4);
    assert_int_equal(q->group_size, MICA_CONFIG_QUANT_WHOLE_ROW);
    assert_true(q->has.sym && !q->sym && q->has.desc_act && q->desc_act);
    assert_string_equal(q->checkpoint_format, "gptq_v2");
    assert_string_equal(q->pack_dtype, "int32");
    assert_false(q->has.version || q->has.zero_point);
    mica_config_destroy(&c);
    c = accept("\"quantization_config\":{\"quant_method\":\"fp8\",\"fmt\":\"e4m3\","
               "\"weight_block_size\":[128,64],\"activation_scheme\":\"dynamic\","
               "\"modules_to_not_convert\":[\"lm_head\"]}");
    assert_int_equal(c->quant.weight_block_size[0], 128);
    assert_int_equal(c->quant.weight_block_size[1], 64);
    assert_string_equal(c->quant.fmt, "e4m3");
    assert_string_equal(c->quant.activation_scheme, "dynamic");
    assert_int_equal(c->quant.n_not_converted, 1);
    mica_config_destroy(&c);
}

#define WEIGHTS(more)                                                                              \
    "{\"targets\":[\"Linear\"],\"input_activations\":{\"num_bits\":8,\"dynamic\":\"local\"},"      \
    "\"weights\":{\"num_bits\":4,\"type\":\"int\",\"strategy\":\"group\"" more "}}"

#define GROUP_A WEIGHTS(",\"group_size\":32,\"symmetric\":true,\"x\":[{}]")
#define GROUP_C WEIGHTS(",\"symmetric\":true,\"group_size\":32")

static void test_groups(void **state) {
    /* config_groups: one kind of weights, said once or more often; groups without weights. */
    (void)state;
    static const char text[] =
        "\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"f\","
        "\"config_groups\":{\"a\":" GROUP_A ",\"b\":{\"weights\":null},\"c\":" GROUP_C "},"
        "\"sparsity_config\":{\"format\":\"dense\",\"targets\":[]},\"ignore\":[\"re:a\"],"
        "\"kv_cache_scheme\":null}";
    mica_config *c = accept(text);
    const mica_config_quant_weights *w = &c->quant.weights;
    assert_int_equal(c->quant.n_weights, 2);
    assert_int_equal(w->num_bits, 4);
    assert_string_equal(w->type, "int");
    assert_string_equal(w->strategy, "group");
    assert_int_equal(w->group_size, 32);
    assert_true(w->has.symmetric && w->symmetric);
    assert_false(w->has.actorder);
    assert_string_equal(c->quant.format, "f");
    assert_string_equal(c->quant.sparsity_format, "dense");
    mica_config_destroy(&c);
    c = accept("\"quantization_config\":{\"config_groups\":null,\"sparsity_config\":null,"
               "\"weight_block_size\":null}");
    assert_int_equal(c->quant.n_weights, 0);
    assert_int_equal(c->quant.weight_block_size[0], 0);
    mica_config_destroy(&c);
}

static void test_groups_differ(void **state) {
    /* Groups that differ are refused with what both say. */
    (void)state;
    refuse(
        "\"quantization_config\":{\"config_groups\":{\"a\":" WEIGHTS(
            ",\"group_size\":32") ",\"b\":" WEIGHTS(",\"group_size\":64,\"symmetric\":false,"
                                                    "\"actorder\":\"group\"") "}}",
        MICA_STATUS_UNSUPPORTED,
        "config.json: quantization_config.config_groups differ: 4 bit int, strategy group, group "
        "32; and 4 bit int, asymmetric, strategy group, group 64, actorder group");
    static const char *const others[] = {
        ",\"symmetric\":true",
        ",\"symmetric\":false",
        ",\"actorder\":\"weight\"",
        ",\"group_size\":-1",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 "\"quantization_config\":{\"config_groups\":{\"a\":%s,\"b\":{\"weights\":"
                 "{\"num_bits\":4,\"type\":\"int\",\"strategy\":\"group\"%s}}}}",
                 WEIGHTS(""), others[i]);
        refuse(text, MICA_STATUS_UNSUPPORTED, "differ");
    }
}

static void test_nested(void **state) {
    /* quantization_config and quantization may stand in text_config; not in both places. */
    (void)state;
    mica_config *c =
        accept("\"text_config\":{\"hidden_size\":\"not read\",\"quantization_config\":{"
               "\"quant_method\":\"awq\",\"bits\":4}}");
    assert_string_equal(c->quant.method, "awq");
    assert_int_equal(c->hidden_size, 64);
    mica_config_destroy(&c);
    c = accept("\"text_config\":{\"quantization\":{\"bits\":8,\"a\":false}}");
    assert_true(c->quant_mlx.is_present);
    assert_int_equal(c->quant_mlx.bits, 8);
    assert_int_equal(c->quant_mlx.n_rules, 1);
    mica_config_destroy(&c);
    c = accept("\"text_config\":null");
    assert_false(c->quant.is_present);
    mica_config_destroy(&c);
    refuse("\"quantization_config\":{},\"text_config\":{\"quantization_config\":{}}",
           MICA_STATUS_FORMAT, "quantization_config stands both at the top and in text_config");
    refuse("\"text_config\":{\"quantization\":{}},\"quantization\":{}", MICA_STATUS_FORMAT,
           "stands both");
}

static void test_types(void **state) {
    /* Types and ranges, with the place in the message. */
    (void)state;
    static const struct {
        const char *field;
        const char *message;
    } cases[] = {
        {"\"bits\":-1", "quantization_config.bits is -1, expected 0 to 64"},
        {"\"bits\":4.0", "quantization_config.bits"},
        {"\"group_size\":-2", "group_size is -2, expected -1 to 65536"},
        {"\"group_size\":65537", "group_size is 65537"},
        {"\"sym\":1", "quantization_config: sym"},
        {"\"desc_act\":\"true\"", "quantization_config: desc_act"},
        {"\"zero_point\":0", "quantization_config: zero_point"},
        {"\"version\":2", "quantization_config: version"},
        {"\"quant_method\":7", "quantization_config.quant_method"},
        {"\"quant_method\":\"a\\u0000b\"", "quant_method has 3 bytes"},
        {"\"format\":[]", "quantization_config: format"},
        {"\"weight_block_size\":128", "quantization_config.weight_block_size"},
        {"\"weight_block_size\":[128]", "weight_block_size has 1 numbers"},
        {"\"weight_block_size\":[1,2,3,4]", "weight_block_size has 3 numbers or more"},
        {"\"weight_block_size\":[0,1]", "weight_block_size is 0, expected 1 to 65536"},
        {"\"config_groups\":[]", "quantization_config.config_groups"},
        {"\"config_groups\":{\"a\":1}", "quantization_config.config_groups"},
        {"\"config_groups\":{\"a\":{\"weights\":[]}}", "config_groups"},
        {"\"config_groups\":{\"a\":{\"weights\":{\"num_bits\":0}}}", "num_bits is 0, expected 1"},
        {"\"config_groups\":{\"a\":{\"weights\":{\"num_bits\":\"4\"}}}", "num_bits"},
        {"\"config_groups\":{\"a\":{\"weights\":{\"group_size\":-2}}}", "group_size is -2"},
        {"\"config_groups\":{\"a\":{\"weights\":{\"symmetric\":\"yes\"}}}", "symmetric"},
        {"\"config_groups\":{\"a\":{\"format\":4}}", "format"},
        {"\"sparsity_config\":{\"format\":1}", "sparsity_config.format"},
        {"\"ignore\":[1]", "quantization_config"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        snprintf(text, sizeof text, "\"quantization_config\":{%s}", cases[i].field);
        refuse(text, MICA_STATUS_FORMAT, cases[i].message);
    }
    refuse("\"quantization\":{\"group_size\":-1}", MICA_STATUS_FORMAT, "group_size is -1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flat),          cmocka_unit_test(test_groups),
        cmocka_unit_test(test_groups_differ), cmocka_unit_test(test_nested),
        cmocka_unit_test(test_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
