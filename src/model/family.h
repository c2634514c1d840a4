/* What families check and fill in alike. */
#pragma once
#include "base/error.h"
#include "format/config.h"
#include "mica/ops.h"

/* The activation of a name of transformers ("silu", "gelu_pytorch_tanh"); false for others. */
bool mica_activation_find(const char *name, mica_unary_kind *out);

/* Absent fields that have the same default in transformers for most families: rms_norm_eps 1e-6,
 * hidden_act silu. */
void mica_family_fill_common(mica_config *config);
/* Replaces the layer types that the file does not list. */
void mica_family_fill_layers(mica_config *config, mica_layer_type type);

/* What a family can do or fills in beyond the plain decoder. */
typedef enum mica_family_ability {
    MICA_FAMILY_PLAIN = 0,
    MICA_FAMILY_ROPE_LOCAL = 1,      /* a rotary table per layer type */
    MICA_FAMILY_ROPE_PARTIAL = 2,    /* rotation of a part of each head */
    MICA_FAMILY_KV_HEADS_FILLED = 4, /* absent num_key_value_heads means num_attention_heads */
    MICA_FAMILY_NO_ROPE = 8,         /* layers without rotation */
} mica_family_ability;
/* Fields without a default here (intermediate_size, max_position_embeddings, num_key_value_heads),
 * hidden_act, and what the family cannot do. abilities: a sum of the above. Errors: FORMAT,
 * UNSUPPORTED. */
mica_status mica_family_check_common(const mica_config *config, unsigned abilities,
                                     mica_error *err);
/* The same for a plain decoder with bias fields whose layers all have one type. */
mica_status mica_family_check_plain(const mica_config *config, unsigned abilities,
                                    mica_layer_type type, mica_error *err);
/* An absent number gets the family's default. */
#define MICA_FAMILY_FILL(config, member, value)                                                    \
    do {                                                                                           \
        if (!(config)->has.member) {                                                               \
            (config)->member = (value);                                                            \
            (config)->has.member = true;                                                           \
        }                                                                                          \
    } while (0)
/* UNSUPPORTED unless every layer has this type. */
mica_status mica_family_check_layers(const mica_config *config, mica_layer_type type,
                                     mica_error *err);
/* The window rule of Qwen: layers from max_window_layers (28 if absent) on have the window
 * sliding_window (4096 if absent), and only with use_sliding_window. */
void mica_family_fill_qwen_layers(mica_config *config);
