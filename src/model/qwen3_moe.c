/* Qwen3 mixture of experts: Qwen3's attention; most layers have experts for an mlp. The router's
 * softmax runs over all experts, before the top k are taken. */
#include "model/family.h"
#include "model/forward.h"
#include "model/loader.h"

#define SLIDING_WINDOW_DEFAULT 4096

static void fill_defaults(mica_config *c) {
    mica_family_fill_common(c);
    /* The window is in all layers or in none: max_window_layers is not read. */
    if (c->use_sliding_window && !c->has.sliding_window && !c->has_null_window)
        c->sliding_window = SLIDING_WINDOW_DEFAULT;
    if (!c->use_sliding_window) c->sliding_window = 0;
    mica_family_fill_layers(c, c->sliding_window ? MICA_LAYER_SLIDING : MICA_LAYER_FULL);
    if (!c->has.decoder_sparse_step) c->decoder_sparse_step = 1;
}

static mica_status check(const mica_config *c, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const char *missing = !c->has.num_local_experts       ? "num_experts"
                          : !c->has.num_experts_per_tok   ? "num_experts_per_tok"
                          : !c->has.moe_intermediate_size ? "moe_intermediate_size"
                                                          : NULL;
    MICA_TRY(mica_family_check_plain(
        c, MICA_FAMILY_PLAIN, c->sliding_window ? MICA_LAYER_SLIDING : MICA_LAYER_FULL, err));
    MICA_REQUIRE(!missing, MICA_STATUS_FORMAT, "config.json: qwen3_moe needs %s", missing);
    MICA_REQUIRE(c->decoder_sparse_step > 0, MICA_STATUS_FORMAT,
                 "config.json: decoder_sparse_step is 0, expected at least 1");
done:
    return st;
}

static bool has_experts(const mica_config *c, int i) {
    return !c->is_mlp_only[i] && (i + 1) % c->decoder_sparse_step == 0;
}

/* One tensor of all experts, as MLX converts it; or, as published, a matrix for each. */
static mica_status load_experts(mica_loader *l, int i, mica_error *err) {
    static const char *const names[] = {"gate_proj", "up_proj", "down_proj"};
    mica_status st = MICA_STATUS_OK;
    const mica_config *c = l->config;
    int64_t e = c->num_local_experts, hidden = c->hidden_size, inter = c->moe_intermediate_size;
    MICA_TRY(mica_load_linear(l, e, hidden, false, err, "model.layers.%d.mlp.gate", i));
    bool is_mlx = mica_loader_has_mlx(l, "model.layers.%d.mlp.switch_mlp.gate_proj.weight", i);
    for (int j = 0; j < 3; j++) {
        mica_expert_matrices m = {e, j < 2 ? inter : hidden, j < 2 ? hidden : inter, names[j]};
        if (is_mlx)
            MICA_TRY(mica_load_linear_experts(l, e, m.n, m.k, false, err,
                                              "model.layers.%d.mlp.switch_mlp.%s", i, names[j]));
        else
            MICA_TRY(mica_load_expert_matrices(l, &m, err, "model.layers.%d.mlp.experts", i));
    }
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

/* Under the name that the checkpoint's layout gave them. */
static mica_array run_experts(mica_forward *f, int i, mica_array x, mica_array ids,
                              const char *name) {
    bool is_mlx =
        mica_forward_weight_optional(f, "model.layers.%d.mlp.switch_mlp.%s.weight", i, name).node;
    return mica_layer_linear_experts(f, x, ids, "model.layers.%d.mlp.%s.%s", i,
                                     is_mlx ? "switch_mlp" : "experts", name);
}

static mica_array mixture_of_experts(mica_forward *f, int i, mica_array x, mica_unary_kind kind) {
    const mica_config *c = f->model->config;
    mica_graph *g = f->graph;
    mica_array scores = mica_softmax(g, mica_layer_linear(f, x, "model.layers.%d.mlp.gate", i));
    mica_array ids = mica_top_k(g, scores, (int)c->num_experts_per_tok);
    mica_array shares = mica_take_along(g, scores, ids);
    if (c->norm_topk_prob)
        shares = mica_div(g, shares, mica_reduce(g, MICA_REDUCE_SUM, shares, -1, true));
    mica_glu_options glu = {.kind = kind == MICA_UNARY_SILU   ? MICA_GLU_SILU
                                    : kind == MICA_UNARY_GELU ? MICA_GLU_GELU
                                                              : MICA_GLU_GELU_TANH};
    mica_array gate = run_experts(f, i, x, ids, "gate_proj");
    mica_array up = run_experts(f, i, x, ids, "up_proj");
    mica_array h = run_experts(f, i, mica_glu_pair(g, gate, up, glu), ids, "down_proj");
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
