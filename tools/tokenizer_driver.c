/* Encodes and decodes on request, for tools/tokenizer_cases.py, which compares the answers with the
 * reference. Usage: tokenizer_driver TOKENIZER.json
 * Request on stdin: u32 flags (1 plain_special, 2 add_special_tokens), u32 bytes, text.
 * Answer on stdout: u32 count, count ids; then decoded without and with special tokens, each as
 * u32 bytes, the whole text, u32 bytes, the text as it was streamed. An error is the count
 * 0xFFFFFFFF, u32 bytes, the message. Numbers are in the machine's byte order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "text/tokenizer.h"

static void put(const void *data, size_t bytes) {
    if (bytes && fwrite(data, 1, bytes, stdout) != bytes) exit(1);
}

static void put_number(size_t n) {
    uint32_t value = (uint32_t)n;
    put(&value, sizeof(value));
}

static bool get_number(uint32_t *out) { return fread(out, sizeof(*out), 1, stdin) == 1; }

static void put_error(const mica_error *err) {
    put_number(UINT32_MAX);
    put_number(strlen(err->message));
    put(err->message, strlen(err->message));
}

static void fail(const char *what) {
    fprintf(stderr, "tokenizer_driver: %s\n", what);
    exit(1);
}

static void put_streamed(const mica_tokenizer *t, const mica_tokens *tokens, bool keeps_special) {
    mica_detokenizer *d = NULL;
    mica_error err = {0};
    const char *part;
    size_t bytes;
    mica_str all;
    mica_str_init(&all, mica_host_default()->allocator);
    if (mica_detokenizer_create(t, keeps_special, &d, &err)) fail(err.message);
    for (size_t i = 0; i < tokens->count; i++) {
        if (mica_detokenizer_push(d, tokens->ids[i], &part, &bytes, &err)) fail(err.message);
        mica_str_append(&all, part, bytes);
    }
    if (mica_detokenizer_flush(d, &part, &bytes, &err)) fail(err.message);
    mica_str_append(&all, part, bytes);
    mica_detokenizer_destroy(&d);
    put_number(all.bytes);
    put(all.data, all.bytes);
    mica_str_deinit(&all);
}

static void answer(const mica_tokenizer *t, uint32_t flags, const char *text, size_t bytes) {
    mica_tokens tokens = {0};
    mica_error err = {0};
    mica_encode_options options = {.struct_bytes = sizeof(options),
                                   .plain_special = flags & 1,
                                   .add_special_tokens = flags >> 1 & 1};
    if (mica_tokenizer_encode(t, text, bytes, &options, &tokens, &err)) {
        put_error(&err);
        return;
    }
    put_number(tokens.count);
    put(tokens.ids, tokens.count * sizeof(int32_t));
    for (int keep = 0; keep < 2; keep++) {
        char *back = NULL;
        size_t n = 0;
        if (mica_tokenizer_decode(t, tokens.ids, tokens.count, keep, &back, &n, &err))
            fail(err.message);
        put_number(n);
        put(back, n);
        mica_text_free(t, back);
        put_streamed(t, &tokens, keep);
    }
    mica_tokens_free(t, &tokens);
}

int main(int argc, char **argv) {
    mica_tokenizer *t = NULL;
    mica_error err = {0};
    uint32_t flags, bytes;
    if (argc != 2) fail("usage: tokenizer_driver TOKENIZER.json");
    if (mica_tokenizer_load(mica_host_default(), argv[1], &t, &err)) fail(err.message);
    while (get_number(&flags) && get_number(&bytes)) {
        char *text = malloc((size_t)bytes + 1);
        if (!text || fread(text, 1, bytes, stdin) != bytes) fail("a cut request");
        answer(t, flags, text, bytes);
        free(text);
        if (fflush(stdout)) fail("stdout is closed");
    }
    mica_tokenizer_close(&t);
    return 0;
}
