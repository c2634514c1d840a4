/* config.json of a model: known fields, strictly typed and in range, in one plain struct. Both
 * spellings of the rotary fields (rope_theta + rope_scaling, and rope_parameters) give the same
 * values. Whether a family supports what stands here is judged in src/model; a new plain field is
 * one line in config_fields.def. */
#pragma once
#include "core/dtype.h"
#include "format/json_fields.h"

#define MICA_CONFIG_NAME "config.json"
#define MICA_CONFIG_BYTES_MAX ((size_t)4 << 20)
#define MICA_CONFIG_LAYERS_MAX 1024
/* Per list of longrope: half of the largest head. */
#define MICA_CONFIG_ROPE_FACTORS_MAX 512
#define MICA_CONFIG_QUANT_RULES_MAX 65536

typedef enum mica_layer_type { MICA_LAYER_FULL = 0, MICA_LAYER_SLIDING } mica_layer_type;

typedef enum mica_rope_type {
    MICA_ROPE_DEFAULT = 0,
    MICA_ROPE_LINEAR,
    MICA_ROPE_DYNAMIC,
    MICA_ROPE_YARN,
    MICA_ROPE_LONGROPE,
    MICA_ROPE_LLAMA3,
} mica_rope_type;

#define FIELD(kind, member, min, max) MICA_FIELD_TYPE_##kind member;
#define ALIAS(kind, member, spelling, min, max)

/* How positions turn. Absent fields have the defaults of transformers: rope_theta 10000, factor 1,
 * beta_fast 32, beta_slow 1, truncate true, partial_rotary_factor 1,
 * original_max_position_embeddings from the config itself, else max_position_embeddings; the others
 * 0. */
typedef struct mica_config_rope {
#include "format/config_rope_fields.def"
    mica_rope_type type;
    float short_factor[MICA_CONFIG_ROPE_FACTORS_MAX];
    float long_factor[MICA_CONFIG_ROPE_FACTORS_MAX];
    int32_t n_short_factors;
    int32_t n_long_factors;
#undef FIELD
#define FIELD(kind, member, min, max) bool member;
    struct {
#include "format/config_rope_fields.def"
    } has;
} mica_config_rope;

/* What one module is stored as, where it differs from the rest. */
typedef struct mica_config_quant_rule {
    const char *path; /* "model.layers.0.mlp.router" */
    bool is_quantized;
    mica_quant_mode mode;
    int32_t bits;
    int32_t group_size;
} mica_config_quant_rule;

/* How compressed-tensors and ModelOpt say that a group of modules is stored: config_groups. */
typedef struct mica_config_quant_weights {
#undef FIELD
#define FIELD(kind, member, min, max) MICA_FIELD_TYPE_##kind member;
#include "format/config_quant_weights.def"
#undef FIELD
#define FIELD(kind, member, min, max) bool member;
    struct {
#include "format/config_quant_weights.def"
    } has;
    char format[MICA_FIELD_TEXT_BYTES]; /* of the group, where it stands there; or "" */
} mica_config_quant_weights;

/* A group that is as long as its row (group_size -1); only in quantization_config. */
#define MICA_CONFIG_QUANT_WHOLE_ROW (-1)

/* quantization (MLX) or quantization_config (others). mode is NONE where it is not MLX's.
 * method       quant_method, or ""
 * bits, group_size   0 = not said
 * rules        by module, in the order of the file (MLX)
 * not_converted      modules_to_not_convert, ignore, ignored_layers, exclude_modules: patterns
 * weights      of all config_groups: they agree
 * weight_block_size  rows, columns; 0 = not said
 * sparsity_format    sparsity_config.format, or ""
 * The plain fields (config_quant_fields.def) and those of weights are only read from
 * quantization_config; see has. */
typedef struct mica_config_quant {
    bool is_present;
    char method[MICA_FIELD_TEXT_BYTES];
    mica_quant_mode mode;
    int32_t bits;
    int32_t group_size;
    const mica_config_quant_rule *rules;
    size_t n_rules;
    const char *const *not_converted;
    size_t n_not_converted;
    mica_config_quant_weights weights;
    int32_t n_weights; /* config_groups that have weights */
    int32_t weight_block_size[2];
    char sparsity_format[MICA_FIELD_TEXT_BYTES];
#undef FIELD
#define FIELD(kind, member, min, max) MICA_FIELD_TYPE_##kind member;
#include "format/config_quant_fields.def"
#undef FIELD
#define FIELD(kind, member, min, max) bool member;
    struct {
#include "format/config_quant_fields.def"
    } has;
} mica_config_quant;

#undef FIELD
#define FIELD(kind, member, min, max) MICA_FIELD_TYPE_##kind member;

/* Absent fields are 0, false or "", but for what follows from others:
 * num_key_value_heads   num_attention_heads
 * head_dim              hidden_size / num_attention_heads
 * bos, pad_token_id     -1
 * sliding_window        0 also when use_sliding_window is false
 * rope_theta            rope.rope_theta; rope_local_base_freq: rope_local.rope_theta
 * partial_rotary_factor rope.partial_rotary_factor
 * Defaults that differ between families (tie_word_embeddings) are theirs: see has. */
typedef struct mica_config {
#include "format/config_fields.def"
#undef FIELD
#define FIELD(kind, member, min, max) bool member;
    struct {
#include "format/config_fields.def"
    } has;
#undef FIELD
#undef ALIAS
    char architecture[MICA_FIELD_TEXT_BYTES]; /* architectures[0], or "" */
    mica_dtype dtype;                         /* torch_dtype as a type; default bf16 */
    mica_token_ids eos_token_ids;
    mica_config_rope rope;       /* of all layers, or of the full ones */
    mica_config_rope rope_local; /* of the sliding layers; equal to rope unless has_rope_local */
    bool has_rope_local;
    /* layer_types, or what sliding_window, sliding_window_pattern and max_window_layers say; a
     * family with another habit replaces it when has_layer_types is false. */
    uint8_t layer_types[MICA_CONFIG_LAYERS_MAX]; /* mica_layer_type; the first num_hidden_layers */
    bool has_layer_types;
    bool has_null_window;                        /* sliding_window stands there, as null */
    uint8_t is_mlp_only[MICA_CONFIG_LAYERS_MAX]; /* mlp_only_layers: 1 for those it names */
    /* no_rope_layers, turned round: 1 for layers without rotation. A family with such layers fills
     * it where has_no_rope_layers is false. */
    uint8_t has_no_rope[MICA_CONFIG_LAYERS_MAX];
    bool has_no_rope_layers;
    mica_config_quant quant;        /* quantization_config */
    mica_config_quant quant_mlx;    /* quantization: it decides where it is present */
    struct mica_config_text *texts; /* what rules and lists point into */
} mica_config;

/* Reads <folder>/config.json, or the keys of a GGUF file (gguf_config.h). Ignores auto_map and its
 * like with a log line: no file can make the library run anything. Errors: NOT_FOUND, FORMAT
 * (naming the field), LIMIT, UNSUPPORTED (a rope_type, layer type or quantisation mode that mica
 * does not know). */
mica_status mica_config_load(const mica_host *host, const char *folder, mica_config **out,
                             mica_error *err);
/* The same for a text in memory; name is for errors. */
mica_status mica_config_parse(const mica_host *host, const char *name, const char *text,
                              size_t bytes, mica_config **out, mica_error *err);
void mica_config_destroy(mica_config **config);
