/* Granite 3: the plain decoder with four factors: on the embeddings, on attention scores (in place
 * of 1 / sqrt(head_dim)), on what each half of a layer adds, and a divisor of the logits. */
#include "base/error.h"
#include "model/family.h"
#include "model/forward.h"
#include "model/loader.h"

static void fill_defaults(mica_config *c) {
    MICA_FAMILY_FILL(c, intermediate_size, 11008);
    MICA_FAMILY_FILL(c, max_position_embeddings, 2048);
    MICA_FAMILY_FILL(c, embedding_multiplier, 1);
    MICA_FAMILY_FILL(c, attention_multiplier, 1);
    MICA_FAMILY_FILL(c, residual_multiplier, 1);
    MICA_FAMILY_FILL(c, logits_scaling, 1);
    mica_family_fill_common(c);
    mica_family_fill_layers(c, MICA_LAYER_FULL);
    if (!c->has_layer_types) c->sliding_window = 0;
}

static mica_status check(const mica_config *c, mica_error *err) {
    return mica_family_check_plain(c, MICA_FAMILY_KV_HEADS_FILLED, MICA_LAYER_FULL, err);
}

static mica_status load(mica_loader *l, mica_error *err) {
    bool has_bias = l->config->attention_bias;
    mica_attention_weights w = {.has_qkv_bias = has_bias, .has_output_bias = has_bias};
    return mica_load_plain(l, w, l->config->mlp_bias, err);
}

static mica_array times(mica_forward *f, mica_array x, double factor) {
    return mica_mul(f->graph, x, mica_scalar(f->graph, (float)factor));
}

static mica_array forward(mica_forward *f) {
    mica_graph *g = f->graph;
    const mica_config *c = f->model->config;
    mica_attention_layer attention = {.scale = (float)c->attention_multiplier};
    mica_unary_kind activation = MICA_UNARY_SILU;
    mica_activation_find(c->hidden_act, &activation);
    mica_array x = times(f, mica_layer_embed(f), c->embedding_multiplier);
    for (int i = 0; i < c->num_hidden_layers; i++) {
        mica_array h = mica_layer_norm_rms(f, x, 0.0f, "model.layers.%d.input_layernorm", i);
        h = mica_layer_attention(f, i, h, attention);
        x = mica_add(g, x, times(f, h, c->residual_multiplier));
        h = mica_layer_norm_rms(f, x, 0.0f, "model.layers.%d.post_attention_layernorm", i);
        h = mica_layer_mlp(f, i, h, activation);
        x = mica_add(g, x, times(f, h, c->residual_multiplier));
    }
    return mica_div(g, mica_layer_logits(f, x, 0.0f), mica_scalar(g, (float)c->logits_scaling));
}

const mica_family mica_family_granite = {
    .model_type = "granite",
    .fill_defaults = fill_defaults,
    .check = check,
    .load = load,
    .forward = forward,
};
