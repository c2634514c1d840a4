/* Text: a borrowed slice, a growing builder, UTF-8. No function here depends on the locale. */
#pragma once
#include <stdarg.h>
#include "base/alloc.h"

/* Borrowed bytes, not NUL-terminated. */
typedef struct mica_slice {
    const char *data;
    size_t bytes;
} mica_slice;

static inline mica_slice mica_slice_of(const char *data, size_t bytes) {
    return (mica_slice){data, bytes};
}
mica_slice mica_slice_from(const char *text); /* NUL-terminated; NULL gives the empty slice */
bool mica_slice_equal(mica_slice a, mica_slice b);
bool mica_slice_is(mica_slice a, const char *text);
bool mica_slice_starts_with(mica_slice a, const char *prefix);
bool mica_slice_ends_with(mica_slice a, const char *suffix);
/* FNV-1a style 64-bit hash with a finaliser; the same on every machine. */
uint64_t mica_slice_hash(mica_slice a);

/* Builder. data is always NUL-terminated once something was appended. Sticky: after a failed
 * allocation (or past limit_bytes) `failed` stays true, appends do nothing; check once at the end.
 * Threads: one at a time. */
typedef struct mica_str {
    char *data;
    size_t bytes;
    size_t capacity;
    size_t limit_bytes; /* 0 = none */
    bool failed;
    const mica_allocator *allocator;
} mica_str;

void mica_str_init(mica_str *s, const mica_allocator *allocator);
void mica_str_deinit(mica_str *s);
void mica_str_clear(mica_str *s); /* keeps the memory */
void mica_str_append(mica_str *s, const char *data, size_t bytes);
void mica_str_append_text(mica_str *s, const char *text);
void mica_str_append_slice(mica_str *s, mica_slice slice);
void mica_str_append_char(mica_str *s, char c);
void mica_str_append_codepoint(mica_str *s, uint32_t codepoint); /* UTF-8; invalid ones: U+FFFD */
void mica_str_append_format(mica_str *s, const char *format, ...) MICA_PRINTF(2, 3);
/* Hands the text over (NUL-terminated, allocated even when empty); NULL when failed. s is empty
 * afterwards. */
char *mica_str_take(mica_str *s, size_t *bytes);

/* vsnprintf in the C locale: "1.5" whatever the program has set. Always closes with NUL (capacity
 * > 0). Returns the length of the whole text, or 0 when the format itself fails. */
size_t mica_format_list(char *out, size_t capacity, const char *format, va_list arguments)
    MICA_PRINTF(3, 0);
size_t mica_format(char *out, size_t capacity, const char *format, ...) MICA_PRINTF(3, 4);
/* Makes a NUL-terminated text fit for one line of a terminal, in place: control bytes (C1 too) and
 * invalid UTF-8 become '?', and it is cut to bytes_max bytes at most, at a UTF-8 border. Returns
 * its length. */
size_t mica_text_clean(char *text, size_t bytes_max);

/* Decodes one code point from data[0..bytes), bytes > 0. Returns the bytes used (1..4) and the
 * code point, or 0 when the sequence is invalid or cut short (Unicode table 3-7: no overlong
 * forms, no surrogates, at most U+10FFFF). */
size_t mica_utf8_decode(const char *data, size_t bytes, uint32_t *codepoint);
/* Writes 1..4 bytes, returns how many; 0 for a surrogate or > U+10FFFF. */
size_t mica_utf8_encode(uint32_t codepoint, char out[4]);
bool mica_utf8_is_valid(const char *data, size_t bytes);
/* Bytes of the longest prefix that is valid UTF-8. *is_cut: what follows the prefix is a proper
 * prefix of some valid sequence that reaches the end of the data (more bytes may complete it). */
size_t mica_utf8_valid_prefix(const char *data, size_t bytes, bool *is_cut);

/* Strict numbers: the whole slice must match, no spaces, no locale. */
bool mica_parse_i64(mica_slice text, int64_t *out);
bool mica_parse_u64(mica_slice text, uint64_t *out);
/* [-] digits [. digits] [e [+-] digits]; correctly rounded; false when the result is not finite. */
bool mica_parse_double(mica_slice text, double *out);
/* Shortest text that reads back to the same double, as Python's repr prints it ("1.0", "1e-05",
 * "inf", "nan"). Returns the length. */
size_t mica_format_double(double v, char out[32]);
