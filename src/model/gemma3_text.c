/* Gemma 3, text part: embeddings times sqrt(hidden), norms by 1 + w before and after attention and
 * mlp, norms of query and key heads, window and full layers with rotary bases of their own. The
 * embedding scale stays f32 (a bf16 run of transformers rounds it). */
#include <math.h>
#include <string.h>
#include "model/family.h"
#include "model/forward.h"
#include "model/loader.h"

#define NORM_OFFSET 1.0f
#define HEAD_DIM_DEFAULT 256
#define SCALAR_DEFAULT 256
#define WINDOW_DEFAULT 4096
#define PATTERN_DEFAULT 6
#define ROPE_THETA_DEFAULT 1e6
#define ROPE_LOCAL_THETA_DEFAULT 1e4

/* Every pattern-th layer is full. */
static void fill_layers(mica_config *c) {
    int64_t pattern = c->has.sliding_window_pattern ? c->sliding_window_pattern : PATTERN_DEFAULT;
    if (!c->has.sliding_window) c->sliding_window = WINDOW_DEFAULT;
    for (int64_t i = 0; i < c->num_hidden_layers && !c->has_layer_types; i++)
        c->layer_types[i] = (i + 1) % pattern == 0 ? MICA_LAYER_FULL : MICA_LAYER_SLIDING;
}

static void fill_defaults(mica_config *c) {
    mica_family_fill_common(c);
    fill_layers(c);
    /* hidden_act is not read by this family; files carry a wrong one. */
    memcpy(c->hidden_act, c->hidden_activation, sizeof c->hidden_act);
    if (!c->has.hidden_activation)
        memcpy(c->hidden_act, "gelu_pytorch_tanh", sizeof "gelu_pytorch_tanh");
    if (!c->has.head_dim) c->head_dim = HEAD_DIM_DEFAULT;
    if (!c->has.query_pre_attn_scalar) c->query_pre_attn_scalar = SCALAR_DEFAULT;
    if (!c->has.tie_word_embeddings) c->tie_word_embeddings = true;
    if (!c->rope.has.rope_theta) c->rope_theta = c->rope.rope_theta = ROPE_THETA_DEFAULT;
    if (c->has_rope_local) return;
    /* Scaling is for the full layers alone. */
    c->has_rope_local = true;
    c->rope_local = (mica_config_rope){.factor = 1, .partial_rotary_factor = 1};
    c->rope_local.rope_theta = c->rope_local_base_freq = ROPE_LOCAL_THETA_DEFAULT;
}

static mica_status check(const mica_config *c, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(mica_family_check_common(c, MICA_FAMILY_ROPE_LOCAL, err));
    MICA_REQUIRE(!c->use_bidirectional_attention, MICA_STATUS_UNSUPPORTED,
                 "config.json: use_bidirectional_attention is true, expected false");
done:
    return st;
}

static mica_status load(mica_loader *l, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_config *c = l->config;
    mica_attention_weights w = {.has_qk_norm = true};
    w.has_qkv_bias = w.has_output_bias = c->attention_bias;
    MICA_TRY(mica_load_ends(l, err));
    for (int i = 0; i < c->num_hidden_layers; i++) {
        MICA_TRY(mica_load_norms(l, i, err));
        MICA_TRY(mica_load_vector(l, c->hidden_size, err,
                                  "model.layers.%d.pre_feedforward_layernorm.weight", i));
        MICA_TRY(mica_load_vector(l, c->hidden_size, err,
                                  "model.layers.%d.post_feedforward_layernorm.weight", i));
        MICA_TRY(mica_load_attention(l, i, w, err));
        MICA_TRY(mica_load_mlp(l, i, false, err));
    }
done:
    return st;
}

static mica_array norm(mica_forward *f, int i, mica_array x, const char *name) {
    return mica_layer_norm_rms(f, x, NORM_OFFSET, "model.layers.%d.%s", i, name);
}

static mica_array forward(mica_forward *f) {
    mica_graph *g = f->graph;
    const mica_config *c = f->model->config;
    mica_attention_layer attention = {.scale = (float)(1 / sqrt(c->query_pre_attn_scalar)),
                                      .soft_cap = (float)c->attn_logit_softcapping,
                                      .norm_offset = NORM_OFFSET};
    mica_unary_kind activation = MICA_UNARY_GELU_TANH;
    mica_activation_find(c->hidden_act, &activation);
    mica_array x = mica_layer_embed(f);
    x = mica_mul(g, x, mica_scalar(g, (float)sqrt((double)c->hidden_size)));
    for (int i = 0; i < c->num_hidden_layers; i++) {
        mica_array h = mica_layer_attention(f, i, norm(f, i, x, "input_layernorm"), attention);
        x = mica_add(g, x, norm(f, i, h, "post_attention_layernorm"));
        h = mica_layer_mlp(f, i, norm(f, i, x, "pre_feedforward_layernorm"), activation);
        x = mica_add(g, x, norm(f, i, h, "post_feedforward_layernorm"));
    }
    return mica_layer_soft_cap(f, mica_layer_logits(f, x, NORM_OFFSET), c->final_logit_softcapping);
}

const mica_family mica_family_gemma3_text = {
    .model_type = "gemma3_text",
    .fill_defaults = fill_defaults,
    .check = check,
    .load = load,
    .forward = forward,
};
