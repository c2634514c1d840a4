/* The linear splitters against the general regex engine with the same pattern. */
#include "test.h"
#include "text/split_pattern.h"
#include "text/unicode.h"

/* One representative of each class and of each character that a pattern names. */
static const char *const letters[] = {
    "A",
    "a",
    "\xC7\x85",
    "\xCA\xB0",
    "\xE4\xBD\xA0",
    "\xCC\x81",
    "1",
    "\xC2\xBD",
    " ",
    "\t",
    "\n",
    "\r",
    "\xC2\xA0",
    "'",
    "s",
    "L",
    "e",
    "r",
    ".",
    "/",
    "\xC5\xBF",
    "\x01",
    "\xE2\x80\x8D",
};
enum { LETTERS = sizeof(letters) / sizeof(*letters) };

static mica_split_regex_search *open_search(const char *regex, mica_split_regex **compiled) {
    mica_error err = {0};
    mica_split_regex_search *search = NULL;
    const mica_allocator *a = mica_allocator_default();
    assert_ok(mica_split_regex_create(a, mica_slice_from(regex), compiled, &err));
    assert_ok(mica_split_regex_search_create(*compiled, a, &search, &err));
    return search;
}

static void compare(const mica_splitter_known *known, mica_split_regex_search *search,
                    const char *text, size_t bytes) {
    mica_error err = {0};
    for (size_t at = 0; at < bytes;) {
        bool found = false;
        size_t start = 0, end = 0;
        assert_ok(mica_split_regex_find(search, text, bytes, at, &found, &start, &end, &err));
        size_t got = mica_splitter_next(&known->splitter, text, bytes, at);
        if (!found || start != at || end != got)
            fail_msg("%s on \"%.*s\" at %zu: ends at %zu, expected %zu", known->regex, (int)bytes,
                     text, at, got, end);
        at = end;
    }
}

static void short_strings_agree(void **state) {
    /* Every string of up to 3 representatives; of 4 and 5 over the interesting ones by chance. */
    (void)state;
    for (size_t k = 0; k < mica_splitter_table_count; k++) {
        mica_split_regex *regex = NULL;
        mica_split_regex_search *search = open_search(mica_splitter_table[k].regex, &regex);
        for (int n = 1, count = LETTERS; n <= 3; n++, count *= LETTERS)
            for (int code = 0; code < count; code++) {
                char text[16] = "";
                for (int i = 0, rest = code; i < n; i++, rest /= LETTERS)
                    strcat(text, letters[rest % LETTERS]);
                compare(&mica_splitter_table[k], search, text, strlen(text));
            }
        mica_split_regex_search_destroy(&search);
        mica_split_regex_destroy(&regex);
    }
}

static void random_strings_agree(void **state) {
    /* Longer strings, runs among them. */
    (void)state;
    uint64_t seed = test_seed();
    for (size_t k = 0; k < mica_splitter_table_count; k++) {
        mica_split_regex *regex = NULL;
        mica_split_regex_search *search = open_search(mica_splitter_table[k].regex, &regex);
        for (int n = 0; n < 6000; n++) {
            char text[512] = "";
            size_t bytes = 0, wanted = 4 + test_random(&seed) % 60;
            while (bytes < wanted) {
                const char *letter = letters[test_random(&seed) % LETTERS];
                for (uint64_t i = test_random(&seed) % 8 == 0 ? 6 : 1; i; i--) {
                    strcpy(text + bytes, letter);
                    bytes += strlen(letter);
                }
            }
            compare(&mica_splitter_table[k], search, text, bytes);
        }
        mica_split_regex_search_destroy(&search);
        mica_split_regex_destroy(&regex);
    }
}

static void unknown_regexes_are_not_taken_for_known_ones(void **state) {
    /* Look-up compares whole patterns. */
    (void)state;
    assert_non_null(mica_splitter_find(mica_slice_from(mica_splitter_table[3].regex)));
    assert_null(mica_splitter_find(mica_slice_from("\\p{N}{1,3}")));
    assert_null(mica_splitter_find(mica_slice_of(mica_splitter_table[0].regex, 20)));
}

static void check_regex(const char *regex, bool is_accepted) {
    mica_error err = {0};
    mica_split_regex *r = NULL;
    mica_status st =
        mica_split_regex_create(mica_allocator_default(), mica_slice_from(regex), &r, &err);
    if ((st == MICA_STATUS_OK) != is_accepted) fail_msg("%s: %s", regex, err.message);
    if (!is_accepted) assert_int_equal(st, MICA_STATUS_UNSUPPORTED);
    mica_split_regex_destroy(&r);
}

static void regexes_with_two_meanings_are_refused(void **state) {
    /* What Oniguruma and PCRE2 read differently must not be matched with the wrong meaning. */
    (void)state;
    static const char *const refused[] = {
        "[\\p{L}&&[^a]]", "\\h",   "a{2}+", "(?m)a", "[[:alpha:]]", "(?<n>a)", "a{,3}",
        "[a[^b]]",        "[]a]",  "(",     "\\K",   "\\Z",         "(*FAIL)", "x(?i)y",
        "\\bword",        "[\\W]", "a\\",   "",      "[a"};
    static const char *const accepted[] = {
        " ?[^(\\s|[.,!?])]+", "\\p{N}{1,3}", "\\p{L}+", "(?i)hello", "\\w+|[^\\w\\s]+", "\\x{41}",
        "(?:a|b)++",          "[\\S\\n]",    "\\/\\-",  "a{2,3}"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) check_regex(refused[i], false);
    for (size_t i = 0; i < sizeof(accepted) / sizeof(*accepted); i++)
        check_regex(accepted[i], true);
}

static void a_regex_without_end_meets_its_limit(void **state) {
    /* Exponential backtracking ends in LIMIT, soon and without a deep stack. */
    (void)state;
    mica_error err = {0};
    mica_split_regex *regex = NULL;
    mica_split_regex_search *search = open_search("(?:a+)+[bc]", &regex);
    char text[64];
    memset(text, 'a', sizeof(text));
    bool found;
    size_t start, end;
    assert_int_equal(
        mica_split_regex_find(search, text, sizeof(text), 0, &found, &start, &end, &err),
        MICA_STATUS_LIMIT);
    assert_non_null(strstr(err.message, "takes too long"));
    mica_split_regex_search_destroy(&search);
    mica_split_regex_destroy(&regex);
}

static void classes_follow_unicode(void **state) {
    /* Samples of every class, ASCII and wide, and of what newer versions assigned. */
    (void)state;
    static const struct {
        uint32_t c;
        unsigned class;
    } samples[] = {
        {'A', MICA_UNICODE_UPPER},          {'z', MICA_UNICODE_LOWER},
        {'_', MICA_UNICODE_PUNCTUATION},    {'+', MICA_UNICODE_OTHER},
        {'7', MICA_UNICODE_NUMBER},         {'\n', MICA_UNICODE_NEWLINE},
        {0x0B, MICA_UNICODE_SPACE},         {0x1C, MICA_UNICODE_OTHER},
        {0x85, MICA_UNICODE_SPACE},         {0xA0, MICA_UNICODE_SPACE},
        {0x180E, MICA_UNICODE_OTHER},       {0x200B, MICA_UNICODE_OTHER},
        {0x2028, MICA_UNICODE_SPACE},       {0x1C5, MICA_UNICODE_UPPER},
        {0x2B0, MICA_UNICODE_UNCASED},      {0xAA, MICA_UNICODE_UNCASED},
        {0x301, MICA_UNICODE_MARK},         {0x20DD, MICA_UNICODE_MARK},
        {0x903, MICA_UNICODE_MARK},         {0x2167, MICA_UNICODE_NUMBER},
        {0xBD, MICA_UNICODE_NUMBER},        {0x4E00, MICA_UNICODE_UNCASED},
        {0x3002, MICA_UNICODE_PUNCTUATION}, {0x1F600, MICA_UNICODE_OTHER},
        {0x1C89, MICA_UNICODE_UPPER},       {0x10D40, MICA_UNICODE_NUMBER},
        {0x13460, MICA_UNICODE_UNCASED},    {0x10FFFF, MICA_UNICODE_OTHER},
    };
    for (size_t i = 0; i < sizeof(samples) / sizeof(*samples); i++)
        if (mica_unicode_class(samples[i].c) != samples[i].class)
            fail_msg("U+%04X: class %#x, expected %#x", samples[i].c,
                     mica_unicode_class(samples[i].c), samples[i].class);
    assert_true(mica_unicode_is_word(0x200D) && mica_unicode_is_word('_') &&
                mica_unicode_is_word(0x24B6) && !mica_unicode_is_word(0xBD));
    assert_true(mica_unicode_is_punctuation('+') && mica_unicode_is_punctuation(0x3002) &&
                !mica_unicode_is_punctuation('a') && !mica_unicode_is_punctuation(' ') &&
                !mica_unicode_is_punctuation(127));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_strings_agree),
        cmocka_unit_test(random_strings_agree),
        cmocka_unit_test(unknown_regexes_are_not_taken_for_known_ones),
        cmocka_unit_test(regexes_with_two_meanings_are_refused),
        cmocka_unit_test(a_regex_without_end_meets_its_limit),
        cmocka_unit_test(classes_follow_unicode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
