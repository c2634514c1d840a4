/* Qwen3 mixture of experts: Qwen3's attention; most layers have experts for an mlp. The router's
 * softmax runs over all experts, before the top k are taken. */
#include "model/family.h"
#include "model/forward.h"
#include "model/loader.h"

static void fill_defaults(mica_config *c) {
    mica_family_fill_common(c);
    mica_family_fill_qwen_layers(c);
    if (!c->has.decoder_sparse_step) c->decoder_sparse_step = 1;
}

static mica_status check(const mica_config *c, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const char *missing = !c->has.num_local_experts       ? "num_experts"
                          : !c->has.num_experts_per_tok   ? "num_experts_per_tok"
                          : !c->has.moe_intermediate_size ? "moe_intermediate_size"
                                                          : NULL;
    MICA_TRY(mica_family_check_common(c, false, err));
    MICA_REQUIRE(!missing, MICA_STATUS_FORMAT, "config.json: qwen3_moe needs %s", missing);
    MICA_REQUIRE(c->decoder_sparse_step > 0, MICA_STATUS_FORMAT,
                 "config.json: decoder_sparse_step is 0, expected at least 1");
    MICA_REQUIRE(!c->use_sliding_window, MICA_STATUS_UNSUPPORTED,
                 "config.json: use_sliding_window is true, qwen3_moe has full attention only");
    MICA_TRY(mica_family_check_layers(c, MICA_LAYER_FULL, err));
done:
    return st;
}

static bool has_experts(const mica_config *c, int i) {
    return !c->is_mlp_only[i] && (i + 1) % c->decoder_sparse_step == 0;
}

static mica_status load_experts(mica_loader *l, int i, mica_error *err) {
    static const char *const gate_up[] = {"gate_proj", "up_proj"}, *const down[] = {"down_proj"};
    mica_status st = MICA_STATUS_OK;
    const mica_config *c = l->config;
    int64_t e = c->num_local_experts, hidden = c->hidden_size, inter = c->moe_intermediate_size;
    mica_expert_matrices up_part = {e, inter, hidden, "gate_up_proj", gate_up, 2};
    mica_expert_matrices down_part = {e, hidden, inter, "down_proj", down, 1};
    MICA_TRY(mica_load_linear(l, e, hidden, false, err, "model.layers.%d.mlp.gate", i));
    MICA_TRY(mica_load_expert_matrices(l, &up_part, err, "model.layers.%d.mlp.experts", i));
    MICA_TRY(mica_load_expert_matrices(l, &down_part, err, "model.layers.%d.mlp.experts", i));
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
        MICA_TRY(mica_load_attention(l, i, w, err));
        if (has_experts(c, i))
            MICA_TRY(load_experts(l, i, err));
        else
            MICA_TRY(mica_load_mlp(l, i, false, err));
    }
done:
    return st;
}

static mica_array mixture_of_experts(mica_forward *f, int i, mica_array x, mica_unary_kind kind) {
    const mica_config *c = f->model->config;
    mica_graph *g = f->graph;
    mica_array scores = mica_softmax(g, mica_layer_linear(f, x, "model.layers.%d.mlp.gate", i));
    mica_array ids = mica_top_k(g, scores, (int)c->num_experts_per_tok);
    mica_array shares = mica_take_along(g, scores, ids);
    if (c->norm_topk_prob)
        shares = mica_div(g, shares, mica_reduce(g, MICA_REDUCE_SUM, shares, -1, true));
    mica_array up = mica_forward_weight(f, "model.layers.%d.mlp.experts.gate_up_proj", i);
    mica_array down = mica_forward_weight(f, "model.layers.%d.mlp.experts.down_proj", i);
    mica_glu_options glu = {.kind = kind == MICA_UNARY_SILU   ? MICA_GLU_SILU
                                    : kind == MICA_UNARY_GELU ? MICA_GLU_GELU
                                                              : MICA_GLU_GELU_TANH};
    mica_array h = mica_linear_experts(g, x, up, (mica_array){0}, ids);
    h = mica_linear_experts(g, mica_glu(g, h, glu), down, (mica_array){0}, ids);
    return mica_combine(g, h, shares);
}

static mica_array forward(mica_forward *f) {
    mica_graph *g = f->graph;
    const mica_config *c = f->model->config;
    mica_unary_kind activation = MICA_UNARY_SILU;
    mica_activation_find(c->hidden_act, &activation);
    mica_array x = mica_layer_embed(f);
    for (int i = 0; i < c->num_hidden_layers; i++) {
        mica_array h = mica_layer_norm_rms(f, x, 0.0f, "model.layers.%d.input_layernorm", i);
        x = mica_add(g, x, mica_layer_attention(f, i, h, (mica_attention_layer){0}));
        h = mica_layer_norm_rms(f, x, 0.0f, "model.layers.%d.post_attention_layernorm", i);
        h = has_experts(c, i) ? mixture_of_experts(f, i, h, activation)
                              : mica_layer_mlp(f, i, h, activation);
        x = mica_add(g, x, h);
    }
    return mica_layer_logits(f, x, 0.0f);
}

const mica_family mica_family_qwen3_moe = {
    .model_type = "qwen3_moe",
    .fill_defaults = fill_defaults,
    .check = check,
    .load = load,
    .forward = forward,
};
