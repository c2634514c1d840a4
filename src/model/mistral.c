/* Mistral: the plain decoder; all layers have the window, or none where sliding_window is null. */
#include "model/family.h"
#include "model/forward.h"
#include "model/loader.h"

#define SLIDING_WINDOW_DEFAULT 4096

static void fill_defaults(mica_config *c) {
    mica_family_fill_common(c);
    if (!c->has.sliding_window && !c->has_null_window) c->sliding_window = SLIDING_WINDOW_DEFAULT;
    mica_family_fill_layers(c, c->sliding_window ? MICA_LAYER_SLIDING : MICA_LAYER_FULL);
}

static mica_status check(const mica_config *c, mica_error *err) {
    mica_layer_type type = c->sliding_window ? MICA_LAYER_SLIDING : MICA_LAYER_FULL;
    return mica_family_check_plain(c, MICA_FAMILY_PLAIN, type, err);
}

static mica_status load(mica_loader *l, mica_error *err) {
    return mica_load_plain(l, (mica_attention_weights){0}, false, err);
}

const mica_family mica_family_mistral = {
    .model_type = "mistral",
    .fill_defaults = fill_defaults,
    .check = check,
    .load = load,
    .forward = mica_layer_plain,
};
