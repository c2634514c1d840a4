/* The program mica under signals: Ctrl-C while it generates, and a model file that shrinks. */
#include "cli_run.h"

static char buffer[1 << 22];

static void test_interrupt_run(void **state) {
    /* Ctrl-C ends the answer cleanly: what was made is printed, the exit code is 0. */
    (void)state;
    cli_child c;
    cli_start(
        &c, (const char *[]){"run", "--raw", "--temp", "0", "--ctx", "2048", "demo", "The", NULL});
    assert_true(cli_read_until(c.out, " ", buffer, sizeof buffer));
    assert_int_equal(kill(c.pid, SIGINT), 0);
    cli_read_until(c.out, NULL, buffer, sizeof buffer);
    assert_true(cli_read_until(c.err, "interrupted", buffer, sizeof buffer));
    assert_int_equal(cli_wait(&c), 0);
}

static void test_interrupt_chat(void **state) {
    /* In a chat Ctrl-C ends the answer, not the chat. */
    (void)state;
    static const char first[] = "hi\n";
    static const char second[] = "/help\n";
    cli_child c;
    /* At this temperature the model finds no end. The dump of the plan tells when it begins. */
    cli_start(
        &c, (const char *[]){"chat", "--seed", "3", "--temp", "5", "--dump", "seal", "demo", NULL});
    assert_int_equal(write(c.in, first, sizeof first - 1), (ssize_t)sizeof first - 1);
    assert_true(cli_read_until(c.err, "# plan prefill", buffer, sizeof buffer));
    assert_int_equal(kill(c.pid, SIGINT), 0);
    assert_true(cli_read_until(c.err, "interrupted", buffer, sizeof buffer));
    assert_int_equal(write(c.in, second, sizeof second - 1), (ssize_t)sizeof second - 1);
    assert_true(cli_read_until(c.err, "/save FILE", buffer, sizeof buffer));
    assert_int_equal(cli_wait(&c), 0);
}

static void test_lost_file(void **state) {
    /* A model file that is cut while it is in use fails the request with a message, by exit code 1
     * and not by a signal. */
    (void)state;
    static const char line[] = "Count from 3 to 9.\n";
    test_folder f;
    cli_run r = {0};
    cli_child c;
    test_folder_make(&f);
    setenv("F", f.path, 1);
    cli_expect(&r, 0, "cp " DEMO_FOLDER "/* $F");
    cli_start(&c, (const char *[]){"chat", "--temp", "0", f.path, NULL});
    assert_int_equal(write(c.in, line, sizeof line - 1), (ssize_t)sizeof line - 1);
    assert_true(cli_read_until(c.out, "9.", buffer, sizeof buffer));
    assert_int_equal(truncate(test_folder_at(&f, "model-00001-of-00002.safetensors"), 4096), 0);
    assert_int_equal(truncate(test_folder_at(&f, "model-00002-of-00002.safetensors"), 4096), 0);
    (void)!write(c.in, line, sizeof line - 1);
    close(c.in);
    c.in = -1;
    assert_true(cli_read_until(c.err, "a model file became shorter", buffer, sizeof buffer));
    assert_int_equal(cli_wait(&c), 1);
    cli_run_free(&r);
    test_folder_remove(&f);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interrupt_run),
        cmocka_unit_test(test_interrupt_chat),
        cmocka_unit_test(test_lost_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
