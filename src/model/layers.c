/* Layers that families share, built from the public ops; only paged attention is internal. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include "core/paged.h"
#include "mica/ops.h"
#include "model/forward.h"

#define WEIGHT_NAME_BYTES 256

const char *const mica_batch_pages[MICA_KV_GROUPS_MAX] = {"batch.pages.0", "batch.pages.1"};
const char *const mica_batch_pool[MICA_KV_GROUPS_MAX] = {"kv.pool.0", "kv.pool.1"};

/* ---- weights by name ---- */

static mica_array find_weight(mica_forward *f, const char *name, bool is_optional) {
    const mica_weight *w = mica_weights_find(f->model->weights, name);
    if (!w && !is_optional)
        mica_graph_fail(f->graph, MICA_STATUS_INTERNAL, "the forward pass asks for %s", name);
    return w ? mica_array_of(f->graph, mica_graph_weight(f->graph, w)) : (mica_array){0};
}

mica_array mica_forward_weight(mica_forward *f, const char *format, ...) {
    char name[WEIGHT_NAME_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return find_weight(f, name, false);
}

mica_array mica_forward_weight_optional(mica_forward *f, const char *format, ...) {
    char name[WEIGHT_NAME_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return find_weight(f, name, true);
}

mica_array mica_layer_linear(mica_forward *f, mica_array x, const char *format, ...) {
    char prefix[WEIGHT_NAME_BYTES - 16];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    mica_array weight = mica_forward_weight(f, "%s.weight", prefix);
    mica_array bias = mica_forward_weight_optional(f, "%s.bias", prefix);
    return mica_linear(f->graph, x, weight, bias);
}

mica_array mica_layer_linear_experts(mica_forward *f, mica_array x, mica_array ids,
                                     const char *format, ...) {
    char prefix[WEIGHT_NAME_BYTES - 16];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    mica_array weight = mica_forward_weight(f, "%s.weight", prefix);
    mica_array bias = mica_forward_weight_optional(f, "%s.bias", prefix);
    return mica_linear_experts(f->graph, x, weight, bias, ids);
}

mica_array mica_layer_embed(mica_forward *f) {
    mica_array table = mica_forward_weight(f, "model.embed_tokens.weight");
    return mica_gather(f->graph, table, f->token_ids, MICA_DTYPE_F32);
}

mica_array mica_layer_norm_rms(mica_forward *f, mica_array x, float offset, const char *format,
                               ...) {
    char prefix[WEIGHT_NAME_BYTES - 16];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    mica_array weight = mica_forward_weight(f, "%s.weight", prefix);
    return mica_rms_norm(f->graph, x, weight, (float)f->model->config->rms_norm_eps, offset);
}

/* ---- attention ---- */

static mica_array split_heads(mica_forward *f, mica_array x, int64_t n_heads, int64_t dim) {
    return mica_reshape(f->graph, x, 3, (int64_t[]){f->shape.n_tokens, n_heads, dim});
}

/* Window layers may turn by a table of their own, sequences too, and some layers do not turn. */
static mica_array turn(mica_forward *f, int layer, mica_array x) {
    const mica_model *m = f->model;
    bool is_local =
        m->config->has_rope_local && m->config->layer_types[layer] == MICA_LAYER_SLIDING;
    if (m->config->has_no_rope[layer]) return x;
    if (!is_local && f->rope.node)
        return mica_rope_tables(f->graph, x, f->positions, f->rope, f->token_sequence,
                                m->rope_scale, false);
    mica_array frequencies = mica_forward_weight(f, is_local ? "rope.inverse_frequencies_local"
                                                             : "rope.inverse_frequencies");
    float scale = is_local ? m->rope_local_scale : m->rope_scale;
    return mica_rope(f->graph, x, f->positions, frequencies, scale, false);
}

/* x [T, n_heads * dim] to heads, normed where the store has a norm (its length says whether of each
 * head or of all together) and turned. */
static mica_array finish_heads(mica_forward *f, int layer, mica_array x, int64_t n_heads,
                               const char *norm, float offset) {
    const mica_config *c = f->model->config;
    mica_array weight =
        mica_forward_weight_optional(f, "model.layers.%d.self_attn.%s.weight", layer, norm);
    bool is_of_all = weight.node && mica_array_dim(f->graph, weight, 0) != c->head_dim;
    if (is_of_all) x = mica_rms_norm(f->graph, x, weight, (float)c->rms_norm_eps, offset);
    x = split_heads(f, x, n_heads, c->head_dim);
    if (weight.node && !is_of_all)
        x = mica_rms_norm(f->graph, x, weight, (float)c->rms_norm_eps, offset);
    return turn(f, layer, x);
}

/* q, k and v side by side, [T, heads * dim] each: three projections, or slices of one. */
static void project_qkv(mica_forward *f, int layer, mica_array x, mica_array out[3]) {
    static const char *const names[] = {"q_proj", "k_proj", "v_proj"};
    const mica_config *c = f->model->config;
    int64_t q = c->num_attention_heads * c->head_dim, kv = c->num_key_value_heads * c->head_dim;
    const int64_t ends[] = {q, q + kv, q + 2 * kv};
    mica_array fused =
        mica_forward_weight_optional(f, "model.layers.%d.self_attn.qkv_proj.weight", layer);
    if (fused.node) x = mica_layer_linear(f, x, "model.layers.%d.self_attn.qkv_proj", layer);
    for (int i = 0; i < 3; i++)
        out[i] = fused.node
                     ? mica_slice_axis(f->graph, x, 1, i ? ends[i - 1] : 0, ends[i], 1)
                     : mica_layer_linear(f, x, "model.layers.%d.self_attn.%s", layer, names[i]);
}

/* Reads the pages, then adds this chunk to them. */
static mica_array attend(mica_forward *f, int layer, mica_array q, mica_array k, mica_array v,
                         const mica_attention_layer *options) {
    const mica_model *m = f->model;
    mica_graph *g = f->graph;
    int group = m->layer_group[layer];
    mica_array sinks = mica_forward_weight_optional(f, "model.layers.%d.self_attn.sinks", layer);
    mica_attention_paged_inputs in = {
        .q = mica_array_ref(g, q, false),
        .k = mica_array_ref(g, k, false),
        .v = mica_array_ref(g, v, false),
        .pool = mica_array_ref(g, f->pool[group], false),
        .page_table = mica_array_ref(g, f->pages[group], false),
        .positions = mica_array_ref(g, f->positions, false),
        .token_sequence = mica_array_ref(g, f->token_sequence, false),
        .sequences = mica_array_ref(g, f->sequences, false),
        .sinks = mica_array_ref(g, sinks, true),
    };
    mica_attention_paged_params params = {
        .layer = m->layer_in_group[layer],
        .scale = options->scale > 0 ? options->scale : 1.0f / sqrtf((float)m->config->head_dim),
        .window = m->kv_groups[group].window,
        .soft_cap = options->soft_cap,
    };
    mica_ref out = mica_attention_paged(g, &in, &params);
    mica_kv_write_inputs write = {
        .pool = in.pool,
        .k = in.k,
        .v = in.v,
        .page_table = in.page_table,
        .positions = in.positions,
        .token_sequence = in.token_sequence,
        .sequences = in.sequences,
        .after = out,
    };
    mica_kv_write_params write_params = {.layer = params.layer};
    f->pool[group] = mica_array_of(g, mica_kv_write(g, &write, &write_params));
    return mica_array_of(g, out);
}

mica_array mica_layer_attention(mica_forward *f, int layer, mica_array x,
                                mica_attention_layer options) {
    const mica_config *c = f->model->config;
    mica_graph *g = f->graph;
    int64_t n_heads = c->num_attention_heads, n_kv_heads = c->num_key_value_heads;
    mica_array qkv[3];
    project_qkv(f, layer, x, qkv);
    mica_array q = finish_heads(f, layer, qkv[0], n_heads, "q_norm", options.norm_offset);
    mica_array k = finish_heads(f, layer, qkv[1], n_kv_heads, "k_norm", options.norm_offset);
    mica_array v = split_heads(f, qkv[2], n_kv_heads, c->head_dim);
    mica_array a = attend(f, layer, q, k, v, &options);
    a = mica_reshape(g, a, 2, (int64_t[]){f->shape.n_tokens, n_heads * c->head_dim});
    return mica_layer_linear(f, a, "model.layers.%d.self_attn.o_proj", layer);
}

/* ---- the rest of a layer ---- */

/* Halves of one projection, or two. */
static void project_gate_up(mica_forward *f, int layer, mica_array x, mica_array *gate,
                            mica_array *up) {
    int64_t n = f->model->config->intermediate_size;
    mica_array fused =
        mica_forward_weight_optional(f, "model.layers.%d.mlp.gate_up_proj.weight", layer);
    if (!fused.node) {
        *gate = mica_layer_linear(f, x, "model.layers.%d.mlp.gate_proj", layer);
        *up = mica_layer_linear(f, x, "model.layers.%d.mlp.up_proj", layer);
        return;
    }
    x = mica_layer_linear(f, x, "model.layers.%d.mlp.gate_up_proj", layer);
    *gate = mica_slice_axis(f->graph, x, 1, 0, n, 1);
    *up = mica_slice_axis(f->graph, x, 1, n, 2 * n, 1);
}

mica_array mica_layer_mlp(mica_forward *f, int layer, mica_array x, mica_unary_kind activation) {
    mica_array gate, up;
    project_gate_up(f, layer, x, &gate, &up);
    mica_array h = mica_mul(f->graph, mica_unary(f->graph, activation, gate), up);
    return mica_layer_linear(f, h, "model.layers.%d.mlp.down_proj", layer);
}

mica_array mica_layer_soft_cap(mica_forward *f, mica_array x, double cap) {
    mica_graph *g = f->graph;
    if (!(cap > 0)) return x;
    x = mica_unary(g, MICA_UNARY_TANH, mica_div(g, x, mica_scalar(g, (float)cap)));
    return mica_mul(g, x, mica_scalar(g, (float)cap));
}

mica_array mica_layer_logits(mica_forward *f, mica_array x, float norm_offset) {
    x = mica_gather(f->graph, x, f->rows, MICA_DTYPE_NONE);
    x = mica_layer_norm_rms(f, x, norm_offset, "model.norm");
    return mica_layer_linear(
        f, x, "%s", f->model->config->tie_word_embeddings ? "model.embed_tokens" : "lm_head");
}

mica_array mica_layer_plain(mica_forward *f) {
    mica_graph *g = f->graph;
    const mica_config *c = f->model->config;
    mica_unary_kind activation = MICA_UNARY_SILU;
    if (!mica_activation_find(c->hidden_act, &activation))
        mica_graph_fail(g, MICA_STATUS_INTERNAL, "hidden_act %s was not checked", c->hidden_act);
    mica_array x = mica_layer_embed(f);
    for (int i = 0; i < c->num_hidden_layers; i++) {
        mica_array h = mica_layer_norm_rms(f, x, 0.0f, "model.layers.%d.input_layernorm", i);
        x = mica_add(g, x, mica_layer_attention(f, i, h, (mica_attention_layer){0}));
        h = mica_layer_norm_rms(f, x, 0.0f, "model.layers.%d.post_attention_layernorm", i);
        x = mica_add(g, x, mica_layer_mlp(f, i, h, activation));
    }
    return mica_layer_logits(f, x, 0.0f);
}
