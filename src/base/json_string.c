/* JSON strings: checking, decoding and writing. Part of json.h. Checking is separate from decoding
 * because most strings hold no escapes and are then used where they stand. */
#include "base/json.h"
#include <string.h>
#include "base/json_parts.h"

/* What a byte inside a string asks for: 0 = nothing, it is plain. */
enum { PLAIN = 0, QUOTE, ESCAPE, CONTROL, WIDE };

/* The high bit of each of eight bytes that is a quote, a backslash, a control byte or not ASCII.
 * The lowest one set is exact; the ones above it may be wrong by a borrow. */
static uint64_t special_bytes(uint64_t word) {
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t quote = word ^ (ones * '"');
    uint64_t escape = word ^ (ones * '\\');
    uint64_t found = ((quote - ones) & ~quote) | ((escape - ones) & ~escape);
    return (found | (word - ones * 0x20) | word) & highs;
}

static int byte_class(unsigned char c) {
    if (c == '"') return QUOTE;
    if (c == '\\') return ESCAPE;
    if (c < 0x20) return CONTROL;
    return c < 0x80 ? PLAIN : WIDE;
}

static const char *skip_plain(const char *c, const char *end) {
    while (end - c >= 8) {
        uint64_t word;
        memcpy(&word, c, 8);
        uint64_t special = special_bytes(word);
        if (special) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            return c + __builtin_ctzll(special) / 8;
#else
            break;
#endif
        }
        c += 8;
    }
    while (c < end && byte_class((unsigned char)*c) == PLAIN) c++;
    return c;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The value of "\uXXXX" at c, or -1. */
static int32_t unicode_escape(const char *c, const char *end) {
    if (end - c < 6 || c[0] != '\\' || c[1] != 'u') return -1;
    int32_t value = 0;
    for (int i = 2; i < 6; i++) {
        int digit = hex_value(c[i]);
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

static bool is_high_surrogate(int32_t unit) { return unit >= 0xD800 && unit <= 0xDBFF; }
static bool is_low_surrogate(int32_t unit) { return unit >= 0xDC00 && unit <= 0xDFFF; }

/* Bytes of the escape at c, 0 after a failure. */
static size_t check_escape(mica_json *j, const char *c) {
    if (j->end - c < 2) {
        json_fail_at(j, j->end, "the text ends inside a string");
        return 0;
    }
    if (c[1] != 'u') {
        if (c[1] != '\0' && strchr("\"\\/bfnrt", c[1])) return 2;
        json_fail_at(j, c, "an unknown escape in a string");
        return 0;
    }
    int32_t unit = unicode_escape(c, j->end);
    if (unit < 0) {
        json_fail_at(j, c, "an escape \\u without four hex digits");
        return 0;
    }
    if (!is_high_surrogate(unit) && !is_low_surrogate(unit)) return 6;
    if (is_high_surrogate(unit) && is_low_surrogate(unicode_escape(c + 6, j->end))) return 12;
    json_fail_at(j, c, "a lone surrogate escape \\u%04X", (unsigned)unit);
    return 0;
}

static size_t check_wide(mica_json *j, const char *c) {
    uint32_t codepoint;
    size_t bytes = mica_utf8_decode(c, (size_t)(j->end - c), &codepoint);
    if (bytes == 0) json_fail_at(j, c, "invalid UTF-8 in a string");
    return bytes;
}

bool json_scan_string(mica_json *j, mica_slice *raw, bool *has_escapes) {
    const char *begin = j->at + 1, *c = begin;
    *has_escapes = false;
    for (;;) {
        c = skip_plain(c, j->end);
        if (c == j->end) {
            json_fail_at(j, c, "the text ends inside a string");
            return false;
        }
        if (*c == '"') break;
        size_t bytes = 0;
        if (*c == '\\') {
            *has_escapes = true;
            bytes = check_escape(j, c);
        } else if ((unsigned char)*c >= 0x80) {
            bytes = check_wide(j, c);
        } else {
            json_fail_at(j, c, "a raw control byte 0x%02X in a string", (unsigned)*c);
        }
        if (bytes == 0) return false;
        c += bytes;
    }
    *raw = mica_slice_of(begin, (size_t)(c - begin));
    j->at = c + 1;
    return true;
}

/* Appends what the escape at c means; returns its bytes. */
static size_t decode_escape(const char *c, const char *end, mica_str *out) {
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (c[1] != 'u') {
        mica_str_append_char(out, meanings[strchr(letters, c[1]) - letters]);
        return 2;
    }
    int32_t unit = unicode_escape(c, end);
    if (!is_high_surrogate(unit)) {
        mica_str_append_codepoint(out, (uint32_t)unit);
        return 6;
    }
    int32_t low = unicode_escape(c + 6, end);
    mica_str_append_codepoint(out, 0x10000u + ((uint32_t)(unit - 0xD800) << 10) +
                                       (uint32_t)(low - 0xDC00));
    return 12;
}

void json_decode_string(mica_slice raw, mica_str *out) {
    const char *c = raw.data, *end = raw.data + raw.bytes;
    while (c < end) {
        const char *escape = memchr(c, '\\', (size_t)(end - c));
        const char *stop = escape ? escape : end;
        mica_str_append(out, c, (size_t)(stop - c));
        c = stop;
        if (escape) c += decode_escape(c, end, out);
    }
}

/* Bytes of an invalid sequence that one U+FFFD stands for: the longest beginning of a valid one. */
static size_t invalid_bytes(const char *data, size_t bytes) {
    size_t longest = 1;
    for (size_t n = 2; n <= 3 && n <= bytes; n++) {
        bool is_cut;
        if (mica_utf8_valid_prefix(data, n, &is_cut) == 0 && is_cut) longest = n;
    }
    return longest;
}

static void append_escaped(mica_str *out, char c) {
    switch (c) {
    case '"':
        mica_str_append_text(out, "\\\"");
        break;
    case '\\':
        mica_str_append_text(out, "\\\\");
        break;
    case '\b':
        mica_str_append_text(out, "\\b");
        break;
    case '\f':
        mica_str_append_text(out, "\\f");
        break;
    case '\n':
        mica_str_append_text(out, "\\n");
        break;
    case '\r':
        mica_str_append_text(out, "\\r");
        break;
    case '\t':
        mica_str_append_text(out, "\\t");
        break;
    default:
        mica_str_append_format(out, "\\u%04x", (unsigned)(unsigned char)c);
        break;
    }
}

void mica_json_append_string(mica_str *out, mica_slice text) {
    const char *c = text.bytes ? text.data : "", *end = c + text.bytes;
    mica_str_append_char(out, '"');
    while (c < end) {
        const char *plain = skip_plain(c, end);
        mica_str_append(out, c, (size_t)(plain - c));
        c = plain;
        if (c == end) break;
        if (byte_class((unsigned char)*c) != WIDE) {
            append_escaped(out, *c++);
            continue;
        }
        uint32_t codepoint = 0xFFFD;
        size_t bytes = mica_utf8_decode(c, (size_t)(end - c), &codepoint);
        mica_str_append_codepoint(out, bytes ? codepoint : 0xFFFD);
        c += bytes ? bytes : invalid_bytes(c, (size_t)(end - c));
    }
    mica_str_append_char(out, '"');
}
