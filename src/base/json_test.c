/* The JSON reader: what it takes, what it refuses and where, duplicate keys, limits, speed. */
#include "base/json.h"
#include "base/thread_pool.h"
#include "test.h"

static mica_json *open_text(const char *text, size_t bytes) {
    mica_json *j = NULL;
    mica_error err = {0};
    assert_ok(mica_json_open(mica_host_default(), "t.json", text, bytes, 8, &j, &err));
    return j;
}

static mica_status skip_text(const char *text, size_t bytes, mica_error *err) {
    /* An exact copy, so that the sanitizer sees a step past the end. */
    char *copy = malloc(bytes ? bytes : 1);
    if (bytes) memcpy(copy, text, bytes);
    mica_json *j = open_text(copy, bytes);
    mica_status status = mica_json_skip(j, err);
    if (status == MICA_STATUS_OK) status = mica_json_end(j, err);
    mica_json_close(&j);
    free(copy);
    return status;
}

/* Well-formed texts are taken. */
static void accepts(void **state) {
    (void)state;
    static const char *const good[] = {
        "{}",
        "[]",
        "0",
        "-0",
        "\"\"",
        "true",
        "false",
        "null",
        " \t\r\n[ 1 , 2 ] \n",
        "1.5e+10",
        "-0.0E-7",
        "1E400",
        "123456789012345678901234567890",
        "[[[[[[[[1]]]]]]]]",
        "{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":2}}",
        "[{\"a\":1},{\"a\":2}]",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"",
        "\"\\uD83D\\uDE00\"",
        "\"\\ud83d\\ude00\"",
        "\"\\u0000\"",
        "\"\x7F\"",
        "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"",
        "{\"\":1,\" \":2}",
        "\"\xEF\xBB\xBF\"",
        "{\"a\":1,\"A\":2}",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        mica_error err = {0};
        if (skip_text(good[i], strlen(good[i]), &err) != MICA_STATUS_OK)
            fail_msg("%s: %s", good[i], err.message);
    }
}

/* Ill-formed texts are refused with a FORMAT error that names file and place. */
static void rejects(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[",
        "}",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1,,2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1 \"b\":2}",
        "{a:1}",
        "{1:2}",
        "{'a':1}",
        "[1}",
        "{\"a\":1]",
        "{\"a\" 1}",
        "01",
        "-01",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "1.e5",
        "0x10",
        "1.5.5",
        "--1",
        "NaN",
        "Infinity",
        "-Infinity",
        "nul",
        "nulll",
        "True",
        "tru",
        "falsee",
        "truefalse",
        "1 2",
        "{} {}",
        "[] x",
        "\"",
        "\"a",
        "\"\\",
        "\"\\u",
        "\"\\u12",
        "\"\\u12G4\"",
        "\"\\x41\"",
        "\"\\a\"",
        "\"\\'\"",
        "\"\\U0041\"",
        "\"\n\"",
        "\"\t\"",
        "\"\x01\"",
        "\"\x1F\"",
        "\"\\uD800\"",
        "\"\\uDC00\"",
        "\"\\uD800\\uD800\"",
        "\"\\uD800x\"",
        "\"\\uD800\\n\"",
        "\"\\uDC00\\uD800\"",
        "\"\\uD800\\u0041\"",
        "\"\\uD800",
        "\"\x80\"",
        "\"\xC0\x80\"",
        "\"\xED\xA0\x80\"",
        "\"\xF4\x90\x80\x80\"",
        "\"\xE2\x82\"",
        "\"\xE2\x82",
        "\"\xFF\"",
        "\xEF\xBB\xBF{}",
        "\xFF\xFE",
        "// c\n1",
        "/* c */1",
        "[1]//",
        "\v1",
        "\f1",
        "1\v",
        "\302\2401",
        "[[[[[[[[[1]]]]]]]]]",
        "{\"a\":1,\"a\":2}",
        "[\"a\",\"b\":1]",
        "{\"a\":\"b\",}",
        "\"\xC3\xA9\\",
        "{\"\\uD800\":1}",
        "{\"\x80\":1}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mica_error err = {0};
        if (skip_text(bad[i], strlen(bad[i]), &err) != MICA_STATUS_FORMAT)
            fail_msg("%s: taken (%s)", bad[i], err.message);
        assert_int_equal(strncmp(err.message, "t.json: line ", 13), 0);
    }
    /* NUL bytes: as padding, between tokens, in a string. */
    mica_error err = {0};
    assert_int_equal(skip_text("{}\0", 3, &err), MICA_STATUS_FORMAT);
    assert_int_equal(skip_text("[\0]", 3, &err), MICA_STATUS_FORMAT);
    assert_int_equal(skip_text("\"a\0b\"", 5, &err), MICA_STATUS_FORMAT);
    assert_int_equal(skip_text("\"\\\0\"", 4, &err), MICA_STATUS_FORMAT);
}

/* A special byte is found at every place of the eight bytes that are looked at together. */
static void specials_are_seen_everywhere(void **state) {
    (void)state;
    for (size_t at = 0; at < 24; at++) {
        for (int c = 0; c < 256; c++) {
            char text[32];
            memset(text, 'x', sizeof text);
            text[0] = '"';
            text[25] = '"';
            text[1 + at] = (char)c;
            bool is_good = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
            if ((skip_text(text, 26, NULL) == MICA_STATUS_OK) != is_good)
                fail_msg("byte 0x%02x at %zu", c, at);
        }
    }
}

/* Every proper prefix of a text is refused; and the same text with any one byte changed never
 * reads past its end. */
static void truncations_and_changes(void **state) {
    (void)state;
    static const char sample[] =
        "{\"name\": \"caf\xC3\xA9 \\u00e9 \\ud83d\\ude00\", \"n\": [1, -2.5e3, "
        "true, false, null], \"o\": {\"k\": \"v\", \"\\u006b2\": {}}}";
    size_t bytes = sizeof sample - 1;
    assert_int_equal(skip_text(sample, bytes, NULL), MICA_STATUS_OK);
    for (size_t n = 0; n < bytes; n++)
        assert_int_equal(skip_text(sample, n, NULL), MICA_STATUS_FORMAT);
    for (size_t n = 0; n < bytes; n++) {
        for (int c = 0; c < 256; c++) {
            char text[sizeof sample];
            memcpy(text, sample, bytes);
            text[n] = (char)c;
            skip_text(text, bytes, NULL);
        }
    }
}

/* A caller that looks for duplicates itself gets every key, decoded; objects inside are still
 * watched. */
static void own_keys(void **state) {
    (void)state;
    static const char text[] = "{\"w\":1,\"\\u0077\":{\"a\":1,\"a\":2}}";
    mica_error err = {0};
    mica_json *j = NULL;
    mica_slice key;
    assert_int_equal(
        mica_json_open(mica_host_default(), "t.json", text, sizeof(text) - 1, 8, &j, &err),
        MICA_STATUS_OK);
    assert_int_equal(mica_json_begin_object(j, &err), MICA_STATUS_OK);
    mica_json_own_keys(j);
    assert_true(mica_json_next_key(j, &key) && mica_slice_is(key, "w"));
    assert_int_equal(mica_json_skip(j, &err), MICA_STATUS_OK);
    assert_true(mica_json_next_key(j, &key) && mica_slice_is(key, "w"));
    assert_int_equal(mica_json_skip(j, &err), MICA_STATUS_FORMAT);
    assert_non_null(strstr(err.message, "\"a\" stands twice"));
    mica_json_close(&j);
}

/* Keys are compared decoded, within one object only, in small objects and in those with a table. */
static void duplicate_keys(void **state) {
    (void)state;
    mica_error err = {0};
    assert_int_equal(skip_text("{\"w\":1,\"\\u0077\":2}", 18, &err), MICA_STATUS_FORMAT);
    assert_string_equal(
        err.message, "t.json: line 1 column 8 (byte 7): the key \"w\" stands twice in one object");
    const char *wide = "{\"\\ud83d\\ude00\":1,\"\xF0\x9F\x98\x80\":2}";
    assert_int_equal(skip_text(wide, strlen(wide), &err), MICA_STATUS_FORMAT);
    const char *nul = "{\"a\\u0000\":1,\"a\":2,\"a\\u0000b\":3}";
    assert_int_equal(skip_text(nul, strlen(nul), &err), MICA_STATUS_OK);
    enum { N = 3000 };
    for (int repeated = 0; repeated < N; repeated += repeated < 80 ? 1 : 97) {
        mica_str s;
        mica_str_init(&s, mica_allocator_default());
        mica_str_append_char(&s, '{');
        for (int i = 0; i < N; i++)
            mica_str_append_format(&s, "\"key%d\":{\"key%d\":[{\"x\":0},{\"x\":1}]},", i, i);
        size_t good_bytes = s.bytes;
        mica_str_append_text(&s, "\"end\":0}");
        if (repeated == 0) assert_int_equal(skip_text(s.data, s.bytes, &err), MICA_STATUS_OK);
        s.bytes = good_bytes;
        mica_str_append_format(&s, "\"\\u006Bey%d\":0}", repeated);
        assert_int_equal(skip_text(s.data, s.bytes, &err), MICA_STATUS_FORMAT);
        assert_non_null(strstr(err.message, "stands twice"));
        mica_str_deinit(&s);
    }
}

/* The walk of the header's example reads every kind of value and gives decoded text. */
static void reads_values(void **state) {
    (void)state;
    static const char text[] =
        "{\"s\":\"a\\n\\u0000b\",\"plain\":\"p\\\\\",\"i\":-5,\"u\":18446744073709551615,"
        "\"d\":1e-5,\"t\":true,\"z\":null,\"raw\":1e3,\"list\":[1,[2],3]}";
    mica_json *j = open_text(text, sizeof text - 1);
    mica_error err = {0};
    mica_slice key, value = {0};
    int64_t i = 0, sum = 0;
    uint64_t u = 0;
    double d = 0;
    bool b = false;
    int n_keys = 0;
    assert_int_equal(mica_json_peek(j), MICA_JSON_OBJECT);
    assert_ok(mica_json_begin_object(j, &err));
    for (; mica_json_next_key(j, &key); n_keys++) {
        if (mica_slice_is(key, "s")) {
            assert_int_equal(mica_json_peek(j), MICA_JSON_STRING);
            assert_ok(mica_json_read_string(j, &value, &err));
            assert_true(mica_slice_equal(value, mica_slice_of("a\n\0b", 4)));
        } else if (mica_slice_is(key, "plain")) {
            assert_ok(mica_json_read_string(j, &value, &err));
            assert_true(mica_slice_is(value, "p\\"));
        } else if (mica_slice_is(key, "i")) {
            assert_ok(mica_json_read_i64(j, &i, &err));
        } else if (mica_slice_is(key, "u")) {
            assert_ok(mica_json_read_u64(j, &u, &err));
        } else if (mica_slice_is(key, "d")) {
            assert_ok(mica_json_read_double(j, &d, &err));
        } else if (mica_slice_is(key, "t")) {
            assert_ok(mica_json_read_bool(j, &b, &err));
        } else if (mica_slice_is(key, "z")) {
            assert_ok(mica_json_read_null(j, &err));
        } else if (mica_slice_is(key, "raw")) {
            assert_ok(mica_json_read_number_text(j, &value, &err));
            assert_true(mica_slice_is(value, "1e3"));
        } else {
            assert_ok(mica_json_begin_array(j, &err));
            while (mica_json_next_item(j)) {
                int64_t item = 0;
                if (mica_json_peek(j) == MICA_JSON_ARRAY)
                    assert_ok(mica_json_skip(j, &err));
                else
                    assert_ok(mica_json_read_i64(j, &item, &err));
                sum += item;
            }
        }
    }
    assert_ok(mica_json_check(j, &err));
    assert_ok(mica_json_end(j, &err));
    assert_int_equal(mica_json_peek(j), MICA_JSON_NOTHING);
    assert_true(n_keys == 9 && i == -5 && u == UINT64_MAX && d == 1e-5 && b && sum == 4);
    mica_json_close(&j);
    assert_null(j);
}

/* A decoded value survives keys with escapes that come after it, and a key its own object. */
static void slices_live_as_promised(void **state) {
    (void)state;
    static const char text[] =
        "{\"\\u006b1\":\"\\u0076alue\",\"\\u006b2\":{\"\\u006b3\":0},\"n\":0}";
    mica_json *j = open_text(text, sizeof text - 1);
    mica_error err = {0};
    mica_slice first, second, third, value;
    assert_ok(mica_json_begin_object(j, &err));
    assert_true(mica_json_next_key(j, &first));
    assert_ok(mica_json_read_string(j, &value, &err));
    assert_true(mica_json_next_key(j, &second));
    assert_ok(mica_json_begin_object(j, &err));
    assert_true(mica_json_next_key(j, &third));
    assert_ok(mica_json_skip(j, &err));
    assert_true(mica_slice_is(value, "value") && mica_slice_is(third, "k3"));
    assert_false(mica_json_next_key(j, &third));
    assert_true(mica_json_next_key(j, &third));
    assert_true(mica_slice_is(first, "k1") && mica_slice_is(second, "k2"));
    mica_json_close(&j);
}

typedef mica_status (*read_call)(mica_json *j, mica_error *err);
static mica_status call_i64(mica_json *j, mica_error *err) {
    int64_t v;
    return mica_json_read_i64(j, &v, err);
}
static mica_status call_u64(mica_json *j, mica_error *err) {
    uint64_t v;
    return mica_json_read_u64(j, &v, err);
}
static mica_status call_double(mica_json *j, mica_error *err) {
    double v;
    return mica_json_read_double(j, &v, err);
}
static mica_status call_string(mica_json *j, mica_error *err) {
    mica_slice v;
    return mica_json_read_string(j, &v, err);
}
static mica_status call_bool(mica_json *j, mica_error *err) {
    bool v;
    return mica_json_read_bool(j, &v, err);
}

/* Typed reads refuse other kinds and other spellings, and say what they saw. */
static void typed_reads_are_strict(void **state) {
    (void)state;
    static const struct {
        const char *text;
        read_call call;
        const char *message;
    } cases[] = {
        {"1.0", call_i64, "the number 1.0, expected an integer"},
        {"1e3", call_i64, "the number 1e3, expected an integer"},
        {"-0", call_i64, "the number -0, expected an integer"},
        {"-0", call_u64, "the number -0, expected an integer"},
        {"9223372036854775808", call_i64, "the integer 9223372036854775808 is outside 64 bits"},
        {"-1", call_u64, "the integer -1, expected 0 to 2^64 - 1"},
        {"18446744073709551616", call_u64,
         "the integer 18446744073709551616, expected 0 to 2^64 - 1"},
        {"\"24\"", call_i64, "a string, expected a number"},
        {"1e999", call_double, "the number 1e999 is too large"},
        {"null", call_double, "null, expected a number"},
        {"{}", call_string, "an object, expected a string"},
        {"1", call_bool, "a number, expected a bool"},
        {"[", mica_json_begin_object, "an array, expected an object"},
        {"true", mica_json_begin_array, "a bool, expected an array"},
        {"false", mica_json_read_null, "a bool, expected null"},
        {"", call_i64, "the text ends, expected a value"},
        {"?", call_i64, "'?', expected a value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mica_json *j = open_text(cases[i].text, strlen(cases[i].text));
        mica_error err = {0}, again = {0};
        assert_int_equal(cases[i].call(j, &err), MICA_STATUS_FORMAT);
        char expected[200];
        snprintf(expected, sizeof expected, "t.json: line 1 column 1 (byte 0): %s",
                 cases[i].message);
        assert_string_equal(err.message, expected);
        /* The first error stays. */
        assert_int_equal(mica_json_skip(j, &again), MICA_STATUS_FORMAT);
        assert_int_equal(mica_json_end(j, &again), MICA_STATUS_FORMAT);
        assert_string_equal(again.message, expected);
        assert_int_equal(mica_json_peek(j), MICA_JSON_NOTHING);
        mica_json_close(&j);
    }
}

/* Lines, columns (in characters) and bytes are those of the offending place. */
static void errors_name_the_place(void **state) {
    (void)state;
    mica_error err = {0};
    const char *text = "{\n  \"\xC3\xA9\": 1,\n  \"\xC3\xA9\xC3\xA9\" 2\n}";
    assert_int_equal(skip_text(text, strlen(text), &err), MICA_STATUS_FORMAT);
    assert_string_equal(err.message, "t.json: line 3 column 8 (byte 22): '2', expected ':'");
    mica_json *j = open_text("[1, 2]", 6);
    assert_ok(mica_json_begin_array(j, &err));
    assert_true(mica_json_next_item(j));
    assert_ok(mica_json_skip(j, &err));
    assert_int_equal(mica_json_fail(j, &err, "dim %d is bad", 1), MICA_STATUS_FORMAT);
    assert_string_equal(err.message, "t.json: line 1 column 3 (byte 2): dim 1 is bad");
    assert_false(mica_json_next_item(j));
    assert_int_equal(mica_json_check(j, NULL), MICA_STATUS_FORMAT);
    mica_json_close(&j);
}

/* Calls out of order are INVALID, not a wrong reading. */
static void wrong_order_is_invalid(void **state) {
    (void)state;
    mica_error err = {0};
    mica_slice key;
    mica_json *j = open_text("{\"a\":1,\"b\":2}", 13);
    assert_false(mica_json_next_key(j, &key));
    assert_int_equal(mica_json_check(j, &err), MICA_STATUS_INVALID);
    mica_json_close(&j);
    j = open_text("{\"a\":1,\"b\":2}", 13);
    assert_ok(mica_json_begin_object(j, &err));
    assert_int_equal(mica_json_peek(j), MICA_JSON_NOTHING);
    assert_true(mica_json_next_key(j, &key));
    assert_false(mica_json_next_key(j, &key)); /* the value was not taken */
    assert_int_equal(mica_json_check(j, &err), MICA_STATUS_INVALID);
    mica_json_close(&j);
    j = open_text("[1]", 3);
    assert_ok(mica_json_begin_array(j, &err));
    assert_int_equal(mica_json_end(j, &err), MICA_STATUS_INVALID);
    mica_json_close(&j);
    j = open_text("1", 1);
    assert_ok(mica_json_skip(j, &err));
    assert_int_equal(mica_json_skip(j, &err), MICA_STATUS_INVALID);
    mica_json_close(&j);
    assert_int_equal(mica_json_open(mica_host_default(), "x", "1", 1, 0, &j, &err),
                     MICA_STATUS_INVALID);
    assert_int_equal(mica_json_open(mica_host_default(), "x", "1", 1, 65, &j, &err),
                     MICA_STATUS_INVALID);
    assert_null(j);
}

/* The nesting limit is exact, for objects and arrays. */
static void depth_is_limited(void **state) {
    (void)state;
    for (int depth = 1; depth <= MICA_JSON_DEPTH_MAX; depth++) {
        for (int extra = 0; extra < 2; extra++) {
            char text[800];
            int n = 0, levels = depth + extra;
            for (int i = 0; i < levels; i++)
                n += snprintf(text + n, sizeof text - (size_t)n, i % 2 ? "[" : "{\"a\":");
            text[n++] = '1';
            for (int i = levels - 1; i >= 0; i--) text[n++] = i % 2 ? ']' : '}';
            mica_json *j = NULL;
            mica_error err = {0};
            assert_ok(mica_json_open(mica_host_default(), "t", text, (size_t)n, depth, &j, &err));
            assert_int_equal(mica_json_skip(j, &err), extra ? MICA_STATUS_FORMAT : MICA_STATUS_OK);
            mica_json_close(&j);
        }
    }
    static char deep[1000000];
    memset(deep, '[', sizeof deep);
    assert_int_equal(skip_text(deep, sizeof deep, NULL), MICA_STATUS_FORMAT);
}

/* Any allocation may fail: OUT_OF_MEMORY comes back and nothing leaks. */
static void survives_no_memory(void **state) {
    (void)state;
    mica_str s;
    mica_str_init(&s, mica_allocator_default());
    mica_str_append_char(&s, '{');
    for (int i = 0; i < 200; i++) mica_str_append_format(&s, "\"\\u006b%d\":\"\\n\",", i);
    mica_str_append_text(&s, "\"\":0}");
    bool has_passed = false;
    for (int64_t n = 1; !has_passed; n++) {
        mica_alloc_counter c;
        mica_alloc_counter_init(&c, mica_allocator_default());
        c.fail_at = n;
        mica_host host = {.allocator = &c.allocator};
        mica_json *j = NULL;
        mica_error err = {0};
        mica_slice key, value;
        mica_status status = mica_json_open(&host, "t", s.data, s.bytes, 4, &j, &err);
        if (status == MICA_STATUS_OK) {
            mica_json_begin_object(j, &err);
            while (mica_json_next_key(j, &key))
                if (mica_json_peek(j) == MICA_JSON_STRING)
                    mica_json_read_string(j, &value, &err);
                else
                    mica_json_skip(j, &err);
            status = mica_json_check(j, &err);
            mica_json_close(&j);
        }
        has_passed = c.n_calls < n;
        assert_int_equal(status, has_passed ? MICA_STATUS_OK : MICA_STATUS_OUT_OF_MEMORY);
        assert_true(c.n_live == 0);
    }
    mica_str_deinit(&s);
}

/* What is written reads back as the same text; broken UTF-8 becomes U+FFFD per broken part. */
static void writes_strings(void **state) {
    (void)state;
    mica_str s;
    mica_str_init(&s, mica_allocator_default());
    mica_json_append_string(&s, mica_slice_of("a\"\\/\b\f\n\r\t\x01\0\x7F\xC3\xA9", 14));
    assert_string_equal(s.data, "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u0000\x7F\xC3\xA9\"");
    mica_str_clear(&s);
    mica_json_append_string(&s, mica_slice_from("\xE2\x82x\xFF\xF0\x9F\x98\xC0\x80"));
    assert_string_equal(s.data,
                        "\"\xEF\xBF\xBDx\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    mica_str_clear(&s);
    mica_json_append_string(&s, (mica_slice){NULL, 0});
    assert_string_equal(s.data, "\"\"");
    uint64_t seed = test_seed();
    for (int n = 0; n < 5000; n++) {
        char text[80];
        size_t bytes = 0;
        while (bytes < 70) {
            uint32_t c = (uint32_t)(test_random(&seed) % (n % 2 ? 0x110000 : 0x90));
            bytes += mica_utf8_encode(c, text + bytes);
        }
        mica_str_clear(&s);
        mica_json_append_string(&s, mica_slice_of(text, bytes));
        mica_json *j = open_text(s.data, s.bytes);
        mica_slice back = {0};
        assert_int_equal(mica_json_read_string(j, &back, NULL), MICA_STATUS_OK);
        assert_true(mica_slice_equal(back, mica_slice_of(text, bytes)));
        mica_json_close(&j);
    }
    mica_str_deinit(&s);
}

static void skip_and_measure(const char *name, const char *text, size_t bytes) {
    double best = 1e9;
    mica_alloc_counter c;
    for (int repeat = 0; repeat < 5; repeat++) {
        mica_alloc_counter_init(&c, mica_allocator_default());
        mica_host host = {.allocator = &c.allocator};
        mica_json *j = NULL;
        mica_error err = {0};
        double begin = mica_clock_seconds();
        assert_ok(mica_json_open(&host, name, text, bytes, 64, &j, &err));
        assert_ok(mica_json_skip(j, &err));
        assert_ok(mica_json_end(j, &err));
        mica_json_close(&j);
        best = fmin(best, mica_clock_seconds() - begin);
    }
    printf("%s: %.1f MB skipped in %.3f s (%.0f MB/s), %lld allocations, peak %.1f MB\n", name,
           (double)bytes / 1e6, best, (double)bytes / 1e6 / best, (long long)c.n_calls,
           (double)c.peak_bytes / 1e6);
    assert_true(c.n_calls < 100);
    assert_true((uint64_t)c.peak_bytes < 10 * (uint64_t)bytes);
    assert_true(c.n_live == 0);
}

/* A text of a tokenizer's size and shape needs few allocations and bounded memory; prints speed. */
static void large_text(void **state) {
    (void)state;
    mica_str s;
    mica_str_init(&s, mica_allocator_default());
    mica_str_append_text(&s, "{\n  \"vocab\": {\n");
    for (int i = 0; i < 200000; i++)
        mica_str_append_format(&s, "      \"\xC4\xA0%x%s\": %d,\n", i * 7919, i % 50 ? "" : "\\\"",
                               i);
    mica_str_append_text(&s, "      \"end\": 0\n    },\n    \"merges\": [\n");
    for (int i = 0; i < 446000; i++)
        mica_str_append_format(&s, "      [\n        \"\xC4\xA0%x\",\n        \"%d\"\n      ],\n",
                               i, i);
    mica_str_append_text(&s, "      []\n    ]\n}\n");
    assert_false(s.failed);
    skip_and_measure("synthetic", s.data, s.bytes);
    mica_str_deinit(&s);
    mica_str_append_char(&s, '{');
    for (int i = 0; i < 300000; i++) mica_str_append_format(&s, "\"%x\":0,", i);
    mica_str_append_text(&s, "\"\":0}");
    skip_and_measure("short keys", s.data, s.bytes);
    mica_str_deinit(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),
        cmocka_unit_test(rejects),
        cmocka_unit_test(own_keys),
        cmocka_unit_test(specials_are_seen_everywhere),
        cmocka_unit_test(truncations_and_changes),
        cmocka_unit_test(duplicate_keys),
        cmocka_unit_test(reads_values),
        cmocka_unit_test(slices_live_as_promised),
        cmocka_unit_test(typed_reads_are_strict),
        cmocka_unit_test(errors_name_the_place),
        cmocka_unit_test(wrong_order_is_invalid),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(survives_no_memory),
        cmocka_unit_test(writes_strings),
        cmocka_unit_test(large_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
