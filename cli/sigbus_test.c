/* The SIGBUS handler on a real mapping of a file that shrinks. */
#include "sigbus.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "test.h"

#define PAGES 4

static void test_shrunk_file(void **state) {
    /* Pages past the new end of a mapped file read as zeros, and the loss is reported. */
    (void)state;
    char path[] = "/tmp/mica-sigbus-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    unlink(path);
    size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = page * PAGES;
    char *text = malloc(bytes);
    memset(text, 'x', bytes);
    assert_int_equal(write(file, text, bytes), (ssize_t)bytes);
    free(text);
    volatile const char *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, file, 0);
    assert_ptr_not_equal((const void *)(uintptr_t)map, MAP_FAILED);
    mica_error err = {0};

    cli_sigbus_install();
    assert_int_equal(map[bytes - 1], 'x');
    assert_false(cli_sigbus_happened());
    assert_int_equal(cli_sigbus_check(&err), MICA_STATUS_OK);
    assert_int_equal(ftruncate(file, (off_t)page), 0);
    for (size_t i = page; i < bytes; i += page / 2) assert_int_equal(map[i], 0);
    assert_int_equal(map[0], 'x'); /* the page that is left keeps its text */
    assert_true(cli_sigbus_happened());
    assert_int_equal(cli_sigbus_check(&err), MICA_STATUS_IO);
    assert_true(strlen(err.message) > 0);
    munmap((void *)(uintptr_t)map, bytes);
    close(file);
}

static void test_other_faults(void **state) {
    /* A SIGBUS that is no lost page still ends the program. */
    (void)state;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        cli_sigbus_install();
        kill(getpid(), SIGBUS);
        sleep(1);
        kill(getpid(), SIGBUS);
        sleep(1);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGBUS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shrunk_file),
        cmocka_unit_test(test_other_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
