/* The blob's reader and the walk through its trie (a Darts double array: a unit holds its label in
 * bits 0-7 and 31, a leaf mark in bit 8, and the offset to its children in the others). */
#include "text/charsmap.h"
#include <string.h>
#include "base/error.h"
#include "base/fuzz.h"

struct mica_charsmap {
    const mica_allocator *allocator;
    uint32_t *units; /* [n_units], at least 1 */
    size_t n_units;
    char *text; /* the replacements: valid UTF-8 */
    size_t text_bytes;
    bool keeps_ascii[128];
};

/* ---- base64 ---- */

static int digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Writes 3 bytes for each 4 characters but the padding; false where the text is no base64 with
 * padding and zeros in the unused bits. */
static bool decode_base64(mica_slice in, unsigned char *out, size_t *bytes) {
    size_t n = 0, pad = 0;
    if (in.bytes % 4) return false;
    while (pad < 2 && in.bytes && in.data[in.bytes - 1 - pad] == '=') pad++;
    for (size_t i = 0; i < in.bytes; i += 4) {
        uint32_t group = 0;
        size_t used = i + 4 == in.bytes ? 4 - pad : 4;
        for (size_t k = 0; k < 4; k++) {
            int d = k < used ? digit(in.data[i + k]) : 0;
            if (d < 0) return false;
            group = group << 6 | (uint32_t)d;
        }
        if ((used == 3 && group & 0xFF) || (used == 2 && group & 0xFFFF)) return false;
        for (size_t k = 0; k + 1 < used; k++) out[n++] = (unsigned char)(group >> (16 - 8 * k));
    }
    *bytes = n;
    return true;
}

/* ---- the blob ---- */

static uint32_t read_u32(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static mica_status parse(mica_charsmap *m, const unsigned char *blob, size_t bytes,
                         mica_error *err) {
    uint32_t trie_bytes = bytes >= 4 ? read_u32(blob) : 0;
    if (trie_bytes < 4 || trie_bytes % 4 || trie_bytes > bytes - 4)
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "precompiled_charsmap: a trie of %u bytes in a blob of %zu", trie_bytes,
                         bytes);
    const char *text = (const char *)blob + 4 + trie_bytes;
    m->n_units = trie_bytes / 4;
    m->text_bytes = bytes - 4 - trie_bytes;
    if (!mica_utf8_is_valid(text, m->text_bytes))
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "precompiled_charsmap: the replacements are not valid UTF-8");
    m->units = mica_alloc_array(m->allocator, m->n_units, sizeof(*m->units));
    m->text = mica_alloc_string(m->allocator, text, m->text_bytes);
    if (!m->units || !m->text) return mica_fail_memory(err, bytes, "precompiled_charsmap");
    for (size_t i = 0; i < m->n_units; i++) m->units[i] = read_u32(blob + 4 + 4 * i);
    return MICA_STATUS_OK;
}

static void fill_ascii(mica_charsmap *m) {
    for (int c = 0; c < 128; c++) {
        char text = (char)c;
        mica_slice out;
        m->keeps_ascii[c] = !mica_charsmap_find(m, mica_slice_of(&text, 1), &out);
    }
}

mica_status mica_charsmap_create(const mica_allocator *allocator, mica_slice base64,
                                 mica_charsmap **out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_charsmap *m = NULL;
    unsigned char *blob = NULL;
    size_t bytes = 0;
    MICA_REQUIRE(base64.bytes / 4 * 3 <= MICA_CHARSMAP_BYTES_MAX, MICA_STATUS_LIMIT,
                 "precompiled_charsmap: %zu characters, at most %u bytes are read", base64.bytes,
                 MICA_CHARSMAP_BYTES_MAX);
    blob = mica_alloc(allocator, base64.bytes / 4 * 3 + 1);
    m = MICA_NEW(allocator, mica_charsmap);
    if (m) m->allocator = allocator;
    if (!blob || !m) MICA_TRY(mica_fail_memory(err, base64.bytes, "precompiled_charsmap"));
    MICA_REQUIRE(decode_base64(base64, blob, &bytes), MICA_STATUS_FORMAT,
                 "precompiled_charsmap is not base64");
    MICA_TRY(parse(m, blob, bytes, err));
    fill_ascii(m);
    *out = m;
    m = NULL;
done:
    mica_charsmap_destroy(&m);
    mica_free(allocator, blob);
    return st;
}

void mica_charsmap_destroy(mica_charsmap **map) {
    mica_charsmap *m = *map;
    if (!m) return;
    mica_free(m->allocator, m->units);
    mica_free(m->allocator, m->text);
    mica_free(m->allocator, m);
    *map = NULL;
}

/* ---- look-up ---- */

static uint32_t label(uint32_t unit) { return unit & (1u << 31 | 0xFF); }
static bool has_leaf(uint32_t unit) { return unit >> 8 & 1; }
/* Bit 9 says that the offset is given in 256s. */
static size_t offset(uint32_t unit) { return (size_t)(unit >> 10) << ((unit >> 9 & 1) * 8); }
static size_t value(uint32_t unit) { return unit & 0x7FFFFFFFu; }

/* The text at a value; false when it is no place where a character begins. */
static bool replacement_at(const mica_charsmap *m, size_t at, mica_slice *out) {
    if (at > m->text_bytes || ((unsigned char)m->text[at] & 0xC0) == 0x80) return false;
    const char *end = memchr(m->text + at, '\0', m->text_bytes - at);
    *out = mica_slice_of(m->text + at, end ? (size_t)(end - m->text) - at : m->text_bytes - at);
    return true;
}

bool mica_charsmap_find(const mica_charsmap *m, mica_slice text, mica_slice *out) {
    size_t node = offset(m->units[0]);
    for (size_t i = 0; i < text.bytes && text.data[i]; i++) {
        uint8_t c = (uint8_t)text.data[i];
        node ^= c;
        if (node >= m->n_units || label(m->units[node]) != c) return false;
        uint32_t unit = m->units[node];
        node ^= offset(unit);
        if (has_leaf(unit))
            return node < m->n_units && replacement_at(m, value(m->units[node]), out);
    }
    return false;
}

bool mica_charsmap_keeps_ascii(const mica_charsmap *m, uint8_t c) {
    return m->keeps_ascii[c & 127];
}

#ifdef MICA_FUZZ_CHARSMAP
/* The first two bytes cut the data into the map (as base64 it comes) and a text to look up. */
MICA_FUZZ_ENTRY(charsmap) {
    mica_charsmap *m = NULL;
    mica_error err = {0};
    mica_slice out;
    if (size < 2) return 0;
    size_t cut = ((size_t)data[0] << 8 | data[1]) % (size - 1);
    const char *p = (const char *)data + 2;
    if (mica_charsmap_create(mica_allocator_default(), mica_slice_of(p, cut), &m, &err)) return 0;
    for (size_t i = cut; i < size - 2; i++)
        if (mica_charsmap_find(m, mica_slice_of(p + i, size - 2 - i), &out) &&
            !mica_utf8_is_valid(out.data, out.bytes))
            __builtin_trap();
    mica_charsmap_destroy(&m);
    return 0;
}
#endif
