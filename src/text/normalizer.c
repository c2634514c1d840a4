/* The steps of a normalizer. The Unicode forms decompose by table, order marks with a stable
 * counting sort of our own (long runs of marks would take quadratic time otherwise) and compose by
 * table. Chunks are cut before ASCII characters: none of them ever composes with what stands before
 * it. */
#include "text/normalizer.h"
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

enum {
    SHORT_MARKS_MAX = 16, /* runs up to here are sorted by insertion */
    CODEPOINTS_MIN = 256,
    CLUSTER_BYTES_MAX = 5, /* longer grapheme clusters are looked up character by character */
};

void mica_normalizer_deinit(mica_normalizer *n) {
    for (int i = 0; i < n->n_steps; i++) {
        mica_split_pattern_deinit(&n->steps[i].pattern);
        mica_charsmap_destroy(&n->steps[i].charsmap);
    }
    n->n_steps = 0;
}

void mica_origin_text_init(mica_origin_text *t, const mica_allocator *allocator, bool has_origin) {
    mica_str_init(&t->text, allocator);
    mica_str_init(&t->origin, allocator);
    t->text.limit_bytes = t->origin.limit_bytes = MICA_ENCODE_BYTES_MAX;
    t->has_origin = has_origin;
}

void mica_origin_text_deinit(mica_origin_text *t) {
    mica_str_deinit(&t->text);
    mica_str_deinit(&t->origin);
}

void mica_normalizer_run_init(mica_normalizer_run *run, const mica_allocator *allocator,
                              bool has_origin) {
    *run = (mica_normalizer_run){.allocator = allocator};
    for (int i = 0; i < 2; i++) mica_origin_text_init(&run->buffers[i], allocator, has_origin);
}

void mica_normalizer_run_deinit(mica_normalizer_run *run) {
    if (!run->allocator) return;
    for (int i = 0; i < 2; i++) mica_origin_text_deinit(&run->buffers[i]);
    mica_free(run->allocator, run->codepoints);
    run->codepoints = NULL;
}

/* What a step reads. */
typedef struct source {
    mica_slice text;
    const char *origin; /* NULL: not tracked */
} source;

static void append(mica_origin_text *out, const char *data, size_t bytes, char origin) {
    mica_str_append(&out->text, data, bytes);
    for (size_t i = 0; out->has_origin && i < bytes; i++)
        mica_str_append_char(&out->origin, origin);
}

/* Copies a range of the source with its origins. */
static void copy(mica_origin_text *out, const source *in, size_t from, size_t to) {
    mica_str_append(&out->text, in->text.data + from, to - from);
    if (out->has_origin && in->origin) mica_str_append(&out->origin, in->origin + from, to - from);
}

/* 1 if any byte of the range came from input. */
static char range_origin(const source *in, size_t from, size_t to) {
    return in->origin && memchr(in->origin + from, 1, to - from) ? 1 : 0;
}

static void append_codepoint(mica_origin_text *out, uint32_t c, char origin) {
    char utf8[4];
    append(out, utf8, mica_utf8_encode(c, utf8), origin);
}

/* Stable sort by combining class of codepoints[0..n), all of class > 0. */
static void sort_marks(int32_t *codepoints, size_t n, int32_t *spare) {
    if (n <= SHORT_MARKS_MAX) {
        for (size_t i = 1; i < n; i++) {
            int32_t c = codepoints[i];
            int class = mica_unicode_combining_class((uint32_t)c);
            size_t j = i;
            for (; j && mica_unicode_combining_class((uint32_t)codepoints[j - 1]) > class; j--)
                codepoints[j] = codepoints[j - 1];
            codepoints[j] = c;
        }
        return;
    }
    size_t starts[257] = {0};
    for (size_t i = 0; i < n; i++)
        starts[mica_unicode_combining_class((uint32_t)codepoints[i]) % 256 + 1]++;
    for (int k = 1; k < 257; k++) starts[k] += starts[k - 1];
    for (size_t i = 0; i < n; i++)
        spare[starts[mica_unicode_combining_class((uint32_t)codepoints[i]) % 256]++] =
            codepoints[i];
    memcpy(codepoints, spare, n * sizeof(*codepoints));
}

static void order_marks(int32_t *codepoints, size_t n, int32_t *spare) {
    for (size_t i = 0; i < n;) {
        size_t start = i;
        while (i < n && mica_unicode_combining_class((uint32_t)codepoints[i])) i++;
        if (i - start > 1) sort_marks(codepoints + start, i - start, spare);
        i += i == start;
    }
}

/* Two halves: the code points and as much spare room for sorting. */
static bool reserve_codepoints(mica_normalizer_run *run, size_t n) {
    if (n <= run->codepoint_capacity) return true;
    size_t capacity = CODEPOINTS_MIN, bytes;
    while (capacity < n)
        if (!mica_mul_size(capacity, 2, &capacity)) return false;
    if (!mica_mul_size(capacity, 2 * sizeof(int32_t), &bytes)) return false;
    int32_t *memory = mica_realloc(run->allocator, run->codepoints, bytes);
    if (!memory) return false;
    run->codepoints = memory;
    run->codepoint_capacity = capacity;
    return true;
}

/* Normalizes one chunk; nothing outside of it can combine with what is inside. */
static bool form_chunk(mica_normalizer_run *run, mica_slice text, bool is_compatible,
                       bool is_composed, char origin, mica_origin_text *out) {
    size_t n = 0;
    for (size_t at = 0; at < text.bytes;) {
        if (!reserve_codepoints(run, n + MICA_UNICODE_DECOMPOSED_MAX)) return false;
        uint32_t c = mica_unicode_next(text.data, &at);
        n += mica_unicode_decompose(c, is_compatible, run->codepoints + n);
    }
    order_marks(run->codepoints, n, run->codepoints + run->codepoint_capacity);
    if (is_composed) n = mica_unicode_compose(run->codepoints, n);
    for (size_t i = 0; i < n; i++) append_codepoint(out, (uint32_t)run->codepoints[i], origin);
    return true;
}

/* A chunk is one ASCII character and the non-ASCII run after it; plain ASCII is copied. */
static bool apply_form(const mica_normalizer_step *step, mica_normalizer_run *run, const source *in,
                       mica_origin_text *out) {
    bool is_compatible = step->kind == MICA_NORMALIZE_NFKC || step->kind == MICA_NORMALIZE_NFKD;
    bool is_composed = step->kind == MICA_NORMALIZE_NFC || step->kind == MICA_NORMALIZE_NFKC;
    const char *p = in->text.data;
    size_t at = 0, bytes = in->text.bytes;
    while (at < bytes) {
        size_t wide = at;
        while (wide < bytes && !((unsigned char)p[wide] & 0x80)) wide++;
        size_t start = wide < bytes && wide > at ? wide - 1 : wide;
        copy(out, in, at, start);
        size_t end = wide;
        while (end < bytes && (unsigned char)p[end] & 0x80) end++;
        if (end > start && !form_chunk(run, mica_slice_of(p + start, end - start), is_compatible,
                                       is_composed, range_origin(in, start, end), out))
            return false;
        at = end;
    }
    return true;
}

/* ---- steps that look at one character at a time ---- */

static bool is_han(uint32_t c) {
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

/* Tab, CR and LF count as white space. What is not assigned stays, as in the reference. */
static void append_clean(mica_origin_text *out, uint32_t c, char origin) {
    mica_unicode_category category = mica_unicode_category_of(c);
    bool is_white = mica_unicode_class(c) & MICA_UNICODE_WHITE;
    bool is_short_control = c == '\t' || c == '\n' || c == '\r';
    if (c == 0xFFFD || (!is_short_control && category >= MICA_CATEGORY_CC)) return;
    append_codepoint(out, is_white ? ' ' : c, origin);
}

/* Mn as in Unicode 8, the reference's table, where later versions moved a character. */
static bool is_nonspacing(uint32_t c) {
    if (c == 0x1734) return true;
    return mica_unicode_category_of(c) == MICA_CATEGORY_MN && c != 0x1885 && c != 0x1886;
}

static void append_nmt(mica_origin_text *out, uint32_t c, char origin) {
    if ((c >= 1 && c <= 8) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F ||
        c == 0x9F)
        return;
    bool is_space = c == 9 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
                    (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                    c == 0xFEFF || c == 0xFFFD;
    append_codepoint(out, is_space ? ' ' : c, origin);
}

static void apply_to_character(mica_normalizer_kind kind, uint32_t c, char origin,
                               mica_origin_text *out) {
    switch (kind) {
    case MICA_NORMALIZE_LOWERCASE:
        append_codepoint(out, c == 0x130 ? 'i' : mica_unicode_lower(c), origin);
        if (c == 0x130) append_codepoint(out, 0x307, origin); /* the one that becomes two */
        break;
    case MICA_NORMALIZE_NO_MARKS:
        if (!(mica_unicode_class(c) & MICA_UNICODE_MARK)) append_codepoint(out, c, origin);
        break;
    case MICA_NORMALIZE_NO_NONSPACING:
        if (!is_nonspacing(c)) append_codepoint(out, c, origin);
        break;
    case MICA_NORMALIZE_CLEAN:
        append_clean(out, c, origin);
        break;
    case MICA_NORMALIZE_SPACE_HAN:
        if (is_han(c)) append(out, " ", 1, origin);
        append_codepoint(out, c, origin);
        if (is_han(c)) append(out, " ", 1, origin);
        break;
    default:
        append_nmt(out, c, origin);
    }
}

static void apply_to_characters(mica_normalizer_kind kind, const source *in,
                                mica_origin_text *out) {
    for (size_t at = 0, next = 0; at < in->text.bytes; at = next) {
        uint32_t c = mica_unicode_next(in->text.data, &next);
        apply_to_character(kind, c, range_origin(in, at, next), out);
    }
}

static void apply_byte_map(const source *in, mica_origin_text *out) {
    for (size_t i = 0; i < in->text.bytes; i++) {
        char letter[2];
        size_t n = mica_byte_alphabet_write((uint8_t)in->text.data[i], letter);
        append(out, letter, n, range_origin(in, i, i + 1));
    }
}

/* ---- the character map ---- */

/* End of the grapheme cluster that begins at `at`. */
static size_t cluster_end(mica_slice text, size_t at) {
    int32_t state = 0;
    size_t next = at;
    uint32_t left = mica_unicode_next(text.data, &next);
    while (next < text.bytes) {
        size_t after = next;
        uint32_t right = mica_unicode_next(text.data, &after);
        if (mica_unicode_is_cluster_end(left, right, &state)) break;
        left = right;
        next = after;
    }
    return next;
}

static bool is_ascii(const char *p) { return !((unsigned char)*p & 0x80); }

/* Appends the replacement of a range, if there is one. */
static bool replace_range(const mica_charsmap *map, const source *in, size_t from, size_t to,
                          mica_origin_text *out) {
    mica_slice found;
    if (!mica_charsmap_find(map, mica_slice_of(in->text.data + from, to - from), &found))
        return false;
    append(out, found.data, found.bytes, range_origin(in, from, to));
    return true;
}

/* The reference's rule, odd as it is: a cluster of up to 5 bytes is replaced as a whole when a
 * beginning of it is in the map (so that a second accent is lost), else its characters are. */
static void apply_charsmap(const mica_charsmap *map, const source *in, mica_origin_text *out) {
    const char *p = in->text.data;
    size_t bytes = in->text.bytes;
    for (size_t at = 0, end, next; at < bytes; at = end) {
        bool is_alone =
            is_ascii(p + at) && p[at] != '\r' && (at + 1 == bytes || is_ascii(p + at + 1));
        end = is_alone ? at + 1 : cluster_end(in->text, at);
        if (is_alone && mica_charsmap_keeps_ascii(map, (uint8_t)p[at])) {
            copy(out, in, at, end);
            continue;
        }
        if (end - at <= CLUSTER_BYTES_MAX && replace_range(map, in, at, end, out)) continue;
        for (; at < end; at = next) {
            next = at;
            (void)mica_unicode_next(p, &next);
            if (!replace_range(map, in, at, next, out)) copy(out, in, at, next);
        }
    }
}

/* ---- the others ---- */

static mica_status apply_replace(const mica_normalizer_step *step, mica_normalizer_run *run,
                                 const source *in, mica_origin_text *out, mica_error *err) {
    mica_split_scan scan;
    mica_split_scan_init(&scan, &step->pattern, run->allocator);
    mica_split_scan_begin(&scan, in->text.data, in->text.bytes);
    size_t done = 0, start = 0, end = 0;
    bool found = false;
    mica_status st;
    while ((st = mica_split_scan_next(&scan, &found, &start, &end, err)) == MICA_STATUS_OK &&
           found && !out->text.failed) {
        copy(out, in, done, start);
        append(out, step->content.data, step->content.bytes,
               start < end ? range_origin(in, start, end) : 0);
        done = end;
    }
    copy(out, in, done, in->text.bytes);
    mica_split_scan_deinit(&scan);
    return st;
}

static void apply_strip(const mica_normalizer_step *step, const source *in, mica_origin_text *out) {
    size_t start = 0, end = in->text.bytes, next, before;
    for (next = 0; step->strips_left && start < end; start = next)
        if (!(mica_unicode_class(mica_unicode_next(in->text.data, &next)) & MICA_UNICODE_WHITE))
            break;
    for (; step->strips_right && end > start; end = before)
        if (!(mica_unicode_class(mica_unicode_previous(in->text.data, end, &before)) &
              MICA_UNICODE_WHITE))
            break;
    copy(out, in, start, end);
}

static mica_status apply_step(const mica_normalizer_step *step, mica_normalizer_run *run,
                              const source *in, mica_origin_text *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    switch (step->kind) {
    case MICA_NORMALIZE_LOWERCASE:
    case MICA_NORMALIZE_NO_MARKS:
    case MICA_NORMALIZE_NO_NONSPACING:
    case MICA_NORMALIZE_CLEAN:
    case MICA_NORMALIZE_SPACE_HAN:
    case MICA_NORMALIZE_NMT:
        apply_to_characters(step->kind, in, out);
        break;
    case MICA_NORMALIZE_BYTE_MAP:
        apply_byte_map(in, out);
        break;
    case MICA_NORMALIZE_CHARSMAP:
        apply_charsmap(step->charsmap, in, out);
        break;
    case MICA_NORMALIZE_REPLACE:
        st = apply_replace(step, run, in, out, err);
        break;
    case MICA_NORMALIZE_STRIP:
        apply_strip(step, in, out);
        break;
    case MICA_NORMALIZE_PREPEND:
        if (in->text.bytes) append(out, step->content.data, step->content.bytes, 0);
        copy(out, in, 0, in->text.bytes);
        break;
    default:
        if (!apply_form(step, run, in, out))
            return mica_fail_memory(err, in->text.bytes, "normalized text");
    }
    if (st != MICA_STATUS_OK || !(out->text.failed || out->origin.failed)) return st;
    if (out->text.bytes > MICA_ENCODE_BYTES_MAX / 2)
        return mica_fail(err, MICA_STATUS_LIMIT, "normalized text is longer than %u bytes",
                         MICA_ENCODE_BYTES_MAX);
    return mica_fail_memory(err, in->text.bytes, "normalized text");
}

mica_status mica_normalizer_apply(const mica_normalizer *n, mica_normalizer_run *run,
                                  mica_slice text, const char *origin, mica_slice *out,
                                  const char **out_origin, mica_error *err) {
    source in = {text, origin};
    for (int i = 0; i < n->n_steps; i++) {
        mica_origin_text *to = &run->buffers[i % 2];
        mica_str_clear(&to->text);
        mica_str_clear(&to->origin);
        mica_status st = apply_step(&n->steps[i], run, &in, to, err);
        if (st != MICA_STATUS_OK) return st;
        in.text = mica_slice_of(to->text.data ? to->text.data : "", to->text.bytes);
        in.origin = to->has_origin ? to->origin.data : NULL;
        if (in.text.bytes == 0) in.origin = NULL;
    }
    *out = in.text;
    *out_origin = in.origin;
    return MICA_STATUS_OK;
}
