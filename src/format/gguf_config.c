/* From keys and tensors to config.json. The plain keys are a table; what differs between families
 * follows it; rotations are in gguf_rope.c, quantisation is read off the tensors' types. */
#include "format/gguf_config.h"
#include <string.h>
#include "base/error.h"
#include "format/gguf_blocks.h"
#include "format/gguf_config_parts.h"
#include "format/gguf_family.h"
#include "format/gguf_json.h"
#include "format/safetensors.h"

enum {
    GEMMA3_PATTERN = 6,
    GEMMA3_27B_LAYERS = 62,
    SMOLLM3_NO_ROPE_INTERVAL = 4,
    TEXT_BYTES_MAX = 4 << 20,
    LAYERS_MAX = MICA_CONFIG_LAYERS_MAX,
};
#define GPT_OSS_SWIGLU_LIMIT 7.0

const char *gguf_config_key(const gguf_config *w, const char *name) {
    mica_format(w->key, GGUF_CONFIG_KEY_BYTES, "%s.%s", w->family->name, name);
    return w->key;
}

mica_status gguf_config_fail(const gguf_config *w, mica_status status, const char *text,
                             mica_error *err) {
    return mica_fail(err, status, "%s: %s", mica_gguf_name(w->gguf), text);
}

/* ---- plain keys ---- */

typedef struct plain_key {
    uint32_t families;
    const char *key;   /* without the architecture */
    const char *field; /* of config.json */
    bool is_number;
    bool is_required;
} plain_key;

#define ALL 0xFFFFFFFFu
#define MOE (MICA_GGUF_QWEN3_MOE | MICA_GGUF_GPT_OSS)

/* clang-format off */
static const plain_key plain_keys[] = {
    {ALL, "embedding_length", "hidden_size", false, true},
    {ALL, "block_count", "num_hidden_layers", false, true},
    {ALL, "attention.head_count", "num_attention_heads", false, true},
    {ALL, "attention.head_count_kv", "num_key_value_heads", false, false},
    {ALL, "attention.key_length", "head_dim", false, false},
    {ALL, "context_length", "max_position_embeddings", false, true},
    {ALL, "attention.layer_norm_rms_epsilon", "rms_norm_eps", true, true},
    {~(uint32_t)MICA_GGUF_GPT_OSS, "feed_forward_length", "intermediate_size", false, true},
    {MICA_GGUF_GPT_OSS, "expert_feed_forward_length", "intermediate_size", false, true},
    {MICA_GGUF_QWEN3_MOE, "expert_feed_forward_length", "moe_intermediate_size", false, true},
    {MOE, "expert_count", "num_local_experts", false, true},
    {MOE, "expert_used_count", "num_experts_per_tok", false, true},
    {MICA_GGUF_GEMMA3 | MICA_GGUF_GPT_OSS | MICA_GGUF_PHI3, "attention.sliding_window",
     "sliding_window", false, false},
    {MICA_GGUF_GEMMA3, "attn_logit_softcapping", "attn_logit_softcapping", true, false},
    {MICA_GGUF_GEMMA3, "final_logit_softcapping", "final_logit_softcapping", true, false},
    {MICA_GGUF_GRANITE, "attention.scale", "attention_multiplier", true, true},
    {MICA_GGUF_GRANITE, "embedding_scale", "embedding_multiplier", true, true},
    {MICA_GGUF_GRANITE, "residual_scale", "residual_multiplier", true, true},
    {MICA_GGUF_GRANITE, "logit_scale", "logits_scaling", true, true},
};
/* clang-format on */

static mica_status put_plain_key(const gguf_config *w, const plain_key *p, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const char *key = gguf_config_key(w, p->key);
    int64_t integer = 0;
    double number = 0;
    bool is_there = false;
    if (p->is_number)
        MICA_TRY(mica_gguf_read_number(w->gguf, key, &number, &is_there, err));
    else
        MICA_TRY(mica_gguf_read_integer(w->gguf, key, &integer, &is_there, err));
    MICA_REQUIRE(is_there || !p->is_required, MICA_STATUS_FORMAT, "%s: there is no key %s",
                 mica_gguf_name(w->gguf), key);
    if (!is_there) goto done;
    if (p->is_number)
        mica_gguf_put_number(w->out, p->field, number);
    else if (integer != 0 || p->is_required) /* 0 is "none" where it may be missing */
        mica_gguf_put_integer(w->out, p->field, integer);
done:
    return st;
}

static mica_status put_plain_keys(const gguf_config *w, mica_error *err) {
    for (size_t i = 0; i < sizeof plain_keys / sizeof *plain_keys; i++) {
        if (!(plain_keys[i].families & w->family->bit)) continue;
        mica_status st = put_plain_key(w, &plain_keys[i], err);
        if (st != MICA_STATUS_OK) return st;
    }
    return MICA_STATUS_OK;
}

/* ---- what would change the computation, were it there ---- */

static mica_status check_integer(const gguf_config *w, const char *name, int64_t wanted,
                                 mica_error *err) {
    int64_t seen = wanted;
    const char *key = gguf_config_key(w, name);
    mica_status st = mica_gguf_read_integer(w->gguf, key, &seen, NULL, err);
    if (st != MICA_STATUS_OK || seen == wanted) return st;
    return mica_fail(err, MICA_STATUS_UNSUPPORTED, "%s: %s is %lld, expected %lld",
                     mica_gguf_name(w->gguf), key, (long long)seen, (long long)wanted);
}

static mica_status check_foreign_keys(const gguf_config *w, mica_error *err) {
    static const char *const refused[] = {
        "attention.clamp_kqv",          "attention.max_alibi_bias", "attention.temperature_scale",
        "attention.temperature_length", "expert_shared_count",      "expert_weights_scale",
        "router_logit_softcapping",     "nextn_predict_layers",     "use_parallel_residual",
    };
    mica_status st = MICA_STATUS_OK;
    int64_t parts = 1, length = 0;
    bool has_length = false;
    MICA_TRY(mica_gguf_read_integer(w->gguf, "split.count", &parts, NULL, err));
    MICA_REQUIRE(parts <= 1, MICA_STATUS_UNSUPPORTED,
                 "%s: a part of a model split into %lld files: join them first",
                 mica_gguf_name(w->gguf), (long long)parts);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const mica_gguf_value *v = mica_gguf_find(w->gguf, gguf_config_key(w, refused[i]));
        bool is_zero = v != NULL;
        for (size_t b = 0; v && b < v->bytes; b++) is_zero &= v->data[b] == 0;
        MICA_REQUIRE(!v || is_zero, MICA_STATUS_UNSUPPORTED, "%s: %s is not known here",
                     mica_gguf_name(w->gguf), w->key);
    }
    if (!(w->family->bit & MOE)) MICA_TRY(check_integer(w, "expert_count", 0, err));
    MICA_TRY(mica_gguf_read_integer(w->gguf, gguf_config_key(w, "attention.key_length"), &length,
                                    &has_length, err));
    if (has_length) MICA_TRY(check_integer(w, "attention.value_length", length, err));
done:
    return st;
}

/* ---- tensors ---- */

static bool has_tensor(const gguf_config *w, const char *name) {
    return mica_gguf_find_tensor(w->gguf, name) != NULL;
}

static mica_status put_vocabulary(const gguf_config *w, mica_error *err) {
    const mica_gguf_tensor *t = mica_gguf_find_tensor(w->gguf, "token_embd.weight");
    if (!t || t->shape.rank != 2)
        return gguf_config_fail(
            w, MICA_STATUS_FORMAT,
            t ? "token_embd.weight is no matrix" : "there is no tensor token_embd.weight", err);
    mica_gguf_put_integer(w->out, "vocab_size", t->shape.dims[0]);
    mica_gguf_put_bool(w->out, "tie_word_embeddings", !has_tensor(w, "output.weight"));
    return MICA_STATUS_OK;
}

static void put_biases(const gguf_config *w) {
    if (w->family->bit != MICA_GGUF_QWEN2)
        mica_gguf_put_bool(w->out, "attention_bias", has_tensor(w, "blk.0.attn_q.bias"));
    if (w->family->bit & (MICA_GGUF_LLAMA | MICA_GGUF_GRANITE | MICA_GGUF_SMOLLM3))
        mica_gguf_put_bool(w->out, "mlp_bias", has_tensor(w, "blk.0.ffn_up.bias"));
}

/* ---- quantisation ---- */

/* How the modules of a type are stored; false for plain ones. */
static bool find_target(const gguf_config *w, const mica_gguf_tensor *t, char *path,
                        const mica_gguf_target **out) {
    mica_gguf_role role;
    *out = mica_gguf_target_of(t->type);
    if (!*out || (*out)->mode == MICA_QUANT_NONE || t->shape.rank < 2) return false;
    if (!mica_gguf_map_name(w->family, t->name, path, &role)) return false;
    size_t bytes = strlen(path), suffix = strlen(".weight");
    if (bytes <= suffix || strcmp(path + bytes - suffix, ".weight") != 0) return false;
    path[bytes - suffix] = '\0';
    return true;
}

static bool is_same(const mica_gguf_target *a, const mica_gguf_target *b) {
    return a->mode == b->mode && a->bits == b->bits && a->group == b->group;
}

/* The most common one, or NULL when all is plain. */
static const mica_gguf_target *find_common(const gguf_config *w) {
    char path[MICA_SAFETENSORS_NAME_BYTES_MAX + 1];
    const mica_gguf_target *best = NULL, *of_type[MICA_GGUF_TYPE_MAX_ + 1] = {NULL};
    size_t counts[MICA_GGUF_TYPE_MAX_ + 1] = {0}, best_count = 0;
    for (size_t i = 0; i < mica_gguf_count(w->gguf); i++) {
        const mica_gguf_tensor *t = mica_gguf_at(w->gguf, i);
        const mica_gguf_target *target;
        if (!find_target(w, t, path, &target)) continue;
        uint32_t first = 0; /* types of one target count together */
        while (!of_type[first] || !is_same(of_type[first], target)) {
            if (first == t->type) break;
            first++;
        }
        of_type[first] = target;
        if (++counts[first] <= best_count) continue;
        best_count = counts[first];
        best = target;
    }
    return best;
}

static void put_target(mica_str *out, const mica_gguf_target *t) {
    const char *mode = t->mode == MICA_QUANT_MXFP4   ? "mxfp4"
                       : t->mode == MICA_QUANT_NVFP4 ? "nvfp4"
                                                     : "affine";
    mica_gguf_put_integer(out, "group_size", t->group);
    mica_gguf_put_integer(out, "bits", t->bits);
    mica_gguf_put_text(out, "mode", mica_slice_from(mode));
}

static void put_quantization(const gguf_config *w) {
    char path[MICA_SAFETENSORS_NAME_BYTES_MAX + 1];
    const mica_gguf_target *common = find_common(w), *target;
    if (!common) return;
    mica_gguf_put_key(w->out, "quantization");
    mica_str_append_char(w->out, '{');
    put_target(w->out, common);
    for (size_t i = 0; i < mica_gguf_count(w->gguf); i++) {
        if (!find_target(w, mica_gguf_at(w->gguf, i), path, &target) || is_same(target, common))
            continue;
        mica_gguf_put_key(w->out, path);
        mica_str_append_char(w->out, '{');
        put_target(w->out, target);
        mica_str_append_char(w->out, '}');
    }
    mica_str_append_char(w->out, '}');
}

/* ---- families ---- */

static mica_status put_layer_types(const gguf_config *w, mica_error *err) {
    int64_t layers = 0;
    mica_status st =
        mica_gguf_read_integer(w->gguf, gguf_config_key(w, "block_count"), &layers, NULL, err);
    if (st != MICA_STATUS_OK || layers > LAYERS_MAX) return st; /* the reader refuses it */
    mica_gguf_put_key(w->out, "layer_types");
    mica_str_append_char(w->out, '[');
    for (int64_t i = 0; i < layers; i++)
        mica_str_append_format(w->out, "%s\"%s_attention\"", i ? "," : "",
                               i % 2 == 0 ? "sliding" : "full");
    mica_str_append_char(w->out, ']');
    return MICA_STATUS_OK;
}

/* The pattern stands in few files; all models of the family have one full layer in six. The largest
 * one scales queries by hidden_size / heads instead of the size of a head. */
static mica_status put_gemma3(const gguf_config *w, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    int64_t pattern = GEMMA3_PATTERN, layers = 0, hidden = 0, heads = 1, scalar = 0;
    double scale = 0;
    bool has_scalar = false, has_scale = false;
    MICA_TRY(mica_gguf_read_integer(w->gguf, gguf_config_key(w, "attention.sliding_window_pattern"),
                                    &pattern, NULL, err));
    mica_gguf_put_integer(w->out, "sliding_window_pattern", pattern);
    MICA_TRY(
        mica_gguf_read_integer(w->gguf, gguf_config_key(w, "block_count"), &layers, NULL, err));
    MICA_TRY(mica_gguf_read_integer(w->gguf, gguf_config_key(w, "embedding_length"), &hidden, NULL,
                                    err));
    MICA_TRY(mica_gguf_read_integer(w->gguf, gguf_config_key(w, "attention.head_count"), &heads,
                                    NULL, err));
    MICA_TRY(mica_gguf_read_integer(w->gguf, gguf_config_key(w, "attention.key_length"), &scalar,
                                    &has_scalar, err));
    if (layers == GEMMA3_27B_LAYERS && heads > 0) {
        scalar = hidden / heads;
        has_scalar = true;
    }
    MICA_TRY(mica_gguf_read_number(w->gguf, gguf_config_key(w, "attention.scale"), &scale,
                                   &has_scale, err));
    if (has_scale && scale > 0)
        mica_gguf_put_number(w->out, "query_pre_attn_scalar", 1 / (scale * scale));
    else if (has_scalar)
        mica_gguf_put_integer(w->out, "query_pre_attn_scalar", scalar);
    mica_gguf_put_text(w->out, "hidden_activation", mica_slice_from("gelu_pytorch_tanh"));
done:
    return st;
}

/* What the converter leaves out because llama.cpp has it built in. */
static mica_status put_family(const gguf_config *w, mica_error *err) {
    switch (w->family->bit) {
    case MICA_GGUF_GEMMA3:
        return put_gemma3(w, err);
    case MICA_GGUF_QWEN3_MOE:
        mica_gguf_put_bool(w->out, "norm_topk_prob", true);
        break;
    case MICA_GGUF_GPT_OSS:
        mica_gguf_put_number(w->out, "swiglu_limit", GPT_OSS_SWIGLU_LIMIT);
        return put_layer_types(w, err);
    case MICA_GGUF_SMOLLM3:
        mica_gguf_put_integer(w->out, "no_rope_layer_interval", SMOLLM3_NO_ROPE_INTERVAL);
        break;
    default:
        break;
    }
    if (w->family->bit != MICA_GGUF_PHI3) return MICA_STATUS_OK;
    const mica_gguf_value *window =
        mica_gguf_find(w->gguf, gguf_config_key(w, "attention.sliding_window"));
    if (!window) mica_str_append_text(w->out, ",\"sliding_window\":null");
    return MICA_STATUS_OK;
}

/* ---- special ids ---- */

static mica_status put_id(const gguf_config *w, const char *key, const char *field,
                          mica_error *err) {
    int64_t id = 0;
    bool is_there;
    mica_status st = mica_gguf_read_integer(w->gguf, key, &id, &is_there, err);
    if (st == MICA_STATUS_OK && is_there && id >= 0 && id < 1 << 21)
        mica_gguf_put_integer(w->out, field, id);
    return st;
}

static mica_status put_ids(const gguf_config *w, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(put_id(w, "tokenizer.ggml.bos_token_id", "bos_token_id", err));
    MICA_TRY(put_id(w, "tokenizer.ggml.eos_token_id", "eos_token_id", err));
    MICA_TRY(put_id(w, "tokenizer.ggml.padding_token_id", "pad_token_id", err));
done:
    return st;
}

/* ---- the texts ---- */

static mica_status check_built(const mica_str *out, mica_error *err) {
    if (!out->failed) return MICA_STATUS_OK;
    return mica_fail_memory(err, out->bytes, "the configuration of a GGUF file");
}

mica_status mica_gguf_config_text(const mica_gguf *g, mica_str *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char key[GGUF_CONFIG_KEY_BYTES];
    gguf_config w = {.gguf = g, .out = out, .key = key};
    MICA_TRY(mica_gguf_family_of(g, &w.family, err));
    MICA_TRY(check_foreign_keys(&w, err));
    mica_str_append_char(out, '{');
    mica_gguf_put_text(out, "model_type", mica_slice_from(w.family->model_type));
    mica_str_append_format(out, ",\"architectures\":[\"%s\"]", w.family->architecture);
    MICA_TRY(put_plain_keys(&w, err));
    MICA_TRY(put_vocabulary(&w, err));
    put_biases(&w);
    MICA_TRY(put_family(&w, err));
    MICA_TRY(gguf_config_put_rope(&w, err));
    MICA_TRY(put_ids(&w, err));
    mica_gguf_put_text(out, "torch_dtype", mica_slice_from("bfloat16"));
    put_quantization(&w);
    mica_str_append_char(out, '}');
    MICA_TRY(check_built(out, err));
done:
    return st;
}

/* ---- generation ---- */

/* Control tokens that end a turn in the templates of their models, besides those that the keys
 * name. <|end|> ends a message, but not a turn, where there is a <|return|>. */
static bool ends_turn(mica_slice text, bool has_return) {
    static const char *const names[] = {"<|eot_id|>",    "<|eom_id|>",    "<|im_end|>",
                                        "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>",
                                        "<|return|>",    "<|call|>"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mica_slice_is(text, names[i])) return true;
    return !has_return && mica_slice_is(text, "<|end|>");
}

static void add_named_ids(const mica_gguf *g, mica_token_ids *ids) {
    enum { CONTROL = 3 };
    const mica_gguf_value *tokens = mica_gguf_find(g, "tokenizer.ggml.tokens");
    const mica_gguf_value *types = mica_gguf_find(g, "tokenizer.ggml.token_type");
    if (!tokens || tokens->type != MICA_GGUF_ARRAY || tokens->item_type != MICA_GGUF_STRING) return;
    if (!types || types->type != MICA_GGUF_ARRAY || types->item_type != MICA_GGUF_I32) return;
    size_t place = 0;
    mica_slice text;
    bool has_return = false;
    while (mica_gguf_next_string(tokens, &place, &text) && !has_return)
        has_return = mica_slice_is(text, "<|return|>");
    place = 0;
    for (uint64_t i = 0; i < types->count && i < 1 << 21; i++) {
        if (!mica_gguf_next_string(tokens, &place, &text)) return;
        if (mica_gguf_integer_at(types, i) == CONTROL && ends_turn(text, has_return))
            mica_token_ids_add(ids, (int32_t)i); /* when it is full, the first ones count */
    }
}

static mica_status find_stops(const mica_gguf *g, mica_token_ids *ids, mica_error *err) {
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int64_t id = -1;
        mica_status st = mica_gguf_read_integer(g, keys[i], &id, NULL, err);
        if (st != MICA_STATUS_OK) return st;
        if (id >= 0 && id < 1 << 21) mica_token_ids_add(ids, (int32_t)id);
    }
    add_named_ids(g, ids);
    return MICA_STATUS_OK;
}

static mica_status put_sampling(const mica_gguf *g, mica_str *out, mica_error *err) {
    static const struct {
        const char *key;
        const char *field;
    } names[] = {{"general.sampling.temp", "temperature"},
                 {"general.sampling.top_p", "top_p"},
                 {"general.sampling.min_p", "min_p"},
                 {"general.sampling.penalty_repeat", "repetition_penalty"}};
    int64_t top_k = 0;
    bool is_there;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        double v = 0;
        mica_status st = mica_gguf_read_number(g, names[i].key, &v, &is_there, err);
        if (st != MICA_STATUS_OK) return st;
        if (!is_there) continue;
        mica_gguf_put_number(out, names[i].field, v);
        if (i == 0) mica_gguf_put_bool(out, "do_sample", v > 0);
    }
    mica_status st = mica_gguf_read_integer(g, "general.sampling.top_k", &top_k, &is_there, err);
    if (st == MICA_STATUS_OK && is_there) mica_gguf_put_integer(out, "top_k", top_k);
    return st;
}

mica_status mica_gguf_generation_config_text(const mica_gguf *g, mica_str *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_token_ids ids = {0};
    MICA_TRY(find_stops(g, &ids, err));
    mica_str_append_char(out, '{');
    mica_gguf_put_key(out, "eos_token_id");
    mica_str_append_char(out, '[');
    for (int32_t i = 0; i < ids.count; i++)
        mica_str_append_format(out, "%s%d", i ? "," : "", (int)ids.ids[i]);
    mica_str_append_char(out, ']');
    MICA_TRY(put_sampling(g, out, err));
    mica_str_append_char(out, '}');
    MICA_TRY(check_built(out, err));
done:
    return st;
}

/* Opens the file and makes one of its texts; text is the caller's, also after an error. */
static mica_status load_text(const mica_host *host, const char *path,
                             mica_status (*make)(const mica_gguf *g, mica_str *out,
                                                 mica_error *err),
                             mica_gguf **g, mica_str *text, mica_error *err) {
    *g = NULL;
    mica_str_init(text, host->allocator);
    text->limit_bytes = TEXT_BYTES_MAX;
    mica_status st = mica_gguf_open(host, path, g, err);
    return st == MICA_STATUS_OK ? make(*g, text, err) : st;
}

mica_status mica_gguf_config_load(const mica_host *host, const char *path, mica_config **out,
                                  mica_error *err) {
    mica_gguf *g;
    mica_str text;
    *out = NULL;
    mica_status st = load_text(host, path, mica_gguf_config_text, &g, &text, err);
    if (st == MICA_STATUS_OK)
        st = mica_config_parse(host, mica_gguf_name(g), text.data, text.bytes, out, err);
    mica_str_deinit(&text);
    mica_gguf_close(&g);
    return st;
}

mica_status mica_gguf_generation_config_load(const mica_host *host, const char *path,
                                             mica_generation_config *out, mica_error *err) {
    mica_gguf *g;
    mica_str text;
    mica_status st = load_text(host, path, mica_gguf_generation_config_text, &g, &text, err);
    if (st == MICA_STATUS_OK)
        st = mica_generation_config_parse(host, mica_gguf_name(g), text.data, text.bytes, out, err);
    mica_str_deinit(&text);
    mica_gguf_close(&g);
    return st;
}
