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

mica_status mica_load_attention(mica_loader *l, int i, mica_attention_weights w, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_config *c = l->config;
    int64_t hidden = c->hidden_size;
    int64_t q = c->num_attention_heads * c->head_dim, kv = c->num_key_value_heads * c->head_dim;
    MICA_TRY(
        mica_load_linear(l, q, hidden, w.has_qkv_bias, err, "model.layers.%d.self_attn.q_proj", i));
    MICA_TRY(mica_load_linear(l, kv, hidden, w.has_qkv_bias, err,
                              "model.layers.%d.self_attn.k_proj", i));
    MICA_TRY(mica_load_linear(l, kv, hidden, w.has_qkv_bias, err,
                              "model.layers.%d.self_attn.v_proj", i));
    MICA_TRY(mica_load_linear(l, hidden, q, w.has_output_bias, err,
                              "model.layers.%d.self_attn.o_proj", i));
    if (!w.has_qk_norm) return MICA_STATUS_OK;
    MICA_TRY(mica_load_vector(l, c->head_dim, err, "model.layers.%d.self_attn.q_norm.weight", i));
    MICA_TRY(mica_load_vector(l, c->head_dim, err, "model.layers.%d.self_attn.k_norm.weight", i));
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
        MICA_TRY(mica_load_mlp(l, i, has_mlp_bias, err));
    }
done:
    return st;
}
