/* Folders that appear whole or not at all. */
#include "base/folder_writer.h"
#include <errno.h>
#include <sys/wait.h>
#include "test.h"
#include "test_folder.h"

static void put(const mica_folder_writer *w, const char *name, const char *text) {
    char path[MICA_PATH_BYTES_MAX];
    mica_error err = {0};
    assert_ok(mica_path_join(mica_folder_writer_path(w), name, path, &err));
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static size_t count_entries(const char *path) {
    char *names = NULL;
    size_t count = 0;
    mica_error err = {0};
    assert_ok(mica_path_list(mica_host_default(), path, &names, &count, &err));
    mica_free(mica_allocator_default(), names);
    return count;
}

static void test_commit(void **state) {
    /* Nothing is at the path before commit, all of it after; parents are made. */
    (void)state;
    test_folder f;
    mica_folder_writer *w;
    mica_error err = {0};
    test_folder_make(&f);
    const char *path = test_folder_at(&f, "a/b/model///");
    const char *plain = test_folder_at(&f, "a/b/model");
    assert_ok(mica_folder_writer_open(mica_host_default(), path, &w, &err));
    put(w, "x", "1");
    put(w, "y", "2");
    assert_int_equal(mica_path_kind_of(plain), MICA_PATH_NONE);
    assert_ok(mica_folder_writer_commit(w, &err));
    mica_folder_writer_close(&w);
    assert_null(w);
    assert_int_equal(count_entries(plain), 2);
    assert_int_equal(count_entries(test_folder_at(&f, "a/b")), 1);
    test_folder_remove(&f);
}

static void test_close_without_commit(void **state) {
    /* Without commit nothing stays, also when there is no memory left. */
    (void)state;
    test_folder f;
    mica_folder_writer *w;
    mica_error err = {0};
    mica_alloc_counter counter;
    mica_alloc_counter_init(&counter, mica_allocator_default());
    mica_host host = {.allocator = &counter.allocator};
    test_folder_make(&f);
    assert_ok(mica_folder_writer_open(&host, test_folder_at(&f, "out"), &w, &err));
    for (int i = 0; i < 50; i++) {
        char name[16];
        snprintf(name, sizeof name, "file-%d", i);
        put(w, name, "text");
    }
    assert_int_equal(count_entries(f.path), 1);
    counter.fail_at = counter.n_calls + 1;
    counter.fail_after = true;
    mica_folder_writer_close(&w);
    assert_int_equal(count_entries(f.path), 0);
    assert_int_equal(counter.n_live, 0);
    mica_folder_writer_close(&w);
    test_folder_remove(&f);
}

static void test_occupied(void **state) {
    /* An empty folder is taken; a file, or a folder with something in it, is refused and stays. */
    (void)state;
    test_folder f;
    mica_folder_writer *w;
    mica_error err = {0};
    test_folder_make(&f);
    const char *path = test_folder_at(&f, "out");
    assert_ok(mica_path_make_folder(path, &err));
    assert_ok(mica_folder_writer_open(mica_host_default(), path, &w, &err));
    put(w, "x", "1");
    test_folder_write_text(&f, "out/late", "came in between");
    assert_int_equal(mica_folder_writer_commit(w, &err), MICA_STATUS_INVALID);
    assert_non_null(strstr(err.message, "is not empty (late)"));
    mica_folder_writer_close(&w);
    assert_int_equal(count_entries(f.path), 1);
    assert_int_equal(mica_folder_writer_open(mica_host_default(), path, &w, &err),
                     MICA_STATUS_INVALID);
    assert_null(w);
    assert_int_equal(unlink(test_folder_at(&f, "out/late")), 0);
    assert_ok(mica_folder_writer_open(mica_host_default(), path, &w, &err));
    put(w, "x", "1");
    assert_ok(mica_folder_writer_commit(w, &err));
    mica_folder_writer_close(&w);
    assert_int_equal(count_entries(path), 1);
    test_folder_write_text(&f, "file", "");
    assert_int_equal(
        mica_folder_writer_open(mica_host_default(), test_folder_at(&f, "file"), &w, &err),
        MICA_STATUS_INVALID);
    assert_non_null(strstr(err.message, "not a folder"));
    assert_int_equal(mica_folder_writer_open(mica_host_default(), "", &w, &err),
                     MICA_STATUS_INVALID);
    test_folder_remove(&f);
}

static void take_log(void *context, mica_log_level level, const char *text) {
    char *out = context;
    if (level == MICA_LOG_WARNING) snprintf(out + strlen(out), 2048 - strlen(out), "%s\n", text);
}

static void test_stale(void **state) {
    /* What a dead process left is named; what a living one is making is not. */
    (void)state;
    test_folder f;
    mica_folder_writer *w;
    mica_error err = {0};
    char text[2048] = "", name[64];
    mica_host host = {.allocator = mica_allocator_default(), .log = take_log, .log_context = text};
    pid_t child = fork();
    if (child == 0) _exit(0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    test_folder_make(&f);
    snprintf(name, sizeof name, "out.tmp-%d", (int)child);
    assert_ok(mica_path_make_folder(test_folder_at(&f, name), &err));
    assert_ok(mica_path_make_folder(test_folder_at(&f, "out.tmp-1"), &err));
    assert_ok(mica_path_make_folder(test_folder_at(&f, "out.tmp-x"), &err));
    assert_ok(mica_path_make_folder(test_folder_at(&f, "other.tmp-99"), &err));
    assert_ok(mica_folder_writer_open(&host, test_folder_at(&f, "out"), &w, &err));
    assert_non_null(strstr(text, name));
    assert_ptr_equal(strchr(text, '\n'), strrchr(text, '\n')); /* one line */
    mica_folder_writer_close(&w);
    test_folder_remove(&f);
}

typedef struct fault {
    int64_t calls, fail_at;
} fault;

static int fail_call(void *context, mica_io_call call, size_t *bytes) {
    fault *f = context;
    (void)call, (void)bytes;
    return ++f->calls == f->fail_at ? EIO : 0;
}

static void test_faults(void **state) {
    /* Whichever system call fails: an error and nothing left, or the whole folder. */
    (void)state;
    for (int64_t fail_at = 1;; fail_at++) {
        test_folder f;
        fault context = {0, fail_at};
        mica_io_hook hook = {&context, fail_call};
        mica_host host = {.allocator = mica_allocator_default(), .io = &hook};
        mica_folder_writer *w;
        mica_error err = {0};
        test_folder_make(&f);
        mica_status st = mica_folder_writer_open(&host, test_folder_at(&f, "out"), &w, &err);
        if (st == MICA_STATUS_OK) put(w, "x", "1");
        if (st == MICA_STATUS_OK) st = mica_folder_writer_commit(w, &err);
        mica_folder_writer_close(&w);
        assert_true(st == MICA_STATUS_OK || st == MICA_STATUS_IO);
        size_t n = count_entries(f.path);
        /* The last call makes the name last: the folder is whole, but may not survive a crash. */
        bool is_named = mica_path_kind_of(test_folder_at(&f, "out")) == MICA_PATH_FOLDER;
        assert_int_equal(n, is_named ? 1 : 0);
        if (is_named) assert_int_equal(count_entries(test_folder_at(&f, "out")), 1);
        if (st == MICA_STATUS_OK) assert_true(is_named);
        test_folder_remove(&f);
        if (context.calls < fail_at) break;
        assert_true(fail_at < 100);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit),   cmocka_unit_test(test_close_without_commit),
        cmocka_unit_test(test_occupied), cmocka_unit_test(test_stale),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
