/* The GGUF reader: good files are read, and every rule has a file that breaks it. */
#include "gguf_builder.h"
#include "test.h"
#include "test_folder.h"
#include "base/alloc.h"
#include "base/error.h"
#include "format/gguf.h"

enum { U8 = 0, F32 = 6, BOOL = 7, STRING = 8, ARRAY = 9 };

static mica_status parse(const gguf_bytes *f, mica_gguf **out, mica_error *err) {
    return mica_gguf_parse(mica_host_default(), "test.gguf", f->data, f->bytes, f->bytes, out, err);
}

static void put_one_tensor(gguf_builder *b, const char *name) {
    float v[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    gguf_put_tensor(b, name, 0, 2, (int64_t[]){2, 4}, v, sizeof v);
}

/* Proves: keys of every type and tensors come back as they were written, with absolute offsets and
 * turned shapes; in both versions. */
static void reads_what_was_written(void **state) {
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        mica_error err = {0};
        mica_gguf *g = NULL;
        gguf_builder b = {.version = version};
        gguf_bytes file;
        int64_t integer = 0;
        double number = 0;
        bool flag = false, is_there = false;
        mica_slice text;
        size_t place = 0;
        gguf_put_text(&b, "general.architecture", "llama");
        gguf_put_u32(&b, "u32", 4000000000u);
        gguf_put_f32(&b, "f32", 0.5f);
        gguf_put_bool(&b, "bool", true);
        gguf_put_texts(&b, "texts", (const char *[]){"a", "", "ccc"}, 3);
        gguf_put_i32s(&b, "equal", (int32_t[]){7, 7, 7}, 3);
        gguf_put_i32s(&b, "unequal", (int32_t[]){7, -8}, 2);
        put_one_tensor(&b, "second");
        put_one_tensor(&b, "first");
        gguf_build(&b, &file);
        assert_ok(parse(&file, &g, &err));
        assert_ok(mica_gguf_read_integer(g, "u32", &integer, &is_there, &err));
        assert_true(is_there && integer == 4000000000);
        assert_ok(mica_gguf_read_number(g, "f32", &number, NULL, &err));
        assert_true(number > 0.4999 && number < 0.5001);
        assert_ok(mica_gguf_read_bool(g, "bool", &flag, NULL, &err));
        assert_true(flag);
        assert_ok(mica_gguf_read_integer(g, "equal", &integer, NULL, &err));
        assert_int_equal(integer, 7);
        assert_int_equal(mica_gguf_read_integer(g, "unequal", &integer, NULL, &err),
                         MICA_STATUS_UNSUPPORTED);
        assert_int_equal(mica_gguf_read_bool(g, "u32", &flag, NULL, &err), MICA_STATUS_FORMAT);
        assert_int_equal(mica_gguf_read_string(g, "u32", &text, NULL, &err), MICA_STATUS_FORMAT);
        assert_int_equal(mica_gguf_read_integer(g, "f32", &integer, NULL, &err),
                         MICA_STATUS_FORMAT);
        assert_ok(mica_gguf_read_integer(g, "none", &integer, &is_there, &err));
        assert_false(is_there);
        const mica_gguf_value *texts = mica_gguf_find(g, "texts");
        assert_true(mica_gguf_next_string(texts, &place, &text) && mica_slice_is(text, "a"));
        assert_true(mica_gguf_next_string(texts, &place, &text) && text.bytes == 0);
        assert_true(mica_gguf_next_string(texts, &place, &text) && mica_slice_is(text, "ccc"));
        assert_false(mica_gguf_next_string(texts, &place, &text));
        assert_int_equal(mica_gguf_count(g), 2);
        const mica_gguf_tensor *t = mica_gguf_find_tensor(g, "first");
        assert_ptr_equal(t, mica_gguf_at(g, 1));
        assert_int_equal(t->shape.dims[0], 2);
        assert_int_equal(t->shape.dims[1], 4);
        assert_memory_equal(file.data + t->begin, file.data + mica_gguf_at(g, 0)->begin, 32);
        assert_null(mica_gguf_find_tensor(g, "third"));
        mica_gguf_close(&g);
        free(file.data);
    }
}

/* ---- files that break one rule ---- */

typedef struct bad_case {
    const char *name;
    mica_status status;
    const char *words; /* of the message */
    void (*make)(gguf_builder *b);
    void (*damage)(gguf_bytes *f);
} bad_case;

static void nothing(gguf_builder *b) { (void)b; }
static void plain(gguf_builder *b) { put_one_tensor(b, "w"); }

static void set_u64(gguf_bytes *f, size_t at, uint64_t v) { memcpy(f->data + at, &v, sizeof v); }
static void set_u32(gguf_bytes *f, size_t at, uint32_t v) { memcpy(f->data + at, &v, sizeof v); }

static void cut_magic(gguf_bytes *f) { f->bytes = 3; }
static void other_magic(gguf_bytes *f) { f->data[0] = 'g'; }
static void version_1(gguf_bytes *f) { set_u32(f, 4, 1); }
static void version_4(gguf_bytes *f) { set_u32(f, 4, 4); }
static void big_endian(gguf_bytes *f) { set_u32(f, 4, 3u << 24); }
static void cut_counts(gguf_bytes *f) { f->bytes = 20; }
static void many_tensors(gguf_bytes *f) { set_u64(f, 8, UINT64_MAX); }
static void more_tensors(gguf_bytes *f) { set_u64(f, 8, 90000); }
static void one_tensor_more(gguf_bytes *f) { set_u64(f, 8, 2); }
static void many_keys(gguf_bytes *f) { set_u64(f, 16, UINT64_MAX); }
static void more_keys(gguf_bytes *f) { set_u64(f, 16, 60000); }
static void cut_data(gguf_bytes *f) { f->bytes--; }
static void grow_data(gguf_bytes *f) {
    static const uint8_t more[64] = {0};
    gguf_append(f, more, sizeof more);
}

static void key_u8(gguf_builder *b, const char *key) {
    gguf_key_raw(b, key, U8);
    gguf_append(&b->keys, "", 1);
    if (b->n_tensors == 0) put_one_tensor(b, "w"); /* the file is to be longer than the key */
}
static void empty_key(gguf_builder *b) { key_u8(b, ""); }
static void control_key(gguf_builder *b) { key_u8(b, "a\nb"); }
static void broken_key(gguf_builder *b) { key_u8(b, "\xC3("); }
static void long_key(gguf_builder *b) {
    char key[600];
    memset(key, 'k', 599), key[599] = '\0';
    key_u8(b, key);
}
static void huge_key(gguf_builder *b) {
    gguf_append_u64(&b->keys, UINT64_MAX - 3);
    gguf_append_text(&b->keys, "xxxxxxxx");
    b->n_keys++;
}
static void same_keys(gguf_builder *b) {
    key_u8(b, "k");
    key_u8(b, "j");
    key_u8(b, "k");
}
static void value_type(gguf_builder *b) {
    gguf_key_raw(b, "k", 13);
    gguf_append_u64(&b->keys, 0);
}
static void bool_2(gguf_builder *b) {
    gguf_key_raw(b, "k", BOOL);
    gguf_append(&b->keys, "\2", 1);
}
static void bool_in_array(gguf_builder *b) {
    gguf_array_raw(b, "k", BOOL, 2);
    gguf_append(&b->keys, "\1\3", 2);
}
static void cut_value(gguf_builder *b) {
    gguf_key_raw(b, "k", 10);
    gguf_append(&b->keys, "1234", 4);
}
static void long_string(gguf_builder *b) {
    gguf_key_raw(b, "k", STRING);
    gguf_append_u64(&b->keys, 1u << 30);
}
static void string_past_end(gguf_builder *b) {
    gguf_key_raw(b, "k", STRING);
    gguf_append_u64(&b->keys, 100);
    gguf_append(&b->keys, "short", 5);
}
static void many_items(gguf_builder *b) { gguf_array_raw(b, "k", 4, UINT64_MAX / 2); }
static void items_past_end(gguf_builder *b) {
    gguf_array_raw(b, "k", 4, 1000);
    gguf_append_u64(&b->keys, 0);
}
static void strings_past_end(gguf_builder *b) {
    gguf_array_raw(b, "k", STRING, 1000000);
    gguf_append_u64(&b->keys, 0);
}
static void item_type(gguf_builder *b) { gguf_array_raw(b, "k", 77, 0); }
static void nested(gguf_builder *b) {
    gguf_array_raw(b, "k", ARRAY, 1);
    for (int i = 0; i < 9; i++) {
        gguf_append_u32(&b->keys, ARRAY);
        gguf_append_u64(&b->keys, 1);
    }
    gguf_append_u64(&b->keys, 0);
    gguf_append_u64(&b->keys, 0);
}

static void alignment(gguf_builder *b, uint32_t v) {
    gguf_put_u32(b, "general.alignment", v);
    put_one_tensor(b, "w");
}
static void alignment_0(gguf_builder *b) { alignment(b, 0); }
static void alignment_4(gguf_builder *b) { alignment(b, 4); }
static void alignment_48(gguf_builder *b) { alignment(b, 48); }
static void alignment_huge(gguf_builder *b) { alignment(b, 1u << 20); }
static void alignment_float(gguf_builder *b) { gguf_put_f32(b, "general.alignment", 32); }

static const int64_t two_by_four[] = {2, 4};
static void entry(gguf_builder *b, uint32_t type, int rank, const int64_t *dims, uint64_t offset) {
    uint8_t data[64] = {0};
    gguf_tensor_raw(b, "w", type, rank, dims, offset);
    gguf_append(&b->data, data, sizeof data);
}
static void rank_0(gguf_builder *b) { entry(b, 0, 0, two_by_four, 0); }
static void rank_5(gguf_builder *b) { entry(b, 0, 5, (int64_t[]){1, 1, 1, 1, 1}, 0); }
static void rank_huge(gguf_builder *b) {
    gguf_append_text(&b->tensors, "w");
    gguf_append_u32(&b->tensors, UINT32_MAX);
    gguf_append_u64(&b->tensors, 0);
    gguf_append_u64(&b->tensors, 0);
    b->n_tensors++;
}
static void dim_0(gguf_builder *b) { entry(b, 0, 2, (int64_t[]){0, 4}, 0); }
static void dim_negative(gguf_builder *b) { entry(b, 0, 2, (int64_t[]){-1, 4}, 0); }
static void elements_overflow(gguf_builder *b) {
    entry(b, 0, 4, (int64_t[]){1ll << 40, 1ll << 40, 1ll << 40, 1ll << 40}, 0);
}
static void bytes_overflow(gguf_builder *b) {
    entry(b, 0, 2, (int64_t[]){1ll << 31, 1ll << 31}, 0); /* 2^62 elements of four bytes */
}
static void end_overflow(gguf_builder *b) { entry(b, 0, 2, two_by_four, UINT64_MAX - 31); }
static void no_such_type(gguf_builder *b) { entry(b, 5, 2, two_by_four, 0); }
static void type_huge(gguf_builder *b) { entry(b, UINT32_MAX, 2, two_by_four, 0); }
static void half_block(gguf_builder *b) { entry(b, 8, 2, (int64_t[]){1, 48}, 0); }
static void odd_offset(gguf_builder *b) { entry(b, 0, 2, two_by_four, 8); }
static void gap(gguf_builder *b) { entry(b, 0, 2, two_by_four, 32); }
static void too_large(gguf_builder *b) { entry(b, 0, 2, (int64_t[]){200, 4}, 0); }
static void overlap(gguf_builder *b) {
    entry(b, 0, 2, two_by_four, 0);
    gguf_tensor_raw(b, "v", 0, 2, two_by_four, 0);
}
static void same_tensors(gguf_builder *b) {
    put_one_tensor(b, "w");
    put_one_tensor(b, "v");
    put_one_tensor(b, "w");
}
static void empty_name(gguf_builder *b) { put_one_tensor(b, ""); }
static void control_name(gguf_builder *b) { put_one_tensor(b, "a\tb"); }
static void long_name(gguf_builder *b) {
    char name[600];
    memset(name, 'n', 599), name[599] = '\0';
    put_one_tensor(b, name);
}

#define BAD(status, words, make, damage)                                                           \
    { #make " " #damage, MICA_STATUS_##status, words, make, damage }

static const bad_case bad_cases[] = {
    BAD(FORMAT, "rule G1: the magic needs 4 bytes at offset 0, but the file has 3", nothing,
        cut_magic),
    BAD(FORMAT, "rule G1: the file begins with 67 47 55 46", plain, other_magic),
    BAD(UNSUPPORTED, "rule G1: version 1, expected 2 or 3", plain, version_1),
    BAD(UNSUPPORTED, "rule G1: version 4, expected 2 or 3", plain, version_4),
    BAD(UNSUPPORTED, "rule G1: a big-endian file", plain, big_endian),
    BAD(FORMAT, "rule G1: the number of keys needs 8 bytes", plain, cut_counts),
    BAD(LIMIT, "rule G2: 18446744073709551615 tensors, expected at most 100000", plain,
        many_tensors),
    BAD(FORMAT, "rule G2: 90000 tensors do not fit in the", plain, more_tensors),
    BAD(FORMAT, "rule G3: a tensor name", plain, one_tensor_more),
    BAD(LIMIT, "rule G2: 18446744073709551615 keys, expected at most 65536", plain, many_keys),
    BAD(FORMAT, "rule G2: 60000 keys do not fit in the", plain, more_keys),
    BAD(FORMAT, "rule G3: a key \"\" is empty", empty_key, NULL),
    BAD(FORMAT, "rule G3: a key", control_key, NULL),
    BAD(FORMAT, "rule G3: a key", broken_key, NULL),
    BAD(LIMIT, "rule G3: a key at offset 24 has 599 bytes", long_key, NULL),
    BAD(LIMIT, "rule G3: a key at offset 24 has 18446744073709551612 bytes", huge_key, NULL),
    BAD(FORMAT, "rule G6: key \"k\" stands twice", same_keys, NULL),
    BAD(FORMAT, "rule G4: key \"k\" has type 13, expected 0 to 12", value_type, NULL),
    BAD(FORMAT, "rule G4: key \"k\" has the bool 2", bool_2, NULL),
    BAD(FORMAT, "rule G4: key \"k\" has the bool 3", bool_in_array, NULL),
    BAD(FORMAT, "rule G1: a value needs 8 bytes at offset 37, but the file has 41", cut_value,
        NULL),
    BAD(LIMIT, "rule G4: key \"k\" has a string of 1073741824 bytes", long_string, NULL),
    BAD(FORMAT, "rule G1: a string needs 100 bytes at offset 45", string_past_end, NULL),
    BAD(LIMIT, "rule G5: key \"k\" has 9223372036854775807 items", many_items, NULL),
    BAD(FORMAT, "rule G5: key \"k\" has 1000 items of 4 bytes or more, but 8 bytes are left",
        items_past_end, NULL),
    BAD(FORMAT, "rule G5: key \"k\" has 1000000 items of 8 bytes or more", strings_past_end, NULL),
    BAD(FORMAT, "rule G4: key \"k\" has type 77", item_type, NULL),
    BAD(LIMIT, "rule G5: key \"k\" nests arrays more than 4 deep", nested, NULL),
    BAD(FORMAT, "rule G7: general.alignment is u32 0", alignment_0, NULL),
    BAD(FORMAT, "rule G7: general.alignment is u32 4, expected a u32 that is a power of two from 8",
        alignment_4, NULL),
    BAD(FORMAT, "rule G7", alignment_48, NULL),
    BAD(FORMAT, "rule G7", alignment_huge, NULL),
    BAD(FORMAT, "rule G7: general.alignment is f32", alignment_float, NULL),
    BAD(LIMIT, "rule G8: tensor \"w\" has 0 dims, expected 1 to 4", rank_0, NULL),
    BAD(LIMIT, "rule G8: tensor \"w\" has 5 dims", rank_5, NULL),
    BAD(LIMIT, "rule G8: tensor \"w\" has 4294967295 dims", rank_huge, NULL),
    BAD(LIMIT, "rule G8: tensor \"w\" has a dim of 0", dim_0, NULL),
    BAD(LIMIT, "rule G8: tensor \"w\" has a dim of 18446744073709551615", dim_negative, NULL),
    BAD(FORMAT, "rule G9: tensor \"w\": the bytes of F32", elements_overflow, NULL),
    BAD(FORMAT, "rule G9: tensor \"w\": the bytes of F32", bytes_overflow, NULL),
    BAD(FORMAT, "rule G9: tensor \"w\": the bytes of F32", end_overflow, NULL),
    BAD(FORMAT, "rule G8: tensor \"w\" has type 5, which is not one of the format", no_such_type,
        NULL),
    BAD(FORMAT, "rule G8: tensor \"w\" has type 4294967295", type_huge, NULL),
    BAD(FORMAT, "rule G8: tensor \"w\": rows of 48 elements are no whole blocks of 32 (Q8_0)",
        half_block, NULL),
    BAD(FORMAT, "rule G9: tensor \"w\" begins at 8, expected 0 (alignment 32)", odd_offset, NULL),
    BAD(FORMAT, "rule G9: tensor \"w\" begins at 32, expected 0", gap, NULL),
    BAD(FORMAT, "rule G9: tensor \"w\" needs bytes 0 to 3200 past the header of", too_large, NULL),
    BAD(FORMAT, "begins at 0, expected 32", overlap, NULL),
    BAD(FORMAT, "rule G9: tensor \"w\" needs bytes 0 to 32", plain, cut_data),
    BAD(FORMAT, "rule G10: the tensors end at", plain, grow_data),
    BAD(FORMAT, "rule G6: tensor \"w\" stands twice", same_tensors, NULL),
    BAD(FORMAT, "rule G3: a tensor name \"\" is empty", empty_name, NULL),
    BAD(FORMAT, "rule G3: a tensor name", control_name, NULL),
    BAD(LIMIT, "rule G3: a tensor name at offset 24 has 599 bytes", long_name, NULL),
};

/* Proves: every rule is applied, and its message says what was seen and what was wanted. */
static void refuses_broken_rules(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad_cases / sizeof *bad_cases; i++) {
        const bad_case *c = &bad_cases[i];
        mica_error err = {0};
        mica_gguf *g = NULL;
        gguf_builder b = {0};
        gguf_bytes file;
        c->make(&b);
        gguf_build(&b, &file);
        if (c->damage) c->damage(&file);
        /* The bytes alone, so that a checker sees every read past them. */
        uint8_t *exact = malloc(file.bytes ? file.bytes : 1);
        memcpy(exact, file.data, file.bytes);
        mica_status st = mica_gguf_parse(mica_host_default(), "test.gguf", exact, file.bytes,
                                         file.bytes, &g, &err);
        if (st != c->status || !strstr(err.message, c->words))
            fail_msg("%s: %s: %s; wanted %s: %s", c->name, mica_status_name(st), err.message,
                     mica_status_name(c->status), c->words);
        assert_null(g);
        free(exact), free(file.data);
    }
}

/* Proves: a good file cut at any byte is refused. */
static void refuses_every_cut(void **state) {
    (void)state;
    gguf_builder b = {0};
    gguf_bytes file;
    gguf_put_text(&b, "general.architecture", "llama");
    gguf_put_texts(&b, "texts", (const char *[]){"a", "bb"}, 2);
    put_one_tensor(&b, "w");
    put_one_tensor(&b, "v");
    gguf_build(&b, &file);
    for (size_t n = 0; n < file.bytes; n++) {
        mica_error err = {0};
        mica_gguf *g = NULL;
        uint8_t *cut = malloc(n + 1);
        memcpy(cut, file.data, n);
        assert_int_not_equal(mica_gguf_parse(mica_host_default(), "cut", cut, n, n, &g, &err),
                             MICA_STATUS_OK);
        free(cut);
    }
    free(file.data);
}

/* ---- files on disk ---- */

/* Proves: a header longer than the first read is found, whatever borders the reads have. */
static void reads_long_headers(void **state) {
    (void)state;
    mica_error err = {0};
    mica_gguf *g = NULL;
    test_folder folder;
    gguf_builder b = {0};
    gguf_bytes file;
    size_t bytes = 3000000;
    char *text = malloc(bytes + 1);
    memset(text, 'x', bytes), text[bytes] = '\0';
    gguf_put_text(&b, "long", text);
    put_one_tensor(&b, "w");
    gguf_build(&b, &file);
    test_folder_make(&folder);
    test_folder_write(&folder, "m.bin", file.data, file.bytes);
    test_folder_write_text(&folder, "other", "GGU");
    static const char *const names[] = {"m.bin", "other", "none", "."};
    for (int i = 0; i < 4; i++) {
        bool is_gguf;
        const char *path = test_folder_at(&folder, names[i]);
        assert_ok(mica_gguf_is_file(mica_host_default(), path, &is_gguf, &err));
        assert_int_equal(is_gguf, i == 0);
    }
    assert_ok(mica_gguf_open(mica_host_default(), test_folder_at(&folder, "m.bin"), &g, &err));
    float v[8];
    assert_ok(mica_gguf_read_tensor(g, mica_gguf_at(g, 0), v, &err));
    assert_true(v[7] > 7.9f && v[7] < 8.1f);
    mica_gguf_close(&g);
    test_folder_write(&folder, "cut", file.data, bytes);
    assert_int_equal(mica_gguf_open(mica_host_default(), test_folder_at(&folder, "cut"), &g, &err),
                     MICA_STATUS_FORMAT);
    assert_non_null(strstr(err.message, "cut: rule G1: a string needs 3000000 bytes"));
    free(text), free(file.data);
    test_folder_remove(&folder);
}

/* Proves: every failed allocation is reported, and nothing is lost. */
static void survives_failed_allocations(void **state) {
    (void)state;
    test_folder folder;
    gguf_builder b = {0};
    gguf_bytes file;
    gguf_put_text(&b, "general.architecture", "llama");
    put_one_tensor(&b, "w");
    gguf_build(&b, &file);
    test_folder_make(&folder);
    test_folder_write(&folder, "m.gguf", file.data, file.bytes);
    int64_t n = 1;
    for (mica_status st = MICA_STATUS_OUT_OF_MEMORY; st != MICA_STATUS_OK; n++) {
        mica_alloc_counter counter;
        mica_error err = {0};
        mica_gguf *g = NULL;
        mica_alloc_counter_init(&counter, mica_allocator_default());
        counter.fail_at = n;
        mica_host host = *mica_host_default();
        host.allocator = &counter.allocator;
        st = mica_gguf_open(&host, test_folder_at(&folder, "m.gguf"), &g, &err);
        if (st != MICA_STATUS_OK) assert_int_equal(st, MICA_STATUS_OUT_OF_MEMORY);
        mica_gguf_close(&g);
        assert_int_equal(counter.n_live, 0);
        assert_true(n < 100);
    }
    assert_true(n > 5);
    free(file.data);
    test_folder_remove(&folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_written),      cmocka_unit_test(refuses_broken_rules),
        cmocka_unit_test(refuses_every_cut),           cmocka_unit_test(reads_long_headers),
        cmocka_unit_test(survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
