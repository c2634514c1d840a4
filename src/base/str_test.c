/* Text: slices, the builder, UTF-8 against an independent rule, numbers in any locale. */
#include "base/str.h"
#include <locale.h>
#include "test.h"

/* Slices compare by bytes, NUL included; the empty slice may have no pointer. */
static void slices_compare(void **state) {
    (void)state;
    mica_slice none = {NULL, 0};
    assert_true(mica_slice_equal(none, mica_slice_from("")));
    assert_true(mica_slice_equal(none, mica_slice_from(NULL)));
    assert_true(mica_slice_is(mica_slice_of("abcd", 3), "abc"));
    assert_false(mica_slice_equal(mica_slice_of("a\0b", 3), mica_slice_of("a\0c", 3)));
    assert_true(mica_slice_starts_with(mica_slice_from("abc"), "ab"));
    assert_false(mica_slice_starts_with(mica_slice_from("a"), "ab"));
    assert_true(mica_slice_ends_with(mica_slice_from("abc"), "bc"));
    assert_false(mica_slice_ends_with(mica_slice_from("c"), "bc"));
    assert_true(mica_slice_starts_with(none, "") && mica_slice_ends_with(none, ""));
}

/* The hash is pinned (files may hold it one day) and spreads short keys over low and high bits. */
static void hash_is_stable(void **state) {
    (void)state;
    assert_true(mica_slice_hash(mica_slice_from("")) == UINT64_C(0xEFD01F60BA992926));
    int low[256] = {0}, high[256] = {0};
    for (int i = 0; i < 25600; i++) {
        char text[16];
        int n = snprintf(text, sizeof text, "%d", i);
        uint64_t h = mica_slice_hash(mica_slice_of(text, (size_t)n));
        low[h & 255]++;
        high[h >> 56]++;
    }
    for (int i = 0; i < 256; i++) assert_true(low[i] > 50 && low[i] < 160 && high[i] > 50);
}

/* Appends of every kind make one NUL-terminated text, which take hands over. */
static void builder_appends(void **state) {
    (void)state;
    mica_alloc_counter c;
    mica_alloc_counter_init(&c, mica_allocator_default());
    mica_str s;
    mica_str_init(&s, &c.allocator);
    mica_str_append_text(&s, "a");
    mica_str_append_char(&s, 'b');
    mica_str_append_slice(&s, mica_slice_of("cdx", 2));
    mica_str_append_format(&s, "%d%s", 5, "0123456789012345678901234567890123456789");
    mica_str_append_codepoint(&s, 0x20AC);
    mica_str_append_codepoint(&s, 0xD800);
    mica_str_append(&s, NULL, 0);
    assert_string_equal(s.data,
                        "abcd50123456789012345678901234567890123456789\xE2\x82\xAC\xEF\xBF\xBD");
    size_t bytes = 0;
    char *text = mica_str_take(&s, &bytes);
    assert_true(bytes == strlen(text) && s.data == NULL && s.bytes == 0);
    mica_free(&c.allocator, text);
    text = mica_str_take(&s, &bytes); /* empty, but allocated */
    assert_string_equal(text, "");
    assert_true(bytes == 0);
    mica_free(&c.allocator, text);
    for (int i = 0; i < 100000; i++) mica_str_append_char(&s, 'x');
    assert_true(c.n_calls < 50);
    mica_str_deinit(&s);
    assert_true(c.n_live == 0);
}

/* A failed allocation or a passed limit sticks; the text before it stays whole. */
static void builder_fails_for_good(void **state) {
    (void)state;
    mica_alloc_counter c;
    mica_alloc_counter_init(&c, mica_allocator_default());
    mica_str s;
    mica_str_init(&s, &c.allocator);
    mica_str_append_text(&s, "kept");
    c.fail_at = 2;
    mica_str_append_format(&s, "%0200d", 1);
    assert_true(s.failed);
    assert_string_equal(s.data, "kept");
    mica_str_append_char(&s, 'x');
    assert_string_equal(s.data, "kept");
    assert_null(mica_str_take(&s, NULL));
    assert_true(c.n_live == 0);
    s.limit_bytes = 5;
    mica_str_append_text(&s, "12345");
    assert_false(s.failed);
    mica_str_append_format(&s, "%d", 6);
    assert_true(s.failed && s.bytes == 5);
    assert_string_equal(s.data, "12345");
    mica_str_clear(&s);
    mica_str_append_text(&s, "123456");
    assert_true(s.failed && s.bytes == 0);
    mica_str_deinit(&s);
}

/* What table 3-7 of Unicode says, written as ranges of whole sequences. */
static size_t table_length(const unsigned char *d, size_t n) {
    static const struct {
        size_t length;
        unsigned char low[4], high[4];
    } rows[] = {
        {1, {0x00}, {0x7F}},
        {2, {0xC2, 0x80}, {0xDF, 0xBF}},
        {3, {0xE0, 0xA0, 0x80}, {0xE0, 0xBF, 0xBF}},
        {3, {0xE1, 0x80, 0x80}, {0xEC, 0xBF, 0xBF}},
        {3, {0xED, 0x80, 0x80}, {0xED, 0x9F, 0xBF}},
        {3, {0xEE, 0x80, 0x80}, {0xEF, 0xBF, 0xBF}},
        {4, {0xF0, 0x90, 0x80, 0x80}, {0xF0, 0xBF, 0xBF, 0xBF}},
        {4, {0xF1, 0x80, 0x80, 0x80}, {0xF3, 0xBF, 0xBF, 0xBF}},
        {4, {0xF4, 0x80, 0x80, 0x80}, {0xF4, 0x8F, 0xBF, 0xBF}},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        size_t i = 0;
        while (i < rows[r].length && i < n && d[i] >= rows[r].low[i] && d[i] <= rows[r].high[i])
            i++;
        if (i == rows[r].length) return i;
    }
    return 0;
}

/* Every two-byte beginning with telling third and fourth bytes decodes as the table says. */
static void utf8_follows_the_table(void **state) {
    (void)state;
    const unsigned char ends[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF};
    for (unsigned first = 0; first < 65536; first++) {
        for (size_t e = 0; e < 100; e++) {
            unsigned char d[4] = {(unsigned char)(first >> 8), (unsigned char)first, ends[e / 10],
                                  ends[e % 10]};
            for (size_t n = 1; n <= 4; n++) {
                uint32_t codepoint = 0;
                size_t length = mica_utf8_decode((char *)d, n, &codepoint);
                if (length != table_length(d, n)) fail_msg("%02x %02x: %zu", d[0], d[1], length);
                char back[4];
                if (length &&
                    (mica_utf8_encode(codepoint, back) != length || memcmp(back, d, length) != 0))
                    fail_msg("U+%04X does not come back", codepoint);
            }
        }
    }
}

/* All code points survive encode and decode; surrogates and what lies past the end do not. */
static void utf8_round_trip(void **state) {
    (void)state;
    for (uint32_t c = 0; c < 0x110010; c++) {
        char text[4];
        uint32_t back = 0;
        size_t bytes = mica_utf8_encode(c, text);
        bool is_scalar = c < 0x110000 && (c < 0xD800 || c > 0xDFFF);
        if ((bytes > 0) != is_scalar) fail_msg("U+%04X", c);
        if (bytes && (mica_utf8_decode(text, bytes, &back) != bytes || back != c))
            fail_msg("U+%04X", c);
    }
    assert_true(mica_utf8_encode(UINT32_MAX, (char[4]){0}) == 0);
}

/* The valid prefix ends before the first bad byte wherever it stands; is_cut tells broken from
 * incomplete. */
static void utf8_prefix(void **state) {
    (void)state;
    static const struct {
        const char *bad;
        size_t bytes;
        bool is_cut;
    } cases[] = {
        {"\xE2\x82", 2, true},     {"\xE2", 1, true},
        {"\xF0\x9F\x98", 3, true}, {"\xE2\x82x", 3, false},
        {"\x80", 1, false},        {"\xC0\x80", 2, false},
        {"\xED\xA0", 2, false},    {"\xF4\x90\x80\x80", 4, false},
        {"\xF5", 1, false},        {"\xE2\x28\xA1", 3, false},
        {"\xE0\x80", 2, false},    {"\xF0\x80", 2, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t lead = 0; lead < 20; lead++) {
            char text[32];
            memset(text, 'x', lead);
            if (lead >= 2) memcpy(text + lead - 2, "\xC3\xA9", 2);
            memcpy(text + lead, cases[i].bad, cases[i].bytes);
            bool is_cut = !cases[i].is_cut;
            assert_int_equal(mica_utf8_valid_prefix(text, lead + cases[i].bytes, &is_cut), lead);
            assert_int_equal(is_cut, cases[i].is_cut);
            assert_false(mica_utf8_is_valid(text, lead + cases[i].bytes));
            assert_true(mica_utf8_is_valid(text, lead));
        }
    }
    bool is_cut = true;
    assert_true(mica_utf8_valid_prefix("", 0, &is_cut) == 0 && !is_cut);
}

/* Integers: the whole text, no sign for u64, no overflow. */
static void integers_are_strict(void **state) {
    (void)state;
    int64_t i = 5;
    uint64_t u = 5;
    assert_true(mica_parse_i64(mica_slice_from("-9223372036854775808"), &i) && i == INT64_MIN);
    assert_true(mica_parse_i64(mica_slice_from("9223372036854775807"), &i) && i == INT64_MAX);
    assert_true(mica_parse_u64(mica_slice_from("18446744073709551615"), &u) && u == UINT64_MAX);
    const char *bad[] = {"", "-", "+1", " 1", "1 ", "1.0", "0x1", "1e3", "9223372036854775808"};
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++)
        assert_false(mica_parse_i64(mica_slice_from(bad[n]), &i));
    assert_false(mica_parse_i64(mica_slice_from("-9223372036854775809"), &i));
    assert_false(mica_parse_u64(mica_slice_from("18446744073709551616"), &u));
    assert_false(mica_parse_u64(mica_slice_from("-1"), &u));
    assert_false(mica_parse_u64(mica_slice_from("99999999999999999999"), &u));
    assert_true(i == INT64_MAX && u == UINT64_MAX);
}

static double parsed(const char *text) {
    double v = -1;
    if (!mica_parse_double(mica_slice_from(text), &v)) fail_msg("%s is refused", text);
    return v;
}

/* Doubles are correctly rounded (the oracle is strtod), whatever their spelling. */
static void doubles_are_exact(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    static const char *const formats[] = {"%.17g", "%.25e", "%.3f", "%.12g", "%.40g", "%.0f"};
    for (int n = 0; n < 200000; n++) {
        uint64_t bits = test_random(&seed);
        double v;
        memcpy(&v, &bits, 8);
        if (!isfinite(v)) continue;
        if (n % 3 == 1) v = (double)(bits >> 40) / 1024;
        char text[512];
        snprintf(text, sizeof text, formats[n % 6], v);
        if (parsed(text) != strtod(text, NULL)) fail_msg("%s", text);
    }
    assert_true(parsed("1e-400") == 0 && parsed("-0") == 0 && signbit(parsed("-0")));
    assert_true(parsed("0e99999999999999999999") == 0);
    assert_true(parsed("1e-99999999999999999999") == 0);
    assert_true(parsed("9007199254740993") == 9007199254740992.0);
    assert_true(parsed("9007199254740993.0000001") == 9007199254740994.0);
    assert_true(parsed("2.2250738585072011e-308") == 2.2250738585072011e-308);
    assert_true(parsed("1.7976931348623158e308") == 1.7976931348623157e308);
    assert_true(parsed("007") == 7);
}

/* A digit that decides the rounding counts even behind thousands of others. */
static void far_digits_count(void **state) {
    (void)state;
    enum { N = 5000 };
    static char text[N + 32];
    int head = snprintf(text, sizeof text, "9007199254740993.");
    memset(text + head, '0', N);
    text[head + N] = '\0';
    assert_true(parsed(text) == 9007199254740992.0);
    text[head + N - 1] = '1';
    assert_true(parsed(text) == 9007199254740994.0);
    memset(text, '0', N);
    memcpy(text, "1", 1);
    snprintf(text + N, 32, "e-%d", N - 1);
    assert_true(parsed(text) == 1.0);
    memset(text, '0', N);
    memcpy(text, "0.", 2);
    snprintf(text + N, 32, "25e%d", N - 2);
    assert_true(parsed(text) == 0.25);
}

/* Whatever is not a plain finite decimal is refused, and the output stays. */
static void doubles_are_strict(void **state) {
    (void)state;
    const char *bad[] = {"",    "-",   "+1",  ".5",  "5.",     "1e",  "1e+",     " 1",
                         "1 ",  "nan", "inf", "0x1", "1e400",  "--1", "1..2",    "1e5.0",
                         "1,5", "-.5", "1f",  "1d",  "-1e999", "1_0", "infinity"};
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        double v = 42;
        if (mica_parse_double(mica_slice_from(bad[n]), &v)) fail_msg("'%s' is taken", bad[n]);
        assert_true(v == 42);
    }
    double v = 42;
    assert_false(mica_parse_double(mica_slice_of("1\0", 2), &v));
}

/* The texts are those that Python 3 prints for repr of the same double. */
static void double_text_is_pythons(void **state) {
    (void)state;
    static const struct {
        double v;
        const char *text;
    } cases[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {1e-5, "1e-05"},
        {1e-4, "0.0001"},
        {0.00012345, "0.00012345"},
        {1e15, "1000000000000000.0"},
        {1e16, "1e+16"},
        {123456789012345680.0, "1.2345678901234568e+17"},
        {9999999999999998.0, "9999999999999998.0"},
        {5e-324, "5e-324"},
        {1.5e-323, "1.5e-323"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {1e100, "1e+100"},
        {0.30000000000000004, "0.30000000000000004"},
        {100.0, "100.0"},
        {150000.0, "150000.0"},
        {INFINITY, "inf"},
        {-INFINITY, "-inf"},
        {NAN, "nan"},
        {1e22, "1e+22"},
        {1e23, "1e+23"},
        {0x1p-44, "5.684341886080802e-14"},
        {0x1p-1017, "7.120236347223045e-307"},
        {2e-7, "2e-07"},
        {1234.5678, "1234.5678"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        size_t bytes = mica_format_double(cases[i].v, text);
        assert_string_equal(text, cases[i].text);
        assert_true(bytes == strlen(text));
    }
}

/* Random doubles read back to the same bits, and no shorter precision would have done. */
static void double_text_reads_back(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    for (int n = 0; n < 100000; n++) {
        uint64_t bits = test_random(&seed) & (n % 4 ? UINT64_MAX : UINT64_C(0x800FFFFFFFFFFFFF));
        double v, back = 0;
        memcpy(&v, &bits, 8);
        if (!isfinite(v)) continue;
        char text[32];
        size_t bytes = mica_format_double(v, text);
        assert_true(bytes < 26 && mica_parse_double(mica_slice_of(text, bytes), &back));
        assert_memory_equal(&back, &v, 8);
    }
}

/* A locale with a decimal comma changes neither direction, nor formatted text. */
static void locale_does_not_matter(void **state) {
    (void)state;
    const char *names[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", "fr_FR.utf8"};
    bool is_set = false;
    for (size_t i = 0; i < 5 && !is_set; i++) is_set = setlocale(LC_ALL, names[i]) != NULL;
    char text[32];
    mica_format(text, sizeof text, "%.2f", 1.5);
    assert_string_equal(text, "1.50");
    mica_format_double(0.1234567890123456789, text);
    assert_string_equal(text, "0.12345678901234568");
    assert_true(parsed("1.23456789012345678901") == 1.23456789012345678901);
    setlocale(LC_ALL, "C");
    if (!is_set) printf("no locale with a decimal comma is installed: proved for C only\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_compare),
        cmocka_unit_test(hash_is_stable),
        cmocka_unit_test(builder_appends),
        cmocka_unit_test(builder_fails_for_good),
        cmocka_unit_test(utf8_follows_the_table),
        cmocka_unit_test(utf8_round_trip),
        cmocka_unit_test(utf8_prefix),
        cmocka_unit_test(integers_are_strict),
        cmocka_unit_test(doubles_are_exact),
        cmocka_unit_test(far_digits_count),
        cmocka_unit_test(doubles_are_strict),
        cmocka_unit_test(double_text_is_pythons),
        cmocka_unit_test(double_text_reads_back),
        cmocka_unit_test(locale_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
