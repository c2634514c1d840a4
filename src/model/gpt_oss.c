/* gpt-oss: alternating window and full attention with learned sinks, YaRN, and a mixture of experts
 * in MXFP4 with a clamped gated activation. Source: the published checkpoint and its reference
 * implementation; the formulas are in docs/design.md. */
#include "base/error.h"
#include "mica/ops.h"
#include "model/forward.h"
#include "model/loader.h"

#define GLU_ALPHA 1.702f

static mica_status check(const mica_config *c, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_REQUIRE(c->num_local_experts > 0 && c->num_experts_per_tok > 0, MICA_STATUS_FORMAT,
                 "config.json: gpt_oss needs num_local_experts and num_experts_per_tok");
    MICA_REQUIRE(c->swiglu_limit > 0, MICA_STATUS_FORMAT,
                 "config.json: gpt_oss needs swiglu_limit");
    MICA_REQUIRE(c->intermediate_size % 2 == 0, MICA_STATUS_FORMAT,
                 "config.json: intermediate_size %lld is odd", (long long)c->intermediate_size);
done:
    return st;
}

/* As published, gate and up interleaved in one tensor; or as MLX converts it, apart. */
static mica_status load_experts(mica_loader *l, int i, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_config *c = l->config;
    int64_t hidden = c->hidden_size, inter = c->intermediate_size, e = c->num_local_experts;
    if (mica_loader_has_mlx(l, "model.layers.%d.mlp.experts.gate_proj.weight", i)) {
        MICA_TRY(mica_load_linear_experts(l, e, inter, hidden, true, err,
                                          "model.layers.%d.mlp.experts.gate_proj", i));
        MICA_TRY(mica_load_linear_experts(l, e, inter, hidden, true, err,
                                          "model.layers.%d.mlp.experts.up_proj", i));
        return mica_load_linear_experts(l, e, hidden, inter, true, err,
                                        "model.layers.%d.mlp.experts.down_proj", i);
    }
    MICA_TRY(mica_load_experts(l, e, 2 * inter, hidden, err,
                               "model.layers.%d.mlp.experts.gate_up_proj", i));
    MICA_TRY(
        mica_load_experts(l, e, hidden, inter, err, "model.layers.%d.mlp.experts.down_proj", i));
done:
    return st;
}

static mica_status load_layer(mica_loader *l, int i, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_config *c = l->config;
    int64_t hidden = c->hidden_size, experts = c->num_local_experts;
    int64_t q = c->num_attention_heads * c->head_dim, kv = c->num_key_value_heads * c->head_dim;
    MICA_TRY(mica_load_vector(l, hidden, err, "model.layers.%d.input_layernorm.weight", i));
    MICA_TRY(mica_load_linear(l, q, hidden, c->attention_bias, err,
                              "model.layers.%d.self_attn.q_proj", i));
    MICA_TRY(mica_load_linear(l, kv, hidden, c->attention_bias, err,
                              "model.layers.%d.self_attn.k_proj", i));
    MICA_TRY(mica_load_linear(l, kv, hidden, c->attention_bias, err,
                              "model.layers.%d.self_attn.v_proj", i));
    MICA_TRY(mica_load_linear(l, hidden, q, c->attention_bias, err,
                              "model.layers.%d.self_attn.o_proj", i));
    MICA_TRY(
        mica_load_vector(l, c->num_attention_heads, err, "model.layers.%d.self_attn.sinks", i));
    MICA_TRY(
        mica_load_vector(l, hidden, err, "model.layers.%d.post_attention_layernorm.weight", i));
    MICA_TRY(mica_load_linear(l, experts, hidden, true, err, "model.layers.%d.mlp.router", i));
    MICA_TRY(load_experts(l, i, err));
done:
    return st;
}

static mica_status load(mica_loader *l, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_config *c = l->config;
    MICA_TRY(mica_load_matrix(l, c->vocab_size, c->hidden_size, err, "model.embed_tokens.weight"));
    for (int i = 0; i < c->num_hidden_layers; i++) MICA_TRY(load_layer(l, i, err));
    MICA_TRY(mica_load_vector(l, c->hidden_size, err, "model.norm.weight"));
    if (!c->tie_word_embeddings)
        MICA_TRY(mica_load_matrix(l, c->vocab_size, c->hidden_size, err, "lm_head.weight"));
done:
    return st;
}

static mica_array run_experts(mica_forward *f, int i, mica_array x, mica_array ids) {
    mica_graph *g = f->graph;
    mica_glu_options glu = {.kind = MICA_GLU_CLAMPED,
                            .alpha = GLU_ALPHA,
                            .limit = (float)f->model->config->swiglu_limit};
    mica_array both =
        mica_forward_weight_optional(f, "model.layers.%d.mlp.experts.gate_up_proj", i);
    if (!both.node) {
        mica_array gate =
            mica_layer_linear_experts(f, x, ids, "model.layers.%d.mlp.experts.gate_proj", i);
        mica_array up =
            mica_layer_linear_experts(f, x, ids, "model.layers.%d.mlp.experts.up_proj", i);
        return mica_layer_linear_experts(f, mica_glu_pair(g, gate, up, glu), ids,
                                         "model.layers.%d.mlp.experts.down_proj", i);
    }
    mica_array bias = mica_forward_weight(f, "model.layers.%d.mlp.experts.gate_up_proj_bias", i);
    mica_array down = mica_forward_weight(f, "model.layers.%d.mlp.experts.down_proj", i);
    mica_array down_bias = mica_forward_weight(f, "model.layers.%d.mlp.experts.down_proj_bias", i);
    glu.interleaved = true;
    mica_array h = mica_glu(g, mica_linear_experts(g, x, both, bias, ids), glu);
    return mica_linear_experts(g, h, down, down_bias, ids);
}

/* The top k first, then the softmax over those k alone. */
static mica_array mixture_of_experts(mica_forward *f, int i, mica_array x) {
    const mica_config *c = f->model->config;
    mica_graph *g = f->graph;
    mica_array scores = mica_layer_linear(f, x, "model.layers.%d.mlp.router", i);
    mica_array ids = mica_top_k(g, scores, (int)c->num_experts_per_tok);
    mica_array shares = mica_softmax(g, mica_take_along(g, scores, ids));
    return mica_combine(g, run_experts(f, i, x, ids), shares);
}

static mica_array forward(mica_forward *f) {
    mica_graph *g = f->graph;
    mica_array x = mica_layer_embed(f);
    for (int i = 0; i < f->model->config->num_hidden_layers; i++) {
        mica_array h = mica_layer_norm_rms(f, x, 0.0f, "model.layers.%d.input_layernorm", i);
        x = mica_add(g, x, mica_layer_attention(f, i, h, (mica_attention_layer){0}));
        h = mica_layer_norm_rms(f, x, 0.0f, "model.layers.%d.post_attention_layernorm", i);
        x = mica_add(g, x, mixture_of_experts(f, i, h));
    }
    return mica_layer_logits(f, x, 0.0f);
}

const mica_family mica_family_gpt_oss = {
    .model_type = "gpt_oss",
    .check = check,
    .load = load,
    .forward = forward,
};
