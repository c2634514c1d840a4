/* Qwen2 and Qwen2.5: the plain decoder with biases on q, k and v. */
#include "model/family.h"
#include "model/forward.h"
#include "model/loader.h"

static void fill_defaults(mica_config *c) {
    mica_family_fill_common(c);
    mica_family_fill_qwen_layers(c);
}

static mica_status check(const mica_config *c, mica_error *err) {
    mica_status st = mica_family_check_common(c, MICA_FAMILY_PLAIN, err);
    if (st != MICA_STATUS_OK || c->sliding_window) return st;
    return mica_family_check_layers(c, MICA_LAYER_FULL, err);
}

static mica_status load(mica_loader *l, mica_error *err) {
    return mica_load_plain(l, (mica_attention_weights){.has_qkv_bias = true}, false, err);
}

const mica_family mica_family_qwen2 = {
    .model_type = "qwen2",
    .fill_defaults = fill_defaults,
    .check = check,
    .load = load,
    .forward = mica_layer_plain,
};
