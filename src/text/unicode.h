/* Unicode for everything in src/text: character classes as the tokenizers' patterns use them,
 * letter case, normal forms, grapheme clusters, and stepping through UTF-8. The only place that
 * knows utf8proc. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every code point has exactly one of these bits. White_Space wins over the general category. */
enum {
    MICA_UNICODE_OTHER = 1 << 0,       /* symbols, controls, formats, private use, unassigned */
    MICA_UNICODE_UPPER = 1 << 1,       /* Lu Lt */
    MICA_UNICODE_LOWER = 1 << 2,       /* Ll */
    MICA_UNICODE_UNCASED = 1 << 3,     /* Lm Lo */
    MICA_UNICODE_MARK = 1 << 4,        /* Mn Mc Me */
    MICA_UNICODE_NUMBER = 1 << 5,      /* Nd Nl No */
    MICA_UNICODE_SPACE = 1 << 6,       /* White_Space less CR and LF */
    MICA_UNICODE_NEWLINE = 1 << 7,     /* CR LF */
    MICA_UNICODE_PUNCTUATION = 1 << 8, /* P* */

    MICA_UNICODE_LETTER = MICA_UNICODE_UPPER | MICA_UNICODE_LOWER | MICA_UNICODE_UNCASED, /* L* */
    MICA_UNICODE_WHITE = MICA_UNICODE_SPACE | MICA_UNICODE_NEWLINE,                       /* \s */
};

extern const uint16_t mica_unicode_ascii_classes[128];
/* The class bit of a code point past ASCII. */
unsigned mica_unicode_class_wide(uint32_t codepoint);

static inline unsigned mica_unicode_class(uint32_t codepoint) {
    return codepoint < 128 ? mica_unicode_ascii_classes[codepoint]
                           : mica_unicode_class_wide(codepoint);
}
/* \w of UTS 18: Alphabetic, marks, decimal digits, connector punctuation, join controls. */
bool mica_unicode_is_word(uint32_t codepoint);
/* Punctuation as pre-tokenizers understand it: ASCII punctuation and symbols, or category P. */
bool mica_unicode_is_punctuation(uint32_t codepoint);

/* General categories, in utf8proc's order. */
typedef enum mica_unicode_category {
    MICA_CATEGORY_CN, /* not assigned */
    MICA_CATEGORY_LU,
    MICA_CATEGORY_LL,
    MICA_CATEGORY_LT,
    MICA_CATEGORY_LM,
    MICA_CATEGORY_LO,
    MICA_CATEGORY_MN,
    MICA_CATEGORY_MC,
    MICA_CATEGORY_ME,
    MICA_CATEGORY_ND,
    MICA_CATEGORY_NL,
    MICA_CATEGORY_NO,
    MICA_CATEGORY_PC,
    MICA_CATEGORY_PD,
    MICA_CATEGORY_PS,
    MICA_CATEGORY_PE,
    MICA_CATEGORY_PI,
    MICA_CATEGORY_PF,
    MICA_CATEGORY_PO,
    MICA_CATEGORY_SM,
    MICA_CATEGORY_SC,
    MICA_CATEGORY_SK,
    MICA_CATEGORY_SO,
    MICA_CATEGORY_ZS,
    MICA_CATEGORY_ZL,
    MICA_CATEGORY_ZP,
    MICA_CATEGORY_CC,
    MICA_CATEGORY_CF,
    MICA_CATEGORY_CS,
    MICA_CATEGORY_CO,
} mica_unicode_category;
mica_unicode_category mica_unicode_category_of(uint32_t codepoint);

/* Simple case mappings: one code point to one. */
uint32_t mica_unicode_lower(uint32_t codepoint);
uint32_t mica_unicode_upper(uint32_t codepoint);
uint32_t mica_unicode_title(uint32_t codepoint);

#define MICA_UNICODE_DECOMPOSED_MAX 24 /* code points of one; U+FDFA has 18 */
/* The canonical (or compatibility) decomposition, not ordered. Returns how many. */
size_t mica_unicode_decompose(uint32_t codepoint, bool is_compatible,
                              int32_t out[MICA_UNICODE_DECOMPOSED_MAX]);
/* Canonical_Combining_Class, 0..254. */
int mica_unicode_combining_class(uint32_t codepoint);
/* Canonical composition, in place, of decomposed and ordered code points. Returns how many are
 * left. */
size_t mica_unicode_compose(int32_t *codepoints, size_t n);
/* Whether an extended grapheme cluster ends between two neighbours. *state is 0 at the start of a
 * text and carried along. */
bool mica_unicode_is_cluster_end(uint32_t left, uint32_t right, int32_t *state);

/* Decodes the code point at text[*at] and moves *at past it. The text is valid UTF-8 and *at is
 * a character border inside it: nothing is checked. */
static inline uint32_t mica_unicode_next(const char *text, size_t *at) {
    const unsigned char *p = (const unsigned char *)text + *at;
    if (p[0] < 0x80) {
        *at += 1;
        return p[0];
    }
    if (p[0] < 0xE0) {
        *at += 2;
        return (uint32_t)(p[0] & 0x1F) << 6 | (p[1] & 0x3F);
    }
    if (p[0] < 0xF0) {
        *at += 3;
        return (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
    }
    *at += 4;
    return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12 |
           (uint32_t)(p[2] & 0x3F) << 6 | (p[3] & 0x3F);
}
/* The code point that ends at text[at], at > 0; *start is where it begins. */
static inline uint32_t mica_unicode_previous(const char *text, size_t at, size_t *start) {
    size_t from = at - 1;
    while (from > 0 && ((unsigned char)text[from] & 0xC0) == 0x80) from--;
    *start = from;
    return mica_unicode_next(text, &from);
}
