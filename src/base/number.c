/* Numbers as text, the same in every locale. Part of str.h. Reading a decimal: at most 19 digits
 * and a small power of ten give the result by one correctly rounded operation (Clinger 1990);
 * anything else goes through strtod of the C locale, in a buffer that holds all that can matter. */
#include "base/str.h"
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

/* 767 digits decide every double; one more, non-zero, stands for all digits that follow. */
enum { DIGITS_MAX = 768 };
/* Beyond this any exponent gives zero or infinity, whatever the digits (bounded by text size). */
#define EXPONENT_MAX INT64_C(1000000000000)

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool parse_digits(mica_slice text, uint64_t *out) {
    uint64_t value = 0;
    if (text.bytes == 0) return false;
    for (size_t i = 0; i < text.bytes; i++) {
        if (!is_digit(text.data[i])) return false;
        unsigned digit = (unsigned)(text.data[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool mica_parse_u64(mica_slice text, uint64_t *out) { return parse_digits(text, out); }

bool mica_parse_i64(mica_slice text, int64_t *out) {
    bool is_negative = text.bytes > 0 && text.data[0] == '-';
    if (is_negative) text = mica_slice_of(text.data + 1, text.bytes - 1);
    uint64_t value;
    if (!parse_digits(text, &value)) return false;
    if (value > (uint64_t)INT64_MAX + (is_negative ? 1 : 0)) return false;
    *out = is_negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

/* A decimal number taken apart: 0.d1d2d3... is not used; the value is digits * 10^exponent. */
typedef struct decimal {
    bool is_negative;
    int n_digits; /* no leading zeros */
    char digits[DIGITS_MAX + 1];
    bool has_rest; /* a non-zero digit did not fit */
    int64_t exponent;
} decimal;

static void add_digit(decimal *d, char c, bool is_fraction) {
    if (d->n_digits < DIGITS_MAX) {
        if (d->n_digits > 0 || c != '0') d->digits[d->n_digits++] = c;
        if (is_fraction) d->exponent--;
        return;
    }
    if (c != '0') d->has_rest = true;
    if (!is_fraction) d->exponent++;
}

/* Digits at *at; false when there are none. */
static bool read_digits(mica_slice text, size_t *at, decimal *d, bool is_fraction) {
    size_t begin = *at;
    while (*at < text.bytes && is_digit(text.data[*at]))
        add_digit(d, text.data[(*at)++], is_fraction);
    return *at > begin;
}

static bool read_exponent(mica_slice text, size_t *at, decimal *d) {
    bool is_negative = false;
    if (*at < text.bytes && (text.data[*at] == '+' || text.data[*at] == '-'))
        is_negative = text.data[(*at)++] == '-';
    size_t begin = *at;
    int64_t value = 0;
    for (; *at < text.bytes && is_digit(text.data[*at]); (*at)++)
        if (value < EXPONENT_MAX) value = value * 10 + (text.data[*at] - '0');
    d->exponent += is_negative ? -value : value;
    return *at > begin;
}

static bool read_decimal(mica_slice text, decimal *d) {
    size_t at = 0;
    d->n_digits = 0;
    d->has_rest = false;
    d->exponent = 0;
    d->is_negative = text.bytes > 0 && text.data[0] == '-';
    if (d->is_negative) at++;
    if (!read_digits(text, &at, d, false)) return false;
    if (at < text.bytes && text.data[at] == '.') {
        at++;
        if (!read_digits(text, &at, d, true)) return false;
    }
    if (at < text.bytes && (text.data[at] == 'e' || text.data[at] == 'E')) {
        at++;
        if (!read_exponent(text, &at, d)) return false;
    }
    return at == text.bytes;
}

/* Exact where both the digits and the power of ten are exact doubles. */
static bool convert_fast(const decimal *d, double *out) {
    static const double powers[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                      1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                      1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (d->n_digits > 19 || d->exponent < -22 || d->exponent > 22) return false;
    uint64_t value = 0;
    for (int i = 0; i < d->n_digits; i++) value = value * 10 + (uint64_t)(d->digits[i] - '0');
    if (value > (uint64_t)1 << 53) return false;
    double v = (double)value;
    *out = d->exponent < 0 ? v / powers[-d->exponent] : v * powers[d->exponent];
    return true;
}

static bool convert_slow(const decimal *d, double *out) {
    char text[DIGITS_MAX + 32];
    size_t n = (size_t)d->n_digits;
    int64_t exponent = d->exponent;
    if (n == 0)
        text[n++] = '0';
    else
        memcpy(text, d->digits, n);
    if (d->has_rest) {
        text[n++] = '1';
        exponent--;
    }
    if (exponent > 99999) exponent = 99999;
    if (exponent < -99999) exponent = -99999;
    mica_format(text + n, sizeof text - n, "e%d", (int)exponent);
#ifdef __APPLE__
    *out = strtod_l(text, NULL, NULL);
#else
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0) return false;
    *out = strtod_l(text, NULL, plain);
    freelocale(plain);
#endif
    return isfinite(*out);
}

bool mica_parse_double(mica_slice text, double *out) {
    decimal d;
    double value;
    if (!read_decimal(text, &d)) return false;
    if (!convert_fast(&d, &value) && !convert_slow(&d, &value)) return false;
    *out = d.is_negative ? -value : value;
    return true;
}

/* Raises the last digit of "d.ddde-XX" by one; false when that would need one more digit. */
static bool raise_last_digit(char *text) {
    char *c = strchr(text, 'e');
    while (c-- > text) {
        if (*c == '.') continue;
        if (*c != '9') {
            ++*c;
            return true;
        }
        *c = '0';
    }
    return false;
}

static bool reads_back(const char *text, double v) {
    double back;
    return mica_parse_double(mica_slice_from(text), &back) && back == v;
}

/* Digits d.ddd and the power of ten of the shortest text that reads back to v > 0, finite.
 * Returns how many digits. */
static int shortest_digits(double v, char digits[18], int *exponent) {
    /* A normal double keeps any 15 digits; %e's zeros at the end are cut below. A subnormal one
     * may need fewer, and more would not be the shortest. */
    int precision = fpclassify(v) == FP_SUBNORMAL ? 1 : 15;
    char text[40];
    for (;; precision++) {
        mica_format(text, sizeof text, "%.*e", precision - 1, v);
        if (precision >= 17 || reads_back(text, v)) break;
        /* Below a power of two doubles are twice as dense: the nearest text of 16 digits may lie
         * below and miss, while its neighbour above, farther away, still hits. */
        int exponent_2;
        if (precision == 16 && frexp(v, &exponent_2) == 0.5 && raise_last_digit(text) &&
            reads_back(text, v))
            break;
    }
    int n = 0;
    const char *c = text;
    for (; *c && *c != 'e'; c++)
        if (is_digit(*c)) digits[n++] = *c;
    *exponent = (int)strtol(c + 1, NULL, 10);
    while (n > 1 && digits[n - 1] == '0') n--;
    return n;
}

static size_t put_zeros(char *out, size_t at, int n) {
    for (int i = 0; i < n; i++) out[at++] = '0';
    return at;
}

/* d.ddde+XX: Python's form outside 1e-4 .. 1e16. */
static size_t layout_exponent(char *out, size_t at, const char *digits, int n, int exponent) {
    out[at++] = digits[0];
    if (n > 1) out[at++] = '.';
    for (int i = 1; i < n; i++) out[at++] = digits[i];
    return at + mica_format(out + at, 8, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
}

static size_t layout_plain(char *out, size_t at, const char *digits, int n, int exponent) {
    int i = 0;
    if (exponent < 0) out[at++] = '0';
    for (; i < n && i <= exponent; i++) out[at++] = digits[i];
    at = put_zeros(out, at, exponent + 1 - n);
    out[at++] = '.';
    at = put_zeros(out, at, -exponent - 1);
    if (i == n) out[at++] = '0';
    for (; i < n; i++) out[at++] = digits[i];
    out[at] = '\0';
    return at;
}

size_t mica_format_double(double v, char out[32]) {
    if (isnan(v)) return mica_format(out, 32, "nan");
    if (isinf(v)) return mica_format(out, 32, v < 0 ? "-inf" : "inf");
    size_t at = 0;
    if (signbit(v)) out[at++] = '-';
    if (v == 0.0) return at + mica_format(out + at, 32 - at, "0.0");
    char digits[18] = {0};
    int exponent;
    int n = shortest_digits(fabs(v), digits, &exponent);
    if (exponent < -4 || exponent >= 16) return layout_exponent(out, at, digits, n, exponent);
    return layout_plain(out, at, digits, n, exponent);
}
