/* Texts of folders and of GGUF files: two lists of names. */
#include "format/convert_texts.h"
#include "base/error.h"
#include "format/config.h"
#include "format/gguf_config.h"
#include "format/gguf_tokenizer.h"
#include "format/model_folder.h"

#define TEXT_BYTES_MAX ((size_t)64 << 20)

/* ---- folders ---- */

/* Taken over as they are. The first has to be there; chat_template.json and what follows is of
 * older or other tokenizers, for the programs that read it. */
static const char *const file_names[] = {
    MICA_CONFIG_NAME,      "generation_config.json",
    "tokenizer.json",      "tokenizer_config.json",
    "chat_template.jinja", "special_tokens_map.json",
    "chat_template.json",  "added_tokens.json",
    "vocab.json",          "merges.txt",
    "tokenizer.model",
};

static mica_status take_file(const mica_host *host, const mica_model_folder *folder,
                             const char *name, convert_text_function take, void *context,
                             mica_error *err) {
    char *text = NULL;
    size_t bytes;
    mica_status st = mica_model_folder_read(host, folder, name, TEXT_BYTES_MAX, &text, &bytes, err);
    if (st == MICA_STATUS_OK) st = take(context, name, text, bytes, err);
    mica_free(host->allocator, text);
    return st;
}

static mica_status take_files(const mica_host *host, const char *in, convert_text_function take,
                              void *context, mica_error *err) {
    mica_model_folder folder;
    mica_status st = mica_model_folder_open(in, &folder, err);
    for (size_t i = 0; i < sizeof file_names / sizeof *file_names && st == MICA_STATUS_OK; i++)
        if (i == 0 || mica_model_folder_has(&folder, file_names[i]))
            st = take_file(host, &folder, file_names[i], take, context, err);
    return st;
}

/* ---- GGUF ---- */

static mica_status write_template(const mica_gguf *g, mica_str *out, mica_error *err) {
    mica_slice text;
    mica_status st = mica_gguf_chat_template(g, false, &text, err);
    if (st == MICA_STATUS_OK) mica_str_append_slice(out, text);
    return st;
}

static const struct {
    const char *name;
    mica_status (*write)(const mica_gguf *g, mica_str *out, mica_error *err);
    bool is_optional; /* NOT_FOUND is no error */
} gguf_texts[] = {
    {MICA_CONFIG_NAME, mica_gguf_config_text, false},
    {"generation_config.json", mica_gguf_generation_config_text, false},
    {"tokenizer.json", mica_gguf_tokenizer_text, true},
    {"tokenizer_config.json", mica_gguf_tokenizer_config_text, true},
    {"special_tokens_map.json", mica_gguf_special_tokens_text, true},
    {"chat_template.jinja", write_template, true},
};

static mica_status take_gguf_text(const mica_host *host, const mica_gguf *g, size_t i,
                                  convert_text_function take, void *context, mica_error *err) {
    mica_str text;
    mica_str_init(&text, host->allocator);
    mica_status st = gguf_texts[i].write(g, &text, err);
    bool is_missing = st == MICA_STATUS_NOT_FOUND && gguf_texts[i].is_optional;
    if (st == MICA_STATUS_OK && text.failed)
        st = mica_fail_memory(err, text.bytes, gguf_texts[i].name);
    if (st == MICA_STATUS_OK)
        st = take(context, gguf_texts[i].name, text.data ? text.data : "", text.bytes, err);
    mica_str_deinit(&text);
    return is_missing ? MICA_STATUS_OK : st;
}

static mica_status take_gguf(const mica_host *host, const char *in, convert_text_function take,
                             void *context, mica_error *err) {
    mica_gguf *g = NULL;
    mica_status st = mica_gguf_open(host, in, &g, err);
    for (size_t i = 0; i < sizeof gguf_texts / sizeof *gguf_texts && st == MICA_STATUS_OK; i++)
        st = take_gguf_text(host, g, i, take, context, err);
    mica_gguf_close(&g);
    return st;
}

mica_status convert_texts_each(const mica_host *host, const char *in, convert_text_function take,
                               void *context, mica_error *err) {
    bool is_gguf;
    mica_status st = mica_gguf_is_file(host, in, &is_gguf, err);
    if (st != MICA_STATUS_OK) return st;
    return is_gguf ? take_gguf(host, in, take, context, err)
                   : take_files(host, in, take, context, err);
}
