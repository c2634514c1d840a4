/* The weights that the shared layers of layers.c take, by the names of published checkpoints. */
#include "model/loader.h"

mica_status mica_load_ends(mica_loader *l, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_config *c = l->config;
    MICA_TRY(mica_load_matrix(l, c->vocab_size, c->hidden_size, err, "model.embed_tokens.weight"));
    MICA_TRY(mica_load_vector(l, c->hidden_size, err, "model.norm.weight"));
    if (!c->tie_word_embeddings)
        MICA_TRY(mica_load_matrix(l, c->vocab_size, c->hidden_size, err, "lm_head.weight"));
done:
    return st;
}

static mica_status load_qkv(mica_loader *l, int i, mica_attention_weights w, int64_t q, int64_t kv,
                            mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    int64_t hidden = l->config->hidden_size;
    bool has_bias = w.has_qkv_bias;
    if (w.is_fused)
        return mica_load_linear(l, q + 2 * kv, hidden, has_bias, err,
                                "model.layers.%d.self_attn.qkv_proj", i);
    MICA_TRY(mica_load_linear(l, q, hidden, has_bias, err, "model.layers.%d.self_attn.q_proj", i));
    MICA_TRY(mica_load_linear(l, kv, hidden, has_bias, err, "model.layers.%d.self_attn.k_proj", i));
    MICA_TRY(mica_load_linear(l, kv, hidden, has_bias, err, "model.layers.%d.self_attn.v_proj", i));
done:
    return st;
}

mica_status mica_load_attention(mica_loader *l, int i, mica_attention_weights w, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_config *c = l->config;
    int64_t q = c->num_attention_heads * c->head_dim, kv = c->num_key_value_heads * c->head_dim;
    int64_t q_norm = w.has_wide_qk_norm ? q : c->head_dim;
    int64_t k_norm = w.has_wide_qk_norm ? kv : c->head_dim;
    MICA_TRY(load_qkv(l, i, w, q, kv, err));
    MICA_TRY(mica_load_linear(l, c->hidden_size, q, w.has_output_bias, err,
                              "model.layers.%d.self_attn.o_proj", i));
    if (!w.has_qk_norm && !w.has_wide_qk_norm) return MICA_STATUS_OK;
    MICA_TRY(mica_load_vector(l, q_norm, err, "model.layers.%d.self_attn.q_norm.weight", i));
    MICA_TRY(mica_load_vector(l, k_norm, err, "model.layers.%d.self_attn.k_norm.weight", i));
done:
    return st;
}

mica_status mica_load_mlp(mica_loader *l, int i, bool has_bias, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    int64_t hidden = l->config->hidden_size, inter = l->config->intermediate_size;
    MICA_TRY(mica_load_linear(l, inter, hidden, has_bias, err, "model.layers.%d.mlp.gate_proj", i));
    MICA_TRY(mica_load_linear(l, inter, hidden, has_bias, err, "model.layers.%d.mlp.up_proj", i));
    MICA_TRY(mica_load_linear(l, hidden, inter, has_bias, err, "model.layers.%d.mlp.down_proj", i));
done:
    return st;
}

mica_status mica_load_mlp_fused(mica_loader *l, int i, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    int64_t hidden = l->config->hidden_size, inter = l->config->intermediate_size;
    MICA_TRY(
        mica_load_linear(l, 2 * inter, hidden, false, err, "model.layers.%d.mlp.gate_up_proj", i));
    MICA_TRY(mica_load_linear(l, hidden, inter, false, err, "model.layers.%d.mlp.down_proj", i));
done:
    return st;
}

mica_status mica_load_norms(mica_loader *l, int i, mica_error *err) {
    int64_t hidden = l->config->hidden_size;
    mica_status st = mica_load_vector(l, hidden, err, "model.layers.%d.input_layernorm.weight", i);
    if (st != MICA_STATUS_OK) return st;
    return mica_load_vector(l, hidden, err, "model.layers.%d.post_attention_layernorm.weight", i);
}

mica_status mica_load_plain(mica_loader *l, mica_attention_weights w, bool has_mlp_bias,
                            mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(mica_load_ends(l, err));
    for (int i = 0; i < l->config->num_hidden_layers; i++) {
        MICA_TRY(mica_load_norms(l, i, err));
        MICA_TRY(mica_load_attention(l, i, w, err));
        if (w.is_fused)
            MICA_TRY(mica_load_mlp_fused(l, i, err));
        else
            MICA_TRY(mica_load_mlp(l, i, has_mlp_bias, err));
    }
done:
    return st;
}
