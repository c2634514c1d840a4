/* Qwen3: the plain decoder with norms of the query and key heads. */
#include "model/family.h"
#include "model/forward.h"
#include "model/loader.h"

#define HEAD_DIM_DEFAULT 128

static void fill_defaults(mica_config *c) {
    mica_family_fill_common(c);
    mica_family_fill_qwen_layers(c);
    if (!c->has.head_dim) c->head_dim = HEAD_DIM_DEFAULT;
}

static mica_status check(const mica_config *c, mica_error *err) {
    mica_status st = mica_family_check_common(c, MICA_FAMILY_PLAIN, err);
    if (st != MICA_STATUS_OK || c->sliding_window) return st;
    return mica_family_check_layers(c, MICA_LAYER_FULL, err);
}

static mica_status load(mica_loader *l, mica_error *err) {
    bool has_bias = l->config->attention_bias;
    mica_attention_weights w = {
        .has_qkv_bias = has_bias, .has_output_bias = has_bias, .has_qk_norm = true};
    return mica_load_plain(l, w, false, err);
}

const mica_family mica_family_qwen3 = {
    .model_type = "qwen3",
    .fill_defaults = fill_defaults,
    .check = check,
    .load = load,
    .forward = mica_layer_plain,
};
