/* Small tokenizers written as tokenizer.json, for tests and fuzzing: no files needed. */
#pragma once
#include <stdio.h>
#include "base/json.h"
#include "text/byte_alphabet.h"
#include "text/splitter.h"
#include "text/tokenizer.h"

enum {
    SAMPLE_GPT2,      /* byte level with its own regex */
    SAMPLE_O200K,     /* byte level, Split on the o200k regex */
    SAMPLE_LLAMA3,    /* byte level, cl100k regex, ignore_merges, a TemplateProcessing */
    SAMPLE_REGEX,     /* byte level after NFC and a regex that needs the general engine */
    SAMPLE_FALLBACK,  /* characters with byte fallback, spaces replaced, one piece (as Gemma) */
    SAMPLE_METASPACE, /* characters with an unknown token, Metaspace, normalized added tokens */
    SAMPLE_UNIGRAM,   /* Unigram with an unknown token after NFKC, Metaspace (as T5) */
    SAMPLE_LATTICE,   /* Unigram with byte fallback, one piece */
    SAMPLE_WORDS,     /* WordPiece (as BERT) */
    SAMPLES,
};
/* decode(encode(x)) == x for all text */
static inline bool sample_is_exact(int kind) { return kind <= SAMPLE_LLAMA3; }

static inline void sample_add(mica_str *out, int *id, mica_slice text) {
    mica_str_append_text(out, *id ? "," : "");
    mica_json_append_string(out, text);
    mica_str_append_format(out, ":%d", (*id)++);
}

static inline void sample_vocab(mica_str *out, int kind, const char *const (*merges)[2]) {
    int id = 0;
    char text[64];
    for (int b = 0; b < 256; b++) {
        size_t n = mica_byte_alphabet_write((uint8_t)b, text);
        if (kind >= SAMPLE_FALLBACK) {
            if (kind == SAMPLE_METASPACE && (b < 32 || b > 126)) continue;
            n = (size_t)snprintf(text, sizeof(text), kind == SAMPLE_FALLBACK ? "<0x%02X>" : "%c",
                                 b);
        }
        sample_add(out, &id, mica_slice_of(text, n));
    }
    if (kind == SAMPLE_FALLBACK)
        for (int b = 32; b < 127; b++) {
            text[0] = (char)b;
            if (b != 'q') sample_add(out, &id, mica_slice_of(text, 1));
        }
    if (kind >= SAMPLE_FALLBACK) {
        sample_add(out, &id, mica_slice_from("\xE2\x96\x81"));
        sample_add(out, &id, mica_slice_from("\xC3\xA9"));
        sample_add(out, &id, mica_slice_from("<unk>"));
    }
    for (; (*merges)[0]; merges++) {
        int n = snprintf(text, sizeof(text), "%s%s", (*merges)[0], (*merges)[1]);
        sample_add(out, &id, mica_slice_of(text, (size_t)n));
    }
}

static inline void sample_merges(mica_str *out, const char *const (*merges)[2]) {
    for (int i = 0; (*merges)[0]; merges++, i++) {
        mica_str_append_text(out, i ? ",[" : "[");
        mica_json_append_string(out, mica_slice_from((*merges)[0]));
        mica_str_append_char(out, ',');
        mica_json_append_string(out, mica_slice_from((*merges)[1]));
        mica_str_append_char(out, ']');
    }
}

static inline void sample_split(mica_str *out, const char *regex) {
    mica_str_append_text(out, "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
                              "\"pattern\":{\"Regex\":");
    mica_json_append_string(out, mica_slice_from(regex));
    mica_str_append_text(out,
                         "},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\","
                         "\"add_prefix_space\":false,\"use_regex\":false}]}");
}

static inline void sample_steps(mica_str *out, int kind) {
    static const char level[] = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}";
    static const char deep[] =
        "\\p{N}{1,3}|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s+";
    const char *normalizer = "null";
    if (kind == SAMPLE_REGEX) normalizer = "{\"type\":\"NFC\"}";
    if (kind == SAMPLE_FALLBACK)
        normalizer =
            "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\xE2\x96\x81\"}";
    if (kind == SAMPLE_METASPACE) normalizer = "{\"type\":\"Lowercase\"}";
    mica_str_append_format(out, "\"normalizer\":%s,\"pre_tokenizer\":", normalizer);
    if (kind == SAMPLE_GPT2) mica_str_append_text(out, level);
    if (kind == SAMPLE_O200K) sample_split(out, mica_splitter_table[5].regex);
    if (kind == SAMPLE_LLAMA3) sample_split(out, mica_splitter_table[2].regex);
    if (kind == SAMPLE_REGEX) sample_split(out, deep);
    if (kind == SAMPLE_FALLBACK)
        mica_str_append_text(out, "{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":"
                                  "\"MergedWithPrevious\",\"invert\":false}");
    if (kind == SAMPLE_METASPACE)
        mica_str_append_text(out, "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\","
                                  "\"prepend_scheme\":\"first\",\"split\":true}");
    mica_str_append_text(out, ",\"decoder\":");
    if (kind < SAMPLE_FALLBACK) mica_str_append_text(out, level);
    if (kind == SAMPLE_FALLBACK)
        mica_str_append_text(out, "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\","
                                  "\"pattern\":{\"String\":\"\xE2\x96\x81\"},\"content\":\" \"},"
                                  "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]}");
    if (kind == SAMPLE_METASPACE)
        mica_str_append_text(out, "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\","
                                  "\"prepend_scheme\":\"first\",\"split\":true}");
    mica_str_append_text(out, ",\"post_processor\":");
    mica_str_append_text(
        out,
        kind == SAMPLE_LLAMA3
            ? "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\","
              "\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],"
              "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[1000],\"tokens\":[\"<s>\"]}}}"
            : "null");
}

static inline void sample_added(mica_str *out, int kind) {
    const char *normalized = kind == SAMPLE_METASPACE ? "true" : "false";
    static const struct {
        const char *content, *single, *strip, *special;
    } added[] = {{"<s>", "false", "false", "true"},
                 {"<|end|>", "false", "false", "true"},
                 {"<tool>", "false", "true", "false"},
                 {"word", "true", "false", "false"}};
    mica_str_append_text(
        out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[");
    for (int i = 0; i < 4; i++)
        mica_str_append_format(out,
                               "%s{\"id\":%d,\"content\":\"%s\",\"single_word\":%s,\"lstrip\":%s,"
                               "\"rstrip\":%s,\"normalized\":%s,\"special\":%s}",
                               i ? "," : "", 1000 + i, added[i].content, added[i].single,
                               added[i].strip, added[i].strip, normalized, added[i].special);
    mica_str_append_text(out, "],");
}

#define SAMPLE_MARK "\xE2\x96\x81"
#define SAMPLE_METASPACE_JSON                                                                      \
    "{\"type\":\"Metaspace\",\"replacement\":\"" SAMPLE_MARK                                       \
    "\",\"prepend_scheme\":\"always\",\"split\":true}"

/* Letters and digits cost 5, longer tokens less; q has none. */
static inline void sample_write_unigram(mica_str *out, int kind) {
    static const char *const longer[] = {
        SAMPLE_MARK, SAMPLE_MARK "hello", "he",           "ll", "hello", "aa", "aaaa", "aaa",
        "12",        "\xC3\xA9",          SAMPLE_MARK "a"};
    bool is_whole = kind == SAMPLE_LATTICE;
    mica_str_append_text(
        out, is_whole
                 ? "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"
                   "\"content\":\"" SAMPLE_MARK "\"},\"pre_tokenizer\":null,\"decoder\":"
                   "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":"
                   "{\"String\":\"" SAMPLE_MARK "\"},\"content\":\" \"},"
                   "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]},"
                 : "\"normalizer\":{\"type\":\"NFKC\"},\"pre_tokenizer\":" SAMPLE_METASPACE_JSON
                   ",\"decoder\":" SAMPLE_METASPACE_JSON ",");
    mica_str_append_format(out,
                           "\"post_processor\":null,\"model\":{\"type\":\"Unigram\","
                           "\"unk_id\":0,\"byte_fallback\":%s,\"vocab\":[[\"<unk>\",0]",
                           is_whole ? "true" : "false");
    for (int b = 0; is_whole && b < 256; b++) mica_str_append_format(out, ",[\"<0x%02X>\",0.0]", b);
    for (int c = '!'; c < 127; c++)
        if (c != 'q' && c != '"' && c != '\\') mica_str_append_format(out, ",[\"%c\",-5]", c);
    for (size_t i = 0; i < sizeof(longer) / sizeof(*longer); i++)
        mica_str_append_format(out, ",[\"%s\",-%d.25e0]", longer[i], 2 + (int)i % 4);
    mica_str_append_text(out, "]}}");
}

static inline void sample_write_words(mica_str *out) {
    int id = 1;
    mica_str_append_text(
        out,
        "\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,"
        "\"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":true},"
        "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"post_processor\":null,\"decoder\":"
        "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},\"model\":{\"type\":"
        "\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":\"##\","
        "\"max_input_chars_per_word\":100,\"vocab\":{\"[UNK]\":0");
    for (int c = '!'; c < 127; c++)
        if (c != 'q' && c != '"' && c != '\\' && (c < 'A' || c > 'Z'))
            mica_str_append_format(out, ",\"%c\":%d,\"##%c\":%d", c, id, c, id + 1), id += 2;
    mica_str_append_format(out, ",\"hello\":%d,\"##llo\":%d,\"he\":%d}}}", id, id + 1, id + 2);
}

/* Special: 1000 <s>, 1001 <|end|>; not special: 1002 <tool> (takes space on both sides), 1003 word
 * (single word). */
static inline void sample_write(mica_str *out, int kind) {
    static const char *const bytes[][2] = {{"\xC4\xA0", "\xC4\xA0"},
                                           {"h", "e"},
                                           {"l", "l"},
                                           {"he", "ll"},
                                           {"hell", "o"},
                                           {"\xC4\xA0", "a"},
                                           {"a", "a"},
                                           {"aa", "a"},
                                           {"aa", "aa"},
                                           {"aaaa", "aaaa"},
                                           {"1", "2"},
                                           {"\xC4\xA0", "hello"},
                                           {"\xC3\x83", "\xC2\xA9"},
                                           {"o", "l"},
                                           {NULL, NULL}};
    static const char *const letters[][2] = {{"\xE2\x96\x81", "\xE2\x96\x81"},
                                             {"h", "e"},
                                             {"l", "l"},
                                             {"he", "ll"},
                                             {"hell", "o"},
                                             {"\xE2\x96\x81", "a"},
                                             {"a", "a"},
                                             {"aa", "a"},
                                             {"aa", "aa"},
                                             {"aaaa", "aaaa"},
                                             {"1", "2"},
                                             {"\xE2\x96\x81", "hello"},
                                             {"o", "\xE2\x96\x81"},
                                             {NULL, NULL}};
    const char *const(*merges)[2] = kind < SAMPLE_FALLBACK ? bytes : letters;
    sample_added(out, kind);
    if (kind == SAMPLE_WORDS) {
        sample_write_words(out);
        return;
    }
    if (kind > SAMPLE_METASPACE) {
        sample_write_unigram(out, kind);
        return;
    }
    sample_steps(out, kind);
    mica_str_append_format(
        out,
        ",\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":%s,"
        "\"fuse_unk\":%s,\"byte_fallback\":%s,\"ignore_merges\":%s,\"vocab\":{",
        kind >= SAMPLE_FALLBACK ? "\"<unk>\"" : "null", kind >= SAMPLE_FALLBACK ? "true" : "false",
        kind == SAMPLE_FALLBACK ? "true" : "false", kind == SAMPLE_LLAMA3 ? "true" : "false");
    sample_vocab(out, kind, merges);
    mica_str_append_text(out, "},\"merges\":[");
    sample_merges(out, merges);
    mica_str_append_text(out, "]}}");
}

/* NULL when there is no memory; the text is checked by the tests. */
static inline mica_tokenizer *sample_open(const mica_host *host, int kind, mica_error *err) {
    mica_tokenizer *t = NULL;
    mica_str json;
    mica_str_init(&json, host->allocator);
    sample_write(&json, kind);
    if (!json.failed) (void)mica_tokenizer_create(host, "sample", json.data, json.bytes, &t, err);
    mica_str_deinit(&json);
    return t;
}
