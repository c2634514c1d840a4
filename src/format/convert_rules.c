/* Overrides, rules of families, recipes. Each is a table; convert_rules_choose asks them in turn.
 */
#include "format/convert_rules.h"
#include <string.h>
#include "base/error.h"

enum { GROUP_DEFAULT = 64 };

/* ---- tables ---- */

/* Modules that a family stores in a way of their own, whatever the rest becomes.
 * if_mode      only when they are stored so now; NONE: in any case
 * to           NONE: they stay as they are
 * is_for_recipes   also when a recipe decides the rest */
typedef struct family_rule {
    const char *model_type;
    const char *pattern;
    uint8_t if_mode;
    mica_quant_spec to;
    bool is_for_recipes;
} family_rule;

static const family_rule family_rules[] = {
    /* A router that errs picks another expert. */
    {"gpt_oss", "*.mlp.router", MICA_QUANT_NONE, {MICA_QUANT_AFFINE, 8, 64}, true},
    {"qwen3_moe", "*.mlp.gate", MICA_QUANT_NONE, {MICA_QUANT_AFFINE, 8, 64}, true},
    /* Trained in this format: any other is larger or worse. */
    {"gpt_oss", "*.mlp.experts.*", MICA_QUANT_MXFP4, {MICA_QUANT_NONE, 0, 0}, true},
    /* So small that block scales of the float formats round to zero. */
    {"granite", "*.self_attn.o_proj", MICA_QUANT_NONE, {MICA_QUANT_AFFINE, 8, 64}, false},
    {"granite", "*.mlp.down_proj", MICA_QUANT_NONE, {MICA_QUANT_AFFINE, 8, 64}, false},
    {"granite", "lm_head", MICA_QUANT_NONE, {MICA_QUANT_AFFINE, 8, 64}, false},
};

/* Most modules get low_bits; the head, and v_proj and down_proj of layers near the ends and of
 * every third one between, get high_bits. The choice of layers is mlx-lm's, so that sizes compare.
 */
typedef struct convert_recipe {
    const char *name;
    uint8_t low_bits;
    uint8_t high_bits;
} convert_recipe;

static const convert_recipe recipes[] = {
    {"mixed_2_6", 2, 6},
    {"mixed_3_4", 3, 4},
    {"mixed_3_6", 3, 6},
    {"mixed_4_6", 4, 6},
};

/* ---- reading the options ---- */

static mica_status read_dtype(const char *name, mica_dtype *out, mica_error *err) {
    static const mica_dtype dtypes[] = {MICA_DTYPE_BF16, MICA_DTYPE_F16, MICA_DTYPE_F32};
    if (!name) return MICA_STATUS_OK;
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(name, mica_dtype_name(dtypes[i])) == 0) {
            *out = dtypes[i];
            return MICA_STATUS_OK;
        }
    return mica_fail(err, MICA_STATUS_INVALID, "dtype \"%.64s\", expected bf16, f16 or f32", name);
}

static mica_status read_quantize(convert_rules *r, mica_error *err) {
    const char *text = r->options->quantize;
    if (!text) return MICA_STATUS_OK;
    mica_status st = mica_quant_spec_parse(mica_slice_from(text), &r->base, err);
    if (st != MICA_STATUS_OK) return st;
    if (r->base.mode == MICA_QUANT_NONE)
        return mica_fail(err, MICA_STATUS_INVALID,
                         "quantize \"none\": a dtype alone makes all weights plain");
    r->has_base = true;
    return MICA_STATUS_OK;
}

static mica_status read_recipe(convert_rules *r, mica_error *err) {
    char text[32];
    const char *name = r->options->recipe;
    if (!name) return MICA_STATUS_OK;
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        if (strcmp(name, recipes[i].name) == 0) r->recipe = &recipes[i];
    if (!r->recipe)
        return mica_fail(err, MICA_STATUS_INVALID,
                         "recipe \"%.64s\", expected mixed_2_6, mixed_3_4, mixed_3_6 or mixed_4_6",
                         name);
    if (!r->has_base)
        r->base = (mica_quant_spec){MICA_QUANT_AFFINE, r->recipe->low_bits, GROUP_DEFAULT};
    if (r->base.mode != MICA_QUANT_AFFINE || r->base.bits != r->recipe->low_bits)
        return mica_fail(err, MICA_STATUS_INVALID,
                         "recipe %s stores most weights as affine:%d, but %s was asked for", name,
                         r->recipe->low_bits, mica_quant_spec_format(r->base, text));
    r->has_base = true;
    return MICA_STATUS_OK;
}

/* "PATTERN=SPEC"; the pattern may hold '='. */
static mica_status split_override(const char *text, mica_slice *pattern, mica_quant_spec *spec,
                                  mica_error *err) {
    const char *equals = strrchr(text, '=');
    if (!equals || equals == text)
        return mica_fail(err, MICA_STATUS_INVALID,
                         "override \"%.128s\", expected PATTERN=affine:8:64 or PATTERN=none", text);
    *pattern = mica_slice_of(text, (size_t)(equals - text));
    return mica_quant_spec_parse(mica_slice_from(equals + 1), spec, err);
}

mica_status convert_rules_read(const mica_convert_options *options, const mica_config *config,
                               convert_rules *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_slice pattern;
    mica_quant_spec spec;
    *out = (convert_rules){.options = options, .config = config};
    MICA_TRY(read_dtype(options->dtype, &out->dtype, err));
    MICA_TRY(read_quantize(out, err));
    MICA_TRY(read_recipe(out, err));
    MICA_REQUIRE(options->overrides || options->n_overrides == 0, MICA_STATUS_INVALID,
                 "overrides are counted, but not given");
    for (size_t i = 0; i < options->n_overrides; i++)
        MICA_TRY(split_override(options->overrides[i], &pattern, &spec, err));
done:
    return st;
}

/* ---- choosing ---- */

/* Two places to go on from: behind the last '*' of the pattern, and one byte later in the text. */
static bool glob_matches(mica_slice pattern, const char *text) {
    size_t p = 0, star = SIZE_MAX;
    const char *resume = NULL;
    while (*text) {
        if (p < pattern.bytes && pattern.data[p] == '*') {
            star = p++;
            resume = text;
        } else if (p < pattern.bytes && (pattern.data[p] == '?' || pattern.data[p] == *text)) {
            p++;
            text++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.bytes && pattern.data[p] == '*') p++;
    return p == pattern.bytes;
}

bool convert_glob_matches(const char *pattern, const char *text) {
    return glob_matches(mica_slice_from(pattern), text);
}

/* The number behind "layers.", or 0 for what belongs to no layer. */
static int64_t layer_of(const char *path) {
    int64_t layer = 0;
    const char *at = strstr(path, "layers.");
    if (at) at += strlen("layers.");
    if (at && !mica_parse_i64(mica_slice_of(at, strspn(at, "0123456789")), &layer)) return 0;
    return layer;
}

static mica_quant_spec recipe_spec(const convert_rules *r, const char *path) {
    mica_quant_spec spec = r->base;
    int64_t n = r->config->num_hidden_layers, i = layer_of(path);
    bool is_outer = i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
    bool is_sensitive = strstr(path, "v_proj") || strstr(path, "down_proj");
    if ((is_sensitive && is_outer) || strstr(path, "lm_head")) spec.bits = r->recipe->high_bits;
    return spec;
}

static const family_rule *find_family_rule(const convert_rules *r, const char *path,
                                           mica_quant_spec from) {
    for (size_t i = 0; i < sizeof family_rules / sizeof *family_rules; i++) {
        const family_rule *rule = &family_rules[i];
        if (strcmp(rule->model_type, r->config->model_type) != 0) continue;
        if (rule->if_mode != MICA_QUANT_NONE && rule->if_mode != from.mode) continue;
        if (r->recipe && !rule->is_for_recipes) continue;
        if (convert_glob_matches(rule->pattern, path)) return rule;
    }
    return NULL;
}

static convert_choice keep(mica_quant_spec from) { return (convert_choice){CONVERT_KEEP, from, 1}; }

static convert_choice store(mica_quant_spec spec) {
    return (convert_choice){CONVERT_STORE, spec, spec.group};
}

convert_choice convert_rules_choose(const convert_rules *r, const char *path,
                                    mica_quant_spec from) {
    mica_slice pattern;
    mica_quant_spec spec;
    for (size_t i = r->options->n_overrides; i-- > 0;)
        if (split_override(r->options->overrides[i], &pattern, &spec, NULL) == MICA_STATUS_OK &&
            glob_matches(pattern, path))
            return store(spec);
    if (!r->has_base) return r->dtype ? store((mica_quant_spec){0}) : keep(from);
    const family_rule *rule = find_family_rule(r, path, from);
    if (!rule) return store(r->recipe ? recipe_spec(r, path) : r->base);
    if (rule->to.mode == MICA_QUANT_NONE) return keep(from);
    convert_choice choice = store(rule->to);
    if (r->base.group > choice.row_multiple) choice.row_multiple = r->base.group;
    return choice;
}
