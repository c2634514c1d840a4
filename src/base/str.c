/* Text: slices, the growing builder and formatting without the program's locale. UTF-8 is in
 * utf8.c, numbers are in number.c. */
#include "base/str.h"
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include "base/checked.h"
#ifdef __APPLE__
#include <xlocale.h>
#endif

enum { FIRST_CAPACITY = 32 };

mica_slice mica_slice_from(const char *text) {
    return (mica_slice){text ? text : "", text ? strlen(text) : 0};
}

bool mica_slice_equal(mica_slice a, mica_slice b) {
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

bool mica_slice_is(mica_slice a, const char *text) {
    return mica_slice_equal(a, mica_slice_from(text));
}

bool mica_slice_starts_with(mica_slice a, const char *prefix) {
    size_t bytes = strlen(prefix);
    return a.bytes >= bytes && (bytes == 0 || memcmp(a.data, prefix, bytes) == 0);
}

bool mica_slice_ends_with(mica_slice a, const char *suffix) {
    size_t bytes = strlen(suffix);
    if (a.bytes < bytes) return false;
    return bytes == 0 || memcmp(a.data + a.bytes - bytes, suffix, bytes) == 0;
}

/* The finaliser is MurmurHash3's 64-bit mix: without it FNV-1a leaves the high bits of short texts
 * poor. */
uint64_t mica_slice_hash(mica_slice a) {
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < a.bytes; i++) h = (h ^ (unsigned char)a.data[i]) * 0x100000001B3u;
    h = (h ^ (h >> 33)) * 0xFF51AFD7ED558CCDu;
    h = (h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53u;
    return h ^ (h >> 33);
}

void mica_str_init(mica_str *s, const mica_allocator *allocator) {
    *s = (mica_str){.allocator = allocator};
}

void mica_str_deinit(mica_str *s) {
    mica_free(s->allocator, s->data);
    mica_str_init(s, s->allocator);
}

void mica_str_clear(mica_str *s) {
    s->bytes = 0;
    s->failed = false;
    if (s->data) s->data[0] = '\0';
}

/* Room for more bytes and the closing NUL. */
static bool reserve(mica_str *s, size_t more) {
    size_t bytes, needed;
    if (s->failed) return false;
    s->failed = true; /* until it has worked */
    if (!mica_add_size(s->bytes, more, &bytes) || !mica_add_size(bytes, 1, &needed)) return false;
    if (s->limit_bytes && bytes > s->limit_bytes) return false;
    if (needed > s->capacity) {
        size_t grown = s->capacity ? s->capacity : FIRST_CAPACITY;
        if (!mica_add_size(grown, grown / 2, &grown) || grown < needed) grown = needed;
        char *data = mica_realloc(s->allocator, s->data, grown);
        if (!data) return false;
        s->data = data;
        s->capacity = grown;
    }
    s->failed = false;
    return true;
}

void mica_str_append(mica_str *s, const char *data, size_t bytes) {
    if (!reserve(s, bytes)) return;
    if (bytes) memcpy(s->data + s->bytes, data, bytes);
    s->bytes += bytes;
    s->data[s->bytes] = '\0';
}

void mica_str_append_text(mica_str *s, const char *text) { mica_str_append(s, text, strlen(text)); }

void mica_str_append_slice(mica_str *s, mica_slice slice) {
    mica_str_append(s, slice.data, slice.bytes);
}

void mica_str_append_char(mica_str *s, char c) { mica_str_append(s, &c, 1); }

void mica_str_append_codepoint(mica_str *s, uint32_t codepoint) {
    char text[4];
    size_t bytes = mica_utf8_encode(codepoint, text);
    if (bytes == 0) bytes = mica_utf8_encode(0xFFFD, text);
    mica_str_append(s, text, bytes);
}

void mica_str_append_format(mica_str *s, const char *format, ...) {
    if (!reserve(s, 0)) return;
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    size_t room = s->capacity - s->bytes;
    size_t bytes = mica_format_list(s->data + s->bytes, room, format, arguments);
    if (bytes >= room) {
        s->data[s->bytes] = '\0'; /* what did not fit must not stay when there is no memory */
        if (reserve(s, bytes))
            mica_format_list(s->data + s->bytes, s->capacity - s->bytes, format, again);
    } else if (s->limit_bytes && s->bytes + bytes > s->limit_bytes) {
        s->data[s->bytes] = '\0';
        s->failed = true;
    }
    if (!s->failed) s->bytes += bytes;
    va_end(again);
    va_end(arguments);
}

char *mica_str_take(mica_str *s, size_t *bytes) {
    char *text = NULL;
    if (reserve(s, 0)) {
        text = s->data;
        text[s->bytes] = '\0';
        if (bytes) *bytes = s->bytes;
        s->data = NULL;
    }
    size_t limit_bytes = s->limit_bytes;
    mica_str_deinit(s);
    s->limit_bytes = limit_bytes;
    return text;
}

size_t mica_format_list(char *out, size_t capacity, const char *format, va_list arguments) {
#ifdef __APPLE__
    int length = vsnprintf_l(out, capacity, NULL, format, arguments);
#else
    /* glibc and musl return a static object for "C": no allocation, and it cannot fail. */
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t before = plain != (locale_t)0 ? uselocale(plain) : (locale_t)0;
    int length = vsnprintf(out, capacity, format, arguments);
    if (before != (locale_t)0) uselocale(before);
    if (plain != (locale_t)0) freelocale(plain);
#endif
    if (length >= 0) return (size_t)length;
    out[0] = '\0';
    return 0;
}

size_t mica_format(char *out, size_t capacity, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    size_t length = mica_format_list(out, capacity, format, arguments);
    va_end(arguments);
    return length;
}
