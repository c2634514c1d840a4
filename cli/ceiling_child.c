/* fork, measure, and a pipe for the one number. */
#include "ceiling_child.h"
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/error.h"

static void measure_and_leave(double (*measure)(const void *), const void *context, int pipe_end) {
    double rate = measure(context);
    bool is_sent = rate > 0 && write(pipe_end, &rate, sizeof rate) == (ssize_t)sizeof rate;
    _exit(is_sent ? 0 : 1);
}

mica_status cli_ceiling_in_child(double (*measure)(const void *context), const void *context,
                                 const char *what, double *out, mica_error *err) {
    int ends[2];
    double rate = 0;
    ssize_t n = -1;
    if (pipe(ends) != 0) return mica_fail_errno(err, errno, "opening", "a pipe");
    pid_t child = fork();
    if (child == 0) measure_and_leave(measure, context, ends[1]);
    close(ends[1]);
    while (child > 0 && (n = read(ends[0], &rate, sizeof rate)) < 0 && errno == EINTR) {
    }
    close(ends[0]);
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
    if (n != (ssize_t)sizeof rate || rate <= 0)
        return mica_fail(err, MICA_STATUS_OUT_OF_MEMORY,
                         "%s could not be measured: no memory for a probe", what);
    *out = rate;
    return MICA_STATUS_OK;
}
