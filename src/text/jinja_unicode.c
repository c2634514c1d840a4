/* Letter case and categories from unicode.h; ASCII without it. */
#include "text/jinja_unicode.h"
#include "text/unicode.h"

bool mica_jinja_is_space(uint32_t c) {
    if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 28 && c <= 32);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool mica_jinja_is_line_end(uint32_t c) {
    return (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool mica_jinja_is_word(uint32_t c) {
    if (c < 0x80)
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               c == '_';
    mica_unicode_category category = mica_unicode_category_of(c);
    return (category >= MICA_CATEGORY_LU && category <= MICA_CATEGORY_LO) ||
           (category >= MICA_CATEGORY_MN && category <= MICA_CATEGORY_NO);
}

bool mica_jinja_is_printable(uint32_t c) {
    if (c < 0x80) return c >= 32 && c < 127;
    switch (mica_unicode_category_of(c)) {
    case MICA_CATEGORY_CC:
    case MICA_CATEGORY_CF:
    case MICA_CATEGORY_CS:
    case MICA_CATEGORY_CO:
    case MICA_CATEGORY_CN:
    case MICA_CATEGORY_ZS:
    case MICA_CATEGORY_ZL:
    case MICA_CATEGORY_ZP:
        return false;
    default:
        return true;
    }
}

bool mica_jinja_is_upper(uint32_t c) {
    if (c < 0x80) return c >= 'A' && c <= 'Z';
    return mica_unicode_category_of(c) == MICA_CATEGORY_LU;
}

bool mica_jinja_is_lower(uint32_t c) {
    if (c < 0x80) return c >= 'a' && c <= 'z';
    return mica_unicode_category_of(c) == MICA_CATEGORY_LL;
}

bool mica_jinja_is_title(uint32_t c) {
    return c >= 0x80 && mica_unicode_category_of(c) == MICA_CATEGORY_LT;
}

uint32_t mica_jinja_upper(uint32_t c) {
    if (c < 0x80) return c >= 'a' && c <= 'z' ? c - 32 : c;
    return mica_unicode_upper(c);
}

uint32_t mica_jinja_lower(uint32_t c) {
    if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
    return mica_unicode_lower(c);
}

uint32_t mica_jinja_title(uint32_t c) {
    if (c < 0x80) return mica_jinja_upper(c);
    return mica_unicode_title(c);
}
