/* The ASCII table and the mapping from utf8proc's general categories, and thin wrappers of the rest
 * of utf8proc; see unicode.h. */
#include "text/unicode.h"
#include <assert.h>
#include <utf8proc.h>

static_assert((int)MICA_CATEGORY_LU == (int)UTF8PROC_CATEGORY_LU &&
                  (int)MICA_CATEGORY_PO == (int)UTF8PROC_CATEGORY_PO &&
                  (int)MICA_CATEGORY_CO == (int)UTF8PROC_CATEGORY_CO,
              "the categories are utf8proc's");

#define O MICA_UNICODE_OTHER
#define U MICA_UNICODE_UPPER
#define L MICA_UNICODE_LOWER
#define N MICA_UNICODE_NUMBER
#define S MICA_UNICODE_SPACE
#define R MICA_UNICODE_NEWLINE
#define P MICA_UNICODE_PUNCTUATION
/* clang-format off */
const uint16_t mica_unicode_ascii_classes[128] = {
    O, O, O, O, O, O, O, O, O, S, R, S, S, R, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
    S, P, P, P, O, P, P, P, P, P, P, O, P, P, P, P, N, N, N, N, N, N, N, N, N, N, P, P, O, O, O, P,
    P, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, P, P, P, O, P,
    O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, P, O, P, O, O,
};
/* clang-format on */
#undef O
#undef U
#undef L
#undef N
#undef S
#undef R
#undef P

static bool is_white_wide(uint32_t c) {
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/* What Unicode 15.1 and 16 assigned (letters, marks, numbers, punctuation): pieces must not depend
 * on the age of the utf8proc that is installed. Ascending, disjoint. */
static const struct {
    uint32_t first, last;
    uint16_t class;
} newer[] = {
#define UPPER MICA_UNICODE_UPPER
#define LOWER MICA_UNICODE_LOWER
#define UNCASED MICA_UNICODE_UNCASED
#define MARK MICA_UNICODE_MARK
#define NUMBER MICA_UNICODE_NUMBER
#define PUNCTUATION MICA_UNICODE_PUNCTUATION
    /* clang-format off */
    {0x897, 0x897, MARK}, {0x1B4E, 0x1B4F, PUNCTUATION}, {0x1B7F, 0x1B7F, PUNCTUATION},
    {0x1C89, 0x1C89, UPPER}, {0x1C8A, 0x1C8A, LOWER}, {0xA7CB, 0xA7CC, UPPER},
    {0xA7CD, 0xA7CD, LOWER}, {0xA7DA, 0xA7DA, UPPER}, {0xA7DB, 0xA7DB, LOWER},
    {0xA7DC, 0xA7DC, UPPER}, {0x105C0, 0x105F3, UNCASED}, {0x10D40, 0x10D49, NUMBER},
    {0x10D4A, 0x10D4F, UNCASED}, {0x10D50, 0x10D65, UPPER}, {0x10D69, 0x10D6D, MARK},
    {0x10D6E, 0x10D6E, PUNCTUATION}, {0x10D6F, 0x10D6F, UNCASED}, {0x10D70, 0x10D85, LOWER},
    {0x10EC2, 0x10EC4, UNCASED}, {0x10EFC, 0x10EFC, MARK}, {0x11380, 0x11389, UNCASED},
    {0x1138B, 0x1138B, UNCASED}, {0x1138E, 0x1138E, UNCASED}, {0x11390, 0x113B5, UNCASED},
    {0x113B7, 0x113B7, UNCASED}, {0x113B8, 0x113C0, MARK}, {0x113C2, 0x113C2, MARK},
    {0x113C5, 0x113C5, MARK}, {0x113C7, 0x113CA, MARK}, {0x113CC, 0x113D0, MARK},
    {0x113D1, 0x113D1, UNCASED}, {0x113D2, 0x113D2, MARK}, {0x113D3, 0x113D3, UNCASED},
    {0x113D4, 0x113D5, PUNCTUATION}, {0x113D7, 0x113D8, PUNCTUATION}, {0x113E1, 0x113E2, MARK},
    {0x116D0, 0x116E3, NUMBER}, {0x11BC0, 0x11BE0, UNCASED}, {0x11BE1, 0x11BE1, PUNCTUATION},
    {0x11BF0, 0x11BF9, NUMBER}, {0x11F5A, 0x11F5A, MARK}, {0x13460, 0x143FA, UNCASED},
    {0x16100, 0x1611D, UNCASED}, {0x1611E, 0x1612F, MARK}, {0x16130, 0x16139, NUMBER},
    {0x16D40, 0x16D6C, UNCASED}, {0x16D6D, 0x16D6F, PUNCTUATION}, {0x16D70, 0x16D79, NUMBER},
    {0x18CFF, 0x18CFF, UNCASED}, {0x1CCF0, 0x1CCF9, NUMBER}, {0x1E5D0, 0x1E5ED, UNCASED},
    {0x1E5EE, 0x1E5EF, MARK}, {0x1E5F0, 0x1E5F0, UNCASED}, {0x1E5F1, 0x1E5FA, NUMBER},
    {0x1E5FF, 0x1E5FF, PUNCTUATION}, {0x2EBF0, 0x2EE5D, UNCASED}
/* clang-format on */
#undef UPPER
#undef LOWER
#undef UNCASED
#undef MARK
#undef NUMBER
#undef PUNCTUATION
};

static unsigned newer_class(uint32_t c) {
    size_t low = 0, high = sizeof(newer) / sizeof(*newer);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (newer[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    bool is_inside = low < sizeof(newer) / sizeof(*newer) && newer[low].first <= c;
    return is_inside ? newer[low].class : MICA_UNICODE_OTHER;
}

unsigned mica_unicode_class_wide(uint32_t codepoint) {
    switch (utf8proc_category((utf8proc_int32_t)codepoint)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
        return MICA_UNICODE_UPPER;
    case UTF8PROC_CATEGORY_LL:
        return MICA_UNICODE_LOWER;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return MICA_UNICODE_UNCASED;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
        return MICA_UNICODE_MARK;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return MICA_UNICODE_NUMBER;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
        return MICA_UNICODE_PUNCTUATION;
    case UTF8PROC_CATEGORY_CN:
        return newer_class(codepoint);
    default:
        return is_white_wide(codepoint) ? MICA_UNICODE_SPACE : MICA_UNICODE_OTHER;
    }
}

bool mica_unicode_is_word(uint32_t c) {
    unsigned class = mica_unicode_class(c);
    if (class & (MICA_UNICODE_LETTER | MICA_UNICODE_MARK)) return true;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    case UTF8PROC_CATEGORY_CN:
        return class == MICA_UNICODE_NUMBER; /* all newer ones are decimal digits */
    default:
        break;
    }
    /* Join controls, and the symbols (So) that are Alphabetic: circled, squared and negative Latin
     * letters. */
    return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
           (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
           (c >= 0x1F170 && c <= 0x1F189);
}

bool mica_unicode_is_punctuation(uint32_t c) {
    if (c < 128)
        return c > 32 && c < 127 &&
               !(mica_unicode_ascii_classes[c] & (MICA_UNICODE_LETTER | MICA_UNICODE_NUMBER));
    /* U+166D was punctuation up to Unicode 11, and is in the reference. */
    return mica_unicode_class(c) == MICA_UNICODE_PUNCTUATION || c == 0x166D;
}

mica_unicode_category mica_unicode_category_of(uint32_t codepoint) {
    return (mica_unicode_category)utf8proc_category((utf8proc_int32_t)codepoint);
}

uint32_t mica_unicode_lower(uint32_t codepoint) {
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)codepoint);
}

uint32_t mica_unicode_upper(uint32_t codepoint) {
    return (uint32_t)utf8proc_toupper((utf8proc_int32_t)codepoint);
}

uint32_t mica_unicode_title(uint32_t codepoint) {
    return (uint32_t)utf8proc_totitle((utf8proc_int32_t)codepoint);
}

size_t mica_unicode_decompose(uint32_t codepoint, bool is_compatible,
                              int32_t out[MICA_UNICODE_DECOMPOSED_MAX]) {
    int options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (is_compatible ? UTF8PROC_COMPAT : 0);
    int class = 0;
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)codepoint, out, MICA_UNICODE_DECOMPOSED_MAX,
                                (utf8proc_option_t)options, &class);
    if (n > 0 && n <= MICA_UNICODE_DECOMPOSED_MAX) return (size_t)n;
    out[0] = (int32_t)codepoint; /* no code point fails; if one did, it stays as it is */
    return 1;
}

int mica_unicode_combining_class(uint32_t codepoint) {
    return utf8proc_get_property((utf8proc_int32_t)codepoint)->combining_class;
}

size_t mica_unicode_compose(int32_t *codepoints, size_t n) {
    utf8proc_ssize_t left = utf8proc_normalize_utf32(
        codepoints, (utf8proc_ssize_t)n, (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    return left >= 0 && (size_t)left <= n ? (size_t)left : n;
}

bool mica_unicode_is_cluster_end(uint32_t left, uint32_t right, int32_t *state) {
    return utf8proc_grapheme_break_stateful((utf8proc_int32_t)left, (utf8proc_int32_t)right, state);
}
