/* The stream: token text -> steps on the token -> bytes that wait to be whole UTF-8 -> Strip of the
 * whole text -> out. Invalid bytes become U+FFFD: one for each maximal subpart (Unicode, table 3-8)
 * at byte level, one for each byte of byte-fallback tokens, as in the reference. */
#include "text/token_decoder.h"
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/unicode.h"

#define REPLACEMENT "\xEF\xBF\xBD"
enum { RESERVE_BYTES_MAX = 65536, RESERVE_BYTES_MIN = 256 };

/* Writes the token's bytes if all its characters are in the alphabet, else its text. */
static size_t write_bytes(mica_slice token, char *out) {
    size_t n = 0;
    for (size_t at = 0; at < token.bytes;) {
        int byte = mica_byte_alphabet_byte(mica_unicode_next(token.data, &at));
        if (byte < 0) {
            memcpy(out, token.data, token.bytes);
            return token.bytes;
        }
        out[n++] = (char)byte;
    }
    return n;
}

bool mica_token_decoder_finish(mica_token_decoder *d, const mica_vocab *vocab,
                               const mica_allocator *allocator) {
    if (!d->is_byte_level) return true;
    d->byte_starts = mica_alloc_array(allocator, (size_t)vocab->size + 1, sizeof(uint32_t));
    d->bytes = mica_alloc(allocator, vocab->text_bytes + 1);
    if (!d->byte_starts || !d->bytes) return false;
    size_t n = 0;
    for (int32_t id = 0; id < vocab->size; id++) {
        d->byte_starts[id] = (uint32_t)n;
        mica_slice text = mica_vocab_text(vocab, id);
        if (text.bytes) n += write_bytes(text, d->bytes + n);
    }
    d->byte_starts[vocab->size] = (uint32_t)n;
    return true;
}

void mica_token_decoder_deinit(mica_token_decoder *d, const mica_allocator *allocator) {
    mica_free(allocator, d->bytes);
    mica_free(allocator, d->byte_starts);
    d->bytes = NULL;
    d->byte_starts = NULL;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int mica_token_decoder_fallback_byte(mica_slice token) {
    if (token.bytes != 6 || memcmp(token.data, "<0x", 3) != 0 || token.data[5] != '>') return -1;
    int high = hex_digit(token.data[3]), low = hex_digit(token.data[4]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* Empties a builder and keeps in mind that it had failed. */
static void clear(mica_decode_run *run, mica_str *s) {
    run->failed = run->failed || s->failed;
    mica_str_clear(s);
}

/* Makes room ahead of use. */
static void reserve(mica_decode_run *run, mica_str *s, size_t bytes) {
    char zeros[256] = {0};
    for (size_t n = 0; n < bytes; n += sizeof(zeros)) mica_str_append(s, zeros, sizeof(zeros));
    clear(run, s);
}

/* An upper bound of a token's text after its steps. */
static size_t expanded_bytes_max(const mica_token_decoder *d, size_t bytes) {
    for (int i = 0; i < d->n_steps; i++) {
        const mica_decoder_step *s = &d->steps[i];
        if (s->kind == MICA_DECODE_WORD_PIECE && !mica_add_size(bytes, 1, &bytes)) return SIZE_MAX;
        if (s->kind != MICA_DECODE_REPLACE || s->content.bytes <= s->pattern.bytes) continue;
        if (!mica_mul_size(bytes, s->content.bytes, &bytes)) return SIZE_MAX;
    }
    return bytes;
}

static void restart(mica_decode_run *run) {
    run->has_tokens = run->is_past_start = false;
    run->n_stripped = run->n_held = 0;
    run->last_id = -1;
    clear(run, &run->bytes);
}

bool mica_decode_run_init(mica_decode_run *run, const mica_token_decoder *decoder,
                          const mica_vocab *vocab, const mica_allocator *allocator,
                          bool keeps_special, bool is_whole) {
    *run = (mica_decode_run){
        .decoder = decoder, .vocab = vocab, .keeps_special = keeps_special, .is_whole = is_whole};
    mica_str *all[] = {&run->out, &run->bytes, &run->scratch[0], &run->scratch[1]};
    size_t token = expanded_bytes_max(decoder, vocab->token_bytes_max);
    if (token > RESERVE_BYTES_MAX / 4) token = RESERVE_BYTES_MAX / 4;
    for (int i = 0; i < 4; i++) {
        mica_str_init(all[i], allocator);
        /* Each byte can become a replacement character of three bytes. */
        reserve(run, all[i], RESERVE_BYTES_MIN + (i ? 1 : 3) * token);
    }
    restart(run);
    return !run->failed;
}

void mica_decode_run_deinit(mica_decode_run *run) {
    if (!run->decoder) return;
    mica_str_deinit(&run->out);
    mica_str_deinit(&run->bytes);
    mica_str_deinit(&run->scratch[0]);
    mica_str_deinit(&run->scratch[1]);
}

/* The last part: Strip on the whole text. The trailing characters that may have to go are counted
 * and held. */
static void emit(mica_decode_run *run, const char *text, size_t bytes) {
    const mica_decoder_step *strip = &run->decoder->strip;
    if (!run->decoder->has_strip) {
        mica_str_append(&run->out, text, bytes);
        return;
    }
    mica_slice cut = strip->content;
    for (size_t at = 0, next; at < bytes; at = next) {
        next = at;
        (void)mica_unicode_next(text, &next);
        bool is_cut = mica_slice_equal(mica_slice_of(text + at, next - at), cut);
        if (is_cut && !run->is_past_start && run->n_stripped < strip->start) {
            run->n_stripped++;
            continue;
        }
        run->is_past_start = true;
        if (is_cut && run->n_held < strip->stop) {
            run->n_held++;
            continue;
        }
        if (!is_cut)
            for (; run->n_held; run->n_held--) mica_str_append_slice(&run->out, cut);
        mica_str_append(&run->out, text + at, next - at);
    }
}

/* Leading bytes that begin some valid sequence, at least 1. */
static size_t invalid_bytes(const char *data, size_t bytes) {
    size_t n = 1;
    for (size_t k = 1; k <= 3 && k <= bytes; k++) {
        bool is_cut = false;
        (void)mica_utf8_valid_prefix(data, k, &is_cut);
        if (is_cut) n = k;
    }
    return n;
}

/* Emits the whole characters of run->bytes. A cut sequence at the end waits unless is_end. */
static void emit_bytes(mica_decode_run *run, bool is_end) {
    const char *data = run->bytes.data;
    size_t bytes = run->bytes.bytes, at = 0;
    while (at < bytes) {
        bool is_cut = false;
        size_t valid = mica_utf8_valid_prefix(data + at, bytes - at, &is_cut);
        emit(run, data + at, valid);
        at += valid;
        if (at == bytes || (is_cut && !is_end)) break;
        size_t bad = invalid_bytes(data + at, bytes - at);
        size_t marks = run->decoder->has_byte_fallback ? bad : 1;
        for (size_t i = 0; i < marks; i++) emit(run, REPLACEMENT, 3);
        at += bad;
    }
    char rest[4];
    size_t n = bytes - at;
    memcpy(rest, data ? data + at : "", n < 4 ? n : 0);
    clear(run, &run->bytes);
    mica_str_append(&run->bytes, rest, n < 4 ? n : 0);
}

/* Ends a run of byte-fallback tokens. Where the run is known as a whole, one bad byte spoils it
 * all, as in the reference. */
static void end_fallback(mica_decode_run *run) {
    if (run->bytes.bytes == 0) return;
    if (run->is_whole && !mica_utf8_is_valid(run->bytes.data, run->bytes.bytes)) {
        for (size_t i = 0; i < run->bytes.bytes; i++) emit(run, REPLACEMENT, 3);
        clear(run, &run->bytes);
        return;
    }
    emit_bytes(run, true);
}

static void replace(mica_slice in, mica_slice pattern, mica_slice content, mica_str *out) {
    const char *hit;
    while ((hit = memmem(in.data, in.bytes, pattern.data, pattern.bytes))) {
        size_t before = (size_t)(hit - in.data);
        mica_str_append(out, in.data, before);
        mica_str_append_slice(out, content);
        in = mica_slice_of(hit + pattern.bytes, in.bytes - before - pattern.bytes);
    }
    mica_str_append_slice(out, in);
}

static mica_slice strip_token(const mica_decoder_step *s, mica_slice t) {
    size_t n = s->content.bytes;
    for (size_t i = 0; i < s->start && t.bytes >= n && memcmp(t.data, s->content.data, n) == 0; i++)
        t = mica_slice_of(t.data + n, t.bytes - n);
    for (size_t i = 0;
         i < s->stop && t.bytes >= n && memcmp(t.data + t.bytes - n, s->content.data, n) == 0; i++)
        t.bytes -= n;
    return t;
}

/* The scratch text that does not hold the token, emptied. */
static mica_str *free_scratch(mica_decode_run *run, mica_slice token) {
    const mica_str *first = &run->scratch[0];
    bool is_in_first =
        first->data && token.data >= first->data && token.data <= first->data + first->capacity;
    mica_str *to = &run->scratch[is_in_first];
    clear(run, to);
    return to;
}

static mica_slice text_of(const mica_str *s) {
    return mica_slice_of(s->data ? s->data : "", s->bytes);
}

static mica_slice rewrite(mica_decode_run *run, mica_slice token, mica_slice pattern,
                          mica_slice content) {
    if (!memmem(token.data, token.bytes, pattern.data, pattern.bytes)) return token;
    mica_str *to = free_scratch(run, token);
    replace(token, pattern, content, to);
    return text_of(to);
}

static mica_slice join_word_piece(mica_decode_run *run, const mica_decoder_step *s,
                                  mica_slice token) {
    size_t n = s->pattern.bytes;
    if (token.bytes >= n && memcmp(token.data, s->pattern.data, n) == 0)
        return mica_slice_of(token.data + n, token.bytes - n);
    mica_str *to = free_scratch(run, token);
    mica_str_append_char(to, ' ');
    mica_str_append_slice(to, token);
    return text_of(to);
}

/* The reference's list, in its order. */
static mica_slice clean_up(mica_decode_run *run, mica_slice token) {
    static const char *const pairs[][2] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    if (!memchr(token.data, ' ', token.bytes)) return token;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
        token = rewrite(run, token, mica_slice_from(pairs[i][0]), mica_slice_from(pairs[i][1]));
    return token;
}

/* Runs the steps on one token; the result lies in the vocabulary or in scratch. */
static mica_slice apply_steps(mica_decode_run *run, mica_slice token, bool is_first) {
    const mica_token_decoder *d = run->decoder;
    for (int i = 0; i < d->n_steps; i++) {
        const mica_decoder_step *s = &d->steps[i];
        switch (s->kind) {
        case MICA_DECODE_STRIP:
            token = strip_token(s, token);
            break;
        case MICA_DECODE_METASPACE:
            token = rewrite(run, token, s->pattern,
                            mica_slice_of(" ", is_first && s->drops_first ? 0 : 1));
            break;
        case MICA_DECODE_WORD_PIECE:
            if (!is_first) token = join_word_piece(run, s, token);
            break;
        case MICA_DECODE_CLEAN_UP:
            token = clean_up(run, token);
            break;
        default:
            token = rewrite(run, token, s->pattern, s->content);
        }
    }
    return token;
}

static mica_status check(mica_decode_run *run, mica_error *err) {
    if (run->failed || run->out.failed || run->bytes.failed || run->scratch[0].failed ||
        run->scratch[1].failed)
        return mica_fail_memory(err, run->out.bytes, "decoded text");
    return MICA_STATUS_OK;
}

/* One token through the steps on single tokens and to the bytes or the text. */
static void push_token(mica_decode_run *run, mica_slice token) {
    const mica_token_decoder *d = run->decoder;
    bool is_first = !run->has_tokens;
    run->has_tokens = true;
    token = apply_steps(run, token, is_first);
    int byte = d->has_byte_fallback ? mica_token_decoder_fallback_byte(token) : -1;
    if (byte >= 0) {
        mica_str_append_char(&run->bytes, (char)byte);
        if (!run->is_whole) emit_bytes(run, false);
        return;
    }
    if (d->has_byte_fallback) end_fallback(run);
    if (d->joins_with_space && !is_first) emit(run, " ", 1);
    emit(run, token.data, token.bytes);
}

/* The held token goes out: with a space for its suffix when another one follows. */
static void push_held(mica_decode_run *run, bool is_last) {
    mica_slice token = mica_vocab_text(run->vocab, run->last_id);
    if (!token.data) return;
    push_token(run, rewrite(run, token, run->decoder->suffix, mica_slice_of(" ", is_last ? 0 : 1)));
}

mica_status mica_decode_run_push(mica_decode_run *run, int32_t id, mica_error *err) {
    const mica_token_decoder *d = run->decoder;
    mica_slice token = mica_vocab_text(run->vocab, id);
    if (!token.data)
        return mica_fail(err, MICA_STATUS_INVALID, "token id %d is not in the vocabulary of %d",
                         (int)id, (int)run->vocab->size);
    if (!run->keeps_special && run->vocab->entries[id].is_special) return MICA_STATUS_OK;
    if (d->is_byte_level) {
        run->has_tokens = true;
        mica_str_append(&run->bytes, d->bytes + d->byte_starts[id],
                        d->byte_starts[id + 1] - d->byte_starts[id]);
        emit_bytes(run, false);
        return check(run, err);
    }
    if (d->is_repeating && id == run->last_id) return MICA_STATUS_OK;
    if (d->is_suffixed)
        push_held(run, false);
    else
        push_token(run, token);
    run->last_id = id;
    return check(run, err);
}

mica_status mica_decode_run_flush(mica_decode_run *run, mica_error *err) {
    if (run->decoder->is_suffixed) push_held(run, true);
    if (run->decoder->has_byte_fallback)
        end_fallback(run);
    else
        emit_bytes(run, true);
    mica_status st = check(run, err);
    restart(run);
    return st;
}
