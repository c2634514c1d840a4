/* Ids to text: whole lists, and the streaming detokenizer. Both are thin over token_decoder.c. */
#include "base/error.h"
#include "text/tokenizer_parts.h"

mica_status mica_tokenizer_decode(const mica_tokenizer *t, const int32_t *ids, size_t count,
                                  bool keep_special, char **out, size_t *bytes, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_decode_run run;
    *out = NULL;
    if (!mica_decode_run_init(&run, &t->decoder, &t->vocab, t->host->allocator, keep_special, true))
        MICA_TRY(mica_fail_memory(err, 0, "decoding"));
    for (size_t i = 0; i < count; i++) MICA_TRY(mica_decode_run_push(&run, ids[i], err));
    MICA_TRY(mica_decode_run_flush(&run, err));
    size_t text_bytes = 0;
    *out = mica_str_take(&run.out, &text_bytes);
    if (!*out) MICA_TRY(mica_fail_memory(err, text_bytes, "decoded text"));
    if (bytes) *bytes = text_bytes;
done:
    mica_decode_run_deinit(&run);
    return st;
}

void mica_text_free(const mica_tokenizer *t, char *text) { mica_free(t->host->allocator, text); }

struct mica_detokenizer {
    const mica_allocator *allocator;
    mica_decode_run run;
};

mica_status mica_detokenizer_create(const mica_tokenizer *t, bool keep_special,
                                    mica_detokenizer **out, mica_error *err) {
    const mica_allocator *a = t->host->allocator;
    mica_detokenizer *d = MICA_NEW(a, mica_detokenizer);
    if (!d) return mica_fail_memory(err, sizeof(*d), "a detokenizer");
    d->allocator = a;
    if (!mica_decode_run_init(&d->run, &t->decoder, &t->vocab, a, keep_special, false)) {
        mica_detokenizer_destroy(&d);
        return mica_fail_memory(err, sizeof(*d), "a detokenizer");
    }
    *out = d;
    return MICA_STATUS_OK;
}

void mica_detokenizer_destroy(mica_detokenizer **detokenizer) {
    mica_detokenizer *d = *detokenizer;
    if (!d) return;
    mica_decode_run_deinit(&d->run);
    mica_free(d->allocator, d);
    *detokenizer = NULL;
}

static void hand_out(const mica_detokenizer *d, const char **text, size_t *bytes) {
    *text = d->run.out.data ? d->run.out.data : "";
    *bytes = d->run.out.bytes;
}

mica_status mica_detokenizer_push(mica_detokenizer *d, int32_t id, const char **text, size_t *bytes,
                                  mica_error *err) {
    mica_str_clear(&d->run.out);
    mica_status st = mica_decode_run_push(&d->run, id, err);
    hand_out(d, text, bytes);
    return st;
}

mica_status mica_detokenizer_flush(mica_detokenizer *d, const char **text, size_t *bytes,
                                   mica_error *err) {
    mica_str_clear(&d->run.out);
    mica_status st = mica_decode_run_flush(&d->run, err);
    hand_out(d, text, bytes);
    return st;
}
