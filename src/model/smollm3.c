/* SmolLM3: the plain decoder in which some layers (every fourth, if the file lists none) do not
 * turn queries and keys. With use_sliding_window those are the layers that have the window. */
#include "base/error.h"
#include "model/family.h"
#include "model/forward.h"
#include "model/loader.h"

#define ROPE_THETA_DEFAULT 2e6
#define NO_ROPE_INTERVAL_DEFAULT 4

static void fill_layers(mica_config *c) {
    int64_t interval = c->no_rope_layer_interval;
    if (!c->use_sliding_window) c->sliding_window = 0;
    for (int64_t i = 0; i < c->num_hidden_layers; i++) {
        if (!c->has_no_rope_layers) c->has_no_rope[i] = (i + 1) % interval == 0;
        if (c->has_layer_types) continue;
        bool has_window = c->sliding_window && c->has_no_rope[i];
        c->layer_types[i] = has_window ? MICA_LAYER_SLIDING : MICA_LAYER_FULL;
    }
}

static void fill_defaults(mica_config *c) {
    MICA_FAMILY_FILL(c, intermediate_size, 11008);
    MICA_FAMILY_FILL(c, max_position_embeddings, 32768);
    MICA_FAMILY_FILL(c, num_key_value_heads, 4);
    MICA_FAMILY_FILL(c, tie_word_embeddings, true);
    MICA_FAMILY_FILL(c, no_rope_layer_interval, NO_ROPE_INTERVAL_DEFAULT);
    if (!c->rope.has.rope_theta) c->rope_theta = c->rope.rope_theta = ROPE_THETA_DEFAULT;
    mica_family_fill_common(c);
    fill_layers(c);
}

static mica_status check(const mica_config *c, mica_error *err) {
    mica_status st = mica_family_check_common(c, MICA_FAMILY_NO_ROPE, err);
    if (st != MICA_STATUS_OK) return st;
    if (c->num_attention_heads % c->num_key_value_heads != 0)
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "config.json: num_key_value_heads %lld (the default of smollm3) does not "
                         "divide num_attention_heads %lld",
                         (long long)c->num_key_value_heads, (long long)c->num_attention_heads);
    return c->sliding_window ? st : mica_family_check_layers(c, MICA_LAYER_FULL, err);
}

static mica_status load(mica_loader *l, mica_error *err) {
    bool has_bias = l->config->attention_bias;
    mica_attention_weights w = {.has_qkv_bias = has_bias, .has_output_bias = has_bias};
    return mica_load_plain(l, w, l->config->mlp_bias, err);
}

const mica_family mica_family_smollm3 = {
    .model_type = "smollm3",
    .fill_defaults = fill_defaults,
    .check = check,
    .load = load,
    .forward = mica_layer_plain,
};
