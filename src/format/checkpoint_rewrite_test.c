/* Rewritten checkpoints: new lists, tensors made by recipes, and what must be refused. */
#include "format/checkpoint_rewrite.h"
#include "base/error.h"
#include "format/safetensors_writer.h"
#include "test.h"
#include "test_folder.h"

static const mica_shape three = {1, {3}}, six = {1, {6}}, none = {1, {0}};
static const uint8_t data_a[3] = {1, 2, 3}, data_b[3] = {40, 50, 60};

/* Tensors "a" and "b" of three bytes, "empty" of none. */
static void make_file(test_folder *f) {
    mica_error err;
    test_folder_make(f);
    const mica_safetensors_item items[] = {{"a", MICA_SAFETENSORS_U8, three, data_a},
                                           {"b", MICA_SAFETENSORS_U8, three, data_b},
                                           {"empty", MICA_SAFETENSORS_U8, none, NULL}};
    assert_ok(mica_safetensors_write_file(mica_host_default(),
                                          test_folder_at(f, "model.safetensors"), items, 3, &err));
}

static mica_checkpoint *open_with(const mica_host *host, const test_folder *f, bool use_pread) {
    mica_error err;
    mica_checkpoint *c;
    const mica_checkpoint_options options = {.use_pread = use_pread};
    assert_ok(mica_checkpoint_open(host, f->path, &options, &c, &err));
    return c;
}

/* out = source 0, then source 1, each byte plus params[0]. */
static mica_status join(const mica_checkpoint_recipe *recipe, const mica_checkpoint_tensor *tensor,
                        const uint8_t *const *data, uint8_t *out, mica_error *err) {
    (void)tensor, (void)err;
    for (size_t s = 0; s < recipe->n_sources; s++)
        for (uint64_t i = 0; i < recipe->sources[s]->bytes; i++)
            *out++ = (uint8_t)(data[s][i] + recipe->params[0]);
    return MICA_STATUS_OK;
}

static mica_status complain(const mica_checkpoint_recipe *recipe,
                            const mica_checkpoint_tensor *tensor, const uint8_t *const *data,
                            uint8_t *out, mica_error *err) {
    (void)recipe, (void)data, (void)out;
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: no good", tensor->name);
}

/* The list a, ab (a then b, plus 1), b2 (b renamed) in place of a, b, empty. */
static mica_status rewrite(mica_checkpoint *c, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_checkpoint_rewrite w;
    char name[] = "ab";
    const mica_checkpoint_tensor *sources[] = {mica_checkpoint_find(c, "a"),
                                               mica_checkpoint_find(c, "b")};
    mica_checkpoint_recipe recipe = {
        .make = join, .sources = sources, .n_sources = 2, .params = {1}, .note = "joined"};
    mica_checkpoint_rewrite_begin(&w, c);
    MICA_TRY(mica_checkpoint_rewrite_rename(&w, sources[1], "b2", err));
    MICA_TRY(mica_checkpoint_rewrite_add(&w, name, MICA_SAFETENSORS_U8, &six, &recipe, err));
    MICA_TRY(mica_checkpoint_rewrite_keep(&w, sources[0], err));
    /* All of it was copied. */
    memset(name, 'x', 2);
    sources[0] = sources[1] = NULL;
    recipe.make = complain;
    MICA_TRY(mica_checkpoint_rewrite_commit(&w, err));
done:
    mica_checkpoint_rewrite_end(&w);
    return st;
}

static void check_bytes(mica_checkpoint *c, const char *name, const uint8_t *wanted, size_t bytes) {
    mica_error err;
    const uint8_t *data;
    uint8_t copy[16];
    const mica_checkpoint_tensor *t = mica_checkpoint_find(c, name);
    assert_non_null(t);
    assert_int_equal(t->bytes, bytes);
    assert_ok(mica_checkpoint_read_tensor(c, t, 0, copy, bytes, &err));
    assert_memory_equal(copy, wanted, bytes);
    assert_ok(mica_checkpoint_map_tensor(c, t, &data, &err));
    assert_memory_equal(data, wanted, bytes);
}

static void test_new_list(void **state) {
    /* Kept, renamed and made tensors, mapped or read; a part of a made one; bytes are counted. */
    (void)state;
    static const uint8_t joined[6] = {2, 3, 4, 41, 51, 61};
    for (int use_pread = 0; use_pread < 2; use_pread++) {
        mica_error err;
        test_folder f;
        uint8_t part[2];
        const uint8_t *first, *again;
        make_file(&f);
        mica_checkpoint *c = open_with(mica_host_default(), &f, use_pread != 0);
        assert_ok(rewrite(c, &err));
        assert_int_equal(mica_checkpoint_count(c), 3);
        assert_string_equal(mica_checkpoint_at(c, 0)->name, "a");
        assert_string_equal(mica_checkpoint_at(c, 1)->name, "ab");
        assert_string_equal(mica_checkpoint_at(c, 2)->name, "b2");
        assert_int_equal(mica_checkpoint_at(c, 2)->name_bytes, 2);
        assert_int_equal(mica_checkpoint_bytes(c), 12);
        assert_null(mica_checkpoint_find(c, "b"));
        check_bytes(c, "a", data_a, 3);
        check_bytes(c, "b2", data_b, 3);
        check_bytes(c, "ab", joined, 6);
        const mica_checkpoint_tensor *t = mica_checkpoint_find(c, "ab");
        assert_string_equal(t->recipe->note, "joined");
        assert_ok(mica_checkpoint_read_tensor(c, t, 2, part, 2, &err));
        assert_memory_equal(part, joined + 2, 2);
        assert_int_equal(mica_checkpoint_read_tensor(c, t, 5, part, 2, &err), MICA_STATUS_INVALID);
        assert_ok(mica_checkpoint_map_tensor(c, t, &first, &err));
        assert_ok(mica_checkpoint_map_tensor(c, t, &again, &err));
        assert_ptr_equal(first, again);
        mica_checkpoint_close(&c);
        test_folder_remove(&f);
    }
}

static void test_rewritten_twice(void **state) {
    /* A list made from a rewritten list: sources of replaced lists stay good. */
    (void)state;
    static const uint8_t wanted[6] = {12, 13, 14, 51, 61, 71};
    mica_error err;
    test_folder f;
    mica_checkpoint_rewrite w;
    make_file(&f);
    mica_checkpoint *c = open_with(mica_host_default(), &f, false);
    assert_ok(rewrite(c, &err));
    const mica_checkpoint_tensor *source = mica_checkpoint_find(c, "ab");
    const mica_checkpoint_recipe recipe = {
        .make = join, .sources = &source, .n_sources = 1, .params = {10}};
    mica_checkpoint_rewrite_begin(&w, c);
    assert_ok(mica_checkpoint_rewrite_add(&w, "more", MICA_SAFETENSORS_U8, &six, &recipe, &err));
    assert_ok(mica_checkpoint_rewrite_commit(&w, &err));
    mica_checkpoint_rewrite_end(&w);
    assert_int_equal(mica_checkpoint_count(c), 1);
    check_bytes(c, "more", wanted, 6);
    mica_checkpoint_close(&c);
    test_folder_remove(&f);
}

static void test_hidden(void **state) {
    /* A hidden tensor is a source and is not listed; chains of recipes end at a limit. */
    (void)state;
    for (uint8_t depth = 1; depth < 6; depth++) {
        const uint8_t wanted[3] = {1 + depth, 2 + depth, 3 + depth};
        mica_error err;
        test_folder f;
        mica_checkpoint_rewrite w;
        const uint8_t *data;
        make_file(&f);
        mica_checkpoint *c = open_with(mica_host_default(), &f, false);
        const mica_checkpoint_tensor *source = mica_checkpoint_find(c, "a");
        /* Each step adds 1 to the one before. */
        const mica_checkpoint_recipe recipe = {
            .make = join, .sources = &source, .n_sources = 1, .params = {1}};
        mica_checkpoint_rewrite_begin(&w, c);
        for (int i = 1; i < depth; i++)
            assert_ok(mica_checkpoint_rewrite_hidden(&w, "step", MICA_SAFETENSORS_U8, &three,
                                                     &recipe, &source, &err));
        assert_ok(
            mica_checkpoint_rewrite_add(&w, "end", MICA_SAFETENSORS_U8, &three, &recipe, &err));
        assert_ok(mica_checkpoint_rewrite_commit(&w, &err));
        mica_checkpoint_rewrite_end(&w);
        assert_int_equal(mica_checkpoint_count(c), 1);
        if (depth < 5) {
            check_bytes(c, "end", wanted, 3);
        } else {
            const mica_checkpoint_tensor *t = mica_checkpoint_find(c, "end");
            assert_int_equal(mica_checkpoint_map_tensor(c, t, &data, &err), MICA_STATUS_INTERNAL);
            assert_non_null(strstr(err.message, "recipes nested over 4 deep"));
        }
        mica_checkpoint_close(&c);
        test_folder_remove(&f);
    }
}

static void test_without_commit(void **state) {
    /* A list that is given up, or refused, leaves the old one as it was. */
    (void)state;
    mica_error err;
    test_folder f;
    mica_checkpoint_rewrite w;
    make_file(&f);
    mica_checkpoint *c = open_with(mica_host_default(), &f, false);
    const mica_checkpoint_tensor *a = mica_checkpoint_find(c, "a");
    mica_checkpoint_rewrite_begin(&w, c);
    assert_ok(mica_checkpoint_rewrite_rename(&w, a, "z", &err));
    mica_checkpoint_rewrite_end(&w);
    assert_int_equal(mica_checkpoint_count(c), 3);
    assert_ptr_equal(mica_checkpoint_find(c, "a"), a);
    mica_checkpoint_rewrite_begin(&w, c);
    assert_ok(mica_checkpoint_rewrite_keep(&w, a, &err));
    assert_ok(mica_checkpoint_rewrite_rename(&w, mica_checkpoint_find(c, "b"), "a", &err));
    assert_int_equal(mica_checkpoint_rewrite_commit(&w, &err), MICA_STATUS_FORMAT);
    assert_string_equal(err.message, "a: two tensors have this name");
    mica_checkpoint_rewrite_end(&w);
    assert_int_equal(mica_checkpoint_count(c), 3);
    check_bytes(c, "b", data_b, 3);
    mica_checkpoint_close(&c);
    test_folder_remove(&f);
}

static void test_bad_tensors(void **state) {
    /* Names and sizes that no file may have; a recipe's own error comes through. */
    (void)state;
    mica_error err;
    test_folder f;
    mica_checkpoint_rewrite w;
    const uint8_t *data;
    char long_name[600];
    memset(long_name, 'n', sizeof long_name);
    long_name[513] = '\0';
    make_file(&f);
    mica_checkpoint *c = open_with(mica_host_default(), &f, false);
    const mica_checkpoint_tensor *a = mica_checkpoint_find(c, "a");
    const mica_checkpoint_recipe recipe = {.make = complain, .sources = &a, .n_sources = 1};
    const mica_shape huge = {3, {INT64_C(1) << 40, INT64_C(1) << 40, 2}}, odd = {1, {3}};
    mica_checkpoint_rewrite_begin(&w, c);
    const char *const bad_names[] = {"", "a\nb", long_name};
    for (size_t i = 0; i < sizeof bad_names / sizeof *bad_names; i++) {
        assert_int_equal(mica_checkpoint_rewrite_rename(&w, a, bad_names[i], &err),
                         MICA_STATUS_FORMAT);
        assert_int_equal(mica_checkpoint_rewrite_add(&w, bad_names[i], MICA_SAFETENSORS_U8, &three,
                                                     &recipe, &err),
                         MICA_STATUS_FORMAT);
    }
    assert_int_equal(
        mica_checkpoint_rewrite_add(&w, "h", MICA_SAFETENSORS_U8, &huge, &recipe, &err),
        MICA_STATUS_FORMAT);
    assert_non_null(strstr(err.message, "rule 10"));
    assert_int_equal(mica_checkpoint_rewrite_add(&w, "h", MICA_SAFETENSORS_F4, &odd, &recipe, &err),
                     MICA_STATUS_FORMAT);
    assert_ok(mica_checkpoint_rewrite_add(&w, "bad", MICA_SAFETENSORS_U8, &three, &recipe, &err));
    assert_ok(mica_checkpoint_rewrite_add(&w, "void", MICA_SAFETENSORS_U8, &none, &recipe, &err));
    assert_ok(mica_checkpoint_rewrite_commit(&w, &err));
    mica_checkpoint_rewrite_end(&w);
    assert_int_equal(mica_checkpoint_map_tensor(c, mica_checkpoint_find(c, "bad"), &data, &err),
                     MICA_STATUS_FORMAT);
    assert_string_equal(err.message, "bad: no good");
    /* Nothing is made of a tensor without elements. */
    assert_ok(mica_checkpoint_map_tensor(c, mica_checkpoint_find(c, "void"), &data, &err));
    assert_null(data);
    mica_checkpoint_close(&c);
    test_folder_remove(&f);
}

static void test_taken_again(void **state) {
    /* What was expected before counts as not taken after. */
    (void)state;
    mica_error err;
    test_folder f;
    const mica_safetensors_dtype u8 = MICA_SAFETENSORS_U8;
    make_file(&f);
    mica_checkpoint *c = open_with(mica_host_default(), &f, true);
    const uint8_t *data;
    const mica_checkpoint_tensor *t;
    assert_ok(mica_checkpoint_expect(c, "a", &u8, 1, &three, &t, &err));
    assert_ok(mica_checkpoint_map_tensor(c, t, &data, &err)); /* a copy, which commit frees */
    assert_ok(rewrite(c, &err));
    assert_int_equal(mica_checkpoint_check_all_taken(c, NULL, NULL, &err), MICA_STATUS_FORMAT);
    assert_non_null(strstr(err.message, "3 such in all"));
    assert_ok(mica_checkpoint_expect(c, "a", &u8, 1, &three, NULL, &err));
    assert_ok(mica_checkpoint_expect(c, "ab", &u8, 1, &six, NULL, &err));
    assert_ok(mica_checkpoint_expect(c, "b2", &u8, 1, &three, NULL, &err));
    assert_ok(mica_checkpoint_check_all_taken(c, NULL, NULL, &err));
    mica_checkpoint_close(&c);
    test_folder_remove(&f);
}

static mica_status rewrite_and_read(const mica_host *host, const char *path, mica_error *err) {
    mica_checkpoint *c;
    const uint8_t *data;
    const mica_checkpoint_options options = {.use_pread = true};
    mica_status st = mica_checkpoint_open(host, path, &options, &c, err);
    if (st == MICA_STATUS_OK) st = rewrite(c, err);
    for (size_t i = 0; st == MICA_STATUS_OK && i < mica_checkpoint_count(c); i++)
        st = mica_checkpoint_map_tensor(c, mica_checkpoint_at(c, i), &data, err);
    mica_checkpoint_close(&c);
    return st;
}

static void test_no_memory(void **state) {
    /* Whichever allocation fails: a status, no leak, no crash. */
    (void)state;
    test_folder f;
    make_file(&f);
    for (int64_t fail_at = 1;; fail_at++) {
        mica_error err;
        mica_alloc_counter counter;
        mica_alloc_counter_init(&counter, mica_allocator_default());
        counter.fail_at = fail_at;
        mica_host host = {.allocator = &counter.allocator};
        mica_status st = rewrite_and_read(&host, f.path, &err);
        bool is_through = counter.n_calls < fail_at;
        if (st != (is_through ? MICA_STATUS_OK : MICA_STATUS_OUT_OF_MEMORY))
            fail_msg("allocation %lld: %s", (long long)fail_at, err.message);
        assert_int_equal(counter.n_live, 0);
        if (is_through) break;
        assert_true(fail_at < 1000);
    }
    test_folder_remove(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_list),    cmocka_unit_test(test_rewritten_twice),
        cmocka_unit_test(test_hidden),      cmocka_unit_test(test_without_commit),
        cmocka_unit_test(test_bad_tensors), cmocka_unit_test(test_taken_again),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
