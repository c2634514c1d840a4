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

/* Fields without a default here (intermediate_size, max_position_embeddings, num_key_value_heads),
 * hidden_act, and what none of these families can do: rotation of a part of each head, and a table
 * per layer type unless may_have_rope_local. Errors: FORMAT, UNSUPPORTED. */
mica_status mica_family_check_common(const mica_config *config, bool may_have_rope_local,
                                     mica_error *err);
/* UNSUPPORTED unless every layer has this type. */
mica_status mica_family_check_layers(const mica_config *config, mica_layer_type type,
                                     mica_error *err);
/* The window rule of Qwen: layers from max_window_layers (28 if absent) on have the window
 * sliding_window (4096 if absent), and only with use_sliding_window. */
void mica_family_fill_qwen_layers(mica_config *config);
