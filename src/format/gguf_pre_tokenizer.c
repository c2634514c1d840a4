/* Names of pre-tokenizers that llama.cpp's converter gives, and what stands behind them in the
 * tokenizer.json of the models. A name that is not here is refused: a wrong split gives wrong
 * tokens without any sign of it. */
#include "base/error.h"
#include "format/gguf_json.h"
#include "format/gguf_tokenizer_parts.h"

#define CASELESS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WHITE "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define FIRST "[^\\r\\n\\p{L}\\p{N}]?"
#define WORD CASELESS "|" FIRST "\\p{L}+"
#define SYMBOLS "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" WHITE
#define CASED_SYMBOLS "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" WHITE

static const gguf_pre_tokenizer known[] = {
    {.names = {"llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "midm-2.0", "lfm2"},
     .patterns = {WORD "|\\p{N}{1,3}" SYMBOLS},
     .ignores_merges = true,
     .adds_bos = true},
    {.names = {"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"},
     .patterns = {WORD "|\\p{N}{1,3}" SYMBOLS}},
    {.names = {"qwen2", "megrez"}, .patterns = {WORD "|\\p{N}" SYMBOLS}, .composes = true},
    {.names = {"deepseek-r1-qwen", "stablelm2", "hunyuan", "kormo", "f2llmv2", "grok-2"},
     .patterns = {WORD "|\\p{N}" SYMBOLS}},
    {.names = {"qwen35"},
     .patterns = {CASELESS "|" FIRST
                           "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" WHITE},
     .composes = true},
    {.names = {"gpt-2", "phi-2", "mpt", "olmo", "jais", "exaone4", "trillion", "granite-docling",
               "gigachat", "a.x-4.0", "mellum"},
     .has_gpt2_pattern = true},
    {.names = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b",
               "mellum2"},
     .splits_digits = true,
     .has_gpt2_pattern = true},
    {.names = {"gpt-4o", "llama4", "kanana2"},
     .patterns = {FIRST UPPER "*" LOWER "+" CASELESS "?|" FIRST UPPER "+" LOWER "*" CASELESS
                              "?|\\p{N}{1,3}" CASED_SYMBOLS},
     .ignores_merges = true},
    {.names = {"tekken"},
     .patterns = {FIRST UPPER "*" LOWER "+|" FIRST UPPER "+" LOWER "*|\\p{N}" CASED_SYMBOLS},
     .ignores_merges = true,
     .adds_bos = true},
    {.names = {"deepseek-coder"},
     .patterns = {"[\\r\\n]|\\s?\\p{L}+", "\\s?\\p{P}+",
                  "[\\x{4E00}-\\x{9FA5}\\x{0800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+", "\\p{N}"}},
    {.names = {"deepseek-v3"},
     .patterns =
         {"\\p{N}{1,3}", "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+",
          "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?"
          "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*" WHITE}},
};

static bool has_name(const gguf_pre_tokenizer *p, mica_slice name) {
    for (size_t i = 0; i < sizeof p->names / sizeof *p->names && p->names[i]; i++)
        if (mica_slice_is(name, p->names[i])) return true;
    return false;
}

mica_status gguf_pre_tokenizer_find(const mica_gguf *g, const gguf_pre_tokenizer **out,
                                    mica_error *err) {
    mica_slice name = {0};
    bool is_there;
    mica_status st = mica_gguf_read_string(g, "tokenizer.ggml.pre", &name, &is_there, err);
    if (st != MICA_STATUS_OK) return st;
    if (!is_there)
        return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                         "%s: there is no key tokenizer.ggml.pre: a byte-level tokenizer whose "
                         "split is not known; convert the model again",
                         mica_gguf_name(g));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (has_name(&known[i], name)) {
            *out = &known[i];
            return MICA_STATUS_OK;
        }
    return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                     "%s: tokenizer.ggml.pre is \"%.*s\", which is not known here",
                     mica_gguf_name(g), (int)(name.bytes < 64 ? name.bytes : 64), name.data);
}

static void put_split(mica_str *out, const char *pattern) {
    mica_str_append_text(out, "{\"type\":\"Split\",\"pattern\":{\"Regex\":");
    mica_json_append_string(out, mica_slice_from(pattern));
    mica_str_append_text(out, "},\"behavior\":\"Isolated\",\"invert\":false},");
}

void gguf_pre_tokenizer_put(const gguf_pre_tokenizer *p, bool adds_space, mica_str *out) {
    mica_str_append_text(out, "{\"type\":\"Sequence\",\"pretokenizers\":[");
    if (p->splits_digits)
        mica_str_append_text(out, "{\"type\":\"Digits\",\"individual_digits\":true},");
    for (size_t i = 0; i < sizeof p->patterns / sizeof *p->patterns && p->patterns[i]; i++)
        put_split(out, p->patterns[i]);
    mica_str_append_format(out,
                           "{\"type\":\"ByteLevel\",\"add_prefix_space\":%s,\"trim_offsets\":false,"
                           "\"use_regex\":%s}]}",
                           adds_space ? "true" : "false", p->has_gpt2_pattern ? "true" : "false");
}
