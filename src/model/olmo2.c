/* OLMo 2: no norm before attention and mlp but one after each, before the residual sum; queries and
 * keys are normed over all heads together. Full attention in every layer. */
#include "base/error.h"
#include "model/family.h"
#include "model/forward.h"
#include "model/loader.h"

static void fill_defaults(mica_config *c) {
    MICA_FAMILY_FILL(c, rms_norm_eps, 1e-5);
    MICA_FAMILY_FILL(c, intermediate_size, 11008);
    MICA_FAMILY_FILL(c, max_position_embeddings, 2048);
    mica_family_fill_common(c);
    mica_family_fill_layers(c, MICA_LAYER_FULL);
    if (!c->has_layer_types) c->sliding_window = 0;
}

static mica_status check(const mica_config *c, mica_error *err) {
    return mica_family_check_plain(c, MICA_FAMILY_KV_HEADS_FILLED, MICA_LAYER_FULL, err);
}

static mica_status load(mica_loader *l, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_config *c = l->config;
    mica_attention_weights w = {.has_wide_qk_norm = true};
    w.has_qkv_bias = w.has_output_bias = c->attention_bias;
    MICA_TRY(mica_load_ends(l, err));
    for (int i = 0; i < c->num_hidden_layers; i++) {
        MICA_TRY(mica_load_attention(l, i, w, err));
        MICA_TRY(mica_load_mlp(l, i, false, err));
        MICA_TRY(mica_load_vector(l, c->hidden_size, err,
                                  "model.layers.%d.post_attention_layernorm.weight", i));
        MICA_TRY(mica_load_vector(l, c->hidden_size, err,
                                  "model.layers.%d.post_feedforward_layernorm.weight", i));
    }
done:
    return st;
}

static mica_array forward(mica_forward *f) {
    mica_graph *g = f->graph;
    const mica_config *c = f->model->config;
    mica_unary_kind activation = MICA_UNARY_SILU;
    mica_activation_find(c->hidden_act, &activation);
    mica_array x = mica_layer_embed(f);
    for (int i = 0; i < c->num_hidden_layers; i++) {
        mica_array h = mica_layer_attention(f, i, x, (mica_attention_layer){0});
        h = mica_layer_norm_rms(f, h, 0.0f, "model.layers.%d.post_attention_layernorm", i);
        x = mica_add(g, x, h);
        h = mica_layer_mlp(f, i, x, activation);
        h = mica_layer_norm_rms(f, h, 0.0f, "model.layers.%d.post_feedforward_layernorm", i);
        x = mica_add(g, x, h);
    }
    return mica_layer_logits(f, x, 0.0f);
}

const mica_family mica_family_olmo2 = {
    .model_type = "olmo2",
    .fill_defaults = fill_defaults,
    .check = check,
    .load = load,
    .forward = forward,
};
