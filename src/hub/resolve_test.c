/* Model names against a small cache in a temporary folder. */
#include "hub/resolve.h"
#include <sys/stat.h>
#include <unistd.h>
#include "base/error.h"
#include "base/file.h"
#include "test.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static char root[64];

static void write_text(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static void make_folder(const char *name) {
    char path[256];
    mica_error err = {0};
    snprintf(path, sizeof path, "%s/%s", root, name);
    assert_ok(mica_path_make_folder(path, &err));
}

static int set_up(void **state) {
    (void)state;
    strcpy(root, "/tmp/mica-hub-test-XXXXXX");
    assert_non_null(mkdtemp(root));
    make_folder("models--org--name/refs/pr");
    make_folder("models--org--name/snapshots/" COMMIT);
    make_folder("models--gpt2/refs");
    make_folder("models--gpt2/snapshots/" COMMIT);
    write_text("models--org--name/refs/main", COMMIT);
    write_text("models--org--name/refs/pr/1", COMMIT "\n");
    write_text("models--org--name/refs/bad", "../../../../../../etc/passwd-and-more-xx");
    write_text("models--org--name/refs/gone", "ffffffffffffffffffffffffffffffffffffffff");
    write_text("models--gpt2/refs/main", COMMIT);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static mica_status find(const char *name, char *out, mica_error *err) {
    mica_hub_options o = {.cache_folder = root, .demo_folder = root};
    return mica_hub_find(mica_host_default(), name, &o, out, MICA_PATH_BYTES_MAX, err);
}

static void test_found_names(void **state) {
    /* Revisions, commits, names without organisation, paths and demo lead to their folders. */
    (void)state;
    mica_error err = {0};
    char path[MICA_PATH_BYTES_MAX], wanted[256];
    static const char *const names[] = {"org/name", "org/name@main", "org/name@pr/1",
                                        ("org/name@" COMMIT)};
    snprintf(wanted, sizeof wanted, "%s/models--org--name/snapshots/" COMMIT, root);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_ok(find(names[i], path, &err));
        assert_string_equal(path, wanted);
    }
    snprintf(wanted, sizeof wanted, "%s/models--gpt2/snapshots/" COMMIT, root);
    assert_ok(find("gpt2", path, &err));
    assert_string_equal(path, wanted);
    assert_ok(find("demo", path, &err));
    assert_string_equal(path, root);
    assert_ok(find(root, path, &err));
    assert_string_equal(path, root);
}

static void test_refused_names(void **state) {
    /* A name that could leave the cache is refused by its form, before any look at the disk. */
    (void)state;
    static const char *const names[] = {"",
                                        "...",

                                        "org/..",
                                        "org/na..me",
                                        "a/b/c",

                                        "org/",

                                        "org/name@",
                                        "org/name@../main",
                                        "org/name@/etc",
                                        "org/name@a//b",
                                        "org/na me",
                                        "org/n\nx",
                                        "org\\name",
                                        "or--g/name",
                                        "org/name@main@x",
                                        "host:80/name",
                                        ".org/name",
                                        "org/name@a/.",
                                        "org/n\xC3\xA4"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[MICA_PATH_BYTES_MAX] = "x";
        mica_error err = {0};
        mica_status st = find(names[i], path, &err);
        if (st != MICA_STATUS_FORMAT) fail_msg("%s: %s", names[i], mica_status_name(st));
        assert_string_equal(path, "");
        assert_null(strchr(err.message, '\n'));
    }
    char long_name[1024];
    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    char path[MICA_PATH_BYTES_MAX];
    assert_int_equal(find(long_name, path, NULL), MICA_STATUS_FORMAT);
}

static void test_missing(void **state) {
    /* What is not there is NOT_FOUND and says where it looked; a ref must hold a commit. */
    (void)state;
    mica_error err = {0};
    char path[MICA_PATH_BYTES_MAX];
    assert_int_equal(find("/nowhere/x", path, &err), MICA_STATUS_NOT_FOUND);
    assert_int_equal(find("../nowhere/x", path, &err), MICA_STATUS_NOT_FOUND);
    assert_int_equal(find("org/other", path, &err), MICA_STATUS_NOT_FOUND);
    assert_non_null(strstr(err.message, "models--org--other"));
    assert_int_equal(find("org/name@v2", path, &err), MICA_STATUS_NOT_FOUND);
    assert_int_equal(find("org/name@gone", path, &err), MICA_STATUS_NOT_FOUND);
    assert_int_equal(find("org/name@bad", path, &err), MICA_STATUS_FORMAT);
    assert_int_equal(mica_hub_find(mica_host_default(), "org/name", NULL, path, sizeof path, &err),
                     MICA_STATUS_NOT_FOUND);
    assert_int_equal(mica_hub_find(mica_host_default(), "demo", NULL, path, sizeof path, &err),
                     MICA_STATUS_NOT_FOUND);
}

static void test_capacity(void **state) {
    /* A path that does not fit is a LIMIT error and nothing is written past the end. */
    (void)state;
    mica_error err = {0};
    char path[8] = "......";
    mica_hub_options o = {.cache_folder = root};
    assert_int_equal(mica_hub_find(mica_host_default(), "org/name", &o, path, 4, &err),
                     MICA_STATUS_LIMIT);
    assert_string_equal(path, "");
    assert_int_equal(path[4], '.');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found_names),
        cmocka_unit_test(test_refused_names),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_capacity),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
