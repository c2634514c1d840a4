/* Llama 2 and 3: the plain decoder, full attention in every layer. A sliding_window in the file
 * means nothing here, as in transformers. */
#include "model/family.h"
#include "model/forward.h"
#include "model/loader.h"

static void fill_defaults(mica_config *c) {
    mica_family_fill_common(c);
    mica_family_fill_layers(c, MICA_LAYER_FULL);
    if (!c->has_layer_types) c->sliding_window = 0;
}

static mica_status check(const mica_config *c, mica_error *err) {
    /* Old files have as many KV heads as heads, and do not say so. */
    return mica_family_check_plain(c, MICA_FAMILY_KV_HEADS_FILLED, MICA_LAYER_FULL, err);
}

static mica_status load(mica_loader *l, mica_error *err) {
    bool has_bias = l->config->attention_bias;
    mica_attention_weights w = {.has_qkv_bias = has_bias, .has_output_bias = has_bias};
    return mica_load_plain(l, w, l->config->mlp_bias, err);
}

const mica_family mica_family_llama = {
    .model_type = "llama",
    .fill_defaults = fill_defaults,
    .check = check,
    .load = load,
    .forward = mica_layer_plain,
};
