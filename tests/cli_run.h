/* Running the program `mica` from tests: with arguments and input, to exit code and texts. */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include "test.h"
#include "test_folder.h"

#define DEMO_FOLDER MICA_SOURCE_DIR "/models/demo"

/* What a run gave; freed by the next run of the same struct, and by cli_run_free. */
typedef struct cli_run {
    int code; /* exit code; 128 + number after a signal */
    char *out;
    size_t out_bytes;
    char *err;
    size_t err_bytes;
} cli_run;

static inline const char *cli_program(void) {
    static char path[1024];
    const char *folder = getenv("MICA_BIN");
    if (!folder) fail_msg("MICA_BIN is not set: the build folder");
    snprintf(path, sizeof path, "%s/cli/mica", folder);
    if (access(path, X_OK) != 0) fail_msg("%s is not there", path);
    return path;
}

static inline void cli_run_free(cli_run *r) {
    free(r->out);
    free(r->err);
    *r = (cli_run){0};
}

/* Runs a shell command in which $MICA is the program; its output is read whole. */
static inline void cli_shell(cli_run *r, const char *command) {
    test_folder f;
    cli_run_free(r);
    test_folder_make(&f);
    setenv("MICA", cli_program(), 1);
    setenv("T", f.path, 1);
    size_t bytes = strlen(command) + 128;
    char *whole = malloc(bytes);
    snprintf(whole, bytes, "{ %s\n} </dev/null >\"$T/out\" 2>\"$T/err\"", command);
    int status = system(whole);
    free(whole);
    r->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    r->out = test_file_read(test_folder_at(&f, "out"), &r->out_bytes);
    r->err = test_file_read(test_folder_at(&f, "err"), &r->err_bytes);
    test_folder_remove(&f);
}

/* Fails with all that is known unless the exit code is as wanted. */
static inline void cli_expect(cli_run *r, int code, const char *command) {
    cli_shell(r, command);
    if (r->code != code)
        fail_msg("%s\nexit code %d, wanted %d\nstdout: %.2000s\nstderr: %.2000s", command, r->code,
                 code, r->out, r->err);
}

/* stderr is one line that begins with "mica: " and holds a text. */
static inline void cli_expect_line(const cli_run *r, const char *text) {
    const char *end = strchr(r->err, '\n');
    if (strncmp(r->err, "mica: ", 6) != 0 || !end || end[1] != '\0')
        fail_msg("stderr is not one line of mica: %.2000s", r->err);
    if (!strstr(r->err, text)) fail_msg("stderr lacks \"%s\": %s", text, r->err);
}

/* ---- a program that goes on while the test looks on ---- */

typedef struct cli_child {
    pid_t pid;
    int in, out, err; /* our ends; -1 = closed */
} cli_child;

/* arguments end with NULL and begin with the command. */
static inline void cli_start(cli_child *c, const char *const *arguments) {
    int in[2], out[2], err[2];
    const char *argv[32] = {cli_program()};
    size_t n = 1;
    for (; arguments[n - 1] && n < 31; n++) argv[n] = arguments[n - 1];
    assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC), 0);
    fflush(NULL);
    c->pid = fork();
    if (c->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(err[1], 2);
        execv(argv[0], (char **)(uintptr_t)argv);
        _exit(99);
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
    c->in = in[1];
    c->out = out[0];
    c->err = err[0];
}

/* Reads from fd until `text` was seen (true) or the other side closed (false). */
static inline bool cli_read_until(int fd, const char *text, char *buffer, size_t capacity) {
    size_t used = 0;
    buffer[0] = '\0';
    while (used + 1 < capacity) {
        ssize_t n = read(fd, buffer + used, capacity - 1 - used);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        used += (size_t)n;
        buffer[used] = '\0';
        if (text && strstr(buffer, text)) return true;
    }
    return false;
}

/* Waits for the end; the exit code as in cli_run. */
static inline int cli_wait(cli_child *c) {
    int status = 0;
    if (c->in >= 0) close(c->in);
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    close(c->out);
    close(c->err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
