/* The read bandwidth of a mapped file whose pages the system has in memory: what weights that are
 * used where they lie can be read with. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/error.h"
#include "ceiling.h"
#include "ceiling_child.h"

#define FILE_BYTES_MIN ((off_t)256 << 20) /* caches of servers hold tens of MB of less */
#define FILE_BYTES_MAX ((off_t)1 << 30)

typedef struct mapped_file {
    int descriptor;
    size_t bytes;
    int n_threads;
} mapped_file;

static double measure(const void *context) {
    const mapped_file *f = context;
    void *words = mmap(NULL, f->bytes, PROT_READ, MAP_SHARED, f->descriptor, 0);
    return words == MAP_FAILED ? 0 : cli_ceiling_sum(words, f->bytes, f->n_threads, false);
}

mica_status cli_ceiling_file(const char *path, int n_threads, double *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    struct stat info;
    mapped_file f = {.n_threads = n_threads};
    f.descriptor = open(path, O_RDONLY | O_CLOEXEC);
    *out = 0;
    if (f.descriptor < 0) return mica_fail_errno(err, errno, "opening", path);
    if (fstat(f.descriptor, &info) != 0)
        st = mica_fail_errno(err, errno, "reading", path);
    else if (S_ISREG(info.st_mode) && info.st_size >= FILE_BYTES_MIN) {
        f.bytes = (size_t)(info.st_size < FILE_BYTES_MAX ? info.st_size : FILE_BYTES_MAX);
        st = cli_ceiling_in_child(measure, &f, "the read bandwidth of the weights", out, err);
    }
    close(f.descriptor);
    return st;
}
