/* Precompiled character maps: a small one made by hand, and blobs that lie. */
#include "test.h"
#include "text/charsmap.h"

enum { UNITS = 512, BLOB_MAX = 4 + 4 * UNITS + 64 };

/* A double array being filled; state s has its children at offset base. */
typedef struct blob {
    unsigned char bytes[BLOB_MAX];
    size_t count;
} blob;

static void put_u32(unsigned char *p, uint32_t v) {
    for (int i = 0; i < 4; i++) p[i] = (unsigned char)(v >> (8 * i));
}

static void set_unit(blob *b, size_t at, uint32_t v) { put_u32(b->bytes + 4 + 4 * at, v); }

static uint32_t node(uint8_t label, size_t offset, bool has_leaf) {
    return (uint32_t)offset << 10 | (uint32_t)has_leaf << 8 | label;
}

/* "x" -> "yy", "ab" -> "" (its value is the place of a NUL), U+00E9 -> "e". */
static void make_blob(blob *b) {
    static const char text[] = "yy\0e\0\xC3\xA9";
    *b = (blob){.count = 4 + 4 * UNITS + sizeof(text) - 1};
    put_u32(b->bytes, 4 * UNITS);
    for (size_t i = 0; i < UNITS; i++) set_unit(b, i, 1u << 31); /* a value's mark: no label */
    set_unit(b, 0, node(0, 256, false));
    size_t x = 256 ^ 'x', a = 256 ^ 'a', c3 = 256 ^ 0xC3;
    set_unit(b, x, node('x', x ^ 1, true));
    set_unit(b, 1, 1u << 31 | 0);
    set_unit(b, a, node('a', a ^ 128, false));
    set_unit(b, 128 ^ 'b', node('b', (128 ^ 'b') ^ 2, true));
    set_unit(b, 2, 1u << 31 | 2);
    set_unit(b, c3, node(0xC3, c3 ^ 16, false));
    set_unit(b, 16 ^ 0xA9, node(0xA9, (16 ^ 0xA9) ^ 3, true));
    set_unit(b, 3, 1u << 31 | 3);
    memcpy(b->bytes + 4 + 4 * UNITS, text, sizeof(text) - 1);
}

static size_t to_base64(const unsigned char *in, size_t n, char *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t m = 0;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t g = (uint32_t)in[i] << 16 | (i + 1 < n ? (uint32_t)in[i + 1] << 8 : 0) |
                     (i + 2 < n ? in[i + 2] : 0);
        for (size_t k = 0; k < 4; k++) out[m++] = i + k > n ? '=' : digits[g >> (18 - 6 * k) & 63];
    }
    return m;
}

static mica_status open_blob(const unsigned char *bytes, size_t n, mica_charsmap **m,
                             mica_error *err) {
    char *text = malloc(n / 3 * 4 + 8);
    assert_non_null(text);
    size_t length = to_base64(bytes, n, text);
    mica_status st =
        mica_charsmap_create(mica_allocator_default(), mica_slice_of(text, length), m, err);
    free(text);
    return st;
}

static void check_find(const mica_charsmap *m, const char *text, const char *want) {
    mica_slice out;
    bool found = mica_charsmap_find(m, mica_slice_from(text), &out);
    assert_int_equal(found, want != NULL);
    if (want && !mica_slice_is(out, want)) fail_msg("%s: %.*s", text, (int)out.bytes, out.data);
}

static void the_shortest_beginning_is_found(void **state) {
    /* Matches, near misses, a cut key, an empty replacement, a NUL that ends the search. */
    (void)state;
    mica_error err = {0};
    mica_charsmap *m = NULL;
    blob b;
    make_blob(&b);
    assert_ok(open_blob(b.bytes, b.count, &m, &err));
    check_find(m, "x", "yy");
    check_find(m, "xx", "yy");
    check_find(m, "ab", "");
    check_find(m, "a", NULL);
    check_find(m, "b", NULL);
    check_find(m, "", NULL);
    check_find(m, "\xC3\xA9", "e");
    check_find(m, "\xC3\xAA", NULL);
    mica_slice out;
    assert_false(mica_charsmap_find(m, mica_slice_of("a\0b", 3), &out));
    assert_true(mica_charsmap_keeps_ascii(m, 'a'));
    assert_false(mica_charsmap_keeps_ascii(m, 'x'));
    mica_charsmap_destroy(&m);
    mica_charsmap_destroy(&m);
}

static void units_that_lead_out_find_nothing(void **state) {
    /* Offsets past the array, values past the text and into the middle of a character. */
    (void)state;
    mica_error err = {0};
    mica_charsmap *m = NULL;
    blob b;
    static const uint32_t values[] = {1u << 31 | 6, 1u << 31 | 8, 0xFFFFFFFF, 1u << 31 | 5};
    static const char *const want[] = {NULL, NULL, NULL, "\xC3\xA9"};
    for (int i = 0; i < 4; i++) { /* byte 6 is inside of a character, 7 the end */
        make_blob(&b);
        set_unit(&b, 1, values[i]);
        assert_ok(open_blob(b.bytes, b.count, &m, &err));
        check_find(m, "x", want[i]);
        mica_charsmap_destroy(&m);
    }
    make_blob(&b);
    set_unit(&b, 256 ^ 'x', 'x' | 1u << 8 | 0x3FFFFFu << 10 | 1u << 9);
    set_unit(&b, 256 ^ 'a', node('a', 4096, false));
    assert_ok(open_blob(b.bytes, b.count, &m, &err));
    check_find(m, "x", NULL);
    check_find(m, "ab", NULL);
    mica_charsmap_destroy(&m);
    make_blob(&b);
    set_unit(&b, 0, 0xFFFFFFFF);
    assert_ok(open_blob(b.bytes, b.count, &m, &err));
    check_find(m, "x", NULL);
    mica_charsmap_destroy(&m);
}

static void broken_blobs_are_refused(void **state) {
    /* Sizes that do not fit, text that is no UTF-8, letters that are no base64. */
    (void)state;
    mica_error err = {0};
    mica_charsmap *m = NULL;
    blob b;
    static const uint32_t sizes[] = {0, 2, 4 * UNITS + 1, 4 * UNITS + 68, 0xFFFFFFFC, 0xFFFFFFFF};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        make_blob(&b);
        put_u32(b.bytes, sizes[i]);
        assert_int_equal(open_blob(b.bytes, b.count, &m, &err), MICA_STATUS_FORMAT);
    }
    make_blob(&b);
    assert_int_equal(open_blob(b.bytes, b.count - 1, &m, &err), MICA_STATUS_FORMAT); /* cut UTF-8 */
    for (size_t n = 0; n < 8; n++)
        assert_int_equal(open_blob(b.bytes, n, &m, &err), MICA_STATUS_FORMAT);
    static const char *const texts[] = {
        "A", "AAAAA", "AA=A", "====", "AAA*", "AB==", "AAB=", "A\n=="};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        assert_int_equal(
            mica_charsmap_create(mica_allocator_default(), mica_slice_from(texts[i]), &m, &err),
            MICA_STATUS_FORMAT);
        assert_null(m);
    }
}

static void random_units_are_safe(void **state) {
    /* Any array of units: look-ups end, and what they find is valid UTF-8. */
    (void)state;
    uint64_t seed = test_seed();
    for (int round = 0; round < 300; round++) {
        mica_error err = {0};
        mica_charsmap *m = NULL;
        mica_slice out;
        blob b;
        make_blob(&b);
        for (int i = 0; i < 200; i++)
            set_unit(&b, test_random(&seed) % UNITS, (uint32_t)test_random(&seed));
        assert_ok(open_blob(b.bytes, b.count, &m, &err));
        for (int i = 0; i < 300; i++) {
            char text[6];
            for (int k = 0; k < 6; k++) text[k] = (char)test_random(&seed);
            if (mica_charsmap_find(m, mica_slice_of(text, 6), &out))
                assert_true(mica_utf8_is_valid(out.data, out.bytes));
        }
        mica_charsmap_destroy(&m);
    }
}

static void every_failed_allocation_is_a_status(void **state) {
    /* The n-th allocation fails: no leak. */
    (void)state;
    blob b;
    char text[BLOB_MAX * 2];
    make_blob(&b);
    mica_slice base64 = mica_slice_of(text, to_base64(b.bytes, b.count, text));
    for (int64_t n = 1;; n++) {
        mica_error err = {0};
        mica_charsmap *m = NULL;
        mica_alloc_counter counter;
        mica_alloc_counter_init(&counter, mica_allocator_default());
        counter.fail_at = n;
        mica_status st = mica_charsmap_create(&counter.allocator, base64, &m, &err);
        mica_charsmap_destroy(&m);
        assert_int_equal(counter.n_live, 0);
        if (st == MICA_STATUS_OK) break;
        assert_int_equal(st, MICA_STATUS_OUT_OF_MEMORY);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shortest_beginning_is_found),
        cmocka_unit_test(units_that_lead_out_find_nothing),
        cmocka_unit_test(broken_blobs_are_refused),
        cmocka_unit_test(random_units_are_safe),
        cmocka_unit_test(every_failed_allocation_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
