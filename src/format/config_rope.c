/* The rotary fields of config.json. Until version 5 transformers wrote rope_theta beside
 * rope_scaling; now it writes rope_parameters with the base inside, per layer type where these
 * differ. Both end in the same two structs. */
#include "format/config_parts.h"
#include <string.h>
#include "base/error.h"

static const char *const type_names[] = {
    [MICA_ROPE_DEFAULT] = "default",   [MICA_ROPE_LINEAR] = "linear",
    [MICA_ROPE_DYNAMIC] = "dynamic",   [MICA_ROPE_YARN] = "yarn",
    [MICA_ROPE_LONGROPE] = "longrope", [MICA_ROPE_LLAMA3] = "llama3",
};

/* clang-format off */
#define PLACE(member) offsetof(mica_config_rope, member), offsetof(mica_config_rope, has.member)
#define FIELD(kind, member, min, max) {#member, MICA_FIELD_##kind, PLACE(member), min, max},
#define ALIAS(kind, member, spelling, min, max) \
    {spelling, MICA_FIELD_##kind, PLACE(member), min, max},
static const mica_field fields[] = {
#include "format/config_rope_fields.def"
};
/* clang-format on */

static mica_status read_factors(config_parser *p, const char *key, float *out, int32_t *count,
                                mica_error *err) {
    double v;
    if (mica_json_peek(p->json) == MICA_JSON_NULL) return mica_json_read_null(p->json, err);
    mica_status st = mica_json_begin_array(p->json, err);
    if (st != MICA_STATUS_OK) return mica_fail_prefix(err, st, "%s", key);
    *count = 0;
    while (mica_json_next_item(p->json)) {
        if (*count == MICA_CONFIG_ROPE_FACTORS_MAX)
            return mica_fail(err, MICA_STATUS_LIMIT, "%s: %s: more than %d numbers", p->file, key,
                             MICA_CONFIG_ROPE_FACTORS_MAX);
        st = mica_json_read_double(p->json, &v, err);
        if (st != MICA_STATUS_OK) return mica_fail_prefix(err, st, "%s", key);
        if (!(v >= 1e-6 && v <= 1e6))
            return mica_fail(err, MICA_STATUS_FORMAT, "%s: %s[%d] is %g, expected 1e-06 to 1e+06",
                             p->file, key, *count, v);
        out[(*count)++] = (float)v;
    }
    return mica_json_check(p->json, err);
}

static mica_status read_rope_field(config_parser *p, mica_slice key, mica_config_rope *rope,
                                   mica_error *err) {
    bool is_known;
    if (mica_slice_is(key, "short_factor"))
        return read_factors(p, "short_factor", rope->short_factor, &rope->n_short_factors, err);
    if (mica_slice_is(key, "long_factor"))
        return read_factors(p, "long_factor", rope->long_factor, &rope->n_long_factors, err);
    mica_status st = mica_fields_read(p->json, p->file, key, fields, sizeof fields / sizeof *fields,
                                      rope, &is_known, err);
    if (st == MICA_STATUS_OK && !is_known) st = mica_json_skip(p->json, err);
    return st;
}

static mica_status read_flat(config_parser *p, mica_config_rope *rope, mica_error *err) {
    mica_slice key;
    if (mica_json_peek(p->json) == MICA_JSON_NULL) return mica_json_read_null(p->json, err);
    mica_status st = mica_json_begin_object(p->json, err);
    while (st == MICA_STATUS_OK && mica_json_next_key(p->json, &key))
        st = read_rope_field(p, key, rope, err);
    return st == MICA_STATUS_OK ? mica_json_check(p->json, err) : st;
}

mica_status config_read_rope(config_parser *p, mica_error *err) {
    mica_slice key;
    mica_config *c = p->config;
    if (mica_json_peek(p->json) == MICA_JSON_NULL) return mica_json_read_null(p->json, err);
    mica_status st = mica_json_begin_object(p->json, err);
    if (st != MICA_STATUS_OK) return mica_fail_prefix(err, st, "rope_scaling or rope_parameters");
    while (st == MICA_STATUS_OK && mica_json_next_key(p->json, &key)) {
        bool is_object = mica_json_peek(p->json) == MICA_JSON_OBJECT;
        if (is_object && mica_slice_is(key, "full_attention")) {
            st = read_flat(p, &c->rope, err);
        } else if (is_object && mica_slice_is(key, "sliding_attention")) {
            c->has_rope_local = true;
            st = read_flat(p, &c->rope_local, err);
        } else {
            st = read_rope_field(p, key, &c->rope, err);
        }
    }
    return st == MICA_STATUS_OK ? mica_json_check(p->json, err) : st;
}

/* ---- after all fields ---- */

/* One value that may stand at two places. */
static mica_status join(const config_parser *p, const char *key, double *a, bool *has_a, double *b,
                        bool *has_b, mica_error *err) {
    if (*has_a && *has_b && (*a < *b || *a > *b))
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: %s is %g, but %g in rope_parameters",
                         p->file, key, *a, *b);
    if (*has_a) *b = *a;
    if (*has_b) *a = *b;
    *has_a = *has_b = *has_a || *has_b;
    return MICA_STATUS_OK;
}

static mica_status find_type(const config_parser *p, mica_config_rope *rope, mica_error *err) {
    if (!rope->has.rope_type) {
        bool is_scaled = rope->has.factor || rope->n_long_factors > 0;
        if (!is_scaled) return MICA_STATUS_OK;
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: rope_scaling has no rope_type", p->file);
    }
    for (int i = 0; i < (int)(sizeof type_names / sizeof *type_names); i++)
        if (strcmp(rope->rope_type, type_names[i]) == 0) {
            rope->type = (mica_rope_type)i;
            /* The first Phi-3 files call it yarn. */
            if (rope->type == MICA_ROPE_YARN && rope->n_long_factors > 0)
                rope->type = MICA_ROPE_LONGROPE;
            return MICA_STATUS_OK;
        }
    if (strcmp(rope->rope_type, "su") == 0) { /* an early name */
        rope->type = MICA_ROPE_LONGROPE;
        return MICA_STATUS_OK;
    }
    return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                     "%s: rope_type is \"%s\", expected default, linear, dynamic, yarn, longrope "
                     "or llama3",
                     p->file, rope->rope_type);
}

static void fill_defaults(const mica_config *c, mica_config_rope *rope) {
    if (!rope->has.rope_theta) rope->rope_theta = 10000;
    if (!rope->has.factor) rope->factor = 1;
    if (!rope->has.beta_fast) rope->beta_fast = 32;
    if (!rope->has.beta_slow) rope->beta_slow = 1;
    if (!rope->has.truncate) rope->truncate = true;
    if (!rope->has.partial_rotary_factor) rope->partial_rotary_factor = 1;
    if (!rope->has.original_max_position_embeddings)
        rope->original_max_position_embeddings = c->has.original_max_position_embeddings
                                                     ? c->original_max_position_embeddings
                                                     : c->max_position_embeddings;
}

/* What each kind cannot do without. */
static mica_status check_parts(const config_parser *p, const mica_config_rope *rope,
                               mica_error *err) {
    bool wants_factor = rope->type == MICA_ROPE_LINEAR || rope->type == MICA_ROPE_DYNAMIC ||
                        rope->type == MICA_ROPE_YARN || rope->type == MICA_ROPE_LLAMA3;
    const char *missing = NULL;
    if (wants_factor && !rope->has.factor) missing = "factor";
    if (rope->type == MICA_ROPE_LLAMA3 && !rope->has.low_freq_factor) missing = "low_freq_factor";
    if (rope->type == MICA_ROPE_LLAMA3 && !rope->has.high_freq_factor) missing = "high_freq_factor";
    if (rope->type == MICA_ROPE_LONGROPE && rope->n_short_factors == 0) missing = "short_factor";
    if (rope->type == MICA_ROPE_LONGROPE && rope->n_long_factors == 0) missing = "long_factor";
    if (rope->type != MICA_ROPE_DEFAULT && rope->original_max_position_embeddings == 0)
        missing = "original_max_position_embeddings";
    if (missing)
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: rope_type %s needs %s", p->file,
                         rope->rope_type, missing);
    return MICA_STATUS_OK;
}

/* The original length may stand beside the block as well, for the kinds that read it. */
static mica_status check_original(const config_parser *p, const mica_config_rope *rope,
                                  mica_error *err) {
    const mica_config *c = p->config;
    bool is_read = rope->type == MICA_ROPE_YARN || rope->type == MICA_ROPE_LONGROPE ||
                   rope->type == MICA_ROPE_LLAMA3;
    if (!is_read || !c->has.original_max_position_embeddings ||
        !rope->has.original_max_position_embeddings ||
        c->original_max_position_embeddings == rope->original_max_position_embeddings)
        return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT,
                     "%s: original_max_position_embeddings is %lld, but %lld in rope_parameters",
                     p->file, (long long)c->original_max_position_embeddings,
                     (long long)rope->original_max_position_embeddings);
}

static mica_status finish_one(const config_parser *p, mica_config_rope *rope, mica_error *err) {
    mica_status st = find_type(p, rope, err);
    if (st == MICA_STATUS_OK) st = check_original(p, rope, err);
    if (st != MICA_STATUS_OK) return st;
    fill_defaults(p->config, rope);
    return check_parts(p, rope, err);
}

mica_status config_finish_rope(config_parser *p, mica_error *err) {
    mica_config *c = p->config;
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(join(p, "rope_theta", &c->rope_theta, &c->has.rope_theta, &c->rope.rope_theta,
                  &c->rope.has.rope_theta, err));
    MICA_TRY(join(p, "partial_rotary_factor", &c->partial_rotary_factor,
                  &c->has.partial_rotary_factor, &c->rope.partial_rotary_factor,
                  &c->rope.has.partial_rotary_factor, err));
    if (c->has.rope_local_base_freq) c->has_rope_local = true;
    MICA_TRY(join(p, "rope_local_base_freq", &c->rope_local_base_freq, &c->has.rope_local_base_freq,
                  &c->rope_local.rope_theta, &c->rope_local.has.rope_theta, err));
    MICA_TRY(finish_one(p, &c->rope, err));
    if (c->has_rope_local)
        MICA_TRY(finish_one(p, &c->rope_local, err));
    else
        c->rope_local = c->rope;
    c->rope_theta = c->rope.rope_theta;
    c->partial_rotary_factor = c->rope.partial_rotary_factor;
    if (c->has_rope_local) c->rope_local_base_freq = c->rope_local.rope_theta;
done:
    return st;
}
