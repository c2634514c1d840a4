/* Which module is stored how: overrides, families, recipes. */
#include "format/convert_rules.h"
#include "format/convert.h"
#include "test.h"

static mica_quant_spec choose(const char *model_type, int64_t n_layers, const char *path,
                              const mica_convert_options *o, const char *from_text) {
    mica_error err = {0};
    convert_rules rules;
    mica_quant_spec from;
    mica_config config = {.num_hidden_layers = n_layers};
    snprintf(config.model_type, sizeof config.model_type, "%s", model_type);
    assert_ok(mica_quant_spec_parse(mica_slice_from(from_text), &from, &err));
    assert_ok(convert_rules_read(o, &config, &rules, &err));
    convert_choice choice = convert_rules_choose(&rules, path, from);
    return choice.action == CONVERT_KEEP ? from : choice.spec;
}

static void expect_choice(const char *model_type, const char *path, const mica_convert_options *o,
                          const char *from, const char *wanted) {
    char text[32];
    mica_quant_spec_format(choose(model_type, 32, path, o, from), text);
    if (strcmp(text, wanted) != 0) fail_msg("%s %s: %s, wanted %s", model_type, path, text, wanted);
}

static void test_family_rules(void **state) {
    /* Routers get 8 bits, experts that are mxfp4 stay so, whatever the rest becomes. */
    (void)state;
    mica_convert_options fp = {.quantize = "nvfp4"}, mixed = {.recipe = "mixed_2_6"}, none = {0};
    mica_convert_options plain = {.dtype = "bf16"};
    static const char router[] = "model.layers.3.mlp.router", gate[] = "model.layers.3.mlp.gate";
    static const char expert[] = "model.layers.3.mlp.experts.up_proj";
    static const char o_proj[] = "model.layers.9.self_attn.o_proj";
    expect_choice("gpt_oss", router, &fp, "none", "affine:8:64");
    expect_choice("gpt_oss", router, &mixed, "none", "affine:8:64");
    expect_choice("gpt_oss", router, &none, "none", "none");
    expect_choice("gpt_oss", expert, &fp, "mxfp4", "mxfp4");
    expect_choice("gpt_oss", expert, &mixed, "mxfp4", "mxfp4");
    expect_choice("gpt_oss", expert, &fp, "none", "nvfp4");
    expect_choice("gpt_oss", expert, &plain, "mxfp4", "none");
    expect_choice("qwen3_moe", gate, &fp, "none", "affine:8:64");
    expect_choice("qwen3_moe", "model.layers.3.mlp.gate_proj", &fp, "none", "nvfp4");
    expect_choice("llama", router, &fp, "none", "nvfp4");
    expect_choice("granite", o_proj, &fp, "none", "affine:8:64");
    expect_choice("granite", o_proj, &mixed, "none", "affine:2:64");
    expect_choice("llama", o_proj, &none, "affine:4:64", "affine:4:64");
}

static void test_row_multiple(void **state) {
    /* A router is not quantised where its rows are no whole groups of what was asked for. */
    (void)state;
    static const struct {
        const char *quantize, *path;
        int64_t multiple;
    } cases[] = {{"affine:4:128", "model.layers.0.mlp.router", 128},
                 {"nvfp4", "model.layers.0.mlp.router", 64},
                 {"nvfp4", "model.layers.0.self_attn.q_proj", 16}};
    mica_config config = {.num_hidden_layers = 1, .model_type = "gpt_oss"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mica_error err = {0};
        convert_rules rules;
        mica_convert_options o = {.quantize = cases[i].quantize};
        assert_ok(convert_rules_read(&o, &config, &rules, &err));
        convert_choice choice = convert_rules_choose(&rules, cases[i].path, (mica_quant_spec){0});
        assert_int_equal(choice.row_multiple, cases[i].multiple);
    }
}

static void test_recipes(void **state) {
    /* The layers that get more bits: the first and last eighth, and every third between. */
    (void)state;
    mica_convert_options o = {.recipe = "mixed_3_6"};
    for (int64_t n = 1; n <= 48; n++)
        for (int64_t i = 0; i < n; i++) {
            char v[64], q[64], down[64];
            snprintf(v, sizeof v, "model.layers.%d.self_attn.v_proj", (int)i);
            snprintf(q, sizeof q, "model.layers.%d.self_attn.q_proj", (int)i);
            snprintf(down, sizeof down, "model.layers.%d.mlp.down_proj", (int)i);
            bool is_high = i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
            assert_int_equal(choose("llama", n, v, &o, "none").bits, is_high ? 6 : 3);
            assert_int_equal(choose("llama", n, down, &o, "none").bits, is_high ? 6 : 3);
            assert_int_equal(choose("llama", n, q, &o, "none").bits, 3);
        }
    static const struct {
        const char *name, *quantize, *low, *high;
    } cases[] = {{"mixed_2_6", NULL, "affine:2:64", "affine:6:64"},
                 {"mixed_3_4", NULL, "affine:3:64", "affine:4:64"},
                 {"mixed_3_6", "affine:3:32", "affine:3:32", "affine:6:32"},
                 {"mixed_4_6", "affine", "affine:4:64", "affine:6:64"}};
    for (size_t i = 0; i < 4; i++) {
        mica_convert_options c = {.recipe = cases[i].name, .quantize = cases[i].quantize};
        expect_choice("llama", "lm_head", &c, "none", cases[i].high);
        expect_choice("llama", "model.embed_tokens", &c, "none", cases[i].low);
    }
}

static void test_overrides(void **state) {
    /* The last override that matches decides, before everything else, also alone. */
    (void)state;
    const char *texts[] = {"*.mlp.*=affine:8:32", "*.layers.1?.mlp.up_proj=mxfp8", "lm_head=none",
                           "model.layers.3.mlp.experts.*=nvfp4"};
    mica_convert_options o = {.quantize = "affine:4:64", .overrides = texts, .n_overrides = 4};
    mica_convert_options alone = {.overrides = texts, .n_overrides = 4};
    expect_choice("llama", "model.layers.1.mlp.up_proj", &o, "none", "affine:8:32");
    expect_choice("llama", "model.layers.12.mlp.up_proj", &o, "none", "mxfp8");
    expect_choice("llama", "model.layers.112.mlp.up_proj", &o, "none", "affine:8:32");
    expect_choice("llama", "lm_head", &o, "affine:4:64", "none");
    expect_choice("llama", "lm_head2", &o, "none", "affine:4:64");
    expect_choice("gpt_oss", "model.layers.3.mlp.router", &o, "none", "affine:8:32");
    expect_choice("gpt_oss", "model.layers.3.mlp.experts.up_proj", &o, "mxfp4", "nvfp4");
    expect_choice("llama", "model.layers.1.self_attn.q_proj", &alone, "none", "none");
    expect_choice("llama", "model.layers.1.self_attn.q_proj", &alone, "mxfp4", "mxfp4");
}

static void test_globs(void **state) {
    /* * takes anything, dots too, ? one byte; the whole text has to match. */
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {{"", "", true},          {"", "a", false},        {"*", "", true},
                 {"*", "a.b", true},      {"a*c", "abbc", true},   {"a*c", "abcd", false},
                 {"?", "", false},        {"a?c", "a.c", true},    {"*ab*ab", "abxab", true},
                 {"*ab*ab", "ab", false}, {"**a", "bca", true},    {"a.b", "axb", false},
                 {"*.x", "a.x.x", true},  {"*a*b*c", "cba", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (convert_glob_matches(cases[i].pattern, cases[i].text) != cases[i].matches)
            fail_msg("\"%s\" and \"%s\"", cases[i].pattern, cases[i].text);
    char pattern[201], text[4001]; /* no exponential time */
    for (size_t i = 0; i < 100; i++) memcpy(pattern + 2 * i, "*a", 2);
    memset(text, 'a', 4000);
    text[3999] = 'b';
    pattern[200] = text[4000] = '\0';
    assert_false(convert_glob_matches(pattern, text));
}

static void test_options_refused(void **state) {
    /* Options that mean nothing or contradict each other, before anything is opened. */
    (void)state;
    const char *bad_overrides[] = {"=mxfp4", "lm_head", "lm_head=", "lm_head=affine:7"};
    mica_convert_options cases[] = {
        {.quantize = "q4"},
        {.quantize = "none"},
        {.dtype = "float32"},
        {.dtype = ""},
        {.recipe = "mixed_5_6"},
        {.recipe = "mixed_4_6", .quantize = "affine:3:64"},
        {.recipe = "mixed_4_6", .quantize = "mxfp4"},
        {.n_threads = -1},
        {.n_threads = 100000},
        {.n_overrides = 1},
        {.overrides = bad_overrides, .n_overrides = 1},
        {.overrides = bad_overrides + 1, .n_overrides = 1},
        {.overrides = bad_overrides + 2, .n_overrides = 1},
        {.overrides = bad_overrides + 3, .n_overrides = 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mica_error err = {0};
        if (mica_convert_check(&cases[i], &err) != MICA_STATUS_INVALID)
            fail_msg("case %zu passed", i);
        assert_true(strlen(err.message) > 10);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_family_rules), cmocka_unit_test(test_row_multiple),
        cmocka_unit_test(test_recipes),      cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_globs),        cmocka_unit_test(test_options_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
