/* A loaded model inside the library: configuration, weight store, family. The public face is
 * mica/model.h. A family is one file and one line in models.def. */
#pragma once
#include "core/runtime.h"
#include "core/weights.h"
#include "format/checkpoint.h"
#include "format/config.h"
#include "format/generation_config.h"
#include "mica/model.h"

#define MICA_KV_GROUPS_MAX 2
#define MICA_PAGE_TOKENS 64
/* Defaults of the engine that the memory estimate shares. */
#define MICA_CHUNK_TOKENS_DEFAULT 512
#define MICA_PROMPT_LOGITS_ROWS 64 /* rows of a pass that returns the logits of every position */

typedef struct mica_forward mica_forward;
typedef struct mica_loader mica_loader;

/* Layers whose KV pages have one shape and rule. */
typedef struct mica_kv_group {
    int64_t window; /* 0 = full attention: pages for the whole context; else a ring */
    int32_t n_layers;
    int32_t n_kv_heads;
    int32_t head_dim;
} mica_kv_group;

typedef struct mica_family {
    const char *model_type; /* of config.json */
    /* Gives absent fields the values that transformers gives them; NULL = there are none. */
    void (*fill_defaults)(mica_config *config);
    /* Fields that the family needs and values that it cannot do. */
    mica_status (*check)(const mica_config *config, mica_error *err);
    /* Takes every weight by name, dtype and shape through the loader's functions (loader.h). */
    mica_status (*load)(mica_loader *loader, mica_error *err);
    /* Traces the pass: returns the logits [R, vocab]. */
    mica_array (*forward)(mica_forward *f);
} mica_family;

struct mica_model {
    mica_runtime *runtime;
    const mica_family *family;
    mica_config *config;
    mica_generation_config generation;
    mica_checkpoint *checkpoint; /* stays open while weights are mapped */
    mica_weights *weights;
    mica_kv_group kv_groups[MICA_KV_GROUPS_MAX];
    size_t n_kv_groups;
    uint8_t *layer_group;     /* per layer: its KV group */
    uint16_t *layer_in_group; /* and its index there */
    float rope_scale;         /* multiplies cos and sin */
    float rope_local_scale;   /* of window layers, where they have a table of their own */
    int32_t n_rope_pairs;     /* numbers of a sequence's own table; 0 = one table serves all */
    uint64_t n_parameters;
    uint64_t n_parameters_active;
    uint64_t weight_bytes_active;
    bool is_counted; /* in runtime.weight_bytes */
};

/* NULL for a family that is not built in. */
const mica_family *mica_family_find(const char *model_type);
/* "gpt_oss, ..." for messages. */
const char *mica_family_names(void);

/* Tells, tensor by tensor, what a checkpoint of this configuration must hold (plain weights as
 * bf16, experts as the configuration's quantisation says). shape is borrowed for the call. A status
 * other than OK ends the list and is returned. */
typedef mica_status (*mica_predict_callback)(void *context, const char *name,
                                             mica_safetensors_dtype dtype, const mica_shape *shape,
                                             mica_error *err);
mica_status mica_model_predict(const mica_config *config, mica_predict_callback callback,
                               void *context, mica_error *err);

/* A tensor's public description; strings are borrowed from the checkpoint. */
void mica_tensor_info_fill(const mica_checkpoint *c, const mica_checkpoint_tensor *t,
                           mica_tensor_info *out);

/* The longest sequence that the configuration allows. */
int64_t mica_model_context_max(const mica_model *m);
/* The rotary table [n_rope_pairs] of a sequence that comes to at most `length` tokens; only where
 * n_rope_pairs > 0. */
void mica_model_rope_table(const mica_model *m, int64_t length, float *out);

/* Bytes of one page of a group: 64 tokens x layers x (K and V). */
uint64_t mica_kv_group_page_bytes(const mica_kv_group *group, mica_numeric_mode mode);
/* Pages that one sequence of `context` tokens needs in a group. */
int64_t mica_kv_group_pages(const mica_kv_group *group, int64_t context);
