/* Phi-3, Phi-3.5 and Phi-4-mini: the plain decoder with q, k and v in one projection, gate and up
 * in another, and LongRoPE past the original length; Phi-4-mini turns a part of each head. All
 * layers have the window, or none where there is no sliding_window. */
#include "base/error.h"
#include "model/family.h"
#include "model/forward.h"
#include "model/loader.h"

#define ORIGINAL_LENGTH_DEFAULT 4096

static void fill_defaults(mica_config *c) {
    MICA_FAMILY_FILL(c, rms_norm_eps, 1e-5);
    MICA_FAMILY_FILL(c, intermediate_size, 8192);
    MICA_FAMILY_FILL(c, max_position_embeddings, 4096);
    MICA_FAMILY_FILL(c, original_max_position_embeddings, ORIGINAL_LENGTH_DEFAULT);
    if (!c->rope.has.original_max_position_embeddings)
        c->rope.original_max_position_embeddings = c->original_max_position_embeddings;
    mica_family_fill_common(c);
    mica_family_fill_layers(c, c->sliding_window ? MICA_LAYER_SLIDING : MICA_LAYER_FULL);
}

static mica_status check(const mica_config *c, mica_error *err) {
    mica_layer_type type = c->sliding_window ? MICA_LAYER_SLIDING : MICA_LAYER_FULL;
    if (c->rope.type != MICA_ROPE_DEFAULT && c->rope.type != MICA_ROPE_LONGROPE)
        return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                         "config.json: rope_type is \"%s\", phi3 has default and longrope",
                         c->rope.rope_type);
    return mica_family_check_plain(c, MICA_FAMILY_ROPE_PARTIAL | MICA_FAMILY_KV_HEADS_FILLED, type,
                                   err);
}

static mica_status load(mica_loader *l, mica_error *err) {
    return mica_load_plain(l, (mica_attention_weights){.is_fused = true}, false, err);
}

const mica_family mica_family_phi3 = {
    .model_type = "phi3",
    .fill_defaults = fill_defaults,
    .check = check,
    .load = load,
    .forward = mica_layer_plain,
};
