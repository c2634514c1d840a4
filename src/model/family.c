/* Checks and defaults that families share. */
#include "model/family.h"
#include <string.h>

bool mica_activation_find(const char *name, mica_unary_kind *out) {
    static const struct {
        const char *name;
        mica_unary_kind kind;
    } names[] = {{"silu", MICA_UNARY_SILU},
                 {"gelu", MICA_UNARY_GELU},
                 {"gelu_pytorch_tanh", MICA_UNARY_GELU_TANH},
                 {"gelu_new", MICA_UNARY_GELU_TANH}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].name, name) == 0) {
            *out = names[i].kind;
            return true;
        }
    return false;
}

void mica_family_fill_common(mica_config *c) {
    if (!c->has.rms_norm_eps) c->rms_norm_eps = 1e-6;
    if (!c->has.hidden_act) memcpy(c->hidden_act, "silu", sizeof "silu");
}

void mica_family_fill_layers(mica_config *c, mica_layer_type type) {
    for (int64_t i = 0; i < c->num_hidden_layers && !c->has_layer_types; i++)
        c->layer_types[i] = (uint8_t)type;
}

mica_status mica_family_check_common(const mica_config *c, unsigned abilities, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_unary_kind activation;
    const char *missing = !c->has.intermediate_size         ? "intermediate_size"
                          : !c->has.max_position_embeddings ? "max_position_embeddings"
                          : !c->has.num_key_value_heads     ? "num_key_value_heads"
                                                            : NULL;
    /* It comes last: where it is missing, all others are there. */
    if (missing && strcmp(missing, "num_key_value_heads") == 0 &&
        (abilities & MICA_FAMILY_KV_HEADS_FILLED))
        missing = NULL;
    MICA_REQUIRE(!missing, MICA_STATUS_FORMAT, "config.json: %s needs %s", c->model_type, missing);
    MICA_REQUIRE(mica_activation_find(c->hidden_act, &activation), MICA_STATUS_UNSUPPORTED,
                 "config.json: hidden_act is \"%s\", expected silu, gelu, gelu_pytorch_tanh or "
                 "gelu_new",
                 c->hidden_act);
    double part = c->partial_rotary_factor < c->rope_local.partial_rotary_factor
                      ? c->partial_rotary_factor
                      : c->rope_local.partial_rotary_factor;
    MICA_REQUIRE((abilities & MICA_FAMILY_ROPE_PARTIAL) || part >= 1, MICA_STATUS_UNSUPPORTED,
                 "config.json: partial_rotary_factor is %g, %s rotates all", part, c->model_type);
    for (int64_t i = 0; i < c->num_hidden_layers; i++)
        MICA_REQUIRE((abilities & MICA_FAMILY_NO_ROPE) || !c->has_no_rope[i],
                     MICA_STATUS_UNSUPPORTED,
                     "config.json: no_rope_layers[%lld] is 0, %s rotates in all layers",
                     (long long)i, c->model_type);
    MICA_REQUIRE((abilities & MICA_FAMILY_ROPE_LOCAL) || !c->has_rope_local,
                 MICA_STATUS_UNSUPPORTED,
                 "config.json: rotary parameters per layer type, %s has one kind", c->model_type);
done:
    return st;
}

mica_status mica_family_check_layers(const mica_config *c, mica_layer_type type, mica_error *err) {
    for (int64_t i = 0; i < c->num_hidden_layers; i++)
        if (c->layer_types[i] != type)
            return mica_fail(
                err, MICA_STATUS_UNSUPPORTED,
                "config.json: layer_types[%lld] is %s, %s has only the other kind", (long long)i,
                c->layer_types[i] == MICA_LAYER_FULL ? "full_attention" : "sliding_attention",
                c->model_type);
    return MICA_STATUS_OK;
}

mica_status mica_family_check_plain(const mica_config *c, unsigned abilities, mica_layer_type type,
                                    mica_error *err) {
    mica_status st = mica_family_check_common(c, abilities, err);
    return st == MICA_STATUS_OK ? mica_family_check_layers(c, type, err) : st;
}

#define QWEN_WINDOW_DEFAULT 4096
#define QWEN_WINDOW_LAYERS_DEFAULT 28

void mica_family_fill_qwen_layers(mica_config *c) {
    int64_t first = c->has.max_window_layers ? c->max_window_layers : QWEN_WINDOW_LAYERS_DEFAULT;
    if (c->use_sliding_window && !c->has.sliding_window && !c->has_null_window)
        c->sliding_window = QWEN_WINDOW_DEFAULT;
    if (!c->use_sliding_window) c->sliding_window = 0;
    for (int64_t i = 0; i < c->num_hidden_layers && !c->has_layer_types; i++)
        c->layer_types[i] = c->sliding_window && i >= first ? MICA_LAYER_SLIDING : MICA_LAYER_FULL;
}
