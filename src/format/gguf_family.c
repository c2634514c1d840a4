/* The two tables that a new architecture needs a row in. */
#include "format/gguf_family.h"
#include <string.h>
#include "base/error.h"
#include "format/safetensors.h"

/* clang-format off */
static const mica_gguf_family families[] = {
    {"llama",    "llama",       "LlamaForCausalLM",    MICA_GGUF_LLAMA,     true,  false},
    {"qwen2",    "qwen2",       "Qwen2ForCausalLM",    MICA_GGUF_QWEN2,     false, false},
    {"qwen3",    "qwen3",       "Qwen3ForCausalLM",    MICA_GGUF_QWEN3,     false, false},
    {"qwen3moe", "qwen3_moe",   "Qwen3MoeForCausalLM", MICA_GGUF_QWEN3_MOE, false, false},
    {"gemma3",   "gemma3_text", "Gemma3ForCausalLM",   MICA_GGUF_GEMMA3,    false, true},
    {"gpt-oss",  "gpt_oss",     "GptOssForCausalLM",   MICA_GGUF_GPT_OSS,   false, false},
    {"phi3",     "phi3",        "Phi3ForCausalLM",     MICA_GGUF_PHI3,      false, false},
    {"olmo2",    "olmo2",       "Olmo2ForCausalLM",    MICA_GGUF_OLMO2,     false, false},
    {"granite",  "granite",     "GraniteForCausalLM",  MICA_GGUF_GRANITE,   true,  false},
    {"smollm3",  "smollm3",     "SmolLM3ForCausalLM",  MICA_GGUF_SMOLLM3,   true,  false},
};

#define ALL 0xFFFFFFFFu
#define SANDWICH (MICA_GGUF_GEMMA3 | MICA_GGUF_OLMO2) /* norms behind attention and mlp */

/* A row whose name has ".*" stands for .weight and .bias. */
typedef struct role_row {
    uint32_t families;
    bool is_layer;      /* below "blk.<i>." and "model.layers.<i>." */
    const char *name;
    const char *target;
    mica_gguf_role role;
} role_row;

static const role_row rows[] = {
    {ALL, false, "token_embd.weight", "model.embed_tokens.weight", MICA_GGUF_ROLE_MATRIX},
    {ALL, false, "output_norm.weight", "model.norm.weight", MICA_GGUF_ROLE_NORM},
    {ALL, false, "output.weight", "lm_head.weight", MICA_GGUF_ROLE_MATRIX},
    {ALL, false, "rope_freqs.weight", "", MICA_GGUF_ROLE_NONE},
    {MICA_GGUF_PHI3, false, "rope_factors_long.weight", "", MICA_GGUF_ROLE_NONE},
    {MICA_GGUF_PHI3, false, "rope_factors_short.weight", "", MICA_GGUF_ROLE_NONE},

    {ALL, true, "attn_norm.weight", "input_layernorm.weight", MICA_GGUF_ROLE_NORM},
    {ALL, true, "attn_q.*", "self_attn.q_proj.*", MICA_GGUF_ROLE_QUERY},
    {ALL, true, "attn_k.*", "self_attn.k_proj.*", MICA_GGUF_ROLE_KEY},
    {ALL, true, "attn_v.*", "self_attn.v_proj.*", MICA_GGUF_ROLE_MATRIX},
    {ALL, true, "attn_output.*", "self_attn.o_proj.*", MICA_GGUF_ROLE_MATRIX},
    {ALL, true, "attn_q_norm.weight", "self_attn.q_norm.weight", MICA_GGUF_ROLE_NORM},
    {ALL, true, "attn_k_norm.weight", "self_attn.k_norm.weight", MICA_GGUF_ROLE_NORM},
    {MICA_GGUF_PHI3, true, "attn_qkv.weight", "self_attn.qkv_proj.weight", MICA_GGUF_ROLE_MATRIX},
    {MICA_GGUF_GPT_OSS, true, "attn_sinks.weight", "self_attn.sinks", MICA_GGUF_ROLE_PLAIN},
    {ALL, true, "attn_rot_embd.weight", "", MICA_GGUF_ROLE_NONE},

    {SANDWICH | MICA_GGUF_GPT_OSS, true, "post_attention_norm.weight",
     "post_attention_layernorm.weight", MICA_GGUF_ROLE_NORM},
    {MICA_GGUF_GEMMA3, true, "ffn_norm.weight", "pre_feedforward_layernorm.weight",
     MICA_GGUF_ROLE_NORM},
    {SANDWICH, true, "post_ffw_norm.weight", "post_feedforward_layernorm.weight",
     MICA_GGUF_ROLE_NORM},
    {~(uint32_t)(SANDWICH | MICA_GGUF_GPT_OSS), true, "ffn_norm.weight",
     "post_attention_layernorm.weight", MICA_GGUF_ROLE_NORM},

    {MICA_GGUF_PHI3, true, "ffn_up.weight", "mlp.gate_up_proj.weight", MICA_GGUF_ROLE_MATRIX},
    {~(uint32_t)MICA_GGUF_PHI3, true, "ffn_up.*", "mlp.up_proj.*", MICA_GGUF_ROLE_MATRIX},
    {ALL, true, "ffn_gate.*", "mlp.gate_proj.*", MICA_GGUF_ROLE_MATRIX},
    {ALL, true, "ffn_down.*", "mlp.down_proj.*", MICA_GGUF_ROLE_MATRIX},

    {MICA_GGUF_QWEN3_MOE, true, "ffn_gate_inp.weight", "mlp.gate.weight", MICA_GGUF_ROLE_MATRIX},
    {MICA_GGUF_QWEN3_MOE, true, "ffn_gate_exps.weight", "mlp.switch_mlp.gate_proj.weight",
     MICA_GGUF_ROLE_EXPERTS},
    {MICA_GGUF_QWEN3_MOE, true, "ffn_up_exps.weight", "mlp.switch_mlp.up_proj.weight",
     MICA_GGUF_ROLE_EXPERTS},
    {MICA_GGUF_QWEN3_MOE, true, "ffn_down_exps.weight", "mlp.switch_mlp.down_proj.weight",
     MICA_GGUF_ROLE_EXPERTS},

    {MICA_GGUF_GPT_OSS, true, "ffn_gate_inp.*", "mlp.router.*", MICA_GGUF_ROLE_MATRIX},
    {MICA_GGUF_GPT_OSS, true, "ffn_gate_exps.*", "mlp.experts.gate_proj.*",
     MICA_GGUF_ROLE_EXPERTS},
    {MICA_GGUF_GPT_OSS, true, "ffn_up_exps.*", "mlp.experts.up_proj.*", MICA_GGUF_ROLE_EXPERTS},
    {MICA_GGUF_GPT_OSS, true, "ffn_down_exps.*", "mlp.experts.down_proj.*",
     MICA_GGUF_ROLE_EXPERTS},
};
/* clang-format on */

mica_status mica_gguf_family_of(const mica_gguf *g, const mica_gguf_family **out, mica_error *err) {
    mica_slice name = {0};
    bool is_there;
    mica_status st = mica_gguf_read_string(g, "general.architecture", &name, &is_there, err);
    if (st != MICA_STATUS_OK) return st;
    if (!is_there)
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: there is no key general.architecture",
                         mica_gguf_name(g));
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (mica_slice_is(name, families[i].name)) {
            *out = &families[i];
            return MICA_STATUS_OK;
        }
    return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                     "%s: general.architecture is \"%.*s\", expected llama, qwen2, qwen3, "
                     "qwen3moe, gemma3, gpt-oss, phi3, olmo2, granite or smollm3",
                     mica_gguf_name(g), (int)(name.bytes < 64 ? name.bytes : 64), name.data);
}

/* Bytes of a number without sign and leading zero, with its dot; 0 when there is none. */
static size_t layer_bytes(const char *text) {
    size_t n = 0;
    while (text[n] >= '0' && text[n] <= '9') n++;
    return n > 0 && n <= 4 && text[n] == '.' && (text[0] != '0' || n == 1) ? n + 1 : 0;
}

/* Whether row stands for name; *tail: what takes the place of '*' ("weight"). */
static bool matches(const char *row, const char *name, const char **tail) {
    size_t bytes = strlen(row);
    *tail = "";
    if (row[bytes - 1] != '*') return strcmp(row, name) == 0;
    if (strncmp(row, name, bytes - 1) != 0) return false;
    *tail = name + bytes - 1;
    return strcmp(*tail, "weight") == 0 || strcmp(*tail, "bias") == 0;
}

bool mica_gguf_map_name(const mica_gguf_family *family, const char *name, char *out,
                        mica_gguf_role *role) {
    const char *tail, *layer = NULL;
    size_t number = 0;
    if (strncmp(name, "blk.", 4) == 0 && (number = layer_bytes(name + 4)) > 0) {
        layer = name + 4;
        name = layer + number;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const role_row *r = &rows[i];
        if (!(r->families & family->bit) || r->is_layer != (layer != NULL)) continue;
        if (!matches(r->name, name, &tail)) continue;
        size_t target = strlen(r->target) - (tail[0] ? 1 : 0);
        mica_format(out, MICA_SAFETENSORS_NAME_BYTES_MAX + 1, "%s%.*s%.*s%s",
                    layer ? "model.layers." : "", (int)number, layer ? layer : "", (int)target,
                    r->target, tail);
        *role = r->role;
        if (strcmp(tail, "bias") == 0 && *role != MICA_GGUF_ROLE_QUERY &&
            *role != MICA_GGUF_ROLE_KEY)
            *role = MICA_GGUF_ROLE_PLAIN;
        return true;
    }
    return false;
}
