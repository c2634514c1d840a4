/* Rotations of a GGUF file as fields of config.json. Two kinds stand in tensors: the divisors of
 * LongRoPE, and those that the converter computes for Llama 3 (rope_freqs). The latter are turned
 * back into Llama 3's parameters where those give the same divisors, else written as LongRoPE with
 * one list for every length, which means the same. */
#include <math.h>
#include "base/error.h"
#include "format/config.h"
#include "format/gguf_config_parts.h"
#include "format/gguf_json.h"

#define GEMMA3_LOCAL_BASE 10000.0
#define LLAMA3_ORIGINAL 8192.0
#define LLAMA3_LOW 1.0
#define LLAMA3_HIGH 4.0
#define LLAMA3_TOLERANCE 1e-4 /* the converter computes in f32 */
#define TWO_PI 6.283185307179586476925

enum { FACTORS_MAX = MICA_CONFIG_ROPE_FACTORS_MAX };

typedef struct rope_list {
    float factors[FACTORS_MAX];
    int64_t count; /* 0: no such tensor */
} rope_list;

static mica_status read_list(const gguf_config *w, const char *name, rope_list *out,
                             mica_error *err) {
    const mica_gguf_tensor *t = mica_gguf_find_tensor(w->gguf, name);
    out->count = 0;
    if (!t) return MICA_STATUS_OK;
    if (t->type != MICA_GGUF_TENSOR_F32 || t->shape.rank != 1 || t->shape.dims[0] > FACTORS_MAX)
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: %s is no vector of F32 with at most %d elements",
                         mica_gguf_name(w->gguf), name, FACTORS_MAX);
    mica_status st = mica_gguf_read_tensor(w->gguf, t, out->factors, err);
    if (st != MICA_STATUS_OK) return st;
    out->count = t->shape.dims[0];
    for (int64_t i = 0; i < out->count; i++)
        if (!(out->factors[i] > 1e-6f && out->factors[i] < 1e6f))
            return mica_fail(err, MICA_STATUS_FORMAT, "%s: %s: factor %lld is %g",
                             mica_gguf_name(w->gguf), name, (long long)i, (double)out->factors[i]);
    return MICA_STATUS_OK;
}

static void put_list(const gguf_config *w, const char *field, const rope_list *list) {
    mica_gguf_put_key(w->out, field);
    mica_str_append_char(w->out, '[');
    for (int64_t i = 0; i < list->count; i++) {
        if (i > 0) mica_str_append_char(w->out, ',');
        mica_gguf_append_number(w->out, (double)list->factors[i]);
    }
    mica_str_append_char(w->out, ']');
}

static void begin_scaling(const gguf_config *w, const char *type) {
    mica_gguf_put_key(w->out, "rope_scaling");
    mica_str_append_char(w->out, '{');
    mica_gguf_put_text(w->out, "rope_type", mica_slice_from(type));
}

/* ---- llama 3 ---- */

/* The divisor of pair i under Llama 3's rule. */
static double llama3_divisor(double theta, int64_t i, int64_t pairs, double factor) {
    double n_turns = LLAMA3_ORIGINAL * pow(theta, -(double)i / (double)pairs) / TWO_PI;
    double ramp = (n_turns - LLAMA3_LOW) / (LLAMA3_HIGH - LLAMA3_LOW);
    ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
    return 1 / ((1 - ramp) / factor + ramp);
}

static bool is_llama3(const rope_list *list, double theta, double factor) {
    for (int64_t i = 0; i < list->count; i++) {
        double wanted = llama3_divisor(theta, i, list->count, factor);
        if (fabs((double)list->factors[i] - wanted) > LLAMA3_TOLERANCE * wanted) return false;
    }
    return true;
}

static mica_status put_divisors(const gguf_config *w, const rope_list *list, double theta,
                                mica_error *err) {
    int64_t context = 0;
    double factor = 1;
    bool is_plain = true;
    for (int64_t i = 0; i < list->count; i++) {
        if ((double)list->factors[i] > factor) factor = (double)list->factors[i];
        is_plain &= fabs((double)list->factors[i] - 1) < 1e-6;
    }
    if (is_plain) return MICA_STATUS_OK;
    if (is_llama3(list, theta, factor)) {
        begin_scaling(w, "llama3");
        mica_gguf_put_number(w->out, "factor", factor);
        mica_gguf_put_number(w->out, "low_freq_factor", LLAMA3_LOW);
        mica_gguf_put_number(w->out, "high_freq_factor", LLAMA3_HIGH);
        mica_gguf_put_integer(w->out, "original_max_position_embeddings", (int64_t)LLAMA3_ORIGINAL);
    } else {
        mica_status st = mica_gguf_read_integer(w->gguf, gguf_config_key(w, "context_length"),
                                                &context, NULL, err);
        if (st != MICA_STATUS_OK) return st;
        begin_scaling(w, "longrope");
        put_list(w, "short_factor", list);
        put_list(w, "long_factor", list);
        mica_gguf_put_number(w->out, "attention_factor", 1);
        mica_gguf_put_integer(w->out, "original_max_position_embeddings", context);
    }
    mica_str_append_char(w->out, '}');
    return MICA_STATUS_OK;
}

/* ---- the kinds that keys name ---- */

/* rope.scaling.* */
typedef struct rope_keys {
    mica_slice type;
    double factor;
    double attention_factor;
    double beta_fast;
    double beta_slow;
    int64_t original;
    bool has_type, has_factor, has_attention_factor, has_fast, has_slow, has_original;
} rope_keys;

static mica_status read_keys(const gguf_config *w, rope_keys *k, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_gguf *g = w->gguf;
    MICA_TRY(mica_gguf_read_string(g, gguf_config_key(w, "rope.scaling.type"), &k->type,
                                   &k->has_type, err));
    MICA_TRY(mica_gguf_read_number(g, gguf_config_key(w, "rope.scaling.factor"), &k->factor,
                                   &k->has_factor, err));
    MICA_TRY(mica_gguf_read_number(g, gguf_config_key(w, "rope.scaling.attn_factor"),
                                   &k->attention_factor, &k->has_attention_factor, err));
    MICA_TRY(mica_gguf_read_number(g, gguf_config_key(w, "rope.scaling.yarn_beta_fast"),
                                   &k->beta_fast, &k->has_fast, err));
    MICA_TRY(mica_gguf_read_number(g, gguf_config_key(w, "rope.scaling.yarn_beta_slow"),
                                   &k->beta_slow, &k->has_slow, err));
    MICA_TRY(mica_gguf_read_integer(g, gguf_config_key(w, "rope.scaling.original_context_length"),
                                    &k->original, &k->has_original, err));
    if (k->has_type) goto done;
    /* The key of the first converters. */
    MICA_TRY(mica_gguf_read_number(g, gguf_config_key(w, "rope.scale_linear"), &k->factor,
                                   &k->has_type, err));
    if (!k->has_type) goto done;
    k->type = mica_slice_from("linear");
    k->has_factor = true;
done:
    return st;
}

static mica_status need_factor(const gguf_config *w, const rope_keys *k, mica_error *err) {
    if (k->has_factor && k->factor > 0) return MICA_STATUS_OK;
    return gguf_config_fail(w, MICA_STATUS_FORMAT, "rope.scaling.type without a positive factor",
                            err);
}

static mica_status put_yarn(const gguf_config *w, const rope_keys *k, mica_error *err) {
    mica_status st = need_factor(w, k, err);
    if (st != MICA_STATUS_OK) return st;
    static const char *const refused[] = {"rope.scaling.yarn_log_multiplier",
                                          "rope.scaling.yarn_ext_factor",
                                          "rope.scaling.yarn_attn_factor"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (mica_gguf_find(w->gguf, gguf_config_key(w, refused[i])))
            return mica_fail(err, MICA_STATUS_UNSUPPORTED, "%s: %s is not known here",
                             mica_gguf_name(w->gguf), w->key);
    if (k->has_attention_factor && (k->attention_factor < 1 || k->attention_factor > 1))
        return gguf_config_fail(w, MICA_STATUS_UNSUPPORTED,
                                "rope.scaling.attn_factor with yarn, expected none", err);
    begin_scaling(w, "yarn");
    mica_gguf_put_number(w->out, "factor", k->factor);
    if (k->has_original)
        mica_gguf_put_integer(w->out, "original_max_position_embeddings", k->original);
    if (k->has_fast) mica_gguf_put_number(w->out, "beta_fast", k->beta_fast);
    if (k->has_slow) mica_gguf_put_number(w->out, "beta_slow", k->beta_slow);
    /* Not in the file: gpt-oss does not round the corners of its ramp. */
    if (w->family->bit == MICA_GGUF_GPT_OSS) mica_gguf_put_bool(w->out, "truncate", false);
    mica_str_append_char(w->out, '}');
    return MICA_STATUS_OK;
}

static mica_status put_longrope(const gguf_config *w, const rope_keys *k, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    rope_list list;
    MICA_TRY(read_list(w, "rope_factors_short.weight", &list, err));
    if (list.count == 0) { /* the first Phi-3 models: plain rotations */
        MICA_REQUIRE(!mica_gguf_find_tensor(w->gguf, "rope_factors_long.weight"),
                     MICA_STATUS_FORMAT, "%s: rope_factors_long without rope_factors_short",
                     mica_gguf_name(w->gguf));
        MICA_REQUIRE(!k->has_type || mica_slice_is(k->type, "none"), MICA_STATUS_FORMAT,
                     "%s: rope.scaling.type longrope without rope_factors_short",
                     mica_gguf_name(w->gguf));
        goto done;
    }
    MICA_REQUIRE(k->has_original, MICA_STATUS_FORMAT,
                 "%s: rope_factors without rope.scaling.original_context_length",
                 mica_gguf_name(w->gguf));
    mica_gguf_put_integer(w->out, "original_max_position_embeddings", k->original);
    begin_scaling(w, "longrope");
    put_list(w, "short_factor", &list);
    MICA_TRY(read_list(w, "rope_factors_long.weight", &list, err));
    MICA_REQUIRE(list.count > 0, MICA_STATUS_FORMAT, "%s: there is no rope_factors_long",
                 mica_gguf_name(w->gguf));
    put_list(w, "long_factor", &list);
    if (k->has_attention_factor)
        mica_gguf_put_number(w->out, "attention_factor", k->attention_factor);
    mica_gguf_put_integer(w->out, "original_max_position_embeddings", k->original);
    mica_str_append_char(w->out, '}');
done:
    return st;
}

static mica_status put_scaling(const gguf_config *w, double theta, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    rope_keys k = {0};
    rope_list list;
    MICA_TRY(read_keys(w, &k, err));
    MICA_TRY(read_list(w, "rope_freqs.weight", &list, err));
    bool is_none = !k.has_type || mica_slice_is(k.type, "none");
    MICA_REQUIRE(list.count == 0 || is_none, MICA_STATUS_UNSUPPORTED,
                 "%s: rope_freqs together with rope.scaling.type \"%.*s\"", mica_gguf_name(w->gguf),
                 (int)(k.type.bytes < 32 ? k.type.bytes : 32), k.type.data ? k.type.data : "");
    if (list.count > 0) return put_divisors(w, &list, theta, err);
    if (w->family->bit == MICA_GGUF_PHI3 && (is_none || mica_slice_is(k.type, "longrope")))
        return put_longrope(w, &k, err);
    if (is_none) return MICA_STATUS_OK;
    if (mica_slice_is(k.type, "yarn")) return put_yarn(w, &k, err);
    MICA_REQUIRE(mica_slice_is(k.type, "linear"), MICA_STATUS_UNSUPPORTED,
                 "%s: rope.scaling.type is \"%.*s\", expected none, linear, yarn or longrope",
                 mica_gguf_name(w->gguf), (int)(k.type.bytes < 32 ? k.type.bytes : 32),
                 k.type.data ? k.type.data : "");
    MICA_TRY(need_factor(w, &k, err));
    begin_scaling(w, "linear");
    mica_gguf_put_number(w->out, "factor", k.factor);
    mica_str_append_char(w->out, '}');
done:
    return st;
}

/* ---- bases ---- */

/* Only part of a head turns: of the supported families, Phi-4-mini's. */
static mica_status put_partial(const gguf_config *w, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    int64_t turned = 0, head = 0, hidden = 0, heads = 0;
    bool has_turned, has_head;
    MICA_TRY(mica_gguf_read_integer(w->gguf, gguf_config_key(w, "rope.dimension_count"), &turned,
                                    &has_turned, err));
    MICA_TRY(mica_gguf_read_integer(w->gguf, gguf_config_key(w, "attention.key_length"), &head,
                                    &has_head, err));
    MICA_TRY(mica_gguf_read_integer(w->gguf, gguf_config_key(w, "embedding_length"), &hidden, NULL,
                                    err));
    MICA_TRY(mica_gguf_read_integer(w->gguf, gguf_config_key(w, "attention.head_count"), &heads,
                                    NULL, err));
    if (!has_head && heads > 0) head = hidden / heads;
    if (!has_turned || head <= 0 || turned == head) goto done;
    MICA_REQUIRE(turned > 0 && turned < head, MICA_STATUS_FORMAT,
                 "%s: rope.dimension_count is %lld, heads have %lld", mica_gguf_name(w->gguf),
                 (long long)turned, (long long)head);
    mica_gguf_put_number(w->out, "partial_rotary_factor", (double)turned / (double)head);
done:
    return st;
}

mica_status gguf_config_put_rope(const gguf_config *w, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    double theta = w->family->bit == MICA_GGUF_GEMMA3 ? 1e6 : 1e4, local = GEMMA3_LOCAL_BASE;
    MICA_TRY(
        mica_gguf_read_number(w->gguf, gguf_config_key(w, "rope.freq_base"), &theta, NULL, err));
    mica_gguf_put_number(w->out, "rope_theta", theta);
    if (w->family->bit == MICA_GGUF_GEMMA3) {
        MICA_TRY(mica_gguf_read_number(w->gguf, gguf_config_key(w, "rope.freq_base_swa"), &local,
                                       NULL, err));
        mica_gguf_put_number(w->out, "rope_local_base_freq", local);
    }
    MICA_TRY(put_partial(w, err));
    MICA_TRY(put_scaling(w, theta, err));
done:
    return st;
}
