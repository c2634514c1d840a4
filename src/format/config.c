/* The config reader: top-level fields by the table of config_fields.def, the few that have a shape
 * of their own, then what follows from several fields together. Rotary fields are in config_rope.c,
 * quantisation is in config_quant.c. */
#include "format/config.h"
#include <string.h>
#include "base/error.h"
#include "base/fuzz.h"
#include "format/config_parts.h"
#include "format/gguf_config.h"
#include "format/model_folder.h"

enum { TEXTS_BYTES_MAX = 16 << 20 };

/* clang-format off */
#define PLACE(member) offsetof(mica_config, member), offsetof(mica_config, has.member)
#define FIELD(kind, member, min, max) {#member, MICA_FIELD_##kind, PLACE(member), min, max},
#define ALIAS(kind, member, spelling, min, max) \
    {spelling, MICA_FIELD_##kind, PLACE(member), min, max},
static const mica_field fields[] = {
#include "format/config_fields.def"
};
/* clang-format on */

/* ---- fields with a shape of their own ---- */

static mica_status read_architectures(config_parser *p, mica_error *err) {
    mica_slice text;
    char *out = p->config->architecture;
    if (mica_json_peek(p->json) == MICA_JSON_NULL) return mica_json_read_null(p->json, err);
    mica_status st = mica_json_begin_array(p->json, err);
    for (size_t i = 0; st == MICA_STATUS_OK && mica_json_next_item(p->json); i++) {
        st = mica_json_read_string(p->json, &text, err);
        if (st != MICA_STATUS_OK || i > 0) continue;
        if (text.bytes >= sizeof p->config->architecture)
            return mica_fail(err, MICA_STATUS_FORMAT, "%s: architectures[0] has %zu bytes", p->file,
                             text.bytes);
        if (text.bytes > 0) memcpy(out, text.data, text.bytes);
        out[text.bytes] = '\0';
    }
    if (st == MICA_STATUS_OK) st = mica_json_check(p->json, err);
    return st == MICA_STATUS_OK ? st : mica_fail_prefix(err, st, "architectures");
}

static mica_status read_layer_type(config_parser *p, size_t i, mica_error *err) {
    mica_slice text;
    if (i == MICA_CONFIG_LAYERS_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "%s: layer_types: more than %d layers", p->file,
                         MICA_CONFIG_LAYERS_MAX);
    mica_status st = mica_json_read_string(p->json, &text, err);
    if (st != MICA_STATUS_OK) return mica_fail_prefix(err, st, "layer_types");
    if (mica_slice_is(text, "full_attention")) {
        p->config->layer_types[i] = MICA_LAYER_FULL;
    } else if (mica_slice_is(text, "sliding_attention")) {
        p->config->layer_types[i] = MICA_LAYER_SLIDING;
    } else {
        return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                         "%s: layer_types[%zu] is \"%.*s\", expected full_attention or "
                         "sliding_attention",
                         p->file, i, (int)(text.bytes < 64 ? text.bytes : 64), text.data);
    }
    return MICA_STATUS_OK;
}

static mica_status read_layer_types(config_parser *p, size_t *count, mica_error *err) {
    if (mica_json_peek(p->json) == MICA_JSON_NULL) return mica_json_read_null(p->json, err);
    mica_status st = mica_json_begin_array(p->json, err);
    if (st != MICA_STATUS_OK) return mica_fail_prefix(err, st, "layer_types");
    p->config->has_layer_types = true;
    while (st == MICA_STATUS_OK && mica_json_next_item(p->json))
        st = read_layer_type(p, (*count)++, err);
    return st == MICA_STATUS_OK ? mica_json_check(p->json, err) : st;
}

static mica_status read_mlp_only(config_parser *p, mica_error *err) {
    int64_t layer = 0;
    if (mica_json_peek(p->json) == MICA_JSON_NULL) return mica_json_read_null(p->json, err);
    mica_status st = mica_json_begin_array(p->json, err);
    while (st == MICA_STATUS_OK && mica_json_next_item(p->json)) {
        st = mica_json_read_i64(p->json, &layer, err);
        if (st != MICA_STATUS_OK) break;
        if (layer < 0 || layer >= MICA_CONFIG_LAYERS_MAX)
            return mica_fail(err, MICA_STATUS_FORMAT,
                             "%s: mlp_only_layers names layer %lld, expected 0 to %d", p->file,
                             (long long)layer, MICA_CONFIG_LAYERS_MAX - 1);
        p->config->is_mlp_only[layer] = 1;
    }
    if (st == MICA_STATUS_OK) st = mica_json_check(p->json, err);
    return st == MICA_STATUS_OK ? st : mica_fail_prefix(err, st, "mlp_only_layers");
}

/* One number for each layer, perhaps more: 1 = rotation, 0 = none. */
static mica_status read_no_rope(config_parser *p, size_t *count, mica_error *err) {
    int64_t turns = 0;
    if (mica_json_peek(p->json) == MICA_JSON_NULL) return mica_json_read_null(p->json, err);
    mica_status st = mica_json_begin_array(p->json, err);
    if (st != MICA_STATUS_OK) return mica_fail_prefix(err, st, "no_rope_layers");
    p->config->has_no_rope_layers = true;
    for (*count = 0; mica_json_next_item(p->json); (*count)++) {
        if (*count == MICA_CONFIG_LAYERS_MAX)
            return mica_fail(err, MICA_STATUS_LIMIT, "%s: no_rope_layers: more than %d layers",
                             p->file, MICA_CONFIG_LAYERS_MAX);
        st = mica_json_read_i64(p->json, &turns, err);
        if (st != MICA_STATUS_OK) return mica_fail_prefix(err, st, "no_rope_layers");
        if (turns != 0 && turns != 1)
            return mica_fail(err, MICA_STATUS_FORMAT,
                             "%s: no_rope_layers[%zu] is %lld, expected 0 or 1", p->file, *count,
                             (long long)turns);
        p->config->has_no_rope[*count] = turns == 0;
    }
    return mica_json_check(p->json, err);
}

/* Keys that would make other programs fetch or run code. */
static bool report_code(const config_parser *p, mica_slice key) {
    static const char *const keys[] = {"auto_map", "trust_remote_code", "model_file",
                                       "custom_pipelines"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (!mica_slice_is(key, keys[i])) continue;
        mica_host_log(p->host, MICA_LOG_INFO, "%s: %s is ignored: no code is run from files",
                      p->file, keys[i]);
        return true;
    }
    return false;
}

static mica_status read_field(config_parser *p, mica_slice key, size_t *n_layer_types,
                              mica_error *err) {
    bool is_known;
    if (mica_slice_is(key, "sliding_window") && mica_json_peek(p->json) == MICA_JSON_NULL)
        p->config->has_null_window = true;
    mica_status st = mica_fields_read(p->json, p->file, key, fields, sizeof fields / sizeof *fields,
                                      p->config, &is_known, err);
    if (st != MICA_STATUS_OK || is_known) return st;
    if (mica_slice_is(key, "architectures")) return read_architectures(p, err);
    if (mica_slice_is(key, "mlp_only_layers")) return read_mlp_only(p, err);
    if (mica_slice_is(key, "no_rope_layers")) return read_no_rope(p, &p->n_no_rope_layers, err);
    if (mica_slice_is(key, "layer_types")) return read_layer_types(p, n_layer_types, err);
    if (mica_slice_is(key, "eos_token_id"))
        return mica_token_ids_read(p->json, p->file, "eos_token_id", &p->config->eos_token_ids,
                                   err);
    if (mica_slice_is(key, "rope_scaling") || mica_slice_is(key, "rope_parameters"))
        return config_read_rope(p, err);
    if (mica_slice_is(key, "quantization")) return config_read_quant(p, true, err);
    if (mica_slice_is(key, "quantization_config")) return config_read_quant(p, false, err);
    if (mica_slice_is(key, "text_config")) return config_read_text_config(p, err);
    report_code(p, key);
    return mica_json_skip(p->json, err);
}

/* ---- what follows from several fields ---- */

static mica_status check_required(const config_parser *p, mica_error *err) {
    const mica_config *c = p->config;
    const char *missing = !c->has.model_type            ? "model_type"
                          : !c->has.hidden_size         ? "hidden_size"
                          : !c->has.num_hidden_layers   ? "num_hidden_layers"
                          : !c->has.num_attention_heads ? "num_attention_heads"
                          : !c->has.vocab_size          ? "vocab_size"
                                                        : NULL;
    if (!missing) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: %s is missing", p->file, missing);
}

static mica_status finish_heads(config_parser *p, mica_error *err) {
    mica_config *c = p->config;
    if (!c->has.num_key_value_heads) c->num_key_value_heads = c->num_attention_heads;
    if (c->num_attention_heads % c->num_key_value_heads != 0)
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: num_key_value_heads %lld does not divide num_attention_heads %lld",
                         p->file, (long long)c->num_key_value_heads,
                         (long long)c->num_attention_heads);
    if (!c->has.head_dim) {
        if (c->hidden_size % c->num_attention_heads != 0)
            return mica_fail(err, MICA_STATUS_FORMAT,
                             "%s: num_attention_heads %lld does not divide hidden_size %lld, and "
                             "head_dim is missing",
                             p->file, (long long)c->num_attention_heads, (long long)c->hidden_size);
        c->head_dim = c->hidden_size / c->num_attention_heads;
    }
    if (c->head_dim > 1024 || c->head_dim % 2 != 0)
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: head_dim is %lld, expected an even number up to 1024", p->file,
                         (long long)c->head_dim);
    return MICA_STATUS_OK;
}

static mica_status check_experts(const config_parser *p, mica_error *err) {
    const mica_config *c = p->config;
    if (!c->has.num_experts_per_tok || !c->has.num_local_experts ||
        c->num_experts_per_tok <= c->num_local_experts)
        return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT,
                     "%s: num_experts_per_tok %lld is more than the %lld experts", p->file,
                     (long long)c->num_experts_per_tok, (long long)c->num_local_experts);
}

/* Layer i of a config that has no layer_types. */
static mica_layer_type guess_layer_type(const mica_config *c, int64_t i) {
    if (c->sliding_window == 0) return MICA_LAYER_FULL;
    bool is_full = false;
    if (c->has.sliding_window_pattern) is_full = (i + 1) % c->sliding_window_pattern == 0;
    if (c->has.use_sliding_window && c->has.max_window_layers) is_full = i < c->max_window_layers;
    return is_full ? MICA_LAYER_FULL : MICA_LAYER_SLIDING;
}

static mica_status finish_layers(config_parser *p, size_t n_layer_types, mica_error *err) {
    mica_config *c = p->config;
    if (c->has.use_sliding_window && !c->use_sliding_window) {
        c->sliding_window = 0;
        c->has.sliding_window = false;
    }
    if (c->has_layer_types && n_layer_types != (size_t)c->num_hidden_layers)
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: layer_types has %zu layers, num_hidden_layers is %lld", p->file,
                         n_layer_types, (long long)c->num_hidden_layers);
    if (c->has_no_rope_layers && p->n_no_rope_layers < (size_t)c->num_hidden_layers)
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: no_rope_layers has %zu layers, num_hidden_layers is %lld", p->file,
                         p->n_no_rope_layers, (long long)c->num_hidden_layers);
    for (int64_t i = 0; i < c->num_hidden_layers; i++) {
        if (!c->has_layer_types) c->layer_types[i] = (uint8_t)guess_layer_type(c, i);
        if (c->layer_types[i] == MICA_LAYER_SLIDING && c->sliding_window == 0)
            return mica_fail(err, MICA_STATUS_FORMAT,
                             "%s: layer_types[%lld] is sliding_attention, but there is no "
                             "sliding_window",
                             p->file, (long long)i);
    }
    return MICA_STATUS_OK;
}

static mica_status finish_dtype(config_parser *p, mica_error *err) {
    static const struct {
        const char *name;
        mica_dtype dtype;
    } names[] = {{"bfloat16", MICA_DTYPE_BF16},
                 {"float16", MICA_DTYPE_F16},
                 {"float32", MICA_DTYPE_F32},
                 {"auto", MICA_DTYPE_BF16}};
    mica_config *c = p->config;
    c->dtype = MICA_DTYPE_BF16;
    if (!c->has.torch_dtype) return MICA_STATUS_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(c->torch_dtype, names[i].name) == 0) {
            c->dtype = names[i].dtype;
            return MICA_STATUS_OK;
        }
    return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                     "%s: torch_dtype is \"%s\", expected bfloat16, float16 or float32", p->file,
                     c->torch_dtype);
}

static mica_status finish(config_parser *p, size_t n_layer_types, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_config *c = p->config;
    MICA_TRY(check_required(p, err));
    MICA_TRY(finish_heads(p, err));
    MICA_TRY(check_experts(p, err));
    MICA_TRY(finish_layers(p, n_layer_types, err));
    MICA_TRY(finish_dtype(p, err));
    MICA_TRY(config_finish_rope(p, err));
    if (!c->has.bos_token_id || c->bos_token_id < 0) {
        c->bos_token_id = -1;
        c->has.bos_token_id = false;
    }
    if (!c->has.pad_token_id || c->pad_token_id < 0) {
        c->pad_token_id = -1;
        c->has.pad_token_id = false;
    }
done:
    return st;
}

/* ---- entry ---- */

static mica_status read_top(config_parser *p, mica_error *err) {
    mica_slice key;
    size_t n_layer_types = 0;
    mica_status st = mica_json_begin_object(p->json, err);
    while (st == MICA_STATUS_OK && mica_json_next_key(p->json, &key))
        st = read_field(p, key, &n_layer_types, err);
    if (st == MICA_STATUS_OK) st = mica_json_check(p->json, err);
    if (st == MICA_STATUS_OK) st = mica_json_end(p->json, err);
    return st == MICA_STATUS_OK ? finish(p, n_layer_types, err) : st;
}

static mica_status create_config(const mica_host *host, mica_config **out, mica_error *err) {
    mica_config *c = MICA_NEW(host->allocator, mica_config);
    if (c) c->texts = MICA_NEW(host->allocator, struct mica_config_text);
    if (!c || !c->texts) {
        mica_free(host->allocator, c);
        return mica_fail_memory(err, sizeof *c, "a config");
    }
    c->texts->allocator = host->allocator;
    mica_arena_init(&c->texts->arena, host->allocator, TEXTS_BYTES_MAX);
    *out = c;
    return MICA_STATUS_OK;
}

mica_status mica_config_parse(const mica_host *host, const char *name, const char *text,
                              size_t bytes, mica_config **out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    config_parser p = {.host = host, .file = name};
    *out = NULL;
    MICA_REQUIRE(bytes <= MICA_CONFIG_BYTES_MAX, MICA_STATUS_LIMIT,
                 "%s: %zu bytes, expected at most %zu", name, bytes, MICA_CONFIG_BYTES_MAX);
    MICA_REQUIRE(!mica_is_lfs_pointer(text, bytes), MICA_STATUS_FORMAT,
                 "%s is a Git LFS pointer, not the data: run git lfs pull", name);
    MICA_TRY(create_config(host, &p.config, err));
    MICA_TRY(mica_json_open(host, name, text, bytes, MICA_JSON_DEPTH_MAX, &p.json, err));
    MICA_TRY(read_top(&p, err));
    *out = p.config;
    p.config = NULL;
done:
    mica_json_close(&p.json);
    mica_config_destroy(&p.config);
    return st;
}

mica_status mica_config_load(const mica_host *host, const char *folder, mica_config **out,
                             mica_error *err) {
    mica_model_folder place;
    char *text = NULL;
    size_t bytes;
    *out = NULL;
    bool is_gguf;
    mica_status st = mica_gguf_is_file(host, folder, &is_gguf, err);
    if (st != MICA_STATUS_OK) return st;
    if (is_gguf) return mica_gguf_config_load(host, folder, out, err);
    st = mica_model_folder_open(folder, &place, err);
    if (st == MICA_STATUS_OK)
        st = mica_model_folder_read(host, &place, MICA_CONFIG_NAME, MICA_CONFIG_BYTES_MAX, &text,
                                    &bytes, err);
    if (st == MICA_STATUS_OK) st = mica_config_parse(host, MICA_CONFIG_NAME, text, bytes, out, err);
    mica_free(host->allocator, text);
    return st;
}

void mica_config_destroy(mica_config **place) {
    mica_config *c = *place;
    if (!c) return;
    *place = NULL;
    const mica_allocator *allocator = c->texts->allocator;
    mica_arena_deinit(&c->texts->arena);
    mica_free(allocator, c->texts);
    mica_free(allocator, c);
}

#ifdef MICA_FUZZ_CONFIG
#include "format/generation_config.h"
/* One text, read as either file. */
MICA_FUZZ_ENTRY(config) {
    mica_config *c = NULL;
    mica_generation_config generation;
    mica_error err;
    const char *text = (const char *)data;
    mica_generation_config_parse(mica_host_default(), "fuzz.json", text, size, &generation, &err);
    if (mica_config_parse(mica_host_default(), "fuzz.json", text, size, &c, &err) != MICA_STATUS_OK)
        return 0;
    if (c->num_attention_heads % c->num_key_value_heads != 0 || c->head_dim % 2 != 0 ||
        c->num_hidden_layers < 1 || c->num_hidden_layers > MICA_CONFIG_LAYERS_MAX ||
        !(c->rope.rope_theta > 0))
        __builtin_trap();
    for (size_t i = 0; i < c->quant_mlx.n_rules; i++)
        if (!c->quant_mlx.rules[i].path) __builtin_trap();
    mica_config_destroy(&c);
    return 0;
}
#endif
