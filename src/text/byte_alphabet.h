/* The byte-level alphabet of GPT-2: every byte has a printable code point of its own. Bytes
 * 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF stand for themselves; the other 68 take U+0100, U+0101, ... in
 * increasing order (space = U+0120). */
#pragma once
#include <stddef.h>
#include <stdint.h>

static inline uint32_t mica_byte_alphabet_codepoint(uint8_t byte) {
    if (byte <= 0x20) return 0x100u + byte;
    if (byte >= 0x7F && byte <= 0xA0) return 0x121u + (byte - 0x7Fu);
    return byte == 0xAD ? 0x143u : byte;
}
/* -1 when the code point is not in the alphabet. */
static inline int mica_byte_alphabet_byte(uint32_t c) {
    if (c >= 0x100) {
        if (c <= 0x120) return (int)(c - 0x100);
        if (c <= 0x142) return (int)(c - 0x121 + 0x7F);
        return c == 0x143 ? 0xAD : -1;
    }
    return mica_byte_alphabet_codepoint((uint8_t)c) == c ? (int)c : -1;
}
/* Writes the UTF-8 of a byte's code point; returns 1 or 2. */
static inline size_t mica_byte_alphabet_write(uint8_t byte, char *out) {
    uint32_t c = mica_byte_alphabet_codepoint(byte);
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    out[0] = (char)(0xC0 | (c >> 6));
    out[1] = (char)(0x80 | (c & 0x3F));
    return 2;
}
