/* Ctrl-C in child processes. */
#include "interrupt.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include "report.h"
#include "test.h"

/* Exit code of a child that presses Ctrl-C n times; 77 when it is still there afterwards. */
static int press(int n, bool is_editing, bool clears) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        cli_interrupt_install();
        cli_interrupt_set_editing(is_editing);
        for (int i = 0; i < n; i++) {
            raise(SIGINT);
            if (!cli_interrupt_is_requested()) _exit(1);
            if (clears) cli_interrupt_clear();
        }
        _exit(cli_interrupt_is_requested() == !clears ? 77 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_presses(void **state) {
    /* The first Ctrl-C asks, the second leaves with 130, unless the first was answered. */
    (void)state;
    assert_int_equal(press(1, false, false), 77);
    assert_int_equal(press(2, false, false), CLI_INTERRUPTED);
    assert_int_equal(press(3, false, true), 77);
}

static void test_editing(void **state) {
    /* While a line is edited no number of presses ends the program by itself. */
    (void)state;
    assert_int_equal(press(3, true, false), 77);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_presses),
        cmocka_unit_test(test_editing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
