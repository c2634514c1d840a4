/* UTF-8 after table 3-7 of the Unicode standard: decoding, encoding, checking, and cleaning text
 * for a terminal. Part of str.h. */
#include "base/str.h"
#include <string.h>

/* Reads one sequence of data[0..bytes), bytes > 0. Returns its length, or 0 when it is invalid;
 * then *good counts its leading bytes that begin some valid sequence (0 = the first byte already
 * fails).
 */
static size_t read_sequence(const unsigned char *data, size_t bytes, uint32_t *codepoint,
                            size_t *good) {
    uint32_t first = data[0];
    *good = 0;
    if (first < 0x80) {
        *codepoint = first;
        return 1;
    }
    if (first < 0xC2 || first > 0xF4) return 0;
    size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    /* The second byte's range excludes overlong forms, surrogates and what is past U+10FFFF. */
    uint32_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    uint32_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    uint32_t value = first & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        *good = i;
        if (i >= bytes || data[i] < low || data[i] > high) return 0;
        value = value << 6 | (data[i] & 0x3Fu);
        low = 0x80;
        high = 0xBF;
    }
    *codepoint = value;
    return length;
}

size_t mica_utf8_decode(const char *data, size_t bytes, uint32_t *codepoint) {
    size_t good;
    return read_sequence((const unsigned char *)data, bytes, codepoint, &good);
}

size_t mica_utf8_encode(uint32_t codepoint, char out[4]) {
    if (codepoint < 0x80) {
        out[0] = (char)codepoint;
        return 1;
    }
    if ((codepoint >= 0xD800 && codepoint <= 0xDFFF) || codepoint > 0x10FFFF) return 0;
    size_t length = codepoint < 0x800 ? 2 : codepoint < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80u | (codepoint & 0x3Fu));
        codepoint >>= 6;
    }
    static const unsigned char lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    out[0] = (char)(lead[length] | codepoint);
    return length;
}

/* Bytes of ASCII at the front, eight at a time as long as there are eight. */
static size_t count_ascii(const char *data, size_t bytes) {
    size_t i = 0;
    for (; bytes - i >= 8; i += 8) {
        uint64_t word;
        memcpy(&word, data + i, 8);
        if (word & 0x8080808080808080u) break;
    }
    while (i < bytes && !((unsigned char)data[i] & 0x80)) i++;
    return i;
}

size_t mica_utf8_valid_prefix(const char *data, size_t bytes, bool *is_cut) {
    size_t i = 0;
    if (is_cut) *is_cut = false;
    while (i < bytes) {
        i += count_ascii(data + i, bytes - i);
        if (i == bytes) break;
        uint32_t codepoint;
        size_t good;
        size_t length =
            read_sequence((const unsigned char *)data + i, bytes - i, &codepoint, &good);
        if (length == 0) {
            if (is_cut) *is_cut = good > 0 && good == bytes - i;
            break;
        }
        i += length;
    }
    return i;
}

bool mica_utf8_is_valid(const char *data, size_t bytes) {
    return mica_utf8_valid_prefix(data, bytes, NULL) == bytes;
}

static bool is_control(uint32_t codepoint) {
    return codepoint < 0x20 || (codepoint >= 0x7F && codepoint <= 0x9F);
}

size_t mica_text_clean(char *text, size_t bytes_max) {
    size_t bytes = strlen(text), out = 0, i = 0;
    while (i < bytes) {
        uint32_t codepoint = 0;
        size_t length = mica_utf8_decode(text + i, bytes - i, &codepoint);
        bool is_bad = length == 0 || is_control(codepoint);
        size_t written = is_bad ? 1 : length;
        if (out + written > bytes_max) break;
        if (is_bad)
            text[out] = '?';
        else
            memmove(text + out, text + i, length);
        out += written;
        i += length ? length : 1;
    }
    text[out] = '\0';
    return out;
}
