/* Look-ups in a loaded tokenizer. Loading: tokenizer_load.c; encoding and decoding:
 * tokenizer_encode.c and tokenizer_decode.c. */
#include <string.h>
#include "text/tokenizer_parts.h"

int32_t mica_tokenizer_size(const mica_tokenizer *t) { return t->vocab.size; }

int32_t mica_tokenizer_find(const mica_tokenizer *t, const char *text) {
    return text ? mica_vocab_find(&t->vocab, mica_slice_from(text)) : -1;
}

const char *mica_tokenizer_token(const mica_tokenizer *t, int32_t id, size_t *bytes) {
    mica_slice text = mica_vocab_text(&t->vocab, id);
    if (bytes) *bytes = text.bytes;
    return text.data;
}

bool mica_tokenizer_is_special(const mica_tokenizer *t, int32_t id) {
    return id >= 0 && id < t->vocab.size && t->vocab.entries[id].is_special;
}

const mica_host *mica_tokenizer_host(const mica_tokenizer *t) { return t->host; }

mica_slice mica_tokenizer_bytes(const mica_tokenizer *t, int32_t id) {
    mica_slice text = mica_vocab_text(&t->vocab, id);
    if (!text.data) return mica_slice_of("", 0);
    const mica_token_decoder *d = &t->decoder;
    if (d->is_byte_level)
        return mica_slice_of(d->bytes + d->byte_starts[id],
                             d->byte_starts[id + 1] - d->byte_starts[id]);
    int byte = d->has_byte_fallback ? mica_token_decoder_fallback_byte(text) : -1;
    return byte < 0 ? text : mica_slice_of(&t->byte_values[byte], 1);
}
