/* Errors: texts, cleaning, prefixes, and the log of a host. */
#include "base/error.h"
#include <errno.h>
#include <locale.h>
#include "base/host.h"
#include "base/str.h"
#include "test.h"

/* Every status has a name of its own, and a number outside the list has one too. */
static void names_are_distinct(void **state) {
    (void)state;
    for (int i = MICA_STATUS_OK; i <= MICA_STATUS_INTERNAL; i++) {
        const char *name = mica_status_name((mica_status)i);
        assert_true(name[0] != '\0');
        assert_string_not_equal(name, "unknown status");
        for (int k = 0; k < i; k++) assert_string_not_equal(name, mica_status_name((mica_status)k));
    }
    assert_string_equal(mica_status_name((mica_status)99), "unknown status");
}

/* The version text follows the three numbers of the header. */
static void version_follows_header(void **state) {
    (void)state;
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", MICA_VERSION_MAJOR, MICA_VERSION_MINOR,
             MICA_VERSION_PATCH);
    assert_string_equal(mica_version(), text);
}

/* A failure stores status and text and returns the status; a NULL error is fine. */
static void fail_stores(void **state) {
    (void)state;
    mica_error err = {0};
    assert_int_equal(mica_fail(&err, MICA_STATUS_LIMIT, "%d of %d", 3, 2), MICA_STATUS_LIMIT);
    assert_int_equal(err.status, MICA_STATUS_LIMIT);
    assert_string_equal(err.message, "3 of 2");
    assert_int_equal(mica_fail(NULL, MICA_STATUS_IO, "x"), MICA_STATUS_IO);
    assert_int_equal(mica_fail_memory(&err, 77, "a thing"), MICA_STATUS_OUT_OF_MEMORY);
    assert_string_equal(err.message, "out of memory: 77 bytes for a thing");
    assert_int_equal(mica_fail_prefix(NULL, MICA_STATUS_IO, "x"), MICA_STATUS_IO);
    assert_int_equal(mica_fail_errno(NULL, ENOENT, "x", "y"), MICA_STATUS_NOT_FOUND);
}

/* Control bytes, C1 controls and broken UTF-8 cannot reach a terminal through a message. */
static void messages_are_clean(void **state) {
    (void)state;
    mica_error err = {0};
    mica_fail(&err, MICA_STATUS_FORMAT, "%s",
              "a\n\x1b[31m\x7f\xC2\x9B"
              "b\xFF\xC3\xA9\xC3");
    assert_string_equal(err.message, "a??[31m??b?\xC3\xA9?");
}

/* A long message is cut at the border of a character, at every offset of the cut. */
static void messages_are_cut_at_characters(void **state) {
    (void)state;
    for (int lead = 0; lead < 8; lead++) {
        char text[1200];
        int n = 0;
        for (; n < lead; n++) text[n] = 'x';
        while (n + 4 < (int)sizeof text) n += snprintf(text + n, 5, "\xF0\x9F\x98\x80");
        text[n] = '\0';
        mica_error err = {0};
        mica_fail(&err, MICA_STATUS_FORMAT, "%s", text);
        size_t bytes = strlen(err.message);
        assert_true(bytes <= 503 && bytes > 499);
        assert_true(mica_utf8_is_valid(err.message, bytes));
        assert_int_equal(strncmp(err.message, text, bytes), 0);
    }
}

/* The system's errors map to statuses, and their text names what and which. */
static void errno_is_mapped(void **state) {
    (void)state;
    mica_error err = {0};
    assert_int_equal(mica_fail_errno(&err, ENOENT, "cannot open", "a/b"), MICA_STATUS_NOT_FOUND);
    assert_string_equal(err.message, "cannot open a/b: No such file or directory");
    assert_int_equal(mica_fail_errno(&err, ENOMEM, "x", "y"), MICA_STATUS_OUT_OF_MEMORY);
    assert_int_equal(mica_fail_errno(&err, EACCES, "x", "y"), MICA_STATUS_IO);
}

/* A prefix keeps the status, stands in front, and may quote the message itself. */
static void prefix_stands_in_front(void **state) {
    (void)state;
    mica_error err = {0};
    mica_fail(&err, MICA_STATUS_FORMAT, "bad");
    assert_int_equal(mica_fail_prefix(&err, MICA_STATUS_IO, "file %d", 7), MICA_STATUS_FORMAT);
    assert_string_equal(err.message, "file 7: bad");
    mica_fail(&err, MICA_STATUS_LIMIT, "again %s", err.message);
    assert_string_equal(err.message, "again file 7: bad");
    char longer[2000];
    memset(longer, 'p', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    mica_fail_prefix(&err, MICA_STATUS_IO, "%s", longer);
    assert_int_equal(strlen(err.message), 503);
}

static mica_status try_and_require(int value, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(value == 1 ? mica_fail(err, MICA_STATUS_IO, "one") : MICA_STATUS_OK);
    MICA_REQUIRE(value != 2, MICA_STATUS_LIMIT, "value %d", value);
done:
    return st;
}

/* The two macros jump out with the status of the first failure. */
static void macros_jump(void **state) {
    (void)state;
    mica_error err = {0};
    assert_int_equal(try_and_require(0, &err), MICA_STATUS_OK);
    assert_int_equal(try_and_require(1, &err), MICA_STATUS_IO);
    assert_int_equal(try_and_require(2, &err), MICA_STATUS_LIMIT);
    assert_string_equal(err.message, "value 2");
}

typedef struct seen_line {
    int count;
    mica_log_level level;
    char text[2000];
} seen_line;

static void take_line(void *context, mica_log_level level, const char *text) {
    seen_line *seen = context;
    seen->count++;
    seen->level = level;
    snprintf(seen->text, sizeof seen->text, "%s", text);
}

/* The log honours its level, gives single clean lines, cuts long ones, and may be absent. */
static void log_reaches_the_callback(void **state) {
    (void)state;
    seen_line seen = {0};
    mica_host host = *mica_host_default();
    mica_host_log(&host, MICA_LOG_ERROR, "nobody listens");
    host.log = take_line;
    host.log_context = &seen;
    host.log_level = MICA_LOG_WARNING;
    mica_host_log(&host, MICA_LOG_INFO, "below");
    assert_int_equal(seen.count, 0);
    mica_host_log(&host, MICA_LOG_WARNING, "two\nlines %d", 2);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.level, MICA_LOG_WARNING);
    assert_string_equal(seen.text, "two?lines 2");
    mica_host_log(&host, MICA_LOG_ERROR, "%01500d", 1);
    assert_int_equal(strlen(seen.text), 1023);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_distinct),
        cmocka_unit_test(version_follows_header),
        cmocka_unit_test(fail_stores),
        cmocka_unit_test(messages_are_clean),
        cmocka_unit_test(messages_are_cut_at_characters),
        cmocka_unit_test(errno_is_mapped),
        cmocka_unit_test(prefix_stands_in_front),
        cmocka_unit_test(macros_jump),
        cmocka_unit_test(log_reaches_the_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
